use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, LockBehavior, LockType, OnConflict, Query},
};

use super::{
    super::{
        CampaignState,
        entity::{campaign, version},
    },
    Cursor, Exclusion, Run, RunState, Share,
    entity::{cursor, exclusion, mover, run},
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::{CampaignId, CustomerId, RunId},
    rpc::Page,
};

/// Opens a run; false when the campaign has one for this firing.
pub async fn insert(tx: &WriteTx, new: &Run, cursors: &[Cursor]) -> Result<bool, StoreError> {
    let taken = OnConflict::new().do_nothing().to_owned();
    if run::Entity::insert(run_row(new)).on_conflict(taken).exec_without_returning(tx).await? == 0 {
        return Ok(false);
    }
    insert_cursors(tx, cursors).await?;
    Ok(true)
}

/// Adds cursors that a run does not have yet.
pub async fn insert_cursors(tx: &WriteTx, cursors: &[Cursor]) -> Result<(), StoreError> {
    if cursors.is_empty() {
        return Ok(());
    }
    let rows = cursors.iter().map(|one| cursor::ActiveModel {
        run_id: Set(one.run_id),
        zone: Set(one.share.name().to_owned()),
        due_time: Set(one.due_time),
        expire_time: Set(one.expire_time),
        position: Set(one.position),
        done_time: Set(None),
        version: Set(one.version),
    });
    let known = OnConflict::new().do_nothing().to_owned();
    cursor::Entity::insert_many(rows).on_conflict(known).exec_without_returning(tx).await?;
    Ok(())
}

/// One run.
pub async fn find(db: &impl ConnectionTrait, id: RunId) -> Result<Option<Run>, StoreError> {
    run::Entity::find_by_id(id).one(db).await?.map(domain).transpose()
}

/// One run, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: RunId) -> Result<Option<Run>, StoreError> {
    run::Entity::find_by_id(id).lock(LockType::Update).one(tx).await?.map(domain).transpose()
}

/// The runs of a campaign, the latest first, one more than the page holds.
pub async fn list(db: &impl ConnectionTrait, campaign_id: &CampaignId, page: &Page) -> Result<Vec<Run>, StoreError> {
    let mut query = run::Entity::find()
        .filter(run::Column::CampaignId.eq(campaign_id.clone()))
        .order_by_desc(run::Column::RunId)
        .limit(page.size + 1);
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<RunId>().ok()) {
        query = query.filter(run::Column::RunId.lt(after));
    }
    query.all(db).await?.into_iter().map(domain).collect()
}

/// The runs that still have something to do, the oldest first; of one campaign, or of all. As a literal, for the index.
pub async fn open(db: &impl ConnectionTrait, of: Option<&CampaignId>) -> Result<Vec<Run>, StoreError> {
    let mut query = run::Entity::find().filter(Expr::cust("end_time IS NULL")).order_by_asc(run::Column::RunId);
    if let Some(of) = of {
        query = query.filter(run::Column::CampaignId.eq(of.clone()));
    }
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Moves a run on, if it is where it was; answers whether it was.
pub async fn turn(tx: &WriteTx, from: RunState, to: &Run) -> Result<bool, StoreError> {
    let moved = run::Entity::update_many()
        .col_expr(run::Column::State, Expr::val(to.state))
        .col_expr(run::Column::Note, to.note.clone().into())
        .col_expr(run::Column::StartTime, Expr::val(to.start_time))
        .col_expr(run::Column::EndTime, Expr::val(to.end_time))
        .filter(run::Column::RunId.eq(to.run_id))
        .filter(run::Column::State.eq(from))
        .filter(Expr::cust("end_time IS NULL"))
        .exec(tx)
        .await?;
    Ok(moved.rows_affected == 1)
}

/// Calls off every run of a campaign that is not over.
pub async fn cancel_open(tx: &WriteTx, campaign_id: &CampaignId, note: &str) -> Result<(), StoreError> {
    run::Entity::update_many()
        .col_expr(run::Column::State, Expr::val(RunState::Canceled))
        .col_expr(run::Column::Note, note.into())
        .filter(run::Column::CampaignId.eq(campaign_id.clone()))
        .filter(run::Column::State.is_in([RunState::Queued, RunState::Running]))
        .exec(tx)
        .await?;
    Ok(())
}

/// Which version of its campaign each of these runs follows.
pub async fn versions(
    db: &impl ConnectionTrait,
    ids: &[RunId],
) -> Result<HashMap<RunId, (CampaignId, i32)>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(RunId, CampaignId, i32)> = run::Entity::find()
        .select_only()
        .column(run::Column::RunId)
        .column(run::Column::CampaignId)
        .column(run::Column::CampaignVersion)
        .filter(run::Column::RunId.is_in(ids.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(run_id, campaign_id, version)| (run_id, (campaign_id, version))).collect())
}

/// Where a run and its campaign stand.
#[derive(Debug, Clone)]
pub struct RunStanding {
    /// The run.
    pub run: RunState,
    /// The campaign.
    pub campaign: CampaignState,
    /// Who may be reached by the version that it follows, as text; none = everybody.
    pub audience_filter: Option<String>,
}

/// Where these runs and their campaigns stand.
pub async fn standings(db: &impl ConnectionTrait, ids: &[RunId]) -> Result<HashMap<RunId, RunStanding>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let of_campaign =
        run::Entity::belongs_to(campaign::Entity).from(run::Column::CampaignId).to(campaign::Column::CampaignId);
    let of_version = run::Entity::belongs_to(version::Entity)
        .from((run::Column::CampaignId, run::Column::CampaignVersion))
        .to((version::Column::CampaignId, version::Column::Version));
    let rows: Vec<(RunId, RunState, CampaignState, Option<String>)> = run::Entity::find()
        .join(JoinType::InnerJoin, of_campaign.into())
        .join(JoinType::InnerJoin, of_version.into())
        .select_only()
        .column(run::Column::RunId)
        .column(run::Column::State)
        .column_as(campaign::Column::State, "campaign_state")
        .column(version::Column::AudienceFilter)
        .filter(run::Column::RunId.is_in(ids.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    let standing = |(id, run, campaign, audience_filter)| (id, RunStanding { run, campaign, audience_filter });
    Ok(rows.into_iter().map(standing).collect())
}

/// The cursors of a run that are not through, the earliest due first; only those that are due by a moment, or all.
pub async fn cursors(
    db: &impl ConnectionTrait,
    run_id: RunId,
    due_by: Option<Timestamp>,
) -> Result<Vec<Cursor>, StoreError> {
    let mut query = cursor::Entity::find()
        .filter(Expr::cust("done_time IS NULL"))
        .filter(cursor::Column::RunId.eq(run_id))
        .order_by_asc(cursor::Column::DueTime)
        .order_by_asc(cursor::Column::Zone);
    if let Some(due_by) = due_by {
        query = query.filter(cursor::Column::DueTime.lte(due_by));
    }
    query.all(db).await?.into_iter().map(domain_cursor).collect()
}

/// When the next cursor of a run under way is due that is not due now.
pub async fn next_due(db: &impl ConnectionTrait, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let query = of_acting().filter(cursor::Column::DueTime.gt(now)).order_by_asc(cursor::Column::DueTime).limit(1);
    Ok(query.select_only().column(cursor::Column::DueTime).into_tuple().one(db).await?)
}

/// Whether a cursor of a run under way is due.
pub async fn is_any_due(db: &impl ConnectionTrait, now: Timestamp) -> Result<bool, StoreError> {
    let query = of_acting().filter(cursor::Column::DueTime.lte(now)).limit(1);
    let first: Option<RunId> = query.select_only().column(cursor::Column::RunId).into_tuple().one(db).await?;
    Ok(first.is_some())
}

/// The cursors that are not through, of runs under way whose campaigns act.
fn of_acting() -> Select<cursor::Entity> {
    let of_run = cursor::Entity::belongs_to(run::Entity).from(cursor::Column::RunId).to(run::Column::RunId);
    let of_campaign =
        run::Entity::belongs_to(campaign::Entity).from(run::Column::CampaignId).to(campaign::Column::CampaignId);
    cursor::Entity::find()
        .join(JoinType::InnerJoin, of_run.into())
        .join(JoinType::InnerJoin, of_campaign.into())
        .filter(cursor::Column::DoneTime.is_null())
        .filter(run::Column::State.eq(RunState::Running))
        .filter(campaign::Column::State.eq(CampaignState::Active))
}

/// A cursor that is not through and that nobody else moves; kept from others until this transaction ends.
pub async fn lock_cursor(tx: &WriteTx, of: &Cursor) -> Result<Option<Cursor>, StoreError> {
    let query = cursor::Entity::find_by_id((of.run_id, of.share.name().to_owned()))
        .filter(cursor::Column::DoneTime.is_null())
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
    query.one(tx).await?.map(domain_cursor).transpose()
}

/// Moves a cursor on, or is done with it, if nobody has moved it since it was read; answers whether nobody has.
pub async fn advance(
    tx: &WriteTx,
    from: &Cursor,
    position: Option<CustomerId>,
    done_time: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let moved = cursor::Entity::update_many()
        .col_expr(cursor::Column::Position, Expr::val(position))
        .col_expr(cursor::Column::DoneTime, Expr::val(done_time))
        .col_expr(cursor::Column::Version, Expr::col(cursor::Column::Version).add(1))
        .filter(cursor::Column::RunId.eq(from.run_id))
        .filter(cursor::Column::Zone.eq(from.share.name()))
        .filter(cursor::Column::Version.eq(from.version))
        .filter(cursor::Column::DoneTime.is_null())
        .exec(tx)
        .await?;
    Ok(moved.rows_affected == 1)
}

/// Counts customers whom a run left out.
pub async fn exclude(tx: &WriteTx, run_id: RunId, exclusions: &[Exclusion]) -> Result<(), StoreError> {
    if exclusions.is_empty() {
        return Ok(());
    }
    let rows = exclusions.iter().map(|one| exclusion::ActiveModel {
        run_id: Set(run_id),
        reason: Set(one.reason),
        effect: Set(one.effect),
        customers: Set(one.customers),
    });
    let customers = exclusion::Column::Customers;
    let more = OnConflict::columns([exclusion::Column::RunId, exclusion::Column::Reason, exclusion::Column::Effect])
        .value(customers, Expr::col((exclusion::Entity, customers)).add(Expr::col(("excluded", "customers"))))
        .to_owned();
    exclusion::Entity::insert_many(rows).on_conflict(more).exec_without_returning(tx).await?;
    Ok(())
}

/// Whom these runs left out.
pub async fn exclusions(
    db: &impl ConnectionTrait,
    runs: &[RunId],
) -> Result<HashMap<RunId, Vec<Exclusion>>, StoreError> {
    let mut found: HashMap<RunId, Vec<Exclusion>> = HashMap::new();
    if runs.is_empty() {
        return Ok(found);
    }
    let query = exclusion::Entity::find().filter(exclusion::Column::RunId.is_in(runs.iter().copied()));
    for row in query.all(db).await? {
        let one = Exclusion { reason: row.reason, effect: row.effect, customers: row.customers };
        found.entry(row.run_id).or_default().push(one);
    }
    Ok(found)
}

/// Whom a campaign's runs left out, each with the time at which the run was to begin.
pub async fn exclusions_of(
    db: &impl ConnectionTrait,
    campaign_id: &CampaignId,
) -> Result<Vec<(Timestamp, Exclusion)>, StoreError> {
    let of_run = exclusion::Entity::belongs_to(run::Entity).from(exclusion::Column::RunId).to(run::Column::RunId);
    let rows = exclusion::Entity::find()
        .join(JoinType::InnerJoin, of_run.into())
        .select_only()
        .column(run::Column::NominalTime)
        .column(exclusion::Column::Reason)
        .column(exclusion::Column::Effect)
        .column(exclusion::Column::Customers)
        .filter(run::Column::CampaignId.eq(campaign_id.clone()));
    let rows: Vec<(Timestamp, _, _, i64)> = rows.into_tuple().all(db).await?;
    let exclusion = |(time, reason, effect, customers)| (time, Exclusion { reason, effect, customers });
    Ok(rows.into_iter().map(exclusion).collect())
}

/// Touches the cursors of a run for two zones, so that nobody who moves them now does it unnoticed; answers where they stand, and
/// whether they are through.
pub async fn touch(
    tx: &WriteTx,
    run_id: RunId,
    shares: &[Share],
) -> Result<HashMap<Share, (Option<CustomerId>, bool)>, StoreError> {
    let these = Condition::all()
        .add(cursor::Column::RunId.eq(run_id))
        .add(cursor::Column::Zone.is_in(shares.iter().map(|share| share.name())));
    cursor::Entity::update_many()
        .col_expr(cursor::Column::Version, Expr::col(cursor::Column::Version).add(1))
        .filter(these.clone())
        .exec(tx)
        .await?;
    let rows = cursor::Entity::find().filter(these).all(tx).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((Share::from_name(&row.zone)?, (row.position, row.done_time.is_some()))))
        .collect())
}

/// Which of these customers have moved while a run went on, and whether they were reached; or all who were not.
pub async fn movers(
    db: &impl ConnectionTrait,
    run_id: RunId,
    among: Option<&[CustomerId]>,
) -> Result<HashMap<CustomerId, bool>, StoreError> {
    let mut query = mover::Entity::find().filter(mover::Column::RunId.eq(run_id));
    query = match among {
        Some(among) => query.filter(mover::Column::CustomerId.is_in(among.iter().copied())),
        None => query.filter(mover::Column::IsReached.eq(false)).limit(super::CHUNK),
    };
    Ok(query.all(db).await?.into_iter().map(|row| (row.customer_id, row.is_reached)).collect())
}

/// All who have moved while a run went on.
pub async fn all_movers(db: &impl ConnectionTrait, run_id: RunId) -> Result<Vec<CustomerId>, StoreError> {
    let query = mover::Entity::find().select_only().column(mover::Column::CustomerId);
    Ok(query.filter(mover::Column::RunId.eq(run_id)).into_tuple().all(db).await?)
}

/// Notes that those are reached who moved and were not; answers who they are.
pub async fn take_movers(tx: &WriteTx, run_id: RunId) -> Result<Vec<CustomerId>, StoreError> {
    let some: Vec<CustomerId> = movers(tx, run_id, None).await?.into_keys().collect();
    let update = Query::update()
        .table(mover::Entity)
        .value(mover::Column::IsReached, true)
        .and_where(mover::Column::RunId.eq(run_id))
        .and_where(mover::Column::CustomerId.is_in(some))
        .and_where(mover::Column::IsReached.eq(false))
        .returning(Query::returning().column(mover::Column::CustomerId))
        .to_owned();
    tx.query_all(&update).await?.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Notes that customers who moved were reached, or are still to be.
pub async fn note_movers(
    tx: &WriteTx,
    run_id: RunId,
    customers: &[CustomerId],
    is_reached: bool,
) -> Result<(), StoreError> {
    if customers.is_empty() {
        return Ok(());
    }
    let rows = customers.iter().map(|customer| mover::ActiveModel {
        run_id: Set(run_id),
        customer_id: Set(*customer),
        is_reached: Set(is_reached),
    });
    let known = OnConflict::columns([mover::Column::RunId, mover::Column::CustomerId])
        .update_column(mover::Column::IsReached)
        .to_owned();
    mover::Entity::insert_many(rows).on_conflict(known).exec_without_returning(tx).await?;
    Ok(())
}

/// Forgets that customers have moved: the cursor of where they live now comes to them.
pub async fn forget_movers(tx: &WriteTx, run_id: RunId, customers: &[CustomerId]) -> Result<(), StoreError> {
    mover::Entity::delete_many()
        .filter(mover::Column::RunId.eq(run_id))
        .filter(mover::Column::CustomerId.is_in(customers.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// How long a run waits for somebody beyond their time.
pub async fn patience(db: &impl ConnectionTrait, run_id: RunId) -> Result<Option<TimeDelta>, StoreError> {
    let query = cursor::Entity::find().filter(cursor::Column::RunId.eq(run_id)).all(db).await?;
    Ok(query.into_iter().map(|row| row.expire_time - row.due_time).max())
}

fn run_row(of: &Run) -> run::ActiveModel {
    run::ActiveModel {
        run_id: Set(of.run_id),
        campaign_id: Set(of.campaign_id.clone()),
        campaign_version: Set(of.campaign_version),
        firing: Set(of.firing.clone()),
        nominal_time: Set(of.nominal_time),
        local_time: Set(of.local.map(|local| local.to_string())),
        manual: Set(of.manual),
        is_backfill: Set(of.is_backfill),
        purpose: Set(of.purpose),
        state: Set(of.state),
        note: Set(of.note.clone()),
        start_time: Set(of.start_time),
        end_time: Set(of.end_time),
    }
}

fn domain(row: run::Model) -> Result<Run, StoreError> {
    let corrupt = |_| StoreError::Corrupt { table: "campaign_runs", detail: "local_time".to_owned() };
    Ok(Run {
        run_id: row.run_id,
        campaign_id: row.campaign_id,
        campaign_version: row.campaign_version,
        firing: row.firing,
        nominal_time: row.nominal_time,
        local: row.local_time.map(|local| local.parse().map_err(corrupt)).transpose()?,
        manual: row.manual,
        is_backfill: row.is_backfill,
        purpose: row.purpose,
        state: row.state,
        note: row.note,
        start_time: row.start_time,
        end_time: row.end_time,
    })
}

fn domain_cursor(row: cursor::Model) -> Result<Cursor, StoreError> {
    let corrupt = || StoreError::Corrupt { table: "run_cursors", detail: "zone".to_owned() };
    Ok(Cursor {
        run_id: row.run_id,
        share: Share::from_name(&row.zone).ok_or_else(corrupt)?,
        due_time: row.due_time,
        expire_time: row.expire_time,
        position: row.position,
        version: row.version,
    })
}
