use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{extract::State, http::header, response::IntoResponse};
use tokio::sync::Mutex;

use super::Pages;
use crate::metrics::CONTENT_TYPE;

/// For how long the gauges of the deployment are taken for fresh: any number of scrapers cost one query.
const FRESH: Duration = Duration::from_secs(5);
/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the gauges were last read; who comes while they are being read waits for that.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<Option<Instant>>);

/// All metrics of this process, with the gauges of the deployment.
pub async fn page(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    refresh(&pages).await;
    for job in pages.admin.jobs() {
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        pages.metrics.job(job.job_id, count(job.report.run_count), count(job.report.failure_count));
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], pages.metrics.text())
}

async fn refresh(pages: &Pages) {
    let mut read = pages.gauges.0.lock().await;
    if read.is_some_and(|then| then.elapsed() < FRESH) {
        return;
    }
    let now = pages.admin.now();
    let lanes = tokio::time::timeout(PATIENCE, pages.admin.lanes(now)).await;
    *read = Some(Instant::now());
    let Ok(Ok(lanes)) = lanes else {
        pages.metrics.database_up(false);
        return;
    };
    pages.metrics.database_up(true);
    for stats in lanes {
        let lane = stats.lane.name();
        pages.metrics.contacts(lane, "scheduled", stats.scheduled);
        pages.metrics.contacts(lane, "due", stats.due);
        pages.metrics.contacts(lane, "sending", stats.sending);
        pages.metrics.contacts(lane, "unknown_outcome", stats.unknown_outcome);
        pages.metrics.oldest_due_age(lane, stats.lag_seconds(now));
    }
}
