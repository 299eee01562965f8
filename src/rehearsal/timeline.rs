use std::collections::{HashSet, VecDeque};

use chrono::TimeDelta;
use uuid::Uuid;

use super::{
    Rehearsal,
    audience::{AT_ONCE, Audience, too_many},
};
use crate::{
    campaigns::{Plan, Trigger},
    clock::Timestamp,
    contacts::{self, Contact, Sent},
    customers,
    database::{Database, StoreError},
    events::{self, Event, Memory, OWN_SOURCE, OfTypes, Remembered},
    ids::{CampaignId, CustomerId},
    preferences::{self, ConsentRecord, Lifted},
    rpc::Fault,
    tokens::SecretKey,
};

/// How much a rehearsal plays at most.
const MOST_HAPPENINGS: usize = 40_000;
/// How much it plays at most where everybody is looked at each time.
const MOST_LOOKS: usize = 4_000;
/// How much of what was before it remembers at most: events and messages.
const MOST_REMEMBERED: u64 = 100_000;
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
    /// A customer came.
    Came(CustomerId),
    /// A customer was deleted.
    Deleted(CustomerId),
    /// Something else than the campaign wrote to a customer.
    Wrote(Box<Contact>),
}

impl Happening {
    /// To whom it happens, where that is known.
    fn customer(&self) -> Option<CustomerId> {
        match self {
            Self::Occurred(event) => Some(event.customer_id),
            Self::Said(record) => Some(record.customer_id),
            Self::Wrote(contact) => Some(contact.customer_id),
            Self::Came(customer) | Self::Deleted(customer) => Some(*customer),
            Self::Suppressed(_) => None,
        }
    }
}

/// Everything that is played, in the order in which it was recorded.
#[derive(Debug)]
pub(super) struct Timeline {
    happenings: VecDeque<(Timestamp, u128, Happening)>,
    /// Who said something on the way: what they said before is played too, as only the ledger knows it.
    pub spoke: HashSet<CustomerId>,
    /// Which events from before count.
    pub memory: Memory,
    /// How far filters, caps and collisions look back at what was sent.
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
pub(super) async fn load(from: &Sources<'_>, plan: &Plan, audience: &mut Audience) -> Result<Timeline, Fault> {
    let mut timeline = Timeline::begin(from, plan).await?;
    let (played, most) = (played_types(plan, &timeline.memory), most(plan));
    let (mut remembered, mut cut) = (0, None);
    for some in audience.customers.chunks(AT_ONCE) {
        timeline.load_events(from, some, &played, most).await?;
        timeline.load_said(from, some).await?;
        timeline.load_suppressions(from, some).await?;
        timeline.load_sent(from, some).await?;
        remembered += events::count_remembered(from.db.reader(), some, &timeline.memory).await?;
        remembered += contacts::count_sent(from.db.reader(), some, &timeline.sent_before(from)).await?;
        if timeline.happenings.len() > most || remembered > MOST_REMEMBERED {
            cut = some.first().map(|id| id.bucket());
            break;
        }
    }
    match cut {
        Some(0) => return Err(too_many()),
        Some(bucket) => {
            audience.cut(bucket);
            timeline.happenings.retain(|(_, _, what)| what.customer().is_none_or(|id| id.bucket() < bucket));
        }
        None => {}
    }
    for (customer, time) in &audience.came {
        timeline.add(*time, 0, Happening::Came(*customer));
    }
    for (customer, time) in &audience.deleted {
        timeline.add(*time, LAST, Happening::Deleted(*customer));
    }
    timeline.hear(plan, audience);
    timeline.happenings.make_contiguous().sort_by_key(|(time, id, _)| (*time, *id));
    Ok(timeline)
}

/// How much is played at most. Where it is looked for who begins to match, that is done for everybody whenever something happens.
fn most(plan: &Plan) -> usize {
    if plan.trigger == Trigger::Audience { MOST_LOOKS } else { MOST_HAPPENINGS }
}

/// The types of the events that do something to a plan.
fn played_types(plan: &Plan, memory: &Memory) -> Vec<String> {
    let mut types = plan.heard_types();
    types.extend(plan.goal.iter().map(|goal| goal.event_type.clone()));
    types.extend(memory.of.iter().map(|one| one.event_type.clone()));
    types.extend(Some(plan.event_type()).filter(|own| !own.is_empty()).map(str::to_owned));
    types.sort_unstable();
    types.dedup();
    types
}

impl Timeline {
    /// Nothing yet, of a plan whose filters look so far back.
    async fn begin(from: &Sources<'_>, plan: &Plan) -> Result<Self, StoreError> {
        let (calls, start) = (plan.calls()?, from.of.start);
        let policy = preferences::policy(from.db.reader()).await?;
        let windows = policy.caps.iter().map(preferences::FrequencyCap::window);
        let looks_back = windows.chain(calls.iter().filter_map(contacts::looks_back)).max();
        let mut of: Vec<Remembered> = Vec::new();
        for one in calls.iter().filter_map(|call| Remembered::by(call, start)) {
            if !of.contains(&one) {
                of.push(one);
            }
        }
        Ok(Self {
            happenings: VecDeque::new(),
            spoke: HashSet::new(),
            memory: Memory { now: start, of, read: Vec::new() },
            looks_back: looks_back.map_or(NEAR, |longest| longest.max(NEAR)),
        })
    }

    async fn load_events(
        &mut self,
        from: &Sources<'_>,
        some: &[CustomerId],
        types: &[String],
        most: usize,
    ) -> Result<(), StoreError> {
        let which = OfTypes { types: types.to_vec(), start: from.of.start, end: from.of.end };
        let room = u64::try_from(most + 1).unwrap_or(u64::MAX);
        for event in events::recorded_between(from.db.reader(), some, &which, room).await? {
            // What happens inside the service comes about anew.
            if event.body.source != OWN_SOURCE {
                let id = Uuid::from(event.event_id).as_u128();
                self.add(event.record_time, id, Happening::Occurred(Box::new(event)));
            }
        }
        Ok(())
    }

    async fn load_said(&mut self, from: &Sources<'_>, some: &[CustomerId]) -> Result<(), StoreError> {
        let (db, of) = (from.db.reader(), from.of);
        let spoke = preferences::spoke_since(db, some, of.start).await?;
        for record in preferences::records_before(db, &spoke, of.end).await? {
            self.add(record.record_time, Uuid::from(record.record_id).as_u128(), Happening::Said(Box::new(record)));
        }
        self.spoke.extend(spoke);
        let said = preferences::load(db, some).await?;
        let windows = said.values().flat_map(|said| &said.caps).map(preferences::FrequencyCap::window);
        self.looks_back = windows.max().map_or(self.looks_back, |longest| longest.max(self.looks_back));
        Ok(())
    }

    async fn load_sent(&mut self, from: &Sources<'_>, some: &[CustomerId]) -> Result<(), StoreError> {
        let which = Sent { start: from.of.start, end: from.of.end, except: Some(from.campaign_id.clone()) };
        for contact in contacts::sent_between(from.db.reader(), some, &which).await? {
            if let Some(time) = contact.send_time {
                self.add(time, LAST, Happening::Wrote(Box::new(contact)));
            }
        }
        Ok(())
    }

    /// What was sent before the beginning and still counts.
    pub fn sent_before(&self, from: &Sources<'_>) -> Sent {
        let (start, end) = (from.of.start - self.looks_back, from.of.start);
        Sent { start, end, except: Some(from.campaign_id.clone()) }
    }

    /// Remembers what ends enrollments or their waits and came before what started them.
    fn hear(&mut self, plan: &Plan, audience: &Audience) {
        let occurred = self.happenings.iter().filter_map(|(_, _, what)| match what {
            Happening::Occurred(event) => Some(event.body.occur_time),
            _ => None,
        });
        let Some(after) = occurred.chain(audience.arrivals.values().map(|arrival| arrival.start)).min() else { return };
        self.memory.read = plan.heard_types();
        let heard = self.memory.read.iter().cloned();
        self.memory.of.extend(heard.map(|event_type| Remembered { event_type, after, and_last: false }));
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
}
