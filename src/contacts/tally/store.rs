use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use super::{Counted, Part, Tally};
use crate::{
    contacts::{ContactState, Delivery, DeliveryKind},
    database::StoreError,
};

/// What became of the contacts that are meant, part by part: three statements, however many parts there are.
pub async fn tallies(db: &impl ConnectionTrait, of: &Counted) -> Result<BTreeMap<Part, Tally>, StoreError> {
    let mut tallies: BTreeMap<Part, Tally> = BTreeMap::new();
    let which = Which::of(db.get_database_backend(), of);
    let sql = format!(
        "SELECT {} AS part, c.state, c.block_reason, c.delivery, count(*) FROM contacts AS c \
         WHERE {} GROUP BY c.state, 1, c.block_reason, c.delivery",
        which.part, which.condition
    );
    for row in db.query_all_raw(which.statement(sql)).await? {
        let tally = tallies.entry(part(&row, of)?).or_default();
        let (delivery, count): (Option<Delivery>, i64) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
        tally.add(row.try_get_by_index(1)?, row.try_get_by_index(2)?, count);
        match delivery {
            Some(Delivery::Delivered) => tally.delivered += count,
            Some(Delivery::Bounced) => tally.bounced += count,
            Some(Delivery::Complained) => tally.complained += count,
            None => {}
        }
    }
    // Literals: the partial index is used for no other.
    let sql = format!(
        "SELECT {} AS part, e.kind, count(DISTINCT e.contact_id) FROM delivery_events AS e \
         JOIN contacts AS c ON c.contact_id = e.contact_id AND c.campaign_id = e.campaign_id \
         WHERE e.kind IN ('opened', 'clicked') AND NOT e.automated AND {} GROUP BY 1, 2",
        which.part,
        which.condition.replace("c.campaign_id", "e.campaign_id")
    );
    for row in db.query_all_raw(which.statement(sql)).await? {
        let tally = tallies.entry(part(&row, of)?).or_default();
        let (kind, count): (DeliveryKind, i64) = (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
        match kind {
            DeliveryKind::Opened => tally.opened += count,
            DeliveryKind::Clicked => tally.clicked += count,
            _ => {}
        }
    }
    let sql = format!(
        "SELECT {} AS part, count(DISTINCT r.contact_id) FROM consent_records AS r \
         JOIN contacts AS c ON c.contact_id = r.contact_id \
         WHERE r.to_state = 'denied' AND r.data_use = 'messages' AND {} GROUP BY 1",
        which.part, which.condition
    );
    for row in db.query_all_raw(which.statement(sql)).await? {
        tallies.entry(part(&row, of)?).or_default().unsubscribed += row.try_get_by_index::<i64>(1)?;
    }
    Ok(tallies)
}

/// What a statement says of the contacts that are meant.
struct Which {
    backend: DbBackend,
    part: String,
    condition: String,
    values: Vec<Value>,
}

impl Which {
    fn of(backend: DbBackend, of: &Counted) -> Self {
        let mut which = Self { backend, part: "0".to_owned(), condition: "1 = 1".to_owned(), values: Vec::new() };
        if let Some(campaign) = &of.campaign_id {
            which.add("c.campaign_id =", campaign.clone().into());
        }
        if let Some(from) = of.from {
            which.add("c.original_due_time >=", from.into());
        }
        if let Some(before) = of.before {
            which.add("c.original_due_time <", before.into());
        }
        if !of.run_ids.is_empty() {
            let places: Vec<String> = of.run_ids.iter().map(|run| which.bind((*run).into())).collect();
            // In any state, said so that the runs' part of the campaign's index is found: a million are counted without being read.
            let states = ContactState::STORED.join("', '");
            which.condition += &format!(" AND c.run_id IN ({}) AND c.state IN ('{states}')", places.join(", "));
            which.part = "c.run_id".to_owned();
        }
        if !of.backfills.is_empty() {
            let places: Vec<String> = of.backfills.iter().map(|run| which.bind((*run).into())).collect();
            which.condition += &format!(
                " AND c.enrollment_id IN (SELECT n.enrollment_id FROM enrollments AS n WHERE n.run_id IN ({}))",
                places.join(", ")
            );
            which.part = "(SELECT n.run_id FROM enrollments AS n WHERE n.enrollment_id = c.enrollment_id)".to_owned();
        }
        if let Some((from, every)) = of.from.zip(of.every) {
            // Both are whole numbers of seconds.
            let from = from.timestamp();
            which.part = match backend {
                DbBackend::Sqlite => {
                    format!("(CAST(strftime('%s', c.original_due_time) AS INTEGER) - {from}) / {every}")
                }
                _ => format!("(floor(extract(epoch FROM c.original_due_time))::bigint - {from}) / {every}"),
            };
        }
        which
    }

    fn add(&mut self, what: &str, value: Value) {
        let place = self.bind(value);
        self.condition += &format!(" AND {what} {place}");
    }

    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        match self.backend {
            DbBackend::Sqlite => format!("?{}", self.values.len()),
            _ => format!("${}", self.values.len()),
        }
    }

    fn statement(&self, sql: String) -> Statement {
        Statement::from_sql_and_values(self.backend, sql, self.values.clone())
    }
}

fn part(row: &QueryResult, of: &Counted) -> Result<Part, StoreError> {
    Ok(if !of.run_ids.is_empty() || !of.backfills.is_empty() {
        Part::Run(row.try_get_by_index(0)?)
    } else if of.every.is_some() {
        Part::Stretch(row.try_get_by_index(0)?)
    } else {
        Part::Whole
    })
}
