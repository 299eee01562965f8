use chrono::TimeDelta;

use super::{
    super::{decode, encode},
    policy::{encode_cap, encode_quiet_hours},
};
use crate::{
    clock::Timestamp,
    delivery::Channel,
    intake::{Said, Statement, Unsubscription},
    preferences::{
        Consent, ConsentAct, ConsentMethod, ConsentRecord, ConsentState, DataUse, Evidence, NewWording, Preferences,
        Wording,
    },
    rpc::{
        Violations, etag,
        proto::{
            self, CreateWordingRequest, SetConsentRequest, consent, consent_record, set_consent_request::Decision,
            unsubscribe_request::Scope,
        },
    },
};

/// How far the clocks of callers may be ahead of ours when a customer says something.
pub const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// How long an evidence may be, in characters.
pub const LONGEST_EVIDENCE: usize = 2_000;
const LONGEST_WORDING: usize = 5_000;

/// What somebody says that a customer said.
pub fn statement(
    violations: &mut Violations,
    message: SetConsentRequest,
    actor: &str,
    now: Timestamp,
) -> Option<Statement> {
    let topic_id = decode::parse(violations, "topicId", &message.topic_id);
    let channel = decode::channel(violations, "channel", message.channel);
    let data_use = data_use(violations, message.data_use);
    let allowed = "must be DECISION_GRANT or DECISION_WITHDRAW";
    let decision: Option<Decision> = decode::required_choice(violations, "decision", message.decision, allowed);
    let method = method(violations, message.method);
    let grant = decision == Some(Decision::Grant);
    if grant && method.is_some_and(|method| !method.can_grant()) {
        violations.add("method", "is one by which customers only ever withdraw");
    }
    let evidence = decode::text(violations, "evidence", message.evidence, LONGEST_EVIDENCE);
    if grant && method == Some(ConsentMethod::DoubleOptIn) && evidence.trim().is_empty() {
        violations
            .add("evidence", "is required for a double opt-in of the caller's own: how and when it was confirmed");
    }
    let occur_time = decode::time(violations, "occurTime", message.occur_time);
    if occur_time.is_some_and(|time| time > now + AHEAD) {
        violations.add("occurTime", "must not be more than 5 minutes ahead");
    }
    let expire_time = decode::time(violations, "expireTime", message.expire_time);
    if expire_time.is_some_and(|end| !grant || end <= now) {
        violations.add("expireTime", "must be in the future and of a grant, or absent");
    }
    let address_id = decode::parse_optional(violations, "addressId", &message.address_id);
    let wording_id = decode::parse_optional(violations, "wordingId", &message.wording_id);
    Some(Statement {
        topic_id: topic_id?,
        channel,
        data_use,
        grant,
        said: Said { method: method?, evidence: Evidence::new(actor, &evidence), contact_id: None, proven: None },
        occur_time,
        expire_time,
        address_id,
        wording_id,
    })
}

/// What somebody wants no more of; by the link of a message, its topic unless something else is said.
pub fn unsubscription(
    violations: &mut Violations,
    scope: Option<Scope>,
    channel: i32,
    by_link: bool,
) -> Option<Option<Unsubscription>> {
    let channel: Option<proto::Channel> = decode::choice(violations, "channel", channel);
    let channel = channel.map(|_| Channel::Email);
    match scope {
        Some(Scope::TopicId(id)) => {
            decode::parse(violations, "topicId", &id).map(|id| Some(Unsubscription::Topic(id, channel)))
        }
        Some(Scope::AllMarketing(true)) => Some(Some(Unsubscription::Marketing)),
        Some(Scope::Everything(true)) => Some(Some(Unsubscription::Everything)),
        None if by_link => Some(None),
        Some(Scope::AllMarketing(false)) | Some(Scope::Everything(false)) | None => {
            violations.add("topicId", "one of topicId, allMarketing (true) and everything (true) is required");
            None
        }
    }
}

pub fn method(violations: &mut Violations, number: i32) -> Option<ConsentMethod> {
    let allowed = "is required: how the customer said so, such as CONSENT_METHOD_WEB_FORM";
    let method: Option<proto::ConsentMethod> = decode::required_choice(violations, "method", number, allowed);
    Some(match method? {
        proto::ConsentMethod::Unspecified => return None,
        proto::ConsentMethod::WebForm => ConsentMethod::WebForm,
        proto::ConsentMethod::DoubleOptIn => ConsentMethod::DoubleOptIn,
        proto::ConsentMethod::PreferencePage => ConsentMethod::PreferencePage,
        proto::ConsentMethod::OneClick => ConsentMethod::OneClick,
        proto::ConsentMethod::Reply => ConsentMethod::Reply,
        proto::ConsentMethod::Complaint => ConsentMethod::Complaint,
        proto::ConsentMethod::InPerson => ConsentMethod::InPerson,
        proto::ConsentMethod::Operator => ConsentMethod::Operator,
        proto::ConsentMethod::Import => ConsentMethod::Import,
    })
}

fn data_use(violations: &mut Violations, number: i32) -> DataUse {
    let data_use: Option<proto::DataUse> = decode::choice(violations, "dataUse", number);
    match data_use {
        Some(proto::DataUse::OpenTracking) => DataUse::OpenTracking,
        Some(proto::DataUse::ClickTracking) => DataUse::ClickTracking,
        Some(proto::DataUse::Profiling) => DataUse::Profiling,
        Some(proto::DataUse::Messages | proto::DataUse::Unspecified) | None => DataUse::Messages,
    }
}

/// Words that are to be kept.
pub fn wording(violations: &mut Violations, message: CreateWordingRequest) -> Option<NewWording> {
    let Some(message) = message.wording else {
        violations.add("wording", "is required");
        return None;
    };
    let topic_id = decode::parse(violations, "wording.topicId", &message.topic_id);
    let locale = decode::parse_optional(violations, "wording.locale", &message.locale);
    let text = decode::text(violations, "wording.text", message.text, LONGEST_WORDING);
    if text.trim().is_empty() {
        violations.add("wording.text", "is required: the exact words that people agree to");
    }
    Some(NewWording { topic_id: topic_id?, locale, text })
}

/// As it stands at a moment.
pub fn encode_consent(of: Consent, now: Timestamp) -> proto::Consent {
    proto::Consent {
        topic_id: of.topic_id.to_string(),
        channel: proto::Channel::Email.into(),
        state: state(of.state_at(now)).into(),
        address_id: of.address_id.map(|id| id.to_string()).unwrap_or_default(),
        change_time: Some(encode::time(of.change_time)),
        expire_time: of.expire_time.map(encode::time),
        wording_id: of.wording_id.map(|id| id.to_string()).unwrap_or_default(),
        data_use: encode_data_use(of.data_use).into(),
    }
}

fn state(of: ConsentState) -> consent::State {
    match of {
        ConsentState::Pending => consent::State::Pending,
        ConsentState::Granted => consent::State::Granted,
        ConsentState::Denied => consent::State::Denied,
        ConsentState::Expired => consent::State::Expired,
    }
}

fn encode_data_use(of: DataUse) -> proto::DataUse {
    match of {
        DataUse::Messages => proto::DataUse::Messages,
        DataUse::OpenTracking => proto::DataUse::OpenTracking,
        DataUse::ClickTracking => proto::DataUse::ClickTracking,
        DataUse::Profiling => proto::DataUse::Profiling,
    }
}

/// As they stand at a moment.
pub fn encode_preferences(of: Preferences, now: Timestamp) -> proto::Preferences {
    proto::Preferences {
        customer_id: of.customer_id.to_string(),
        consents: of.consents.into_iter().map(|consent| encode_consent(consent, now)).collect(),
        quiet_hours: of.quiet_hours.map(encode_quiet_hours),
        caps: of.caps.into_iter().map(encode_cap).collect(),
        snooze_end_time: of.snooze_end_time.map(encode::time),
        objection_time: of.objection_time.map(encode::time),
        etag: etag(of.revision),
        silence_time: of.silence_time.map(encode::time),
    }
}

/// An entry of the ledger, with what it rests on as far as that is still there.
pub fn encode_record(of: ConsentRecord, evidence: Option<Evidence>) -> proto::ConsentRecord {
    let (topic_id, channel) = of.scope.unzip();
    let (actor, text, salt) = match evidence {
        Some(Evidence { actor, text, salt }) => (actor, text, hex(&salt)),
        None => Default::default(),
    };
    proto::ConsentRecord {
        record_id: of.record_id.to_string(),
        customer_id: of.customer_id.to_string(),
        topic_id: topic_id.map(|id| id.to_string()).unwrap_or_default(),
        channel: channel.map(|Channel::Email| proto::Channel::Email.into()).unwrap_or_default(),
        from_state: of.from_state.map(|before| state(before).into()).unwrap_or_default(),
        to_state: state(of.to_state).into(),
        method: encode_method(of.method).into(),
        actor,
        evidence: text,
        evidence_digest: of.evidence_digest.map(|digest| hex(&digest)).unwrap_or_default(),
        wording_id: of.wording_id.map(|id| id.to_string()).unwrap_or_default(),
        occur_time: Some(encode::time(of.occur_time)),
        record_time: Some(encode::time(of.record_time)),
        data_use: encode_data_use(of.data_use).into(),
        act: act(of.act).into(),
        evidence_salt: salt,
        address_id: of.address_id.map(|id| id.to_string()).unwrap_or_default(),
        expire_time: of.expire_time.map(encode::time),
        contact_id: of.contact_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// Words as they are kept.
pub fn encode_wording(of: Wording) -> proto::Wording {
    proto::Wording {
        wording_id: of.wording_id.to_string(),
        topic_id: of.topic_id.to_string(),
        locale: of.locale.map(|locale| locale.to_string()).unwrap_or_default(),
        text: of.text,
        create_time: Some(encode::time(of.create_time)),
    }
}

fn act(of: ConsentAct) -> consent_record::Act {
    match of {
        ConsentAct::Request => consent_record::Act::Request,
        ConsentAct::Grant => consent_record::Act::Grant,
        ConsentAct::Withdraw => consent_record::Act::Withdraw,
        ConsentAct::Object => consent_record::Act::Object,
        ConsentAct::Silence => consent_record::Act::Silence,
    }
}

fn encode_method(of: ConsentMethod) -> proto::ConsentMethod {
    match of {
        ConsentMethod::WebForm => proto::ConsentMethod::WebForm,
        ConsentMethod::DoubleOptIn => proto::ConsentMethod::DoubleOptIn,
        ConsentMethod::PreferencePage => proto::ConsentMethod::PreferencePage,
        ConsentMethod::OneClick => proto::ConsentMethod::OneClick,
        ConsentMethod::Reply => proto::ConsentMethod::Reply,
        ConsentMethod::Complaint => proto::ConsentMethod::Complaint,
        ConsentMethod::InPerson => proto::ConsentMethod::InPerson,
        ConsentMethod::Operator => proto::ConsentMethod::Operator,
        ConsentMethod::Import => proto::ConsentMethod::Import,
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
