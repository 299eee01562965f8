use std::collections::{HashMap, HashSet};

use super::timeline::NEAR;
use crate::{
    calendar::{LocalTime, Zone},
    campaigns::{Campaigns, Period},
    clock::{Clock, Timestamp},
    contacts::{Block, Contact, ContactState, Contacts, Origin, Results, Selection, Tally},
    customers,
    database::{Database, StoreError},
    ids::{CampaignId, CustomerId},
    preferences,
    rpc::{Order, Page},
};

/// How many contacts are read at once.
const AT_ONCE: u64 = 1_000;

/// A contact of the campaign that is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsedContact {
    /// To whom.
    pub customer_id: CustomerId,
    /// Of which step.
    pub step_id: String,
    /// When the plan had it due.
    pub due_time: Timestamp,
    /// The same where the customer lives, with the zone.
    pub due_local: String,
    /// Where it stood at the end.
    pub state: ContactState,
    /// What stood in its way last.
    pub block: Option<Block>,
    /// When it went out.
    pub send_time: Option<Timestamp>,
}

/// What is told of a rehearsal.
pub(super) struct Report {
    pub tally: Tally,
    pub results: Vec<Results>,
    pub samples: Vec<RehearsedContact>,
    pub collisions: i64,
}

/// Tells what a database holds once everything was played.
pub(super) async fn make(
    db: &Database,
    clock: Clock,
    id: &CampaignId,
    sample_size: usize,
) -> Result<Report, StoreError> {
    let contacts = Contacts::new(db.clone());
    let (mut own, mut others) = (Vec::new(), HashMap::new());
    let mut page = Page { size: AT_ONCE, after: None };
    loop {
        let found = contacts.list(&Selection::default(), Order::default(), &page).await?;
        for contact in found.rows {
            sort(contact, id, &mut own, &mut others);
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    let collisions = collisions(&own, &others);
    // Customer by customer, bucket by bucket: whom it shows depends on nothing that they do.
    own.sort_by_cached_key(|one| (one.customer_id.bucket(), one.customer_id, one.due_time, one.step_id.clone()));
    own.truncate(sample_size);
    tell_local_times(db, &mut own).await?;
    let results = contacts.results(id).await?;
    let (tally, _) = Campaigns::new(db.clone(), clock, std::sync::Arc::default()).tally(id, Period::default()).await?;
    Ok(Report { tally, results, samples: own, collisions })
}

fn sort(
    contact: Contact,
    id: &CampaignId,
    own: &mut Vec<RehearsedContact>,
    others: &mut HashMap<CustomerId, Vec<Timestamp>>,
) {
    let Some(campaign_id) = contact.campaign_id() else { return };
    if campaign_id != id {
        others.entry(contact.customer_id).or_default().extend(contact.send_time);
        return;
    }
    let step_id = match contact.origin {
        Origin::Step(step) => step.step_id,
        Origin::Run(run) => run.step_id,
        Origin::AdHoc => return,
    };
    own.push(RehearsedContact {
        customer_id: contact.customer_id,
        step_id,
        due_time: contact.original_due_time,
        due_local: String::new(),
        state: contact.state,
        block: contact.block,
        send_time: contact.send_time,
    });
}

/// How many customers got something of the campaign within a day of something of another.
fn collisions(own: &[RehearsedContact], others: &HashMap<CustomerId, Vec<Timestamp>>) -> i64 {
    let near = |one: &&RehearsedContact| {
        let (Some(sent), Some(others)) = (one.send_time, others.get(&one.customer_id)) else { return false };
        others.iter().any(|other| (*other - sent).abs() < NEAR)
    };
    let customers: HashSet<CustomerId> = own.iter().filter(near).map(|one| one.customer_id).collect();
    i64::try_from(customers.len()).unwrap_or(i64::MAX)
}

async fn tell_local_times(db: &Database, samples: &mut [RehearsedContact]) -> Result<(), StoreError> {
    let ids: Vec<CustomerId> = samples.iter().map(|one| one.customer_id).collect();
    let zones = customers::zones(db.reader(), &ids).await?;
    let home = preferences::policy(db.reader()).await?.time_zone;
    for one in samples {
        let zone: Zone = zones.get(&one.customer_id).copied().unwrap_or(home);
        one.due_local = format!("{} {}", LocalTime(zone.local(one.due_time)), zone.name());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(customer_id: CustomerId, hours: i64) -> RehearsedContact {
        RehearsedContact {
            customer_id,
            step_id: "mail".to_owned(),
            due_time: at(hours),
            due_local: String::new(),
            state: ContactState::Sent,
            block: None,
            send_time: Some(at(hours)),
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::TimeDelta::hours(hours)
    }

    #[test]
    fn a_customer_who_hears_from_two_campaigns_within_a_day_counts_once() {
        let [near, far, alone] = [(); 3].map(|()| CustomerId::generate());
        let own = [sent(near, 24), sent(near, 30), sent(far, 24), sent(alone, 24)];
        let others = [(near, vec![at(25), at(1)]), (far, vec![at(0), at(48)])].into();
        assert_eq!(collisions(&own, &others), 1);
        let unsent = RehearsedContact { send_time: None, ..sent(near, 24) };
        assert_eq!(collisions(&[unsent], &others), 0);
    }
}
