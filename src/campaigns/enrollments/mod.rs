//! Customers inside follow-ups: who enters, what comes next, what ends it.

mod enrollment;
mod store;

use std::collections::HashMap;

pub use self::{
    enrollment::{Applicant, EndCause, Enrollment, EnrollmentState, Entry},
    store::{Concerned, between, end, erase, insert, list as page_of, related, standings},
};
use super::{Place, Plans};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    contacts::{self, Contact, StepOf},
    customers,
    database::{StoreError, WriteTx},
    ids::EnrollmentId,
    preferences,
};

/// Plans what comes after steps that have ended, in the transaction that ends them: the next step's contact, or the end of the
/// enrollment. A step that was sent and one that was held back are followed alike. Answers the planned contacts.
pub async fn advance(
    tx: &WriteTx,
    plans: &Plans,
    ended: &[StepOf],
    now: Timestamp,
) -> Result<Vec<Contact>, StoreError> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let steps: HashMap<_, _> = ended.iter().map(|step| (step.enrollment_id, &step.step_id)).collect();
    let ids: Vec<_> = steps.keys().copied().collect();
    let mut waiting = store::lock_active(tx, &ids).await?;
    waiting.retain(|one| one.next_step_id.as_ref() == steps.get(&one.enrollment_id).copied());

    let plans = plans.load(tx, waiting.iter().map(|one| (one.campaign_id.clone(), one.campaign_version))).await?;
    let plan_of = |one: &Enrollment| plans.get(&(one.campaign_id.clone(), one.campaign_version));
    let next_step = |one: &Enrollment| plan_of(one)?.step_after(one.next_step_id.as_deref()?);
    let go_on = waiting.iter().filter(|one| next_step(one).is_some());
    let zones = customers::zones(tx, &go_on.map(|one| one.customer_id).collect::<Vec<_>>()).await?;
    let home = preferences::policy(tx).await?.time_zone;
    let (mut done, mut moves, mut contacts) = (Vec::new(), Vec::new(), Vec::new());
    for one in &waiting {
        let zone = zones.get(&one.customer_id).copied().unwrap_or(home);
        let (Some(plan), Some(step)) = (plan_of(one), next_step(one)) else {
            done.push(one.enrollment_id);
            continue;
        };
        let contact = plan.contact(step, one.purpose, &place(one, zone, now)).plan(now);
        moves.push((one.enrollment_id, step.step_id.clone(), contact.due_time));
        contacts.push(contact);
    }
    contacts::insert(tx, &contacts).await?;
    store::complete(tx, &done, now).await?;
    store::move_on(tx, &moves).await?;
    Ok(contacts)
}

/// Notes another moment for the step that waits.
pub async fn replan(tx: &WriteTx, id: EnrollmentId, step_id: &str, due: Timestamp) -> Result<(), StoreError> {
    store::move_on(tx, &[(id, step_id.to_owned(), due)]).await
}

fn place(of: &Enrollment, zone: Zone, now: Timestamp) -> Place<'_> {
    Place {
        campaign_id: &of.campaign_id,
        enrollment_id: of.enrollment_id,
        event_id: of.event_id,
        customer_id: of.customer_id,
        zone,
        trigger_time: of.trigger_time,
        previous_time: now,
    }
}
