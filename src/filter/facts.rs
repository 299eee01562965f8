use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query};

use super::{Call, Filter, Kind, Lookup, Relation, Value, sql::Dialect};
use crate::{
    clock::Timestamp,
    database::{Connection, StoreError},
    ids::CustomerId,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;
/// How much it asks about each at most.
const MOST_COLUMNS: usize = 200;

/// What other tables say about customers, looked up for many at once.
#[derive(Debug, Default)]
pub struct Facts {
    lookups: Vec<Lookup>,
    known: HashMap<CustomerId, Vec<Value<'static>>>,
}

impl Facts {
    /// Answers whatever these filters look up about these customers, in one query for some hundreds of customers; in none where
    /// nothing is looked up.
    pub async fn load<'a>(
        db: &impl Connection,
        filters: impl IntoIterator<Item = &'a Filter>,
        customers: &[CustomerId],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut facts = Self::default();
        for lookup in filters.into_iter().flat_map(Filter::lookups) {
            if !facts.lookups.contains(lookup) {
                facts.lookups.push(lookup.clone());
            }
        }
        for some in customers.chunks(AT_ONCE) {
            for part in facts.lookups.chunks(MOST_COLUMNS) {
                look_up(db, part, some, now, &mut facts.known).await?;
            }
        }
        Ok(facts)
    }

    /// What a call says about a customer.
    pub(super) fn value(&self, customer: CustomerId, call: &Call) -> Value<'static> {
        self.answer(customer, |known| matches!(known, Lookup::Call(known) if known == call))
    }

    /// Whether a customer has a text in another table.
    pub(super) fn has(&self, customer: CustomerId, relation: &Relation) -> bool {
        let related = |known: &Lookup| matches!(known, Lookup::Related(known) if known == relation);
        self.answer(customer, related) == Value::Bool(true)
    }

    fn answer(&self, customer: CustomerId, is_asked: impl Fn(&Lookup) -> bool) -> Value<'static> {
        let place = self.lookups.iter().position(is_asked);
        place.zip(self.known.get(&customer)).map_or(Value::Missing, |(place, values)| values[place])
    }
}

async fn look_up(
    db: &impl Connection,
    lookups: &[Lookup],
    customers: &[CustomerId],
    now: Timestamp,
    known: &mut HashMap<CustomerId, Vec<Value<'static>>>,
) -> Result<(), StoreError> {
    let customer = Expr::col(("customers", "customer_id"));
    let mut query = Query::select();
    query.from("customers").expr(customer.clone()).and_where(customer.clone().is_in(customers.iter().copied()));
    for lookup in lookups {
        query.expr(match lookup {
            Lookup::Related(relation) => relation.exists(Dialect(db.get_database_backend()), customer.clone()),
            Lookup::Call(call) => {
                let value = (call.function.sql)(call, customer.clone(), now);
                if call.function.kind == Kind::Number { value.cast_as("double precision") } else { value }
            }
        });
    }
    for row in db.query_all(&query).await? {
        let value = |(place, lookup): (usize, &Lookup)| {
            let place = place + 1;
            let kind = match lookup {
                Lookup::Call(call) => call.function.kind,
                Lookup::Related(_) => Kind::Bool,
            };
            Ok::<_, StoreError>(match kind {
                Kind::Number => row.try_get_by_index::<Option<f64>>(place)?.map_or(Value::Missing, Value::Number),
                Kind::Bool => row.try_get_by_index::<Option<bool>>(place)?.map_or(Value::Missing, Value::Bool),
                _ => row.try_get_by_index::<Option<Timestamp>>(place)?.map_or(Value::Missing, Value::Time),
            })
        };
        let values = lookups.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
        known.entry(row.try_get_by_index(0)?).or_default().extend(values);
    }
    Ok(())
}
