use chrono::TimeDelta;

use super::{Dispatcher, hand_over::Handed, lot::Lot, score::Tally};
use crate::{
    campaigns::enrollments,
    clock::Timestamp,
    contacts::{
        self, BlockReason, Contact, DeliveryEvent, DeliveryKind, Lane, StepOf,
        claims::{self, Setback},
    },
    customers,
    database::{self, StoreError},
    delivery::{Outcome, judge_refusal},
    ids::{ContactId, DeliveryEventId},
    preferences::{self, CameBack},
};

/// The wait after the first attempt that failed; each further one waits twice as long.
const FIRST_WAIT: i64 = 30;
/// The longest wait between two attempts: six hours.
const LONGEST_WAIT: i64 = 6 * 3_600;

/// Answers, sorted by what follows from them.
#[derive(Default)]
struct Answers {
    accepted: Vec<ContactId>,
    later: Vec<Setback>,
    never: Vec<Setback>,
    unknown: Vec<Setback>,
    back: Vec<ContactId>,
    put_off: Vec<Setback>,
}

impl Dispatcher {
    /// Writes what became of some of a lot, and plans what comes after it: one transaction.
    pub(super) async fn settle(
        &self,
        lot: &Lot,
        answers: &[(Contact, Handed)],
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let now = self.of.clock.now();
        let sorted = Answers::sort(answers, now);
        let tx = self.of.db.begin_write().await?;
        // Of those something more is written, that others write too.
        let going_on = answers
            .iter()
            .filter(|(contact, handed)| contact.step().is_some() || matches!(handed, Handed::Refused(..)));
        customers::lock_shared(&tx, &going_on.map(|(contact, _)| contact.customer_id).collect::<Vec<_>>()).await?;
        let mut settled = claims::settle_accepted(&tx, lot.token, &sorted.accepted, now).await?;
        let sent = settled.len();
        claims::settle_later(&tx, lot.token, &sorted.later, now).await?;
        let refused = claims::settle_never(&tx, lot.token, &sorted.never, now).await?;
        let came = answers.iter().filter(|(contact, _)| refused.contains(&contact.contact_id));
        let came = came.filter_map(|(contact, handed)| came_back(contact, handed, now)).collect();
        let returned = preferences::record_deliveries(&tx, &self.of.key, came, now).await?.events;
        contacts::tell_later(&tx, returned.iter().map(|event| event.delivery_event_id).collect()).await?;
        settled.extend(refused);
        settled.extend(claims::settle_unknown(&tx, lot.token, &sorted.unknown, now).await?);
        claims::give_back(&tx, lot.token, &sorted.back, now).await?;
        claims::put_off(&tx, lot.token, &sorted.put_off, BlockReason::Throttled, now).await?;
        let lost: Vec<(ContactId, i32)> = answers
            .iter()
            .filter(|(contact, _)| sorted.accepted.contains(&contact.contact_id))
            .filter(|(contact, _)| !settled.contains(&contact.contact_id))
            .map(|(contact, _)| (contact.contact_id, contact.attempt_count + 1))
            .collect();
        let late = claims::settle_late(&tx, &lost, now).await?;
        // Who recovered what is sent again has not moved its enrollment on; where that was done, it is not done twice.
        settled.extend(&late);
        let steps: Vec<StepOf> = answers
            .iter()
            .filter(|(contact, handed)| settled.contains(&contact.contact_id) && !waits(contact, handed))
            .filter_map(|(contact, _)| contact.step().cloned())
            .collect();
        let planned = enrollments::advance(&tx, &self.of.plans, &steps, now).await?;
        database::commit(tx).await?;
        self.hands.settle(answers.iter().map(|(contact, _)| contact.contact_id));
        self.ring_for(&planned);
        if !returned.is_empty() {
            self.of.journeys.ring();
        }
        if !lost.is_empty() {
            tracing::warn!(
                accepted = lost.len(),
                late = late.len(),
                "accepted after the lease was over; others had taken over"
            );
        }
        self.count(lot.lane, answers, now);
        tally.sent += sent + late.len();
        tally.later += sorted.later.len();
        tally.failed += sorted.never.len();
        tally.in_doubt += sorted.unknown.len();
        tally.given_back += sorted.back.len();
        tally.deferred += sorted.put_off.len();
        Ok(())
    }
}

impl Dispatcher {
    fn count(&self, lane: Lane, answers: &[(Contact, Handed)], now: Timestamp) {
        let metrics = &self.of.metrics;
        for (contact, handed) in answers {
            let outcome = match handed {
                Handed::Over(Outcome::Accepted) => "accepted",
                Handed::Over(Outcome::Later(_)) => "refused_for_now",
                Handed::Over(Outcome::Never(_)) | Handed::Refused(..) => "refused_for_good",
                Handed::Over(Outcome::Unknown { .. }) => "unknown",
                Handed::Over(Outcome::Returned { .. }) | Handed::Back | Handed::PutOff(_) => "given_back",
            };
            metrics.handed_over(lane.name(), outcome, 1);
            if outcome == "accepted" {
                let late = now.signed_duration_since(contact.due_time);
                metrics.lateness(lane.name(), late.to_std().unwrap_or_default().as_secs_f64());
            }
        }
    }
}

impl Answers {
    fn sort(answers: &[(Contact, Handed)], now: Timestamp) -> Self {
        let mut sorted = Self::default();
        for (contact, handed) in answers {
            let setback = |code: &str, detail: &str, retry_time| Setback {
                contact_id: contact.contact_id,
                code: code.to_owned(),
                detail: detail.to_owned(),
                retry_time,
            };
            let next = next_attempt(contact, now);
            match handed {
                Handed::Over(Outcome::Accepted) => sorted.accepted.push(contact.contact_id),
                Handed::Over(Outcome::Later(refusal)) => {
                    sorted.later.push(setback(&refusal.code, &refusal.detail, next))
                }
                Handed::Over(Outcome::Never(refusal)) | Handed::Refused(refusal, _) => {
                    sorted.never.push(setback(&refusal.code, &refusal.detail, next))
                }
                Handed::Over(Outcome::Unknown { detail }) => sorted.unknown.push(setback("", detail, next)),
                Handed::Over(Outcome::Returned { .. }) | Handed::Back => sorted.back.push(contact.contact_id),
                Handed::PutOff(moment) => {
                    let moment = (*moment).min(contact.expire_time);
                    sorted.put_off.push(setback("", "the receiver takes letters slowly", moment));
                }
            }
        }
        sorted
    }
}

/// What a server's refusal says of an address. A letter that never left for it says nothing.
fn came_back(contact: &Contact, handed: &Handed, now: Timestamp) -> Option<CameBack> {
    let Handed::Refused(refusal, to) = handed else { return None };
    let (weight, status) = judge_refusal(refusal);
    let event = DeliveryEvent {
        delivery_event_id: DeliveryEventId::generate(),
        source: "smtp".to_owned(),
        source_event_id: format!("{}/{}", contact.contact_id, contact.attempt_count + 1),
        contact_id: Some(contact.contact_id),
        customer_id: contact.customer_id,
        campaign_id: contact.campaign_id().cloned(),
        address_key: None,
        kind: DeliveryKind::Bounced,
        weight: Some(weight),
        status_code: status.map(|status| status.to_string()).unwrap_or_default(),
        detail: format!("{} {}", refusal.code, refusal.detail),
        url: String::new(),
        automated: false,
        occur_time: now,
        record_time: now,
    };
    (!refusal.code.is_empty()).then(|| CameBack { event, address: Some(to.clone()) })
}

/// Whether a contact is tried again although its answer was lost.
fn waits(contact: &Contact, handed: &Handed) -> bool {
    matches!(handed, Handed::Over(Outcome::Unknown { .. })) && contact.purpose.is_repeated_in_doubt()
}

/// When a contact is tried again: exponentially later, spread by a fifth either way so that many do not come at once, and at
/// its expiry at the latest, where it ends.
fn next_attempt(contact: &Contact, now: Timestamp) -> Timestamp {
    let doublings = u32::try_from(contact.attempt_count).unwrap_or(0).min(20);
    let wait = (FIRST_WAIT << doublings).min(LONGEST_WAIT) * 1_000;
    let spread = u64::from_be_bytes(last_bytes(contact.contact_id)) % 401;
    let wait = wait * (800 + i64::try_from(spread).unwrap_or(200)) / 1_000;
    (now + TimeDelta::milliseconds(wait)).min(contact.expire_time)
}

/// The random part of an id.
fn last_bytes(id: ContactId) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&uuid::Uuid::from(id).as_bytes()[8..]);
    bytes
}
