//! What is recorded about customers elsewhere, and how they are known and reached: the database, memory, and a model that counts by itself say the same.

use std::{cell::Cell, collections::BTreeSet};

use chrono::TimeDelta;
use proptest::{prelude::*, strategy::ValueTree};
use rapport::{
    campaigns::audience_fields,
    clock::Timestamp,
    customers,
    filter::{Facts, Filter},
    ids::{ConsentRecordId, ContactId, CustomerId, EventId},
    rpc::proto,
};
use sea_orm::{
    ConnectionTrait, DatabaseConnection,
    sea_query::{Expr, Query, SimpleExpr},
};
use serde_json::json;

use super::{super::harness::World, runner};

const CUSTOMERS: usize = 60;
const CASES: u32 = 600;
const TYPES: &[&str] = &["order.placed", "order.returned"];
const TOPICS: &[&str] = &["orders", "offers"];
const NAMED: &[&str] = &["orders", "offers", "service", "marketing", "survey"];
const STATES: &[&str] = &["scheduled", "sending", "sent", "unknown_outcome", "suppressed", "failed"];
const CONSENT_STATES: &[&str] = &["granted", "denied", "pending", "expired"];

/// What is recorded about a customer; times are hours from now.
#[derive(Debug, Clone)]
struct Past {
    number: usize,
    events: Vec<(&'static str, i64)>,
    consents: Vec<(&'static str, Option<i64>)>,
    contacts: Vec<(usize, &'static str, Option<i64>, i64)>,
}

fn choose(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(from)
}

fn hours() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-24), Just(-25), Just(-240), -2_400_i64..48]
}

fn past() -> impl Strategy<Value = Past> {
    let events = proptest::collection::vec((choose(TYPES), hours()), 0..8);
    let consents = proptest::collection::vec((choose(CONSENT_STATES), proptest::option::of(hours())), 2);
    let contacts =
        proptest::collection::vec((0..TOPICS.len(), choose(STATES), proptest::option::of(hours()), hours()), 0..4);
    (events, consents, contacts).prop_map(|(events, consents, contacts)| Past { number: 0, events, consents, contacts })
}

/// One call, and what it is compared with.
#[derive(Debug, Clone)]
enum Leaf {
    Count(&'static str, i64, &'static str, i64),
    Ago(&'static str, &'static str, i64),
    Consented(usize),
    Contacted(&'static str, i64),
    Known(&'static str),
    Reached(&'static str),
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let comparator = || choose(&["=", "!=", "<", "<=", ">", ">="]);
    let days = || prop_oneof![Just(1_i64), Just(10), 1_i64..100];
    prop_oneof![
        3 => (choose(TYPES), days(), comparator(), 0_i64..5).prop_map(|(of, days, comparator, n)| Leaf::Count(of, days, comparator, n)),
        3 => (choose(TYPES), comparator(), 0_i64..100).prop_map(|(of, comparator, days)| Leaf::Ago(of, comparator, days)),
        2 => (0..TOPICS.len()).prop_map(Leaf::Consented),
        3 => (choose(NAMED), days()).prop_map(|(named, days)| Leaf::Contacted(named, days)),
        2 => choose(&["c7", "c1*", "*3", "*2*", "none", "C7"]).prop_map(Leaf::Known),
        2 => choose(&["", "c7@example.com", "c1*", "*3@example.com", "*2*", "C7@example.com"]).prop_map(Leaf::Reached),
    ]
}

fn compare(one: i64, comparator: &str, other: i64) -> bool {
    match comparator {
        "=" => one == other,
        "!=" => one != other,
        "<" => one < other,
        "<=" => one <= other,
        ">" => one > other,
        _ => one >= other,
    }
}

impl Past {
    fn name(&self) -> String {
        format!("c{}", self.number)
    }

    /// Some have none.
    fn address(&self) -> Option<String> {
        (!self.number.is_multiple_of(4)).then(|| self.name())
    }
}

fn looks_like(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => text == pattern,
    }
}

impl Leaf {
    fn text(&self) -> String {
        match self {
            Self::Count(of, days, comparator, n) => format!("event_count(\"{of}\", {days}) {comparator} {n}"),
            Self::Ago(of, comparator, days) => format!("days_since(last_event(\"{of}\")) {comparator} {days}"),
            Self::Consented(topic) => format!("consented(\"{}\", CHANNEL_EMAIL)", TOPICS[*topic]),
            Self::Contacted(named, days) => format!("contacted(\"{named}\", {days})"),
            Self::Known(pattern) => format!("external_ids:\"{pattern}\""),
            Self::Reached("") => "addresses.value:*".to_owned(),
            Self::Reached(pattern) => format!("addresses.value:\"{pattern}\""),
        }
    }

    fn holds(&self, past: &Past) -> bool {
        let occurred =
            |of: &'static str| past.events.iter().filter(move |(kind, at)| *kind == of && *at <= 0).map(|(_, at)| *at);
        match self {
            Self::Count(of, days, comparator, n) => {
                let count = occurred(of).filter(|at| *at > -24 * days).count();
                compare(i64::try_from(count).unwrap(), comparator, *n)
            }
            Self::Ago(of, comparator, days) => {
                occurred(of).max().is_some_and(|last| compare(-last / 24, comparator, *days))
            }
            Self::Consented(topic) => {
                let (state, expires) = past.consents[*topic];
                state == "granted" && expires.is_none_or(|expires| expires > 0)
            }
            Self::Contacted(named, days) => past.contacts.iter().any(|(topic, state, sent, updated)| {
                let purpose = ["service", "marketing"][*topic];
                (TOPICS[*topic] == *named || purpose == *named)
                    && ["sending", "sent", "unknown_outcome"].contains(state)
                    && sent.unwrap_or(*updated) > -24 * days
            }),
            Self::Known(pattern) => looks_like(pattern, &past.name()),
            Self::Reached(pattern) => past
                .address()
                .is_some_and(|address| pattern.is_empty() || looks_like(pattern, &format!("{address}@example.com"))),
        }
    }
}

async fn insert(db: &DatabaseConnection, table: &'static str, values: Vec<(&'static str, SimpleExpr)>) {
    let (columns, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
    let mut insert = Query::insert();
    insert.into_table(table).columns(columns).values_panic(values);
    db.execute(&insert).await.unwrap();
}

async fn record(db: &DatabaseConnection, id: CustomerId, past: &Past, now: Timestamp) {
    let at = |hours: i64| SimpleExpr::from(now + TimeDelta::hours(hours));
    for (number, (kind, occurred)) in past.events.iter().enumerate() {
        let event = vec![
            ("event_id", EventId::generate().into()),
            ("source", "shop".into()),
            ("source_event_id", format!("{id}/{number}").into()),
            ("customer_id", id.into()),
            ("bucket", id.bucket().into()),
            ("event_type", (*kind).into()),
            ("occur_time", at(*occurred)),
            ("subject", "".into()),
            ("items", json!([]).into()),
            ("properties", json!({}).into()),
            ("record_time", at(0)),
        ];
        insert(db, "events", event).await;
    }
    for (topic, (state, expires)) in TOPICS.iter().zip(&past.consents) {
        let consent = vec![
            ("customer_id", id.into()),
            ("topic_id", (*topic).into()),
            ("channel", "email".into()),
            ("data_use", "messages".into()),
            ("state", (*state).into()),
            ("method", "web_form".into()),
            ("change_time", at(-1)),
            ("expire_time", expires.map(|expires| now + TimeDelta::hours(expires)).into()),
            ("record_id", ConsentRecordId::generate().into()),
        ];
        insert(db, "consents", consent).await;
    }
    for (topic, state, sent, updated) in &past.contacts {
        let contact = vec![
            ("contact_id", ContactId::generate().into()),
            ("customer_id", id.into()),
            ("bucket", id.bucket().into()),
            ("topic_id", TOPICS[*topic].into()),
            ("purpose", ["service", "marketing"][*topic].into()),
            ("channel", "email".into()),
            ("template_id", "note".into()),
            ("data", json!({}).into()),
            ("due_time", at(9_000)),
            ("original_due_time", at(9_000)),
            ("expire_time", at(9_999)),
            ("state", (*state).into()),
            ("attempt_count", 1.into()),
            ("send_time", sent.map(|sent| now + TimeDelta::hours(sent)).into()),
            ("create_time", at(*updated)),
            ("update_time", at(*updated)),
            ("revision", 1.into()),
        ];
        insert(db, "contacts", contact).await;
    }
}

async fn world() -> World {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    world.template("note").await;
    world
}

#[test]
fn what_is_recorded_elsewhere_is_the_same_in_the_database_and_in_memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = runner(CASES);
    let mut pasts = proptest::collection::vec(past(), CUSTOMERS).new_tree(&mut runner).unwrap().current();
    pasts.iter_mut().enumerate().for_each(|(number, past)| past.number = number);
    let (world, db, ids) = runtime.block_on(async {
        let mut world = world().await;
        let db = world.own_connection().await;
        let mut ids: Vec<CustomerId> = Vec::new();
        for past in &pasts {
            let reach =
                |customer: &mut proto::Customer| customer.addresses.truncate(usize::from(past.address().is_some()));
            let customer = world.customer_with(&past.name(), reach).await;
            let id = customer.customer_id.parse().unwrap();
            record(&db, id, past, world.now()).await;
            ids.push(id);
        }
        (world, db, ids)
    });
    let now = world.now();
    let profiles = runtime.block_on(customers::profiles(&db, &ids)).unwrap();
    let telling = Cell::new(0);
    let clause = proptest::collection::vec((any::<bool>(), leaf()), 1..4);
    let outcome = runner.run(&proptest::collection::vec(clause, 1..3), |clauses| {
        let leaf_text =
            |(negated, leaf): &(bool, Leaf)| format!("{}{}", if *negated { "NOT " } else { "" }, leaf.text());
        let clause_text = |clause: &Vec<_>| clause.iter().map(leaf_text).collect::<Vec<_>>().join(" OR ");
        let text = clauses.iter().map(clause_text).collect::<Vec<_>>().join(" AND ");
        let filter = Filter::parse(&text, audience_fields()).unwrap();
        let expected: BTreeSet<String> = ids
            .iter()
            .zip(&pasts)
            .filter(|(_, past)| {
                clauses.iter().all(|any| any.iter().any(|(negated, leaf)| leaf.holds(past) != *negated))
            })
            .map(|(id, _)| id.to_string())
            .collect();
        let (found, facts) = runtime.block_on(async {
            let mut query = Query::select();
            query
                .from("customers")
                .expr(Expr::col(("customers", "customer_id")))
                .cond_where(filter.condition(db.get_database_backend(), now));
            let rows = db.query_all(&query).await.unwrap();
            let found = rows.iter().map(|row| row.try_get_by_index::<CustomerId>(0).unwrap().to_string());
            (found.collect::<BTreeSet<_>>(), Facts::load(&db, [&filter], &ids, now).await.unwrap())
        });
        let matched = ids.iter().filter(|id| filter.matches(&profiles[*id], &facts, now)).map(ToString::to_string);
        prop_assert_eq!(&found, &expected, "in the database: {}", &text);
        prop_assert_eq!(&matched.collect::<BTreeSet<_>>(), &expected, "in memory: {}", &text);
        telling.set(telling.get() + u32::from(!expected.is_empty() && expected.len() < ids.len()));
        Ok(())
    });
    runtime.block_on(db.close()).unwrap();
    runtime.block_on(async { drop(world) });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(telling.get() > CASES / 3, "{} filters tell customers apart", telling.get());
}
