use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder,
    sea_query::{OnConflict, SelectStatement},
};

use super::{TrackedLink, entity};
use crate::{
    database::{StoreError, WriteTx},
    ids::ContactId,
};

/// How many rows a statement inserts, so that their values stay below the number that SQLite takes.
const AT_ONCE: usize = 1_000;

/// Keeps links; those of an earlier attempt give way.
pub async fn keep(tx: &WriteTx, links: &[TrackedLink]) -> Result<(), StoreError> {
    let row = |link: &TrackedLink| entity::ActiveModel {
        contact_id: Set(link.contact_id),
        number: Set(link.number.into()),
        url: Set(link.url.clone()),
    };
    for some in links.chunks(AT_ONCE) {
        let again = OnConflict::columns([entity::Column::ContactId, entity::Column::Number])
            .update_column(entity::Column::Url)
            .to_owned();
        entity::Entity::insert_many(some.iter().map(row)).on_conflict(again).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Where a link leads.
pub async fn find(db: &impl ConnectionTrait, contact: ContactId, number: u16) -> Result<Option<String>, StoreError> {
    let row = entity::Entity::find_by_id((contact, i32::from(number))).one(db).await?;
    Ok(row.map(|row| row.url))
}

/// The links of some messages.
pub async fn of(db: &impl ConnectionTrait, contacts: &[ContactId]) -> Result<Vec<TrackedLink>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::ContactId.is_in(contacts.iter().copied()))
        .order_by_asc(entity::Column::ContactId)
        .order_by_asc(entity::Column::Number);
    let link = |row: entity::Model| TrackedLink {
        contact_id: row.contact_id,
        number: u16::try_from(row.number).unwrap_or_default(),
        url: row.url,
    };
    Ok(rows.all(db).await?.into_iter().map(link).collect())
}

/// Removes the links of these messages; answers how many.
pub async fn erase(tx: &WriteTx, contacts: SelectStatement) -> Result<u64, StoreError> {
    let links = entity::Entity::delete_many().filter(entity::Column::ContactId.in_subquery(contacts));
    Ok(links.exec(tx).await?.rows_affected)
}
