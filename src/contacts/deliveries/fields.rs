use std::sync::LazyLock;

use super::DeliveryKind;
use crate::filter::Schema;

/// What filters can ask about something that came back.
pub fn delivery_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("delivery_events")
            .choice("kind", "KIND_", DeliveryKind::STORED)
            .text("source")
            .text("campaign_id")
            .text("status_code")
            .text("url")
            .bool("automated")
            .time("occur_time")
            .time("record_time")
    });
    &FIELDS
}
