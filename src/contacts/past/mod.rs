//! What was sent in the past, for whoever looks back.

mod store;

use chrono::TimeDelta;

pub use self::store::{copy_sent, count_sent, sent_between};
use crate::{clock::Timestamp, filter::Call, ids::CampaignId};

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

/// How far a call of a filter's function looks back at what was sent; none = not at all.
pub fn looks_back(call: &Call) -> Option<TimeDelta> {
    (call.function.name == "contacted").then(|| TimeDelta::days(call.days(1).into()))
}
