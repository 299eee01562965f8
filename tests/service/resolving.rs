//! What operators do to contacts that wait, failed, or are in doubt.

use rapport::rpc::proto::{
    self, Contact, Customer, ListContactAttemptsRequest, ListEnrollmentsRequest, RescheduleContactRequest,
    ResolveContactRequest, ScheduleContactRequest, UpdateCustomerRequest, contact, contact_attempt::Outcome,
    enrollment, resolve_contact_request::Verdict, schedule_contact_request::Due, set_consent_request::Decision,
};
use tonic::{Request, Status};

use super::{
    engine::die_in_the_middle_of,
    harness::{self, World, ad_hoc, after_hours, at, by_name, campaign, refusal, shown, step, wrong_fields},
};

/// Everybody's check-in, handed over a day after the order by a worker that died before it knew the answer.
async fn in_doubt(names: &[&str]) -> (World, Vec<Contact>) {
    let mut world = World::new().await;
    world.shop().await;
    let mut doomed = Vec::new();
    for name in names {
        world.customer(name, "").await;
        let effect = world.happens("order.placed", name, "o-1").await.effects[0].clone();
        doomed.push(world.contact(&effect.contact_id).await);
    }
    let due = harness::moment("2026-02-03T09:00:00Z");
    let mut world = world.restart_after(async |db| die_in_the_middle_of(db, due, &doomed).await).await;
    world.advance_to("2026-02-03T09:00:00Z");
    world.recover().await;
    for contact in &doomed {
        assert_eq!(world.contact(&contact.contact_id).await.state(), contact::State::UnknownOutcome);
    }
    (world, doomed)
}

async fn resolve(world: &mut World, contact: &Contact, verdict: Verdict) -> Result<Contact, Status> {
    let message = ResolveContactRequest {
        contact_id: contact.contact_id.clone(),
        verdict: verdict.into(),
        note: "seen in the mail log".into(),
    };
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-caller", "ops".parse().unwrap());
    world.contacts.resolve_contact(request).await.map(|answer| answer.into_inner().contact.unwrap())
}

async fn attempts(world: &mut World, contact: &Contact) -> Vec<proto::ContactAttempt> {
    let request = ListContactAttemptsRequest { contact_id: contact.contact_id.clone() };
    world.contacts.list_contact_attempts(request).await.unwrap().into_inner().attempts
}

async fn reschedule(world: &mut World, contact: &Contact, due: &str) -> Result<Contact, Status> {
    let contact_id = contact.contact_id.clone();
    let request = RescheduleContactRequest { contact_id, due_time: Some(at(due)), etag: String::new() };
    world.contacts.reschedule_contact(request).await.map(|answer| answer.into_inner().contact.unwrap())
}

#[tokio::test]
async fn a_doubt_is_settled_once_and_who_did_it_and_why_is_kept() {
    let (mut world, doomed) = in_doubt(&["anna", "bo"]).await;
    let (anna, bo) = (&doomed[0], &doomed[1]);
    let sent = resolve(&mut world, anna, Verdict::WasSent).await.unwrap();
    assert_eq!(sent.state(), contact::State::Sent);
    let attempt = attempts(&mut world, anna).await.remove(0);
    assert_eq!((attempt.outcome(), attempt.start_time), (Outcome::Accepted, sent.send_time));
    assert!(attempt.detail.ends_with("; resolved by ops: seen in the mail log"), "{}", attempt.detail);
    assert_eq!(resolve(&mut world, anna, Verdict::WasSent).await.unwrap(), sent, "the same verdict again");
    assert_eq!(attempts(&mut world, anna).await, [attempt]);
    for other in [Verdict::WasNotSent, Verdict::SendAgain] {
        assert_eq!(refusal(resolve(&mut world, anna, other).await), "CONTACT_NOT_IN_DOUBT");
    }

    let failed = resolve(&mut world, bo, Verdict::WasNotSent).await.unwrap();
    assert_eq!((failed.state(), failed.send_time), (contact::State::Failed, None));
    assert_eq!(attempts(&mut world, bo).await[0].outcome(), Outcome::PermanentFailure);
    assert!(world.explain(&bo.contact_id).await.summary.contains("resolved by ops: seen in the mail log"));
    assert_eq!(refusal(resolve(&mut world, bo, Verdict::WasSent).await), "CONTACT_NOT_IN_DOUBT");
    world.dispatch().await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn what_is_sent_again_goes_out_once_more_and_its_follow_up_stays_where_it_is() {
    let (mut world, doomed) = in_doubt(&["anna", "bo"]).await;
    let again = resolve(&mut world, &doomed[0], Verdict::SendAgain).await.unwrap();
    assert_eq!((again.state(), shown(again.due_time)), (contact::State::Scheduled, "2026-02-03T09:00:00Z".into()));
    resolve(&mut world, &doomed[1], Verdict::WasNotSent).await.unwrap();
    resolve(&mut world, &doomed[1], Verdict::SendAgain).await.unwrap();
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for anna", "check-in for bo"]);
    for contact in &doomed {
        let outcomes: Vec<Outcome> = attempts(&mut world, contact).await.iter().map(|one| one.outcome()).collect();
        assert_eq!(outcomes.len(), 2);
        assert_eq!(outcomes[1], Outcome::Accepted);
    }
    let request = ListEnrollmentsRequest { customer: by_name("anna"), ..Default::default() };
    let enrollment = world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments.remove(0);
    assert_eq!(enrollment.state(), enrollment::State::Completed);
}

#[tokio::test]
async fn a_step_that_is_sent_again_does_not_plan_the_next_one_twice() {
    let mut world = World::new().await;
    world.shop().await;
    let steps = vec![step("one", after_hours(1), "check-in"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let first = world.contacts_of("anna").await.into_iter().find(|one| one.campaign_id == "two").unwrap();
    let (due, doomed) = (harness::moment("2026-02-02T10:00:00Z"), [first.clone()]);
    let mut world = world.restart_after(async |db| die_in_the_middle_of(db, due, &doomed).await).await;
    world.advance_to("2026-02-02T10:00:00Z");
    world.recover().await;
    resolve(&mut world, &first, Verdict::SendAgain).await.unwrap();
    world.dispatch().await;
    world.dispatch_after_hours(1).await;
    let of_two: Vec<_> = world.contacts_of("anna").await.into_iter().filter(|one| one.campaign_id == "two").collect();
    let steps: Vec<_> = of_two.iter().map(|one| (one.step_id.as_str(), one.state())).collect();
    assert_eq!(steps, [("one", contact::State::Sent), ("two", contact::State::Sent)]);
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn the_gate_decides_again_about_what_is_sent_again_and_what_is_too_late_is_not() {
    let (mut world, doomed) = in_doubt(&["anna", "bo"]).await;
    world.consent("anna", "orders", Decision::Withdraw).await;
    resolve(&mut world, &doomed[0], Verdict::SendAgain).await.unwrap();
    world.dispatch().await;
    assert_eq!(world.contact(&doomed[0].contact_id).await.state(), contact::State::Suppressed);
    // 72 hours after it was due.
    world.advance_to("2026-02-06T09:00:00Z");
    assert_eq!(refusal(resolve(&mut world, &doomed[1], Verdict::SendAgain).await), "CONTACT_EXPIRED");
    resolve(&mut world, &doomed[1], Verdict::WasNotSent).await.unwrap();
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn a_contact_that_was_never_handed_over_is_in_no_doubt() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let waiting = world.contacts_of("anna").await.remove(0);
    for verdict in [Verdict::WasSent, Verdict::WasNotSent, Verdict::SendAgain] {
        assert_eq!(refusal(resolve(&mut world, &waiting, verdict).await), "CONTACT_NOT_IN_DOUBT");
    }
    let request = ResolveContactRequest { contact_id: "x".into(), verdict: 9, note: "x\ny".into() };
    assert_eq!(wrong_fields(world.contacts.resolve_contact(request).await), ["contactId", "verdict", "note"]);
    assert!(attempts(&mut world, &waiting).await.is_empty());
    let request = ListContactAttemptsRequest { contact_id: waiting.contact_id.replace('0', "1") };
    assert_eq!(refusal(world.contacts.list_contact_attempts(request).await), "CONTACT_NOT_FOUND");
}

#[tokio::test]
async fn a_waiting_message_is_planned_for_another_moment_and_keeps_its_expiry() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let request = ScheduleContactRequest {
        due: Some(Due::DueLocalTime("2026-02-03T10:00".into())),
        ..ad_hoc("anna", "orders", "check-in")
    };
    let planned = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap();
    let moved = reschedule(&mut world, &planned, "2026-02-02T12:00:00Z").await.unwrap();
    assert_eq!((moved.state(), moved.due_local_time.as_str()), (contact::State::Scheduled, ""));
    assert_eq!((moved.original_due_time, moved.expire_time), (planned.original_due_time, planned.expire_time));
    // It is an instant now, wherever the customer goes.
    let customer = Customer { time_zone: "America/Los_Angeles".into(), ..Customer::default() };
    let request = UpdateCustomerRequest { target: by_name("anna"), customer: Some(customer), ..Default::default() };
    world.customers.update_customer(request).await.unwrap();
    assert_eq!(shown(world.contact(&moved.contact_id).await.due_time), "2026-02-02T12:00:00Z");

    let too_late = shown(planned.expire_time);
    assert_eq!(wrong_fields(reschedule(&mut world, &planned, &too_late).await), ["dueTime"]);
    let stale = RescheduleContactRequest {
        contact_id: planned.contact_id.clone(),
        due_time: Some(at("2026-02-02T13:00:00Z")),
        etag: planned.etag.clone(),
    };
    assert_eq!(refusal(world.contacts.reschedule_contact(stale).await), "ETAG_MISMATCH");
    let nothing = RescheduleContactRequest::default();
    assert_eq!(wrong_fields(world.contacts.reschedule_contact(nothing).await), ["dueTime", "contactId"]);
    // A moment that is over means now.
    reschedule(&mut world, &planned, "2026-02-01T00:00:00Z").await.unwrap();
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    assert_eq!(refusal(reschedule(&mut world, &planned, "2026-02-02T13:00:00Z").await), "CONTACT_NOT_SCHEDULED");
}

#[tokio::test]
async fn what_had_put_a_message_off_is_forgotten_when_it_is_rescheduled() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let outbox = world.outbox();
    std::fs::remove_dir(&outbox).unwrap();
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert!(world.contact(&contact.contact_id).await.block.is_some());
    std::fs::create_dir(&outbox).unwrap();
    let moved = reschedule(&mut world, &contact, "2026-02-02T09:00:00Z").await.unwrap();
    assert_eq!((moved.block, moved.attempt_count), (None, 1));
    world.dispatch().await;
    assert_eq!(world.contact(&contact.contact_id).await.state(), contact::State::Sent);
}
