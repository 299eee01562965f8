//! The filter language: what the database finds is what memory finds, for whatever filter over whatever rows.

mod functions;
mod words;

use std::{collections::BTreeSet, time::Instant};

use chrono::TimeDelta;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use rapport::{
    clock::Timestamp,
    database::Database,
    filter::{Facts, Filter, Problem, Record, Schema, Value},
    ids::CustomerId,
};
use sea_orm::{
    ConnectionTrait, DbBackend,
    sea_query::{Expr, Query, SimpleExpr},
};
use serde_json::{Map, Value as Json};

use self::words::{conditions, open_data, soup, text};
use super::harness::{Place, moment};

/// How many filters the ordinary run draws.
const CASES: u32 = 5_000;
/// How many rows each is asked about.
const ROWS: usize = 150;
const NOW: &str = "2026-11-15T12:00:00Z";

/// One row of a table that has every kind of field.
#[derive(Debug, Clone)]
struct Row {
    id: CustomerId,
    name: Option<String>,
    score: Option<f64>,
    count: Option<i64>,
    active: Option<bool>,
    seen: Option<Timestamp>,
    state: Option<&'static str>,
    tags: Vec<String>,
    data: Map<String, Json>,
}

impl Record for Row {
    fn customer_id(&self) -> CustomerId {
        self.id
    }

    fn value(&self, field: &str) -> Value<'_> {
        let missing = Value::Missing;
        match field {
            "name" => self.name.as_deref().map_or(missing, Value::Text),
            "score" => self.score.map_or(missing, Value::Number),
            #[allow(clippy::cast_precision_loss, reason = "they are small")]
            "count" => self.count.map_or(missing, |count| Value::Number(count as f64)),
            "active" => self.active.map_or(missing, Value::Bool),
            "seen" => self.seen.map_or(missing, Value::Time),
            "state" => self.state.map_or(missing, Value::Text),
            "tags" => Value::Texts(&self.tags),
            "data" => Value::Json(&self.data),
            other => panic!("no field {other}"),
        }
    }
}

fn schema() -> Schema {
    Schema::of("things")
        .text("name")
        .number("score")
        .number("count")
        .bool("active")
        .time("seen")
        .choice("state", "STATE_", &["draft", "in_doubt"])
        .texts("tags")
        .json("data")
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let seconds =
        prop_oneof![Just(0), Just(86_400), Just(-86_400 * 40), -86_400_i64 * 60..86_400 * 60, Just(-86_400 * 40 + 1),];
    let seen = (seconds, prop_oneof![Just(0), 0_i64..1_000_000])
        .prop_map(|(seconds, micros)| moment(NOW) + TimeDelta::seconds(seconds) + TimeDelta::microseconds(micros));
    let number = prop_oneof![Just(0.0), Just(5.0), Just(5.5), Just(-3.0), Just(1e15), -10.0..10.0];
    let row = (
        proptest::option::of(text()),
        proptest::option::of(number),
        proptest::option::of(prop_oneof![Just(5), -5_i64..50]),
        proptest::option::of(any::<bool>()),
        proptest::option::of(seen),
        proptest::option::of(prop_oneof![Just("draft"), Just("in_doubt")]),
        proptest::collection::vec(text(), 0..4),
        open_data(),
    );
    let row = row.prop_map(|(name, score, count, active, seen, state, tags, data)| Row {
        id: CustomerId::generate(),
        name,
        score,
        count,
        active,
        seen,
        state,
        tags,
        data,
    });
    proptest::collection::vec(row, ROWS)
}

async fn make_table(db: &Database, rows: &[Row]) {
    let is_sqlite = db.writer().get_database_backend() == DbBackend::Sqlite;
    let (json, time, id) = if is_sqlite {
        ("jsonb_text", "timestamp_with_timezone_text", "uuid_text")
    } else {
        ("jsonb", "timestamptz", "uuid")
    };
    let create = format!(
        "CREATE TABLE things (customer_id {id} PRIMARY KEY, name text, score double precision, count bigint, active boolean,
         seen {time}, state text, tags {json} NOT NULL, data {json} NOT NULL)"
    );
    db.writer().execute_unprepared(&create).await.unwrap();
    for row in rows {
        let values: [SimpleExpr; 9] = [
            row.id.into(),
            row.name.clone().into(),
            row.score.into(),
            row.count.into(),
            row.active.into(),
            row.seen.into(),
            row.state.map(str::to_owned).into(),
            Json::from(row.tags.clone()).into(),
            Json::Object(row.data.clone()).into(),
        ];
        let mut insert = Query::insert();
        let columns = ["customer_id", "name", "score", "count", "active", "seen", "state", "tags", "data"];
        insert.into_table("things").columns(columns).values_panic(values);
        db.writer().execute(&insert).await.unwrap();
    }
}

async fn found_by(db: &Database, filter: &Filter) -> BTreeSet<String> {
    let mut query = Query::select();
    query
        .from("things")
        .expr(Expr::col(("things", "customer_id")))
        .cond_where(filter.condition(db.reader().get_database_backend(), moment(NOW)));
    let rows = db.reader().query_all(&query).await;
    let rows = rows.unwrap_or_else(|error| panic!("{}\n{error}", filter.text()));
    rows.iter().map(|row| row.try_get_by_index::<CustomerId>(0).unwrap().to_string()).collect()
}

fn matched_by(rows: &[Row], filter: &Filter) -> BTreeSet<String> {
    let facts = Facts::default();
    rows.iter().filter(|row| filter.matches(*row, &facts, moment(NOW))).map(|row| row.id.to_string()).collect()
}

fn runner(cases: u32) -> TestRunner {
    // PROPTEST_CASES asks for more.
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    TestRunner::new(Config { cases: asked.unwrap_or(cases), failure_persistence: None, ..Config::default() })
}

#[test]
fn the_database_and_memory_find_the_same_rows_for_every_filter() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = runner(CASES);
    let rows = rows().new_tree(&mut runner).unwrap().current();
    let (place, db) = runtime.block_on(async {
        let place = Place::make().await;
        let db = Database::connect(&place.config().database).await.unwrap();
        make_table(&db, &rows).await;
        (place, db)
    });
    let schema = schema();
    let counts = std::cell::Cell::new((0_u32, 0_u32));
    let outcome = runner.run(&conditions(), |text| {
        let filter = match Filter::parse(&text, &schema) {
            Ok(filter) => filter,
            // Random joins may be too much; what is drawn is right otherwise.
            Err(wrong) => {
                prop_assert_eq!(wrong.problem, Problem::TooLarge, "{}: {}", text, wrong);
                return Ok(());
            }
        };
        let found = runtime.block_on(found_by(&db, &filter));
        let matched = matched_by(&rows, &filter);
        let (read, telling) = counts.get();
        let tells = !matched.is_empty() && matched.len() < rows.len();
        counts.set((read + 1, telling + u32::from(tells)));
        let differing: Vec<&Row> = rows
            .iter()
            .filter(|row| found.contains(&row.id.to_string()) != matched.contains(&row.id.to_string()))
            .collect();
        prop_assert!(differing.is_empty(), "{}: memory finds {}, {:?}", text, matched.len(), differing.first());
        Ok(())
    });
    let (read, telling) = counts.get();
    runtime.block_on(db.close()).unwrap();
    drop(place);
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(read > CASES / 2 && telling > read / 4, "{telling} of {read} filters tell rows apart");
}

#[test]
fn whatever_is_read_as_a_filter_ends_at_once_and_never_in_a_panic() {
    let schema = schema();
    let outcome = runner(20_000).run(&soup(), |text| {
        // The computer may have something else to do the first time.
        let measure = |_| {
            let start = Instant::now();
            drop(Filter::parse(&text, &schema));
            start.elapsed()
        };
        let took = (0..5).map(measure).find(|took| took.as_millis() < 50);
        prop_assert!(took.is_some(), "{} takes 50 ms and more", text);
        let read = Filter::parse(&text, &schema);
        match read {
            Ok(filter) => {
                for backend in [DbBackend::Sqlite, DbBackend::Postgres] {
                    drop(filter.condition(backend, moment(NOW)));
                }
            }
            Err(wrong) => prop_assert!((1..=text.chars().count() + 1).contains(&wrong.column), "{} {:?}", text, wrong),
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_filter_that_asks_for_too_much_is_refused_before_it_is_read() {
    let schema = schema();
    let refused = |text: &str| {
        let wrong = Filter::parse(text, &schema).unwrap_err();
        assert_eq!(wrong.problem, Problem::TooLarge, "{wrong}");
        wrong.column
    };
    let clauses = vec!["count=1"; 10_000].join(" AND ");
    assert_eq!(refused(&clauses), 2_001);
    assert_eq!(refused(&vec!["count=1"; 65].join(" OR ")), 64 * 11 + 1);
    assert!(Filter::parse(&vec!["count=1"; 64].join(" OR "), &schema).is_ok());
    assert_eq!(refused(&format!("{}count=1{}", "(".repeat(21), ")".repeat(21))), 22);
    assert_eq!(refused(&format!("{}count=1", "NOT ".repeat(21))), 85);
    assert!(Filter::parse(&format!("{}count=1{}", "(".repeat(20), ")".repeat(20)), &schema).is_ok());
    assert_eq!(refused(&"(".repeat(1_999)), 22);
}
