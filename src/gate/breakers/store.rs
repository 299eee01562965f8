use sea_orm::{
    ActiveValue::Set,
    EntityTrait, QuerySelect,
    sea_query::{LockType, OnConflict},
};

use super::{Watched, entity};
use crate::{
    database::{StoreError, WriteTx},
    ids::SenderId,
};

/// What is known of a sender, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, sender_id: &SenderId) -> Result<Watched, StoreError> {
    let new = row(sender_id, &Watched::default());
    let known = OnConflict::column(entity::Column::SenderId).do_nothing().to_owned();
    entity::Entity::insert(new).on_conflict(known).exec_without_returning(tx).await?;
    let found = entity::Entity::find_by_id(sender_id.clone()).lock(LockType::Update).one(tx).await?;
    let found = found.ok_or(StoreError::Raced)?;
    Ok(Watched { pause: found.pause_id.zip(found.pause_end), watch_from: found.watch_from })
}

/// Writes it back.
pub async fn save(tx: &WriteTx, sender_id: &SenderId, watched: &Watched) -> Result<(), StoreError> {
    entity::Entity::update(row(sender_id, watched)).exec(tx).await?;
    Ok(())
}

fn row(sender_id: &SenderId, watched: &Watched) -> entity::ActiveModel {
    let (pause_id, pause_end) = watched.pause.unzip();
    entity::ActiveModel {
        sender_id: Set(sender_id.clone()),
        pause_id: Set(pause_id),
        pause_end: Set(pause_end),
        watch_from: Set(watched.watch_from),
    }
}
