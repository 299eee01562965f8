//! Campaigns: plans and their versions, and the customers inside them.

mod audience;
pub mod backfills;
mod campaign;
mod conditions;
mod dates;
pub mod enrollments;
mod entity;
mod fields;
mod fire;
pub mod members;
mod newsletters;
pub mod runs;
mod stats;
mod step;
mod store;
mod trigger;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use self::store::PlanIs;
pub use self::{
    audience::audience_fields,
    backfills::{Backfill, Progress},
    campaign::{Campaign, CampaignState, Exit, Goal, Plan, Reentry, ReentryMode},
    conditions::{Past, Seen, StepPast, condition_fields, hears},
    dates::{Arrival, DateTrigger, LeapDay, Recurrence, is_within_a_year},
    enrollments::{EndCause, Enrollment, EnrollmentState, PassedStep, StepOutcome, Waits},
    fields::{CampaignOrder, enrollment_fields, fields},
    fire::{complete_done, fire, next_time, start_queued},
    newsletters::{end_ranges, end_waiting},
    runs::{Run, RunState},
    stats::Period,
    step::{Action, Anchor, Due, FieldPath, Fields, IfPast, Place, Step, Update, Variant, Wait},
    store::{
        Concerned, Scanned, Terms, concerned_by, is_heard, limits, note_scan, paused, scanned, stays_active,
        still_acts, terms,
    },
    trigger::{ActiveRange, CatchUp, Firing, OneOff, Overlap, Recurring, Trigger},
};
use crate::{
    clock::{Clock, Timestamp},
    contacts::Purpose,
    database::{self, Connection, Database, StoreError, WriteTx},
    filter::{Filter, FilterError, Wanted},
    ids::{CampaignId, CustomerId, EnrollmentId, TemplateId},
    preferences,
    rpc::{Fault, Order, Page, PageOf, Reason, Reply, RequestKey, check_etag, page_key},
    templates,
    workers::Bell,
};

/// More versions than any deployment has open at the same time; beyond it the cache starts anew.
const MOST_CACHED: usize = 10_000;

type PlanKey = (CampaignId, i32);

/// The versions that somebody follows. They never change, so what was read once stays right.
#[derive(Debug, Clone, Default)]
pub struct Plans(Arc<Mutex<HashMap<PlanKey, Arc<Plan>>>>);

impl Plans {
    /// These versions, read where they are not known yet.
    pub async fn load(
        &self,
        db: &impl Connection,
        keys: impl Iterator<Item = PlanKey>,
    ) -> Result<HashMap<PlanKey, Arc<Plan>>, StoreError> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for key in keys {
                match cache.get(&key) {
                    Some(plan) => drop(found.insert(key, plan.clone())),
                    None => missing.push(key),
                }
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let read: HashMap<PlanKey, Arc<Plan>> =
            store::plans(db, missing).await?.into_iter().map(|(key, plan)| (key, Arc::new(plan))).collect();
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() + read.len() > MOST_CACHED {
            cache.clear();
        }
        cache.extend(read.iter().map(|(key, plan)| (key.clone(), plan.clone())));
        found.extend(read);
        Ok(found)
    }
}

/// The campaigns of this deployment.
#[derive(Debug, Clone)]
pub struct Campaigns {
    db: Database,
    clock: Clock,
    /// Wakes who carries newsletters out.
    newsletters: Arc<Bell>,
}

impl Campaigns {
    /// The campaigns in a database; rings when a newsletter has something to do.
    pub fn new(db: Database, clock: Clock, newsletters: Arc<Bell>) -> Self {
        Self { db, clock, newsletters }
    }

    /// Creates a draft. Its topic and templates must be there.
    pub async fn create(
        &self,
        campaign_id: Option<CampaignId>,
        plan: Plan,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Campaign>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let id = CampaignId::from_stored(first.resource);
            return Ok(Reply::replayed(store::find(&tx, &id).await?.ok_or_else(|| not_found(&id))?));
        }
        let purpose = check_references(&tx, &plan).await?;
        let campaign = Campaign {
            campaign_id: campaign_id.unwrap_or_else(CampaignId::generate),
            state: CampaignState::Draft,
            state_note: String::new(),
            version: 1,
            plan,
            purpose,
            fire_time: None,
            scan_time: None,
            create_time: now,
            update_time: now,
            revision: 1,
        };
        if !store::insert(&tx, &campaign).await? {
            let message = format!("there is a campaign {} already", campaign.campaign_id);
            return Err(Fault::refused(Reason::CampaignExists, &campaign.campaign_id, message));
        }
        if let Some(key) = key {
            key.finish(&tx, &campaign.campaign_id, &[]).await?;
        }
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        Ok(Reply::fresh(campaign))
    }

    /// One campaign.
    pub async fn get(&self, id: &CampaignId) -> Result<Campaign, Fault> {
        store::find(self.db.reader(), id).await?.ok_or_else(|| not_found(id))
    }

    /// A page of them.
    pub async fn list(
        &self,
        wanted: &Wanted,
        order: Order<CampaignOrder>,
        page: &Page,
    ) -> Result<PageOf<Campaign>, StoreError> {
        let rows = store::list(self.db.reader(), wanted, order, page).await?;
        let time = |campaign: &Campaign| match order.by {
            CampaignOrder::Id => None,
            CampaignOrder::Created => Some(campaign.create_time),
            CampaignOrder::Updated => Some(campaign.update_time),
        };
        Ok(PageOf::from_rows(rows, page, |campaign| page_key(time(campaign), &campaign.campaign_id)))
    }

    /// Changes a draft; makes a new version of anything else. `change` makes the new plan of what is stored.
    pub async fn update(
        &self,
        id: &CampaignId,
        etag: &str,
        change: impl FnOnce(Campaign) -> Result<Plan, Fault> + Send,
        validate_only: bool,
    ) -> Result<Campaign, Fault> {
        let (tx, mut campaign) = self.open(id, etag).await?;
        let plan = change(campaign.clone())?;
        let before = std::mem::replace(&mut campaign.plan, plan);
        if matches!(campaign.state, CampaignState::Completed | CampaignState::Archived) {
            return Err(not_active(&campaign, "what has ended is not changed"));
        }
        campaign.purpose = check_references(&tx, &campaign.plan).await?;
        let plan = if campaign.state == CampaignState::Draft { PlanIs::ChangedDraft } else { PlanIs::NewVersion };
        if plan == PlanIs::NewVersion {
            if before.trigger.is_newsletter() != campaign.plan.trigger.is_newsletter() {
                return Err(not_draft(&campaign, "only a draft becomes a newsletter, or ceases to be one"));
            }
            if (&before.trigger, before.active_range) != (&campaign.plan.trigger, campaign.plan.active_range) {
                campaign.schedule(self.clock.now())?;
            }
            campaign.version += 1;
            templates::check_published(&tx, &campaign.plan.template_ids()).await?;
            self.look_from_now(&tx, &mut campaign, Some(&before)).await?;
        }
        self.save(tx, &mut campaign, plan, validate_only).await?;
        self.newsletters.ring();
        Ok(campaign)
    }

    /// Removes a draft.
    pub async fn delete(&self, id: &CampaignId, etag: &str) -> Result<(), Fault> {
        let (tx, campaign) = self.open(id, etag).await?;
        if campaign.state != CampaignState::Draft {
            return Err(not_draft(&campaign, "only a draft can be deleted"));
        }
        store::delete(&tx, id).await?;
        Ok(database::commit(tx).await?)
    }

    /// Lets a draft act. Doing it twice is harmless.
    pub async fn activate(&self, id: &CampaignId, etag: &str, validate_only: bool) -> Result<Campaign, Fault> {
        let (tx, mut campaign) = self.open(id, etag).await?;
        match campaign.state {
            CampaignState::Active => return Ok(campaign),
            CampaignState::Paused => return Err(not_draft(&campaign, "it is paused: resume it")),
            CampaignState::Completed | CampaignState::Archived => return Err(not_draft(&campaign, "its time is over")),
            CampaignState::Draft => {}
        }
        templates::check_published(&tx, &campaign.plan.template_ids()).await?;
        campaign.schedule(self.clock.now())?;
        campaign.state = CampaignState::Active;
        self.look_from_now(&tx, &mut campaign, None).await?;
        self.save(tx, &mut campaign, PlanIs::Same, validate_only).await?;
        self.newsletters.ring();
        Ok(campaign)
    }

    /// Sends nothing any more. Doing it twice is harmless.
    pub async fn pause(&self, id: &CampaignId, note: String) -> Result<Campaign, Fault> {
        self.switch(id, CampaignState::Active, CampaignState::Paused, note).await
    }

    /// Goes on. Doing it twice is harmless.
    pub async fn resume(&self, id: &CampaignId) -> Result<Campaign, Fault> {
        let campaign = self.switch(id, CampaignState::Paused, CampaignState::Active, String::new()).await?;
        self.newsletters.ring();
        Ok(campaign)
    }

    /// A page of enrollments in the order in which they began.
    pub async fn enrollments(
        &self,
        campaign_id: Option<&CampaignId>,
        customer: Option<CustomerId>,
        wanted: &Wanted,
        page: &Page,
    ) -> Result<PageOf<Enrollment>, StoreError> {
        let rows = enrollments::page_of(self.db.reader(), campaign_id, customer, wanted, page).await?;
        Ok(PageOf::from_rows(rows, page, |enrollment| enrollment.enrollment_id.to_string()))
    }

    /// What became of the steps of these enrollments that had no contact.
    pub async fn passed_steps(
        &self,
        ids: &[EnrollmentId],
    ) -> Result<HashMap<EnrollmentId, Vec<PassedStep>>, StoreError> {
        enrollments::passed(self.db.reader(), ids).await
    }

    /// What starts a campaign is looked for from now on: who matches its audience already does not begin to.
    async fn look_from_now(
        &self,
        tx: &WriteTx,
        campaign: &mut Campaign,
        before: Option<&Plan>,
    ) -> Result<(), StoreError> {
        let (plan, now) = (&campaign.plan, self.clock.now());
        let same = |before: &Plan| before.trigger == plan.trigger && before.audience_filter == plan.audience_filter;
        if !before.is_some_and(same) {
            if plan.trigger == Trigger::Audience {
                members::reseed(tx, &campaign.campaign_id, &audience(plan)?, now).await?;
            }
            campaign.scan_time = plan.trigger.is_looked_for().then_some(now);
        }
        Ok(())
    }

    async fn switch(
        &self,
        id: &CampaignId,
        from: CampaignState,
        to: CampaignState,
        note: String,
    ) -> Result<Campaign, Fault> {
        let (tx, mut campaign) = self.open(id, "").await?;
        if campaign.state == to {
            return Ok(campaign);
        }
        if campaign.state != from {
            return Err(not_active(&campaign, &format!("not {from}")));
        }
        campaign.state = to;
        campaign.state_note = note;
        self.save(tx, &mut campaign, PlanIs::Same, false).await?;
        Ok(campaign)
    }

    async fn open(&self, id: &CampaignId, etag: &str) -> Result<(WriteTx, Campaign), Fault> {
        let tx = self.db.begin_write().await?;
        let campaign = store::lock(&tx, id).await?.ok_or_else(|| not_found(id))?;
        check_etag(etag, campaign.revision, id)?;
        Ok((tx, campaign))
    }

    async fn save(
        &self,
        tx: WriteTx,
        campaign: &mut Campaign,
        plan: PlanIs,
        validate_only: bool,
    ) -> Result<(), StoreError> {
        campaign.revision += 1;
        campaign.update_time = self.clock.now();
        store::save(&tx, campaign, plan).await?;
        if validate_only { database::rollback(tx).await } else { database::commit(tx).await }
    }
}

/// Who enters a campaign at all.
pub fn audience(plan: &Plan) -> Result<Filter, StoreError> {
    let corrupt = |wrong: FilterError| StoreError::Corrupt { table: "campaign_versions", detail: wrong.to_string() };
    Filter::parse(&plan.audience_filter, audience_fields()).map_err(corrupt)
}

/// Whom a newsletter addresses at a moment.
pub fn addressed(plan: &Plan, now: Timestamp) -> Result<Wanted, StoreError> {
    let filter = audience(plan)?;
    Ok(Wanted::at(Some(filter).filter(|filter| !filter.is_empty()), now))
}

/// A version of a campaign's plan.
pub async fn plan(db: &impl Connection, key: (CampaignId, i32)) -> Result<Option<Plan>, StoreError> {
    Ok(store::plans(db, vec![key.clone()]).await?.remove(&key))
}

/// The purpose that the plan's topic gives it; its templates must be there.
async fn check_references(tx: &WriteTx, plan: &Plan) -> Result<Purpose, Fault> {
    let topic = preferences::find_open_topic(tx, &plan.topic_id).await?;
    for id in plan.template_ids() {
        templates::find_latest(tx, &id).await?;
    }
    for id in plan.withdrawn_topic_ids() {
        preferences::find_topic(tx, &id).await?;
    }
    Ok(topic.purpose)
}

fn not_found(id: &CampaignId) -> Fault {
    Fault::refused(Reason::CampaignNotFound, id, format!("there is no campaign {id}"))
}

fn not_active(campaign: &Campaign, why: &str) -> Fault {
    let message = format!("campaign {} is {}: {why}", campaign.campaign_id, campaign.state);
    Fault::refused(Reason::CampaignNotActive, &campaign.campaign_id, message)
}

fn not_draft(campaign: &Campaign, why: &str) -> Fault {
    let message = format!("campaign {} is {}: {why}", campaign.campaign_id, campaign.state);
    Fault::refused(Reason::CampaignNotDraft, &campaign.campaign_id, message)
}

/// An active or paused campaign that sends this template, under its plan or an older one.
pub async fn using_template(tx: &WriteTx, id: &TemplateId) -> Result<Option<CampaignId>, StoreError> {
    let plans = store::acting_plans(tx).await?;
    Ok(plans.into_iter().find(|(_, plan)| plan.template_ids().contains(id)).map(|(campaign, _)| campaign))
}
