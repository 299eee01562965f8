//! What customers say through their mail programs: complaints and unsubscriptions that came back, in the transaction that records
//! them.

use super::{
    Intake,
    happenings::Starts,
    statement::{Said, Statement, object, state},
};
use crate::{
    clock::Timestamp,
    customers::Customer,
    database::WriteTx,
    ids::TopicId,
    preferences::{self, ConsentAct, OBJECTION},
    rpc::Fault,
};

/// Records that a customer, whose row is locked, wants no marketing; who objected before may have agreed to something since.
pub async fn object_to_marketing(tx: &WriteTx, customer: &Customer, said: &Said, now: Timestamp) -> Result<(), Fault> {
    let mut preferences = preferences::of(tx, customer.customer_id).await?;
    preferences.objection_time = Some(now);
    object(tx, &mut preferences, ConsentAct::Object, said, OBJECTION, now).await.map(drop)
}

impl Intake {
    /// Records that a customer, whose row is locked, wants no more of a topic on any channel.
    pub async fn opt_out(
        &self,
        tx: &WriteTx,
        customer: &Customer,
        topic_id: &TopicId,
        said: &Said,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let topic = preferences::find_topic(tx, topic_id).await?;
        for channel in topic.channels.clone() {
            let preferences = preferences::of(tx, customer.customer_id).await?;
            if preferences.opt_out(topic_id, channel).is_none() {
                let statement = Statement::withdrawal(topic_id.clone(), channel, said.clone());
                let stated = state(tx, &self.key, customer, &topic, &preferences, &statement, now).await?;
                self.tell_said(tx, customer, said, &stated, Starts::Everything, now).await?;
            }
        }
        Ok(())
    }
}
