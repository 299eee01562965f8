//! Messages on the wire: addresses, composition, transports. Knows letters, not contacts.

mod address;
mod breaker;
mod dkim;
mod folder;
mod letter;
mod message_id;
mod returned;
mod smtp;

pub use self::{
    address::{EmailAddress, Mailbox},
    breaker::Breaker,
    dkim::{SigningPair, UnfitKey, sign},
    folder::Folder,
    letter::{Letter, MailingList, UnfitLetter, breaks_headers, check_letter},
    message_id::{contact_of, message_id},
    returned::{
        Cause, Complaint, ComplaintKind, Failure, Fate, Notice, Returned, Stage, Status, Unreadable, Weight, What,
        codes_of, judge, judge_refusal, read as read_returned, without_addresses,
    },
    smtp::{Announcement, Conversation, NoTls, Smtp},
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
    /// Each letter goes to a mail server.
    Smtp(Smtp),
    /// Each letter is taken and goes nowhere: for rehearsals.
    Nowhere,
}

/// A composed letter and where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The same at every attempt for one contact, so that a second hand-over replaces the first where the transport can do that.
    pub name: &'a str,
    /// Who hears of it when it cannot be delivered.
    pub from: &'a EmailAddress,
    /// Who gets it.
    pub to: &'a EmailAddress,
    /// As it goes onto the wire: headers and body, lines end in CRLF.
    pub letter: &'a [u8],
}

/// What became of a hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The transport has taken responsibility.
    Accepted,
    /// Not this letter's fault: no connection, no time for anybody, or a refusal that every letter would have heard. Surely not
    /// sent, and no attempt.
    Returned {
        /// Why; no personal data.
        detail: String,
    },
    /// Refused for now; the letter may be handed over again.
    Later(Refusal),
    /// Refused for good; the same letter would be refused again.
    Never(Refusal),
    /// The answer was lost: it may have been taken.
    Unknown {
        /// How; no personal data.
        detail: String,
    },
}

/// What a transport said when it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reply code with the enhanced one (RFC 3463): "451 4.7.1". Empty where there is none.
    pub code: String,
    /// In its own words.
    pub detail: String,
    /// What it answered to.
    pub stage: Stage,
}

impl Refusal {
    /// A refusal without a code.
    pub fn plain(detail: impl Into<String>) -> Self {
        Self { code: String::new(), detail: detail.into(), stage: Stage::Unknown }
    }
}

impl Transport {
    /// Hands one composed letter over, in the conversation in which it was announced, if it was. Once its own end leaves, `next`
    /// is asked which letter to announce in the same write; that one has to go in the conversation that is answered.
    pub async fn hand_over(
        &self,
        envelope: Envelope<'_>,
        announced: Option<Conversation>,
        next: impl FnOnce() -> Option<Announcement> + Send,
    ) -> (Outcome, Option<Conversation>) {
        match self {
            Self::Folder(folder) => (folder.hand_over(envelope).await, None),
            Self::Smtp(smtp) => smtp.hand_over(envelope, announced, next).await,
            Self::Nowhere => (Outcome::Accepted, None),
        }
    }
}
