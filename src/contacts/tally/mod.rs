//! What became of a campaign's contacts, in numbers.

mod store;

pub use self::store::tallies;
use super::{BlockReason, ContactState};
use crate::{
    clock::Timestamp,
    ids::{CampaignId, RunId},
};

/// What became of some contacts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many are in each state, with what stood in their way.
    pub counts: Vec<(ContactState, Option<BlockReason>, i64)>,
    /// How many are still to be reached, and have no contact yet.
    pub remaining: i64,
    /// How many arrived.
    pub delivered: i64,
    /// How many came back.
    pub bounced: i64,
    /// How many were marked as spam.
    pub complained: i64,
    /// How many a person opened.
    pub opened: i64,
    /// Of how many a person followed a link.
    pub clicked: i64,
    /// How many led to an unsubscription.
    pub unsubscribed: i64,
}

/// Which contacts are counted.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Of these runs of that campaign, each by itself.
    pub run_ids: Vec<RunId>,
    /// Of those who entered by these backfills, each by itself.
    pub backfills: Vec<RunId>,
    /// First planned for this moment or later.
    pub from: Option<Timestamp>,
    /// First planned before this moment.
    pub before: Option<Timestamp>,
    /// Each stretch of so many seconds since `from` by itself.
    pub every: Option<i64>,
}

/// What is counted by itself: the contacts of a run, or those of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// All.
    Whole,
    /// Those of a run.
    Run(RunId),
    /// Those of a stretch, from 0.
    Stretch(i64),
}

impl Tally {
    /// All of them.
    pub fn total(&self) -> i64 {
        self.counts.iter().map(|(_, _, count)| count).sum::<i64>() + self.remaining
    }

    /// Those in one state.
    pub fn of(&self, state: ContactState) -> i64 {
        self.counts.iter().filter(|(own, _, _)| *own == state).map(|(_, _, count)| count).sum()
    }

    /// Counts all of another as well.
    pub fn merge(&mut self, other: &Self) {
        for (state, reason, count) in &other.counts {
            self.add(*state, *reason, *count);
        }
        self.remaining += other.remaining;
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.complained += other.complained;
        self.opened += other.opened;
        self.clicked += other.clicked;
        self.unsubscribed += other.unsubscribed;
    }

    /// Counts more of a kind.
    pub fn add(&mut self, state: ContactState, reason: Option<BlockReason>, count: i64) {
        match self.counts.iter_mut().find(|(own, why, _)| *own == state && *why == reason) {
            Some((_, _, known)) => *known += count,
            None => self.counts.push((state, reason, count)),
        }
    }
}
