//! What became of a campaign's audience, in numbers that add up.

use std::collections::{BTreeMap, HashMap};

use super::{
    Campaigns, Run, RunState, addressed, plan,
    runs::{self, Exclusion},
};
use crate::{
    clock::Timestamp,
    contacts::{self, Counted, Part, Tally},
    database::StoreError,
    ids::{CampaignId, RunId},
};

/// Which part of a campaign's numbers is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// First planned for this moment or later.
    pub from: Option<Timestamp>,
    /// First planned before this moment.
    pub before: Option<Timestamp>,
    /// In stretches of so many seconds since `from`.
    pub every: Option<i64>,
}

impl Period {
    /// The part in which a moment lies, if it lies inside.
    fn part(&self, moment: Timestamp) -> Option<Part> {
        let inside = self.from.is_none_or(|from| from <= moment) && self.before.is_none_or(|before| moment < before);
        inside.then(|| match self.from.zip(self.every) {
            Some((from, every)) => Part::Stretch((moment.timestamp() - from.timestamp()) / every),
            None => Part::Whole,
        })
    }
}

impl Campaigns {
    /// What became of a campaign's audience, and, where stretches are asked for, of each stretch in which there was something.
    pub async fn tally(&self, id: &CampaignId, of: Period) -> Result<(Tally, Vec<(Timestamp, Tally)>), StoreError> {
        let db = self.db.reader();
        let counted = Counted {
            campaign_id: Some(id.clone()),
            from: of.from,
            before: of.before,
            every: of.every,
            ..Counted::default()
        };
        let mut parts = contacts::tallies(db, &counted).await?;
        for (moment, exclusion) in runs::exclusions_of(db, id).await? {
            if let Some(part) = of.part(moment) {
                add(parts.entry(part).or_default(), &exclusion);
            }
        }
        for run in runs::open(db, Some(id)).await?.into_iter().filter(|run| !run.is_backfill) {
            if let Some(part) = of.part(run.nominal_time) {
                let remaining = self.remaining(&run).await?;
                parts.entry(part).or_default().remaining += remaining;
            }
        }
        Ok(sum(parts, of))
    }

    /// What became of the audience of each of these runs, all of one campaign.
    pub async fn run_tallies(&self, of: &[Run]) -> Result<HashMap<RunId, Tally>, StoreError> {
        let db = self.db.reader();
        let ids = |are: bool| of.iter().filter(|run| run.is_backfill == are).map(|run| run.run_id).collect();
        let (run_ids, backfills): (Vec<RunId>, Vec<RunId>) = (ids(false), ids(true));
        let mut tallies: HashMap<RunId, Tally> = HashMap::new();
        let campaign_id = of.first().map(|run| run.campaign_id.clone());
        let of_firings = Counted { campaign_id, run_ids: run_ids.clone(), ..Counted::default() };
        let of_backfills = Counted { backfills, ..Counted::default() };
        for counted in [of_firings, of_backfills] {
            if counted.run_ids.is_empty() && counted.backfills.is_empty() {
                continue;
            }
            for (part, tally) in contacts::tallies(db, &counted).await? {
                if let Part::Run(run_id) = part {
                    tallies.insert(run_id, tally);
                }
            }
        }
        for (run_id, exclusions) in runs::exclusions(db, &run_ids).await? {
            exclusions.iter().for_each(|exclusion| add(tallies.entry(run_id).or_default(), exclusion));
        }
        for run in of {
            let remaining = self.remaining(run).await?;
            tallies.entry(run.run_id).or_default().remaining += remaining;
        }
        Ok(tallies)
    }

    async fn remaining(&self, of: &Run) -> Result<i64, StoreError> {
        match of.state {
            RunState::Running | RunState::Canceled if of.is_open() && !of.is_backfill => {
                let db = self.db.reader();
                let plan = plan(db, (of.campaign_id.clone(), of.campaign_version)).await?;
                let audience = plan.map(|plan| addressed(&plan, self.clock.now())).transpose()?;
                runs::remaining(db, of, &audience.unwrap_or_default()).await
            }
            _ => Ok(0),
        }
    }
}

fn add(tally: &mut Tally, of: &Exclusion) {
    tally.add(of.effect.state(), Some(of.reason), of.customers);
}

fn sum(parts: BTreeMap<Part, Tally>, of: Period) -> (Tally, Vec<(Timestamp, Tally)>) {
    let mut whole = Tally::default();
    for part in parts.values() {
        whole.merge(part);
    }
    let stretch = |(part, tally)| match (part, of.from.zip(of.every)) {
        (Part::Stretch(place), Some((from, every))) => Some((from + chrono::TimeDelta::seconds(place * every), tally)),
        _ => None,
    };
    (whole, parts.into_iter().filter_map(stretch).collect())
}
