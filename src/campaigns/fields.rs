use std::sync::LazyLock;

use super::{CampaignState, EndCause, EnrollmentState, store};
use crate::{
    contacts::Purpose,
    filter::{Kind, Schema},
};

/// What campaigns are listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CampaignOrder {
    /// Their names.
    #[default]
    Id,
    /// When they were made.
    Created,
    /// When they last changed.
    Updated,
}

/// What lists of campaigns can be filtered by.
pub fn fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("campaigns")
            .text("campaign_id")
            .expression("display_name", Kind::Text, store::display_name)
            .choice("state", "STATE_", CampaignState::STORED)
            .text("state_note")
            .text("topic_id")
            .choice("purpose", "PURPOSE_", Purpose::STORED)
            .column("event.event_type", "event_type", Kind::Text)
            .number("version")
            .time("create_time")
            .time("update_time")
    });
    &FIELDS
}

/// What lists of enrollments can be filtered by.
pub fn enrollment_fields() -> &'static Schema {
    static FIELDS: LazyLock<Schema> = LazyLock::new(|| {
        Schema::of("enrollments")
            .text("campaign_id")
            .number("campaign_version")
            .text("subject")
            .choice("state", "STATE_", EnrollmentState::STORED)
            .choice("end_cause", "END_CAUSE_", EndCause::STORED)
            .text("next_step_id")
            .time("next_time")
            .time("start_time")
            .time("end_time")
    });
    &FIELDS
}
