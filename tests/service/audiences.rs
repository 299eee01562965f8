//! Which events count for a campaign, and who enters; and whom it would reach, before anything happens.

use rapport::rpc::proto::{
    self, BlockReason, Campaign, CreateCampaignRequest, EventTrigger, Exit, GetCampaignRequest, PreviewCampaignRequest,
    UpdateCampaignRequest, UpdateCustomerRequest, block::Effect, campaign_effect::Outcome,
    preview_campaign_request::Source, set_consent_request::Decision,
};
use serde_json::json;

use super::harness::{World, after_hours, by_name, campaign, only, refusal, step, structure, wrong_fields};

/// A check-in a day after an order, for some.
fn check_in(event_filter: &str, audience_filter: &str) -> Campaign {
    let trigger = EventTrigger { event_type: "order.placed".to_owned(), event_filter: event_filter.to_owned() };
    Campaign {
        trigger: Some(proto::campaign::Trigger::Event(trigger)),
        audience_filter: audience_filter.to_owned(),
        ..campaign("chosen", "orders", vec![step("ask", after_hours(24), "check-in")])
    }
}

async fn shop() -> World {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    world.template("check-in").await;
    world
}

async fn change(world: &mut World, name: &str, attributes: serde_json::Value) {
    let customer = proto::Customer { attributes: Some(structure(attributes)), ..Default::default() };
    let request =
        UpdateCustomerRequest { target: by_name(name), customer: Some(customer), ..UpdateCustomerRequest::default() };
    world.customers.update_customer(request).await.unwrap();
}

#[tokio::test]
async fn only_the_events_that_a_trigger_asks_for_enter() {
    let mut world = shop().await;
    world.customer("anna", "Europe/Riga").await;
    world.campaign(check_in("value.amount >= 100 AND NOT properties.channel = \"store\"", "")).await;
    let order = |world: &World, subject: &str, amount: &str, channel: &str| proto::Event {
        value: Some(proto::Money { currency_code: "EUR".to_owned(), amount: amount.to_owned() }),
        properties: Some(structure(json!({"channel": channel}))),
        ..world.event("order.placed", "anna", subject)
    };
    for (subject, amount, channel, enters) in
        [("1", "99.99", "web", false), ("2", "100.00", "store", false), ("3", "100.00", "web", true)]
    {
        let event = order(&world, subject, amount, channel);
        let answer = world.record(event).await.unwrap();
        let effect = only(&answer.effects);
        let expected = if enters { Outcome::Enrolled } else { Outcome::Ignored };
        assert_eq!(effect.outcome(), expected, "{subject}: {}", effect.detail);
        assert_eq!(effect.detail.contains("event_filter"), !enters, "{}", effect.detail);
    }
    // An order without a value does not match.
    assert_eq!(only(&world.happens("order.placed", "anna", "4").await.effects).outcome(), Outcome::Ignored);
}

#[tokio::test]
async fn only_the_events_that_an_exit_asks_for_end_an_enrollment_in_whatever_order_they_arrive() {
    let mut world = shop().await;
    world.customer("anna", "Europe/Riga").await;
    let exit = Exit {
        event_type: "order.refunded".to_owned(),
        event_filter: "properties.whole = true".to_owned(),
        same_subject: true,
    };
    world.campaign(Campaign { exits: vec![exit], ..check_in("", "") }).await;
    let refund = |world: &World, subject: &str, whole: bool, occur_time: &str| proto::Event {
        properties: Some(structure(json!({"whole": whole}))),
        occur_time: Some(super::harness::at(occur_time)),
        ..world.event("order.refunded", "anna", subject)
    };
    world.happens("order.placed", "anna", "1").await;
    world.advance_to("2026-02-02T10:00:00Z");
    let event = refund(&world, "1", false, "2026-02-02T10:00:00Z");
    assert!(world.record(event).await.unwrap().effects.is_empty());
    world.advance_to("2026-02-02T11:00:00Z");
    let event = refund(&world, "1", true, "2026-02-02T11:00:00Z");
    assert_eq!(only(&world.record(event).await.unwrap().effects).outcome(), Outcome::Exited);

    for (subject, whole, outcome) in [("2", false, Outcome::Enrolled), ("3", true, Outcome::Exited)] {
        let event = refund(&world, subject, whole, "2026-02-02T10:30:00Z");
        world.record(event).await.unwrap();
        let late = proto::Event {
            occur_time: Some(super::harness::at("2026-02-02T10:00:00Z")),
            ..world.event("order.placed", "anna", subject)
        };
        assert_eq!(only(&world.record(late).await.unwrap().effects).outcome(), outcome, "{subject}");
    }
}

#[tokio::test]
async fn who_is_not_in_the_audience_does_not_enter() {
    let mut world = shop().await;
    let filter = "attributes.plan = \"gold\" AND NOT contacted(\"marketing\", 30)";
    world.campaign(check_in("", filter)).await;
    for (name, plan) in [("anna", "gold"), ("bela", "basic"), ("cleo", "gold")] {
        let attributes = Some(structure(json!({"plan": plan})));
        world.customer_with(name, |customer| customer.attributes = attributes).await;
    }
    world.consent("cleo", "offers", Decision::Grant).await;
    world.send("cleo", "offers", "check-in").await;
    world.dispatch().await;
    for (name, expected) in [("anna", Outcome::Enrolled), ("bela", Outcome::Ignored), ("cleo", Outcome::Ignored)] {
        let effects = world.happens("order.placed", name, "1").await.effects;
        assert_eq!(only(&effects).outcome(), expected, "{name}");
        assert_eq!(only(&effects).detail.contains("audience"), expected == Outcome::Ignored, "{name}");
    }

    // Bela's turn.
    change(&mut world, "bela", json!({"plan": "gold"})).await;
    let entered = world.happens("order.placed", "bela", "2").await;
    assert_eq!(only(&entered.effects).outcome(), Outcome::Enrolled);
    let explained = world.explain(&only(&entered.effects).contact_id).await;
    let check = explained.checks.iter().find(|check| check.rule == "in_audience").unwrap();
    assert!(check.block.is_none());
}

#[tokio::test]
async fn an_audience_is_read_back_and_changed_and_a_wrong_one_is_refused_with_its_place() {
    let mut world = shop().await;
    let filter = "attributes.plan = \"gold\"";
    let created = world.campaign(check_in("value.amount > 5", filter)).await;
    assert_eq!(created.audience_filter, filter);
    let changed = Campaign { audience_filter: "locale = \"lv\"".to_owned(), ..created };
    let request = UpdateCampaignRequest {
        campaign: Some(changed),
        update_mask: Some(prost_types::FieldMask { paths: vec!["audience_filter".to_owned()] }),
        ..Default::default()
    };
    assert_eq!(world.campaigns.update_campaign(request).await.unwrap().into_inner().campaign.unwrap().version, 2);
    let request = GetCampaignRequest { campaign_id: "chosen".to_owned() };
    let read = world.campaigns.get_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(read.audience_filter, "locale = \"lv\"");
    let Some(proto::campaign::Trigger::Event(trigger)) = read.trigger else { panic!("another trigger") };
    assert_eq!(trigger.event_filter, "value.amount > 5");

    let mut wrong = check_in("amount > 5", "attributes.plan = ");
    wrong.campaign_id = "wrong".to_owned();
    wrong.exits =
        vec![Exit { event_type: "order.refunded".to_owned(), event_filter: "x".to_owned(), ..Exit::default() }];
    let request = CreateCampaignRequest { campaign: Some(wrong.clone()), ..Default::default() };
    assert_eq!(
        wrong_fields(world.campaigns.create_campaign(request).await),
        ["campaign.event.eventFilter", "campaign.audienceFilter", "campaign.exits[0].eventFilter"]
    );
    let wrong = Campaign { audience_filter: String::new(), exits: Vec::new(), ..wrong };
    let request = CreateCampaignRequest { campaign: Some(wrong), ..Default::default() };
    assert_eq!(refusal(world.campaigns.create_campaign(request).await), "FILTER_UNKNOWN_FIELD");
}

#[tokio::test]
async fn a_preview_says_whom_a_campaign_would_reach_and_why_not_the_others_and_does_nothing() {
    let mut world = shop().await;
    for (name, plan) in [("anna", "gold"), ("bela", "gold"), ("cleo", "gold"), ("dana", "gold"), ("eva", "basic")] {
        let attributes = Some(structure(json!({"plan": plan})));
        world.customer_with(name, |customer| customer.attributes = attributes).await;
    }
    let nowhere = Some(structure(json!({"plan": "gold"})));
    world
        .customer_with("fritz", |customer| {
            customer.attributes = nowhere;
            customer.addresses.clear();
        })
        .await;
    for name in ["anna", "bela", "cleo"] {
        world.consent(name, "offers", Decision::Grant).await;
    }
    world.consent("cleo", "offers", Decision::Withdraw).await;
    let mut plan = check_in("", "attributes.plan = \"gold\"");
    plan.topic_id = "offers".to_owned();

    let request = |source| PreviewCampaignRequest { source: Some(source), sample_size: 1 };
    let preview = world.campaigns.preview_campaign(request(Source::Inline(plan.clone()))).await.unwrap().into_inner();
    assert_eq!((preview.audience, preview.examined, preview.contactable), (5, 5, 2));
    let blocks: Vec<_> = preview.blocks.iter().map(|one| (one.reason(), one.effect(), one.count)).collect();
    assert_eq!(
        blocks,
        [
            (BlockReason::NoAddress, Effect::Suppress, 1),
            (BlockReason::NoConsent, Effect::Suppress, 1),
            (BlockReason::OptedOut, Effect::Suppress, 1)
        ]
    );
    assert_eq!((preview.sample_customer_ids.len(), preview.warnings), (1, Vec::<String>::new()));
    let campaigns = world.campaigns.list_campaigns(proto::ListCampaignsRequest::default()).await.unwrap().into_inner();
    assert!(campaigns.campaigns.is_empty());

    // The same of a campaign that there is; and one that reaches nobody with a template that is not ready.
    world.campaign(plan.clone()).await;
    let source = Source::CampaignId("chosen".to_owned());
    let again = world.campaigns.preview_campaign(request(source)).await.unwrap().into_inner();
    assert_eq!((again.audience, again.contactable), (5, 2));
    assert_eq!(world.contacts_of("anna").await.len(), 0);
    let template = proto::CreateTemplateRequest {
        template: Some(proto::Template {
            variants: vec![super::harness::variant("", "Soon", "Soon.")],
            ..super::harness::template("soon")
        }),
        ..Default::default()
    };
    world.templates.create_template(template).await.unwrap();
    plan.audience_filter = "locale = \"xx\"".to_owned();
    plan.steps = vec![step("ask", after_hours(24), "soon")];
    let empty = world.campaigns.preview_campaign(request(Source::Inline(plan))).await.unwrap().into_inner();
    assert_eq!((empty.audience, empty.contactable), (0, 0));
    assert_eq!(empty.warnings, ["nobody is in the audience", "template soon is not published"]);

    let nothing = PreviewCampaignRequest { source: None, sample_size: 21 };
    assert_eq!(wrong_fields(world.campaigns.preview_campaign(nothing).await), ["sampleSize", "campaignId"]);
}

#[tokio::test]
async fn audiences_and_conditions_ask_how_customers_are_known_and_reached_as_lists_do() {
    let mut world = shop().await;
    let filter = "external_ids:\"a*\" AND addresses.value:\"*@example.com\"";
    let condition = "NOT customer.addresses.value:\"anna@*\" AND customer.external_ids:*";
    let steps =
        vec![proto::Step { condition_filter: condition.to_owned(), ..step("ask", after_hours(24), "check-in") }];
    world.campaign(Campaign { steps, ..check_in("", filter) }).await;
    for name in ["anna", "alma", "bela"] {
        world.customer(name, "").await;
    }
    let elsewhere =
        |customer: &mut proto::Customer| customer.addresses = vec![super::harness::email("a@other.example")];
    world.customer_with("ada", elsewhere).await;
    let list = proto::ListCustomersRequest { filter: filter.to_owned(), ..Default::default() };
    let listed = world.customers.list_customers(list).await.unwrap().into_inner().customers;
    let mut enrolled = Vec::new();
    for name in ["anna", "alma", "bela", "ada"] {
        let effects = world.happens("order.placed", name, "1").await.effects;
        if only(&effects).outcome() == Outcome::Enrolled {
            enrolled.push(name);
        }
    }
    assert_eq!(listed.iter().map(|one| one.given_name.as_str()).collect::<Vec<_>>(), enrolled);
    assert_eq!(enrolled, ["anna", "alma"]);
    world.dispatch_after_hours(24).await;
    world.live().await;
    assert_eq!(world.subjects(), ["check-in for alma"]);
}
