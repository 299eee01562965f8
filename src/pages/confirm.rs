//! Confirming a consent from the mailbox, with a button: scanners follow links, but press nothing.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{Response, StatusCode},
};
use minijinja::context;

use super::{
    Pages,
    guests::{Guest, Guests, no_link},
};
use crate::{
    delivery::Channel,
    ids::ContactId,
    preferences::{ConsentRecord, ConsentState, Evidence},
    rpc::Fault,
    templates::Locale,
};

/// Asks.
pub async fn ask(State(pages): State<Arc<Pages>>, Path(token): Path<String>) -> Response<Body> {
    let guests = &pages.guests;
    match guest(guests, &token).await {
        Ok((guest, request)) => show(guests, &guest, &request, "").await,
        Err(fault) => guests.refusal_to_anybody(&fault),
    }
}

/// Confirms.
pub async fn act(State(pages): State<Arc<Pages>>, Path(token): Path<String>) -> Response<Body> {
    let guests = &pages.guests;
    let (guest, request) = match guest(guests, &token).await {
        Ok(found) => found,
        Err(fault) => return guests.refusal_to_anybody(&fault),
    };
    match confirm(guests, &guest).await {
        // A link that was used confirms nothing again after a withdrawal.
        Ok(ConsentState::Granted) => show(guests, &guest, &request, "confirmed").await,
        Ok(_) => guests.refusal(guests.language(&guest), &no_link()),
        Err(fault) => guests.refusal(guests.language(&guest), &fault),
    }
}

async fn confirm(guests: &Guests, guest: &Guest) -> Result<ConsentState, Fault> {
    let contact = guest.contact.as_ref().ok_or_else(no_link)?;
    let evidence = Evidence::new("customer", "the button on the page behind the link in the mail");
    Ok(guests.intake.confirm_consent(contact.contact_id, evidence).await?.state)
}

async fn guest(guests: &Guests, token: &str) -> Result<(Guest, ConsentRecord), Fault> {
    let contact: ContactId = guests.links.confirming(token).ok_or_else(no_link)?;
    let request = guests.intake.request_of(contact).await?;
    Ok((guests.by_message(contact).await?, request))
}

async fn show(guests: &Guests, guest: &Guest, request: &ConsentRecord, done: &str) -> Response<Body> {
    let language = guests.language(guest);
    match describe(guests, guest, request, language.name).await {
        Ok((topic, wording, preferences_url)) => {
            let data = context! { done, topic, wording, address => guest.masked_address(), preferences_url };
            guests.look.page(StatusCode::OK, "confirm.html", language, data)
        }
        Err(fault) => guests.refusal(language, &fault),
    }
}

/// The name of the topic, the words that are agreed to, and the link to all settings.
async fn describe(
    guests: &Guests,
    guest: &Guest,
    request: &ConsentRecord,
    language: &str,
) -> Result<(String, String, String), Fault> {
    let (topic_id, Channel::Email) = request.scope.clone().ok_or_else(no_link)?;
    let topic = guests.preferences.topic(&topic_id).await?;
    let wording = match request.wording_id {
        Some(id) => guests.preferences.wording(id).await?.text,
        None => String::new(),
    };
    let contact = guest.contact.as_ref().ok_or_else(no_link)?;
    let name = topic.name(&Locale::from_stored(language.to_owned())).to_owned();
    Ok((name, wording, guests.links.preferences(contact.contact_id)))
}
