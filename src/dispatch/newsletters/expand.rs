use std::collections::HashMap;

use super::{RunNewsletters, UnderWay};
use crate::{
    calendar::Zone,
    campaigns::{
        self,
        runs::{self, CHUNK, Cursor, Exclusion, Share},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, Contact, Effect},
    customers,
    database::{self, Connection, StoreError, WriteTx},
    gate::{self, Facts, Verdict},
    ids::CustomerId,
    preferences,
};

/// What became of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It passed so many.
    Reached(usize),
    /// Somebody else moves it.
    ByOthers,
}

/// What a cursor passes at once.
#[derive(Debug, Default)]
struct Chunk {
    /// Who may be written to.
    contacts: Vec<Contact>,
    /// The others, by reason.
    exclusions: Vec<Exclusion>,
    /// Where the cursor stands after it.
    position: Option<CustomerId>,
    /// Nobody comes after it.
    is_last: bool,
    /// How many they are together.
    reached: usize,
}

impl RunNewsletters {
    /// Passes the next customers: plans a contact for each who may be written to, and counts the others.
    pub(super) async fn expand(&self, one: &UnderWay, cursor: &Cursor, now: Timestamp) -> Result<Moved, StoreError> {
        let db = &self.0.of.db;
        // Where nobody else is, others need not wait while this is worked out: whoever moves the cursor meanwhile is noticed.
        if !db.is_shared() {
            let chunk = self.next_chunk(db.reader(), one, cursor, now).await?;
            return self.keep(db.begin_write().await?, one, cursor, chunk, now).await;
        }
        let tx = db.begin_write().await?;
        let Some(cursor) = runs::lock_cursor(&tx, cursor).await? else { return Ok(Moved::ByOthers) };
        let chunk = self.next_chunk(&tx, one, &cursor, now).await?;
        self.keep(tx, one, &cursor, chunk, now).await
    }

    /// Is done with a cursor: counts all who come after it for one reason.
    pub(super) async fn count_rest(
        &self,
        one: &UnderWay,
        cursor: &Cursor,
        (reason, effect): (BlockReason, Effect),
        now: Timestamp,
    ) -> Result<Moved, StoreError> {
        let tx = self.0.of.db.begin_write().await?;
        let Some(cursor) = runs::lock_cursor(&tx, cursor).await? else { return Ok(Moved::ByOthers) };
        let customers = runs::remaining_of(&tx, &cursor, &campaigns::addressed(&one.plan, now)?).await?;
        let exclusions = if customers > 0 { vec![Exclusion { reason, effect, customers }] } else { Vec::new() };
        let reached = usize::try_from(customers).unwrap_or(0);
        let chunk = Chunk { exclusions, position: cursor.position, is_last: true, reached, ..Chunk::default() };
        self.keep(tx, one, &cursor, chunk, now).await
    }

    /// Reaches those who moved to a zone that its cursor had passed.
    pub(super) async fn reach_movers(&self, one: &UnderWay, home: Zone, now: Timestamp) -> Result<usize, StoreError> {
        let db = &self.0.of.db;
        let Some(local) = one.run.local else { return Ok(0) };
        if runs::movers(db.reader(), one.run.run_id, None).await?.is_empty() {
            return Ok(0);
        }
        let tx = db.begin_write().await?;
        let moved = runs::take_movers(&tx, one.run.run_id).await?;
        let zones = customers::zones(&tx, &moved).await?;
        let mut chunk = Chunk::default();
        let due = moved.iter().map(|customer| {
            let zone = zones.get(customer).copied().unwrap_or(home);
            (*customer, zone.instant(local.0), zone)
        });
        self.judge(&tx, one, due.collect(), &mut chunk, now).await?;
        contacts::insert_of_run(&tx, &chunk.contacts).await?;
        runs::exclude(&tx, one.run.run_id, &chunk.exclusions).await?;
        database::commit(tx).await?;
        self.ring_for(&chunk.contacts);
        Ok(chunk.reached)
    }

    fn ring_for(&self, planned: &[Contact]) {
        planned.iter().for_each(|contact| self.0.of.bell.ring_for(contact.due_time));
    }

    async fn next_chunk(
        &self,
        db: &impl Connection,
        one: &UnderWay,
        cursor: &Cursor,
        now: Timestamp,
    ) -> Result<Chunk, StoreError> {
        let mut ids = customers::audience(
            db,
            cursor.share.residents(),
            &campaigns::addressed(&one.plan, now)?,
            cursor.position,
            CHUNK,
        )
        .await?;
        let is_last = (ids.len() as u64) < CHUNK;
        let mut chunk = Chunk { position: ids.last().copied().or(cursor.position), is_last, ..Chunk::default() };
        if one.run.local.is_some() && !ids.is_empty() {
            let movers = runs::movers(db, one.run.run_id, Some(&ids)).await?;
            ids.retain(|id| !movers.contains_key(id));
        }
        let zone = match cursor.share {
            Share::Zone(zone) => zone,
            Share::All | Share::Elsewhere => preferences::zone(db, None).await?,
        };
        let due = ids.into_iter().map(|id| (id, cursor.due_time, zone)).collect();
        self.judge(db, one, due, &mut chunk, now).await?;
        Ok(chunk)
    }

    /// Sorts customers: those who get a contact, and those whom the gate would never let have it.
    async fn judge(
        &self,
        db: &impl Connection,
        one: &UnderWay,
        due: Vec<(CustomerId, Timestamp, Zone)>,
        chunk: &mut Chunk,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        chunk.reached = due.len();
        if due.is_empty() {
            return Ok(());
        }
        let of = &self.0.of;
        let plan = |(customer, due, zone)| one.plan.contact_of_run(&one.run, customer, due, zone);
        let drafts: Vec<Contact> = due.into_iter().filter_map(plan).map(|new| new.plan(now)).collect();
        let asked: Vec<&Contact> = drafts.iter().collect();
        let facts = Facts::look(db, &of.key, of.senders.readiness(), &asked, now).await?;
        let mut counts: HashMap<(BlockReason, Effect), i64> = HashMap::new();
        let mut reachable = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            match gate::decide(&facts.case(draft, None)?, now) {
                // What they do without it is compared with what the others do: each has a contact.
                Verdict::End(block) if block.reason == BlockReason::Holdout => reachable.push(draft.contact_id),
                Verdict::End(block) => *counts.entry((block.reason, block.effect)).or_default() += 1,
                Verdict::Send { .. } | Verdict::Defer(_) => reachable.push(draft.contact_id),
            }
        }
        let exclusion = |((reason, effect), customers)| Exclusion { reason, effect, customers };
        chunk.exclusions.extend(counts.into_iter().map(exclusion));
        drop(asked);
        chunk.contacts = drafts;
        chunk.contacts.retain(|draft| reachable.contains(&draft.contact_id));
        Ok(())
    }

    async fn keep(
        &self,
        tx: WriteTx,
        one: &UnderWay,
        cursor: &Cursor,
        chunk: Chunk,
        now: Timestamp,
    ) -> Result<Moved, StoreError> {
        if !runs::advance(&tx, cursor, chunk.position, chunk.is_last.then_some(now)).await? {
            database::rollback(tx).await?;
            return Ok(Moved::ByOthers);
        }
        contacts::insert_of_run(&tx, &chunk.contacts).await?;
        runs::exclude(&tx, one.run.run_id, &chunk.exclusions).await?;
        database::commit(tx).await?;
        self.ring_for(&chunk.contacts);
        Ok(Moved::Reached(chunk.reached))
    }
}
