//! What customers want, and that nothing is sent against it.

use rapport::rpc::proto::{
    self, BlockReason, CheckContactabilityRequest, ConsentMethod, CreateTopicRequest, GetPreferencesRequest,
    ListTopicsRequest, Preferences, Purpose, QuietHours, SetConsentRequest, Topic, UnsubscribeRequest,
    UpdatePreferencesRequest,
    block::Effect,
    consent, contact,
    set_consent_request::Decision,
    topic::OptIn,
    unsubscribe_request::{By, Scope},
};

use super::harness::{World, after_hours, at, by_name, campaign, email, refusal, shown, step, wrong_fields};

async fn leave(world: &mut World, name: &str, scope: Scope) -> (Preferences, i32) {
    let request = UnsubscribeRequest {
        by: by_name(name).map(By::Customer),
        scope: Some(scope),
        method: ConsentMethod::PreferencePage.into(),
        ..UnsubscribeRequest::default()
    };
    let answer = world.preferences.unsubscribe(request).await.unwrap().into_inner();
    (answer.preferences.unwrap(), answer.canceled_contacts)
}

async fn prefer(world: &mut World, name: &str, preferences: Preferences) -> Preferences {
    let request = UpdatePreferencesRequest {
        customer: by_name(name),
        preferences: Some(preferences),
        ..UpdatePreferencesRequest::default()
    };
    world.preferences.update_preferences(request).await.unwrap().into_inner().preferences.unwrap()
}

/// Whether a message about a topic would go out now, what stands in the way, and until when.
async fn may_write(world: &mut World, name: &str, topic: &str) -> (bool, Vec<BlockReason>, Option<String>) {
    let request = CheckContactabilityRequest { customer: by_name(name), topic_id: topic.into(), ..Default::default() };
    let answer = world.preferences.check_contactability(request).await.unwrap().into_inner();
    let blocks = answer.checks.iter().filter_map(|check| check.block.as_ref()).map(|block| block.reason()).collect();
    (answer.allowed, blocks, answer.next_allowed_time.map(|time| shown(Some(time))))
}

#[tokio::test]
async fn a_topic_is_marketing_off_and_double_opt_in_unless_it_says_otherwise() {
    let mut world = World::new().await;
    let request =
        CreateTopicRequest { topic: Some(Topic { topic_id: "news".into(), ..Topic::default() }), ..Default::default() };
    let topic = world.preferences.create_topic(request.clone()).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((topic.purpose(), topic.opt_in()), (Purpose::Marketing, OptIn::Double));
    assert_eq!(refusal(world.preferences.create_topic(request).await), "TOPIC_EXISTS");
    world.customer("anna", "").await;
    assert_eq!(may_write(&mut world, "anna", "news").await.1, [BlockReason::NoConsent]);
    // Who had it confirmed elsewhere has to say how.
    let request = SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "news".into(),
        decision: Decision::Grant.into(),
        method: ConsentMethod::DoubleOptIn.into(),
        ..Default::default()
    };
    assert_eq!(wrong_fields(world.preferences.set_consent(request).await), ["evidence"]);
    let wrong = Topic {
        topic_id: "No Spaces".into(),
        purpose: Purpose::Marketing.into(),
        opt_in: OptIn::None.into(),
        ..Topic::default()
    };
    let request = CreateTopicRequest { topic: Some(wrong), ..Default::default() };
    assert_eq!(wrong_fields(world.preferences.create_topic(request).await), ["topic.topicId", "topic.optIn"]);
    let topics = world.preferences.list_topics(ListTopicsRequest::default()).await.unwrap().into_inner().topics;
    let ids: Vec<&str> = topics.iter().map(|topic| topic.topic_id.as_str()).collect();
    assert_eq!(ids, ["news", "opt-in-confirmation"]);
}

#[tokio::test]
async fn marketing_needs_a_consent_service_mail_does_not_and_transactional_mail_obeys_nothing_of_it() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.customer("anna", "").await;
    let offer = world.send("anna", "offers", "offer").await;
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    let offer = world.contact(&offer.contact_id).await;
    assert_eq!(offer.state(), contact::State::Suppressed);
    assert_eq!(offer.block.unwrap().reason(), BlockReason::NoConsent);

    world.consent("anna", "offers", Decision::Grant).await;
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 2);

    leave(&mut world, "anna", Scope::Everything(true)).await;
    for (topic, allowed) in [("orders", false), ("offers", false), ("receipts", true)] {
        assert_eq!(may_write(&mut world, "anna", topic).await.0, allowed, "{topic}");
    }
    world.send("anna", "receipts", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 3);
}

#[tokio::test]
async fn an_opt_out_calls_off_what_is_planned_at_once_and_ends_its_enrollments() {
    let mut world = World::new().await;
    world.shop().await;
    let steps = vec![step("one", after_hours(1), "offer"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two-offers", "offers", steps)).await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    world.happens("order.placed", "anna", "o-1").await;
    let (preferences, canceled) = leave(&mut world, "anna", Scope::TopicId("offers".into())).await;
    assert_eq!(canceled, 1);
    assert_eq!(preferences.consents[0].state(), consent::State::Denied);
    world.dispatch_after_hours(100).await;
    assert_eq!(world.subjects(), Vec::<String>::new(), "the check-in expired, the offers were called off");
    let contacts = world.contacts_of("anna").await;
    let offer = contacts.iter().find(|contact| contact.topic_id == "offers").unwrap();
    assert_eq!(offer.state(), contact::State::Canceled);
    let why = world.explain(&offer.contact_id).await.summary;
    assert!(why.contains("opted out of offers (preference_page)"), "{why}");
}

#[tokio::test]
async fn an_objection_covers_marketing_topics_that_do_not_exist_yet_and_leaves_service_mail() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    let (preferences, _) = leave(&mut world, "anna", Scope::AllMarketing(true)).await;
    assert_eq!(shown(preferences.objection_time), "2026-02-02T09:00:00Z");
    world.topic("events", Purpose::Marketing, OptIn::Single).await;
    world.topic("opinions", Purpose::Survey, OptIn::Single).await;
    for topic in ["offers", "events", "opinions"] {
        assert!(may_write(&mut world, "anna", topic).await.1.contains(&BlockReason::Objected), "{topic}");
    }
    assert!(may_write(&mut world, "anna", "orders").await.0);
    // A later word of the customer's own lifts it for that topic alone; a word from before does not.
    let grant = |occur_time: Option<&str>| SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "events".into(),
        decision: Decision::Grant.into(),
        method: ConsentMethod::WebForm.into(),
        occur_time: occur_time.map(at),
        ..Default::default()
    };
    let before = world.preferences.set_consent(grant(Some("2026-02-01T09:00:00Z"))).await;
    assert_eq!(refusal(before), "CONSENT_WITHDRAWN");
    world.advance_to("2026-02-02T09:00:01Z");
    world.preferences.set_consent(grant(None)).await.unwrap();
    assert!(may_write(&mut world, "anna", "events").await.0);
    assert!(!may_write(&mut world, "anna", "offers").await.0);
}

#[tokio::test]
async fn an_import_or_an_operator_does_not_lift_a_withdrawal_and_the_strictest_word_of_a_moment_counts() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Withdraw).await;
    world.advance_to("2026-02-03T09:00:00Z");
    for (method, occur_time) in [
        (ConsentMethod::Import, "2026-02-03T08:00:00Z"),
        (ConsentMethod::Operator, "2026-02-03T08:00:00Z"),
        (ConsentMethod::WebForm, "2026-02-02T09:00:00Z"),
    ] {
        let request = SetConsentRequest {
            customer: by_name("anna"),
            topic_id: "offers".into(),
            decision: Decision::Grant.into(),
            method: method.into(),
            occur_time: Some(at(occur_time)),
            ..Default::default()
        };
        assert_eq!(refusal(world.preferences.set_consent(request).await), "CONSENT_WITHDRAWN", "{method:?}");
    }
    world.consent("anna", "offers", Decision::Grant).await;
    assert!(may_write(&mut world, "anna", "offers").await.0);
}

#[tokio::test]
async fn a_consent_is_for_the_address_it_was_given_for() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    let primary = proto::Address { primary: true, ..email("anna@new.example") };
    let request = proto::AddAddressRequest { customer: by_name("anna"), address: Some(primary), ..Default::default() };
    world.customers.add_address(request).await.unwrap();
    world.send("anna", "offers", "offer").await;
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let sent: Vec<_> = world.mail().into_iter().map(|mail| (mail.subject, mail.to)).collect();
    let expected = [("offer for anna", "anna@example.com"), ("check-in for anna", "anna@new.example")];
    assert_eq!(sent, expected.map(|(subject, to)| (subject.to_owned(), to.to_owned())));
}

#[tokio::test]
async fn quiet_hours_and_a_snooze_put_mail_off_until_both_are_over() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    // 11:00 in Riga.
    let quiet = QuietHours { start: "10:00".into(), end: "12:30".into(), days: Vec::new() };
    prefer(&mut world, "anna", Preferences { quiet_hours: Some(quiet), ..Preferences::default() }).await;
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let waiting = world.contact(&contact.contact_id).await;
    assert_eq!((waiting.state(), shown(waiting.due_time)), (contact::State::Scheduled, "2026-02-02T10:30:00Z".into()));
    assert_eq!(shown(waiting.original_due_time), "2026-02-02T09:00:00Z");
    let block = waiting.block.unwrap();
    assert_eq!((block.reason(), block.effect()), (BlockReason::QuietHours, Effect::Defer));

    // The snooze ends inside the quiet hours of the next day.
    let snooze = Preferences { snooze_end_time: Some(at("2026-02-03T09:15:00Z")), ..Preferences::default() };
    prefer(&mut world, "anna", snooze).await;
    world.dispatch_at("2026-02-02T10:30:00Z").await;
    assert!(world.mail().is_empty());
    assert_eq!(shown(world.contact(&contact.contact_id).await.due_time), "2026-02-03T10:30:00Z");
    world.dispatch_at("2026-02-03T10:30:00Z").await;
    assert_eq!(world.mail().len(), 1);
    let told = world.explain(&contact.contact_id).await;
    assert_eq!(told.decisions.len(), 2);
    assert!(told.summary.contains("put off"), "{}", told.summary);
}

#[tokio::test]
async fn a_deferral_beyond_the_expiry_expires_the_message_now() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let snooze = Preferences { snooze_end_time: Some(at("2026-02-20T09:00:00Z")), ..Preferences::default() };
    prefer(&mut world, "anna", snooze).await;
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let contact = world.contact(&contact.contact_id).await;
    assert_eq!(contact.state(), contact::State::Expired);
    assert!(contact.block.unwrap().detail.contains("pause"));
}

#[tokio::test]
async fn preferences_are_changed_by_mask_and_guarded_by_an_etag() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let quiet = QuietHours { start: "22:00".into(), end: "08:00".into(), days: vec!["MON".into(), "SUN".into()] };
    let first = Preferences { quiet_hours: Some(quiet.clone()), ..Preferences::default() };
    let first = prefer(&mut world, "anna", first).await;
    assert_eq!(first.quiet_hours, Some(quiet));
    let snoozed = Preferences { snooze_end_time: Some(at("2026-02-05T00:00:00Z")), ..Preferences::default() };
    let snoozed = prefer(&mut world, "anna", snoozed).await;
    assert!(snoozed.quiet_hours.is_some(), "an update without a mask leaves what it does not name");
    let request = |paths: &[&str], preferences| UpdatePreferencesRequest {
        customer: by_name("anna"),
        preferences: Some(preferences),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).into()).collect() }),
        ..Default::default()
    };
    let late = request(&["quiet_hours"], Preferences { etag: first.etag, ..Preferences::default() });
    assert_eq!(refusal(world.preferences.update_preferences(late).await), "ETAG_MISMATCH");
    let cleared = request(&["quiet_hours"], Preferences::default());
    let cleared = world.preferences.update_preferences(cleared).await.unwrap().into_inner().preferences.unwrap();
    assert_eq!(cleared.quiet_hours, None);
    let wrong = QuietHours { start: "25:00".into(), end: "8".into(), days: vec!["LUNDI".into()] };
    let wrong = request(&["quiet_hours"], Preferences { quiet_hours: Some(wrong), ..Preferences::default() });
    assert_eq!(wrong_fields(world.preferences.update_preferences(wrong).await).len(), 3);
    let request = GetPreferencesRequest { customer: by_name("anna") };
    let read = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
    assert_eq!(shown(read.snooze_end_time), "2026-02-05T00:00:00Z");
}

#[tokio::test]
async fn contactability_names_every_rule_in_order_and_the_first_allowed_moment() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let quiet = QuietHours { start: "10:00".into(), end: "12:00".into(), days: Vec::new() };
    let quiet = Preferences { quiet_hours: Some(quiet), ..Preferences::default() };
    prefer(&mut world, "anna", quiet).await;
    let (allowed, blocks, next) = may_write(&mut world, "anna", "orders").await;
    assert_eq!((allowed, blocks, next), (false, vec![BlockReason::QuietHours], Some("2026-02-02T10:00:00Z".into())));
    let request = CheckContactabilityRequest {
        customer: by_name("anna"),
        topic_id: "orders".into(),
        at_time: Some(at("2026-02-02T10:00:00Z")),
        ..Default::default()
    };
    let later = world.preferences.check_contactability(request).await.unwrap().into_inner();
    assert!(later.allowed);
    assert_eq!(later.checks.len(), rapport::gate::RULES.len());
    world.customer_with("bo", |customer| customer.addresses.clear()).await;
    assert_eq!(may_write(&mut world, "bo", "orders").await, (false, vec![BlockReason::NoAddress], None));
}

#[tokio::test]
async fn nothing_is_sent_against_a_word_that_came_while_the_message_was_due() {
    let mut world = World::new().await;
    world.shop().await;
    for number in 0..40 {
        let name = format!("customer-{number}");
        world.customer(&name, "").await;
        world.happens("order.placed", &name, "o").await;
    }
    world.advance_to("2026-02-03T09:00:00Z");
    // The worker has woken by itself; half of the customers leave while it works.
    let mut left = Vec::new();
    for number in (0..40).step_by(2) {
        let name = format!("customer-{number}");
        let (_, canceled) = leave(&mut world, &name, Scope::TopicId("orders".into())).await;
        left.push((name, canceled));
    }
    world.dispatch().await;
    let sent: Vec<String> = world.mail().into_iter().map(|mail| mail.to).collect();
    for (name, canceled) in left {
        let contact = world.contacts_of(&name).await.remove(0);
        let was_sent = sent.contains(&format!("{name}@example.com"));
        assert_eq!(was_sent, contact.state() == contact::State::Sent, "{name}");
        assert_eq!(was_sent, canceled == 0, "{name}: canceled {canceled}");
    }
    assert!(sent.len() >= 20);
}

#[tokio::test]
async fn lifting_a_snooze_sets_free_what_it_put_off() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let snooze = Preferences { snooze_end_time: Some(at("2026-02-04T09:00:00Z")), ..Preferences::default() };
    prefer(&mut world, "anna", snooze).await;
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert!(world.mail().is_empty());
    let request = UpdatePreferencesRequest {
        customer: by_name("anna"),
        preferences: Some(Preferences::default()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["snooze_end_time".into()] }),
        ..Default::default()
    };
    world.preferences.update_preferences(request).await.unwrap();
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
}
