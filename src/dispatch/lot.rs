use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{
    Dispatcher, LOT,
    capacity::Room,
    hand_over::{Handed, Post},
    hands::Grip,
    rates::Moments,
    score::Tally,
};
use crate::{
    contacts::{Contact, Lane},
    database::StoreError,
    ids::ClaimToken,
};

/// How long a transaction that failed rests before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// How many outcomes are written at once, as soon as there are so many.
const ENOUGH: usize = LOT;
/// How long an outcome waits for others to be written with.
const LINGER: Duration = Duration::from_millis(25);

/// Contacts that were decided together and go out.
#[derive(Debug)]
pub(super) struct Lot {
    pub lane: Lane,
    pub token: ClaimToken,
    /// When each may go, by every rate that applies.
    pub moments: Vec<Moments>,
    /// Room for the intents that are open.
    pub room: Room,
    /// Has them in hand until the lot is done with.
    pub _grip: Grip,
}

impl Dispatcher {
    /// Hands letters over side by side, and writes what became of them as the answers come.
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        mut lot: Lot,
        letters: Vec<Post>,
        stop: &CancellationToken,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        lot.room.shrink_to(letters.len());
        // All in one task: handing them from thread to thread would cost more than they do. What breaks off is not settled, and
        // found by recovery; the others do not hear of it.
        let begin = |(place, post)| AssertUnwindSafe(self.hand_over(&lot, place, post, stop)).catch_unwind();
        let mut under_way: FuturesUnordered<_> = letters.into_iter().enumerate().map(begin).collect();
        let mut answers: Vec<(Contact, Handed)> = Vec::new();
        loop {
            if answers.is_empty() {
                let Some(first) = under_way.next().await else {
                    return Ok(());
                };
                answers.extend(first);
                continue;
            }
            let linger = tokio::time::sleep(LINGER);
            tokio::pin!(linger);
            while answers.len() < ENOUGH {
                tokio::select! {
                    biased;
                    next = under_way.next() => match next {
                        Some(next) => answers.extend(next),
                        None => break,
                    },
                    () = &mut linger => break,
                }
            }
            let group = std::mem::take(&mut answers);
            {
                let settle = self.settle_surely(&lot, &group, tally);
                tokio::pin!(settle);
                loop {
                    tokio::select! {
                        biased;
                        Some(next) = under_way.next() => answers.extend(next),
                        settled = &mut settle => break settled?,
                    }
                }
            }
            lot.room.give_back(group.len());
        }
    }

    /// Settles however often that takes: what is not settled would be in doubt. The claim tells whether it still may.
    async fn settle_surely(
        &self,
        lot: &Lot,
        answers: &[(Contact, Handed)],
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let mut failures = 0_u32;
        loop {
            match self.settle(lot, answers, tally).await {
                // Somebody else may have suppressed the same address meanwhile: what is there is found the next time.
                Err(error) if error.may_pass() || matches!(error, StoreError::Taken(_)) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::warn!(%error, failures, "outcomes could not be written; trying again");
                    }
                    tokio::time::sleep(PAUSE * failures.min(10)).await;
                }
                settled => return settled,
            }
        }
    }
}
