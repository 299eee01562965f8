use chrono::Months;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Privacy;
use crate::{
    clock::Timestamp,
    contacts,
    customers::RESTORABLE,
    database::{self, StoreError},
    preferences,
    workers::{Done, Job},
};

/// How many customers are looked for at once.
const AT_ONCE: u64 = 100;
/// How many rows a transaction changes, so that others need not wait long.
const ROWS: u64 = 1_000;
/// How long what mail servers answered is kept, in months.
const DELIVERIES_KEPT: Months = Months::new(13);
/// How long the evidence of a consent is kept once something else was said, in months: three years.
const EVIDENCE_KEPT: Months = Months::new(36);

/// Erases customers whose deletion can be undone no more.
#[derive(Debug)]
pub struct PurgeCustomers(pub Privacy);

impl Job for PurgeCustomers {
    fn id(&self) -> &'static str {
        "purge-customers"
    }

    fn cron(&self) -> &'static str {
        "0 17 * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let deleted_before = self.0.clock.now() - RESTORABLE;
            let mut purged = 0;
            while !stop.is_cancelled() {
                let found = self.0.purge_some(deleted_before, AT_ONCE, stop).await?;
                purged += found;
                if found < AT_ONCE {
                    break;
                }
            }
            // What an erasure could not clear away, because somebody read at that moment, goes now too.
            let is_clear = self.0.db.clear_leftovers().await?;
            let rest = if is_clear { "" } else { "; a reader keeps the log from being cleared" };
            Ok(Done { summary: format!("purged {purged}{rest}"), next_time: None })
        })
    }
}

/// Forgets what mail servers answered long ago, and what came back.
#[derive(Debug)]
pub struct ForgetDeliveries(pub Privacy);

impl Job for ForgetDeliveries {
    fn id(&self) -> &'static str {
        "forget-deliveries"
    }

    fn cron(&self) -> &'static str {
        "0 37 * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let before = self.0.months_ago(DELIVERIES_KEPT);
            let replies = self.0.forget(Old::Replies, before, stop).await?;
            let events = self.0.forget(Old::Deliveries, before, stop).await?;
            let summary = format!("forgot {replies} replies and {events} delivery events");
            Ok(Done { summary, next_time: None })
        })
    }
}

/// Forgets who told us what customers said, and what shows it, once nobody relies on it any more.
#[derive(Debug)]
pub struct ForgetEvidence(pub Privacy);

impl Job for ForgetEvidence {
    fn id(&self) -> &'static str {
        "forget-evidence"
    }

    fn cron(&self) -> &'static str {
        "0 47 * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let before = self.0.months_ago(EVIDENCE_KEPT);
            let evidence = self.0.forget(Old::Evidence, before, stop).await?;
            Ok(Done { summary: format!("forgot {evidence} evidence"), next_time: None })
        })
    }
}

/// What is forgotten in time.
#[derive(Debug, Clone, Copy)]
enum Old {
    /// What mail servers answered.
    Replies,
    /// What came back.
    Deliveries,
    /// What consents rest on.
    Evidence,
}

impl Privacy {
    fn months_ago(&self, months: Months) -> Timestamp {
        self.clock.now().checked_sub_months(months).unwrap_or(Timestamp::MIN_UTC)
    }

    /// Forgets in transactions of a size that keeps nobody waiting, until there is no more; answers how many.
    async fn forget(&self, what: Old, before: Timestamp, stop: &CancellationToken) -> Result<u64, StoreError> {
        let mut forgotten = 0;
        while !stop.is_cancelled() {
            let tx = self.db.begin_write().await?;
            let rows = match what {
                Old::Replies => contacts::forget_replies(&tx, before, ROWS).await?,
                Old::Deliveries => contacts::forget_deliveries(&tx, before, ROWS).await?,
                Old::Evidence => preferences::forget_evidence(&tx, before, ROWS).await?,
            };
            database::commit(tx).await?;
            forgotten += rows;
            if rows < ROWS {
                break;
            }
        }
        Ok(forgotten)
    }
}
