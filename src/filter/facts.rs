use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query};

use super::{Call, Filter, Kind, Value};
use crate::{
    clock::Timestamp,
    database::{Connection, StoreError},
    ids::CustomerId,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;

/// What functions say about customers, looked up for many at once.
#[derive(Debug, Default)]
pub struct Facts {
    calls: Vec<Call>,
    known: HashMap<CustomerId, Vec<Value<'static>>>,
}

impl Facts {
    /// Answers every call of these filters for these customers, in one query for some hundreds of customers; in none where nothing
    /// is called.
    pub async fn load<'a>(
        db: &impl Connection,
        filters: impl IntoIterator<Item = &'a Filter>,
        customers: &[CustomerId],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut facts = Self::default();
        for call in filters.into_iter().flat_map(Filter::calls) {
            if !facts.calls.contains(call) {
                facts.calls.push(call.clone());
            }
        }
        if !facts.calls.is_empty() {
            for some in customers.chunks(AT_ONCE) {
                facts.look_up(db, some, now).await?;
            }
        }
        Ok(facts)
    }

    async fn look_up(
        &mut self,
        db: &impl Connection,
        customers: &[CustomerId],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let customer = Expr::col(("customers", "customer_id"));
        let mut query = Query::select();
        query.from("customers").expr(customer.clone()).and_where(customer.clone().is_in(customers.iter().copied()));
        for call in &self.calls {
            let value = (call.function.sql)(call, customer.clone(), now);
            query.expr(if call.function.kind == Kind::Number { value.cast_as("double precision") } else { value });
        }
        for row in db.query_all(&query).await? {
            let value = |(place, call): (usize, &Call)| {
                let place = place + 1;
                Ok::<_, StoreError>(match call.function.kind {
                    Kind::Number => row.try_get_by_index::<Option<f64>>(place)?.map_or(Value::Missing, Value::Number),
                    Kind::Bool => row.try_get_by_index::<Option<bool>>(place)?.map_or(Value::Missing, Value::Bool),
                    _ => row.try_get_by_index::<Option<Timestamp>>(place)?.map_or(Value::Missing, Value::Time),
                })
            };
            let values = self.calls.iter().enumerate().map(value).collect::<Result<_, _>>()?;
            self.known.insert(row.try_get_by_index(0)?, values);
        }
        Ok(())
    }

    /// What a call says about a customer.
    pub(super) fn value(&self, customer: CustomerId, call: &Call) -> Value<'static> {
        let place = self.calls.iter().position(|known| known == call);
        place.zip(self.known.get(&customer)).map_or(Value::Missing, |(place, values)| values[place])
    }
}
