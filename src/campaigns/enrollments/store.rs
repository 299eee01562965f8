use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, IntoIden, Query, SimpleExpr, TableRef, ValueTuple},
};

use super::{
    super::{
        CampaignState, Reentry, ReentryMode,
        entity::{campaign, enrollment, version},
    },
    Applicant, EndCause, Enrollment, EnrollmentState,
};
use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::{Erased, StoreError, WriteTx},
    filter::Wanted,
    ids::{CampaignId, CustomerId, EnrollmentId, RunId, TopicId},
    rpc::Page,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;

/// Inserts enrollments.
pub async fn insert(tx: &WriteTx, new: &[Enrollment]) -> Result<(), StoreError> {
    if !new.is_empty() {
        enrollment::Entity::insert_many(new.iter().map(row)).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The enrollments of a customer that an event can concern, the latest event last: those it may end, and, campaign by campaign,
/// those that the campaign's rule asks for before it lets the event enter.
pub async fn related(
    tx: &WriteTx,
    customer: CustomerId,
    event_type: &str,
    event: Applicant<'_>,
    entering: &[(CampaignId, Reentry)],
) -> Result<Vec<Enrollment>, StoreError> {
    let exits = Query::select()
        .expr(Expr::val(1))
        .from(version::Entity)
        .and_where(version_column(version::Column::CampaignId).eq(own(enrollment::Column::CampaignId)))
        .and_where(version_column(version::Column::Version).eq(own(enrollment::Column::CampaignVersion)))
        // "_" stands for any letter here, so a few may be found too many; the plan decides.
        .cond_where(
            Condition::any()
                .add(version_column(version::Column::ExitTypes).like(format!("%|{event_type}|%")))
                .add(version_column(version::Column::ExitTypes).is_null()),
        )
        .to_owned();
    let may_end = Condition::all().add(is_active()).add(Expr::exists(exits));
    let concerned = entering.iter().fold(Condition::any().add(may_end), |any, (campaign, reentry)| {
        let own = Condition::all().add(enrollment::Column::CampaignId.eq(campaign.clone()));
        any.add(own.add(asked_for_by(*reentry, event)))
    });
    let query = enrollment::Entity::find()
        .filter(enrollment::Column::CustomerId.eq(customer))
        .filter(concerned)
        .order_by_asc(enrollment::Column::TriggerTime)
        .order_by_asc(enrollment::Column::EnrollmentId);
    query.all(tx).await?.into_iter().map(domain).collect()
}

/// What [`Reentry::judge`] looks at among the earlier enrollments of its campaign.
fn asked_for_by(reentry: Reentry, event: Applicant<'_>) -> Condition {
    let trigger = enrollment::Column::TriggerTime;
    let of_mode = match reentry.mode {
        ReentryMode::Once => Condition::all().add(Expr::cust("1 = 1")),
        ReentryMode::OncePerSubject if !event.subject.is_empty() => {
            Condition::all().add(enrollment::Column::Subject.eq(event.subject))
        }
        ReentryMode::Restart => Condition::any().add(is_active()).add(trigger.gt(event.occur_time)),
        // Every event is another entry.
        ReentryMode::OncePerSubject | ReentryMode::Always => Condition::all().add(Expr::cust("1 = 0")),
    };
    let cooldown = TimeDelta::days(reentry.cooldown_days.into());
    let near =
        Condition::all().add(trigger.gt(event.occur_time - cooldown)).add(trigger.lt(event.occur_time + cooldown));
    Condition::any().add(of_mode).add(near)
}

fn is_active() -> SimpleExpr {
    enrollment::Column::State.eq(EnrollmentState::Active)
}

fn own(column: enrollment::Column) -> SimpleExpr {
    Expr::col((enrollment::Entity, column))
}

fn version_column(column: version::Column) -> SimpleExpr {
    Expr::col((version::Entity, column))
}

/// Everything that ever was between a campaign and these customers.
pub async fn of_campaign(
    db: &impl ConnectionTrait,
    campaign_id: &CampaignId,
    customers: &[CustomerId],
) -> Result<Vec<Enrollment>, StoreError> {
    let query = enrollment::Entity::find()
        .filter(enrollment::Column::CampaignId.eq(campaign_id.clone()))
        .filter(enrollment::Column::CustomerId.is_in(customers.iter().copied()))
        .order_by_asc(enrollment::Column::EnrollmentId);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Everything that ever was between a campaign and a customer, the latest event last.
pub async fn between(
    db: &impl ConnectionTrait,
    campaign_id: &CampaignId,
    customer: CustomerId,
) -> Result<Vec<Enrollment>, StoreError> {
    let query = enrollment::Entity::find()
        .filter(enrollment::Column::CampaignId.eq(campaign_id.clone()))
        .filter(enrollment::Column::CustomerId.eq(customer))
        .order_by_asc(enrollment::Column::TriggerTime)
        .order_by_asc(enrollment::Column::EnrollmentId);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Enrollments in the order in which they began, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    campaign_id: Option<&CampaignId>,
    customer: Option<CustomerId>,
    wanted: &Wanted,
    page: &Page,
) -> Result<Vec<Enrollment>, StoreError> {
    let mut query = enrollment::Entity::find()
        .filter(wanted.condition(db))
        .order_by_asc(enrollment::Column::EnrollmentId)
        .limit(page.size + 1);
    if let Some(campaign_id) = campaign_id {
        query = query.filter(enrollment::Column::CampaignId.eq(campaign_id.clone()));
    }
    if let Some(customer) = customer {
        query = query.filter(enrollment::Column::CustomerId.eq(customer));
    }
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<EnrollmentId>().ok()) {
        query = query.filter(enrollment::Column::EnrollmentId.gt(after));
    }
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Which enrollments with steps to come are meant.
#[derive(Debug, Clone, Copy)]
pub enum Open<'a> {
    /// Those of a campaign.
    Of(&'a CampaignId),
    /// Those of a campaign that follow a version before this one.
    Before(&'a CampaignId, i32),
    /// Those that began by a backfill.
    By(RunId),
}

/// Some enrollments with steps to come, in the order in which they began, after one of them; each with its customer.
pub async fn open(
    db: &impl ConnectionTrait,
    which: Open<'_>,
    after: Option<EnrollmentId>,
    most: u64,
) -> Result<Vec<(EnrollmentId, CustomerId)>, StoreError> {
    let which = match which {
        Open::Of(campaign) => enrollment::Column::CampaignId.eq(campaign.clone()),
        Open::Before(campaign, version) => {
            enrollment::Column::CampaignId.eq(campaign.clone()).and(enrollment::Column::CampaignVersion.lt(version))
        }
        Open::By(run_id) => enrollment::Column::RunId.eq(run_id),
    };
    let mut query = enrollment::Entity::find()
        .select_only()
        .column(enrollment::Column::EnrollmentId)
        .column(enrollment::Column::CustomerId)
        .filter(which)
        .filter(is_active())
        .order_by_asc(enrollment::Column::EnrollmentId)
        .limit(most);
    if let Some(after) = after {
        query = query.filter(enrollment::Column::EnrollmentId.gt(after));
    }
    Ok(query.into_tuple().all(db).await?)
}

/// Where these enrollments and their campaigns stand.
pub async fn standings(
    db: &impl ConnectionTrait,
    ids: &[EnrollmentId],
) -> Result<HashMap<EnrollmentId, (EnrollmentState, Option<EndCause>, CampaignState)>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let of_campaign = enrollment::Entity::belongs_to(campaign::Entity)
        .from(enrollment::Column::CampaignId)
        .to(campaign::Column::CampaignId);
    let rows: Vec<(EnrollmentId, EnrollmentState, Option<EndCause>, CampaignState)> = enrollment::Entity::find()
        .join(sea_orm::JoinType::InnerJoin, of_campaign.into())
        .select_only()
        .column(enrollment::Column::EnrollmentId)
        .column(enrollment::Column::State)
        .column(enrollment::Column::EndCause)
        .column_as(campaign::Column::State, "campaign_state")
        .filter(enrollment::Column::EnrollmentId.is_in(ids.iter().copied()))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, state, cause, campaign)| (id, (state, cause, campaign))).collect())
}

/// Which of a customer's enrollments an opt-out concerns.
#[derive(Debug)]
pub enum Concerned {
    /// These.
    Ids(Vec<EnrollmentId>),
    /// All of a customer.
    Customer(CustomerId),
    /// Those about a topic, but for transactional ones.
    Topic(CustomerId, TopicId),
    /// Those with these purposes.
    Purposes(CustomerId, &'static [Purpose]),
}

/// Ends enrollments before their last step; answers how many.
pub async fn end(tx: &WriteTx, which: Concerned, cause: EndCause, now: Timestamp) -> Result<u64, StoreError> {
    let which = match which {
        Concerned::Ids(ids) if ids.is_empty() => return Ok(0),
        Concerned::Ids(ids) => enrollment::Column::EnrollmentId.is_in(ids),
        Concerned::Customer(customer) => enrollment::Column::CustomerId.eq(customer),
        Concerned::Topic(customer, topic) => enrollment::Column::CustomerId
            .eq(customer)
            .and(enrollment::Column::TopicId.eq(topic))
            .and(enrollment::Column::Purpose.ne(Purpose::Transactional)),
        Concerned::Purposes(customer, purposes) => {
            enrollment::Column::CustomerId.eq(customer).and(enrollment::Column::Purpose.is_in(purposes.iter().copied()))
        }
    };
    let done = enrollment::Entity::update_many()
        .col_expr(enrollment::Column::State, Expr::val(EnrollmentState::Exited))
        .col_expr(enrollment::Column::EndCause, Expr::val(cause))
        .col_expr(enrollment::Column::NextStepId, Expr::val(None::<String>))
        .col_expr(enrollment::Column::NextTime, Expr::val(None::<Timestamp>))
        .col_expr(enrollment::Column::NextLocalTime, Expr::val(None::<String>))
        .col_expr(enrollment::Column::Waits, Expr::val(None::<String>))
        .col_expr(enrollment::Column::EndTime, now.into())
        .filter(enrollment::Column::State.eq(EnrollmentState::Active))
        .filter(which)
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// Writes back where enrollments stand, in a statement for all of them.
pub async fn save(tx: &WriteTx, changed: &[Enrollment]) -> Result<(), StoreError> {
    let given = |place: u8| Expr::col(("given", format!("column{place}")));
    for some in changed.chunks(AT_ONCE) {
        let row = |one: &Enrollment| {
            ValueTuple::Many(vec![
                one.enrollment_id.into(),
                one.campaign_version.into(),
                one.state.as_str().into(),
                one.end_cause.map(|cause| cause.as_str().to_owned()).into(),
                one.next_step_id.clone().into(),
                one.next_time.into(),
                one.next_local.map(|local| local.to_string()).into(),
                one.waits.map(|waits| waits.as_str().to_owned()).into(),
                one.previous_time.into(),
                one.end_time.into(),
                one.topic_id.as_str().into(),
                one.purpose.as_str().into(),
                moved_anchor(one).into(),
            ])
        };
        let columns = [
            enrollment::Column::CampaignVersion,
            enrollment::Column::State,
            enrollment::Column::EndCause,
            enrollment::Column::NextStepId,
            enrollment::Column::NextTime,
            enrollment::Column::NextLocalTime,
            enrollment::Column::Waits,
            enrollment::Column::PreviousTime,
            enrollment::Column::EndTime,
            enrollment::Column::TopicId,
            enrollment::Column::Purpose,
            enrollment::Column::AnchorTime,
        ];
        let mut update = Query::update();
        update
            .table(enrollment::Entity)
            .from(TableRef::ValuesList(some.iter().map(row).collect(), "given".into_iden()))
            .and_where(own(enrollment::Column::EnrollmentId).equals(("given", "column1")));
        for (column, place) in columns.into_iter().zip(2..) {
            update.value(column, given(place));
        }
        tx.execute(&update).await?;
    }
    Ok(())
}

/// Notes another moment for the step that an enrollment waits at.
pub async fn replan(tx: &WriteTx, id: EnrollmentId, due: Timestamp) -> Result<(), StoreError> {
    enrollment::Entity::update_many()
        .col_expr(enrollment::Column::NextTime, due.into())
        .filter(enrollment::Column::EnrollmentId.eq(id))
        .filter(is_active())
        .exec(tx)
        .await?;
    Ok(())
}

/// The enrollments at steps without a contact for which something is to be done by now, and whose they are; the longest due first.
pub async fn due(
    db: &impl ConnectionTrait,
    now: Timestamp,
    most: u64,
) -> Result<Vec<(EnrollmentId, CustomerId)>, StoreError> {
    let query = enrollment::Entity::find()
        .select_only()
        .column(enrollment::Column::EnrollmentId)
        .column(enrollment::Column::CustomerId)
        .filter(enrollment::Column::Waits.is_not_null())
        .filter(enrollment::Column::NextTime.lte(now))
        .order_by_asc(enrollment::Column::NextTime)
        .order_by_asc(enrollment::Column::EnrollmentId)
        .limit(most);
    Ok(query.into_tuple().all(db).await?)
}

/// When the first of them is due.
pub async fn first_due(db: &impl ConnectionTrait) -> Result<Option<Timestamp>, StoreError> {
    let query = enrollment::Entity::find()
        .select_only()
        .column(enrollment::Column::NextTime)
        .filter(enrollment::Column::Waits.is_not_null())
        .order_by_asc(enrollment::Column::NextTime)
        .limit(1);
    let first: Option<Option<Timestamp>> = query.into_tuple().one(db).await?;
    Ok(first.flatten())
}

/// The enrollments of a customer whose step without a contact waits by the wall clock.
pub async fn waiting_by_wall_clock(tx: &WriteTx, customers: &[CustomerId]) -> Result<Vec<Enrollment>, StoreError> {
    let query = enrollment::Entity::find()
        .filter(enrollment::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(is_active())
        .filter(enrollment::Column::NextLocalTime.is_not_null())
        .order_by_asc(enrollment::Column::EnrollmentId)
        .lock(sea_orm::sea_query::LockType::Update);
    query.all(tx).await?.into_iter().map(domain).collect()
}

/// One enrollment.
pub async fn find(db: &impl ConnectionTrait, id: EnrollmentId) -> Result<Option<Enrollment>, StoreError> {
    enrollment::Entity::find_by_id(id).one(db).await?.map(domain).transpose()
}

/// One enrollment, kept from others until the transaction ends.
pub async fn lock(tx: &WriteTx, id: EnrollmentId) -> Result<Option<Enrollment>, StoreError> {
    let query = enrollment::Entity::find_by_id(id).lock(sea_orm::sea_query::LockType::Update);
    query.one(tx).await?.map(domain).transpose()
}

/// Removes what enrollments say about a customer; that they began and ended stays.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<Erased, StoreError> {
    let ids: Vec<EnrollmentId> = enrollment::Entity::find()
        .select_only()
        .column(enrollment::Column::EnrollmentId)
        .filter(enrollment::Column::CustomerId.eq(customer))
        .into_tuple()
        .all(tx)
        .await?;
    for some in ids.chunks(AT_ONCE) {
        let rows = some.iter().map(|id| ValueTuple::Two((*id).into(), format!("erased {id}").into()));
        let update = Query::update()
            .table(enrollment::Entity)
            .from(TableRef::ValuesList(rows.collect(), "given".into_iden()))
            .value(enrollment::Column::EntryKey, Expr::col(("given", "column2")))
            .value(enrollment::Column::Subject, "")
            .and_where(own(enrollment::Column::EnrollmentId).equals(("given", "column1")))
            .to_owned();
        tx.execute(&update).await?;
    }
    Ok(vec![("enrollments", ids.len() as u64)])
}

/// Keeps these enrollments from others until the transaction ends; answers those with steps to come.
pub async fn lock_active(tx: &WriteTx, ids: &[EnrollmentId]) -> Result<Vec<Enrollment>, StoreError> {
    let query = enrollment::Entity::find()
        .filter(enrollment::Column::EnrollmentId.is_in(ids.iter().copied()))
        .filter(enrollment::Column::State.eq(EnrollmentState::Active))
        .order_by_asc(enrollment::Column::EnrollmentId)
        .lock(sea_orm::sea_query::LockType::Update);
    query.all(tx).await?.into_iter().map(domain).collect()
}

fn domain(row: enrollment::Model) -> Result<Enrollment, StoreError> {
    let corrupt =
        |_| StoreError::Corrupt { table: "enrollments", detail: format!("next_local_time of {}", row.enrollment_id) };
    Ok(Enrollment {
        next_local: row.next_local_time.as_deref().map(str::parse).transpose().map_err(corrupt)?,
        enrollment_id: row.enrollment_id,
        campaign_id: row.campaign_id,
        campaign_version: row.campaign_version,
        customer_id: row.customer_id,
        event_id: row.event_id,
        entry_key: row.entry_key,
        subject: row.subject,
        topic_id: row.topic_id,
        purpose: row.purpose,
        trigger_time: row.trigger_time,
        anchor_time: row.anchor_time.unwrap_or(row.trigger_time),
        run_id: row.run_id,
        state: row.state,
        end_cause: row.end_cause,
        next_step_id: row.next_step_id,
        next_time: row.next_time,
        waits: row.waits,
        previous_time: row.previous_time.unwrap_or(row.trigger_time),
        start_time: row.start_time,
        end_time: row.end_time,
    })
}

fn row(of: &Enrollment) -> enrollment::ActiveModel {
    enrollment::ActiveModel {
        enrollment_id: Set(of.enrollment_id),
        campaign_id: Set(of.campaign_id.clone()),
        campaign_version: Set(of.campaign_version),
        customer_id: Set(of.customer_id),
        event_id: Set(of.event_id),
        entry_key: Set(of.entry_key.clone()),
        subject: Set(of.subject.clone()),
        topic_id: Set(of.topic_id.clone()),
        purpose: Set(of.purpose),
        trigger_time: Set(of.trigger_time),
        state: Set(of.state),
        end_cause: Set(of.end_cause),
        next_step_id: Set(of.next_step_id.clone()),
        next_time: Set(of.next_time),
        start_time: Set(of.start_time),
        end_time: Set(of.end_time),
        waits: Set(of.waits),
        next_local_time: Set(of.next_local.map(|local| local.to_string())),
        previous_time: Set(Some(of.previous_time)),
        run_id: Set(of.run_id),
        anchor_time: Set(moved_anchor(of)),
    }
}

fn moved_anchor(of: &Enrollment) -> Option<Timestamp> {
    Some(of.anchor_time).filter(|anchor| *anchor != of.trigger_time)
}
