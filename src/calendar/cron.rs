use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta};
use croner::parser::{CronParser, Seconds, Year};
use serde::{Deserialize, Serialize};

use super::{YEARS, Zone};
use crate::clock::Timestamp;

/// How long an expression may be, in characters.
const LONGEST: usize = 100;
/// The least between two times: nobody wants the same newsletter more often.
const LEAST_GAP: TimeDelta = TimeDelta::hours(1);
/// How many gaps are looked at: more than there are in two days.
const GAPS: usize = 100;

/// Wall-clock times that come again: the five fields of a crontab.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    pattern: Box<croner::Cron>,
}

impl Cron {
    /// The first of its wall-clock times after one.
    pub fn next(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let next = self.pattern.find_next_occurrence(&after, false).ok();
        next.filter(|next| YEARS.contains(&next.year()))
    }

    /// The first instant after one at which clocks in a place show one of its times. A time that a clock change skips is its first
    /// valid instant, and together with the time that is there anyway; one that comes twice is the first.
    pub fn next_in(&self, zone: Zone, after: Timestamp) -> Option<Timestamp> {
        let mut local = zone.local(after);
        loop {
            local = self.next(local)?;
            let instant = zone.instant(local);
            if instant > after {
                return Some(instant);
            }
        }
    }
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "must be five fields: minute, hour, day of the month, month, day of the week (\"0 9 1 * *\")";
        if text.len() > LONGEST || text.split_whitespace().count() != 5 {
            return Err(allowed.to_owned());
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|wrong| format!("{allowed}: {wrong}"))?;
        let cron = Self { text: text.to_owned(), pattern: Box::new(pattern) };
        // Whatever year it is: there is no year among the fields. From the first midnight on.
        let start: NaiveDateTime = NaiveDate::from_ymd_opt(2_000, 1, 1).unwrap_or_default().into();
        let mut time = cron.next(start - TimeDelta::minutes(1)).ok_or("never comes: there is no such day")?;
        for _ in 0..GAPS {
            let next = cron.next(time).ok_or("never comes again")?;
            if next - time < LEAST_GAP {
                return Err("comes more often than once an hour".to_owned());
            }
            if next > start + TimeDelta::days(366) {
                break;
            }
            time = next;
        }
        Ok(cron)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Two are the same when they are written the same.
impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl TryFrom<String> for Cron {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn utc(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// The next times in a place after an instant.
    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone): (Cron, Zone) = (cron.parse().unwrap(), zone.parse().unwrap());
        let next = |after: &Timestamp| cron.next_in(zone, *after);
        let times = std::iter::successors(next(&utc(after)), next).take(count);
        times.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).collect()
    }

    #[test]
    fn what_is_no_crontab_comes_too_often_or_never_is_refused() {
        for good in
            ["0 9 * * *", "30 8 1 * *", "0 9 L * *", "0 9 * * MON", "0 */2 * * *", "15 9 29 2 *", "0 9 * * MON#1"]
        {
            assert_eq!(good.parse::<Cron>().map(|cron| cron.to_string()), Ok(good.to_owned()), "{good}");
        }
        for wrong in [
            "",
            "@daily",
            "0 9 * *",
            "0 0 9 * * *",
            "0 0 9 * * * 2026",
            "60 9 * * *",
            "0 24 * * *",
            "0 9 30 2 *",
            "0 9 31 4 *",
            "*/30 9 * * *",
            "* * * * *",
            "0,30 0 * * *",
            "0,59 0,23 * * *",
            "10,50 23,0 * * *",
            "0,59 9 * * *",
            "0 9 * * MOON",
            "nine o'clock every single day",
        ] {
            assert!(wrong.parse::<Cron>().is_err(), "{wrong}");
        }
        assert!("0 9 1 1 *".to_owned().repeat(20).parse::<Cron>().is_err());
    }

    #[test]
    fn months_end_when_they_end() {
        let last = times("0 9 L * *", "UTC", "2027-12-31T09:00:00Z", 3);
        assert_eq!(last, ["2028-01-31T09:00:00Z", "2028-02-29T09:00:00Z", "2028-03-31T09:00:00Z"]);
        let some = times("0 9 31 * *", "UTC", "2026-01-31T09:00:00Z", 3);
        assert_eq!(some, ["2026-03-31T09:00:00Z", "2026-05-31T09:00:00Z", "2026-07-31T09:00:00Z"]);
        // A day of the month or a day of the week, as crontabs have it.
        let either = times("0 9 1 * MON", "UTC", "2026-05-30T09:00:00Z", 3);
        assert_eq!(either, ["2026-06-01T09:00:00Z", "2026-06-08T09:00:00Z", "2026-06-15T09:00:00Z"]);
    }

    #[test]
    fn clock_changes_skip_no_time_and_double_none() {
        // Expression, place, after, and what follows: each wall-clock time once; skipped ones at the first valid instant.
        let table: [(&str, &str, &str, &[&str]); 11] = [
            // New York, 8 March 2026: 02:00 becomes 03:00.
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-07T12:00:00Z",
                &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
            ),
            (
                "0 * * * *",
                "America/New_York",
                "2026-03-08T05:30:00Z",
                &["2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"],
            ),
            // 1 November 2026: 02:00 becomes 01:00.
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-31T12:00:00Z",
                &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
            ),
            (
                "0 * * * *",
                "America/New_York",
                "2026-11-01T04:30:00Z",
                &["2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"],
            ),
            // London, 29 March 2026: 01:00 becomes 02:00; 25 October: 02:00 becomes 01:00.
            ("15 1 * * *", "Europe/London", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"]),
            ("15 1 * * *", "Europe/London", "2026-10-24T12:00:00Z", &["2026-10-25T00:15:00Z", "2026-10-26T01:15:00Z"]),
            // Lord Howe changes by half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April, 02:00 becomes 01:30.
            (
                "10 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-02T20:00:00Z",
                &["2026-10-03T15:30:00Z", "2026-10-04T15:10:00Z"],
            ),
            (
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-03T20:00:00Z",
                &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
            ),
            // Troll changes by two hours: 29 March 2026, 01:00 becomes 03:00; 25 October, 03:00 becomes 01:00.
            (
                "30 1 * * *",
                "Antarctica/Troll",
                "2026-03-28T12:00:00Z",
                &["2026-03-29T01:00:00Z", "2026-03-29T23:30:00Z"],
            ),
            (
                "30 2 * * *",
                "Antarctica/Troll",
                "2026-10-24T12:00:00Z",
                &["2026-10-25T00:30:00Z", "2026-10-26T02:30:00Z"],
            ),
            // Samoa had no 30 December 2011.
            (
                "0 9 * * *",
                "Pacific/Apia",
                "2011-12-29T12:00:00Z",
                &["2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"],
            ),
        ];
        for (cron, zone, after, expected) in table {
            assert_eq!(times(cron, zone, after, expected.len()), expected, "{cron} in {zone} after {after}");
        }
    }
}
