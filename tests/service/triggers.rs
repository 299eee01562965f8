//! Campaigns that a date or an audience starts.

use rapport::rpc::proto::{
    self, AudienceTrigger, Campaign, Customer, DateTrigger, ListEnrollmentsRequest, date_trigger, enrollment, reentry,
};
use serde_json::json;

use super::harness::{World, after_days, after_hours, by_name, campaign, shown, step, structure, wrong_fields};

async fn world(start: &str) -> World {
    let mut world = World::at(start).await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    for id in ["teaser", "wishes", "last-chance", "welcome"] {
        world.template(id).await;
    }
    world
}

fn birthday(recurrence: date_trigger::Recurrence, leap_day: date_trigger::LeapDay) -> proto::campaign::Trigger {
    proto::campaign::Trigger::Date(DateTrigger {
        attribute: "birthday".into(),
        recurrence: recurrence.into(),
        leap_day: leap_day.into(),
    })
}

/// A teaser a week before, wishes on the day, a last chance a week after, each at nine where the customer lives.
fn greetings(leap_day: date_trigger::LeapDay) -> Campaign {
    let from_date =
        |days: i32| proto::Delay { anchor: proto::delay::Anchor::Trigger.into(), ..after_days(days, "09:00") };
    let steps = vec![
        step("before", from_date(-7), "teaser"),
        step("day", from_date(0), "wishes"),
        step("after", from_date(7), "last-chance"),
    ];
    Campaign {
        trigger: Some(birthday(date_trigger::Recurrence::Yearly, leap_day)),
        ..campaign("greetings", "orders", steps)
    }
}

async fn born(world: &mut World, name: &str, zone: &str, date: &str) {
    world
        .customer_with(name, |customer| {
            customer.time_zone = zone.into();
            customer.attributes = Some(structure(json!({"birthday": date})));
        })
        .await;
}

async fn set(world: &mut World, name: &str, attributes: serde_json::Value) {
    let request = proto::UpdateCustomerRequest {
        target: by_name(name),
        customer: Some(Customer { attributes: Some(structure(attributes)), ..Customer::default() }),
        ..Default::default()
    };
    world.customers.update_customer(request).await.unwrap();
}

async fn enrollments(world: &mut World, campaign_id: &str) -> Vec<proto::Enrollment> {
    let request = ListEnrollmentsRequest { campaign_id: campaign_id.into(), ..Default::default() };
    world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments
}

/// Looks around, and does what is due.
async fn look_at(world: &mut World, moment: &str) {
    world.advance_to(moment);
    world.run_job("scan-triggers").await;
    world.live().await;
}

#[tokio::test]
async fn a_birthday_is_greeted_before_on_and_after_the_day_where_the_customer_lives() {
    let mut world = world("2026-02-20T00:00:00Z").await;
    world.campaign(greetings(date_trigger::LeapDay::February28)).await;
    born(&mut world, "anna", "Pacific/Auckland", "1990-03-08").await;
    born(&mut world, "ben", "America/New_York", "1990-03-08").await;
    world.customer("carl", "").await;
    // Auckland is thirteen hours ahead, New York five behind, four from 8 March on.
    for (moment, mails) in [
        ("2026-02-28T18:30:00Z", 0),
        ("2026-02-28T19:59:59Z", 0),
        ("2026-02-28T20:00:00Z", 1),
        ("2026-03-01T13:30:00Z", 1),
        ("2026-03-01T14:00:00Z", 2),
        ("2026-03-07T19:59:59Z", 2),
        ("2026-03-07T20:00:00Z", 3),
        ("2026-03-08T13:00:00Z", 4),
        ("2026-03-14T20:00:00Z", 5),
        ("2026-03-15T13:00:00Z", 6),
        ("2026-04-15T13:00:00Z", 6),
    ] {
        look_at(&mut world, moment).await;
        assert_eq!(world.mail().len(), mails, "{moment}");
    }
    let entered = enrollments(&mut world, "greetings").await;
    assert_eq!(entered.len(), 2);
    assert!(entered.iter().all(|one| one.event_id.is_empty() && one.subject == "2026-03-08"));
    assert!(entered.iter().all(|one| one.state() == enrollment::State::Completed));
    look_at(&mut world, "2027-02-28T19:30:00Z").await;
    look_at(&mut world, "2027-03-01T14:00:00Z").await;
    assert_eq!(world.mail().len(), 8);
}

#[tokio::test]
async fn a_leap_day_is_greeted_on_the_day_that_was_chosen() {
    for (leap_day, day) in [
        (date_trigger::LeapDay::February28, "2027-02-28T09:00:00Z"),
        (date_trigger::LeapDay::March1, "2027-03-01T09:00:00Z"),
    ] {
        let mut world = world("2027-02-01T00:00:00Z").await;
        let plan = Campaign { steps: vec![step("day", after_days(0, "09:00"), "wishes")], ..greetings(leap_day) };
        world.campaign(plan).await;
        born(&mut world, "anna", "UTC", "2000-02-29").await;
        for hour in 0..60 {
            let moment = super::harness::moment("2027-02-27T12:00:00Z") + chrono::TimeDelta::hours(hour);
            look_at(&mut world, &moment.to_rfc3339()).await;
        }
        let contact = world.contacts_of("anna").await.pop().unwrap();
        assert_eq!((world.mail().len(), shown(contact.due_time).as_str()), (1, day));
    }
}

#[tokio::test]
async fn a_changed_birthday_is_not_greeted_twice_within_a_year() {
    let mut world = world("2026-03-01T00:00:00Z").await;
    let plan = Campaign {
        steps: vec![step("day", after_days(0, "09:00"), "wishes")],
        ..greetings(date_trigger::LeapDay::March1)
    };
    world.campaign(plan).await;
    born(&mut world, "anna", "UTC", "1990-03-08").await;
    look_at(&mut world, "2026-03-08T08:30:00Z").await;
    look_at(&mut world, "2026-03-08T09:00:00Z").await;
    set(&mut world, "anna", json!({"birthday": "1990-03-10"})).await;
    look_at(&mut world, "2026-03-10T08:30:00Z").await;
    look_at(&mut world, "2026-03-10T09:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
    look_at(&mut world, "2027-03-10T08:30:00Z").await;
    look_at(&mut world, "2027-03-10T09:00:00Z").await;
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn what_was_over_before_the_campaign_began_or_the_date_was_known_is_not_made_up_for() {
    let mut world = world("2026-03-08T12:00:00Z").await;
    born(&mut world, "anna", "UTC", "1990-03-08").await;
    let plan = Campaign {
        steps: vec![step("day", after_days(0, "09:00"), "wishes")],
        ..greetings(date_trigger::LeapDay::March1)
    };
    world.campaign(plan).await;
    look_at(&mut world, "2026-03-09T12:00:00Z").await;
    born(&mut world, "ben", "UTC", "1990-03-09").await;
    look_at(&mut world, "2026-03-09T13:00:00Z").await;
    // The service was down when it was due: what is not too late goes out, what is too late does not.
    born(&mut world, "carl", "UTC", "1990-03-12").await;
    born(&mut world, "dora", "UTC", "1990-03-15").await;
    look_at(&mut world, "2026-03-16T09:00:00Z").await;
    assert_eq!(world.subjects(), ["wishes for dora"]);
    let late = world.contacts_of("carl").await.pop().unwrap();
    assert_eq!(late.state(), proto::contact::State::Expired);
    assert!(world.contacts_of("anna").await.is_empty() && world.contacts_of("ben").await.is_empty());
}

#[tokio::test]
async fn a_renewal_comes_once_and_again_when_it_is_moved() {
    let mut world = world("2026-03-01T00:00:00Z").await;
    let trigger = proto::campaign::Trigger::Date(DateTrigger {
        attribute: "renewal".into(),
        recurrence: date_trigger::Recurrence::Once.into(),
        leap_day: 0,
    });
    let from_date = proto::Delay { anchor: proto::delay::Anchor::Trigger.into(), ..after_days(-30, "10:00") };
    let audience_filter = "attributes.plan = \"gold\"".to_owned();
    let steps = vec![step("soon", from_date, "teaser")];
    world.campaign(Campaign { trigger: Some(trigger), audience_filter, ..campaign("renewals", "orders", steps) }).await;
    world.customer("anna", "UTC").await;
    world.customer("ben", "UTC").await;
    set(&mut world, "anna", json!({"renewal": "2026-05-01", "plan": "gold"})).await;
    set(&mut world, "ben", json!({"renewal": "2026-05-01", "plan": "tin"})).await;
    for moment in ["2026-04-01T09:30:00Z", "2026-04-01T10:00:00Z", "2026-04-02T10:00:00Z"] {
        look_at(&mut world, moment).await;
    }
    set(&mut world, "anna", json!({"renewal": "2026-07-01"})).await;
    look_at(&mut world, "2026-06-01T09:30:00Z").await;
    look_at(&mut world, "2026-06-01T10:00:00Z").await;
    assert_eq!(world.subjects(), ["teaser for anna"; 2]);
}

fn vips(mode: reentry::Mode) -> Campaign {
    Campaign {
        trigger: Some(proto::campaign::Trigger::Audience(AudienceTrigger {})),
        audience_filter: "attributes.points >= 100".into(),
        reentry: Some(proto::Reentry { mode: mode.into(), cooldown_days: 0 }),
        ..campaign("vips", "orders", vec![step("hello", after_hours(0), "welcome")])
    }
}

#[tokio::test]
async fn whoever_begins_to_match_enters_and_whoever_matched_before_does_not() {
    let mut world = world("2026-03-01T00:00:00Z").await;
    for (name, points) in [("anna", 150), ("ben", 50)] {
        world.customer(name, "").await;
        set(&mut world, name, json!({"points": points})).await;
    }
    world.campaign(vips(reentry::Mode::Unspecified)).await;
    look_at(&mut world, "2026-03-01T00:01:00Z").await;
    assert_eq!(world.subjects(), [""; 0]);
    set(&mut world, "ben", json!({"points": 100})).await;
    look_at(&mut world, "2026-03-01T00:02:00Z").await;
    assert_eq!(world.subjects(), ["welcome for ben"]);
    // Who leaves and comes again entered before.
    for (moment, points) in [("2026-03-01T00:03:00Z", 10), ("2026-03-01T00:04:00Z", 200)] {
        for name in ["anna", "ben"] {
            set(&mut world, name, json!({"points": points})).await;
        }
        look_at(&mut world, moment).await;
    }
    assert_eq!(world.subjects(), ["welcome for ben", "welcome for anna"]);
}

#[tokio::test]
async fn whoever_begins_to_match_again_enters_again_only_where_that_is_asked_for() {
    let mut world = world("2026-03-01T00:00:00Z").await;
    world.campaign(vips(reentry::Mode::Always)).await;
    world.customer("anna", "").await;
    for (minute, points) in [(1, 100), (2, 150), (3, 10), (4, 100), (5, 100)] {
        set(&mut world, "anna", json!({"points": points})).await;
        look_at(&mut world, &format!("2026-03-01T00:0{minute}:00Z")).await;
    }
    assert_eq!(world.mail().len(), 2);
    // An edited audience begins with whom it holds.
    world.customer("ben", "").await;
    set(&mut world, "ben", json!({"points": 60})).await;
    let edited = Campaign { audience_filter: "attributes.points >= 50".into(), ..vips(reentry::Mode::Always) };
    let request = proto::UpdateCampaignRequest { campaign: Some(edited), ..Default::default() };
    world.campaigns.update_campaign(request).await.unwrap();
    look_at(&mut world, "2026-03-01T00:06:00Z").await;
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn what_starts_by_looking_is_checked_like_everything_else() {
    let mut world = world("2026-03-01T00:00:00Z").await;
    let date = DateTrigger { attribute: "birth day".into(), recurrence: 0, leap_day: 7 };
    let wrong = |trigger, audience_filter: &str| Campaign {
        trigger: Some(trigger),
        audience_filter: audience_filter.into(),
        ..campaign("wrong", "orders", vec![step("a", after_days(-7, "09:00"), "wishes")])
    };
    let ask = |plan| proto::CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    let plan = wrong(proto::campaign::Trigger::Date(date), "points >");
    let fields = wrong_fields(world.campaigns.create_campaign(ask(plan)).await);
    let expected =
        ["campaign.date.attribute", "campaign.date.recurrence", "campaign.date.leapDay", "campaign.audienceFilter"];
    assert_eq!(fields, expected);
    let plan = wrong(proto::campaign::Trigger::Audience(AudienceTrigger {}), "");
    let fields = wrong_fields(world.campaigns.create_campaign(ask(plan)).await);
    assert_eq!(fields, ["campaign.audienceFilter", "campaign.steps[0].delay.calendar.days"]);
}

/// What is wrong with a change of the fields that a mask names.
async fn refused(world: &mut World, mask: &[&str], change: Campaign) -> Vec<String> {
    wrong_fields(update(world, mask, change).await)
}

async fn update(world: &mut World, mask: &[&str], change: Campaign) -> Result<Campaign, tonic::Status> {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = proto::UpdateCampaignRequest { campaign: Some(change), update_mask, ..Default::default() };
    world.campaigns.update_campaign(request).await.map(|answer| answer.into_inner().campaign.unwrap())
}

#[tokio::test]
async fn a_change_is_judged_by_the_plan_that_results() {
    let mut world = world("2026-02-20T00:00:00Z").await;
    world.campaign(greetings(date_trigger::LeapDay::February28)).await;
    let before = proto::Delay { anchor: proto::delay::Anchor::Trigger.into(), ..after_days(-7, "09:00") };
    let only = |id: &str, delay: Option<proto::Delay>| {
        let steps = vec![proto::Step { delay, ..step("day", after_hours(0), "wishes") }];
        Campaign { campaign_id: id.into(), steps, ..Campaign::default() }
    };
    // A date has steps that come before it, whatever else the request says.
    let changed = update(&mut world, &["steps"], only("greetings", Some(before.clone()))).await.unwrap();
    assert_eq!((changed.version, changed.steps[0].delay.clone().unwrap().length), (2, before.length));
    assert_eq!(refused(&mut world, &["steps"], only("greetings", None)).await, ["campaign.steps[0].delay"]);
    // An event does not; the exits are wrong by themselves.
    let exits = vec![proto::Exit::default()];
    let follow_up = Campaign { exits, ..campaign("greetings", "", vec![]) };
    let fields = refused(&mut world, &["event", "exits"], follow_up).await;
    assert_eq!(fields, ["campaign.steps[0].delay.calendar.days", "campaign.exits[0].eventType"]);

    let once = proto::one_off_trigger::At::LocalTime("2026-03-01T09:00".into());
    let once = proto::campaign::Trigger::OneOff(proto::OneOffTrigger { at: Some(once) });
    let news = Campaign { trigger: Some(once), topic_id: "orders".into(), ..only("news", None) };
    world.campaign(news).await;
    assert_eq!(update(&mut world, &["steps"], only("news", None)).await.unwrap().version, 2);
    let delayed = only("news", Some(after_hours(1)));
    assert_eq!(refused(&mut world, &["steps"], delayed).await, ["campaign.steps[0].delay"]);

    let audience = Some(proto::campaign::Trigger::Audience(AudienceTrigger {}));
    let steps = vec![step("hello", after_hours(1), "welcome")];
    let pros = Campaign { audience_filter: "attributes.plan = \"pro\"".into(), ..campaign("pros", "orders", steps) };
    world.campaign(Campaign { trigger: audience.clone(), ..pros }).await;
    let nobody = Campaign { campaign_id: "pros".into(), ..Campaign::default() };
    assert_eq!(refused(&mut world, &["audience_filter"], nobody).await, ["campaign.audienceFilter"]);
    let all = Campaign { trigger: audience, ..only("greetings", None) };
    let fields = refused(&mut world, &["audience"], all).await;
    assert_eq!(fields, ["campaign.audienceFilter", "campaign.steps[0].delay.calendar.days"]);
}

#[tokio::test]
async fn a_time_in_an_attribute_is_its_date_where_the_customer_lives() {
    let mut world = world("2026-02-20T00:00:00Z").await;
    let plan = Campaign {
        steps: vec![step("day", after_days(0, "09:00"), "wishes")],
        ..greetings(date_trigger::LeapDay::February28)
    };
    world.campaign(plan).await;
    // It is the second of March in Riga already.
    born(&mut world, "anna", "Europe/Riga", "2025-03-01T23:30:00Z").await;
    born(&mut world, "ben", "America/New_York", "2025-03-01T23:30:00Z").await;
    born(&mut world, "cleo", "Europe/Riga", "2025-03-01T23:30").await;
    born(&mut world, "dora", "Europe/Riga", "2025-03-01 23:30").await;
    for (moment, greeted) in [
        ("2026-03-01T06:30:00Z", vec![]),
        ("2026-03-01T07:00:00Z", vec!["cleo"]),
        ("2026-03-01T14:00:00Z", vec!["cleo", "ben"]),
        ("2026-03-02T06:30:00Z", vec!["cleo", "ben"]),
        ("2026-03-02T07:00:00Z", vec!["cleo", "ben", "anna"]),
        ("2026-03-04T07:00:00Z", vec!["cleo", "ben", "anna"]),
    ] {
        look_at(&mut world, moment).await;
        let expected: Vec<String> = greeted.iter().map(|name| format!("wishes for {name}")).collect();
        assert_eq!(world.subjects(), expected, "{moment}");
    }
}
