use std::collections::{HashSet, VecDeque};

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    Rehearsal,
    audience::{AT_ONCE, Audience, too_many},
};
use crate::{
    clock::Timestamp,
    contacts::{self, Contact, Sent},
    customers,
    database::{Database, StoreError},
    events::{self, Event, OWN_SOURCE},
    ids::{CampaignId, CustomerId},
    preferences::{self, ConsentRecord, Lifted},
    rpc::Fault,
    tokens::SecretKey,
};

/// How many events a rehearsal plays at most.
const MOST_EVENTS: usize = 40_000;
/// What comes after everything else that was recorded at the same moment.
const LAST: u128 = u128::MAX;
/// How near two messages collide.
pub(super) const NEAR: TimeDelta = TimeDelta::hours(24);

/// Something that is played.
#[derive(Debug)]
pub(super) enum Happening {
    /// An event was recorded.
    Occurred(Box<Event>),
    /// A customer said something.
    Said(Box<ConsentRecord>),
    /// An address was suppressed, or that was lifted.
    Suppressed(Box<Lifted>),
    /// A customer was deleted.
    Deleted(CustomerId),
    /// Something else than the campaign wrote to a customer.
    Wrote(Box<Contact>),
}

/// Everything that is played, in the order in which it was recorded.
#[derive(Debug)]
pub(super) struct Timeline {
    happenings: VecDeque<(Timestamp, u128, Happening)>,
    /// Who said something on the way: what they said before is played too, as only the ledger knows it.
    pub spoke: HashSet<CustomerId>,
    /// How far caps and collisions look back.
    pub looks_back: TimeDelta,
}

/// Where it is loaded from, and for whom.
pub(super) struct Sources<'a> {
    pub db: &'a Database,
    pub key: &'a SecretKey,
    pub campaign_id: &'a CampaignId,
    pub of: &'a Rehearsal,
}

/// Loads what happened to an audience, which is cut where that is too much.
pub(super) async fn load(from: &Sources<'_>, audience: &mut Audience) -> Result<Timeline, Fault> {
    let mut timeline = Timeline { happenings: VecDeque::new(), spoke: HashSet::new(), looks_back: NEAR };
    timeline.load_events(from, audience).await?;
    let (db, of) = (from.db.reader(), from.of);
    let policy = preferences::policy(db).await?;
    let mut windows: Vec<TimeDelta> = policy.caps.iter().map(preferences::FrequencyCap::window).collect();
    for some in audience.customers.chunks(AT_ONCE) {
        let spoke = preferences::spoke_since(db, some, of.start).await?;
        for record in preferences::records_before(db, &spoke, of.end).await? {
            timeline.add(record.record_time, Uuid::from(record.record_id).as_u128(), Happening::Said(Box::new(record)));
        }
        timeline.spoke.extend(spoke);
        timeline.load_suppressions(from, some).await?;
        let said = preferences::load(db, some).await?;
        windows.extend(said.values().flat_map(|said| &said.caps).map(preferences::FrequencyCap::window));
        let which = Sent { start: of.start, end: of.end, except: Some(from.campaign_id.clone()) };
        for contact in contacts::sent_between(db, some, &which).await? {
            if let Some(time) = contact.send_time {
                timeline.add(time, LAST, Happening::Wrote(Box::new(contact)));
            }
        }
    }
    for (customer, time) in &audience.deleted {
        timeline.add(*time, LAST, Happening::Deleted(*customer));
    }
    timeline.looks_back = windows.into_iter().max().unwrap_or(NEAR).max(NEAR);
    timeline.happenings.make_contiguous().sort_by_key(|(time, id, _)| (*time, *id));
    Ok(timeline)
}

impl Timeline {
    async fn load_events(&mut self, from: &Sources<'_>, audience: &mut Audience) -> Result<(), Fault> {
        let range = (from.of.start, from.of.end);
        let mut cut = None;
        for some in audience.customers.chunks(AT_ONCE) {
            let most = MOST_EVENTS + 1 - self.happenings.len();
            let most = u64::try_from(most).unwrap_or(u64::MAX);
            for event in events::recorded_between(from.db.reader(), some, range, most).await? {
                // What happens inside the service comes about anew.
                if event.body.source == OWN_SOURCE {
                    continue;
                }
                let id = Uuid::from(event.event_id).as_u128();
                self.add(event.record_time, id, Happening::Occurred(Box::new(event)));
            }
            if self.happenings.len() > MOST_EVENTS {
                cut = some.first().map(|id| id.bucket());
                break;
            }
        }
        let Some(bucket) = cut else { return Ok(()) };
        if bucket == 0 {
            return Err(too_many());
        }
        audience.cut(bucket);
        let kept = |what: &Happening| matches!(what, Happening::Occurred(event) if event.customer_id.bucket() < bucket);
        self.happenings.retain(|(_, _, what)| kept(what));
        Ok(())
    }

    async fn load_suppressions(&mut self, from: &Sources<'_>, some: &[CustomerId]) -> Result<(), StoreError> {
        let (db, of) = (from.db.reader(), from.of);
        let customers = customers::reach(db, some).await?;
        for one in preferences::suppressions_before(db, from.key, customers.values(), of.end).await? {
            if one.lift_time.is_some_and(|time| time < of.start) {
                continue;
            }
            if let Some(time) = one.lift_time.filter(|time| *time < of.end) {
                self.add(time, LAST, Happening::Suppressed(Box::new(one.clone())));
            }
            self.add(one.suppression.create_time, 0, Happening::Suppressed(Box::new(one)));
        }
        Ok(())
    }

    fn add(&mut self, time: Timestamp, id: u128, what: Happening) {
        self.happenings.push_back((time, id, what));
    }

    /// When the first thing happens, where there is anything.
    pub fn next_time(&self) -> Option<Timestamp> {
        self.happenings.front().map(|(time, _, _)| *time)
    }

    /// What happens next, up to a moment.
    pub fn next_until(&mut self, moment: Timestamp) -> Option<Happening> {
        let is_due = self.next_time().is_some_and(|time| time <= moment);
        is_due.then(|| self.happenings.pop_front()).flatten().map(|(_, _, what)| what)
    }

    /// When the earliest of the events occurred, however late it was recorded.
    pub fn earliest_occurrence(&self) -> Option<Timestamp> {
        let occurred = |what: &Happening| match what {
            Happening::Occurred(event) => Some(event.body.occur_time),
            _ => None,
        };
        self.happenings.iter().filter_map(|(_, _, what)| occurred(what)).min()
    }
}
