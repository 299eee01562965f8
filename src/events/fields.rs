use std::sync::LazyLock;

use super::{Event, store};
use crate::{
    filter::{Kind, Record, Schema, Value},
    ids::CustomerId,
};

/// What filters can ask about an event.
pub fn fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("events")
            .text("source")
            .text("source_event_id")
            .text("event_type")
            .text("subject")
            .time("occur_time")
            .time("record_time")
            .column("value.currency_code", "value_currency", Kind::Text)
            .expression("value.amount", Kind::Number, store::amount)
            .json("properties")
    });
    &FIELDS
}

impl Record for Event {
    fn customer_id(&self) -> CustomerId {
        self.customer_id
    }

    fn value(&self, field: &str) -> Value<'_> {
        let body = &self.body;
        match field {
            "source" => Value::Text(&body.source),
            "source_event_id" => Value::Text(&body.source_event_id),
            "event_type" => Value::Text(&body.event_type),
            "subject" => Value::Text(&body.subject),
            "occur_time" => Value::Time(body.occur_time),
            "record_time" => Value::Time(self.record_time),
            "value.currency_code" => body.value.map_or(Value::Missing, |value| Value::Text(value.currency_code())),
            "value.amount" => body.value.map_or(Value::Missing, |value| Value::Number(value.as_number())),
            "properties" => Value::Json(&body.properties),
            _ => Value::Missing,
        }
    }
}
