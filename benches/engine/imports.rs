//! How fast a file of customers comes in, beside the fastest that the database itself offers for the same rows in the same tables with the same
//! indexes: COPY on Postgres, inserts of a thousand rows at once on SQLite. Neither of those reads, checks or looks anything up.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rapport::ids::{AddressId, CustomerId};
use sea_orm::{
    DatabaseConnection,
    sqlx::{self, Connection as _, Sqlite, postgres::PgConnection, sqlite::SqliteConnection},
};
use uuid::Uuid;

use super::{
    Bench, Table,
    place::{Kind, Place, value},
    process::{Peaks, Process},
};

/// How many customers; with `--full` a million.
const CUSTOMERS: u32 = 100_000;
const ROUNDS: usize = 3;
/// How many rows a bare insert has.
const ROWS: usize = 1_000;
/// How many rows of each table share a transaction there.
const TOGETHER: usize = 10_000;
const TIME: &str = "2026-11-28T00:00:00+00:00";

pub async fn measure(bench: &mut Bench) {
    let (count, rounds) = if bench.full { (1_000_000, 1) } else { (CUSTOMERS, ROUNDS) };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("customers.csv");
    write_file(&file, count);
    let conditions = [
        format!("{count} new customers with an external id, an address, names, zone, locale, two attributes and two tags"),
        "ours: `rapport import` from CSV over loopback into `rapport serve`: parsed, checked, looked up, durable every 1,000".to_owned(),
        format!("bare: COPY in one transaction for each table, or inserts of {ROWS} rows, {TOGETHER} a transaction"),
        format!("{rounds} rounds one after the other; medians"),
    ];
    let columns = ["", "rows/s", "bare", "ratio", "of the rounds", "target"];
    let mut table = Table::begin("Import of customers", &conditions, &columns);
    for kind in bench.kinds.clone() {
        let (mut ours, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let bare = f64::from(count) / bare(&kind, count).await.as_secs_f64();
            let our = f64::from(count) / import(&kind, &file, count, &mut bench.peaks).await.as_secs_f64();
            ours.push(our);
            bares.push(bare);
            ratios.push(our / bare);
        }
        let told: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        table.row(&[
            kind.name().to_owned(),
            format!("{:.0}", median(ours)),
            format!("{:.0}", median(bares)),
            format!("{:.2}", median(ratios)),
            told.join(" "),
            "0.25".to_owned(),
        ]);
    }
    table.print();
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn write_file(path: &Path, count: u32) {
    let mut file = BufWriter::new(File::create(path).expect("a file"));
    let columns =
        "external_id,email,given_name,family_name,time_zone,locale,attributes.plan,attributes.orders:number,tags";
    writeln!(file, "{columns}").expect("it writes");
    for number in 0..count {
        let row = format!("crm-{number},c{number}@d{}.example,Given{number},Family{number}", number % 100);
        writeln!(file, "{row},Europe/Riga,lv,gold,{},\"vip, new\"", number % 50).expect("it writes");
    }
}

async fn import(kind: &Kind, file: &Path, count: u32, peaks: &mut Peaks) -> Duration {
    let place = Place::make(kind).await;
    place.migrate();
    let process = Process::start(&place, &[]).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.arg("import").arg(file).args(["--restart", "--grpc-addr", &process.address]);
    let begin = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends");
    let took = begin.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = place.record().await;
    let found: i64 = value(&record, "SELECT count(*) AS value FROM addresses").await;
    assert_eq!(found, i64::from(count), "everybody came in");
    record.close().await.expect("it closes");
    process.stop(&format!("{}: import", kind.name()), peaks).await;
    took
}

/// The same rows without us.
async fn bare(kind: &Kind, count: u32) -> Duration {
    let place = Place::make(kind).await;
    place.migrate();
    let rows: Vec<Row> = (0..count).map(Row::new).collect();
    let record = place.record().await;
    let took = match kind {
        Kind::Sqlite => insert(&record, &rows).await,
        Kind::Postgres(_) => copy(&record, &rows).await,
    };
    record.close().await.expect("it closes");
    took
}

struct Row {
    number: u32,
    customer: Uuid,
    address: Uuid,
}

impl Row {
    fn new(number: u32) -> Self {
        Self { number, customer: CustomerId::generate().into(), address: AddressId::generate().into() }
    }

    fn email(&self) -> String {
        format!("c{}@d{}.example", self.number, self.number % 100)
    }

    fn attributes(&self) -> String {
        format!("{{\"orders\":{},\"plan\":\"gold\"}}", self.number % 50)
    }
}

const CUSTOMER_COLUMNS: &str = "customer_id, display_name, given_name, family_name, time_zone, locale, attributes, tags, \
    create_time, update_time, revision";
const EXTERNAL_ID_COLUMNS: &str = "external_id, customer_id, position";
const ADDRESS_COLUMNS: &str = "address_id, customer_id, channel, value, living_key, is_primary, create_time";

async fn copy(record: &DatabaseConnection, rows: &[Row]) -> Duration {
    // As COPY reads it: a line a row, a tab between columns, quotes as they are.
    let (mut customers, mut external_ids, mut addresses) = (String::new(), String::new(), String::new());
    for row in rows {
        let Row { number, customer, address } = row;
        let (attributes, email) = (row.attributes(), row.email());
        writeln!(
            customers,
            "{customer}\t\tGiven{number}\tFamily{number}\tEurope/Riga\tlv\t{attributes}\t[\"vip\",\"new\"]\t{TIME}\t{TIME}\t1"
        )
        .expect("it writes");
        writeln!(external_ids, "crm-{number}\t{customer}\t0").expect("it writes");
        writeln!(addresses, "{address}\t{customer}\temail\t{email}\temail:{email}\tt\t{TIME}").expect("it writes");
    }
    let pool = record.get_postgres_connection_pool();
    let mut connection = pool.acquire().await.expect("a connection");
    let begin = Instant::now();
    for (table, columns, data) in [
        ("customers", CUSTOMER_COLUMNS, customers),
        ("external_ids", EXTERNAL_ID_COLUMNS, external_ids),
        ("addresses", ADDRESS_COLUMNS, addresses),
    ] {
        let connection: &mut PgConnection = &mut connection;
        let mut copy =
            connection.copy_in_raw(&format!("COPY {table} ({columns}) FROM STDIN")).await.expect("it begins");
        for block in data.as_bytes().chunks(1 << 20) {
            copy.send(block).await.expect("it takes them");
        }
        copy.finish().await.expect("it is done");
    }
    begin.elapsed()
}

async fn insert(record: &DatabaseConnection, rows: &[Row]) -> Duration {
    let pool = record.get_sqlite_connection_pool();
    let mut connection = pool.acquire().await.expect("a connection");
    let begin = Instant::now();
    for together in rows.chunks(TOGETHER) {
        let connection: &mut SqliteConnection = &mut connection;
        let mut tx = connection.begin().await.expect("begun");
        for some in together.chunks(ROWS) {
            let sql = statement("customers", CUSTOMER_COLUMNS, some.len());
            let mut query = sqlx::query::<Sqlite>(sqlx::AssertSqlSafe(sql));
            for row in some {
                query = query.bind(row.customer).bind("");
                query = query.bind(format!("Given{}", row.number)).bind(format!("Family{}", row.number));
                query = query.bind("Europe/Riga").bind("lv").bind(row.attributes()).bind("[\"vip\",\"new\"]");
                query = query.bind(TIME).bind(TIME).bind(1);
            }
            query.execute(&mut *tx).await.expect("inserted");
            let sql = statement("external_ids", EXTERNAL_ID_COLUMNS, some.len());
            let mut query = sqlx::query::<Sqlite>(sqlx::AssertSqlSafe(sql));
            for row in some {
                query = query.bind(format!("crm-{}", row.number)).bind(row.customer).bind(0);
            }
            query.execute(&mut *tx).await.expect("inserted");
            let sql = statement("addresses", ADDRESS_COLUMNS, some.len());
            let mut query = sqlx::query::<Sqlite>(sqlx::AssertSqlSafe(sql));
            for row in some {
                query = query.bind(row.address).bind(row.customer).bind("email").bind(row.email());
                query = query.bind(format!("email:{}", row.email())).bind(true).bind(TIME);
            }
            query.execute(&mut *tx).await.expect("inserted");
        }
        tx.commit().await.expect("committed");
    }
    begin.elapsed()
}

fn statement(table: &str, columns: &str, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns.split(',').count()].join(","));
    format!("INSERT INTO {table} ({columns}) VALUES {}", vec![row; rows].join(","))
}
