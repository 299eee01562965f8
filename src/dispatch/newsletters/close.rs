use super::{RunNewsletters, UnderWay};
use crate::{
    campaigns::{
        self, RunState,
        runs::{self, Exclusion},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, Effect},
    database::{self, StoreError},
};

impl RunNewsletters {
    /// Closes what has nothing left to do, and completes the campaigns that have done all that they were to do.
    pub(super) async fn close(&self, under_way: &[UnderWay], now: Timestamp) -> Result<usize, StoreError> {
        let db = &self.0.of.db;
        let mut closed = 0;
        for one in under_way {
            let is_over = match one.run.state {
                RunState::Running => self.is_through(one).await?,
                RunState::Canceled => {
                    self.count_movers(one).await?;
                    campaigns::end_waiting(db, &one.run, now).await?;
                    self.is_through(one).await?
                }
                RunState::Queued | RunState::Finished | RunState::Skipped => false,
            };
            if is_over {
                let mut run = one.run.clone();
                let before = run.state;
                run.state = if before == RunState::Running { RunState::Finished } else { before };
                run.end_time = Some(now);
                let tx = db.begin_write().await?;
                closed += usize::from(runs::turn(&tx, before, &run).await?);
                database::commit(tx).await?;
            }
        }
        campaigns::complete_done(db, now).await?;
        Ok(closed)
    }

    /// Whether nobody remains and nothing is open.
    async fn is_through(&self, one: &UnderWay) -> Result<bool, StoreError> {
        let (db, run) = (self.0.of.db.reader(), &one.run);
        Ok(runs::cursors(db, run.run_id, None).await?.is_empty()
            && runs::movers(db, run.run_id, None).await?.is_empty()
            && !contacts::has_open(db, &run.campaign_id, run.run_id).await?)
    }

    /// Counts who moved and was still to be reached when the run was called off.
    async fn count_movers(&self, one: &UnderWay) -> Result<(), StoreError> {
        let (db, run_id) = (&self.0.of.db, one.run.run_id);
        if runs::movers(db.reader(), run_id, None).await?.is_empty() {
            return Ok(());
        }
        let tx = db.begin_write().await?;
        let customers = i64::try_from(runs::take_movers(&tx, run_id).await?.len()).unwrap_or(0);
        if customers > 0 {
            let canceled = Exclusion { reason: BlockReason::Canceled, effect: Effect::Cancel, customers };
            runs::exclude(&tx, run_id, &[canceled]).await?;
        }
        database::commit(tx).await
    }
}
