use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Money;
use crate::{
    clock::Timestamp,
    database::text_enum,
    ids::{CampaignId, ContactId, CustomerId, EnrollmentId, EventId},
};

/// The source of what happens inside the service; nobody else reports under it.
pub const OWN_SOURCE: &str = "rapport";

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id.
    pub event_id: EventId,
    /// To whom.
    pub customer_id: CustomerId,
    /// When it was recorded.
    pub record_time: Timestamp,
    /// What a caller said.
    pub body: EventBody,
}

/// What a caller says about an event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBody {
    /// Which system says so.
    pub source: String,
    /// That system's own id of it.
    pub source_event_id: String,
    /// "noun.verb".
    pub event_type: String,
    /// When it happened.
    pub occur_time: Timestamp,
    /// What it is about; empty = nothing that follow-ups and exits could share.
    pub subject: String,
    /// What it was worth.
    pub value: Option<Money>,
    /// What it consisted of.
    pub items: Vec<LineItem>,
    /// Free data.
    pub properties: Map<String, Value>,
}

/// One line of an order or cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineItem {
    /// Stock-keeping unit.
    pub sku: String,
    /// What people call it.
    pub title: String,
    /// How many.
    pub quantity: i32,
    /// For one of them.
    pub unit_price: Option<Money>,
    /// What kind of thing it is.
    pub categories: Vec<String>,
}

impl EventBody {
    /// Whether another account says the same. Numbers are compared as numbers: databases write them in their own way.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let without = |body: &Self| Self { properties: Map::new(), ..body.clone() };
        without(self) == without(other) && same_fields(&self.properties, &other.properties)
    }

    /// What templates see.
    pub fn template_data(&self) -> Value {
        let money = |money: Option<Money>| {
            money.map(|money| json!({"currency_code": money.currency_code(), "amount": money.amount()}))
        };
        let items = self.items.iter().map(|item| {
            json!({
                "sku": item.sku, "title": item.title, "quantity": item.quantity,
                "unit_price": money(item.unit_price), "categories": item.categories,
            })
        });
        json!({
            "event_type": self.event_type,
            "subject": self.subject,
            "occur_time": self.occur_time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            "value": money(self.value),
            "items": items.collect::<Vec<_>>(),
            "properties": self.properties,
        })
    }
}

fn same_fields(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => same_fields(a, b),
        _ => a == b,
    }
}

text_enum! {
    /// What an event did to one campaign.
    EffectOutcome {
        /// The customer entered.
        Enrolled = "enrolled",
        /// An enrollment ended.
        Exited = "exited",
        /// A wait of an enrollment ended.
        Advanced = "advanced",
        /// The trigger, but the customer does not enter.
        Ignored = "ignored",
    }
}

/// What an event did, campaign by campaign. Kept, so that the same event again answers the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventEffect {
    /// Which campaign.
    pub campaign_id: CampaignId,
    /// What happened.
    pub outcome: EffectOutcome,
    /// Why it was ignored, or what ended.
    pub detail: String,
    /// The enrollment that began, ended or went on.
    pub enrollment_id: Option<EnrollmentId>,
    /// The contact that was planned.
    pub contact_id: Option<ContactId>,
    /// When that is due, as an instant and where the customer lives.
    pub due: Option<(Timestamp, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_differ_only_in_how_numbers_are_written_say_the_same() {
        let body = |properties: Value| EventBody {
            source: "shop".into(),
            source_event_id: "1".into(),
            event_type: "order.placed".into(),
            occur_time: Timestamp::UNIX_EPOCH,
            subject: String::new(),
            value: None,
            items: Vec::new(),
            properties: properties.as_object().cloned().unwrap_or_default(),
        };
        let first = body(json!({"a": 1, "b": [1.0, {"c": 1e16}]}));
        assert!(first.says_the_same(&body(json!({"b": [1, {"c": 10_000_000_000_000_000_i64}], "a": 1.0}))));
        assert!(!first.says_the_same(&body(json!({"a": 1}))));
        assert!(!first.says_the_same(&body(json!({"a": "1", "b": [1, {"c": 1e16}]}))));
        assert!(!first.says_the_same(&EventBody { subject: "x".into(), ..first.clone() }));
    }
}
