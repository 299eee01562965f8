//! The secret key, and what is signed with it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Signs page tokens and makes Message-IDs. Each use has a key of its own, derived from this one.
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
}

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

    fn mac(&self, purpose: Use, message: &[u8]) -> Hmac<Sha256> {
        let label: &[u8] = match purpose {
            Use::PageToken => b"rapport page token 1",
            Use::MessageId => b"rapport message id 1",
            Use::Suppression => b"rapport suppression 1",
        };
        let key = keyed(&self.0).chain_update(label).finalize().into_bytes();
        keyed(&key.into()).chain_update(message)
    }
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
}
