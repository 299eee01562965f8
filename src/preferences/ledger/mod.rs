//! The ledger of consent: everything that customers said, under which words, and on what evidence. It is only added to, which the
//! database sees to; evidence is kept apart, so that it can be removed while its digest stays.

mod entity;
mod record;
mod store;

use std::collections::HashMap;

pub use self::{
    record::{ConsentAct, ConsentRecord, Evidence, Wording},
    store::{
        copy_wordings, count_requests, erase_evidence, find as find_record, find_request, forget_evidence,
        is_confirmed, records_before, spoke_since,
    },
};
use super::{PreferenceBook, topics};
use crate::{
    database::{self, Connection, StoreError, WriteTx},
    ids::{ConsentRecordId, CustomerId, TopicId, WordingId},
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey},
    templates::Locale,
};

/// The words that are to be kept.
#[derive(Debug, Clone)]
pub struct NewWording {
    /// About which topic.
    pub topic_id: TopicId,
    /// In which language; none = not said.
    pub locale: Option<Locale>,
    /// The words.
    pub text: String,
}

impl PreferenceBook {
    /// A page of what a customer said, the oldest first, with what it rests on as far as that is still there.
    pub async fn records(
        &self,
        customer: CustomerId,
        page: &Page,
    ) -> Result<(PageOf<ConsentRecord>, HashMap<ConsentRecordId, Evidence>), StoreError> {
        let rows = store::list(self.db.reader(), customer, page).await?;
        let ids: Vec<_> = rows.iter().map(|record| record.record_id).collect();
        let evidence = store::evidence_of(self.db.reader(), &ids).await?;
        Ok((PageOf::from_rows(rows, page, |record| record.record_id.to_string()), evidence))
    }

    /// Keeps words that people will agree to.
    pub async fn create_wording(&self, new: NewWording, key: Option<&RequestKey>) -> Result<Reply<Wording>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let corrupt = |_| StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
            return Ok(Reply::replayed(find_wording(&tx, first.resource.parse().map_err(corrupt)?).await?));
        }
        topics::find(&tx, &new.topic_id).await?;
        let NewWording { topic_id, locale, text } = new;
        let wording = Wording { wording_id: WordingId::generate(), topic_id, locale, text, create_time: now };
        store::insert_wording(&tx, &wording).await?;
        if let Some(key) = key {
            key.finish(&tx, wording.wording_id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(wording))
    }

    /// One wording.
    pub async fn wording(&self, id: WordingId) -> Result<Wording, Fault> {
        find_wording(self.db.reader(), id).await
    }

    /// A page of wordings, the oldest first, of one topic or of all.
    pub async fn list_wordings(&self, topic: Option<&TopicId>, page: &Page) -> Result<PageOf<Wording>, StoreError> {
        let rows = store::list_wordings(self.db.reader(), topic, page).await?;
        Ok(PageOf::from_rows(rows, page, |wording| wording.wording_id.to_string()))
    }
}

/// Adds an entry, and what it rests on.
pub async fn append(tx: &WriteTx, mut new: ConsentRecord, evidence: &Evidence) -> Result<ConsentRecord, StoreError> {
    new.evidence_digest = Some(evidence.digest());
    store::insert_all(tx, &[(new.clone(), evidence.clone())]).await?;
    Ok(new)
}

/// Adds entries, each with what it rests on.
pub async fn append_all(tx: &WriteTx, mut new: Vec<(ConsentRecord, Evidence)>) -> Result<(), StoreError> {
    for (record, evidence) in &mut new {
        record.evidence_digest = Some(evidence.digest());
    }
    store::insert_all(tx, &new).await
}

/// Which topics these wordings are about, as far as there are such wordings.
pub async fn topics_of_wordings(
    db: &impl Connection,
    ids: impl IntoIterator<Item = WordingId>,
) -> Result<HashMap<WordingId, TopicId>, StoreError> {
    store::topics_of_wordings(db, ids.into_iter().collect()).await
}

/// One wording.
pub async fn find_wording(db: &impl Connection, id: WordingId) -> Result<Wording, Fault> {
    let found = store::find_wording(db, id).await?;
    found.ok_or_else(|| Fault::refused(Reason::WordingNotFound, id, format!("there is no wording {id}")))
}
