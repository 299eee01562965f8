//! Previews of campaigns: the first message, by the very rules that decide when it is due.

use rapport::{
    rpc::proto::{
        self, ArchiveCampaignRequest, BlockReason, Campaign, CampaignPolicy, CreateCampaignRequest, DateTrigger,
        FrequencyCap, PauseCampaignRequest, PreviewCampaignRequest, PreviewCampaignResponse, RecurringTrigger,
        SendingPolicy, UpdateSendingPolicyRequest,
        block::Effect::{self, Cancel, Defer, Suppress},
        campaign::Trigger,
        date_trigger::Recurrence,
        preview_campaign_request::Source,
        recurring_trigger,
        set_consent_request::Decision,
    },
    split::{Draw, is_held_out},
};
use serde_json::json;

use super::harness::{World, after_hours, campaign, step, structure, update_step, wait_step, wrong_fields};

fn when(condition: &str, step: proto::Step) -> proto::Step {
    proto::Step { condition_filter: condition.into(), ..step }
}

fn every_monday() -> Option<Trigger> {
    let zone = Some(recurring_trigger::Zone::TimeZone("UTC".into()));
    Some(Trigger::Recurring(RecurringTrigger { cron: "0 9 * * MON".into(), zone, ..Default::default() }))
}

fn newsletter(topic: &str) -> Campaign {
    let send = proto::Step { delay: None, ..step("send", after_hours(0), "offer") };
    Campaign { trigger: every_monday(), ..campaign("news", topic, vec![send]) }
}

/// Three who have attributes each, and want offers.
async fn shop() -> World {
    let mut world = World::new().await;
    world.shop().await;
    for (name, attributes) in [
        ("anna", json!({"plan": "gold", "birthday": "1990-03-01"})),
        ("ben", json!({"plan": "tin", "birthday": "soon"})),
        ("cleo", json!({"birthday": "2025-12-24"})),
    ] {
        world.customer_with(name, |customer| customer.attributes = Some(structure(attributes))).await;
        world.consent(name, "offers", Decision::Grant).await;
    }
    world
}

async fn preview(world: &mut World, source: Source) -> PreviewCampaignResponse {
    let request = PreviewCampaignRequest { source: Some(source), sample_size: 1 };
    world.campaigns.preview_campaign(request).await.unwrap().into_inner()
}

async fn preview_of(world: &mut World, plan: &Campaign) -> PreviewCampaignResponse {
    preview(world, Source::Inline(plan.clone())).await
}

fn blocks(of: &PreviewCampaignResponse) -> Vec<(BlockReason, Effect, i64)> {
    of.blocks.iter().map(|one| (one.reason(), one.effect(), one.count)).collect()
}

#[tokio::test]
async fn a_preview_judges_the_condition_of_the_first_message_and_says_where_it_cannot() {
    let mut world = shop().await;
    let first = |condition: &str| {
        vec![when(condition, step("one", after_hours(0), "offer")), step("two", after_hours(1), "check-in")]
    };
    for condition in [
        "customer.attributes.plan = \"gold\"",
        "consented(\"offers\", CHANNEL_EMAIL) AND customer.attributes.plan = \"gold\"",
    ] {
        let found = preview_of(&mut world, &campaign("test", "orders", first(condition))).await;
        assert_eq!((found.audience, found.examined, found.contactable), (3, 3, 1), "{condition}");
        assert_eq!(blocks(&found), [(BlockReason::ConditionFalse, Suppress, 2)]);
        assert_eq!(found.warnings, Vec::<String>::new());
    }
    let open = "the condition of one can be judged only when it is due: the counts are as if it matched";
    let wait = || wait_step("wait", "order.delivered", 24);
    let tag = || update_step("tag", proto::UpdateAction { add_tags: vec!["new".into()], ..Default::default() });
    for (before, condition) in [
        (None, "event.properties.total > 100"),
        (Some(wait()), "steps.wait.state = REACHED"),
        (Some(tag()), "customer.tags:\"new\""),
    ] {
        let steps = before.into_iter().chain(first(condition)).collect();
        let found = preview_of(&mut world, &campaign("test", "orders", steps)).await;
        assert_eq!((found.examined, found.contactable, found.warnings), (3, 3, vec![open.to_owned()]), "{condition}");
    }
    // No event starts this one, so what is asked of it is known.
    let by_date = Campaign {
        trigger: birthday("birthday", Recurrence::Yearly),
        ..campaign("test", "orders", first("event.subject:*"))
    };
    assert_eq!(blocks(&preview_of(&mut world, &by_date).await), [(BlockReason::ConditionFalse, Suppress, 2)]);

    let silent = preview_of(&mut world, &campaign("test", "orders", vec![tag()])).await;
    assert_eq!((silent.contactable, silent.warnings), (0, vec!["no step sends a message".to_owned()]));
}

#[tokio::test]
async fn a_newsletter_is_previewed_as_one_and_takes_neither_conditions_nor_steps_that_do_not_send() {
    let mut world = shop().await;
    let caps = vec![FrequencyCap { max_contacts: 1, window_hours: 24, ..FrequencyCap::default() }];
    let request = UpdateSendingPolicyRequest {
        policy: Some(SendingPolicy { caps, ..SendingPolicy::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["caps".into()] }),
    };
    world.preferences.update_sending_policy(request).await.unwrap();
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    let found = preview_of(&mut world, &newsletter("offers")).await;
    assert_eq!((found.examined, found.contactable), (3, 2));
    assert_eq!(blocks(&found), [(BlockReason::FrequencyCap, Suppress, 1)]);
    let follow_up =
        preview_of(&mut world, &campaign("test", "offers", vec![step("one", after_hours(0), "offer")])).await;
    assert_eq!((follow_up.contactable, blocks(&follow_up)), (3, vec![(BlockReason::FrequencyCap, Defer, 1)]));

    let tag = update_step("tag", proto::UpdateAction { add_tags: vec!["new".into()], ..Default::default() });
    let odd = Campaign { steps: vec![when("customer.tags:\"old\"", tag)], ..newsletter("offers") };
    let request = CreateCampaignRequest { campaign: Some(odd.clone()), ..Default::default() };
    let wrong = wrong_fields(world.campaigns.create_campaign(request).await);
    assert_eq!(wrong, ["campaign.steps[0].send", "campaign.steps[0].conditionFilter"]);
    let request = PreviewCampaignRequest { source: Some(Source::Inline(odd)), sample_size: 1 };
    let wrong = wrong_fields(world.campaigns.preview_campaign(request).await);
    assert_eq!(wrong, ["inline.steps[0].send", "inline.steps[0].conditionFilter"]);
}

#[tokio::test]
async fn a_preview_holds_out_whom_the_campaign_would_hold_out_also_where_it_is_not_stored() {
    let mut world = World::new().await;
    world.shop().await;
    let mut held = 0;
    for number in 0..30 {
        let customer = world.customer(&format!("customer-{number:02}"), "").await;
        held += i64::from(is_held_out(Draw::Campaign("test"), customer.customer_id.parse().unwrap(), 40));
    }
    assert!((1..30).contains(&held));
    let policy = Some(CampaignPolicy { holdout_percent: 40, ..CampaignPolicy::default() });
    let plan = Campaign { policy, ..campaign("test", "orders", vec![step("one", after_hours(0), "check-in")]) };
    let inline = preview_of(&mut world, &plan).await;
    assert_eq!((inline.contactable, blocks(&inline)), (30 - held, vec![(BlockReason::Holdout, Suppress, held)]));
    world.campaign(plan).await;
    assert_eq!(preview(&mut world, Source::CampaignId("test".into())).await, inline);
}

fn birthday(attribute: &str, recurrence: Recurrence) -> Option<Trigger> {
    let (attribute, recurrence) = (attribute.to_owned(), recurrence.into());
    Some(Trigger::Date(DateTrigger { attribute, recurrence, ..DateTrigger::default() }))
}

#[tokio::test]
async fn a_preview_counts_only_those_for_whom_a_date_lies_ahead() {
    let mut world = shop().await;
    let steps = vec![step("one", after_hours(0), "check-in")];
    let mut found = async |attribute: &str, recurrence| {
        let trigger = birthday(attribute, recurrence);
        let plan = Campaign { trigger, ..campaign("test", "orders", steps.clone()) };
        let found = preview_of(&mut world, &plan).await;
        (found.examined, found.contactable, found.warnings)
    };
    let none =
        |count: i64, of: &str| format!("{count} of the audience have no date in attributes.{of} that lies ahead");
    assert_eq!(found("birthday", Recurrence::Yearly).await, (3, 2, vec![none(1, "birthday")]));
    let nobody = "nobody in the audience would get a message".to_owned();
    assert_eq!(found("birthday", Recurrence::Once).await, (3, 0, vec![nobody.clone(), none(3, "birthday")]));
    assert_eq!(found("birthdya", Recurrence::Yearly).await, (3, 0, vec![nobody, none(3, "birthdya")]));
}

#[tokio::test]
async fn a_preview_shows_that_a_campaign_is_paused_or_archived() {
    let mut world = shop().await;
    for plan in [campaign("test", "orders", vec![step("one", after_hours(0), "check-in")]), newsletter("offers")] {
        let campaign_id = plan.campaign_id.clone();
        world.campaign(plan).await;
        let request = PauseCampaignRequest { campaign_id: campaign_id.clone(), note: String::new() };
        world.campaigns.pause_campaign(request).await.unwrap();
        let found = preview(&mut world, Source::CampaignId(campaign_id.clone())).await;
        assert_eq!((found.contactable, blocks(&found)), (3, vec![(BlockReason::CampaignPaused, Defer, 3)]));
        assert_eq!(found.warnings, ["the campaign is paused: nothing goes out until it is resumed"]);
        let request = ArchiveCampaignRequest { campaign_id: campaign_id.clone(), note: String::new() };
        world.campaigns.archive_campaign(request).await.unwrap();
        let found = preview(&mut world, Source::CampaignId(campaign_id)).await;
        assert_eq!((found.contactable, blocks(&found)), (0, vec![(BlockReason::CampaignEnded, Cancel, 3)]));
        assert_eq!(found.warnings, ["nobody in the audience would get a message", "the campaign is archived"]);
    }
}
