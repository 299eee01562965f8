use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::{Lane, LaneStats};
use crate::{clock::Timestamp, database::StoreError};

/// The lane of a row of `contacts`.
const LANE: &str = "CASE WHEN purpose = 'transactional' THEN '1'
    WHEN purpose = 'service' OR enrollment_id IS NOT NULL THEN '2' ELSE '3' END";

/// How full each lane is, the most important first. One statement that reads only what is open, each kind through its own
/// partial index: what waits, what somebody has claimed or is handing over, and what is in doubt.
pub async fn lanes(db: &impl ConnectionTrait, now: Timestamp) -> Result<[LaneStats; 3], StoreError> {
    let sql = format!(
        "WITH open AS (
            SELECT {LANE} AS lane, state, due_time FROM contacts WHERE state = 'scheduled' AND claim_token IS NULL
            UNION ALL SELECT {LANE}, state, due_time FROM contacts
                WHERE claim_token IS NOT NULL AND state IN ('scheduled', 'sending')
            UNION ALL SELECT {LANE}, state, due_time FROM contacts WHERE state = 'unknown_outcome')
        SELECT lane,
            count(*) FILTER (WHERE state = 'scheduled') AS scheduled,
            count(*) FILTER (WHERE state = 'scheduled' AND due_time <= $1) AS due,
            count(*) FILTER (WHERE state = 'sending') AS sending,
            count(*) FILTER (WHERE state = 'unknown_outcome') AS unknown_outcome,
            min(due_time) FILTER (WHERE state = 'scheduled' AND due_time <= $1) AS oldest_due_time
        FROM open GROUP BY lane"
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [now.into()]);
    let mut lanes = Lane::ALL.map(LaneStats::empty);
    for row in db.query_all_raw(statement).await? {
        let read = stats(&row)?;
        lanes.iter_mut().filter(|stats| stats.lane == read.lane).for_each(|stats| *stats = read);
    }
    Ok(lanes)
}

fn stats(row: &QueryResult) -> Result<LaneStats, StoreError> {
    Ok(LaneStats {
        lane: row.try_get("", "lane")?,
        scheduled: row.try_get("", "scheduled")?,
        due: row.try_get("", "due")?,
        sending: row.try_get("", "sending")?,
        unknown_outcome: row.try_get("", "unknown_outcome")?,
        oldest_due_time: row.try_get("", "oldest_due_time")?,
    })
}
