//! How fast due contacts leave, beside a load generator that keeps nothing, checks nothing and writes nothing down.

use std::time::{Duration, Instant, SystemTime};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::{
    Bench, Table, letters,
    place::{Kind, Place, value},
    postfix::Postfix,
    process::{Peaks, Process},
    relay::{Relay, Unit},
    seed,
};

const CONNECTIONS: u32 = 8;
/// What the load generator sends each time.
const MESSAGES: u32 = 40_000;
/// What we send.
const CONTACTS: u32 = 50_000;
/// How often both are measured, one after the other: other programs on the machine disturb a round, and not the next.
const ROUNDS: usize = 5;
/// What we send signed.
const SIGNED_CONTACTS: u32 = 20_000;
/// So few are sent where only their bytes are of interest.
const FEW: u32 = 200;

pub async fn measure(bench: &mut Bench) {
    let postfix = match Postfix::find() {
        Ok(postfix) => postfix,
        Err(why) => {
            println!("\nThroughput is skipped, for want of something to compare with: {why}");
            return;
        }
    };
    let sink = postfix.sink();
    let ours = our_bytes(&sink.address, &mut bench.peaks).await;
    let plain = their_bytes(&postfix, sink.address, 5_000).await;
    let length = (5_000 + ours).saturating_sub(plain) as u32;
    let theirs = their_bytes(&postfix, sink.address, length).await;
    let conditions = [
        format!(
            "to one smtp-sink over {CONNECTIONS} connections on loopback, unsigned; bytes of a message on the wire, \
                envelope included: {ours}; Postgres by loopback without TLS"
        ),
        format!(
            "compared with smtp-source -d -s {CONNECTIONS} -l {length} -m {MESSAGES} ({theirs} bytes a message), run \
                before and after each of our {ROUNDS} rounds; medians"
        ),
        format!(
            "ours: {CONTACTS} service contacts due at once in 100 domains, every check made, intent and outcome \
                durable; from the first intent to the last outcome"
        ),
    ];
    let columns = ["", "messages/s", "smtp-source", "ratio", "of the rounds", "target"];
    let mut table = Table::begin("Throughput", &conditions, &columns);
    for kind in bench.kinds.clone() {
        let (mut rates, mut sources, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        sources.push(their_rate(&postfix, sink.address, length).await);
        for round in 0..ROUNDS {
            let rate = our_rate(&kind, &format!("smtp://{}", sink.address), &mut bench.peaks).await;
            sources.push(their_rate(&postfix, sink.address, length).await);
            rates.push(rate);
            ratios.push(rate / f64::midpoint(sources[round], sources[round + 1]));
        }
        let rounds: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let target = if let Kind::Sqlite = kind { "0.5" } else { "0.4" };
        table.row(&[
            kind.name().to_owned(),
            format!("{:.0}", median(rates)),
            format!("{:.0}", median(sources)),
            format!("{:.2}", median(ratios)),
            rounds.join(" "),
            target.to_owned(),
        ]);
    }
    table.print();
}

/// The same with signatures, by themselves: what signing costs shows beside the first row.
pub async fn measure_signed(bench: &mut Bench) {
    let Ok(postfix) = Postfix::find() else { return };
    let sink = postfix.sink();
    let conditions = [format!(
        "as above, {SIGNED_CONTACTS} contacts once for each kind of key; signed beside what is under way, on as many cores as \
            there are"
    )];
    let mut table = Table::begin("Throughput, signed", &conditions, &["", "signed with", "messages/s"]);
    for kind in bench.kinds.clone() {
        for (name, keys) in letters::KEYS {
            let place = Place::make(&kind).await;
            place.sign_with(keys);
            let url = format!("smtp://{}", sink.address);
            let record = send(&place, SIGNED_CONTACTS, &url, &mut bench.peaks, "throughput, signed").await;
            let rate = f64::from(SIGNED_CONTACTS) / span(&record).await.as_secs_f64();
            table.row(&[kind.name().to_owned(), name.to_owned(), format!("{rate:.0}")]);
        }
    }
    table.print();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn their_rate(postfix: &Postfix, sink: std::net::SocketAddr, length: u32) -> f64 {
    f64::from(MESSAGES) / postfix.source(sink, MESSAGES, length, CONNECTIONS).await.as_secs_f64()
}

async fn our_bytes(sink: &std::net::SocketAddr, peaks: &mut Peaks) -> u64 {
    let place = Place::make(&Kind::Sqlite).await;
    let relay = Relay::to(*sink, Unit::Bytes).await;
    send(&place, FEW, &format!("smtp://{}", relay.address), peaks, "counting bytes").await;
    relay.count() / u64::from(FEW)
}

async fn their_bytes(postfix: &Postfix, sink: std::net::SocketAddr, length: u32) -> u64 {
    let relay = Relay::to(sink, Unit::Bytes).await;
    postfix.source(relay.address, FEW, length, CONNECTIONS).await;
    relay.count() / u64::from(FEW)
}

async fn our_rate(kind: &Kind, mail_url: &str, peaks: &mut Peaks) -> f64 {
    let place = Place::make(kind).await;
    let record = send(&place, CONTACTS, mail_url, peaks, "throughput").await;
    let count: i64 = value(&record, "SELECT count(*) AS value FROM attempts WHERE outcome = 'accepted'").await;
    assert_eq!(count, i64::from(CONTACTS), "each is sent at the first attempt");
    f64::from(CONTACTS) / span(&record).await.as_secs_f64()
}

/// Sends so many; answers a connection to what was recorded.
async fn send(place: &Place, count: u32, mail_url: &str, peaks: &mut Peaks, what: &str) -> DatabaseConnection {
    seed::begin(place, peaks).await;
    let record = place.record().await;
    seed::multiply(&record, seed::CHECK_INS, count, SystemTime::now()).await;
    let connections = CONNECTIONS.to_string();
    let process =
        Process::start(place, &[("RAPPORT_MAIL_URL", mail_url), ("RAPPORT_MAIL_CONNECTIONS", &connections)]).await;
    let limit = Instant::now() + Duration::from_secs(300);
    // The first contact, which is not due yet, stays.
    let due = "SELECT count(*) AS value FROM (SELECT 1 AS one FROM contacts \
        WHERE state = 'scheduled' AND queue = '2/' LIMIT 2) AS waiting";
    let open = "SELECT count(*) AS value FROM contacts WHERE claim_token IS NOT NULL";
    while value::<i64>(&record, due).await > 1 || value::<i64>(&record, open).await > 0 {
        assert!(Instant::now() < limit, "not everything is sent");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    process.stop(&format!("{}: {what}", place.kind.name()), peaks).await;
    record
}

/// From the first intent to the last outcome.
async fn span(record: &DatabaseConnection) -> Duration {
    let sql = "SELECT min(start_time) AS first, max(end_time) AS last FROM attempts";
    let statement = Statement::from_string(record.get_database_backend(), sql);
    let row = record.query_one_raw(statement).await.expect("it answers").expect("a row");
    let time = |name| row.try_get::<chrono::DateTime<chrono::Utc>>("", name).expect("a time");
    (time("last") - time("first")).to_std().expect("in order")
}
