use std::{fmt, str::FromStr};

use chrono::{LocalResult, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// A place's rules for its clocks, by IANA name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(Tz);

impl Zone {
    /// No place's own time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The IANA name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What clocks there show at an instant.
    pub fn local(self, instant: Timestamp) -> NaiveDateTime {
        instant.with_timezone(&self.0).naive_local()
    }

    /// The instant at which clocks there show `local`: the first valid one after it where a clock change skips it, the first
    /// of two where it comes twice.
    pub fn instant(self, local: NaiveDateTime) -> Timestamp {
        match self.0.from_local_datetime(&local) {
            LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant.to_utc(),
            LocalResult::None => self.first_instant_from(local),
        }
    }

    /// The first instant after `from` at which clocks there show `local`, or, where a clock change skips it, the first valid
    /// one after it. Takes the second of two when the first is over.
    pub fn next_instant(self, local: NaiveDateTime, from: Timestamp) -> Timestamp {
        match self.0.from_local_datetime(&local) {
            LocalResult::Ambiguous(first, second) if first.to_utc() <= from => second.to_utc(),
            _ => self.instant(local),
        }
    }

    /// When clocks there are put back between two instants less than two clock changes apart.
    pub fn put_back(self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let ahead = |instant: Timestamp| self.local(instant) - instant.naive_utc();
        let (mut before, mut back) = (after.timestamp(), until.timestamp());
        let at = |seconds: i64| after + TimeDelta::seconds(seconds - after.timestamp());
        if ahead(at(back)) >= ahead(after) {
            return None;
        }
        while back - before > 1 {
            let middle = i64::midpoint(before, back);
            if ahead(at(middle)) < ahead(after) { back = middle } else { before = middle }
        }
        let instant = at(back);
        Some(instant - TimeDelta::nanoseconds(i64::from(instant.nanosecond())))
    }

    /// The smallest instant at which clocks there show `local` or later, for a `local` that they never show.
    fn first_instant_from(self, local: NaiveDateTime) -> Timestamp {
        // No zone is more than 26 hours from another, so the instant lies in here; clock changes happen on whole seconds.
        let (mut before, mut after) = (-26 * 3_600, 26 * 3_600);
        let at = |seconds: i64| local.and_utc() + TimeDelta::seconds(seconds);
        while after - before > 1 {
            let middle = i64::midpoint(before, after);
            if self.local(at(middle)) >= local { after = middle } else { before = middle }
        }
        let instant = at(after);
        instant - TimeDelta::nanoseconds(i64::from(instant.nanosecond()))
    }

    /// "+02:00" at an instant.
    pub fn offset(self, instant: Timestamp) -> String {
        self.0.offset_from_utc_datetime(&instant.naive_utc()).fix().to_string()
    }
}

impl FromStr for Zone {
    type Err = String;

    /// Fixed offsets ("Etc/GMT-2", "EST") are no places: they know no summer time.
    fn from_str(name: &str) -> Result<Self, String> {
        let allowed = "must be an IANA time zone of a place, such as \"Europe/Riga\", or \"UTC\"";
        let zone: Tz = name.parse().map_err(|_| allowed.to_owned())?;
        let fixed = name.starts_with("Etc/GMT") || ["EST", "MST", "HST"].contains(&name);
        if fixed { Err(allowed.to_owned()) } else { Ok(Self(zone)) }
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.name().to_owned()
    }
}

/// How far the clocks of any place are ahead of UTC at most.
const FARTHEST_AHEAD: TimeDelta = TimeDelta::hours(14);
/// How far they are behind it at most.
const FARTHEST_BEHIND: TimeDelta = TimeDelta::hours(12);

/// A wall-clock time, to the second: "2026-12-01T10:00".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime(pub NaiveDateTime);

impl LocalTime {
    /// No clock on earth shows it before.
    pub fn first_anywhere(self) -> Timestamp {
        self.0.and_utc() - FARTHEST_AHEAD
    }

    /// What clocks show, where it is latest in the day, at the [first moment](Self::first_anywhere) that they show it.
    pub fn shown_first(at: Timestamp) -> Self {
        Self((at + FARTHEST_AHEAD).naive_utc())
    }

    /// Every clock on earth has shown it by then.
    pub fn last_anywhere(self) -> Timestamp {
        self.0.and_utc() + FARTHEST_BEHIND
    }
}

impl TryFrom<String> for LocalTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> Self {
        time.to_string()
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" };
        self.0.format(format).fmt(f)
    }
}

/// The years that are served: what is worked out from a time, years of delays included, stays one that JSON and both databases
/// can write, in order.
pub const YEARS: std::ops::RangeInclusive<i32> = 1_900..=2_999;

impl FromStr for LocalTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M")
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S"))
            .ok()
            .filter(|time| YEARS.contains(&chrono::Datelike::year(time)))
            .map(Self)
            .ok_or_else(|| {
                "must be a date and a wall-clock time, such as \"2026-12-01T10:00\", from 1900 to 2999".to_owned()
            })
    }
}

/// Reads "10:00".
pub fn parse_time_of_day(text: &str) -> Result<NaiveTime, String> {
    let shaped = text.len() == 5;
    let time = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| shaped);
    time.ok_or_else(|| "must be a wall-clock time from \"00:00\" to \"23:59\"".to_owned())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn local(text: &str) -> NaiveDateTime {
        text.parse::<LocalTime>().unwrap().0
    }

    fn utc(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_skipped_time_moves_to_the_first_valid_instant_and_a_repeated_one_is_the_first() {
        let cases = [
            // Spring: 03:00 becomes 04:00 in Riga, 02:00 becomes 02:30 on Lord Howe, 01:00 becomes 03:00 at Troll.
            ("Europe/Riga", "2026-03-29T03:30", "2026-03-29T01:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00Z"),
            ("Antarctica/Troll", "2026-03-29T02:10", "2026-03-29T01:00:00Z"),
            // Samoa went over the date line: 30 December 2011 never was.
            ("Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00:00Z"),
            // Autumn: the first of two.
            ("Europe/Riga", "2026-10-25T03:30", "2026-10-25T00:30:00Z"),
            ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30:00Z"),
            // Midnight itself is skipped in Beirut.
            ("Asia/Beirut", "2026-03-29T00:00", "2026-03-28T22:00:00Z"),
        ];
        for (name, wall, instant) in cases {
            assert_eq!(zone(name).instant(local(wall)), utc(instant), "{name} {wall}");
        }
    }

    #[test]
    fn a_place_is_a_zone_and_an_offset_is_none() {
        for good in ["Europe/Riga", "UTC", "Asia/Kathmandu", "America/Argentina/Buenos_Aires"] {
            assert_eq!(good.parse::<Zone>().map(Zone::name), Ok(good));
        }
        for wrong in ["", "+02:00", "Etc/GMT-2", "EST", "Mars/Olympus", "europe riga"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn wall_clock_times_read_back_as_they_were_written() {
        for text in ["2026-12-01T10:00", "2026-12-01T10:00:07"] {
            assert_eq!(text.parse::<LocalTime>().map(|time| time.to_string()), Ok(text.to_owned()));
        }
        for wrong in ["", "10:00", "2026-02-30T10:00", "2026-12-01 10:00", "2026-12-01T24:00"] {
            assert!(wrong.parse::<LocalTime>().is_err(), "{wrong}");
        }
        assert!(parse_time_of_day("23:59").is_ok());
        for wrong in ["24:00", "9:00", "09:00:00", "nine"] {
            assert!(parse_time_of_day(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_instant_shows_the_asked_time_unless_a_clock_change_skips_it(
            which in 0..chrono_tz::TZ_VARIANTS.len(),
            minutes in 0_i64..(80 * 366 * 24 * 60),
        ) {
            let zone = Zone(chrono_tz::TZ_VARIANTS[which]);
            let asked = local("1960-01-01T00:00") + TimeDelta::minutes(minutes);
            let instant = zone.instant(asked);
            let shown = zone.local(instant);
            if shown != asked {
                prop_assert!(shown > asked, "{shown} is before {asked}");
                prop_assert!(zone.local(instant - TimeDelta::seconds(1)) < asked);
            }
        }
    }
}
