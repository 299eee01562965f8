//! Many contacts at once: planned together, called off together.

use std::time::Instant;

use rapport::rpc::proto::{
    self, BatchCancelContactsRequest, BatchCancelContactsResponse, BatchScheduleContactsRequest, Contact,
    ListContactsRequest, ListEnrollmentsRequest, ScheduleContactRequest, ScheduleResult, TimeRange, contact,
    enrollment, schedule_contact_request::Due,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::harness::{World, ad_hoc, after_hours, at, by_name, campaign, email, reason, refusal, step, wrong_fields};

async fn schedule(world: &mut World, requests: Vec<ScheduleContactRequest>) -> Vec<ScheduleResult> {
    let request = BatchScheduleContactsRequest { requests };
    world.contacts.batch_schedule_contacts(request).await.unwrap().into_inner().results
}

async fn cancel(world: &mut World, request: BatchCancelContactsRequest) -> Result<BatchCancelContactsResponse, Status> {
    world.contacts.batch_cancel_contacts(request).await.map(tonic::Response::into_inner)
}

fn of_campaign(id: &str, expected: i64) -> BatchCancelContactsRequest {
    BatchCancelContactsRequest { campaign_id: id.into(), expected_count: Some(expected), ..Default::default() }
}

fn id_of(result: &ScheduleResult) -> &str {
    result.contact.as_ref().map_or("", |contact| contact.contact_id.as_str())
}

async fn all(world: &mut World, request: ListContactsRequest) -> Vec<Contact> {
    let request = ListContactsRequest { page_size: 500, ..request };
    world.contacts.list_contacts(request).await.unwrap().into_inner().contacts
}

#[tokio::test]
async fn each_message_of_a_batch_stands_for_itself() {
    let mut world = World::new().await;
    world.shop().await;
    let anna = world.customer("anna", "Europe/Riga").await;
    world.customer("gone", "").await;
    let request = proto::DeleteCustomerRequest { customer: by_name("gone"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    let to_anna = || ad_hoc("anna", "orders", "check-in");
    let keyed = ScheduleContactRequest { dedupe_key: "k".into(), ..to_anna() };
    let by_id = Some(proto::CustomerRef { key: Some(proto::customer_ref::Key::CustomerId(anna.customer_id)) });
    let by_email = Some(proto::CustomerRef { key: Some(proto::customer_ref::Key::Email("Anna@example.com".into())) });
    let local = Some(Due::DueLocalTime("2026-02-03T10:00".into()));
    let requests = vec![
        ScheduleContactRequest { customer: by_id, due: local, ..to_anna() },
        keyed.clone(),
        keyed.clone(),
        ScheduleContactRequest { topic_id: "offers".into(), ..keyed },
        ad_hoc("nobody", "orders", "check-in"),
        ad_hoc("gone", "orders", "check-in"),
        ad_hoc("anna", "sports", "check-in"),
        ad_hoc("anna", "orders", "nothing"),
        ScheduleContactRequest { expire_time: Some(at("2026-02-02T08:00:00Z")), ..to_anna() },
        ScheduleContactRequest { topic_id: "Not A Slug".into(), request_id: "ä".into(), ..to_anna() },
        ScheduleContactRequest { validate_only: true, ..to_anna() },
        ScheduleContactRequest { customer: by_email, ..to_anna() },
    ];
    let results = schedule(&mut world, requests).await;
    let told: Vec<_> = results.iter().map(|one| (one.reason.as_str(), one.existed)).collect();
    let expected = [
        ("", false),
        ("", false),
        ("", true),
        ("DEDUPE_KEY_TAKEN", false),
        ("CUSTOMER_NOT_FOUND", false),
        ("CUSTOMER_DELETED", false),
        ("TOPIC_NOT_FOUND", false),
        ("TEMPLATE_NOT_FOUND", false),
        ("INVALID_FIELDS", false),
        ("INVALID_FIELDS", false),
        ("", false),
        ("", false),
    ];
    assert_eq!(told, expected);
    assert!(results.iter().zip(0..).all(|(one, place)| one.index == place));
    assert!(results.iter().all(|one| one.contact.is_some() == one.reason.is_empty()));
    assert!(results.iter().all(|one| one.detail.is_empty() == one.reason.is_empty()));
    assert!(results[9].detail.contains("requests[9].requestId"), "{}", results[9].detail);
    assert_eq!(id_of(&results[1]), id_of(&results[2]));
    assert_eq!(all(&mut world, ListContactsRequest::default()).await.len(), 3, "the checked one was not planned");
    world.dispatch().await;
    assert_eq!(world.mail().len(), 2);
    for wrong in [0, 1_001] {
        let request = BatchScheduleContactsRequest { requests: vec![to_anna(); wrong] };
        assert_eq!(wrong_fields(world.contacts.batch_schedule_contacts(request).await), ["requests"]);
    }
}

#[tokio::test]
async fn a_message_of_a_batch_is_repeated_by_its_id_together_with_others_or_alone() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let request = ScheduleContactRequest { request_id: "r-1".into(), ..ad_hoc("anna", "orders", "check-in") };
    let other = ScheduleContactRequest { topic_id: "offers".into(), ..request.clone() };
    let refused = ScheduleContactRequest { request_id: "r-2".into(), ..ad_hoc("nobody", "orders", "check-in") };
    let first = schedule(&mut world, vec![request.clone(), request.clone(), other, refused.clone()]).await;
    assert_eq!(id_of(&first[0]), id_of(&first[1]));
    assert_eq!((first[2].reason.as_str(), first[3].reason.as_str()), ("REQUEST_ID_REUSED", "CUSTOMER_NOT_FOUND"));
    // What was refused left nothing behind: it can be repeated as soon as there is such a customer.
    world.customer("nobody", "").await;
    let again = schedule(&mut world, vec![request.clone(), refused]).await;
    assert_eq!((id_of(&again[0]), again[1].reason.as_str()), (id_of(&first[0]), ""));
    let alone = world.contacts.schedule_contact(request).await.unwrap();
    assert_eq!(alone.metadata().get("x-replayed").unwrap(), "true");
    assert_eq!(alone.into_inner().contact.unwrap().contact_id, id_of(&first[0]));
    assert_eq!(all(&mut world, ListContactsRequest::default()).await.len(), 2);
}

#[tokio::test]
async fn a_thousand_messages_are_planned_at_once_and_batches_that_meet_plan_each_once() {
    let mut world = World::new().await;
    world.shop().await;
    let names: Vec<String> = (0..50).map(|number| format!("customer-{number}")).collect();
    for name in &names {
        world.customer(name, "").await;
    }
    let request = |number: usize| ScheduleContactRequest {
        due: Some(Due::DueTime(at("2026-02-09T09:00:00Z"))),
        dedupe_key: format!("invoice-{number}"),
        request_id: format!("request-{number}"),
        ..ad_hoc(&names[number % 50], "orders", "check-in")
    };
    let requests: Vec<_> = (0..1_000).map(request).collect();
    let backwards: Vec<_> = requests.iter().rev().cloned().collect();
    let (mut one, mut other) = (world.contacts.clone(), world.contacts.clone());
    let (one, other) = tokio::join!(
        one.batch_schedule_contacts(BatchScheduleContactsRequest { requests }),
        other.batch_schedule_contacts(BatchScheduleContactsRequest { requests: backwards }),
    );
    let (one, other) = (one.unwrap().into_inner().results, other.unwrap().into_inner().results);
    let ids: Vec<&str> = one.iter().map(id_of).collect();
    assert!(ids.iter().all(|id| !id.is_empty()));
    assert!(other.iter().rev().map(id_of).eq(ids));
    let request = ListContactsRequest { include_total: true, ..Default::default() };
    assert_eq!(world.contacts.list_contacts(request).await.unwrap().into_inner().total_size, 1_000);
}

#[tokio::test]
async fn contacts_are_called_off_together_when_their_number_is_the_expected_one() {
    let mut world = World::new().await;
    world.shop().await;
    let steps = vec![step("one", after_hours(1), "check-in"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    for number in 0..12 {
        let name = format!("customer-{number}");
        world.customer(&name, "").await;
        world.happens("order.placed", &name, "o-1").await;
    }
    let look = BatchCancelContactsRequest { validate_only: true, expected_count: None, ..of_campaign("two", 0) };
    let found = cancel(&mut world, look).await.unwrap();
    assert_eq!((found.matched, found.canceled, found.sample_contact_ids.len()), (12, 0, 10));
    let status = cancel(&mut world, of_campaign("two", 11)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "COUNT_MISMATCH"));
    assert_eq!(status.get_details_error_info().unwrap().metadata["subject"], "12");

    let request =
        BatchCancelContactsRequest { reason: "wrong price".into(), request_id: "r-1".into(), ..of_campaign("two", 12) };
    let done = cancel(&mut world, request.clone()).await.unwrap();
    assert_eq!((done.matched, done.canceled), (12, 12));
    assert_eq!(done.sample_contact_ids, found.sample_contact_ids);
    assert_eq!(cancel(&mut world, request).await.unwrap(), done, "the same request again");
    let canceled = world.contact(&done.sample_contact_ids[0]).await;
    assert_eq!((canceled.state(), canceled.block.unwrap().detail.as_str()), (contact::State::Canceled, "wrong price"));

    // Every enrollment has gone on with its next step, and ends when that is called off too.
    world.advance_to("2026-02-02T09:30:00Z");
    let next = cancel(&mut world, of_campaign("two", 12)).await.unwrap();
    assert_eq!(world.contact(&next.sample_contact_ids[0]).await.step_id, "two");
    let request = ListEnrollmentsRequest { campaign_id: "two".into(), ..Default::default() };
    let enrollments = world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments;
    assert!(enrollments.iter().all(|one| one.state() == enrollment::State::Completed));
    assert_eq!(cancel(&mut world, of_campaign("two", 0)).await.unwrap().canceled, 0);
    world.dispatch_after_hours(30).await;
    assert!(world.subjects().iter().all(|subject| subject.starts_with("check-in")), "the shop's own campaign");
    assert_eq!(world.mail().len(), 12);
}

#[tokio::test]
async fn what_is_called_off_together_is_selected_by_customer_and_due_time_and_must_be_selected() {
    let mut world = World::new().await;
    world.shop().await;
    for name in ["anna", "bo"] {
        world.customer(name, "").await;
        world.happens("order.placed", name, "o-1").await;
        let due = Some(Due::DueTime(at("2026-02-10T09:00:00Z")));
        let request = ScheduleContactRequest { due, ..ad_hoc(name, "orders", "check-in") };
        world.contacts.schedule_contact(request).await.unwrap();
    }
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let count = |request| BatchCancelContactsRequest { validate_only: true, ..request };
    let tomorrow =
        TimeRange { start_time: Some(at("2026-02-03T00:00:00Z")), end_time: Some(at("2026-02-04T00:00:00Z")) };
    let of_anna = BatchCancelContactsRequest { customer: by_name("anna"), ..Default::default() };
    let on_tuesday = BatchCancelContactsRequest { due_range: Some(tomorrow), ..Default::default() };
    let both = BatchCancelContactsRequest { customer: by_name("anna"), ..on_tuesday.clone() };
    for (request, matched) in [(of_anna, 2), (on_tuesday, 2), (both, 1)] {
        assert_eq!(cancel(&mut world, count(request)).await.unwrap().matched, matched);
    }
    let states = vec![contact::State::Scheduled.into(), contact::State::Sent.into(), 99];
    let wrong = BatchCancelContactsRequest { states, reason: "x\ny".into(), ..Default::default() };
    let mut fields = wrong_fields(cancel(&mut world, wrong).await);
    fields.sort();
    assert_eq!(fields, ["customer", "expectedCount", "reason", "states[1]", "states[2]"]);
    let elsewhere = count(of_campaign("nowhere", 0));
    assert_eq!(refusal(cancel(&mut world, elsewhere).await), "CAMPAIGN_NOT_FOUND");
    let request = ListContactsRequest { campaign_id: "nowhere".into(), ..Default::default() };
    assert_eq!(refusal(world.contacts.list_contacts(request).await), "CAMPAIGN_NOT_FOUND");
    let request = ListEnrollmentsRequest { campaign_id: "nowhere".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.list_enrollments(request).await), "CAMPAIGN_NOT_FOUND");
}

/// How many thousand contacts are called off together.
const LOTS: i64 = 10;

#[tokio::test]
#[ignore = "prints numbers"]
#[expect(clippy::print_stdout, reason = "this is what it is for")]
async fn how_long_batches_take() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer_with("anna", |customer| customer.addresses = vec![email("anna@example.com")]).await;
    let due = Some(Due::DueTime(at("2026-02-09T09:00:00Z")));
    let requests: Vec<_> = (0..1_000)
        .map(|number| ScheduleContactRequest {
            due: due.clone(),
            dedupe_key: format!("{number}"),
            ..ad_hoc("anna", "orders", "check-in")
        })
        .collect();
    let started = Instant::now();
    schedule(&mut world, requests).await;
    println!("1,000 planned in {:?}", started.elapsed());
    let steps = vec![step("one", after_hours(1), "check-in"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    for lot in 0..LOTS {
        let ordered = (0..1_000).map(|number| world.event("order.placed", &format!("{lot}-{number}"), "o"));
        let request = proto::BatchRecordEventsRequest { events: ordered.collect(), create_customer: true };
        world.events.batch_record_events(request).await.unwrap();
    }
    let started = Instant::now();
    let done = cancel(&mut world, of_campaign("two", LOTS * 1_000)).await.unwrap();
    println!("{} called off in {:?}, their next steps planned", done.canceled, started.elapsed());
}
