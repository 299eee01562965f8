//! Whom a campaign would reach if it acted now: the list of rules asked about its audience, as far as that is not too large.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Facts, Gate, Verdict, foresee};
use crate::{
    calendar::{Planned, Zone},
    campaigns::{
        self, Campaign, CampaignState, DateTrigger, EnrollmentState, Past, Place, Run, RunState, Seen, Step, Trigger,
    },
    clock::Timestamp,
    contacts::{Block, BlockReason, Contact, Effect},
    customers::{self, Customer},
    database::StoreError,
    filter::{self, Filter, Wanted},
    ids::{CustomerId, EnrollmentId},
    rpc::Fault,
    templates,
};

/// How many customers are decided at most; of a larger audience as many, spread over all of it.
const MOST_DECIDED: i64 = 10_000;
/// How many are decided at once.
const AT_ONCE: u64 = 500;

/// What a campaign would meet.
#[derive(Debug, Default)]
pub struct CampaignPreview {
    /// How many customers it may reach at all.
    pub audience: i64,
    /// How many of them the rules were asked about.
    pub examined: i64,
    /// How many would get its first message, now or later.
    pub contactable: i64,
    /// How many it would never begin for.
    pub never_begun: i64,
    /// What stands in the way of how many.
    pub blocks: Vec<(BlockReason, Effect, i64)>,
    /// Some who would get it.
    pub sample: Vec<CustomerId>,
    /// What looks wrong.
    pub warnings: Vec<String>,
}

impl Gate {
    /// Asks the rules about the first message of a campaign to each of its audience.
    pub async fn preview(&self, campaign: &Campaign, sample: usize) -> Result<CampaignPreview, Fault> {
        let (db, now) = (self.db.reader(), self.clock.now());
        let wanted = Wanted::at(Some(campaigns::audience(&campaign.plan)?), now);
        let audience = customers::count_wanted(db, &wanted).await?;
        let mut preview = CampaignPreview { audience, ..CampaignPreview::default() };
        let mut blocks: HashMap<(BlockReason, Effect), i64> = HashMap::new();
        let mut met = HashSet::new();
        let first = FirstMessage::of(campaign, now);
        if let Some(first) = &first {
            let mut next = self.starts(audience).await?.into_iter();
            let mut from = next.next();
            while let Some(start) = from.take() {
                let some = customers::wanted_from(db, &wanted, start, AT_ONCE).await?;
                let new: Vec<_> = some.iter().copied().filter(|id| met.insert(*id)).collect();
                for (customer, fate) in self.decide_all(first, &new).await? {
                    preview.examined += 1;
                    match &fate {
                        Fate::NeverBegun => preview.never_begun += 1,
                        Fate::Blocked(block) => *blocks.entry((block.reason, block.effect)).or_default() += 1,
                        Fate::Sent if preview.sample.len() < sample => preview.sample.push(customer),
                        Fate::Sent => {}
                    }
                    preview.contactable += i64::from(fate.is_reached());
                }
                // A small audience is gone through to its end, a large one from place to place.
                from = if audience > MOST_DECIDED { next.next() } else { after(&some) };
            }
        }
        preview.blocks = blocks.into_iter().map(|((reason, effect), count)| (reason, effect, count)).collect();
        preview.blocks.sort_unstable_by_key(|(reason, effect, count)| (-count, reason.as_str(), effect.as_str()));
        preview.scale();
        preview.warnings = self.warn(campaign, first.as_ref(), &preview).await?;
        Ok(preview)
    }

    /// Where to begin: at the beginning, or at as many places as chunks may be decided.
    async fn starts(&self, audience: i64) -> Result<Vec<CustomerId>, Fault> {
        let first = CustomerId::from_uuid(Uuid::nil());
        if audience <= MOST_DECIDED {
            return Ok(vec![first]);
        }
        let Some((oldest, youngest)) = customers::oldest_and_youngest(self.db.reader()).await? else {
            return Ok(vec![first]);
        };
        let (oldest, youngest) = (Uuid::from(oldest).as_u128(), Uuid::from(youngest).as_u128());
        let chunks = u128::from(MOST_DECIDED.unsigned_abs() / AT_ONCE);
        let stretch = (youngest - oldest) / chunks;
        let place = |number| CustomerId::from_uuid(Uuid::from_u128(oldest + stretch * number));
        Ok((0..chunks).map(place).collect())
    }

    /// What would become of the first message to each of these customers.
    async fn decide_all(&self, first: &FirstMessage<'_>, ids: &[CustomerId]) -> Result<Vec<(CustomerId, Fate)>, Fault> {
        let contacts: Vec<Contact> = ids.iter().filter_map(|id| first.contact(*id)).collect();
        let asked: Vec<&Contact> = contacts.iter().collect();
        let facts = Facts::read(&self.db, &self.key, self.senders.readiness(), &asked, first.now).await?;
        let facts = facts.supposing(&first.campaign.campaign_id, first.campaign.terms());
        let known = filter::Facts::load(self.db.reader(), &first.condition, ids, first.now).await?;
        let mut decided = Vec::with_capacity(contacts.len());
        for contact in &contacts {
            if let Some(customer) = facts.customers().get(&contact.customer_id) {
                decided.push((contact.customer_id, first.fate(contact, customer, &facts, &known)?));
            }
        }
        Ok(decided)
    }

    async fn warn(
        &self,
        campaign: &Campaign,
        first: Option<&FirstMessage<'_>>,
        preview: &CampaignPreview,
    ) -> Result<Vec<String>, Fault> {
        let mut warnings = Vec::new();
        if preview.audience == 0 {
            warnings.push("nobody is in the audience".to_owned());
        } else if first.is_none() {
            warnings.push("no step sends a message".to_owned());
        } else if preview.contactable == 0 {
            warnings.push("nobody in the audience would get a message".to_owned());
        }
        warnings.extend(first.and_then(FirstMessage::open_question));
        warnings.extend(standstill(campaign, self.clock.now()));
        if let (Trigger::Date(date), 1..) = (&campaign.plan.trigger, preview.never_begun) {
            let (none, attribute) = (preview.never_begun, &date.attribute);
            warnings.push(format!("{none} of the audience have no date in attributes.{attribute} that lies ahead"));
        }
        let ids = campaign.plan.template_ids();
        let published = templates::published_versions(self.db.reader(), &ids).await?;
        let missing = ids.iter().filter(|id| !published.iter().any(|(known, _)| known == *id));
        warnings.extend(missing.map(|id| format!("template {id} is not published")));
        if preview.examined < preview.audience && first.is_some() {
            warnings.push(format!("the counts are scaled up from {} customers", preview.examined));
        }
        Ok(warnings)
    }
}

/// Why a campaign would not act now, whoever its audience is.
fn standstill(campaign: &Campaign, now: Timestamp) -> Option<String> {
    match campaign.state {
        CampaignState::Paused => Some("the campaign is paused: nothing goes out until it is resumed".to_owned()),
        CampaignState::Completed | CampaignState::Archived => Some(format!("the campaign is {}", campaign.state)),
        CampaignState::Draft | CampaignState::Active => {
            let is_over = campaign.plan.active_range.is_over(now);
            is_over.then(|| "the campaign's active range is over".to_owned())
        }
    }
}

/// What would become of a message.
enum Fate {
    /// It goes out.
    Sent,
    /// Something stands in its way.
    Blocked(Block),
    /// Nothing would ever start the campaign for the customer.
    NeverBegun,
}

impl Fate {
    /// Whether the customer gets it, now or later.
    fn is_reached(&self) -> bool {
        match self {
            Self::Sent => true,
            Self::Blocked(block) => block.effect == Effect::Defer,
            Self::NeverBegun => false,
        }
    }
}

/// The first message of a campaign, due now.
struct FirstMessage<'a> {
    campaign: &'a Campaign,
    step: &'a Step,
    /// Its condition, where that can be judged now.
    condition: Option<Filter>,
    /// What would plan it: a run of a newsletter.
    run: Option<Run>,
    now: Timestamp,
}

impl<'a> FirstMessage<'a> {
    /// None where no step sends anything.
    fn of(campaign: &'a Campaign, now: Timestamp) -> Option<Self> {
        let step = campaign.plan.first_send()?;
        let condition = campaign.plan.condition(step).and_then(Result::ok);
        let condition = condition.filter(|condition| campaign.plan.is_foreseeable(step, condition));
        let run = campaign.plan.trigger.is_newsletter().then(|| Run::by_hand(campaign, now));
        Some(Self { campaign, step, condition, run, now })
    }

    /// What else decides, beside the rules.
    fn open_question(&self) -> Option<String> {
        let step_id = &self.step.step_id;
        let is_open = !self.step.condition.is_empty() && self.condition.is_none();
        is_open.then(|| {
            format!("the condition of {step_id} can be judged only when it is due: the counts are as if it matched")
        })
    }

    fn contact(&self, customer_id: CustomerId) -> Option<Contact> {
        let (plan, now, zone) = (&self.campaign.plan, self.now, Zone::UTC);
        if let Some(run) = &self.run {
            return Some(plan.contact_of_run(run, customer_id, now, zone)?.plan(now));
        }
        let place = Place {
            campaign_id: &self.campaign.campaign_id,
            enrollment_id: EnrollmentId::generate(),
            event_id: None,
            customer_id,
            zone,
            trigger_time: now,
            previous_time: now,
        };
        let planned = Planned { instant: now, local: None };
        Some(plan.contact(self.step, self.campaign.purpose, &place, planned)?.plan(now))
    }

    fn fate(
        &self,
        contact: &Contact,
        customer: &Customer,
        facts: &Facts,
        known: &filter::Facts,
    ) -> Result<Fate, StoreError> {
        if let Trigger::Date(date) = &self.campaign.plan.trigger
            && !self.comes(date, customer, facts.policy().time_zone)
        {
            return Ok(Fate::NeverBegun);
        }
        if !self.holds(customer, known) {
            return Ok(Fate::Blocked(Block::of_condition(&self.step.step_id)));
        }
        let state = self.campaign.state;
        let mut case = facts.case(contact, None)?;
        match self.run {
            Some(_) => case.run = Some((RunState::Running, state)),
            None => case.enrollment = Some((EnrollmentState::Active, None, state)),
        }
        Ok(match foresee(&case, self.now) {
            Verdict::Send { .. } => Fate::Sent,
            Verdict::Defer(block) | Verdict::End(block) => Fate::Blocked(block),
        })
    }

    /// Whether the date that starts the campaign lies ahead of a customer.
    fn comes(&self, date: &DateTrigger, customer: &Customer, home: Zone) -> bool {
        let value = customer.attributes.get(&date.attribute).and_then(serde_json::Value::as_str);
        let zone = customer.time_zone.unwrap_or(home);
        value.is_some_and(|value| date.lies_ahead(value, &self.campaign.plan.first_delay(), zone, self.now))
    }

    fn holds(&self, customer: &Customer, known: &filter::Facts) -> bool {
        let seen = Seen { customer, event: None, past: &Past::new() };
        self.condition.as_ref().is_none_or(|condition| condition.matches(&seen, known, self.now))
    }
}

impl CampaignPreview {
    /// What was counted of some, for all.
    fn scale(&mut self) {
        if self.examined == 0 || self.examined >= self.audience {
            return;
        }
        let factor = self.audience as f64 / self.examined as f64;
        #[expect(clippy::cast_possible_truncation, reason = "there are not so many people")]
        let scaled = |count: i64| (count as f64 * factor).round() as i64;
        self.contactable = scaled(self.contactable);
        self.never_begun = scaled(self.never_begun);
        self.blocks.iter_mut().for_each(|(.., count)| *count = scaled(*count));
    }
}

/// From the next id on; none where there were no more.
fn after(some: &[CustomerId]) -> Option<CustomerId> {
    let is_full = u64::try_from(some.len()).is_ok_and(|length| length == AT_ONCE);
    let last = Uuid::from(*some.last()?).as_u128();
    is_full.then(|| CustomerId::from_uuid(Uuid::from_u128(last + 1)))
}
