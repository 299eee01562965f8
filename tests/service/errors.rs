use rapport::rpc::proto::{
    self, CreateCustomerRequest, CreateTopicRequest, Customer, GetCustomerRequest, GetTopicRequest,
    ListContactsRequest, ListCustomersRequest, Topic, UpdateCustomerRequest,
};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::harness::{World, by_name, email, reason, refusal, wrong_fields};

#[tokio::test]
async fn a_request_with_three_wrong_fields_is_told_all_three_and_changes_nothing() {
    let mut world = World::new().await;
    let customer = Customer {
        external_ids: vec!["anna".into()],
        time_zone: "Mars/Olympus".into(),
        locale: "zz_!!".into(),
        addresses: vec![email("anna@example.com"), email("nobody")],
        ..Customer::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    let status = world.customers.create_customer(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_FIELDS", "rapport.v1"));
    let fields = status.get_details_bad_request().unwrap().field_violations;
    let paths: Vec<_> = fields.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(paths, ["customer.timeZone", "customer.locale", "customer.addresses[1].value"]);
    assert!(fields.iter().all(|violation| !violation.description.is_empty()), "{fields:?}");

    let request = GetCustomerRequest { customer: by_name("anna"), ..Default::default() };
    assert_eq!(refusal(world.customers.get_customer(request).await), "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn what_is_missing_is_named_with_its_kind() {
    let mut world = World::new().await;
    let request = GetTopicRequest { topic_id: "offers".into() };
    let status = world.preferences.get_topic(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "TOPIC_NOT_FOUND"));
    let resource = status.get_details_resource_info().unwrap();
    assert_eq!((resource.resource_type.as_str(), resource.resource_name.as_str()), ("topic", "offers"));
}

#[tokio::test]
async fn an_id_of_another_kind_or_with_a_typing_error_is_refused_by_its_field() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "").await;
    let event_like = anna.customer_id.replace("cus_", "evt_");
    let cut = anna.customer_id[..anna.customer_id.len() - 1].to_owned();
    for wrong in [event_like, cut, "anna".to_owned(), String::new()] {
        let request = proto::GetContactRequest { contact_id: wrong.clone() };
        assert_eq!(wrong_fields(world.contacts.get_contact(request).await), ["contactId"], "{wrong:?}");
    }
}

#[tokio::test]
async fn a_request_with_an_id_has_its_effect_once_and_is_answered_again() {
    let mut world = World::new().await;
    let request = |name: &str| {
        let customer = Customer { external_ids: vec![name.into()], ..Customer::default() };
        CreateCustomerRequest { customer: Some(customer), request_id: "sign-up-1".into(), ..Default::default() }
    };
    let first = world.customers.create_customer(request("anna")).await.unwrap();
    assert!(first.metadata().get("x-replayed").is_none());
    let again = world.customers.create_customer(request("anna")).await.unwrap();
    assert_eq!(again.metadata().get("x-replayed").unwrap(), "true");
    assert_eq!(again.into_inner(), first.into_inner());

    let other = world.customers.create_customer(request("bo")).await;
    assert_eq!(refusal(other), "REQUEST_ID_REUSED");
    let mut elsewhere = Request::new(request("bo"));
    elsewhere.metadata_mut().insert("x-caller", "crm".parse().unwrap());
    assert!(world.customers.create_customer(elsewhere).await.is_ok(), "callers have request ids of their own");
}

#[tokio::test]
async fn the_same_request_from_many_clients_at_once_has_its_effect_once() {
    let world = World::new().await;
    let request = || {
        let customer = Customer { external_ids: vec!["anna".into()], ..Customer::default() };
        CreateCustomerRequest { customer: Some(customer), request_id: "sign-up".into(), ..Default::default() }
    };
    let calls = (0..16).map(|_| {
        let mut customers = world.customers.clone();
        async move {
            loop {
                match customers.create_customer(request()).await {
                    Ok(answer) => return answer.into_inner().customer.unwrap().customer_id,
                    Err(status) => assert_eq!(reason(&status), "WRITE_CONFLICT", "{status:?}"),
                }
            }
        }
    });
    let mut ids = futures_util::future::join_all(calls).await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn a_request_id_is_forgotten_after_its_time() {
    let mut world = World::new().await;
    let request = CreateTopicRequest {
        topic: Some(Topic { topic_id: "offers".into(), ..Topic::default() }),
        request_id: "once".into(),
    };
    world.preferences.create_topic(request.clone()).await.unwrap();
    assert!(world.preferences.create_topic(request.clone()).await.is_ok());
    world.advance_to("2026-03-02T09:00:00Z");
    let summary = world.run_job("forget-requests").await;
    assert!(summary.contains('1'), "{summary}");
    assert_eq!(refusal(world.preferences.create_topic(request).await), "TOPIC_EXISTS");
}

#[tokio::test]
async fn a_page_token_works_only_for_the_list_that_gave_it_unchanged() {
    let mut world = World::new().await;
    for number in 0..3 {
        world.customer(&format!("customer-{number}"), "").await;
    }
    let list = |token: &str, show_deleted| ListCustomersRequest {
        page_size: 1,
        page_token: token.to_owned(),
        show_deleted,
        ..Default::default()
    };
    let token = world.customers.list_customers(list("", false)).await.unwrap().into_inner().next_page_token;
    assert_eq!(refusal(world.customers.list_customers(list(&token, true)).await), "PAGE_TOKEN_MISMATCH");
    let other = ListContactsRequest { page_token: token.clone(), ..Default::default() };
    assert!(refusal(world.contacts.list_contacts(other).await).starts_with("PAGE_TOKEN_"));
    let mut forged = token.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    assert_eq!(refusal(world.customers.list_customers(list(&forged, false)).await), "PAGE_TOKEN_INVALID");
    assert_eq!(refusal(world.customers.list_customers(list("nonsense", false)).await), "PAGE_TOKEN_INVALID");
    let negative = ListCustomersRequest { page_size: -1, ..Default::default() };
    assert_eq!(wrong_fields(world.customers.list_customers(negative).await), ["pageSize"]);
}

#[tokio::test]
async fn the_callers_request_number_comes_back_and_a_wrong_caller_name_is_refused() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let mut request = Request::new(GetCustomerRequest { customer: by_name("anna"), ..Default::default() });
    request.metadata_mut().insert("x-request-id", "trace-7".parse().unwrap());
    let answer = world.customers.get_customer(request).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "trace-7");

    let mut request = Request::new(GetCustomerRequest { customer: by_name("anna"), ..Default::default() });
    request.metadata_mut().insert("x-caller", "x".repeat(65).parse().unwrap());
    assert_eq!(wrong_fields(world.customers.get_customer(request).await), ["x-caller"]);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_service_goes_on() {
    let mut world = World::new().await;
    let customer = Customer { given_name: "x".repeat(5_000_000), ..Customer::default() };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    let status = world.customers.create_customer(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
    world.customer("anna", "").await;
}

#[tokio::test]
async fn a_caller_may_compress_what_it_sends() {
    let world = World::new().await;
    let mut customers = world.customers.clone().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let customer = Customer { given_name: "x".repeat(100), external_ids: vec!["anna".into()], ..Customer::default() };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    customers.create_customer(request).await.unwrap();
}

#[tokio::test]
async fn many_small_changes_do_not_make_a_customer_larger_than_one_may_be() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let tags = |from: usize| UpdateCustomerRequest {
        target: by_name("anna"),
        customer: Some(Customer::default()),
        add_tags: (from..from + 60).map(|number| format!("tag-{number}")).collect(),
        ..Default::default()
    };
    world.customers.update_customer(tags(0)).await.unwrap();
    assert_eq!(wrong_fields(world.customers.update_customer(tags(60)).await), ["customer.tags"]);
}

#[tokio::test]
async fn an_upsert_that_is_repeated_finds_its_customer_again() {
    let mut world = World::new().await;
    let request = UpdateCustomerRequest {
        target: by_name("crm-1"),
        customer: Some(Customer { external_ids: vec!["shop-1".into()], ..Customer::default() }),
        allow_missing: true,
        ..Default::default()
    };
    for created in [true, false, false] {
        let answer = world.customers.update_customer(request.clone()).await.unwrap().into_inner();
        assert_eq!(
            (answer.created, answer.customer.unwrap().external_ids),
            (created, vec!["crm-1".into(), "shop-1".into()])
        );
    }
}

#[tokio::test]
async fn a_list_with_several_wrong_fields_is_told_all_of_them() {
    let mut world = World::new().await;
    let request = ListContactsRequest {
        campaign_id: "No Slug".into(),
        states: vec![99],
        due_range: Some(proto::TimeRange {
            start_time: Some(super::harness::at("2026-02-02T10:00:00Z")),
            end_time: Some(super::harness::at("2026-02-02T09:00:00Z")),
        }),
        page_size: -1,
        ..Default::default()
    };
    let fields = wrong_fields(world.contacts.list_contacts(request).await);
    assert_eq!(fields, ["campaignId", "states[0]", "dueRange.endTime", "pageSize"]);

    let customer = Customer { time_zone: "Mars/Olympus".into(), ..Customer::default() };
    let request = UpdateCustomerRequest {
        target: by_name("anna"),
        customer: Some(customer),
        update_mask: Some(prost_types::FieldMask { paths: vec!["nickname".into()] }),
        ..Default::default()
    };
    assert_eq!(wrong_fields(world.customers.update_customer(request).await), ["updateMask", "customer.timeZone"]);
}
