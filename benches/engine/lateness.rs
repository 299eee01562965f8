//! How late contacts are: behind a long queue at a limited rate, and when nothing else is to do.

use std::time::{Duration, Instant, SystemTime};

use rapport::rpc::proto::contact_service_client::ContactServiceClient;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tonic::transport::Channel;

use super::{
    Bench, Table,
    machine::percentile,
    place::{Kind, Place, value},
    process::Process,
    seed,
    sink::Sink,
};

const BULK: u32 = 200_000;
const RATE: &str = "500";
/// How many single contacts, one a second.
const SINGLE: u32 = 60;

pub async fn measure(bench: &mut Bench) {
    let conditions = [
        format!(
            "loaded: {BULK} marketing contacts due, transport limited to {RATE} a second; one check-in a second over \
                gRPC, due at a random moment of the second after next"
        ),
        format!(
            "idle: nothing else to do; {SINGLE} check-ins, each due at a random moment; then {SINGLE} that are due \
                now, one after the other"
        ),
        "from the due time to the recorded outcome, in ms; nothing here is compared with anybody else's".to_owned(),
    ];
    let columns = ["", "", "p50", "p99", "max", "target"];
    let mut table = Table::begin("Lateness", &conditions, &columns);
    let sink = Sink::start().await;
    for kind in bench.kinds.clone() {
        let loaded = loaded(bench, &kind, &sink).await;
        row(&mut table, &kind, "loaded", loaded, "p99 <= 2,000");
        let (idle, now) = idle(bench, &kind, &sink).await;
        row(&mut table, &kind, "idle", idle, "p99 <= 1,000");
        row(&mut table, &kind, "due now", now, "p50 <= 200");
    }
    table.print();
}

fn row(table: &mut Table, kind: &Kind, what: &str, mut late: Vec<i64>, target: &str) {
    let mut at = |percent| format!("{:.1}", percentile(&mut late, percent) as f64 / 1_000.0);
    table.row(&[kind.name().to_owned(), what.to_owned(), at(50), at(99), at(100), target.to_owned()]);
}

async fn loaded(bench: &mut Bench, kind: &Kind, sink: &Sink) -> Vec<i64> {
    let place = Place::make(kind).await;
    seed::begin(&place, &mut bench.peaks).await;
    let record = place.record().await;
    seed::multiply(&record, seed::OFFERS, BULK, SystemTime::now()).await;
    let process = Process::start(&place, &[("RAPPORT_MAIL_URL", &sink.url()), ("RAPPORT_MAIL_RATE", RATE)]).await;
    people(&process.channel, 0..SINGLE).await;
    one_a_second(&process.channel, 0..SINGLE).await;
    let late = lateness(&record, SINGLE).await;
    process.stop(&format!("{}: {BULK} due at a limited rate", kind.name()), &mut bench.peaks).await;
    late
}

async fn idle(bench: &mut Bench, kind: &Kind, sink: &Sink) -> (Vec<i64>, Vec<i64>) {
    let place = Place::make(kind).await;
    seed::begin(&place, &mut bench.peaks).await;
    let record = place.record().await;
    let process = Process::start(&place, &[("RAPPORT_MAIL_URL", &sink.url())]).await;
    people(&process.channel, 0..2 * SINGLE).await;
    one_a_second(&process.channel, 0..SINGLE).await;
    let mut late = lateness(&record, SINGLE).await;
    let mut contacts = ContactServiceClient::new(process.channel.clone());
    for number in SINGLE..2 * SINGLE {
        seed::schedule(&mut contacts, &name(number), seed::CHECK_INS, None).await;
        tokio::time::sleep(Duration::from_millis(u64::from(100 + chance() % 200))).await;
    }
    let now = lateness(&record, 2 * SINGLE).await.split_off(SINGLE as usize);
    late.truncate(SINGLE as usize);
    process.stop(&format!("{}: idle", kind.name()), &mut bench.peaks).await;
    (late, now)
}

fn name(number: u32) -> String {
    format!("single{number}")
}

/// People to whom check-ins go.
pub async fn people(channel: &Channel, numbers: std::ops::Range<u32>) {
    for number in numbers {
        seed::customer(channel, &name(number), &format!("single{number}@d{}.example", number % 10)).await;
    }
}

/// Plans a check-in each second.
pub async fn one_a_second(channel: &Channel, numbers: std::ops::Range<u32>) {
    let mut contacts = ContactServiceClient::new(channel.clone());
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for number in numbers {
        seconds.tick().await;
        let due = SystemTime::now() + Duration::from_millis(u64::from(1_000 + chance() % 1_000));
        seed::schedule(&mut contacts, &name(number), seed::CHECK_INS, Some(due)).await;
    }
}

/// Waits until so many check-ins are sent; how late each was, in microseconds, in the order in which they were planned.
pub async fn lateness(record: &DatabaseConnection, count: u32) -> Vec<i64> {
    let limit = Instant::now() + Duration::from_secs(60);
    let sent = "SELECT count(*) AS value FROM contacts WHERE topic_id = 'check-ins' AND state = 'sent'";
    while value::<i64>(record, sent).await < i64::from(count) {
        assert!(Instant::now() < limit, "not everything is sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let sql = "SELECT original_due_time, send_time FROM contacts WHERE topic_id = 'check-ins' AND state = 'sent' \
        ORDER BY contact_id";
    let statement = Statement::from_string(record.get_database_backend(), sql);
    let rows = record.query_all_raw(statement).await.expect("contacts");
    let time =
        |row: &sea_orm::QueryResult, name| row.try_get::<chrono::DateTime<chrono::Utc>>("", name).expect("a time");
    let late =
        |row| (time(row, "send_time") - time(row, "original_due_time")).num_microseconds().expect("no centuries");
    rows.iter().map(late).collect()
}

/// Some number.
fn chance() -> u32 {
    uuid::Uuid::from(rapport::ids::EventId::generate()).as_u128() as u32
}
