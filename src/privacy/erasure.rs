use std::collections::BTreeMap;

use crate::{
    clock::Timestamp,
    customers::{Customer, CustomerKey},
    ids::{CustomerId, ErasureId},
};

/// A shorter name is found in too many words.
const SHORTEST_NAME: usize = 3;

/// That everything personal about a customer is to be removed.
#[derive(Debug, Clone)]
pub struct ErasureOrder {
    /// Whom.
    pub customer: CustomerKey,
    /// The same by id, so that nobody is erased by mistake.
    pub confirmed: CustomerId,
    /// Why; nothing personal.
    pub reason: String,
    /// Who asks for it.
    pub actor: String,
}

/// The receipt of an erasure: nothing in it is personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub erasure_id: ErasureId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// How many rows of which table were removed or emptied.
    pub erased_rows: BTreeMap<String, u64>,
    /// When.
    pub erase_time: Timestamp,
}

/// What an erasure does to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// The customer's rows go.
    Removed,
    /// What is personal in the customer's rows goes.
    Emptied,
    /// It holds nothing about a person; says what it holds.
    Impersonal(&'static str),
}

/// What an erasure does to each table of the record. A table that is not here fails a test.
pub const TABLES: &[(&str, Treatment)] = &[
    ("addresses", Treatment::Removed),
    ("attempts", Treatment::Emptied),
    ("audience_members", Treatment::Removed),
    ("backfills", Treatment::Impersonal("how far backfills have come, by ids that name nobody")),
    ("breakers", Treatment::Impersonal("how much comes back for senders")),
    ("campaign_runs", Treatment::Impersonal("when newsletters went out, and backfills ran")),
    ("campaign_versions", Treatment::Impersonal("plans")),
    ("campaigns", Treatment::Impersonal("plans")),
    ("consent_evidence", Treatment::Removed),
    ("consent_records", Treatment::Impersonal("what was said, when and how, by an id that names nobody any more")),
    ("consents", Treatment::Removed),
    ("contacts", Treatment::Emptied),
    ("customers", Treatment::Emptied),
    ("decisions", Treatment::Emptied),
    ("delivery_events", Treatment::Removed),
    ("enrollments", Treatment::Emptied),
    ("erasures", Treatment::Impersonal("receipts")),
    ("event_effects", Treatment::Emptied),
    ("events", Treatment::Emptied),
    ("external_ids", Treatment::Removed),
    ("passed_steps", Treatment::Impersonal("what became of steps, by ids that name nobody any more")),
    ("pauses", Treatment::Impersonal("what operators paused")),
    ("preferences", Treatment::Removed),
    ("rates", Treatment::Impersonal("when the next message of a limited kind may go out")),
    ("replicas", Treatment::Impersonal("processes")),
    ("requests", Treatment::Removed),
    ("run_cursors", Treatment::Impersonal("how far newsletters have come, by an id that names nobody")),
    ("run_exclusions", Treatment::Impersonal("how many customers newsletters left out")),
    ("run_movers", Treatment::Impersonal("that an id that names nobody has moved while a newsletter went out")),
    ("sending_policy", Treatment::Impersonal("what holds for everybody")),
    ("suppressions", Treatment::Emptied),
    ("template_includes", Treatment::Impersonal("which texts stand in which")),
    ("template_versions", Treatment::Impersonal("texts for everybody")),
    ("templates", Treatment::Impersonal("texts for everybody")),
    ("topics", Treatment::Impersonal("what mail is about")),
    ("tracked_links", Treatment::Removed),
    ("wordings", Treatment::Impersonal("words for everybody")),
];

/// Whether a text names a customer.
pub fn names(customer: &Customer, text: &str) -> bool {
    let text = text.to_lowercase();
    let names = [&customer.display_name, &customer.given_name, &customer.family_name];
    let names = names.into_iter().chain(&customer.external_ids).map(String::as_str);
    let known = names.chain(customer.addresses.iter().map(|address| address.value.as_str()));
    known.filter(|name| name.chars().count() >= SHORTEST_NAME).any(|name| text.contains(&name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::customers::{CustomerChange, NewAddress};

    #[test]
    fn a_text_names_a_customer_by_any_of_their_names_keys_and_addresses() {
        let mut customer = Customer::bare(Timestamp::UNIX_EPOCH);
        let address = NewAddress {
            channel: crate::delivery::Channel::Email,
            value: "a.berzina@example.com".parse().unwrap(),
            primary: true,
        };
        let change = CustomerChange {
            given_name: Some("Anna".into()),
            family_name: Some("Li".into()),
            external_ids: Some(vec!["crm-7".into()]),
            addresses: vec![address],
            ..CustomerChange::default()
        };
        customer.apply(change, Timestamp::UNIX_EPOCH);
        for (text, expected) in [
            ("asked by ANNA on the phone", true),
            ("ticket of CRM-7", true),
            ("mail from A.Berzina@example.com", true),
            ("ticket 4711, public liability", false),
            ("", false),
        ] {
            assert_eq!(names(&customer, text), expected, "{text}");
        }
    }
}
