//! Many customers and events at once: streams that are answered lot by lot.

use rapport::rpc::proto::{
    self, BatchGetCustomersRequest, Customer, ImportConsent, ImportCustomersRequest, ImportCustomersResponse,
    ImportOptions, ImportRow, StreamEventsRequest, StreamEventsResponse, consent, import_customers_request::Item,
    import_options::Match, set_consent_request::Decision,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::harness::*;

fn options(change: impl FnOnce(&mut ImportOptions)) -> ImportCustomersRequest {
    let mut options = ImportOptions { update_existing: true, ..ImportOptions::default() };
    change(&mut options);
    ImportCustomersRequest { item: Some(Item::Options(options)) }
}

fn row(number: i64, customer: Customer, consents: Vec<ImportConsent>) -> ImportCustomersRequest {
    ImportCustomersRequest { item: Some(Item::Row(ImportRow { row: number, customer: Some(customer), consents })) }
}

fn known_as(name: &str) -> Customer {
    Customer {
        external_ids: vec![name.to_owned()],
        given_name: name.to_owned(),
        addresses: vec![email(&format!("{name}@example.com"))],
        ..Customer::default()
    }
}

fn granted(topic: &str) -> ImportConsent {
    ImportConsent {
        topic_id: topic.to_owned(),
        evidence: "form at https://old.example.com/join, in the words of May 2025".to_owned(),
        occur_time: Some(at("2025-05-01T10:00:00Z")),
        ..ImportConsent::default()
    }
}

async fn begin(world: &mut World, messages: Vec<ImportCustomersRequest>) -> Streaming<ImportCustomersResponse> {
    world.customers.import_customers(tokio_stream::iter(messages)).await.expect("it begins").into_inner()
}

/// Every answer, until the stream ends.
async fn answers<T>(mut stream: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await? {
        answers.push(answer);
    }
    Ok(answers)
}

/// What an import did in all, with the errors of all its answers.
async fn import(world: &mut World, messages: Vec<ImportCustomersRequest>) -> ImportCustomersResponse {
    let all = answers(begin(world, messages).await).await.expect("it goes through");
    let errors = all.iter().flat_map(|answer| answer.errors.clone()).collect();
    ImportCustomersResponse { errors, ..all.last().cloned().unwrap_or_default() }
}

/// created, updated, unchanged, skipped, rejected.
fn counts(of: &ImportCustomersResponse) -> [i64; 5] {
    assert_eq!(of.received, of.created + of.updated + of.unchanged + of.skipped + of.rejected, "{of:?}");
    [of.created, of.updated, of.unchanged, of.skipped, of.rejected]
}

/// recorded, unchanged, rejected.
fn consents(of: &ImportCustomersResponse) -> [i64; 3] {
    [of.consents_recorded, of.consents_unchanged, of.consents_rejected]
}

fn errors(of: &ImportCustomersResponse) -> Vec<(i64, &str, &str)> {
    of.errors.iter().map(|error| (error.row, error.field.as_str(), error.reason.as_str())).collect()
}

async fn get(world: &mut World, name: &str) -> Customer {
    let request = proto::GetCustomerRequest { customer: by_name(name), ..Default::default() };
    world.customers.get_customer(request).await.expect("there is one").into_inner().customer.expect("a customer")
}

async fn records(world: &mut World, name: &str) -> Vec<proto::ConsentRecord> {
    let request = proto::ListConsentRecordsRequest { customer: by_name(name), ..Default::default() };
    world.preferences.list_consent_records(request).await.expect("listed").into_inner().records
}

async fn consent_of(world: &mut World, name: &str, topic: &str) -> Option<proto::Consent> {
    let request = proto::GetPreferencesRequest { customer: by_name(name) };
    let preferences = world.preferences.get_preferences(request).await.expect("there").into_inner().preferences;
    preferences.expect("preferences").consents.into_iter().find(|consent| consent.topic_id == topic)
}

#[tokio::test]
async fn several_customers_are_got_at_once_in_their_order_and_those_who_are_missing_are_named() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "").await;
    let bert = world.customer("bert", "").await;
    world.customer("gone", "").await;
    let request = proto::DeleteCustomerRequest { customer: by_name("gone"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    let key = |key| Some(proto::CustomerRef { key: Some(key) });
    let by_id = key(proto::customer_ref::Key::CustomerId(bert.customer_id.clone()));
    let by_email = key(proto::customer_ref::Key::Email("ANNA@example.com".to_owned()));
    let named = [by_id, by_name("nobody"), by_email, by_name("gone"), by_name("bert")];
    let customers: Vec<_> = named.into_iter().flatten().collect();
    let request = BatchGetCustomersRequest { customers: customers.clone(), show_deleted: false };
    let found = world.customers.batch_get_customers(request).await.unwrap().into_inner();
    assert_eq!(found.customers, [bert.clone(), anna, bert]);
    assert_eq!(found.missing, [customers[1].clone(), customers[3].clone()]);
    let request = BatchGetCustomersRequest { customers, show_deleted: true };
    let found = world.customers.batch_get_customers(request).await.unwrap().into_inner();
    assert_eq!((found.customers.len(), found.missing.len()), (4, 1));
    for wrong in [vec![], vec![by_name("x").unwrap(); 501]] {
        let request = BatchGetCustomersRequest { customers: wrong, ..Default::default() };
        assert_eq!(wrong_fields(world.customers.batch_get_customers(request).await), ["customers"]);
    }
    let request = BatchGetCustomersRequest { customers: vec![proto::CustomerRef::default()], ..Default::default() };
    assert_eq!(wrong_fields(world.customers.batch_get_customers(request).await), ["customers[0]"]);
}

#[tokio::test]
async fn an_import_creates_adds_and_costs_a_bad_row_only_itself_and_the_same_again_changes_nothing() {
    let mut world = World::new().await;
    world
        .customer_with("anna", |anna| {
            anna.tags = vec!["vip".to_owned()];
            anna.attributes = Some(structure(serde_json::json!({"plan": "gold", "size": 42})));
        })
        .await;
    world.customer("taken", "").await;
    world.customer("gone", "").await;
    let request = proto::DeleteCustomerRequest { customer: by_name("gone"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    let more = Customer {
        external_ids: vec!["anna".to_owned(), "crm-1".to_owned()],
        family_name: "Ozola".to_owned(),
        tags: vec!["new".to_owned()],
        attributes: Some(structure(serde_json::json!({"plan": "silver", "city": "Rīga"}))),
        addresses: vec![proto::Address { primary: true, ..email("ozola@example.com") }],
        ..Customer::default()
    };
    let wrong = Customer {
        time_zone: "Mars/Olympus".to_owned(),
        addresses: vec![email("no address")],
        given_name: "x\u{0}".to_owned(),
        ..known_as("wrong")
    };
    let thief = Customer { addresses: vec![email("Taken@example.com")], ..known_as("thief") };
    let both = Customer { external_ids: vec!["anna".to_owned(), "taken".to_owned()], ..Customer::default() };
    let stranger = Customer { customer_id: "cus_00000000000000000000000000".to_owned(), ..known_as("stranger") };
    let rows = || {
        vec![
            options(|_| {}),
            row(2, known_as("bert"), vec![]),
            row(3, more.clone(), vec![]),
            row(4, wrong.clone(), vec![]),
            row(5, thief.clone(), vec![]),
            row(6, known_as("gone"), vec![]),
            row(7, both.clone(), vec![]),
            row(8, Customer { given_name: "nobody".to_owned(), ..Customer::default() }, vec![]),
            row(9, Customer { family_name: "Berg".to_owned(), ..known_as("bert") }, vec![]),
            row(10, stranger.clone(), vec![]),
            ImportCustomersRequest { item: Some(Item::Row(ImportRow { row: 11, ..Default::default() })) },
            row(12, known_as("carl"), vec![]),
        ]
    };
    let told = import(&mut world, rows()).await;
    assert_eq!(counts(&told), [2, 2, 0, 0, 7], "{told:?}");
    assert_eq!(told.last_row, 12);
    let expected = [
        (4, "customer.givenName", "INVALID_FIELDS"),
        (4, "customer.timeZone", "INVALID_FIELDS"),
        (4, "customer.addresses[0].value", "INVALID_FIELDS"),
        (5, "customer", "EMAIL_TAKEN"),
        (6, "customer", "CUSTOMER_DELETED"),
        (7, "customer", "EXTERNAL_ID_TAKEN"),
        (8, "customer", "INVALID_FIELDS"),
        (10, "customer", "CUSTOMER_NOT_FOUND"),
        (11, "customer", "INVALID_FIELDS"),
    ];
    assert_eq!(errors(&told), expected);
    let anna = get(&mut world, "anna").await;
    assert_eq!(anna.external_ids, ["anna", "crm-1"]);
    assert_eq!((anna.given_name.as_str(), anna.family_name.as_str()), ("anna", "Ozola"));
    assert_eq!(anna.tags, ["vip", "new"]);
    let expected = structure(serde_json::json!({"plan": "silver", "size": 42, "city": "Rīga"}));
    assert_eq!(anna.attributes, Some(expected));
    let told_addresses: Vec<_> = anna.addresses.iter().map(|one| (one.value.as_str(), one.primary)).collect();
    assert_eq!(told_addresses, [("anna@example.com", false), ("ozola@example.com", true)]);
    assert_eq!(get(&mut world, "bert").await.family_name, "Berg");
    let again = import(&mut world, rows()).await;
    assert_eq!(counts(&again), [0, 0, 4, 0, 7], "{again:?}");
    assert_eq!(get(&mut world, "anna").await, anna);
}

#[tokio::test]
async fn customers_are_told_apart_as_the_options_say_and_left_alone_where_they_say_so() {
    let mut world = World::new().await;
    let anna = world.customer("anna", "").await;
    let renamed = Customer { external_ids: vec!["crm-9".to_owned()], ..known_as("anna") };
    let either = import(&mut world, vec![options(|_| {}), row(1, renamed.clone(), vec![])]).await;
    assert_eq!(errors(&either), [(1, "customer", "EMAIL_TAKEN")], "the key is another one, so it is somebody else");
    let by_email = |options: &mut ImportOptions| options.set_match(Match::Email);
    let nameless = Customer { addresses: vec![], ..known_as("x") };
    let told = import(&mut world, vec![options(by_email), row(1, renamed, vec![]), row(2, nameless, vec![])]).await;
    assert_eq!((counts(&told), errors(&told)), ([0, 1, 0, 0, 1], vec![(2, "customer.addresses", "INVALID_FIELDS")]));
    assert_eq!(get(&mut world, "crm-9").await.customer_id, anna.customer_id);
    let by_key = |options: &mut ImportOptions| options.set_match(Match::ExternalId);
    let keyless = Customer { external_ids: vec![], ..known_as("anna") };
    let told = import(&mut world, vec![options(by_key), row(1, keyless, vec![])]).await;
    assert_eq!(errors(&told), [(1, "customer.externalIds", "INVALID_FIELDS")]);
    let only_new = |options: &mut ImportOptions| options.update_existing = false;
    let changed = Customer { family_name: "Ozola".to_owned(), ..known_as("anna") };
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    let rows = vec![options(only_new), row(1, changed, vec![granted("offers")]), row(2, known_as("new"), vec![])];
    let told = import(&mut world, rows).await;
    assert_eq!((counts(&told), consents(&told)), ([1, 0, 0, 1, 0], [0, 0, 0]));
    assert_eq!(get(&mut world, "anna").await.family_name, "");
}

#[tokio::test]
async fn a_dry_run_finds_what_is_wrong_and_changes_nothing() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let dry = |options: &mut ImportOptions| options.validate_only = true;
    let changed = Customer { family_name: "Ozola".to_owned(), ..known_as("anna") };
    let wrong = Customer { locale: "??".to_owned(), ..known_as("wrong") };
    let rows = vec![options(dry), row(1, changed, vec![]), row(2, known_as("new"), vec![]), row(3, wrong, vec![])];
    let told = import(&mut world, rows).await;
    assert_eq!((counts(&told), errors(&told)), ([1, 1, 0, 0, 1], vec![(3, "customer.locale", "INVALID_FIELDS")]));
    assert_eq!(get(&mut world, "anna").await.family_name, "");
    let request = proto::GetCustomerRequest { customer: by_name("new"), ..Default::default() };
    assert_eq!(refusal(world.customers.get_customer(request).await), "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn a_consent_is_taken_over_with_its_evidence_or_refused_alone() {
    let mut world = World::new().await;
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    world.topic("stories", proto::Purpose::Marketing, proto::topic::OptIn::Double).await;
    world.topic("similar", proto::Purpose::Marketing, proto::topic::OptIn::Soft).await;
    let confirmed = ImportConsent { confirmed: true, ..granted("stories") };
    let soft = ImportConsent { expire_time: Some(at("2027-05-01T10:00:00Z")), ..granted("similar") };
    let unshown = ImportConsent { evidence: String::new(), occur_time: None, ..granted("offers") };
    let ahead = ImportConsent { occur_time: Some(at("2026-02-02T09:10:00Z")), ..granted("offers") };
    let no_address = Customer { addresses: vec![], ..known_as("fred") };
    let rows = || {
        vec![
            options(|_| {}),
            row(1, known_as("anna"), vec![granted("offers"), confirmed.clone(), soft.clone()]),
            row(2, known_as("bert"), vec![unshown.clone(), granted("stories"), granted("similar"), granted("unheard")]),
            row(
                3,
                known_as("carl"),
                vec![ahead.clone(), ImportConsent { topic_id: "Not A Slug".into(), ..granted("") }],
            ),
            row(4, no_address.clone(), vec![granted("offers")]),
        ]
    };
    let told = import(&mut world, rows()).await;
    assert_eq!((counts(&told), consents(&told)), ([4, 0, 0, 0, 0], [3, 0, 7]));
    let expected = [
        (2, "consents[0].evidence", "INVALID_FIELDS"),
        (2, "consents[0].occurTime", "INVALID_FIELDS"),
        (2, "consents[1].confirmed", "INVALID_FIELDS"),
        (2, "consents[2].expireTime", "INVALID_FIELDS"),
        (2, "consents[3]", "TOPIC_NOT_FOUND"),
        (3, "consents[0].occurTime", "INVALID_FIELDS"),
        (3, "consents[1].topicId", "INVALID_FIELDS"),
        (4, "consents[0]", "CUSTOMER_HAS_NO_ADDRESS"),
    ];
    assert_eq!(errors(&told), expected);
    assert!(told.errors[0].description.starts_with("offers: "), "{:?}", told.errors[0]);
    let ledger = records(&mut world, "anna").await;
    assert_eq!(ledger.len(), 3);
    assert!(ledger.iter().all(|one| one.method() == proto::ConsentMethod::Import && !one.address_id.is_empty()));
    assert!(ledger[0].evidence.contains("old.example.com") && shown(ledger[0].occur_time) == "2025-05-01T10:00:00Z");
    assert_eq!(consent_of(&mut world, "anna", "stories").await.unwrap().state(), consent::State::Granted);
    assert!(consent_of(&mut world, "bert", "stories").await.is_none(), "an import asks nobody to confirm");
    let again = import(&mut world, rows()).await;
    assert_eq!((counts(&again), consents(&again)), ([0, 0, 4, 0, 0], [0, 3, 7]));
    assert_eq!(records(&mut world, "anna").await.len(), 3);
    let defaults = |options: &mut ImportOptions| options.consent_defaults = Some(granted(""));
    let bare = ImportConsent { topic_id: "offers".to_owned(), ..ImportConsent::default() };
    let told = import(&mut world, vec![options(defaults), row(1, known_as("bert"), vec![bare])]).await;
    assert_eq!((counts(&told), consents(&told)), ([0, 1, 0, 0, 0], [1, 0, 0]));
}

#[tokio::test]
async fn an_import_lifts_nothing_and_weakens_nothing() {
    let mut world = World::new().await;
    world.shop().await;
    for name in ["left", "objects", "silent", "agreed", "complained"] {
        world.customer(name, "").await;
    }
    world.consent("left", "offers", Decision::Withdraw).await;
    world.consent("agreed", "offers", Decision::Grant).await;
    for (name, scope) in [
        ("objects", proto::unsubscribe_request::Scope::AllMarketing(true)),
        ("silent", proto::unsubscribe_request::Scope::Everything(true)),
    ] {
        let request = proto::UnsubscribeRequest {
            by: Some(proto::unsubscribe_request::By::Customer(by_name(name).unwrap())),
            scope: Some(scope),
            method: proto::ConsentMethod::Reply.into(),
            ..Default::default()
        };
        world.preferences.unsubscribe(request).await.unwrap();
    }
    let request = proto::CreateSuppressionRequest {
        suppression: Some(proto::Suppression {
            address: "complained@example.com".to_owned(),
            cause: proto::suppression::Cause::Complaint.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    world.preferences.create_suppression(request).await.unwrap();
    world.advance_to("2026-03-02T09:00:00Z");
    let later = ImportConsent { occur_time: Some(at("2026-03-01T09:00:00Z")), ..granted("offers") };
    let names = ["left", "objects", "silent", "agreed", "complained"];
    let mut rows = vec![options(|_| {})];
    rows.extend(names.iter().zip(1..).map(|(name, number)| row(number, known_as(name), vec![later.clone()])));
    let before = consent_of(&mut world, "agreed", "offers").await;
    let told = import(&mut world, rows).await;
    let withdrawn = |row| (row, "consents[0]", "CONSENT_WITHDRAWN");
    assert_eq!(errors(&told), [withdrawn(1), withdrawn(2), withdrawn(3)]);
    assert_eq!(consents(&told), [1, 1, 3]);
    assert_eq!(consent_of(&mut world, "left", "offers").await.unwrap().state(), consent::State::Denied);
    assert_eq!(consent_of(&mut world, "agreed", "offers").await, before, "their own word stays as it was given");
    for name in names {
        world.send(name, "offers", "offer").await;
    }
    world.dispatch().await;
    assert_eq!(world.subjects(), ["offer for agreed"]);
}

#[tokio::test]
async fn a_withdrawal_that_comes_with_an_import_takes_effect() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.customer("own", "").await;
    world.happens("order.placed", "anna", "order-1").await;
    world.consent("own", "offers", Decision::Grant).await;
    let left = |topic: &str| ImportConsent { topic_id: topic.to_owned(), withdrawal: true, ..ImportConsent::default() };
    let long_ago = ImportConsent { occur_time: Some(at("2025-01-01T00:00:00Z")), ..left("offers") };
    let rows = || {
        vec![
            options(|_| {}),
            row(1, known_as("anna"), vec![left("orders")]),
            row(2, known_as("own"), vec![long_ago.clone()]),
            row(3, known_as("new"), vec![left("orders"), granted("orders")]),
        ]
    };
    let told = import(&mut world, rows()).await;
    assert_eq!((counts(&told), consents(&told)), ([1, 1, 1, 0, 0], [2, 1, 1]), "{told:?}");
    let contact = &world.contacts_of("anna").await[0];
    assert_eq!(contact.state(), proto::contact::State::Canceled);
    assert_eq!(consent_of(&mut world, "own", "offers").await.unwrap().state(), consent::State::Granted);
    assert_eq!(consent_of(&mut world, "new", "orders").await.unwrap().state(), consent::State::Denied);
    let again = import(&mut world, rows()).await;
    assert_eq!((counts(&again), consents(&again)), ([0, 0, 3, 0, 0], [0, 3, 1]));
}

#[tokio::test]
async fn a_new_zone_from_an_import_plans_what_waits_again() {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    world.template("check-in").await;
    world.campaign(campaign("check-in", "orders", vec![step("ask", after_days(7, "10:00"), "check-in")])).await;
    world.customer("anna", "Europe/Riga").await;
    world.happens("order.placed", "anna", "order-1").await;
    assert_eq!(shown(world.contacts_of("anna").await[0].due_time), "2026-02-09T08:00:00Z");
    let moved = Customer { time_zone: "America/New_York".to_owned(), ..known_as("anna") };
    let told = import(&mut world, vec![options(|_| {}), row(1, moved, vec![])]).await;
    assert_eq!(counts(&told), [0, 1, 0, 0, 0]);
    assert_eq!(shown(world.contacts_of("anna").await[0].due_time), "2026-02-09T15:00:00Z");
}

#[tokio::test]
async fn rows_are_taken_up_in_lots_and_who_was_interrupted_goes_on_where_the_answers_ended() {
    let mut world = World::new().await;
    let (send, rows) = mpsc::channel(8);
    let mut customers = world.customers.clone();
    let mut stream = customers.import_customers(ReceiverStream::new(rows)).await.unwrap().into_inner();
    send.send(options(|_| {})).await.unwrap();
    // One alone is taken up too, after a moment.
    send.send(row(1, known_as("n1"), vec![])).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().last_row, 1);
    let sending = tokio::spawn(async move {
        for number in 2..=2_600 {
            if send.send(row(number, known_as(&format!("n{number}")), vec![])).await.is_err() {
                return;
            }
        }
    });
    let durable = stream.message().await.unwrap().unwrap();
    assert!(durable.last_row > 1 && durable.last_row < 2_600 && durable.created == durable.last_row, "{durable:?}");
    // The caller hangs up.
    drop(stream);
    sending.await.unwrap();
    let mut rest = vec![options(|_| {})];
    rest.extend((durable.last_row + 1..=2_600).map(|number| row(number, known_as(&format!("n{number}")), vec![])));
    let told = import(&mut world, rest).await;
    assert_eq!((told.received, told.rejected), (2_600 - durable.last_row, 0));
    let request = proto::ListCustomersRequest { page_size: 1, include_total: true, ..Default::default() };
    assert_eq!(world.customers.list_customers(request).await.unwrap().into_inner().total_size, 2_600);
}

#[tokio::test]
async fn a_stream_that_is_not_an_import_is_refused_and_what_came_before_stands() {
    let mut world = World::new().await;
    let refused = async |world: &mut World, messages| wrong_fields(answers(begin(world, messages).await).await);
    assert_eq!(refused(&mut world, vec![row(1, known_as("anna"), vec![])]).await, ["item"]);
    assert_eq!(refused(&mut world, vec![ImportCustomersRequest::default()]).await, ["item"]);
    let defaults = |options: &mut ImportOptions| options.consent_defaults = Some(granted("offers"));
    assert_eq!(refused(&mut world, vec![options(defaults)]).await, ["options.consentDefaults"]);
    let unknown = |options: &mut ImportOptions| options.r#match = 77;
    assert_eq!(refused(&mut world, vec![options(unknown)]).await, ["options.match"]);
    assert!(answers(begin(&mut world, vec![]).await).await.unwrap().is_empty());
    let messages = vec![options(|_| {}), row(1, known_as("anna"), vec![]), options(|_| {})];
    let mut stream = begin(&mut world, messages).await;
    assert_eq!(stream.message().await.unwrap().unwrap().created, 1);
    assert_eq!(wrong_fields(stream.message().await), ["item"]);
    get(&mut world, "anna").await;
    let huge = Customer { display_name: "x".repeat(5 << 20), ..known_as("huge") };
    let stream = begin(&mut world, vec![options(|_| {}), row(1, known_as("bert"), vec![]), row(2, huge, vec![])]).await;
    assert_eq!(refusal(answers(stream).await), "INVALID_FIELDS");
    get(&mut world, "bert").await;
}

#[tokio::test]
async fn two_imports_of_the_same_customers_meet_and_both_go_through() {
    let mut world = World::new().await;
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    let rows = |number: i64| row(number, known_as(&format!("n{number}")), vec![granted("offers")]);
    let mut forwards = vec![options(|_| {})];
    forwards.extend((1..=700).map(rows));
    let mut backwards = vec![options(|_| {})];
    backwards.extend((1..=700).rev().map(rows));
    let (one, other) = (begin(&mut world, forwards).await, begin(&mut world, backwards).await);
    let (one, other) = tokio::join!(answers(one), answers(other));
    let (one, other) = (one.unwrap().pop().unwrap(), other.unwrap().pop().unwrap());
    assert_eq!(one.created + other.created, 700);
    assert_eq!(one.unchanged + other.unchanged, 700, "{one:?} {other:?}");
    assert_eq!(one.consents_recorded + other.consents_recorded, 700);
}

async fn stream(world: &mut World, messages: Vec<StreamEventsRequest>) -> StreamEventsResponse {
    let stream = world.events.stream_events(tokio_stream::iter(messages)).await.expect("it begins").into_inner();
    let all = answers(stream).await.expect("it goes through");
    let rejections = all.iter().flat_map(|answer| answer.rejections.clone()).collect();
    StreamEventsResponse { rejections, ..all.last().cloned().unwrap_or_default() }
}

#[tokio::test]
async fn events_are_streamed_each_for_itself_and_the_same_again_does_nothing() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let event = |world: &World, name: &str, subject: &str| StreamEventsRequest {
        event: Some(world.event("order.placed", name, subject)),
        create_customer: false,
    };
    let create = |one: StreamEventsRequest| StreamEventsRequest { create_customer: true, ..one };
    let mut messages = vec![
        event(&world, "anna", "order-1"),
        StreamEventsRequest::default(),
        event(&world, "nobody", "order-2"),
        create(event(&world, "new", "order-3")),
        event(&world, "new", "order-4"),
    ];
    let mut other = event(&world, "anna", "order-1");
    other.event.as_mut().unwrap().properties = Some(structure(serde_json::json!({"other": true})));
    messages.push(other);
    let told = stream(&mut world, messages.clone()).await;
    assert_eq!((told.received, told.recorded, told.duplicates, told.rejected), (6, 3, 0, 3));
    let rejected: Vec<_> = told.rejections.iter().map(|one| (one.index, one.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "INVALID_FIELDS"), (2, "CUSTOMER_NOT_FOUND"), (5, "EVENT_CONFLICT")]);
    assert_eq!(world.contacts_of("anna").await.len(), 1, "the campaign took it up");
    let again = stream(&mut world, messages).await;
    assert_eq!((again.received, again.recorded, again.duplicates, again.rejected), (6, 0, 3, 3));
    assert_eq!(world.contacts_of("new").await.len(), 2);
}

#[tokio::test]
async fn hundreds_of_events_are_streamed_in_order_with_answers_on_the_way() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let message = |number: i32| StreamEventsRequest {
        event: Some(world.event("cart.updated", "anna", &format!("cart-{number}"))),
        create_customer: false,
    };
    let messages: Vec<_> = (0..250).map(message).collect();
    let streaming = world.events.stream_events(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let all = answers(streaming).await.unwrap();
    assert!(all.len() >= 3 && all.is_sorted_by_key(|answer| answer.received));
    assert_eq!(all.last().unwrap().recorded, 250);
    let request = proto::ListEventsRequest { customer: by_name("anna"), page_size: 500, ..Default::default() };
    let listed = world.events.list_events(request).await.unwrap().into_inner().events;
    let subjects: Vec<_> = listed.iter().map(|event| event.subject.clone()).collect();
    assert_eq!(subjects, (0..250).map(|number| format!("cart-{number}")).collect::<Vec<_>>());
}
