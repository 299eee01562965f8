//! Every identifier, and the only place where randomness comes from.
//!
//! Rows are keyed by UUIDv7, made by the application, so that ids are ordered by creation and need no sequence. Outside they
//! read `cus_` and 26 characters of Crockford base32. What people name themselves (topics, templates, campaigns) is keyed by
//! that name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ENCODED_LENGTH: usize = 26;

/// A text that is not an identifier of the kind asked for; says which form is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{allowed}")]
pub struct InvalidId {
    /// What would have been right, for people.
    pub allowed: String,
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, later in order than all that this process made before.
            pub fn generate() -> Self {
                Self(new_uuid())
            }

            /// The id of a row.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), encode(self.0.as_u128()))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(|bits| Self(Uuid::from_u128(bits)))
                    .ok_or_else(|| InvalidId {
                        allowed: concat!("must be \"", $prefix, "_\" and 26 characters, as this service gave it").to_owned(),
                    })
            }
        }
    )*};
}

typed_ids! {
    /// A customer.
    CustomerId "cus";
    /// One way to reach a customer.
    AddressId "adr";
    /// Something that happened.
    EventId "evt";
    /// One customer inside a follow-up.
    EnrollmentId "enr";
    /// One firing of a newsletter.
    RunId "run";
    /// One planned message to one customer.
    ContactId "cnt";
    /// One entry of the consent ledger.
    ConsentRecordId "cns";
    /// The words of a consent.
    WordingId "wrd";
    /// A pause of the dispatch.
    PauseId "pau";
    /// An address that is not written to.
    SuppressionId "sup";
    /// The removal of everything personal about a customer.
    ErasureId "ers";
    /// Something that came back for a message.
    DeliveryEventId "dev";
    /// The lease of a process, with which it claims contacts; fences off whoever held them before.
    ClaimToken "clm";
}

impl CustomerId {
    /// The customer's share of the key space, 0 to 255, for ever: the last byte of the id, which is random.
    pub fn bucket(self) -> i16 {
        i16::from(self.0.as_bytes()[15])
    }
}

macro_rules! slugs {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A name that was checked when it was stored.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_slug(text, 3) {
                    return Ok(Self(text.to_owned()));
                }
                Err(InvalidId { allowed: "must be 3 to 63 characters of a-z, 0-9 and \"-\"".to_owned() })
            }
        }
    )*};
}

slugs! {
    /// What messages are about.
    TopicId;
    /// The text of a message.
    TemplateId;
    /// A plan.
    CampaignId;
    /// Who mail is from.
    SenderId;
}

impl TemplateId {
    /// For a template whose author chose no name.
    pub fn generate() -> Self {
        Self(format!("tpl-{}", encode(new_uuid().as_u128())))
    }
}

impl CampaignId {
    /// For a campaign whose author chose no name.
    pub fn generate() -> Self {
        Self(format!("cmp-{}", encode(new_uuid().as_u128())))
    }
}

/// Whether `text` is `shortest` to 63 characters of a-z, 0-9 and "-".
pub fn is_slug(text: &str, shortest: usize) -> bool {
    (shortest..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// 32 bytes that nobody can guess.
pub fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(random_uuid().as_bytes());
    key[16..].copy_from_slice(random_uuid().as_bytes());
    // The fixed version and variant bits of a UUID carry nothing; hashing spreads the 244 random bits over all 256.
    <sha2::Sha256 as sha2::Digest>::digest(key).into()
}

/// Lower-case Crockford base32, 26 characters, most significant first.
pub fn encode(bits: u128) -> String {
    (0..ENCODED_LENGTH).rev().map(|place| char::from(ALPHABET[(bits >> (5 * place)) as usize & 31])).collect()
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != ENCODED_LENGTH {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte)?;
        if place == 0 && digit > 7 {
            return None;
        }
        bits = (bits << 5) | digit as u128;
    }
    Some(bits)
}

#[expect(clippy::disallowed_methods, reason = "this is where ids come from")]
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

#[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
fn random_uuid() -> Uuid {
    Uuid::new_v4()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        for _ in 0..1_000 {
            let id = CustomerId::generate();
            assert_eq!(id.to_string().parse::<CustomerId>(), Ok(id));
            assert_eq!(id.to_string().len(), 30);
        }
        let largest = ContactId::from_uuid(Uuid::from_u128(u128::MAX));
        assert_eq!(largest.to_string(), "cnt_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert_eq!(largest.to_string().parse(), Ok(largest));
    }

    #[test]
    fn ids_are_ordered_by_creation_as_rows_and_as_text() {
        let ids: Vec<EventId> = (0..1_000).map(|_| EventId::generate()).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().map(ToString::to_string).is_sorted());
    }

    #[test]
    fn an_id_has_one_spelling_and_one_kind() {
        let id = CustomerId::generate().to_string();
        assert!(id.to_uppercase().parse::<CustomerId>().is_err());
        assert!(id.parse::<ContactId>().is_err());
        assert!("cus_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<CustomerId>().is_err());
        assert!("cus_".parse::<CustomerId>().is_err());
        assert!("cus_0000000000000000000000000u".parse::<CustomerId>().is_err());
    }

    #[test]
    fn a_name_is_short_and_plain() {
        assert!("after-sales".parse::<TopicId>().is_ok());
        assert!(CampaignId::generate().as_str().parse::<CampaignId>().is_ok());
        for wrong in ["ab", "After", "a_b", "über", &"x".repeat(64), ""] {
            assert!(wrong.parse::<TopicId>().is_err(), "{wrong}");
        }
    }
}
