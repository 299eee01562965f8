use super::{Intake, check_waits};
use crate::{
    clock::Timestamp,
    contacts::{self, Contact},
    customers, database,
    ids::ContactId,
    rpc::{Fault, Violations, check_etag},
};

impl Intake {
    /// Plans a waiting contact for another moment; its expiry stays.
    pub async fn reschedule_contact(&self, id: ContactId, due: Timestamp, etag: &str) -> Result<Contact, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer_id = contacts::find(&tx, id).await?.customer_id;
        customers::lock_any(&tx, customer_id).await?;
        let contact = contacts::lock(&tx, id).await?;
        check_etag(etag, contact.revision, id)?;
        check_waits(&contact, "rescheduled")?;
        let mut violations = Violations::default();
        if due >= contact.expire_time {
            violations.add("dueTime", format!("must be before the contact's expireTime, {}", contact.expire_time));
        }
        violations.check()?;
        contacts::reschedule(&tx, id, due, now).await?;
        let contact = contacts::find(&tx, id).await?;
        database::commit(tx).await?;
        self.dispatcher.ring_for(due);
        Ok(contact)
    }
}
