//! For operators: what the service is doing, running its jobs by hand, and pausing the dispatch.

use std::sync::Arc;

use crate::{
    clock::{Clock, Timestamp},
    database::{Database, StoreError},
    gate::pauses::{self, NewPause, Pause},
    ids::PauseId,
    rpc::{Fault, Reason},
    workers::{Bell, Report, Worker},
};

/// A worker that failed so often in a row is named in the status.
const TROUBLE: i64 = 3;

/// Looks after one process.
#[derive(Debug)]
pub struct Admin {
    db: Database,
    clock: Clock,
    replica: String,
    start_time: Timestamp,
    workers: Vec<Arc<Worker>>,
    dispatcher: Arc<Bell>,
}

/// What the service is doing.
#[derive(Debug)]
pub struct Status {
    /// Of the last migration.
    pub schema_version: String,
    /// Which database, with its version.
    pub database: String,
    /// This process.
    pub replica: String,
    /// When it started.
    pub start_time: Timestamp,
    /// What time it is.
    pub server_time: Timestamp,
    /// Its workers.
    pub jobs: Vec<JobStatus>,
    /// What holds the dispatch up.
    pub pauses: Vec<Pause>,
    /// What is wrong now.
    pub degraded_reasons: Vec<String>,
}

/// What a worker is doing.
#[derive(Debug)]
pub struct JobStatus {
    /// Its name.
    pub job_id: &'static str,
    /// When its bell rings.
    pub cron: &'static str,
    /// What it has done so far.
    pub report: Report,
}

impl Admin {
    /// Looks after these workers; rings the dispatcher's bell when it may go on.
    pub fn new(db: Database, clock: Clock, replica: String, workers: Vec<Arc<Worker>>, dispatcher: Arc<Bell>) -> Self {
        let start_time = clock.now();
        Self { db, clock, replica, start_time, workers, dispatcher }
    }

    /// What the service is doing, and what is wrong now.
    pub async fn status(&self) -> Result<Status, Fault> {
        let jobs: Vec<JobStatus> = self.workers.iter().map(|worker| status_of(worker)).collect();
        let trouble = |job: &JobStatus| {
            let report = &job.report;
            (report.failures_in_a_row >= TROUBLE).then(|| {
                format!("job {} failed {} times in a row: {}", job.job_id, report.failures_in_a_row, report.last_result)
            })
        };
        let now = self.clock.now();
        Ok(Status {
            schema_version: self.db.schema_version().await?,
            database: self.db.version().await?,
            replica: self.replica.clone(),
            start_time: self.start_time,
            server_time: now,
            pauses: pauses::active(self.db.reader(), now).await?,
            degraded_reasons: jobs.iter().filter_map(trouble).collect(),
            jobs,
        })
    }

    /// Keeps the dispatch from sending.
    pub async fn pause(&self, asked: NewPause) -> Result<Pause, Fault> {
        let pause = pauses::begin(&self.db, asked, self.clock.now()).await?;
        tracing::warn!(pause = %pause.pause_id, actor = pause.actor, until = ?pause.expire_time, "the dispatch is paused");
        Ok(pause)
    }

    /// Ends a pause (none = all); answers those that still hold.
    pub async fn resume(&self, which: Option<PauseId>) -> Result<Vec<Pause>, Fault> {
        let left = pauses::end(&self.db, which, self.clock.now()).await?;
        tracing::warn!(pauses = left.len(), "the dispatch goes on where no pause is left");
        self.dispatcher.ring();
        Ok(left)
    }

    /// Runs a job now; answers what it did.
    pub async fn run_job(&self, job_id: &str) -> Result<(JobStatus, String), Fault> {
        let worker = self.workers.iter().find(|worker| worker.job().id() == job_id);
        let worker = worker.ok_or_else(|| {
            let known: Vec<_> = self.workers.iter().map(|worker| worker.job().id()).collect();
            Fault::refused(
                Reason::JobNotFound,
                job_id,
                format!("there is no job {job_id:?}; there are {}", known.join(", ")),
            )
        })?;
        // A pass is not cut off in the middle because somebody hangs up.
        let pass = tokio::spawn({
            let worker = Arc::clone(worker);
            async move { worker.run_once().await }
        });
        let done = pass.await.map_err(|_| StoreError::Raced)??;
        Ok((status_of(worker), done.summary))
    }
}

fn status_of(worker: &Worker) -> JobStatus {
    let job = worker.job();
    JobStatus { job_id: job.id(), cron: job.cron(), report: worker.report() }
}
