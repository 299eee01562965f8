use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Dispatcher, LOT,
    capacity::Room,
    conductor::Tally,
    hand_over::{Handed, Order},
    rates::Moments,
};
use crate::{
    contacts::{Contact, Lane, claims},
    database::StoreError,
    ids::{ClaimToken, ContactId},
};

/// How long a transaction that failed rests before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often deciding is tried when others are in the way.
const TRIES: usize = 5;
/// How many outcomes are written at once, as soon as there are so many.
const ENOUGH: usize = LOT;
/// So few letters do not keep another lot from beginning.
const FEW: usize = 8;
/// How long an outcome waits for others to be written with.
const LINGER: Duration = Duration::from_millis(10);

/// Contacts that are carried out together.
#[derive(Debug)]
pub(super) struct Lot {
    pub lane: Lane,
    pub token: ClaimToken,
    pub contacts: Vec<Contact>,
    /// When each may go, by every rate that applies; one for each contact.
    pub moments: Vec<Moments>,
}

impl Dispatcher {
    /// Carries a lot out; what was claimed and not intended is given back, whatever happens.
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        lot: Lot,
        place: Option<OwnedSemaphorePermit>,
        stop: &CancellationToken,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let ids: Vec<ContactId> = lot.contacts.iter().map(|contact| contact.contact_id).collect();
        let _grip = self.hands.take(ids.clone());
        let span = tracing::info_span!("lot", lane = lot.lane.name(), claimed = lot.contacts.len());
        let done = self.decide_and_hand_over(&lot, place, stop, tally).instrument(span).await;
        if done.is_err() || stop.is_cancelled() {
            // What cannot be released now is found by recovery, as nobody has it in hand any more.
            claims::release(self.of.db.writer(), lot.token, &ids).await?;
        }
        done
    }

    async fn decide_and_hand_over(
        self: &Arc<Self>,
        lot: &Lot,
        place: Option<OwnedSemaphorePermit>,
        stop: &CancellationToken,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let drafts = self.prepare(&lot.contacts).await?;
        let mut room = self.intents.enter(lot.lane, lot.contacts.len()).await;
        if stop.is_cancelled() {
            return Ok(());
        }
        let mut tries = 0;
        let orders = loop {
            tries += 1;
            match self.decide(lot, &drafts, tally).await {
                Err(error) if error.may_pass() && tries < TRIES => tokio::time::sleep(PAUSE).await,
                decided => break decided?,
            }
        };
        drop(drafts);
        room.shrink_to(orders.len());
        let under_way = self.begin(lot, orders, stop);
        self.settle_all(lot, under_way, room, place, tally).await
    }

    /// Hands letters over side by side.
    fn begin(self: &Arc<Self>, lot: &Lot, orders: Vec<Order>, stop: &CancellationToken) -> JoinSet<(usize, Handed)> {
        orders.into_iter().map(|order| self.hand_over(lot, order, stop)).collect()
    }

    /// Writes what became of letters as the answers come. Once there are few left to wait for, another lot may begin.
    async fn settle_all(
        &self,
        lot: &Lot,
        mut under_way: JoinSet<(usize, Handed)>,
        mut room: Room,
        mut place: Option<OwnedSemaphorePermit>,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        while let Some(first) = under_way.join_next().await {
            let mut answers: Vec<(usize, Handed)> = first.into_iter().collect();
            let linger = tokio::time::sleep(LINGER);
            tokio::pin!(linger);
            while answers.len() < ENOUGH {
                tokio::select! {
                    biased;
                    next = under_way.join_next() => match next {
                        Some(next) => answers.extend(next),
                        None => break,
                    },
                    () = &mut linger => break,
                }
            }
            self.settle_surely(lot, &answers, tally).await?;
            room.give_back(answers.len());
            if under_way.len() <= FEW {
                drop(place.take());
            }
        }
        Ok(())
    }

    /// Settles however often that takes: what is not settled would be in doubt. The claim tells whether it still may.
    async fn settle_surely(&self, lot: &Lot, answers: &[(usize, Handed)], tally: &mut Tally) -> Result<(), StoreError> {
        let mut failures = 0_u32;
        loop {
            match self.settle(lot, answers, tally).await {
                Err(error) if error.may_pass() => {
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
