//! Topics: what messages are about, the unit of consent.

mod entity;
mod store;
mod topic;

pub use self::{
    store::load,
    topic::{LocalizedText, OptIn, Topic, TopicChange},
};
use super::PreferenceBook;
use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::{self, Connection, StoreError, WriteTx},
    delivery::Channel,
    ids::TopicId,
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey, Violations, check_etag},
};

/// The topic of the mail that asks to confirm a consent, and the template of it: made with the database, and for operators to change.
pub const CONFIRMATION: &str = "opt-in-confirmation";
/// What messages that are tried out are about.
pub const TRIAL: &str = "template-test";

impl PreferenceBook {
    /// Creates a topic.
    pub async fn create_topic(&self, new: Topic, key: Option<&RequestKey>) -> Result<Reply<Topic>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(find(&tx, &TopicId::from_stored(first.resource)).await?));
        }
        if !store::insert(&tx, &new, now).await? {
            let message = format!("there is a topic {} already", new.topic_id);
            return Err(Fault::refused(Reason::TopicExists, &new.topic_id, message));
        }
        if let Some(key) = key {
            key.finish(&tx, &new.topic_id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(new))
    }

    /// One topic.
    pub async fn topic(&self, id: &TopicId) -> Result<Topic, Fault> {
        find(self.db.reader(), id).await
    }

    /// A page by id; with archived ones or without.
    pub async fn list_topics(&self, archived: bool, page: &Page) -> Result<PageOf<Topic>, StoreError> {
        let rows = store::list(self.db.reader(), archived, page).await?;
        Ok(PageOf::from_rows(rows, page, |topic| topic.topic_id.to_string()))
    }

    /// All that customers can be offered.
    pub async fn offered_topics(&self) -> Result<Vec<Topic>, StoreError> {
        store::open(self.db.reader()).await
    }

    /// Changes a topic: what it takes counts for decisions from now on.
    pub async fn update_topic(&self, id: &TopicId, etag: &str, change: TopicChange) -> Result<Topic, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let mut topic = store::lock(&tx, id).await?.ok_or_else(|| not_found(id))?;
        check_etag(etag, topic.revision, id)?;
        topic.names = change.names.unwrap_or(topic.names);
        topic.descriptions = change.descriptions.unwrap_or(topic.descriptions);
        if let Some(opt_in) = change.opt_in {
            topic.opt_in = opt_in.unwrap_or(OptIn::usual(topic.purpose));
        }
        topic.essential = change.essential.unwrap_or(topic.essential);
        match change.archived {
            Some(true) => topic.archive_time = topic.archive_time.or(Some(now)),
            Some(false) => topic.archive_time = None,
            None => {}
        }
        let mut violations = Violations::default();
        Topic::check(topic.purpose, topic.opt_in, topic.essential, &mut violations);
        violations.check()?;
        topic.revision += 1;
        store::save(&tx, &topic).await?;
        database::commit(tx).await?;
        Ok(topic)
    }
}

/// One topic.
pub async fn find(db: &impl Connection, id: &TopicId) -> Result<Topic, Fault> {
    let found = store::load(db, [id.clone()]).await?.remove(id);
    found.ok_or_else(|| not_found(id))
}

/// Puts all topics in the place of those of another database.
pub async fn copy(from: &impl Connection, to: &WriteTx) -> Result<(), StoreError> {
    store::copy(from, to).await
}

/// One topic that something new can be about.
pub async fn find_open(db: &impl Connection, id: &TopicId) -> Result<Topic, Fault> {
    let topic = find(db, id).await?;
    topic.check_open().map(|()| topic)
}

/// There is no such topic.
pub fn not_found(id: &TopicId) -> Fault {
    Fault::refused(Reason::TopicNotFound, id, format!("there is no topic {id}"))
}

/// The topic of messages that are tried out; made when the first one is.
pub async fn trial(tx: &WriteTx, now: Timestamp) -> Result<Topic, StoreError> {
    let topic = Topic {
        topic_id: TopicId::from_stored(TRIAL.to_owned()),
        names: vec![LocalizedText { locale: None, text: "Test messages".to_owned() }],
        descriptions: Vec::new(),
        purpose: Purpose::Transactional,
        opt_in: OptIn::None,
        channels: vec![Channel::Email],
        essential: false,
        archive_time: None,
        revision: 1,
    };
    store::insert(tx, &topic, now).await?;
    Ok(topic)
}
