//! What was sent in the past, for whoever looks back.

mod store;

pub use self::store::{copy_sent, sent_between};
use crate::{clock::Timestamp, ids::CampaignId};

/// What was sent in a stretch of time, transactional messages left out.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The first moment inside.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
    /// Whose messages do not count.
    pub except: Option<CampaignId>,
}
