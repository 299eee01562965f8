//! What operators do with newsletters, and how campaigns end.

use chrono::TimeDelta;

use super::{
    Campaign, CampaignState, Campaigns, EndCause, OneOff, Overlap, Plan, Recurring, Run, RunState, Trigger,
    enrollments::{self, Concerned, Open},
    not_active, not_found,
    runs::{self, Opening},
    store::{self, PlanIs},
};
use crate::{
    clock::Timestamp,
    contacts::{self, Block, BlockReason, CallOff, Effect},
    customers,
    database::{self, Database, StoreError},
    ids::{CampaignId, EnrollmentId, RunId},
    preferences,
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey},
};

/// How many fire times are shown.
const SHOWN: usize = 10;
/// How many enrollments or contacts end together.
const AT_ONCE: u64 = 500;
/// How long whoever ends a campaign is left alone with it: longer than a call may take.
const PATIENCE: TimeDelta = TimeDelta::seconds(15);

impl Campaigns {
    /// Fires a newsletter now.
    pub async fn run(
        &self,
        id: &CampaignId,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Run>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let corrupt = || StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
            let run_id: RunId = first.resource.parse().map_err(|_| corrupt())?;
            return Ok(Reply::replayed(runs::find(&tx, run_id).await?.ok_or_else(corrupt)?));
        }
        let campaign = store::lock(&tx, id).await?.ok_or_else(|| not_found(id))?;
        check_newsletter(&campaign)?;
        if campaign.state != CampaignState::Active || !campaign.plan.active_range.holds(now) {
            return Err(not_active(&campaign, "only one that acts can be fired"));
        }
        let under_way = runs::open(&tx, Some(id)).await?.into_iter().find(|run| run.state != RunState::Canceled);
        let opening = match (&under_way, campaign.plan.overlap()) {
            (None, _) => Opening::Start,
            (Some(_), Overlap::Queue) => Opening::Queue,
            (Some(earlier), Overlap::Skip) => {
                let message = format!("{} of {id} is under way", earlier.run_id);
                return Err(Fault::refused(Reason::RunUnderWay, earlier.run_id, message));
            }
        };
        let home = preferences::zone(&tx, None).await?;
        let mut run = Run::by_hand(&campaign, now);
        runs::begin(&tx, &mut run, &campaign.plan, opening, home, now).await?;
        if let Some(key) = key {
            key.finish(&tx, run.run_id, &[]).await?;
        }
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        self.newsletters.ring();
        Ok(Reply::fresh(run))
    }

    /// The runs of a campaign, the latest first.
    pub async fn runs(&self, id: &CampaignId, page: &Page) -> Result<PageOf<Run>, Fault> {
        self.get(id).await?;
        let rows = runs::page_of(self.db.reader(), id, page).await?;
        Ok(PageOf::from_rows(rows, page, |run| run.run_id.to_string()))
    }

    /// Calls a run off: one row. Doing it twice is harmless.
    pub async fn cancel_run(&self, id: RunId, note: String) -> Result<Run, Fault> {
        let tx = self.db.begin_write().await?;
        let missing = || Fault::refused(Reason::RunNotFound, id, format!("there is no run {id}"));
        let mut run = runs::lock(&tx, id).await?.ok_or_else(missing)?;
        match run.state {
            RunState::Canceled => return Ok(run),
            RunState::Finished | RunState::Skipped => {
                let message = format!("run {id} is {}", run.state);
                return Err(Fault::refused(Reason::RunEnded, id, message));
            }
            RunState::Queued | RunState::Running => {}
        }
        let before = run.state;
        run.state = RunState::Canceled;
        run.note = note;
        if !runs::turn(&tx, before, &run).await? {
            return Err(StoreError::Raced.into());
        }
        database::commit(tx).await?;
        self.newsletters.ring();
        Ok(run)
    }

    /// Ends a campaign for ever and cancels what is open; answers how many contacts that were. Doing it twice is harmless.
    pub async fn archive(&self, id: &CampaignId, note: String) -> Result<(Campaign, i64), Fault> {
        let (tx, mut campaign) = self.open(id, "").await?;
        match campaign.state {
            CampaignState::Draft => {
                return Err(not_active(&campaign, "a draft is deleted, not archived"));
            }
            CampaignState::Archived => database::rollback(tx).await?,
            CampaignState::Active | CampaignState::Paused | CampaignState::Completed => {
                campaign.state = CampaignState::Archived;
                campaign.state_note = note;
                campaign.fire_time = None;
                runs::cancel_open(&tx, id, "the campaign was archived").await?;
                store::note_ending(&tx, id, true).await?;
                self.save(tx, &mut campaign, PlanIs::Same, false).await?;
                self.newsletters.ring();
            }
        }
        let canceled = end_open(&self.db, &campaign, self.clock.now()).await?;
        Ok((campaign, canceled))
    }

    /// When the next firings of a newsletter are; of a wall-clock time where each customer lives, when that is in the zone of
    /// customers of whom none is known.
    pub async fn upcoming(&self, of: &[&Campaign]) -> Result<Vec<Vec<Timestamp>>, StoreError> {
        let now = self.clock.now();
        let home = preferences::zone(self.db.reader(), None).await?;
        let times = |campaign: &&Campaign| match campaign.state {
            CampaignState::Completed | CampaignState::Archived => Vec::new(),
            CampaignState::Draft | CampaignState::Active | CampaignState::Paused => {
                let first = campaign.plan.next_firing(now);
                let firings = std::iter::successors(first, |firing| campaign.plan.next_firing(firing.start));
                firings.take(SHOWN).map(|firing| firing.instant(home)).collect()
            }
        };
        Ok(of.iter().map(times).collect())
    }
}

impl Plan {
    /// What becomes of a firing while an earlier one is under way.
    pub fn overlap(&self) -> Overlap {
        match &self.trigger {
            Trigger::Recurring(Recurring { overlap, .. }) => *overlap,
            Trigger::OneOff(_) | Trigger::Event { .. } | Trigger::Date(_) | Trigger::Audience => Overlap::Skip,
        }
    }
}

impl Campaign {
    /// Has a campaign that begins to act at `now` fire from then on; refused where it never would.
    pub(super) fn schedule(&mut self, now: Timestamp) -> Result<(), Fault> {
        let range = self.plan.active_range;
        let never = |why: &str| {
            let message = format!("campaign {} {why}", self.campaign_id);
            Err(Fault::refused(Reason::CampaignNeverFires, &self.campaign_id, message))
        };
        if range.is_over(now) {
            return never("has an active range that is over");
        }
        self.fire_time = match &self.plan.trigger {
            Trigger::Event { .. } | Trigger::Date(_) | Trigger::Audience => None,
            Trigger::OneOff(once) => {
                let (firing, lies_ahead) = (once.firing(), is_ahead(*once, now));
                Some(firing.start).filter(|start| lies_ahead && range.holds(*start))
            }
            Trigger::Recurring(_) => self.plan.next_firing(now).map(|firing| firing.start),
        };
        if self.plan.trigger.is_newsletter() && self.fire_time.is_none() {
            return never("has no time ahead at which it would go out");
        }
        Ok(())
    }
}

fn is_ahead(once: OneOff, now: Timestamp) -> bool {
    match once {
        OneOff::At(time) => time > now,
        OneOff::Local(local) => local.last_anywhere() > now,
    }
}

/// Ends whatever of a campaign that has ended is still open, in short transactions; answers how many contacts that were. Whoever
/// breaks off here is followed by [`end_ranges`]; until then the gate lets nothing out.
async fn end_open(db: &Database, of: &Campaign, now: Timestamp) -> Result<i64, StoreError> {
    let (id, block) = (&of.campaign_id, &ended(BlockReason::CampaignEnded, &why_ended(of)));
    let (mut canceled, mut after) = (0, None::<EnrollmentId>);
    loop {
        let tx = db.begin_write().await?;
        let some = enrollments::open(&tx, Open::Of(id), after, AT_ONCE).await?;
        let Some((last, _)) = some.last() else { break };
        after = Some(*last);
        customers::lock_all(&tx, some.iter().map(|(_, customer)| *customer).collect()).await?;
        let ids: Vec<EnrollmentId> = some.into_iter().map(|(id, _)| id).collect();
        enrollments::end(&tx, Concerned::Ids(ids.clone()), EndCause::Archived, now).await?;
        canceled += contacts::cancel(&tx, CallOff::Enrollments(ids), block, now).await?;
        database::commit(tx).await?;
    }
    loop {
        let tx = db.begin_write().await?;
        let some = contacts::waiting_of(&tx, id, None, AT_ONCE).await?;
        if some.is_empty() {
            store::note_ending(&tx, id, false).await?;
            database::commit(tx).await?;
            return Ok(i64::try_from(canceled).unwrap_or(i64::MAX));
        }
        customers::lock_all(&tx, some.iter().map(|(_, customer)| *customer).collect()).await?;
        let ids = some.into_iter().map(|(id, _)| id).collect();
        canceled += contacts::cancel(&tx, CallOff::Contacts(ids), block, now).await?;
        database::commit(tx).await?;
    }
}

/// Calls off what waits of a run that was called off.
pub async fn end_waiting(db: &Database, run: &Run, now: Timestamp) -> Result<(), StoreError> {
    let block = ended(BlockReason::Canceled, "its run was canceled");
    loop {
        let tx = db.begin_write().await?;
        let some = contacts::waiting_of(&tx, &run.campaign_id, Some(run.run_id), AT_ONCE).await?;
        if some.is_empty() {
            return Ok(());
        }
        customers::lock_all(&tx, some.iter().map(|(_, customer)| *customer).collect()).await?;
        let ids = some.into_iter().map(|(id, _)| id).collect();
        contacts::cancel(&tx, CallOff::Contacts(ids), &block, now).await?;
        database::commit(tx).await?;
    }
}

/// Ends the campaigns whose active range is over, and what others left open who were ending one.
pub async fn end_ranges(db: &Database, now: Timestamp) -> Result<(), StoreError> {
    let mut ending = store::ending(db.reader(), now - PATIENCE).await?;
    if !store::ids_over(db.reader(), now).await?.is_empty() {
        let tx = db.begin_write().await?;
        for id in store::ids_over(&tx, now).await? {
            let Some(mut campaign) = store::lock(&tx, &id).await? else { continue };
            complete(&mut campaign, "the end of its active range came", now);
            store::save(&tx, &campaign, PlanIs::Same).await?;
            runs::cancel_open(&tx, &id, "the end of the campaign's active range came").await?;
            store::note_ending(&tx, &id, true).await?;
            ending.push(campaign);
        }
        database::commit(tx).await?;
    }
    for campaign in ending {
        end_open(db, &campaign, now).await?;
    }
    Ok(())
}

/// Notes that a campaign has done all that it was to do.
pub(super) fn complete(campaign: &mut Campaign, note: &str, now: Timestamp) {
    campaign.state = CampaignState::Completed;
    note.clone_into(&mut campaign.state_note);
    campaign.fire_time = None;
    campaign.revision += 1;
    campaign.update_time = now;
}

fn why_ended(of: &Campaign) -> String {
    match of.state {
        CampaignState::Archived if of.state_note.is_empty() => "its campaign was archived".to_owned(),
        CampaignState::Archived => format!("its campaign was archived: {}", of.state_note),
        _ => "the end of its campaign's active range came".to_owned(),
    }
}

fn ended(reason: BlockReason, detail: &str) -> Block {
    Block { reason, effect: Effect::Cancel, detail: detail.to_owned(), retry_time: None }
}

fn check_newsletter(campaign: &Campaign) -> Result<(), Fault> {
    if campaign.plan.trigger.is_newsletter() {
        return Ok(());
    }
    let message = format!("campaign {} is no newsletter: it cannot be fired", campaign.campaign_id);
    Err(Fault::refused(Reason::NotANewsletter, &campaign.campaign_id, message))
}
