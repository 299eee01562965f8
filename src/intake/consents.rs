use super::{Intake, called_off};
use crate::{
    campaigns::{
        EndCause,
        enrollments::{self, Concerned},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff, Purpose},
    customers::{self, Customer},
    database::{self, WriteTx},
    delivery::Channel,
    ids::{AddressId, ConsentRecordId, CustomerId, TopicId},
    preferences::{
        self, Consent, ConsentAct, ConsentMethod, ConsentRecord, ConsentState, Judgement, OBJECTION, OptIn,
        Preferences, SILENCE, Standing, Topic, judge,
    },
    rpc::{Fault, Reason, Reply, RequestKey},
};

/// What a customer says about a topic.
#[derive(Debug, Clone)]
pub struct Statement {
    /// About which topic.
    pub topic_id: TopicId,
    /// On which channel.
    pub channel: Channel,
    /// A grant, or else a withdrawal.
    pub grant: bool,
    /// How.
    pub method: ConsentMethod,
    /// When; none = now.
    pub occur_time: Option<Timestamp>,
    /// The address that a grant is for; none = the primary one.
    pub address_id: Option<AddressId>,
}

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

impl Intake {
    /// Records what a customer says about a topic. A withdrawal takes effect in this transaction: it calls off what waits and
    /// ends what would plan more. Answers what holds, and how many contacts were called off.
    pub async fn set_consent(
        &self,
        customer_id: CustomerId,
        statement: Statement,
        key: Option<&RequestKey>,
    ) -> Result<Reply<(Consent, i64)>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let preferences = preferences::of(&tx, customer_id).await?;
            let consent = preferences.consent(&statement.topic_id, statement.channel).cloned();
            let canceled = first.counts.first().copied().unwrap_or_default();
            return Ok(Reply::replayed((
                consent.ok_or_else(|| preferences::topic_not_found(&statement.topic_id))?,
                canceled,
            )));
        }
        let customer = customers::lock(&tx, customer_id).await?;
        let topic = preferences::find_topic(&tx, &statement.topic_id).await?;
        let preferences = preferences::of(&tx, customer_id).await?;
        let (consent, canceled) = state(&tx, &customer, &topic, &preferences, &statement, now).await?;
        self.lift_suppressions(&tx, &customer, &topic, &statement, now).await?;
        if let Some(key) = key {
            key.finish(&tx, customer_id, &[canceled]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh((consent, canceled)))
    }

    /// Records that a customer wants no more of something, in one transaction with all that follows. Answers everything that
    /// the customer said, and how many contacts were called off.
    pub async fn unsubscribe(
        &self,
        customer_id: CustomerId,
        what: Unsubscription,
        method: ConsentMethod,
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
                    let topic_id = topic_id.clone();
                    let statement =
                        Statement { topic_id, channel, grant: false, method, occur_time: None, address_id: None };
                    canceled += state(&tx, &customer, &topic, &preferences, &statement, now).await?.1;
                }
                canceled
            }
            Unsubscription::Marketing => {
                preferences.objection_time = Some(now);
                object(&tx, &mut preferences, ConsentAct::Object, method, OBJECTION, now).await?
            }
            Unsubscription::Everything => {
                preferences.silence_time = Some(now);
                object(&tx, &mut preferences, ConsentAct::Silence, method, SILENCE, now).await?
            }
        };
        let preferences = preferences::of(&tx, customer_id).await?;
        database::commit(tx).await?;
        Ok((preferences, canceled))
    }
}

impl Intake {
    /// Whoever agrees anew, by an act of their own, may be written to again at the address that this is for.
    async fn lift_suppressions(
        &self,
        tx: &WriteTx,
        customer: &Customer,
        topic: &Topic,
        statement: &Statement,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let asked = statement.address_id.or_else(|| Some(customer.primary_address(statement.channel)?.address_id));
        let address = customer.addresses.iter().find(|address| Some(address.address_id) == asked);
        // What needs no consent is agreed to by nobody.
        let agrees = statement.grant && topic.opt_in != OptIn::None && statement.method.is_own_act();
        if let Some(address) = address.filter(|_| agrees) {
            let said = statement.occur_time.unwrap_or(now).min(now);
            preferences::lift_by_own_act(tx, &self.key, address, said, now).await?;
        }
        Ok(())
    }
}

/// Judges a statement, adds it to the ledger, and lets a withdrawal take effect.
async fn state(
    tx: &WriteTx,
    customer: &Customer,
    topic: &Topic,
    preferences: &Preferences,
    statement: &Statement,
    now: Timestamp,
) -> Result<(Consent, i64), Fault> {
    if statement.grant && topic.opt_in == OptIn::Double {
        let message =
            format!("topic {} demands a double opt-in, which this version does not offer yet", topic.topic_id);
        return Err(Fault::refused(Reason::DoubleOptInUnavailable, &topic.topic_id, message));
    }
    let act = if statement.grant { ConsentAct::Grant } else { ConsentAct::Withdraw };
    // What a caller's clock puts ahead of ours happened now: else it would outlive a withdrawal of this very moment.
    let occur_time = statement.occur_time.unwrap_or(now).min(now);
    let current = preferences.consent(&topic.topic_id, statement.channel);
    let standing = Standing { current, objects_since: preferences.objects_since(topic.purpose) };
    let judgement = judge(standing, act, statement.method, occur_time);
    if judgement == Judgement::WithdrawnBefore {
        let message = "the customer withdrew; only a later act of the customer's own lifts that";
        return Err(Fault::refused(Reason::ConsentWithdrawn, &topic.topic_id, message));
    }
    let record = ConsentRecord {
        record_id: ConsentRecordId::generate(),
        customer_id: customer.customer_id,
        act,
        scope: Some((topic.topic_id.clone(), statement.channel)),
        method: statement.method,
        address_id: address_of(customer, topic, statement)?,
        occur_time,
        record_time: now,
    };
    preferences::append(tx, &record).await?;
    if let (Judgement::Outdated, Some(current)) = (judgement, current) {
        return Ok((current.clone(), 0));
    }
    let consent = Consent {
        topic_id: topic.topic_id.clone(),
        channel: statement.channel,
        state: if statement.grant { ConsentState::Granted } else { ConsentState::Denied },
        method: statement.method,
        address_id: record.address_id,
        change_time: occur_time,
        record_id: record.record_id,
    };
    preferences::put_consent(tx, customer.customer_id, &consent).await?;
    let canceled = if statement.grant { 0 } else { stop_topic(tx, customer.customer_id, &consent, now).await? };
    Ok((consent, canceled))
}

/// The address that a grant binds to: only marketing and surveys bind.
fn address_of(customer: &Customer, topic: &Topic, statement: &Statement) -> Result<Option<AddressId>, Fault> {
    if let Some(asked) = statement.address_id
        && !customer.addresses.iter().any(|address| address.address_id == asked)
    {
        let message = format!("customer {} has no address {asked}", customer.customer_id);
        return Err(Fault::refused(Reason::AddressNotFound, asked, message));
    }
    if !statement.grant || !topic.purpose.needs_consent() {
        return Ok(None);
    }
    let primary = || customer.primary_address(statement.channel).map(|address| address.address_id);
    let address = statement.address_id.or_else(primary);
    let missing = || {
        let message = format!("the customer has no {} address that the consent could be for", statement.channel);
        Fault::refused(Reason::CustomerHasNoAddress, customer.customer_id, message)
    };
    Ok(Some(address.ok_or_else(missing)?))
}

async fn stop_topic(tx: &WriteTx, customer: CustomerId, consent: &Consent, now: Timestamp) -> Result<i64, Fault> {
    let topic = consent.topic_id.clone();
    let detail = format!("the customer opted out of {topic} ({})", consent.method);
    enrollments::end(tx, Concerned::Topic(customer, topic.clone()), EndCause::OptOut, now).await?;
    let which = CallOff::Topic(customer, topic, Some(consent.channel));
    let canceled = contacts::cancel(tx, which, &called_off(BlockReason::OptedOut, detail), now).await?;
    Ok(i64::try_from(canceled).unwrap_or(i64::MAX))
}

/// Stores an objection or silence as such, so that it covers topics that do not exist yet, and lets it take effect.
async fn object(
    tx: &WriteTx,
    preferences: &mut Preferences,
    act: ConsentAct,
    method: ConsentMethod,
    purposes: &'static [Purpose],
    now: Timestamp,
) -> Result<i64, Fault> {
    let customer = preferences.customer_id;
    preferences.revision += 1;
    preferences::save(tx, preferences, now).await?;
    let record = ConsentRecord {
        record_id: ConsentRecordId::generate(),
        customer_id: customer,
        act,
        scope: None,
        method,
        address_id: None,
        occur_time: now,
        record_time: now,
    };
    preferences::append(tx, &record).await?;
    let what = if act == ConsentAct::Silence { "asked for silence" } else { "objected to marketing" };
    let block = called_off(BlockReason::Objected, format!("the customer {what} ({method})"));
    enrollments::end(tx, Concerned::Purposes(customer, purposes), EndCause::OptOut, now).await?;
    let canceled = contacts::cancel(tx, CallOff::Purposes(customer, purposes), &block, now).await?;
    Ok(i64::try_from(canceled).unwrap_or(i64::MAX))
}
