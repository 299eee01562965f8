//! The secret key, what is signed with it, and the tokens in links and return paths.

use std::fmt;

use data_encoding::BASE32_NOPAD_NOCASE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Signs page tokens, makes Message-IDs and seals the tokens in links. Each use has a key of its own, derived from this one.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

/// What a signature is for; one for one purpose is worth nothing for another.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// The place in a list where the next page starts.
    PageToken,
    /// The Message-ID of a contact.
    MessageId,
    /// The address that a suppression is for.
    Suppression,
    /// The address that a letter bounces to.
    ReturnPath,
    /// The link that unsubscribes.
    Unsubscribe,
    /// The link to somebody's preferences.
    Preferences,
    /// The link that confirms a consent.
    OptIn,
    /// The picture that shows that a message was opened.
    Open,
    /// A link of a message.
    Follow,
}

const SIGNATURE: usize = 16;

impl SecretKey {
    /// From the text of the setting, of any length.
    pub fn from_text(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The signature of `message` for one use: HMAC-SHA-256 (RFC 2104).
    pub fn sign(&self, purpose: Use, message: &[u8]) -> [u8; 32] {
        self.mac(purpose, message).finalize().into_bytes().into()
    }

    /// Whether `signature`, possibly cut to its first 16 bytes or more, is that of `message`; takes the same time either way.
    pub fn verify(&self, purpose: Use, message: &[u8], signature: &[u8]) -> bool {
        signature.len() >= 16 && self.mac(purpose, message).verify_truncated_left(signature).is_ok()
    }

    /// A token that holds `message`, tells nothing about it, and cannot be made or changed without the key: lower-case letters
    /// and digits only, as some mail servers change the case of addresses. The same message makes the same token.
    ///
    /// A synthetic initialisation vector as in RFC 5297: the signature of the message is what its key stream is drawn from.
    pub fn seal<const N: usize>(&self, purpose: Use, message: &[u8; N]) -> String {
        let signature: [u8; SIGNATURE] = first(&self.sign(purpose, message));
        let hidden = self.veil(purpose, &signature, message);
        BASE32_NOPAD_NOCASE.encode(&[&signature[..], &hidden[..]].concat()).to_ascii_lowercase()
    }

    /// What a [sealed](Self::seal) token holds; none where it was not made with this key for this use.
    pub fn open<const N: usize>(&self, purpose: Use, token: &str) -> Option<[u8; N]> {
        let bytes = BASE32_NOPAD_NOCASE.decode(token.as_bytes()).ok().filter(|bytes| bytes.len() == SIGNATURE + N)?;
        let (signature, hidden) = bytes.split_at(SIGNATURE);
        let message = self.veil(purpose, signature, &first(hidden));
        self.verify(purpose, &message, signature).then_some(message)
    }

    fn veil<const N: usize>(&self, purpose: Use, signature: &[u8], message: &[u8; N]) -> [u8; N] {
        const { assert!(N <= 32, "the stream has 32 octets") };
        let stream = self.mac(purpose, b"veil").chain_update(signature).finalize().into_bytes();
        std::array::from_fn(|place| message[place] ^ stream[place])
    }

    fn mac(&self, purpose: Use, message: &[u8]) -> Hmac<Sha256> {
        let label: &[u8] = match purpose {
            Use::PageToken => b"rapport page token 1",
            Use::MessageId => b"rapport message id 1",
            Use::Suppression => b"rapport suppression 1",
            Use::ReturnPath => b"rapport return path 1",
            Use::Unsubscribe => b"rapport unsubscribe 1",
            Use::Preferences => b"rapport preferences 1",
            Use::OptIn => b"rapport opt-in 1",
            Use::Open => b"rapport open 1",
            Use::Follow => b"rapport follow 1",
        };
        let key = keyed(&self.0).chain_update(label).finalize().into_bytes();
        keyed(&key.into()).chain_update(message)
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|place| bytes[place])
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    Hmac::new_from_slice(key).expect("any key length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_own_message_use_and_key_only() {
        let key = SecretKey::from_text("one");
        let signature = key.sign(Use::PageToken, b"message");
        assert!(key.verify(Use::PageToken, b"message", &signature));
        assert!(key.verify(Use::PageToken, b"message", &signature[..16]));
        assert!(!key.verify(Use::PageToken, b"message", &signature[..15]));
        assert!(!key.verify(Use::PageToken, b"Message", &signature));
        assert!(!key.verify(Use::MessageId, b"message", &signature));
        assert!(!SecretKey::from_text("two").verify(Use::PageToken, b"message", &signature));
    }

    #[test]
    fn a_sealed_token_opens_for_its_own_use_and_key_only_in_whatever_case() {
        let (key, message) = (SecretKey::from_text("one"), [7; 16]);
        let token = key.seal(Use::Unsubscribe, &message);
        assert_eq!((token.len(), token == token.to_lowercase()), (52, true), "{token}");
        assert_eq!(key.open(Use::Unsubscribe, &token), Some(message));
        assert_eq!(key.open(Use::Unsubscribe, &token.to_uppercase()), Some(message));
        assert_eq!(key.open::<16>(Use::Preferences, &token), None);
        assert_eq!(key.open::<24>(Use::Unsubscribe, &token), None);
        assert_eq!(SecretKey::from_text("two").open::<16>(Use::Unsubscribe, &token), None);
        for wrong in ["", "a", "é", &token[1..], &format!("{token}a")] {
            assert_eq!(key.open::<16>(Use::Unsubscribe, wrong), None, "{wrong}");
        }
        for place in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[place] = if forged[place] == b'a' { b'b' } else { b'a' };
            assert_eq!(key.open::<16>(Use::Unsubscribe, &String::from_utf8(forged).unwrap()), None, "{place}");
        }
    }
}
