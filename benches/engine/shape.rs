//! What a contact costs, with few waiting and with many.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::{
    Bench, Table,
    place::{Kind, Place, is_sqlite, value},
    process::{self, Process},
    relay::{Relay, Unit},
    seed,
    sink::Sink,
};

/// How many are sent, or all where there are fewer.
const SENT: i64 = 20_000;
/// How often the shortest queue is measured, so that it is of some length too.
const TIMES: u32 = 5;

/// How many are sent before counting begins.
const WARM_UP: i64 = 256;

/// What was used for how many contacts.
#[derive(Clone, Copy, Default)]
struct Cost {
    contacts: i64,
    own: Duration,
    backends: Duration,
    /// Commits on SQLite, statements on Postgres.
    steps: u64,
}

pub async fn measure(bench: &mut Bench) {
    let conditions = [
        format!(
            "while the first {SENT} of those that are due (or all) are sent to a sink of our own over 8 \
            connections, without the first {WARM_UP}; 1,000: the mean of {TIMES} runs"
        ),
        "steps: on Postgres statements as they pass on the wire, BEGIN and COMMIT among them; on SQLite, which runs \
            the same ones but for row locks, commits as its log counts them"
            .to_owned(),
        "compared with the shortest queue; target: flat within 20 %".to_owned(),
    ];
    let columns =
        ["", "due", "CPU us/contact", "of the shortest", "the server's part", "steps/contact", "of the shortest"];
    let mut table = Table::begin("Shape", &conditions, &columns);
    let mut lengths = vec![1_000, 20_000, 100_000];
    if bench.full {
        lengths.push(1_000_000);
    } else {
        println!("  1,000,000 are skipped: cargo bench -- --full");
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
            let each = |amount: f64| amount / cost.contacts as f64;
            let micros = |time: Duration| each(time.as_secs_f64() * 1e6);
            let (cpu, steps) = (micros(cost.own + cost.backends), each(cost.steps as f64));
            let (first_cpu, first_steps) = *first.get_or_insert((cpu, steps));
            table.row(&[
                kind.name().to_owned(),
                due.to_string(),
                format!("{cpu:.0}"),
                format!("{:.2}", cpu / first_cpu),
                format!("{:.0}", micros(cost.backends)),
                format!("{steps:.3}"),
                format!("{:.2}", steps / first_steps),
            ]);
        }
    }
    table.print();
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.contacts += other.contacts;
        self.own += other.own;
        self.backends += other.backends;
        self.steps += other.steps;
    }

    fn since(self, before: Self) -> Self {
        Self {
            contacts: self.contacts - before.contacts,
            own: self.own.saturating_sub(before.own),
            // A backend that ended takes what it used with it.
            backends: self.backends.saturating_sub(before.backends),
            steps: self.steps - before.steps,
        }
    }
}

async fn run(bench: &mut Bench, kind: &Kind, due: u32, mail_url: &str) -> Cost {
    let place = Place::make(kind).await;
    seed::begin(&place, &mut bench.peaks).await;
    let record = place.record().await;
    seed::multiply(&record, seed::CHECK_INS, due, SystemTime::now()).await;
    let relay = match place.server() {
        Some(server) => Some(Relay::to(server, Unit::Statements).await),
        None => None,
    };
    let url = relay.as_ref().map_or(place.url().to_owned(), |relay| place.url_by_way_of(relay.address));
    let process = Process::start(&place, &[("RAPPORT_MAIL_URL", mail_url), ("RAPPORT_DATABASE_URL", &url)]).await;
    let steps = || relay.as_ref().map_or_else(|| place.commits(), Relay::count);
    let before = cost_at(WARM_UP, &process, &record, steps).await;
    let after = cost_at(SENT.min(i64::from(due)), &process, &record, steps).await;
    process.stop(&format!("{}: shape, {due} due", kind.name()), &mut bench.peaks).await;
    after.since(before)
}

/// Waits until so many are settled; what was used until then.
async fn cost_at(contacts: i64, process: &Process, record: &DatabaseConnection, steps: impl Fn() -> u64) -> Cost {
    let limit = Instant::now() + Duration::from_secs(300);
    loop {
        let contacts_now = value(record, "SELECT count(*) AS value FROM attempts WHERE end_time IS NOT NULL").await;
        let (own, steps) = (process.cpu(), steps());
        if contacts_now >= contacts {
            return Cost { contacts: contacts_now, own, backends: backends(record).await, steps };
        }
        assert!(Instant::now() < limit, "not everything is sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What the server's processes have used for this database, where they are on this machine.
async fn backends(record: &DatabaseConnection) -> Duration {
    if is_sqlite(record) {
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
