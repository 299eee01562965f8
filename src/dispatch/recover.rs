use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::{
    campaigns::enrollments,
    contacts::{
        Contact, ContactState,
        claims::{self, Held, Setback},
    },
    database::{self, StoreError},
    workers::{Done, Job},
};

/// Finds what nobody has in hand although the record says that somebody does: what a process left when it died, and what this
/// one holds without knowing it.
#[derive(Debug)]
pub struct Recover(pub Arc<Dispatcher>);

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    in_doubt: usize,
    again: usize,
    released: u64,
}

impl Recover {
    /// What processes held whose lease has ended.
    async fn recover_from_others(&self) -> Result<Found, StoreError> {
        let of = &self.0.of;
        let now = of.clock.now();
        let tx = of.db.begin_write().await?;
        let left = claims::recover(&tx, now).await?;
        let doubtful: Vec<&Contact> = left.iter().filter(|one| one.state == ContactState::UnknownOutcome).collect();
        let steps: Vec<_> = doubtful.iter().filter_map(|contact| contact.step().cloned()).collect();
        let planned = enrollments::advance(&tx, &of.plans, &steps, now).await?;
        database::commit(tx).await?;
        self.0.ring_for(&planned);
        let (in_doubt, again) = (doubtful.len(), left.len() - doubtful.len());
        Ok(Found { in_doubt, again, released: 0 })
    }

    /// What this process holds and has not in hand: an intent was written and the answer of the database was lost, or a lot broke
    /// off. The record is read before the hands are looked at: what is claimed later is not among it, and what changes in
    /// between is left alone, because its revision is another one.
    async fn recover_from_itself(&self) -> Result<Found, StoreError> {
        let (of, hands) = (&self.0.of, &self.0.hands);
        let Some(token) = of.lease.token() else {
            return Ok(Found::default());
        };
        let held = claims::held(of.db.reader(), token).await?;
        let forgotten: Vec<Held> = held.into_iter().filter(|one| !hands.hold(one.contact_id)).collect();
        if forgotten.is_empty() {
            return Ok(Found::default());
        }
        let now = of.clock.now();
        let (begun, not_begun): (Vec<_>, Vec<_>) =
            forgotten.into_iter().partition(|one| hands.have_begun(one.contact_id));
        let setback = |one: &Held| Setback {
            contact_id: one.contact_id,
            code: String::new(),
            detail: "the answer was lost".to_owned(),
            retry_time: one.due_time,
        };
        let tx = of.db.begin_write().await?;
        let released = claims::take_back_unchanged(&tx, token, &not_begun, now).await?;
        let lost = claims::settle_unknown(&tx, token, &begun.iter().map(setback).collect::<Vec<_>>(), now).await?;
        let (mut again, mut steps) = (0, Vec::new());
        for id in &lost {
            let contact = crate::contacts::find(&tx, *id).await.map_err(|_| StoreError::Raced)?;
            if contact.state == ContactState::Scheduled {
                again += 1;
            } else {
                steps.extend(contact.origin.into_step());
            }
        }
        let planned = enrollments::advance(&tx, &of.plans, &steps, now).await?;
        database::commit(tx).await?;
        hands.settle(lost.iter().copied());
        self.0.ring_for(&planned);
        Ok(Found { in_doubt: lost.len() - again, again, released })
    }
}

impl Job for Recover {
    fn id(&self) -> &'static str {
        "recover"
    }

    fn cron(&self) -> &'static str {
        "*/3 * * * * *"
    }

    fn pass<'a>(&'a self, _: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let own = self.recover_from_itself().await?;
            if !self.0.of.lease.is_steady() {
                let summary = "waited until everybody has renewed their leases".to_owned();
                return Ok(Done { summary, next_time: None });
            }
            let others = self.recover_from_others().await?;
            let (in_doubt, again) = (own.in_doubt + others.in_doubt, own.again + others.again);
            let released = own.released + others.released;
            for (what, found) in [("in_doubt", in_doubt), ("again", again)] {
                self.0.of.metrics.recovered(what, u64::try_from(found).unwrap_or(0));
            }
            self.0.of.metrics.recovered("released", released);
            if in_doubt + again > 0 || released > 0 {
                tracing::warn!(in_doubt, again, released, "found what nobody had in hand");
                self.0.ring();
            }
            let summary = format!("in doubt {in_doubt}, to be sent again {again}, released {released}");
            Ok(Done { summary, next_time: None })
        })
    }
}
