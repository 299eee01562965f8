//! Filters and values to draw.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// Texts in which things go wrong: case, accents, wildcards of SQL, quotes, and all that looks like something else.
const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "ab",
    "abc",
    "b",
    "ba",
    "aba",
    "é",
    "e\u{301}",
    "É",
    "Ω",
    "ä",
    "z",
    "Z",
    "%",
    "_",
    "a%b",
    "a_b",
    "\\",
    "\"",
    "'",
    "*",
    "a*b",
    "gold",
    "Gold",
    "golden",
    "marigold",
    "5",
    "5.5",
    "05",
    "true",
    "null",
    "[]",
    "{}",
    "😀",
    "\u{ffff}",
    "a b",
    " a",
    "2026-11-01",
    "2026-11-15",
    "2026-10-31",
    "2024-02-29",
    "2026-02-29",
    "2100-02-29",
    "2000-02-29",
    "2026-04-31",
    "2026-13-01",
    "2026-00-10",
    "1899-12-31",
    "1900-01-01",
    "2999-12-31",
    "3000-01-01",
    "0000-01-01",
    "2026-11-01T00:00:00Z",
    "2026-11-01T00:00:00+00:00",
    "2026-11-01T02:00:00+02:00",
    "2026-10-31T10:00:00-14:00",
    "2026-11-01T14:00:00+15:00",
    "2026-11-01T00:00:00.5Z",
    "2026-11-01T00:00:00.500000Z",
    "2026-11-01T00:00:00.1234567Z",
    "2026-11-01T00:00:00.123456789+00:00",
    "2026-11-01T00:00:00.1234567891Z",
    "2026-11-01T00:00:00.Z",
    "2026-11-01T24:00:00Z",
    "2026-11-01T23:59:60Z",
    "2026-11-01T00:00:00",
    "2026-11-01 00:00:00Z",
    "2026-11-01t00:00:00z",
    "2026-11-01T00:00:00z",
    "2026-11-01T00:00Z",
    "2026-11-1",
    "2026-11-01Z",
    " 2026-11-01",
    "2026-11-01 ",
    "2026-11-01T00:00:00+0200",
    "2026-11-01T00:00:00+02",
    "2026-11-01T00:00:00+02:60",
    "1900-01-01T00:00:00+14:00",
    "２０２６-11-01",
    "2026-11-15T12:00:00.000001Z",
    "2026-11-14T12:00:00Z",
    "2026-11-14T12:00:00.000001Z",
];

const NUMBERS: &[f64] = &[
    0.0,
    1.0,
    5.0,
    5.5,
    -3.0,
    0.1,
    0.2,
    0.3,
    0.30000000000000004,
    1e15,
    9007199254740992.0,
    1e16,
    1e22,
    1e-7,
    1e200,
    -1e200,
    100.0,
    123456.789,
];

const KEYS: &[&str] = &["plan", "orders", "renewal", "vip", "langs", "deep", "2fa", "a-b", "ключ", "order count"];

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(TEXTS).prop_map(str::to_owned),
        1 => "[a-c%_*é ]{0,4}",
        1 => "[^\\x00]{0,3}",
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => proptest::sample::select(NUMBERS),
        1 => (-10_i32..10).prop_map(f64::from),
        1 => -1e6..1e6,
        1 => any::<f64>().prop_filter("as the contract has it", |number| number.abs() < 1e300),
    ]
}

/// As the service keeps it: whole numbers whole.
fn json_number(number: f64) -> Json {
    #[allow(clippy::cast_possible_truncation, reason = "whole and small enough")]
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 { json!(number as i64) } else { json!(number) }
}

fn json_value() -> impl Strategy<Value = Json> {
    let single = prop_oneof![
        1 => Just(Json::Null),
        2 => any::<bool>().prop_map(Json::from),
        4 => number().prop_map(json_number),
        8 => text().prop_map(Json::from),
    ];
    prop_oneof![
        6 => single.clone(),
        2 => proptest::collection::vec(single.clone(), 0..4).prop_map(Json::from),
        1 => proptest::collection::vec((proptest::sample::select(KEYS), single.clone()), 0..3).prop_map(object),
        1 => proptest::collection::vec(proptest::collection::vec(single, 0..3).prop_map(Json::from), 0..3).prop_map(Json::from),
    ]
}

fn object(fields: Vec<(&'static str, Json)>) -> Json {
    Json::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// What a customer or an event may hold.
pub fn open_data() -> impl Strategy<Value = Map<String, Json>> {
    let fields = proptest::collection::vec((proptest::sample::select(KEYS), json_value()), 0..8);
    fields.prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A text as a filter writes it; the stars of the text itself are escaped.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('*', "\\*");
    format!("\"{escaped}\"")
}

fn literal() -> impl Strategy<Value = String> {
    text().prop_map(|text| quoted(&text))
}

fn pattern() -> impl Strategy<Value = String> {
    (text(), 0..3).prop_map(|(text, ends)| {
        let inner = quoted(&text);
        let inner = &inner[1..inner.len() - 1];
        match ends {
            0 => format!("\"{inner}*\""),
            1 => format!("\"*{inner}\""),
            _ => format!("\"*{inner}*\""),
        }
    })
}

fn number_text() -> impl Strategy<Value = String> {
    number().prop_map(|number| if number.fract() == 0.0 { format!("{number:e}") } else { number.to_string() })
}

fn time_text() -> impl Strategy<Value = String> {
    let days = (-60_i64..60, 0_i64..3).prop_map(|(days, seconds)| {
        let now: chrono::DateTime<chrono::Utc> = super::NOW.parse().unwrap();
        let time = now + chrono::TimeDelta::days(days) + chrono::TimeDelta::seconds(seconds);
        format!("\"{}\"", time.format("%Y-%m-%dT%H:%M:%SZ"))
    });
    const GIVEN: &[&str] = &[
        "\"2026-11-01\"",
        "\"2026-11-01T00:00:00Z\"",
        "\"2026-11-01T02:00:00.5+02:00\"",
        "\"2024-02-29\"",
        "\"1900-01-01\"",
    ];
    prop_oneof![days, proptest::sample::select(GIVEN).prop_map(str::to_owned)]
}

fn comparator() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["=", "!=", "<", "<=", ">", ">="][..])
}

fn equality() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["=", "!="][..])
}

fn key() -> impl Strategy<Value = String> {
    let one =
        proptest::sample::select(KEYS).prop_map(|key| if key.contains(' ') { quoted(key) } else { key.to_owned() });
    prop_oneof![
        4 => one.clone().prop_map(|key| format!("data.{key}")),
        1 => (one.clone(), one).prop_map(|(outer, inner)| format!("data.{outer}.{inner}")),
    ]
}

fn comparison() -> impl Strategy<Value = String> {
    let joined = |(one, comparator, other): (String, &'static str, String)| format!("{one} {comparator} {other}");
    let named = |name: &'static str| Just(name.to_owned());
    let truth = || proptest::sample::select(&["true", "false"][..]).prop_map(str::to_owned);
    let numbers = prop_oneof![named("score"), named("count")];
    let state = proptest::sample::select(&["STATE_DRAFT", "STATE_IN_DOUBT"][..]).prop_map(str::to_owned);
    let open = prop_oneof![literal(), time_text(), number_text()];
    let any_list = prop_oneof![literal(), pattern(), number_text(), truth()];
    let aged = prop_oneof![named("days_since(seen)"), key().prop_map(|key| format!("days_since({key})"))];
    let present = prop_oneof![
        proptest::sample::select(&["name", "score", "count", "active", "seen", "state", "tags"][..])
            .prop_map(str::to_owned),
        key()
    ];
    prop_oneof![
        3 => (named("name"), comparator(), literal()).prop_map(joined),
        2 => (named("name"), equality(), pattern()).prop_map(joined),
        2 => (numbers, comparator(), number_text()).prop_map(joined),
        1 => (named("active"), equality(), truth()).prop_map(joined),
        1 => named("active"),
        2 => (named("seen"), comparator(), time_text()).prop_map(joined),
        1 => (named("state"), equality(), state).prop_map(joined),
        2 => (named("tags"), Just(":"), prop_oneof![literal(), pattern()]).prop_map(joined),
        8 => (key(), comparator(), open).prop_map(joined),
        3 => (key(), equality(), pattern()).prop_map(joined),
        2 => (key(), equality(), truth()).prop_map(joined),
        3 => (key(), Just(":"), any_list).prop_map(joined),
        3 => (aged, comparator(), (-50_i64..60).prop_map(|days| days.to_string())).prop_map(joined),
        2 => present.prop_map(|name| format!("{name}:*")),
    ]
}

/// A filter over the table of all kinds.
pub fn conditions() -> impl Strategy<Value = String> {
    comparison().prop_recursive(4, 10, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" AND "))),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} AND {b} OR {c})")),
            inner.clone().prop_map(|part| format!("NOT {part}")),
            inner.prop_map(|part| format!("-({part})")),
        ]
    })
}

/// Anything, above all what begins like a filter.
pub fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "(",
        ")",
        "AND",
        "OR",
        "NOT",
        "-",
        " ",
        ".",
        ",",
        ":",
        "*",
        "=",
        "!=",
        "!",
        "<",
        "<=",
        "\"",
        "'",
        "\\",
        "name",
        "data",
        "data.",
        "plan",
        "1",
        "1e309",
        "1.5",
        "-1",
        "true",
        "\"a\"",
        "\"*\"",
        "days_since",
        "days_since(",
        "event_count(",
        "STATE_DRAFT",
        "é",
        "\u{0}",
        "\u{202e}",
        "$1",
        "?",
        ";--",
        "state",
        "tags",
        "seen",
        "\"2026-02-30\"",
    ];
    let tokens =
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..60).prop_map(|pieces| pieces.concat());
    let spaced =
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..60).prop_map(|pieces| pieces.join(" "));
    let bytes =
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let nested = (0..3_000_usize, proptest::sample::select(&["(", "NOT ", "-", "days_since("][..]))
        .prop_map(|(times, open)| open.repeat(times));
    prop_oneof![4 => tokens, 4 => spaced, 2 => bytes, 1 => nested, 2 => conditions(), 1 => "\\PC{0,200}"]
}
