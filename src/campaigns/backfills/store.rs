use std::{collections::HashMap, num::NonZeroU32};

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::LockType,
};

use super::{Backfill, entity};
use crate::{
    campaigns::{
        CampaignState, Run, RunState,
        runs::{self, standings},
    },
    database::{StoreError, WriteTx},
    events::Position,
    ids::RunId,
};

/// A backfill that is not over, and where it stands.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// Its run.
    pub run: Run,
    /// Where its campaign stands.
    pub campaign: CampaignState,
    /// How far it has come.
    pub backfill: Backfill,
}

/// Keeps a new backfill.
pub async fn insert(tx: &WriteTx, run_id: RunId, new: &Backfill) -> Result<(), StoreError> {
    entity::Entity::insert(row(run_id, new)).exec_without_returning(tx).await?;
    Ok(())
}

/// Writes a backfill back.
pub async fn save(tx: &WriteTx, run_id: RunId, of: &Backfill) -> Result<(), StoreError> {
    entity::Entity::update(row(run_id, of)).exec(tx).await?;
    Ok(())
}

/// A backfill, kept from others until this transaction ends; none where it is not in this state, or over.
pub async fn lock(tx: &WriteTx, run_id: RunId, state: RunState) -> Result<Option<Backfill>, StoreError> {
    let run = runs::lock(tx, run_id).await?;
    if !run.is_some_and(|run| run.state == state && run.is_open()) {
        return Ok(None);
    }
    entity::Entity::find_by_id(run_id).lock(LockType::Update).one(tx).await?.map(domain).transpose()
}

/// The backfills of these runs.
pub async fn of_runs(db: &impl ConnectionTrait, ids: &[RunId]) -> Result<HashMap<RunId, Backfill>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = entity::Entity::find().filter(entity::Column::RunId.is_in(ids.iter().copied())).all(db).await?;
    rows.into_iter().map(|row| Ok((row.run_id, domain(row)?))).collect()
}

/// The backfills that are not over, the oldest first.
pub async fn open(db: &impl ConnectionTrait) -> Result<Vec<UnderWay>, StoreError> {
    let open: Vec<Run> = runs::open(db, None).await?.into_iter().filter(|run| run.is_backfill).collect();
    let ids: Vec<RunId> = open.iter().map(|run| run.run_id).collect();
    let (mut backfills, standings) = (of_runs(db, &ids).await?, standings(db, &ids).await?);
    let under_way = |run: Run| {
        let campaign = standings.get(&run.run_id)?.campaign;
        Some(UnderWay { backfill: backfills.remove(&run.run_id)?, campaign, run })
    };
    Ok(open.into_iter().filter_map(under_way).collect())
}

fn row(run_id: RunId, of: &Backfill) -> entity::ActiveModel {
    entity::ActiveModel {
        run_id: Set(run_id),
        range_start: Set(of.start),
        range_end: Set(of.end),
        max_per_minute: Set(number(of.max_per_minute.get())),
        customer_id: Set(of.position.map(|position| position.customer_id)),
        occur_time: Set(of.position.map(|position| position.occur_time)),
        event_id: Set(of.position.map(|position| position.event_id)),
        due_time: Set(of.due_time),
        room: Set(number(of.room)),
        entered: Set(of.entered),
        exited: Set(of.exited),
        ignored: Set(of.ignored),
        unreached: Set(of.unreached),
    }
}

fn number(of: u32) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn domain(row: entity::Model) -> Result<Backfill, StoreError> {
    let corrupt = || StoreError::Corrupt { table: "backfills", detail: format!("rate of {}", row.run_id) };
    let position = |((customer_id, occur_time), event_id)| Position { customer_id, occur_time, event_id };
    Ok(Backfill {
        start: row.range_start,
        end: row.range_end,
        max_per_minute: u32::try_from(row.max_per_minute).ok().and_then(NonZeroU32::new).ok_or_else(corrupt)?,
        position: row.customer_id.zip(row.occur_time).zip(row.event_id).map(position),
        due_time: row.due_time,
        room: u32::try_from(row.room).map_err(|_| corrupt())?,
        entered: row.entered,
        exited: row.exited,
        ignored: row.ignored,
        unreached: row.unreached,
    })
}
