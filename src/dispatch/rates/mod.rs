//! Rates that hold over all processes: each takes the next few moments at which something may go, and nobody else has them.

mod entity;
mod store;

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use crate::database::{self, Database, StoreError};

/// How far ahead moments are taken: what a process that dies has taken in vain, and what more urgent contacts wait for.
const AHEAD: Duration = Duration::from_millis(250);

/// So many in so long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rate {
    /// What it limits: "transport", "campaign/check-in".
    pub name: String,
    /// How many.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

/// Moments at which something may go, evenly spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    first: Instant,
    every: Duration,
    /// How many there are.
    pub count: usize,
}

/// What there is to be had of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// These moments, and nobody else has them.
    Moments(Moments),
    /// Nothing before this long.
    NothingFor(Duration),
}

impl Moments {
    /// Those that are left when the first `count` are used.
    pub fn after(self, count: usize) -> Self {
        Self { first: self.at(count), count: self.count.saturating_sub(count), ..self }
    }

    /// Those that are not over yet.
    pub fn still(self, now: Instant) -> Self {
        let over = now.saturating_duration_since(self.first).as_micros() / self.every.as_micros().max(1);
        self.after(usize::try_from(over).unwrap_or(usize::MAX).min(self.count))
    }

    /// One after the other, from 0.
    pub fn at(&self, place: usize) -> Instant {
        self.first + self.every * u32::try_from(place).unwrap_or(u32::MAX)
    }
}

impl Rate {
    /// Takes up to `most` moments, those of the next quarter of a second at most, and at least one.
    pub async fn take(&self, db: &Database, most: usize) -> Result<Taken, StoreError> {
        let every = self.per / self.count.get();
        let at_once = AHEAD.as_micros() / every.as_micros().max(1);
        let count = usize::try_from(at_once).unwrap_or(most).clamp(1, most.max(1));
        let tx = db.begin_write().await?;
        let taken = store::take(&tx, &self.name, every, count, AHEAD).await?;
        database::commit(tx).await?;
        Ok(match taken {
            Ok(wait) => Taken::Moments(Moments { first: Instant::now() + wait, every, count }),
            Err(wait) => Taken::NothingFor(wait),
        })
    }
}
