//! What holds for everybody.

use rapport::rpc::proto::{
    BlockReason, Customer, FrequencyCap, GetSendingPolicyRequest, Preferences, QuietHours, SendingPolicy,
    UpdateCustomerRequest, UpdatePreferencesRequest, UpdateSendingPolicyRequest, contact,
};

use super::harness::{World, after_days, by_name, campaign, only, refusal, shown, step, variant, wrong_fields};

async fn set(world: &mut World, policy: SendingPolicy) -> SendingPolicy {
    let request = UpdateSendingPolicyRequest { policy: Some(policy), update_mask: None };
    world.preferences.update_sending_policy(request).await.unwrap().into_inner().policy.unwrap()
}

fn quiet(start: &str, end: &str) -> Option<QuietHours> {
    Some(QuietHours { start: start.into(), end: end.into(), days: Vec::new() })
}

#[tokio::test]
async fn the_policy_is_utc_and_english_until_it_is_changed_by_mask_and_etag() {
    let mut world = World::new().await;
    let read = world.preferences.get_sending_policy(GetSendingPolicyRequest {}).await.unwrap().into_inner();
    let first = read.policy.unwrap();
    let expected = SendingPolicy {
        time_zone: "UTC".into(),
        default_locale: "en".into(),
        etag: first.etag.clone(),
        ..SendingPolicy::default()
    };
    assert_eq!(first, expected);
    let change =
        SendingPolicy { time_zone: "Europe/Riga".into(), quiet_hours: quiet("22:00", "08:00"), ..first.clone() };
    let changed = set(&mut world, change).await;
    assert_eq!((changed.time_zone.as_str(), changed.default_locale.as_str()), ("Europe/Riga", "en"));
    assert_ne!(changed.etag, first.etag);

    let mut ask = async |paths: &[&str], policy| {
        let paths = paths.iter().map(|path| (*path).into()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = UpdateSendingPolicyRequest { policy: Some(policy), update_mask };
        world.preferences.update_sending_policy(request).await
    };
    assert_eq!(refusal(ask(&["caps"], first).await), "ETAG_MISMATCH");
    let wrong = SendingPolicy {
        quiet_hours: quiet("8", "08:00"),
        caps: vec![FrequencyCap::default()],
        time_zone: "Etc/GMT-2".into(),
        default_locale: "englishman".into(),
        ..SendingPolicy::default()
    };
    let fields = wrong_fields(ask(&["etag", "surprise"], wrong).await);
    let expected = [
        "updateMask",
        "policy.quietHours.start",
        "policy.caps[0].maxContacts",
        "policy.caps[0].windowHours",
        "policy.timeZone",
        "policy.defaultLocale",
    ];
    assert_eq!(fields, expected);
    let no_topic = FrequencyCap { max_contacts: 1, window_hours: 1, topic_id: "sports".into(), ..Default::default() };
    let no_topic = SendingPolicy { caps: vec![no_topic], ..SendingPolicy::default() };
    assert_eq!(refusal(ask(&["caps"], no_topic).await), "TOPIC_NOT_FOUND");
    let cleared = ask(&["time_zone", "quiet_hours"], SendingPolicy::default()).await.unwrap().into_inner();
    let cleared = cleared.policy.unwrap();
    assert_eq!((cleared.time_zone.as_str(), cleared.quiet_hours), ("UTC", None));
}

#[tokio::test]
async fn the_quiet_hours_of_all_hold_for_those_who_set_none() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    world.customer("bo", "Europe/Riga").await;
    let own = UpdatePreferencesRequest {
        customer: by_name("bo"),
        preferences: Some(Preferences { quiet_hours: quiet("01:00", "02:00"), ..Preferences::default() }),
        ..Default::default()
    };
    world.preferences.update_preferences(own).await.unwrap();
    set(&mut world, SendingPolicy { quiet_hours: quiet("10:00", "12:30"), ..SendingPolicy::default() }).await;
    // 11:00 in Riga.
    let held = world.send("anna", "orders", "check-in").await;
    world.send("bo", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for bo"]);
    let held = world.contact(&held.contact_id).await;
    assert_eq!((held.state(), shown(held.due_time)), (contact::State::Scheduled, "2026-02-02T10:30:00Z".into()));
    assert_eq!(held.block.unwrap().reason(), BlockReason::QuietHours);
    world.dispatch_at("2026-02-02T10:30:00Z").await;
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn who_lives_nobody_knows_where_lives_in_the_zone_of_the_policy() {
    let mut world = World::new().await;
    world.shop().await;
    let steps = vec![step("one", after_days(1, "10:00"), "check-in"), step("two", after_days(1, "10:00"), "zone")];
    world.template_with("zone", "You live in {{ customer.time_zone }}", "-").await;
    world.campaign(campaign("daily", "orders", steps)).await;
    world.customer("early", "").await;
    let early = world.happens("order.placed", "early", "o-1").await.effects;
    let riga = SendingPolicy {
        time_zone: "Europe/Riga".into(),
        quiet_hours: quiet("09:00", "10:00"),
        ..SendingPolicy::default()
    };
    set(&mut world, riga).await;
    world.customer("anna", "").await;
    let effects = world.happens("order.placed", "anna", "o-2").await.effects;
    let daily = |effects: &[rapport::rpc::proto::CampaignEffect]| {
        let daily: Vec<_> = effects.iter().filter(|effect| effect.campaign_id == "daily").cloned().collect();
        only(&daily).clone()
    };
    let (early, planned) = (daily(&early), daily(&effects));
    assert_eq!(planned.due_local_time, "2026-02-03T10:00 Europe/Riga");
    assert_eq!(shown(planned.due_time), "2026-02-03T08:00:00Z");
    assert_eq!(shown(early.due_time), "2026-02-03T10:00:00Z");
    let stays = world.contact(&early.contact_id).await;
    assert_eq!(shown(stays.due_time), "2026-02-03T10:00:00Z", "what is planned stays where it is");

    // The step after it and the quiet hours are in that zone too.
    world.dispatch_at("2026-02-03T08:00:00Z").await;
    let second = world.contacts_of("anna").await.into_iter().find(|one| one.step_id == "two").unwrap();
    assert_eq!(second.due_local_time, "2026-02-04T10:00 Europe/Riga");
    world.advance_to("2026-02-04T07:30:00Z");
    let quiet = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(shown(world.contact(&quiet.contact_id).await.due_time), "2026-02-04T08:00:00Z");
    world.dispatch_at("2026-02-04T08:00:00Z").await;
    assert!(world.subjects().contains(&"You live in Europe/Riga".to_owned()));

    // Whoever turns out to live there has nothing planned anew for that.
    let moved = UpdateCustomerRequest {
        target: by_name("anna"),
        customer: Some(Customer { time_zone: "Asia/Tokyo".into(), ..Customer::default() }),
        ..Default::default()
    };
    world.customers.update_customer(moved).await.unwrap();
    let effects = world.happens("order.placed", "anna", "o-3").await.effects;
    assert!(daily(&effects).due_local_time.ends_with("Asia/Tokyo"));
}

#[tokio::test]
async fn who_reads_nobody_knows_what_reads_the_locale_of_the_policy() {
    let mut world = World::new().await;
    world.shop().await;
    let variants = vec![
        variant("", "Hello", "Hello."),
        variant("en", "Good day", "Good day."),
        variant("lv", "Labdien", "Labdien."),
    ];
    let template = rapport::rpc::proto::Template { variants, ..super::harness::template("greeting") };
    let request = rapport::rpc::proto::CreateTemplateRequest { template: Some(template), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let request = rapport::rpc::proto::PublishTemplateRequest { template_id: "greeting".into(), ..Default::default() };
    world.templates.publish_template(request).await.unwrap();
    world.customer("anna", "").await;
    world.customer_with("dan", |customer| customer.locale = "da".into()).await;
    let mut subjects = Vec::new();
    for locale in ["en", "lv-LV", "fr"] {
        set(&mut world, SendingPolicy { default_locale: locale.into(), ..SendingPolicy::default() }).await;
        world.send("anna", "orders", "greeting").await;
        world.dispatch().await;
        subjects.push(world.subjects().pop().unwrap());
    }
    assert_eq!(subjects, ["Good day", "Labdien", "Hello"]);
    world.send("dan", "orders", "greeting").await;
    world.dispatch().await;
    assert_eq!(world.subjects().pop().unwrap(), "Hello", "a locale that is known is not replaced");
}
