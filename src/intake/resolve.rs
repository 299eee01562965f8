use super::Intake;
use crate::{
    clock::Timestamp,
    contacts::{self, Contact, Verdict},
    customers, database,
    ids::ContactId,
    rpc::{Caller, Fault, Reason},
};

impl Intake {
    /// Settles a contact in doubt, or plans one that failed again. The same verdict again changes nothing.
    ///
    /// Its enrollment has gone on when the doubt arose, and does not go on a second time.
    pub async fn resolve_contact(
        &self,
        id: ContactId,
        verdict: Verdict,
        caller: &Caller,
        note: &str,
    ) -> Result<Contact, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer_id = contacts::find(&tx, id).await?.customer_id;
        customers::lock_any(&tx, customer_id).await?;
        let contact = contacts::lock(&tx, id).await?;
        if verdict.is_settled(&contact) {
            return Ok(contact);
        }
        check(&contact, verdict, now)?;
        let told = match note {
            "" => format!("resolved by {}", caller.as_str()),
            note => format!("resolved by {}: {note}", caller.as_str()),
        };
        contacts::resolve(&tx, &contact, verdict, &told, now).await?;
        let contact = contacts::find(&tx, id).await?;
        database::commit(tx).await?;
        if verdict == Verdict::SendAgain {
            self.dispatcher.ring_for(now);
        }
        Ok(contact)
    }
}

fn check(contact: &Contact, verdict: Verdict, now: Timestamp) -> Result<(), Fault> {
    let id = contact.contact_id;
    if !verdict.settles(contact.state) {
        let message = format!("contact {id} is {}: there is no doubt about it that this would settle", contact.state);
        return Err(Fault::refused(Reason::ContactNotInDoubt, id, message));
    }
    if verdict == Verdict::SendAgain && contact.expire_time <= now {
        let message = format!("contact {id} was too late from {} on: it cannot be sent again", contact.expire_time);
        return Err(Fault::refused(Reason::ContactExpired, id, message));
    }
    Ok(())
}
