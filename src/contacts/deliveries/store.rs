use std::collections::HashSet;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Query},
};

use super::{Delivery, DeliveryEvent, DeliveryKind, Which, entity};
use crate::{
    clock::Timestamp,
    contacts::{ContactState, entity::contact},
    database::{StoreError, WriteTx},
    filter::Wanted,
    ids::{ContactId, CustomerId, DeliveryEventId},
    rpc::Page,
};

/// How many rows a statement inserts, so that their values stay below the number that SQLite takes.
const AT_ONCE: usize = 500;

/// The keys that are taken, of those of a source.
pub async fn known(tx: &WriteTx, source: &str, keys: Vec<String>) -> Result<HashSet<String>, StoreError> {
    let rows = entity::Entity::find()
        .select_only()
        .column(entity::Column::SourceEventId)
        .filter(entity::Column::Source.eq(source))
        .filter(entity::Column::SourceEventId.is_in(keys));
    Ok(rows.into_tuple::<String>().all(tx).await?.into_iter().collect())
}

/// Adds events.
pub async fn insert(tx: &WriteTx, events: &[DeliveryEvent]) -> Result<(), StoreError> {
    for some in events.chunks(AT_ONCE) {
        entity::Entity::insert_many(some.iter().cloned().map(row)).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Marks events: campaigns that listen are still to be told.
pub async fn tell_later(tx: &WriteTx, ids: Vec<DeliveryEventId>) -> Result<(), StoreError> {
    mark(tx, ids, Some(true)).await
}

/// Takes the mark from events.
pub async fn are_told(tx: &WriteTx, ids: Vec<DeliveryEventId>) -> Result<(), StoreError> {
    mark(tx, ids, None).await
}

async fn mark(tx: &WriteTx, ids: Vec<DeliveryEventId>, untold: Option<bool>) -> Result<(), StoreError> {
    if !ids.is_empty() {
        entity::Entity::update_many()
            .col_expr(entity::Column::Untold, Expr::val(untold))
            .filter(entity::Column::DeliveryEventId.is_in(ids))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// Marked events, the oldest first.
pub async fn untold(db: &impl ConnectionTrait, most: u64) -> Result<Vec<DeliveryEvent>, StoreError> {
    let rows = entity::Entity::find()
        .filter(entity::Column::Untold.is_not_null())
        .order_by_asc(entity::Column::DeliveryEventId)
        .limit(most);
    Ok(rows.all(db).await?.into_iter().map(domain).collect())
}

/// What came back for these addresses since a moment that says something about them: bounces and arrivals, the oldest first.
pub async fn past(tx: &WriteTx, keys: Vec<Vec<u8>>, since: Timestamp) -> Result<Vec<DeliveryEvent>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = entity::Entity::find()
        .filter(entity::Column::AddressKey.is_in(keys))
        .filter(entity::Column::OccurTime.gt(since))
        .filter(entity::Column::Kind.is_in([DeliveryKind::Bounced, DeliveryKind::Delivered]))
        .order_by_asc(entity::Column::OccurTime);
    Ok(rows.all(tx).await?.into_iter().map(domain).collect())
}

/// The links of a message that were followed since a moment.
pub async fn clicked_since(
    db: &impl ConnectionTrait,
    contact: ContactId,
    since: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let rows = entity::Entity::find()
        .select_only()
        .column(entity::Column::Url)
        .filter(entity::Column::ContactId.eq(contact))
        .filter(entity::Column::Kind.eq(DeliveryKind::Clicked))
        .filter(entity::Column::OccurTime.gt(since));
    Ok(rows.into_tuple().all(db).await?)
}

/// What people did with these messages.
pub async fn noticed(tx: &WriteTx, contacts: &[ContactId]) -> Result<HashSet<(ContactId, DeliveryKind)>, StoreError> {
    if contacts.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(Option<ContactId>, DeliveryKind)> = entity::Entity::find()
        .select_only()
        .distinct()
        .column(entity::Column::ContactId)
        .column(entity::Column::Kind)
        .filter(entity::Column::ContactId.is_in(contacts.iter().copied()))
        .filter(entity::Column::Automated.eq(false))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows.into_iter().filter_map(|(id, kind)| Some((id?, kind))).collect())
}

/// The keys of the addresses of which something came back for a customer, of those that are gone too.
pub async fn address_keys(tx: &WriteTx, customer: CustomerId) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = entity::Entity::find()
        .select_only()
        .distinct()
        .column(entity::Column::AddressKey)
        .filter(entity::Column::CustomerId.eq(customer))
        .filter(entity::Column::AddressKey.is_not_null());
    Ok(rows.into_tuple().all(tx).await?)
}

/// Shows on sent contacts what came back: a complaint says more than a bounce, and a bounce more than an arrival.
pub async fn show(tx: &WriteTx, ids: &[ContactId], what: Delivery, now: Timestamp) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let is = |delivery: Delivery| contact::Column::Delivery.eq(delivery);
    let weaker = match what {
        Delivery::Delivered => contact::Column::Delivery.is_null(),
        Delivery::Bounced => contact::Column::Delivery.is_null().or(is(Delivery::Delivered)),
        Delivery::Complained => contact::Column::Delivery.is_null().or(is(Delivery::Complained).not()),
    };
    contact::Entity::update_many()
        .col_expr(contact::Column::Delivery, Expr::val(what))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::ContactId.is_in(ids.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Sent))
        .filter(weaker)
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes what came back for a customer's messages; that it did stays on the contacts. Answers how many.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<u64, StoreError> {
    let of = entity::Entity::delete_many().filter(entity::Column::CustomerId.eq(customer));
    Ok(of.exec(tx).await?.rows_affected)
}

/// Removes up to `most` of what was recorded before a moment. Answers how many.
pub async fn forget(tx: &WriteTx, before: Timestamp, most: u64) -> Result<u64, StoreError> {
    let old = Query::select()
        .column(entity::Column::DeliveryEventId)
        .from(entity::Entity)
        .and_where(entity::Column::RecordTime.lt(before))
        .order_by(entity::Column::DeliveryEventId, Order::Asc)
        .limit(most)
        .to_owned();
    let of = entity::Entity::delete_many().filter(entity::Column::DeliveryEventId.in_subquery(old));
    Ok(of.exec(tx).await?.rows_affected)
}

/// Events in the order in which they were recorded, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    which: &Which,
    wanted: &Wanted,
    page: &Page,
) -> Result<Vec<DeliveryEvent>, StoreError> {
    let mut query = entity::Entity::find()
        .filter(wanted.condition(db))
        .order_by_asc(entity::Column::DeliveryEventId)
        .limit(page.size + 1);
    query = match which {
        Which::Contact(id) => query.filter(entity::Column::ContactId.eq(*id)),
        Which::Customer(id) => query.filter(entity::Column::CustomerId.eq(*id)),
        Which::All => query,
    };
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<DeliveryEventId>().ok()) {
        query = query.filter(entity::Column::DeliveryEventId.gt(after));
    }
    Ok(query.all(db).await?.into_iter().map(domain).collect())
}

fn row(event: DeliveryEvent) -> entity::ActiveModel {
    entity::ActiveModel {
        delivery_event_id: Set(event.delivery_event_id),
        source: Set(event.source),
        source_event_id: Set(event.source_event_id),
        contact_id: Set(event.contact_id),
        customer_id: Set(event.customer_id),
        campaign_id: Set(event.campaign_id),
        address_key: Set(event.address_key),
        kind: Set(event.kind),
        weight: Set(event.weight),
        status_code: Set(event.status_code),
        detail: Set(event.detail),
        url: Set(event.url),
        automated: Set(event.automated),
        occur_time: Set(event.occur_time),
        record_time: Set(event.record_time),
        untold: Set(None),
    }
}

fn domain(row: entity::Model) -> DeliveryEvent {
    DeliveryEvent {
        delivery_event_id: row.delivery_event_id,
        source: row.source,
        source_event_id: row.source_event_id,
        contact_id: row.contact_id,
        customer_id: row.customer_id,
        campaign_id: row.campaign_id,
        address_key: row.address_key,
        kind: row.kind,
        weight: row.weight,
        status_code: row.status_code,
        detail: row.detail,
        url: row.url,
        automated: row.automated,
        occur_time: row.occur_time,
        record_time: row.record_time,
    }
}
