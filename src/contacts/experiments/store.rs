use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::ExprTrait,
};

use super::{
    super::{BlockReason, ContactState, entity::contact},
    Results,
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::{CampaignId, CustomerId},
};

/// Notes that what a campaign is for happened to a customer: for every message of it that was sent before, at most so long ago, and
/// for those that would have been, had the customer not been held out. The first time counts.
pub async fn convert(
    tx: &WriteTx,
    customer: CustomerId,
    campaign: &CampaignId,
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let within = |column: contact::Column| column.gte(since).and(column.lte(at));
    let counts = Condition::any()
        .add(contact::Column::State.eq(ContactState::Sent).and(within(contact::Column::SendTime)))
        .add(is_held_out().and(within(contact::Column::UpdateTime)));
    let done = contact::Entity::update_many()
        .col_expr(contact::Column::ConvertTime, at.into())
        .filter(contact::Column::CustomerId.eq(customer))
        .filter(contact::Column::CampaignId.eq(campaign.clone()))
        .filter(contact::Column::ConvertTime.is_null())
        .filter(counts)
        .exec(tx)
        .await?;
    Ok(done.rows_affected)
}

/// What came of a campaign's messages, step by step and variant by variant, and of those who were held out.
pub async fn results(db: &impl ConnectionTrait, campaign: &CampaignId) -> Result<Vec<Results>, StoreError> {
    let sent = contact::Entity::find()
        .select_only()
        .column(contact::Column::StepId)
        .column(contact::Column::VariantId)
        .column_as(contact::Column::ContactId.count(), "sent")
        .column_as(contact::Column::ConvertTime.count(), "converted")
        .filter(contact::Column::CampaignId.eq(campaign.clone()))
        .filter(contact::Column::State.eq(ContactState::Sent))
        .group_by(contact::Column::StepId)
        .group_by(contact::Column::VariantId)
        .order_by_asc(contact::Column::StepId)
        .order_by_asc(contact::Column::VariantId);
    let held_out = contact::Entity::find()
        .select_only()
        .column_as(contact::Column::ContactId.count(), "sent")
        .column_as(contact::Column::ConvertTime.count(), "converted")
        .filter(contact::Column::CampaignId.eq(campaign.clone()))
        .filter(is_held_out());
    let rows: Vec<(Option<String>, Option<String>, i64, i64)> = sent.into_tuple().all(db).await?;
    let row = |(step_id, variant_id, sent, converted)| Results { step_id, variant_id, sent, converted };
    let mut results: Vec<Results> = rows.into_iter().map(row).collect();
    let held_out: Option<(i64, i64)> = held_out.into_tuple().one(db).await?;
    results
        .extend(held_out.filter(|(count, _)| *count > 0).map(|(sent, converted)| row((None, None, sent, converted))));
    Ok(results)
}

fn is_held_out() -> sea_orm::sea_query::SimpleExpr {
    contact::Column::State.eq(ContactState::Suppressed).and(contact::Column::BlockReason.eq(BlockReason::Holdout))
}
