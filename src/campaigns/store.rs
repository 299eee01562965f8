use std::{collections::HashMap, num::NonZeroU32};

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, OnConflict, Query, SimpleExpr},
};

use super::{
    ActiveRange, Campaign, CampaignOrder, CampaignState, Plan,
    entity::{campaign, version},
};
use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::{Database, StoreError, WriteTx},
    filter::Wanted,
    ids::CampaignId,
    rpc::{Order, Page},
};

/// False when the id is taken.
pub async fn insert(tx: &WriteTx, new: &Campaign) -> Result<bool, StoreError> {
    let taken = OnConflict::new().do_nothing().to_owned();
    if campaign::Entity::insert(row(new)).on_conflict(taken).exec_without_returning(tx).await? == 0 {
        return Ok(false);
    }
    insert_version(tx, new).await?;
    Ok(true)
}

/// Writes a campaign back; its plan is a new version, or the changed plan of a draft, or as it was.
pub async fn save(tx: &WriteTx, changed: &Campaign, plan: PlanIs) -> Result<(), StoreError> {
    campaign::Entity::update(row(changed)).exec(tx).await?;
    match plan {
        PlanIs::Same => Ok(()),
        PlanIs::NewVersion => insert_version(tx, changed).await,
        PlanIs::ChangedDraft => {
            version::Entity::update_many()
                .col_expr(version::Column::Plan, Expr::val(json(&changed.plan)?))
                .col_expr(version::Column::ExitTypes, Expr::val(heard_types(&changed.plan)))
                .col_expr(version::Column::AudienceFilter, Expr::val(audience_filter(&changed.plan)))
                .filter(version::Column::CampaignId.eq(changed.campaign_id.clone()))
                .filter(version::Column::Version.eq(changed.version))
                .exec(tx)
                .await?;
            Ok(())
        }
    }
}

/// What happens to a campaign's plan when it is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanIs {
    /// Nothing.
    Same,
    /// Nobody follows it yet, so it is changed.
    ChangedDraft,
    /// It becomes a version of its own.
    NewVersion,
}

/// Removes a campaign that nobody followed.
pub async fn delete(tx: &WriteTx, id: &CampaignId) -> Result<(), StoreError> {
    version::Entity::delete_many().filter(version::Column::CampaignId.eq(id.clone())).exec(tx).await?;
    campaign::Entity::delete_by_id(id.clone()).exec(tx).await?;
    Ok(())
}

/// One campaign with its current plan.
pub async fn find(db: &impl ConnectionTrait, id: &CampaignId) -> Result<Option<Campaign>, StoreError> {
    let row = campaign::Entity::find_by_id(id.clone()).one(db).await?;
    Ok(complete(db, row.into_iter().collect()).await?.pop())
}

/// One campaign, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: &CampaignId) -> Result<Option<Campaign>, StoreError> {
    let row = campaign::Entity::find_by_id(id.clone()).lock(LockType::Update).one(tx).await?;
    Ok(complete(tx, row.into_iter().collect()).await?.pop())
}

/// Campaigns, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    wanted: &Wanted,
    order: Order<CampaignOrder>,
    page: &Page,
) -> Result<Vec<Campaign>, StoreError> {
    let time = match order.by {
        CampaignOrder::Id => None,
        CampaignOrder::Created => Some(campaign::Column::CreateTime),
        CampaignOrder::Updated => Some(campaign::Column::UpdateTime),
    };
    let query = campaign::Entity::find().filter(wanted.condition(db));
    let rows = order.read::<_, CampaignId>(query, time, campaign::Column::CampaignId, page).all(db).await?;
    complete(db, rows).await
}

/// What people call a campaign: its plan says so.
pub fn display_name(_: DbBackend) -> SimpleExpr {
    let same = |own: version::Column, column: campaign::Column| {
        Expr::col((version::Entity, own)).equals((campaign::Entity, column))
    };
    let current = Query::select()
        .expr(Expr::cust("campaign_versions.plan ->> 'display_name'"))
        .from(version::Entity)
        .and_where(same(version::Column::CampaignId, campaign::Column::CampaignId))
        .and_where(same(version::Column::Version, campaign::Column::Version))
        .to_owned();
    SimpleExpr::from(current)
}

async fn complete(db: &impl ConnectionTrait, rows: Vec<campaign::Model>) -> Result<Vec<Campaign>, StoreError> {
    let keys = rows.iter().map(|row| (row.campaign_id.clone(), row.version)).collect();
    let mut plans = plans(db, keys).await?;
    rows.into_iter()
        .map(|row| {
            let missing = || StoreError::Corrupt {
                table: "campaign_versions",
                detail: format!("{} has no plan", row.campaign_id),
            };
            let plan = plans.remove(&(row.campaign_id.clone(), row.version)).ok_or_else(missing)?;
            Ok(Campaign {
                campaign_id: row.campaign_id,
                state: row.state,
                state_note: row.state_note,
                version: row.version,
                plan,
                purpose: row.purpose,
                fire_time: row.fire_time,
                scan_time: row.scan_time,
                create_time: row.create_time,
                update_time: row.update_time,
                revision: row.revision,
            })
        })
        .collect()
}

/// These versions.
pub async fn plans(
    db: &impl ConnectionTrait,
    keys: Vec<(CampaignId, i32)>,
) -> Result<HashMap<(CampaignId, i32), Plan>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let any = keys.into_iter().fold(Condition::any(), |any, (id, number)| {
        any.add(version::Column::CampaignId.eq(id).and(version::Column::Version.eq(number)))
    });
    let rows = version::Entity::find().filter(any).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let plan = serde_json::from_value(row.plan).map_err(|wrong| corrupt(&wrong))?;
            Ok(((row.campaign_id, row.version), plan))
        })
        .collect()
}

/// Every plan of the campaigns that act: those who entered under an older one still follow it.
pub async fn acting_plans(db: &impl ConnectionTrait) -> Result<Vec<(CampaignId, Plan)>, StoreError> {
    let acting: Vec<CampaignId> = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::CampaignId)
        .filter(campaign::Column::State.is_in([CampaignState::Active, CampaignState::Paused]))
        .into_tuple()
        .all(db)
        .await?;
    let rows = version::Entity::find().filter(version::Column::CampaignId.is_in(acting)).all(db).await?;
    let plan =
        |row: version::Model| Ok((row.campaign_id, serde_json::from_value(row.plan).map_err(|wrong| corrupt(&wrong))?));
    rows.into_iter().map(plan).collect()
}

/// A campaign that an event concerns as its trigger or its goal.
#[derive(Debug, Clone)]
pub struct Concerned {
    /// Which.
    pub campaign_id: CampaignId,
    /// The version for new enrollments.
    pub version: i32,
    /// Of its topic.
    pub purpose: Purpose,
    /// It starts the campaign.
    pub starts: bool,
    /// It is what the campaign is for.
    pub is_goal: bool,
}

/// What is read of a campaign that an event may concern.
type ConcernedRow =
    (CampaignId, i32, Purpose, String, Option<String>, CampaignState, Option<Timestamp>, Option<Timestamp>);

/// The campaigns that an event of this type starts, as far as it occurred in their active range, or that are for it.
pub async fn concerned_by(tx: &WriteTx, event_type: &str, occur_time: Timestamp) -> Result<Vec<Concerned>, StoreError> {
    let rows: Vec<ConcernedRow> = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::CampaignId)
        .column(campaign::Column::Version)
        .column(campaign::Column::Purpose)
        .column(campaign::Column::EventType)
        .column(campaign::Column::GoalType)
        .column(campaign::Column::State)
        .column(campaign::Column::ActiveFrom)
        .column(campaign::Column::ActiveUntil)
        .filter(campaign::Column::EventType.eq(event_type).or(campaign::Column::GoalType.eq(event_type)))
        .filter(campaign::Column::State.ne(CampaignState::Draft))
        .order_by_asc(campaign::Column::CampaignId)
        .into_tuple()
        .all(tx)
        .await?;
    let concerned = |(campaign_id, version, purpose, own_type, goal, state, start, end): ConcernedRow| {
        let range = ActiveRange { start, end };
        let acts = matches!(state, CampaignState::Active | CampaignState::Paused) && range.holds(occur_time);
        let (starts, is_goal) = (acts && own_type == event_type, goal.as_deref() == Some(event_type));
        Concerned { campaign_id, version, purpose, starts, is_goal }
    };
    Ok(rows.into_iter().map(concerned).collect())
}

/// Whether an event of this type does something to any campaign or enrollment.
pub async fn is_heard(tx: &WriteTx, event_type: &str) -> Result<bool, StoreError> {
    let acting = campaign::Entity::find()
        .filter(campaign::Column::EventType.eq(event_type).or(campaign::Column::GoalType.eq(event_type)))
        .filter(campaign::Column::State.ne(CampaignState::Draft));
    if acting.limit(1).one(tx).await?.is_some() {
        return Ok(true);
    }
    // "_" stands for any letter here, so one may be found too many; the plan decides.
    let versions = version::Entity::find().filter(version::Column::ExitTypes.like(format!("%|{event_type}|%")));
    Ok(versions.limit(1).one(tx).await?.is_some())
}

/// A campaign whose beginning is looked for.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Which.
    pub campaign_id: CampaignId,
    /// The version for new enrollments.
    pub version: i32,
    /// Of its topic.
    pub purpose: Purpose,
    /// Up to when it was looked for.
    pub scan_time: Timestamp,
}

/// The campaigns whose beginning is looked for.
pub async fn scanned(db: &impl ConnectionTrait) -> Result<Vec<Scanned>, StoreError> {
    let rows: Vec<(CampaignId, i32, Purpose, Timestamp)> = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::CampaignId)
        .column(campaign::Column::Version)
        .column(campaign::Column::Purpose)
        .column(campaign::Column::ScanTime)
        .filter(campaign::Column::ScanTime.is_not_null())
        .filter(campaign::Column::State.is_in([CampaignState::Active, CampaignState::Paused]))
        .order_by_asc(campaign::Column::CampaignId)
        .into_tuple()
        .all(db)
        .await?;
    let scanned = |(campaign_id, version, purpose, scan_time)| Scanned { campaign_id, version, purpose, scan_time };
    Ok(rows.into_iter().map(scanned).collect())
}

/// Whether a campaign acts by a version, which it does until this transaction ends.
pub async fn still_acts(tx: &WriteTx, id: &CampaignId, version: i32) -> Result<bool, StoreError> {
    let query = campaign::Entity::find_by_id(id.clone())
        .filter(campaign::Column::Version.eq(version))
        .filter(campaign::Column::State.is_in([CampaignState::Active, CampaignState::Paused]))
        .lock(LockType::Share);
    Ok(query.one(tx).await?.is_some())
}

/// Whether a campaign is active, which it stays until this transaction ends.
pub async fn stays_active(tx: &WriteTx, id: &CampaignId) -> Result<bool, StoreError> {
    let query = campaign::Entity::find_by_id(id.clone()).filter(campaign::Column::State.eq(CampaignState::Active));
    Ok(query.lock(LockType::Share).one(tx).await?.is_some())
}

/// Notes up to when was looked, unless somebody else has meanwhile.
pub async fn note_scan(db: &Database, id: &CampaignId, from: Timestamp, to: Timestamp) -> Result<(), StoreError> {
    campaign::Entity::update_many()
        .col_expr(campaign::Column::ScanTime, to.into())
        .filter(campaign::Column::CampaignId.eq(id.clone()))
        .filter(campaign::Column::ScanTime.eq(from))
        .exec(db.writer())
        .await?;
    Ok(())
}

/// What the gate asks of a campaign's current plan, whichever version a contact follows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// How many of a hundred customers it holds out.
    pub holdout_percent: u32,
    /// Whose message comes first where there is no room for two.
    pub priority: u32,
    /// Whether it sends nothing now.
    pub is_paused: bool,
}

impl Campaign {
    /// Its terms, as its plan has them.
    pub fn terms(&self) -> Terms {
        Terms {
            holdout_percent: self.plan.holdout_percent.into(),
            priority: self.plan.priority.into(),
            is_paused: self.state == CampaignState::Paused,
        }
    }
}

/// The terms of the campaigns that have any.
pub async fn terms(db: &impl ConnectionTrait) -> Result<HashMap<CampaignId, Terms>, StoreError> {
    let has_some = Condition::any()
        .add(campaign::Column::HoldoutPercent.is_not_null())
        .add(campaign::Column::Priority.is_not_null());
    let rows: Vec<(CampaignId, Option<i32>, Option<i32>, CampaignState)> = campaign::Entity::find()
        .select_only()
        .columns([campaign::Column::CampaignId, campaign::Column::HoldoutPercent])
        .columns([campaign::Column::Priority, campaign::Column::State])
        .filter(has_some)
        .into_tuple()
        .all(db)
        .await?;
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let terms = |(id, holdout, priority, state)| {
        let is_paused = state == CampaignState::Paused;
        (id, Terms { holdout_percent: number(holdout), priority: number(priority), is_paused })
    };
    Ok(rows.into_iter().map(terms).collect())
}

/// The campaigns that send nothing now.
pub async fn paused(db: &impl ConnectionTrait) -> Result<Vec<CampaignId>, StoreError> {
    let rows = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::CampaignId)
        .filter(campaign::Column::State.eq(CampaignState::Paused))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows)
}

/// The newsletters whose time to fire has come.
pub async fn ids_to_fire(db: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<CampaignId>, StoreError> {
    let due = Condition::all()
        .add(campaign::Column::State.eq(CampaignState::Active))
        .add(campaign::Column::FireTime.is_not_null())
        .add(campaign::Column::FireTime.lte(now));
    ids(db, due).await
}

/// The campaigns that act and whose active range is over.
pub async fn ids_over(db: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<CampaignId>, StoreError> {
    let over = Condition::all()
        .add(campaign::Column::State.is_in([CampaignState::Active, CampaignState::Paused]))
        .add(campaign::Column::ActiveUntil.lte(now));
    ids(db, over).await
}

/// The campaigns that ended before a moment, and of which something is still to be ended.
pub async fn ending(db: &impl ConnectionTrait, before: Timestamp) -> Result<Vec<Campaign>, StoreError> {
    let query = campaign::Entity::find()
        .filter(campaign::Column::IsEnding.eq(true))
        .filter(campaign::Column::UpdateTime.lt(before));
    complete(db, query.order_by_asc(campaign::Column::CampaignId).all(db).await?).await
}

/// Notes whether something of a campaign that has ended is still to be ended.
pub async fn note_ending(tx: &WriteTx, id: &CampaignId, is_ending: bool) -> Result<(), StoreError> {
    campaign::Entity::update_many()
        .col_expr(campaign::Column::IsEnding, is_ending.into())
        .filter(campaign::Column::CampaignId.eq(id.clone()))
        .exec(tx)
        .await?;
    Ok(())
}

/// The newsletters that act, will not fire again, and have no open run.
pub async fn ids_done(db: &impl ConnectionTrait) -> Result<Vec<CampaignId>, StoreError> {
    let open = "EXISTS (SELECT 1 FROM campaign_runs AS r \
        WHERE r.campaign_id = campaigns.campaign_id AND r.end_time IS NULL)";
    let done = Condition::all()
        .add(campaign::Column::State.eq(CampaignState::Active))
        .add(campaign::Column::IsNewsletter.eq(true))
        .add(campaign::Column::FireTime.is_null())
        .add(Expr::cust(open).not());
    ids(db, done).await
}

async fn ids(db: &impl ConnectionTrait, of: Condition) -> Result<Vec<CampaignId>, StoreError> {
    let query = campaign::Entity::find().select_only().column(campaign::Column::CampaignId).filter(of);
    Ok(query.order_by_asc(campaign::Column::CampaignId).into_tuple().all(db).await?)
}

/// Notes when a newsletter fires next.
pub async fn set_fire_time(tx: &WriteTx, id: &CampaignId, next: Option<Timestamp>) -> Result<(), StoreError> {
    campaign::Entity::update_many()
        .col_expr(campaign::Column::FireTime, Expr::val(next))
        .filter(campaign::Column::CampaignId.eq(id.clone()))
        .exec(tx)
        .await?;
    Ok(())
}

/// When the next newsletter fires, or the next active range ends.
pub async fn next_time(db: &impl ConnectionTrait) -> Result<Option<Timestamp>, StoreError> {
    let row: Option<(Option<Timestamp>, Option<Timestamp>)> = campaign::Entity::find()
        .select_only()
        .column_as(campaign::Column::FireTime.min(), "fire_time")
        .column_as(campaign::Column::ActiveUntil.min(), "active_until")
        .filter(campaign::Column::State.eq(CampaignState::Active))
        .into_tuple()
        .one(db)
        .await?;
    Ok(row.and_then(|(fire, until)| [fire, until].into_iter().flatten().min()))
}

/// How many contacts in a minute the active campaigns allow that have such a limit.
pub async fn limits(db: &impl ConnectionTrait) -> Result<Vec<(CampaignId, NonZeroU32)>, StoreError> {
    let rows: Vec<(CampaignId, i32)> = campaign::Entity::find()
        .select_only()
        .column(campaign::Column::CampaignId)
        .column(campaign::Column::MaxPerMinute)
        .filter(campaign::Column::State.eq(CampaignState::Active))
        .filter(campaign::Column::MaxPerMinute.is_not_null())
        .into_tuple()
        .all(db)
        .await?;
    let limit = |(id, most): (CampaignId, i32)| Some((id, NonZeroU32::new(u32::try_from(most).ok()?)?));
    Ok(rows.into_iter().filter_map(limit).collect())
}

async fn insert_version(tx: &WriteTx, of: &Campaign) -> Result<(), StoreError> {
    let row = version::ActiveModel {
        campaign_id: Set(of.campaign_id.clone()),
        version: Set(of.version),
        plan: Set(json(&of.plan)?),
        exit_types: Set(Some(heard_types(&of.plan))),
        audience_filter: Set(audience_filter(&of.plan)),
        create_time: Set(of.update_time),
    };
    version::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

fn row(of: &Campaign) -> campaign::ActiveModel {
    campaign::ActiveModel {
        campaign_id: Set(of.campaign_id.clone()),
        state: Set(of.state),
        state_note: Set(of.state_note.clone()),
        version: Set(of.version),
        event_type: Set(of.plan.event_type().to_owned()),
        topic_id: Set(of.plan.topic_id.clone()),
        purpose: Set(of.purpose),
        max_per_minute: Set(of.plan.max_per_minute.and_then(|most| i32::try_from(most.get()).ok())),
        is_newsletter: Set(of.plan.trigger.is_newsletter()),
        is_ending: NotSet,
        fire_time: Set(of.fire_time),
        active_from: Set(of.plan.active_range.start),
        active_until: Set(of.plan.active_range.end),
        goal_type: Set(of.plan.goal.as_ref().map(|goal| goal.event_type.clone())),
        holdout_percent: Set(Some(i32::from(of.plan.holdout_percent)).filter(|percent| *percent > 0)),
        priority: Set(Some(i32::from(of.plan.priority)).filter(|priority| *priority > 0)),
        scan_time: Set(of.scan_time),
        create_time: Set(of.create_time),
        update_time: Set(of.update_time),
        revision: Set(of.revision),
    }
}

fn audience_filter(plan: &Plan) -> Option<String> {
    Some(plan.audience_filter.clone()).filter(|filter| !filter.is_empty())
}

fn heard_types(plan: &Plan) -> String {
    format!("|{}|", plan.heard_types().join("|"))
}

fn json(plan: &Plan) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(plan).map_err(|wrong| corrupt(&wrong))
}

fn corrupt(wrong: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "campaign_versions", detail: wrong.to_string() }
}
