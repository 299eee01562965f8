use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    ops::AddAssign,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};

use super::{
    Turns,
    conductor::Deciding,
    prepare::Draft,
    rates::{Moments, Rate},
};
use crate::{
    clock::Timestamp,
    contacts::{Lane, Queue},
    database::StoreError,
    gate::pauses::Pause,
    ids::CampaignId,
};

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub decided: usize,
    pub sent: usize,
    pub deferred: usize,
    pub ended: usize,
    pub later: usize,
    pub failed: usize,
    pub in_doubt: usize,
    pub given_back: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.decided += other.decided;
        self.sent += other.sent;
        self.deferred += other.deferred;
        self.ended += other.ended;
        self.later += other.later;
        self.failed += other.failed;
        self.in_doubt += other.in_doubt;
        self.given_back += other.given_back;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decided, sent, deferred, ended, later, failed, in_doubt, given_back } = self;
        write!(
            f,
            "decided {decided}: sent {sent}, put off {deferred}, ended {ended}, to try again {later}, failed {failed}, \
             in doubt {in_doubt}, given back {given_back}"
        )
    }
}

/// What the conductor knows from one pass to the next. Lots that wait for slow answers outlive the pass that started them.
#[derive(Debug)]
pub(super) struct Score {
    pub tally: Tally,
    pub deciding: JoinSet<Deciding>,
    pub lots: JoinSet<(Tally, Result<(), StoreError>)>,
    /// When the last lot was started.
    pub started: Instant,
    pub lanes: Turns<Lane>,
    pub queues: Turns<Queue>,
    /// What waits, the first due of each queue, and when that was looked up.
    pub waiting: Vec<(Queue, Timestamp)>,
    pub looked: Option<Instant>,
    /// Queues were left out since, because nothing more of them is due.
    pub emptied: bool,
    pub limits: HashMap<CampaignId, NonZeroU32>,
    /// Queues of which nothing is to be had until then.
    pub resting: HashMap<Queue, Instant>,
    /// Where there was a whole lot to be had the last time.
    pub deep: Option<Queue>,
    /// Those of which a lot is being decided.
    pub open: Vec<Queue>,
    /// What was picked of a queue while there was no room for it.
    pub ahead: Option<(Queue, Vec<Draft>)>,
    /// Moments of the transport that were taken and that nobody needed.
    pub spare: Option<Moments>,
    pub failure: Option<StoreError>,
}

impl Default for Score {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            deciding: JoinSet::new(),
            lots: JoinSet::new(),
            started: Instant::now(),
            lanes: Turns::default(),
            queues: Turns::default(),
            waiting: Vec::new(),
            looked: None,
            emptied: false,
            limits: HashMap::new(),
            resting: HashMap::new(),
            deep: None,
            open: Vec::new(),
            ahead: None,
            spare: None,
            failure: None,
        }
    }
}

impl Score {
    pub fn note(&mut self, done: Result<(Tally, Result<(), StoreError>), JoinError>) {
        match done {
            Ok((tally, result)) => {
                self.tally += tally;
                result.unwrap_or_else(|error| self.fail(error));
            }
            Err(error) => {
                tracing::error!(%error, "a lot broke off; what it held is found by recovery");
            }
        }
    }

    pub fn fail(&mut self, error: StoreError) {
        self.failure.get_or_insert(error);
    }

    /// Nothing goes out before the last pause ends; one without an end is ended by hand, and that rings.
    pub fn hold(&mut self, pauses: &[Pause]) {
        if pauses.is_empty() {
            return;
        }
        let ends: Option<Vec<Timestamp>> = pauses.iter().map(|pause| pause.expire_time).collect();
        let end = ends.and_then(|ends| ends.into_iter().max());
        self.waiting = self.waiting.drain(..).filter_map(|(queue, due)| Some((queue, due.max(end?)))).collect();
    }

    /// The queues from which a lot can be started now.
    pub fn due(&mut self, now: Timestamp) -> Vec<Queue> {
        let moment = Instant::now();
        self.resting.retain(|_, until| *until > moment);
        let is_free = |queue: &Queue| !self.open.contains(queue) || self.deep.as_ref() == Some(queue);
        let can_start = |queue: &Queue| is_free(queue) && !self.resting.contains_key(queue);
        let due = self.waiting.iter().filter(|(queue, due)| *due <= now && can_start(queue));
        due.map(|(queue, _)| queue.clone()).collect()
    }

    pub fn whose_turn(&mut self, due: &[Queue]) -> Option<Queue> {
        let lanes: Vec<Lane> =
            Lane::ALL.into_iter().filter(|lane| due.iter().any(|queue| queue.lane == *lane)).collect();
        let lane = self.lanes.next(&lanes)?;
        let queues: Vec<Queue> = due.iter().filter(|queue| queue.lane == lane).cloned().collect();
        self.queues.next(&queues)
    }

    pub fn limit(&self, queue: &Queue) -> Option<Rate> {
        let campaign_id = queue.campaign_id.as_ref()?;
        let count = *self.limits.get(campaign_id)?;
        let name = format!("campaign/{campaign_id}");
        Some(Rate { name, count, per: Duration::from_secs(60) })
    }

    pub fn shortest_rest(&self) -> Option<Duration> {
        let now = Instant::now();
        self.resting.values().map(|until| until.saturating_duration_since(now)).min()
    }
}
