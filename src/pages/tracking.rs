//! The picture and the links of messages whose readers agreed that these are noticed. Whoever asks, a known link leads where it led
//! when the message was written, and nowhere else: no address is ever taken from the request.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};

use super::{Pages, guests::no_link};
use crate::{ids::ContactId, inbound::Hit, rpc::Fault};

/// A transparent pixel: GIF89a.
const PICTURE: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// The picture, the same for everybody.
pub async fn picture(State(pages): State<Arc<Pages>>, Path(token): Path<String>, headers: HeaderMap) -> Response<Body> {
    if let Some(contact_id) = pages.guests.links.opened(&token) {
        let hit = Hit { contact_id, link: None, user_agent: agent(&headers), prefetch: is_prefetch(&headers) };
        note(&pages, hit).await;
    }
    let mut response = Response::new(Body::from(PICTURE));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/gif"));
    plain(response)
}

/// Where a link leads.
pub async fn follow(State(pages): State<Arc<Pages>>, Path(token): Path<String>, headers: HeaderMap) -> Response<Body> {
    let guests = &pages.guests;
    let (contact_id, number, url) = match target(&pages, &token).await {
        Ok(found) => found,
        Err(fault) => return guests.refusal_to_anybody(&fault),
    };
    let Ok(location) = HeaderValue::try_from(url.as_str()) else { return guests.refusal_to_anybody(&no_link()) };
    let hit =
        Hit { contact_id, link: Some((number, url)), user_agent: agent(&headers), prefetch: is_prefetch(&headers) };
    note(&pages, hit).await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, location);
    plain(response)
}

/// Who only asks whether the picture is there is not noticed.
pub async fn glance() -> Response<Body> {
    plain(Response::new(Body::empty()))
}

/// Who only asks whether a link leads anywhere is not led on, nor noticed.
pub async fn peek(State(pages): State<Arc<Pages>>, Path(token): Path<String>) -> Response<Body> {
    match target(&pages, &token).await {
        Ok(_) => plain(Response::new(Body::empty())),
        Err(fault) => pages.guests.refusal_to_anybody(&fault),
    }
}

async fn target(pages: &Pages, token: &str) -> Result<(ContactId, u16, String), Fault> {
    let (contact, number) = pages.guests.links.followed(token).ok_or_else(no_link)?;
    let url = pages.guests.contacts.link(contact, number).await?.ok_or_else(no_link)?;
    Ok((contact, number, url))
}

/// The reader goes on, whatever becomes of the note.
async fn note(pages: &Pages, hit: Hit) {
    if let Err(fault) = pages.guests.inbound.hit(hit).await {
        tracing::warn!(%fault, "a hit was not noted");
    }
}

fn agent(headers: &HeaderMap) -> String {
    headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default().to_owned()
}

fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].iter().any(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.contains("prefetch") || value.contains("preview")
    })
}

fn plain(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
    response
}
