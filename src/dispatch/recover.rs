use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Lease;
use crate::{
    campaigns::{Plans, enrollments},
    clock::Clock,
    contacts::{ContactState, claims},
    database::{self, Database, StoreError},
    metrics::Metrics,
    workers::{Bell, Done, Job},
};

/// Finds what a worker left in the middle of a hand-over when it died.
#[derive(Debug)]
pub struct Recover {
    db: Database,
    clock: Clock,
    plans: Plans,
    lease: Arc<Lease>,
    metrics: Metrics,
    dispatcher: Arc<Bell>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    in_doubt: usize,
    again: usize,
    released: u64,
}

impl Recover {
    /// Looks through a database, and rings when something it found is due.
    pub fn new(
        db: Database,
        clock: Clock,
        plans: Plans,
        lease: Arc<Lease>,
        metrics: Metrics,
        dispatcher: Arc<Bell>,
    ) -> Self {
        Self { db, clock, plans, lease, metrics, dispatcher }
    }

    async fn make_pass(&self) -> Result<Found, StoreError> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let left = claims::recover(&tx, now).await?;
        let doubtful: Vec<_> = left.iter().filter(|contact| contact.state == ContactState::UnknownOutcome).collect();
        let steps: Vec<_> = doubtful.iter().filter_map(|contact| contact.step.clone()).collect();
        enrollments::advance(&tx, &self.plans, &steps, now).await?;
        let released = claims::release_lost(&tx).await?;
        database::commit(tx).await?;
        let (in_doubt, again) = (doubtful.len(), left.len() - doubtful.len());
        if again > 0 || released > 0 {
            self.dispatcher.ring();
        }
        Ok(Found { in_doubt, again, released })
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
            if !self.lease.is_steady() {
                return Ok(Done {
                    summary: "waited until everybody has renewed their leases".to_owned(),
                    next_time: None,
                });
            }
            let Found { in_doubt, again, released } = self.make_pass().await?;
            for (what, found) in [("in_doubt", in_doubt), ("again", again)] {
                self.metrics.recovered(what, u64::try_from(found).unwrap_or(0));
            }
            self.metrics.recovered("released", released);
            if in_doubt + again > 0 || released > 0 {
                tracing::warn!(in_doubt, again, released, "found what a worker left when it died");
            }
            let summary = format!("in doubt {in_doubt}, to be sent again {again}, released {released}");
            Ok(Done { summary, next_time: None })
        })
    }
}
