//! Rehearsals: what was recorded in the past, played again through a campaign that was not active then, on a simulated clock, by
//! the very code that runs: the same migrations, intake, gate, dispatcher and jobs, on a database in memory and with a transport
//! that leads nowhere. The record is only read.
//!
//! ```text
//! audience: whom it concerns ─► stage: a database with them as they were ─► timeline: what happened, in order ─► play ─► report
//! ```
//!
//! What has a history is played as it was recorded: events, the ledger of consent, suppressions, customers who come and go, and what
//! others sent, which takes its place below the caps again. What has none counts as it is today: names, addresses, attributes, zones,
//! quiet hours, caps, topics, templates. Nothing is paused, nothing fails, and no rate limits anything.
//!
//! Time goes on from moment to moment: to the next thing that happened, the next moment at which a worker has something to do, and
//! (`looks`) the next at which the job that looks for dates and for whoever begins to match would find somebody. Of the events from
//! before, only those are remembered that the plan's filters look back at.

mod audience;
mod looks;
mod play;
mod report;
mod stage;
mod timeline;

use std::{fmt, sync::Arc};

use tokio::sync::Semaphore;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use self::{looks::Looks, report::Report, timeline::Sources};
pub use self::{
    report::RehearsedContact,
    stage::{Actors, Casting, Ground},
};
use crate::{
    campaigns::{ActiveRange, Campaigns, Firing, Plan, Trigger},
    clock::{Clock, Timestamp},
    contacts::{Results, Tally},
    database::Database,
    ids::CampaignId,
    preferences,
    rpc::{Fault, Reason, Violations},
    templates::{Severity, TemplateState, Templates},
    tokens::SecretKey,
};

/// How many days a rehearsal covers at most.
pub const MOST_DAYS: i64 = 92;

/// Rehearses campaigns, one at a time.
#[derive(Clone)]
pub struct Rehearsals {
    db: Database,
    clock: Clock,
    key: SecretKey,
    casting: Casting,
    free: Arc<Semaphore>,
}

/// What is to be rehearsed.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// The campaign.
    pub source: Source,
    /// The first moment.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
    /// How many of its contacts the answer shows at most.
    pub sample_size: usize,
}

/// A campaign that is rehearsed.
#[derive(Debug, Clone)]
pub enum Source {
    /// One that is stored.
    Stored(CampaignId),
    /// One that is not; the name tells whose contacts it would have had in the place of those that there were.
    Inline(Option<CampaignId>, Box<Plan>),
}

/// What it came to.
#[derive(Debug)]
pub struct Rehearsed {
    /// What became of its contacts.
    pub tally: Tally,
    /// What its experiments came to.
    pub results: Vec<Results>,
    /// Some of its contacts.
    pub samples: Vec<RehearsedContact>,
    /// How many customers heard from it within a day of another campaign.
    pub collisions: i64,
    /// How many customers were played.
    pub customers: i64,
    /// How many of the 256 buckets of customers were played.
    pub buckets: i16,
}

impl Rehearsal {
    /// How often a newsletter goes out.
    fn firings(&self, plan: &Plan) -> usize {
        let inside = |firing: &Firing| firing.start < self.end;
        let first = plan.next_firing(self.start).filter(inside);
        std::iter::successors(first, |firing| plan.next_firing(firing.start).filter(inside)).count()
    }
}

impl Rehearsals {
    /// Rehearses what is in a database; `casting` builds what acts.
    pub fn new(db: Database, clock: Clock, key: SecretKey, casting: Casting) -> Self {
        Self { db, clock, key, casting, free: Arc::new(Semaphore::new(1)) }
    }

    /// Plays what was recorded through a campaign. Ends with the caller: nothing goes on once this is dropped.
    pub async fn rehearse(&self, of: &Rehearsal) -> Result<Rehearsed, Fault> {
        let Ok(_alone) = self.free.try_acquire() else {
            let message = "a rehearsal is under way in this process, and there is one at a time";
            return Err(Fault::refused(Reason::Overloaded, "", message));
        };
        let (id, plan) = self.plan(of).await?;
        self.check(of, &plan).await?;
        // What is logged on the way happened long ago, or never.
        self.play(of, &id, plan).with_subscriber(NoSubscriber::default()).await
    }

    async fn play(&self, of: &Rehearsal, id: &CampaignId, plan: Plan) -> Result<Rehearsed, Fault> {
        let sources = Sources { db: &self.db, key: &self.key, campaign_id: id, of };
        let mut audience = audience::choose(&self.db, &plan, of).await?;
        let timeline = timeline::load(&sources, &plan, &mut audience).await?;
        let stage = stage::build(&sources, &audience, &timeline, &self.casting).await?;
        let looks = Looks::new(of, id, &plan, &audience)?;
        play::play(&stage, timeline, of, id, (plan, &looks)).await?;
        let Report { tally, results, samples, collisions } =
            report::make(&stage.db, stage.clock.clone(), id, of.sample_size).await?;
        let customers = i64::try_from(audience.customers.len()).unwrap_or(i64::MAX);
        Ok(Rehearsed { tally, results, samples, collisions, customers, buckets: audience.buckets })
    }

    async fn plan(&self, of: &Rehearsal) -> Result<(CampaignId, Plan), Fault> {
        let (id, mut plan) = match &of.source {
            Source::Stored(id) => {
                (id.clone(), Campaigns::new(self.db.clone(), self.clock.clone(), Arc::default()).get(id).await?.plan)
            }
            Source::Inline(id, plan) => (id.clone().unwrap_or_else(CampaignId::generate), plan.as_ref().clone()),
        };
        // Rates are kept by real time, and it acts as long as the rehearsal lasts.
        plan.max_per_minute = None;
        plan.active_range = ActiveRange::default();
        Ok((id, plan))
    }

    /// All that keeps the plan from being activated.
    async fn check(&self, of: &Rehearsal, plan: &Plan) -> Result<(), Fault> {
        let root = if matches!(of.source, Source::Stored(_)) { "" } else { "inline." };
        let mut violations = Violations::default();
        if plan.trigger.is_newsletter() && of.firings(plan) == 0 {
            let once = matches!(plan.trigger, Trigger::OneOff(_));
            let path = if once { format!("{root}oneOff") } else { "range".to_owned() };
            violations.add(path, "goes out at no time inside the range: only what lies inside can be rehearsed");
        }
        match preferences::find_open_topic(self.db.reader(), &plan.topic_id).await {
            Err(Fault::Refused(refusal)) => violations.add(format!("{root}topicId"), refusal.message),
            found => drop(found?),
        }
        let templates = Templates::new(self.db.clone(), self.clock.clone());
        for id in plan.template_ids() {
            let template = match templates.get(&id, 0).await {
                Err(Fault::Refused(refusal)) => {
                    violations.add(format!("{root}steps"), refusal.message);
                    continue;
                }
                found => found?,
            };
            if template.state == TemplateState::Draft {
                let (_, problems) = templates.try_out(Some(&id), template.partial, &template.content).await?;
                for problem in problems.into_iter().filter(|problem| problem.severity == Severity::Error) {
                    let (part, line) = (problem.part.field(), problem.line);
                    let description = format!("template {id}, {part} line {line}: {}", problem.description);
                    violations.add(format!("{root}steps"), description);
                }
            }
        }
        violations.check()
    }
}

impl fmt::Debug for Rehearsals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsals").finish_non_exhaustive()
    }
}
