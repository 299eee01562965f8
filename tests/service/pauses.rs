//! An operator holds everything up, and lets it go on.

use rapport::{
    contacts::claims::{self, Blocked},
    database,
    gate::{
        self, Facts, Verdict,
        pauses::{self, NewPause},
    },
    ids::ClaimToken,
    rpc::proto::{
        self, BlockReason, DispatchPause, GetStatusRequest, PauseDispatchRequest, Purpose, ResumeDispatchRequest,
        contact, topic::OptIn,
    },
};

use super::harness::{self, World, at, moment, shown, wrong_fields};

async fn pause(world: &mut World, reason: &str, until: Option<&str>) -> DispatchPause {
    let request =
        PauseDispatchRequest { reason: reason.into(), expire_time: until.map(at), ..PauseDispatchRequest::default() };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("x-caller", "ops".parse().unwrap());
    world.admin.pause_dispatch(request).await.unwrap().into_inner().pause.unwrap()
}

async fn resume(world: &mut World, pause_id: &str) -> Vec<DispatchPause> {
    let request = ResumeDispatchRequest { pause_id: pause_id.into() };
    world.admin.resume_dispatch(request).await.unwrap().into_inner().pauses
}

async fn held_by(world: &mut World) -> Vec<DispatchPause> {
    world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner().pauses
}

#[tokio::test]
async fn while_a_pause_holds_nothing_goes_out_whatever_it_is_for_and_then_all_of_it() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    world.template("receipt").await;
    world.customer("anna", "").await;
    let paused = pause(&mut world, "the sender is being moved", None).await;
    assert_eq!((paused.reason.as_str(), paused.actor.as_str()), ("the sender is being moved", "ops"));
    assert!(paused.pause_id.starts_with("pau_"));
    let contacts = [world.send("anna", "orders", "check-in").await, world.send("anna", "receipts", "receipt").await];
    world.dispatch_after_hours(1).await;
    assert!(world.mail().is_empty());
    for contact in &contacts {
        assert_eq!(world.contact(&contact.contact_id).await.state(), contact::State::Scheduled);
        let told = world.explain(&contact.contact_id).await;
        assert!(told.summary.contains("the dispatch is paused: the sender is being moved"), "{}", told.summary);
        let blocks: Vec<_> = told.checks.iter().filter_map(|check| Some(check.block.as_ref()?.reason())).collect();
        assert_eq!((blocks, told.next_allowed_time), (vec![BlockReason::DispatchPaused], None));
    }
    assert_eq!(held_by(&mut world).await, std::slice::from_ref(&paused));
    assert_eq!(resume(&mut world, &paused.pause_id).await, []);
    assert_eq!(resume(&mut world, &paused.pause_id).await, [], "twice is harmless");
    world.dispatch().await;
    assert_eq!(world.mail().len(), 2);
    assert_eq!(held_by(&mut world).await, []);
}

#[tokio::test]
async fn a_pause_ends_by_itself_and_several_hold_until_the_last() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let short = pause(&mut world, "a storm", Some("2026-02-02T10:00:00Z")).await;
    assert_eq!(pause(&mut world, "a storm", Some("2026-02-02T10:00:00Z")).await, short, "the same pause is one");
    let long = pause(&mut world, "a flood", Some("2026-02-02T12:00:00Z")).await;
    let contact = world.send("anna", "orders", "check-in").await;
    assert_eq!(shown(world.explain(&contact.contact_id).await.next_allowed_time), "2026-02-02T12:00:00Z");
    assert_eq!(held_by(&mut world).await, [short, long.clone()]);
    world.dispatch_at("2026-02-02T11:59:59Z").await;
    assert!(world.mail().is_empty());
    assert_eq!(held_by(&mut world).await, [long]);
    world.dispatch_at("2026-02-02T12:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
    assert_eq!(held_by(&mut world).await, []);
    for reason in ["fire", "water"] {
        pause(&mut world, reason, None).await;
    }
    assert_eq!(resume(&mut world, "").await, [], "all at once");
}

#[tokio::test]
async fn a_pause_says_why_and_ends_in_the_future() {
    let mut world = World::new().await;
    let wrong = PauseDispatchRequest { channel: 9, reason: " ".into(), expire_time: Some(at("2026-02-02T09:00:00Z")) };
    let fields = wrong_fields(world.admin.pause_dispatch(wrong).await);
    assert_eq!(fields, ["channel", "reason", "expireTime"]);
    let wrong = ResumeDispatchRequest { pause_id: "pause".into() };
    assert_eq!(wrong_fields(world.admin.resume_dispatch(wrong).await), ["pauseId"]);
}

#[tokio::test]
async fn what_was_picked_when_the_pause_began_is_put_off_and_set_free_by_its_end() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let due = proto::schedule_contact_request::Due::DueTime(at("2026-02-02T12:00:00Z"));
    let request = proto::ScheduleContactRequest { due: Some(due), ..harness::ad_hoc("anna", "orders", "check-in") };
    world.contacts.schedule_contact(request).await.unwrap();
    let now = moment("2026-02-02T12:00:00Z");
    let mut world = world
        .restart_after(async |db| {
            let token = ClaimToken::generate();
            let picked = harness::pick(db, token, now, 10).await;
            let until = Some(now + chrono::TimeDelta::hours(8));
            let (reason, actor) = ("a storm".into(), "ops".into());
            let asked =
                NewPause { channel: None, reason, actor, expire_time: until, sender_id: None, purposes: Vec::new() };
            let pause = pauses::begin(db, asked, now).await.unwrap();
            let tx = db.begin_write().await.unwrap();
            let contacts: Vec<_> = picked.iter().collect();
            let facts = Facts::lock(
                &tx,
                &rapport::tokens::SecretKey::from_text("any"),
                rapport::senders::Readiness::default(),
                &contacts,
                now,
            )
            .await
            .unwrap();
            let verdict = gate::decide(&facts.case(contacts[0], None).unwrap(), now);
            let Verdict::Defer(block) = verdict else { panic!("{verdict:?}") };
            assert_eq!(block.retry_time, until);
            let blocked = Blocked { contact_id: contacts[0].contact_id, revision: contacts[0].revision, block };
            claims::block(&tx, &[blocked], now).await.unwrap();
            database::commit(tx).await.unwrap();
            assert!(pauses::end(db, Some(pause.pause_id), now).await.unwrap().is_empty());
        })
        .await;
    world.dispatch_at("2026-02-02T12:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
}
