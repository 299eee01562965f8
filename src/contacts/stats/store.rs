use sea_orm::{ConnectionTrait, FromQueryResult, Statement};

use super::{
    super::{Lane, Queue},
    LaneStats,
};
use crate::{clock::Timestamp, database::StoreError};

/// What is open of one kind in one queue.
#[derive(FromQueryResult)]
struct Row {
    queue: String,
    scheduled: i64,
    due: i64,
    sending: i64,
    unknown_outcome: i64,
    earliest: Option<Timestamp>,
}

/// How full each lane is, the most urgent first. One statement that reads only what is open, each kind from its own partial
/// index: what waits (of which the index says all), what somebody holds, what is in doubt.
pub async fn lane_stats(db: &impl ConnectionTrait, now: Timestamp) -> Result<[LaneStats; 3], StoreError> {
    let sql = "SELECT queue, count(*) AS scheduled, count(*) FILTER (WHERE due_time <= $1) AS due,
            0 AS sending, 0 AS unknown_outcome, min(due_time) AS earliest
        FROM contacts WHERE state = 'scheduled' GROUP BY queue
        UNION ALL SELECT queue, 0, 0, count(*), 0, NULL
        FROM contacts WHERE claim_token IS NOT NULL AND state = 'sending' GROUP BY queue
        UNION ALL SELECT queue, 0, 0, 0, count(*), NULL
        FROM contacts WHERE state = 'unknown_outcome' GROUP BY queue";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [now.into()]);
    let mut lanes = Lane::ALL.map(LaneStats::empty);
    for row in Row::find_by_statement(statement).all(db).await? {
        let wrong = |_| StoreError::Corrupt { table: "contacts", detail: format!("queue {:?}", row.queue) };
        let lane = row.queue.parse::<Queue>().map_err(wrong)?.lane;
        add(&mut lanes[lane.place()], &row, now);
    }
    Ok(lanes)
}

fn add(lane: &mut LaneStats, row: &Row, now: Timestamp) {
    lane.scheduled += row.scheduled;
    lane.due += row.due;
    lane.sending += row.sending;
    lane.unknown_outcome += row.unknown_outcome;
    let oldest = row.earliest.filter(|earliest| *earliest <= now);
    lane.oldest_due_time = [lane.oldest_due_time, oldest].into_iter().flatten().min();
}
