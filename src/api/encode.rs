//! From the domain onto the wire: what several services answer.

use prost_types::{ListValue, Struct, Timestamp as WireTime, Value as WireValue, value::Kind};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    contacts::{Block, BlockReason, Effect, Purpose},
    customers::{Address, Customer},
    delivery::Channel,
    gate::Check,
    preferences::LocalizedText,
    rpc::{
        etag,
        proto::{self, block, customer},
    },
};

/// An instant.
pub fn time(time: Timestamp) -> WireTime {
    WireTime { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) }
}

/// Free data; absent when empty.
pub fn object(fields: &Map<String, Value>) -> Option<Struct> {
    (!fields.is_empty()).then(|| structure(fields))
}

fn structure(fields: &Map<String, Value>) -> Struct {
    Struct { fields: fields.iter().map(|(key, value)| (key.clone(), wire_value(value))).collect() }
}

fn wire_value(value: &Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(wire_value).collect() }),
        Value::Object(fields) => Kind::StructValue(structure(fields)),
    };
    WireValue { kind: Some(kind) }
}

/// What a message is for.
pub fn purpose(purpose: Purpose) -> proto::Purpose {
    match purpose {
        Purpose::Transactional => proto::Purpose::Transactional,
        Purpose::Service => proto::Purpose::Service,
        Purpose::Marketing => proto::Purpose::Marketing,
        Purpose::Survey => proto::Purpose::Survey,
    }
}

/// A channel; none = all.
pub fn channel(channel: Option<Channel>) -> proto::Channel {
    channel.map_or(proto::Channel::Unspecified, |Channel::Email| proto::Channel::Email)
}

/// Why not.
pub fn reason(reason: BlockReason) -> proto::BlockReason {
    match reason {
        BlockReason::CustomerErased | BlockReason::AddressErased => proto::BlockReason::CustomerErased,
        BlockReason::CustomerDeleted => proto::BlockReason::CustomerDeleted,
        BlockReason::Canceled => proto::BlockReason::Canceled,
        BlockReason::Expired => proto::BlockReason::Expired,
        BlockReason::CampaignEnded => proto::BlockReason::CampaignEnded,
        BlockReason::Exited => proto::BlockReason::Exited,
        BlockReason::ConditionFalse => proto::BlockReason::ConditionFalse,
        BlockReason::NotInAudience => proto::BlockReason::NotInAudience,
        BlockReason::Holdout => proto::BlockReason::Holdout,
        BlockReason::NoAddress => proto::BlockReason::NoAddress,
        BlockReason::Legal => proto::BlockReason::Legal,
        BlockReason::Complaint => proto::BlockReason::Complaint,
        BlockReason::HardBounce => proto::BlockReason::HardBounce,
        BlockReason::Operator => proto::BlockReason::SuppressedByOperator,
        BlockReason::SoftBounces => proto::BlockReason::SoftBounces,
        BlockReason::Objected => proto::BlockReason::Objected,
        BlockReason::OptedOut => proto::BlockReason::OptedOut,
        BlockReason::NoConsent => proto::BlockReason::NoConsent,
        BlockReason::ConsentExpired => proto::BlockReason::ConsentExpired,
        BlockReason::ConsentPending => proto::BlockReason::ConsentPending,
        BlockReason::TemplateError => proto::BlockReason::TemplateError,
        BlockReason::Snoozed => proto::BlockReason::Snoozed,
        BlockReason::CampaignPaused => proto::BlockReason::CampaignPaused,
        BlockReason::SenderNotReady => proto::BlockReason::SenderNotReady,
        BlockReason::DispatchPaused => proto::BlockReason::DispatchPaused,
        BlockReason::CircuitOpen => proto::BlockReason::CircuitOpen,
        BlockReason::FrequencyCap => proto::BlockReason::FrequencyCap,
        BlockReason::QuietHours => proto::BlockReason::QuietHours,
        BlockReason::Throttled => proto::BlockReason::Throttled,
        BlockReason::BackOff => proto::BlockReason::BackOff,
    }
}

/// What stands in the way.
pub fn block(block: Block) -> proto::Block {
    proto::Block {
        reason: reason(block.reason).into(),
        effect: effect(block.effect).into(),
        detail: block.detail,
        retry_time: block.retry_time.map(time),
    }
}

/// What a block does.
pub fn effect(of: Effect) -> block::Effect {
    match of {
        Effect::Defer => block::Effect::Defer,
        Effect::Suppress => block::Effect::Suppress,
        Effect::Expire => block::Effect::Expire,
        Effect::Cancel => block::Effect::Cancel,
    }
}

/// Lines of a decision.
pub fn checks(checks: Vec<Check>) -> Vec<proto::Check> {
    let line = |check: Check| proto::Check {
        rule: check.rule.to_owned(),
        passed: check.block.is_none(),
        block: check.block.map(block),
    };
    checks.into_iter().map(line).collect()
}

/// Texts in several languages.
pub fn localized(texts: Vec<LocalizedText>) -> Vec<proto::LocalizedText> {
    let text = |text: LocalizedText| proto::LocalizedText {
        locale: text.locale.map(|locale| locale.to_string()).unwrap_or_default(),
        text: text.text,
    };
    texts.into_iter().map(text).collect()
}

/// A customer.
pub fn customer(of: Customer) -> proto::Customer {
    let state = match (of.erase_time, of.delete_time) {
        (Some(_), _) => customer::State::Erased,
        (None, Some(_)) => customer::State::Deleted,
        (None, None) => customer::State::Active,
    };
    let purge_time = of.purge_time().map(time);
    proto::Customer {
        customer_id: of.customer_id.to_string(),
        external_ids: of.external_ids,
        display_name: of.display_name,
        given_name: of.given_name,
        family_name: of.family_name,
        time_zone: of.time_zone.map(|zone| zone.name().to_owned()).unwrap_or_default(),
        locale: of.locale.map(|locale| locale.to_string()).unwrap_or_default(),
        attributes: object(&of.attributes),
        tags: of.tags,
        addresses: of.addresses.into_iter().map(address).collect(),
        state: state.into(),
        create_time: Some(time(of.create_time)),
        update_time: Some(time(of.update_time)),
        delete_time: of.delete_time.map(time),
        purge_time,
        etag: etag(of.revision),
    }
}

/// One way to reach a customer.
pub fn address(of: Address) -> proto::Address {
    proto::Address {
        address_id: of.address_id.to_string(),
        channel: proto::Channel::Email.into(),
        value: of.value.as_str().to_owned(),
        primary: of.primary,
        verify_time: of.verify_time.map(time),
    }
}
