//! The only place that reads the system's clock.
//!
//! Business time (when something is due, when it happened) comes from the [`Clock`] that the service was built with: the real
//! one, or a simulated one that only moves when its hand is moved. Leases use [`real_now`], never a simulated clock.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use tokio::sync::watch;

/// An instant, UTC, to the microsecond.
pub type Timestamp = DateTime<Utc>;

/// Tells business time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    Simulated(watch::Receiver<Timestamp>),
}

/// Moves a simulated clock; when it is dropped, the clock stands still for ever.
#[derive(Debug)]
pub struct ClockHand(watch::Sender<Timestamp>);

impl Clock {
    /// The computer's clock.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// A clock that shows `start` until its hand is moved.
    pub fn simulated(start: Timestamp) -> (Self, ClockHand) {
        let (hand, face) = watch::channel(start);
        (Self(Arc::new(Source::Simulated(face))), ClockHand(hand))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Source::System => real_now(),
            Source::Simulated(face) => *face.borrow(),
        }
    }

    /// Waits until this clock shows `moment` or later.
    pub async fn sleep_until(&self, moment: Timestamp) {
        match &*self.0 {
            Source::System => {
                // Sleeps in short stretches, because the computer's clock can be set while we sleep.
                while let Ok(rest) = (moment - real_now()).to_std() {
                    tokio::time::sleep(rest.min(std::time::Duration::from_secs(10))).await;
                    if real_now() >= moment {
                        return;
                    }
                }
            }
            Source::Simulated(face) => {
                if face.clone().wait_for(|now| *now >= moment).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl ClockHand {
    /// Moves the clock forward to `moment`; a moment that is over changes nothing.
    pub fn advance_to(&self, moment: Timestamp) {
        self.0.send_if_modified(|now| {
            let ahead = moment > *now;
            if ahead {
                *now = moment.trunc_subsecs(6);
            }
            ahead
        });
    }
}

/// The computer's time, whatever clock the service was built with: for leases and the age of secrets.
#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
pub fn real_now() -> Timestamp {
    Utc::now().trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_moves_only_forward_and_wakes_who_waits() {
        let start = DateTime::from_timestamp(852_076_800, 0).unwrap_or_default();
        let (clock, hand) = Clock::simulated(start);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep_until(start + TimeDelta::days(7)).await;
                clock.now()
            }
        });
        hand.advance_to(start + TimeDelta::days(6));
        hand.advance_to(start);
        assert_eq!(clock.now(), start + TimeDelta::days(6));
        hand.advance_to(start + TimeDelta::days(8));
        assert_eq!(sleeper.await.ok(), Some(start + TimeDelta::days(8)));
    }
}
