use std::{fmt, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    audience::{AT_ONCE, Audience},
    timeline::{Sources, Timeline},
};
use crate::{
    campaigns::Plan,
    clock::{Clock, ClockHand, Timestamp},
    contacts::{self, Sent},
    customers,
    database::{self, Database, StoreError, WriteTx},
    dispatch::Lease,
    events,
    ids::CustomerId,
    intake::Intake,
    preferences, templates,
    workers::{Bell, Job, Worker},
};

/// What acts is built on this.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The record.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// The right to hold contacts.
    pub lease: Arc<Lease>,
}

/// What acts on what happens and on time: the same as in the service.
pub struct Actors {
    /// What changes plans.
    pub intake: Intake,
    /// What acts when its time has come.
    pub jobs: Vec<(Arc<dyn Job>, Arc<Bell>)>,
}

/// Builds what acts, with a transport that leads nowhere.
pub type Casting = Arc<dyn Fn(Ground) -> Actors + Send + Sync>;

/// A world in memory in which a rehearsal is played.
pub(super) struct Stage {
    pub db: Database,
    pub clock: Clock,
    pub hand: ClockHand,
    pub intake: Intake,
    pub workers: Vec<Arc<Worker>>,
    /// Ends the keeping of the lease with the stage.
    _lease: DropGuard,
}

/// Builds a stage with an audience as it was when the timeline begins.
pub(super) async fn build(
    from: &Sources<'_>,
    audience: &Audience,
    timeline: &Timeline,
    plan: &Plan,
    casting: &Casting,
) -> Result<Stage, StoreError> {
    let db = Database::in_memory().await?;
    let tx = db.begin_write().await?;
    preferences::copy_settings(from.db.reader(), &tx).await?;
    templates::copy(from.db.reader(), &tx).await?;
    for some in audience.customers.chunks(AT_ONCE) {
        copy_customers(from, &tx, some, timeline, plan).await?;
    }
    database::commit(tx).await?;

    let beginning = timeline.next_time().unwrap_or(from.of.start).min(from.of.start);
    let (clock, hand) = Clock::simulated(beginning);
    let lease = Lease::take(db.clone(), "rehearsal".to_owned()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&lease).keep(stop.clone()));
    let Actors { intake, jobs } = casting(Ground { db: db.clone(), clock: clock.clone(), lease });
    let workers = jobs.into_iter().map(|(job, bell)| Worker::new(job, bell, clock.clone(), stop.clone())).collect();
    Ok(Stage { db, clock, hand, intake, workers, _lease: stop.drop_guard() })
}

async fn copy_customers(
    from: &Sources<'_>,
    tx: &WriteTx,
    some: &[CustomerId],
    timeline: &Timeline,
    plan: &Plan,
) -> Result<(), StoreError> {
    let (db, start) = (from.db.reader(), from.of.start);
    customers::copy(db, tx, some).await?;
    let (anew, settled): (Vec<_>, Vec<_>) = some.iter().partition(|id| timeline.spoke.contains(id));
    preferences::copy(db, tx, &settled, preferences::Said::Everything).await?;
    preferences::copy(db, tx, &anew, preferences::Said::Settings).await?;
    let (heard, everything) = (plan.heard_types(), Timestamp::UNIX_EPOCH);
    if plan.looks_back() {
        events::copy(db, tx, some, None, (everything, start)).await?;
    } else if let (Some(occurred), false) = (timeline.earliest_occurrence(), heard.is_empty()) {
        events::copy(db, tx, some, Some(&heard), (occurred, start)).await?;
    }
    let since = if plan.looks_back() { everything } else { start - timeline.looks_back };
    let before = Sent { start: since, end: start, except: Some(from.campaign_id.clone()) };
    contacts::copy_sent(db, tx, some, &before).await
}

impl fmt::Debug for Actors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actors").finish_non_exhaustive()
    }
}
