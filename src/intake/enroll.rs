//! What an event does to campaigns: exits first, then waits, then new enrollments.

use std::{collections::HashMap, sync::Arc};

use chrono::TimeDelta;

use super::{
    Intake, called_off,
    happenings::Starts,
    journeys::{Travelled, Zones},
};
use crate::{
    calendar::{LocalTime, Zone},
    campaigns::{
        self, Action, Concerned as Concerns, EndCause, Enrollment, EnrollmentState, Goal, Plan, Waits,
        enrollments::{self, Applicant, Concerned, Entry},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff, ContactState, Purpose},
    customers,
    database::WriteTx,
    events::{self, EffectOutcome, Event, EventEffect},
    filter::Facts,
    ids::{CampaignId, CustomerId, EnrollmentId},
    rpc::Fault,
};

type FollowedPlans = HashMap<(CampaignId, i32), Arc<Plan>>;

/// A campaign that an event starts.
pub(super) struct Started<'a> {
    pub campaign_id: &'a CampaignId,
    pub version: i32,
    pub purpose: Purpose,
    pub plan: &'a Plan,
}

/// What an event begins and restarts, campaign by campaign; written at once.
#[derive(Default)]
struct Entries {
    restarts: Vec<EnrollmentId>,
    enrollments: Vec<Enrollment>,
}

impl Intake {
    /// Everything that a recorded event does, in the transaction that records it. The customer is locked.
    pub(super) async fn act_on(
        &self,
        tx: &WriteTx,
        event: &Event,
        starts: &Starts,
        zone: Zone,
        now: Timestamp,
    ) -> Result<Vec<EventEffect>, Fault> {
        let body = &event.body;
        let concerned = campaigns::concerned_by(tx, &body.event_type, body.occur_time).await?;
        let keys = concerned.iter().map(|one| (one.campaign_id.clone(), one.version));
        let current = self.plans.load(tx, keys).await?;
        let plan_of = |one: &Concerns| current.get(&(one.campaign_id.clone(), one.version));
        let starting = concerned.iter().filter(|one| one.starts && starts.allows(&one.campaign_id));
        let entering: Vec<_> =
            starting.clone().filter_map(|one| Some((one.campaign_id.clone(), plan_of(one)?.reentry))).collect();
        for one in concerned.iter().filter(|one| one.is_goal) {
            let goal = plan_of(one).and_then(|plan| plan.goal.as_ref());
            if let Some(goal) = goal.filter(|goal| goal.is_reached(event, now)) {
                reach(tx, event, &one.campaign_id, goal).await?;
            }
        }
        let mut related =
            enrollments::related(tx, event.customer_id, &body.event_type, applicant(event), &entering).await?;
        let followed = related.iter().map(|one| (one.campaign_id.clone(), one.campaign_version));
        let followed = self.plans.load(tx, followed).await?;
        let zones = Zones { known: HashMap::new(), home: zone };

        let mut effects = exit(tx, event, &mut related, &followed, now).await?;
        effects.extend(self.end_waits(tx, event, &mut related, &followed, &zones, now).await?);
        let mut entries = Entries::default();
        let first_entry = effects.len();
        for one in starting {
            let Some(plan) = plan_of(one) else {
                continue;
            };
            if !plan.starts_on(event, now) {
                effects.push(ignored(&one.campaign_id, "the event does not match event_filter"));
                continue;
            }
            if !is_in_audience(tx, plan, event.customer_id, now).await? {
                effects.push(ignored(&one.campaign_id, "the customer is not in the audience"));
                continue;
            }
            let campaign = Started { campaign_id: &one.campaign_id, version: one.version, purpose: one.purpose, plan };
            effects.push(enter(tx, &campaign, event, &related, now, &mut entries).await?);
        }
        let detail = format!("{} {} started it again", body.event_type, event.event_id);
        end(tx, entries.restarts, EndCause::Restarted, &detail, now).await?;
        let travelled = self.travel(tx, entries.enrollments, &zones, now).await?;
        enrollments::insert(tx, &travelled.enrollments).await?;
        self.arrive(tx, &travelled, now).await?;
        effects[first_entry..].iter_mut().for_each(|effect| tell_next(effect, &travelled, zone));
        Ok(effects)
    }

    /// Ends the waits that the event is what they wait for, and brings those enrollments on.
    async fn end_waits(
        &self,
        tx: &WriteTx,
        event: &Event,
        related: &mut [Enrollment],
        plans: &FollowedPlans,
        zones: &Zones,
        now: Timestamp,
    ) -> Result<Vec<EventEffect>, Fault> {
        let listens = |one: &&Enrollment| {
            let plan = plans.get(&(one.campaign_id.clone(), one.campaign_version));
            one.state == EnrollmentState::Active && plan.is_some_and(|plan| listens(one, plan, event, now))
        };
        let waiting: Vec<Enrollment> = related.iter().filter(listens).cloned().collect();
        if waiting.is_empty() {
            return Ok(Vec::new());
        }
        let travelled = self.travel(tx, waiting, zones, now).await?;
        enrollments::save(tx, &travelled.enrollments).await?;
        self.arrive(tx, &travelled, now).await?;
        for one in &travelled.enrollments {
            related.iter_mut().filter(|old| old.enrollment_id == one.enrollment_id).for_each(|old| *old = one.clone());
        }
        let ended = travelled.passed.iter().filter(|passed| passed.event_id == Some(event.event_id));
        let effect = |passed: &campaigns::PassedStep| {
            let of = travelled.enrollments.iter().find(|one| one.enrollment_id == passed.enrollment_id)?;
            let mut effect = EventEffect {
                campaign_id: of.campaign_id.clone(),
                outcome: EffectOutcome::Advanced,
                detail: format!("{} waited for it", passed.step_id),
                enrollment_id: Some(of.enrollment_id),
                contact_id: None,
                due: None,
            };
            tell_next(&mut effect, &travelled, zones.home);
            Some(effect)
        };
        Ok(ended.filter_map(effect).collect())
    }
}

/// Whether an event may bring an enrollment on: it waits for it, or is about to come to a step that may. Of a frequent event most
/// are not what is waited for, and cost nothing.
fn listens(one: &Enrollment, plan: &Plan, event: &Event, now: Timestamp) -> bool {
    match one.waits {
        Some(Waits::Event) => {
            let step = one.next_step_id.as_deref().and_then(|step_id| plan.step(step_id));
            let wait = step.and_then(|step| if let Action::Wait(wait) = &step.action { Some(wait) } else { None });
            wait.is_some_and(|wait| wait.matches(&one.subject, event, now))
        }
        Some(Waits::Delay | Waits::Field) => {
            one.next_time.is_some_and(|due| due <= now)
                && plan.waited_for_types().any(|heard| heard == event.body.event_type)
        }
        None => false,
    }
}

/// Notes that the goal of a campaign was reached by its messages before.
async fn reach(tx: &WriteTx, event: &Event, campaign: &CampaignId, goal: &Goal) -> Result<(), Fault> {
    let at = event.body.occur_time;
    contacts::convert(tx, event.customer_id, campaign, at - TimeDelta::days(goal.window_days.into()), at).await?;
    Ok(())
}

/// Says what comes next in the enrollment of an effect, and when.
fn tell_next(effect: &mut EventEffect, travelled: &Travelled, zone: Zone) {
    let Some(one) = travelled.enrollments.iter().find(|one| Some(one.enrollment_id) == effect.enrollment_id) else {
        return;
    };
    let of_enrollment = |contact: &&contacts::Contact| {
        contact.state == ContactState::Scheduled
            && contact.step().is_some_and(|step| step.enrollment_id == one.enrollment_id)
    };
    effect.contact_id = travelled.contacts.iter().find(of_enrollment).map(|contact| contact.contact_id);
    let local = |due: Timestamp| format!("{} {}", LocalTime(zone.local(due)), zone.name());
    effect.due = one.next_time.map(|due| (due, local(due)));
}

/// Ends the enrollments that the event is an exit of, each by the plan that it follows.
async fn exit(
    tx: &WriteTx,
    event: &Event,
    related: &mut [Enrollment],
    plans: &FollowedPlans,
    now: Timestamp,
) -> Result<Vec<EventEffect>, Fault> {
    let body = &event.body;
    let exits = |one: &Enrollment| {
        let plan = plans.get(&(one.campaign_id.clone(), one.campaign_version))?;
        let is_after = one.state == EnrollmentState::Active && one.hears_from() < body.occur_time;
        plan.ends_on(&one.subject, event, now).filter(|_| is_after)
    };
    let detail = format!("{} {} ended its enrollment", body.event_type, event.event_id);
    let (mut effects, mut ended) = (Vec::new(), HashMap::<_, Vec<EnrollmentId>>::new());
    for one in related.iter_mut() {
        let Some(cause) = exits(one) else { continue };
        one.end(EnrollmentState::Exited, Some(cause), now);
        ended.entry(cause).or_default().push(one.enrollment_id);
        effects.push(EventEffect {
            campaign_id: one.campaign_id.clone(),
            outcome: EffectOutcome::Exited,
            detail: detail.clone(),
            enrollment_id: Some(one.enrollment_id),
            contact_id: None,
            due: None,
        });
    }
    for (cause, ids) in ended {
        end(tx, ids, cause, &detail, now).await?;
    }
    Ok(effects)
}

/// Whether a customer may enter at all.
async fn is_in_audience(tx: &WriteTx, plan: &Plan, customer: CustomerId, now: Timestamp) -> Result<bool, Fault> {
    if plan.audience_filter.is_empty() {
        return Ok(true);
    }
    let audience = campaigns::audience(plan)?;
    let facts = Facts::load(tx, [&audience], &[customer], now).await?;
    let customer = customers::profiles(tx, &[customer]).await?.remove(&customer);
    Ok(customer.is_some_and(|customer| audience.matches(&customer, &facts, now)))
}

fn ignored(campaign: &CampaignId, why: &str) -> EventEffect {
    EventEffect {
        campaign_id: campaign.clone(),
        outcome: EffectOutcome::Ignored,
        detail: why.to_owned(),
        enrollment_id: None,
        contact_id: None,
        due: None,
    }
}

/// Lets an event enter a campaign, or says why not.
async fn enter(
    tx: &WriteTx,
    campaign: &Started<'_>,
    event: &Event,
    related: &[Enrollment],
    now: Timestamp,
    entries: &mut Entries,
) -> Result<EventEffect, Fault> {
    let mut effect = ignored(campaign.campaign_id, "");
    let earlier: Vec<&Enrollment> = related.iter().filter(|one| one.campaign_id == *campaign.campaign_id).collect();
    let entry_key = match campaign.plan.reentry.judge(applicant(event), &earlier) {
        Entry::Stay(why) => return Ok(EventEffect { detail: why, ..effect }),
        Entry::Enter { entry_key, restarts } => {
            entries.restarts.extend(restarts);
            entry_key
        }
    };
    let mut enrollment = begin(campaign, event, entry_key, now);
    effect.enrollment_id = Some(enrollment.enrollment_id);
    effect.outcome = EffectOutcome::Enrolled;
    if let Some((exit, cause)) = earlier_exit(tx, campaign.plan, event, now).await? {
        enrollment.end(EnrollmentState::Exited, Some(cause), now);
        effect.detail = format!("{} {} had arrived before it", exit.body.event_type, exit.event_id);
        effect.outcome = EffectOutcome::Exited;
    }
    entries.enrollments.push(enrollment);
    Ok(effect)
}

pub(super) fn applicant(event: &Event) -> Applicant<'_> {
    Applicant { event_id: Some(event.event_id), subject: &event.body.subject, occur_time: event.body.occur_time }
}

pub(super) fn begin(campaign: &Started<'_>, event: &Event, entry_key: String, now: Timestamp) -> Enrollment {
    Enrollment {
        enrollment_id: EnrollmentId::generate(),
        campaign_id: campaign.campaign_id.clone(),
        campaign_version: campaign.version,
        customer_id: event.customer_id,
        event_id: Some(event.event_id),
        entry_key,
        subject: event.body.subject.clone(),
        topic_id: campaign.plan.topic_id.clone(),
        purpose: campaign.purpose,
        trigger_time: event.body.occur_time,
        anchor_time: event.body.occur_time,
        run_id: None,
        state: EnrollmentState::Active,
        end_cause: None,
        next_step_id: None,
        next_time: None,
        next_local: None,
        waits: None,
        previous_time: event.body.occur_time,
        start_time: now,
        end_time: None,
    }
}

/// An enrollment that a date or an audience begins.
pub(super) fn begin_without_event(
    of: &campaigns::Scanned,
    plan: &Plan,
    customer_id: CustomerId,
    by: Applicant<'_>,
    entry_key: String,
    now: Timestamp,
) -> Enrollment {
    Enrollment {
        enrollment_id: EnrollmentId::generate(),
        campaign_id: of.campaign_id.clone(),
        campaign_version: of.version,
        customer_id,
        event_id: None,
        entry_key,
        subject: by.subject.to_owned(),
        topic_id: plan.topic_id.clone(),
        purpose: of.purpose,
        trigger_time: by.occur_time,
        anchor_time: by.occur_time,
        run_id: None,
        state: EnrollmentState::Active,
        end_cause: None,
        next_step_id: None,
        next_time: None,
        next_local: None,
        waits: None,
        previous_time: by.occur_time,
        start_time: now,
        end_time: None,
    }
}

/// An exit that occurred after this trigger and arrived before it.
async fn earlier_exit(
    tx: &WriteTx,
    plan: &Plan,
    trigger: &Event,
    now: Timestamp,
) -> Result<Option<(Event, EndCause)>, Fault> {
    let body = &trigger.body;
    let later = events::happened_since(tx, &[trigger.customer_id], &plan.exit_types(), body.occur_time).await?;
    let ends = |one: Event| plan.ends_on(&body.subject, &one, now).map(|cause| (one, cause));
    Ok(later.into_iter().find_map(ends))
}

pub(super) async fn end(
    tx: &WriteTx,
    ids: Vec<EnrollmentId>,
    cause: EndCause,
    detail: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    enrollments::end(tx, Concerned::Ids(ids.clone()), cause, now).await?;
    contacts::cancel(tx, CallOff::Enrollments(ids), &called_off(BlockReason::Exited, detail), now).await?;
    Ok(())
}
