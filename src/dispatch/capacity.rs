//! How much goes on at once. Higher lanes have room that lower ones cannot take, and lower ones a share that higher ones
//! cannot take away.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Turns;
use crate::contacts::Lane;

/// How many intents a process has open at most: what a kill leaves in doubt.
const INTENTS: usize = 128;
/// How many of them all lanes but the transactional one have together.
const BELOW_TRANSACTIONAL: usize = 112;
/// How many of them the bulk lane has.
const OF_BULK: usize = 96;

/// What a lane gets of what is scarce, beside the others.
pub fn weight(lane: Lane) -> u32 {
    match lane {
        Lane::Transactional => 16,
        Lane::FollowUp => 4,
        Lane::Bulk => 1,
    }
}

/// The intents that may be open.
#[derive(Debug)]
pub struct Intents {
    all: Arc<Semaphore>,
    below_transactional: Arc<Semaphore>,
    of_bulk: Arc<Semaphore>,
}

impl Default for Intents {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(INTENTS)),
            below_transactional: Arc::new(Semaphore::new(BELOW_TRANSACTIONAL)),
            of_bulk: Arc::new(Semaphore::new(OF_BULK)),
        }
    }
}

/// Room for open intents; dropping it makes room for others.
#[derive(Debug)]
pub struct Room(Vec<OwnedSemaphorePermit>);

impl Intents {
    /// Waits for room for `count` intents of a lane, [`super::LOT`] at most.
    pub async fn room(&self, lane: Lane, count: usize) -> Room {
        let limits: &[&Arc<Semaphore>] = match lane {
            Lane::Transactional => &[&self.all],
            Lane::FollowUp => &[&self.below_transactional, &self.all],
            Lane::Bulk => &[&self.of_bulk, &self.below_transactional, &self.all],
        };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut permits = Vec::with_capacity(limits.len());
        for limit in limits {
            // They are never closed.
            permits.extend(Arc::clone(limit).acquire_many_owned(count).await);
        }
        Room(permits)
    }
}

impl Room {
    /// Gives room back for which there is no intent.
    pub fn shrink_to(&mut self, count: usize) {
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(count)));
        }
    }

    /// Gives room back for one intent that is settled.
    pub fn settle(&mut self, count: usize) {
        for permit in &mut self.0 {
            drop(permit.split(count.min(permit.num_permits())));
        }
    }
}

/// The hand-overs that go on at once. When one ends, the lanes that wait take turns by weight.
#[derive(Debug, Clone)]
pub struct Width(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    all: usize,
    busy: [usize; 3],
    waiting: [VecDeque<oneshot::Sender<Slot>>; 3],
    turns: Turns<Lane>,
}

/// One hand-over; dropping it makes way for the next.
#[derive(Debug)]
pub struct Slot {
    width: Option<Width>,
    lane: Lane,
}

impl Width {
    /// As many at once as the transport takes.
    pub fn new(all: usize) -> Self {
        let waiting = Default::default();
        Self(Arc::new(Mutex::new(Lines { all, busy: [0; 3], waiting, turns: Turns::default() })))
    }

    /// Waits for its turn.
    pub async fn enter(&self, lane: Lane) -> Slot {
        let turn = {
            let mut lines = self.lines();
            let (sender, turn) = oneshot::channel();
            lines.waiting[lane.place()].push_back(sender);
            self.let_in(&mut lines);
            turn
        };
        // The sender is dropped only with the whole service.
        turn.await.unwrap_or(Slot { width: None, lane })
    }

    fn let_in(&self, lines: &mut Lines) {
        loop {
            let wanting: Vec<Lane> = Lane::ALL
                .into_iter()
                .filter(|lane| !lines.waiting[lane.place()].is_empty() && lines.has_room(*lane))
                .collect();
            let Some(lane) = lines.turns.next(&wanting) else {
                return;
            };
            let Some(next) = lines.waiting[lane.place()].pop_front() else {
                return;
            };
            let slot = Slot { width: Some(self.clone()), lane };
            match next.send(slot) {
                Ok(()) => {
                    lines.busy[lane.place()] += 1;
                    lines.turns.had(&lane, 1, weight(lane));
                }
                // It has gone away: nobody is let in, and the slot must not count itself out.
                Err(mut slot) => slot.width = None,
            }
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The transactional lane may have everything; each lower lane leaves one place in eight, and at least one, to those above.
    fn has_room(&self, lane: Lane) -> bool {
        let busy: usize = self.busy.iter().sum();
        let reserve = (self.all / 8).max(1);
        let above_bulk = self.all.saturating_sub(2 * reserve).max(1);
        let below_transactional = self.all.saturating_sub(reserve).max(1);
        let lower = self.busy[1] + self.busy[2];
        busy < self.all
            && match lane {
                Lane::Transactional => true,
                Lane::FollowUp => lower < below_transactional,
                Lane::Bulk => self.busy[2] < above_bulk && lower < below_transactional,
            }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(width) = self.width.take() {
            let mut lines = width.lines();
            lines.busy[self.lane.place()] -= 1;
            width.let_in(&mut lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_full_bulk_lane_leaves_room_to_those_above() {
        let intents = Intents::default();
        let _bulk = intents.room(Lane::Bulk, 96).await;
        assert!(intents.room(Lane::Bulk, 1).now_or_never().is_none());
        let _follow_up = intents.room(Lane::FollowUp, 16).await;
        assert!(intents.room(Lane::FollowUp, 1).now_or_never().is_none());
        let mut transactional = intents.room(Lane::Transactional, 16).await;
        assert!(intents.room(Lane::Transactional, 1).now_or_never().is_none());
        transactional.shrink_to(10);
        assert!(intents.room(Lane::Transactional, 6).now_or_never().is_some());
        transactional.settle(3);
        assert!(intents.room(Lane::Transactional, 9).now_or_never().is_some());
    }

    #[tokio::test]
    async fn hand_overs_wait_for_places_and_lanes_take_turns_by_weight() {
        let width = Width::new(8);
        let mut bulk = Vec::new();
        for _ in 0..6 {
            bulk.push(width.enter(Lane::Bulk).now_or_never().unwrap());
        }
        assert!(width.enter(Lane::Bulk).now_or_never().is_none());
        let mut urgent: Vec<_> = (0..2).map(|_| width.enter(Lane::Transactional).now_or_never().unwrap()).collect();
        let mut waiting = [Box::pin(width.enter(Lane::Bulk)), Box::pin(width.enter(Lane::Transactional))];
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        bulk.pop();
        let in_now: Vec<bool> = waiting.iter_mut().map(|one| one.as_mut().now_or_never().is_some()).collect();
        assert_eq!(in_now, [false, true], "the more urgent one comes first");
        urgent.clear();
    }

    #[tokio::test]
    async fn a_width_of_one_lets_every_lane_in() {
        let width = Width::new(1);
        for lane in Lane::ALL {
            assert!(width.enter(lane).now_or_never().is_some(), "{lane:?}");
        }
    }
}
