use sha2::{Digest, Sha256};

use crate::{
    clock::Timestamp,
    database::text_enum,
    delivery::Channel,
    ids::{self, AddressId, ConsentRecordId, ContactId, CustomerId, TopicId, WordingId},
    preferences::{ConsentMethod, ConsentState, DataUse},
    templates::Locale,
};

text_enum! {
    /// What an entry of the ledger says.
    ConsentAct {
        /// Would like to be written to; to be confirmed from the mailbox.
        Request = "request",
        /// May be written to about a topic.
        Grant = "grant",
        /// Must not be written to about a topic.
        Withdraw = "withdraw",
        /// No marketing and no surveys, whatever the topic.
        Object = "object",
        /// Nothing but transactional mail, whatever the topic.
        Silence = "silence",
    }
}

/// An entry of the ledger: never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRecord {
    /// Its id.
    pub record_id: ConsentRecordId,
    /// Whose.
    pub customer_id: CustomerId,
    /// What was said.
    pub act: ConsentAct,
    /// About which topic and channel; none = about all.
    pub scope: Option<(TopicId, Channel)>,
    /// What for.
    pub data_use: DataUse,
    /// What held before; none = nothing, or nobody wrote it down.
    pub from_state: Option<ConsentState>,
    /// What held after.
    pub to_state: ConsentState,
    /// How.
    pub method: ConsentMethod,
    /// The address that a grant is for.
    pub address_id: Option<AddressId>,
    /// The words that were agreed to.
    pub wording_id: Option<WordingId>,
    /// Of what was kept as [`Evidence`], which may be removed.
    pub evidence_digest: Option<[u8; 32]>,
    /// When it is over by itself.
    pub expire_time: Option<Timestamp>,
    /// The contact that asked for a confirmation, or whose link was followed.
    pub contact_id: Option<ContactId>,
    /// When the customer said so.
    pub occur_time: Timestamp,
    /// When it was recorded.
    pub record_time: Timestamp,
}

/// Who said how that a customer said something: kept apart from the ledger, so that it can be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who told us; "customer" on our own pages.
    pub actor: String,
    /// What shows it: where the form was, a receipt, a reference; empty = nothing.
    pub text: String,
    /// Makes the digest of what can be guessed impossible to guess.
    pub salt: [u8; 32],
}

impl Evidence {
    /// Of what somebody tells.
    pub fn new(actor: &str, text: &str) -> Self {
        Self { actor: actor.to_owned(), text: text.to_owned(), salt: ids::random_key() }
    }

    /// SHA-256 of the salt, the actor, a zero octet and the text: whoever has these can show that the ledger speaks of them.
    pub fn digest(&self) -> [u8; 32] {
        let parts = Sha256::new().chain_update(self.salt).chain_update(&self.actor).chain_update([0]);
        parts.chain_update(&self.text).finalize().into()
    }
}

/// The exact words that people agree to: never changed, never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// Its id.
    pub wording_id: WordingId,
    /// About which topic.
    pub topic_id: TopicId,
    /// In which language; none = not said.
    pub locale: Option<Locale>,
    /// The words.
    pub text: String,
    /// Since when.
    pub create_time: Timestamp,
}
