//! Who comes to the pages by a link in a mail, and what they see when something is wrong.

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use chrono::TimeDelta;

use super::look::{Language, Look};
use crate::{
    calendar::Zone,
    clock::{Clock, Timestamp},
    contacts::{Contact, Contacts},
    customers::{Customer, Customers},
    delivery::Channel,
    ids::{AddressId, ContactId, CustomerId},
    inbound::Inbound,
    intake::{Intake, Said},
    links::Links,
    preferences::{ConsentMethod, Evidence, PreferenceBook, SendingPolicy},
    rpc::{Fault, Reason},
};

/// What the pages for customers are made of.
#[derive(Debug)]
pub struct Guests {
    /// Business time.
    pub clock: Clock,
    /// The links in mail.
    pub links: Links,
    /// Customers.
    pub customers: Customers,
    /// Contacts.
    pub contacts: Contacts,
    /// Topics and preferences.
    pub preferences: PreferenceBook,
    /// What changes plans.
    pub intake: Intake,
    /// What comes back.
    pub inbound: Inbound,
    /// How pages look.
    pub look: Look,
}

/// Whoever holds a link.
#[derive(Debug)]
pub struct Guest {
    /// Who that is taken to be.
    pub customer: Customer,
    /// The message with the link; none where a caller gave it.
    pub contact: Option<Contact>,
    /// What holds for everybody.
    pub policy: SendingPolicy,
    /// When they come.
    pub now: Timestamp,
}

/// For how long a message shows that whoever has its links reads the mailbox: older ones have been forwarded often enough.
const FRESH: TimeDelta = TimeDelta::days(30);

impl Guests {
    /// Whoever got a message, even one who is deleted meanwhile.
    pub async fn by_message(&self, contact: ContactId) -> Result<Guest, Fault> {
        let contact = self.contacts.get(contact).await?;
        let guest = self.customer(contact.customer_id).await?;
        Ok(Guest { contact: Some(contact), ..guest })
    }

    /// A customer, even one who is deleted, but nobody who is erased.
    pub async fn customer(&self, id: CustomerId) -> Result<Guest, Fault> {
        let (customer, policy) = tokio::try_join!(self.customers.get(id, true), async {
            self.preferences.policy().await.map_err(Fault::from)
        })?;
        if customer.erase_time.is_some() {
            return Err(no_link());
        }
        Ok(Guest { customer, contact: None, policy, now: self.clock.now() })
    }

    /// What a guest reads.
    pub fn language(&self, guest: &Guest) -> &Language {
        self.look.language(guest.customer.locale.iter().chain([&guest.policy.default_locale]))
    }

    /// What a guest sees when something is wrong.
    pub fn refusal(&self, language: &Language, fault: &Fault) -> Response<Body> {
        let (status, name) = match fault {
            Fault::Store(error) => {
                tracing::error!(%error, "a page could not do its work");
                (StatusCode::SERVICE_UNAVAILABLE, "busy")
            }
            fault if fault.reason() == Some(Reason::ConfirmationExpired) => (StatusCode::GONE, "expired"),
            _ => (StatusCode::NOT_FOUND, "gone"),
        };
        self.look.note(status, language, name)
    }

    /// The same, where nobody knows who asks.
    pub fn refusal_to_anybody(&self, fault: &Fault) -> Response<Body> {
        self.refusal(self.look.language([]), fault)
    }
}

impl Guest {
    /// What a guest says on a page, by a method.
    pub fn says(&self, method: ConsentMethod) -> Said {
        Said {
            method,
            evidence: Evidence::new("customer", ""),
            contact_id: self.contact.as_ref().map(|contact| contact.contact_id),
            proven: self.contact.as_ref().and_then(|contact| self.proven(contact)),
        }
    }

    /// The mailbox that the guest has surely read: that of a message which was sent not long ago, and not to an address that is gone.
    fn proven(&self, contact: &Contact) -> Option<AddressId> {
        let fresh = contact.send_time.is_some_and(|sent| self.now < sent + FRESH);
        let there = |id: &AddressId| self.customer.addresses.iter().any(|address| address.address_id == *id);
        contact.address_id.filter(|id| fresh && there(id))
    }

    /// Where the guest is written to, with most of it hidden: whoever got a forwarded message learns nothing.
    pub fn masked_address(&self) -> String {
        let sent = self.contact.as_ref().and_then(|contact| contact.address_id);
        let address = self.customer.addresses.iter().find(|address| Some(address.address_id) == sent);
        let address = address.or_else(|| self.customer.primary_address(Channel::Email));
        address.map(|address| address.value.masked()).unwrap_or_default()
    }

    /// Where the guest lives, or is taken to live.
    pub fn zone(&self) -> Zone {
        self.customer.time_zone.unwrap_or(self.policy.time_zone)
    }
}

/// There is nothing behind a link.
pub fn no_link() -> Fault {
    Fault::refused(Reason::LinkInvalid, "token", "this is no link of this service")
}
