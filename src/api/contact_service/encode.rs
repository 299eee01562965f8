//! Contacts onto the wire.

use super::super::{Api, encode};
use crate::{
    contacts::{Attempt, AttemptOutcome, Contact, ContactState, Decision, Delivery, Origin},
    gate::Explained,
    rpc::{
        etag,
        proto::{self, ExplainContactResponse, contact, contact_attempt},
    },
};

impl Api {
    pub(in crate::api) fn encode_contact(&self, of: Contact) -> proto::Contact {
        let campaign_id = of.campaign_id().map(ToString::to_string).unwrap_or_default();
        let (enrollment_id, run_id, step_id) = match of.origin {
            Origin::AdHoc => Default::default(),
            Origin::Step(step) => (step.enrollment_id.to_string(), String::new(), step.step_id),
            Origin::Run(run) => (String::new(), run.run_id.to_string(), run.step_id),
        };
        let local = of.due_local.map(|(time, zone)| format!("{time} {zone}"));
        proto::Contact {
            contact_id: of.contact_id.to_string(),
            customer_id: of.customer_id.to_string(),
            campaign_id,
            run_id,
            enrollment_id,
            step_id,
            variant_id: of.variant_id.unwrap_or_default(),
            topic_id: of.topic_id.to_string(),
            purpose: encode::purpose(of.purpose).into(),
            channel: proto::Channel::Email.into(),
            address_id: of.address_id.map(|id| id.to_string()).unwrap_or_default(),
            template_id: of.template_id.to_string(),
            template_version: of.template_version.unwrap_or(0),
            data: encode::object(&of.data),
            due_time: Some(encode::time(of.due_time)),
            original_due_time: Some(encode::time(of.original_due_time)),
            due_local_time: local.unwrap_or_default(),
            expire_time: Some(encode::time(of.expire_time)),
            state: state(of.state).into(),
            block: of.block.map(encode::block),
            delivery: delivery(of.delivery).into(),
            attempt_count: of.attempt_count,
            message_id: format!("<{}>", self.0.dispatcher.message_id(of.contact_id, of.purpose)),
            send_time: of.send_time.map(encode::time),
            create_time: Some(encode::time(of.create_time)),
            update_time: Some(encode::time(of.update_time)),
            etag: etag(of.revision),
        }
    }

    pub(super) fn encode_explained(&self, of: Explained) -> ExplainContactResponse {
        let (contact, attempts, decisions) = match of.contact {
            Some(explanation) => (Some(explanation.contact), explanation.attempts, explanation.decisions),
            None => (None, Vec::new(), Vec::new()),
        };
        ExplainContactResponse {
            summary: of.summary,
            checks: encode::checks(of.checks),
            contact: contact.map(|contact| self.encode_contact(contact)),
            attempts: attempts.into_iter().map(attempt).collect(),
            next_allowed_time: of.next_allowed_time.map(encode::time),
            decisions: decisions.into_iter().map(decision).collect(),
        }
    }
}

/// Where a contact stands.
pub(in crate::api) fn state(state: ContactState) -> contact::State {
    match state {
        ContactState::Scheduled => contact::State::Scheduled,
        ContactState::Sending => contact::State::Sending,
        ContactState::Sent => contact::State::Sent,
        ContactState::Suppressed => contact::State::Suppressed,
        ContactState::Failed => contact::State::Failed,
        ContactState::Expired => contact::State::Expired,
        ContactState::Canceled => contact::State::Canceled,
        ContactState::UnknownOutcome => contact::State::UnknownOutcome,
    }
}

/// A decision that it does not go out.
pub(in crate::api) fn decision(of: Decision) -> proto::ContactDecision {
    proto::ContactDecision { time: Some(encode::time(of.time)), block: Some(encode::block(of.block)) }
}

/// What became of a message.
fn delivery(delivery: Option<Delivery>) -> contact::Delivery {
    match delivery {
        None => contact::Delivery::Unspecified,
        Some(Delivery::Delivered) => contact::Delivery::Delivered,
        Some(Delivery::Bounced) => contact::Delivery::Bounced,
        Some(Delivery::Complained) => contact::Delivery::Complained,
    }
}

/// One hand-over.
pub(in crate::api) fn attempt(of: Attempt) -> proto::ContactAttempt {
    let outcome = match of.outcome {
        None => contact_attempt::Outcome::Unspecified,
        Some(AttemptOutcome::Accepted) => contact_attempt::Outcome::Accepted,
        Some(AttemptOutcome::TemporaryFailure) => contact_attempt::Outcome::TemporaryFailure,
        Some(AttemptOutcome::PermanentFailure) => contact_attempt::Outcome::PermanentFailure,
        Some(AttemptOutcome::Unknown) => contact_attempt::Outcome::Unknown,
    };
    proto::ContactAttempt {
        number: of.number,
        start_time: Some(encode::time(of.start_time)),
        end_time: of.end_time.map(encode::time),
        outcome: outcome.into(),
        reply_code: of.reply_code,
        detail: of.detail,
        replica: of.replica,
    }
}
