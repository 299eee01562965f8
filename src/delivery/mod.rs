//! Messages on the wire: addresses, composition, transports. Knows letters, not contacts.

mod address;
mod folder;
mod letter;
mod message_id;

pub use self::{
    address::{EmailAddress, Mailbox},
    folder::Folder,
    letter::{Letter, UnfitLetter, check_letter},
    message_id::message_id,
};
use crate::database::text_enum;

text_enum! {
    /// How a message reaches a customer.
    Channel {
        /// An e-mail to an address of the customer.
        Email = "email",
    }
}

/// Where letters are handed over. Never inside a database transaction.
#[derive(Debug)]
pub enum Transport {
    /// Each letter becomes a file.
    Folder(Folder),
}

/// What became of a hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The transport has taken responsibility.
    Accepted,
    /// Not now; the letter may be handed over again.
    Later {
        /// What it said.
        detail: String,
    },
    /// Never; the same letter would be refused again.
    Never {
        /// What it said.
        detail: String,
    },
}

impl Transport {
    /// Hands one composed letter over. `name` is the same at every attempt for one contact, so that a second hand-over of the
    /// same letter replaces the first where the transport can do that.
    pub async fn hand_over(&self, name: &str, letter: &[u8]) -> Outcome {
        match self {
            Self::Folder(folder) => folder.hand_over(name, letter).await,
        }
    }
}
