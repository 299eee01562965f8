use std::num::NonZeroU32;

use chrono::TimeDelta;

use super::super::{Plan, ReentryMode};
use crate::{
    clock::Timestamp,
    events::{Occurred, Position},
};

/// How long a backfill rests once as many have entered as may in that time.
const REST: TimeDelta = TimeDelta::minutes(1);

/// What a backfill is to do, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The first moment of its stretch.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
    /// How many may enter in a minute.
    pub max_per_minute: NonZeroU32,
    /// The last event that it has come to.
    pub position: Option<Position>,
    /// When it goes on.
    pub due_time: Timestamp,
    /// How many may enter before it rests.
    pub room: u32,
    /// How many events have entered.
    pub entered: i64,
    /// How many have entered and exited at once.
    pub exited: i64,
    /// How many have not entered.
    pub ignored: i64,
    /// How many it had not come to when it was called off.
    pub unreached: i64,
}

/// How far a backfill has come, and how much is left.
#[derive(Debug, Clone)]
pub struct Progress {
    /// It.
    pub backfill: Backfill,
    /// How many events it has not come to.
    pub remaining: i64,
}

impl Backfill {
    /// One that has not begun.
    pub fn new((start, end): (Timestamp, Timestamp), max_per_minute: NonZeroU32, now: Timestamp) -> Self {
        Self {
            start,
            end,
            max_per_minute,
            position: None,
            due_time: now,
            room: max_per_minute.get(),
            entered: 0,
            exited: 0,
            ignored: 0,
            unreached: 0,
        }
    }

    /// The events that it goes through. Of a campaign that restarts only a customer's latest is to enter.
    pub fn events(&self, plan: &Plan) -> Occurred {
        Occurred {
            event_type: plan.event_type().to_owned(),
            start: self.start,
            end: self.end,
            latest_first: plan.reentry.mode == ReentryMode::Restart,
        }
    }

    /// Notes that an event has entered. The rest counts from the last of those that had room together, so that never more enter in
    /// any minute, however slowly they came.
    pub fn let_in(&mut self, now: Timestamp) {
        self.entered += 1;
        self.room = self.room.saturating_sub(1);
        if self.room == 0 {
            self.room = self.max_per_minute.get();
            self.due_time = now + REST;
        }
    }

    /// Whether it rests.
    pub fn rests(&self, now: Timestamp) -> bool {
        self.due_time > now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn in_no_minute_do_more_enter_than_may(most in 1_u32..8, waits in prop::collection::vec(0_i64..40, 1..200)) {
            let mut now = Timestamp::UNIX_EPOCH;
            let most = NonZeroU32::new(most).unwrap();
            let mut of = Backfill::new((now, now), most, now);
            let mut entered = Vec::new();
            for wait in waits {
                now += TimeDelta::seconds(wait);
                if !of.rests(now) {
                    of.let_in(now);
                    entered.push(now);
                }
            }
            for (place, first) in entered.iter().enumerate() {
                let together = entered[place..].iter().filter(|one| **one - *first < REST).count();
                prop_assert!(together <= most.get() as usize);
            }
        }
    }
}
