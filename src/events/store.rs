use std::collections::HashMap;

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{
        CaseStatement, Expr, ExprTrait, IntoIden, OnConflict, Query, SelectStatement, SimpleExpr, TableRef, ValueTuple,
    },
};

use super::{
    Event, EventBody, EventEffect, Money,
    entity::{effect, event},
    money::odd_currencies,
};
use crate::{
    clock::Timestamp,
    database::{Erased, StoreError, WriteTx},
    filter::{Call, Function, Kind, Parameter, Wanted},
    ids::{CampaignId, CustomerId, EventId},
    rpc::Page,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;

/// False when an event was recorded under its key before.
pub async fn insert(tx: &WriteTx, new: &Event) -> Result<bool, StoreError> {
    let known = OnConflict::columns([event::Column::Source, event::Column::SourceEventId]).do_nothing().to_owned();
    Ok(event::Entity::insert(row(new)?).on_conflict(known).exec_without_returning(tx).await? == 1)
}

/// The event that was recorded under a key.
pub async fn find_by_key(
    db: &impl ConnectionTrait,
    source: &str,
    source_event_id: &str,
) -> Result<Option<Event>, StoreError> {
    let query = event::Entity::find()
        .filter(event::Column::Source.eq(source))
        .filter(event::Column::SourceEventId.eq(source_event_id));
    query.one(db).await?.map(domain).transpose()
}

/// One event.
pub async fn find(db: &impl ConnectionTrait, id: EventId) -> Result<Option<Event>, StoreError> {
    event::Entity::find_by_id(id).one(db).await?.map(domain).transpose()
}

/// These events.
pub async fn load(db: &impl ConnectionTrait, ids: &[EventId]) -> Result<HashMap<EventId, Event>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = event::Entity::find().filter(event::Column::EventId.is_in(ids.iter().copied())).all(db).await?;
    rows.into_iter().map(|row| domain(row).map(|event| (event.event_id, event))).collect()
}

/// Events in the order in which they were recorded, one more than the page holds.
pub async fn list(
    db: &impl ConnectionTrait,
    customer: Option<CustomerId>,
    wanted: &Wanted,
    page: &Page,
) -> Result<Vec<Event>, StoreError> {
    let mut query =
        event::Entity::find().filter(wanted.condition(db)).order_by_asc(event::Column::EventId).limit(page.size + 1);
    if let Some(customer) = customer {
        query = query.filter(event::Column::CustomerId.eq(customer));
    }
    if let Some(after) = page.after.as_deref().and_then(|after| after.parse::<EventId>().ok()) {
        query = query.filter(event::Column::EventId.gt(after));
    }
    query.all(db).await?.into_iter().map(domain).collect()
}

/// What happened to these customers after a moment, of these types; the earliest first.
pub async fn happened_since(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    types: &[String],
    after: Timestamp,
) -> Result<Vec<Event>, StoreError> {
    if types.is_empty() || customers.is_empty() {
        return Ok(Vec::new());
    }
    let query = event::Entity::find()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(event::Column::EventType.is_in(types.iter().map(String::as_str)))
        .filter(event::Column::OccurTime.gt(after))
        .order_by_asc(event::Column::OccurTime)
        .order_by_asc(event::Column::EventId);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Keeps what an event did.
pub async fn insert_effects(tx: &WriteTx, event_id: EventId, effects: &[EventEffect]) -> Result<(), StoreError> {
    if effects.is_empty() {
        return Ok(());
    }
    let rows = effects.iter().zip(0..).map(|(effect, position)| effect::ActiveModel {
        event_id: Set(event_id),
        position: Set(position),
        campaign_id: Set(effect.campaign_id.clone()),
        outcome: Set(effect.outcome),
        detail: Set(effect.detail.clone()),
        enrollment_id: Set(effect.enrollment_id),
        contact_id: Set(effect.contact_id),
        due_time: Set(effect.due.as_ref().map(|(instant, _)| *instant)),
        due_local_time: Set(effect.due.as_ref().map(|(_, local)| local.clone())),
    });
    effect::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

/// What an event did.
pub async fn effects(db: &impl ConnectionTrait, event_id: EventId) -> Result<Vec<EventEffect>, StoreError> {
    Ok(effects_of(db, &[event_id]).await?.remove(&event_id).unwrap_or_default())
}

/// What these events did.
pub async fn effects_of(
    db: &impl ConnectionTrait,
    ids: &[EventId],
) -> Result<HashMap<EventId, Vec<EventEffect>>, StoreError> {
    let query = effect::Entity::find()
        .filter(effect::Column::EventId.is_in(ids.iter().copied()))
        .order_by_asc(effect::Column::Position);
    let mut effects: HashMap<EventId, Vec<EventEffect>> = HashMap::new();
    for row in query.all(db).await? {
        effects.entry(row.event_id).or_default().push(domain_effect(row));
    }
    Ok(effects)
}

/// The last thing that any event of a customer did to a campaign, with that event.
pub async fn latest_effect(
    db: &impl ConnectionTrait,
    customer: CustomerId,
    campaign: &CampaignId,
) -> Result<Option<(EventId, EventEffect)>, StoreError> {
    let of_customer =
        effect::Entity::belongs_to(event::Entity).from(effect::Column::EventId).to(event::Column::EventId);
    let query = effect::Entity::find()
        .join(JoinType::InnerJoin, of_customer.into())
        .filter(event::Column::CustomerId.eq(customer))
        .filter(effect::Column::CampaignId.eq(campaign.clone()))
        .order_by_desc(effect::Column::EventId)
        .order_by_desc(effect::Column::Position);
    Ok(query.one(db).await?.map(|row| (row.event_id, domain_effect(row))))
}

/// Removes what events say about a customer; that they occurred stays. The key under which one was recorded goes too: it is the
/// caller's, who may have put anything into it.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<Erased, StoreError> {
    let ids: Vec<EventId> = event::Entity::find()
        .select_only()
        .column(event::Column::EventId)
        .filter(event::Column::CustomerId.eq(customer))
        .into_tuple()
        .all(tx)
        .await?;
    let mut effects = 0;
    for some in ids.chunks(AT_ONCE) {
        blank(tx, some).await?;
        effects += effect::Entity::update_many()
            .col_expr(effect::Column::Detail, "".into())
            .col_expr(effect::Column::DueLocalTime, Expr::val(None::<String>))
            .filter(effect::Column::EventId.is_in(some.iter().copied()))
            .exec(tx)
            .await?
            .rows_affected;
    }
    Ok(vec![("events", ids.len() as u64), ("event_effects", effects)])
}

async fn blank(tx: &WriteTx, ids: &[EventId]) -> Result<(), StoreError> {
    let own = |column: event::Column| Expr::col((event::Entity, column));
    let rows = ids.iter().map(|id| ValueTuple::Two((*id).into(), format!("erased {id}").into())).collect();
    let update = Query::update()
        .table(event::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(event::Column::SourceEventId, Expr::col(("given", "column2")))
        .value(event::Column::Subject, "")
        .value(event::Column::ValueCurrency, Expr::val(None::<String>))
        .value(event::Column::ValueMinor, Expr::val(None::<i64>))
        .value(event::Column::Items, serde_json::json!([]))
        .value(event::Column::Properties, serde_json::json!({}))
        .and_where(own(event::Column::EventId).equals(("given", "column1")))
        .to_owned();
    tx.execute(&update).await?;
    Ok(())
}

/// What an event was worth, as a number.
pub fn amount(_: DbBackend) -> SimpleExpr {
    let currency = || Expr::col((event::Entity, event::Column::ValueCurrency));
    let scale = odd_currencies().iter().fold(CaseStatement::new(), |scale, (digits, codes)| {
        scale.case(currency().is_in(codes.iter().copied()), 10_i64.pow(*digits))
    });
    let minor = Expr::col((event::Entity, event::Column::ValueMinor)).cast_as("double precision");
    let scale: SimpleExpr = scale.finally(100).into();
    minor.div(scale)
}

/// How often something happened to a customer in the last days.
pub fn event_count() -> Function {
    let sql = |call: &Call, customer: SimpleExpr, now: Timestamp| {
        let since = now - TimeDelta::days(call.days(1).into());
        let mut events = of_type(call, customer, now);
        events.expr(Expr::col(event::Column::EventId).count()).and_where(event::Column::OccurTime.gt(since));
        events.into()
    };
    Function {
        name: "event_count",
        parameters: &[Parameter::Text("event type"), Parameter::Days],
        kind: Kind::Number,
        sql,
    }
}

/// When something happened to a customer last.
pub fn last_event() -> Function {
    let sql = |call: &Call, customer: SimpleExpr, now: Timestamp| {
        let mut events = of_type(call, customer, now);
        events.expr(Expr::col(event::Column::OccurTime).max());
        events.into()
    };
    Function { name: "last_event", parameters: &[Parameter::Text("event type")], kind: Kind::Time, sql }
}

/// What is said to happen later does not count yet.
fn of_type(call: &Call, customer: SimpleExpr, now: Timestamp) -> SelectStatement {
    let mut events = Query::select();
    events
        .from(event::Entity)
        .and_where(Expr::col((event::Entity, event::Column::CustomerId)).eq(customer))
        .and_where(event::Column::EventType.eq(call.text(0)))
        .and_where(event::Column::OccurTime.lte(now));
    events
}

fn domain_effect(row: effect::Model) -> EventEffect {
    EventEffect {
        campaign_id: row.campaign_id,
        outcome: row.outcome,
        detail: row.detail,
        enrollment_id: row.enrollment_id,
        contact_id: row.contact_id,
        due: row.due_time.zip(row.due_local_time),
    }
}

pub(super) fn domain(row: event::Model) -> Result<Event, StoreError> {
    let corrupt =
        |detail: &str| StoreError::Corrupt { table: "events", detail: format!("{detail} of {}", row.event_id) };
    let value = match (&row.value_currency, row.value_minor) {
        (Some(code), Some(minor)) => Some(Money::from_minor(code, minor).ok_or_else(|| corrupt("value_currency"))?),
        _ => None,
    };
    let serde_json::Value::Object(properties) = row.properties else {
        return Err(corrupt("properties"));
    };
    Ok(Event {
        event_id: row.event_id,
        customer_id: row.customer_id,
        record_time: row.record_time,
        body: EventBody {
            items: serde_json::from_value(row.items).map_err(|_| corrupt("items"))?,
            source: row.source,
            source_event_id: row.source_event_id,
            event_type: row.event_type,
            occur_time: row.occur_time,
            subject: row.subject,
            value,
            properties,
        },
    })
}

fn row(event: &Event) -> Result<event::ActiveModel, StoreError> {
    let body = &event.body;
    let items = serde_json::to_value(&body.items)
        .map_err(|wrong| StoreError::Corrupt { table: "events", detail: wrong.to_string() })?;
    Ok(event::ActiveModel {
        event_id: Set(event.event_id),
        source: Set(body.source.clone()),
        source_event_id: Set(body.source_event_id.clone()),
        customer_id: Set(event.customer_id),
        bucket: Set(event.customer_id.bucket()),
        event_type: Set(body.event_type.clone()),
        occur_time: Set(body.occur_time),
        subject: Set(body.subject.clone()),
        value_currency: Set(body.value.map(|value| value.currency_code().to_owned())),
        value_minor: Set(body.value.map(Money::minor)),
        items: Set(items),
        properties: Set(body.properties.clone().into()),
        record_time: Set(event.record_time),
    })
}
