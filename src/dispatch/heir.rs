use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::capacity::{Capacity, Room, Successor};
use crate::delivery::{Announcement, Conversation};

/// A hand-over that takes longer has no heir: its letter would wait for an answer that need not come.
const LATE: Duration = Duration::from_secs(1);

/// Who gets the place of a hand-over that is under way, and the conversation with it: its letter is announced in the same write
/// as the end of the letter before it.
#[derive(Debug)]
pub struct Heir<'a> {
    width: &'a Capacity,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room,
    successor: Option<Successor>,
    is_late: bool,
}

impl<'a> Heir<'a> {
    /// Nobody yet.
    pub fn to(width: &'a Capacity, room: Room) -> Self {
        Self { width, state: Mutex::new(State { room, successor: None, is_late: false }) }
    }

    /// Names whose turn it is, once; answers how to announce their letter.
    pub fn name(&self) -> Option<Announcement> {
        let mut state = self.lock();
        if state.is_late {
            return None;
        }
        state.successor = self.width.successor(&mut state.room);
        Some(state.successor.as_ref()?.announcement.clone())
    }

    /// Lets the heir go once it has waited for long, and then waits for ever.
    pub async fn let_go_when_late<T>(&self) -> T {
        tokio::time::sleep(LATE).await;
        {
            let mut state = self.lock();
            state.is_late = true;
            if let Some(successor) = state.successor.take() {
                self.width.line_up_again(successor, state.room.lane());
            }
        }
        std::future::pending().await
    }

    /// The place is free; so is the conversation, if it was not cut off.
    pub fn inherit(self, conversation: Option<Conversation>) {
        let State { room, successor, .. } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(successor) = successor {
            successor.seat(room, conversation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{contacts::Lane, delivery::Envelope, dispatch::capacity::Place};

    fn announcement() -> Announcement {
        let address = "anna@example.com".parse().unwrap();
        Announcement::of(Envelope { name: "cnt_1", from: &address, to: &address, letter: b"a\r\n" })
    }

    /// All places but one are taken by others, and that one by whoever has an heir.
    async fn last_place(width: &Capacity) -> (Vec<Place>, Place) {
        let others = [Lane::Bulk, Lane::FollowUp, Lane::Transactional].map(|lane| width.enter(lane, None));
        let others = futures_util::future::join_all(others).await;
        (others, width.enter(Lane::Transactional, None).await)
    }

    #[tokio::test]
    async fn the_heir_is_whoever_had_the_next_turn_and_has_the_place_at_once() {
        let width = Capacity::of_transport(4);
        let (_others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, room);
        assert!(heir.name().is_none(), "nobody waits");
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        assert!(waiting.as_mut().now_or_never().is_none(), "the place is not free yet");
        assert_eq!(width.free(Lane::Transactional), 0);
        heir.inherit(None);
        let place = waiting.now_or_never().expect("the place is free");
        assert_eq!((width.free(Lane::Transactional), place.room.lane()), (0, Lane::Transactional));
        drop(place);
        assert_eq!(width.free(Lane::Transactional), 1);
    }

    #[tokio::test]
    async fn who_has_no_room_in_its_lane_is_no_heir() {
        let width = Capacity::of_transport(4);
        let others = [Lane::Bulk, Lane::Bulk, Lane::Transactional].map(|lane| width.enter(lane, None));
        let _others = futures_util::future::join_all(others).await;
        let heir = Heir::to(&width, width.enter(Lane::FollowUp, None).await.room);
        let mut bulk = Box::pin(width.enter(Lane::Bulk, Some(announcement())));
        assert!(bulk.as_mut().now_or_never().is_none());
        assert!(heir.name().is_none());
        let mut follow_up = Box::pin(width.enter(Lane::FollowUp, Some(announcement())));
        assert!(follow_up.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        heir.inherit(None);
        assert_eq!(follow_up.now_or_never().map(|place| place.room.lane()), Some(Lane::FollowUp));
    }

    #[tokio::test(start_paused = true)]
    async fn an_heir_is_let_go_when_the_one_before_takes_long_and_gets_the_next_place() {
        let width = Capacity::of_transport(4);
        let (mut others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, room);
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        let never = tokio::time::timeout(2 * LATE, heir.let_go_when_late::<()>()).await;
        assert!(never.is_err());
        assert!(heir.name().is_none(), "whoever is late has no heir");
        assert!(waiting.as_mut().now_or_never().is_none());
        others.pop();
        assert!(waiting.now_or_never().is_some());
        heir.inherit(None);
    }

    #[tokio::test]
    async fn an_heir_that_does_not_want_to_wait_leaves_the_place_free() {
        let width = Capacity::of_transport(4);
        let (_others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, room);
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        drop(waiting);
        heir.inherit(None);
        assert_eq!(width.free(Lane::Transactional), 1);
    }
}
