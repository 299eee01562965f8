use serde::{Deserialize, Serialize};

use crate::{contacts::Purpose, database::text_enum, delivery::Channel, ids::TopicId, templates::Locale};

text_enum! {
    /// What it takes before a customer may be written to.
    OptIn {
        /// A grant that is confirmed from the mailbox.
        Double = "double",
        /// A grant.
        Single = "single",
        /// Nothing.
        None = "none",
    }
}

/// What messages are about: the unit of consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub topic_id: TopicId,
    /// What people read, one text per language.
    pub names: Vec<LocalizedText>,
    /// What its messages are for; fixed.
    pub purpose: Purpose,
    /// What it takes before a customer may be written to.
    pub opt_in: OptIn,
    /// On which channels.
    pub channels: Vec<Channel>,
    /// Goes out even after a complaint.
    pub essential: bool,
    /// Counts its changes.
    pub revision: i32,
}

/// A text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalizedText {
    /// None = the fallback.
    pub locale: Option<Locale>,
    /// The text.
    pub text: String,
}
