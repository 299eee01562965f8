use chrono::{Datelike, NaiveTime, SubsecRound, TimeDelta};
use serde::{Deserialize, Serialize};

use super::{LocalTime, Weekdays, Zone};
use crate::clock::Timestamp;

/// How long a step waits. "24 hours" and "the next day at 10:00" are different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// Exact time.
    Elapsed {
        /// How long; less than nothing is before.
        minutes: i64,
    },
    /// Calendar days on the customer's dates, then a wall-clock time.
    Calendar {
        /// How many; fewer than none are days before.
        days: i32,
        /// When on that day; absent = at the anchor's wall-clock time.
        at: Option<NaiveTime>,
        /// The first such day on or after.
        weekdays: Weekdays,
    },
}

/// When something is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The instant.
    pub instant: Timestamp,
    /// The wall-clock time that the instant was worked out from; absent where it was an instant from the start.
    pub local: Option<LocalTime>,
}

impl Planned {
    /// A wall-clock time in a zone.
    pub fn local(local: LocalTime, zone: Zone) -> Self {
        Self { instant: zone.instant(local.0), local: Some(local) }
    }
}

impl Delay {
    /// At once.
    pub const NOTHING: Self = Self::Elapsed { minutes: 0 };

    /// When the wait that began at `anchor` ends for somebody in `zone`.
    pub fn after(&self, anchor: Timestamp, zone: Zone) -> Planned {
        match *self {
            Self::Elapsed { minutes } => Planned { instant: anchor + TimeDelta::minutes(minutes), local: None },
            Self::Calendar { days, at, weekdays } => {
                let began = zone.local(anchor).trunc_subsecs(0);
                let mut date = began.date() + TimeDelta::days(days.into());
                while !weekdays.allows(date.weekday()) {
                    date += TimeDelta::days(1);
                }
                let local = date.and_time(at.unwrap_or(began.time()));
                Planned::local(LocalTime(local), zone)
            }
        }
    }
}

impl Delay {
    /// From when on it would have to count to end now and not before, for somebody who comes too late for its end: exact time is moved
    /// on by exact time, calendar days by whole days, so that a time of day stays that time of day.
    pub fn anchor_for(&self, anchor: Timestamp, now: Timestamp, zone: Zone) -> Timestamp {
        let Self::Calendar { days, .. } = *self else {
            return anchor + (now - self.after(anchor, zone).instant);
        };
        let began = zone.local(anchor);
        let late = zone.local(now).date() - began.date() - TimeDelta::days(days.into());
        // Today, or tomorrow where the time of day is over.
        let moved = |more: i64| zone.instant(began + late + TimeDelta::days(more));
        (0..3).map(moved).find(|moved| self.after(*moved, zone).instant >= now).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn calendar(days: i32, at: Option<&str>, weekdays: &[&str]) -> Delay {
        Delay::Calendar {
            days,
            at: at.map(|at| super::super::parse_time_of_day(at).unwrap()),
            weekdays: Weekdays::parse(weekdays).unwrap(),
        }
    }

    fn due(delay: &Delay, anchor: &str, zone: &str) -> String {
        let anchor = DateTime::parse_from_rfc3339(anchor).unwrap().to_utc();
        delay.after(anchor, zone.parse().unwrap()).instant.to_rfc3339()
    }

    #[test]
    fn elapsed_time_is_exact_and_calendar_days_follow_the_wall_clock() {
        // The clocks in Riga go forward on 29 March 2026.
        let anchor = "2026-03-28T10:00:00Z";
        assert_eq!(due(&Delay::Elapsed { minutes: 24 * 60 }, anchor, "Europe/Riga"), "2026-03-29T10:00:00+00:00");
        assert_eq!(due(&calendar(1, None, &[]), anchor, "Europe/Riga"), "2026-03-29T09:00:00+00:00");
        assert_eq!(due(&calendar(1, Some("10:00"), &[]), anchor, "Europe/Riga"), "2026-03-29T07:00:00+00:00");
    }

    #[test]
    fn days_are_counted_on_the_dates_where_the_customer_lives() {
        // 23:30 UTC on the 1st is the 2nd in Auckland and still the 1st in Honolulu.
        let anchor = "2026-06-01T23:30:00Z";
        assert_eq!(due(&calendar(7, Some("10:00"), &[]), anchor, "Pacific/Auckland"), "2026-06-08T22:00:00+00:00");
        assert_eq!(due(&calendar(7, Some("10:00"), &[]), anchor, "Pacific/Honolulu"), "2026-06-08T20:00:00+00:00");
    }

    #[test]
    fn days_and_hours_are_counted_back_as_well() {
        let anchor = "2026-06-08T08:00:00Z";
        assert_eq!(due(&calendar(-7, Some("09:00"), &[]), anchor, "Europe/Riga"), "2026-06-01T06:00:00+00:00");
        assert_eq!(due(&Delay::Elapsed { minutes: -120 }, anchor, "Europe/Riga"), "2026-06-08T06:00:00+00:00");
    }

    #[test]
    fn a_named_weekday_is_the_first_on_or_after() {
        // 2026-06-01 is a Monday.
        let anchor = "2026-06-01T08:00:00Z";
        assert_eq!(due(&calendar(0, Some("10:00"), &["MON"]), anchor, "UTC"), "2026-06-01T10:00:00+00:00");
        assert_eq!(due(&calendar(1, Some("10:00"), &["MON", "THU"]), anchor, "UTC"), "2026-06-04T10:00:00+00:00");
    }

    #[test]
    fn who_comes_too_late_for_a_time_of_day_comes_for_the_next_one() {
        let moved = |delay: &Delay, anchor: &str, now: &str| {
            let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
            let zone = "Europe/Riga".parse().unwrap();
            let anchor = delay.anchor_for(at(anchor), at(now), zone);
            (anchor.to_rfc3339(), delay.after(anchor, zone).instant.to_rfc3339())
        };
        let expected = |anchor: &str, due: &str| (anchor.to_owned(), due.to_owned());
        assert_eq!(
            moved(&Delay::Elapsed { minutes: 24 * 60 }, "2026-06-01T08:00:00Z", "2026-06-10T12:34:00Z"),
            expected("2026-06-09T12:34:00+00:00", "2026-06-10T12:34:00+00:00")
        );
        // 10:00 in Riga is 07:00 UTC in summer; 2026-06-10 is a Wednesday.
        assert_eq!(
            moved(&calendar(2, Some("10:00"), &[]), "2026-06-01T08:00:00Z", "2026-06-10T06:00:00Z"),
            expected("2026-06-08T08:00:00+00:00", "2026-06-10T07:00:00+00:00")
        );
        assert_eq!(
            moved(&calendar(2, Some("10:00"), &[]), "2026-06-01T08:00:00Z", "2026-06-10T12:34:00Z"),
            expected("2026-06-09T08:00:00+00:00", "2026-06-11T07:00:00+00:00")
        );
        assert_eq!(
            moved(&calendar(2, Some("10:00"), &["FRI"]), "2026-06-01T08:00:00Z", "2026-06-10T12:34:00Z").1,
            "2026-06-12T07:00:00+00:00"
        );
    }

    proptest! {
        #[test]
        fn who_comes_too_late_waits_as_little_as_the_delay_allows(
            which in 0..chrono_tz::TZ_VARIANTS.len(),
            seconds in 0_i64..2_000_000_000,
            late in 0_i64..40_000_000,
            days in -40_i32..40,
            hour in prop::option::of(0_u32..24),
        ) {
            let Ok(zone) = chrono_tz::TZ_VARIANTS[which].name().parse::<Zone>() else { return Ok(()) };
            let anchor = DateTime::from_timestamp(seconds, 0).unwrap();
            let at = hour.and_then(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
            let delay = Delay::Calendar { days, at, weekdays: Weekdays::default() };
            let now = delay.after(anchor, zone).instant + TimeDelta::seconds(late);
            let due = delay.after(delay.anchor_for(anchor, now, zone), zone).instant;
            prop_assert!(due >= now);
            prop_assert!(due - now <= TimeDelta::hours(50), "{}", due - now);
        }

        #[test]
        fn a_calendar_delay_ends_at_its_wall_clock_time_unless_that_is_skipped(
            which in 0..chrono_tz::TZ_VARIANTS.len(),
            seconds in 0_i64..2_000_000_000,
            days in -400_i32..400,
            hour in 0_u32..24,
        ) {
            let zone: Zone = match chrono_tz::TZ_VARIANTS[which].name().parse() {
                Ok(zone) => zone,
                Err(_) => return Ok(()),
            };
            let anchor = DateTime::from_timestamp(seconds, 0).unwrap();
            let at = NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
            let planned = Delay::Calendar { days, at: Some(at), weekdays: Weekdays::default() }.after(anchor, zone);
            let asked = planned.local.unwrap().0;
            prop_assert_eq!(asked.date(), zone.local(anchor).date() + TimeDelta::days(days.into()));
            prop_assert_eq!(asked.time(), at);
            prop_assert!(zone.local(planned.instant) >= asked);
        }
    }
}
