use std::sync::LazyLock;

use crate::{contacts, customers, events, filter::Schema, preferences};

/// What an audience can be made of: what a customer's record says, and what is recorded about them elsewhere.
pub fn audience_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        customers::profile_fields()
            .function(events::event_count())
            .function(events::last_event())
            .function(preferences::consented())
            .function(contacts::contacted())
    });
    &FIELDS
}

/// What lists of customers can be filtered by: the same, and how customers are known and reached.
pub fn customer_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| customers::with_reach(audience_fields().clone()));
    &FIELDS
}
