//! Something to do. One customer and one contact of each topic come through the API; the others are copies of their rows, each
//! contact with a customer of its own, which takes seconds where the API would take minutes.

use std::time::{Duration, SystemTime};

use rapport::rpc::proto::{
    self, CreateCustomerRequest, CreateTemplateRequest, CreateTopicRequest, Customer, CustomerRef,
    PublishTemplateRequest, Purpose, ScheduleContactRequest, SetConsentRequest, Template, TemplateVariant, Topic,
    contact_service_client::ContactServiceClient, customer_ref::Key, customer_service_client::CustomerServiceClient,
    preference_service_client::PreferenceServiceClient, schedule_contact_request::Due, set_consent_request::Decision,
    template_service_client::TemplateServiceClient, topic::OptIn,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, Value};
use tonic::transport::Channel;

use super::{
    place::{Place, is_sqlite},
    process::{Peaks, Process},
};

/// A topic of service messages: no consent is asked for, everything else is.
pub const CHECK_INS: &str = "check-ins";
/// A topic of marketing: each customer has consented.
pub const OFFERS: &str = "offers";
/// The customer that came through the API.
const FIRST: &str = "first";

/// Which rows are the first customer's.
const OF_FIRST: &str = "first.customer_id = (SELECT customer_id FROM external_ids WHERE external_id = 'first')";

/// How customers' mail is spread: each domain has the same share.
const DOMAINS: u32 = 100;

/// Makes the database ready, with the first customer and one contact of each topic, due in an hour.
pub async fn begin(place: &Place, peaks: &mut Peaks) {
    place.migrate();
    let process = Process::start(place, &[]).await;
    let channel = process.channel.clone();
    texts(&channel).await;
    customer(&channel, FIRST, "first@example.com").await;
    consent(&channel).await;
    for topic in [CHECK_INS, OFFERS] {
        let due = SystemTime::now() + Duration::from_secs(3_600);
        schedule(&mut ContactServiceClient::new(channel.clone()), FIRST, topic, Some(due)).await;
    }
    process.stop(&format!("{}: seeding over gRPC", place.kind.name()), peaks).await;
}

/// Has so many contacts of a topic, each with a customer of its own, due at this moment. Nothing may serve meanwhile.
pub async fn multiply(record: &DatabaseConnection, topic: &str, count: u32, due: SystemTime) {
    hurry(record).await;
    record.execute_unprepared(&copies(record, count)).await.expect("ids");
    let of_topic = format!("{OF_FIRST} AND first.topic_id = '{topic}'");
    copy_people(record, &of_topic, "first.attributes").await;
    let parameter = if is_sqlite(record) { "?" } else { "$1" };
    let second = if is_sqlite(record) { "?" } else { "$2" };
    let customer = ("customer_id", "copies.customer_id");
    let contact =
        [customer, ("contact_id", "copies.contact_id"), ("due_time", parameter), ("original_due_time", second)];
    let due = Value::from(chrono::DateTime::<chrono::Utc>::from(due));
    copy(record, "contacts", &contact, &of_topic, &[due.clone(), due]).await;
    tidy(record).await;
}

/// Has so many customers with a plan, a number of orders and a date in their attributes, an address and a consent. Nothing may serve
/// meanwhile.
pub async fn crowd(record: &DatabaseConnection, count: u32) {
    let attributes = if is_sqlite(record) {
        "json_object('plan', CASE copies.number % 3 WHEN 0 THEN 'gold' WHEN 1 THEN 'basic' ELSE 'free' END, \
           'orders', copies.number % 20, 'renewal', date('2026-01-01', '+' || (copies.number % 365) || ' days'))"
    } else {
        "jsonb_build_object('plan', (ARRAY['gold', 'basic', 'free'])[1 + copies.number % 3], \
           'orders', copies.number % 20, 'renewal', to_char(date '2026-01-01' + copies.number % 365, 'YYYY-MM-DD'))"
    };
    hurry(record).await;
    record.execute_unprepared(&copies(record, count)).await.expect("ids");
    copy_people(record, &format!("{OF_FIRST} AND first.topic_id = '{OFFERS}'"), attributes).await;
    tidy(record).await;
}

/// Has so many customers who have consented to a topic, and plans nothing. Nothing may serve meanwhile.
pub async fn populate(record: &DatabaseConnection, topic: &str, count: u32) {
    hurry(record).await;
    record.execute_unprepared(&copies(record, count)).await.expect("ids");
    copy_people(record, &format!("{OF_FIRST} AND first.topic_id = '{topic}'"), "first.attributes").await;
    tidy(record).await;
}

async fn hurry(record: &DatabaseConnection) {
    let unsafe_but_fast = if is_sqlite(record) { "PRAGMA synchronous = OFF" } else { "SET synchronous_commit = off" };
    record.execute_unprepared(unsafe_but_fast).await.expect("obeyed");
}

/// Copies the first customer, with its consent to what `of_topic` names.
async fn copy_people(record: &DatabaseConnection, of_topic: &str, attributes: &str) {
    let domain = format!("'c' || copies.number || '@d' || (copies.number % {DOMAINS}) || '.example'");
    let value = format!("replace(first.value, 'first@example.com', {domain})");
    let key = format!("replace(first.living_key, 'first@example.com', {domain})");
    let customer = ("customer_id", "copies.customer_id");
    copy(record, "customers", &[customer, ("attributes", attributes)], OF_FIRST, &[]).await;
    let address = ("address_id", "copies.address_id");
    copy(record, "addresses", &[customer, address, ("value", &value), ("living_key", &key)], OF_FIRST, &[]).await;
    let consent = ("record_id", "copies.record_id");
    copy(record, "consent_records", &[customer, address, consent], of_topic, &[]).await;
    copy(record, "consents", &[customer, address, consent], of_topic, &[]).await;
}

async fn tidy(record: &DatabaseConnection) {
    record.execute_unprepared("DROP TABLE copies").await.expect("dropped");
    let tidy: &[&str] = if is_sqlite(record) {
        &["PRAGMA synchronous = FULL", "PRAGMA wal_checkpoint(TRUNCATE)"]
    } else {
        &["SET synchronous_commit = on", "VACUUM ANALYZE", "CHECKPOINT"]
    };
    for statement in tidy {
        record.execute_unprepared(statement).await.expect("obeyed");
    }
}

/// Numbers and UUIDv7s, a millisecond apart, that end now.
fn copies(record: &DatabaseConnection, count: u32) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let first = now - u64::from(count);
    if is_sqlite(record) {
        let id = format!("unhex(printf('%012x', {first} + number) || '70008000' || hex(randomblob(6)))");
        return format!(
            "CREATE TEMPORARY TABLE copies AS WITH RECURSIVE numbers (number) AS \
               (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {count}) \
             SELECT number, {id} AS customer_id, {id} AS address_id, {id} AS record_id, {id} AS contact_id FROM numbers"
        );
    }
    let id =
        format!("(lpad(to_hex({first} + number), 12, '0') || '70008000' || substr(md5(random()::text), 1, 12))::uuid");
    format!(
        "CREATE TEMPORARY TABLE copies AS \
         SELECT number, {id} AS customer_id, {id} AS address_id, {id} AS record_id, {id} AS contact_id \
         FROM generate_series(1, {count}) AS numbers (number)"
    )
}

/// Copies the first row of a table, with some columns changed.
async fn copy(record: &DatabaseConnection, table: &str, changed: &[(&str, &str)], which: &str, values: &[Value]) {
    let columns = columns(record, table).await;
    let of = |column: &String| {
        let new = changed.iter().find(|(name, _)| name == column);
        new.map_or_else(|| format!("first.{column}"), |(_, new)| (*new).to_owned())
    };
    // Parameters are numbered in the order in which their columns are listed.
    let mut listed: Vec<&String> = columns.iter().collect();
    listed.sort_by_key(|column| changed.iter().position(|(name, _)| name == column));
    let new: Vec<String> = listed.iter().map(|column| of(column)).collect();
    let names: Vec<&str> = listed.iter().map(|column| column.as_str()).collect();
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM copies CROSS JOIN {table} AS first WHERE {which}",
        names.join(", "),
        new.join(", ")
    );
    let statement = Statement::from_sql_and_values(record.get_database_backend(), sql, values.to_vec());
    record.execute_raw(statement).await.expect("copied");
}

/// The columns of a table, as the database has them now.
async fn columns(record: &DatabaseConnection, table: &str) -> Vec<String> {
    let sql = if is_sqlite(record) {
        format!("SELECT name FROM pragma_table_info('{table}')")
    } else {
        format!(
            "SELECT column_name::text AS name FROM information_schema.columns \
             WHERE table_name = '{table}' AND table_schema = current_schema()"
        )
    };
    let statement = Statement::from_string(record.get_database_backend(), sql);
    let rows = record.query_all_raw(statement).await.expect("columns");
    rows.iter().map(|row| row.try_get("", "name").expect("a name")).collect()
}

async fn texts(channel: &Channel) {
    let mut preferences = PreferenceServiceClient::new(channel.clone());
    for (id, purpose, opt_in) in
        [(CHECK_INS, Purpose::Service, OptIn::None), (OFFERS, Purpose::Marketing, OptIn::Single)]
    {
        let names = vec![proto::LocalizedText { locale: String::new(), text: id.to_owned() }];
        let (purpose, opt_in) = (purpose.into(), opt_in.into());
        let topic = Topic { topic_id: id.to_owned(), names, purpose, opt_in, ..Topic::default() };
        let request = CreateTopicRequest { topic: Some(topic), ..Default::default() };
        preferences.create_topic(request).await.expect("created");
    }
    let mut templates = TemplateServiceClient::new(channel.clone());
    let line = "We hope that everything is as you expected; if it is not, just answer.\n";
    let variant = TemplateVariant {
        subject: "All well, {{ customer.given_name }}?".to_owned(),
        text_body: format!("Hello {{{{ customer.given_name }}}},\n\n{}", line.repeat(25)),
        html_body: format!("<p>Hello {{{{ customer.given_name }}}},</p>\n{}", format!("<p>{line}</p>\n").repeat(31)),
        ..TemplateVariant::default()
    };
    let (template_id, display_name) = ("note".to_owned(), "Note".to_owned());
    let template = Template { template_id, display_name, variants: vec![variant], ..Template::default() };
    let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
    templates.create_template(request).await.expect("created");
    let request = PublishTemplateRequest { template_id: "note".to_owned(), ..Default::default() };
    templates.publish_template(request).await.expect("published");
}

/// Creates a customer that others know by this name.
pub async fn customer(channel: &Channel, name: &str, address: &str) {
    let customer = Customer {
        external_ids: vec![name.to_owned()],
        given_name: "Anna".to_owned(),
        family_name: "Ozola".to_owned(),
        addresses: vec![proto::Address { value: address.to_owned(), ..proto::Address::default() }],
        ..Customer::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    CustomerServiceClient::new(channel.clone()).create_customer(request).await.expect("created");
}

async fn consent(channel: &Channel) {
    let request = SetConsentRequest {
        customer: by_name(FIRST),
        topic_id: OFFERS.to_owned(),
        decision: Decision::Grant.into(),
        method: proto::ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    PreferenceServiceClient::new(channel.clone()).set_consent(request).await.expect("granted");
}

/// Plans a message; without a moment it is due now.
pub async fn schedule(
    contacts: &mut ContactServiceClient<Channel>,
    customer: &str,
    topic: &str,
    due: Option<SystemTime>,
) {
    let request = ScheduleContactRequest {
        customer: by_name(customer),
        topic_id: topic.to_owned(),
        template_id: "note".to_owned(),
        due: due.map(|due| Due::DueTime(due.into())),
        ..Default::default()
    };
    contacts.schedule_contact(request).await.expect("planned");
}

fn by_name(name: &str) -> Option<CustomerRef> {
    Some(CustomerRef { key: Some(Key::ExternalId(name.to_owned())) })
}
