use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, LOT, conductor::Tally, lot::Lot};
use crate::{
    contacts::{Lane, claims},
    database::StoreError,
    workers::{Done, Job},
};

/// Ends contacts whose time is over although nobody looks at them: behind a paused campaign, a pause of everything, or a
/// transport that takes no letters.
#[derive(Debug)]
pub struct Expire(pub Arc<Dispatcher>);

impl Job for Expire {
    fn id(&self) -> &'static str {
        "expire"
    }

    fn cron(&self) -> &'static str {
        "30 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let mut tally = Tally::default();
            while let Some(lot) = self.next_lot().await? {
                tally.claimed += lot.contacts.len();
                self.0.carry_out(lot, None, stop, &mut tally).await?;
                if stop.is_cancelled() {
                    break;
                }
            }
            Ok(Done { summary: tally.to_string(), next_time: None })
        })
    }
}

impl Expire {
    async fn next_lot(&self) -> Result<Option<Lot>, StoreError> {
        let of = &self.0.of;
        let Some(token) = of.lease.token() else {
            return Ok(None);
        };
        let most = u64::try_from(LOT).unwrap_or(u64::MAX);
        let contacts = claims::claim_expired(of.db.writer(), token, of.clock.now(), most).await?;
        let lot = Lot { lane: Lane::Bulk, token, contacts, moments: Vec::new() };
        Ok(Some(lot).filter(|lot| !lot.contacts.is_empty()))
    }
}
