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
    ids::{CampaignId, CustomerId, EnrollmentId, TopicId},
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
    Ok(query.all(tx).await?.into_iter().map(domain).collect())
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
    Ok(query.all(db).await?.into_iter().map(domain).collect())
}

/// Enrollments in the order in which they began, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    campaign_id: Option<&CampaignId>,
    customer: Option<CustomerId>,
    page: &Page,
) -> Result<Vec<Enrollment>, StoreError> {
    let mut query = enrollment::Entity::find().order_by_asc(enrollment::Column::EnrollmentId).limit(page.size + 1);
    if let Some(campaign_id) = campaign_id {
        query = query.filter(enrollment::Column::CampaignId.eq(campaign_id.clone()));
    }
    if let Some(customer) = customer {
        query = query.filter(enrollment::Column::CustomerId.eq(customer));
    }
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<EnrollmentId>().ok()) {
        query = query.filter(enrollment::Column::EnrollmentId.gt(after));
    }
    Ok(query.all(db).await?.into_iter().map(domain).collect())
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
        .col_expr(enrollment::Column::EndTime, now.into())
        .filter(enrollment::Column::State.eq(EnrollmentState::Active))
        .filter(which)
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// Ends enrollments whose last step is done; answers which of them were still active.
pub async fn complete(tx: &WriteTx, ids: &[EnrollmentId], now: Timestamp) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    enrollment::Entity::update_many()
        .col_expr(enrollment::Column::State, Expr::val(EnrollmentState::Completed))
        .col_expr(enrollment::Column::NextStepId, Expr::val(None::<String>))
        .col_expr(enrollment::Column::NextTime, Expr::val(None::<Timestamp>))
        .col_expr(enrollment::Column::EndTime, now.into())
        .filter(enrollment::Column::State.eq(EnrollmentState::Active))
        .filter(enrollment::Column::EnrollmentId.is_in(ids.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Moves enrollments on to their next steps, in one statement.
pub async fn move_on(tx: &WriteTx, to: &[(EnrollmentId, String, Timestamp)]) -> Result<(), StoreError> {
    if to.is_empty() {
        return Ok(());
    }
    let rows =
        to.iter().map(|(id, step, time)| ValueTuple::Many(vec![(*id).into(), step.clone().into(), (*time).into()]));
    let given = |place: u8| Expr::col(("given", format!("column{place}")));
    let update = Query::update()
        .table(enrollment::Entity)
        .from(TableRef::ValuesList(rows.collect(), "given".into_iden()))
        .value(enrollment::Column::NextStepId, given(2))
        .value(enrollment::Column::NextTime, given(3))
        .and_where(Expr::col((enrollment::Entity, enrollment::Column::EnrollmentId)).equals(("given", "column1")))
        .to_owned();
    tx.execute(&update).await?;
    Ok(())
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
    Ok(query.all(tx).await?.into_iter().map(domain).collect())
}

fn domain(row: enrollment::Model) -> Enrollment {
    Enrollment {
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
        state: row.state,
        end_cause: row.end_cause,
        next_step_id: row.next_step_id,
        next_time: row.next_time,
        start_time: row.start_time,
        end_time: row.end_time,
    }
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
    }
}
