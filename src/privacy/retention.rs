use chrono::Months;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Privacy;
use crate::{
    clock::Timestamp,
    contacts,
    customers::RESTORABLE,
    database::{self, StoreError},
    workers::{Done, Job},
};

/// How many customers are looked for at once.
const AT_ONCE: u64 = 100;
/// How many rows a transaction changes, so that others need not wait long.
const ROWS: u64 = 1_000;
/// How long what mail servers answered is kept, in months.
const DELIVERIES_KEPT: Months = Months::new(13);

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

impl ForgetDeliveries {
    async fn forget_replies(&self, before: Timestamp) -> Result<u64, StoreError> {
        let tx = self.0.db.begin_write().await?;
        let forgotten = contacts::forget_replies(&tx, before, ROWS).await?;
        database::commit(tx).await?;
        Ok(forgotten)
    }

    async fn forget_events(&self, before: Timestamp) -> Result<u64, StoreError> {
        let tx = self.0.db.begin_write().await?;
        let forgotten = contacts::forget_deliveries(&tx, before, ROWS).await?;
        database::commit(tx).await?;
        Ok(forgotten)
    }
}

impl Job for ForgetDeliveries {
    fn id(&self) -> &'static str {
        "forget-deliveries"
    }

    fn cron(&self) -> &'static str {
        "0 37 * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let now = self.0.clock.now();
            let before = now.checked_sub_months(DELIVERIES_KEPT).unwrap_or(Timestamp::MIN_UTC);
            let mut replies = 0;
            while !stop.is_cancelled() {
                let some = self.forget_replies(before).await?;
                replies += some;
                if some < ROWS {
                    break;
                }
            }
            let mut events = 0;
            while !stop.is_cancelled() {
                let some = self.forget_events(before).await?;
                events += some;
                if some < ROWS {
                    break;
                }
            }
            let summary = format!("forgot {replies} replies and {events} delivery events");
            Ok(Done { summary, next_time: None })
        })
    }
}
