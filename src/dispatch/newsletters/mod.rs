//! Newsletters: opens runs when their time comes, moves their cursors as the transport takes what they bring, and closes them when
//! everybody is accounted for.
//!
//! Any number of processes may do so side by side: a run is opened once by its key, a cursor is moved by whoever has locked it, and
//! what a process leaves behind in the middle another goes on with.

mod close;
mod expand;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::expand::Moved;
use super::Dispatcher;
use crate::{
    campaigns::{
        self, CampaignState, Plan, Run, RunState,
        runs::{self, CHUNK, Cursor},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, Effect, Lane, Queue},
    database::StoreError,
    delivery::{Channel, Transport},
    gate::pauses,
    ids::{CampaignId, RunId},
    preferences,
    workers::{Done, Job},
};

/// How long a pass goes on before it says what it has done.
const PASS: Duration = Duration::from_secs(20);
/// How long it rests while the transport has enough to do.
const REST: Duration = Duration::from_millis(20);
/// How often in a row it rests before it ends.
const MOST_RESTS: u32 = 50;
/// When it looks again at a run that waits for something.
const SOON: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// Carries newsletters out.
#[derive(Debug)]
pub struct RunNewsletters(pub Arc<Dispatcher>);

/// What a pass did.
#[derive(Debug, Default)]
struct Tally {
    opened: usize,
    reached: usize,
    closed: usize,
}

/// What became of the cursors that were due.
#[derive(Debug, Default)]
struct Round {
    /// How many customers were reached.
    reached: usize,
    /// Some cursor was moved.
    moved: bool,
    /// Some cursor waits until the transport has taken what it brought.
    waits: bool,
}

/// A run under way, with all that is needed to move it.
#[derive(Debug)]
struct UnderWay {
    run: Run,
    campaign: CampaignState,
    plan: Arc<Plan>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { opened, reached, closed } = self;
        write!(f, "opened {opened}, reached {reached}, closed {closed}")
    }
}

impl RunNewsletters {
    async fn make_pass(&self, stop: &CancellationToken) -> Result<Done, StoreError> {
        let (started, mut tally, mut rests) = (Instant::now(), Tally::default(), 0);
        // Where nothing leaves, one worker acts at a time: it would rest in vain.
        let most_rests = if matches!(self.0.of.transport, Transport::Nowhere) { 0 } else { MOST_RESTS };
        let clock = &self.0.of.clock;
        while !stop.is_cancelled() && started.elapsed() < PASS {
            let now = clock.now();
            campaigns::end_ranges(&self.0.of.db, now).await?;
            tally.opened += campaigns::fire(&self.0.of.db, now).await?;
            let under_way = self.under_way(now).await?;
            let round = self.move_cursors(&under_way, now).await?;
            tally.reached += round.reached;
            tally.closed += self.close(&under_way, now).await?;
            if round.moved {
                rests = 0;
            } else if round.waits && rests < most_rests {
                rests += 1;
                tokio::select! {
                    () = tokio::time::sleep(REST) => {}
                    () = stop.cancelled() => {}
                }
            } else {
                break;
            }
        }
        if tally.opened + tally.reached + tally.closed > 0 {
            tracing::info!(%tally, "newsletters");
        }
        Ok(Done { summary: tally.to_string(), next_time: self.next_time().await? })
    }

    /// When there is something to do again.
    async fn next_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let (db, now) = (self.0.of.db.reader(), self.0.of.clock.now());
        let planned = campaigns::next_time(db).await?;
        let cursor = runs::next_due(db, now).await?;
        let is_busy = runs::is_any_due(db, now).await?;
        let soon = is_busy.then(|| now + SOON);
        Ok([planned, cursor, soon].into_iter().flatten().min())
    }

    /// The runs that are open, those that waited for an earlier one let go.
    async fn under_way(&self, now: Timestamp) -> Result<Vec<UnderWay>, StoreError> {
        let of = &self.0.of;
        let mut open = runs::open(of.db.reader(), None).await?;
        open.retain(|run| !run.is_backfill);
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<RunId> = open.iter().map(|run| run.run_id).collect();
        let standings = runs::standings(of.db.reader(), &ids).await?;
        let keys = open.iter().map(|run| (run.campaign_id.clone(), run.campaign_version));
        let plans = of.plans.load(of.db.reader(), keys).await?;
        let mut busy: HashMap<CampaignId, RunId> = HashMap::new();
        let mut under_way = Vec::with_capacity(open.len());
        for mut run in open {
            let missing =
                || StoreError::Corrupt { table: "campaign_runs", detail: format!("{} has no plan", run.run_id) };
            let plan = plans.get(&(run.campaign_id.clone(), run.campaign_version)).ok_or_else(missing)?.clone();
            let campaign = standings.get(&run.run_id).map_or(CampaignState::Archived, |standing| standing.campaign);
            let is_first = *busy.entry(run.campaign_id.clone()).or_insert(run.run_id) == run.run_id;
            if run.state == RunState::Queued && is_first && campaign == CampaignState::Active {
                campaigns::start_queued(&of.db, &mut run, &plan, now).await?;
            }
            under_way.push(UnderWay { run, campaign, plan });
        }
        Ok(under_way)
    }

    async fn move_cursors(&self, under_way: &[UnderWay], now: Timestamp) -> Result<Round, StoreError> {
        let db = self.0.of.db.reader();
        let mut round = Round::default();
        for one in under_way {
            let (over, going_on) = (one.run.state == RunState::Canceled, one.run.state == RunState::Running);
            if !over && !going_on {
                continue;
            }
            let due_by = going_on.then_some(now);
            for cursor in runs::cursors(db, one.run.run_id, due_by).await? {
                self.move_cursor(one, &cursor, now, &mut round).await?;
            }
            if going_on && one.run.local.is_some() {
                let home = preferences::zone(db, None).await?;
                round.reached += self.reach_movers(one, home, now).await?;
            }
        }
        Ok(round)
    }

    async fn move_cursor(
        &self,
        one: &UnderWay,
        cursor: &Cursor,
        now: Timestamp,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let moved = if one.run.state == RunState::Canceled {
            self.count_rest(one, cursor, (BlockReason::Canceled, Effect::Cancel), now).await?
        } else if cursor.expire_time <= now {
            self.count_rest(one, cursor, (BlockReason::Expired, Effect::Expire), now).await?
        } else if one.campaign == CampaignState::Paused || self.is_held_up(one, now).await? {
            return Ok(());
        } else if self.has_enough(&one.run.campaign_id, now).await? {
            round.waits = true;
            return Ok(());
        } else {
            self.expand(one, cursor, now).await?
        };
        match moved {
            Moved::Reached(count) => {
                round.moved = true;
                round.reached += count;
            }
            Moved::ByOthers => round.waits = true,
        }
        Ok(())
    }

    /// Whether nothing of a run would go out now, whoever it is for: then nothing is planned ahead either.
    async fn is_held_up(&self, one: &UnderWay, now: Timestamp) -> Result<bool, StoreError> {
        let (of, purpose) = (&self.0.of, one.run.purpose);
        let pauses = pauses::active(of.db.reader(), now).await?;
        let is_paused = pauses.iter().any(|pause| pause.holds(Channel::Email, purpose, now));
        Ok(is_paused || of.breaker.rest().is_some() || of.senders.readiness().trouble(purpose).is_some())
    }

    /// Whether a chunk of a campaign's contacts waits for the transport already: two at most are alive, beside those that something
    /// puts off.
    async fn has_enough(&self, campaign: &CampaignId, now: Timestamp) -> Result<bool, StoreError> {
        let queue = Queue { lane: Lane::Bulk, campaign_id: Some(campaign.clone()) };
        Ok(contacts::count_due(self.0.of.db.reader(), &queue, now, CHUNK).await? >= CHUNK)
    }
}

impl Job for RunNewsletters {
    fn id(&self) -> &'static str {
        "run-newsletters"
    }

    fn cron(&self) -> &'static str {
        "*/5 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(self.make_pass(stop))
    }
}
