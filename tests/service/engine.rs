//! What is due is sent, once, whatever dies in between.

use rapport::{
    clock::Timestamp,
    contacts::claims,
    database::{self, Database},
    ids::{AddressId, ClaimToken, ContactId},
    rpc::proto::{self, Contact, Purpose, contact, contact_attempt, topic::OptIn},
};

use sea_orm::ConnectionTrait;

use super::harness::{self, World, after_hours, campaign, step};

fn intent(contact: &rapport::contacts::Contact) -> claims::Intent {
    claims::Intent {
        contact_id: contact.contact_id,
        revision: contact.revision,
        number: contact.attempt_count + 1,
        address_id: AddressId::generate(),
        template_version: 1,
        consent: None,
    }
}

/// What a process leaves that dies right after it has recorded that these go out: picked, intended, not settled.
pub(super) async fn die_in_the_middle_of(db: &Database, time: Timestamp, contacts: &[Contact]) {
    let token = ClaimToken::generate();
    let picked = harness::pick(db, token, time, 100).await;
    let doomed = |contact: &&rapport::contacts::Contact| {
        contacts.iter().any(|one| one.contact_id == contact.contact_id.to_string())
    };
    let intents: Vec<_> = picked.iter().filter(doomed).map(intent).collect();
    assert_eq!(intents.len(), contacts.len());
    let tx = db.begin_write().await.unwrap();
    let held: Vec<ContactId> = claims::intend(&tx, token, &intents, "a dead process", time).await.unwrap();
    assert_eq!(held.len(), contacts.len());
    // Its lease runs out.
    claims::expire_all(&tx).await.unwrap();
    database::commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_hand_over_whose_answer_was_lost_is_in_doubt_and_not_repeated_unless_it_is_transactional() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.template("receipt").await;
    world.customer("anna", "").await;
    let steps = vec![step("one", after_hours(1), "check-in"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    world.happens("order.placed", "anna", "o-1").await;
    let mut receipt = harness::ad_hoc("anna", "receipts", "receipt");
    receipt.due = Some(proto::schedule_contact_request::Due::DueTime(harness::at("2026-02-02T10:00:00Z")));
    let receipt = world.contacts.schedule_contact(receipt).await.unwrap().into_inner().contact.unwrap();
    let service = world.contacts_of("anna").await.into_iter().find(|one| one.campaign_id == "two").unwrap();
    let due = harness::moment("2026-02-02T10:00:00Z");
    let doomed = [service.clone(), receipt.clone()];
    let mut world = world.restart_after(async |db| die_in_the_middle_of(db, due, &doomed).await).await;

    world.advance_to("2026-02-02T10:00:00Z");
    world.recover().await;
    world.dispatch().await;
    let doubtful = world.contact(&service.contact_id).await;
    assert_eq!(doubtful.state(), contact::State::UnknownOutcome);
    let why = world.explain(&service.contact_id).await;
    assert!(why.summary.contains("the answer was lost"), "{}", why.summary);
    assert_eq!(why.attempts[0].outcome(), contact_attempt::Outcome::Unknown);
    let again = world.contact(&receipt.contact_id).await;
    assert_eq!((again.state(), again.attempt_count), (contact::State::Sent, 2));
    let mail = world.mail();
    let receipts: Vec<_> = mail.iter().filter(|mail| mail.subject == "receipt for anna").collect();
    assert_eq!(receipts.len(), 1);
    assert_eq!(format!("<{}>", receipts[0].message_id), receipt.message_id, "the same Message-ID as before");
    // The follow-up goes on behind the doubt.
    world.dispatch_after_hours(1).await;
    assert_eq!(world.subjects().iter().filter(|subject| *subject == "offer for anna").count(), 1);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_settles_nothing() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let due = "2026-02-02T10:00:00Z";
    let due_time = Some(proto::schedule_contact_request::Due::DueTime(harness::at(due)));
    let request = proto::ScheduleContactRequest { due: due_time, ..harness::ad_hoc("anna", "orders", "check-in") };
    let contact = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap();
    let mut world = world
        .restart_after(async |db| {
            let (token, now) = (ClaimToken::generate(), harness::moment(due));
            let intents: Vec<_> = harness::pick(db, token, now, 100).await.iter().map(intent).collect();
            let tx = db.begin_write().await.unwrap();
            let held = claims::intend(&tx, token, &intents, "a zombie", now).await.unwrap();
            claims::expire_all(&tx).await.unwrap();
            assert_eq!(claims::recover(&tx, now).await.unwrap().len(), 1);
            assert!(claims::settle_accepted(&tx, token, &held, now).await.unwrap().is_empty());
            database::commit(tx).await.unwrap();
        })
        .await;
    world.dispatch_at(due).await;
    let contact = world.contact(&contact.contact_id).await;
    assert_eq!((contact.state(), contact.attempt_count), (contact::State::UnknownOutcome, 1));
    assert_eq!(world.mail().len(), 0);
}

#[tokio::test]
async fn a_transport_that_refuses_for_now_is_tried_again_later_and_later() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let outbox = world.outbox();
    std::fs::remove_dir(&outbox).unwrap();
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let waiting = world.contact(&contact.contact_id).await;
    assert_eq!((waiting.state(), waiting.attempt_count), (contact::State::Scheduled, 1));
    assert_eq!(waiting.block.unwrap().reason(), proto::BlockReason::BackOff);
    let first_wait = waiting.due_time.unwrap().seconds - world.now().timestamp();
    assert!((20..=200).contains(&first_wait), "{first_wait} s");
    world.dispatch_after_hours(1).await;
    assert_eq!(world.contact(&contact.contact_id).await.attempt_count, 2);
    std::fs::create_dir(&outbox).unwrap();
    world.dispatch_after_hours(2).await;
    let sent = world.contact(&contact.contact_id).await;
    assert_eq!((sent.state(), sent.attempt_count), (contact::State::Sent, 3));
    let why = world.explain(&contact.contact_id).await;
    assert!(why.summary.contains("It took 3 attempts."), "{}", why.summary);
}

#[tokio::test]
async fn the_worker_wakes_by_itself_when_the_next_message_is_due() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    world.advance_to("2026-02-03T09:00:00Z");
    let waited = std::time::Instant::now();
    while world.mail().is_empty() {
        assert!(waited.elapsed().as_secs() < 20, "nothing woke the worker");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_thousand_due_at_once_are_each_sent_once() {
    let mut world = World::new().await;
    world.shop().await;
    let calls = (0..1_000).map(|number| {
        let (mut customers, mut contacts) = (world.customers.clone(), world.contacts.clone());
        async move {
            let name = format!("customer-{number}");
            let customer = proto::Customer {
                external_ids: vec![name.clone()],
                addresses: vec![harness::email(&format!("{name}@example.com"))],
                ..Default::default()
            };
            let request = proto::CreateCustomerRequest { customer: Some(customer), ..Default::default() };
            customers.create_customer(request).await.unwrap();
            let mut request = harness::ad_hoc(&name, "orders", "check-in");
            request.due = Some(proto::schedule_contact_request::Due::DueTime(harness::at("2026-02-02T12:00:00Z")));
            contacts.schedule_contact(request).await.unwrap();
        }
    });
    futures_util::StreamExt::collect::<Vec<_>>(futures_util::StreamExt::buffer_unordered(
        futures_util::stream::iter(calls),
        16,
    ))
    .await;
    world.dispatch_at("2026-02-02T12:00:00Z").await;
    let mut to: Vec<String> = world.mail().into_iter().map(|mail| mail.to).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 1_000);
    let request = proto::ListContactsRequest {
        states: vec![contact::State::Sent.into()],
        include_total: true,
        ..Default::default()
    };
    assert_eq!(world.contacts.list_contacts(request).await.unwrap().into_inner().total_size, 1_000);
}

#[tokio::test]
async fn after_what_is_due_was_sent_it_knows_when_the_next_of_the_same_kind_is_due() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let mut later = harness::ad_hoc("anna", "orders", "check-in");
    later.due = Some(proto::schedule_contact_request::Due::DueTime(harness::at("2026-02-02T10:00:00Z")));
    world.contacts.schedule_contact(later).await.unwrap();
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
    let request = proto::RunJobRequest { job_id: "dispatch".into() };
    let job = world.admin.run_job(request).await.unwrap().into_inner().job.unwrap();
    assert_eq!(job.next_time, Some(harness::at("2026-02-02T10:00:00Z")));
    let status = world.admin.get_status(proto::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.lanes.iter().map(|lane| lane.scheduled).sum::<i64>(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn what_was_accepted_although_it_was_given_up_for_lost_is_sent_and_its_follow_up_goes_on() {
    let mut world = World::new().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.template("receipt").await;
    world.template("parcel").await;
    world.customer("anna", "").await;
    let steps = vec![step("one", after_hours(1), "receipt"), step("two", after_hours(1), "parcel")];
    world.campaign(campaign("receipts", "receipts", steps)).await;
    let contact_id = world.happens("order.placed", "anna", "o-1").await.effects[0].contact_id.clone();
    // Whoever writes the letter waits for somebody who reads it.
    let pipe = world.outbox().join(format!(".{contact_id}.part"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    world.advance_to("2026-02-02T10:00:00Z");
    becomes(&mut world, &contact_id, contact::State::Sending).await;

    let pause = proto::PauseCampaignRequest { campaign_id: "receipts".to_owned(), ..Default::default() };
    world.campaigns.pause_campaign(pause).await.unwrap();
    world.own_connection().await.execute_unprepared("DELETE FROM replicas").await.unwrap();
    world.recover().await;
    assert_eq!(world.contact(&contact_id).await.state(), contact::State::Scheduled);

    let letter = tokio::task::spawn_blocking(move || std::fs::read_to_string(pipe)).await.unwrap().unwrap();
    assert!(letter.contains("receipt for anna"), "{letter}");
    becomes(&mut world, &contact_id, contact::State::Sent).await;
    let sent = world.contact(&contact_id).await;
    assert_eq!((sent.attempt_count, sent.block), (1, None));
    let steps: Vec<_> = world.contacts_of("anna").await.into_iter().map(|one| (one.step_id, one.template_id)).collect();
    assert!(steps.contains(&("two".to_owned(), "parcel".to_owned())), "{steps:?}");
}

/// Waits until a contact is in a state.
async fn becomes(world: &mut World, contact_id: &str, state: contact::State) {
    let waited = std::time::Instant::now();
    loop {
        let now = world.contact(contact_id).await.state();
        if now == state {
            return;
        }
        assert!(waited.elapsed().as_secs() < 20, "{now:?} still, not {state:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
