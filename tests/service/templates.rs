use rapport::rpc::proto::{
    self, CreateTemplateRequest, GetTemplateRequest, PreviewTemplateRequest, PublishTemplateRequest, Template,
    TemplateVariant, UpdateTemplateRequest, preview_template_request::Source, template, template_problem::Severity,
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
