use crate::{
    ids::{self, ContactId},
    tokens::{SecretKey, Use},
};

/// The Message-ID of a contact, without angle brackets: the same at every attempt, different for every contact, and nothing
/// that can be guessed or read back.
pub fn message_id(key: &SecretKey, contact: ContactId, domain: &str) -> String {
    let signature = key.sign(Use::MessageId, contact.to_string().as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&signature[..16]);
    format!("{}@{domain}", ids::encode(u128::from_be_bytes(half)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_has_one_message_id() {
        let key = SecretKey::from_text("key");
        let (a, b) = (ContactId::generate(), ContactId::generate());
        assert_eq!(message_id(&key, a, "example.com"), message_id(&key, a, "example.com"));
        assert_ne!(message_id(&key, a, "example.com"), message_id(&key, b, "example.com"));
        assert_eq!(message_id(&key, a, "example.com").len(), "01234567890123456789012345@example.com".len());
    }
}
