//! The preference centre: what a customer wants to hear about, how often and when, a break, and everything off.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{Response, StatusCode},
};
use chrono::{NaiveTime, TimeDelta};
use minijinja::{Value, context};

use super::{
    Pages,
    guests::{Guest, Guests, no_link},
    look::Language,
    unsubscribe::form_field,
};
use crate::{
    calendar::{QuietHours, Weekdays, parse_time_of_day},
    clock::Timestamp,
    contacts::Purpose,
    customers::Address,
    delivery::Channel,
    intake::{Choices, Unsubscription},
    links::Visitor,
    preferences::{ConsentMethod, ConsentState, FrequencyCap, PreferenceChange, Preferences, Topic},
    rpc::Fault,
    templates::Locale,
};

/// How long a break is.
const BREAK: TimeDelta = TimeDelta::days(30);
/// What can be chosen as the most frequent: its name, and in how many hours there is one message at most.
const FREQUENCIES: [(&str, u16); 3] = [("daily", 24), ("weekly", 168), ("monthly", 720)];

/// Shows them.
pub async fn ask(State(pages): State<Arc<Pages>>, Path(token): Path<String>) -> Response<Body> {
    let guests = &pages.guests;
    match guest(guests, &token).await {
        Ok(guest) => show(guests, &guest, "").await,
        Err(fault) => guests.refusal_to_anybody(&fault),
    }
}

/// Changes them.
pub async fn act(State(pages): State<Arc<Pages>>, Path(token): Path<String>, body: Bytes) -> Response<Body> {
    let guests = &pages.guests;
    let guest = match guest(guests, &token).await {
        Ok(guest) => guest,
        Err(fault) => return guests.refusal_to_anybody(&fault),
    };
    match change(guests, &guest, &body).await {
        Ok(said) => show(guests, &guest, said).await,
        Err(fault) => guests.refusal(guests.language(&guest), &fault),
    }
}

async fn guest(guests: &Guests, token: &str) -> Result<Guest, Fault> {
    let guest = match guests.links.visitor(token, guests.clock.now()).ok_or_else(no_link)? {
        Visitor::By(contact) => guests.by_message(contact).await?,
        Visitor::Customer(customer) => guests.customer(customer).await?,
    };
    if guest.customer.delete_time.is_some() { Err(no_link()) } else { Ok(guest) }
}

/// Does what a button says; answers the name of the text that says so.
async fn change(guests: &Guests, guest: &Guest, body: &[u8]) -> Result<&'static str, Fault> {
    let (id, now) = (guest.customer.customer_id, guests.clock.now());
    let said = guest.says(ConsentMethod::PreferencePage);
    let snooze = |end| PreferenceChange { snooze_end_time: Some(end), ..PreferenceChange::default() };
    let choose = |change| guests.intake.choose(id, Choices { change, ..Choices::default() }, &said);
    match form_field(body, "action").as_deref() {
        Some("pause") => choose(snooze(Some(now + BREAK))).await.map(|()| "paused_saved"),
        Some("resume") => choose(snooze(None)).await.map(|()| "resumed_saved"),
        Some("stop") => {
            guests.intake.unsubscribe(id, Unsubscription::Everything, &said).await?;
            Ok("stopped_saved")
        }
        Some("save") => {
            let preferences = guests.preferences.get(id).await?;
            let topics = offered(guests).await?;
            guests.intake.choose(id, chosen(body, &preferences, &topics), &said).await?;
            Ok("saved_text")
        }
        _ => Ok(""),
    }
}

/// What the form says. What it does not show stays as it is.
fn chosen(body: &[u8], preferences: &Preferences, topics: &[Topic]) -> Choices {
    let named = |name: &str| -> HashSet<String> {
        let fields = url::form_urlencoded::parse(body).filter(|(key, _)| key == name);
        fields.map(|(_, value)| value.into_owned()).collect()
    };
    let (shown, was, ticked) = (named("shown"), named("was"), named("topic"));
    // What nobody touched says nothing: the page may be older than what was said elsewhere since.
    let touched = |id: &str| shown.contains(id) && was.contains(id) != ticked.contains(id);
    let topics = topics.iter().map(|topic| &topic.topic_id).filter(|id| touched(id.as_str()));
    let topics = topics.map(|id| (id.clone(), ticked.contains(id.as_str()))).collect();
    let caps = match form_field(body, "frequency").as_deref() {
        Some("any") => Some(Vec::new()),
        Some(name) => FREQUENCIES.iter().find(|(known, _)| *known == name).map(|(_, hours)| vec![at_most_one(*hours)]),
        None => None,
    };
    let change = PreferenceChange { quiet_hours: quiet_hours(body, preferences), caps, snooze_end_time: None };
    let untracked = form_field(body, "was_tracked").is_some() && form_field(body, "tracked").is_none();
    Choices { topics, untracked, change }
}

/// The quiet hours that are chosen; none where they stay as they are.
fn quiet_hours(body: &[u8], preferences: &Preferences) -> Option<Option<QuietHours>> {
    let (from, to) = (form_field(body, "quiet_from")?, form_field(body, "quiet_to")?);
    if from.is_empty() || to.is_empty() || from == to {
        return Some(None);
    }
    let (start, end) = (parse_time_of_day(&from).ok()?, parse_time_of_day(&to).ok()?);
    let days = preferences.quiet_hours.map_or(Weekdays::default(), |hours| hours.days);
    Some(Some(QuietHours { start, end, days }))
}

fn at_most_one(window_hours: u16) -> FrequencyCap {
    FrequencyCap { channel: None, topic_id: None, max_contacts: 1, window_hours, on_hit: None }
}

/// What can be chosen: nobody opts out of what they need.
async fn offered(guests: &Guests) -> Result<Vec<Topic>, Fault> {
    let topics = guests.preferences.offered_topics().await?;
    Ok(topics.into_iter().filter(|topic| topic.purpose != Purpose::Transactional).collect())
}

async fn show(guests: &Guests, guest: &Guest, said: &str) -> Response<Body> {
    let language = guests.language(guest);
    match describe(guests, guest, language, said).await {
        Ok(data) => guests.look.page(StatusCode::OK, "preferences.html", language, data),
        Err(fault) => guests.refusal(language, &fault),
    }
}

async fn describe(guests: &Guests, guest: &Guest, language: &Language, said: &str) -> Result<Value, Fault> {
    let now = guests.clock.now();
    let preferences = guests.preferences.get(guest.customer.customer_id).await?;
    let topics = offered(guests).await?;
    let locale = Locale::from_stored(language.name.to_owned());
    let addresses = &guest.customer.addresses;
    let topics: Vec<Value> = topics.iter().map(|topic| line(topic, &preferences, addresses, &locale, now)).collect();
    let paused = preferences.snooze_end_time.filter(|end| now < *end);
    let day = |end: Timestamp| guest.zone().local(end).format(language.text("date")).to_string();
    Ok(context! {
        saved => language.text(said),
        silent => preferences.silence_time.is_some() && topics.iter().all(|topic| !is_wanted(topic)),
        paused_until => paused.map(day),
        address => guest.masked_address(),
        topics,
        tracked => preferences.tracking(now).next().is_some(),
        frequencies => frequencies(&preferences, language),
        zone => guest.zone().name(),
        quiet_from => hours(preferences.quiet_hours.map(|hours| hours.start), language),
        quiet_to => hours(preferences.quiet_hours.map(|hours| hours.end), language),
    })
}

fn line(topic: &Topic, preferences: &Preferences, addresses: &[Address], locale: &Locale, now: Timestamp) -> Value {
    let state = preferences.consent(&topic.topic_id, Channel::Email).map(|consent| consent.state_at(now));
    context! {
        id => topic.topic_id.as_str(),
        name => topic.name(locale),
        description => topic.description(locale).unwrap_or_default(),
        wanted => preferences.wants(topic, Channel::Email, addresses, now),
        pending => state == Some(ConsentState::Pending),
    }
}

fn is_wanted(topic: &Value) -> bool {
    topic.get_attr("wanted").is_ok_and(|wanted| wanted.is_true())
}

fn frequencies(preferences: &Preferences, language: &Language) -> Vec<Value> {
    let current = match preferences.caps.as_slice() {
        [] => "any",
        [only] => FREQUENCIES.iter().find(|(_, hours)| *only == at_most_one(*hours)).map_or("custom", |(name, _)| name),
        _ => "custom",
    };
    let names = ["any"].into_iter().chain(FREQUENCIES.map(|(name, _)| name));
    let names = names.chain(Some("custom").filter(|_| current == "custom"));
    let choice = |name| {
        context! { value => name, text => language.text(&format!("frequency_{name}")), chosen => name == current }
    };
    names.map(choice).collect()
}

/// Every full hour, and the one that is set where it is none.
fn hours(set: Option<NaiveTime>, language: &Language) -> Vec<Value> {
    let full = (0..24).filter_map(|hour| NaiveTime::from_hms_opt(hour, 0, 0));
    let mut times: Vec<NaiveTime> = full.chain(set).collect();
    times.sort_unstable();
    times.dedup();
    let none = context! { value => "", text => language.text("quiet_none"), chosen => set.is_none() };
    let choice = |time: NaiveTime| {
        let text = time.format("%H:%M").to_string();
        context! { value => text.clone(), text, chosen => set == Some(time) }
    };
    std::iter::once(none).chain(times.into_iter().map(choice)).collect()
}
