use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::{Erasure, entity::erasure};
use crate::{
    database::{StoreError, WriteTx},
    ids::CustomerId,
};

/// Keeps a receipt.
pub async fn insert(tx: &WriteTx, new: &Erasure) -> Result<(), StoreError> {
    let row = erasure::ActiveModel {
        erasure_id: Set(new.erasure_id),
        customer_id: Set(new.customer_id),
        actor: Set(new.actor.clone()),
        reason: Set(new.reason.clone()),
        erased_rows: Set(serde_json::to_value(&new.erased_rows).map_err(|wrong| corrupt(&wrong))?),
        erase_time: Set(new.erase_time),
    };
    erasure::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The receipt of a customer's erasure.
pub async fn find(db: &impl ConnectionTrait, customer: CustomerId) -> Result<Option<Erasure>, StoreError> {
    let row = erasure::Entity::find().filter(erasure::Column::CustomerId.eq(customer)).one(db).await?;
    row.map(|row| {
        Ok(Erasure {
            erasure_id: row.erasure_id,
            customer_id: row.customer_id,
            actor: row.actor,
            reason: row.reason,
            erased_rows: serde_json::from_value(row.erased_rows).map_err(|wrong| corrupt(&wrong))?,
            erase_time: row.erase_time,
        })
    })
    .transpose()
}

fn corrupt(wrong: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "erasures", detail: wrong.to_string() }
}
