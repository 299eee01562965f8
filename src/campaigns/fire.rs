//! When newsletters fire: what is due is opened, once whoever looks; what was missed is caught up with or left out.

use std::sync::Arc;

use super::{
    Campaign, CampaignState, Overlap, Plan, Run, RunState,
    newsletters::complete,
    runs::{self, Opening},
    store::{self, PlanIs},
};
use crate::{
    clock::Timestamp,
    database::{self, Database, StoreError},
    ids::CampaignId,
    preferences,
};

/// How many firings of a campaign are looked at together.
const MOST_FIRINGS: usize = 100;

/// Opens a run for every firing whose time has come; answers how many.
pub async fn fire(db: &Database, now: Timestamp) -> Result<usize, StoreError> {
    let mut opened = 0;
    for id in store::ids_to_fire(db.reader(), now).await? {
        opened += fire_one(db, &id, now).await?;
    }
    Ok(opened)
}

async fn fire_one(db: &Database, id: &CampaignId, now: Timestamp) -> Result<usize, StoreError> {
    let tx = db.begin_write().await?;
    let Some(campaign) = store::lock(&tx, id).await? else { return Ok(0) };
    let Some(fire_time) = campaign.fire_time.filter(|time| *time <= now) else { return Ok(0) };
    if campaign.state != CampaignState::Active {
        return Ok(0);
    }
    let plan = &campaign.plan;
    let first = plan.trigger.firing_at(fire_time).or_else(|| plan.next_firing(fire_time));
    let is_due = |firing: &super::Firing| firing.start <= now;
    let due: Vec<_> =
        std::iter::successors(first.filter(is_due), |firing| plan.next_firing(firing.start).filter(is_due))
            .take(MOST_FIRINGS)
            .collect();
    let next = match due.last() {
        Some(last) => plan.next_firing(last.start),
        None => first,
    };
    let home = preferences::zone(&tx, None).await?;
    let mut opened = 0;
    for (place, firing) in due.iter().enumerate() {
        let is_latest = place + 1 == due.len() && next.is_none_or(|next| next.start > now);
        let mut run = Run::of_firing(&campaign, firing);
        let opening = if !is_latest {
            Opening::Skip("it was missed, and a later one as well")
        } else if plan.has_missed(firing, now) {
            Opening::Skip("it was missed")
        } else {
            match (is_in_the_way(&runs::open(&tx, Some(id)).await?, firing), plan.overlap()) {
                (false, _) => Opening::Start,
                (true, Overlap::Queue) => Opening::Queue,
                (true, Overlap::Skip) => Opening::Skip("an earlier run was under way"),
            }
        };
        opened += usize::from(runs::begin(&tx, &mut run, plan, opening, home, now).await?);
    }
    store::set_fire_time(&tx, id, next.map(|firing| firing.start)).await?;
    database::commit(tx).await?;
    Ok(opened)
}

/// Whether one of these runs is still at it. One that only waits for zones farther west is not in the way.
fn is_in_the_way(open: &[Run], firing: &super::Firing) -> bool {
    let is_late = |run: &Run| run.local.is_none_or(|local| local.last_anywhere() <= firing.start);
    open.iter().any(|run| run.state != RunState::Canceled && is_late(run))
}

/// Lets a run go that waited for an earlier one.
pub async fn start_queued(db: &Database, run: &mut Run, plan: &Arc<Plan>, now: Timestamp) -> Result<(), StoreError> {
    let tx = db.begin_write().await?;
    let home = preferences::zone(&tx, None).await?;
    if runs::start(&tx, run, plan, home, now).await? {
        return database::commit(tx).await;
    }
    database::rollback(tx).await
}

/// Completes the newsletters that will not fire again and of which no run is open.
pub async fn complete_done(db: &Database, now: Timestamp) -> Result<(), StoreError> {
    if store::ids_done(db.reader()).await?.is_empty() {
        return Ok(());
    }
    let tx = db.begin_write().await?;
    for id in store::ids_done(&tx).await? {
        let Some(mut campaign) = store::lock(&tx, &id).await? else { continue };
        if is_done(&campaign) {
            complete(&mut campaign, "", now);
            store::save(&tx, &campaign, PlanIs::Same).await?;
        }
    }
    database::commit(tx).await
}

fn is_done(campaign: &Campaign) -> bool {
    campaign.state == CampaignState::Active && campaign.plan.trigger.is_newsletter() && campaign.fire_time.is_none()
}

/// When a campaign fires next, or its active range ends.
pub async fn next_time(db: &impl database::Connection) -> Result<Option<Timestamp>, StoreError> {
    store::next_time(db).await
}
