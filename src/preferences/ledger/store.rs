use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Alias, Expr, ExprTrait, Query},
};

use super::{
    ConsentAct, ConsentRecord, Evidence, Wording,
    entity::{evidence, record, wording},
};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::{ConsentRecordId, ContactId, CustomerId, TopicId, WordingId},
    preferences::{ConsentMethod, entity::consent},
    rpc::Page,
    templates::Locale,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 1_000;

/// Adds entries, each with what it rests on.
pub async fn insert_all(tx: &WriteTx, new: &[(ConsentRecord, Evidence)]) -> Result<(), StoreError> {
    database::insert_rows(tx, new.iter().map(|(new, _)| row(new)).collect(), None).await?;
    let evidence = new.iter().map(|(of, new)| evidence::ActiveModel {
        record_id: Set(of.record_id),
        customer_id: Set(of.customer_id),
        actor: Set(new.actor.clone()),
        evidence: Set(new.text.clone()),
        salt: Set(new.salt.to_vec()),
        create_time: Set(of.record_time),
    });
    database::insert_rows(tx, evidence.collect(), None).await?;
    Ok(())
}

fn row(new: &ConsentRecord) -> record::ActiveModel {
    let (topic_id, channel) = new.scope.clone().unzip();
    record::ActiveModel {
        record_id: Set(new.record_id),
        customer_id: Set(new.customer_id),
        act: Set(new.act),
        topic_id: Set(topic_id),
        channel: Set(channel),
        method: Set(new.method),
        address_id: Set(new.address_id),
        occur_time: Set(new.occur_time),
        record_time: Set(new.record_time),
        data_use: Set(new.data_use),
        from_state: Set(new.from_state),
        to_state: Set(new.to_state),
        wording_id: Set(new.wording_id),
        evidence_digest: Set(new.evidence_digest.map(Vec::from)),
        expire_time: Set(new.expire_time),
        contact_id: Set(new.contact_id),
    }
}

/// Which topics these wordings are about.
pub async fn topics_of_wordings(
    db: &impl ConnectionTrait,
    ids: Vec<WordingId>,
) -> Result<HashMap<WordingId, TopicId>, StoreError> {
    let mut topics = HashMap::new();
    for some in ids.chunks(AT_ONCE) {
        let query = wording::Entity::find().select_only();
        let query = query.column(wording::Column::WordingId).column(wording::Column::TopicId);
        let query = query.filter(wording::Column::WordingId.is_in(some.iter().copied()));
        topics.extend(query.into_tuple::<(WordingId, TopicId)>().all(db).await?);
    }
    Ok(topics)
}

/// Removes what shows that a customer said anything; answers how many entries that concerns.
pub async fn erase_evidence(tx: &WriteTx, customer: CustomerId) -> Result<u64, StoreError> {
    let evidence = evidence::Entity::delete_many().filter(evidence::Column::CustomerId.eq(customer));
    Ok(evidence.exec(tx).await?.rows_affected)
}

/// Removes up to `most` of what entries rest on that nobody relies on: the same was said anew, or otherwise, before a moment. What was
/// said about all topics is relied on for ever. Answers how many.
pub async fn forget_evidence(tx: &WriteTx, before: Timestamp, most: u64) -> Result<u64, StoreError> {
    let (old, new) = (Alias::new("old"), Alias::new("new"));
    let same = |column: record::Column| Expr::col((new.clone(), column)).equals((old.clone(), column));
    let said_since = Query::select()
        .expr(Expr::val(1))
        .from_as(record::Entity, old.clone())
        .join_as(
            JoinType::InnerJoin,
            record::Entity,
            new.clone(),
            Condition::all()
                .add(same(record::Column::CustomerId))
                .add(same(record::Column::TopicId))
                .add(same(record::Column::Channel))
                .add(same(record::Column::DataUse)),
        )
        .and_where(
            Expr::col((old.clone(), record::Column::RecordId)).equals((evidence::Entity, evidence::Column::RecordId)),
        )
        .and_where(
            Expr::col((new.clone(), record::Column::RecordId)).gt(Expr::col((old.clone(), record::Column::RecordId))),
        )
        .and_where(Expr::col((new.clone(), record::Column::RecordTime)).lt(before))
        .to_owned();
    let stands = Query::select()
        .expr(Expr::val(1))
        .from(consent::Entity)
        .and_where(
            Expr::col((consent::Entity, consent::Column::RecordId))
                .equals((evidence::Entity, evidence::Column::RecordId)),
        )
        .to_owned();
    let forgotten = Query::select()
        .column((evidence::Entity, evidence::Column::RecordId))
        .from(evidence::Entity)
        .and_where(Expr::col((evidence::Entity, evidence::Column::CreateTime)).lt(before))
        .and_where(Expr::exists(said_since))
        .and_where(Expr::exists(stands).not())
        .limit(most)
        .to_owned();
    let removed = evidence::Entity::delete_many().filter(evidence::Column::RecordId.in_subquery(forgotten));
    Ok(removed.exec(tx).await?.rows_affected)
}

/// One entry.
pub async fn find(db: &impl ConnectionTrait, id: ConsentRecordId) -> Result<Option<ConsentRecord>, StoreError> {
    Ok(record::Entity::find_by_id(id).one(db).await?.map(domain))
}

/// The entry whose confirmation a contact asks for.
pub async fn find_request(db: &impl ConnectionTrait, id: ContactId) -> Result<Option<ConsentRecord>, StoreError> {
    let query = record::Entity::find().filter(record::Column::ContactId.eq(id));
    Ok(query.filter(record::Column::Act.eq(ConsentAct::Request)).one(db).await?.map(domain))
}

/// Whether what a contact asks to confirm was confirmed.
pub async fn is_confirmed(db: &impl ConnectionTrait, id: ContactId) -> Result<bool, StoreError> {
    let query = record::Entity::find()
        .filter(record::Column::ContactId.eq(id))
        .filter(record::Column::Act.eq(ConsentAct::Grant))
        .filter(record::Column::Method.eq(ConsentMethod::DoubleOptIn));
    Ok(query.count(db).await? > 0)
}

/// How often a customer's consent to a topic was to be confirmed since a moment.
pub async fn count_requests(
    tx: &WriteTx,
    customer: CustomerId,
    topic: &TopicId,
    since: Timestamp,
) -> Result<u64, StoreError> {
    let query = record::Entity::find()
        .filter(record::Column::CustomerId.eq(customer))
        .filter(record::Column::Act.eq(ConsentAct::Request))
        .filter(record::Column::TopicId.eq(topic.clone()))
        .filter(record::Column::ContactId.is_not_null())
        .filter(record::Column::RecordTime.gt(since));
    Ok(query.count(tx).await?)
}

/// Entries of a customer, the oldest first, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    customer: CustomerId,
    page: &Page,
) -> Result<Vec<ConsentRecord>, StoreError> {
    let mut query = record::Entity::find()
        .filter(record::Column::CustomerId.eq(customer))
        .order_by_asc(record::Column::RecordId)
        .limit(page.size + 1);
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<ConsentRecordId>().ok()) {
        query = query.filter(record::Column::RecordId.gt(after));
    }
    Ok(query.all(db).await?.into_iter().map(domain).collect())
}

/// Which of these customers said anything that was recorded from a moment on.
pub async fn spoke_since(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    since: Timestamp,
) -> Result<Vec<CustomerId>, StoreError> {
    let query = record::Entity::find()
        .select_only()
        .column(record::Column::CustomerId)
        .distinct()
        .filter(record::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(record::Column::RecordTime.gte(since));
    Ok(query.into_tuple().all(db).await?)
}

/// Every entry of these customers that was recorded before a moment.
pub async fn records_before(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    before: Timestamp,
) -> Result<Vec<ConsentRecord>, StoreError> {
    let query = record::Entity::find()
        .filter(record::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(record::Column::RecordTime.lt(before));
    Ok(query.all(db).await?.into_iter().map(domain).collect())
}

/// What these entries rest on, as far as it is still there.
pub async fn evidence_of(
    db: &impl ConnectionTrait,
    ids: &[ConsentRecordId],
) -> Result<HashMap<ConsentRecordId, Evidence>, StoreError> {
    let rows = evidence::Entity::find().filter(evidence::Column::RecordId.is_in(ids.iter().copied())).all(db).await?;
    rows.into_iter()
        .map(|row| {
            let salt = row.salt.try_into().map_err(|_| corrupt("consent_evidence", "salt"))?;
            Ok((row.record_id, Evidence { actor: row.actor, text: row.evidence, salt }))
        })
        .collect()
}

/// Adds words.
pub async fn insert_wording(tx: &WriteTx, new: &Wording) -> Result<(), StoreError> {
    let row = wording::ActiveModel {
        wording_id: Set(new.wording_id),
        topic_id: Set(new.topic_id.clone()),
        locale: Set(new.locale.as_ref().map(ToString::to_string)),
        text: Set(new.text.clone()),
        create_time: Set(new.create_time),
    };
    wording::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Puts all wordings in the place of those of another database.
pub async fn copy_wordings(from: &impl ConnectionTrait, to: &WriteTx) -> Result<(), StoreError> {
    database::copy_table::<wording::Entity>(from, to).await
}

/// One wording.
pub async fn find_wording(db: &impl ConnectionTrait, id: WordingId) -> Result<Option<Wording>, StoreError> {
    Ok(wording::Entity::find_by_id(id).one(db).await?.map(domain_wording))
}

/// Wordings, the oldest first, of one topic or of all, one more than the page holds.
pub async fn list_wordings(
    db: &impl ConnectionTrait,
    topic: Option<&TopicId>,
    page: &Page,
) -> Result<Vec<Wording>, StoreError> {
    let mut query = wording::Entity::find().order_by_asc(wording::Column::WordingId).limit(page.size + 1);
    if let Some(topic) = topic {
        query = query.filter(wording::Column::TopicId.eq(topic.clone()));
    }
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<WordingId>().ok()) {
        query = query.filter(wording::Column::WordingId.gt(after));
    }
    Ok(query.all(db).await?.into_iter().map(domain_wording).collect())
}

fn domain(row: record::Model) -> ConsentRecord {
    ConsentRecord {
        record_id: row.record_id,
        customer_id: row.customer_id,
        act: row.act,
        scope: row.topic_id.zip(row.channel),
        data_use: row.data_use,
        from_state: row.from_state,
        to_state: row.to_state,
        method: row.method,
        address_id: row.address_id,
        wording_id: row.wording_id,
        evidence_digest: row.evidence_digest.and_then(|digest| digest.try_into().ok()),
        expire_time: row.expire_time,
        contact_id: row.contact_id,
        occur_time: row.occur_time,
        record_time: row.record_time,
    }
}

fn domain_wording(row: wording::Model) -> Wording {
    Wording {
        wording_id: row.wording_id,
        topic_id: row.topic_id,
        locale: row.locale.map(Locale::from_stored),
        text: row.text,
        create_time: row.create_time,
    }
}

fn corrupt(table: &'static str, detail: &str) -> StoreError {
    StoreError::Corrupt { table, detail: detail.to_owned() }
}
