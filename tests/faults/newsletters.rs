//! SIGKILL in the middle of a newsletter, again and again: everybody has it exactly once, or is accounted for with a reason.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use rapport::{
    ids::{AddressId, ConsentRecordId, CustomerId},
    rpc::proto::{
        self, Campaign, CampaignRun, CreateCustomerRequest, Customer, OneOffTrigger, campaign::Trigger, campaign_run,
        contact, one_off_trigger, set_consent_request::Decision,
    },
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, TransactionTrait};
use tonic::transport::Channel;
use uuid::Uuid;

use super::{
    fleet::{Fleet, Record, until},
    load::{self, Api},
    postgres::{OwnDatabase, server},
    reconcile::OPEN_INTENTS,
    seed::Dice,
    sink::Sink,
    stage,
};

/// One in so many never agreed to anything.
const UNWILLING: u64 = 10;
/// How long a kill waits for its share of the work.
const PATIENCE: Duration = Duration::from_secs(60);
/// How late the first message may be.
const LATEST: Duration = Duration::from_secs(2);

struct Newsletter {
    customers: u64,
    kills: u64,
    processes: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_over_a_file_a_newsletter_reaches_everybody_once() {
    let news = Newsletter { customers: 20_000, kills: 5, processes: 1 };
    news.play("a newsletter, five kills, one process on SQLite", Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_over_postgres_a_newsletter_of_two_processes_reaches_everybody_once() {
    let story = "a newsletter, five kills, two processes on Postgres";
    let Some(server) = server(story) else { return };
    let news = Newsletter { customers: 20_000, kills: 5, processes: 2 };
    news.play(story, Record::Postgres(OwnDatabase::make(server).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn killed_over_a_file_a_newsletter_reaches_a_million_once() {
    let news = Newsletter { customers: 1_000_000, kills: 5, processes: 1 };
    news.play("a newsletter to a million, five kills, one process on SQLite", Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes"]
async fn killed_over_postgres_a_newsletter_of_two_processes_reaches_a_million_once() {
    let story = "a newsletter to a million, five kills, two processes on Postgres";
    let Some(server) = server(story) else { return };
    let news = Newsletter { customers: 1_000_000, kills: 5, processes: 2 };
    news.play(story, Record::Postgres(OwnDatabase::make(server).await)).await;
}

impl Newsletter {
    async fn play(&self, story: &str, record: Record) {
        let mut dice = Dice::of(story);
        let sink = Sink::start().await;
        let mut fleet = Fleet::over(record, sink.url());
        let planner = fleet.start().await;
        begin(&Api::of(&planner)).await;
        assert!(planner.stop().await.0.success());
        let record = fleet.record().await;
        multiply(&record, self.customers).await;
        record.close().await.expect("it closes");

        let mut replicas = fleet.start_all(self.processes).await;
        let time = SystemTime::now() + Duration::from_secs(3);
        let due = Duration::from_secs(time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs());
        let due = SystemTime::UNIX_EPOCH + due;
        activate(replicas[0].channel(), due).await;
        let willing = self.customers - (self.customers - 1) / UNWILLING;
        let share = willing / (self.kills + 1);
        let mut open = 0;
        for kill in 0..self.kills {
            let moment = kill * share + dice.number(share / 4..share);
            let what = format!("{moment} messages are accepted");
            until(PATIENCE + Duration::from_secs(share / 100), &what, async || sink.accepted() >= moment).await;
            replicas.swap_remove(dice.index(replicas.len())).kill();
            open += fleet.open_intents().await;
            tokio::time::sleep(dice.millis(0..300)).await;
            replicas.push(fleet.start().await);
        }
        let limit = stage::RESUME * 3 + Duration::from_secs(self.customers / 200);
        let channel = replicas[0].channel();
        let what = "the run is finished";
        let took = until(limit, what, async || {
            load::only_run(channel.clone(), "news").await.state() == campaign_run::State::Finished
        });
        let took = took.await;
        let run = load::only_run(channel, "news").await;
        println!("{story}: {open} intents open at the kills, finished {took:.1?} after the last");
        self.judge(story, &run, &sink, due, &mut Api::of(&replicas[0])).await;
    }

    async fn judge(&self, story: &str, run: &CampaignRun, sink: &Sink, due: SystemTime, api: &mut Api) {
        let told = run.stats.clone().expect("numbers");
        let unwilling = i64::try_from((self.customers - 1) / UNWILLING).expect("small");
        let willing = i64::try_from(self.customers).expect("small") - unwilling;
        let ledger = sink.ledger();
        let mut times: HashMap<&str, u32> = HashMap::new();
        for entry in &ledger {
            *times.entry(entry.recipient.as_str()).or_default() += 1;
        }
        let first = ledger.iter().map(|entry| entry.end).min().expect("a message");
        let late = first.duration_since(due).unwrap_or_default();
        println!("{story}: {told:?}; the first message came {late:.2?} after its time");
        assert_eq!(times.values().filter(|times| **times > 1).count(), 0, "{story}: nobody has it twice");
        assert_eq!((told.audience, told.suppressed, told.remaining), (willing + unwilling, unwilling, 0), "{story}");
        assert_eq!(told.sent + told.unknown_outcome, willing, "{story}: {told:?}");
        assert!(told.unknown_outcome <= i64::try_from(self.kills * OPEN_INTENTS).expect("small"), "{story}: {told:?}");
        let unheard = willing - i64::try_from(times.len()).expect("small");
        assert!((0..=told.unknown_outcome).contains(&unheard), "{story}: {unheard} never got it");
        // Who is said to have it has it.
        assert!(i64::try_from(times.len()).expect("small") >= told.sent, "{story}");
        assert_eq!(api.count(&[contact::State::Scheduled, contact::State::Sending]).await, 0);
        assert!(late <= LATEST, "{story}: {late:?} late");
    }
}

/// Texts, and the first customer, who agreed to offers.
async fn begin(api: &Api) {
    load::texts(api.clone()).await;
    let mut api = api.clone();
    let customer = Customer {
        external_ids: vec!["first".to_owned()],
        given_name: "First".to_owned(),
        addresses: vec![proto::Address { value: "first@example.com".to_owned(), ..proto::Address::default() }],
        ..Customer::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    api.customers.create_customer(request).await.expect("created");
    load::decide(&mut api, "first", Decision::Grant).await;
}

async fn activate(channel: Channel, due: SystemTime) {
    let send = proto::SendAction { template_id: "note".to_owned(), ..Default::default() };
    let step = proto::Step {
        step_id: "send".to_owned(),
        action: Some(proto::step::Action::Send(send)),
        ..proto::Step::default()
    };
    let campaign = Campaign {
        campaign_id: "news".to_owned(),
        display_name: "News".to_owned(),
        topic_id: "offers".to_owned(),
        trigger: Some(Trigger::OneOff(OneOffTrigger { at: Some(one_off_trigger::At::SendTime(due.into())) })),
        steps: vec![step],
        ..Campaign::default()
    };
    load::activate(channel, campaign).await;
}

/// Copies the first customer until there are so many; every tenth copy never agreed. Nothing may serve meanwhile.
async fn multiply(record: &DatabaseConnection, count: u64) {
    let backend = record.get_database_backend();
    let tx = record.begin().await.expect("it begins");
    let kind = if backend == DbBackend::Sqlite { "blob" } else { "uuid" };
    let ids = format!("number bigint, customer_id {kind}, address_id {kind}, record_id {kind}");
    tx.execute_unprepared(&format!("CREATE TEMPORARY TABLE copies ({ids})")).await.expect("made");
    let literal = |uuid: Uuid| match backend {
        DbBackend::Sqlite => format!("x'{}'", uuid.simple()),
        _ => format!("'{uuid}'"),
    };
    let numbers: Vec<u64> = (1..count).collect();
    for some in numbers.chunks(1_000) {
        let row = |number: &u64| {
            let customer = literal(CustomerId::generate().into());
            let (address, record) = (AddressId::generate().into(), ConsentRecordId::generate().into());
            format!("({number}, {customer}, {}, {})", literal(address), literal(record))
        };
        let rows: Vec<String> = some.iter().map(row).collect();
        tx.execute_unprepared(&format!("INSERT INTO copies VALUES {}", rows.join(", "))).await.expect("numbered");
    }
    let at = |column: &str| format!("replace(first.{column}, 'first@', 'c' || copies.number || '@')");
    let (value, key) = (at("value"), at("living_key"));
    let customer = ("customer_id", "copies.customer_id");
    let address = ("address_id", "copies.address_id");
    let agreed = ("record_id", "copies.record_id");
    let willing = format!("copies.number % {UNWILLING} <> 0");
    copy(&tx, "customers", &[customer], "1 = 1").await;
    copy(&tx, "addresses", &[customer, address, ("value", &value), ("living_key", &key)], "1 = 1").await;
    copy(&tx, "consent_records", &[customer, address, agreed], &willing).await;
    copy(&tx, "consents", &[customer, address, agreed], &willing).await;
    tx.execute_unprepared("DROP TABLE copies").await.expect("dropped");
    tx.commit().await.expect("it commits");
    let tidy = if backend == DbBackend::Sqlite { "ANALYZE" } else { "VACUUM ANALYZE" };
    record.execute_unprepared(tidy).await.expect("tidied");
}

/// Copies the only row of a table, with some columns changed.
async fn copy(record: &impl ConnectionTrait, table: &str, changed: &[(&str, &str)], which: &str) {
    let columns = load::columns(record, table).await;
    let of = |column: &String| {
        let new = changed.iter().find(|(name, _)| name == column);
        new.map_or_else(|| format!("first.{column}"), |(_, new)| (*new).to_owned())
    };
    let new: Vec<String> = columns.iter().map(of).collect();
    let sql = format!(
        "INSERT INTO {table} ({}) SELECT {} FROM copies CROSS JOIN (SELECT * FROM {table} LIMIT 1) AS first WHERE {which}",
        columns.join(", "),
        new.join(", ")
    );
    record.execute_unprepared(&sql).await.expect("copied");
}
