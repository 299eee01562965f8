use std::{fmt, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    audience::{AT_ONCE, Audience},
    timeline::{Sources, Timeline},
};
use crate::{
    clock::{Clock, ClockHand},
    contacts, customers,
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
    /// What looks at customers again and again.
    pub looking: Arc<dyn Job>,
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
    pub looking: Arc<Worker>,
    /// Ends the keeping of the lease with the stage.
    _lease: DropGuard,
}

/// Builds a stage with an audience as it was when the timeline begins.
pub(super) async fn build(
    from: &Sources<'_>,
    audience: &Audience,
    timeline: &Timeline,
    casting: &Casting,
) -> Result<Stage, StoreError> {
    let db = Database::in_memory().await?;
    let tx = db.begin_write().await?;
    preferences::copy_settings(from.db.reader(), &tx).await?;
    templates::copy(from.db.reader(), &tx).await?;
    let to_come = audience.came.keys().copied().collect();
    for some in audience.customers.chunks(AT_ONCE) {
        customers::copy(from.db.reader(), &tx, some, &to_come).await?;
        copy_past(from, &tx, some, timeline).await?;
    }
    database::commit(tx).await?;

    let beginning = timeline.next_time().unwrap_or(from.of.start).min(from.of.start);
    let (clock, hand) = Clock::simulated(beginning);
    let lease = Lease::take(db.clone(), "rehearsal".to_owned()).await?;
    let stop = CancellationToken::new();
    tokio::spawn(Arc::clone(&lease).keep(stop.clone()));
    let Actors { intake, jobs, looking } = casting(Ground { db: db.clone(), clock: clock.clone(), lease });
    let worker = |(job, bell)| Worker::new(job, bell, clock.clone(), stop.clone());
    let workers = jobs.into_iter().map(worker).collect();
    let looking = worker((looking, Arc::default()));
    Ok(Stage { db, clock, hand, intake, workers, looking, _lease: stop.drop_guard() })
}

async fn copy_past(
    from: &Sources<'_>,
    tx: &WriteTx,
    some: &[CustomerId],
    timeline: &Timeline,
) -> Result<(), StoreError> {
    let db = from.db.reader();
    let (anew, settled): (Vec<_>, Vec<_>) = some.iter().partition(|id| timeline.spoke.contains(id));
    preferences::copy(db, tx, &settled, preferences::Said::Everything).await?;
    preferences::copy(db, tx, &anew, preferences::Said::Settings).await?;
    events::copy(db, tx, some, &timeline.memory).await?;
    contacts::copy_sent(db, tx, some, &timeline.sent_before(from)).await
}

impl fmt::Debug for Actors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actors").finish_non_exhaustive()
    }
}
