use super::FrequencyCap;
use crate::{
    calendar::{QuietHours, Zone},
    templates::Locale,
};

/// What holds for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendingPolicy {
    /// For customers who set none of their own.
    pub quiet_hours: Option<QuietHours>,
    /// Beside those that customers set.
    pub caps: Vec<FrequencyCap>,
    /// Where customers live of whom that is not known.
    pub time_zone: Zone,
    /// What customers read of whom that is not known.
    pub default_locale: Locale,
    /// How many of a hundred customers get nothing but transactional mail, to compare with.
    pub holdout_percent: u8,
    /// Counts its changes.
    pub revision: i32,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyChange {
    /// Quiet hours, or none any more.
    pub quiet_hours: Option<Option<QuietHours>>,
    /// All caps.
    pub caps: Option<Vec<FrequencyCap>>,
    /// The zone.
    pub time_zone: Option<Zone>,
    /// The locale.
    pub default_locale: Option<Locale>,
    /// How many of a hundred customers get nothing but transactional mail.
    pub holdout_percent: Option<u8>,
}

impl SendingPolicy {
    /// Takes over what a caller says.
    pub fn apply(&mut self, change: PolicyChange) {
        self.quiet_hours = change.quiet_hours.unwrap_or(self.quiet_hours);
        if let Some(caps) = change.caps {
            self.caps = caps;
        }
        self.time_zone = change.time_zone.unwrap_or(self.time_zone);
        if let Some(locale) = change.default_locale {
            self.default_locale = locale;
        }
        self.holdout_percent = change.holdout_percent.unwrap_or(self.holdout_percent);
        self.revision += 1;
    }
}
