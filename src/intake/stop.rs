use super::{Intake, called_off};
use crate::{
    campaigns::{EndCause, Enrollment, EnrollmentState, enrollments},
    contacts::{self, BlockReason, CallOff},
    customers, database,
    ids::EnrollmentId,
    rpc::{Fault, Reason},
};

impl Intake {
    /// Ends an enrollment on behalf of an operator, and calls off what it has planned. Doing it twice is harmless.
    pub async fn stop_enrollment(&self, id: EnrollmentId, reason: &str) -> Result<Enrollment, Fault> {
        let now = self.clock.now();
        let not_found = || Fault::refused(Reason::EnrollmentNotFound, id, format!("there is no enrollment {id}"));
        let tx = self.db.begin_write().await?;
        let customer_id = enrollments::find(&tx, id).await?.ok_or_else(not_found)?.customer_id;
        customers::lock_any(&tx, customer_id).await?;
        let mut enrollment = enrollments::lock(&tx, id).await?.ok_or_else(not_found)?;
        match enrollment.state {
            EnrollmentState::Active => {}
            EnrollmentState::Stopped => return Ok(enrollment),
            state @ (EnrollmentState::Completed | EnrollmentState::Exited) => {
                let message = format!("enrollment {id} is {state}: there is nothing to stop");
                return Err(Fault::refused(Reason::EnrollmentNotActive, id, message));
            }
        }
        enrollment.end(EnrollmentState::Stopped, Some(EndCause::Operator), now);
        enrollments::save(&tx, std::slice::from_ref(&enrollment)).await?;
        let detail = if reason.is_empty() { "an operator stopped its enrollment" } else { reason };
        contacts::cancel(&tx, CallOff::Enrollments(vec![id]), &called_off(BlockReason::Exited, detail), now).await?;
        database::commit(tx).await?;
        Ok(enrollment)
    }
}
