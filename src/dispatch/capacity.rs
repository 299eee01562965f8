//! How much goes on at once. Higher lanes have room that lower ones cannot take, and lower ones a share that higher ones
//! cannot take away.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use super::Turns;
use crate::{
    contacts::Lane,
    delivery::{Announcement, Conversation},
};

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
pub struct Capacity {
    lines: Arc<Mutex<Lines>>,
    given_back: Arc<Notify>,
}

#[derive(Debug)]
struct Lines {
    limits: Limits,
    taken: [usize; 3],
    waiting: [VecDeque<Waiting>; 3],
    turns: Turns<Lane>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    all: usize,
    below_transactional: usize,
    of_bulk: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Of the letter that waits, if it can be announced before it has a place.
    announcement: Option<Announcement>,
    turn: oneshot::Sender<Place>,
}

/// A place of the transport.
#[derive(Debug)]
pub struct Place {
    /// Free again when this is dropped.
    pub room: Room,
    /// Where the letter has been announced.
    pub conversation: Option<Conversation>,
}

/// Who has a place next: waits for whoever has it now, who can announce its letter.
#[derive(Debug)]
pub struct Successor {
    /// Of its letter.
    pub announcement: Announcement,
    turn: oneshot::Sender<Place>,
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
        let lines = Lines { limits, taken, waiting, turns: Turns::default() };
        Self { lines: Arc::new(Mutex::new(lines)), given_back: Arc::default() }
    }

    /// How much a lane can have now.
    pub fn free(&self, lane: Lane) -> usize {
        self.lines().free(lane)
    }

    /// So much room, if there is.
    pub fn try_enter(&self, lane: Lane, amount: usize) -> Option<Room> {
        let mut lines = self.lines();
        (amount <= lines.free(lane)).then(|| {
            lines.taken[lane.place()] += amount;
            Room { of: Some(self.clone()), lane, amount }
        })
    }

    /// Waits for one place, its own or one that somebody leaves to it.
    pub async fn enter(&self, lane: Lane, mut announcement: Option<Announcement>) -> Place {
        loop {
            let (turn, seat) = oneshot::channel();
            {
                let mut lines = self.lines();
                let waiting = Waiting { announcement: announcement.take(), turn };
                lines.waiting[lane.place()].push_back(waiting);
                self.let_in(&mut lines);
            }
            // Whoever was to leave it a place may have gone away with it.
            if let Ok(place) = seat.await {
                return place;
            }
        }
    }

    /// Whose turn it would be if this place were free: it is theirs from now on, and whoever has it now has to [leave it
    /// to them](Successor::seat).
    pub fn successor(&self, room: &mut Room) -> Option<Successor> {
        let mut lines = self.lines();
        lines.taken[room.lane.place()] -= 1;
        let next =
            lines.next().filter(|lane| lines.waiting[lane.place()].front().is_some_and(Waiting::can_be_announced));
        let waiting = next.and_then(|lane| Some((lane, lines.waiting[lane.place()].pop_front()?)));
        let Some((lane, Waiting { announcement: Some(announcement), turn })) = waiting else {
            lines.taken[room.lane.place()] += 1;
            return None;
        };
        lines.taken[lane.place()] += 1;
        lines.turns.had(&lane, 1, weight(lane));
        room.lane = lane;
        Some(Successor { announcement, turn })
    }

    /// Waits until room was given back, if none was since this was last asked.
    pub async fn given_back(&self) {
        self.given_back.notified().await;
    }

    /// Whoever was to follow need not wait for it any longer, and is the next of its lane to get a place; the room stays with the
    /// lane whose letter keeps it.
    pub fn line_up_again(&self, successor: Successor, room: &mut Room, own: Lane) {
        let mut lines = self.lines();
        lines.waiting[room.lane.place()].push_front(Waiting { announcement: None, turn: successor.turn });
        lines.taken[room.lane.place()] -= 1;
        lines.taken[own.place()] += 1;
        room.lane = own;
        self.let_in(&mut lines);
    }

    fn let_in(&self, lines: &mut Lines) {
        while let Some(lane) = lines.next() {
            let Some(waiting) = lines.waiting[lane.place()].pop_front() else { return };
            let room = Room { of: Some(self.clone()), lane, amount: 1 };
            match waiting.turn.send(Place { room, conversation: None }) {
                Ok(()) => {
                    lines.taken[lane.place()] += 1;
                    lines.turns.had(&lane, 1, weight(lane));
                }
                // Whoever asked has gone away: nobody is let in, and there is nothing to give back.
                Err(mut place) => place.room.of = None,
            }
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn can_be_announced(&self) -> bool {
        self.announcement.is_some() && !self.turn.is_closed()
    }
}

impl Successor {
    /// Leaves the place to them, and the conversation in which their letter was announced, if it was.
    pub fn seat(self, room: Room, conversation: Option<Conversation>) {
        // Whoever did not want to wait has gone: the place is free, and the conversation ends.
        drop(self.turn.send(Place { room, conversation }));
    }
}

impl Lines {
    /// The lane whose turn it is among those that wait and have room.
    fn next(&mut self) -> Option<Lane> {
        let can_enter = |lane: &Lane| !self.waiting[lane.place()].is_empty() && self.free(*lane) > 0;
        let wanting: Vec<Lane> = Lane::ALL.into_iter().filter(can_enter).collect();
        self.turns.next(&wanting)
    }

    fn free(&self, lane: Lane) -> usize {
        let Limits { all, below_transactional, of_bulk } = self.limits;
        let [transactional, follow_up, bulk] = self.taken;
        let lower = follow_up + bulk;
        let of_all = all.saturating_sub(transactional + lower);
        let of_lower = below_transactional.saturating_sub(lower);
        match lane {
            Lane::Transactional => of_all,
            Lane::FollowUp => of_all.min(of_lower),
            Lane::Bulk => of_all.min(of_lower).min(of_bulk.saturating_sub(bulk)),
        }
    }
}

impl Room {
    /// Whose it is.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// How much it is.
    pub fn amount(&self) -> usize {
        self.amount
    }

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
            capacity.given_back.notify_one();
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

    #[test]
    fn a_full_bulk_lane_leaves_room_to_those_above() {
        let intents = Capacity::of_intents();
        let _bulk = intents.try_enter(Lane::Bulk, 96).unwrap();
        assert!(intents.try_enter(Lane::Bulk, 1).is_none());
        let _follow_up = intents.try_enter(Lane::FollowUp, 16).unwrap();
        assert!(intents.try_enter(Lane::FollowUp, 1).is_none());
        let mut transactional = intents.try_enter(Lane::Transactional, 16).unwrap();
        assert!(intents.try_enter(Lane::Transactional, 1).is_none());
        transactional.shrink_to(10);
        assert_eq!(intents.free(Lane::Transactional), 6);
        transactional.give_back(3);
        assert!(intents.try_enter(Lane::Transactional, 9).is_some());
    }

    #[tokio::test]
    async fn room_that_was_given_back_is_heard_of_even_later() {
        let intents = Capacity::of_intents();
        assert!(intents.given_back().now_or_never().is_none());
        drop(intents.try_enter(Lane::Bulk, 96));
        assert!(intents.given_back().now_or_never().is_some());
        assert!(intents.given_back().now_or_never().is_none());
    }

    #[tokio::test]
    async fn hand_overs_wait_for_places_and_the_more_urgent_comes_first() {
        let width = Capacity::of_transport(8);
        let mut bulk: Vec<_> = (0..6).map(|_| width.enter(Lane::Bulk, None).now_or_never().unwrap()).collect();
        assert!(width.enter(Lane::Bulk, None).now_or_never().is_none());
        let urgent: Vec<_> = (0..2).map(|_| width.enter(Lane::Transactional, None).now_or_never().unwrap()).collect();
        let mut waiting = [Box::pin(width.enter(Lane::Bulk, None)), Box::pin(width.enter(Lane::Transactional, None))];
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
            assert!(width.enter(lane, None).now_or_never().is_some(), "{lane:?}");
        }
    }
}
