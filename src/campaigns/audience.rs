use std::sync::LazyLock;

use crate::{contacts, customers, events, filter::Schema, preferences};

/// What audiences are made of, and lists of customers are filtered by: what a customer's record says, and what is recorded about
/// them elsewhere.
pub fn audience_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| with_functions(customers::fields()));
    &FIELDS
}

/// Adds what is asked about what is recorded elsewhere.
pub(super) fn with_functions(schema: Schema) -> Schema {
    schema
        .function(events::event_count())
        .function(events::last_event())
        .function(preferences::consented())
        .function(contacts::contacted())
}
