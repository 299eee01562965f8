use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::DateTrigger;
use crate::{
    calendar::{Cron, LocalTime, Zone},
    clock::Timestamp,
    database::text_enum,
};

/// What starts a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Something that happened.
    Event {
        /// "noun.verb".
        event_type: String,
        /// A filter over events that must match; empty = every event counts.
        #[serde(default)]
        event_filter: String,
    },
    /// A date in an attribute of the customer.
    Date(DateTrigger),
    /// That a customer begins to match the audience.
    Audience,
    /// A newsletter that goes out once.
    OneOff(OneOff),
    /// A newsletter that comes again.
    Recurring(Recurring),
}

/// When a newsletter goes out that goes out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OneOff {
    /// At an instant.
    At(Timestamp),
    /// At a wall-clock time where each customer lives.
    Local(LocalTime),
}

/// When a newsletter goes out that comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// Its wall-clock times.
    pub cron: Cron,
    /// Where they are those; none = where each customer lives.
    pub zone: Option<Zone>,
    /// What becomes of a firing while an earlier one is under way.
    pub overlap: Overlap,
    /// What becomes of firings that were missed.
    pub catch_up: CatchUp,
    /// For how many minutes a missed firing is worth catching up with.
    pub catch_up_window_minutes: u32,
}

text_enum! {
    /// What becomes of a firing while an earlier one is under way.
    Overlap {
        /// It is left out.
        Skip = "skip",
        /// It waits.
        Queue = "queue",
    }
}

text_enum! {
    /// What becomes of firings that were missed.
    CatchUp {
        /// They are left out.
        Skip = "skip",
        /// The latest is caught up with, as long as that is worth it.
        Latest = "latest",
    }
}

/// One time at which a newsletter goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firing {
    /// When it begins: at its instant, or where its wall-clock time comes first.
    pub start: Timestamp,
    /// The wall-clock time at which it reaches each customer where they live.
    pub local: Option<LocalTime>,
}

/// From when to when a campaign acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ActiveRange {
    /// The first instant inside; none = since it was activated.
    pub start: Option<Timestamp>,
    /// The first instant after; none = without end.
    pub end: Option<Timestamp>,
}

impl Trigger {
    /// Whether it goes out to many at its own times.
    pub fn is_newsletter(&self) -> bool {
        matches!(self, Self::OneOff(_) | Self::Recurring(_))
    }

    /// Whether what starts it is found by looking at customers.
    pub fn is_looked_for(&self) -> bool {
        matches!(self, Self::Date(_) | Self::Audience)
    }

    /// The first of its times that begins after an instant.
    pub fn next_firing(&self, after: Timestamp) -> Option<Firing> {
        match self {
            Self::Event { .. } | Self::Date(_) | Self::Audience => None,
            Self::OneOff(once) => Some(once.firing()).filter(|firing| firing.start > after),
            Self::Recurring(Recurring { cron, zone: Some(zone), .. }) => {
                Some(Firing { start: cron.next_in(*zone, after)?, local: None })
            }
            Self::Recurring(Recurring { cron, zone: None, .. }) => {
                Some(Firing::at_local(LocalTime(cron.next(LocalTime::shown_first(after).0)?)))
            }
        }
    }

    /// The firing that begins at an instant, as [`Self::next_firing`] said.
    pub fn firing_at(&self, start: Timestamp) -> Option<Firing> {
        self.next_firing(start - TimeDelta::microseconds(1)).filter(|firing| firing.start == start)
    }
}

impl OneOff {
    /// The only time at which it goes out.
    pub fn firing(self) -> Firing {
        match self {
            Self::At(start) => Firing { start, local: None },
            Self::Local(local) => Firing::at_local(local),
        }
    }
}

impl Firing {
    fn at_local(local: LocalTime) -> Self {
        Self { start: local.first_anywhere(), local: Some(local) }
    }

    /// What makes it the only one of its campaign.
    pub fn key(&self) -> String {
        match self.local {
            Some(local) => local.to_string(),
            None => self.start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        }
    }

    /// When it reaches customers in a zone.
    pub fn instant(&self, zone: Zone) -> Timestamp {
        self.local.map_or(self.start, |local| zone.instant(local.0))
    }

    /// When it has begun everywhere.
    pub fn last(&self) -> Timestamp {
        self.local.map_or(self.start, LocalTime::last_anywhere)
    }
}

impl ActiveRange {
    /// Whether an instant lies inside.
    pub fn holds(&self, instant: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= instant) && !self.is_over(instant)
    }

    /// Whether it is over at an instant.
    pub fn is_over(&self, instant: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= instant)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn utc(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn recurring(cron: &str, zone: Option<&str>) -> Trigger {
        Trigger::Recurring(Recurring {
            cron: cron.parse().unwrap(),
            zone: zone.map(|zone| zone.parse().unwrap()),
            overlap: Overlap::Skip,
            catch_up: CatchUp::Latest,
            catch_up_window_minutes: 60,
        })
    }

    #[test]
    fn a_firing_is_found_again_by_its_moment() {
        let triggers = [
            recurring("0 9 * * *", Some("Europe/Riga")),
            recurring("0 9 * * *", None),
            Trigger::OneOff(OneOff::At(utc("2026-12-01T09:00:00Z"))),
            Trigger::OneOff(OneOff::Local("2026-12-01T09:00".parse().unwrap())),
        ];
        for trigger in triggers {
            let first = trigger.next_firing(utc("2026-10-20T08:30:00Z")).unwrap();
            assert_eq!(trigger.firing_at(first.start), Some(first), "{trigger:?}");
            let second = trigger.next_firing(first.start);
            assert!(second.is_none_or(|second| second.start > first.start && second.key() != first.key()));
        }
    }

    #[test]
    fn a_wall_clock_time_begins_where_it_comes_first() {
        let daily = recurring("0 9 * * *", None);
        let firing = daily.next_firing(utc("2026-10-20T08:30:00Z")).unwrap();
        assert_eq!((firing.start, firing.key().as_str()), (utc("2026-10-20T19:00:00Z"), "2026-10-21T09:00"));
        let there = |zone: &str| firing.instant(zone.parse().unwrap());
        assert_eq!(there("Pacific/Kiritimati"), firing.start);
        assert_eq!(there("Europe/Riga"), utc("2026-10-21T06:00:00Z"));
        assert!(there("Pacific/Pago_Pago") < firing.last());
    }
}
