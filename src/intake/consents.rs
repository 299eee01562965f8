use super::{
    Intake,
    happenings::Starts,
    statement::{Said, Stated, Statement, object, state},
};
use crate::{
    clock::Timestamp,
    customers::{self, Customer},
    database::{self, WriteTx},
    delivery::Channel,
    ids::{CustomerId, TopicId},
    preferences::{self, ConsentAct, ConsentState, OBJECTION, PreferenceChange, Preferences, SILENCE},
    rpc::{Fault, Reply, RequestKey},
    tokens::SecretKey,
};

/// What a customer wants no more of.
#[derive(Debug, Clone)]
pub enum Unsubscription {
    /// A topic, on a channel (none = on every one).
    Topic(TopicId, Option<Channel>),
    /// All marketing and surveys.
    Marketing,
    /// Everything but transactional mail.
    Everything,
}

/// What a customer chose on the preference page, all at once.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Topics that are wanted from now on, or not any more; others stay as they are.
    pub topics: Vec<(TopicId, bool)>,
    /// Nothing that is noticed of opened messages and followed links is to be noticed any more.
    pub untracked: bool,
    /// Quiet hours, caps and snooze.
    pub change: PreferenceChange,
}

impl Intake {
    /// Records what a customer says about a topic. A withdrawal takes effect in this transaction: it calls off what waits and
    /// ends what would plan more.
    pub async fn set_consent(
        &self,
        customer_id: CustomerId,
        statement: Statement,
        key: Option<&RequestKey>,
    ) -> Result<Reply<Stated>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let preferences = preferences::of(&tx, customer_id).await?;
            let consent = preferences.consent_to(&statement.topic_id, statement.channel, statement.data_use).cloned();
            let count = |place| first.counts.get(place).copied().unwrap_or_default();
            return Ok(Reply::replayed(Stated {
                consent: consent.ok_or_else(|| preferences::topic_not_found(&statement.topic_id))?,
                canceled: count(0),
                confirmation_planned: count(1) == 1,
                news: None,
            }));
        }
        let customer = customers::lock(&tx, customer_id).await?;
        let topic = preferences::find_topic(&tx, &statement.topic_id).await?;
        let preferences = preferences::of(&tx, customer_id).await?;
        let stated = state(&tx, &self.key, &customer, &topic, &preferences, &statement, now).await?;
        self.tell_said(&tx, &customer, &statement.said, &stated, Starts::Everything, now).await?;
        if let Some(key) = key {
            key.finish(&tx, customer_id, &[stated.canceled, i64::from(stated.confirmation_planned)]).await?;
        }
        database::commit(tx).await?;
        if stated.confirmation_planned || stated.consent.state == ConsentState::Granted {
            self.dispatcher.ring();
            self.journeys.ring();
        }
        Ok(Reply::fresh(stated))
    }

    /// Records that a customer wants no more of something, in one transaction with all that follows. Answers everything that
    /// the customer said, and how many contacts were called off.
    pub async fn unsubscribe(
        &self,
        customer_id: CustomerId,
        what: Unsubscription,
        said: &Said,
    ) -> Result<(Preferences, i64), Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer = customers::lock(&tx, customer_id).await?;
        let mut preferences = preferences::of(&tx, customer_id).await?;
        let canceled = match what {
            Unsubscription::Topic(topic_id, channel) => {
                let topic = preferences::find_topic(&tx, &topic_id).await?;
                let channels = channel.map_or(topic.channels.clone(), |channel| vec![channel]);
                let mut canceled = 0;
                for channel in channels {
                    // Who presses a button twice says nothing new.
                    if said.contact_id.is_some() && preferences.opt_out(&topic_id, channel).is_some() {
                        continue;
                    }
                    let statement = Statement::withdrawal(topic_id.clone(), channel, said.clone());
                    let stated = state(&tx, &self.key, &customer, &topic, &preferences, &statement, now).await?;
                    self.tell_said(&tx, &customer, said, &stated, Starts::Everything, now).await?;
                    canceled += stated.canceled;
                }
                canceled
            }
            Unsubscription::Marketing => {
                preferences.objection_time = Some(now);
                object(&tx, &mut preferences, ConsentAct::Object, said, OBJECTION, now).await?
            }
            Unsubscription::Everything => {
                preferences.silence_time = Some(now);
                object(&tx, &mut preferences, ConsentAct::Silence, said, SILENCE, now).await?
            }
        };
        let preferences = preferences::of(&tx, customer_id).await?;
        database::commit(tx).await?;
        Ok((preferences, canceled))
    }

    /// Records what a customer chose on the preference page, in one transaction with all that follows.
    pub async fn choose(&self, customer_id: CustomerId, choices: Choices, said: &Said) -> Result<(), Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer = customers::lock(&tx, customer_id).await?;
        let (grants, withdrawals): (Vec<_>, Vec<_>) = choices.topics.into_iter().partition(|(_, wanted)| *wanted);
        for (topic_id, wanted) in withdrawals.into_iter().chain(grants) {
            let topic = preferences::find_topic(&tx, &topic_id).await?;
            let preferences = preferences::of(&tx, customer_id).await?;
            for channel in topic.channels.clone() {
                if preferences.wants(&topic, channel, &customer.addresses, now) == wanted {
                    continue;
                }
                let statement = match wanted {
                    true => Statement::grant(topic_id.clone(), channel, said.clone()),
                    false => Statement::withdrawal(topic_id.clone(), channel, said.clone()),
                };
                match state(&tx, &self.key, &customer, &topic, &preferences, &statement, now).await {
                    // What cannot be granted any more keeps nobody from withdrawing the rest.
                    Err(Fault::Refused(_)) if wanted => {}
                    done => self.tell_said(&tx, &customer, said, &done?, Starts::Everything, now).await?,
                }
            }
        }
        if choices.untracked {
            stop_tracking(&tx, &self.key, &customer, said, now).await?;
        }
        preferences::change(&tx, customer_id, choices.change, now).await?;
        database::commit(tx).await?;
        self.dispatcher.ring();
        self.journeys.ring();
        Ok(())
    }
}

/// Withdraws every consent to notice what is done with messages.
async fn stop_tracking(
    tx: &WriteTx,
    key: &SecretKey,
    customer: &Customer,
    said: &Said,
    now: Timestamp,
) -> Result<(), Fault> {
    let preferences = preferences::of(tx, customer.customer_id).await?;
    for consent in preferences.tracking(now) {
        let topic = preferences::find_topic(tx, &consent.topic_id).await?;
        let withdrawal = Statement::withdrawal(consent.topic_id.clone(), consent.channel, said.clone());
        let statement = Statement { data_use: consent.data_use, ..withdrawal };
        state(tx, key, customer, &topic, &preferences, &statement, now).await?;
    }
    Ok(())
}
