use rapport::rpc::proto::{
    self, ArchiveTemplateRequest, CreateTemplateRequest, GetTemplateRequest, PreviewTemplateRequest,
    PublishTemplateRequest, SendTestMessageRequest, Template, TemplateProblem, TemplateVariant, UpdateTemplateRequest,
    preview_template_request::Source, schedule_contact_request, template, template_problem::Severity,
};
use serde_json::json;

use super::harness::{self, World, by_name, refusal, structure, variant, wrong_fields};

fn bilingual() -> Template {
    let english = TemplateVariant {
        html_body: "<p>Dear {{ customer.given_name }}, thank you for {{ event.subject }}.</p>".into(),
        ..variant("", "Thank you, {{ customer.given_name }}", "Thank you for {{ event.subject }}.")
    };
    let latvian = variant("lv", "Paldies, {{ customer.given_name }}!", "Paldies par {{ event.subject }}.");
    Template { variants: vec![english, latvian], ..harness::template("thanks") }
}

#[tokio::test]
async fn each_customer_reads_the_variant_of_their_language_or_the_one_to_fall_back_on() {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    let request = CreateTemplateRequest { template: Some(bilingual()), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let request = PublishTemplateRequest { template_id: "thanks".into(), ..Default::default() };
    world.templates.publish_template(request).await.unwrap();
    let steps = vec![harness::step("thank", harness::after_hours(1), "thanks")];
    world.campaign(harness::campaign("thanks", "orders", steps)).await;
    for (name, locale) in [("Jānis", "lv-LV"), ("Søren", "da"), ("<Анна>", "")] {
        world.customer_with(name, |customer| customer.locale = locale.into()).await;
        world.happens("order.placed", name, "o-1").await;
    }
    world.dispatch_after_hours(1).await;
    let mail = world.mail();
    let subjects: Vec<_> = mail.iter().map(|mail| mail.subject.as_str()).collect();
    assert_eq!(subjects, ["Paldies, Jānis!", "Thank you, Søren", "Thank you, <Анна>"]);
    assert_eq!(mail[0].html, None);
    assert_eq!(mail[2].words(), "Thank you for o-1.");
    assert!(mail[2].html.as_ref().unwrap().contains("Dear &lt;Анна&gt;"), "{:?}", mail[2].html);
}

#[tokio::test]
async fn mistakes_are_reported_when_a_template_is_saved_and_keep_it_from_being_published() {
    let mut world = World::new().await;
    let broken = Template {
        variants: vec![variant("", "Hello {{ custmer.given_name }}", "{% if %}")],
        ..harness::template("broken")
    };
    let request = CreateTemplateRequest { template: Some(broken), ..Default::default() };
    let answer = world.templates.create_template(request).await.unwrap().into_inner();
    let errors: Vec<_> = answer.problems.iter().filter(|one| one.severity() == Severity::Error).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error.line == 1 && !error.field.is_empty()));
    let publish = PublishTemplateRequest { template_id: "broken".into(), ..Default::default() };
    assert_eq!(refusal(world.templates.publish_template(publish).await), "TEMPLATE_HAS_ERRORS");
}

#[tokio::test]
async fn a_published_version_never_changes_and_the_latest_one_is_sent() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let publish = PublishTemplateRequest { template_id: "check-in".into(), ..Default::default() };
    assert_eq!(refusal(world.templates.publish_template(publish.clone()).await), "TEMPLATE_NOT_CHANGED");

    let change = Template { variants: vec![variant("", "Second", "Second")], ..harness::template("check-in") };
    let request = UpdateTemplateRequest { template: Some(change), ..Default::default() };
    let draft = world.templates.update_template(request).await.unwrap().into_inner().template.unwrap();
    assert_eq!((draft.version, draft.state()), (2, template::State::Draft));
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    world.templates.publish_template(publish).await.unwrap();
    world.dispatch_after_hours(24).await;
    assert_eq!(world.subjects(), ["Second", "check-in for anna"], "the planned one reads what is latest when it goes");
    let first = GetTemplateRequest { template_id: "check-in".into(), version: 1 };
    let first = world.templates.get_template(first).await.unwrap().into_inner().template.unwrap();
    assert!(first.variants[0].subject.starts_with("check-in for"));
}

#[tokio::test]
async fn a_preview_shows_what_a_customer_would_read_and_sends_nothing() {
    let mut world = World::new().await;
    world.customer_with("Jānis", |customer| customer.locale = "lv".into()).await;
    let request = PreviewTemplateRequest {
        source: Some(Source::Inline(bilingual())),
        customer: by_name("Jānis"),
        data: Some(structure(json!({"event": {"subject": "order-7"}}))),
        ..Default::default()
    };
    let answer = world.templates.preview_template(request).await;
    let answer = answer.unwrap().into_inner();
    let message = answer.message.unwrap_or_else(|| panic!("{:?}", answer.problems));
    assert_eq!((message.locale.as_str(), message.subject.as_str()), ("lv", "Paldies, Jānis!"));
    assert!(message.size_bytes > 300, "{}", message.size_bytes);
    let request =
        PreviewTemplateRequest { source: Some(Source::Inline(bilingual())), locale: "en".into(), ..Default::default() };
    let message = world.templates.preview_template(request).await.unwrap().into_inner().message.unwrap();
    assert!(message.html_body.contains("order-1"), "sample data fills the gaps: {}", message.html_body);
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn what_a_customer_does_not_bring_is_that_of_the_sample_data() {
    let mut world = World::configured(|config| config.test_recipients = "@test.example".parse().unwrap()).await;
    world.shop().await;
    world.customer("anna", "").await;
    let words =
        "{{ event.subject }} {{ event.value.amount }} {{ data.code }} {{ customer.attributes.plan | default('no') }}";
    let sample = json!({
        "event": {"subject": "o-9"}, "data": {"code": "A1"}, "customer": {"attributes": {"plan": "gold"}},
    });
    let template = Template {
        variants: vec![variant("", "{{ event.subject }} of {{ customer.given_name }}", words)],
        sample_data: Some(structure(sample)),
        ..harness::template("ask")
    };
    let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let mut preview = async |data| {
        let source = Some(Source::TemplateId("ask".into()));
        let request = PreviewTemplateRequest { source, customer: by_name("anna"), data, ..Default::default() };
        let answer = world.templates.preview_template(request).await.unwrap().into_inner();
        let message = answer.message.unwrap_or_else(|| panic!("{:?}", answer.problems));
        (message.subject, message.text_body)
    };
    assert_eq!(preview(None).await, ("o-9 of anna".into(), "o-9 12.50 A1 no".into()));
    let given = Some(structure(json!({"event": {"subject": "o-7"}})));
    assert_eq!(preview(given).await, ("o-7 of anna".into(), "o-7 12.50 A1 no".into()));
    let test = SendTestMessageRequest {
        template_id: "ask".into(),
        address: "qa@test.example".into(),
        customer: by_name("anna"),
        ..Default::default()
    };
    world.templates.send_test_message(test).await.unwrap();
    world.dispatch().await;
    assert_eq!(world.subjects(), ["[Test] o-9 of anna"]);
}

#[tokio::test]
async fn a_template_that_fails_for_one_customer_ends_alone_and_says_why() {
    let mut world = World::new().await;
    world.shop().await;
    world.template_with("plan", "Your plan", "{{ customer.attributes.plan.name }}").await;
    world.customer_with("anna", |one| one.attributes = Some(structure(json!({"plan": {"name": "Gold"}})))).await;
    world.customer("bo", "").await;
    let poison = world.send("bo", "orders", "plan").await;
    world.send("anna", "orders", "plan").await;
    world.dispatch().await;
    assert_eq!(world.mail().iter().map(|mail| mail.words().to_owned()).collect::<Vec<_>>(), ["Gold"]);
    let why = world.explain(&poison.contact_id).await.summary;
    assert!(why.contains("template plan version 1: textBody line 1"), "{why}");
}

#[tokio::test]
async fn a_hostile_template_is_cut_short_and_a_header_cannot_be_injected() {
    let mut world = World::new().await;
    world.shop().await;
    let endless = "{% for a in data.list %}".repeat(9) + "x" + &"{% endfor %}".repeat(9);
    for (id, subject, text) in [("endless", "Hello", endless.as_str()), ("header", "Hello {{ data.name }}", "x")] {
        let template = Template { variants: vec![variant("", subject, text)], ..harness::template(id) };
        let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
        world.templates.create_template(request).await.unwrap();
        let request = PublishTemplateRequest { template_id: id.into(), ..Default::default() };
        world.templates.publish_template(request).await.unwrap();
    }
    world.customer("anna", "").await;
    for template in ["endless", "header"] {
        let request = proto::ScheduleContactRequest {
            data: Some(structure(
                json!({"name": "you\r\nBcc: everybody@example.com", "list": [1, 2, 3, 4, 5, 6, 7, 8]}),
            )),
            ..harness::ad_hoc("anna", "orders", template)
        };
        world.contacts.schedule_contact(request).await.unwrap();
    }
    world.dispatch().await;
    assert!(world.mail().is_empty());
    for contact in world.contacts_of("anna").await {
        let reason = contact.block.unwrap().reason();
        assert_eq!(reason, proto::BlockReason::TemplateError);
    }
}

#[tokio::test]
async fn a_template_without_texts_or_with_a_language_twice_is_refused() {
    let mut world = World::new().await;
    let request = |variants| CreateTemplateRequest {
        template: Some(Template { variants, ..harness::template("texts") }),
        ..Default::default()
    };
    assert_eq!(wrong_fields(world.templates.create_template(request(vec![])).await), ["template.variants"]);
    let twice = vec![variant("lv", "a", "b"), variant("lv", "a", "b")];
    let fields = wrong_fields(world.templates.create_template(request(twice)).await);
    assert!(fields.contains(&"template.variants[1].locale".to_owned()), "{fields:?}");
}

#[tokio::test]
async fn a_mistake_that_no_data_repairs_keeps_a_template_from_being_published() {
    let mut world = World::new().await;
    let endless = "{% for a in 'xxxxxxxxxx' %}".repeat(9) + "x" + &"{% endfor %}".repeat(9);
    let texts = ["{{ customer.given_name | nofilter }}", "{% include 'x' %}", "{{ 1 / 0 }}", &endless];
    for (number, text) in texts.into_iter().enumerate() {
        let id = format!("mistake-{number}");
        let template = Template { variants: vec![variant("", "Hello", text)], ..harness::template(&id) };
        let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
        let problems = world.templates.create_template(request).await.unwrap().into_inner().problems;
        assert_eq!(problems[0].severity(), Severity::Error, "{problems:?}");
        let request = PublishTemplateRequest { template_id: id, ..Default::default() };
        assert_eq!(refusal(world.templates.publish_template(request).await), "TEMPLATE_HAS_ERRORS");
    }
}

const LETTER: &str = "<mjml lang=\"en\">
<mj-head><mj-style inline=\"inline\">.thanks { color: #123456 }</mj-style></mj-head>
<mj-body>
<mj-section><mj-column>
{% if event.subject %}<mj-text><p class=\"thanks\">Thank you for {{ event.subject }}, {{ customer.given_name }}.</p></mj-text>{% endif %}
{% for one in data.links | default([]) %}<mj-button href=\"{{ one }}\">Look</mj-button>{% endfor %}
</mj-column></mj-section>
</mj-body></mjml>";

impl World {
    /// Saves a template and publishes it; answers its problems.
    async fn published(&mut self, template: Template) -> Vec<TemplateProblem> {
        let id = template.template_id.clone();
        let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
        let problems = self.templates.create_template(request).await.expect("created").into_inner().problems;
        let request = PublishTemplateRequest { template_id: id, ..Default::default() };
        self.templates.publish_template(request).await.unwrap_or_else(|status| panic!("{status}: {problems:?}"));
        problems
    }

    /// What is wrong with an HTML part in MJML, and in which line.
    async fn mistakes(&mut self, id: &str, mjml: &str) -> Vec<(i32, String)> {
        let variant = TemplateVariant { mjml_body: mjml.into(), ..variant("", "x", "") };
        let template = Template { variants: vec![variant], ..harness::template(id) };
        let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
        let problems = self.templates.create_template(request).await.expect("created").into_inner().problems;
        problems.into_iter().map(|problem| (problem.line, problem.description)).collect()
    }
}

fn partial(id: &str, text: &str, mjml: &str) -> Template {
    let variant = TemplateVariant { mjml_body: mjml.into(), ..variant("", "", text) };
    Template { partial: true, variants: vec![variant], ..harness::template(id) }
}

#[tokio::test]
async fn mjml_is_sent_as_html_with_its_styles_at_the_elements_and_a_preheader_that_nobody_sees() {
    let mut world = World::new().await;
    world.shop().await;
    let variant = TemplateVariant {
        mjml_body: LETTER.into(),
        preheader: "For {{ customer.given_name }}".into(),
        ..variant("", "Hello", "")
    };
    let problems = world.published(Template { variants: vec![variant], ..harness::template("letter") }).await;
    assert!(problems.is_empty(), "{problems:?}");
    world.customer("<Anna>", "").await;
    let steps = vec![harness::step("thank", harness::after_hours(1), "letter")];
    world.campaign(harness::campaign("letters", "orders", steps)).await;
    world.happens("order.placed", "<Anna>", "o-1").await;
    world.dispatch_after_hours(1).await;
    let mail = world.mail();
    let html = mail[0].html.as_deref().unwrap();
    assert!(
        html.contains("<p class=\"thanks\" style=\"color:#123456\">Thank you for o-1, &lt;Anna&gt;.</p>"),
        "{html}"
    );
    assert!(html.contains("line-height:1px\">For &lt;Anna&gt;&#8199;"), "{html}");
    assert!(html.contains("@media only screen and (min-width:480px)") && !html.contains("<mj-"), "{html}");
    assert!(mail[0].words().contains("Thank you for o-1, <Anna>."), "{}", mail[0].words());
    assert!(!mail[0].words().contains("For <Anna>"), "{}", mail[0].words());
}

#[tokio::test]
async fn what_mjml_cannot_carry_is_reported_with_its_line_when_it_is_saved() {
    let mut world = World::new().await;
    let document = |part: &str| {
        format!("<mjml><mj-body><mj-section><mj-column>\n{part}\n</mj-column></mj-section></mj-body></mjml>")
    };
    for (number, (part, line, words)) in [
        ("<mj-image src=\"x\" width=\"{{ data.width }}px\" />", 2, "cannot stand here"),
        ("<mj-text>{% if data.a %}</mj-text>\n<mj-text>{% endif %}</mj-column>", 3, "<mj-text> is open"),
        ("<mj-include path=\"/etc/passwd\" />", 2, "mj-include is not offered"),
        ("\n<mj-text>{{ custmer.name }}</mj-text>", 3, "\"custmer\""),
    ]
    .into_iter()
    .enumerate()
    {
        let found = world.mistakes(&format!("mistake-{number}"), &document(part)).await;
        assert!(found.iter().any(|(at, what)| *at == line && what.contains(words)), "{part}: {found:?}");
    }
}

#[tokio::test]
async fn a_new_version_of_a_partial_is_in_every_message_that_is_sent_after_it_was_published() {
    let mut world = World::new().await;
    world.shop().await;
    let footer = "<mj-section><mj-column><mj-text>Made in {{ data.town }}</mj-text></mj-column></mj-section>";
    world.published(partial("footer", "Made in {{ data.town }}.", footer)).await;
    let mjml_body = "<mjml><mj-body>{% include \"footer\" %}</mj-body></mjml>".to_owned();
    let body = TemplateVariant { mjml_body, ..variant("", "Hello", "Hello. {% include \"footer\" %}") };
    world.published(Template { variants: vec![body], ..harness::template("letter") }).await;
    world.customer("anna", "").await;
    let letter = proto::ScheduleContactRequest {
        data: Some(structure(json!({"town": "Rīga"}))),
        ..harness::ad_hoc("anna", "orders", "letter")
    };
    world.contacts.schedule_contact(letter.clone()).await.unwrap();
    world.dispatch().await;

    let broken = Template {
        template_id: "footer".into(),
        variants: partial("", "{{ custmer }}", "<mj-text>x").variants,
        ..Template::default()
    };
    world
        .templates
        .update_template(UpdateTemplateRequest { template: Some(broken), ..Default::default() })
        .await
        .unwrap();
    let publish = PublishTemplateRequest { template_id: "footer".into(), ..Default::default() };
    assert_eq!(refusal(world.templates.publish_template(publish.clone()).await), "TEMPLATE_HAS_ERRORS");
    let wider = Template {
        template_id: "footer".into(),
        variants: partial("", "Now from {{ data.town }}.", footer).variants,
        ..Template::default()
    };
    world
        .templates
        .update_template(UpdateTemplateRequest { template: Some(wider), ..Default::default() })
        .await
        .unwrap();
    world.templates.publish_template(publish).await.unwrap();
    world.contacts.schedule_contact(letter).await.unwrap();
    world.dispatch().await;
    let words: Vec<_> = world.mail().iter().map(|mail| mail.words().lines().next().unwrap().to_owned()).collect();
    assert_eq!(words, ["Hello. Made in Rīga.", "Hello. Now from Rīga."]);
    assert!(world.mail()[1].html.as_deref().unwrap().contains("Made in Rīga"));
}

#[tokio::test]
async fn a_partial_is_never_sent_and_one_that_is_missing_or_includes_itself_is_a_problem() {
    let mut world = World::new().await;
    world.shop().await;
    world.published(partial("block", "block", "")).await;
    world.customer("anna", "").await;
    let alone = world.contacts.schedule_contact(harness::ad_hoc("anna", "orders", "block")).await;
    assert_eq!(refusal(alone), "TEMPLATE_IS_PARTIAL");
    let steps = vec![harness::step("x", harness::after_hours(1), "block")];
    let campaign = proto::CreateCampaignRequest {
        campaign: Some(harness::campaign("blocks", "orders", steps)),
        ..Default::default()
    };
    world.campaigns.create_campaign(campaign).await.unwrap();
    let activate = proto::ActivateCampaignRequest { campaign_id: "blocks".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.activate_campaign(activate).await), "TEMPLATE_IS_PARTIAL");

    let circle = Template {
        template_id: "block".into(),
        variants: vec![variant("", "", "{% include \"around\" %}")],
        ..Template::default()
    };
    world.published(partial("around", "{% include \"block\" %}", "")).await;
    let answer =
        world.templates.update_template(UpdateTemplateRequest { template: Some(circle), ..Default::default() }).await;
    let problem = answer.unwrap().into_inner().problems.remove(0);
    assert!(problem.description.contains("includes itself"), "{problem:?}");
    let lonely =
        Template { variants: vec![variant("", "x", "a\n{% include \"nowhere\" %}")], ..harness::template("lonely") };
    let request = CreateTemplateRequest { template: Some(lonely), ..Default::default() };
    let problem = world.templates.create_template(request).await.unwrap().into_inner().problems.remove(0);
    assert_eq!((problem.severity(), problem.line), (Severity::Error, 2), "{problem:?}");
    assert!(problem.description.contains("no published partial nowhere"), "{problem:?}");
}

#[tokio::test]
async fn a_template_is_put_away_once_nothing_uses_it() {
    let mut world = World::new().await;
    world.shop().await;
    world.published(partial("block", "block", "")).await;
    let includer =
        Template { variants: vec![variant("", "x", "{% include \"block\" %}")], ..harness::template("letter") };
    world.published(includer).await;
    world.customer("anna", "").await;
    let later = Some(schedule_contact_request::Due::DueLocalTime("2026-02-02T18:00".into()));
    let later = proto::ScheduleContactRequest { due: later, ..harness::ad_hoc("anna", "orders", "letter") };
    world.contacts.schedule_contact(later).await.unwrap();
    let archive = |id: &str| ArchiveTemplateRequest { template_id: id.into(), ..Default::default() };
    for id in ["block", "letter", "check-in"] {
        assert_eq!(refusal(world.templates.archive_template(archive(id)).await), "TEMPLATE_IN_USE", "{id}");
    }
    world.dispatch_after_hours(10).await;
    for id in ["letter", "block", "letter"] {
        let template = world.templates.archive_template(archive(id)).await.unwrap().into_inner().template.unwrap();
        assert_eq!(template.state(), template::State::Archived);
    }
    let again = world.contacts.schedule_contact(harness::ad_hoc("anna", "orders", "letter")).await;
    assert_eq!(refusal(again), "TEMPLATE_ARCHIVED");
    let change = Template { variants: vec![variant("", "a", "b")], ..harness::template("letter") };
    let change = UpdateTemplateRequest { template: Some(change), ..Default::default() };
    assert_eq!(refusal(world.templates.update_template(change).await), "TEMPLATE_ARCHIVED");
    let late = Template { variants: vec![variant("", "x", "{% include \"block\" %}")], ..harness::template("late") };
    let late = CreateTemplateRequest { template: Some(late), ..Default::default() };
    assert_eq!(world.templates.create_template(late).await.unwrap().into_inner().problems.len(), 1);
}

#[tokio::test]
async fn a_test_message_goes_to_addresses_that_the_operator_named_and_is_marked() {
    let mut world =
        World::configured(|config| config.test_recipients = "@test.example, me@example.com".parse().unwrap()).await;
    world.shop().await;
    world.customer_with("Jānis", |customer| customer.locale = "lv".into()).await;
    let request = CreateTemplateRequest { template: Some(bilingual()), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let test = |address: &str| SendTestMessageRequest {
        template_id: "thanks".into(),
        address: address.into(),
        customer: by_name("Jānis"),
        data: Some(structure(json!({"event": {"subject": "o-7"}}))),
        request_id: "once".into(),
        ..Default::default()
    };
    let elsewhere = world.templates.send_test_message(test("anna@example.com")).await;
    assert_eq!(refusal(elsewhere), "TEST_RECIPIENT_NOT_ALLOWED");
    let first = world.templates.send_test_message(test("qa@test.example")).await.unwrap().into_inner();
    let again = world.templates.send_test_message(test("qa@test.example")).await.unwrap().into_inner();
    assert_eq!(first.contact_id, again.contact_id);
    let sample = SendTestMessageRequest {
        customer: None,
        data: None,
        request_id: String::new(),
        locale: "en".into(),
        ..test("me@example.com")
    };
    world.templates.send_test_message(sample).await.unwrap();
    world.dispatch().await;
    let mut subjects = world.subjects();
    subjects.sort();
    assert_eq!(subjects, ["[Test] Paldies, Jānis!", "[Test] Thank you, Anna"], "a draft can be tried out");
    assert!(world.mail().iter().any(|mail| mail.to == "qa@test.example" && mail.words() == "Paldies par o-7."));
    let filter = "tags:\"test-recipient\"".to_owned();
    let request = rapport::rpc::proto::ListCustomersRequest { filter, ..Default::default() };
    let tagged = world.customers.list_customers(request).await.unwrap().into_inner().customers;
    assert_eq!(tagged.len(), 2, "audiences can leave them out");
}
