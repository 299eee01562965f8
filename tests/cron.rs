//! The calendar answers when expressions come that somebody else made up: `.ci/cron.py` draws them and compares with another
//! library.

#![allow(clippy::unwrap_used, reason = "a case that makes no sense ends it")]

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
};

use chrono::NaiveDateTime;
use rapport::calendar::{Cron, Zone};

#[test]
#[ignore = "answers the cases of .ci/cron.py, which .ci/run runs"]
fn the_calendar_answers_each_case() {
    let place = |name: &str| std::env::var(name).unwrap();
    let cases = BufReader::new(File::open(place("RAPPORT_CASES")).unwrap());
    let mut answers = BufWriter::new(File::create(place("RAPPORT_ANSWERS")).unwrap());
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let (cron, zone): (Cron, Zone) = (text("cron").parse().unwrap(), text("zone").parse().unwrap());
        let instant = |name| zone.instant(NaiveDateTime::parse_from_str(text(name), "%Y-%m-%d %H:%M:%S").unwrap());
        let (from, until) = (instant("from") - chrono::TimeDelta::minutes(1), instant("until"));
        let times = std::iter::successors(cron.next_in(zone, from), |time| cron.next_in(zone, *time));
        for time in times.take_while(|time| *time < until) {
            write!(answers, "{} ", time.timestamp() / 60).unwrap();
        }
        writeln!(answers).unwrap();
    }
    answers.flush().unwrap();
}
