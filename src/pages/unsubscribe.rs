//! Unsubscribing from what a message was about: with one click of the mail program (RFC 8058), or here with a button.
//!
//! Only a POST changes anything: scanners follow every link of a message.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{Response, StatusCode},
};
use minijinja::context;

use super::{
    Pages,
    guests::{Guest, Guests, no_link},
};
use crate::{
    contacts::Purpose,
    intake::Unsubscription,
    preferences::ConsentMethod,
    rpc::{Fault, Reason},
    templates::Locale,
};

/// Asks.
pub async fn ask(State(pages): State<Arc<Pages>>, Path(token): Path<String>) -> Response<Body> {
    let guests = &pages.guests;
    match guest(guests, &token).await {
        Ok(guest) => show(guests, &guest, "").await,
        Err(fault) => guests.refusal_to_anybody(&fault),
    }
}

/// Unsubscribes, whatever else the request says: mail programs send "List-Unsubscribe=One-Click" as a form or in parts.
pub async fn act(State(pages): State<Arc<Pages>>, Path(token): Path<String>, body: Bytes) -> Response<Body> {
    let guests = &pages.guests;
    let guest = match guest(guests, &token).await {
        Ok(guest) => guest,
        Err(fault) => return guests.refusal_to_anybody(&fault),
    };
    let marketing = form_field(&body, "action").as_deref() == Some("marketing");
    match unsubscribe(guests, &guest, marketing, &body).await {
        Ok(()) => show(guests, &guest, if marketing { "marketing" } else { "topic" }).await,
        Err(fault) => guests.refusal(guests.language(&guest), &fault),
    }
}

async fn unsubscribe(guests: &Guests, guest: &Guest, marketing: bool, body: &[u8]) -> Result<(), Fault> {
    let contact = guest.contact.as_ref().ok_or_else(no_link)?;
    let one_click = body.windows(9).any(|part| part.eq_ignore_ascii_case(b"One-Click"));
    let said = guest.says(if one_click { ConsentMethod::OneClick } else { ConsentMethod::PreferencePage });
    let what = match (marketing, contact.purpose) {
        (true, _) => Unsubscription::Marketing,
        // Nobody can do without what they need.
        (false, Purpose::Transactional) => return Ok(()),
        (false, _) => Unsubscription::Topic(contact.topic_id.clone(), None),
    };
    match guests.intake.unsubscribe(guest.customer.customer_id, what, &said).await {
        // Nothing is sent to them anyway.
        Err(fault) if fault.reason() == Some(Reason::CustomerDeleted) => Ok(()),
        done => done.map(drop),
    }
}

async fn guest(guests: &Guests, token: &str) -> Result<Guest, Fault> {
    guests.by_message(guests.links.unsubscribed(token).ok_or_else(no_link)?).await
}

async fn show(guests: &Guests, guest: &Guest, done: &str) -> Response<Body> {
    let language = guests.language(guest);
    let Some(contact) = &guest.contact else { return guests.refusal(language, &no_link()) };
    let topic = match guests.preferences.topic(&contact.topic_id).await {
        Ok(topic) => topic.name(&Locale::from_stored(language.name.to_owned())).to_owned(),
        Err(fault) => return guests.refusal(language, &fault),
    };
    let preferences_url = guests.links.preferences(contact.contact_id);
    let necessary = contact.purpose == Purpose::Transactional;
    let data = context! { done, necessary, topic, address => guest.masked_address(), preferences_url };
    guests.look.page(StatusCode::OK, "unsubscribe.html", language, data)
}

/// A field of a form as browsers send it.
pub fn form_field(body: &[u8], name: &str) -> Option<String> {
    url::form_urlencoded::parse(body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
