use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Senders;
use crate::{
    database::StoreError,
    workers::{Done, Job},
};

/// Looks whether senders are ready for marketing: those that are every hour, the others every five minutes.
#[derive(Debug)]
pub struct CheckSenders(pub Senders);

impl Job for CheckSenders {
    fn id(&self) -> &'static str {
        "check-senders"
    }

    fn cron(&self) -> &'static str {
        "0 */5 * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            tokio::select! {
                (looked, not_ready, next_time) = self.0.check_due() => {
                    Ok(Done { summary: format!("checked {looked}, {not_ready} not ready"), next_time })
                }
                () = stop.cancelled() => Ok(Done::default()),
            }
        })
    }
}
