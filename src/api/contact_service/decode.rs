//! What requests about contacts ask for; all that is wrong with it at once.

use super::{super::decode, encode::state};
use crate::{
    contacts::{ContactState, Selection, Verdict},
    dispatch::{Due, NewMessage},
    ids::ContactId,
    intake::BatchCancel,
    rpc::{
        Caller, Fault, Violations,
        proto::{
            BatchCancelContactsRequest, ScheduleContactRequest, TimeRange, contact, resolve_contact_request,
            schedule_contact_request,
        },
    },
};

const ALL_STATES: [ContactState; 8] = [
    ContactState::Scheduled,
    ContactState::Sending,
    ContactState::Sent,
    ContactState::Suppressed,
    ContactState::Failed,
    ContactState::Expired,
    ContactState::Canceled,
    ContactState::UnknownOutcome,
];

/// A contact's id.
pub(super) fn id(text: &str, mut violations: Violations) -> Result<ContactId, Fault> {
    let id = decode::parse(&mut violations, "contactId", text);
    violations.finish(id)
}

/// An ad-hoc message; `at` is the path of its fields.
pub(super) fn message(
    violations: &mut Violations,
    caller: &Caller,
    at: &str,
    mut of: ScheduleContactRequest,
) -> Option<NewMessage> {
    let path = |name: &str| format!("{at}{name}");
    let request_id = std::mem::take(&mut of.request_id);
    let request = decode::request_key(violations, path("requestId"), caller, "ScheduleContact", &request_id, &of);
    let customer = decode::customer_key(violations, &path("customer"), of.customer);
    let topic_id = decode::parse(violations, path("topicId"), &of.topic_id);
    let template_id = decode::parse(violations, path("templateId"), &of.template_id);
    decode::channel(violations, path("channel"), of.channel);
    let data = decode::object(violations, path("data"), of.data);
    let due = due(violations, at, of.due);
    let expire_time = decode::time(violations, path("expireTime"), of.expire_time);
    let dedupe_key = decode::line(violations, path("dedupeKey"), &of.dedupe_key, 128);
    Some(NewMessage {
        customer: customer?,
        topic_id: topic_id?,
        template_id: template_id?,
        data,
        due: due?,
        expire_time,
        dedupe_key: Some(dedupe_key).filter(|key| !key.is_empty()),
        request: request.filter(|_| !of.validate_only),
        validate_only: of.validate_only,
    })
}

fn due(violations: &mut Violations, at: &str, due: Option<schedule_contact_request::Due>) -> Option<Due> {
    match due {
        None => Some(Due::Now),
        Some(schedule_contact_request::Due::DueTime(time)) => {
            decode::time(violations, format_args!("{at}dueTime"), Some(time)).map(Due::At)
        }
        Some(schedule_contact_request::Due::DueLocalTime(text)) => {
            decode::parse(violations, format_args!("{at}dueLocalTime"), &text).map(Due::Local)
        }
    }
}

/// All but the customer of a selection.
pub(super) fn selection(
    violations: &mut Violations,
    campaign_id: &str,
    states: &[i32],
    due_range: Option<&TimeRange>,
) -> Selection {
    let mut which = Selection {
        campaign_id: decode::parse_optional(violations, "campaignId", campaign_id),
        ..Selection::default()
    };
    for (place, number) in states.iter().enumerate() {
        let wanted: Option<contact::State> =
            decode::required_choice(violations, format_args!("states[{place}]"), *number, "must be a state");
        which.states.extend(ALL_STATES.iter().copied().filter(|own| Some(state(*own)) == wanted));
    }
    if let Some(range) = due_range {
        which.due_from = decode::time(violations, "dueRange.startTime", range.start_time);
        which.due_before = decode::time(violations, "dueRange.endTime", range.end_time);
        if let (Some(from), Some(before)) = (which.due_from, which.due_before)
            && before <= from
        {
            violations.add("dueRange.endTime", "must be after startTime");
        }
    }
    which
}

/// What is to be called off, but for whose it is.
pub(super) fn batch_cancel(violations: &mut Violations, of: &BatchCancelContactsRequest) -> BatchCancel {
    let which = selection(violations, &of.campaign_id, &of.states, of.due_range.as_ref());
    for (place, number) in of.states.iter().enumerate() {
        let known = contact::State::try_from(*number).ok().filter(|state| *state != contact::State::Unspecified);
        if known.is_some_and(|state| state != contact::State::Scheduled) {
            violations.add(format!("states[{place}]"), "must be STATE_SCHEDULED: no other can be called off");
        }
    }
    let in_range = of.due_range.as_ref().is_some_and(|range| range.start_time.is_some() || range.end_time.is_some());
    if of.customer.is_none() && of.campaign_id.is_empty() && of.filter.trim().is_empty() && !in_range {
        violations.add("customer", "one of customer, campaignId, dueRange and filter is required");
    }
    match of.expected_count {
        None if !of.validate_only => {
            violations.add("expectedCount", "is required: validateOnly answers how many match");
        }
        Some(count) if count < 0 => violations.add("expectedCount", "must be 0 or more"),
        _ => {}
    }
    let reason = decode::line(violations, "reason", &of.reason, 500);
    BatchCancel { which, reason, expected_count: of.expected_count, validate_only: of.validate_only }
}

/// What became of a contact in doubt.
pub(super) fn verdict(violations: &mut Violations, number: i32) -> Option<Verdict> {
    use resolve_contact_request::Verdict as Wire;
    match decode::required_choice(violations, "verdict", number, "is required")? {
        Wire::WasSent => Some(Verdict::WasSent),
        Wire::WasNotSent => Some(Verdict::WasNotSent),
        Wire::SendAgain => Some(Verdict::SendAgain),
        Wire::Unspecified => None,
    }
}
