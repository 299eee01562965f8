//! Pauses of the dispatch: while one holds, nothing goes out, whatever it is for. The decision reads them in its own
//! transaction, so a pause acts at once on every replica, and nothing that waits has to be touched.

mod entity;
mod store;

pub use self::store::active;
use crate::{
    clock::Timestamp,
    contacts,
    database::{self, Database, StoreError},
    delivery::Channel,
    ids::PauseId,
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
}

impl Pause {
    /// Whether it keeps a channel's messages from going out at a moment.
    pub fn holds(&self, channel: Channel, now: Timestamp) -> bool {
        self.channel.is_none_or(|own| own == channel) && self.expire_time.is_none_or(|end| now < end)
    }

    fn is(&self, asked: &NewPause) -> bool {
        let (channel, expire_time) = (self.channel, self.expire_time);
        let own = NewPause { channel, reason: self.reason.clone(), actor: self.actor.clone(), expire_time };
        own == *asked
    }
}

/// Pauses the dispatch. The same pause again, while it holds, is that pause.
pub async fn begin(db: &Database, asked: NewPause, now: Timestamp) -> Result<Pause, StoreError> {
    let tx = db.begin_write().await?;
    if let Some(same) = active(&tx, now).await?.into_iter().find(|pause| pause.is(&asked)) {
        return Ok(same);
    }
    let NewPause { channel, reason, actor, expire_time } = asked;
    let pause = Pause { pause_id: PauseId::generate(), channel, reason, actor, create_time: now, expire_time };
    store::insert(&tx, &pause).await?;
    database::commit(tx).await?;
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
