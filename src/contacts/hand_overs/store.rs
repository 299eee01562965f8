use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, JoinType, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait},
};

use super::super::{
    ContactState, HandOver, Purpose,
    entity::{attempt, contact},
};
use crate::{
    clock::Timestamp,
    database::StoreError,
    delivery::Channel,
    ids::{CampaignId, CustomerId, TopicId},
};

/// What these customers got, or may have got, after `since`, but for transactional messages: one query. A message that was
/// refused reached nobody.
pub async fn hand_overs(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    since: Timestamp,
) -> Result<HashMap<CustomerId, Vec<HandOver>>, StoreError> {
    let mut all: HashMap<CustomerId, Vec<HandOver>> = HashMap::new();
    if customers.is_empty() {
        return Ok(all);
    }
    let last = contact::Entity::belongs_to(attempt::Entity)
        .from((contact::Column::ContactId, contact::Column::AttemptCount))
        .to((attempt::Column::ContactId, attempt::Column::Number));
    let rows: Vec<(CustomerId, TopicId, Channel, Timestamp)> = contact::Entity::find()
        .join(JoinType::InnerJoin, last.into())
        .select_only()
        .column(contact::Column::CustomerId)
        .column(contact::Column::TopicId)
        .column(contact::Column::Channel)
        .column(attempt::Column::StartTime)
        .filter(contact::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(contact::Column::State.is_in([ContactState::Sending, ContactState::Sent, ContactState::UnknownOutcome]))
        .filter(contact::Column::Purpose.ne(Purpose::Transactional))
        // No contact changes before its attempt: what is older than that is left out before its attempts are looked up.
        .filter(contact::Column::UpdateTime.gt(since))
        .filter(Expr::col((attempt::Entity, attempt::Column::StartTime)).gt(since))
        .into_tuple()
        .all(db)
        .await?;
    for (customer, topic_id, channel, time) in rows {
        all.entry(customer).or_default().push(HandOver { topic_id, channel, time });
    }
    Ok(all)
}

/// A message that is due.
#[derive(Debug, FromQueryResult)]
pub struct DueMessage {
    /// To whom.
    pub customer_id: CustomerId,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// What it is about.
    pub topic_id: TopicId,
    /// How it reaches them.
    pub channel: Channel,
    /// Since when.
    pub due_time: Timestamp,
}

/// What is due to these customers of these campaigns and was not decided yet, but for transactional messages: one query.
pub async fn due_of(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    campaigns: &[CampaignId],
    now: Timestamp,
) -> Result<Vec<DueMessage>, StoreError> {
    let due = contact::Entity::find()
        .select_only()
        .columns([contact::Column::CustomerId, contact::Column::CampaignId])
        .columns([contact::Column::TopicId, contact::Column::Channel, contact::Column::DueTime])
        .filter(contact::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .filter(contact::Column::DueTime.lte(now))
        .filter(contact::Column::Purpose.ne(Purpose::Transactional))
        .filter(contact::Column::CampaignId.is_in(campaigns.iter().cloned()))
        .into_model()
        .all(db)
        .await?;
    Ok(due)
}
