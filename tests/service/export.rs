//! A customer who asks gets everything that is kept about them, and nothing about anybody else.

use rapport::rpc::proto::{
    self, CreateWordingRequest, DeleteCustomerRequest, EraseCustomerRequest, ExportCustomerRequest,
    ExportCustomerResponse, SetConsentRequest, set_consent_request::Decision,
};
use serde_json::{Map, Value, json};

use super::{
    erasure::{CANARY, SECRETS, bounces, canary, happens, messages, wishes},
    harness::{World, by_name, refusal},
};

fn json_of(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => Value::Bool(*value),
        Kind::NumberValue(value) => json!(value),
        Kind::StringValue(text) => Value::String(text.clone()),
        Kind::ListValue(list) => list.values.iter().map(json_of).collect(),
        Kind::StructValue(fields) => Value::Object(object(fields)),
    }
}

fn object(of: &prost_types::Struct) -> Map<String, Value> {
    of.fields.iter().map(|(key, value)| (key.clone(), json_of(value))).collect()
}

async fn export(world: &mut World, customer: Option<proto::CustomerRef>) -> Vec<(String, Value)> {
    let mut stream = world.customers.export_customer(ExportCustomerRequest { customer }).await.unwrap().into_inner();
    let mut records = Vec::new();
    while let Some(ExportCustomerResponse { section, record }) = stream.message().await.unwrap() {
        records.push((section, Value::Object(object(&record.unwrap()))));
    }
    records
}

/// Which sections there are, in order, with how many records each.
fn sections(records: &[(String, Value)]) -> Vec<(&str, usize)> {
    let of = |chunk: &[(String, Value)]| chunk.len();
    records.chunk_by(|one, other| one.0 == other.0).map(|chunk| (chunk[0].0.as_str(), of(chunk))).collect()
}

#[tokio::test]
async fn everything_that_is_kept_about_a_customer_is_exported_and_nothing_about_others() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("sparrow", "").await;
    world.happens("order.placed", "sparrow", "order-of-a-sparrow").await;
    canary(&mut world).await;
    for number in 1..=60 {
        happens(&mut world, number).await;
    }
    wishes(&mut world).await;
    messages(&mut world).await;
    let text = "Yes, send me offers.".into();
    let wording = proto::Wording { topic_id: "offers".into(), text, locale: "en".into(), ..Default::default() };
    let request = CreateWordingRequest { wording: Some(wording), ..Default::default() };
    let wording = world.preferences.create_wording(request).await.unwrap().into_inner().wording.unwrap();
    let request = SetConsentRequest {
        customer: by_name(CANARY),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: proto::ConsentMethod::WebForm.into(),
        wording_id: wording.wording_id,
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    world.dispatch_at("2026-02-03T09:00:00Z").await;
    assert_eq!(world.mail().len(), 5, "four messages to the canary, one to the sparrow");

    bounces(&mut world).await;

    let records = export(&mut world, by_name(CANARY)).await;
    let expected = [
        ("export", 1),
        ("customer", 1),
        ("preferences", 1),
        ("consent_records", 2),
        ("wordings", 1),
        ("events", 60),
        ("enrollments", 60),
        ("contacts", 64),
        ("templates", 1),
        ("delivery_events", 1),
        ("suppressions", 1),
    ];
    assert_eq!(sections(&records), expected);
    assert_eq!(records[0].1["schemaVersion"], json!(1.0));
    let all = Value::Array(records.iter().map(|(_, record)| record.clone()).collect()).to_string().to_lowercase();
    for secret in SECRETS {
        assert!(all.contains(&secret.to_lowercase()), "{secret:?} is kept, and not exported");
    }
    assert!(!all.contains("sparrow"));
    let of = |section: &str| records.iter().find(|(name, _)| name == section).unwrap().1.clone();
    assert_eq!(of("wordings")["text"], "Yes, send me offers.");
    assert_eq!(of("events")["effects"][0]["outcome"], "OUTCOME_ENROLLED");
    assert_eq!(of("events")["value"], json!({"currencyCode": "EUR", "amount": "73.19"}));
    let sent = records.iter().filter(|(section, record)| section == "contacts" && record["state"] == "STATE_SENT");
    let attempts: Vec<Value> = sent.map(|(_, record)| record["attempts"][0]["outcome"].clone()).collect();
    assert_eq!(attempts, ["OUTCOME_ACCEPTED"; 4]);
    assert_eq!(of("templates")["variants"][0]["textBody"], "Hello {{ customer.given_name }}.");
}

#[tokio::test]
async fn more_than_a_page_of_events_is_exported_each_once_and_in_order() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let named = |number: usize| format!("order-{number:03}");
    for number in 0..450 {
        world.happens("order.seen", "anna", &named(number)).await;
    }
    let records = export(&mut world, by_name("anna")).await;
    let events = records.iter().filter(|(section, _)| section == "events");
    let subjects: Vec<Value> = events.map(|(_, event)| event["subject"].clone()).collect();
    assert_eq!(subjects, (0..450).map(named).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_deleted_customer_is_exported_as_well_and_an_erased_one_leaves_the_receipt() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "").await;
    let request = DeleteCustomerRequest { customer: by_name("anna"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    let records = export(&mut world, by_name("anna")).await;
    assert_eq!(sections(&records), [("export", 1), ("customer", 1), ("preferences", 1)]);
    assert_eq!(records[1].1["addresses"][0]["value"], "anna@example.com");
    let request = EraseCustomerRequest {
        customer: by_name("anna"),
        confirm_customer_id: anna.customer_id.clone(),
        reason: "ticket 4711".into(),
        ..Default::default()
    };
    let receipt = world.customers.erase_customer(request).await.unwrap().into_inner();
    let by_id = proto::CustomerRef { key: Some(proto::customer_ref::Key::CustomerId(anna.customer_id)) };
    let records = export(&mut world, Some(by_id)).await;
    assert_eq!(sections(&records), [("export", 1), ("customer", 1), ("preferences", 1), ("erasures", 1)]);
    assert_eq!(records[1].1["state"], "STATE_ERASED");
    assert_eq!(records[3].1["erasureId"], json!(receipt.erasure_id));
    let nobody = world.customers.export_customer(ExportCustomerRequest { customer: by_name("nobody") }).await;
    assert_eq!(refusal(nobody.map(drop)), "CUSTOMER_NOT_FOUND");
}
