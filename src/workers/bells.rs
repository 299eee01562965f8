use std::{fmt, sync::Arc};

use tokio_cron_scheduler::{Job as Tick, JobScheduler};

use super::Worker;

/// The scheduler that rings every worker's bell by its cron.
pub struct Bells(JobScheduler);

/// The scheduler did not start; its own words.
#[derive(Debug, thiserror::Error)]
#[error("the scheduler did not start: {0}")]
pub struct BellError(String);

impl Bells {
    /// Starts ringing.
    pub async fn start(workers: &[Arc<Worker>]) -> Result<Self, BellError> {
        let wrong = |error: tokio_cron_scheduler::JobSchedulerError| BellError(error.to_string());
        let scheduler = JobScheduler::new().await.map_err(wrong)?;
        for worker in workers {
            let bell = worker.bell();
            // UTC cron and nothing but a ring: the scheduler's other ways have traps, and the record decides what is due.
            let tick = Tick::new_async(worker.job().cron(), move |_, _| {
                bell.ring();
                Box::pin(async {})
            });
            scheduler.add(tick.map_err(wrong)?).await.map_err(wrong)?;
        }
        scheduler.start().await.map_err(wrong)?;
        Ok(Self(scheduler))
    }

    /// Stops ringing.
    pub async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(%error, "the scheduler did not stop in order");
        }
    }
}

impl fmt::Debug for Bells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bells")
    }
}
