use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio_util::sync::CancellationToken;

use super::Bell;
use crate::{
    clock::{Clock, Timestamp},
    database::StoreError,
};

/// How long a worker sleeps at most, even if no bell rings and nothing is known to be due.
const FALLBACK: Duration = Duration::from_secs(30);
/// How long a worker rests after a pass that failed, so that a dead database is not asked in a tight loop.
const REST: Duration = Duration::from_secs(1);

/// What a worker does.
pub trait Job: Send + Sync + 'static {
    /// Its name, stable.
    fn id(&self) -> &'static str;

    /// When its bell rings: six-field cron, UTC.
    fn cron(&self) -> &'static str;

    /// Does all that is due now. Comes to an end soon once `stop` is cancelled, with nothing half done.
    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>>;
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// One sentence.
    pub summary: String,
    /// When the next thing is due, where that is known.
    pub next_time: Option<Timestamp>,
}

/// A job with its loop, its bell and its record.
pub struct Worker {
    job: Arc<dyn Job>,
    bell: Arc<Bell>,
    clock: Clock,
    stop: CancellationToken,
    one_at_a_time: tokio::sync::Mutex<()>,
    report: Mutex<Report>,
}

/// What a worker has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// When it last began.
    pub last_start_time: Option<Timestamp>,
    /// When it last ended well.
    pub last_success_time: Option<Timestamp>,
    /// What the last pass did, or how it failed.
    pub last_result: String,
    /// When the next thing is due, as far as the last pass knew.
    pub next_time: Option<Timestamp>,
    /// How often it ran.
    pub run_count: i64,
    /// How often it failed.
    pub failure_count: i64,
    /// How often it failed since it last ended well.
    pub failures_in_a_row: i64,
}

impl Worker {
    /// A worker that stops when `stop` is cancelled.
    pub fn new(job: Arc<dyn Job>, bell: Arc<Bell>, clock: Clock, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            job,
            bell,
            clock,
            stop,
            one_at_a_time: tokio::sync::Mutex::default(),
            report: Mutex::default(),
        })
    }

    /// What it does.
    pub fn job(&self) -> &dyn Job {
        self.job.as_ref()
    }

    /// What wakes it.
    pub fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// What it has done so far.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes one pass now, after the one that may be under way.
    pub async fn run_once(&self) -> Result<Done, StoreError> {
        let _alone = self.one_at_a_time.lock().await;
        // Whoever rings while it works is heard: it may have looked already.
        self.bell.expect(None);
        self.note(|report| {
            report.last_start_time = Some(self.clock.now());
            report.run_count += 1;
        });
        let result = self.job.pass(&self.stop).await;
        self.note(|report| match &result {
            Ok(done) => {
                report.last_success_time = Some(self.clock.now());
                report.last_result.clone_from(&done.summary);
                report.next_time = done.next_time;
                report.failures_in_a_row = 0;
            }
            Err(error) => {
                report.last_result = error.to_string();
                report.next_time = None;
                report.failure_count += 1;
                report.failures_in_a_row += 1;
            }
        });
        result
    }

    /// Makes passes as long as its bell rings or its time has come, and does not wait: for whoever moves the clock. Answers when
    /// it would wake by itself.
    pub async fn catch_up(&self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let Report { next_time, run_count, .. } = self.report();
            let rings = self.bell.wait().now_or_never().is_some();
            if run_count > 0 && !rings && next_time.is_none_or(|next| next > self.clock.now()) {
                return Ok(next_time);
            }
            let done = self.run_once().await?;
            self.bell.expect(done.next_time);
        }
    }

    /// Makes passes until it is told to stop.
    pub async fn work(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            match self.run_once().await {
                Ok(done) => self.wait(done.next_time).await,
                Err(error) => {
                    tracing::error!(job = self.job.id(), %error, "a pass failed");
                    self.rest().await;
                }
            }
        }
    }

    async fn rest(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }

    async fn wait(&self, next: Option<Timestamp>) {
        self.bell.expect(next);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.bell.wait() => {}
            () = self.until(next) => {}
            () = tokio::time::sleep(FALLBACK) => tracing::debug!(job = self.job.id(), "woke by the fallback timer"),
        }
    }

    async fn until(&self, moment: Option<Timestamp>) {
        match moment {
            Some(moment) => self.clock.sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    fn note(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("job", &self.job.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;

    use super::*;

    /// Counts its passes; something is due every day.
    struct Daily {
        passes: AtomicUsize,
        clock: Clock,
        fails: bool,
    }

    impl Job for Daily {
        fn id(&self) -> &'static str {
            "daily"
        }

        fn cron(&self) -> &'static str {
            "0 0 0 * * *"
        }

        fn pass<'a>(&'a self, _: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
            Box::pin(async {
                self.passes.fetch_add(1, Ordering::SeqCst);
                if self.fails {
                    return Err(StoreError::Corrupt { table: "days", detail: "none".to_owned() });
                }
                let tomorrow = self.clock.now() + TimeDelta::days(1);
                Ok(Done { summary: "one day".to_owned(), next_time: Some(tomorrow) })
            })
        }
    }

    fn daily(fails: bool) -> (Arc<Daily>, Arc<Worker>, crate::clock::ClockHand) {
        let (clock, hand) = Clock::simulated(Timestamp::UNIX_EPOCH);
        let job = Arc::new(Daily { passes: AtomicUsize::new(0), clock: clock.clone(), fails });
        let worker = Worker::new(job.clone(), Arc::default(), clock, CancellationToken::new());
        (job, worker, hand)
    }

    /// Waits for passes; paused time runs on by itself while everybody sleeps.
    async fn passes(job: &Daily, at_least: usize) {
        while job.passes.load(Ordering::SeqCst) < at_least {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_wakes_by_its_bell_by_the_clock_and_by_the_fallback_timer() {
        let (job, worker, hand) = daily(false);
        let working = tokio::spawn(worker.clone().work());
        passes(&job, 1).await;
        worker.bell().ring();
        passes(&job, 2).await;
        hand.advance_to(Timestamp::UNIX_EPOCH + TimeDelta::days(1));
        passes(&job, 3).await;
        // Nothing is due and no bell rings; paused time runs on by itself.
        tokio::time::sleep(FALLBACK).await;
        passes(&job, 4).await;
        worker.stop.cancel();
        assert!(working.await.is_ok());
        assert_eq!(worker.report().last_result, "one day");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bell_for_something_later_than_the_next_wake_up_stays_silent() {
        let (job, worker, _hand) = daily(false);
        let working = tokio::spawn(worker.clone().work());
        passes(&job, 1).await;
        tokio::task::yield_now().await;
        worker.bell().ring_for(Timestamp::UNIX_EPOCH + TimeDelta::days(2));
        tokio::time::sleep(FALLBACK / 2).await;
        assert_eq!(job.passes.load(Ordering::SeqCst), 1);
        worker.bell().ring_for(Timestamp::UNIX_EPOCH + TimeDelta::hours(1));
        passes(&job, 2).await;
        worker.stop.cancel();
        assert!(working.await.is_ok());
    }

    #[tokio::test]
    async fn whoever_moves_the_clock_has_a_worker_catch_up() {
        let (job, worker, hand) = daily(false);
        let tomorrow = Timestamp::UNIX_EPOCH + TimeDelta::days(1);
        assert_eq!(worker.catch_up().await.unwrap(), Some(tomorrow));
        worker.bell().ring_for(tomorrow + TimeDelta::hours(1));
        assert_eq!(worker.catch_up().await.unwrap(), Some(tomorrow));
        assert_eq!(job.passes.load(Ordering::SeqCst), 1, "it would wake before that anyway");
        worker.bell().ring_for(tomorrow - TimeDelta::hours(1));
        worker.catch_up().await.unwrap();
        assert_eq!(job.passes.load(Ordering::SeqCst), 2);
        hand.advance_to(tomorrow);
        assert_eq!(worker.catch_up().await.unwrap(), Some(tomorrow + TimeDelta::days(1)));
        assert_eq!(job.passes.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_fails_is_counted_and_followed_by_a_rest() {
        let (job, worker, _hand) = daily(true);
        worker.bell().ring();
        let working = tokio::spawn(worker.clone().work());
        passes(&job, 2).await;
        assert!(worker.report().failure_count >= 1);
        assert!(worker.report().last_result.contains("days"));
        worker.stop.cancel();
        assert!(working.await.is_ok());
    }
}
