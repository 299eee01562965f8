use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, OnConflict, Query, SimpleExpr},
};
use serde::de::DeserializeOwned;

use super::{
    Consent, ConsentState, DataUse, FrequencyCap, Preferences, SendingPolicy,
    entity::{consent, policy, preference},
};
use crate::{
    clock::Timestamp,
    database::{self, Erased, StoreError, WriteTx},
    delivery::Channel,
    filter::{Call, Function, Kind, Parameter},
    ids::CustomerId,
    templates::Locale,
};

/// The id of the only row of the policy.
const POLICY: i32 = 1;

/// What these customers said; one who said nothing is there too.
pub async fn load(
    db: &impl ConnectionTrait,
    ids: &[CustomerId],
) -> Result<HashMap<CustomerId, Preferences>, StoreError> {
    let mut all: HashMap<CustomerId, Preferences> = ids.iter().map(|id| (*id, Preferences::none(*id))).collect();
    let said = preference::Column::CustomerId.is_in(ids.iter().copied());
    for row in preference::Entity::find().filter(said).all(db).await? {
        let preferences = all.entry(row.customer_id).or_insert_with(|| Preferences::none(row.customer_id));
        preferences.quiet_hours = parsed("preferences", row.quiet_hours)?;
        preferences.caps = parsed("preferences", row.caps)?.unwrap_or_default();
        preferences.snooze_end_time = row.snooze_end_time;
        preferences.objection_time = row.objection_time;
        preferences.silence_time = row.silence_time;
        preferences.revision = row.revision;
    }
    let query = consent::Entity::find()
        .filter(consent::Column::CustomerId.is_in(ids.iter().copied()))
        .order_by_asc(consent::Column::TopicId)
        .order_by_asc(consent::Column::Channel)
        .order_by_asc(consent::Column::DataUse);
    for row in query.all(db).await? {
        let preferences = all.entry(row.customer_id).or_insert_with(|| Preferences::none(row.customer_id));
        preferences.consents.push(Consent {
            topic_id: row.topic_id,
            channel: row.channel,
            data_use: row.data_use,
            state: row.state,
            method: row.method,
            address_id: row.address_id,
            wording_id: row.wording_id,
            change_time: row.change_time,
            expire_time: row.expire_time,
            record_id: row.record_id,
        });
    }
    Ok(all)
}

/// Writes back all but consents.
pub async fn save(tx: &WriteTx, preferences: &Preferences, now: Timestamp) -> Result<(), StoreError> {
    let row = preference::ActiveModel {
        customer_id: Set(preferences.customer_id),
        quiet_hours: Set(preferences.quiet_hours.as_ref().map(json).transpose()?),
        caps: Set(caps(&preferences.caps)?),
        snooze_end_time: Set(preferences.snooze_end_time),
        objection_time: Set(preferences.objection_time),
        silence_time: Set(preferences.silence_time),
        update_time: Set(now),
        revision: Set(preferences.revision),
    };
    let known = OnConflict::column(preference::Column::CustomerId)
        .update_columns([
            preference::Column::QuietHours,
            preference::Column::Caps,
            preference::Column::SnoozeEndTime,
            preference::Column::ObjectionTime,
            preference::Column::SilenceTime,
            preference::Column::UpdateTime,
            preference::Column::Revision,
        ])
        .to_owned();
    preference::Entity::insert(row).on_conflict(known).exec_without_returning(tx).await?;
    Ok(())
}

/// The policy.
pub async fn policy(db: &impl ConnectionTrait) -> Result<SendingPolicy, StoreError> {
    domain_policy(policy::Entity::find_by_id(POLICY).one(db).await?)
}

/// The policy, kept from others until this transaction ends.
pub async fn lock_policy(tx: &WriteTx) -> Result<SendingPolicy, StoreError> {
    domain_policy(policy::Entity::find_by_id(POLICY).lock(LockType::Update).one(tx).await?)
}

/// Writes the policy back.
pub async fn save_policy(tx: &WriteTx, of: &SendingPolicy) -> Result<(), StoreError> {
    let row = policy::ActiveModel {
        policy_id: Set(POLICY),
        quiet_hours: Set(of.quiet_hours.as_ref().map(json).transpose()?),
        caps: Set(caps(&of.caps)?),
        time_zone: Set(of.time_zone.name().to_owned()),
        default_locale: Set(of.default_locale.to_string()),
        holdout_percent: Set(of.holdout_percent.into()),
        revision: Set(of.revision),
    };
    policy::Entity::update(row).exec(tx).await?;
    Ok(())
}

/// Sets what a customer said last about a topic.
pub async fn put_consent(tx: &WriteTx, customer_id: CustomerId, consent: &Consent) -> Result<(), StoreError> {
    put_consents(tx, [(customer_id, consent)]).await
}

/// Sets what customers said last about topics; about each topic once.
pub async fn put_consents<'a>(
    tx: &WriteTx,
    said: impl IntoIterator<Item = (CustomerId, &'a Consent)>,
) -> Result<(), StoreError> {
    let row = |(customer_id, consent): (CustomerId, &'a Consent)| consent::ActiveModel {
        customer_id: Set(customer_id),
        topic_id: Set(consent.topic_id.clone()),
        channel: Set(consent.channel),
        data_use: Set(consent.data_use),
        state: Set(consent.state),
        method: Set(consent.method),
        address_id: Set(consent.address_id),
        wording_id: Set(consent.wording_id),
        change_time: Set(consent.change_time),
        expire_time: Set(consent.expire_time),
        record_id: Set(consent.record_id),
    };
    let key =
        [consent::Column::CustomerId, consent::Column::TopicId, consent::Column::Channel, consent::Column::DataUse];
    let known = OnConflict::columns(key)
        .update_columns([
            consent::Column::State,
            consent::Column::Method,
            consent::Column::AddressId,
            consent::Column::WordingId,
            consent::Column::ChangeTime,
            consent::Column::ExpireTime,
            consent::Column::RecordId,
        ])
        .to_owned();
    database::insert_rows(tx, said.into_iter().map(row).collect(), Some(known)).await?;
    Ok(())
}

/// How much of what customers said is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// All of it.
    Everything,
    /// Quiet hours, caps and snooze: what the ledger does not know.
    Settings,
}

/// Copies what customers said into another database.
pub async fn copy(from: &impl ConnectionTrait, to: &WriteTx, ids: &[CustomerId], what: Said) -> Result<(), StoreError> {
    let said = preference::Entity::find().filter(preference::Column::CustomerId.is_in(ids.iter().copied()));
    if what == Said::Settings {
        let settings = |row| preference::Model { objection_time: None, silence_time: None, ..row };
        return database::copy(from, said, to, settings).await;
    }
    database::copy(from, said, to, |row| row).await?;
    let consents = consent::Entity::find().filter(consent::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, consents, to, |row| row).await
}

/// Puts the policy in the place of that of another database.
pub async fn copy_policy(from: &impl ConnectionTrait, to: &WriteTx) -> Result<(), StoreError> {
    database::copy_table::<policy::Entity>(from, to).await
}

/// Removes what a customer wants.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<Erased, StoreError> {
    let preferences = preference::Entity::delete_by_id(customer).exec(tx).await?;
    let of_customer = consent::Column::CustomerId.eq(customer);
    let consents = consent::Entity::delete_many().filter(of_customer).exec(tx).await?;
    Ok(vec![("preferences", preferences.rows_affected), ("consents", consents.rows_affected)])
}

/// Whether a customer agreed to messages about a topic, and still does.
pub fn consented() -> Function {
    let sql = |call: &Call, customer: SimpleExpr, now: Timestamp| {
        let own = |column: consent::Column| Expr::col((consent::Entity, column));
        let mut grants = Query::select();
        grants
            .expr(Expr::val(1))
            .from(consent::Entity)
            .and_where(own(consent::Column::CustomerId).eq(customer))
            .and_where(own(consent::Column::TopicId).eq(call.text(0)))
            .and_where(own(consent::Column::Channel).eq(call.text(1)))
            .and_where(own(consent::Column::DataUse).eq(DataUse::Messages))
            .and_where(own(consent::Column::State).eq(ConsentState::Granted))
            .cond_where(
                Condition::any()
                    .add(own(consent::Column::ExpireTime).is_null())
                    .add(own(consent::Column::ExpireTime).gt(now)),
            );
        Expr::exists(grants)
    };
    let parameters = &[Parameter::Text("topic"), Parameter::Enum("CHANNEL_", Channel::STORED)];
    Function { name: "consented", parameters, kind: Kind::Bool, sql }
}

fn domain_policy(row: Option<policy::Model>) -> Result<SendingPolicy, StoreError> {
    let wrong = |detail: &str| StoreError::Corrupt { table: "sending_policy", detail: detail.to_owned() };
    let row = row.ok_or_else(|| wrong("no row"))?;
    Ok(SendingPolicy {
        quiet_hours: parsed("sending_policy", row.quiet_hours)?,
        caps: parsed("sending_policy", row.caps)?.unwrap_or_default(),
        time_zone: row.time_zone.parse().map_err(|_| wrong("time_zone"))?,
        default_locale: Locale::from_stored(row.default_locale),
        holdout_percent: u8::try_from(row.holdout_percent).map_err(|_| wrong("holdout_percent"))?,
        revision: row.revision,
    })
}

/// None where there is none: so those who set some are found.
fn caps(caps: &[FrequencyCap]) -> Result<Option<serde_json::Value>, StoreError> {
    if caps.is_empty() { Ok(None) } else { json(&caps).map(Some) }
}

fn parsed<T: DeserializeOwned>(table: &'static str, value: Option<serde_json::Value>) -> Result<Option<T>, StoreError> {
    value.map(serde_json::from_value).transpose().map_err(|wrong| corrupt(table, &wrong))
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|wrong| corrupt("preferences", &wrong))
}

pub(super) fn corrupt(table: &'static str, wrong: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table, detail: wrong.to_string() }
}
