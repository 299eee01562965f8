//! Imports: many customers, and what they said elsewhere, a lot at a time. An import only adds, and lifts nothing.

mod consents;

use self::consents::Ledger;
pub use self::consents::{ImportedConsent, Noted};
use super::Intake;
use crate::{
    campaigns::runs::{self, Move},
    clock::Timestamp,
    customers::{self, CustomerBatch, Described, MatchBy},
    database::{self, WriteTx},
    ids::CustomerId,
    preferences,
    rpc::Fault,
};

/// How often a transaction that got in another's way is tried.
const TRIES: usize = 5;

/// How rows are taken up.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// What tells whether there is a customer already.
    pub match_by: MatchBy,
    /// Adds to customers whom there are already.
    pub update_existing: bool,
    /// Checks everything and changes nothing.
    pub validate_only: bool,
    /// Who says all this.
    pub actor: String,
}

/// One customer, and what they said.
#[derive(Debug, Default)]
pub struct ImportRow {
    /// Who.
    pub described: Described,
    /// What they said.
    pub consents: Vec<ImportedConsent>,
}

/// What a row did to its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// There was none.
    Created,
    /// Something was new about them, or about what they said.
    Updated,
    /// All of it was known.
    Unchanged,
    /// They were left as they are.
    Skipped,
}

/// What became of a row.
#[derive(Debug)]
pub struct RowOutcome {
    /// Of the customer.
    pub taken: Result<Taken, Fault>,
    /// Of what they said, in order; empty where the row was not taken, or skipped.
    pub consents: Vec<Result<Noted, Fault>>,
}

impl Intake {
    /// Takes rows up in one transaction; each stands for itself.
    pub async fn import_customers(
        &self,
        rows: &[ImportRow],
        options: &ImportOptions,
    ) -> Result<Vec<RowOutcome>, Fault> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut tries = 1;
        loop {
            match self.try_import(rows, options).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_import(&self, rows: &[ImportRow], options: &ImportOptions) -> Result<Vec<RowOutcome>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let described: Vec<&Described> = rows.iter().map(|row| &row.described).collect();
        let mut batch = CustomerBatch::lock(&tx, &described, options.match_by).await?;
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut whose: Vec<Option<CustomerId>> = Vec::with_capacity(rows.len());
        for row in rows {
            let (taken, id) = match take(&mut batch, &row.described, options, now) {
                Ok((taken, id)) => (Ok(taken), Some(id).filter(|_| taken != Taken::Skipped)),
                Err(fault) => (Err(fault), None),
            };
            outcomes.push(RowOutcome { taken, consents: Vec::new() });
            whose.push(id);
        }
        batch.save(&tx).await?;
        let said = rows.iter().zip(&whose).filter_map(|(row, id)| Some(((*id)?, row.consents.as_slice())));
        let said: Vec<_> = said.filter(|(_, consents)| !consents.is_empty()).collect();
        let mut ledger = Ledger::open(&tx, &batch, &said, &options.actor, now).await?;
        for ((row, id), outcome) in rows.iter().zip(&whose).zip(&mut outcomes) {
            let Some(id) = id else { continue };
            outcome.consents = row.consents.iter().map(|said| ledger.note(batch.get(*id)?, said)).collect();
            let is_new = outcome.consents.iter().any(|one| matches!(one, Ok(Noted::Recorded)));
            if let (true, Ok(taken @ Taken::Unchanged)) = (is_new, &mut outcome.taken) {
                *taken = Taken::Updated;
            }
        }
        let granted = ledger.close(&tx).await?;
        let moved = self.replan_moved(&tx, &batch, now).await?;
        if options.validate_only {
            database::rollback(tx).await?;
            return Ok(outcomes);
        }
        database::commit(tx).await?;
        if granted || moved {
            self.dispatcher.ring();
            self.journeys.ring();
        }
        Ok(outcomes)
    }

    /// Plans what waits by the wall clock again for those who are known to live elsewhere now.
    async fn replan_moved(&self, tx: &WriteTx, batch: &CustomerBatch, now: Timestamp) -> Result<bool, Fault> {
        let moved = batch.grown().filter(|(before, after)| before.time_zone != after.time_zone);
        let moves = moved.map(|(before, after)| Move {
            customer: after.customer_id,
            from: before.time_zone,
            to: after.time_zone,
        });
        let moves: Vec<Move> = moves.collect();
        if moves.is_empty() {
            return Ok(false);
        }
        runs::follow(tx, &moves).await?;
        let moved = moves.iter().map(|one| (one.customer, one.to));
        let home = preferences::policy(tx).await?.time_zone;
        let zones = moved.map(|(id, zone)| (id, zone.unwrap_or(home))).collect();
        self.replan(tx, &zones, now).await?;
        Ok(true)
    }
}

fn take(
    batch: &mut CustomerBatch,
    described: &Described,
    options: &ImportOptions,
    now: Timestamp,
) -> Result<(Taken, CustomerId), Fault> {
    let Some(id) = batch.find(described)? else {
        return Ok((Taken::Created, batch.create(described.change.clone(), now)?));
    };
    if batch.get(id)?.delete_time.is_some() {
        return Err(customers::deleted(id));
    }
    if !options.update_existing && batch.before(id).is_some() {
        return Ok((Taken::Skipped, id));
    }
    let taken = if batch.grow(id, described.change.clone(), now)? { Taken::Updated } else { Taken::Unchanged };
    Ok((taken, id))
}
