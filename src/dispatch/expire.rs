use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Dispatcher, LOT, decide::Which, score::Tally};
use crate::{
    contacts::{self, Purpose},
    database::StoreError,
    workers::{Done, Job},
};

/// Ends contacts whose time is over although nobody looks at them: behind a paused campaign, a pause of everything, or a
/// transport that takes no letters. And has what waited for its sender asked about again once that is ready.
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
            let readiness = self.0.of.senders.readiness();
            let is_ready = |purpose: &Purpose| readiness.trouble(*purpose).is_none();
            let ready: Vec<Purpose> = [Purpose::Marketing, Purpose::Survey].into_iter().filter(is_ready).collect();
            if contacts::ask_again_when_ready(self.0.of.db.writer(), &ready).await? > 0 {
                self.0.ring();
            }
            let mut tally = Tally::default();
            while let Some(token) = self.0.of.lease.token().filter(|_| !stop.is_cancelled()) {
                // Nothing goes out whose time is over, so there are no orders.
                let of_lot = self.0.decide(Which::Overdue, token, LOT, None).await?.tally;
                tally += of_lot;
                if of_lot.decided == 0 {
                    break;
                }
            }
            Ok(Done { summary: tally.to_string(), next_time: None })
        })
    }
}
