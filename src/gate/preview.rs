//! Whom a campaign would reach if it acted now: the list of rules asked about its audience, as far as that is not too large.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Facts, Gate, Verdict, decide};
use crate::{
    calendar::Planned,
    campaigns::{self, Campaign, Place, Step},
    clock::Timestamp,
    contacts::{Block, BlockReason, Contact, Effect},
    customers,
    filter::Wanted,
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
        if let Some(step) = campaign.plan.steps.iter().find(|step| step.is_planned_ahead()) {
            let mut next = self.starts(audience).await?.into_iter();
            let mut from = next.next();
            while let Some(start) = from.take() {
                let some = customers::wanted_from(db, &wanted, start, AT_ONCE).await?;
                let new: Vec<_> = some.iter().copied().filter(|id| met.insert(*id)).collect();
                for (customer, block) in self.decide_all(campaign, step, &new, now).await? {
                    preview.examined += 1;
                    match &block {
                        Some(block) => *blocks.entry((block.reason, block.effect)).or_default() += 1,
                        None if preview.sample.len() < sample => preview.sample.push(customer),
                        None => {}
                    }
                    preview.contactable += i64::from(block.is_none_or(|block| block.effect == Effect::Defer));
                }
                // A small audience is gone through to its end, a large one from place to place.
                from = if audience > MOST_DECIDED { next.next() } else { after(&some) };
            }
        }
        preview.blocks = blocks.into_iter().map(|((reason, effect), count)| (reason, effect, count)).collect();
        preview.blocks.sort_unstable_by_key(|(reason, effect, count)| (-count, reason.as_str(), effect.as_str()));
        preview.scale();
        preview.warnings = self.warn(campaign, &preview).await?;
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

    /// What stands in the way of each of these customers.
    async fn decide_all(
        &self,
        campaign: &Campaign,
        step: &Step,
        ids: &[CustomerId],
        now: Timestamp,
    ) -> Result<Vec<(CustomerId, Option<Block>)>, Fault> {
        let contacts: Vec<Contact> = ids.iter().filter_map(|id| first_contact(campaign, step, *id, now)).collect();
        let asked: Vec<&Contact> = contacts.iter().collect();
        let facts = Facts::read(&self.db, &self.key, self.senders.readiness(), &asked, now).await?;
        let mut decided = Vec::with_capacity(contacts.len());
        for contact in contacts.iter().filter(|contact| facts.knows(contact)) {
            let block = match decide(&facts.case(contact, None)?, now) {
                Verdict::Send { .. } => None,
                Verdict::Defer(block) | Verdict::End(block) => Some(block),
            };
            decided.push((contact.customer_id, block));
        }
        Ok(decided)
    }

    async fn warn(&self, campaign: &Campaign, preview: &CampaignPreview) -> Result<Vec<String>, Fault> {
        let mut warnings = Vec::new();
        if preview.audience == 0 {
            warnings.push("nobody is in the audience".to_owned());
        } else if preview.contactable == 0 {
            warnings.push("nobody in the audience would get a message".to_owned());
        }
        let ids = campaign.plan.template_ids();
        let published = templates::published_versions(self.db.reader(), &ids).await?;
        let missing = ids.iter().filter(|id| !published.iter().any(|(known, _)| known == *id));
        warnings.extend(missing.map(|id| format!("template {id} is not published")));
        if preview.examined < preview.audience {
            warnings.push(format!("the counts are scaled up from {} customers", preview.examined));
        }
        Ok(warnings)
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
        self.blocks.iter_mut().for_each(|(.., count)| *count = scaled(*count));
    }
}

/// From the next id on; none where there were no more.
fn after(some: &[CustomerId]) -> Option<CustomerId> {
    let is_full = u64::try_from(some.len()).is_ok_and(|length| length == AT_ONCE);
    let last = Uuid::from(*some.last()?).as_u128();
    is_full.then(|| CustomerId::from_uuid(Uuid::from_u128(last + 1)))
}

fn first_contact(campaign: &Campaign, step: &Step, customer_id: CustomerId, now: Timestamp) -> Option<Contact> {
    let place = Place {
        campaign_id: &campaign.campaign_id,
        enrollment_id: EnrollmentId::generate(),
        event_id: None,
        customer_id,
        zone: crate::calendar::Zone::UTC,
        trigger_time: now,
        previous_time: now,
    };
    let planned = Planned { instant: now, local: None };
    Some(campaign.plan.contact(step, campaign.purpose, &place, planned)?.plan(now))
}
