//! A customer who is erased leaves no trace, gets nothing more, and stays erased.

use std::collections::BTreeSet;

use rapport::{
    clock::{Clock, Timestamp},
    contacts::claims::{self, Setback},
    customers::CustomerKey,
    database::{self, Database},
    ids::{AddressId, ClaimToken},
    privacy::{ErasureOrder, Privacy, TABLES, Treatment},
    rpc::proto::{
        self, BatchCancelContactsRequest, BlockReason, Campaign, CancelContactRequest, CreateCustomerRequest,
        CreateSuppressionRequest, Customer, CustomerRef, DeleteSuppressionRequest, DeliveryEvent, EraseCustomerRequest,
        EraseCustomerResponse, Event, GetCustomerRequest, LineItem, ListSuppressionsRequest, Purpose,
        RemoveAddressRequest, ReportDeliveryEventsRequest, ResolveContactRequest, ScheduleContactRequest,
        SetConsentRequest, Suppression, UndeleteCustomerRequest, UpdateCustomerRequest, UpdatePreferencesRequest,
        contact, customer, customer_ref::Key, delivery_event::Kind, schedule_contact_request::Due,
        set_consent_request::Decision, suppression::Cause, topic::OptIn,
    },
    tokens::SecretKey,
};
use serde_json::json;

use super::{
    engine::die_in_the_middle_of,
    harness::{self, World, ad_hoc, after_hours, at, by_name, campaign, email, refusal, step, structure, wrong_fields},
    traces::{dump, tables, traces},
};

pub(super) const CANARY: &str = "canary-7319";
const ADDRESS: &str = "Canary.Bird+7319@nest-of-canaries.example";
/// What nobody may find once the canary is erased. Each is long enough not to be there by chance.
pub(super) const SECRETS: [&str; 19] = [
    CANARY,
    ADDRESS,
    "canary.bird+7319",
    "nest-of-canaries",
    "Kanārija Žukauskė",
    "Kanārija",
    "Žukauskė-Bērziņa",
    "Kanārijas kundze",
    "+371 29 731 955",
    "37129731955",
    "a cage by the window",
    "likes hemp seeds",
    "Canary Street 7319",
    "SKU-CANARY-FEED",
    "order-of-a-canary-1",
    "event-of-a-canary-1",
    "song no. 7319 of a bird",
    "said the canary",
    "the bird filled in",
];

/// What was changed or removed long before.
const FORMER: [&str; 2] = ["former name of a canary", "former-canary@old-nest.example"];

fn erase(customer_id: &str) -> EraseCustomerRequest {
    EraseCustomerRequest {
        customer: Some(CustomerRef { key: Some(Key::CustomerId(customer_id.to_owned())) }),
        reason: "asked for it, ticket 4711".into(),
        confirm_customer_id: customer_id.to_owned(),
        request_id: String::new(),
    }
}

async fn erased(world: &mut World, customer_id: &str) -> EraseCustomerResponse {
    world.customers.erase_customer(erase(customer_id)).await.unwrap().into_inner()
}

async fn suppressions(world: &mut World, address: &str) -> Vec<Suppression> {
    let request = ListSuppressionsRequest { address: address.into(), ..Default::default() };
    world.preferences.list_suppressions(request).await.unwrap().into_inner().suppressions
}

/// Else there would be nothing to look for.
fn was_kept(secrets: &[&str], dump: &[(String, Vec<u8>)]) {
    for secret in secrets {
        assert_ne!(traces(secret, dump), Vec::<String>::new(), "{secret:?} was never kept");
    }
}

/// Others, whose rows and keys stand around those of the canary, so that pages of the file are split where the canary is.
async fn others(world: &mut World, from: usize) {
    for number in from..from + 40 {
        let name = format!("sparrow-{number}");
        let attributes = structure(json!({"note": "chirp ".repeat(30)}));
        let keys = (0..19).map(|key| format!("canary-{:04}-{number}", (number * 19 + key) * 7_918 % 10_000));
        let change = |sparrow: &mut Customer| {
            sparrow.attributes = Some(attributes);
            sparrow.external_ids.extend(keys);
        };
        world.customer_with(&name, change).await;
        world.happens("order.placed", &name, &format!("o-{number}")).await;
    }
}

/// A customer about whom everything is kept that can be kept, much of it changed or removed again.
pub(super) async fn canary(world: &mut World) -> Customer {
    let canary = Customer {
        external_ids: vec![CANARY.into(), "+371 29 731 955".into()],
        display_name: "former name of a canary".into(),
        given_name: "Kanārija".into(),
        family_name: "Žukauskė-Bērziņa".into(),
        time_zone: "Europe/Riga".into(),
        attributes: Some(structure(json!({"phone": "37129731955", "home": {"kind": "a cage by the window"}}))),
        tags: vec!["likes hemp seeds".into()],
        addresses: vec![email(ADDRESS), email("former-canary@old-nest.example")],
        ..Customer::default()
    };
    let request =
        CreateCustomerRequest { customer: Some(canary), request_id: "said the canary 1".into(), validate_only: false };
    let canary = world.customers.create_customer(request).await.unwrap().into_inner().customer.unwrap();
    // It is noted who matches an audience.
    let watch = Campaign {
        trigger: Some(proto::campaign::Trigger::Audience(proto::AudienceTrigger {})),
        audience_filter: "attributes.home.kind:*".into(),
        ..campaign("bird-watch", "orders", vec![step("look", after_hours(0), "check-in")])
    };
    world.campaign(watch).await;
    was_kept(&FORMER, &dump(world).await);
    let address_id = canary.addresses[1].address_id.clone();
    let request = RemoveAddressRequest { customer: by_name(CANARY), address_id };
    world.customers.remove_address(request).await.unwrap();
    let change = Customer { display_name: "Kanārija Žukauskė, Kanārijas kundze".into(), ..Customer::default() };
    let request = UpdateCustomerRequest {
        target: by_name(CANARY),
        customer: Some(change),
        request_id: "said the canary 2".into(),
        ..Default::default()
    };
    world.customers.update_customer(request).await.unwrap().into_inner().customer.unwrap()
}

pub(super) async fn happens(world: &mut World, number: usize) {
    let event = Event {
        source_event_id: format!("event-of-a-canary-{number}"),
        subject: format!("order-of-a-canary-{number}"),
        value: Some(proto::Money { currency_code: "EUR".into(), amount: "73.19".into() }),
        items: vec![LineItem {
            sku: "SKU-CANARY-FEED".into(),
            title: "likes hemp seeds".into(),
            quantity: 1,
            ..LineItem::default()
        }],
        properties: Some(structure(json!({"deliver to": "Canary Street 7319", "fill": "tweet ".repeat(number)}))),
        ..world.event("order.placed", CANARY, "")
    };
    world.record(event).await.unwrap();
}

/// Messages to the canary, each with something personal about it; answers one that waits.
pub(super) async fn messages(world: &mut World) -> proto::Contact {
    let planned = |topic: &str, number: usize| ScheduleContactRequest {
        data: Some(structure(json!({"song": format!("song no. 7319 of a bird, verse {number}")}))),
        due: Some(Due::DueLocalTime("2026-02-03T10:00".into())),
        dedupe_key: format!("{CANARY} {number}"),
        request_id: format!("said the canary again {number}"),
        ..ad_hoc(CANARY, topic, "check-in")
    };
    for number in 0..3 {
        world.contacts.schedule_contact(planned("orders", number)).await.unwrap();
    }
    let offer = world.contacts.schedule_contact(planned("offers", 3)).await.unwrap().into_inner().contact.unwrap();
    let canceled = world.contacts_of(CANARY).await[0].contact_id.clone();
    let reason = "said the canary: not now".to_owned();
    world
        .contacts
        .cancel_contact(CancelContactRequest { contact_id: canceled, reason, etag: String::new() })
        .await
        .unwrap();
    let request = BatchCancelContactsRequest {
        customer: by_name(CANARY),
        campaign_id: "check-in".into(),
        reason: "said the canary: no check-ins".into(),
        expected_count: Some(59),
        request_id: "said the canary 3".into(),
        ..Default::default()
    };
    world.contacts.batch_cancel_contacts(request).await.unwrap();
    offer
}

/// A message whose links are noticed, and lead where only the canary is led.
async fn noticed(world: &mut World) {
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    let request = SetConsentRequest {
        customer: by_name(CANARY),
        topic_id: "receipts".into(),
        data_use: proto::DataUse::ClickTracking.into(),
        decision: Decision::Grant.into(),
        method: proto::ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    let html_body = "<a href=\"https://shop.example/{{ data.song }}\">Listen</a>".to_owned();
    let variant = proto::TemplateVariant { subject: "Listen".into(), html_body, ..Default::default() };
    let template = proto::Template { variants: vec![variant], ..harness::template("song") };
    let request = proto::CreateTemplateRequest { template: Some(template), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let request = proto::PublishTemplateRequest { template_id: "song".into(), ..Default::default() };
    world.templates.publish_template(request).await.unwrap();
    let request = ScheduleContactRequest {
        data: Some(structure(json!({"song": CANARY}))),
        due: Some(Due::DueLocalTime("2026-02-03T10:00".into())),
        ..ad_hoc(CANARY, "receipts", "song")
    };
    world.contacts.schedule_contact(request).await.unwrap();
}

/// What came back for a message to the canary.
pub(super) async fn bounces(world: &mut World) {
    let sent = world.contacts_of(CANARY).await.remove(0);
    let came = DeliveryEvent {
        source: "ses".into(),
        source_event_id: format!("of {CANARY}"),
        contact_id: sent.contact_id,
        kind: Kind::Bounced.into(),
        detail: "452 the mailbox is full, said the canary".into(),
        ..DeliveryEvent::default()
    };
    let request = ReportDeliveryEventsRequest { events: vec![came] };
    assert_eq!(world.deliveries.report_delivery_events(request).await.unwrap().into_inner().recorded, 1);
}

pub(super) async fn wishes(world: &mut World) {
    let request = SetConsentRequest {
        customer: by_name(CANARY),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: proto::ConsentMethod::WebForm.into(),
        evidence: "a form at Canary Street 7319 that the bird filled in".into(),
        request_id: "said the canary 4".into(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    let request = UpdatePreferencesRequest {
        customer: by_name(CANARY),
        preferences: Some(proto::Preferences {
            snooze_end_time: Some(at("2026-02-03T09:00:00Z")),
            ..Default::default()
        }),
        request_id: "said the canary 5".into(),
        ..Default::default()
    };
    world.preferences.update_preferences(request).await.unwrap();
    let suppression = Suppression {
        address: ADDRESS.into(),
        cause: Cause::SoftBounces.into(),
        note: "said the canary's provider".into(),
        expire_time: Some(at("2026-02-02T09:30:00Z")),
        ..Suppression::default()
    };
    let request = CreateSuppressionRequest { suppression: Some(suppression), request_id: "said the canary 6".into() };
    world.preferences.create_suppression(request).await.unwrap();
}

/// One message is handed over by a process that dies; an operator settles it with a note.
async fn one_in_doubt(world: World, doomed: proto::Contact) -> World {
    let due = harness::moment("2026-02-03T08:00:00Z");
    let doomed = [doomed];
    let mut world = world.restart_after(async |db| die_in_the_middle_of(db, due, &doomed).await).await;
    world.advance_to("2026-02-03T08:00:00Z");
    world.recover().await;
    let request = ResolveContactRequest {
        contact_id: doomed[0].contact_id.clone(),
        verdict: proto::resolve_contact_request::Verdict::WasSent.into(),
        note: "said the canary: it came".into(),
    };
    world.contacts.resolve_contact(request).await.unwrap();
    world
}

#[tokio::test]
async fn after_an_erasure_no_trace_of_the_customer_is_left_in_the_database() {
    let mut world = World::new().await;
    world.shop().await;
    others(&mut world, 0).await;
    let customer_id = canary(&mut world).await.customer_id;
    for number in 1..=60 {
        happens(&mut world, number).await;
        if number % 20 == 0 {
            others(&mut world, number * 2).await;
        }
    }
    wishes(&mut world).await;
    noticed(&mut world).await;
    let offer = messages(&mut world).await;
    let mut world = one_in_doubt(world, offer).await;
    world.dispatch().await;
    bounces(&mut world).await;
    was_kept(&SECRETS, &dump(&world).await);

    let receipt = erased(&mut world, &customer_id).await;
    let after = dump(&world).await;
    let found: Vec<String> = SECRETS.iter().chain(&FORMER).flat_map(|secret| traces(secret, &after)).collect();
    assert_eq!(found, Vec::<String>::new(), "{}", receipt.erasure_id);
    let touched: BTreeSet<&str> = receipt.erased_rows.keys().map(String::as_str).collect();
    let personal = TABLES.iter().filter(|(_, treatment)| !matches!(treatment, Treatment::Impersonal(_)));
    assert_eq!(touched, personal.map(|(table, _)| *table).collect(), "each holds something about the canary");
    assert_eq!(receipt.erased_rows["events"], 60);

    let again = erased(&mut world, &customer_id).await;
    assert_eq!(again, receipt);
    let request = GetCustomerRequest { customer: erase(&customer_id).customer, show_deleted: true };
    let left = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!((left.state(), left.purge_time), (customer::State::Erased, None));
    assert_eq!(left.addresses.len() + left.external_ids.len() + left.tags.len(), 0);
    let undelete = UndeleteCustomerRequest { customer: erase(&customer_id).customer };
    assert_eq!(refusal(world.customers.undelete_customer(undelete).await), "CUSTOMER_ERASED");
}

#[tokio::test]
async fn an_erasure_knows_every_table_of_the_record() {
    let world = World::new().await;
    let db = world.own_connection().await;
    let known: Vec<String> = TABLES.iter().map(|(table, _)| (*table).to_owned()).collect();
    assert_eq!(tables(&db).await, known, "src/privacy/erasure.rs says of each table what an erasure does to it");
    db.close().await.unwrap();
}

#[tokio::test]
async fn nothing_that_was_planned_for_an_erased_customer_goes_out() {
    let mut world = World::new().await;
    world.shop().await;
    let anna = world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let waiting = world.contacts_of("anna").await.remove(0).contact_id;
    erased(&mut world, &anna.customer_id).await;
    let contact = world.contact(&waiting).await;
    assert_eq!(
        (contact.state(), contact.block.unwrap().reason()),
        (contact::State::Canceled, BlockReason::CustomerErased)
    );
    world.dispatch_after_hours(24).await;
    assert!(world.mail().is_empty());
    let event = Event { customer: erase(&anna.customer_id).customer, ..world.event("order.placed", "anna", "o-2") };
    assert_eq!(refusal(world.record(event).await), "CUSTOMER_DELETED");
    let summary = world.explain(&waiting).await.summary;
    assert!(summary.contains("the customer was erased"), "{summary}");
}

#[tokio::test]
async fn who_comes_again_with_the_address_of_somebody_erased_is_not_written_to_until_they_agree_themselves() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    let anna = world.customer("anna", "").await;
    erased(&mut world, &anna.customer_id).await;
    let standing = suppressions(&mut world, "ANNA@example.com").await;
    assert_eq!((standing[0].cause(), standing[0].masked_address.as_str()), (Cause::Erasure, ""));
    let request =
        DeleteSuppressionRequest { suppression_id: standing[0].suppression_id.clone(), reason: "typo".into() };
    assert_eq!(refusal(world.preferences.delete_suppression(request).await), "SUPPRESSION_STANDS");

    world.dispatch_after_hours(1).await;
    world.customer("anna", "").await;
    let grant = |method: proto::ConsentMethod| SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: method.into(),
        ..Default::default()
    };
    world.preferences.set_consent(grant(proto::ConsentMethod::Import)).await.unwrap();
    for topic in ["receipts", "orders", "offers"] {
        let contact_id = world.send("anna", topic, "offer").await.contact_id;
        world.dispatch().await;
        let contact = world.contact(&contact_id).await;
        assert_eq!(
            (contact.state(), contact.block.unwrap().reason()),
            (contact::State::Suppressed, BlockReason::CustomerErased)
        );
    }
    assert!(world.mail().is_empty());
    world.preferences.set_consent(grant(proto::ConsentMethod::WebForm)).await.unwrap();
    assert_eq!(suppressions(&mut world, "anna@example.com").await, []);
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn an_erasure_is_confirmed_by_the_id_and_repeated_without_a_second_effect() {
    let mut world = World::new().await;
    let (anna, bo) = (world.customer("anna", "").await, world.customer("bo", "").await);
    let by_email = |id: &str| EraseCustomerRequest {
        customer: Some(CustomerRef { key: Some(Key::Email("anna@example.com".into())) }),
        request_id: "erase 1".into(),
        ..erase(id)
    };
    let wrong = world.customers.erase_customer(by_email(&bo.customer_id)).await;
    assert_eq!(wrong_fields(wrong), ["confirmCustomerId"]);
    let wrong = EraseCustomerRequest { confirm_customer_id: String::new(), customer: None, ..erase("") };
    assert_eq!(wrong_fields(world.customers.erase_customer(wrong).await), ["customer", "confirmCustomerId"]);
    let telling = EraseCustomerRequest { reason: "Anna asked for it".into(), ..by_email(&anna.customer_id) };
    assert_eq!(wrong_fields(world.customers.erase_customer(telling).await), ["reason"]);

    let first = world.customers.erase_customer(by_email(&anna.customer_id)).await.unwrap();
    assert!(first.metadata().get("x-replayed").is_none());
    let again = world.customers.erase_customer(by_email(&anna.customer_id)).await.unwrap();
    assert_eq!(again.metadata().get("x-replayed").unwrap(), "true");
    assert_eq!(first.into_inner(), again.into_inner());
    let mixed = EraseCustomerRequest { customer: erase(&bo.customer_id).customer, ..erase(&anna.customer_id) };
    assert_eq!(wrong_fields(world.customers.erase_customer(mixed).await), ["confirmCustomerId"]);
    let nobody = erase("cus_0000000000000000000000000a");
    assert_eq!(refusal(world.customers.erase_customer(nobody).await), "CUSTOMER_NOT_FOUND");
    let request = GetCustomerRequest { customer: by_name("bo"), show_deleted: false };
    assert!(world.customers.get_customer(request).await.is_ok());
}

/// What happens when everything that was being handed over is answered after the erasure.
async fn answered_late(db: &Database, customer_id: &str, answer: &str, time: Timestamp) {
    let token = ClaimToken::generate();
    let picked = harness::pick(db, token, time, 100).await;
    assert_eq!(picked.len(), 4);
    let intents: Vec<_> = picked
        .iter()
        .map(|one| claims::Intent {
            contact_id: one.contact_id,
            revision: one.revision,
            number: 1,
            address_id: AddressId::generate(),
            template_version: 1,
            consent: None,
        })
        .collect();
    let tx = db.begin_write().await.unwrap();
    claims::intend(&tx, token, &intents, "a slow process", time).await.unwrap();
    database::commit(tx).await.unwrap();

    let id = customer_id.parse().unwrap();
    let privacy = Privacy::new(db.clone(), Clock::simulated(time).0, SecretKey::from_text("any"));
    let order =
        ErasureOrder { customer: CustomerKey::Id(id), confirmed: id, reason: String::new(), actor: "story".into() };
    privacy.erase(&order, None).await.unwrap();

    let setback = |place: usize| {
        [Setback {
            contact_id: picked[place].contact_id,
            code: "550 5.1.1".into(),
            detail: answer.into(),
            retry_time: time,
        }]
    };
    let tx = db.begin_write().await.unwrap();
    let accepted = picked[0].contact_id;
    assert_eq!(claims::settle_accepted(&tx, token, &[accepted], time).await.unwrap(), []);
    assert_eq!(claims::settle_late(&tx, &[(accepted, 1)], time).await.unwrap(), [accepted]);
    claims::settle_later(&tx, token, &setback(1), time).await.unwrap();
    assert_eq!(claims::settle_never(&tx, token, &setback(2), time).await.unwrap(), []);
    assert_eq!(claims::settle_unknown(&tx, token, &setback(3), time).await.unwrap(), []);
    database::commit(tx).await.unwrap();
}

#[tokio::test]
async fn what_mail_servers_answer_after_an_erasure_is_not_written_down_and_nothing_is_sent_again() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    let anna = world.customer("anna", "").await;
    for topic in ["orders", "receipts", "receipts", "receipts"] {
        let due = Some(Due::DueTime(at("2026-02-02T10:00:00Z")));
        world
            .contacts
            .schedule_contact(ScheduleContactRequest { due, ..ad_hoc("anna", topic, "check-in") })
            .await
            .unwrap();
    }
    let due = harness::moment("2026-02-02T10:00:00Z");
    let answer = "550 5.1.1 <anna@example.com>: user unknown";
    let mut world = world.restart_after(async |db| answered_late(db, &anna.customer_id, answer, due).await).await;
    world.dispatch_at("2026-02-02T11:00:00Z").await;
    world.recover().await;
    world.dispatch().await;
    assert!(world.mail().is_empty());
    let request = proto::ListContactsRequest { customer: erase(&anna.customer_id).customer, ..Default::default() };
    let mut states: Vec<_> = world
        .contacts
        .list_contacts(request)
        .await
        .unwrap()
        .into_inner()
        .contacts
        .iter()
        .map(|one| one.state())
        .collect();
    states.sort();
    use contact::State::{Sent, UnknownOutcome};
    assert_eq!(states, [Sent, UnknownOutcome, UnknownOutcome, UnknownOutcome]);
    let found = traces("anna@example.com", &dump(&world).await);
    assert_eq!(found, Vec::<String>::new());
}
