use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    campaigns::{Plans, enrollments},
    clock::Clock,
    contacts::{ContactState, claims},
    database::{self, Database, StoreError},
    workers::{Done, Job},
};

/// Finds what a worker left in the middle of a hand-over when it died.
#[derive(Debug)]
pub struct Recover {
    db: Database,
    clock: Clock,
    plans: Plans,
}

impl Recover {
    /// Looks through a database.
    pub fn new(db: Database, clock: Clock, plans: Plans) -> Self {
        Self { db, clock, plans }
    }

    async fn make_pass(&self) -> Result<(usize, usize), StoreError> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let left = claims::recover(&tx, now).await?;
        let doubtful: Vec<_> = left.iter().filter(|contact| contact.state == ContactState::UnknownOutcome).collect();
        let steps: Vec<_> = doubtful.iter().filter_map(|contact| contact.step.clone()).collect();
        enrollments::advance(&tx, &self.plans, &steps, now).await?;
        database::commit(tx).await?;
        Ok((doubtful.len(), left.len() - doubtful.len()))
    }
}

impl Job for Recover {
    fn id(&self) -> &'static str {
        "recover"
    }

    fn cron(&self) -> &'static str {
        "*/15 * * * * *"
    }

    fn pass<'a>(&'a self, _: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (in_doubt, again) = self.make_pass().await?;
            if in_doubt + again > 0 {
                tracing::warn!(in_doubt, again, "found hand-overs whose answer was lost");
            }
            let summary = format!("in doubt {in_doubt}, to be sent again {again}");
            Ok(Done { summary, next_time: None })
        })
    }
}
