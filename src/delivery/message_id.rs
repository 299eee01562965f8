use crate::{
    ids::ContactId,
    tokens::{SecretKey, Use},
};

/// The Message-ID of a contact, without angle brackets: the same at every attempt, different for every contact, and nothing
/// that anybody else can guess or read back.
pub fn message_id(key: &SecretKey, contact: ContactId, domain: &str) -> String {
    format!("{}@{domain}", key.seal(Use::MessageId, &uuid::Uuid::from(contact).into_bytes()))
}

/// The contact that a Message-ID was made for; none where it is not ours. Some mail systems change the case of what stands
/// before the "@", and all may change the domain.
pub fn contact_of(key: &SecretKey, message_id: &str) -> Option<ContactId> {
    let local = message_id.split('@').next()?;
    key.open(Use::MessageId, local).map(|bytes| ContactId::from_uuid(uuid::Uuid::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_has_one_message_id_and_is_found_by_it() {
        let key = SecretKey::from_text("key");
        let (a, b) = (ContactId::generate(), ContactId::generate());
        let id = message_id(&key, a, "example.com");
        assert_eq!(id, message_id(&key, a, "example.com"));
        assert_ne!(id, message_id(&key, b, "example.com"));
        assert_eq!(contact_of(&key, &id), Some(a));
        assert_eq!(contact_of(&key, &id.to_uppercase()), Some(a));
        for other in ["", "@", "a@example.com", &id[1..]] {
            assert_eq!(contact_of(&key, other), None, "{other}");
        }
        assert_eq!(contact_of(&SecretKey::from_text("other"), &id), None);
    }
}
