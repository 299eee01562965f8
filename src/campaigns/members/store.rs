use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter,
    sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement},
};

use super::super::entity::member;
use crate::{
    clock::Timestamp,
    customers,
    database::{Erased, StoreError, WriteTx},
    filter::Filter,
    ids::{CampaignId, CustomerId},
};

/// Takes all who match now for those who did before, whoever that was until now: a statement or two, however many they are.
pub async fn reseed(tx: &WriteTx, campaign: &CampaignId, audience: &Filter, now: Timestamp) -> Result<(), StoreError> {
    member::Entity::delete_many().filter(member::Column::CampaignId.eq(campaign.clone())).exec(tx).await?;
    let mut matching = customers::matching_query(audience, tx.get_database_backend(), now);
    matching.expr(Expr::val(campaign.as_str())).column(("customers", "customer_id")).expr(Expr::val(now));
    let mut insert = Query::insert();
    let columns = [member::Column::CampaignId, member::Column::CustomerId, member::Column::SinceTime];
    insert.into_table(member::Entity).columns(columns);
    insert
        .select_from(matching)
        .map_err(|wrong| StoreError::Corrupt { table: "audience_members", detail: wrong.to_string() })?;
    tx.execute(&insert).await?;
    Ok(())
}

/// The next of those who match now and did not before.
pub async fn newcomers(
    db: &impl ConnectionTrait,
    campaign: &CampaignId,
    audience: &Filter,
    after: Option<CustomerId>,
    most: u64,
    now: Timestamp,
) -> Result<Vec<CustomerId>, StoreError> {
    let mut query = customers::matching_query(audience, db.get_database_backend(), now);
    query.column(("customers", "customer_id")).cond_where(Condition::all().not().add(Expr::exists(known(campaign))));
    ids(db, query, after, most).await
}

/// The next of those who matched before a moment and do not match at it. Whoever began later is left: another process may know more
/// than was known then.
pub async fn no_more(
    db: &impl ConnectionTrait,
    campaign: &CampaignId,
    audience: &Filter,
    after: Option<CustomerId>,
    most: u64,
    now: Timestamp,
) -> Result<Vec<CustomerId>, StoreError> {
    let mut matching = customers::matching_query(audience, db.get_database_backend(), now);
    matching
        .expr(Expr::val(1))
        .and_where(Expr::col(("customers", "customer_id")).equals((member::Entity, member::Column::CustomerId)));
    let mut query = Query::select();
    query
        .from(member::Entity)
        .column((member::Entity, member::Column::CustomerId))
        .and_where(Expr::col((member::Entity, member::Column::CampaignId)).eq(campaign.as_str()))
        .and_where(Expr::col((member::Entity, member::Column::SinceTime)).lt(now))
        .cond_where(Condition::all().not().add(Expr::exists(matching)))
        .limit(most)
        .order_by((member::Entity, member::Column::CustomerId), sea_orm::Order::Asc);
    if let Some(after) = after {
        query.and_where(Expr::col((member::Entity, member::Column::CustomerId)).gt(after));
    }
    rows(db, query).await
}

fn known(campaign: &CampaignId) -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(member::Entity)
        .and_where(Expr::col((member::Entity, member::Column::CampaignId)).eq(campaign.as_str()))
        .and_where(Expr::col((member::Entity, member::Column::CustomerId)).equals(("customers", "customer_id")))
        .to_owned()
}

async fn ids(
    db: &impl ConnectionTrait,
    mut query: SelectStatement,
    after: Option<CustomerId>,
    most: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    if let Some(after) = after {
        query.and_where(Expr::col(("customers", "customer_id")).gt(after));
    }
    query.order_by(("customers", "customer_id"), sea_orm::Order::Asc).limit(most);
    rows(db, query).await
}

async fn rows(db: &impl ConnectionTrait, query: SelectStatement) -> Result<Vec<CustomerId>, StoreError> {
    let rows = db.query_all(&query).await?;
    rows.into_iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

/// Notes that customers match now; answers which of them nobody had noted before.
pub async fn add(
    tx: &WriteTx,
    campaign: &CampaignId,
    customers: &[CustomerId],
    now: Timestamp,
) -> Result<Vec<CustomerId>, StoreError> {
    if customers.is_empty() {
        return Ok(Vec::new());
    }
    let of_campaign = member::Column::CampaignId.eq(campaign.clone());
    let known = member::Entity::find()
        .filter(of_campaign)
        .filter(member::Column::CustomerId.is_in(customers.iter().copied()))
        .all(tx)
        .await?;
    let new = customers.iter().filter(|id| !known.iter().any(|row| row.customer_id == **id));
    let new: Vec<CustomerId> = new.copied().collect();
    if !new.is_empty() {
        let rows = new.iter().map(|id| member::ActiveModel {
            campaign_id: Set(campaign.clone()),
            customer_id: Set(*id),
            since_time: Set(now),
        });
        let known =
            OnConflict::columns([member::Column::CampaignId, member::Column::CustomerId]).do_nothing().to_owned();
        member::Entity::insert_many(rows).on_conflict(known).exec_without_returning(tx).await?;
    }
    Ok(new)
}

/// Notes that customers do not match any more.
pub async fn remove(tx: &WriteTx, campaign: &CampaignId, customers: &[CustomerId]) -> Result<(), StoreError> {
    if customers.is_empty() {
        return Ok(());
    }
    member::Entity::delete_many()
        .filter(member::Column::CampaignId.eq(campaign.clone()))
        .filter(member::Column::CustomerId.is_in(customers.iter().copied()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Removes that a customer ever matched anything.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<Erased, StoreError> {
    let gone = member::Entity::delete_many().filter(member::Column::CustomerId.eq(customer)).exec(tx).await?;
    Ok(vec![("audience_members", gone.rows_affected)])
}
