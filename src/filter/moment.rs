//! Times as texts: the same ones that [`super::sql`] finds in open data.

use chrono::{NaiveDate, NaiveTime, TimeDelta};

use crate::clock::Timestamp;

/// `2026-11-01` (its first moment in UTC) or `2026-11-01T10:30:00.5+02:00`, from 1900 to 2999, cut to the microsecond.
pub fn moment(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let date = self::date(date)?;
    if rest.is_empty() {
        return Some(date.and_time(NaiveTime::MIN).and_utc());
    }
    let (time, rest) = rest.strip_prefix('T')?.split_at_checked(8)?;
    let time = self::time(time)?;
    let (fraction, offset) = match rest.strip_suffix('Z') {
        Some(fraction) => (fraction, TimeDelta::zero()),
        None => {
            let (fraction, offset) = rest.split_at_checked(rest.len().checked_sub(6)?)?;
            (fraction, self::offset(offset)?)
        }
    };
    let local = date.and_time(time).and_utc() + TimeDelta::microseconds(micros(fraction)?);
    Some(local - offset)
}

fn date(text: &str) -> Option<NaiveDate> {
    let [year, month, day] = numbers(text, '-', [4, 2, 2])?;
    let year = i32::try_from(year).ok().filter(|year| (1900..3000).contains(year))?;
    NaiveDate::from_ymd_opt(year, month, day)
}

fn time(text: &str) -> Option<NaiveTime> {
    let [hour, minute, second] = numbers(text, ':', [2, 2, 2])?;
    NaiveTime::from_hms_opt(hour, minute, second)
}

/// No place on earth is further than fourteen hours from UTC.
fn offset(text: &str) -> Option<TimeDelta> {
    let (sign, rest) = text.split_at_checked(1)?;
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    match sign {
        _ if hours > 14 || minutes > 59 => None,
        "+" => Some(offset),
        "-" => Some(-offset),
        _ => None,
    }
}

/// Of nothing or of a dot and up to nine digits.
fn micros(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits = fraction.strip_prefix('.').filter(|digits| (1..=9).contains(&digits.len()))?;
    let digits: u32 =
        digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| format!("{digits:0<9}"))?.parse().ok()?;
    Some(i64::from(digits / 1_000))
}

fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part =
            parts.next().filter(|part| part.len() == length && part.bytes().all(|digit| digit.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dates_and_times_that_there_are_count_as_such() {
        for (text, expected) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"),
            ("2026-11-01T10:00:00+02:00", "2026-11-01T08:00:00Z"),
            ("2026-11-01T10:00:00.1234567-05:30", "2026-11-01T15:30:00.123456Z"),
        ] {
            assert_eq!(moment(text), expected.parse().ok(), "{text}");
        }
        for wrong in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-1-01",
            "1899-12-31",
            "3000-01-01",
            "2026-11-01T10:00Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T10:00:60Z",
            "2026-11-01T10:00:00",
            "2026-11-01t10:00:00Z",
            "2026-11-01T10:00:00.Z",
            "2026-11-01T10:00:00.1234567890Z",
            "2026-11-01T10:00:00+15:00",
            "2026-11-01 ",
            "2026-11-01T10:00:00+0200",
            "+026-11-01",
            "2026-11-0１",
        ] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
    }
}
