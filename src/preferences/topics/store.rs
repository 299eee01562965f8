use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{LockType, OnConflict},
};

use super::{Topic, entity::topic};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::TopicId,
    preferences::store::{corrupt, json},
    rpc::Page,
};

/// False when the id is taken.
pub async fn insert(tx: &WriteTx, new: &Topic, now: Timestamp) -> Result<bool, StoreError> {
    let row = topic::ActiveModel {
        topic_id: Set(new.topic_id.clone()),
        names: Set(json(&new.names)?),
        purpose: Set(new.purpose),
        opt_in: Set(new.opt_in),
        channels: Set(json(&new.channels)?),
        create_time: Set(now),
        revision: Set(new.revision),
        essential: Set(new.essential),
        descriptions: Set(json(&new.descriptions)?),
        archive_time: Set(new.archive_time),
    };
    let taken = OnConflict::new().do_nothing().to_owned();
    Ok(topic::Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await? == 1)
}

/// Puts all topics in the place of those of another database.
pub async fn copy(from: &impl ConnectionTrait, to: &WriteTx) -> Result<(), StoreError> {
    database::copy_table::<topic::Entity>(from, to).await
}

/// These topics.
pub async fn load(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = TopicId>,
) -> Result<HashMap<TopicId, Topic>, StoreError> {
    let rows = topic::Entity::find().filter(topic::Column::TopicId.is_in(ids)).all(db).await?;
    rows.into_iter().map(|row| domain(row).map(|topic| (topic.topic_id.clone(), topic))).collect()
}

/// Topics by id, one more than the page holds.
pub async fn list(db: &impl ConnectionTrait, archived: bool, page: &Page) -> Result<Vec<Topic>, StoreError> {
    let mut query = topic::Entity::find().order_by_asc(topic::Column::TopicId).limit(page.size + 1);
    if !archived {
        query = query.filter(topic::Column::ArchiveTime.is_null());
    }
    if let Some(after) = &page.after {
        query = query.filter(topic::Column::TopicId.gt(after.as_str()));
    }
    query.all(db).await?.into_iter().map(domain).collect()
}

/// All that are offered to customers.
pub async fn open(db: &impl ConnectionTrait) -> Result<Vec<Topic>, StoreError> {
    let query = topic::Entity::find().filter(topic::Column::ArchiveTime.is_null()).order_by_asc(topic::Column::TopicId);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// One, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: &TopicId) -> Result<Option<Topic>, StoreError> {
    let row = topic::Entity::find_by_id(id.clone()).lock(LockType::Update).one(tx).await?;
    row.map(domain).transpose()
}

/// Writes one back.
pub async fn save(tx: &WriteTx, of: &Topic) -> Result<(), StoreError> {
    let row = topic::ActiveModel {
        topic_id: Set(of.topic_id.clone()),
        names: Set(json(&of.names)?),
        descriptions: Set(json(&of.descriptions)?),
        opt_in: Set(of.opt_in),
        essential: Set(of.essential),
        archive_time: Set(of.archive_time),
        revision: Set(of.revision),
        ..Default::default()
    };
    topic::Entity::update(row).exec(tx).await?;
    Ok(())
}

fn domain(row: topic::Model) -> Result<Topic, StoreError> {
    Ok(Topic {
        topic_id: row.topic_id,
        names: serde_json::from_value(row.names).map_err(|wrong| corrupt("topics", &wrong))?,
        purpose: row.purpose,
        opt_in: row.opt_in,
        channels: serde_json::from_value(row.channels).map_err(|wrong| corrupt("topics", &wrong))?,
        descriptions: serde_json::from_value(row.descriptions).map_err(|wrong| corrupt("topics", &wrong))?,
        essential: row.essential,
        archive_time: row.archive_time,
        revision: row.revision,
    })
}
