use std::sync::LazyLock;

use super::{BlockReason, ContactState, Delivery, Effect, Purpose, store};
use crate::{
    delivery::Channel,
    filter::{Kind, Schema},
};

/// What contacts are listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContactOrder {
    /// When they were planned.
    #[default]
    Created,
    /// When they are due.
    Due,
}

/// What filters can ask about a contact.
pub fn fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("contacts")
            .choice("state", "STATE_", ContactState::STORED)
            .choice("purpose", "PURPOSE_", Purpose::STORED)
            .choice("channel", "CHANNEL_", Channel::STORED)
            .choice("delivery", "DELIVERY_", Delivery::STORED)
            .expression(
                "block.reason",
                Kind::Enum { prefix: "BLOCK_REASON_", stored: BlockReason::STORED },
                store::block_reason,
            )
            .column("block.effect", "block_effect", Kind::Enum { prefix: "EFFECT_", stored: Effect::STORED })
            .column("block.retry_time", "block_retry_time", Kind::Time)
            .text("campaign_id")
            .text("step_id")
            .text("topic_id")
            .text("template_id")
            .text("dedupe_key")
            .json("data")
            .number("attempt_count")
            .number("template_version")
            .time("due_time")
            .time("original_due_time")
            .time("expire_time")
            .time("send_time")
            .time("create_time")
            .time("update_time")
    });
    &FIELDS
}
