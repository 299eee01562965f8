use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::{Pause, entity::pause};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::PauseId,
};

/// The pauses that hold at `now`, the oldest first.
pub async fn active(db: &impl ConnectionTrait, now: Timestamp) -> Result<Vec<Pause>, StoreError> {
    let holds = Condition::any().add(pause::Column::ExpireTime.is_null()).add(pause::Column::ExpireTime.gt(now));
    let rows = pause::Entity::find().filter(holds).order_by_asc(pause::Column::PauseId).all(db).await?;
    rows.into_iter().map(domain).collect()
}

/// Inserts a pause.
pub async fn insert(tx: &WriteTx, new: &Pause) -> Result<(), StoreError> {
    let new = new.clone();
    let row = pause::ActiveModel {
        pause_id: Set(new.pause_id),
        channel: Set(new.channel),
        reason: Set(new.reason),
        actor: Set(new.actor),
        create_time: Set(new.create_time),
        expire_time: Set(new.expire_time),
        sender_id: Set(new.sender_id),
        purposes: Set(Some(&new.purposes).filter(|some| !some.is_empty()).map(|some| serde_json::json!(some))),
    };
    pause::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Removes a pause (none = all), and those that are over.
pub async fn remove(tx: &WriteTx, which: Option<PauseId>, now: Timestamp) -> Result<(), StoreError> {
    let mut delete = pause::Entity::delete_many();
    if let Some(id) = which {
        let over = pause::Column::ExpireTime.lte(now);
        delete = delete.filter(Condition::any().add(pause::Column::PauseId.eq(id)).add(over));
    }
    delete.exec(tx).await?;
    Ok(())
}

fn domain(row: pause::Model) -> Result<Pause, StoreError> {
    let wrong = |wrong: serde_json::Error| StoreError::Corrupt { table: "pauses", detail: wrong.to_string() };
    Ok(Pause {
        pause_id: row.pause_id,
        channel: row.channel,
        reason: row.reason,
        actor: row.actor,
        create_time: row.create_time,
        expire_time: row.expire_time,
        sender_id: row.sender_id,
        purposes: row.purposes.map(serde_json::from_value).transpose().map_err(wrong)?.unwrap_or_default(),
    })
}
