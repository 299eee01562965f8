use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    database::{Database, StoreError},
    rpc::forget_requests,
    workers::{Done, Job},
};

/// How long a request id keeps its answer.
const KEPT: TimeDelta = TimeDelta::days(7);

/// Forgets old request ids.
#[derive(Debug)]
pub struct ForgetRequests {
    db: Database,
    clock: Clock,
}

impl ForgetRequests {
    /// Forgets in a database.
    pub fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock }
    }
}

impl Job for ForgetRequests {
    fn id(&self) -> &'static str {
        "forget-requests"
    }

    fn cron(&self) -> &'static str {
        "0 7 * * * *"
    }

    fn pass<'a>(&'a self, _: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let forgotten = forget_requests(&self.db, self.clock.now() - KEPT).await?;
            Ok(Done { summary: format!("forgot {forgotten}"), next_time: None })
        })
    }
}
