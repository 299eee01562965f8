//! Faults as gRPC statuses: a code, a reason in this service's domain, and the standard details of google.rpc.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::{DOMAIN, Fault, Reason, Refusal, Violations};
use crate::{clock, database::StoreError, ids};

const MOST_VIOLATIONS: usize = 50;
const LONGEST_TEXT: usize = 200;

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Invalid(violations) => invalid(&violations),
            Fault::Refused(refusal) => refused(&refusal),
            Fault::Store(error) => store(&error),
        }
    }
}

/// The status of a fault that is only a reason and a sentence.
pub fn plain(reason: Reason, message: &str) -> Status {
    refused(&Refusal { reason, subject: String::new(), message: message.to_owned() })
}

/// The name of a reason in `ErrorInfo`.
pub fn reason_name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn invalid(violations: &Violations) -> Status {
    let fields: Vec<FieldViolation> = violations
        .iter()
        .take(MOST_VIOLATIONS)
        .map(|violation| FieldViolation::new(cut(&violation.field), cut(&violation.description)))
        .collect();
    let mut details = details(violations.reason(), [("violations", violations.len().to_string())]);
    details.set_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, cut(&violations.to_string()), details)
}

fn refused(refusal: &Refusal) -> Status {
    let (code, reason) = (code(refusal.reason), refusal.reason);
    let subject = cut(&refusal.subject);
    let mut details = details(reason, Some(("subject", subject.clone())).filter(|(_, subject)| !subject.is_empty()));
    match code {
        Code::NotFound | Code::AlreadyExists => {
            details.set_resource_info(kind(reason), subject, "", cut(&refusal.message));
        }
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(reason_name(reason), subject, cut(&refusal.message));
        }
        // Whoever holds an old etag has to read first: a pause alone helps nothing.
        Code::Aborted | Code::Unavailable | Code::ResourceExhausted if reason != Reason::EtagMismatch => {
            details.set_retry_info(Some(Duration::from_millis(if code == Code::Aborted { 50 } else { 1_000 })));
        }
        _ => {}
    }
    Status::with_error_details(code, cut(&refusal.message), details)
}

fn store(error: &StoreError) -> Status {
    match error {
        StoreError::Conflict(_) | StoreError::Taken(_) | StoreError::Raced => plain(
            Reason::WriteConflict,
            "two calls got in each other's way; this one had no effect and can be repeated",
        ),
        StoreError::Unavailable(cause) => {
            tracing::error!(error = %cause, "the database is not available");
            plain(Reason::DatabaseUnavailable, "the database does not answer")
        }
        StoreError::Corrupt { .. } | StoreError::Other(_) => internal(&error.to_string()),
    }
}

/// A defect: the cause goes into the log, the caller gets the number of the entry.
pub fn internal(cause: &str) -> Status {
    let incident = format!("inc_{}", ids::encode(u128::from_be_bytes(first_half(ids::random_key()))));
    tracing::error!(incident, cause, time = %clock::real_now(), "internal error");
    let mut details = details(Reason::Internal, None::<(&str, String)>);
    details.set_request_info(&incident, "");
    Status::with_error_details(Code::Internal, format!("internal error; the log has it as {incident}"), details)
}

fn details(reason: Reason, metadata: impl IntoIterator<Item = (&'static str, String)>) -> ErrorDetails {
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason_name(reason), DOMAIN, metadata)
}

fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidFields
        | Reason::RequestIdReused
        | Reason::PageTokenInvalid
        | Reason::PageTokenMismatch
        | Reason::FilterSyntax
        | Reason::FilterUnknownField
        | Reason::FilterWrongType
        | Reason::FilterTooLarge => Code::InvalidArgument,
        Reason::CustomerNotFound
        | Reason::AddressNotFound
        | Reason::EventNotFound
        | Reason::TopicNotFound
        | Reason::TemplateNotFound
        | Reason::CampaignNotFound
        | Reason::ContactNotFound
        | Reason::EnrollmentNotFound
        | Reason::JobNotFound
        | Reason::SenderNotFound
        | Reason::RunNotFound
        | Reason::SuppressionNotFound
        | Reason::WordingNotFound
        | Reason::LinkInvalid => Code::NotFound,
        Reason::ExternalIdTaken
        | Reason::EmailTaken
        | Reason::TopicExists
        | Reason::TemplateExists
        | Reason::CampaignExists
        | Reason::EventConflict
        | Reason::DedupeKeyTaken => Code::AlreadyExists,
        Reason::CustomerDeleted
        | Reason::CustomerErased
        | Reason::CustomerHasNoAddress
        | Reason::ConsentWithdrawn
        | Reason::TopicArchived
        | Reason::ConfirmationExpired
        | Reason::TemplateNotPublished
        | Reason::TemplateHasErrors
        | Reason::TemplateNotChanged
        | Reason::TemplateIsPartial
        | Reason::TemplateArchived
        | Reason::TemplateInUse
        | Reason::TestRecipientNotAllowed
        | Reason::CampaignNotDraft
        | Reason::CampaignNotActive
        | Reason::RunEnded
        | Reason::RunUnderWay
        | Reason::NotANewsletter
        | Reason::CampaignNeverFires
        | Reason::CampaignNotStartedByEvent
        | Reason::ContactNotScheduled
        | Reason::EnrollmentNotActive
        | Reason::ContactNotInDoubt
        | Reason::ContactExpired
        | Reason::CountMismatch
        | Reason::SuppressionStands => Code::FailedPrecondition,
        Reason::EtagMismatch | Reason::WriteConflict => Code::Aborted,
        Reason::Overloaded => Code::ResourceExhausted,
        Reason::DatabaseUnavailable => Code::Unavailable,
        Reason::ServerDeadline => Code::DeadlineExceeded,
        Reason::Internal | Reason::Unspecified => Code::Internal,
    }
}

fn kind(reason: Reason) -> &'static str {
    let name = reason_name(reason);
    let end = name.find('_').unwrap_or(name.len());
    match &name[..end] {
        "CUSTOMER" | "EXTERNAL" | "EMAIL" => "customer",
        "ADDRESS" => "address",
        "EVENT" => "event",
        "TOPIC" => "topic",
        "TEMPLATE" => "template",
        "TEST" => "address",
        "CAMPAIGN" => "campaign",
        "CONTACT" | "DEDUPE" => "contact",
        "ENROLLMENT" => "enrollment",
        "SENDER" => "sender",
        "SUPPRESSION" => "suppression",
        "WORDING" => "wording",
        "LINK" => "link",
        _ => "job",
    }
}

/// Statuses travel in trailers, which proxies cap.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn first_half(key: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_the_code_that_its_comment_in_the_contract_names() {
        let contract = include_str!("../../proto/rapport/v1/common.proto");
        let mut checked = 0;
        let mut comment = String::new();
        for line in contract.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("// ") {
                if comment.is_empty() {
                    comment = text.to_owned();
                }
            } else if let Some((name, _)) = line.split_once(" = ")
                && let Some(reason) = Reason::from_str_name(name)
                && reason != Reason::Unspecified
            {
                let documented = comment.split(':').next().unwrap_or_default();
                let code = format!("{:?}", code(reason)).to_uppercase();
                assert_eq!(documented.replace('_', ""), code, "{name}");
                checked += 1;
            }
            if !line.starts_with("//") {
                comment.clear();
            }
        }
        assert_eq!(checked, contract.matches("\n  ERROR_REASON_").count() - 1, "all but the unspecified one");
    }
}
