use super::super::{decode, encode};
use crate::{
    clock::Timestamp,
    preferences::{Cause, NewSuppression, Suppression},
    rpc::{
        Violations,
        proto::{self, suppression},
    },
};

/// How long a note may be, in characters.
pub const LONGEST_NOTE: usize = 500;

/// What somebody wants suppressed.
pub fn decode(
    violations: &mut Violations,
    message: Option<proto::Suppression>,
    actor: &str,
    now: Timestamp,
) -> Option<NewSuppression> {
    let Some(message) = message else {
        violations.add("suppression", "is required");
        return None;
    };
    let channel = decode::channel(violations, "suppression.channel", message.channel);
    let address = decode::parse(violations, "suppression.address", &message.address);
    let allowed = "is required: why, such as CAUSE_OPERATOR";
    let cause: Option<suppression::Cause> =
        decode::required_choice(violations, "suppression.cause", message.cause, allowed);
    let note = decode::line(violations, "suppression.note", &message.note, LONGEST_NOTE);
    let expire_time = decode::time(violations, "suppression.expireTime", message.expire_time);
    if expire_time.is_some_and(|end| end <= now) {
        violations.add("suppression.expireTime", "must be in the future, or absent");
    }
    let cause = match cause? {
        suppression::Cause::HardBounce => Cause::HardBounce,
        suppression::Cause::Complaint => Cause::Complaint,
        suppression::Cause::Erasure => Cause::Erasure,
        suppression::Cause::Operator | suppression::Cause::Unspecified => Cause::Operator,
        suppression::Cause::SoftBounces => Cause::SoftBounces,
        suppression::Cause::Legal => Cause::Legal,
    };
    Some(NewSuppression { channel, address: address?, cause, note, actor: actor.to_owned(), expire_time })
}

/// As it holds; never with the address.
pub fn encode(of: Suppression) -> proto::Suppression {
    let cause = match of.cause {
        Cause::HardBounce => suppression::Cause::HardBounce,
        Cause::Complaint => suppression::Cause::Complaint,
        Cause::Erasure => suppression::Cause::Erasure,
        Cause::Operator => suppression::Cause::Operator,
        Cause::SoftBounces => suppression::Cause::SoftBounces,
        Cause::Legal => suppression::Cause::Legal,
    };
    proto::Suppression {
        suppression_id: of.suppression_id.to_string(),
        channel: encode::channel(Some(of.channel)).into(),
        address: String::new(),
        masked_address: of.masked_address,
        cause: cause.into(),
        note: of.note,
        create_time: Some(encode::time(of.create_time)),
        expire_time: of.expire_time.map(encode::time),
    }
}
