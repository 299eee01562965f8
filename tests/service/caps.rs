//! How many messages a customer gets at most.

use chrono::TimeDelta;
use rapport::{
    clock::Timestamp,
    contacts::claims::{self, Intent},
    database::{self, Database},
    gate::{self, Facts, Verdict},
    ids::ClaimToken,
    rpc::proto::{
        self, BlockReason, FrequencyCap, Preferences, Purpose, SendingPolicy, UpdatePreferencesRequest,
        UpdateSendingPolicyRequest, contact, frequency_cap::OnHit, schedule_contact_request::Due,
        set_consent_request::Decision, topic::OptIn,
    },
};

use super::harness::{World, ad_hoc, after_hours, at, by_name, campaign, moment, refusal, shown, step, wrong_fields};

/// So many messages in so many hours, whatever they are about.
fn cap(max_contacts: i32, window_hours: i32) -> FrequencyCap {
    FrequencyCap { max_contacts, window_hours, ..FrequencyCap::default() }
}

/// Sets the caps of everybody.
async fn cap_all(world: &mut World, caps: Vec<FrequencyCap>) {
    let request = UpdateSendingPolicyRequest {
        policy: Some(SendingPolicy { caps, ..SendingPolicy::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["caps".into()] }),
    };
    world.preferences.update_sending_policy(request).await.unwrap();
}

/// Sets the caps of one customer.
async fn cap_one(world: &mut World, name: &str, caps: Vec<FrequencyCap>) -> Result<Preferences, tonic::Status> {
    let request = UpdatePreferencesRequest {
        customer: by_name(name),
        preferences: Some(Preferences { caps, ..Preferences::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["caps".into()] }),
        ..Default::default()
    };
    world.preferences.update_preferences(request).await.map(|answer| answer.into_inner().preferences.unwrap())
}

#[tokio::test]
async fn the_third_message_in_a_window_waits_until_the_first_has_left_it() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    cap_all(&mut world, vec![cap(2, 24)]).await;
    for _ in 0..2 {
        world.send("anna", "orders", "check-in").await;
        world.dispatch().await;
        world.dispatch_after_hours(1).await;
    }
    assert_eq!(world.mail().len(), 2);

    let ask = proto::CheckContactabilityRequest {
        customer: by_name("anna"),
        topic_id: "orders".into(),
        ..Default::default()
    };
    let answer = world.preferences.check_contactability(ask).await.unwrap().into_inner();
    assert!(!answer.allowed);
    assert_eq!(shown(answer.next_allowed_time), "2026-02-03T09:00:00Z");

    let third = world.send("anna", "orders", "check-in").await;
    let told = world.explain(&third.contact_id).await;
    assert!(told.summary.contains("2 messages in 24 hours are the most"), "{}", told.summary);
    world.dispatch().await;
    let waiting = world.contact(&third.contact_id).await;
    assert_eq!(waiting.state(), contact::State::Scheduled);
    assert_eq!(waiting.block.unwrap().reason(), BlockReason::FrequencyCap);
    assert_eq!(shown(waiting.due_time), "2026-02-03T09:00:00Z");
    world.dispatch_at("2026-02-03T08:59:59Z").await;
    assert_eq!(world.mail().len(), 2);
    world.dispatch_at("2026-02-03T09:00:00Z").await;
    assert_eq!(world.mail().len(), 3);
}

#[tokio::test]
async fn messages_that_are_due_at_the_same_moment_never_take_the_last_place_together() {
    const CUSTOMERS: usize = 60;
    let mut world = World::new().await;
    world.shop().await;
    cap_all(&mut world, vec![cap(1, 24)]).await;
    for number in 0..CUSTOMERS {
        let name = format!("customer-{number}");
        world.customer(&name, "").await;
        for _ in 0..3 {
            let due = Some(Due::DueTime(at("2026-02-02T12:00:00Z")));
            let request = proto::ScheduleContactRequest { due, ..ad_hoc(&name, "orders", "check-in") };
            world.contacts.schedule_contact(request).await.unwrap();
        }
    }
    world.dispatch_at("2026-02-02T12:00:00Z").await;
    for days in 1..=3 {
        let mut to: Vec<String> = world.mail().into_iter().map(|mail| mail.to).collect();
        assert_eq!(to.len(), days * CUSTOMERS);
        to.sort();
        to.dedup();
        assert_eq!(to.len(), CUSTOMERS);
        world.dispatch_after_hours(24).await;
    }
    assert_eq!(world.mail().len(), 3 * CUSTOMERS);
}

/// Decides about one of the contacts that are due; answers whether it goes out, once that is recorded, and nothing where somebody
/// else is at its customer.
async fn decide_about(db: &Database, place: usize, now: Timestamp, before_commit: impl AsyncFnOnce()) -> Option<bool> {
    let token = ClaimToken::generate();
    let picked = super::harness::pick(db, token, now, 2).await;
    let contact = &picked[place.min(picked.len() - 1)];
    let tx = db.begin_write().await.unwrap();
    let facts = Facts::lock(
        &tx,
        &rapport::tokens::SecretKey::from_text("any"),
        rapport::senders::Readiness::default(),
        &[contact],
        now,
    )
    .await
    .unwrap();
    if !facts.knows(contact) {
        return None;
    }
    let verdict = gate::decide(&facts.case(contact, None).unwrap(), now);
    let Verdict::Send { address, .. } = verdict else { return Some(false) };
    let intent = Intent {
        contact_id: contact.contact_id,
        revision: contact.revision,
        number: 1,
        address_id: address.address_id,
        template_version: 1,
        consent: None,
    };
    claims::intend(&tx, token, &[intent], "one of two", now).await.unwrap();
    before_commit().await;
    database::commit(tx).await.unwrap();
    Some(true)
}

#[tokio::test]
async fn two_decisions_at_once_never_give_the_last_place_away_twice() {
    for own in [false, true] {
        let mut world = World::new().await;
        world.shop().await;
        world.customer("anna", "").await;
        if own {
            cap_one(&mut world, "anna", vec![cap(1, 24)]).await.unwrap();
        } else {
            cap_all(&mut world, vec![cap(1, 24)]).await;
        }
        for _ in 0..2 {
            let due = Some(Due::DueTime(at("2026-02-02T12:00:00Z")));
            let request = proto::ScheduleContactRequest { due, ..ad_hoc("anna", "orders", "check-in") };
            world.contacts.schedule_contact(request).await.unwrap();
        }
        let now = moment("2026-02-02T12:00:00Z");
        let world = world
            .restart_after(async |db| {
                let (decided, is_decided) = tokio::sync::oneshot::channel();
                let other = {
                    let db = db.clone();
                    tokio::spawn(async move {
                        is_decided.await.unwrap();
                        loop {
                            if let Some(goes) = decide_about(&db, 1, now, async || ()).await {
                                return goes;
                            }
                        }
                    })
                };
                let first = decide_about(db, 0, now, async || {
                    decided.send(()).unwrap();
                    // Whoever does not wait for this transaction would be done by then.
                    for _ in 0..100 {
                        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                        assert!(!other.is_finished(), "it did not wait");
                    }
                });
                let first = first.await;
                assert_eq!((first, other.await.unwrap()), (Some(true), false), "own cap: {own}");
            })
            .await;
        drop(world);
    }
}

#[tokio::test]
async fn follow_ups_wait_other_marketing_is_skipped_and_a_cap_may_say_otherwise() {
    let mut world = World::new().await;
    world.shop().await;
    world.campaign(campaign("news", "offers", vec![step("one", after_hours(1), "offer")])).await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    cap_all(&mut world, vec![FrequencyCap { topic_id: "offers".into(), ..cap(1, 24) }]).await;
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(1).await;
    let mass = world.send("anna", "offers", "offer").await;
    // About another topic.
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.subjects().len(), 2);
    let mass = world.contact(&mass.contact_id).await;
    assert_eq!(mass.state(), contact::State::Suppressed);
    assert_eq!(mass.block.unwrap().reason(), BlockReason::FrequencyCap);
    let follow_up = world.contacts_of("anna").await.into_iter().find(|one| one.campaign_id == "news").unwrap();
    assert_eq!(
        (follow_up.state(), shown(follow_up.due_time)),
        (contact::State::Scheduled, "2026-02-03T09:00:00Z".into())
    );

    let says = |on_hit: OnHit| vec![FrequencyCap { on_hit: on_hit.into(), ..cap(1, 24) }];
    cap_all(&mut world, says(OnHit::Defer)).await;
    let mass = world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    assert_eq!(world.contact(&mass.contact_id).await.state(), contact::State::Scheduled);
    cap_all(&mut world, says(OnHit::Skip)).await;
    world.dispatch_at("2026-02-03T09:00:00Z").await;
    assert_eq!(world.contact(&follow_up.contact_id).await.state(), contact::State::Suppressed);
}

#[tokio::test]
async fn what_a_cap_skips_is_skipped_when_it_could_go_out_and_not_before() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    cap_all(&mut world, vec![cap(1, 2)]).await;
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let snooze = world.now() + TimeDelta::hours(2);
    let request = UpdatePreferencesRequest {
        customer: by_name("anna"),
        preferences: Some(Preferences {
            snooze_end_time: Some(super::harness::wire(snooze)),
            ..Preferences::default()
        }),
        ..Default::default()
    };
    world.preferences.update_preferences(request).await.unwrap();
    let offer = world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    assert_eq!(world.contact(&offer.contact_id).await.state(), contact::State::Scheduled);
    world.dispatch_after_hours(2).await;
    assert_eq!(world.contact(&offer.contact_id).await.state(), contact::State::Sent);
}

#[tokio::test]
async fn transactional_messages_are_neither_counted_nor_held() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.template("receipt").await;
    world.customer("anna", "").await;
    cap_all(&mut world, vec![cap(1, 24)]).await;
    for _ in 0..2 {
        world.send("anna", "receipts", "receipt").await;
    }
    world.dispatch().await;
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    world.send("anna", "receipts", "receipt").await;
    world.dispatch().await;
    let all = world.contacts_of("anna").await;
    assert_eq!(world.mail().len(), 4, "{all:#?}");
}

#[tokio::test]
async fn a_customers_own_caps_hold_beside_those_of_all_and_lifting_them_sets_free_what_they_put_off() {
    let mut world = World::new().await;
    world.shop().await;
    cap_all(&mut world, vec![cap(5, 24)]).await;
    for name in ["anna", "bo"] {
        world.customer(name, "").await;
    }
    let own = FrequencyCap { topic_id: "orders".into(), channel: proto::Channel::Email.into(), ..cap(1, 48) };
    let stored = cap_one(&mut world, "anna", vec![own.clone()]).await.unwrap();
    assert_eq!(stored.caps, [own]);
    for name in ["anna", "bo"] {
        world.send(name, "orders", "check-in").await;
        world.send(name, "orders", "check-in").await;
    }
    world.dispatch().await;
    assert_eq!(world.mail().iter().filter(|mail| mail.to.starts_with("anna")).count(), 1);
    assert_eq!(world.mail().len(), 3);
    cap_one(&mut world, "anna", Vec::new()).await.unwrap();
    world.dispatch().await;
    assert_eq!(world.mail().len(), 4);

    let wrong = [
        FrequencyCap { topic_id: "No!".into(), channel: 9, on_hit: 7, ..cap(0, 9_000) },
        FrequencyCap { topic_id: "sports".into(), ..cap(1, 1) },
    ];
    let fields = wrong_fields(cap_one(&mut world, "anna", vec![wrong[0].clone()]).await);
    let expected = ["channel", "topicId", "onHit", "maxContacts", "windowHours"];
    assert_eq!(fields, expected.map(|field| format!("preferences.caps[0].{field}")));
    assert_eq!(refusal(cap_one(&mut world, "anna", vec![wrong[1].clone()]).await), "TOPIC_NOT_FOUND");
    assert_eq!(wrong_fields(cap_one(&mut world, "anna", vec![cap(1, 1); 21]).await), ["preferences.caps"]);
}

fn with_priority(priority: i32, mut of: proto::Campaign) -> proto::Campaign {
    of.policy = Some(proto::CampaignPolicy { priority, ..Default::default() });
    of
}

/// How the contact of a campaign stands: its state, its due time, its subject in words.
async fn standing(world: &mut World, campaign_id: &str) -> (contact::State, String) {
    let contacts = world.contacts_of("anna").await;
    let own = contacts.into_iter().find(|one| one.campaign_id == campaign_id).unwrap();
    (own.state(), shown(own.due_time))
}

#[tokio::test]
async fn of_two_messages_that_are_due_the_one_of_the_higher_priority_takes_the_last_place_below_a_cap() {
    let mut world = World::new().await;
    world.shop().await;
    cap_all(&mut world, vec![cap(1, 24)]).await;
    // The one that is due first has to wait: nothing was sent in between.
    let chat = campaign("chat", "orders", vec![step("one", after_hours(1), "check-in")]);
    world.campaign(with_priority(10, chat)).await;
    let recall = campaign("recall", "orders", vec![step("one", after_hours(2), "check-in")]);
    world.campaign(with_priority(20, recall)).await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_at("2026-02-02T11:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
    assert_eq!(standing(&mut world, "recall").await.0, contact::State::Sent);
    let later = (contact::State::Scheduled, "2026-02-03T11:00:00Z".to_owned());
    if standing(&mut world, "chat").await != later {
        let waits = (contact::State::Scheduled, "2026-02-02T11:01:00Z".to_owned());
        assert_eq!(standing(&mut world, "chat").await, waits);
        world.dispatch_at("2026-02-02T11:01:00Z").await;
    }
    assert_eq!(standing(&mut world, "chat").await, later);
    world.dispatch_at("2026-02-03T11:00:00Z").await;
    assert_eq!(standing(&mut world, "chat").await.0, contact::State::Sent);
}

#[tokio::test]
async fn nothing_waits_for_a_message_of_a_campaign_that_is_paused_nor_where_there_is_room_for_both() {
    let mut world = World::new().await;
    world.shop().await;
    cap_all(&mut world, vec![cap(1, 24)]).await;
    for (id, priority) in [("chat", 0), ("recall", 100)] {
        let plan = campaign(id, "orders", vec![step("one", after_hours(1), "check-in")]);
        world.campaign(with_priority(priority, plan)).await;
    }
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let pause = proto::PauseCampaignRequest { campaign_id: "recall".into(), ..Default::default() };
    world.campaigns.pause_campaign(pause).await.unwrap();
    world.dispatch_at("2026-02-02T10:00:00Z").await;
    assert_eq!(standing(&mut world, "chat").await.0, contact::State::Sent);

    // One of three, and there is room for both others.
    cap_all(&mut world, vec![cap(3, 24)]).await;
    let another = campaign("another", "orders", vec![step("one", after_hours(1), "check-in")]);
    world.campaign(with_priority(50, another)).await;
    world.happens("order.placed", "anna", "o-2").await;
    world.dispatch_at("2026-02-02T11:00:00Z").await;
    let contacts = world.contacts_of("anna").await;
    let at_once = contacts.iter().filter(|one| one.send_time == Some(at("2026-02-02T11:00:00Z")));
    let mut at_once: Vec<_> = at_once.map(|one| one.campaign_id.as_str()).collect();
    at_once.sort_unstable();
    assert_eq!(at_once, ["another", "chat"]);
}
