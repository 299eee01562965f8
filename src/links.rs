//! Links to the pages, as they stand in mail: each holds a token for its own use that tells nothing to others.

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    ids::{ContactId, CustomerId},
    tokens::{SecretKey, Use},
};

/// Who comes to see their preferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor {
    /// Whoever got this contact.
    By(ContactId),
    /// A customer whom a caller gave a link.
    Customer(CustomerId),
}

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

    /// Where a customer sees and changes their preferences until `end`.
    pub fn preferences_of(&self, customer: CustomerId, end: Timestamp) -> String {
        let mut message = [0; 24];
        message[..16].copy_from_slice(Uuid::from(customer).as_bytes());
        message[16..].copy_from_slice(&end.timestamp().to_be_bytes());
        format!("{}/p/{}", self.base, self.key.seal(Use::Preferences, &message))
    }

    /// Who comes with a token of [`preferences`](Self::preferences) or [`preferences_of`](Self::preferences_of) at `now`; none
    /// where it is not ours or its time is over.
    pub fn visitor(&self, token: &str, now: Timestamp) -> Option<Visitor> {
        if let Some(contact) = self.contact(Use::Preferences, token) {
            return Some(Visitor::By(contact));
        }
        let message: [u8; 24] = self.key.open(Use::Preferences, token)?;
        let (customer, end) = message.split_at(16);
        let end = i64::from_be_bytes(end.try_into().ok()?);
        let customer = CustomerId::from_uuid(Uuid::from_slice(customer).ok()?);
        (now.timestamp() < end).then_some(Visitor::Customer(customer))
    }

    /// Where whoever got a contact that asks for it confirms a consent.
    pub fn confirm(&self, contact: ContactId) -> String {
        format!("{}/c/{}", self.base, self.key.seal(Use::OptIn, &bytes(contact)))
    }

    /// The contact that a token of [`confirm`](Self::confirm) is about; none where it is not ours.
    pub fn confirming(&self, token: &str) -> Option<ContactId> {
        self.contact(Use::OptIn, token)
    }

    /// The picture that shows that a contact was opened.
    pub fn open(&self, contact: ContactId) -> String {
        format!("{}/o/{}", self.base, self.key.seal(Use::Open, &bytes(contact)))
    }

    /// The contact that a token of [`open`](Self::open) is about; none where it is not ours.
    pub fn opened(&self, token: &str) -> Option<ContactId> {
        self.contact(Use::Open, token)
    }

    /// The way over us to where a link of a contact leads: the one with this number.
    pub fn follow(&self, contact: ContactId, number: u16) -> String {
        let mut message = [0; 18];
        message[..16].copy_from_slice(&bytes(contact));
        message[16..].copy_from_slice(&number.to_be_bytes());
        format!("{}/r/{}", self.base, self.key.seal(Use::Follow, &message))
    }

    /// The contact and the number of a token of [`follow`](Self::follow); none where it is not ours.
    pub fn followed(&self, token: &str) -> Option<(ContactId, u16)> {
        let message: [u8; 18] = self.key.open(Use::Follow, token)?;
        let (contact, number) = message.split_at(16);
        let contact = ContactId::from_uuid(Uuid::from_slice(contact).ok()?);
        Some((contact, u16::from_be_bytes(number.try_into().ok()?)))
    }

    /// Whether a link leads to the pages; whatever else stands at the same place is none of ours.
    pub fn is_own(&self, link: &str) -> bool {
        let page = link.strip_prefix(&self.base);
        page.is_some_and(|page| ["/u/", "/p/", "/c/"].iter().any(|own| page.starts_with(own)))
    }

    fn contact(&self, purpose: Use, token: &str) -> Option<ContactId> {
        self.key.open(purpose, token).map(|bytes| ContactId::from_uuid(Uuid::from_bytes(bytes)))
    }
}

fn bytes(contact: ContactId) -> [u8; 16] {
    Uuid::from(contact).into_bytes()
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
        let now = Timestamp::from_timestamp(1_000, 0).unwrap();
        assert_eq!(links.visitor(token, now), None);
        assert_eq!(links.confirming(token), None);
        let link = links.preferences(contact);
        let token = link.strip_prefix("https://mail.example.com/p/").unwrap();
        assert_eq!(links.visitor(token, now), Some(Visitor::By(contact)));
        let (customer, end) = (CustomerId::generate(), Timestamp::from_timestamp(1_001, 0).unwrap());
        let link = links.preferences_of(customer, end);
        let token = link.strip_prefix("https://mail.example.com/p/").unwrap();
        assert_eq!(links.visitor(token, now), Some(Visitor::Customer(customer)));
        assert_eq!(links.visitor(token, end), None);
        let link = links.open(contact);
        assert_eq!(links.opened(link.strip_prefix("https://mail.example.com/o/").unwrap()), Some(contact));
        let link = links.follow(contact, 300);
        assert_eq!(links.followed(link.strip_prefix("https://mail.example.com/r/").unwrap()), Some((contact, 300)));
        assert!(links.is_own(&links.unsubscribe(contact)) && links.is_own(&links.confirm(contact)));
        assert!(!links.is_own("https://mail.example.com/sale") && !links.is_own("https://example.com/u/a"));
        let link = links.confirm(contact);
        assert_eq!(links.confirming(link.strip_prefix("https://mail.example.com/c/").unwrap()), Some(contact));
    }
}
