use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::called_off;
use crate::{
    calendar::Planned,
    campaigns::{
        EndCause,
        enrollments::{self, Concerned},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff, NewContact, Origin, PATIENCE, Purpose},
    customers::Customer,
    database::WriteTx,
    delivery::Channel,
    ids::{AddressId, ConsentRecordId, ContactId, CustomerId, TemplateId, TopicId, WordingId},
    preferences::{
        self, CONFIRMATION, Consent, ConsentAct, ConsentMethod, ConsentRecord, ConsentState, DataUse, Evidence,
        Judgement, OptIn, Preferences, Standing, Topic, judge,
    },
    rpc::{Fault, Reason, Violations},
    tokens::SecretKey,
};

/// How long a consent can be confirmed.
const CONFIRM_WITHIN: TimeDelta = TimeDelta::days(7);
/// How many mails ask for the confirmation of one consent within [`A_DAY`]: whoever types the addresses of others into forms must
/// not bother them.
const MOST_CONFIRMATIONS: u64 = 3;
const A_DAY: TimeDelta = TimeDelta::hours(24);

/// How a customer said something.
#[derive(Debug, Clone)]
pub struct Said {
    /// How.
    pub method: ConsentMethod,
    /// Who tells us, and what shows it.
    pub evidence: Evidence,
    /// The message whose link was followed.
    pub contact_id: Option<ContactId>,
    /// The mailbox that whoever said it has surely read: the link came from there.
    pub proven: Option<AddressId>,
}

/// What a customer says about a topic.
#[derive(Debug, Clone)]
pub struct Statement {
    /// About which topic.
    pub topic_id: TopicId,
    /// On which channel.
    pub channel: Channel,
    /// What for.
    pub data_use: DataUse,
    /// A grant, or else a withdrawal.
    pub grant: bool,
    /// How.
    pub said: Said,
    /// When; none = now.
    pub occur_time: Option<Timestamp>,
    /// When a grant is over by itself.
    pub expire_time: Option<Timestamp>,
    /// The address that a grant is for; none = the primary one.
    pub address_id: Option<AddressId>,
    /// The words that were agreed to.
    pub wording_id: Option<WordingId>,
}

/// What a statement came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stated {
    /// What holds now.
    pub consent: Consent,
    /// How many contacts were called off.
    pub canceled: i64,
    /// A mail asks to confirm it.
    pub confirmation_planned: bool,
    /// What was said that had not been so before; none = nothing new.
    pub news: Option<ConsentAct>,
}

impl Statement {
    /// A grant of messages, now.
    pub fn grant(topic_id: TopicId, channel: Channel, said: Said) -> Self {
        let (data_use, address_id) = (DataUse::Messages, said.proven);
        Self {
            topic_id,
            channel,
            data_use,
            grant: true,
            said,
            occur_time: None,
            expire_time: None,
            address_id,
            wording_id: None,
        }
    }

    /// A withdrawal from messages, now.
    pub fn withdrawal(topic_id: TopicId, channel: Channel, said: Said) -> Self {
        Self { grant: false, address_id: None, ..Self::grant(topic_id, channel, said) }
    }
}

/// Judges a statement, adds it to the ledger, and lets it take effect.
pub(super) async fn state(
    tx: &WriteTx,
    key: &SecretKey,
    customer: &Customer,
    topic: &Topic,
    preferences: &Preferences,
    statement: &Statement,
    now: Timestamp,
) -> Result<Stated, Fault> {
    let current = preferences.consent_to(&topic.topic_id, statement.channel, statement.data_use);
    let address_id = address_of(customer, topic, statement)?;
    let objects_since = preferences.objects_since(topic.purpose);
    let confirmed = is_confirmed(topic, statement, address_id);
    let holds = holds(current, objects_since, address_id, now);
    let act = act(statement, confirmed || holds);
    check(tx, topic, statement, act).await?;
    // What a caller's clock puts ahead of ours happened now: else it would outlive a withdrawal of this very moment.
    let occur_time = statement.occur_time.unwrap_or(now).min(now);
    let standing = Standing { current, objects_since };
    let judgement = judge(standing, act, statement.said.method, occur_time);
    if judgement == Judgement::WithdrawnBefore {
        let message = "the customer withdrew; only a later act of the customer's own lifts that";
        return Err(Fault::refused(Reason::ConsentWithdrawn, &topic.topic_id, message));
    }
    let from_state = current.map(|consent| consent.state_at(now));
    let to_state = match (judgement, act, from_state) {
        (Judgement::Outdated, _, Some(stands)) => stands,
        (_, ConsentAct::Grant, _) => ConsentState::Granted,
        // What was decided stays until the request is confirmed.
        (_, ConsentAct::Request, Some(stands @ (ConsentState::Granted | ConsentState::Denied))) => stands,
        (_, ConsentAct::Request, _) => ConsentState::Pending,
        _ => ConsentState::Denied,
    };
    let asked_by = match act {
        ConsentAct::Request => ask_to_confirm(tx, customer, topic, statement, address_id, now).await?,
        _ => None,
    };
    let expire_time = if act == ConsentAct::Request { Some(now + CONFIRM_WITHIN) } else { statement.expire_time };
    let record = ConsentRecord {
        record_id: ConsentRecordId::generate(),
        customer_id: customer.customer_id,
        act,
        scope: Some((topic.topic_id.clone(), statement.channel)),
        data_use: statement.data_use,
        from_state,
        to_state,
        method: statement.said.method,
        address_id,
        wording_id: statement.wording_id,
        evidence_digest: None,
        expire_time,
        contact_id: if act == ConsentAct::Request { asked_by } else { statement.said.contact_id },
        occur_time,
        record_time: now,
    };
    let record = preferences::append(tx, record, &statement.said.evidence).await?;
    let confirmation_planned = asked_by.is_some();
    // What nobody confirmed changes nothing of what was: not even since when it is so, which a withdrawal may ask for that comes late.
    let unconfirmed = statement.grant && !confirmed && to_state != ConsentState::Pending;
    if let (true, Some(current)) = (judgement == Judgement::Outdated || unconfirmed, current) {
        return Ok(Stated { consent: current.clone(), canceled: 0, confirmation_planned, news: None });
    }
    let consent = Consent {
        topic_id: topic.topic_id.clone(),
        channel: statement.channel,
        data_use: statement.data_use,
        state: to_state,
        method: statement.said.method,
        address_id,
        wording_id: statement.wording_id,
        change_time: occur_time,
        expire_time,
        record_id: record.record_id,
    };
    preferences::put_consent(tx, customer.customer_id, &consent).await?;
    let canceled = take_effect(tx, key, customer, topic, &consent, confirmed, now).await?;
    let news = Some(act).filter(|_| from_state != Some(to_state));
    Ok(Stated { consent, canceled, confirmation_planned, news })
}

/// What a statement is: a grant that a topic wants confirmed is only a request until it is, unless it holds already.
fn act(statement: &Statement, confirmed: bool) -> ConsentAct {
    match (statement.grant, confirmed) {
        (false, _) => ConsentAct::Withdraw,
        (true, true) => ConsentAct::Grant,
        (true, false) => ConsentAct::Request,
    }
}

/// Whether nobody else can have said it: it came from the mailbox in question, or the topic does not ask for that.
fn is_confirmed(topic: &Topic, statement: &Statement, address_id: Option<AddressId>) -> bool {
    let said = &statement.said;
    let proven = said.proven.is_some() && (address_id.is_none() || said.proven == address_id);
    let asks = topic.opt_in == OptIn::Double && statement.data_use == DataUse::Messages;
    !asks || proven || said.method == ConsentMethod::DoubleOptIn
}

/// Whether what is granted holds already: for this address, and newer than an objection.
fn holds(
    current: Option<&Consent>,
    objects_since: Option<Timestamp>,
    address_id: Option<AddressId>,
    now: Timestamp,
) -> bool {
    current.is_some_and(|consent| {
        consent.state_at(now) == ConsentState::Granted
            && consent.address_id == address_id
            && objects_since.is_none_or(|since| consent.change_time > since)
    })
}

/// Refuses what cannot be said about a topic.
async fn check(tx: &WriteTx, topic: &Topic, statement: &Statement, act: ConsentAct) -> Result<(), Fault> {
    if let Some(id) = statement.wording_id
        && preferences::find_wording(tx, id).await?.topic_id != topic.topic_id
    {
        let message = format!("wording {id} is about another topic than {}", topic.topic_id);
        return Err(Fault::refused(Reason::WordingNotFound, id, message));
    }
    if statement.grant { check_grant(topic, statement, act) } else { Ok(()) }
}

/// Refuses a grant that cannot be given about a topic.
pub(super) fn check_grant(topic: &Topic, statement: &Statement, act: ConsentAct) -> Result<(), Fault> {
    topic.check_open()?;
    let mut violations = Violations::default();
    if topic.opt_in == OptIn::Soft && !statement.said.method.is_own_act() {
        if statement.said.evidence.text.is_empty() {
            violations
                .add("evidence", "is required for a soft opt-in: what the customer bought, and where they were told");
        }
        if statement.expire_time.is_none() {
            violations.add("expireTime", "is required for a soft opt-in: when it is over by itself");
        }
    }
    if act == ConsentAct::Request && statement.expire_time.is_some() {
        violations.add("expireTime", "must be absent for a double opt-in topic: its grants have no end");
    }
    violations.check()
}

/// The address that a grant binds to: only marketing and surveys bind.
pub(super) fn address_of(
    customer: &Customer,
    topic: &Topic,
    statement: &Statement,
) -> Result<Option<AddressId>, Fault> {
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

/// Plans the mail that asks to confirm a consent, unless enough of them were planned. It goes to the address in question only.
async fn ask_to_confirm(
    tx: &WriteTx,
    customer: &Customer,
    topic: &Topic,
    statement: &Statement,
    address_id: Option<AddressId>,
    now: Timestamp,
) -> Result<Option<ContactId>, Fault> {
    let asked = preferences::count_requests(tx, customer.customer_id, &topic.topic_id, now - A_DAY).await?;
    if asked >= MOST_CONFIRMATIONS {
        return Ok(None);
    }
    let policy = preferences::policy(tx).await?;
    let locale = customer.locale.as_ref().unwrap_or(&policy.default_locale);
    let words = match statement.wording_id {
        Some(id) => preferences::find_wording(tx, id).await?.text,
        None => String::new(),
    };
    let primary = || Some(customer.primary_address(statement.channel)?.address_id);
    let contact = NewContact {
        customer_id: customer.customer_id,
        origin: Origin::AdHoc,
        topic_id: TopicId::from_stored(CONFIRMATION.to_owned()),
        purpose: Purpose::Transactional,
        channel: statement.channel,
        address_id: address_id.or_else(primary),
        template_id: TemplateId::from_stored(CONFIRMATION.to_owned()),
        variant_id: None,
        data: Map::from_iter([
            ("topic".to_owned(), Value::from(topic.name(locale))),
            ("wording".to_owned(), Value::from(words)),
        ]),
        dedupe_key: None,
        planned: Planned { instant: now, local: None },
        zone: customer.time_zone.unwrap_or(policy.time_zone),
        expire_time: now + PATIENCE,
    };
    let contact = contact.plan(now);
    contacts::insert(tx, std::slice::from_ref(&contact)).await?;
    Ok(Some(contact.contact_id))
}

/// A withdrawal calls off what waits; a grant has what waited for it asked about again, and whoever agrees anew, by an act of their
/// own, may be written to again at the address that this is for.
async fn take_effect(
    tx: &WriteTx,
    key: &SecretKey,
    customer: &Customer,
    topic: &Topic,
    consent: &Consent,
    confirmed: bool,
    now: Timestamp,
) -> Result<i64, Fault> {
    if consent.data_use != DataUse::Messages {
        return Ok(0);
    }
    match consent.state {
        ConsentState::Denied => stop_topic(tx, customer.customer_id, consent, now).await,
        ConsentState::Granted => {
            contacts::ask_again(tx, &[customer.customer_id]).await?;
            let asked = consent.address_id.or_else(|| Some(customer.primary_address(consent.channel)?.address_id));
            let address = customer.addresses.iter().find(|address| Some(address.address_id) == asked);
            // What needs no consent is agreed to by nobody.
            let agrees = topic.opt_in != OptIn::None && consent.method.is_own_act() && confirmed;
            if let Some(address) = address.filter(|_| agrees) {
                preferences::lift_by_own_act(tx, key, address, consent.change_time, now).await?;
            }
            Ok(0)
        }
        ConsentState::Pending | ConsentState::Expired => Ok(0),
    }
}

/// Ends what a withdrawal ends, and calls off what waits.
pub(super) async fn stop_topic(
    tx: &WriteTx,
    customer: CustomerId,
    consent: &Consent,
    now: Timestamp,
) -> Result<i64, Fault> {
    let topic = consent.topic_id.clone();
    let detail = format!("the customer opted out of {topic} ({})", consent.method);
    enrollments::end(tx, Concerned::Topic(customer, topic.clone()), EndCause::OptOut, now).await?;
    let which = CallOff::Topic(customer, topic, Some(consent.channel));
    let canceled = contacts::cancel(tx, which, &called_off(BlockReason::OptedOut, detail), now).await?;
    Ok(i64::try_from(canceled).unwrap_or(i64::MAX))
}

/// Stores an objection or silence as such, so that it covers topics that do not exist yet, and lets it take effect.
pub(super) async fn object(
    tx: &WriteTx,
    preferences: &mut Preferences,
    act: ConsentAct,
    said: &Said,
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
        data_use: DataUse::Messages,
        from_state: None,
        to_state: ConsentState::Denied,
        method: said.method,
        address_id: None,
        wording_id: None,
        evidence_digest: None,
        expire_time: None,
        contact_id: said.contact_id,
        occur_time: now,
        record_time: now,
    };
    preferences::append(tx, record, &said.evidence).await?;
    let what = if act == ConsentAct::Silence { "asked for silence" } else { "objected to marketing" };
    let block = called_off(BlockReason::Objected, format!("the customer {what} ({})", said.method));
    enrollments::end(tx, Concerned::Purposes(customer, purposes), EndCause::OptOut, now).await?;
    let canceled = contacts::cancel(tx, CallOff::Purposes(customer, purposes), &block, now).await?;
    Ok(i64::try_from(canceled).unwrap_or(i64::MAX))
}
