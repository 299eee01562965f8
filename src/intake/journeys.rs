//! Enrollments at steps without a contact go on: what is due is judged, done, and followed by what comes next.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{
    Intake,
    happenings::Starts,
    statement::{Said, Statement, state},
    unasked,
};
use crate::{
    calendar::Zone,
    campaigns::{
        Enrollment, EnrollmentState, PassedStep, Past, Plan, StepPast,
        enrollments::{self, Known},
    },
    clock::Timestamp,
    contacts::{self, Contact, DeliveryKind},
    customers::{self, Customer},
    database::{self, StoreError, WriteTx},
    events::{self, Event},
    filter::{Facts, Filter},
    ids::{CampaignId, CustomerId, EnrollmentId, EventId, TopicId},
    preferences::{self, ConsentMethod, Evidence},
    rpc::Fault,
    workers::{Done, Job},
};

/// How many enrollments go on in a transaction: enough to share its cost, few enough to keep others waiting only shortly.
const AT_ONCE: u64 = 200;
/// When those are asked about again who were kept by somebody else.
const LOOK: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// What became of enrollments that went on. They themselves are to be written first.
#[derive(Default)]
pub(super) struct Travelled {
    pub enrollments: Vec<Enrollment>,
    pub contacts: Vec<Contact>,
    pub passed: Vec<PassedStep>,
    customers: HashMap<CustomerId, Customer>,
    changed: HashSet<CustomerId>,
    withdrawn: Vec<Withdrawal>,
}

struct Withdrawal {
    customer_id: CustomerId,
    campaign_id: CampaignId,
    step_id: String,
    topic_id: TopicId,
}

/// Where customers live.
pub(super) struct Zones {
    pub known: HashMap<CustomerId, Zone>,
    pub home: Zone,
}

impl Zones {
    fn of(&self, customer: CustomerId) -> Zone {
        self.known.get(&customer).copied().unwrap_or(self.home)
    }
}

/// What enrollments need that go on, read in a handful of queries however many they are.
#[derive(Default)]
struct Reads {
    plans: HashMap<(CampaignId, i32), Arc<Plan>>,
    events: HashMap<EventId, Event>,
    heard: HashMap<CustomerId, Vec<Event>>,
    past: HashMap<EnrollmentId, Past>,
    facts: Facts,
}

impl Intake {
    /// Brings enrollments on, the new ones to their first step. Their customers are locked.
    pub(super) async fn travel(
        &self,
        tx: &WriteTx,
        enrollments: Vec<Enrollment>,
        zones: &Zones,
        now: Timestamp,
    ) -> Result<Travelled, StoreError> {
        let mut travelled = Travelled::default();
        let reads = self.read(tx, &enrollments, &mut travelled.customers, now).await?;
        for mut one in enrollments {
            if one.state != EnrollmentState::Active {
                travelled.enrollments.push(one);
                continue;
            }
            match reads.plans.get(&(one.campaign_id.clone(), one.campaign_version)) {
                Some(plan) => travelled.go_on(&mut one, plan, &reads, zones, now),
                None => one.end(EnrollmentState::Completed, None, now),
            }
            travelled.enrollments.push(one);
        }
        Ok(travelled)
    }

    async fn read(
        &self,
        tx: &WriteTx,
        enrollments: &[Enrollment],
        customers: &mut HashMap<CustomerId, Customer>,
        now: Timestamp,
    ) -> Result<Reads, StoreError> {
        let keys = enrollments.iter().map(|one| (one.campaign_id.clone(), one.campaign_version));
        let mut reads = Reads { plans: self.plans.load(tx, keys).await?, ..Reads::default() };
        let plan_of = |one: &Enrollment| reads.plans.get(&(one.campaign_id.clone(), one.campaign_version));
        let judged: Vec<&Enrollment> =
            enrollments.iter().filter(|one| plan_of(one).is_some_and(|plan| !plan.is_plain())).collect();
        if judged.is_empty() {
            return Ok(reads);
        }
        let ids: Vec<CustomerId> = distinct(judged.iter().map(|one| one.customer_id));
        let waited_for =
            judged.iter().filter_map(|one| plan_of(one)).flat_map(|plan| plan.waited_for_types().collect::<Vec<_>>());
        let waited_for = distinct(waited_for);
        let since = judged.iter().map(|one| one.hears_from()).min().unwrap_or_default();
        *customers = customers::profiles(tx, &ids).await?;
        reads.events = events::load(tx, &distinct(judged.iter().filter_map(|one| one.event_id))).await?;
        let conditions: Vec<Filter> =
            judged.iter().filter_map(|one| plan_of(one)).flat_map(|plan| plan.conditions()).collect();
        if !conditions.is_empty() {
            reads.past = past(tx, &judged.iter().map(|one| one.enrollment_id).collect::<Vec<_>>()).await?;
            reads.facts = Facts::load(tx, &conditions, &ids, now).await?;
        }
        for event in events::happened_since(tx, &ids, &waited_for, since).await? {
            reads.heard.entry(event.customer_id).or_default().push(event);
        }
        Ok(reads)
    }

    /// Writes what became of enrollments that went on, in the transaction in which they themselves have been written.
    pub(super) async fn arrive(&self, tx: &WriteTx, travelled: &Travelled, now: Timestamp) -> Result<(), Fault> {
        contacts::insert(tx, &travelled.contacts).await?;
        contacts::insert_decisions(tx, &travelled.contacts).await?;
        enrollments::insert_passed(tx, &travelled.passed).await?;
        let changed: Vec<&Customer> = travelled.changed.iter().filter_map(|id| travelled.customers.get(id)).collect();
        customers::save_profiles(tx, &changed).await?;
        for withdrawal in &travelled.withdrawn {
            self.withdraw(tx, withdrawal, now).await?;
        }
        Ok(())
    }

    async fn withdraw(&self, tx: &WriteTx, of: &Withdrawal, now: Timestamp) -> Result<(), Fault> {
        let customer = customers::lock_any(tx, of.customer_id).await?;
        let topic = preferences::find_topic(tx, &of.topic_id).await?;
        let said = Said {
            method: ConsentMethod::Operator,
            evidence: Evidence::new("rapport", &format!("step {} of {}", of.step_id, of.campaign_id)),
            contact_id: None,
            proven: None,
        };
        for channel in topic.channels.clone() {
            let preferences = preferences::of(tx, of.customer_id).await?;
            if preferences.opt_out(&of.topic_id, channel).is_none() {
                let statement = Statement::withdrawal(of.topic_id.clone(), channel, said.clone());
                let stated = state(tx, &self.key, &customer, &topic, &preferences, &statement, now).await?;
                self.tell_said(tx, &customer, &said, &stated, Starts::Nothing, now).await?;
            }
        }
        Ok(())
    }

    /// Rings for what was planned, once it can be seen.
    pub(super) fn ring_for_all(&self, enrollments: &[Enrollment], contacts: &[Contact]) {
        for contact in contacts {
            self.dispatcher.ring_for(contact.due_time);
        }
        for due in enrollments.iter().filter(|one| one.waits.is_some()).filter_map(|one| one.next_time) {
            self.journeys.ring_for(due);
        }
    }

    /// Brings on what is due: a transaction. Answers how many enrollments went on, and whether others may be due.
    async fn advance_some(&self) -> Result<(usize, bool), Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let due = enrollments::due(&tx, now, AT_ONCE).await?;
        let free = customers::lock_free(&tx, distinct(due.iter().map(|(_, customer)| *customer))).await?;
        let free: HashSet<CustomerId> = free.into_iter().collect();
        let ids: Vec<_> = due.iter().filter(|(_, customer)| free.contains(customer)).map(|(id, _)| *id).collect();
        let mut waiting = enrollments::lock_active(&tx, &ids).await?;
        waiting.retain(|one| one.waits.is_some() && one.next_time.is_some_and(|time| time <= now));
        if waiting.is_empty() {
            return Ok((0, false));
        }
        let ids: Vec<CustomerId> = waiting.iter().map(|one| one.customer_id).collect();
        let known = customers::zones(&tx, &ids).await?;
        let zones = Zones { known, home: preferences::policy(&tx).await?.time_zone };
        let travelled = self.travel(&tx, waiting, &zones, now).await?;
        enrollments::save(&tx, &travelled.enrollments).await?;
        self.arrive(&tx, &travelled, now).await?;
        database::commit(tx).await?;
        self.ring_for_all(&travelled.enrollments, &travelled.contacts);
        Ok((travelled.enrollments.len(), due.len() as u64 == AT_ONCE))
    }
}

impl Travelled {
    fn go_on(&mut self, one: &mut Enrollment, plan: &Plan, reads: &Reads, zones: &Zones, now: Timestamp) {
        let known = Known {
            plan,
            event: one.event_id.and_then(|id| reads.events.get(&id)),
            customer: self.customers.get_mut(&one.customer_id).filter(|_| !plan.is_plain()),
            zone: zones.of(one.customer_id),
            heard: reads.heard.get(&one.customer_id).map_or(&[], Vec::as_slice),
            past: reads.past.get(&one.enrollment_id).cloned().unwrap_or_default(),
            facts: &reads.facts,
        };
        let is_new = one.next_step_id.is_none();
        let course = if is_new { enrollments::begin(one, known, now) } else { enrollments::go_on(one, known, now) };
        self.contacts.extend(course.contacts);
        self.passed.extend(course.passed);
        if course.changed {
            self.changed.insert(one.customer_id);
        }
        self.withdrawn.extend(course.withdrawn.into_iter().map(|(step_id, topic_id)| Withdrawal {
            customer_id: one.customer_id,
            campaign_id: one.campaign_id.clone(),
            step_id,
            topic_id,
        }));
    }
}

/// What became of the steps of these enrollments.
pub(super) async fn past(tx: &WriteTx, ids: &[EnrollmentId]) -> Result<HashMap<EnrollmentId, Past>, StoreError> {
    let contacts = contacts::of_enrollments(tx, ids).await?;
    let noticed = contacts::noticed(tx, &contacts.iter().map(|contact| contact.contact_id).collect::<Vec<_>>()).await?;
    let mut past: HashMap<EnrollmentId, Past> = HashMap::new();
    for contact in contacts {
        let Some(step) = contact.step() else { continue };
        let did = |kind| noticed.contains(&(contact.contact_id, kind));
        let of_step = StepPast {
            state: contact.state.as_str(),
            delivery: contact.delivery,
            opened: did(DeliveryKind::Opened),
            clicked: did(DeliveryKind::Clicked),
            replied: did(DeliveryKind::Replied),
        };
        past.entry(step.enrollment_id).or_default().insert(step.step_id.clone(), of_step);
    }
    for (id, passed) in enrollments::passed(tx, ids).await? {
        let steps = passed.into_iter().map(|one| (one.step_id, StepPast::of(one.outcome)));
        past.entry(id).or_default().extend(steps);
    }
    Ok(past)
}

fn distinct<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Brings enrollments on whose steps have no contact, when something is to be done for them, and tells campaigns of letters that
/// were refused.
#[derive(Debug)]
pub struct AdvanceEnrollments(pub Intake);

impl Job for AdvanceEnrollments {
    fn id(&self) -> &'static str {
        "advance-enrollments"
    }

    fn cron(&self) -> &'static str {
        "*/5 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (of, mut advanced, mut failures) = (&self.0, 0, 0);
            let told = of.tell_all_refused(stop).await?;
            let next_time = loop {
                let now = of.clock.now();
                // Asked beside the one who writes: mostly there is nothing to do.
                let next = enrollments::first_due(of.db.reader()).await?;
                if next.is_none_or(|next| next > now) || stop.is_cancelled() {
                    break next;
                }
                match of.advance_some().await {
                    // Whose customer is kept by somebody else waits a moment.
                    Ok((0, _)) => break Some(now + LOOK),
                    Ok((count, _)) => advanced += count,
                    Err(fault) if fault.is_conflict() && failures < super::TRIES => failures += 1,
                    Err(fault) => return Err(unasked(fault, "enrollments")),
                }
            };
            Ok(Done { summary: format!("advanced {advanced}, told {told}"), next_time })
        })
    }
}
