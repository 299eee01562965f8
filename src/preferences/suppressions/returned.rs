//! What follows for addresses from what came back: bounces and complaints suppress.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{NaiveDate, TimeDelta};

use super::{AddressKey, Cause, NewSuppression, add};
use crate::{
    clock::Timestamp,
    contacts::{self, Delivery, DeliveryEvent, DeliveryKind},
    database::{StoreError, WriteTx},
    delivery::{Channel, EmailAddress, Weight},
    tokens::SecretKey,
};

/// On how many days within [`MEMORY`] messages must fail before an address is taken for lost.
const MOST_SOFT_DAYS: usize = 5;
/// How long a failure counts.
const MEMORY: TimeDelta = TimeDelta::days(30);
/// How far two suspicions must lie apart to prove each other.
const APART: TimeDelta = TimeDelta::hours(24);

/// Something that came back, and the address that it is about.
#[derive(Debug, Clone)]
pub struct CameBack {
    /// What.
    pub event: DeliveryEvent,
    /// The address that the message went to; none = nobody knows it any more.
    pub address: Option<EmailAddress>,
}

/// What was recorded.
#[derive(Debug, Clone, Default)]
pub struct RecordedDeliveries {
    /// As they are kept.
    pub events: Vec<DeliveryEvent>,
    /// How many had been recorded before.
    pub duplicates: usize,
}

/// Records what came back, with what follows for the addresses, in the transaction of the caller, who keeps the customers from
/// others. What was recorded before changes nothing. All of one source.
pub async fn record_deliveries(
    tx: &WriteTx,
    key: &SecretKey,
    came: Vec<CameBack>,
    now: Timestamp,
) -> Result<RecordedDeliveries, StoreError> {
    let Some(source) = came.first().map(|one| one.event.source.clone()) else {
        return Ok(RecordedDeliveries::default());
    };
    let keys = came.iter().map(|one| one.event.source_event_id.clone()).collect();
    let mut taken = contacts::known_deliveries(tx, &source, keys).await?;
    let all = came.len();
    let mut new: Vec<CameBack> =
        came.into_iter().filter(|one| taken.insert(one.event.source_event_id.clone())).collect();
    for one in &mut new {
        let key_of = |address| AddressKey::of(key, Channel::Email, address).into_bytes();
        one.event.address_key = one.address.as_ref().map(key_of);
    }
    let bounced = new.iter().filter(|one| one.event.kind == DeliveryKind::Bounced);
    let addresses: HashSet<Vec<u8>> = bounced.filter_map(|one| one.event.address_key.clone()).collect();
    let mut past = Past::new(contacts::past_deliveries(tx, addresses.into_iter().collect(), now - MEMORY).await?);
    for CameBack { event, address } in &mut new {
        let (Some(address), cause) = (address, past.judge(event)) else { continue };
        if let Some(cause) = cause {
            suppress(tx, key, address, cause, event, now).await?;
        }
    }
    let events: Vec<DeliveryEvent> = new.into_iter().map(|one| one.event).collect();
    contacts::insert_deliveries(tx, &events).await?;
    for what in [Delivery::Delivered, Delivery::Bounced, Delivery::Complained] {
        let shown = events.iter().filter(|event| event.kind.shows() == Some(what));
        contacts::show_delivery(tx, &shown.filter_map(|event| event.contact_id).collect::<Vec<_>>(), what, now).await?;
    }
    Ok(RecordedDeliveries { duplicates: all - events.len(), events })
}

async fn suppress(
    tx: &WriteTx,
    key: &SecretKey,
    address: &EmailAddress,
    cause: Cause,
    event: &DeliveryEvent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let new = NewSuppression {
        channel: Channel::Email,
        address: address.clone(),
        cause,
        note: event.detail.clone(),
        actor: event.source.clone(),
        expire_time: None,
    };
    add(tx, key, new, now).await.map(drop)
}

/// What came back for addresses before.
#[derive(Debug, Default)]
struct Past(HashMap<Vec<u8>, Vec<DeliveryEvent>>);

impl Past {
    fn new(events: Vec<DeliveryEvent>) -> Self {
        let mut by_address: HashMap<Vec<u8>, Vec<DeliveryEvent>> = HashMap::new();
        for event in events {
            by_address.entry(event.address_key.clone().unwrap_or_default()).or_default().push(event);
        }
        Self(by_address)
    }

    /// What an event leads to, which then is one of the past. A suspicion that proves another becomes a certainty.
    fn judge(&mut self, event: &mut DeliveryEvent) -> Option<Cause> {
        if event.kind == DeliveryKind::Complained {
            return Some(Cause::Complaint);
        }
        if event.kind != DeliveryKind::Bounced {
            return None;
        }
        let past = self.0.entry(event.address_key.clone()?).or_default();
        let weight = event.weight?;
        let arrived = last_arrival(past);
        let is_newer = |before: &DeliveryEvent| arrived.is_none_or(|arrived| before.occur_time > arrived);
        if weight == Weight::Suspected && past.iter().any(|before| is_newer(before) && proves(before, event)) {
            event.weight = Some(Weight::Hard);
        }
        past.push(event.clone());
        match event.weight? {
            Weight::Hard => Some(Cause::HardBounce),
            Weight::Soft | Weight::Suspected if soft_days(past) >= MOST_SOFT_DAYS => Some(Cause::SoftBounces),
            Weight::Soft | Weight::Suspected | Weight::None => None,
        }
    }
}

/// Whether two suspicions prove each other: of different messages, far enough apart.
fn proves(before: &DeliveryEvent, event: &DeliveryEvent) -> bool {
    before.weight == Some(Weight::Suspected)
        && (before.contact_id != event.contact_id || event.contact_id.is_none())
        && (event.occur_time - before.occur_time).abs() >= APART
}

fn last_arrival(past: &[DeliveryEvent]) -> Option<Timestamp> {
    past.iter().filter(|event| event.kind == DeliveryKind::Delivered).map(|event| event.occur_time).max()
}

/// On how many days messages failed since the last one that arrived.
fn soft_days(past: &[DeliveryEvent]) -> usize {
    let arrived = last_arrival(past);
    let failed = past.iter().filter(|event| matches!(event.weight, Some(Weight::Soft | Weight::Suspected)));
    let since = failed.filter(|event| arrived.is_none_or(|arrived| event.occur_time > arrived));
    since.map(|event| event.occur_time.date_naive()).collect::<BTreeSet<NaiveDate>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ContactId, CustomerId, DeliveryEventId};

    fn event(day: i64, kind: DeliveryKind, weight: Option<Weight>) -> DeliveryEvent {
        let time = Timestamp::UNIX_EPOCH + TimeDelta::hours(24 * day + 12);
        DeliveryEvent {
            delivery_event_id: DeliveryEventId::generate(),
            source: "mail".to_owned(),
            source_event_id: String::new(),
            contact_id: Some(ContactId::generate()),
            customer_id: CustomerId::generate(),
            campaign_id: None,
            address_key: Some(vec![1]),
            kind,
            weight,
            status_code: String::new(),
            detail: String::new(),
            url: String::new(),
            automated: false,
            occur_time: time,
            record_time: time,
        }
    }

    fn last(events: Vec<DeliveryEvent>) -> Option<Cause> {
        let mut past = Past::default();
        events.into_iter().fold(None, |_, mut event| past.judge(&mut event))
    }

    #[test]
    fn failures_on_five_days_count_and_an_arrival_forgets_them() {
        use DeliveryKind::{Bounced, Delivered};
        let soft = |day| event(day, Bounced, Some(Weight::Soft));
        assert_eq!(last((1..=4).map(soft).collect()), None);
        assert_eq!(last((1..=5).map(soft).collect()), Some(Cause::SoftBounces));
        assert_eq!(last([1, 1, 1, 2, 3, 4].map(soft).to_vec()), None, "one day counts once");
        let mut past = Past::new(vec![soft(1), soft(2), soft(3), soft(4), event(5, Delivered, None)]);
        assert_eq!(past.judge(&mut soft(6)), None);
    }

    #[test]
    fn two_suspicions_on_different_days_are_a_certainty() {
        let suspected = |day| event(day, DeliveryKind::Bounced, Some(Weight::Suspected));
        assert_eq!(last(vec![suspected(1)]), None);
        assert_eq!(last(vec![suspected(1), suspected(1)]), None);
        assert_eq!(last(vec![suspected(1), suspected(2)]), Some(Cause::HardBounce));
        let (first, mut second) = (suspected(1), suspected(2));
        second.contact_id = first.contact_id;
        assert_eq!(last(vec![first, second]), None, "one message is one suspicion");
        let mut past = Past::new(vec![suspected(1), event(2, DeliveryKind::Delivered, None)]);
        assert_eq!(past.judge(&mut suspected(3)), None, "it arrived in between");
        assert_eq!(past.judge(&mut suspected(5)), Some(Cause::HardBounce));
        let policy = event(2, DeliveryKind::Bounced, Some(Weight::None));
        assert_eq!(last(vec![suspected(1), policy]), None);
    }
}
