//! Customers inside follow-ups: who enters, what comes next, what ends it.

mod enrollment;
mod journey;
mod passed;
mod store;

use std::collections::HashMap;

pub use self::{
    enrollment::{Applicant, EndCause, Enrollment, EnrollmentState, Entry, PassedStep, StepOutcome, Waits},
    journey::{Course, Known, begin, go_on},
    passed::{insert as insert_passed, of as passed},
    store::{
        Concerned, Open, between, due, end, erase, find, first_due, insert, list as page_of, lock, lock_active,
        of_campaign, open, related, save, standings,
    },
};
use super::Plans;
use crate::{
    calendar::{Planned, Zone},
    clock::Timestamp,
    contacts::{self, Contact, StepOf},
    customers,
    database::{StoreError, WriteTx},
    ids::{CustomerId, EnrollmentId},
    preferences,
};

/// What comes after steps that have ended.
#[derive(Debug, Default)]
pub struct Advanced {
    /// What is planned.
    pub contacts: Vec<Contact>,
    /// When the first of the steps without a contact waits for something to be done.
    pub timer: Option<Timestamp>,
}

/// Plans what comes after steps that have ended, in the transaction that ends them: the next step's contact, or the end of the
/// enrollment. A step that was sent and one that was held back are followed alike. A step that must be judged, or that is no
/// message, is left to whoever does that when it is due.
pub async fn advance(tx: &WriteTx, plans: &Plans, ended: &[StepOf], now: Timestamp) -> Result<Advanced, StoreError> {
    if ended.is_empty() {
        return Ok(Advanced::default());
    }
    let steps: HashMap<_, _> = ended.iter().map(|step| (step.enrollment_id, &step.step_id)).collect();
    let ids: Vec<_> = steps.keys().copied().collect();
    let mut waiting = store::lock_active(tx, &ids).await?;
    waiting.retain(|one| one.waits.is_none() && one.next_step_id.as_ref() == steps.get(&one.enrollment_id).copied());

    let plans = plans.load(tx, waiting.iter().map(|one| (one.campaign_id.clone(), one.campaign_version))).await?;
    let zones = customers::zones(tx, &waiting.iter().map(|one| one.customer_id).collect::<Vec<_>>()).await?;
    let home = preferences::policy(tx).await?.time_zone;
    let (mut contacts, mut over) = (Vec::new(), Vec::new());
    for one in &mut waiting {
        let zone = zones.get(&one.customer_id).copied().unwrap_or(home);
        match plans.get(&(one.campaign_id.clone(), one.campaign_version)) {
            Some(plan) => {
                let course = journey::follow(one, plan, zone, now);
                contacts.extend(course.contacts);
                over.extend(course.passed);
            }
            None => one.end(EnrollmentState::Completed, None, now),
        }
    }
    contacts::insert(tx, &contacts).await?;
    insert_passed(tx, &over).await?;
    store::save(tx, &waiting).await?;
    let timer = waiting.iter().filter(|one| one.waits.is_some()).filter_map(|one| one.next_time).min();
    Ok(Advanced { contacts, timer })
}

/// Notes another moment for the step whose contact waits.
pub async fn replan(tx: &WriteTx, id: EnrollmentId, due: Timestamp) -> Result<(), StoreError> {
    store::replan(tx, id, due).await
}

/// Plans the steps without a contact that wait by the wall clock for the zones where customers live now; answers when the first of them
/// is due.
pub async fn replan_timers(tx: &WriteTx, zones: &HashMap<CustomerId, Zone>) -> Result<Option<Timestamp>, StoreError> {
    let ids: Vec<CustomerId> = zones.keys().copied().collect();
    let mut waiting = store::waiting_by_wall_clock(tx, &ids).await?;
    for one in &mut waiting {
        let planned = one.next_local.zip(zones.get(&one.customer_id));
        one.next_time = planned.map(|(local, zone)| Planned::local(local, *zone).instant);
    }
    store::save(tx, &waiting).await?;
    Ok(waiting.iter().filter_map(|one| one.next_time).min())
}
