//! Pauses of the dispatch: while one holds, nothing goes out, whatever it is for. The decision reads them in its own
//! transaction, so a pause acts at once on every replica, and nothing that waits has to be touched.

mod entity;
mod store;

pub use self::store::active;
use crate::{
    clock::Timestamp,
    contacts::{self, Purpose},
    database::{self, Database, StoreError, WriteTx},
    delivery::Channel,
    ids::{PauseId, SenderId},
};

/// A pause of the dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Its id.
    pub pause_id: PauseId,
    /// What it holds; none = everything.
    pub channel: Option<Channel>,
    /// Why, as the operator said.
    pub reason: String,
    /// Who asked for it.
    pub actor: String,
    /// Since when it holds.
    pub create_time: Timestamp,
    /// When it ends by itself; none = when somebody ends it.
    pub expire_time: Option<Timestamp>,
    /// Whose messages it holds; none = everybody's.
    pub sender_id: Option<SenderId>,
    /// What for those are; empty = whatever for.
    pub purposes: Vec<Purpose>,
}

/// A pause that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPause {
    /// What it holds; none = everything.
    pub channel: Option<Channel>,
    /// Why.
    pub reason: String,
    /// Who asks for it.
    pub actor: String,
    /// When it ends by itself; none = when somebody ends it.
    pub expire_time: Option<Timestamp>,
    /// Whose messages it holds; none = everybody's.
    pub sender_id: Option<SenderId>,
    /// What for those are; empty = whatever for.
    pub purposes: Vec<Purpose>,
}

impl Pause {
    /// Whether it keeps a channel's messages with a purpose from going out at a moment.
    pub fn holds(&self, channel: Channel, purpose: Purpose, now: Timestamp) -> bool {
        (self.purposes.is_empty() || self.purposes.contains(&purpose)) && self.is_on(channel, now)
    }

    /// Whether it keeps all of a channel's messages from going out at a moment.
    pub fn holds_all(&self, channel: Channel, now: Timestamp) -> bool {
        self.purposes.is_empty() && self.is_on(channel, now)
    }

    fn is_on(&self, channel: Channel, now: Timestamp) -> bool {
        self.channel.is_none_or(|own| own == channel) && self.expire_time.is_none_or(|end| now < end)
    }

    fn is(&self, asked: &NewPause) -> bool {
        let (channel, expire_time) = (self.channel, self.expire_time);
        let (reason, actor) = (self.reason.clone(), self.actor.clone());
        let (sender_id, purposes) = (self.sender_id.clone(), self.purposes.clone());
        let own = NewPause { channel, reason, actor, expire_time, sender_id, purposes };
        own == *asked
    }
}

/// Pauses the dispatch. The same pause again, while it holds, is that pause.
pub async fn begin(db: &Database, asked: NewPause, now: Timestamp) -> Result<Pause, StoreError> {
    let tx = db.begin_write().await?;
    let pause = begin_in(&tx, asked, now).await?;
    database::commit(tx).await?;
    Ok(pause)
}

/// The same in the transaction of the caller.
pub async fn begin_in(tx: &WriteTx, asked: NewPause, now: Timestamp) -> Result<Pause, StoreError> {
    if let Some(same) = active(tx, now).await?.into_iter().find(|pause| pause.is(&asked)) {
        return Ok(same);
    }
    let NewPause { channel, reason, actor, expire_time, sender_id, purposes } = asked;
    let pause_id = PauseId::generate();
    let pause = Pause { pause_id, channel, reason, actor, create_time: now, expire_time, sender_id, purposes };
    store::insert(tx, &pause).await?;
    Ok(pause)
}

/// Ends a pause (none = all); one that is over already stays so. Answers those that still hold.
pub async fn end(db: &Database, which: Option<PauseId>, now: Timestamp) -> Result<Vec<Pause>, StoreError> {
    let tx = db.begin_write().await?;
    store::remove(&tx, which, now).await?;
    contacts::ask_again_after_pause(&tx).await?;
    let left = active(&tx, now).await?;
    database::commit(tx).await?;
    Ok(left)
}
