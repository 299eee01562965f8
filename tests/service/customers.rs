use rapport::rpc::proto::{
    self, AddAddressRequest, CreateCustomerRequest, Customer, DeleteCustomerRequest, GetCustomerRequest,
    ListCustomersRequest, UpdateCustomerRequest, contact, customer, customer_ref,
};
use serde_json::json;

use super::harness::{self, World, by_name, email, refusal, shown, structure, wrong_fields};

fn update(name: &str, customer: Customer, paths: &[&str]) -> UpdateCustomerRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateCustomerRequest {
        target: by_name(name),
        customer: Some(customer),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_customer_is_found_by_id_by_external_id_and_by_address_however_it_is_written() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "Europe/Riga").await;
    assert!(anna.customer_id.starts_with("cus_"), "{}", anna.customer_id);
    assert_eq!(shown(anna.create_time), "2026-02-02T09:00:00Z");
    let keys = [
        customer_ref::Key::CustomerId(anna.customer_id.clone()),
        customer_ref::Key::ExternalId("anna".into()),
        customer_ref::Key::Email("ANNA@Example.COM".into()),
    ];
    for key in keys {
        let reference = Some(proto::CustomerRef { key: Some(key.clone()) });
        let request = GetCustomerRequest { customer: reference, ..Default::default() };
        let found = world.customers.get_customer(request).await;
        assert_eq!(found.unwrap().into_inner().customer.as_ref(), Some(&anna), "{key:?}");
    }
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_merges_attributes_by_key() {
    let mut world = World::new().await;
    world
        .customer_with("anna", |customer| {
            customer.attributes = Some(structure(json!({"tier": "gold", "visits": 3})));
            customer.tags = vec!["vip".into()];
        })
        .await;
    let change = Customer {
        given_name: "Anna Maria".into(),
        family_name: "not named by the mask".into(),
        attributes: Some(structure(json!({"visits": 4, "tier": null, "city": "Rīga"}))),
        ..Customer::default()
    };
    let mut request = update("anna", change, &["given_name", "attributes"]);
    request.add_tags = vec!["regular".into()];
    request.remove_tags = vec!["vip".into()];
    let anna = world.customers.update_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!((anna.given_name.as_str(), anna.family_name.as_str()), ("Anna Maria", ""));
    assert_eq!(anna.attributes, Some(structure(json!({"visits": 4, "city": "Rīga"}))));
    assert_eq!(anna.tags, ["regular"]);
    assert_eq!(anna.etag, "r2");

    let unknown = update("anna", Customer::default(), &["givenname"]);
    assert_eq!(wrong_fields(world.customers.update_customer(unknown).await), ["updateMask"]);
}

#[tokio::test]
async fn an_update_of_nobody_is_refused_or_creates_where_that_is_allowed() {
    let mut world = World::new().await;
    let change = Customer { given_name: "Bo".into(), ..Customer::default() };
    let request = update("bo", change.clone(), &["given_name"]);
    assert_eq!(refusal(world.customers.update_customer(request).await), "CUSTOMER_NOT_FOUND");

    let request = UpdateCustomerRequest { allow_missing: true, ..update("bo", change.clone(), &["given_name"]) };
    let answer = world.customers.update_customer(request.clone()).await.unwrap().into_inner();
    assert!(answer.created);
    assert_eq!(answer.customer.unwrap().external_ids, ["bo"]);
    assert!(!world.customers.update_customer(request).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn an_update_with_an_old_etag_changes_nothing() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "Europe/Riga").await;
    let change = |name: &str| Customer { given_name: name.into(), etag: anna.etag.clone(), ..Customer::default() };
    world.customers.update_customer(update("anna", change("first"), &["given_name"])).await.unwrap();
    let late = world.customers.update_customer(update("anna", change("second"), &["given_name"])).await;
    assert_eq!(refusal(late), "ETAG_MISMATCH");
    let request = GetCustomerRequest { customer: by_name("anna"), ..Default::default() };
    let anna = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(anna.given_name, "first");
}

#[tokio::test]
async fn what_is_only_validated_leaves_no_trace() {
    let mut world = World::new().await;
    let customer = Customer { external_ids: vec!["anna".into()], ..Customer::default() };
    let request = CreateCustomerRequest { customer: Some(customer), validate_only: true, request_id: "try".into() };
    for _ in 0..2 {
        let answer = world.customers.create_customer(request.clone()).await.unwrap();
        assert!(answer.metadata().get("x-replayed").is_none());
    }
    let request = GetCustomerRequest { customer: by_name("anna"), ..Default::default() };
    assert_eq!(refusal(world.customers.get_customer(request).await), "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn keys_and_addresses_belong_to_one_living_customer() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let create = |external: &str, address: &str| CreateCustomerRequest {
        customer: Some(Customer {
            external_ids: vec![external.into()],
            addresses: vec![email(address)],
            ..Customer::default()
        }),
        ..Default::default()
    };
    let taken = world.customers.create_customer(create("anna", "other@example.com")).await;
    assert_eq!(refusal(taken), "EXTERNAL_ID_TAKEN");
    let taken = world.customers.create_customer(create("other", "Anna@example.com")).await;
    let taken = taken.unwrap_err();
    assert_eq!(harness::reason(&taken), "EMAIL_TAKEN");
    assert!(!format!("{taken:?}").to_lowercase().contains("anna@"), "an error shows an address: {taken:?}");

    let request = DeleteCustomerRequest { customer: by_name("anna"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    world.customers.create_customer(create("anna-2", "anna@example.com")).await.expect("the address is free again");
}

#[tokio::test]
async fn a_second_address_is_added_and_takes_the_first_place_if_it_asks_to() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let address = proto::Address { primary: true, ..email("anna@work.example") };
    let request = AddAddressRequest { customer: by_name("anna"), address: Some(address), request_id: "add-1".into() };
    for replayed in [false, true] {
        let answer = world.customers.add_address(request.clone()).await.unwrap();
        assert_eq!(answer.metadata().get("x-replayed").is_some(), replayed);
        let addresses = answer.into_inner().customer.unwrap().addresses;
        let shown: Vec<_> = addresses.iter().map(|one| (one.value.as_str(), one.primary)).collect();
        assert_eq!(shown, [("anna@example.com", false), ("anna@work.example", true)]);
    }
}

#[tokio::test]
async fn a_deleted_customer_gets_nothing_more_and_can_still_be_looked_at() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let waiting = world.contacts_of("anna").await;

    let request = DeleteCustomerRequest { customer: by_name("anna"), ..Default::default() };
    let answer = world.customers.delete_customer(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.canceled_contacts, 1);
    assert_eq!(answer.customer.unwrap().state(), customer::State::Deleted);
    assert_eq!(world.contact(&waiting[0].contact_id).await.state(), contact::State::Canceled);
    world.dispatch_after_hours(24).await;
    assert!(world.mail().is_empty());

    let get = |show_deleted| GetCustomerRequest { customer: by_name("anna"), show_deleted };
    assert_eq!(refusal(world.customers.get_customer(get(false)).await), "CUSTOMER_NOT_FOUND");
    assert!(world.customers.get_customer(get(true)).await.is_ok());
    let event = world.event("order.placed", "anna", "o-2");
    assert_eq!(refusal(world.record(event).await), "CUSTOMER_DELETED");
    let again = world.customers.delete_customer(request).await.unwrap().into_inner();
    assert_eq!(again.canceled_contacts, 0);
    let missing = DeleteCustomerRequest { customer: by_name("nobody"), allow_missing: true, ..Default::default() };
    assert!(world.customers.delete_customer(missing).await.is_ok());
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended_even_when_customers_are_added_meanwhile() {
    let mut world = World::new().await;
    for number in 0..5 {
        world.customer(&format!("customer-{number}"), "").await;
    }
    let page = |token: String| ListCustomersRequest {
        page_size: 2,
        page_token: token,
        include_total: true,
        ..Default::default()
    };
    let mut names = Vec::new();
    let mut token = String::new();
    for expected in [2, 2, 1] {
        let answer = world.customers.list_customers(page(token)).await.unwrap().into_inner();
        assert_eq!((answer.customers.len(), answer.total_size), (expected, 5));
        names.extend(answer.customers.into_iter().map(|customer| customer.external_ids[0].clone()));
        token = answer.next_page_token;
    }
    assert!(token.is_empty());
    names.sort();
    assert_eq!(names, ["customer-0", "customer-1", "customer-2", "customer-3", "customer-4"]);
}

#[tokio::test]
async fn a_new_zone_plans_wall_clock_times_again_and_leaves_elapsed_ones() {
    let mut world = World::new().await;
    world.shop().await;
    let by_the_wall =
        harness::campaign("at-ten", "orders", vec![harness::step("ask", harness::after_days(1, "10:00"), "check-in")]);
    world.campaign(by_the_wall).await;
    world.customer("anna", "Europe/Riga").await;
    world.happens("order.placed", "anna", "o-1").await;
    let due = |contacts: &[proto::Contact], campaign: &str| {
        let contact = contacts.iter().find(|one| one.campaign_id == campaign).unwrap();
        (shown(contact.due_time), contact.due_local_time.clone())
    };
    let before = world.contacts_of("anna").await;
    assert_eq!(due(&before, "at-ten").0, "2026-02-03T08:00:00Z");
    assert_eq!(due(&before, "check-in").0, "2026-02-03T09:00:00Z");

    let change = Customer { time_zone: "America/New_York".into(), ..Customer::default() };
    world.customers.update_customer(update("anna", change, &["time_zone"])).await.unwrap();
    let after = world.contacts_of("anna").await;
    assert_eq!(due(&after, "at-ten").0, "2026-02-03T15:00:00Z");
    assert!(due(&after, "at-ten").1.contains("10:00"), "{after:?}");
    assert_eq!(due(&after, "check-in").0, "2026-02-03T09:00:00Z");
    world.dispatch_at("2026-02-03T14:59:59Z").await;
    assert_eq!(world.mail().len(), 1);
    world.dispatch_at("2026-02-03T15:00:00Z").await;
    assert_eq!(world.mail().len(), 2);
}
