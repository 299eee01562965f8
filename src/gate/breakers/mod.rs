//! Breakers: a sender about whom too many complain, or too many of whose addresses do not exist, sends no marketing until that is
//! over. Mailbox providers would soon take none of its mail.

mod entity;
mod rate;
mod store;

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::pauses::{self, NewPause, Pause};
use crate::{
    clock::{Clock, Timestamp},
    contacts::{self, Purpose},
    database::{self, Database, StoreError},
    ids::PauseId,
    senders::{Sender, Senders},
    workers::{Done, Job},
};

/// How far back what was sent counts.
const WINDOW: TimeDelta = TimeDelta::days(7);
/// After so long it is looked at again.
const PAUSED_FOR: TimeDelta = TimeDelta::hours(24);
/// What a breaker holds; the rest is expected by whoever gets it.
const HELD: [Purpose; 2] = [Purpose::Marketing, Purpose::Survey];

/// What is known of a sender that is watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// The pause that it is under, and when that ends by itself.
    pause: Option<(PauseId, Timestamp)>,
    /// What was sent before does not count: an operator has looked at it.
    watch_from: Option<Timestamp>,
}

/// Watches what comes back for the marketing of each sender.
#[derive(Debug)]
pub struct WatchSenders {
    db: Database,
    clock: Clock,
    senders: Senders,
}

impl WatchSenders {
    /// Watches these.
    pub fn new(db: Database, clock: Clock, senders: Senders) -> Self {
        Self { db, clock, senders }
    }

    /// Pauses a sender's marketing if it must be; answers the pause that holds it.
    async fn watch(&self, sender: &Sender, purposes: Vec<Purpose>) -> Result<Option<Pause>, StoreError> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let mut watched = store::lock(&tx, &sender.sender_id).await?;
        if let Some((pause_id, end)) = watched.pause {
            if let Some(pause) = pauses::active(&tx, now).await?.into_iter().find(|pause| pause.pause_id == pause_id) {
                return Ok(Some(pause));
            }
            // One that is gone before its end was ended by an operator.
            watched.watch_from = if now < end { Some(now) } else { watched.watch_from };
            watched.pause = None;
        }
        let from = watched.watch_from.max(Some(now - WINDOW)).unwrap_or(now);
        let returned = contacts::returned_since(&tx, &purposes, from).await?;
        let mut pause = None;
        if let Some(most) = rate::most_accepted(returned) {
            let accepted = contacts::accepted_since(&tx, &purposes, from, most + 1).await?;
            if let Some(wrong) = rate::judge(returned, accepted) {
                let new = NewPause {
                    channel: None,
                    reason: format!("marketing of {}: {wrong}", sender.sender_id),
                    actor: "rapport".to_owned(),
                    expire_time: Some(now + PAUSED_FOR),
                    sender_id: Some(sender.sender_id.clone()),
                    purposes,
                };
                let begun = pauses::begin_in(&tx, new, now).await?;
                watched.pause = Some((begun.pause_id, now + PAUSED_FOR));
                pause = Some(begun);
            }
        }
        store::save(&tx, &sender.sender_id, &watched).await?;
        database::commit(tx).await?;
        if let Some(pause) = &pause {
            tracing::warn!(pause = %pause.pause_id, reason = pause.reason, "a breaker opened");
        }
        Ok(pause)
    }
}

impl Job for WatchSenders {
    fn id(&self) -> &'static str {
        "watch-senders"
    }

    fn cron(&self) -> &'static str {
        "30 * * * * *"
    }

    fn pass<'a>(&'a self, _: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let mut paused = 0;
            for sender in self.senders.all() {
                let sends = |purpose: &Purpose| self.senders.of(*purpose).sender_id == sender.sender_id;
                let purposes: Vec<Purpose> = HELD.into_iter().filter(sends).collect();
                if !purposes.is_empty() && self.watch(sender, purposes).await?.is_some() {
                    paused += 1;
                }
            }
            Ok(Done { summary: format!("paused {paused}"), next_time: None })
        })
    }
}
