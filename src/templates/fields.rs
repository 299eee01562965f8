use std::sync::LazyLock;

use super::{TemplateState, store};
use crate::{
    delivery::Channel,
    filter::{Kind, Schema},
};

/// What lists of templates can be filtered by.
pub fn fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("templates")
            .text("template_id")
            .text("display_name")
            .choice("channel", "CHANNEL_", Channel::STORED)
            .column("version", "latest_version", Kind::Number)
            .expression("state", Kind::Enum { prefix: "STATE_", stored: TemplateState::STORED }, store::state)
            .time("create_time")
    });
    &FIELDS
}
