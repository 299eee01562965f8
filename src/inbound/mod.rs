//! What came back from mail servers and providers: matched to the contact that it is about, recorded, and followed by what it means
//! for the address and the customer. Each message and each report is one transaction.
//!
//! A message is matched by the return path that it was sent to, then by the Message-ID of what it is about, then by the address that
//! it names. The first two cannot be forged by anybody who has not seen the message; of the last, nothing follows at once. A return path that is not ours, but looks as if
//! it were, means that somebody plays a game: such a message is read and forgotten.

mod hits;
mod ingest;
mod providers;
mod record;

use std::sync::Arc;

use tokio::sync::Semaphore;

use self::record::Fate;
pub use self::{
    hits::Hit,
    ingest::{Classification, Ingested, Reading},
    providers::{NotTaken, Sns},
    record::Found,
};
use crate::{
    clock::Clock,
    database::{self, Database},
    ids::ContactId,
    intake::Intake,
    rpc::Fault,
    tokens::SecretKey,
};

/// How many messages are read at a time.
const READERS: usize = 2;
/// How often a transaction that got in another's way is tried.
const TRIES: usize = 5;

/// Takes in what came back.
#[derive(Debug, Clone)]
pub struct Inbound {
    db: Database,
    clock: Clock,
    key: SecretKey,
    intake: Intake,
    by_address: bool,
    /// Reading is work for a core: no more than a few messages are read at a time.
    reading: Arc<Semaphore>,
}

/// What was recorded of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Now.
    pub recorded: usize,
    /// Before.
    pub duplicates: usize,
    /// About no message of ours.
    pub unmatched: usize,
}

impl Inbound {
    /// Records into a database, with the key of Message-IDs and return paths. `by_address` says whether mail goes out without a
    /// return path of its own, so that what comes back may name nothing but an address.
    pub fn new(db: Database, clock: Clock, key: SecretKey, intake: Intake, by_address: bool) -> Self {
        Self { db, clock, key, intake, by_address, reading: Arc::new(Semaphore::new(READERS)) }
    }

    /// The contact that a Message-ID, with or without its angle brackets, was made for.
    pub fn contact_of(&self, message_id: &str) -> Option<ContactId> {
        crate::delivery::contact_of(&self.key, message_id.trim().trim_matches(['<', '>']))
    }

    /// Records what a provider says.
    pub async fn report(&self, found: &[Found]) -> Result<Tally, Fault> {
        let mut tally = Tally::default();
        for fate in self.record(found).await? {
            match fate {
                Fate::Recorded(_) => tally.recorded += 1,
                Fate::Known => tally.duplicates += 1,
                Fate::Unmatched => tally.unmatched += 1,
            }
        }
        Ok(tally)
    }

    /// Records, and tries again where another transaction was in the way.
    async fn record(&self, found: &[Found]) -> Result<Vec<Fate>, Fault> {
        let found: Vec<Found> = found.iter().map(Found::printable).collect();
        let mut tries = 1;
        loop {
            match self.try_record(&found).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_record(&self, found: &[Found]) -> Result<Vec<Fate>, Fault> {
        let tx = self.db.begin_write().await?;
        let fates = record::record(&tx, &self.key, &self.intake, found, self.clock.now()).await?;
        database::commit(tx).await?;
        Ok(fates)
    }
}
