//! Links to the pages, as they stand in mail: each holds a token for its own use that tells nothing to others.

use crate::{
    ids::ContactId,
    tokens::{SecretKey, Use},
};

/// Makes links, and knows its own again.
#[derive(Debug, Clone)]
pub struct Links {
    base: String,
    key: SecretKey,
}

impl Links {
    /// Links that start with `base`, without a slash at its end, signed with `key`.
    pub fn new(base: String, key: SecretKey) -> Self {
        Self { base, key }
    }

    /// Where a POST, without anything else, unsubscribes from what a contact is about (RFC 8058), and a GET asks.
    pub fn unsubscribe(&self, contact: ContactId) -> String {
        format!("{}/u/{}", self.base, self.key.seal(Use::Unsubscribe, &bytes(contact)))
    }

    /// The contact that a token of [`unsubscribe`](Self::unsubscribe) is about; none where it is not ours.
    pub fn unsubscribed(&self, token: &str) -> Option<ContactId> {
        self.contact(Use::Unsubscribe, token)
    }

    /// Where whoever got a contact sees and changes their preferences.
    pub fn preferences(&self, contact: ContactId) -> String {
        format!("{}/p/{}", self.base, self.key.seal(Use::Preferences, &bytes(contact)))
    }

    /// The contact that a token of [`preferences`](Self::preferences) is about; none where it is not ours.
    pub fn preferred(&self, token: &str) -> Option<ContactId> {
        self.contact(Use::Preferences, token)
    }

    fn contact(&self, purpose: Use, token: &str) -> Option<ContactId> {
        self.key.open(purpose, token).map(|bytes| ContactId::from_uuid(uuid::Uuid::from_bytes(bytes)))
    }
}

fn bytes(contact: ContactId) -> [u8; 16] {
    uuid::Uuid::from(contact).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_known_again_for_its_own_page_only() {
        let links = Links::new("https://mail.example.com".to_owned(), SecretKey::from_text("one"));
        let contact = ContactId::generate();
        let link = links.unsubscribe(contact);
        let token = link.strip_prefix("https://mail.example.com/u/").unwrap();
        assert_eq!(links.unsubscribed(token), Some(contact));
        assert_eq!(links.preferred(token), None);
        let link = links.preferences(contact);
        assert_eq!(links.preferred(link.strip_prefix("https://mail.example.com/p/").unwrap()), Some(contact));
    }
}
