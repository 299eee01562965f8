use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::super::{super::entity::passed_step, PassedStep};
use crate::{
    database::{StoreError, WriteTx},
    ids::EnrollmentId,
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;

/// Keeps what became of steps without a contact.
pub async fn insert(tx: &WriteTx, passed: &[PassedStep]) -> Result<(), StoreError> {
    for some in passed.chunks(AT_ONCE) {
        let rows = some.iter().map(|one| passed_step::ActiveModel {
            enrollment_id: Set(one.enrollment_id),
            step_id: Set(one.step_id.clone()),
            outcome: Set(one.outcome),
            event_id: Set(one.event_id),
            end_time: Set(one.end_time),
        });
        passed_step::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// What became of the steps of these enrollments that had no contact, in the order in which they ended.
pub async fn of(
    db: &impl ConnectionTrait,
    ids: &[EnrollmentId],
) -> Result<HashMap<EnrollmentId, Vec<PassedStep>>, StoreError> {
    let mut passed: HashMap<EnrollmentId, Vec<PassedStep>> = HashMap::new();
    if ids.is_empty() {
        return Ok(passed);
    }
    let query = passed_step::Entity::find()
        .filter(passed_step::Column::EnrollmentId.is_in(ids.iter().copied()))
        .order_by_asc(passed_step::Column::EndTime)
        .order_by_asc(passed_step::Column::StepId);
    for row in query.all(db).await? {
        passed.entry(row.enrollment_id).or_default().push(PassedStep {
            enrollment_id: row.enrollment_id,
            step_id: row.step_id,
            outcome: row.outcome,
            event_id: row.event_id,
            end_time: row.end_time,
        });
    }
    Ok(passed)
}
