use super::{Intake, called_off};
use crate::{
    campaigns::enrollments,
    contacts::{self, BlockReason, CallOff, Contact, ContactState},
    customers, database,
    ids::ContactId,
    rpc::{Fault, Reason, check_etag},
};

impl Intake {
    /// Calls a waiting contact off; its enrollment goes on with the next step. Doing it twice is harmless.
    pub async fn cancel_contact(&self, id: ContactId, reason: &str, etag: &str) -> Result<Contact, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer_id = contacts::find(&tx, id).await?.customer_id;
        customers::lock_any(&tx, customer_id).await?;
        let contact = contacts::lock(&tx, id).await?;
        check_etag(etag, contact.revision, id)?;
        match contact.state {
            ContactState::Canceled => return Ok(contact),
            ContactState::Scheduled => {}
            state => {
                let message = format!("contact {id} is {state}: only one that waits can be canceled");
                return Err(Fault::refused(Reason::ContactNotScheduled, id, message));
            }
        }
        let detail = if reason.is_empty() { "an operator canceled it" } else { reason };
        contacts::cancel(&tx, CallOff::Contact(id), &called_off(BlockReason::Canceled, detail), now).await?;
        let planned = enrollments::advance(&tx, &self.plans, contact.step.as_slice(), now).await?;
        let contact = contacts::find(&tx, id).await?;
        database::commit(tx).await?;
        for next in planned {
            self.dispatcher.ring_for(next.due_time);
        }
        Ok(contact)
    }
}
