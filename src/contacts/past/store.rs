use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QuerySelect,
    sea_query::ExprTrait,
};

use super::{
    super::{
        Contact, ContactState, Purpose,
        entity::{attempt, contact},
        store::domain,
    },
    Sent,
};
use crate::{
    database::{self, StoreError, WriteTx},
    ids::{CampaignId, CustomerId},
};

/// What these customers were sent.
pub async fn sent_between(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    which: &Sent,
) -> Result<Vec<Contact>, StoreError> {
    let rows = contact::Entity::find().filter(condition(customers, which));
    rows.all(db).await?.into_iter().map(domain).collect()
}

/// How much these customers were sent.
pub async fn count_sent(db: &impl ConnectionTrait, customers: &[CustomerId], which: &Sent) -> Result<u64, StoreError> {
    Ok(contact::Entity::find().filter(condition(customers, which)).count(db).await?)
}

/// Copies what these customers were sent into another database.
pub async fn copy_sent(
    from: &impl ConnectionTrait,
    to: &WriteTx,
    customers: &[CustomerId],
    which: &Sent,
) -> Result<(), StoreError> {
    let rows = contact::Entity::find().filter(condition(customers, which));
    database::copy(from, rows, to, |row| contact::Model { claim_token: None, ..row }).await?;
    let of_contact =
        attempt::Entity::belongs_to(contact::Entity).from(attempt::Column::ContactId).to(contact::Column::ContactId);
    let attempts = attempt::Entity::find().join(JoinType::InnerJoin, of_contact.into());
    database::copy(from, attempts.filter(condition(customers, which)), to, |row| row).await
}

fn condition(customers: &[CustomerId], which: &Sent) -> Condition {
    let other =
        |own: &CampaignId| contact::Column::CampaignId.is_null().or(contact::Column::CampaignId.ne(own.clone()));
    Condition::all()
        .add(contact::Column::CustomerId.is_in(customers.iter().copied()))
        .add(contact::Column::State.eq(ContactState::Sent))
        .add(contact::Column::Purpose.ne(Purpose::Transactional))
        .add(contact::Column::SendTime.gte(which.start))
        .add(contact::Column::SendTime.lt(which.end))
        .add_option(which.except.as_ref().map(other))
}
