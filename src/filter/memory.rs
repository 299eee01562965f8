use serde_json::Value as Json;

use super::{
    Facts,
    ages::Ages,
    check::{Element, Node, Question, Subject, Test},
    moment::moment,
};
use crate::{clock::Timestamp, ids::CustomerId};

/// Something that a filter can be asked about in memory.
pub trait Record {
    /// Whom the functions are about.
    fn customer_id(&self) -> CustomerId;

    /// The value of a field of the schema, by its whole name (`event.properties`; for open data the map itself).
    fn value(&self, field: &str) -> Value<'_>;
}

/// The value of a field in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Missing,
    /// A text; of an enum the stored one.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// An instant.
    Time(Timestamp),
    /// A list of texts.
    Texts(&'a [String]),
    /// Open data.
    Json(&'a serde_json::Map<String, Json>),
}

/// The value that a question is about.
enum Found<'a> {
    Value(Value<'a>),
    /// Inside open data.
    Open(&'a Json),
}

/// Whether a filter is true of something.
pub fn matches(node: &Node, record: &impl Record, facts: &Facts, now: Timestamp) -> bool {
    match node {
        Node::All(parts) => parts.iter().all(|part| matches(part, record, facts, now)),
        Node::Any(parts) => parts.iter().any(|part| matches(part, record, facts, now)),
        Node::Not(inner) => !matches(inner, record, facts, now),
        Node::Test(test) => holds(test, record, facts, now),
    }
}

fn holds(test: &Test, record: &impl Record, facts: &Facts, now: Timestamp) -> bool {
    if let Question::Related(relation) = &test.question {
        return facts.has(record.customer_id(), relation);
    }
    match &test.subject {
        Subject::Call(call) => answer(&test.question, &Found::Value(facts.value(record.customer_id(), call)), now),
        Subject::Field(field, keys) => match (record.value(&field.name), keys.as_slice()) {
            (Value::Json(map), [first, rest @ ..]) => {
                let inner = map.get(first).and_then(|value| rest.iter().try_fold(value, |value, key| value.get(key)));
                inner.is_some_and(|value| answer(&test.question, &Found::Open(value), now))
            }
            (value, _) => answer(&test.question, &Found::Value(value), now),
        },
    }
}

fn answer(question: &Question, found: &Found<'_>, now: Timestamp) -> bool {
    match question {
        Question::Present => found.is_present(),
        Question::Text(order, text) => found.text().is_some_and(|found| order.holds(&found, &text.as_str())),
        Question::Like(equal, pattern) => found.text().is_some_and(|found| pattern.matches(found) == *equal),
        Question::Number(order, number) => found.number().is_some_and(|found| order.holds(&found, number)),
        Question::Bool(value) => found.bool() == Some(*value),
        Question::Time(order, time) => found.time().is_some_and(|found| order.holds(&found, time)),
        Question::Age(order, days) => found.time().is_some_and(|found| Ages::new(*order, *days, now).holds(found)),
        Question::Is(equal, stored) => found.text().is_some_and(|found| (found == *stored) == *equal),
        Question::Holds(element) => found.holds(element),
        // Nothing that is found here: facts say it.
        Question::Related(_) => false,
    }
}

impl<'a> Found<'a> {
    fn is_present(&self) -> bool {
        match self {
            Self::Value(Value::Missing | Value::Text("")) | Self::Open(Json::Null) => false,
            Self::Value(Value::Texts(texts)) => !texts.is_empty(),
            _ => true,
        }
    }

    fn text(&self) -> Option<&'a str> {
        match self {
            Self::Value(Value::Text(text)) => Some(text),
            Self::Open(value) => value.as_str(),
            Self::Value(_) => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Value(Value::Number(number)) => Some(*number),
            Self::Open(value) => value.as_f64(),
            Self::Value(_) => None,
        }
    }

    fn bool(&self) -> Option<bool> {
        match self {
            Self::Value(Value::Bool(value)) => Some(*value),
            Self::Open(value) => value.as_bool(),
            Self::Value(_) => None,
        }
    }

    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Value(Value::Time(time)) => Some(*time),
            Self::Open(value) => value.as_str().and_then(moment),
            Self::Value(_) => None,
        }
    }

    fn holds(&self, element: &Element) -> bool {
        match (self, element) {
            (Self::Value(Value::Texts(texts)), Element::Text(pattern)) => {
                texts.iter().any(|text| pattern.matches(text))
            }
            (Self::Open(Json::Array(values)), element) => values.iter().any(|value| match element {
                Element::Text(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
                Element::Number(number) => value.as_f64() == Some(*number),
                Element::Bool(wanted) => value.as_bool() == Some(*wanted),
            }),
            _ => false,
        }
    }
}
