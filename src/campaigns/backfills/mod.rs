//! Backfills: runs of a campaign that an event starts, over events that occurred before it was active.
//!
//! A backfill is a **cursor** over the recorded events of a stretch of time. Whoever moves it lets the events between enter in the same
//! transaction: one that is cut off anywhere goes on from there. It keeps its rate by a **room**: how many may still enter before it
//! rests for a minute.

mod backfill;
mod entity;
mod store;

use std::collections::HashMap;

pub use self::{
    backfill::{Backfill, Progress},
    store::{UnderWay, lock, open, save},
};
use super::{
    Campaign, CampaignState, Campaigns, Run, RunState, not_active, not_found, plan, runs,
    store::{find as find_campaign, lock as lock_campaign},
};
use crate::{
    clock::Timestamp,
    database::{Connection, StoreError, WriteTx},
    events,
    ids::{CampaignId, RunId},
    rpc::{Fault, Reason},
};

/// A campaign that can be backfilled.
pub async fn fit(db: &impl Connection, id: &CampaignId) -> Result<Campaign, Fault> {
    let campaign = find_campaign(db, id).await?.ok_or_else(|| not_found(id))?;
    check(&campaign)?;
    Ok(campaign)
}

/// Refuses a campaign that no event starts, or that does not act.
fn check(campaign: &Campaign) -> Result<(), Fault> {
    if campaign.plan.event_type().is_empty() {
        let message = format!("campaign {} is started by no event: there is nothing to backfill", campaign.campaign_id);
        return Err(Fault::refused(Reason::CampaignNotStartedByEvent, &campaign.campaign_id, message));
    }
    if campaign.state != CampaignState::Active {
        return Err(not_active(campaign, "only one that acts can be backfilled"));
    }
    Ok(())
}

/// Begins a backfill of a campaign in the version that was looked at, one at a time.
pub async fn begin(tx: &WriteTx, of: &Campaign, new: &Backfill, now: Timestamp) -> Result<Run, Fault> {
    let id = &of.campaign_id;
    let campaign = lock_campaign(tx, id).await?.ok_or_else(|| not_found(id))?;
    check(&campaign)?;
    if campaign.version != of.version {
        return Err(StoreError::Raced.into());
    }
    let under_way = runs::open(tx, Some(id)).await?.into_iter().find(|run| run.state == RunState::Running);
    if let Some(earlier) = under_way {
        let message = format!("{} of {id} is under way", earlier.run_id);
        return Err(Fault::refused(Reason::RunUnderWay, earlier.run_id, message));
    }
    let by_hand = Run::by_hand(&campaign, now);
    let run = Run {
        firing: format!("backfill {}", by_hand.run_id),
        is_backfill: true,
        state: RunState::Running,
        start_time: Some(now),
        ..by_hand
    };
    runs::insert(tx, &run, &[]).await?;
    store::insert(tx, run.run_id, new).await?;
    Ok(run)
}

impl Campaigns {
    /// How far each of these runs has come that are backfills.
    pub async fn progress(&self, of: &[Run]) -> Result<HashMap<RunId, Progress>, StoreError> {
        let db = self.db.reader();
        let ids: Vec<RunId> = of.iter().filter(|run| run.is_backfill).map(|run| run.run_id).collect();
        let mut found = store::of_runs(db, &ids).await?;
        let mut progress = HashMap::with_capacity(found.len());
        for run in of {
            let Some(backfill) = found.remove(&run.run_id) else { continue };
            let remaining = if run.is_open() { remaining(db, run, &backfill).await? } else { backfill.unreached };
            progress.insert(run.run_id, Progress { backfill, remaining });
        }
        Ok(progress)
    }
}

/// How many events a backfill has not come to.
pub async fn remaining(db: &impl Connection, run: &Run, of: &Backfill) -> Result<i64, StoreError> {
    let Some(plan) = plan(db, (run.campaign_id.clone(), run.campaign_version)).await? else { return Ok(0) };
    events::count_occurred(db, &of.events(&plan), of.position).await
}
