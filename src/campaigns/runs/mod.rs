//! Runs: the firings of newsletters, and how far each has come.
//!
//! A run is a **cursor** over its audience in the order of ids, never a row for each recipient up front; one whose wall-clock time
//! comes to each customer where they live has a cursor for each zone. Whoever moves a cursor writes what became of the customers
//! between in the same transaction, and only if nobody else has moved it: a run that is cut off anywhere goes on from there.
//!
//! Of the audience nobody is forgotten. Who may be written to gets a contact, once in a run by a key of the database; the others are
//! counted by reason ([`Exclusion`]), without a row for each. A customer who moves to another zone meanwhile is noted, because the
//! cursors would come to them twice, or never.

mod entity;
mod run;
mod store;

use std::collections::HashSet;

use chrono::TimeDelta;

pub use self::{
    run::{Cursor, Exclusion, Run, RunState, Share},
    store::{
        RunStanding, advance, cancel_open, cursors, exclude, exclusions, exclusions_of, find, insert, is_any_due,
        list as page_of, lock, lock_cursor, movers, next_due, open, standings, take_movers, turn, versions,
    },
};
use super::{Campaign, CatchUp, Firing, Plan, Recurring, Trigger};
use crate::{
    calendar::{LocalTime, Zone},
    clock::Timestamp,
    contacts, customers,
    database::{Connection, StoreError, WriteTx},
    filter::Wanted,
    ids::{CustomerId, RunId},
};

/// How many customers a cursor passes at once.
pub const CHUNK: u64 = 500;
/// What begins so little late was not missed.
const GRACE: TimeDelta = TimeDelta::minutes(1);

/// How a run comes to be.
#[derive(Debug, Clone, Copy)]
pub enum Opening {
    /// It begins now.
    Start,
    /// It waits for an earlier one.
    Queue,
    /// It is left out.
    Skip(&'static str),
}

impl Recurring {
    /// For how long a missed firing is worth catching up with.
    fn patience(&self) -> TimeDelta {
        match self.catch_up {
            CatchUp::Skip => GRACE,
            CatchUp::Latest => GRACE + TimeDelta::minutes(self.catch_up_window_minutes.into()),
        }
    }
}

impl Plan {
    /// For how long a firing that was missed still goes out.
    fn catches_up_for(&self) -> TimeDelta {
        match &self.trigger {
            Trigger::Recurring(recurring) => recurring.patience(),
            _ => self.patience(),
        }
    }

    /// Whether a firing is too late to go out to anybody.
    pub fn has_missed(&self, firing: &Firing, now: Timestamp) -> bool {
        firing.last() + self.catches_up_for() < now
    }
}

impl Run {
    /// A run of a campaign for one of its firings.
    pub fn of_firing(campaign: &Campaign, firing: &Firing) -> Self {
        let (nominal_time, local) = (firing.start, firing.local);
        Self { firing: firing.key(), nominal_time, local, manual: false, ..Self::by_hand(campaign, nominal_time) }
    }

    /// A run that an operator asks for.
    pub fn by_hand(campaign: &Campaign, now: Timestamp) -> Self {
        let run_id = RunId::generate();
        Self {
            run_id,
            campaign_id: campaign.campaign_id.clone(),
            campaign_version: campaign.version,
            firing: format!("manual {run_id}"),
            nominal_time: now,
            local: None,
            manual: true,
            is_backfill: false,
            purpose: campaign.purpose,
            state: RunState::Queued,
            note: String::new(),
            start_time: None,
            end_time: None,
        }
    }
}

/// Keeps a new run; false when its campaign has one for this firing.
pub async fn begin(
    tx: &WriteTx,
    run: &mut Run,
    plan: &Plan,
    opening: Opening,
    home: Zone,
    now: Timestamp,
) -> Result<bool, StoreError> {
    match opening {
        Opening::Queue => run.state = RunState::Queued,
        Opening::Skip(why) => {
            run.state = RunState::Skipped;
            run.note = why.to_owned();
            run.end_time = Some(now);
        }
        Opening::Start => {
            run.state = RunState::Running;
            run.start_time = Some(now);
            let cursors = first_cursors(tx, run, plan, home, now).await?;
            return store::insert(tx, run, &cursors).await;
        }
    }
    store::insert(tx, run, &[]).await
}

/// Lets a run go that waited for an earlier one.
pub async fn start(tx: &WriteTx, run: &mut Run, plan: &Plan, home: Zone, now: Timestamp) -> Result<bool, StoreError> {
    run.state = RunState::Running;
    run.start_time = Some(now);
    let cursors = first_cursors(tx, run, plan, home, now).await?;
    store::insert_cursors(tx, &cursors).await?;
    store::turn(tx, RunState::Queued, run).await
}

async fn first_cursors(
    tx: &WriteTx,
    run: &Run,
    plan: &Plan,
    home: Zone,
    now: Timestamp,
) -> Result<Vec<Cursor>, StoreError> {
    let Some(local) = run.local else {
        return Ok(vec![cursor(run, plan, Share::All, run.nominal_time)]);
    };
    let zones = customers::inhabited_zones(tx).await?;
    let shares = zones.into_iter().map(|zone| (Share::Zone(zone), zone)).chain([(Share::Elsewhere, home)]);
    let missed = |cursor: &Cursor| !run.manual && cursor.due_time + plan.catches_up_for() < now;
    let mut cursors: Vec<Cursor> =
        shares.map(|(share, zone)| cursor(run, plan, share, zone.instant(local.0))).collect();
    // Where it came too late to be caught up with, nobody is reached any more.
    for cursor in cursors.iter_mut().filter(|cursor| missed(cursor)) {
        cursor.expire_time = cursor.due_time;
    }
    Ok(cursors)
}

fn cursor(run: &Run, plan: &Plan, share: Share, due_time: Timestamp) -> Cursor {
    Cursor { run_id: run.run_id, share, due_time, expire_time: due_time + plan.patience(), position: None, version: 0 }
}

/// A customer who lives elsewhere now.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// Who.
    pub customer: CustomerId,
    /// Where they lived, as far as that was known.
    pub from: Option<Zone>,
    /// Where they live now.
    pub to: Option<Zone>,
}

/// Notes for every run under way that locked customers have moved to other zones, so that each comes to them once.
pub async fn follow(tx: &WriteTx, moves: &[Move]) -> Result<(), StoreError> {
    let under_way = store::open(tx, None).await?;
    for run in under_way.iter().filter(|run| run.state == RunState::Running) {
        if let Some(local) = run.local {
            follow_in(tx, run.run_id, local, moves).await?;
        }
    }
    Ok(())
}

async fn follow_in(tx: &WriteTx, run_id: RunId, local: LocalTime, moves: &[Move]) -> Result<(), StoreError> {
    let shares: HashSet<Share> = moves.iter().flat_map(|one| [Share::of(one.from), Share::of(one.to)]).collect();
    let shares: Vec<Share> = shares.into_iter().collect();
    let standing = store::touch(tx, run_id, &shares).await?;
    let has_passed = |share: Share, customer: CustomerId| {
        let (position, done) = standing.get(&share)?;
        Some(*done || position.is_some_and(|position| customer <= position))
    };
    let ids: Vec<CustomerId> = moves.iter().map(|one| one.customer).collect();
    let noted = store::movers(tx, run_id, Some(&ids)).await?;
    let (mut reached, mut missed, mut to_come, mut new) = (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
    for one in moves {
        let known = noted.get(&one.customer).copied();
        let is_reached = known.unwrap_or(has_passed(Share::of(one.from), one.customer) == Some(true));
        match has_passed(Share::of(one.to), one.customer) {
            _ if is_reached => reached.push(one.customer),
            Some(true) => missed.push(one.customer),
            Some(false) => to_come.push(one.customer),
            None => {
                // Nobody lived there when the run began.
                new.extend(one.to);
                to_come.push(one.customer);
            }
        }
    }
    store::note_movers(tx, run_id, &reached, true).await?;
    store::note_movers(tx, run_id, &missed, false).await?;
    store::forget_movers(tx, run_id, &to_come).await?;
    if new.is_empty() {
        return Ok(());
    }
    let patience = store::patience(tx, run_id).await?.unwrap_or(contacts::PATIENCE);
    let cursor = |zone: Zone| {
        let due_time = zone.instant(local.0);
        let (share, expire_time) = (Share::Zone(zone), due_time + patience);
        Cursor { run_id, share, due_time, expire_time, position: None, version: 0 }
    };
    store::insert_cursors(tx, &new.into_iter().map(cursor).collect::<Vec<_>>()).await
}

/// How many customers a run is still to reach.
pub async fn remaining(db: &impl Connection, run: &Run, audience: &Wanted) -> Result<i64, StoreError> {
    let movers = if run.local.is_some() { store::movers(db, run.run_id, None).await?.len() } else { 0 };
    let mut remaining = i64::try_from(movers).unwrap_or(0);
    for cursor in store::cursors(db, run.run_id, None).await? {
        remaining += remaining_of(db, &cursor, audience).await?;
    }
    Ok(remaining)
}

/// How many customers come after a cursor; who has moved is reached by itself.
pub async fn remaining_of(db: &impl Connection, cursor: &Cursor, audience: &Wanted) -> Result<i64, StoreError> {
    let residents = cursor.share.residents();
    let mut remaining = customers::count_audience(db, residents, audience, cursor.position, None).await?;
    if cursor.share != Share::All {
        let movers = store::all_movers(db, cursor.run_id).await?;
        for some in movers.chunks(500) {
            remaining -= customers::count_audience(db, residents, audience, cursor.position, Some(some)).await?;
        }
    }
    Ok(remaining)
}
