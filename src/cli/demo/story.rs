//! What happens in the demo, and when: an ordinary client of the service, in the order of time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{Datelike, Days, NaiveDate, TimeDelta};
use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::{Status, transport::Channel};

use super::{
    campaigns::{END_SECONDS, MORNING, NEWS, OFFERS, ORDER, ORDERS},
    people::{self, Leave, Person},
    purchases::Purchase,
};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    rpc::proto::{
        self, Address, CreateCustomerRequest, Customer, CustomerRef, Event, LineItem, Money, RecordEventRequest,
        SetConsentRequest, UnsubscribeRequest, UpdatePreferencesRequest, customer_ref::Key,
        customer_service_client::CustomerServiceClient, event_service_client::EventServiceClient,
        preference_service_client::PreferenceServiceClient, unsubscribe_request,
    },
};

/// How many calls are under way at once.
const AT_ONCE: usize = 4;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Somebody signs up, says what they want, and buys for the first time.
    SignUp(Person, Purchase),
    /// Somebody buys again.
    Order(String, Timestamp, Purchase),
    /// Somebody wants no more of something.
    Goodbye(String, Leave),
}

/// Everything that happens, by the moment at which it does.
pub fn timeline(mut purchases: Vec<Purchase>) -> BTreeMap<Timestamp, Vec<Happening>> {
    purchases.sort_by_key(|purchase| (purchase.date, purchase.line));
    let mut timeline: BTreeMap<Timestamp, Vec<Happening>> = BTreeMap::new();
    let mut people: HashMap<u32, Person> = HashMap::new();
    for purchase in purchases {
        if let Some(person) = people.get(&purchase.customer) {
            let noon = person.moment(purchase.date, 12);
            timeline.entry(noon).or_default().push(Happening::Order(person.external_id(), noon, purchase));
            continue;
        }
        let person = Person::new(purchase.customer);
        if let Some((leave, days)) = person.leaves {
            let evening = person.moment(purchase.date + Days::new(days), 15);
            timeline.entry(evening).or_default().push(Happening::Goodbye(person.external_id(), leave));
        }
        people.insert(purchase.customer, person.clone());
        let noon = person.moment(purchase.date, 12);
        timeline.entry(noon).or_default().push(Happening::SignUp(person, purchase));
    }
    timeline
}

/// The mornings on which the calendar has something to do: the last of each month, when newsletters go out (and whoever was born on
/// 29 February is greeted, in both years); the first, when those have reached everybody; and those on which somebody in the zone has
/// a birthday. The last is the end of both.
pub fn mornings(timeline: &BTreeMap<Timestamp, Vec<Happening>>) -> BTreeSet<Timestamp> {
    let born = |happening: &Happening| match happening {
        Happening::SignUp(person, _) => person.birthday.map(|date| (person.zone, date.month(), date.day())),
        Happening::Order(..) | Happening::Goodbye(..) => None,
    };
    let birthdays: HashSet<(Zone, u32, u32)> = timeline.values().flatten().filter_map(born).collect();
    let (first, end) = (beginning(timeline), Timestamp::from_timestamp(END_SECONDS, 0).unwrap_or_default());
    let days = first.date_naive().iter_days().take_while(|day| *day <= end.date_naive());
    let everywhere = days.flat_map(|day| people::zones().map(move |zone| (zone, day)));
    let is_turn = |day: NaiveDate| day.day() == 1 || day.succ_opt().is_some_and(|next| next.day() == 1);
    everywhere
        .filter(|(zone, day)| is_turn(*day) || birthdays.contains(&(*zone, day.month(), day.day())))
        .map(|(zone, day)| people::moment(zone, day, MORNING))
        .filter(|morning| *morning < end)
        .chain([end])
        .collect()
}

/// The shop: a client like any other.
#[derive(Debug, Clone)]
pub struct Shop {
    customers: CustomerServiceClient<Channel>,
    events: EventServiceClient<Channel>,
    preferences: PreferenceServiceClient<Channel>,
}

impl Shop {
    /// Speaks through a channel.
    pub fn new(channel: Channel) -> Self {
        Self {
            customers: CustomerServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            preferences: PreferenceServiceClient::new(channel),
        }
    }

    /// Reports what happens at one moment; what concerns the same customer one after the other. Answers when the first of the
    /// contacts is due that were planned: the receipts say so.
    pub async fn report(&self, happenings: &[Happening]) -> Result<Option<Timestamp>, Status> {
        let mut by_customer: BTreeMap<String, Vec<&Happening>> = BTreeMap::new();
        for happening in happenings {
            by_customer.entry(happening.customer()).or_default().push(happening);
        }
        let tell = |happenings: Vec<&Happening>| {
            let mut shop = self.clone();
            let happenings: Vec<Happening> = happenings.into_iter().cloned().collect();
            async move {
                let mut due = None;
                for happening in happenings {
                    due = earliest(due, shop.tell(happening).await?);
                }
                Ok::<_, Status>(due)
            }
        };
        let calls: Vec<_> = by_customer.into_values().map(tell).collect();
        stream::iter(calls).buffer_unordered(AT_ONCE).try_fold(None, async |first, due| Ok(earliest(first, due))).await
    }

    async fn tell(&mut self, happening: Happening) -> Result<Option<Timestamp>, Status> {
        match happening {
            Happening::SignUp(person, purchase) => {
                self.sign_up(&person).await?;
                self.order(person.external_id(), person.moment(purchase.date, 12), &purchase).await
            }
            Happening::Order(customer, noon, purchase) => self.order(customer, noon, &purchase).await,
            Happening::Goodbye(customer, leave) => self.goodbye(customer, leave).await.map(|()| None),
        }
    }

    async fn sign_up(&mut self, person: &Person) -> Result<(), Status> {
        let customer = Customer {
            external_ids: vec![person.external_id()],
            display_name: format!("{} {}", person.given_name, person.family_name),
            given_name: person.given_name.to_owned(),
            family_name: person.family_name.to_owned(),
            time_zone: person.zone.name().to_owned(),
            locale: person.locale.to_owned(),
            addresses: vec![Address { value: person.email(), ..Address::default() }],
            attributes: person
                .birthday
                .map(|date| prost_types::Struct { fields: [("birthday".to_owned(), date.to_string().into())].into() }),
            ..Customer::default()
        };
        self.customers
            .create_customer(CreateCustomerRequest { customer: Some(customer), ..Default::default() })
            .await?;
        for topic in [person.agrees.then_some(OFFERS), person.subscribes.then_some(NEWS)].into_iter().flatten() {
            let request = SetConsentRequest {
                customer: by_external_id(person.external_id()),
                topic_id: topic.to_owned(),
                decision: proto::set_consent_request::Decision::Grant.into(),
                method: proto::ConsentMethod::WebForm.into(),
                ..SetConsentRequest::default()
            };
            self.preferences.set_consent(request).await?;
        }
        if let Some((start, end, days)) = person.quiet {
            let days = days.iter().map(|day| (*day).to_owned()).collect();
            let quiet_hours = proto::QuietHours { start: start.to_owned(), end: end.to_owned(), days };
            let request = UpdatePreferencesRequest {
                customer: by_external_id(person.external_id()),
                preferences: Some(proto::Preferences { quiet_hours: Some(quiet_hours), ..Default::default() }),
                ..UpdatePreferencesRequest::default()
            };
            self.preferences.update_preferences(request).await?;
        }
        Ok(())
    }

    async fn order(
        &mut self,
        customer: String,
        noon: Timestamp,
        purchase: &Purchase,
    ) -> Result<Option<Timestamp>, Status> {
        let event = Event {
            source: "cdnow".to_owned(),
            source_event_id: purchase.line.to_string(),
            customer: by_external_id(customer),
            event_type: ORDER.to_owned(),
            occur_time: Some(prost_types::Timestamp { seconds: noon.timestamp(), nanos: 0 }),
            subject: format!("order-{}", purchase.line),
            value: Some(Money { currency_code: "USD".to_owned(), amount: purchase.amount.clone() }),
            items: vec![LineItem { title: "CD".to_owned(), quantity: purchase.quantity, ..LineItem::default() }],
            ..Event::default()
        };
        let request = RecordEventRequest { event: Some(event), ..Default::default() };
        let effects = self.events.record_event(request).await?.into_inner().effects;
        let due = |effect: proto::CampaignEffect| Timestamp::from_timestamp(effect.due_time?.seconds, 0);
        Ok(effects.into_iter().filter_map(due).min())
    }

    async fn goodbye(&mut self, customer: String, leave: Leave) -> Result<(), Status> {
        let scope = match leave {
            Leave::Offers => unsubscribe_request::Scope::TopicId(OFFERS.to_owned()),
            Leave::CheckIns => unsubscribe_request::Scope::TopicId(ORDERS.to_owned()),
            Leave::Newsletter => unsubscribe_request::Scope::TopicId(NEWS.to_owned()),
            Leave::Marketing => unsubscribe_request::Scope::AllMarketing(true),
            Leave::Everything => unsubscribe_request::Scope::Everything(true),
        };
        let request = UnsubscribeRequest {
            by: by_external_id(customer).map(unsubscribe_request::By::Customer),
            scope: Some(scope),
            method: proto::ConsentMethod::PreferencePage.into(),
            ..UnsubscribeRequest::default()
        };
        self.preferences.unsubscribe(request).await?;
        Ok(())
    }
}

impl Happening {
    fn customer(&self) -> String {
        match self {
            Self::SignUp(person, _) => person.external_id(),
            Self::Order(customer, ..) | Self::Goodbye(customer, _) => customer.clone(),
        }
    }
}

/// How requests name a customer of the shop.
pub fn by_external_id(id: String) -> Option<CustomerRef> {
    Some(CustomerRef { key: Some(Key::ExternalId(id)) })
}

/// When the demo's clock starts: before anything happens anywhere.
pub fn beginning(timeline: &BTreeMap<Timestamp, Vec<Happening>>) -> Timestamp {
    timeline.keys().next().map_or(Timestamp::UNIX_EPOCH, |first| *first - TimeDelta::hours(1))
}

/// The earlier of two moments, where there are two.
pub fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}
