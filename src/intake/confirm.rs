use super::{
    Intake,
    happenings::Starts,
    statement::{Said, Statement, state},
};
use crate::{
    customers, database,
    ids::ContactId,
    preferences::{self, Consent, ConsentMethod, ConsentRecord, DataUse, Evidence},
    rpc::{Fault, Reason},
};

impl Intake {
    /// Confirms the consent that a contact asked to confirm. A link works once: whoever withdrew after it was used is not taken to
    /// agree again.
    pub async fn confirm_consent(&self, contact_id: ContactId, evidence: Evidence) -> Result<Consent, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let request = preferences::find_request(&tx, contact_id).await?.ok_or_else(|| nothing_behind(contact_id))?;
        let customer = customers::lock(&tx, request.customer_id).await?;
        let (topic_id, channel) = request.scope.clone().ok_or_else(|| nothing_behind(contact_id))?;
        let topic = preferences::find_topic(&tx, &topic_id).await?;
        let preferences = preferences::of(&tx, request.customer_id).await?;
        if preferences::is_confirmed(&tx, contact_id).await? {
            let consent = preferences.consent_to(&topic_id, channel, DataUse::Messages).cloned();
            return consent.ok_or_else(|| nothing_behind(contact_id));
        }
        if request.expire_time.is_some_and(|expire| expire <= now) {
            let message = "the time in which this could be confirmed is over";
            return Err(Fault::refused(Reason::ConfirmationExpired, contact_id, message));
        }
        let method = ConsentMethod::DoubleOptIn;
        let said = Said { method, evidence, contact_id: Some(contact_id), proven: request.address_id };
        let wording_id = request.wording_id;
        let statement = Statement { wording_id, ..Statement::grant(topic_id, channel, said) };
        let stated = state(&tx, &self.key, &customer, &topic, &preferences, &statement, now).await?;
        self.tell_said(&tx, &customer, &statement.said, &stated, Starts::Everything, now).await?;
        let confirmed = customer.addresses.iter().find(|address| Some(address.address_id) == request.address_id);
        if let Some(address) = confirmed {
            customers::verify_locked(&tx, &customer, address.address_id, now).await?;
        }
        database::commit(tx).await?;
        self.dispatcher.ring();
        self.journeys.ring();
        Ok(stated.consent)
    }

    /// What a contact asked to confirm.
    pub async fn request_of(&self, contact_id: ContactId) -> Result<ConsentRecord, Fault> {
        preferences::find_request(self.db.reader(), contact_id).await?.ok_or_else(|| nothing_behind(contact_id))
    }
}

fn nothing_behind(contact_id: ContactId) -> Fault {
    Fault::refused(Reason::LinkInvalid, contact_id, "there is nothing to confirm behind this link")
}
