//! What an event does to campaigns: exits first, then new enrollments.

use std::collections::HashMap;

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
    ids::{CampaignId, CustomerId, EnrollmentId},
    rpc::Fault,
};

/// A campaign that an event starts.
struct Started<'a> {
    campaign_id: &'a CampaignId,
    version: i32,
    purpose: Purpose,
    plan: &'a Plan,
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
        let mut effects = self.exit(tx, event, now).await?;
        let triggered = campaigns::triggered_by(tx, &event.body.event_type).await?;
        let keys = triggered.iter().map(|(id, version, _)| (id.clone(), *version));
        let plans = self.plans.load(tx, keys).await?;
        for (campaign_id, version, purpose) in &triggered {
            let Some(plan) = plans.get(&(campaign_id.clone(), *version)) else {
                continue;
            };
            let started = Started {
                campaign_id,
                version: *version,
                purpose: *purpose,
                plan,
            };
            effects.push(enter(tx, &started, event, zone, now).await?);
        }
        Ok(effects)
    }

    /// Ends the enrollments that the event is an exit of, each by the plan that it follows.
    async fn exit(&self, tx: &WriteTx, event: &Event, now: Timestamp) -> Result<Vec<EventEffect>, Fault> {
        let active = enrollments::active_of(tx, event.customer_id).await?;
        let keys = active.iter().map(|one| (one.campaign_id.clone(), one.campaign_version));
        let plans: HashMap<_, _> = self.plans.load(tx, keys).await?;
        let body = &event.body;
        let exits = |one: &&Enrollment| {
            one.trigger_time < body.occur_time
                && plans
                    .get(&(one.campaign_id.clone(), one.campaign_version))
                    .is_some_and(|plan| {
                        plan.exits
                            .iter()
                            .any(|exit| exit.matches(&one.subject, &body.event_type, &body.subject))
                    })
        };
        let ended: Vec<&Enrollment> = active.iter().filter(exits).collect();
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let detail = format!("{} {} ended its enrollment", body.event_type, event.event_id);
        let ids: Vec<EnrollmentId> = ended.iter().map(|one| one.enrollment_id).collect();
        end(tx, ids, EndCause::ExitEvent, &detail, now).await?;
        let effect = |one: &&Enrollment| EventEffect {
            campaign_id: one.campaign_id.clone(),
            outcome: EffectOutcome::Exited,
            detail: detail.clone(),
            enrollment_id: Some(one.enrollment_id),
            contact_id: None,
            due: None,
        };
        Ok(ended.iter().map(effect).collect())
    }
}

/// Lets an event enter a campaign, or says why not.
async fn enter(
    tx: &WriteTx,
    campaign: &Started<'_>,
    event: &Event,
    zone: Zone,
    now: Timestamp,
) -> Result<EventEffect, Fault> {
    let reentry = campaign.plan.reentry;
    let applicant = Applicant {
        event_id: event.event_id,
        subject: &event.body.subject,
        occur_time: event.body.occur_time,
    };
    let earlier = if reentry.looks_back() {
        enrollments::between(tx, campaign.campaign_id, event.customer_id).await?
    } else {
        Vec::new()
    };
    let mut effect = EventEffect {
        campaign_id: campaign.campaign_id.clone(),
        outcome: EffectOutcome::Ignored,
        detail: String::new(),
        enrollment_id: None,
        contact_id: None,
        due: None,
    };
    let (entry_key, restarts) = match reentry.judge(applicant, &earlier) {
        Entry::Stay(why) => return Ok(EventEffect { detail: why, ..effect }),
        Entry::Enter { entry_key, restarts } => (entry_key, restarts),
    };
    if !restarts.is_empty() {
        let detail = format!("{} {} started it again", event.body.event_type, event.event_id);
        end(tx, restarts, EndCause::Restarted, &detail, now).await?;
    }
    let mut enrollment = begin(campaign, event, entry_key, now);
    effect.enrollment_id = Some(enrollment.enrollment_id);
    if let Some(exit) = earlier_exit(tx, campaign.plan, event).await? {
        enrollment.state = EnrollmentState::Exited;
        enrollment.end_cause = Some(EndCause::ExitEvent);
        enrollment.end_time = Some(now);
        enrollments::insert(tx, &enrollment).await?;
        let detail = format!("{} {} had arrived before it", exit.event_type, exit.event_id);
        return Ok(EventEffect {
            outcome: EffectOutcome::Exited,
            detail,
            ..effect
        });
    }
    let contact = first_contact(campaign, &enrollment, event.customer_id, zone).map(|(step, contact)| {
        enrollment.next_step_id = Some(step);
        enrollment.next_time = Some(contact.planned.instant);
        contact.plan(now)
    });
    enrollments::insert(tx, &enrollment).await?;
    contacts::insert(tx, contact.as_slice()).await?;
    effect.outcome = EffectOutcome::Enrolled;
    effect.due = contact.as_ref().map(|contact| (contact.due_time, local(contact, zone)));
    effect.contact_id = contact.map(|contact| contact.contact_id);
    Ok(effect)
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

fn first_contact(
    campaign: &Started<'_>,
    enrollment: &Enrollment,
    customer_id: CustomerId,
    zone: Zone,
) -> Option<(String, contacts::NewContact)> {
    let step = campaign.plan.steps.first()?;
    let place = Place {
        campaign_id: campaign.campaign_id,
        enrollment_id: enrollment.enrollment_id,
        customer_id,
        zone,
        trigger_time: enrollment.trigger_time,
        previous_time: enrollment.trigger_time,
    };
    Some((
        step.step_id.clone(),
        campaign.plan.contact(step, campaign.purpose, &place),
    ))
}

/// An exit that occurred after this trigger and arrived before it.
async fn earlier_exit(tx: &WriteTx, plan: &Plan, event: &Event) -> Result<Option<Occurrence>, Fault> {
    let body = &event.body;
    let later = events::occurrences_after(tx, event.customer_id, &plan.exit_types(), body.occur_time).await?;
    let ends = |one: &Occurrence| {
        plan.exits
            .iter()
            .any(|exit| exit.matches(&body.subject, &one.event_type, &one.subject))
    };
    Ok(later.into_iter().find(ends))
}

async fn end(tx: &WriteTx, ids: Vec<EnrollmentId>, cause: EndCause, detail: &str, now: Timestamp) -> Result<(), Fault> {
    enrollments::end(tx, Concerned::Ids(ids.clone()), cause, now).await?;
    contacts::cancel(
        tx,
        CallOff::Enrollments(ids),
        &called_off(BlockReason::Exited, detail),
        now,
    )
    .await?;
    Ok(())
}

fn local(contact: &Contact, zone: Zone) -> String {
    format!("{} {}", LocalTime(zone.local(contact.due_time)), zone.name())
}
