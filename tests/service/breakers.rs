//! A sender about whom too many complain sends no marketing until that is over.

use rapport::rpc::proto::{
    BatchScheduleContactsRequest, BlockReason, DeliveryEvent, GetStatusRequest, GetStatusResponse, Purpose,
    ReportDeliveryEventsRequest, ResumeDispatchRequest, contact, delivery_event::Kind, set_consent_request::Decision,
};

use super::harness::{World, ad_hoc, shown};

/// Anna got many offers; Bo would like some too. Answers the contacts with Anna.
async fn campaign(world: &mut World, messages: usize) -> Vec<String> {
    world.shop().await;
    for name in ["anna", "bo"] {
        world.customer(name, "").await;
        world.consent(name, "offers", Decision::Grant).await;
    }
    let requests = vec![ad_hoc("anna", "offers", "offer"); messages];
    let planned = world.contacts.batch_schedule_contacts(BatchScheduleContactsRequest { requests }).await;
    let ids = planned.unwrap().into_inner().results.into_iter().map(|one| one.contact.unwrap().contact_id).collect();
    world.dispatch().await;
    assert_eq!(world.mail().len(), messages);
    ids
}

async fn report(world: &mut World, contacts: &[String], kind: Kind) {
    let event = |contact_id: &String| DeliveryEvent {
        source: "ses".into(),
        source_event_id: format!("{kind:?} {contact_id}"),
        contact_id: contact_id.clone(),
        kind: kind.into(),
        permanent: kind == Kind::Bounced,
        ..DeliveryEvent::default()
    };
    let request = ReportDeliveryEventsRequest { events: contacts.iter().map(event).collect() };
    let answer = world.deliveries.report_delivery_events(request).await.unwrap().into_inner();
    assert_eq!(usize::try_from(answer.recorded).unwrap(), contacts.len());
}

async fn status(world: &mut World) -> GetStatusResponse {
    world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn too_many_complaints_pause_a_senders_marketing_and_nothing_else_until_an_operator_resumes() {
    let mut world = World::new().await;
    let sent = campaign(&mut world, 520).await;
    report(&mut world, &sent[..3], Kind::Complained).await;
    assert_eq!(world.run_job("watch-senders").await, "paused 0", "three of 520 may be bad luck");
    report(&mut world, &sent[3..6], Kind::Complained).await;
    assert_eq!(world.run_job("watch-senders").await, "paused 1");
    assert_eq!(world.run_job("watch-senders").await, "paused 1");
    let told = status(&mut world).await;
    assert_eq!(told.pauses.len(), 1);
    let pause = &told.pauses[0];
    assert_eq!((pause.sender_id.as_str(), pause.actor.as_str()), ("default", "rapport"));
    assert_eq!(pause.purposes, [Purpose::Marketing as i32, Purpose::Survey as i32]);
    assert!(told.degraded_reasons.iter().any(|one| one.contains("6 complaints about 520 messages")), "{told:?}");

    let offer = world.send("bo", "offers", "offer").await.contact_id;
    world.send("bo", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 521, "only the service message went out");
    let offer_now = world.contact(&offer).await;
    assert_eq!(offer_now.state(), contact::State::Scheduled);
    let block = offer_now.block.unwrap();
    assert_eq!((block.reason(), shown(block.retry_time)), (BlockReason::DispatchPaused, "2026-02-03T09:00:00Z".into()));

    world.admin.resume_dispatch(ResumeDispatchRequest::default()).await.unwrap();
    assert_eq!(world.run_job("watch-senders").await, "paused 0", "what was sent before does not count any more");
    world.dispatch().await;
    assert_eq!(world.contact(&offer).await.state(), contact::State::Sent);
    assert!(!status(&mut world).await.degraded_reasons.iter().any(|one| one.contains("complaints")));
}

#[tokio::test]
async fn too_many_hard_bounces_pause_it_too_until_what_was_sent_is_a_week_old() {
    let mut world = World::new().await;
    let sent = campaign(&mut world, 500).await;
    report(&mut world, &sent[..36], Kind::Bounced).await;
    assert_eq!(world.run_job("watch-senders").await, "paused 1");
    assert!(status(&mut world).await.pauses[0].reason.contains("36 hard bounces about 500 messages"));
    for (moment, paused) in [
        ("2026-02-03T08:59:59Z", "paused 1"),
        // It looks again after a day, and sees the same.
        ("2026-02-03T09:00:00Z", "paused 1"),
        ("2026-02-08T09:00:00Z", "paused 1"),
        ("2026-02-09T09:00:01Z", "paused 0"),
    ] {
        world.advance_to(moment);
        assert_eq!(world.run_job("watch-senders").await, paused, "{moment}");
    }
    assert_eq!(status(&mut world).await.pauses, []);
}
