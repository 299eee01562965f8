use super::Customer;
use crate::{
    filter::{Record, Schema, Value},
    ids::CustomerId,
};

/// What filters can ask about a customer: what the record says, and how the customer is known and reached, which is looked up.
pub fn fields() -> Schema {
    Schema::of("customers")
        .text("display_name")
        .text("given_name")
        .text("family_name")
        .text("time_zone")
        .text("locale")
        .json("attributes")
        .texts("tags")
        .time("create_time")
        .time("update_time")
        .time("delete_time")
        .related("external_ids", "customer_id", ("external_ids", "customer_id", "external_id"))
        .related("addresses.value", "customer_id", ("addresses", "customer_id", "value"))
}

impl Record for Customer {
    fn customer_id(&self) -> CustomerId {
        self.customer_id
    }

    fn value(&self, field: &str) -> Value<'_> {
        match field {
            "display_name" => Value::Text(&self.display_name),
            "given_name" => Value::Text(&self.given_name),
            "family_name" => Value::Text(&self.family_name),
            "time_zone" => self.time_zone.map_or(Value::Missing, |zone| Value::Text(zone.name())),
            "locale" => self.locale.as_ref().map_or(Value::Missing, |locale| Value::Text(locale.as_str())),
            "attributes" => Value::Json(&self.attributes),
            "tags" => Value::Texts(&self.tags),
            "create_time" => Value::Time(self.create_time),
            "update_time" => Value::Time(self.update_time),
            "delete_time" => self.delete_time.map_or(Value::Missing, Value::Time),
            _ => Value::Missing,
        }
    }
}
