use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::capacity::{Capacity, Room, Successor};
use crate::{
    contacts::Lane,
    delivery::{Announcement, Conversation},
};

/// A hand-over that takes longer has no heir: its letter would wait for an answer that need not come.
const LATE: Duration = Duration::from_millis(500);
/// How long nobody names an heir after a hand-over that took so long: each one that is let go costs a connection.
const CAUTION: Duration = Duration::from_secs(60);

/// When a hand-over was late the last time that had an heir, or was one: the server may not take what announces a letter.
#[derive(Debug, Default)]
pub struct Caution(Mutex<Option<Instant>>);

impl Caution {
    fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn holds(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| since.elapsed() < CAUTION)
    }
}

/// Who gets the place of a hand-over that is under way, and the conversation with it: its letter is announced in the same write
/// as the end of the letter before it.
#[derive(Debug)]
pub struct Heir<'a> {
    width: &'a Capacity,
    caution: &'a Caution,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room,
    /// Whose letter has the place.
    own: Lane,
    /// It was announced itself.
    was_announced: bool,
    successor: Option<Successor>,
    is_late: bool,
}

impl<'a> Heir<'a> {
    /// Nobody yet.
    pub fn to(width: &'a Capacity, caution: &'a Caution, room: Room, was_announced: bool) -> Self {
        let own = room.lane();
        let state = State { room, own, was_announced, successor: None, is_late: false };
        Self { width, caution, state: Mutex::new(state) }
    }

    /// Names whose turn it is, once; answers how to announce their letter.
    pub fn name(&self) -> Option<Announcement> {
        let mut state = self.lock();
        if state.is_late || self.caution.holds() {
            return None;
        }
        let state = &mut *state;
        state.successor = self.width.successor(&mut state.room);
        Some(state.successor.as_ref()?.announcement.clone())
    }

    /// Lets the heir go once it has waited for long, and then waits for ever.
    pub async fn let_go_when_late<T>(&self) -> T {
        tokio::time::sleep(LATE).await;
        {
            let mut state = self.lock();
            let state = &mut *state;
            state.is_late = true;
            if state.was_announced {
                self.caution.begin();
            }
            if let Some(successor) = state.successor.take() {
                self.caution.begin();
                self.width.line_up_again(successor, &mut state.room, state.own);
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
        let (width, caution) = (Capacity::of_transport(4), Caution::default());
        let (_others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, &caution, room, false);
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
        let (width, caution) = (Capacity::of_transport(4), Caution::default());
        let others = [Lane::Bulk, Lane::Bulk, Lane::Transactional].map(|lane| width.enter(lane, None));
        let _others = futures_util::future::join_all(others).await;
        let heir = Heir::to(&width, &caution, width.enter(Lane::FollowUp, None).await.room, false);
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
        let (width, caution) = (Capacity::of_transport(4), Caution::default());
        let (mut others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, &caution, room, false);
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        let never = tokio::time::timeout(2 * LATE, heir.let_go_when_late::<()>()).await;
        assert!(never.is_err());
        assert!(heir.name().is_none(), "whoever is late has no heir");
        assert!(waiting.as_mut().now_or_never().is_none());
        others.pop();
        let place = waiting.now_or_never().expect("a place is free");
        heir.inherit(None);
        let next = Heir::to(&width, &caution, place.room, false);
        let _more = Box::pin(width.enter(Lane::Transactional, Some(announcement()))).as_mut().now_or_never();
        assert!(next.name().is_none(), "for a while nobody has an heir");
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_was_announced_and_takes_long_makes_the_next_ones_cautious() {
        let (width, caution) = (Capacity::of_transport(4), Caution::default());
        let (_others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, &caution, room, true);
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(tokio::time::timeout(2 * LATE, heir.let_go_when_late::<()>()).await.is_err());
        heir.inherit(None);
        let next = Heir::to(&width, &caution, waiting.await.room, false);
        let _more = Box::pin(width.enter(Lane::Transactional, Some(announcement()))).as_mut().now_or_never();
        assert!(next.name().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_letter_that_takes_long_keeps_the_place_as_one_of_its_own_lane() {
        let (width, caution) = (Capacity::of_transport(8), Caution::default());
        let bulk = futures_util::future::join_all((0..6).map(|_| width.enter(Lane::Bulk, None))).await;
        let _others = [width.enter(Lane::FollowUp, None).await, width.enter(Lane::Transactional, None).await];
        let heirs: Vec<_> = bulk.into_iter().map(|place| Heir::to(&width, &caution, place.room, false)).collect();
        let mut urgent: Vec<_> =
            (0..6).map(|_| Box::pin(width.enter(Lane::Transactional, Some(announcement())))).collect();
        urgent.iter_mut().for_each(|one| assert!(one.as_mut().now_or_never().is_none()));
        assert!(heirs.iter().all(|heir| heir.name().is_some()));
        let late = heirs.iter().map(|heir| tokio::time::timeout(2 * LATE, heir.let_go_when_late::<()>()));
        futures_util::future::join_all(late).await;
        drop(urgent);
        let mut more = Box::pin(width.enter(Lane::Bulk, None));
        drop(_others);
        assert!(more.as_mut().now_or_never().is_none(), "two places are not for bulk");
        assert_eq!(width.free(Lane::Transactional), 2);
    }

    #[tokio::test]
    async fn an_heir_that_does_not_want_to_wait_leaves_the_place_free() {
        let (width, caution) = (Capacity::of_transport(4), Caution::default());
        let (_others, Place { room, .. }) = last_place(&width).await;
        let heir = Heir::to(&width, &caution, room, false);
        let mut waiting = Box::pin(width.enter(Lane::Transactional, Some(announcement())));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(heir.name().is_some());
        drop(waiting);
        heir.inherit(None);
        assert_eq!(width.free(Lane::Transactional), 1);
    }
}
