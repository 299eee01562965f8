//! Whether messages did what they were for.

mod store;

pub use self::store::{convert, results};
use crate::share::Share;

/// What came of the messages of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// Of which step; none = those who were held out, of all steps.
    pub step_id: Option<String>,
    /// Which variant of it; none = there are none.
    pub variant_id: Option<String>,
    /// How many were sent, or would have been.
    pub sent: i64,
    /// How many of them were followed by the goal within its window.
    pub converted: i64,
}

impl Results {
    /// The share of converted with its interval.
    pub fn conversion(&self) -> Share {
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Share::of(count(self.converted), count(self.sent))
    }
}
