use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use chrono::TimeDelta;

use super::{
    Case, HeldOut,
    pauses::{self, Pause},
};
use crate::{
    campaigns::{
        self, CampaignState, EndCause, EnrollmentState, Terms, audience_fields, enrollments,
        runs::{self, RunStanding},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, Contact, HandOver, Origin, Purpose},
    customers::{self, Customer},
    database::{Connection, Database, StoreError, WriteTx},
    filter::{self, Filter, FilterError},
    ids::{CampaignId, ContactId, CustomerId, EnrollmentId, RunId, TopicId},
    preferences::{self, CONFIRMATION, DataUse, FrequencyCap, Preferences, SendingPolicy, Suppressed, Topic},
    senders::Readiness,
    split::{Draw, is_held_out},
    templates::Tracking,
    tokens::SecretKey,
};

/// How long a message waits at least for one that comes first.
const PRECEDENCE: TimeDelta = TimeDelta::minutes(1);
/// And at most.
const LONGEST_PRECEDENCE: TimeDelta = TimeDelta::minutes(15);

/// What the gate needs to know about some contacts, read in a handful of queries however many they are.
#[derive(Debug)]
pub struct Facts {
    policy: SendingPolicy,
    pauses: Vec<Pause>,
    customers: HashMap<CustomerId, Customer>,
    preferences: HashMap<CustomerId, Preferences>,
    suppressed: Suppressed,
    topics: HashMap<TopicId, Topic>,
    standings: HashMap<EnrollmentId, (EnrollmentState, Option<EndCause>, CampaignState)>,
    runs: HashMap<RunId, RunStanding>,
    /// The contacts whose campaigns may not reach their customers.
    outside: HashSet<ContactId>,
    handed_over: HashMap<CustomerId, Vec<HandOver>>,
    /// What is due now of campaigns that have a priority: the highest first.
    ahead: HashMap<CustomerId, Ahead>,
    terms: HashMap<CampaignId, Terms>,
    readiness: Readiness,
}

impl Facts {
    /// As they stand, kept so until the transaction ends: nobody can change a preference beside a decision, nor decide about the
    /// same customers, so that two messages never take the last place below a cap together. It waits for nobody: where
    /// somebody is at a customer this very moment, nothing can be [decided](Self::knows) about that customer's contacts yet.
    pub async fn lock(
        tx: &WriteTx,
        key: &SecretKey,
        readiness: Readiness,
        contacts: &[&Contact],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut keys = Keys::of(contacts.iter().copied());
        keys.customers = customers::lock_free(tx, keys.customers).await?;
        Self::gather(tx, key, contacts, keys, now).await.map(|facts| Self { readiness, ..facts })
    }

    /// As if a campaign had these terms.
    pub fn supposing(mut self, id: &CampaignId, terms: Terms) -> Self {
        self.terms.insert(id.clone(), terms);
        self
    }

    /// Whether a contact can be decided.
    pub fn knows(&self, contact: &Contact) -> bool {
        self.customers.contains_key(&contact.customer_id)
    }

    /// As they stand, for looking only.
    pub async fn read(
        db: &Database,
        key: &SecretKey,
        readiness: Readiness,
        contacts: &[&Contact],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Self::look(db.reader(), key, readiness, contacts, now).await
    }

    /// As they stand in the caller's transaction or for its query, for looking only.
    pub async fn look(
        db: &impl Connection,
        key: &SecretKey,
        readiness: Readiness,
        contacts: &[&Contact],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let keys = Keys::of(contacts.iter().copied());
        Self::gather(db, key, contacts, keys, now).await.map(|facts| Self { readiness, ..facts })
    }

    async fn gather(
        db: &impl Connection,
        key: &SecretKey,
        contacts: &[&Contact],
        keys: Keys,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let customers = customers::reach(db, &keys.customers).await?;
        let mut facts = Self {
            policy: preferences::policy(db).await?,
            pauses: pauses::active(db, now).await?,
            suppressed: preferences::suppressed_of(db, key, customers.values(), now).await?,
            customers,
            preferences: preferences::load(db, &keys.customers).await?,
            topics: preferences::load_topics(db, keys.topics).await?,
            standings: enrollments::standings(db, &keys.enrollments).await?,
            runs: runs::standings(db, &keys.runs).await?,
            outside: HashSet::new(),
            handed_over: HashMap::new(),
            ahead: HashMap::new(),
            terms: campaigns::terms(db).await?,
            readiness: Readiness::default(),
        };
        facts.outside = facts.judge_audiences(db, contacts, now).await?;
        let held = contacts.iter().filter(|contact| contact.purpose != Purpose::Transactional);
        let capped: Vec<_> =
            held.filter_map(|contact| Some((longest(facts.caps(contact))?, contact.customer_id))).collect();
        if let Some((window, _)) = capped.iter().max() {
            let customers = distinct(capped.iter().map(|(_, customer)| *customer));
            facts.handed_over = contacts::hand_overs(db, &customers, now - *window).await?;
            facts.ahead = facts.look_ahead(db, &customers, now).await?;
        }
        Ok(facts)
    }

    /// What is due to these customers of campaigns that have a priority. Nothing is read where none has.
    async fn look_ahead(
        &self,
        db: &impl Connection,
        customers: &[CustomerId],
        now: Timestamp,
    ) -> Result<HashMap<CustomerId, Ahead>, StoreError> {
        let first = self.terms.iter().filter(|(_, terms)| terms.priority > 0 && !terms.is_paused);
        let campaigns: Vec<_> = first.map(|(id, _)| id.clone()).collect();
        let mut all: HashMap<CustomerId, Ahead> = HashMap::new();
        if campaigns.is_empty() {
            return Ok(all);
        }
        let mut due = contacts::due_of(db, customers, &campaigns, now).await?;
        due.sort_by_key(|one| Reverse(self.priority(Some(&one.campaign_id))));
        for one in due {
            let ahead = all.entry(one.customer_id).or_default();
            ahead.priorities.push(self.priority(Some(&one.campaign_id)));
            // Whoever waits for what has waited for long is not decided again and again.
            let until = now + (now - one.due_time).clamp(PRECEDENCE, LONGEST_PRECEDENCE);
            ahead.messages.push(HandOver { topic_id: one.topic_id, channel: one.channel, time: until });
        }
        Ok(all)
    }

    fn priority(&self, campaign: Option<&CampaignId>) -> u32 {
        campaign.and_then(|id| self.terms.get(id)).map_or(0, |terms| terms.priority)
    }

    /// The contacts whose customers are not among those whom their newsletters may reach. Nothing is read where none says so.
    async fn judge_audiences(
        &self,
        db: &impl Connection,
        contacts: &[&Contact],
        now: Timestamp,
    ) -> Result<HashSet<ContactId>, StoreError> {
        let mut filters: HashMap<&str, Filter> = HashMap::new();
        for text in self.runs.values().filter_map(|standing| standing.audience_filter.as_deref()) {
            if !filters.contains_key(text) {
                filters.insert(text, read_filter(text)?);
            }
        }
        if filters.is_empty() {
            return Ok(HashSet::new());
        }
        let asked = contacts.iter().filter_map(|contact| {
            let filter = filters.get(self.runs.get(&contact.run()?.run_id)?.audience_filter.as_deref()?)?;
            Some((contact.contact_id, self.customers.get(&contact.customer_id)?, filter))
        });
        let asked: Vec<_> = asked.collect();
        let customers = distinct(asked.iter().map(|(_, customer, _)| customer.customer_id));
        let known = filter::Facts::load(db, filters.values(), &customers, now).await?;
        let is_outside = |(id, customer, filter): (ContactId, &Customer, &Filter)| {
            (!filter.matches(customer, &known, now)).then_some(id)
        };
        Ok(asked.into_iter().filter_map(is_outside).collect())
    }

    /// The customers whose contacts can be decided.
    pub fn customers(&self) -> &HashMap<CustomerId, Customer> {
        &self.customers
    }

    /// What a contact's topic is called, in the same language for everybody.
    pub fn topic_name(&self, contact: &Contact) -> &str {
        self.topics.get(&contact.topic_id).map_or("", |topic| topic.name(&self.policy.default_locale))
    }

    /// What holds for everybody.
    pub fn policy(&self) -> &SendingPolicy {
        &self.policy
    }

    /// The caps that a contact's customer and everybody have for its kind.
    fn caps<'a>(&'a self, contact: &'a Contact) -> impl Iterator<Item = &'a FrequencyCap> {
        let own = self.preferences.get(&contact.customer_id).map_or(&[][..], |said| said.caps.as_slice());
        concerning(&self.policy.caps, contact).chain(concerning(own, contact))
    }

    /// What may be noticed of a contact that goes out at `now`.
    pub fn tracking(&self, contact: &Contact, now: Timestamp) -> Tracking {
        let may = |data_use| {
            let said = self.preferences.get(&contact.customer_id);
            said.is_some_and(|said| said.lets(&contact.topic_id, contact.channel, contact.purpose, data_use, now))
        };
        Tracking { opens: may(DataUse::OpenTracking), clicks: may(DataUse::ClickTracking) }
    }

    /// Counts a contact that goes out at `now`, for those decided after it.
    pub fn count(&mut self, contact: &Contact, now: Timestamp) {
        if contact.purpose != Purpose::Transactional {
            let hand_over = HandOver { topic_id: contact.topic_id.clone(), channel: contact.channel, time: now };
            self.handed_over.entry(contact.customer_id).or_default().push(hand_over);
        }
    }

    fn holdout_of<'a>(&self, contact: &'a Contact) -> Option<(&'a CampaignId, u32)> {
        let campaign = contact.campaign_id()?;
        Some((campaign, self.terms.get(campaign)?.holdout_percent))
    }

    /// The case of one of the contacts.
    pub fn case<'a>(&'a self, contact: &'a Contact, template_error: Option<&'a str>) -> Result<Case<'a>, StoreError> {
        let missing = |table| StoreError::Corrupt { table, detail: format!("nothing for {}", contact.contact_id) };
        let topic = self.topics.get(&contact.topic_id).ok_or_else(|| missing("topics"))?;
        let failed = contact.block.as_ref().filter(|block| block.reason == BlockReason::BackOff);
        Ok(Case {
            policy: &self.policy,
            pauses: &self.pauses,
            customer: self.customers.get(&contact.customer_id).ok_or_else(|| missing("customers"))?,
            preferences: self.preferences.get(&contact.customer_id).ok_or_else(|| missing("preferences"))?,
            handed_over: self.handed_over.get(&contact.customer_id).map_or(&[], Vec::as_slice),
            ahead: self
                .ahead
                .get(&contact.customer_id)
                .map_or(&[], |ahead| ahead.of(self.priority(contact.campaign_id()))),
            topic_id: &contact.topic_id,
            purpose: contact.purpose,
            opt_in: topic.opt_in,
            essential: topic.essential,
            suppressed: &self.suppressed,
            channel: contact.channel,
            // Others go wherever the customer is reached when they go out.
            only_to: contact.address_id.filter(|_| contact.topic_id.as_str() == CONFIRMATION),
            expire_time: Some(contact.expire_time),
            enrollment: contact.step().and_then(|step| self.standings.get(&step.enrollment_id).copied()),
            in_audience: !self.outside.contains(&contact.contact_id),
            run: contact
                .run()
                .and_then(|run| self.runs.get(&run.run_id))
                .map(|standing| (standing.run, standing.campaign)),
            waits_for_room: match contact.origin {
                Origin::Step(_) => true,
                Origin::AdHoc => !contact.purpose.needs_consent(),
                Origin::Run(_) => false,
            },
            held_out: held_out(&self.policy, self.holdout_of(contact), contact.customer_id),
            template_error,
            sender_not_ready: self.readiness.trouble(contact.purpose),
            circuit_open_until: None,
            throttled_until: None,
            back_off: failed.and_then(|block| block.retry_time),
        })
    }
}

/// What is due to a customer of campaigns that have a priority, the highest first.
#[derive(Debug, Default)]
struct Ahead {
    priorities: Vec<u32>,
    messages: Vec<HandOver>,
}

impl Ahead {
    /// What comes before a message of a priority.
    fn of(&self, priority: u32) -> &[HandOver] {
        &self.messages[..self.priorities.partition_point(|one| *one > priority)]
    }
}

/// Whether a customer is held out, from a campaign that holds some out or from everything.
pub(super) fn held_out(
    policy: &SendingPolicy,
    of_campaign: Option<(&CampaignId, u32)>,
    customer: CustomerId,
) -> Option<HeldOut> {
    let percent = u32::from(policy.holdout_percent);
    if is_held_out(Draw::Everybody, customer, percent) {
        return Some(HeldOut::OfEverything(percent));
    }
    let (campaign, percent) = of_campaign?;
    is_held_out(Draw::Campaign(campaign.as_str()), customer, percent).then_some(HeldOut::OfCampaign(percent))
}

fn read_filter(text: &str) -> Result<Filter, StoreError> {
    let wrong = |wrong: FilterError| StoreError::Corrupt { table: "campaign_versions", detail: wrong.to_string() };
    Filter::parse(text, audience_fields()).map_err(wrong)
}

fn concerning<'a>(caps: &'a [FrequencyCap], contact: &'a Contact) -> impl Iterator<Item = &'a FrequencyCap> {
    caps.iter().filter(|cap| cap.concerns(&contact.topic_id, contact.channel))
}

/// How far back the caps count; none where there are none.
pub(super) fn longest<'a>(caps: impl Iterator<Item = &'a FrequencyCap>) -> Option<TimeDelta> {
    caps.map(FrequencyCap::window).max()
}

/// Each once, in order.
struct Keys {
    customers: Vec<CustomerId>,
    topics: Vec<TopicId>,
    enrollments: Vec<EnrollmentId>,
    runs: Vec<RunId>,
}

impl Keys {
    fn of<'a>(contacts: impl Iterator<Item = &'a Contact> + Clone) -> Self {
        Self {
            customers: distinct(contacts.clone().map(|contact| contact.customer_id)),
            topics: distinct(contacts.clone().map(|contact| contact.topic_id.clone())),
            runs: distinct(contacts.clone().filter_map(|contact| contact.run()).map(|run| run.run_id)),
            enrollments: distinct(contacts.filter_map(|contact| contact.step()).map(|step| step.enrollment_id)),
        }
    }
}

fn distinct<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
