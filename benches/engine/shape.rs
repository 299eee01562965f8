//! What a contact costs, with few waiting and with many.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::{
    Bench, Table,
    place::{Kind, Place, value},
    process::{self, Process},
    seed,
    sink::Sink,
};

/// How many are sent, or all where there are fewer.
const SENT: i64 = 20_000;
/// How often the shortest queue is measured, so that it is of some length too.
const TIMES: u32 = 5;

/// What was used for how many contacts.
#[derive(Clone, Copy, Default)]
struct Cost {
    contacts: i64,
    own: Duration,
    backends: Duration,
    commits: i64,
}

pub async fn measure(bench: &mut Bench) {
    let conditions = [
        format!(
            "CPU and commits while the first {SENT} (or all) of those that are due are sent to a sink of our own over 8 connections; the first {} are left out as warm-up",
            256
        ),
        format!(
            "commits: of the log on SQLite (its index counts them), of the database in pg_stat_database on Postgres, single statements included; 1,000 is the mean of {TIMES} runs"
        ),
        "compared with the shortest queue; target: flat within 20 %".to_owned(),
    ];
    let columns = [
        "",
        "due",
        "CPU us/contact",
        "of the shortest",
        "backends' CPU us/contact",
        "commits/contact",
        "of the shortest",
    ];
    let mut table = Table::begin("Shape", &conditions, &columns);
    let mut lengths = vec![1_000, 20_000, 100_000];
    if bench.full {
        lengths.push(1_000_000);
    }
    let sink = Sink::start().await;
    for kind in bench.kinds.clone() {
        let mut first = None;
        for &due in &lengths {
            let times = if due == lengths[0] { TIMES } else { 1 };
            let mut cost = Cost::default();
            for _ in 0..times {
                cost.add(run(bench, &kind, due, &sink.url()).await);
            }
            let of = |time: Duration| time.as_secs_f64() * 1e6 / cost.contacts as f64;
            let (own, commits) = (of(cost.own), cost.commits as f64 / cost.contacts as f64);
            let (first_own, first_commits) = *first.get_or_insert((own, commits));
            table.row(&[
                kind.name().to_owned(),
                due.to_string(),
                format!("{own:.0}"),
                format!("{:.2}", own / first_own),
                if let Kind::Sqlite = kind { "-".to_owned() } else { format!("{:.0}", of(cost.backends)) },
                format!("{commits:.3}"),
                format!("{:.2}", commits / first_commits),
            ]);
        }
    }
    if !bench.full {
        println!("  1,000,000 are skipped: cargo bench -- --full");
    }
    table.print();
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.contacts += other.contacts;
        self.own += other.own;
        self.backends += other.backends;
        self.commits += other.commits;
    }

    fn since(self, before: Self) -> Self {
        Self {
            contacts: self.contacts - before.contacts,
            own: self.own - before.own,
            backends: self.backends - before.backends,
            commits: self.commits - before.commits,
        }
    }
}

async fn run(bench: &mut Bench, kind: &Kind, due: u32, mail_url: &str) -> Cost {
    let place = Place::make(kind).await;
    seed::begin(&place, &mut bench.peaks).await;
    let record = place.record().await;
    seed::multiply(&record, seed::CHECK_INS, due, SystemTime::now()).await;
    let process = Process::start(&place, &[("RAPPORT_MAIL_URL", mail_url)]).await;
    let most = SENT.min(i64::from(due));
    let before = cost_at(256, &process, &place, &record).await;
    let after = cost_at(most, &process, &place, &record).await;
    process.stop(&format!("{}: shape, {due} due", kind.name()), &mut bench.peaks).await;
    after.since(before)
}

/// Waits until so many are settled; what was used until then.
async fn cost_at(contacts: i64, process: &Process, place: &Place, record: &DatabaseConnection) -> Cost {
    let limit = Instant::now() + Duration::from_secs(300);
    loop {
        // In this order, so that what is counted has been paid for.
        let done = value(record, "SELECT count(*) AS value FROM attempts WHERE end_time IS NOT NULL").await;
        let cost = Cost {
            contacts: done,
            own: process.cpu(),
            backends: backends(place, record).await,
            commits: place.commits(record).await,
        };
        if done >= contacts {
            return cost;
        }
        assert!(Instant::now() < limit, "not everything is sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the server's processes have used for this database, where they are on this machine.
async fn backends(place: &Place, record: &DatabaseConnection) -> Duration {
    if let Kind::Sqlite = place.kind {
        return Duration::ZERO;
    }
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let statement = Statement::from_string(record.get_database_backend(), sql);
    let rows = record.query_all_raw(statement).await.expect("backends");
    let pids = rows.iter().map(|row| row.try_get::<i32>("", "pid").expect("a process id").unsigned_abs());
    let is_postgres =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"));
    pids.filter(is_postgres).map(process::cpu).sum()
}
