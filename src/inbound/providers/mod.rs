//! Notifications of providers, each proven to be theirs.

mod https;
mod postmark;
mod ses;
mod sns;

pub use self::sns::Sns;
use super::{Found, Inbound, Tally};
use crate::rpc::Fault;

/// Why a notification was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is not what the provider sends.
    #[error("not a notification: {0}")]
    Malformed(String),
    /// It is not proven to be the provider's.
    #[error("not proven to be the provider's: {0}")]
    Unproven(&'static str),
    /// It may be an old one, said again.
    #[error("it was written more than an hour ago")]
    TooOld,
    /// Something that is needed is not there now; the provider tries again.
    #[error("{0}")]
    Later(String),
    /// It could not be recorded.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<serde_json::Error> for NotTaken {
    fn from(wrong: serde_json::Error) -> Self {
        Self::Malformed(wrong.to_string())
    }
}

impl Inbound {
    /// Records what Postmark says. Whoever calls has proven that it is Postmark.
    pub async fn postmark(&self, body: &[u8]) -> Result<Tally, NotTaken> {
        let found = postmark::read(body)?;
        Ok(self.report(&found.into_iter().collect::<Vec<Found>>()).await?)
    }

    /// Records what Amazon SES says through SNS, once it is proven; confirms a subscription to the topic.
    pub async fn sns(&self, sns: &Sns, body: &[u8]) -> Result<Tally, NotTaken> {
        match sns.open(body, self.clock.now()).await? {
            Some(message) => Ok(self.report(&ses::read(&self.key, message.as_bytes())?).await?),
            None => Ok(Tally::default()),
        }
    }
}
