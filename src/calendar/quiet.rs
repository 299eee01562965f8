use chrono::{Datelike, Days, NaiveTime};
use serde::{Deserialize, Serialize};

use super::{Weekdays, Zone};
use crate::clock::Timestamp;

/// Wall-clock hours in which nothing but transactional mail goes out: half-open, may cross midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// When the quiet begins.
    pub start: NaiveTime,
    /// When it ends; before `start` = on the next day. Never the same as `start`.
    pub end: NaiveTime,
    /// On which days it begins.
    pub days: Weekdays,
}

impl QuietHours {
    /// When the quiet that holds at `now` where the customer lives ends; none when it is not quiet. It may be quiet again at
    /// the end, where one quiet time follows another.
    pub fn end_after(&self, now: Timestamp, zone: Zone) -> Option<Timestamp> {
        let local = zone.local(now);
        let today = local.date();
        let over_midnight = self.end < self.start;
        // The quiet that began yesterday may still last.
        [today.checked_sub_days(Days::new(1)).filter(|_| over_midnight), Some(today)]
            .into_iter()
            .flatten()
            .filter(|date| self.days.allows(date.weekday()))
            .map(|date| {
                let last = if over_midnight { date + Days::new(1) } else { date };
                (date.and_time(self.start), last.and_time(self.end))
            })
            .find(|(start, end)| *start <= local && local < *end)
            .map(|(start, end)| {
                let end = zone.next_instant(end, now);
                // Clocks that are put back to before the start end it too, until they show the start again.
                zone.put_back(now, end).filter(|back| zone.local(*back) < start).unwrap_or(end)
            })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    fn hours(start: &str, end: &str, days: &[&str]) -> QuietHours {
        QuietHours {
            start: super::super::parse_time_of_day(start).unwrap(),
            end: super::super::parse_time_of_day(end).unwrap(),
            days: Weekdays::parse(days).unwrap(),
        }
    }

    fn end(quiet: QuietHours, now: &str, zone: &str) -> Option<String> {
        let now = DateTime::parse_from_rfc3339(now).unwrap().to_utc();
        quiet.end_after(now, zone.parse().unwrap()).map(|end| end.format("%FT%RZ").to_string())
    }

    #[test]
    fn quiet_hours_cross_midnight_and_are_half_open() {
        let night = hours("22:00", "08:00", &[]);
        assert_eq!(end(night, "2026-06-01T19:00:00Z", "Europe/Riga"), Some("2026-06-02T05:00Z".into()));
        assert_eq!(end(night, "2026-06-02T04:59:59Z", "Europe/Riga"), Some("2026-06-02T05:00Z".into()));
        assert_eq!(end(night, "2026-06-02T05:00:00Z", "Europe/Riga"), None);
        assert_eq!(end(night, "2026-06-01T18:59:59Z", "Europe/Riga"), None);
    }

    #[test]
    fn a_named_day_is_the_one_on_which_the_quiet_begins() {
        // 2026-06-05 is a Friday.
        let weekend = hours("22:00", "10:00", &["FRI", "SAT"]);
        assert_eq!(end(weekend, "2026-06-06T09:00:00Z", "UTC"), Some("2026-06-06T10:00Z".into()));
        assert_eq!(end(weekend, "2026-06-07T09:00:00Z", "UTC"), Some("2026-06-07T10:00Z".into()));
        assert_eq!(end(weekend, "2026-06-07T22:30:00Z", "UTC"), None);
        assert_eq!(end(weekend, "2026-06-05T09:00:00Z", "UTC"), None);
    }

    #[test]
    fn an_end_that_a_clock_change_skips_is_the_first_valid_instant_after_it() {
        let quiet = hours("22:00", "03:30", &[]);
        assert_eq!(end(quiet, "2026-03-28T23:00:00Z", "Europe/Riga"), Some("2026-03-29T01:00Z".into()));
    }

    #[test]
    fn the_hour_that_comes_twice_is_quiet_twice() {
        // In Riga 04:00 becomes 03:00 at 01:00 UTC on 25 October 2026.
        let quiet = hours("22:00", "03:30", &[]);
        assert_eq!(end(quiet, "2026-10-25T00:10:00Z", "Europe/Riga"), Some("2026-10-25T00:30Z".into()));
        assert_eq!(end(quiet, "2026-10-25T01:10:00Z", "Europe/Riga"), Some("2026-10-25T01:30Z".into()));
    }

    proptest! {
        #[test]
        fn the_wall_clock_is_never_quiet_at_the_end_of_a_daily_quiet_time(
            which in 0..chrono_tz::TZ_VARIANTS.len(),
            seconds in 0_i64..2_000_000_000,
            start in 0_u32..24,
            length in 1_u32..24,
        ) {
            let zone: Zone = match chrono_tz::TZ_VARIANTS[which].name().parse() {
                Ok(zone) => zone,
                Err(_) => return Ok(()),
            };
            let hour = |hour: u32| NaiveTime::from_hms_opt(hour % 24, 0, 0).unwrap();
            let quiet = QuietHours { start: hour(start), end: hour(start + length), days: Weekdays::default() };
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            if let Some(end) = quiet.end_after(now, zone) {
                prop_assert!(end > now);
                prop_assert!(end - now <= TimeDelta::hours(50));
                prop_assert!(zone.local(now).time() >= quiet.start || zone.local(now).time() < quiet.end);
            } else {
                let time = zone.local(now).time();
                let quiet_now = if quiet.start < quiet.end {
                    quiet.start <= time && time < quiet.end
                } else {
                    time >= quiet.start || time < quiet.end
                };
                prop_assert!(!quiet_now);
            }
        }
    }
}
