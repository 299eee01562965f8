//! What plans are made of is rehearsed too: blocks that templates share, conditions, experiments.

use std::collections::BTreeMap;

use rapport::rpc::proto::{self, BlockReason, Campaign, CampaignPolicy, Template, Variant};

use super::{assert_same, inline, real_fates, rehearse_in, rehearsed_fates, stats_of};
use crate::harness::{self, World, after_hours, campaign, step, variant, with_data};

/// So many customers are enough for every share to have some.
const CUSTOMERS: usize = 40;
const START: &str = "2026-02-02T09:00:00Z";
const END: &str = "2026-02-12T09:00:00Z";

/// A shop with its customers, and their names by their ids.
async fn shop() -> (World, BTreeMap<String, String>) {
    let mut world = World::at("2026-02-01T09:00:00Z").await;
    world.shop().await;
    world.template_with("told", "{{ data.title }}", "It is {{ data.title }}.").await;
    let mut names = BTreeMap::new();
    for number in 0..CUSTOMERS {
        let name = format!("customer-{number:02}");
        names.insert(world.customer(&name, "").await.customer_id, name);
    }
    (world, names)
}

/// Everybody orders something, and some do again.
async fn live(world: &mut World, names: &BTreeMap<String, String>) {
    for (place, name) in names.values().enumerate() {
        world.happens("order.placed", name, "first").await;
        if place % 3 == 0 {
            world.happens("order.placed", name, "second").await;
        }
    }
    for day in 3..12 {
        world.live_until(&format!("2026-02-{day:02}T09:00:00Z")).await;
    }
    world.live_until(END).await;
}

/// Lives with a campaign, and rehearses it: what it sent itself does not count, so the same comes of it.
async fn is_rehearsed_as_it_is_lived(plan: Campaign) -> proto::CampaignStats {
    let (mut world, names) = shop().await;
    world.advance_to(START);
    let id = world.campaign(plan).await.campaign_id;
    live(&mut world, &names).await;
    let expected = real_fates(&mut world, &names, &id).await;
    let stored = proto::rehearse_campaign_request::Source::CampaignId(id.clone());
    let request = rehearse_in((START, END), stored);
    let answer = world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    assert_same(&rehearsed_fates(&names, &answer), &expected);
    let stats = stats_of(&mut world, &id).await;
    assert_eq!(answer.stats, Some(stats.clone()));
    stats
}

#[tokio::test]
async fn conditions_of_steps_are_asked_on_the_way() {
    let condition = "event_count(\"order.placed\", 30) >= 2 AND steps.one.state = SENT".to_owned();
    let again = proto::Step { condition_filter: condition, ..step("two", after_hours(24), "offer") };
    let reentry = Some(proto::Reentry { mode: proto::reentry::Mode::Once.into(), cooldown_days: 0 });
    let steps = vec![step("one", after_hours(24), "check-in"), again];
    let stats = is_rehearsed_as_it_is_lived(Campaign { reentry, ..campaign("twice", "orders", steps) }).await;
    assert_eq!((stats.sent, stats.scheduled), (40 + 14, 0), "{stats:?}");
}

#[tokio::test]
async fn what_a_step_gives_its_template_is_there() {
    let data = serde_json::json!({"title": "Spring"});
    let steps = vec![with_data(step("one", after_hours(24), "told"), data), step("two", after_hours(24), "told")];
    let stats = is_rehearsed_as_it_is_lived(campaign("told", "orders", steps)).await;
    assert_eq!((stats.sent, stats.suppressed), (54, 54), "{stats:?}");
}

#[tokio::test]
async fn variants_are_drawn_and_customers_held_out_as_when_it_is_active() {
    let variant = |id: &str, weight| Variant { variant_id: id.into(), template_id: id.into(), weight };
    let send = proto::SendAction { variants: vec![variant("check-in", 3), variant("offer", 1)], ..Default::default() };
    let drawn = proto::Step { action: Some(proto::step::Action::Send(send)), ..step("ask", after_hours(24), "") };
    let policy = Some(CampaignPolicy { holdout_percent: 30, ..CampaignPolicy::default() });
    let goal = Some(proto::Goal { event_type: "order.placed".into(), ..Default::default() });
    let stats = is_rehearsed_as_it_is_lived(Campaign { policy, goal, ..campaign("test", "orders", vec![drawn]) }).await;
    assert!(stats.variants.len() == 2 && stats.variants.iter().all(|one| one.sent > 0), "{stats:?}");
    assert!(stats.holdout.is_some_and(|held| held.sent > 0));
}

#[tokio::test]
async fn blocks_that_templates_share_are_part_of_what_is_rehearsed() {
    let (mut world, names) = shop().await;
    let partial = Template {
        partial: true,
        variants: vec![variant("", "", "{% if event.subject == 'second' %}{{ event.properties.gone }}{% endif %}")],
        ..harness::template("block")
    };
    let request = proto::CreateTemplateRequest { template: Some(partial), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let request = proto::PublishTemplateRequest { template_id: "block".into(), ..Default::default() };
    world.templates.publish_template(request).await.unwrap();
    let draft = Template {
        variants: vec![variant("", "Hello", "{% include \"block\" %} Hello.")],
        ..harness::template("with-block")
    };
    let request = proto::CreateTemplateRequest { template: Some(draft), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    world.advance_to(START);
    live(&mut world, &names).await;

    let plan = campaign("blocks", "orders", vec![step("one", after_hours(24), "with-block")]);
    let request = rehearse_in((START, END), inline(plan));
    let answer = world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    let stats = answer.stats.unwrap();
    assert_eq!((stats.sent, stats.suppressed), (40, 14), "{stats:?}");
    assert_eq!(stats.blocks[0].reason(), BlockReason::TemplateError);
}

#[tokio::test]
async fn what_customers_did_starts_campaigns_anew_though_none_listened_then() {
    let (mut world, _) = shop().await;
    world.advance_to(START);
    let new = world.customer("newcomer", "").await.customer_id;
    world.advance_to("2026-02-03T09:00:00Z");
    world.consent("newcomer", "offers", proto::set_consent_request::Decision::Grant).await;
    world.advance_to(END);
    for (event_type, due) in [("customer.created", "2026-02-02T10:00:00Z"), ("consent.granted", "2026-02-03T10:00:00Z")]
    {
        let trigger = harness::on_event(event_type);
        let plan = Campaign { trigger, ..campaign("welcome", "orders", vec![step("one", after_hours(1), "check-in")]) };
        let answer = world.campaigns.rehearse_campaign(rehearse_in((START, END), inline(plan))).await.unwrap();
        let answer = answer.into_inner();
        let told: Vec<_> = answer.samples.iter().map(|one| (&one.customer_id, harness::shown(one.due_time))).collect();
        assert_eq!(told, [(&new, due.to_owned())], "{event_type}");
    }
}
