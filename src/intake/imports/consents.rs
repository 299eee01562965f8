use std::collections::{BTreeSet, HashMap};

use super::super::statement::{Said, Statement, address_of, check_grant, stop_topic};
use crate::{
    clock::Timestamp,
    contacts,
    customers::{Customer, CustomerBatch},
    database::{StoreError, WriteTx},
    delivery::Channel,
    ids::{ConsentRecordId, CustomerId, TopicId, WordingId},
    preferences::{
        self, Consent, ConsentAct, ConsentMethod, ConsentRecord, ConsentState, DataUse, Evidence, Judgement, OptIn,
        Preferences, Standing, Topic, judge,
    },
    rpc::{Fault, Reason, Violations},
};

/// What a customer said about a topic, as another system knows it.
#[derive(Debug, Clone)]
pub struct ImportedConsent {
    /// About which topic.
    pub topic_id: TopicId,
    /// On which channel.
    pub channel: Channel,
    /// A grant, or else a withdrawal.
    pub grant: bool,
    /// What shows it.
    pub evidence: String,
    /// When it was said; none = now.
    pub occur_time: Option<Timestamp>,
    /// When a grant is over by itself.
    pub expire_time: Option<Timestamp>,
    /// The words that were agreed to.
    pub wording_id: Option<WordingId>,
    /// It was confirmed from the mailbox.
    pub confirmed: bool,
}

/// What became of what a customer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It stands in the ledger now.
    Recorded,
    /// It held already, or something that was said later stands.
    Unchanged,
}

/// What the customers of a lot said: read at once, judged in memory, written at once.
pub struct Ledger<'a> {
    actor: &'a str,
    now: Timestamp,
    topics: HashMap<TopicId, Topic>,
    wordings: HashMap<WordingId, TopicId>,
    preferences: HashMap<CustomerId, Preferences>,
    /// Those for whom something may be planned.
    known: BTreeSet<CustomerId>,
    new: Vec<(ConsentRecord, Evidence)>,
    changed: HashMap<(CustomerId, TopicId, Channel), Consent>,
}

impl<'a> Ledger<'a> {
    /// Reads what is known of these customers, topics and wordings.
    pub async fn open(
        tx: &WriteTx,
        batch: &CustomerBatch,
        said: &[(CustomerId, &[ImportedConsent])],
        actor: &'a str,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let all = || said.iter().flat_map(|(_, consents)| *consents);
        let topics: BTreeSet<TopicId> = all().map(|consent| consent.topic_id.clone()).collect();
        let wordings: BTreeSet<WordingId> = all().filter_map(|consent| consent.wording_id).collect();
        let known = said.iter().map(|(id, _)| *id).filter(|id| batch.before(*id).is_some()).collect::<BTreeSet<_>>();
        let ids: Vec<CustomerId> = known.iter().copied().collect();
        Ok(Self {
            actor,
            now,
            topics: if topics.is_empty() { HashMap::new() } else { preferences::load_topics(tx, topics).await? },
            wordings: preferences::topics_of_wordings(tx, wordings).await?,
            preferences: if ids.is_empty() { HashMap::new() } else { preferences::load(tx, &ids).await? },
            known,
            new: Vec::new(),
            changed: HashMap::new(),
        })
    }

    /// Judges what a customer said.
    pub fn note(&mut self, customer: &Customer, said: &ImportedConsent) -> Result<Noted, Fault> {
        let topic = self.topics.get(&said.topic_id).ok_or_else(|| preferences::topic_not_found(&said.topic_id))?;
        let statement = self.statement(said);
        let address_id = address_of(customer, topic, &statement)?;
        self.check(topic, &statement, said)?;
        let occur_time = said.occur_time.unwrap_or(self.now).min(self.now);
        let preferences = self.preferences.entry(customer.customer_id);
        let preferences = preferences.or_insert_with(|| Preferences::none(customer.customer_id));
        let current = preferences.consent(&topic.topic_id, said.channel);
        let objects_since = preferences.objects_since(topic.purpose);
        if stands(current, objects_since, customer, topic, said.grant, self.now) {
            return Ok(Noted::Unchanged);
        }
        let act = if said.grant { ConsentAct::Grant } else { ConsentAct::Withdraw };
        let standing = Standing { current, objects_since };
        match judge(standing, act, ConsentMethod::Import, occur_time) {
            Judgement::Holds => {}
            Judgement::Outdated => return Ok(Noted::Unchanged),
            Judgement::WithdrawnBefore => {
                let message = "the customer withdrew or objected; no import lifts that";
                return Err(Fault::refused(Reason::ConsentWithdrawn, &topic.topic_id, message));
            }
        }
        let to_state = if said.grant { ConsentState::Granted } else { ConsentState::Denied };
        let record = ConsentRecord {
            record_id: ConsentRecordId::generate(),
            customer_id: customer.customer_id,
            act,
            scope: Some((topic.topic_id.clone(), said.channel)),
            data_use: DataUse::Messages,
            from_state: current.map(|consent| consent.state_at(self.now)),
            to_state,
            method: ConsentMethod::Import,
            address_id,
            wording_id: said.wording_id,
            evidence_digest: None,
            expire_time: said.expire_time,
            contact_id: None,
            occur_time,
            record_time: self.now,
        };
        let consent = Consent {
            topic_id: topic.topic_id.clone(),
            channel: said.channel,
            data_use: DataUse::Messages,
            state: to_state,
            method: ConsentMethod::Import,
            address_id,
            wording_id: said.wording_id,
            change_time: occur_time,
            expire_time: said.expire_time,
            record_id: record.record_id,
        };
        preferences.put(consent.clone());
        self.changed.insert((customer.customer_id, topic.topic_id.clone(), said.channel), consent);
        self.new.push((record, statement.said.evidence));
        Ok(Noted::Recorded)
    }

    fn statement(&self, said: &ImportedConsent) -> Statement {
        let evidence = Evidence::new(self.actor, &said.evidence);
        Statement {
            topic_id: said.topic_id.clone(),
            channel: said.channel,
            data_use: DataUse::Messages,
            grant: said.grant,
            said: Said { method: ConsentMethod::Import, evidence, contact_id: None, proven: None },
            occur_time: said.occur_time,
            expire_time: said.expire_time,
            address_id: None,
            wording_id: said.wording_id,
        }
    }

    fn check(&self, topic: &Topic, statement: &Statement, said: &ImportedConsent) -> Result<(), Fault> {
        if let Some(id) = said.wording_id
            && self.wordings.get(&id) != Some(&topic.topic_id)
        {
            let message = format!("there is no wording {id} about {}", topic.topic_id);
            return Err(Fault::refused(Reason::WordingNotFound, id, message));
        }
        if !said.grant {
            return Ok(());
        }
        check_grant(topic, statement, ConsentAct::Grant)?;
        let mut violations = Violations::default();
        if topic.opt_in == OptIn::Double && !said.confirmed {
            let allowed =
                "must be set for a double opt-in topic: how the customer confirmed it belongs into the evidence";
            violations.add("confirmed", allowed);
        }
        violations.check()
    }

    /// Writes what is new, and lets it take effect; answers whether anything waits for an answer.
    pub async fn close(self, tx: &WriteTx) -> Result<bool, Fault> {
        if self.new.is_empty() {
            return Ok(false);
        }
        preferences::append_all(tx, self.new).await?;
        preferences::put_consents(tx, self.changed.iter().map(|((id, ..), consent)| (*id, consent))).await?;
        let mut granted = BTreeSet::new();
        for ((id, ..), consent) in self.changed.iter().filter(|((id, ..), _)| self.known.contains(id)) {
            match consent.state {
                ConsentState::Denied => drop(stop_topic(tx, *id, consent, self.now).await?),
                _ => drop(granted.insert(*id)),
            }
        }
        let granted: Vec<CustomerId> = granted.into_iter().collect();
        contacts::ask_again(tx, &granted).await?;
        Ok(!granted.is_empty())
    }
}

/// Whether what was said says nothing new: a withdrawal after a withdrawal, or a grant where one is alive. That one is left as it is, with
/// its address, its words and its end: an import weakens nothing.
fn stands(
    current: Option<&Consent>,
    objects_since: Option<Timestamp>,
    customer: &Customer,
    topic: &Topic,
    grant: bool,
    now: Timestamp,
) -> bool {
    let Some(current) = current else { return false };
    if !grant {
        return current.state == ConsentState::Denied;
    }
    let is_there = || customer.addresses.iter().any(|address| Some(address.address_id) == current.address_id);
    current.state_at(now) == ConsentState::Granted
        && objects_since.is_none_or(|since| current.change_time > since)
        && (!topic.purpose.needs_consent() || is_there())
}
