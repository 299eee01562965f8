use super::{Intake, Said, Statement, Unsubscription};
use crate::{
    customers, database,
    ids::CustomerId,
    preferences::{ConsentAct, ConsentMethod, ConsentRecord, Evidence},
    rpc::Fault,
};

impl Intake {
    /// Has a customer be there from now on who was copied before they came, as if a call created them: for rehearsals.
    pub async fn come_again(&self, id: CustomerId) -> Result<(), Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        customers::come(&tx, id).await?;
        let zone = customers::zones(&tx, &[id]).await?.remove(&id);
        self.tell_created(&tx, id, zone, now).await?;
        database::commit(tx).await?;
        self.dispatcher.ring();
        self.journeys.ring();
        Ok(())
    }

    /// Records now what another ledger says, as if the customer said it again: for rehearsals. False where it would be refused by
    /// now, as the address is not there any more or the topic takes nothing.
    pub async fn say_again(&self, record: &ConsentRecord) -> Result<bool, Fault> {
        let said = said(record);
        let outcome = match (record.act, &record.scope) {
            (ConsentAct::Object, _) => {
                self.unsubscribe(record.customer_id, Unsubscription::Marketing, &said).await.map(drop)
            }
            (ConsentAct::Silence, _) => {
                self.unsubscribe(record.customer_id, Unsubscription::Everything, &said).await.map(drop)
            }
            (ConsentAct::Request | ConsentAct::Grant | ConsentAct::Withdraw, None) => return Ok(false),
            (act, Some((topic_id, channel))) => {
                let statement = Statement {
                    topic_id: topic_id.clone(),
                    channel: *channel,
                    data_use: record.data_use,
                    grant: act != ConsentAct::Withdraw,
                    said,
                    occur_time: Some(record.occur_time),
                    // A request ends by itself.
                    expire_time: record.expire_time.filter(|_| act != ConsentAct::Request),
                    address_id: record.address_id,
                    wording_id: record.wording_id,
                };
                self.set_consent(record.customer_id, statement, None).await.map(drop)
            }
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(Fault::Store(error)) => Err(error.into()),
            Err(Fault::Invalid(_) | Fault::Refused(_)) => Ok(false),
        }
    }
}

fn said(record: &ConsentRecord) -> Said {
    // Whoever followed a link reads the mailbox that it was sent to.
    let from_mailbox =
        record.act == ConsentAct::Grant && (record.contact_id.is_some() || record.method == ConsentMethod::DoubleOptIn);
    Said {
        method: record.method,
        evidence: Evidence::new("rapport", "what was recorded before"),
        contact_id: record.contact_id.filter(|_| record.act != ConsentAct::Request),
        proven: record.address_id.filter(|_| from_mailbox),
    }
}
