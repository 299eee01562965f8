//! Addresses that come and go, and deletions that are taken back.

use rapport::rpc::proto::{
    self, AddAddressRequest, BlockReason, Customer, DeleteCustomerRequest, GetCustomerRequest, RemoveAddressRequest,
    SetConsentRequest, UndeleteCustomerRequest, VerifyAddressRequest, contact, customer, set_consent_request::Decision,
    verify_address_request,
};

use super::harness::{World, ad_hoc, at, by_name, email, refusal, shown, wrong_fields};

async fn add(world: &mut World, address: proto::Address) -> Customer {
    let request = AddAddressRequest { customer: by_name("anna"), address: Some(address), ..Default::default() };
    world.customers.add_address(request).await.unwrap().into_inner().customer.unwrap()
}

async fn remove(world: &mut World, address_id: &str) -> Customer {
    let request = RemoveAddressRequest { customer: by_name("anna"), address_id: address_id.to_owned() };
    world.customers.remove_address(request).await.unwrap().into_inner().customer.unwrap()
}

fn verify(address_id: &str) -> VerifyAddressRequest {
    VerifyAddressRequest { by: Some(verify_address_request::By::AddressId(address_id.to_owned())) }
}

async fn delete(world: &mut World, name: &str) -> Customer {
    let request = DeleteCustomerRequest { customer: by_name(name), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap().into_inner().customer.unwrap()
}

fn undelete(name: &str) -> UndeleteCustomerRequest {
    UndeleteCustomerRequest { customer: by_name(name) }
}

#[tokio::test]
async fn a_removed_address_gives_its_place_to_the_oldest_and_is_free_for_others() {
    let mut world = World::new().await;
    let first = world.customer("anna", "").await.addresses[0].address_id.clone();
    add(&mut world, email("second@example.com")).await;
    let anna = add(&mut world, proto::Address { primary: true, ..email("third@example.com") }).await;
    let anna = remove(&mut world, &anna.addresses[2].address_id).await;
    let left: Vec<_> = anna.addresses.iter().map(|one| (one.value.as_str(), one.primary)).collect();
    assert_eq!(left, [("anna@example.com", true), ("second@example.com", false)]);
    assert_eq!(anna.etag, "r4");
    world.customer_with("carl", |carl| carl.addresses = vec![email("third@example.com")]).await;

    let request = RemoveAddressRequest { customer: by_name("carl"), address_id: first };
    assert_eq!(refusal(world.customers.remove_address(request).await), "ADDRESS_NOT_FOUND");
    let request = RemoveAddressRequest { customer: None, address_id: "adr_1".into() };
    assert_eq!(wrong_fields(world.customers.remove_address(request).await), ["addressId", "customer"]);
}

#[tokio::test]
async fn a_consent_for_a_removed_address_counts_for_no_other_and_what_is_planned_is_decided_when_it_is_due() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let anna = add(&mut world, email("anna@work.example")).await;
    let request = SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: proto::ConsentMethod::WebForm.into(),
        address_id: anna.addresses[1].address_id.clone(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    let planned = |topic: &str, template: &str| proto::ScheduleContactRequest {
        due: Some(proto::schedule_contact_request::Due::DueTime(at("2026-02-02T10:00:00Z"))),
        ..ad_hoc("anna", topic, template)
    };
    for (topic, template) in [("offers", "offer"), ("orders", "check-in")] {
        world.contacts.schedule_contact(planned(topic, template)).await.unwrap();
    }
    remove(&mut world, &anna.addresses[1].address_id).await;
    for contact in world.contacts_of("anna").await {
        assert_eq!(contact.state(), contact::State::Scheduled);
    }
    world.dispatch_at("2026-02-02T10:00:00Z").await;
    let offer = world.contacts_of("anna").await.into_iter().find(|one| one.topic_id == "offers").unwrap();
    assert_eq!(offer.state(), contact::State::Suppressed);
    assert_eq!(offer.block.unwrap().reason(), BlockReason::NoConsent);
    assert_eq!(world.mail().iter().map(|mail| mail.to.as_str()).collect::<Vec<_>>(), ["anna@example.com"]);

    // The same address again is another one: it inherits nothing.
    add(&mut world, proto::Address { primary: true, ..email("anna@work.example") }).await;
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);

    for address in world.customers.get_customer(get("anna")).await.unwrap().into_inner().customer.unwrap().addresses {
        remove(&mut world, &address.address_id).await;
    }
    let last = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.contact(&last.contact_id).await.block.unwrap().reason(), BlockReason::NoAddress);
}

fn get(name: &str) -> GetCustomerRequest {
    GetCustomerRequest { customer: by_name(name), show_deleted: true }
}

#[tokio::test]
async fn an_address_is_verified_once_and_a_change_of_the_others_does_not_take_that_back() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "").await;
    let id = anna.addresses[0].address_id.clone();
    assert_eq!(anna.addresses[0].verify_time, None);
    let verified = world.customers.verify_address(verify(&id)).await.unwrap().into_inner().address.unwrap();
    assert_eq!(shown(verified.verify_time), "2026-02-02T09:00:00Z");
    world.advance_to("2026-02-03T09:00:00Z");
    assert_eq!(world.customers.verify_address(verify(&id)).await.unwrap().into_inner().address.unwrap(), verified);
    let anna = add(&mut world, proto::Address { primary: true, ..email("anna@work.example") }).await;
    assert_eq!((anna.addresses[0].verify_time, anna.addresses[1].verify_time), (verified.verify_time, None));

    let unknown = verify("adr_0000000000000000000000000a");
    assert_eq!(refusal(world.customers.verify_address(unknown).await), "ADDRESS_NOT_FOUND");
    let nothing = world.customers.verify_address(VerifyAddressRequest { by: None }).await;
    assert_eq!(wrong_fields(nothing), ["addressId"]);
    delete(&mut world, "anna").await;
    assert_eq!(refusal(world.customers.verify_address(verify(&id)).await), "CUSTOMER_DELETED");
}

#[tokio::test]
async fn a_deletion_is_taken_back_and_what_was_canceled_with_it_stays_canceled() {
    let mut world = World::new().await;
    world.shop().await;
    let before = world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let deleted = delete(&mut world, "anna").await;
    assert_eq!(deleted.state(), customer::State::Deleted);
    assert_eq!(shown(deleted.purge_time), "2026-03-04T09:00:00Z");
    world.advance_to("2026-03-04T08:59:59Z");
    let anna = world.customers.undelete_customer(undelete("anna")).await.unwrap().into_inner().customer.unwrap();
    assert_eq!((anna.state(), anna.delete_time, anna.purge_time), (customer::State::Active, None, None));
    assert_eq!((&anna.addresses, &anna.external_ids), (&before.addresses, &before.external_ids));
    let again = world.customers.undelete_customer(undelete("anna")).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(again, anna);
    assert_eq!(world.contacts_of("anna").await[0].state(), contact::State::Canceled);
    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
    assert!(world.customers.get_customer(get("anna")).await.is_ok());
    let by_email = Some(proto::CustomerRef { key: Some(proto::customer_ref::Key::Email("anna@example.com".into())) });
    let request = GetCustomerRequest { customer: by_email, ..Default::default() };
    assert!(world.customers.get_customer(request).await.is_ok(), "the address is hers again");
}

#[tokio::test]
async fn a_deletion_stands_once_it_is_too_late_or_somebody_else_has_the_address() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    delete(&mut world, "anna").await;
    world.customer_with("another anna", |other| other.addresses = vec![email("Anna@example.com")]).await;
    assert_eq!(refusal(world.customers.undelete_customer(undelete("anna")).await), "EMAIL_TAKEN");
    delete(&mut world, "another anna").await;
    world.advance_to("2026-03-04T09:00:00Z");
    assert_eq!(refusal(world.customers.undelete_customer(undelete("anna")).await), "CUSTOMER_ERASED");
    assert_eq!(refusal(world.customers.undelete_customer(undelete("nobody")).await), "CUSTOMER_NOT_FOUND");
}
