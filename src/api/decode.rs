//! From the wire into types that cannot be wrong; whatever is wrong is noted with its path.

use std::{fmt, str::FromStr};

use prost_types::{Struct, Timestamp as WireTime, Value as WireValue, value::Kind};
use serde_json::{Map, Number, Value};
use unicode_normalization::UnicodeNormalization;

use crate::{
    calendar::{Weekdays, YEARS},
    clock::Timestamp,
    customers::CustomerKey,
    delivery::{Channel, breaks_headers},
    filter::{Filter, FilterError, Problem, Schema},
    preferences::LocalizedText,
    rpc::{
        Caller, Order, Reason, RequestKey, Violations,
        proto::{self, CustomerRef, customer_ref::Key},
    },
};

const DEEPEST: usize = 5;
const MOST_KEYS: usize = 100;
const LARGEST_JSON: usize = 16 * 1024;
/// Doubles hold every whole number up to here.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A line of text: trimmed, in normal form C, without control characters, at most so many characters.
pub fn line(violations: &mut Violations, path: impl fmt::Display, text: &str, most: usize) -> String {
    let text: String = text.trim().nfc().collect();
    if text.chars().count() > most {
        violations.add(path.to_string(), format!("must be at most {most} characters"));
    } else if text.chars().any(breaks_headers) {
        violations.add(path.to_string(), "must not hold line breaks or other control characters");
    }
    text
}

/// A line of text that must be there.
pub fn required(violations: &mut Violations, path: impl fmt::Display, text: &str, most: usize) -> String {
    if text.trim().is_empty() {
        violations.add(path.to_string(), format!("is required: 1 to {most} characters"));
        return String::new();
    }
    line(violations, path, text, most)
}

/// A text of several lines, at most so many characters, as it was written.
pub fn text(violations: &mut Violations, path: impl fmt::Display, text: String, most: usize) -> String {
    if text.chars().count() > most {
        violations.add(path.to_string(), format!("must be at most {most} characters"));
    } else if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\r' | '\n')) {
        violations.add(path.to_string(), "must not hold control characters other than tabs and line breaks");
    }
    text
}

/// Lines that each must be there.
pub fn lines(violations: &mut Violations, path: &str, texts: &[String], most: usize, longest: usize) -> Vec<String> {
    if texts.len() > most {
        violations.add(path, format!("must be at most {most}"));
    }
    let each = texts.iter().enumerate().take(most);
    each.map(|(place, text)| required(violations, format_args!("{path}[{place}]"), text, longest)).collect()
}

/// Something that is written as text.
pub fn parse<T: FromStr>(violations: &mut Violations, path: impl fmt::Display, text: &str) -> Option<T>
where
    T::Err: fmt::Display,
{
    violations.take(path.to_string(), text.parse())
}

/// Something that is written as text, or empty.
pub fn parse_optional<T: FromStr>(violations: &mut Violations, path: impl fmt::Display, text: &str) -> Option<T>
where
    T::Err: fmt::Display,
{
    if text.is_empty() { None } else { parse(violations, path, text) }
}

/// A value of an enum of the contract: none for the unspecified one.
pub fn choice<E: TryFrom<i32> + PartialEq + Default>(
    violations: &mut Violations,
    path: impl fmt::Display,
    number: i32,
) -> Option<E> {
    match E::try_from(number) {
        Ok(value) if value == E::default() => None,
        Ok(value) => Some(value),
        Err(_) => {
            violations.add(path.to_string(), format!("{number} is not a value of this enum"));
            None
        }
    }
}

/// A value of an enum that must be given.
pub fn required_choice<E: TryFrom<i32> + PartialEq + Default>(
    violations: &mut Violations,
    path: impl fmt::Display,
    number: i32,
    allowed: &str,
) -> Option<E> {
    let known = violations.len();
    let value = choice(violations, &path, number);
    if value.is_none() && violations.len() == known {
        violations.add(path.to_string(), allowed);
    }
    value
}

/// How many rows a page is to hold: 50 unless said otherwise, 500 at most.
pub fn page_size(violations: &mut Violations, size: i32) -> u64 {
    match u64::try_from(size) {
        Ok(0) => 50,
        Ok(size) => size.min(500),
        Err(_) => {
            violations.add("pageSize", "must be 0 (for 50) to 500");
            0
        }
    }
}

/// In which order a list is wanted: the name of one of its fields, with " desc" for the other way round; the first unless said otherwise.
pub fn order<By: Copy>(violations: &mut Violations, text: &str, fields: &[(&str, By)]) -> Order<By> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let by = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, by)| *by);
    let found = match words.as_slice() {
        [] => by(fields[0].0).map(|by| (by, false)),
        [name] => by(name).map(|by| (by, false)),
        [name, "desc"] => by(name).map(|by| (by, true)),
        _ => None,
    };
    let (by, descending) = found.unwrap_or_else(|| {
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        violations
            .add("orderBy", format!("must be one of {}, with \" desc\" for the other way round", names.join(", ")));
        (fields[0].1, false)
    });
    Order { by, descending }
}

/// Days of the week, each wrong one noted.
pub fn weekdays(violations: &mut Violations, path: impl fmt::Display, names: &[String]) -> Option<Weekdays> {
    for (place, name) in names.iter().enumerate() {
        if Weekdays::parse(std::slice::from_ref(name)).is_err() {
            violations.add(format!("{path}[{place}]"), format!("{name:?} is none of MON … SUN"));
        }
    }
    Weekdays::parse(names).ok()
}

/// A channel; e-mail where none is named.
pub fn channel(violations: &mut Violations, path: impl fmt::Display, number: i32) -> Channel {
    choice::<proto::Channel>(violations, path, number);
    Channel::Email
}

/// A whole number between two.
pub fn between(violations: &mut Violations, path: impl fmt::Display, number: i32, least: i32, most: i32) -> i32 {
    if !(least..=most).contains(&number) {
        violations.add(path.to_string(), format!("must be {least} to {most}"));
    }
    number
}

/// An instant, to the microsecond.
pub fn time(violations: &mut Violations, path: impl fmt::Display, time: Option<WireTime>) -> Option<Timestamp> {
    let time = time?;
    let instant = u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)
        .and_then(|nanos| Timestamp::from_timestamp(time.seconds, nanos / 1_000 * 1_000))
        .filter(|instant| YEARS.contains(&chrono::Datelike::year(instant)));
    if instant.is_none() {
        violations.add(path.to_string(), "must be a time from the year 1900 to the year 2999");
    }
    instant
}

/// An instant that must be given.
pub fn required_time(
    violations: &mut Violations,
    path: impl fmt::Display,
    time: Option<WireTime>,
) -> Option<Timestamp> {
    if time.is_none() {
        violations.add(path.to_string(), "is required");
    }
    self::time(violations, path, time)
}

/// Free data.
pub fn object(violations: &mut Violations, path: impl fmt::Display, fields: Option<Struct>) -> Map<String, Value> {
    let path = path.to_string();
    let Some(fields) = fields else { return Map::new() };
    let size = prost::Message::encoded_len(&fields);
    if size > LARGEST_JSON {
        violations.add(&*path, format!("must be at most {LARGEST_JSON} bytes"));
        return Map::new();
    }
    let mut keys = 0;
    let object = object_at(violations, &path, fields, 1, &mut keys);
    if keys > MOST_KEYS {
        violations.add(path, format!("must hold at most {MOST_KEYS} keys on all levels"));
    }
    object
}

fn object_at(
    violations: &mut Violations,
    path: &str,
    fields: Struct,
    depth: usize,
    keys: &mut usize,
) -> Map<String, Value> {
    *keys += fields.fields.len();
    let mut object = Map::new();
    for (key, value) in fields.fields {
        let path = format!("{path}.{key}");
        if !(1..=128).contains(&key.chars().count()) || key.chars().any(breaks_headers) {
            violations.add(path, "keys must be 1 to 128 characters, without control characters");
            continue;
        }
        object.insert(key, value_at(violations, &path, value, depth, keys));
    }
    object
}

fn value_at(violations: &mut Violations, path: &str, value: WireValue, depth: usize, keys: &mut usize) -> Value {
    if depth > DEEPEST {
        violations.add(path, format!("must not be nested deeper than {DEEPEST} levels"));
        return Value::Null;
    }
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => self::number(violations, path, number),
        Some(Kind::StringValue(text)) if text.contains('\0') => {
            violations.add(path, "must not hold the character U+0000");
            Value::Null
        }
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::StructValue(fields)) => Value::Object(object_at(violations, path, fields, depth + 1, keys)),
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().enumerate();
            let value = |(place, value)| value_at(violations, &format!("{path}[{place}]"), value, depth + 1, keys);
            Value::Array(values.map(value).collect())
        }
    }
}

/// Whole numbers are kept as such, so that 5 does not become 5.0 in a message.
fn number(violations: &mut Violations, path: &str, number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Value::from(number as i64);
    }
    // Beyond it databases and readers of JSON disagree about what a number is.
    Number::from_f64(number).filter(|_| number.abs() < 1e300).map_or_else(
        || {
            violations.add(path, "must be a number between -1e300 and 1e300");
            Value::Null
        },
        Value::Number,
    )
}

/// A filter over the fields of a place; none where it is empty.
pub fn filter(violations: &mut Violations, path: impl fmt::Display, text: &str, schema: &Schema) -> Option<Filter> {
    if text.trim().is_empty() {
        return None;
    }
    let wrong = |wrong: FilterError| {
        let reason = match wrong.problem {
            Problem::Syntax => Reason::FilterSyntax,
            Problem::Unknown => Reason::FilterUnknownField,
            Problem::Type => Reason::FilterWrongType,
            Problem::TooLarge => Reason::FilterTooLarge,
        };
        violations.add_because(reason, path.to_string(), wrong.to_string());
    };
    Filter::parse(text, schema).map_err(wrong).ok()
}

/// Who is meant: exactly one key.
pub fn customer_key(violations: &mut Violations, path: &str, reference: Option<CustomerRef>) -> Option<CustomerKey> {
    match reference.and_then(|reference| reference.key) {
        Some(Key::CustomerId(id)) => parse(violations, format_args!("{path}.customerId"), &id).map(CustomerKey::Id),
        Some(Key::ExternalId(id)) => {
            Some(CustomerKey::ExternalId(required(violations, format_args!("{path}.externalId"), &id, 128)))
        }
        Some(Key::Email(email)) => parse(violations, format_args!("{path}.email"), &email).map(CustomerKey::Email),
        None => {
            violations.add(path, "must name a customer by customerId, externalId or email");
            None
        }
    }
}

/// Texts in several languages, each once.
pub fn localized(violations: &mut Violations, path: &str, texts: &[proto::LocalizedText]) -> Vec<LocalizedText> {
    if texts.len() > 50 {
        violations.add(path, "must be at most 50");
    }
    let mut decoded: Vec<LocalizedText> = Vec::new();
    for (place, text) in texts.iter().enumerate().take(50) {
        let locale = parse_optional(violations, format_args!("{path}[{place}].locale"), &text.locale);
        if decoded.iter().any(|earlier| earlier.locale == locale) {
            violations.add(format!("{path}[{place}].locale"), "comes twice");
        }
        let text = required(violations, format_args!("{path}[{place}].text"), &text.text, 500);
        decoded.push(LocalizedText { locale, text });
    }
    decoded
}

/// The key of a request that may be repeated. `body` is the request without its id; a check alone takes no key.
pub fn request_key(
    violations: &mut Violations,
    path: impl fmt::Display,
    caller: &Caller,
    method: &'static str,
    request_id: &str,
    body: &impl prost::Message,
) -> Option<RequestKey> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if request_id.len() > 64 || !request_id.bytes().all(printable) {
        violations.add(path.to_string(), "must be at most 64 printable ASCII characters");
        return None;
    }
    RequestKey::new(caller, method, request_id, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(check: impl FnOnce(&mut Violations)) -> Vec<String> {
        let mut violations = Violations::default();
        check(&mut violations);
        violations.iter().map(|violation| violation.field.clone()).collect()
    }

    fn nested(depth: usize) -> Struct {
        let mut value = WireValue { kind: Some(Kind::BoolValue(true)) };
        for _ in 1..depth {
            let fields = [("a".to_owned(), value)].into();
            value = WireValue { kind: Some(Kind::StructValue(Struct { fields })) };
        }
        Struct { fields: [("a".to_owned(), value)].into() }
    }

    #[test]
    fn a_line_is_trimmed_composed_and_free_of_control_characters() {
        assert_eq!(line(&mut Violations::default(), "x", " Be\u{301}a ", 10), "Béa");
        for wrong in ["a\r\nb", "a\u{0}", "a\u{85}b", "a\u{2028}b", "a\u{202e}b", "aaaaaaaaaaa"] {
            assert_eq!(noted(|violations| drop(line(violations, "x", wrong, 10))), ["x"], "{wrong:?}");
        }
    }

    #[test]
    fn a_text_has_lines_and_tabs_and_no_other_control_characters() {
        assert_eq!(noted(|violations| drop(text(violations, "x", "a\tb\r\nc\n".into(), 10))), [""; 0]);
        for wrong in ["a\u{0}", "a\u{7}b", "a\u{7f}b", "a\u{85}b", "a\u{9b}b", "aaaaaaaaaaa"] {
            assert_eq!(noted(|violations| drop(text(violations, "x", wrong.into(), 10))), ["x"], "{wrong:?}");
        }
    }

    #[test]
    fn free_data_keeps_whole_numbers_whole_and_has_limits() {
        let number = |number: f64| WireValue { kind: Some(Kind::NumberValue(number)) };
        let fields = Struct { fields: [("a".into(), number(5.0)), ("b".into(), number(0.5))].into() };
        let decoded = object(&mut Violations::default(), "x", Some(fields));
        assert_eq!(Value::Object(decoded).to_string(), r#"{"a":5,"b":0.5}"#);

        let odd = Struct { fields: [("nan".into(), number(f64::NAN))].into() };
        assert_eq!(noted(|violations| drop(object(violations, "x", Some(odd)))), ["x.nan"]);
        assert!(noted(|violations| drop(object(violations, "x", Some(nested(5))))).is_empty());
        assert_eq!(noted(|violations| drop(object(violations, "x", Some(nested(6))))).len(), 1);
        let many = Struct { fields: (0..101).map(|key| (key.to_string(), number(1.0))).collect() };
        assert_eq!(noted(|violations| drop(object(violations, "x", Some(many)))), ["x"]);
    }

    #[test]
    fn a_time_is_cut_to_the_microsecond_and_must_be_of_our_times() {
        let at = |seconds, nanos| time(&mut Violations::default(), "x", Some(WireTime { seconds, nanos }));
        assert_eq!(at(1, 1_999).unwrap().to_rfc3339(), "1970-01-01T00:00:01.000001+00:00");
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (-2_300_000_000, 0), (32_600_000_000, 0)] {
            assert_eq!(at(seconds, nanos), None);
        }
    }
}
