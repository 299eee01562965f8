//! What nobody needs any more is forgotten in time.

use rapport::rpc::proto::{
    self, Customer, DeleteCustomerRequest, DeliveryEvent, GetCustomerRequest, ListContactAttemptsRequest,
    ListContactsRequest, ListSuppressionsRequest, ReportDeliveryEventsRequest, SetConsentRequest,
    UndeleteCustomerRequest, contact, contact_attempt::Outcome, customer, delivery_event::Kind,
    set_consent_request::Decision,
};

use super::{
    engine::die_in_the_middle_of,
    harness::{self, World, by_name, refusal},
    traces::{dump, traces},
};

fn by_id(customer: &Customer) -> Option<proto::CustomerRef> {
    Some(proto::CustomerRef { key: Some(proto::customer_ref::Key::CustomerId(customer.customer_id.clone())) })
}

async fn delete(world: &mut World, name: &str) {
    let request = DeleteCustomerRequest { customer: by_name(name), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
}

#[tokio::test]
async fn who_was_deleted_is_erased_after_thirty_days_and_whoever_has_the_address_by_then_is_written_to() {
    let mut world = World::new().await;
    world.shop().await;
    let anna = world.customer("anna from riga", "").await;
    world.happens("order.placed", "anna from riga", "o-1").await;
    for number in 0..3 {
        let name = format!("bo-{number}");
        world.customer(&name, "").await;
        delete(&mut world, &name).await;
    }
    delete(&mut world, "anna from riga").await;
    let new_anna =
        |new: &mut Customer| new.addresses = anna.addresses.iter().map(|one| harness::email(&one.value)).collect();
    world.customer_with("new anna", new_anna).await;
    world.customer("carl", "").await;
    delete(&mut world, "carl").await;
    world.customers.undelete_customer(UndeleteCustomerRequest { customer: by_name("carl") }).await.unwrap();

    world.advance_to("2026-03-04T08:59:59Z");
    assert_eq!(world.run_job("purge-customers").await, "purged 0");
    world.advance_to("2026-03-04T09:00:00Z");
    assert_eq!(world.run_job("purge-customers").await, "purged 4");
    assert_eq!(world.run_job("purge-customers").await, "purged 0");
    let request = GetCustomerRequest { customer: by_id(&anna), show_deleted: true };
    let left = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!((left.state(), left.purge_time), (customer::State::Erased, None));
    assert_eq!(traces("anna from riga", &dump(&world).await), Vec::<String>::new());
    let listed = world.preferences.list_suppressions(ListSuppressionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.suppressions, []);
    world.send("new anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
    let request = GetCustomerRequest { customer: by_name("bo-1"), show_deleted: true };
    assert_eq!(refusal(world.customers.get_customer(request).await), "CUSTOMER_NOT_FOUND");
    world.customer("bo-1", "").await;
    let request = GetCustomerRequest { customer: by_name("carl"), ..Default::default() };
    assert!(world.customers.get_customer(request).await.is_ok());
}

#[tokio::test]
async fn what_mail_servers_answered_is_forgotten_after_thirteen_months_and_the_outcome_stays() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let contact_id = world.happens("order.placed", "anna", "o-1").await.effects[0].contact_id.clone();
    let doomed = [world.contact(&contact_id).await];
    let due = harness::moment("2026-02-03T09:00:00Z");
    let mut world = world.restart_after(async |db| die_in_the_middle_of(db, due, &doomed).await).await;
    world.advance_to("2026-02-03T09:00:00Z");
    world.recover().await;
    let attempt = async |world: &mut World| {
        let request = ListContactAttemptsRequest { contact_id: contact_id.clone() };
        world.contacts.list_contact_attempts(request).await.unwrap().into_inner().attempts.remove(0)
    };
    assert_ne!(attempt(&mut world).await.detail, "");
    let came = DeliveryEvent {
        source: "ses".into(),
        source_event_id: "1".into(),
        contact_id: contact_id.clone(),
        kind: Kind::Deferred.into(),
        ..DeliveryEvent::default()
    };
    let request = ReportDeliveryEventsRequest { events: vec![came] };
    assert_eq!(world.deliveries.report_delivery_events(request).await.unwrap().into_inner().recorded, 1);
    world.advance_to("2027-03-03T09:00:00Z");
    assert_eq!(world.run_job("forget-deliveries").await, "forgot 0 replies and 0 delivery events");
    world.advance_to("2027-03-03T09:00:01Z");
    assert_eq!(world.run_job("forget-deliveries").await, "forgot 1 replies and 1 delivery events");
    let left = attempt(&mut world).await;
    assert_eq!((left.detail.as_str(), left.outcome()), ("", Outcome::Unknown));
    let request = ListContactsRequest { customer: by_name("anna"), ..Default::default() };
    let contacts = world.contacts.list_contacts(request).await.unwrap().into_inner().contacts;
    assert_eq!(contacts[0].state(), contact::State::UnknownOutcome);
}

#[tokio::test]
async fn the_evidence_of_a_consent_is_forgotten_three_years_after_something_else_was_said() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let say = async |world: &mut World, topic: &str, decision: Decision, evidence: &str| {
        let request = SetConsentRequest {
            customer: by_name("anna"),
            topic_id: topic.into(),
            decision: decision.into(),
            method: proto::ConsentMethod::WebForm.into(),
            evidence: evidence.into(),
            ..Default::default()
        };
        world.preferences.set_consent(request).await.unwrap();
    };
    say(&mut world, "offers", Decision::Grant, "form 1").await;
    say(&mut world, "orders", Decision::Grant, "form 2").await;
    world.advance_to("2028-02-02T09:00:00Z");
    say(&mut world, "offers", Decision::Withdraw, "form 3").await;
    let kept = async |world: &mut World| {
        let request = proto::ListConsentRecordsRequest { customer: by_name("anna"), ..Default::default() };
        let records = world.preferences.list_consent_records(request).await.unwrap().into_inner().records;
        assert!(records.iter().all(|record| !record.evidence_digest.is_empty()));
        records.into_iter().map(|record| record.evidence).collect::<Vec<_>>()
    };
    world.advance_to("2031-02-02T09:00:00Z");
    assert_eq!(world.run_job("forget-evidence").await, "forgot 0 evidence");
    assert_eq!(kept(&mut world).await, ["form 1", "form 2", "form 3"]);
    // The grant was relied on until the withdrawal; what holds is relied on still.
    world.advance_to("2031-02-02T09:00:01Z");
    assert_eq!(world.run_job("forget-evidence").await, "forgot 1 evidence");
    assert_eq!(kept(&mut world).await, ["", "form 2", "form 3"]);
}
