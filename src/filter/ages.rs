use chrono::TimeDelta;

use super::check::Order;
use crate::clock::Timestamp;

/// The times that were so many whole days ago: those after one moment and up to another, or all but those.
#[derive(Debug, Clone, Copy)]
pub struct Ages {
    pub after: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub inside: bool,
}

impl Ages {
    /// Those whose age in days compares so with a number.
    pub fn new(order: Order, days: i64, now: Timestamp) -> Self {
        // Something is n days old from n days after it until a day later.
        let youngest = now - TimeDelta::days(days);
        let oldest = now - TimeDelta::days(days + 1);
        let (after, until) = match order {
            Order::Equal | Order::NotEqual => (Some(oldest), Some(youngest)),
            Order::Less => (Some(youngest), None),
            Order::LessOrEqual => (Some(oldest), None),
            Order::Greater => (None, Some(oldest)),
            Order::GreaterOrEqual => (None, Some(youngest)),
        };
        Self { after, until, inside: order != Order::NotEqual }
    }

    pub fn holds(self, time: Timestamp) -> bool {
        let is_inside = self.after.is_none_or(|after| time > after) && self.until.is_none_or(|until| time <= until);
        is_inside == self.inside
    }
}
