use std::collections::HashMap;

use chrono::TimeDelta;

use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::text_enum,
    delivery::{Channel, EmailAddress},
    ids::{AddressId, SuppressionId},
    tokens::{SecretKey, Use},
};

text_enum! {
    /// Why an address is not written to, in the order in which causes are told.
    Cause {
        /// The law, or a court, demands it.
        Legal = "legal",
        /// Whoever had the address was erased.
        Erasure = "erasure",
        /// A message was marked as spam.
        Complaint = "complaint",
        /// The address does not exist.
        HardBounce = "hard_bounce",
        /// An operator's decision.
        Operator = "operator",
        /// Too much bounced, each time for the time being.
        SoftBounces = "soft_bounces",
    }
}

impl Cause {
    /// Whether it keeps a message from going out.
    pub fn stops(self, purpose: Purpose, essential: bool) -> bool {
        match self {
            Self::Legal | Self::Erasure | Self::HardBounce | Self::Operator => true,
            Self::Complaint => !(purpose == Purpose::Transactional && essential),
            Self::SoftBounces => purpose != Purpose::Transactional,
        }
    }

    /// Whether an operator can lift it; else only a new act of the customer's own does.
    pub fn is_lifted_by_operator(self) -> bool {
        matches!(self, Self::HardBounce | Self::Operator | Self::SoftBounces)
    }

    /// When it ends by itself, where nobody says.
    pub fn usual_end(self, now: Timestamp) -> Option<Timestamp> {
        (self == Self::SoftBounces).then(|| now + TimeDelta::days(30))
    }
}

/// What an address is kept as: the same for the same address, and nobody without the key can tell which that is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(Vec<u8>);

impl AddressKey {
    /// Of an address on a channel.
    pub fn of(key: &SecretKey, channel: Channel, address: &EmailAddress) -> Self {
        Self(key.sign(Use::Suppression, format!("{channel} {}", address.key()).as_bytes()).to_vec())
    }

    /// From a row.
    pub(super) fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// An address that is not written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its id.
    pub suppression_id: SuppressionId,
    /// On which channel.
    pub channel: Channel,
    /// Which address.
    pub address_key: AddressKey,
    /// The address as people may see it.
    pub masked_address: String,
    /// Why.
    pub cause: Cause,
    /// For people.
    pub note: String,
    /// Who asked for it.
    pub actor: String,
    /// Since when it holds.
    pub create_time: Timestamp,
    /// When its cause was reported the last time.
    pub report_time: Timestamp,
    /// When it ends by itself.
    pub expire_time: Option<Timestamp>,
}

/// A suppression, and when it was lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// The suppression.
    pub suppression: Suppression,
    /// When; none = it was not.
    pub lift_time: Option<Timestamp>,
}

impl Suppression {
    /// What it is once its cause was reported again. Nobody ends what no operator can lift by reporting it anew.
    pub fn reported_again(self, note: String, expire_time: Option<Timestamp>, now: Timestamp) -> Self {
        let note = if note.is_empty() { self.note } else { note };
        let expire_time = match (self.expire_time, expire_time) {
            _ if self.cause.is_lifted_by_operator() => expire_time,
            (Some(before), Some(after)) => Some(before.max(after)),
            _ => None,
        };
        Self { note, expire_time, report_time: now, ..self }
    }

    /// Whether it holds at a moment.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.expire_time.is_none_or(|end| now < end)
    }
}

/// An address that somebody wants suppressed.
#[derive(Debug, Clone)]
pub struct NewSuppression {
    /// On which channel.
    pub channel: Channel,
    /// Which address.
    pub address: EmailAddress,
    /// Why.
    pub cause: Cause,
    /// For people.
    pub note: String,
    /// Who asks for it.
    pub actor: String,
    /// When it ends by itself; none = as is usual for the cause.
    pub expire_time: Option<Timestamp>,
}

/// The suppressions of some customers' addresses.
#[derive(Debug, Clone, Default)]
pub struct Suppressed(HashMap<AddressId, Vec<Suppression>>);

impl Suppressed {
    /// These.
    pub fn new(by_address: HashMap<AddressId, Vec<Suppression>>) -> Self {
        Self(by_address)
    }

    /// When the last of those of an address ends that hold at a moment, if they all end.
    pub fn end(&self, address: AddressId, now: Timestamp) -> Option<Timestamp> {
        let holding = self.0.get(&address)?.iter().filter(|one| one.holds(now));
        holding.map(|one| one.expire_time).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The one that holds for an address and a cause at a moment.
    pub fn find(&self, address: AddressId, cause: Cause, now: Timestamp) -> Option<&Suppression> {
        self.0.get(&address)?.iter().find(|one| one.cause == cause && one.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_stops_what_it_must_and_no_more() {
        use Purpose::{Marketing, Service, Survey, Transactional};
        let all =
            [(Transactional, true), (Transactional, false), (Service, false), (Survey, false), (Marketing, false)];
        for (cause, stopped) in [
            (Cause::Legal, 5),
            (Cause::Erasure, 5),
            (Cause::HardBounce, 5),
            (Cause::Operator, 5),
            (Cause::Complaint, 4),
            (Cause::SoftBounces, 3),
        ] {
            let stops: Vec<bool> = all.iter().map(|(purpose, essential)| cause.stops(*purpose, *essential)).collect();
            let expected: Vec<bool> = (0..5).map(|place| place >= 5 - stopped).collect();
            assert_eq!(stops, expected, "{cause}");
        }
    }

    #[test]
    fn an_address_is_kept_as_something_that_tells_nobody_which_it_is() {
        let address = |text: &str| -> EmailAddress { text.parse().unwrap() };
        let key =
            |secret: &str, text: &str| AddressKey::of(&SecretKey::from_text(secret), Channel::Email, &address(text));
        assert_eq!(key("one", "Anna@Example.com"), key("one", "anna@example.com"));
        assert_ne!(key("one", "anna+shop@example.com"), key("one", "anna@example.com"));
        assert_ne!(key("one", "anna@example.com"), key("two", "anna@example.com"));
        let text = String::from_utf8_lossy(&key("one", "anna@example.com").into_bytes()).into_owned();
        assert!(!text.contains("anna"));
    }
}
