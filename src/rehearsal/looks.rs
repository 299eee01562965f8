//! When customers are looked at: at the moments at which the service looks, but only at those at which it would find somebody.

use std::{collections::BTreeSet, ops::Bound::Excluded};

use chrono::{DurationRound, TimeDelta};

use super::{Rehearsal, audience::Audience, stage::Stage};
use crate::{
    campaigns::{self, Arrival, Plan, Trigger, members},
    clock::Timestamp,
    database::StoreError,
    filter::Filter,
    ids::CampaignId,
    intake::{LOOK_AHEAD, LOOK_EVERY},
};

/// How often somebody is looked for who begins to match.
const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Who begins to match and ceases to again within less time than this, while nothing happens, may be missed.
const SPAN: TimeDelta = TimeDelta::hours(3);

/// When customers are looked at.
pub(super) enum Looks {
    /// Nobody is looked for.
    Never,
    /// Where a date comes for somebody.
    Dates(Dates),
    /// Where somebody begins to match, or ceases to.
    Newcomers(CampaignId, Filter),
}

/// When dates are looked for.
pub(super) struct Dates {
    campaign_id: CampaignId,
    start: Timestamp,
    moments: BTreeSet<Timestamp>,
}

impl Looks {
    /// What is to be looked for by a plan that begins to act with the range.
    pub fn new(of: &Rehearsal, id: &CampaignId, plan: &Plan, audience: &Audience) -> Result<Self, StoreError> {
        Ok(match &plan.trigger {
            Trigger::Date(_) => Self::Dates(Dates::new(of, id, plan, audience)),
            Trigger::Audience => Self::Newcomers(id.clone(), campaigns::audience(plan)?),
            Trigger::Event { .. } | Trigger::OneOff(_) | Trigger::Recurring(_) => Self::Never,
        })
    }

    /// The next moment at which somebody would be found, if that is before another one and nothing happens until then.
    pub async fn next(&self, stage: &Stage, before: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let now = stage.clock.now();
        match self {
            Self::Never => Ok(None),
            Self::Dates(dates) if now < before => {
                Ok(dates.moments.range((Excluded(now), Excluded(before))).next().copied())
            }
            Self::Dates(_) => Ok(None),
            Self::Newcomers(id, audience) => first_change(stage, id, audience, before).await,
        }
    }

    /// Looks, if somebody would be found now.
    pub async fn look(&self, stage: &Stage) -> Result<(), StoreError> {
        let now = stage.clock.now();
        match self {
            Self::Never => return Ok(()),
            Self::Dates(dates) if dates.moments.contains(&now) => dates.skip_to(stage, now).await?,
            Self::Newcomers(id, audience) if minute(now) == now && changes(stage, id, audience, now).await? => {}
            Self::Dates(_) | Self::Newcomers(..) => return Ok(()),
        }
        stage.looking.run_once().await.map(drop)
    }
}

impl Dates {
    fn new(of: &Rehearsal, id: &CampaignId, plan: &Plan, audience: &Audience) -> Self {
        let mut dates = Self { campaign_id: id.clone(), start: of.start, moments: BTreeSet::new() };
        for (customer, arrival) in &audience.arrivals {
            let came = audience.came.get(customer).copied().unwrap_or(of.start);
            let looks = dates.looks_for(arrival, came);
            // Whoever enters at the first look enters no second time.
            let most = if plan.audience_filter.is_empty() { 1 } else { usize::MAX };
            dates.moments.extend(looks.into_iter().take(most));
        }
        dates
    }

    /// The looks at which a date is near for somebody who is there.
    fn looks_for(&self, arrival: &Arrival, came: Timestamp) -> Vec<Timestamp> {
        let (from, until) = (self.at_or_after(came.max(arrival.due - LOOK_AHEAD)), self.at_or_after(arrival.due));
        std::iter::successors(Some(from), |look| Some(*look + LOOK_EVERY)).take_while(|look| *look <= until).collect()
    }

    /// The first look: whole minutes are when the job runs.
    fn first(&self) -> Timestamp {
        let earliest = self.start + LOOK_EVERY;
        if minute(earliest) == earliest { earliest } else { minute(earliest) + MINUTE }
    }

    /// The first look that is not before a moment.
    fn at_or_after(&self, moment: Timestamp) -> Timestamp {
        let (first, every) = (self.first(), LOOK_EVERY.num_microseconds().unwrap_or(i64::MAX));
        let since = (moment - first).num_microseconds().unwrap_or(0).max(0);
        first + TimeDelta::microseconds((since + every - 1) / every * every)
    }

    /// Notes that the looks before this one found nobody.
    async fn skip_to(&self, stage: &Stage, look: Timestamp) -> Result<(), StoreError> {
        let before = if look == self.first() { self.start } else { look - LOOK_EVERY };
        for of in campaigns::scanned(stage.db.reader()).await? {
            if of.campaign_id == self.campaign_id {
                campaigns::note_scan(&stage.db, &of.campaign_id, of.scan_time, before).await?;
            }
        }
        Ok(())
    }
}

/// The first whole minute after now and before a moment at which somebody begins to match or ceases to, while nothing happens.
async fn first_change(
    stage: &Stage,
    id: &CampaignId,
    audience: &Filter,
    before: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let (mut same, end) = (minute(stage.clock.now()), minute(before - TimeDelta::microseconds(1)));
    while same < end {
        let mut changed = end.min(same + SPAN);
        if changes(stage, id, audience, changed).await? {
            while changed - same > MINUTE {
                let middle = minute(same + (changed - same) / 2);
                match changes(stage, id, audience, middle).await? {
                    true => changed = middle,
                    false => same = middle,
                }
            }
            return Ok(Some(changed));
        }
        same = changed;
    }
    Ok(None)
}

/// Whether somebody matches at a moment who did not at the last look, or the other way round.
async fn changes(stage: &Stage, id: &CampaignId, audience: &Filter, moment: Timestamp) -> Result<bool, StoreError> {
    let db = stage.db.reader();
    Ok(!members::newcomers(db, id, audience, None, 1, moment).await?.is_empty()
        || !members::no_more(db, id, audience, None, 1, moment).await?.is_empty())
}

/// The beginning of a moment's minute.
fn minute(moment: Timestamp) -> Timestamp {
    moment.duration_trunc(MINUTE).unwrap_or(moment)
}
