use rapport::rpc::proto::{
    self, BlockReason, CampaignAndCustomer, CancelContactRequest, Customer, ExplainContactRequest, ListContactsRequest,
    ScheduleContactRequest, TimeRange, UpdateCustomerRequest, contact, explain_contact_request::About,
    schedule_contact_request::Due,
};
use serde_json::json;

use super::harness::{
    World, ad_hoc, after_hours, at, by_name, campaign, refusal, shown, step, structure, wrong_fields,
};

#[tokio::test]
async fn an_ad_hoc_message_goes_out_at_its_instant_or_at_its_wall_clock_time() {
    let mut world = World::new().await;
    world.shop().await;
    world.template_with("code", "Code {{ data.code }}", "{{ data.code }}").await;
    world.customer("anna", "Asia/Kathmandu").await;
    let instant = ScheduleContactRequest {
        due: Some(Due::DueTime(at("2026-02-02T12:00:00Z"))),
        data: Some(structure(json!({"code": 7}))),
        ..ad_hoc("anna", "orders", "code")
    };
    let wall = ScheduleContactRequest {
        due: Some(Due::DueLocalTime("2026-02-02T16:30".into())),
        data: Some(structure(json!({"code": "A-1"}))),
        ..ad_hoc("anna", "orders", "code")
    };
    world.contacts.schedule_contact(instant).await.unwrap();
    let planned = world.contacts.schedule_contact(wall).await.unwrap().into_inner().contact.unwrap();
    assert_eq!(shown(planned.due_time), "2026-02-02T10:45:00Z");
    assert_eq!(planned.due_local_time, "2026-02-02T16:30 Asia/Kathmandu");
    world.dispatch_at("2026-02-02T10:44:59Z").await;
    assert!(world.mail().is_empty());
    world.dispatch_at("2026-02-02T10:45:00Z").await;
    world.dispatch_at("2026-02-02T12:00:00Z").await;
    let mut subjects = world.subjects();
    subjects.sort();
    assert_eq!(subjects, ["Code 7", "Code A-1"]);
}

#[tokio::test]
async fn a_key_plans_one_message_for_ever_and_what_stands_in_the_way_is_told_in_advance() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let request = ScheduleContactRequest { dedupe_key: "welcome-anna".into(), ..ad_hoc("anna", "offers", "offer") };
    let first = world.contacts.schedule_contact(request.clone()).await.unwrap().into_inner();
    assert!(!first.existed);
    assert_eq!(first.warnings[0].reason(), BlockReason::NoConsent);
    world.dispatch().await;
    let again = world.contacts.schedule_contact(request).await.unwrap().into_inner();
    assert!(again.existed);
    assert_eq!(again.contact.unwrap().contact_id, first.contact.unwrap().contact_id);
}

#[tokio::test]
async fn a_message_about_something_that_is_not_there_is_refused() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let cases = [
        (ad_hoc("nobody", "orders", "check-in"), "CUSTOMER_NOT_FOUND"),
        (ad_hoc("anna", "sports", "check-in"), "TOPIC_NOT_FOUND"),
        (ad_hoc("anna", "orders", "nothing"), "TEMPLATE_NOT_FOUND"),
    ];
    for (request, reason) in cases {
        assert_eq!(refusal(world.contacts.schedule_contact(request).await), reason);
    }
    let request = ScheduleContactRequest {
        expire_time: Some(at("2026-02-02T08:00:00Z")),
        ..ad_hoc("anna", "orders", "check-in")
    };
    assert_eq!(wrong_fields(world.contacts.schedule_contact(request).await), ["expireTime"]);
}

#[tokio::test]
async fn a_message_is_called_off_once_and_its_follow_up_goes_on() {
    let mut world = World::new().await;
    world.shop().await;
    let steps = vec![step("one", after_hours(1), "check-in"), step("two", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    world.customer("anna", "").await;
    let receipt = world.happens("order.placed", "anna", "o-1").await;
    let planned = receipt.effects.iter().find(|effect| effect.campaign_id == "two").unwrap().contact_id.clone();
    let cancel =
        CancelContactRequest { contact_id: planned.clone(), reason: "called by phone".into(), ..Default::default() };
    for _ in 0..2 {
        let contact = world.contacts.cancel_contact(cancel.clone()).await.unwrap().into_inner().contact.unwrap();
        assert_eq!(contact.state(), contact::State::Canceled);
    }
    assert!(world.explain(&planned).await.summary.contains("called by phone"));
    world.dispatch_after_hours(1).await;
    assert_eq!(world.subjects(), ["offer for anna"]);
    let sent = world.contacts_of("anna").await.into_iter().find(|one| one.step_id == "two").unwrap();
    let late = CancelContactRequest { contact_id: sent.contact_id, ..Default::default() };
    assert_eq!(refusal(world.contacts.cancel_contact(late).await), "CONTACT_NOT_SCHEDULED");
}

#[tokio::test]
async fn contacts_are_listed_by_customer_campaign_state_and_due_time() {
    let mut world = World::new().await;
    world.shop().await;
    for name in ["anna", "bo"] {
        world.customer(name, "").await;
        world.happens("order.placed", name, "o-1").await;
        world.send(name, "orders", "check-in").await;
    }
    world.dispatch().await;
    let sent = vec![contact::State::Sent.into()];
    let tomorrow =
        TimeRange { start_time: Some(at("2026-02-03T00:00:00Z")), end_time: Some(at("2026-02-04T00:00:00Z")) };
    let cases = [
        (ListContactsRequest::default(), 4),
        (ListContactsRequest { customer: by_name("anna"), ..Default::default() }, 2),
        (ListContactsRequest { campaign_id: "check-in".into(), ..Default::default() }, 2),
        (ListContactsRequest { states: sent.clone(), ..Default::default() }, 2),
        (ListContactsRequest { states: sent, customer: by_name("bo"), ..Default::default() }, 1),
        (ListContactsRequest { due_range: Some(tomorrow), ..Default::default() }, 2),
    ];
    for (request, expected) in cases {
        let request = ListContactsRequest { include_total: true, page_size: 1, ..request };
        let answer = world.contacts.list_contacts(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.contacts.len(), answer.total_size), (1, expected), "{request:?}");
    }
}

#[tokio::test]
async fn a_contact_can_be_explained_before_and_after_and_where_there_is_none() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let between = |name: &str| {
        let about = CampaignAndCustomer { campaign_id: "check-in".into(), customer: by_name(name) };
        ExplainContactRequest { about: Some(About::CampaignAndCustomer(about)), at_time: None }
    };
    let nothing = world.contacts.explain_contact(between("anna")).await.unwrap().into_inner();
    assert_eq!(nothing.summary, "No order.placed of this customer has been recorded since check-in was activated.");
    let planned = world.happens("order.placed", "anna", "o-1").await.effects[0].contact_id.clone();
    let before = world.contacts.explain_contact(between("anna")).await.unwrap().into_inner();
    assert_eq!(
        before.summary,
        "ask of check-in (service) will be sent at 2026-02-03T09:00:00Z (2026-02-03 11:00 Europe/Riga) \
         to a…@example.com."
    );
    assert_eq!(shown(before.next_allowed_time), "2026-02-03T09:00:00Z");
    world.dispatch_after_hours(24).await;
    let after = world.explain(&planned).await;
    assert_eq!(
        after.summary,
        "ask of check-in (service) was sent at 2026-02-03T09:00:00Z (2026-02-03 11:00 Europe/Riga) \
         to a…@example.com."
    );
    assert!(after.checks.iter().all(|check| check.passed));
    assert_eq!(after.attempts.len(), 1);
    assert_eq!(after.attempts[0].outcome(), proto::contact_attempt::Outcome::Accepted);
    world.happens("order.placed", "anna", "o-1").await;
    let again = world.contacts.explain_contact(between("anna")).await.unwrap().into_inner();
    assert_eq!(again.contact.unwrap().contact_id, planned);
}

#[tokio::test]
async fn a_marketing_message_names_the_consent_that_allowed_it() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", proto::set_consent_request::Decision::Grant).await;
    let contact = world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    let why = world.explain(&contact.contact_id).await.summary;
    assert!(why.ends_with("The consent was given at 2026-02-02T09:00:00Z (web_form)."), "{why}");
}

#[tokio::test]
async fn a_key_of_another_customer_is_refused_and_no_time_is_too_far_for_the_database() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.customer("bo", "").await;
    let request = |name: &str| ScheduleContactRequest { dedupe_key: "k".into(), ..ad_hoc(name, "orders", "check-in") };
    world.contacts.schedule_contact(request("anna")).await.unwrap();
    assert_eq!(refusal(world.contacts.schedule_contact(request("bo")).await), "DEDUPE_KEY_TAKEN");
    for local in ["+10001-01-01T00:00", "-4800-01-01T00:00", "+262142-12-31T23:00", "3000-01-01T00:00"] {
        let due = Some(Due::DueLocalTime(local.into()));
        let request = ScheduleContactRequest { due, ..ad_hoc("anna", "orders", "check-in") };
        assert_eq!(wrong_fields(world.contacts.schedule_contact(request).await), ["dueLocalTime"], "{local}");
    }
}

#[tokio::test]
async fn a_time_limit_of_its_own_stays_when_the_customer_moves() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let request = ScheduleContactRequest {
        due: Some(Due::DueLocalTime("2026-02-03T10:00".into())),
        expire_time: Some(at("2026-02-03T12:00:00Z")),
        ..ad_hoc("anna", "orders", "check-in")
    };
    let contact = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap();
    let customer = Customer { time_zone: "America/Los_Angeles".into(), ..Customer::default() };
    let request =
        UpdateCustomerRequest { target: by_name("anna"), customer: Some(customer), ..UpdateCustomerRequest::default() };
    world.customers.update_customer(request).await.unwrap();
    let contact = world.contact(&contact.contact_id).await;
    assert_eq!(shown(contact.due_time), "2026-02-03T18:00:00Z");
    assert_eq!(shown(contact.expire_time), "2026-02-03T12:00:00Z");
    world.dispatch_at("2026-02-03T18:00:00Z").await;
    assert_eq!(world.contact(&contact.contact_id).await.state(), contact::State::Expired);
}
