use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, LockType, Query, SimpleExpr},
};

use super::{AddressKey, Lifted, Suppression, entity::suppression};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    filter::Wanted,
    ids::SuppressionId,
    rpc::Page,
};

/// Who lifts a suppression, and why.
#[derive(Debug, Clone, Copy)]
pub struct Lift<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When.
    pub time: Timestamp,
}

/// Inserts a suppression.
pub async fn insert(tx: &WriteTx, new: &Suppression) -> Result<(), StoreError> {
    let new = new.clone();
    let row = suppression::ActiveModel {
        suppression_id: Set(new.suppression_id),
        channel: Set(new.channel),
        address_key: Set(new.address_key.into_bytes()),
        masked_address: Set(new.masked_address),
        cause: Set(new.cause),
        note: Set(new.note),
        actor: Set(new.actor),
        create_time: Set(new.create_time),
        report_time: Set(new.report_time),
        expire_time: Set(new.expire_time),
        lift_time: Set(None),
        lift_actor: Set(None),
        lift_reason: Set(None),
    };
    suppression::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Writes one back that was reported again; raced when somebody has lifted it meanwhile.
pub async fn renew(tx: &WriteTx, of: &Suppression) -> Result<(), StoreError> {
    let renewed = suppression::Entity::update_many()
        .col_expr(suppression::Column::Note, of.note.clone().into())
        .col_expr(suppression::Column::ExpireTime, Expr::val(of.expire_time))
        .col_expr(suppression::Column::ReportTime, of.report_time.into())
        .filter(not_lifted())
        .filter(suppression::Column::SuppressionId.eq(of.suppression_id))
        .exec(tx)
        .await?;
    if renewed.rows_affected == 0 { Err(StoreError::Raced) } else { Ok(()) }
}

/// One, whatever became of it.
pub async fn find(db: &impl ConnectionTrait, id: SuppressionId) -> Result<Option<Suppression>, StoreError> {
    Ok(suppression::Entity::find_by_id(id).one(db).await?.map(domain))
}

/// One that holds, kept from others until this transaction ends.
pub async fn lock_holding(tx: &WriteTx, id: SuppressionId, now: Timestamp) -> Result<Option<Suppression>, StoreError> {
    let query = suppression::Entity::find_by_id(id).filter(holding(now)).lock(LockType::Update);
    Ok(query.one(tx).await?.map(domain))
}

/// Those of an address that were not lifted, whether they hold still or not.
pub async fn of_address(tx: &WriteTx, key: &AddressKey) -> Result<Vec<Suppression>, StoreError> {
    let rows = suppression::Entity::find()
        .filter(not_lifted())
        .filter(suppression::Column::AddressKey.eq(key.clone().into_bytes()))
        .order_by_asc(suppression::Column::SuppressionId);
    Ok(rows.all(tx).await?.into_iter().map(domain).collect())
}

/// All that ever were of an address, the oldest first.
pub async fn history(db: &impl ConnectionTrait, key: &AddressKey) -> Result<Vec<Suppression>, StoreError> {
    let rows = suppression::Entity::find()
        .filter(suppression::Column::AddressKey.eq(key.clone().into_bytes()))
        .order_by_asc(suppression::Column::SuppressionId);
    Ok(rows.all(db).await?.into_iter().map(domain).collect())
}

/// Those that hold for these addresses.
pub async fn load(
    db: &impl ConnectionTrait,
    keys: impl IntoIterator<Item = AddressKey>,
    now: Timestamp,
) -> Result<HashMap<AddressKey, Vec<Suppression>>, StoreError> {
    let keys = keys.into_iter().map(AddressKey::into_bytes);
    let rows = suppression::Entity::find().filter(holding(now)).filter(suppression::Column::AddressKey.is_in(keys));
    let mut by_key: HashMap<AddressKey, Vec<Suppression>> = HashMap::new();
    for one in rows.all(db).await?.into_iter().map(domain) {
        by_key.entry(one.address_key.clone()).or_default().push(one);
    }
    Ok(by_key)
}

/// All of these addresses that began before a moment, lifted ones too.
pub async fn of_addresses(
    db: &impl ConnectionTrait,
    keys: impl IntoIterator<Item = AddressKey>,
    before: Timestamp,
) -> Result<Vec<Lifted>, StoreError> {
    let keys = keys.into_iter().map(AddressKey::into_bytes);
    let rows = suppression::Entity::find()
        .filter(suppression::Column::AddressKey.is_in(keys))
        .filter(suppression::Column::CreateTime.lt(before));
    let lifted = |row: suppression::Model| Lifted { lift_time: row.lift_time, suppression: domain(row) };
    Ok(rows.all(db).await?.into_iter().map(lifted).collect())
}

/// Those that hold, the oldest first, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    address: Option<AddressKey>,
    wanted: &Wanted,
    page: &Page,
    now: Timestamp,
) -> Result<Vec<Suppression>, StoreError> {
    let after = page.after.as_deref().and_then(|after| after.parse::<SuppressionId>().ok());
    let rows = suppression::Entity::find()
        .filter(holding(now))
        .filter(
            Condition::all()
                .add(wanted.condition(db))
                .add_option(address.map(|key| suppression::Column::AddressKey.eq(key.into_bytes())))
                .add_option(after.map(|after| suppression::Column::SuppressionId.gt(after))),
        )
        .order_by_asc(suppression::Column::SuppressionId)
        .limit(page.size + 1);
    Ok(rows.all(db).await?.into_iter().map(domain).collect())
}

/// Lifts suppressions; who did and why is kept.
pub async fn lift(tx: &WriteTx, ids: &[SuppressionId], by: Lift<'_>) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    suppression::Entity::update_many()
        .col_expr(suppression::Column::LiftTime, by.time.into())
        .col_expr(suppression::Column::LiftActor, by.actor.into())
        .col_expr(suppression::Column::LiftReason, by.reason.into())
        .filter(not_lifted())
        .filter(suppression::Column::SuppressionId.is_in(ids.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes what suppressions of these addresses say in words, lifted ones too; answers which.
pub async fn blank(tx: &WriteTx, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<SuppressionId>, StoreError> {
    let mut update = Query::update();
    update
        .table(suppression::Entity)
        .value(suppression::Column::MaskedAddress, "")
        .value(suppression::Column::Note, "")
        .value(suppression::Column::LiftReason, Expr::val(None::<String>))
        .and_where(suppression::Column::AddressKey.is_in(keys))
        .returning(Query::returning().column(suppression::Column::SuppressionId));
    let rows = tx.query_all(&update).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}

fn holding(now: Timestamp) -> Condition {
    let lasts =
        Condition::any().add(suppression::Column::ExpireTime.is_null()).add(suppression::Column::ExpireTime.gt(now));
    Condition::all().add(not_lifted()).add(lasts)
}

fn not_lifted() -> SimpleExpr {
    suppression::Column::LiftTime.is_null()
}

fn domain(row: suppression::Model) -> Suppression {
    Suppression {
        suppression_id: row.suppression_id,
        channel: row.channel,
        address_key: AddressKey::from_stored(row.address_key),
        masked_address: row.masked_address,
        cause: row.cause,
        note: row.note,
        actor: row.actor,
        create_time: row.create_time,
        report_time: row.report_time,
        expire_time: row.expire_time,
    }
}
