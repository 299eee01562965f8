use std::collections::HashMap;

use super::Rehearsal;
use crate::{
    campaigns::Plan,
    clock::Timestamp,
    customers,
    database::Database,
    events::{self, OfTypes},
    ids::CustomerId,
    rpc::{Fault, Violations},
};

/// How many customers a rehearsal plays at most.
const MOST_CUSTOMERS: i64 = 10_000;
/// How many buckets there are of customers.
const BUCKETS: i16 = 256;
/// How many customers a query names.
pub(super) const AT_ONCE: usize = 500;

/// Whom a rehearsal is about.
#[derive(Debug)]
pub(super) struct Audience {
    /// Whoever could have entered, bucket by bucket.
    pub customers: Vec<CustomerId>,
    /// Who was deleted on the way, and when.
    pub deleted: HashMap<CustomerId, Timestamp>,
    /// How many of the 256 buckets they are from.
    pub buckets: i16,
}

/// Chooses everybody of whom an event was recorded that starts the plan, or whole buckets of them where that would be too many: the
/// same ones every time.
pub(super) async fn choose(db: &Database, plan: &Plan, of: &Rehearsal) -> Result<Audience, Fault> {
    let triggers = OfTypes { types: vec![plan.event_type().to_owned()], start: of.start, end: of.end };
    let counts = events::count_by_bucket(db.reader(), &triggers).await?;
    let buckets = how_many(&counts).ok_or_else(too_many)?;
    let candidates = events::customers_below(db.reader(), &triggers, buckets).await?;
    let mut audience = Audience { customers: Vec::new(), deleted: HashMap::new(), buckets };
    for some in candidates.chunks(AT_ONCE) {
        let living: HashMap<_, _> = customers::living_at(db.reader(), some, of.start).await?.into_iter().collect();
        for id in some.iter().filter(|id| living.contains_key(id)) {
            audience.customers.push(*id);
            if let Some(time) = living[id].filter(|time| *time < of.end) {
                audience.deleted.insert(*id, time);
            }
        }
    }
    Ok(audience)
}

/// How many buckets, from the first, hold no more customers than can be played.
fn how_many(counts: &[(i16, i64)]) -> Option<i16> {
    let mut total = 0;
    for (bucket, count) in counts {
        total += count;
        if total > MOST_CUSTOMERS {
            return (*bucket > 0).then_some(*bucket);
        }
    }
    Some(BUCKETS)
}

/// There is too much to play.
pub(super) fn too_many() -> Fault {
    let mut violations = Violations::default();
    violations
        .add("range", "more was recorded in it than can be played, of a 256th of the customers alone: shorten it");
    Fault::Invalid(violations)
}

impl Audience {
    /// Leaves out the buckets from one on.
    pub(super) fn cut(&mut self, bucket: i16) {
        self.buckets = bucket;
        self.customers.retain(|id| id.bucket() < bucket);
        self.deleted.retain(|id, _| id.bucket() < bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_whole_buckets_are_played_as_are_not_too_many() {
        assert_eq!(how_many(&[]), Some(256));
        assert_eq!(how_many(&[(0, MOST_CUSTOMERS)]), Some(256));
        assert_eq!(how_many(&[(3, MOST_CUSTOMERS - 1), (7, 1), (9, 1), (12, 1)]), Some(9));
        assert_eq!(how_many(&[(0, MOST_CUSTOMERS + 1)]), None);
    }
}
