use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::{
    calendar::Zone,
    clock::Timestamp,
    delivery::{Channel, EmailAddress},
    ids::{AddressId, CustomerId},
    templates::Locale,
};

/// How long a deletion can be undone.
pub const RESTORABLE: TimeDelta = TimeDelta::days(30);

/// Somebody whom the organisation follows up.
#[derive(Debug, Clone, PartialEq)]
pub struct Customer {
    /// Its id.
    pub customer_id: CustomerId,
    /// The callers' own keys.
    pub external_ids: Vec<String>,
    /// How the customer is addressed.
    pub display_name: String,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Where the customer lives; none = not known.
    pub time_zone: Option<Zone>,
    /// Which language the customer reads; none = not known.
    pub locale: Option<Locale>,
    /// Free data.
    pub attributes: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// Ways to reach the customer, oldest first.
    pub addresses: Vec<Address>,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// When it was deleted; none = it was not.
    pub delete_time: Option<Timestamp>,
    /// When everything personal was removed; none = it was not.
    pub erase_time: Option<Timestamp>,
    /// Counts its changes.
    pub revision: i32,
}

/// One way to reach a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its id.
    pub address_id: AddressId,
    /// On which channel.
    pub channel: Channel,
    /// Where.
    pub value: EmailAddress,
    /// Used where no consent names another.
    pub primary: bool,
    /// When it was first known that the customer reads it; none = it is not known.
    pub verify_time: Option<Timestamp>,
}

/// An address that a caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAddress {
    /// On which channel.
    pub channel: Channel,
    /// Where.
    pub value: EmailAddress,
    /// Asked to be primary.
    pub primary: bool,
}

/// How a request names a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerKey {
    /// By our id.
    Id(CustomerId),
    /// By a caller's own key.
    ExternalId(String),
    /// By an e-mail address of a living customer.
    Email(EmailAddress),
}

/// What a caller says about a customer; every field that is there is to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CustomerChange {
    /// All external ids.
    pub external_ids: Option<Vec<String>>,
    /// How the customer is addressed.
    pub display_name: Option<String>,
    /// First name.
    pub given_name: Option<String>,
    /// Last name.
    pub family_name: Option<String>,
    /// Where the customer lives.
    pub time_zone: Option<Option<Zone>>,
    /// Which language the customer reads.
    pub locale: Option<Option<Locale>>,
    /// Merged by key; null removes.
    pub attributes: Option<Map<String, Value>>,
    /// All tags.
    pub tags: Option<Vec<String>>,
    /// Added after `tags`.
    pub add_tags: Vec<String>,
    /// Removed after `add_tags`.
    pub remove_tags: Vec<String>,
    /// Added where they are new.
    pub addresses: Vec<NewAddress>,
}

impl Customer {
    /// A customer about whom nothing is known.
    pub fn bare(now: Timestamp) -> Self {
        Self {
            customer_id: CustomerId::generate(),
            external_ids: Vec::new(),
            display_name: String::new(),
            given_name: String::new(),
            family_name: String::new(),
            time_zone: None,
            locale: None,
            attributes: Map::new(),
            tags: Vec::new(),
            addresses: Vec::new(),
            create_time: now,
            update_time: now,
            delete_time: None,
            erase_time: None,
            revision: 0,
        }
    }

    /// Takes over what a caller says.
    pub fn apply(&mut self, change: CustomerChange, now: Timestamp) {
        let set = |field: &mut String, value: Option<String>| *field = value.unwrap_or(std::mem::take(field));
        set(&mut self.display_name, change.display_name);
        set(&mut self.given_name, change.given_name);
        set(&mut self.family_name, change.family_name);
        self.time_zone = change.time_zone.unwrap_or(self.time_zone);
        if let Some(locale) = change.locale {
            self.locale = locale;
        }
        if let Some(external_ids) = change.external_ids {
            self.external_ids = distinct(external_ids);
        }
        for (key, value) in change.attributes.unwrap_or_default() {
            if value.is_null() {
                self.attributes.remove(&key);
            } else {
                self.attributes.insert(key, value);
            }
        }
        let mut tags = change.tags.unwrap_or(std::mem::take(&mut self.tags));
        tags.extend(change.add_tags);
        self.tags = distinct(tags);
        self.tags.retain(|tag| !change.remove_tags.contains(tag));
        for address in change.addresses {
            self.add_address(address);
        }
        self.touch(now);
    }

    /// Counts a change.
    pub fn touch(&mut self, now: Timestamp) {
        self.update_time = now;
        self.revision += 1;
    }

    /// Adds an address where it is new. The first of a channel is primary; one that asks to be takes it from another.
    fn add_address(&mut self, new: NewAddress) {
        let same_channel = |address: &Address| address.channel == new.channel;
        let primary = new.primary || !self.addresses.iter().any(same_channel);
        if primary {
            for address in self.addresses.iter_mut().filter(|address| same_channel(address)) {
                address.primary = false;
            }
        }
        let known = self.addresses.iter_mut().find(|address| address.value.key() == new.value.key());
        match known {
            Some(address) => address.primary |= primary,
            None => self.addresses.push(Address {
                address_id: AddressId::generate(),
                channel: new.channel,
                value: new.value,
                primary,
                verify_time: None,
            }),
        }
    }

    /// Removes an address; where it was primary, the oldest of its channel takes its place. False where there is none.
    pub fn remove_address(&mut self, id: AddressId) -> bool {
        let Some(place) = self.addresses.iter().position(|address| address.address_id == id) else {
            return false;
        };
        let removed = self.addresses.remove(place);
        let next = self.addresses.iter_mut().find(|address| address.channel == removed.channel);
        if let Some(next) = next.filter(|_| removed.primary) {
            next.primary = true;
        }
        true
    }

    /// When a deletion can be undone no more, and everything personal is removed; none where there is nothing to undo.
    pub fn purge_time(&self) -> Option<Timestamp> {
        self.delete_time.filter(|_| self.erase_time.is_none()).map(|deleted| deleted + RESTORABLE)
    }

    /// The address that is used where no consent names another.
    pub fn primary_address(&self, channel: Channel) -> Option<&Address> {
        self.addresses.iter().find(|address| address.channel == channel && address.primary)
    }

    /// What templates see; `home` is the zone of those of whom none is known.
    pub fn template_data(&self, home: Zone) -> Value {
        json!({
            "customer_id": self.customer_id.to_string(),
            "display_name": self.display_name,
            "given_name": self.given_name,
            "family_name": self.family_name,
            "locale": self.locale.as_ref().map_or("", Locale::as_str),
            "time_zone": self.time_zone.unwrap_or(home).name(),
            "attributes": self.attributes,
            "tags": self.tags,
        })
    }
}

/// The values in their order, each once.
fn distinct(values: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(values.len());
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(value: &str, primary: bool) -> NewAddress {
        NewAddress { channel: Channel::Email, value: value.parse().unwrap(), primary }
    }

    fn attributes(value: Value) -> Option<Map<String, Value>> {
        value.as_object().cloned()
    }

    #[test]
    fn attributes_merge_by_key_and_null_removes() {
        let now = Timestamp::UNIX_EPOCH;
        let mut customer = Customer::bare(now);
        let first = attributes(json!({"plan": "gold", "size": {"shoe": 42, "shirt": "L"}}));
        customer.apply(CustomerChange { attributes: first, ..Default::default() }, now);
        let second = attributes(json!({"plan": null, "size": {"shoe": 43}, "city": "Riga"}));
        customer.apply(CustomerChange { attributes: second, ..Default::default() }, now);
        assert_eq!(Value::Object(customer.attributes), json!({"size": {"shoe": 43}, "city": "Riga"}));
        assert_eq!(customer.revision, 2);
    }

    #[test]
    fn tags_are_set_then_added_then_removed() {
        let now = Timestamp::UNIX_EPOCH;
        let mut customer = Customer::bare(now);
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let change = CustomerChange {
            tags: Some(tags(&["a", "b", "a"])),
            add_tags: tags(&["c"]),
            remove_tags: tags(&["b", "x"]),
            ..Default::default()
        };
        customer.apply(change, now);
        assert_eq!(customer.tags, tags(&["a", "c"]));
    }

    #[test]
    fn the_first_address_is_primary_until_another_asks_to_be() {
        let now = Timestamp::UNIX_EPOCH;
        let mut customer = Customer::bare(now);
        let addresses =
            vec![email("a@example.com", false), email("b@example.com", false), email("A@Example.com", false)];
        customer.apply(CustomerChange { addresses, ..Default::default() }, now);
        assert_eq!(customer.addresses.len(), 2);
        assert_eq!(customer.primary_address(Channel::Email).unwrap().value.as_str(), "a@example.com");
        customer.apply(CustomerChange { addresses: vec![email("b@example.com", true)], ..Default::default() }, now);
        assert_eq!(customer.primary_address(Channel::Email).unwrap().value.as_str(), "b@example.com");
        assert_eq!(customer.addresses.iter().filter(|address| address.primary).count(), 1);
    }

    #[test]
    fn the_oldest_address_takes_the_place_of_a_primary_one_that_is_removed() {
        let mut customer = Customer::bare(Timestamp::UNIX_EPOCH);
        let addresses =
            vec![email("a@example.com", false), email("b@example.com", false), email("c@example.com", true)];
        customer.apply(CustomerChange { addresses, ..Default::default() }, Timestamp::UNIX_EPOCH);
        let ids: Vec<AddressId> = customer.addresses.iter().map(|address| address.address_id).collect();
        assert!(customer.remove_address(ids[1]));
        assert_eq!(customer.primary_address(Channel::Email).unwrap().value.as_str(), "c@example.com");
        assert!(customer.remove_address(ids[2]));
        assert_eq!(customer.primary_address(Channel::Email).unwrap().value.as_str(), "a@example.com");
        assert!(!customer.remove_address(ids[2]));
        assert!(customer.remove_address(ids[0]));
        assert_eq!(customer.primary_address(Channel::Email), None);
    }
}
