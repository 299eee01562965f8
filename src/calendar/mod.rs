//! Local time: zones, wall-clock times, delays and quiet hours. Every rule about a clock that is put forward or back is here.
//!
//! A wall-clock time that a clock change skips moves forward to the first valid instant; one that comes twice is the first.

mod cron;
mod delay;
mod local;
mod quiet;

pub use self::{
    cron::Cron,
    delay::{Delay, Planned},
    local::{LocalTime, YEARS, Zone, parse_time_of_day},
    quiet::QuietHours,
};
use chrono::Weekday;
use serde::{Deserialize, Serialize};

/// Some of the days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Weekdays(u8);

const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Mon, "MON"),
    (Weekday::Tue, "TUE"),
    (Weekday::Wed, "WED"),
    (Weekday::Thu, "THU"),
    (Weekday::Fri, "FRI"),
    (Weekday::Sat, "SAT"),
    (Weekday::Sun, "SUN"),
];

impl Weekdays {
    /// From "MON" … "SUN"; answers the first that is none of them.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, String> {
        names.iter().try_fold(Self::default(), |days, name| {
            let place = DAYS.iter().position(|(_, known)| *known == name.as_ref());
            place.map(|place| Self(days.0 | 1 << place)).ok_or_else(|| name.as_ref().to_owned())
        })
    }

    /// "MON" … "SUN", in this order.
    pub fn names(self) -> Vec<String> {
        DAYS.iter().filter(|(day, _)| self.holds(*day)).map(|(_, name)| (*name).to_owned()).collect()
    }

    /// Whether the day is one of them; when none is named, every day is.
    pub fn allows(self, day: Weekday) -> bool {
        self.0 == 0 || self.holds(day)
    }

    fn holds(self, day: Weekday) -> bool {
        self.0 & (1 << day.num_days_from_monday()) != 0
    }
}

impl TryFrom<Vec<String>> for Weekdays {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        Self::parse(&names)
    }
}

impl From<Weekdays> for Vec<String> {
    fn from(days: Weekdays) -> Self {
        days.names()
    }
}
