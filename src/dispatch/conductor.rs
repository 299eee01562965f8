use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Dispatcher,
    capacity::{Room, lot_size, weight},
    decide::{Decided, Which},
    lot::Lot,
    rates::{Moments, Taken},
    score::{Score, Tally},
};
use crate::{
    campaigns,
    clock::Timestamp,
    contacts::{Queue, claims},
    database::StoreError,
    delivery::Channel,
    gate::pauses::{self, Pause},
    ids::ClaimToken,
};

/// How long a pass goes on starting lots before it says what it has done.
const PASS: Duration = Duration::from_secs(20);
/// How long a look at the queues is good for.
const LOOK: Duration = Duration::from_millis(100);
/// How long a pass waits for a moment that a rate allows; beyond it, it ends and comes back then.
const PATIENCE: Duration = Duration::from_millis(300);

/// A lot that is being decided.
#[derive(Debug)]
pub(super) struct Start {
    token: ClaimToken,
    pub queue: Queue,
    /// For so many.
    room: Room,
    /// When the transport allows letters.
    transport: Option<Moments>,
    /// When every rate that applies allows them.
    moments: Vec<Moments>,
}

/// A lot with what was decided about it.
pub(super) type Deciding = (Start, Result<Decided, StoreError>);

/// What to do next.
enum Next {
    /// Another lot was started.
    Started,
    /// Nothing can be started before this long, if that is known.
    Wait(Option<Duration>),
}

impl Dispatcher {
    /// Starts lots as long as something is due; answers what was done, and when the next contact is due.
    pub(super) async fn make_pass(
        self: &Arc<Self>,
        stop: &CancellationToken,
    ) -> Result<(Tally, Option<Timestamp>), StoreError> {
        let (started, mut wake) = (Instant::now(), None);
        let mut score = self.score.lock().await;
        let pass = &mut *score;
        (pass.looked, pass.ahead) = (None, None);
        while !stop.is_cancelled() && pass.failure.is_none() {
            if started.elapsed() > PASS {
                self.of.bell.ring();
                break;
            }
            while let Some(done) = pass.lots.try_join_next() {
                pass.note(done);
            }
            while let Some(done) = pass.deciding.try_join_next() {
                self.conclude(pass, done, stop);
            }
            let wait = match self.start_one(pass).await {
                Ok(Next::Started) => continue,
                Ok(Next::Wait(wait)) => wait,
                Err(error) => {
                    pass.failure = Some(error);
                    break;
                }
            };
            let is_idle = pass.lots.is_empty() && pass.deciding.is_empty();
            if is_idle && wait.is_none_or(|wait| wait > PATIENCE) {
                if std::mem::take(&mut pass.emptied) {
                    // What else waits in those queues is due at another moment.
                    pass.looked = None;
                    continue;
                }
                wake = self.wake(pass, wait);
                break;
            }
            tokio::select! {
                Some(done) = pass.deciding.join_next() => self.conclude(pass, done, stop),
                Some(done) = pass.lots.join_next() => pass.note(done),
                () = self.intents.given_back() => {}
                () = self.of.bell.wait() => pass.looked = None,
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait.unwrap_or(LOOK).min(LOOK)) => {}
            }
        }
        while let Some(done) = pass.deciding.join_next().await {
            self.conclude(pass, done, stop);
        }
        if stop.is_cancelled() {
            while let Some(done) = pass.lots.join_next().await {
                pass.note(done);
            }
        }
        let tally = std::mem::take(&mut pass.tally);
        if tally != Tally::default() {
            tracing::info!(%tally, under_way = pass.lots.len(), "dispatched");
        }
        match pass.failure.take() {
            Some(error) => Err(error),
            None => Ok((tally, wake)),
        }
    }

    /// When there is something to do again. What became due just now is looked for soon, unless all waits.
    fn wake(&self, score: &Score, wait: Option<Duration>) -> Option<Timestamp> {
        let now = self.of.clock.now();
        let due = score.waiting.iter().map(|(_, due)| *due);
        match wait {
            None => due.map(|due| if due > now { due } else { now + LOOK }).min(),
            Some(wait) => due.filter(|due| *due > now).chain([now + wait]).min(),
        }
    }

    /// Starts the lot whose turn it is.
    async fn start_one(self: &Arc<Self>, score: &mut Score) -> Result<Next, StoreError> {
        let Some(token) = self.of.lease.token() else {
            return Ok(Next::Wait(Some(LOOK)));
        };
        if let Some(rest) = self.of.breaker.rest() {
            return Ok(Next::Wait(Some(rest)));
        }
        let on_trial = self.of.breaker.is_on_trial();
        let most_at_once = if on_trial { 1 } else { self.deciders };
        if score.deciding.len() >= most_at_once || on_trial && !score.lots.is_empty() {
            return Ok(Next::Wait(Some(LOOK)));
        }
        if score.looked.is_none_or(|looked| looked.elapsed() > LOOK) {
            self.look(score).await?;
        }
        let due = score.due(self.of.clock.now());
        let with_room: Vec<Queue> = due.iter().filter(|queue| self.intents.free(queue.lane) > 0).cloned().collect();
        let Some(queue) = score.whose_turn(&with_room) else {
            self.look_ahead(score, &due).await?;
            return Ok(Next::Wait(score.shortest_rest()));
        };
        let whole = if on_trial { 1 } else { lot_size(queue.lane) };
        let free = self.intents.free(queue.lane);
        // Small lots cost as much as large ones: where much is on its way, there will be more room soon.
        if free < whole && score.started.elapsed() < LOOK {
            self.look_ahead(score, &[queue]).await?;
            return Ok(Next::Wait(Some(LOOK)));
        }
        let Some(mut room) = self.intents.try_enter(queue.lane, whole.min(free)) else {
            return Ok(Next::Wait(Some(LOOK)));
        };
        let transport = match self.transport_moments(score, room.amount()).await? {
            Ok(moments) => moments,
            Err(wait) => return Ok(Next::Wait(Some(wait))),
        };
        let mut moments: Vec<Moments> = transport.into_iter().collect();
        if let Some(rate) = score.limit(&queue) {
            let most = transport.map_or(room.amount(), |moments| moments.count.min(room.amount()));
            match rate.take(&self.of.db, most).await? {
                Taken::Moments(taken) => moments.push(taken),
                Taken::NothingFor(wait) => {
                    score.spare = transport;
                    score.resting.insert(queue, Instant::now() + wait);
                    return Ok(Next::Started);
                }
            }
        }
        room.shrink_to(moments.iter().map(|moments| moments.count).min().unwrap_or(usize::MAX));
        self.start(score, Start { token, queue, room, transport, moments });
        Ok(Next::Started)
    }

    /// While there is no room, picks and renders what will have its turn: where nobody else sends, that costs nothing if it was in
    /// vain.
    async fn look_ahead(&self, score: &mut Score, queues: &[Queue]) -> Result<(), StoreError> {
        if score.ahead.is_some() || self.of.db.is_shared() {
            return Ok(());
        }
        if let Some(queue) = score.whose_turn(queues) {
            let (which, most) = (Which::Due(&queue), lot_size(queue.lane));
            let drafts = self.pick_ahead(which, most, self.of.clock.now()).await?;
            score.ahead = Some((queue, drafts));
        }
        Ok(())
    }

    /// The next moments that the transport's rate allows, those that were left over first; none = there is no such rate.
    async fn transport_moments(
        &self,
        score: &mut Score,
        most: usize,
    ) -> Result<Result<Option<Moments>, Duration>, StoreError> {
        let Some(rate) = &self.rate else {
            return Ok(Ok(None));
        };
        let spare = score.spare.take().map(|moments| moments.still(Instant::now()));
        if let Some(moments) = spare.filter(|moments| moments.count > 0) {
            return Ok(Ok(Some(moments)));
        }
        Ok(match rate.take(&self.of.db, most).await? {
            Taken::Moments(moments) => Ok(Some(moments)),
            Taken::NothingFor(wait) => Err(wait),
        })
    }

    fn start(self: &Arc<Self>, score: &mut Score, start: Start) {
        score.started = Instant::now();
        let ahead = score.ahead.take().filter(|(of, _)| *of == start.queue).map(|(_, drafts)| drafts);
        score.open.push(start.queue.clone());
        let own = Arc::clone(self);
        score.deciding.spawn(async move {
            let decided = own.decide(Which::Due(&start.queue), start.token, start.room.amount(), ahead).await;
            (start, decided)
        });
    }

    /// Notes what a decision came to, and hands over what goes out.
    fn conclude(self: &Arc<Self>, score: &mut Score, done: Result<Deciding, JoinError>, stop: &CancellationToken) {
        let is_over = |(start, _): &Deciding| score.open.iter().position(|queue| *queue == start.queue);
        match done.as_ref().ok().and_then(is_over) {
            Some(place) => drop(score.open.swap_remove(place)),
            // Whoever broke off does not say what it was at.
            None => score.open.clear(),
        }
        let (start, decided) = match done {
            Ok((start, Ok(decided))) => (start, decided),
            Ok((_, Err(error))) => return score.fail(error),
            Err(error) => return tracing::error!(%error, "a decision broke off; what it held is found by recovery"),
        };
        let (Start { token, queue, room, transport, moments }, Decided { tally, letters, grip }) = (start, decided);
        let (lane, most, count) = (queue.lane, room.amount(), tally.decided);
        score.tally += tally;
        score.queues.had(&queue, count.max(1), 1);
        score.lanes.had(&lane, count.max(1), weight(lane));
        score.spare = transport.map(|moments| moments.after(letters.len())).filter(|left| left.count > 0);
        if count == 0 {
            // Others were quicker, or keep it locked.
            score.resting.insert(queue, Instant::now() + LOOK);
        } else if count == most {
            score.deep = Some(queue);
        } else {
            // There is no more of it until the next look.
            score.waiting.retain(|(waiting, _)| *waiting != queue);
            score.emptied = true;
        }
        if letters.is_empty() {
            return;
        }
        let (own, stop) = (Arc::clone(self), stop.clone());
        let span = tracing::info_span!("lot", lane = lane.name(), letters = letters.len());
        let lot = Lot { lane, token, moments, room, _grip: grip };
        let carry_out = async move {
            let mut tally = Tally::default();
            let done = own.carry_out(lot, letters, &stop, &mut tally).await;
            (tally, done)
        };
        score.lots.spawn(carry_out.instrument(span));
    }

    /// Looks what waits, leaving out what is paused.
    async fn look(&self, score: &mut Score) -> Result<(), StoreError> {
        let db = self.of.db.reader();
        score.waiting = claims::queues(db).await?;
        let now = self.of.clock.now();
        if score.waiting.iter().any(|(queue, due)| queue.campaign_id.is_some() && *due <= now) {
            let paused = campaigns::paused(db).await?;
            score.waiting.retain(|(queue, _)| queue.campaign_id.as_ref().is_none_or(|id| !paused.contains(id)));
            score.limits = campaigns::limits(db).await?.into_iter().collect();
        }
        if score.waiting.iter().any(|(_, due)| *due <= now) {
            let pauses = pauses::active(db, now).await?;
            let holding: Vec<Pause> = pauses.into_iter().filter(|pause| pause.holds_all(Channel::Email, now)).collect();
            score.hold(&holding);
        }
        (score.looked, score.emptied) = (Some(Instant::now()), false);
        Ok(())
    }
}
