use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};

use super::{Anchor, Plan, audience_fields};
use crate::{
    calendar::{Delay, LocalTime, Weekdays, YEARS, Zone},
    clock::Timestamp,
    database::text_enum,
    filter::{Filter, FilterError, Problem},
};

/// How many days a date may not come again in once it has come: a year, whatever is done to the attribute meanwhile.
const YEAR: TimeDelta = TimeDelta::days(365);

/// A date in an attribute of a customer, or the date of a time there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DateTrigger {
    /// Which.
    pub attribute: String,
    /// Whether it comes again.
    pub recurrence: Recurrence,
    /// When 29 February comes in other years.
    pub leap_day: LeapDay,
}

text_enum! {
    /// Whether a date comes again.
    Recurrence {
        /// It does not.
        Once = "once",
        /// Every year after it.
        Yearly = "yearly",
    }
}

text_enum! {
    /// When 29 February comes in years that have none.
    LeapDay {
        /// A day earlier.
        February28 = "february_28",
        /// A day later.
        March1 = "march_1",
    }
}

/// A date that has come, for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Which.
    pub date: NaiveDate,
    /// Its first moment where they live.
    pub start: Timestamp,
    /// When the first step is due.
    pub due: Timestamp,
}

impl DateTrigger {
    /// When the date comes in a span of days, both ends included.
    fn dates(&self, of: NaiveDate, from: NaiveDate, to: NaiveDate) -> Vec<NaiveDate> {
        if self.recurrence == Recurrence::Once {
            return Some(of).filter(|date| (from..=to).contains(date)).into_iter().collect();
        }
        let in_year = |year: i32| {
            let leap = match self.leap_day {
                LeapDay::February28 => NaiveDate::from_ymd_opt(year, 2, 28),
                LeapDay::March1 => NaiveDate::from_ymd_opt(year, 3, 1),
            };
            of.with_year(year).or(leap)
        };
        (from.year()..=to.year()).filter_map(in_year).filter(|date| *date > of && (from..=to).contains(date)).collect()
    }

    /// The first arrival whose first step is due after one moment and not after another, for a customer with this attribute.
    pub fn arrival(
        &self,
        value: &str,
        delay: &Delay,
        zone: Zone,
        after: Timestamp,
        until: Timestamp,
    ) -> Option<Arrival> {
        let of = date(value, zone)?;
        // The delay leads from the date to the moment: the date is as far before that, and weekdays may add a week.
        let ahead = match delay {
            Delay::Elapsed { minutes } => TimeDelta::minutes(*minutes),
            Delay::Calendar { days, .. } => TimeDelta::days((*days).into()),
        };
        let from = zone.local(after - ahead).date() - TimeDelta::days(8);
        let to = zone.local(until - ahead).date() + TimeDelta::days(1);
        let arrival = |date: NaiveDate| {
            let start = zone.instant(date.and_time(NaiveTime::MIN));
            Arrival { date, start, due: delay.after(start, zone).instant }
        };
        let arrivals = self.dates(of, from, to).into_iter().map(arrival);
        arrivals.into_iter().find(|arrival| arrival.due > after && arrival.due <= until)
    }

    /// Whether the first step is still to be due, at some time, for a customer with this attribute.
    pub fn lies_ahead(&self, value: &str, delay: &Delay, zone: Zone, now: Timestamp) -> bool {
        let Some(of) = date(value, zone) else { return false };
        let start = zone.instant(of.and_time(NaiveTime::MIN));
        self.recurrence == Recurrence::Yearly || delay.after(start, zone).instant > now
    }

    /// Whoever has a date that may have come between two moments, wherever they live, and some others.
    pub fn candidates(&self, delay: &Delay, after: Timestamp, until: Timestamp) -> Result<Filter, FilterError> {
        let field = format!("attributes.{}", self.attribute);
        let endings = self.endings(delay, after, until);
        let any = |patterns: Vec<String>| {
            patterns.iter().map(|pattern| format!("{field} = \"{pattern}\"")).collect::<Vec<_>>().join(" OR ")
        };
        let dates = any(endings.iter().map(|ending| format!("*-{ending}")).collect());
        let times = any(around(&endings).iter().map(|ending| format!("*-{ending}T*")).collect());
        // Where there are no times, one question is enough to know it.
        let text = format!("{dates} OR ({field} = \"*T*\" AND ({times}))");
        match Filter::parse(&text, audience_fields()) {
            Err(wrong) if wrong.problem == Problem::TooLarge => Filter::parse(&format!("{field}:*"), audience_fields()),
            read => read,
        }
    }

    /// How the dates are written, without their years, that may have come between two moments anywhere.
    fn endings(&self, delay: &Delay, after: Timestamp, until: Timestamp) -> Vec<String> {
        // Weekdays put a step off by up to six days; zones and clock changes by less than two.
        let (ahead, off) = match delay {
            Delay::Elapsed { minutes } => (TimeDelta::minutes(*minutes), 2),
            Delay::Calendar { days, weekdays, .. } => {
                (TimeDelta::days((*days).into()), if *weekdays == Weekdays::default() { 2 } else { 9 })
            }
        };
        let mut date = (after - ahead).date_naive() - TimeDelta::days(off);
        let last = (until - ahead).date_naive() + TimeDelta::days(2);
        let mut endings = vec!["02-29".to_owned()];
        while date <= last && endings.len() <= 366 {
            endings.push(date.format("%m-%d").to_string());
            date += TimeDelta::days(1);
        }
        endings.sort_unstable();
        endings.dedup();
        endings
    }
}

/// The date that an attribute holds, or that of its time: where the customer lives, or as it is written where it names no zone.
fn date(value: &str, zone: Zone) -> Option<NaiveDate> {
    let (written, rest) = value.split_at_checked(10)?;
    if rest.is_empty() {
        return written.parse().ok();
    }
    if let Ok(local) = value.parse::<LocalTime>() {
        return Some(local.0.date());
    }
    let instant = DateTime::parse_from_rfc3339(value).ok().filter(|_| rest.starts_with('T'))?.to_utc();
    YEARS.contains(&instant.year()).then(|| zone.local(instant).date())
}

/// How times may be written, without their years, whose dates end so where somebody lives.
fn around(endings: &[String]) -> Vec<String> {
    // What is written and where the customer lives are less than two days apart, and 29 February may lie between.
    let near = |ending: &String| {
        let date: NaiveDate = format!("2000-{ending}").parse().ok()?;
        Some((-3..=3).map(move |days| (date + TimeDelta::days(days)).format("%m-%d").to_string()))
    };
    let mut around: Vec<String> = endings.iter().filter_map(near).flatten().collect();
    around.sort_unstable();
    around.dedup();
    around
}

impl Plan {
    /// How long the first step of a campaign waits that a date starts.
    pub fn first_delay(&self) -> Delay {
        let at_once = Delay::Elapsed { minutes: 0 };
        let first = self.steps.first().filter(|step| step.anchor == Anchor::Trigger);
        first.map_or(at_once, |step| step.delay.clone())
    }
}

/// Whether two dates, as subjects name them, are less than a year apart.
pub fn is_within_a_year(one: &str, other: &str) -> bool {
    let dates = one.parse::<NaiveDate>().ok().zip(other.parse::<NaiveDate>().ok());
    dates.is_some_and(|(one, other)| (one - other).abs() < YEAR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{customers::Customer, filter::Facts};

    fn trigger(recurrence: Recurrence, leap_day: LeapDay) -> DateTrigger {
        DateTrigger { attribute: "birthday".into(), recurrence, leap_day }
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn utc(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn calendar(days: i32, at: &str) -> Delay {
        let at = Some(crate::calendar::parse_time_of_day(at).unwrap());
        Delay::Calendar { days, at, weekdays: crate::calendar::Weekdays::default() }
    }

    #[test]
    fn a_leap_day_comes_every_year_on_the_day_that_was_chosen() {
        for (leap_day, year, expected) in [
            (LeapDay::February28, "2027", "2027-02-28"),
            (LeapDay::March1, "2027", "2027-03-01"),
            (LeapDay::February28, "2028", "2028-02-29"),
            (LeapDay::March1, "2028", "2028-02-29"),
        ] {
            let (from, to) = (date(&format!("{year}-01-01")), date(&format!("{year}-12-31")));
            let dates = trigger(Recurrence::Yearly, leap_day).dates(date("2000-02-29"), from, to);
            assert_eq!(dates, [date(expected)], "{leap_day:?} {year}");
        }
    }

    #[test]
    fn a_date_that_comes_once_comes_on_itself_and_a_yearly_one_from_the_year_after_on() {
        let (from, to) = (date("2026-01-01"), date("2028-12-31"));
        let dates = |recurrence| trigger(recurrence, LeapDay::March1).dates(date("2026-05-04"), from, to);
        assert_eq!(dates(Recurrence::Once), [date("2026-05-04")]);
        assert_eq!(dates(Recurrence::Yearly), [date("2027-05-04"), date("2028-05-04")]);
    }

    #[test]
    fn a_step_before_the_date_at_a_time_of_day_is_due_then_where_the_customer_lives() {
        let yearly = trigger(Recurrence::Yearly, LeapDay::March1);
        let zone: Zone = "Pacific/Auckland".parse().unwrap();
        let due = |delay: &Delay| {
            let arrival =
                yearly.arrival("1990-03-08", delay, zone, utc("2027-02-01T00:00:00Z"), utc("2027-04-01T00:00:00Z"));
            arrival.map(|arrival| (arrival.date.to_string(), arrival.due.to_rfc3339()))
        };
        let expected = |due: &str| Some(("2027-03-08".to_owned(), due.to_owned()));
        assert_eq!(due(&calendar(-7, "09:00")), expected("2027-02-28T20:00:00+00:00"));
        assert_eq!(due(&calendar(0, "09:00")), expected("2027-03-07T20:00:00+00:00"));
        assert_eq!(
            yearly.arrival(
                "soon",
                &calendar(0, "09:00"),
                zone,
                utc("2027-02-01T00:00:00Z"),
                utc("2027-04-01T00:00:00Z")
            ),
            None
        );
    }

    #[test]
    fn a_time_stands_for_its_date_where_the_customer_lives() {
        for (value, zone, expected) in [
            ("2025-03-01", "Pacific/Auckland", Some("2025-03-01")),
            ("2025-03-01T23:30:00Z", "Europe/Riga", Some("2025-03-02")),
            ("2025-03-01T23:30:00Z", "America/New_York", Some("2025-03-01")),
            ("2025-03-01T01:00:00.25+05:30", "UTC", Some("2025-02-28")),
            ("2025-03-01T23:30", "Pacific/Auckland", Some("2025-03-01")),
            ("2025-03-01 23:30:00Z", "UTC", None),
            ("2025-03-01T25:30:00Z", "UTC", None),
            ("2025-02-29", "UTC", None),
            ("soon", "UTC", None),
            ("übermorgen", "UTC", None),
        ] {
            let date = super::date(value, zone.parse().unwrap()).map(|date| date.to_string());
            assert_eq!(date.as_deref(), expected, "{value} {zone}");
        }
    }

    proptest! {
        #[test]
        fn looking_in_pieces_finds_every_date_once_however_the_pieces_are_cut(
            born in 0_i64..20_000,
            start in 0_i64..12_000,
            pieces in prop::collection::vec(1_i64..40_000, 1..60),
            days in -400_i32..400,
            which in 0..chrono_tz::TZ_VARIANTS.len(),
            time in prop::option::of((0_u32..86_400, -1_439_i32..1_440)),
        ) {
            let Ok(zone) = chrono_tz::TZ_VARIANTS[which].name().parse::<Zone>() else { return Ok(()) };
            let born = NaiveDate::default() + TimeDelta::days(born);
            let born = match time {
                None => born.to_string(),
                Some((second, offset)) => {
                    let (time, sign) = (TimeDelta::seconds(second.into()), if offset < 0 { '-' } else { '+' });
                    let written = (born.and_time(NaiveTime::MIN) + time).format("%Y-%m-%dT%H:%M:%S");
                    format!("{written}{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
                }
            };
            let mut customer = Customer::bare(Timestamp::UNIX_EPOCH);
            customer.attributes.insert("birthday".to_owned(), born.clone().into());
            let yearly = trigger(Recurrence::Yearly, LeapDay::February28);
            let delay = calendar(days, "09:00");
            let mut after = Timestamp::UNIX_EPOCH + TimeDelta::days(start);
            let first = after;
            let mut found = Vec::new();
            for minutes in pieces {
                let until = after + TimeDelta::minutes(minutes);
                let arrival = yearly.arrival(&born, &delay, zone, after, until);
                if let Some(arrival) = arrival {
                    let candidates = yearly.candidates(&delay, after, until).unwrap();
                    let is_one = candidates.matches(&customer, &Facts::default(), after);
                    prop_assert!(is_one, "{arrival:?} {}", candidates.text());
                    found.push(arrival);
                }
                after = until;
            }
            // All of them, worked out year by year.
            let of = super::date(&born, zone).unwrap();
            let (low, high) = (first.date_naive() - TimeDelta::days(500), after.date_naive() + TimeDelta::days(500));
            let due = |date: &NaiveDate| delay.after(zone.instant(date.and_time(NaiveTime::MIN)), zone).instant;
            let all = yearly.dates(of, low, high).into_iter().filter(|date| due(date) > first && due(date) <= after);
            prop_assert_eq!(found.iter().map(|arrival| arrival.date).collect::<Vec<_>>(), all.collect::<Vec<_>>());
        }

        #[test]
        fn two_dates_of_a_customer_are_a_year_apart_and_a_changed_one_is_not(born in 0_i64..20_000, shift in 1_i64..364) {
            let of = NaiveDate::default() + TimeDelta::days(born);
            let yearly = trigger(Recurrence::Yearly, LeapDay::February28);
            let dates = yearly.dates(of, of, of + TimeDelta::days(5_000));
            for pair in dates.windows(2) {
                prop_assert!(!is_within_a_year(&pair[1].to_string(), &pair[0].to_string()));
            }
            prop_assert!(is_within_a_year(&(of + TimeDelta::days(shift)).to_string(), &of.to_string()));
        }
    }
}
