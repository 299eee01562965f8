//! Backfills: events that occurred before a campaign was active enter it, a few at a time, by the rules by which they would have
//! entered it then.

mod admission;

use std::{
    collections::HashSet,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::admission::Admission;
use super::{Intake, TRIES, called_off, enroll::Started, journeys::Zones, unasked};
use crate::{
    campaigns::{
        self, Backfill, Campaign, CampaignState, EndCause, EnrollmentState, Run, RunState,
        backfills::{self, UnderWay},
        enrollments::{self, Open},
        runs,
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff},
    customers,
    database::{self, StoreError},
    events::{self, Event, Position},
    ids::{CampaignId, CustomerId, EnrollmentId, RunId},
    preferences,
    rpc::{Fault, Reply, RequestKey},
    workers::{Done, Job},
};

/// How many events are judged in a transaction: enough to share its cost, few enough to keep others waiting only shortly.
const CHUNK: u64 = 200;
/// How many enrollments end together.
const AT_ONCE: u64 = 200;
/// How long a pass goes on before it says what it has done.
const PASS: Duration = Duration::from_secs(20);

/// What an operator wants to be backfilled.
#[derive(Debug, Clone)]
pub struct BackfillOrder {
    /// Which campaign.
    pub campaign_id: CampaignId,
    /// When the events occurred: from this moment on,
    pub start: Timestamp,
    /// and before this one.
    pub end: Timestamp,
    /// How many may enter in a minute.
    pub max_per_minute: NonZeroU32,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Backfilled {
    /// How many events would enter as things stood.
    pub matched: i64,
    /// The run; none where it was only counted.
    pub run: Option<Run>,
}

impl Intake {
    /// Begins a backfill, or only counts how many events would enter.
    pub async fn backfill(
        &self,
        order: &BackfillOrder,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Backfilled>, Fault> {
        // Asked first: counting takes its time.
        if let Some(key) = key {
            let tx = self.db.begin_write().await?;
            if let Some(first) = key.begin(&tx, self.clock.now()).await? {
                return Ok(Reply::replayed(read_again(&tx, &first.resource, &first.counts).await?));
            }
            database::rollback(tx).await?;
        }
        let mut tries = 1;
        loop {
            match self.try_to_backfill(order, key, validate_only).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_backfill(
        &self,
        order: &BackfillOrder,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Backfilled>, Fault> {
        let now = self.clock.now();
        let campaign = backfills::fit(self.db.reader(), &order.campaign_id).await?;
        let backfill = Backfill::new((order.start, order.end), order.max_per_minute, now);
        let matched = self.count_entering(&campaign, &backfill, now).await?;
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(read_again(&tx, &first.resource, &first.counts).await?));
        }
        let run = backfills::begin(&tx, &campaign, &backfill, now).await?;
        if let Some(key) = key {
            key.finish(&tx, run.run_id, &[matched]).await?;
        }
        if validate_only {
            database::rollback(tx).await?;
            return Ok(Reply::fresh(Backfilled { matched, run: None }));
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(Backfilled { matched, run: Some(run) }))
    }

    /// How many events would enter as things stand: each is judged, and nothing is written.
    async fn count_entering(&self, of: &Campaign, backfill: &Backfill, now: Timestamp) -> Result<i64, Fault> {
        let (db, which) = (self.db.reader(), backfill.events(&of.plan));
        let (mut position, mut entered, mut matched) = (None, Vec::new(), 0);
        loop {
            let events = events::occurred(db, &which, position, CHUNK).await?;
            let Some(last) = events.last() else { return Ok(matched) };
            position = Some(Position::after(last));
            let started =
                Started { campaign_id: &of.campaign_id, version: of.version, purpose: of.purpose, plan: &of.plan };
            let mut admission = Admission::load(db, started, &events, now).await?;
            admission.remember(entered);
            entered = events.iter().filter_map(|event| admission.admit(event)).map(|one| one.enrollment).collect();
            matched += entered.iter().map(|one| i64::from(one.state == EnrollmentState::Active)).sum::<i64>();
            // What else the last customer did comes next.
            entered.retain(|one| one.customer_id == last.customer_id);
        }
    }

    /// Lets the next events enter that have room: a transaction. None where there was nothing to do.
    async fn let_in(&self, one: &UnderWay) -> Result<Option<usize>, Fault> {
        let (now, run) = (self.clock.now(), &one.run);
        let key = (run.campaign_id.clone(), run.campaign_version);
        let plans = self.plans.load(self.db.reader(), std::iter::once(key.clone())).await?;
        let missing = || StoreError::Corrupt { table: "campaign_runs", detail: format!("{} has no plan", run.run_id) };
        let plan = plans.get(&key).ok_or_else(missing)?;
        let which = one.backfill.events(plan);
        // Others need not wait while this is looked for: whoever goes on meanwhile is noticed.
        let events = events::occurred(self.db.reader(), &which, one.backfill.position, CHUNK).await?;
        let tx = self.db.begin_write().await?;
        // Before the run, in the order in which whoever ends the campaign comes to both.
        if !campaigns::stays_active(&tx, &run.campaign_id).await? {
            return Ok(None);
        }
        let Some(mut backfill) = backfills::lock(&tx, run.run_id, RunState::Running).await? else { return Ok(None) };
        if backfill.position != one.backfill.position || backfill.rests(now) {
            return Ok(None);
        }
        customers::lock_all(&tx, customers_of(&events)).await?;
        let started =
            Started { campaign_id: &run.campaign_id, version: run.campaign_version, purpose: run.purpose, plan };
        let mut admission = Admission::load(&tx, started, &events, now).await?;
        let (mut entering, mut restarts, before) = (Vec::new(), Vec::new(), backfill.entered);
        for event in &events {
            if backfill.rests(now) {
                break;
            }
            backfill.position = Some(Position::after(event));
            match admission.admit(event) {
                None => backfill.ignored += 1,
                Some(admitted) => {
                    if admitted.enrollment.state == EnrollmentState::Active {
                        backfill.let_in(now);
                    } else {
                        backfill.exited += 1;
                    }
                    restarts.extend(admitted.restarts);
                    entering.push(enrollments::Enrollment { run_id: Some(run.run_id), ..admitted.enrollment });
                }
            }
        }
        super::enroll::end(&tx, restarts, EndCause::Restarted, "a backfill started it again", now).await?;
        let known = customers::zones(&tx, &customers_of(&events)).await?;
        let zones = Zones { known, home: preferences::policy(&tx).await?.time_zone };
        let travelled = self.travel(&tx, entering, &zones, now).await?;
        enrollments::insert(&tx, &travelled.enrollments).await?;
        self.arrive(&tx, &travelled, now).await?;
        backfills::save(&tx, run.run_id, &backfill).await?;
        let is_short = u64::try_from(events.len()).is_ok_and(|found| found < CHUNK);
        if is_short && backfill.position == events.last().map(Position::after).or(one.backfill.position) {
            let over = Run { state: RunState::Finished, end_time: Some(now), ..run.clone() };
            runs::turn(&tx, RunState::Running, &over).await?;
        }
        database::commit(tx).await?;
        self.ring_for_all(&travelled.enrollments, &travelled.contacts);
        Ok(Some(usize::try_from(backfill.entered - before).unwrap_or(0)))
    }

    /// Ends what began by a backfill that was called off, and closes it.
    async fn end_backfill(&self, one: &UnderWay) -> Result<(), Fault> {
        let (now, run) = (self.clock.now(), &one.run);
        loop {
            let tx = self.db.begin_write().await?;
            let (ids, whose): (Vec<EnrollmentId>, Vec<CustomerId>) =
                enrollments::open(&tx, Open::By(run.run_id), None, AT_ONCE).await?.into_iter().unzip();
            if ids.is_empty() {
                break;
            }
            customers::lock_all(&tx, whose).await?;
            let mut open = enrollments::lock_active(&tx, &ids).await?;
            open.iter_mut().for_each(|one| one.end(EnrollmentState::Stopped, Some(EndCause::Operator), now));
            enrollments::save(&tx, &open).await?;
            let block = called_off(BlockReason::Canceled, "the backfill by which it began was called off");
            contacts::cancel(&tx, CallOff::Enrollments(ids), &block, now).await?;
            database::commit(tx).await?;
        }
        let tx = self.db.begin_write().await?;
        if let Some(mut backfill) = backfills::lock(&tx, run.run_id, RunState::Canceled).await? {
            backfill.unreached = backfills::remaining(&tx, run, &backfill).await?;
            backfills::save(&tx, run.run_id, &backfill).await?;
            runs::turn(&tx, RunState::Canceled, &Run { end_time: Some(now), ..run.clone() }).await?;
        }
        Ok(database::commit(tx).await?)
    }
}

/// What an equal request was answered.
async fn read_again(tx: &database::WriteTx, resource: &str, counts: &[i64]) -> Result<Backfilled, Fault> {
    let corrupt = || StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
    let run_id: RunId = resource.parse().map_err(|_| corrupt())?;
    let run = runs::find(tx, run_id).await?.ok_or_else(corrupt)?;
    Ok(Backfilled { matched: counts.first().copied().ok_or_else(corrupt)?, run: Some(run) })
}

/// Whose these events are, each once.
fn customers_of(events: &[Event]) -> Vec<CustomerId> {
    let distinct: HashSet<CustomerId> = events.iter().map(|event| event.customer_id).collect();
    distinct.into_iter().collect()
}

/// Carries backfills out.
#[derive(Debug)]
pub struct RunBackfills(pub Intake);

impl RunBackfills {
    /// Brings each backfill on by one step; answers how many events entered, and whether there was anything to do.
    async fn make_round(&self, open: &[UnderWay]) -> Result<(usize, bool), Fault> {
        let (now, mut entered, mut moved) = (self.0.clock.now(), 0, false);
        for one in open {
            match one.run.state {
                RunState::Canceled => {
                    self.0.end_backfill(one).await?;
                    moved = true;
                }
                RunState::Running if one.campaign == CampaignState::Active && !one.backfill.rests(now) => {
                    if let Some(count) = self.0.let_in(one).await? {
                        entered += count;
                        moved = true;
                    }
                }
                _ => {}
            }
        }
        Ok((entered, moved))
    }
}

impl Job for RunBackfills {
    fn id(&self) -> &'static str {
        "run-backfills"
    }

    fn cron(&self) -> &'static str {
        "*/5 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (begun, mut entered, mut failures) = (Instant::now(), 0, 0);
            let next_time = loop {
                let open = backfills::open(self.0.db.reader()).await?;
                let acting = open.iter().filter(|one| one.campaign == CampaignState::Active);
                let next = acting.map(|one| one.backfill.due_time).min();
                if stop.is_cancelled() || begun.elapsed() > PASS {
                    break next;
                }
                match self.make_round(&open).await {
                    Ok((_, false)) => break next,
                    Ok((count, true)) => entered += count,
                    Err(fault) if fault.is_conflict() && failures < TRIES => failures += 1,
                    Err(fault) => return Err(unasked(fault, "backfills")),
                }
            };
            Ok(Done { summary: format!("entered {entered}"), next_time })
        })
    }
}
