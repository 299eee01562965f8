use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{CaseStatement, Expr, ExprTrait, Func, LockType, OnConflict, Query, SimpleExpr},
};

use super::{
    Attempt, Block, BlockReason, Contact, ContactOrder, ContactState, Decision, Effect, Lane, Origin, Queue, RunOf,
    Selection, StepOf,
    entity::{attempt, contact, decision},
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    filter::{Call, Function, Kind, Parameter},
    ids::{AddressId, CampaignId, ContactId, CustomerId, EnrollmentId, EventId, RunId, TemplateId},
    rpc::{Order, Page},
};

/// How many rows a statement inserts, so that their values stay below the number that SQLite takes.
const AT_ONCE: usize = 500;

/// Inserts contacts whose steps nobody has planned yet and whose keys nobody has taken; raced when somebody has meanwhile.
pub async fn insert(tx: &WriteTx, contacts: &[Contact]) -> Result<(), StoreError> {
    for some in contacts.chunks(AT_ONCE) {
        let keyed = Expr::col(contact::Column::DedupeKey).is_not_null();
        let taken = OnConflict::column(contact::Column::DedupeKey).target_and_where(keyed).do_nothing().to_owned();
        let insert = contact::Entity::insert_many(some.iter().map(row)).on_conflict(taken);
        if insert.exec_without_returning(tx).await? < some.len() as u64 {
            return Err(StoreError::Raced);
        }
    }
    Ok(())
}

/// Keeps what was decided about contacts that are planned only to say that they do not go out.
pub async fn insert_decisions(tx: &WriteTx, contacts: &[Contact]) -> Result<(), StoreError> {
    let decision = |contact: &Contact| {
        let block = contact.block.as_ref()?;
        Some(decision::ActiveModel {
            contact_id: Set(contact.contact_id),
            revision: Set(contact.revision),
            decide_time: Set(contact.create_time),
            reason: Set(block.reason),
            effect: Set(block.effect),
            detail: Set(block.detail.clone()),
            retry_time: Set(block.retry_time),
        })
    };
    let decisions: Vec<_> = contacts.iter().filter_map(decision).collect();
    for some in decisions.chunks(AT_ONCE) {
        decision::Entity::insert_many(some.to_vec()).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The contacts of these enrollments' steps.
pub async fn of_enrollments(tx: &WriteTx, ids: &[EnrollmentId]) -> Result<Vec<Contact>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = contact::Entity::find().filter(contact::Column::EnrollmentId.is_in(ids.iter().copied()));
    query.all(tx).await?.into_iter().map(domain).collect()
}

/// One contact.
pub async fn find(db: &impl ConnectionTrait, id: ContactId) -> Result<Option<Contact>, StoreError> {
    contact::Entity::find_by_id(id).one(db).await?.map(domain).transpose()
}

/// One contact, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: ContactId) -> Result<Option<Contact>, StoreError> {
    contact::Entity::find_by_id(id).lock(LockType::Update).one(tx).await?.map(domain).transpose()
}

/// The contacts with these ids, and those that have these keys of callers.
pub async fn known(tx: &WriteTx, ids: Vec<ContactId>, keys: Vec<String>) -> Result<Vec<Contact>, StoreError> {
    if ids.is_empty() && keys.is_empty() {
        return Ok(Vec::new());
    }
    let any = contact::Column::ContactId.is_in(ids).or(contact::Column::DedupeKey.is_in(keys));
    contact::Entity::find().filter(any).all(tx).await?.into_iter().map(domain).collect()
}

/// Contacts in the order in which they were planned, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    which: &Selection,
    order: Order<ContactOrder>,
    page: &Page,
) -> Result<Vec<Contact>, StoreError> {
    let time = match order.by {
        ContactOrder::Created => None,
        ContactOrder::Due => Some(contact::Column::DueTime),
    };
    let query = contact::Entity::find().filter(condition(db, which));
    let rows = order.read::<_, ContactId>(query, time, contact::Column::ContactId, page).all(db).await?;
    rows.into_iter().map(domain).collect()
}

/// How many contacts are meant.
pub async fn count(db: &impl ConnectionTrait, which: &Selection) -> Result<u64, StoreError> {
    Ok(contact::Entity::find().filter(condition(db, which)).count(db).await?)
}

/// One that waits or is under way, and says this template.
pub async fn waiting_with(tx: &WriteTx, template: &TemplateId) -> Result<Option<ContactId>, StoreError> {
    let id = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(contact::Column::State.is_in([ContactState::Scheduled, ContactState::Sending]))
        .filter(contact::Column::TemplateId.eq(template.clone()))
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(id)
}

/// The contact between a campaign and a customer that was planned last.
pub async fn find_latest(
    db: &impl ConnectionTrait,
    campaign_id: &CampaignId,
    customer_id: CustomerId,
) -> Result<Option<Contact>, StoreError> {
    let query = contact::Entity::find()
        .filter(contact::Column::CustomerId.eq(customer_id))
        .filter(contact::Column::CampaignId.eq(campaign_id.clone()))
        .order_by_desc(contact::Column::ContactId);
    query.one(db).await?.map(domain).transpose()
}

/// The contact that was sent last to an address of a customer.
pub async fn last_sent_to(
    db: &impl ConnectionTrait,
    customer_id: CustomerId,
    address_id: AddressId,
) -> Result<Option<Contact>, StoreError> {
    let query = contact::Entity::find()
        .filter(contact::Column::CustomerId.eq(customer_id))
        .filter(contact::Column::AddressId.eq(address_id))
        .filter(contact::Column::State.eq(ContactState::Sent))
        .order_by_desc(contact::Column::ContactId);
    query.one(db).await?.map(domain).transpose()
}

/// Inserts contacts of a run, but for customers whom it has reached already.
pub async fn insert_of_run(tx: &WriteTx, contacts: &[Contact]) -> Result<(), StoreError> {
    if !contacts.is_empty() {
        let reached = OnConflict::new().do_nothing().to_owned();
        let insert = contact::Entity::insert_many(contacts.iter().map(row)).on_conflict(reached);
        insert.exec_without_returning(tx).await?;
    }
    Ok(())
}

/// How many contacts of a queue are due, up to `most`.
pub async fn count_due(db: &impl ConnectionTrait, queue: &Queue, now: Timestamp, most: u64) -> Result<u64, StoreError> {
    let some = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(Expr::cust("state = 'scheduled'"))
        .filter(contact::Column::Queue.eq(queue.to_string()))
        .filter(contact::Column::DueTime.lte(now))
        .limit(most);
    Ok(some.count(db).await?)
}

/// Whether something of a run waits or is being handed over. Literals: so both databases see which index will do.
pub async fn has_open(db: &impl ConnectionTrait, campaign_id: &CampaignId, run_id: RunId) -> Result<bool, StoreError> {
    let queue = Queue { lane: Lane::Bulk, campaign_id: Some(campaign_id.clone()) };
    let of_run = || contact::Entity::find().filter(contact::Column::RunId.eq(run_id));
    let waiting =
        of_run().filter(Expr::cust("state = 'scheduled'")).filter(contact::Column::Queue.eq(queue.to_string()));
    let sending = of_run().filter(Expr::cust("claim_token IS NOT NULL"));
    Ok(is_any(db, waiting).await? || is_any(db, sending).await?)
}

async fn is_any(db: &impl ConnectionTrait, of: sea_orm::Select<contact::Entity>) -> Result<bool, StoreError> {
    let first = of.select_only().column(contact::Column::ContactId).limit(1);
    Ok(first.into_tuple::<ContactId>().one(db).await?.is_some())
}

/// Some contacts of a campaign that wait, or of one of its runs; each with its customer.
pub async fn waiting_of(
    tx: &WriteTx,
    campaign_id: &CampaignId,
    run_id: Option<RunId>,
    most: u64,
) -> Result<Vec<(ContactId, CustomerId)>, StoreError> {
    let mut query = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .column(contact::Column::CustomerId)
        .filter(contact::Column::CampaignId.eq(campaign_id.clone()))
        .filter(contact::Column::State.eq(ContactState::Scheduled));
    if let Some(run_id) = run_id {
        query = query.filter(contact::Column::RunId.eq(run_id));
    }
    Ok(query.limit(most).into_tuple().all(tx).await?)
}

/// Every hand-over of a contact, oldest first.
pub async fn attempts(db: &impl ConnectionTrait, id: ContactId) -> Result<Vec<Attempt>, StoreError> {
    Ok(attempts_of(db, &[id]).await?.remove(&id).unwrap_or_default())
}

/// Every hand-over of these contacts, oldest first.
pub async fn attempts_of(
    db: &impl ConnectionTrait,
    ids: &[ContactId],
) -> Result<HashMap<ContactId, Vec<Attempt>>, StoreError> {
    let query = attempt::Entity::find()
        .filter(attempt::Column::ContactId.is_in(ids.iter().copied()))
        .order_by_asc(attempt::Column::Number);
    let mut attempts: HashMap<ContactId, Vec<Attempt>> = HashMap::new();
    for row in query.all(db).await? {
        attempts.entry(row.contact_id).or_default().push(Attempt {
            number: row.number,
            start_time: row.start_time,
            end_time: row.end_time,
            outcome: row.outcome,
            reply_code: row.reply_code.unwrap_or_default(),
            detail: row.detail.unwrap_or_default(),
            replica: row.replica,
            consent: row.consent_record_id,
        });
    }
    Ok(attempts)
}

/// Every decision that a contact does not go out, oldest first.
pub async fn decisions(db: &impl ConnectionTrait, id: ContactId) -> Result<Vec<Decision>, StoreError> {
    Ok(decisions_of(db, &[id]).await?.remove(&id).unwrap_or_default())
}

/// Every decision that these contacts do not go out, oldest first.
pub async fn decisions_of(
    db: &impl ConnectionTrait,
    ids: &[ContactId],
) -> Result<HashMap<ContactId, Vec<Decision>>, StoreError> {
    let query = decision::Entity::find()
        .filter(decision::Column::ContactId.is_in(ids.iter().copied()))
        .order_by_asc(decision::Column::Revision);
    let mut decisions: HashMap<ContactId, Vec<Decision>> = HashMap::new();
    for row in query.all(db).await? {
        decisions.entry(row.contact_id).or_default().push(Decision {
            time: row.decide_time,
            block: Block { reason: row.reason, effect: row.effect, detail: row.detail, retry_time: row.retry_time },
        });
    }
    Ok(decisions)
}

/// Those that are meant.
pub(super) fn condition(db: &impl ConnectionTrait, which: &Selection) -> Condition {
    Condition::all()
        .add(which.wanted.condition(db))
        .add_option(which.customer_id.map(|id| contact::Column::CustomerId.eq(id)))
        .add_option(which.campaign_id.clone().map(|id| contact::Column::CampaignId.eq(id)))
        .add_option(which.run_id.map(|id| contact::Column::RunId.eq(id)))
        .add_option((!which.states.is_empty()).then(|| contact::Column::State.is_in(which.states.iter().copied())))
        .add_option(which.due_from.map(|from| contact::Column::DueTime.gte(from)))
        .add_option(which.due_before.map(|before| contact::Column::DueTime.lt(before)))
}

/// Why a contact did not go out, as far as that is told.
pub fn block_reason(_: DbBackend) -> SimpleExpr {
    let reason = || Expr::col((contact::Entity, contact::Column::BlockReason));
    CaseStatement::new()
        .case(reason().eq(BlockReason::AddressErased), BlockReason::CustomerErased)
        .finally(reason())
        .into()
}

/// Whether a customer got a message about a topic, or for a purpose, in the last days.
pub fn contacted() -> Function {
    let sql = |call: &Call, customer: SimpleExpr, now: Timestamp| {
        let since = now - TimeDelta::days(call.days(1).into());
        let own = |column: contact::Column| Expr::col((contact::Entity, column));
        let handed_over = [ContactState::Sending, ContactState::Sent, ContactState::UnknownOutcome];
        let sent = Func::coalesce([own(contact::Column::SendTime), own(contact::Column::UpdateTime)]);
        let mut contacts = Query::select();
        contacts
            .expr(Expr::val(1))
            .from(contact::Entity)
            .and_where(own(contact::Column::CustomerId).eq(customer))
            .and_where(own(contact::Column::State).is_in(handed_over))
            .cond_where(
                Condition::any()
                    .add(own(contact::Column::TopicId).eq(call.text(0)))
                    .add(own(contact::Column::Purpose).eq(call.text(0))),
            )
            .and_where(Expr::from(sent).gt(since));
        Expr::exists(contacts)
    };
    let parameters = &[Parameter::Text("topic or purpose"), Parameter::Days];
    Function { name: "contacted", parameters, kind: Kind::Bool, sql }
}

/// A row as the domain knows it.
pub fn domain(row: contact::Model) -> Result<Contact, StoreError> {
    let corrupt =
        |detail: &str| StoreError::Corrupt { table: "contacts", detail: format!("{} of {}", detail, row.contact_id) };
    let due_local = match (&row.due_local_time, &row.due_zone) {
        (Some(local), Some(zone)) => Some((local.parse().map_err(|_| corrupt("due_local_time"))?, zone.clone())),
        _ => None,
    };
    let serde_json::Value::Object(data) = row.data else {
        return Err(corrupt("data"));
    };
    Ok(Contact {
        contact_id: row.contact_id,
        customer_id: row.customer_id,
        origin: origin((row.campaign_id, row.enrollment_id, row.step_id, row.event_id), row.run_id),
        topic_id: row.topic_id,
        purpose: row.purpose,
        channel: row.channel,
        address_id: row.address_id,
        template_id: row.template_id,
        template_version: row.template_version,
        variant_id: row.variant_id,
        data,
        dedupe_key: row.dedupe_key,
        due_time: row.due_time,
        original_due_time: row.original_due_time,
        due_local,
        expire_time: row.expire_time,
        state: row.state,
        block: block(row.block_reason, row.block_effect, row.block_detail, row.block_retry_time),
        attempt_count: row.attempt_count,
        send_time: row.send_time,
        delivery: row.delivery,
        convert_time: row.convert_time,
        create_time: row.create_time,
        update_time: row.update_time,
        revision: row.revision,
    })
}

/// What says of which step a contact is.
pub(super) type StepColumns = (Option<CampaignId>, Option<EnrollmentId>, Option<String>, Option<EventId>);

/// The step that a contact is of, if it is of one.
pub(super) fn step((campaign_id, enrollment_id, step_id, event_id): StepColumns) -> Option<StepOf> {
    Some(StepOf { campaign_id: campaign_id?, enrollment_id: enrollment_id?, step_id: step_id?, event_id })
}

/// What planned a contact.
fn origin(columns: StepColumns, run_id: Option<RunId>) -> Origin {
    match (columns, run_id) {
        ((Some(campaign_id), _, Some(step_id), _), Some(run_id)) => Origin::Run(RunOf { campaign_id, run_id, step_id }),
        (columns, _) => step(columns).map_or(Origin::AdHoc, Origin::Step),
    }
}

fn block(
    reason: Option<BlockReason>,
    effect: Option<Effect>,
    detail: Option<String>,
    retry_time: Option<Timestamp>,
) -> Option<Block> {
    Some(Block { reason: reason?, effect: effect?, detail: detail.unwrap_or_default(), retry_time })
}

fn row(contact: &Contact) -> contact::ActiveModel {
    let step = contact.step();
    let run = contact.run();
    let step_id = step.map(|step| step.step_id.clone()).or_else(|| run.map(|run| run.step_id.clone()));
    let local = contact.due_local.as_ref();
    contact::ActiveModel {
        contact_id: Set(contact.contact_id),
        customer_id: Set(contact.customer_id),
        bucket: Set(contact.customer_id.bucket()),
        campaign_id: Set(contact.campaign_id().cloned()),
        enrollment_id: Set(step.map(|step| step.enrollment_id)),
        step_id: Set(step_id),
        event_id: Set(step.and_then(|step| step.event_id)),
        run_id: Set(run.map(|run| run.run_id)),
        topic_id: Set(contact.topic_id.clone()),
        purpose: Set(contact.purpose),
        channel: Set(contact.channel),
        address_id: Set(contact.address_id),
        template_id: Set(contact.template_id.clone()),
        template_version: Set(contact.template_version),
        variant_id: Set(contact.variant_id.clone()),
        data: Set(contact.data.clone().into()),
        dedupe_key: Set(contact.dedupe_key.clone()),
        queue: Set(contact.queue().to_string()),
        due_time: Set(contact.due_time),
        original_due_time: Set(contact.original_due_time),
        due_local_time: Set(local.map(|(time, _)| time.to_string())),
        due_zone: Set(local.map(|(_, zone)| zone.clone())),
        expire_time: Set(contact.expire_time),
        state: Set(contact.state),
        block_reason: Set(contact.block.as_ref().map(|block| block.reason)),
        block_effect: Set(contact.block.as_ref().map(|block| block.effect)),
        block_detail: Set(contact.block.as_ref().map(|block| block.detail.clone())),
        block_retry_time: Set(contact.block.as_ref().and_then(|block| block.retry_time)),
        attempt_count: Set(contact.attempt_count),
        claim_token: Set(None),
        send_time: Set(contact.send_time),
        delivery: Set(contact.delivery),
        convert_time: Set(contact.convert_time),
        create_time: Set(contact.create_time),
        update_time: Set(contact.update_time),
        revision: Set(contact.revision),
    }
}
