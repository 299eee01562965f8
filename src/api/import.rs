//! Imports of customers: from the stream into rows, and what became of them back onto it.

use tonic::Streaming;

use super::{
    Api, customer_service, decode,
    preference_service::{AHEAD, LONGEST_EVIDENCE},
    upload::{self, Answers, TakeUp},
};
use crate::{
    clock::Timestamp,
    customers::{Described, MatchBy},
    intake::{ImportOptions, ImportRow, ImportedConsent, Noted, RowOutcome, Taken},
    rpc::{
        Caller, Fault, Violations,
        proto::{
            self, ImportConsent, ImportCustomersRequest, ImportCustomersResponse, RowError,
            import_customers_request::Item, import_options::Match,
        },
        reason_name,
    },
};

/// How many errors of a row are told.
const MOST_ERRORS: usize = 5;
/// How many things that a customer said stand in a row.
const MOST_CONSENTS: usize = 20;
/// How long the id of a topic is, in characters.
const LONGEST_TOPIC: usize = 63;
/// How long a description of what is wrong may be, in characters.
const LONGEST_DESCRIPTION: usize = 300;

/// A row as it was read.
struct Read {
    row: i64,
    described: Result<ImportRow, Violations>,
    /// Where each consent of the row stood on the wire.
    places: Vec<Place>,
    /// What is wrong with the others.
    wrong_consents: Vec<(Place, Fault)>,
}

/// Where a consent stands in its row, and what about.
type Place = (usize, String);

/// Begins to take rows up.
pub fn begin(
    api: Api,
    caller: Caller,
    mut messages: Streaming<ImportCustomersRequest>,
) -> Answers<ImportCustomersResponse> {
    upload::answer(|out| async move {
        let Some(first) = upload::first(&mut messages).await? else {
            return Ok(());
        };
        let (options, defaults) = options(first, &caller)?;
        let clock = api.0.clock.clone();
        let decode = move |message: ImportCustomersRequest| match message.item {
            Some(Item::Row(row)) => Ok(read(row, &defaults, clock.now())),
            _ => Err(wrong("item", "must be a row in every message but the first")),
        };
        upload::all(messages, out, decode, Import { api, options, told: ImportCustomersResponse::default() }).await
    })
}

/// An import that goes on.
struct Import {
    api: Api,
    options: ImportOptions,
    /// What it did so far.
    told: ImportCustomersResponse,
}

impl TakeUp for Import {
    const MOST: usize = 1_000;
    type Item = Read;
    type Answer = ImportCustomersResponse;

    async fn take_up(&mut self, lot: Vec<Read>) -> Result<ImportCustomersResponse, Fault> {
        let (mut rows, mut good) = (Vec::with_capacity(lot.len()), Vec::with_capacity(lot.len()));
        for Read { row, described, places, wrong_consents } in lot {
            let rest = (row, places, wrong_consents);
            match described {
                Ok(described) => {
                    good.push(described);
                    rows.push((rest, None));
                }
                Err(violations) => rows.push((rest, Some(Fault::Invalid(violations)))),
            }
        }
        let mut outcomes = self.api.0.intake.import_customers(&good, &self.options).await?.into_iter();
        self.told.errors.clear();
        for ((row, places, wrong_consents), fault) in rows {
            let unread = fault.map(|fault| RowOutcome { taken: Err(fault), consents: Vec::new() });
            if let Some(outcome) = unread.or_else(|| outcomes.next()) {
                self.tell(row, outcome, places, wrong_consents);
            }
        }
        Ok(self.told.clone())
    }
}

impl Import {
    fn tell(&mut self, row: i64, outcome: RowOutcome, places: Vec<Place>, wrong_consents: Vec<(Place, Fault)>) {
        let told = &mut self.told;
        told.received += 1;
        told.last_row = row;
        let mut errors = Vec::new();
        let is_taken = matches!(outcome.taken, Ok(Taken::Created | Taken::Updated | Taken::Unchanged));
        match outcome.taken {
            Ok(Taken::Created) => told.created += 1,
            Ok(Taken::Updated) => told.updated += 1,
            Ok(Taken::Unchanged) => told.unchanged += 1,
            Ok(Taken::Skipped) => told.skipped += 1,
            Err(fault) => {
                told.rejected += 1;
                describe(row, "customer", &fault, &mut errors);
            }
        }
        let mut wrong = if is_taken { wrong_consents } else { Vec::new() };
        for (noted, place) in outcome.consents.into_iter().zip(places) {
            match noted {
                Ok(Noted::Recorded) => told.consents_recorded += 1,
                Ok(Noted::Unchanged) => told.consents_unchanged += 1,
                Err(fault) => wrong.push((place, fault)),
            }
        }
        wrong.sort_by(|(one, _), (other, _)| one.cmp(other));
        told.consents_rejected += i64::try_from(wrong.len()).unwrap_or(i64::MAX);
        for ((place, topic), fault) in wrong {
            let first = errors.len();
            describe(row, &format!("consents[{place}]"), &fault, &mut errors);
            errors[first..].iter_mut().for_each(|error| error.description.insert_str(0, &format!("{topic}: ")));
        }
        errors.truncate(MOST_ERRORS);
        told.errors.append(&mut errors);
    }
}

/// What is wrong, in the words of the contract. Fields of a consent are told by their place in the row.
fn describe(row: i64, place: &str, fault: &Fault, errors: &mut Vec<RowError>) {
    let reason = fault.reason().map(reason_name).unwrap_or_default().to_owned();
    let cut = |text: &str| text.chars().take(LONGEST_DESCRIPTION).collect();
    let error = |field: String, text: &str| RowError { row, field, reason: reason.clone(), description: cut(text) };
    match fault {
        Fault::Invalid(violations) => errors.extend(violations.iter().map(|violation| {
            let is_whole = violation.field.starts_with("customer") || violation.field.starts_with("consents");
            let field = if is_whole { violation.field.clone() } else { format!("{place}.{}", violation.field) };
            error(field, &violation.description)
        })),
        other => errors.push(error(place.to_owned(), &other.to_string())),
    }
}

fn options(message: ImportCustomersRequest, caller: &Caller) -> Result<(ImportOptions, ImportConsent), Fault> {
    let Some(Item::Options(options)) = message.item else {
        return Err(wrong("item", "must be options in the first message"));
    };
    let mut violations = Violations::default();
    let match_by = match decode::choice(&mut violations, "options.match", options.r#match) {
        Some(Match::ExternalId) => MatchBy::ExternalId,
        Some(Match::Email) => MatchBy::Email,
        Some(Match::Unspecified) | None => MatchBy::Either,
    };
    let defaults = options.consent_defaults.unwrap_or_default();
    if !defaults.topic_id.is_empty() || defaults.withdrawal {
        violations.add("options.consentDefaults", "topicId and withdrawal must be empty here: rows say them");
    }
    violations.check()?;
    let (update_existing, validate_only) = (options.update_existing, options.validate_only);
    Ok((ImportOptions { match_by, update_existing, validate_only, actor: caller.as_str().to_owned() }, defaults))
}

fn read(message: proto::ImportRow, defaults: &ImportConsent, now: Timestamp) -> Read {
    let mut violations = Violations::default();
    let described = match message.customer {
        Some(customer) => Described {
            customer_id: decode::parse_optional(&mut violations, "customer.customerId", &customer.customer_id),
            change: customer_service::change_of_set(&mut violations, "customer", customer),
        },
        None => {
            violations.add("customer", "is required");
            Described::default()
        }
    };
    if message.consents.len() > MOST_CONSENTS {
        violations.add("consents", format!("must be at most {MOST_CONSENTS}"));
    }
    let (mut consents, mut places, mut wrong_consents) = (Vec::new(), Vec::new(), Vec::new());
    for (place, said) in message.consents.into_iter().enumerate().take(MOST_CONSENTS) {
        let place = (place, said.topic_id.chars().take(LONGEST_TOPIC).collect());
        match consent(with_defaults(said, defaults), now) {
            Ok(consent) => {
                consents.push(consent);
                places.push(place);
            }
            Err(fault) => wrong_consents.push((place, fault)),
        }
    }
    let described = if violations.is_empty() { Ok(ImportRow { described, consents }) } else { Err(violations) };
    Read { row: message.row, described, places, wrong_consents }
}

fn with_defaults(said: ImportConsent, defaults: &ImportConsent) -> ImportConsent {
    let channel = if said.channel == 0 { defaults.channel } else { said.channel };
    if said.withdrawal {
        return ImportConsent { channel, ..said };
    }
    let text = |own: String, default: &String| if own.is_empty() { default.clone() } else { own };
    ImportConsent {
        channel,
        evidence: text(said.evidence, &defaults.evidence),
        occur_time: said.occur_time.or(defaults.occur_time),
        expire_time: said.expire_time.or(defaults.expire_time),
        wording_id: text(said.wording_id, &defaults.wording_id),
        confirmed: said.confirmed || defaults.confirmed,
        ..said
    }
}

fn consent(said: ImportConsent, now: Timestamp) -> Result<ImportedConsent, Fault> {
    let mut violations = Violations::default();
    let topic_id = decode::parse(&mut violations, "topicId", &said.topic_id);
    let channel = decode::channel(&mut violations, "channel", said.channel);
    let grant = !said.withdrawal;
    let evidence = decode::text(&mut violations, "evidence", said.evidence, LONGEST_EVIDENCE);
    if grant && evidence.trim().is_empty() {
        violations.add("evidence", "is required for a grant: which form, in which words, on which page");
    }
    let occur_time = decode::time(&mut violations, "occurTime", said.occur_time);
    if grant && said.occur_time.is_none() {
        violations.add("occurTime", "is required for a grant: when the customer said so");
    }
    if occur_time.is_some_and(|time| time > now + AHEAD) {
        violations.add("occurTime", "must not be more than 5 minutes ahead");
    }
    let expire_time = decode::time(&mut violations, "expireTime", said.expire_time);
    if expire_time.is_some_and(|end| !grant || end <= now) {
        violations.add("expireTime", "must be in the future and of a grant, or absent");
    }
    let wording_id = decode::parse_optional(&mut violations, "wordingId", &said.wording_id);
    let confirmed = said.confirmed;
    let consent = topic_id.map(|topic_id| ImportedConsent {
        topic_id,
        channel,
        grant,
        evidence,
        occur_time,
        expire_time,
        wording_id,
        confirmed,
    });
    violations.finish(consent)
}

fn wrong(field: &str, allowed: &str) -> Fault {
    let mut violations = Violations::default();
    violations.add(field, allowed);
    Fault::Invalid(violations)
}
