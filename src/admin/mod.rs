//! For operators: what the service is doing, running its jobs by hand, and pausing the dispatch.

use std::sync::Arc;

use crate::{
    clock::{Clock, Timestamp},
    contacts::{self, Lane, LaneStats},
    database::{Database, StoreError},
    delivery::Breaker,
    gate::pauses::{self, NewPause, Pause},
    ids::PauseId,
    rpc::{Fault, Reason},
    senders::Senders,
    workers::{Bell, Report, Worker},
};

/// A worker that failed so often in a row is named in the status.
const TROUBLE: i64 = 3;
/// In the lanes of single customers a due contact waits no longer than this, in seconds, or it is named in the status.
const LONGEST_LAG: f64 = 60.0;

/// Looks after one process.
#[derive(Debug)]
pub struct Admin {
    db: Database,
    clock: Clock,
    replica: String,
    start_time: Timestamp,
    workers: Vec<Arc<Worker>>,
    dispatcher: Arc<Bell>,
    breaker: Arc<Breaker>,
    senders: Senders,
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
    /// How full the lanes are.
    pub lanes: [LaneStats; 3],
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
    pub fn new(
        db: Database,
        clock: Clock,
        replica: String,
        workers: Vec<Arc<Worker>>,
        dispatcher: Arc<Bell>,
        breaker: Arc<Breaker>,
        senders: Senders,
    ) -> Self {
        let start_time = clock.now();
        Self { db, clock, replica, start_time, workers, dispatcher, breaker, senders }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the service is doing, and what is wrong now.
    pub async fn status(&self) -> Result<Status, Fault> {
        let now = self.clock.now();
        let (jobs, lanes) = (self.jobs(), self.lanes(now).await?);
        let pending = self.pending_migrations().await?;
        let pauses = pauses::active(self.db.reader(), now).await?;
        // What operators paused they know of.
        let breakers: Vec<_> = pauses.iter().filter(|pause| pause.sender_id.is_some()).cloned().collect();
        Ok(Status {
            schema_version: self.db.schema_version().await?,
            database: self.db.version().await?,
            replica: self.replica.clone(),
            start_time: self.start_time,
            server_time: now,
            pauses,
            degraded_reasons: self
                .breaker
                .trouble()
                .into_iter()
                .chain(self.senders.degraded_reasons())
                .chain(degraded_reasons(pending, &jobs, &lanes, now))
                .chain(breakers.into_iter().map(|pause| format!("paused by itself: {}", pause.reason)))
                .collect(),
            lanes,
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

    /// What the workers of this process are doing.
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.workers.iter().map(|worker| status_of(worker)).collect()
    }

    /// How full each lane is at a moment, the most important first.
    pub async fn lanes(&self, now: Timestamp) -> Result<[LaneStats; 3], StoreError> {
        contacts::lane_stats(self.db.reader(), now).await
    }

    /// How many migrations of this program are not applied yet.
    pub async fn pending_migrations(&self) -> Result<usize, StoreError> {
        self.db.pending_migrations().await
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

/// What is wrong, in sentences.
fn degraded_reasons(pending: usize, jobs: &[JobStatus], lanes: &[LaneStats], now: Timestamp) -> Vec<String> {
    let mut reasons = Vec::new();
    if pending > 0 {
        reasons.push(format!("{pending} migrations are pending: run `rapport migrate`"));
    }
    for JobStatus { job_id, report, .. } in jobs.iter().filter(|job| job.report.failures_in_a_row >= TROUBLE) {
        let times = report.failures_in_a_row;
        reasons.push(format!("job {job_id} failed {times} times in a row: {}", report.last_result));
    }
    for stats in lanes.iter().filter(|stats| stats.lane != Lane::Bulk && stats.lag_seconds(now) > LONGEST_LAG) {
        let (lane, due, lag) = (stats.lane.name(), stats.due, stats.lag_seconds(now));
        reasons.push(format!("lane {lane} lags: the oldest of {due} due contacts has waited for {lag:.0} s"));
    }
    let doubts: i64 = lanes.iter().map(|stats| stats.unknown_outcome).sum();
    if doubts > 0 {
        reasons.push(format!("{doubts} contacts in doubt: ListContacts with STATE_UNKNOWN_OUTCOME"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_sentences_and_a_full_bulk_lane_is_not_wrong() {
        let now = Timestamp::UNIX_EPOCH;
        let late = |lane, seconds| LaneStats {
            due: 7,
            oldest_due_time: Some(now - TimeDelta::seconds(seconds)),
            ..LaneStats::empty(lane)
        };
        let fine = [late(Lane::Transactional, 60), LaneStats::empty(Lane::FollowUp), late(Lane::Bulk, 9999)];
        assert_eq!(degraded_reasons(0, &[], &fine, now), Vec::<String>::new());
        let job = JobStatus {
            job_id: "recover",
            cron: "* * * * * *",
            report: Report { failures_in_a_row: 3, last_result: "no".to_owned(), ..Report::default() },
        };
        let doubtful = LaneStats { unknown_outcome: 2, ..late(Lane::FollowUp, 61) };
        assert_eq!(
            degraded_reasons(1, &[job], &[doubtful], now),
            [
                "1 migrations are pending: run `rapport migrate`",
                "job recover failed 3 times in a row: no",
                "lane follow_up lags: the oldest of 7 due contacts has waited for 61 s",
                "2 contacts in doubt: ListContacts with STATE_UNKNOWN_OUTCOME",
            ]
        );
    }
}
