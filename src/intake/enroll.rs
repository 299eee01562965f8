//! What an event does to campaigns: exits first, then new enrollments.

use std::{collections::HashMap, sync::Arc};

use super::{Intake, called_off};
use crate::{
    calendar::{LocalTime, Zone},
    campaigns::{
        self, EndCause, Enrollment, EnrollmentState, Place, Plan,
        enrollments::{self, Applicant, Concerned, Entry},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff, Contact, Purpose},
    database::WriteTx,
    events::{self, EffectOutcome, Event, EventEffect, Occurrence},
    ids::{CampaignId, EnrollmentId},
    rpc::Fault,
};

type FollowedPlans = HashMap<(CampaignId, i32), Arc<Plan>>;

/// A campaign that an event starts.
struct Started<'a> {
    campaign_id: &'a CampaignId,
    version: i32,
    purpose: Purpose,
    plan: &'a Plan,
}

/// What an event begins and restarts, campaign by campaign; written at once.
#[derive(Default)]
struct Entries {
    restarts: Vec<EnrollmentId>,
    enrollments: Vec<Enrollment>,
    contacts: Vec<Contact>,
}

impl Intake {
    /// Everything that a recorded event does, in the transaction that records it. The customer is locked.
    pub(super) async fn act_on(
        &self,
        tx: &WriteTx,
        event: &Event,
        zone: Zone,
        now: Timestamp,
    ) -> Result<Vec<EventEffect>, Fault> {
        let triggered = campaigns::triggered_by(tx, &event.body.event_type).await?;
        let started = self.plans.load(tx, triggered.iter().map(|(id, version, _)| (id.clone(), *version))).await?;
        let entering: Vec<_> =
            started.iter().map(|((campaign_id, _), plan)| (campaign_id.clone(), plan.reentry)).collect();
        let body = &event.body;
        let mut related =
            enrollments::related(tx, event.customer_id, &body.event_type, applicant(event), &entering).await?;
        let followed = related.iter().map(|one| (one.campaign_id.clone(), one.campaign_version));
        let followed = self.plans.load(tx, followed).await?;

        let mut effects = exit(tx, event, &mut related, &followed, now).await?;
        let mut entries = Entries::default();
        for (campaign_id, version, purpose) in &triggered {
            let Some(plan) = started.get(&(campaign_id.clone(), *version)) else {
                continue;
            };
            let campaign = Started { campaign_id, version: *version, purpose: *purpose, plan };
            effects.push(enter(tx, &campaign, event, &related, zone, now, &mut entries).await?);
        }
        let detail = format!("{} {} started it again", body.event_type, event.event_id);
        end(tx, entries.restarts, EndCause::Restarted, &detail, now).await?;
        enrollments::insert(tx, &entries.enrollments).await?;
        contacts::insert(tx, &entries.contacts).await?;
        Ok(effects)
    }
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
        let plan = plans.get(&(one.campaign_id.clone(), one.campaign_version));
        one.state == EnrollmentState::Active
            && one.trigger_time < body.occur_time
            && plan.is_some_and(|plan| {
                plan.exits.iter().any(|exit| exit.matches(&one.subject, &body.event_type, &body.subject))
            })
    };
    let detail = format!("{} {} ended its enrollment", body.event_type, event.event_id);
    let mut effects = Vec::new();
    for one in related.iter_mut().filter(|one| exits(one)) {
        one.state = EnrollmentState::Exited;
        effects.push(EventEffect {
            campaign_id: one.campaign_id.clone(),
            outcome: EffectOutcome::Exited,
            detail: detail.clone(),
            enrollment_id: Some(one.enrollment_id),
            contact_id: None,
            due: None,
        });
    }
    let ids = effects.iter().filter_map(|effect| effect.enrollment_id).collect();
    end(tx, ids, EndCause::ExitEvent, &detail, now).await?;
    Ok(effects)
}

/// Lets an event enter a campaign, or says why not.
async fn enter(
    tx: &WriteTx,
    campaign: &Started<'_>,
    event: &Event,
    related: &[Enrollment],
    zone: Zone,
    now: Timestamp,
    entries: &mut Entries,
) -> Result<EventEffect, Fault> {
    let mut effect = EventEffect {
        campaign_id: campaign.campaign_id.clone(),
        outcome: EffectOutcome::Ignored,
        detail: String::new(),
        enrollment_id: None,
        contact_id: None,
        due: None,
    };
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
    if let Some(exit) = earlier_exit(tx, campaign.plan, event).await? {
        enrollment.state = EnrollmentState::Exited;
        enrollment.end_cause = Some(EndCause::ExitEvent);
        enrollment.end_time = Some(now);
        entries.enrollments.push(enrollment);
        let detail = format!("{} {} had arrived before it", exit.event_type, exit.event_id);
        return Ok(EventEffect { outcome: EffectOutcome::Exited, detail, ..effect });
    }
    if let Some(step) = campaign.plan.steps.first() {
        let contact = campaign.plan.contact(step, campaign.purpose, &place(&enrollment, zone)).plan(now);
        enrollment.next_step_id = Some(step.step_id.clone());
        enrollment.next_time = Some(contact.due_time);
        let local = format!("{} {}", LocalTime(zone.local(contact.due_time)), zone.name());
        effect.due = Some((contact.due_time, local));
        effect.contact_id = Some(contact.contact_id);
        entries.contacts.push(contact);
    }
    entries.enrollments.push(enrollment);
    Ok(EventEffect { outcome: EffectOutcome::Enrolled, ..effect })
}

fn applicant(event: &Event) -> Applicant<'_> {
    Applicant { event_id: event.event_id, subject: &event.body.subject, occur_time: event.body.occur_time }
}

fn begin(campaign: &Started<'_>, event: &Event, entry_key: String, now: Timestamp) -> Enrollment {
    Enrollment {
        enrollment_id: EnrollmentId::generate(),
        campaign_id: campaign.campaign_id.clone(),
        campaign_version: campaign.version,
        customer_id: event.customer_id,
        event_id: event.event_id,
        entry_key,
        subject: event.body.subject.clone(),
        topic_id: campaign.plan.topic_id.clone(),
        purpose: campaign.purpose,
        trigger_time: event.body.occur_time,
        state: EnrollmentState::Active,
        end_cause: None,
        next_step_id: None,
        next_time: None,
        start_time: now,
        end_time: None,
    }
}

fn place(enrollment: &Enrollment, zone: Zone) -> Place<'_> {
    Place {
        campaign_id: &enrollment.campaign_id,
        enrollment_id: enrollment.enrollment_id,
        event_id: enrollment.event_id,
        customer_id: enrollment.customer_id,
        zone,
        trigger_time: enrollment.trigger_time,
        previous_time: enrollment.trigger_time,
    }
}

/// An exit that occurred after this trigger and arrived before it.
async fn earlier_exit(tx: &WriteTx, plan: &Plan, event: &Event) -> Result<Option<Occurrence>, Fault> {
    let body = &event.body;
    let later = events::occurrences_after(tx, event.customer_id, &plan.exit_types(), body.occur_time).await?;
    let ends =
        |one: &Occurrence| plan.exits.iter().any(|exit| exit.matches(&body.subject, &one.event_type, &one.subject));
    Ok(later.into_iter().find(ends))
}

async fn end(tx: &WriteTx, ids: Vec<EnrollmentId>, cause: EndCause, detail: &str, now: Timestamp) -> Result<(), Fault> {
    enrollments::end(tx, Concerned::Ids(ids.clone()), cause, now).await?;
    contacts::cancel(tx, CallOff::Enrollments(ids), &called_off(BlockReason::Exited, detail), now).await?;
    Ok(())
}
