use chrono::TimeDelta;

use super::{Intake, journeys::past};
use crate::{
    calendar::{Planned, Zone},
    campaigns::{
        Action, Anchor, Campaign, Due, Enrollment, Past, Plan, Step, Waits,
        enrollments::{self, Open},
    },
    clock::Timestamp,
    contacts::{self, Contact},
    customers,
    database::{self, WriteTx},
    ids::EnrollmentId,
    preferences,
    rpc::Fault,
};

/// How many enrollments move in a transaction.
const AT_ONCE: u64 = 200;

/// Where enrollments and their customers stand.
struct Before<'a> {
    plan: &'a Plan,
    zone: Zone,
    contact: Option<&'a Contact>,
    past: Option<&'a Past>,
}

impl Intake {
    /// Moves the open enrollments of a campaign to its version as it is given, each at the step of the same name, and plans what waits
    /// there anew. One whose step is gone, or does something else now, or would come to a step again that it is past, stays where it is.
    /// Answers how many contacts were planned anew.
    pub async fn replan_open(&self, campaign: &Campaign, validate_only: bool) -> Result<i64, Fault> {
        let (mut replanned, mut after) = (0, None);
        loop {
            let mut tries = 1;
            let (count, last) = loop {
                match self.replan_some(campaign, after, validate_only).await {
                    Err(fault) if fault.is_conflict() && tries < super::TRIES => tries += 1,
                    outcome => break outcome?,
                }
            };
            replanned += count;
            if last.is_none() {
                self.dispatcher.ring();
                self.journeys.ring();
                return Ok(replanned);
            }
            after = last;
        }
    }

    /// One transaction; answers how many contacts it planned anew, and the last enrollment that it looked at.
    async fn replan_some(
        &self,
        campaign: &Campaign,
        after: Option<EnrollmentId>,
        validate_only: bool,
    ) -> Result<(i64, Option<EnrollmentId>), Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let older = Open::Before(&campaign.campaign_id, campaign.version);
        let open = enrollments::open(&tx, older, after, AT_ONCE).await?;
        let Some((last, _)) = open.last().copied() else { return Ok((0, None)) };
        let (ids, customer_ids): (Vec<_>, Vec<_>) = open.into_iter().unzip();
        customers::lock_all(&tx, customer_ids.clone()).await?;
        let open = enrollments::lock_active(&tx, &ids).await?;
        let contacts = contacts::lock_waiting(&tx, &ids).await?;
        let past = past(&tx, &ids).await?;
        let keys = open.iter().map(|one| (one.campaign_id.clone(), one.campaign_version));
        let plans = self.plans.load(&tx, keys).await?;
        let zones = customers::zones(&tx, &customer_ids).await?;
        let home = preferences::policy(&tx).await?.time_zone;
        let (mut moved, mut changed) = (Vec::new(), Vec::new());
        for mut one in open {
            let Some(plan) = plans.get(&(one.campaign_id.clone(), one.campaign_version)) else { continue };
            let zone = zones.get(&one.customer_id).copied().unwrap_or(home);
            let (contact, past) = (contacts.get(&one.enrollment_id), past.get(&one.enrollment_id));
            let before = Before { plan, zone, contact, past };
            if let Some(contact) = move_to(campaign, &mut one, &before, now) {
                changed.extend(contact);
                moved.push(one);
            }
        }
        self.write_moved(&tx, &moved, &changed, now).await?;
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        Ok((i64::try_from(changed.len()).unwrap_or(i64::MAX), Some(last)))
    }

    async fn write_moved(
        &self,
        tx: &WriteTx,
        moved: &[Enrollment],
        changed: &[Contact],
        now: Timestamp,
    ) -> Result<(), Fault> {
        enrollments::save(tx, moved).await?;
        Ok(contacts::replan_all(tx, changed, now).await?)
    }
}

/// Moves an enrollment; answers its contact as it is planned anew, where it has one that waits. None where it stays.
fn move_to(campaign: &Campaign, one: &mut Enrollment, before: &Before<'_>, now: Timestamp) -> Option<Option<Contact>> {
    let step_id = one.next_step_id.as_deref()?;
    let (old, new) = (before.plan.step(step_id)?, campaign.plan.step(step_id)?);
    if !is_alike(old, new) || is_past_what_comes(&campaign.plan, step_id, before.past) {
        return None;
    }
    one.campaign_version = campaign.version;
    (one.topic_id, one.purpose) = (campaign.plan.topic_id.clone(), campaign.purpose);
    let due = new.due(&one.place(before.zone), None, now);
    match one.waits {
        None => {
            // One that is on its way stays as it is.
            let Some(contact) = before.contact else { return Some(None) };
            let planned = match due {
                Due::At(planned) => planned,
                Due::Unread | Due::Never => Planned {
                    instant: contact.original_due_time,
                    local: contact.due_local.as_ref().map(|(local, _)| *local),
                },
            };
            one.next_time = Some(planned.instant);
            let anew = campaign.plan.contact(new, campaign.purpose, &one.place(before.zone), planned)?.plan(now);
            let (contact_id, revision) = (contact.contact_id, contact.revision);
            return Some(Some(Contact { contact_id, revision, ..anew }));
        }
        // What it counts from now may be no field.
        Some(Waits::Field) if matches!(new.anchor, Anchor::Field(_)) => {}
        Some(Waits::Field | Waits::Delay) => match due {
            Due::At(planned) => {
                (one.waits, one.next_time, one.next_local) = (Some(Waits::Delay), Some(planned.instant), planned.local);
            }
            Due::Unread | Due::Never => {
                (one.waits, one.next_time, one.next_local) = (Some(Waits::Field), Some(now), None);
            }
        },
        Some(Waits::Event) => {
            let longer = timeout(new) - timeout(old);
            one.next_time = one.next_time.map(|deadline| deadline + longer);
        }
    }
    Some(None)
}

/// Whether two steps do the same kind of thing in the same way.
fn is_alike(old: &Step, new: &Step) -> bool {
    std::mem::discriminant(&old.action) == std::mem::discriminant(&new.action)
        && old.is_planned_ahead() == new.is_planned_ahead()
}

/// Whether an enrollment is past a step already that comes after one in a plan: no step comes twice.
fn is_past_what_comes(plan: &Plan, step_id: &str, past: Option<&Past>) -> bool {
    let behind = plan.steps.iter().skip_while(|step| step.step_id != step_id).skip(1);
    past.is_some_and(|past| behind.into_iter().any(|step| past.contains_key(&step.step_id)))
}

fn timeout(step: &Step) -> TimeDelta {
    if let Action::Wait(wait) = &step.action { wait.timeout() } else { TimeDelta::zero() }
}
