//! The twenty flows that shops run, each as its campaign would be written, over the days that it takes. Three of them have stories of
//! their own elsewhere: the welcome (`happenings`), the birthday and the renewal (`triggers`).

use rapport::rpc::proto::{
    self, AudienceTrigger, Campaign, DateTrigger, Event, Exit, Purpose, date_trigger, reentry::Mode,
    set_consent_request::Decision, topic::OptIn,
};
use serde_json::json;

use super::harness::{
    World, after_days, after_hours, by_name, campaign, on_event, step, structure, update_step, wait_step,
};

/// Anna, who wants to hear of everything, and what a shop writes about.
async fn shop() -> World {
    let mut world = World::new().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.topic("orders", Purpose::Service, OptIn::None).await;
    world.topic("offers", Purpose::Marketing, OptIn::Single).await;
    world.topic("survey", Purpose::Survey, OptIn::Single).await;
    for id in ["one", "two", "three", "four"] {
        world.template(id).await;
    }
    world.customer("anna", "").await;
    for topic in ["offers", "survey"] {
        world.consent("anna", topic, Decision::Grant).await;
    }
    world
}

/// A campaign that an event starts and others end.
fn on(event_type: &str, topic: &str, mode: Mode, exits: &[&str], steps: Vec<proto::Step>) -> Campaign {
    Campaign {
        trigger: on_event(event_type),
        reentry: Some(proto::Reentry { mode: mode.into(), cooldown_days: 0 }),
        exits: exits.iter().map(|event_type| exit(event_type)).collect(),
        ..campaign("flow", topic, steps)
    }
}

fn exit(event_type: &str) -> Exit {
    Exit { event_type: event_type.into(), ..Default::default() }
}

/// Mails at hours after one another.
fn mails(topic_hours: &[(i32, &str)]) -> Vec<proto::Step> {
    topic_hours.iter().map(|(hours, template)| step(template, after_hours(*hours), template)).collect()
}

fn when(condition: &str, step: proto::Step) -> proto::Step {
    proto::Step { condition_filter: condition.into(), ..step }
}

/// Lives hour by hour, and answers after which hours mail went out.
async fn hours_of_mail(world: &mut World, hours: i64) -> Vec<i64> {
    let (mut known, mut found) = (world.mail().len(), Vec::new());
    let step = (hours / 48).max(1);
    for hour in (0..=hours).step_by(usize::try_from(step).unwrap()) {
        if hour > 0 {
            world.dispatch_after_hours(step).await;
        }
        world.live().await;
        let now = world.mail().len();
        found.extend(std::iter::repeat_n(hour, now - known));
        known = now;
    }
    found
}

async fn set(world: &mut World, attributes: serde_json::Value) {
    let customer = proto::Customer { attributes: Some(structure(attributes)), ..Default::default() };
    let request =
        proto::UpdateCustomerRequest { target: by_name("anna"), customer: Some(customer), ..Default::default() };
    world.customers.update_customer(request).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_checkout_is_recalled_after_four_hours_a_day_and_three_days_unless_it_is_paid() {
    let mut world = shop().await;
    let steps = mails(&[(4, "one"), (20, "two"), (48, "three")]);
    world.campaign(on("checkout.started", "orders", Mode::OncePerSubject, &["order.placed"], steps)).await;
    world.happens("checkout.started", "anna", "c-1").await;
    assert_eq!(hours_of_mail(&mut world, 96).await, [4, 24, 72]);
    world.happens("checkout.started", "anna", "c-2").await;
    assert_eq!(hours_of_mail(&mut world, 10).await, [4]);
    world.happens("order.placed", "anna", "o-1").await;
    assert_eq!(hours_of_mail(&mut world, 96).await, [0; 0]);
}

#[tokio::test]
async fn an_abandoned_cart_waits_an_hour_from_its_last_change() {
    let mut world = shop().await;
    let steps = mails(&[(1, "one"), (23, "two"), (24, "three")]);
    let exits = ["order.placed", "cart.emptied"];
    world.campaign(on("cart.updated", "orders", Mode::Restart, &exits, steps)).await;
    world.happens("cart.updated", "anna", "k-1").await;
    world.advance_to("2026-02-02T09:40:00Z");
    world.happens("cart.updated", "anna", "k-1").await;
    world.live_until("2026-02-02T10:39:59Z").await;
    assert!(world.mail().is_empty());
    assert_eq!(hours_of_mail(&mut world, 48).await, [1, 24, 48]);
    world.happens("cart.updated", "anna", "k-1").await;
    world.dispatch_after_hours(2).await;
    world.happens("cart.emptied", "anna", "k-1").await;
    assert_eq!(world.mail().len(), 4);
    assert_eq!(hours_of_mail(&mut world, 96).await, [0; 0]);
}

#[tokio::test]
async fn whoever_looked_at_two_products_and_took_none_is_reminded() {
    let mut world = shop().await;
    let audience_filter = "event_count(\"product.viewed\", 1) >= 2".to_owned();
    let steps = mails(&[(4, "one")]);
    let plan = on("product.viewed", "offers", Mode::Restart, &["cart.updated", "order.placed"], steps);
    world.campaign(Campaign { audience_filter, ..plan }).await;
    world.happens("product.viewed", "anna", "p-1").await;
    assert_eq!(hours_of_mail(&mut world, 2).await, [0; 0]);
    world.happens("product.viewed", "anna", "p-2").await;
    assert_eq!(hours_of_mail(&mut world, 6).await, [4]);
    world.happens("product.viewed", "anna", "p-3").await;
    world.happens("product.viewed", "anna", "p-4").await;
    world.dispatch_after_hours(1).await;
    world.happens("cart.updated", "anna", "k-1").await;
    assert_eq!(hours_of_mail(&mut world, 6).await, [0; 0]);
}

#[tokio::test]
async fn whoever_was_on_the_site_and_looked_at_nothing_hears_after_four_hours() {
    let mut world = shop().await;
    let nothing = "NOT event_count(\"product.viewed\", 1) >= 1";
    let steps = vec![when(nothing, step("one", after_hours(4), "one"))];
    world.campaign(on("site.visited", "offers", Mode::Restart, &[], steps)).await;
    world.happens("site.visited", "anna", "").await;
    assert_eq!(hours_of_mail(&mut world, 6).await, [4]);
    world.happens("site.visited", "anna", "").await;
    world.dispatch_after_hours(1).await;
    world.happens("product.viewed", "anna", "p-1").await;
    assert_eq!(hours_of_mail(&mut world, 6).await, [0; 0]);
}

#[tokio::test]
async fn orders_and_their_way_are_told_at_once_even_to_who_wants_silence() {
    let mut world = shop().await;
    for (place, event_type) in ["order.placed", "order.shipped", "order.delivered"].into_iter().enumerate() {
        let template = ["one", "two", "three"][place];
        let plan = on(event_type, "receipts", Mode::OncePerSubject, &[], mails(&[(0, template)]));
        world.campaign(Campaign { campaign_id: format!("flow-{place}"), ..plan }).await;
    }
    let request = proto::UnsubscribeRequest {
        by: by_name("anna").map(proto::unsubscribe_request::By::Customer),
        scope: Some(proto::unsubscribe_request::Scope::Everything(true)),
        method: proto::ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    world.preferences.unsubscribe(request).await.unwrap();
    for event_type in ["order.placed", "order.shipped", "order.delivered"] {
        world.happens(event_type, "anna", "o-1").await;
        assert_eq!(hours_of_mail(&mut world, 1).await, [0]);
    }
}

#[tokio::test]
async fn whoever_got_a_machine_learns_to_use_it_two_days_later() {
    let mut world = shop().await;
    let machine = "event.properties.category = \"machines\"";
    let steps = vec![when(machine, step("one", after_days(2, "10:00"), "one"))];
    world.campaign(on("order.delivered", "orders", Mode::OncePerSubject, &["order.returned"], steps)).await;
    for (subject, category) in [("o-1", "machines"), ("o-2", "beans")] {
        let properties = Some(structure(json!({"category": category})));
        let event = Event { properties, ..world.event("order.delivered", "anna", subject) };
        world.record(event).await.unwrap();
    }
    // Monday 09:00; the third day at ten is 49 hours later.
    assert_eq!(hours_of_mail(&mut world, 48).await, [0; 0]);
    assert_eq!(hours_of_mail(&mut world, 2).await, [1]);
}

#[tokio::test]
async fn a_review_is_asked_for_a_week_after_delivery_unless_it_was_left_or_the_order_returned() {
    let mut world = shop().await;
    let exits = ["review.left", "order.returned"];
    let plan = on("order.delivered", "survey", Mode::OncePerSubject, &[], mails(&[(7 * 24, "one")]));
    let exits = exits.iter().map(|event_type| Exit { same_subject: true, ..exit(event_type) });
    world.campaign(Campaign { exits: exits.collect(), ..plan }).await;
    for subject in ["o-1", "o-2", "o-3"] {
        world.happens("order.delivered", "anna", subject).await;
    }
    world.dispatch_after_hours(24).await;
    world.happens("review.left", "anna", "o-1").await;
    world.happens("order.returned", "anna", "o-2").await;
    assert_eq!(hours_of_mail(&mut world, 192).await, [144]);
}

#[tokio::test]
async fn what_goes_with_an_order_is_offered_a_week_later_to_who_has_none_and_agreed_to_offers() {
    let mut world = shop().await;
    world.customer("ben", "").await;
    world.customer_with("carl", |carl| carl.tags = vec!["has-grinder".into()]).await;
    world.consent("carl", "offers", Decision::Grant).await;
    let steps = vec![when("NOT customer.tags:\"has-grinder\"", step("one", after_hours(7 * 24), "one"))];
    world.campaign(on("order.fulfilled", "offers", Mode::OncePerSubject, &[], steps)).await;
    for name in ["anna", "ben", "carl"] {
        world.happens("order.fulfilled", name, "o-1").await;
    }
    assert_eq!(hours_of_mail(&mut world, 192).await, [168]);
    assert_eq!(world.subjects(), ["one for anna"]);
}

#[tokio::test]
async fn what_runs_out_is_offered_again_five_days_before() {
    let mut world = shop().await;
    let before = proto::Delay {
        anchor: proto::delay::Anchor::Field.into(),
        field: "event.properties.runs_out_on".into(),
        ..after_days(-5, "09:00")
    };
    let plan =
        on("order.delivered", "offers", Mode::OncePerSubject, &["order.placed"], vec![step("one", before, "one")]);
    world.campaign(plan).await;
    let properties = Some(structure(json!({"runs_out_on": "2026-03-04"})));
    let delivered = Event { properties, ..world.event("order.delivered", "anna", "o-1") };
    world.record(delivered).await.unwrap();
    world.live_until("2026-02-27T08:59:59Z").await;
    assert!(world.mail().is_empty());
    world.live_until("2026-02-27T09:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn whoever_bought_nothing_for_sixty_days_is_won_back_in_four_mails_and_every_order_begins_anew() {
    let mut world = shop().await;
    let day = 24;
    let steps = mails(&[(60 * day, "one"), (7 * day, "two"), (7 * day, "three"), (14 * day, "four")]);
    world.campaign(on("order.placed", "offers", Mode::Restart, &[], steps)).await;
    world.happens("order.placed", "anna", "o-1").await;
    assert_eq!(hours_of_mail(&mut world, 48 * 24).await, [0; 0]);
    world.happens("order.placed", "anna", "o-2").await;
    let days: Vec<i64> = hours_of_mail(&mut world, 96 * 24).await.into_iter().map(|hour| hour / 24).collect();
    assert_eq!(days, [60, 68, 76, 90]);
}

#[tokio::test]
async fn whoever_did_not_come_for_thirty_days_is_missed_once() {
    let mut world = shop().await;
    world.campaign(on("site.visited", "orders", Mode::Restart, &[], mails(&[(30 * 24, "one")]))).await;
    for _ in 0..3 {
        world.happens("site.visited", "anna", "").await;
        world.dispatch_after_hours(20 * 24).await;
        assert!(world.mail().is_empty());
    }
    world.dispatch_after_hours(10 * 24).await;
    world.dispatch_after_hours(60 * 24).await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn whoever_shows_no_interest_for_half_a_year_is_asked_once_and_then_left_alone() {
    let mut world = shop().await;
    let mut wait = wait_step("interest", "site.visited", 7 * 24);
    if let Some(proto::step::Action::Wait(wait)) = &mut wait.action {
        wait.exit_on_timeout = false;
    }
    let sunset = proto::UpdateAction {
        add_tags: vec!["sunset".into()],
        withdraw_topic_id: "offers".into(),
        ..Default::default()
    };
    let silent = "steps.interest.state = TIMED_OUT";
    let steps = vec![step("one", after_hours(0), "one"), wait, when(silent, update_step("leave", sunset))];
    let plan = Campaign {
        trigger: Some(proto::campaign::Trigger::Audience(AudienceTrigger {})),
        audience_filter: "days_since(last_event(\"site.visited\")) >= 180".into(),
        ..campaign("flow", "offers", steps)
    };
    world.campaign(plan).await;
    world.customer("ben", "").await;
    world.consent("ben", "offers", Decision::Grant).await;
    for name in ["anna", "ben"] {
        world.happens("site.visited", name, "").await;
    }
    world.dispatch_after_hours(181 * 24).await;
    world.run_job("scan-triggers").await;
    world.live().await;
    assert_eq!(world.mail().len(), 2);
    world.dispatch_after_hours(24).await;
    world.happens("site.visited", "ben", "").await;
    world.dispatch_after_hours(8 * 24).await;
    world.live().await;
    for (name, tags, state) in
        [("anna", &["sunset"][..], proto::consent::State::Denied), ("ben", &[], proto::consent::State::Granted)]
    {
        let request = proto::GetCustomerRequest { customer: by_name(name), ..Default::default() };
        let customer = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
        assert_eq!(customer.tags, tags, "{name}");
        let request = proto::GetPreferencesRequest { customer: by_name(name) };
        let said = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
        let offers = said.consents.iter().find(|consent| consent.topic_id == "offers").unwrap();
        assert_eq!(offers.state(), state, "{name}");
    }
}

#[tokio::test]
async fn a_new_tier_is_congratulated_after_a_quarter_of_an_hour_unless_it_was_a_mistake() {
    let mut world = shop().await;
    let quarter = proto::Elapsed { hours: 0, minutes: 15 };
    let quarter = proto::Delay { length: Some(proto::delay::Length::Elapsed(quarter)), ..Default::default() };
    let steps = vec![step("one", quarter, "one")];
    let exit = Exit { same_subject: true, ..exit("tier.reversed") };
    let plan = Campaign { exits: vec![exit], ..on("tier.upgraded", "orders", Mode::OncePerSubject, &[], steps) };
    world.campaign(plan).await;
    for tier in ["silver", "gold"] {
        world.happens("tier.upgraded", "anna", tier).await;
    }
    world.advance_to("2026-02-02T09:10:00Z");
    world.happens("tier.reversed", "anna", "gold").await;
    world.live_until("2026-02-02T09:20:00Z").await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn points_that_expire_are_recalled_a_month_a_week_and_a_day_before_unless_they_are_spent() {
    let mut world = shop().await;
    let trigger = DateTrigger {
        attribute: "points_expire_on".into(),
        recurrence: date_trigger::Recurrence::Once.into(),
        ..DateTrigger::default()
    };
    let before =
        |days: i32| proto::Delay { anchor: proto::delay::Anchor::Trigger.into(), ..after_days(-days, "09:00") };
    let steps = vec![step("one", before(30), "one"), step("two", before(7), "two"), step("three", before(1), "three")];
    let exits = vec![exit("points.spent")];
    let trigger = Some(proto::campaign::Trigger::Date(trigger));
    world.campaign(Campaign { trigger, exits, ..campaign("flow", "orders", steps) }).await;
    set(&mut world, json!({"points_expire_on": "2026-04-15"})).await;
    for (moment, mails) in [
        ("2026-03-16T08:30:00Z", 0),
        ("2026-03-16T09:00:00Z", 1),
        ("2026-04-08T08:59:59Z", 1),
        ("2026-04-08T09:00:00Z", 2),
    ] {
        world.advance_to(moment);
        world.run_job("scan-triggers").await;
        world.live().await;
        assert_eq!(world.mail().len(), mails, "{moment}");
    }
    world.happens("points.spent", "anna", "").await;
    world.live_until("2026-04-14T09:00:00Z").await;
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn what_is_back_in_stock_is_told_in_small_batches() {
    let mut world = shop().await;
    let policy = Some(proto::CampaignPolicy { max_per_minute: 60, ..Default::default() });
    let plan = on("product.back_in_stock", "orders", Mode::OncePerSubject, &["order.placed"], mails(&[(0, "one")]));
    world.campaign(Campaign { policy, ..plan }).await;
    for number in 0..3 {
        let name = format!("customer-{number}");
        world.customer(&name, "").await;
        world.happens("product.back_in_stock", &name, "p-1").await;
    }
    for _ in 0..40 {
        world.dispatch().await;
        if world.mail().len() == 3 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    panic!("{} went out", world.mail().len());
}

#[tokio::test]
async fn a_survey_is_asked_for_with_one_reminder_and_who_is_unhappy_hears_within_hours() {
    let mut world = shop().await;
    let mut wait = wait_step("answer", "survey.answered", 5 * 24);
    if let Some(proto::step::Action::Wait(wait)) = &mut wait.action {
        wait.same_subject = true;
    }
    let silent = "steps.answer.state = TIMED_OUT";
    let invite = vec![step("one", after_hours(10 * 24), "one"), wait, when(silent, step("two", after_hours(0), "two"))];
    world.campaign(on("order.delivered", "survey", Mode::OncePerSubject, &[], invite)).await;
    let unhappy = "event.properties.score <= 6";
    let loop_back = vec![when(unhappy, step("three", after_hours(4), "three"))];
    let loop_back = on("survey.answered", "orders", Mode::OncePerSubject, &[], loop_back);
    world.campaign(Campaign { campaign_id: "closed-loop".into(), ..loop_back }).await;
    for subject in ["o-1", "o-2"] {
        world.happens("order.delivered", "anna", subject).await;
    }
    assert_eq!(hours_of_mail(&mut world, 240).await, [240, 240]);
    world.dispatch_after_hours(24).await;
    let properties = Some(structure(json!({"score": 3})));
    let answered = Event { properties, ..world.event("survey.answered", "anna", "o-1") };
    world.record(answered).await.unwrap();
    assert_eq!(hours_of_mail(&mut world, 10).await, [4]);
    world.dispatch_after_hours(5 * 24).await;
    world.live().await;
    let mut subjects = world.subjects();
    subjects.sort();
    assert_eq!(subjects, ["one for anna", "one for anna", "three for anna", "two for anna"]);
}
