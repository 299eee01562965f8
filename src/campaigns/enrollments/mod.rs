//! Customers inside follow-ups: who enters, what comes next, what ends it.

mod enrollment;
mod store;

use std::collections::HashMap;

pub use self::{
    enrollment::{Applicant, EndCause, Enrollment, EnrollmentState, Entry},
    store::{Concerned, active_of, between, end, insert, list as page_of, load, standings},
};
use super::{Place, Plans};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    contacts::{self, Contact, NewContact, StepOf},
    customers,
    database::{StoreError, WriteTx},
    ids::CustomerId,
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

    let plans = plans
        .load(
            tx,
            waiting
                .iter()
                .map(|one| (one.campaign_id.clone(), one.campaign_version)),
        )
        .await?;
    let customers: Vec<CustomerId> = waiting.iter().map(|one| one.customer_id).collect();
    let zones = customers::zones(tx, &customers).await?;
    let (mut done, mut moves, mut contacts) = (Vec::new(), Vec::new(), Vec::new());
    for one in &waiting {
        let zone = zones.get(&one.customer_id).copied().unwrap_or(Zone::UTC);
        let plan = plans.get(&(one.campaign_id.clone(), one.campaign_version));
        match plan.and_then(|plan| next_contact(plan, one, zone, now)) {
            Some(next) => {
                let step_id = next.step.as_ref().map(|step| step.step_id.clone()).unwrap_or_default();
                moves.push((one.enrollment_id, step_id, next.planned.instant));
                contacts.push(next.plan(now));
            }
            None => done.push(one.enrollment_id),
        }
    }
    contacts::insert(tx, &contacts).await?;
    store::complete(tx, &done, now).await?;
    store::move_on(tx, &moves).await?;
    Ok(contacts)
}

fn next_contact(plan: &super::Plan, of: &Enrollment, zone: Zone, now: Timestamp) -> Option<NewContact> {
    let step = plan.step_after(of.next_step_id.as_deref()?)?;
    let place = Place {
        campaign_id: &of.campaign_id,
        enrollment_id: of.enrollment_id,
        customer_id: of.customer_id,
        zone,
        trigger_time: of.trigger_time,
        previous_time: now,
    };
    Some(plan.contact(step, of.purpose, &place))
}
