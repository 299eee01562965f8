use std::sync::LazyLock;

use super::Cause;
use crate::{delivery::Channel, filter::Schema};

/// What lists of suppressions can be filtered by.
pub fn suppression_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("suppressions")
            .choice("cause", "CAUSE_", Cause::STORED)
            .choice("channel", "CHANNEL_", Channel::STORED)
            .text("masked_address")
            .text("note")
            .time("create_time")
            .time("expire_time")
    });
    &FIELDS
}
