//! How much goes on at once. Higher lanes have room that lower ones cannot take, and lower ones a share that higher ones
//! cannot take away.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::Turns;
use crate::contacts::Lane;

/// What a lane gets of what is scarce, beside the others.
pub fn weight(lane: Lane) -> u32 {
    match lane {
        Lane::Transactional => 16,
        Lane::FollowUp => 4,
        Lane::Bulk => 1,
    }
}

/// How many contacts a lot of a lane has at most: two lots fit into the intents that the lane may have open, so that one is
/// decided or settled while the other is handed over.
pub fn lot_size(lane: Lane) -> usize {
    match lane {
        Lane::Transactional | Lane::FollowUp => super::LOT,
        Lane::Bulk => 48,
    }
}

/// So much room for all lanes. Where it is scarce, the lanes that wait take turns by weight.
#[derive(Debug, Clone)]
pub struct Capacity(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    limits: Limits,
    taken: [usize; 3],
    waiting: [VecDeque<(usize, oneshot::Sender<Room>)>; 3],
    turns: Turns<Lane>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    all: usize,
    below_transactional: usize,
    of_bulk: usize,
}

/// Room that a lane has taken; dropping it makes room for the next.
#[derive(Debug)]
pub struct Room {
    of: Option<Capacity>,
    lane: Lane,
    amount: usize,
}

impl Capacity {
    /// For the intents that a process may have open: what a kill leaves in doubt at most.
    pub fn of_intents() -> Self {
        Self::new(Limits { all: 128, below_transactional: 112, of_bulk: 96 })
    }

    /// For the letters that a transport takes at once: each lower lane leaves one place in eight, and at least one, to those
    /// above, as long as there is one for each.
    pub fn of_transport(width: usize) -> Self {
        let reserve = (width / 8).max(1);
        let but = |reserves: usize| width.saturating_sub(reserves * reserve).max(1);
        Self::new(Limits { all: width, below_transactional: but(1), of_bulk: but(2) })
    }

    fn new(limits: Limits) -> Self {
        let (taken, waiting) = ([0; 3], Default::default());
        Self(Arc::new(Mutex::new(Lines { limits, taken, waiting, turns: Turns::default() })))
    }

    /// Waits for room for `amount`, which must not be more than the lane can have.
    pub async fn enter(&self, lane: Lane, amount: usize) -> Room {
        let turn = {
            let mut lines = self.lines();
            let (sender, turn) = oneshot::channel();
            lines.waiting[lane.place()].push_back((amount, sender));
            self.let_in(&mut lines);
            turn
        };
        // The sender is dropped only with the whole service.
        turn.await.unwrap_or(Room { of: None, lane, amount })
    }

    fn let_in(&self, lines: &mut Lines) {
        loop {
            let wanting: Vec<Lane> = Lane::ALL.into_iter().filter(|lane| lines.front_fits(*lane)).collect();
            let next = lines.turns.next(&wanting);
            let Some((lane, (amount, sender))) =
                next.and_then(|lane| Some((lane, lines.waiting[lane.place()].pop_front()?)))
            else {
                return;
            };
            let room = Room { of: Some(self.clone()), lane, amount };
            match sender.send(room) {
                Ok(()) => {
                    lines.taken[lane.place()] += amount;
                    lines.turns.had(&lane, amount, weight(lane));
                }
                // Whoever asked has gone away: nobody is let in, and there is nothing to give back.
                Err(mut room) => room.of = None,
            }
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn front_fits(&self, lane: Lane) -> bool {
        let Some((amount, _)) = self.waiting[lane.place()].front() else {
            return false;
        };
        let Limits { all, below_transactional, of_bulk } = self.limits;
        let [transactional, follow_up, bulk] = self.taken;
        let lower = follow_up + bulk + amount;
        transactional + lower <= all
            && match lane {
                Lane::Transactional => true,
                Lane::FollowUp => lower <= below_transactional,
                Lane::Bulk => bulk + amount <= of_bulk && lower <= below_transactional,
            }
    }
}

impl Room {
    /// Keeps so much of it, and gives the rest back.
    pub fn shrink_to(&mut self, amount: usize) {
        self.give_back(self.amount.saturating_sub(amount));
    }

    /// Gives so much of it back.
    pub fn give_back(&mut self, amount: usize) {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        if let Some(capacity) = &self.of {
            let mut lines = capacity.lines();
            lines.taken[self.lane.place()] -= amount;
            capacity.let_in(&mut lines);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_full_bulk_lane_leaves_room_to_those_above() {
        let intents = Capacity::of_intents();
        let _bulk = intents.enter(Lane::Bulk, 96).await;
        assert!(intents.enter(Lane::Bulk, 1).now_or_never().is_none());
        let _follow_up = intents.enter(Lane::FollowUp, 16).await;
        assert!(intents.enter(Lane::FollowUp, 1).now_or_never().is_none());
        let mut transactional = intents.enter(Lane::Transactional, 16).await;
        assert!(intents.enter(Lane::Transactional, 1).now_or_never().is_none());
        transactional.shrink_to(10);
        assert!(intents.enter(Lane::Transactional, 6).now_or_never().is_some());
        transactional.give_back(3);
        assert!(intents.enter(Lane::Transactional, 9).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_for_much_does_not_keep_other_lanes_from_little() {
        let intents = Capacity::of_intents();
        let _follow_up = intents.enter(Lane::FollowUp, 80).await;
        let mut bulk = Box::pin(intents.enter(Lane::Bulk, 48));
        assert!(bulk.as_mut().now_or_never().is_none());
        let one = intents.enter(Lane::FollowUp, 1).now_or_never();
        assert!(one.is_some());
    }

    #[tokio::test]
    async fn hand_overs_wait_for_places_and_the_more_urgent_comes_first() {
        let width = Capacity::of_transport(8);
        let mut bulk: Vec<_> = (0..6).map(|_| width.enter(Lane::Bulk, 1).now_or_never().unwrap()).collect();
        assert!(width.enter(Lane::Bulk, 1).now_or_never().is_none());
        let urgent: Vec<_> = (0..2).map(|_| width.enter(Lane::Transactional, 1).now_or_never().unwrap()).collect();
        let mut waiting = [Box::pin(width.enter(Lane::Bulk, 1)), Box::pin(width.enter(Lane::Transactional, 1))];
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        bulk.pop();
        let in_now: Vec<bool> = waiting.iter_mut().map(|one| one.as_mut().now_or_never().is_some()).collect();
        assert_eq!(in_now, [false, true]);
        drop(urgent);
    }

    #[tokio::test]
    async fn a_width_of_one_lets_every_lane_in() {
        let width = Capacity::of_transport(1);
        for lane in Lane::ALL {
            assert!(width.enter(lane, 1).now_or_never().is_some(), "{lane:?}");
        }
    }
}
