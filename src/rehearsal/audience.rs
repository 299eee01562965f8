use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::Rehearsal;
use crate::{
    campaigns::{Arrival, DateTrigger, Plan, Trigger},
    clock::Timestamp,
    customers::{self, Stay},
    database::{Database, StoreError},
    events::{self, OfTypes},
    ids::CustomerId,
    intake::{self, LOOK_AHEAD},
    preferences,
    rpc::{Fault, Violations},
};

/// How many customers a rehearsal plays at most.
const MOST_CUSTOMERS: usize = 10_000;
/// How many it plays at most where all of them are looked at whenever something happens.
const MOST_LOOKED_AT: usize = 2_000;
/// How many letters of a newsletter it plays at most.
const MOST_LETTERS: usize = 100_000;
/// How many buckets there are of customers.
const BUCKETS: i16 = 256;
/// How many customers a query names.
pub(super) const AT_ONCE: usize = 500;
/// How many customers are read at once.
const PAGE: u64 = 5_000;

/// Whom a rehearsal is about.
#[derive(Debug)]
pub(super) struct Audience {
    /// Whoever could have entered, bucket by bucket.
    pub customers: Vec<CustomerId>,
    /// Who came on the way, and when.
    pub came: HashMap<CustomerId, Timestamp>,
    /// Who was deleted on the way, and when.
    pub deleted: HashMap<CustomerId, Timestamp>,
    /// The dates that came for them and that start the plan.
    pub arrivals: HashMap<CustomerId, Arrival>,
    /// How many of the 256 buckets they are from.
    pub buckets: i16,
}

/// Chooses everybody who could have entered: of whom an event was recorded that starts the plan, or for whom a date came that does,
/// or else all customers. Or whole buckets of them where that would be too many: the same ones every time.
pub(super) async fn choose(db: &Database, plan: &Plan, of: &Rehearsal) -> Result<Audience, Fault> {
    let (stays, buckets) = stays(db, plan, of).await?;
    let mut audience = Audience::of(stays, buckets, of);
    if let Trigger::Date(dates) = &plan.trigger {
        audience.await_dates(db, plan, dates, of).await?;
    }
    Ok(audience)
}

fn most(plan: &Plan, of: &Rehearsal) -> usize {
    match &plan.trigger {
        Trigger::Event { .. } | Trigger::Date(_) => MOST_CUSTOMERS,
        Trigger::Audience => MOST_LOOKED_AT,
        Trigger::OneOff(_) | Trigger::Recurring(_) => (MOST_LETTERS / of.firings(plan).max(1)).min(MOST_CUSTOMERS),
    }
}

async fn stays(db: &Database, plan: &Plan, of: &Rehearsal) -> Result<(Vec<Stay>, i16), Fault> {
    let (most, range) = (most(plan, of), (of.start, of.end));
    let (mut stays, mut buckets, mut after) = (Vec::new(), BUCKETS, None);
    loop {
        let page = customers::there(db.reader(), range, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok((stays, buckets)) };
        after = Some(last.customer_id);
        let is_chosen = |stay: &Stay, buckets| stay.customer_id.bucket() < buckets;
        let page = page.into_iter().filter(|stay| is_chosen(stay, buckets)).collect();
        stays.extend(concerned(db, plan, of, page).await?);
        if stays.len() > most {
            let mut counts = BTreeMap::new();
            stays.iter().for_each(|stay| *counts.entry(stay.customer_id.bucket()).or_default() += 1);
            buckets = how_many(counts, most).ok_or_else(too_many)?;
            stays.retain(|stay| is_chosen(stay, buckets));
        }
    }
}

/// Those of whom an event was recorded that starts the plan, where that is what starts it; everybody where that event was not
/// recorded unless some campaign listened. Asked customer by customer: there is an
/// index for that, and none over what was recorded when.
async fn concerned(db: &Database, plan: &Plan, of: &Rehearsal, page: Vec<Stay>) -> Result<Vec<Stay>, StoreError> {
    let Trigger::Event { event_type, .. } = &plan.trigger else { return Ok(page) };
    if intake::comes_about_anew(event_type) {
        return Ok(page);
    }
    let triggers = OfTypes { types: vec![event_type.clone()], start: of.start, end: of.end };
    let mut concerned = Vec::new();
    for some in page.chunks(AT_ONCE) {
        let ids: Vec<CustomerId> = some.iter().map(|stay| stay.customer_id).collect();
        let found = events::customers_among(db.reader(), &ids, &triggers).await?;
        concerned.extend(some.iter().filter(|stay| found.contains(&stay.customer_id)));
    }
    Ok(concerned)
}

/// How many buckets, from the first, hold no more customers than can be played.
fn how_many(counts: impl IntoIterator<Item = (i16, i64)>, most: usize) -> Option<i16> {
    let mut left = i64::try_from(most).unwrap_or(i64::MAX);
    for (bucket, count) in counts {
        left -= count;
        if left < 0 {
            return (bucket > 0).then_some(bucket);
        }
    }
    Some(BUCKETS)
}

/// There is too much to play.
pub(super) fn too_many() -> Fault {
    let mut violations = Violations::default();
    violations.add("range", "holds more than can be played, of a 256th of the customers alone: shorten it");
    Fault::Invalid(violations)
}

impl Audience {
    fn of(mut stays: Vec<Stay>, buckets: i16, of: &Rehearsal) -> Self {
        stays.sort_unstable_by_key(|stay| (stay.customer_id.bucket(), stay.customer_id));
        let came = |stay: &Stay| Some((stay.customer_id, Some(stay.create_time).filter(|time| *time >= of.start)?));
        let left = |stay: &Stay| Some((stay.customer_id, stay.delete_time.filter(|time| *time < of.end)?));
        Self {
            came: stays.iter().filter_map(came).collect(),
            deleted: stays.iter().filter_map(left).collect(),
            customers: stays.into_iter().map(|stay| stay.customer_id).collect(),
            arrivals: HashMap::new(),
            buckets,
        }
    }

    /// Leaves out for whom no date comes.
    async fn await_dates(
        &mut self,
        db: &Database,
        plan: &Plan,
        dates: &DateTrigger,
        of: &Rehearsal,
    ) -> Result<(), StoreError> {
        let (delay, home) = (plan.first_delay(), preferences::policy(db.reader()).await?.time_zone);
        for some in self.customers.chunks(AT_ONCE) {
            for (id, customer) in customers::profiles(db.reader(), some).await? {
                let (date, zone) = (customer.attributes.get(&dates.attribute), customer.time_zone.unwrap_or(home));
                let Some(date) = date.and_then(Value::as_str) else { continue };
                if let Some(arrival) = dates.arrival(date, &delay, zone, of.start, of.end + LOOK_AHEAD) {
                    self.arrivals.insert(id, arrival);
                }
            }
        }
        let arrivals = &self.arrivals;
        self.customers.retain(|id| arrivals.contains_key(id));
        self.forget_others();
        Ok(())
    }

    /// Leaves out the buckets from one on.
    pub(super) fn cut(&mut self, bucket: i16) {
        self.buckets = bucket;
        self.customers.retain(|id| id.bucket() < bucket);
        self.forget_others();
    }

    fn forget_others(&mut self) {
        let kept: HashSet<_> = self.customers.iter().collect();
        self.came.retain(|id, _| kept.contains(id));
        self.deleted.retain(|id, _| kept.contains(id));
        self.arrivals.retain(|id, _| kept.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_whole_buckets_are_played_as_are_not_too_many() {
        assert_eq!(how_many([], 10), Some(256));
        assert_eq!(how_many([(0, 10)], 10), Some(256));
        assert_eq!(how_many([(3, 9), (7, 1), (9, 1), (12, 1)], 10), Some(9));
        assert_eq!(how_many([(0, 11)], 10), None);
    }
}
