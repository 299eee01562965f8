//! Where providers post what became of mail. Each is off, as if it were not there, unless it is set.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use crate::{
    config,
    inbound::{Inbound, NotTaken, Sns, Tally},
};

/// More than any notification, in octets.
const LARGEST: usize = 1_024 * 1_024;

/// Who is listened to.
#[derive(Debug)]
pub struct Providers {
    inbound: Inbound,
    ses: Option<Sns>,
    /// Of "USER:PASSWORD": comparing digests tells nobody how much of a guess was right.
    postmark: Option<[u8; 32]>,
}

impl Providers {
    /// Those that are set.
    pub fn new(inbound: Inbound, set: &config::Providers) -> Self {
        let postmark = set.postmark_secret.as_deref().map(|secret| Sha256::digest(secret).into());
        Self { inbound, ses: set.ses_topic.clone().map(Sns::new), postmark }
    }

    /// The doors.
    pub(super) fn routes(self) -> Router {
        Router::new()
            .route("/providers/ses", post(ses))
            .route("/providers/postmark", post(postmark))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(Arc::new(self))
    }
}

async fn ses(State(own): State<Arc<Providers>>, body: Bytes) -> (StatusCode, String) {
    match &own.ses {
        Some(sns) => answer(own.inbound.sns(sns, &body).await),
        None => nobody(),
    }
}

async fn postmark(State(own): State<Arc<Providers>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let Some(secret) = own.postmark else { return nobody() };
    if credentials(&headers).map(|given| <[u8; 32]>::from(Sha256::digest(given))) != Some(secret) {
        return (StatusCode::UNAUTHORIZED, "Who are you?\n".to_owned());
    }
    answer(own.inbound.postmark(&body).await)
}

/// What whoever calls says it is (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())?
}

fn nobody() -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, "There is no such page.\n".to_owned())
}

fn answer(taken: Result<Tally, NotTaken>) -> (StatusCode, String) {
    match taken {
        Ok(Tally { recorded, duplicates, unmatched }) => {
            (StatusCode::OK, format!("recorded {recorded}, known {duplicates}, unmatched {unmatched}\n"))
        }
        Err(NotTaken::Malformed(why)) => (StatusCode::BAD_REQUEST, format!("{why}\n")),
        Err(unproven @ NotTaken::Unproven(_)) => {
            tracing::warn!(reason = %unproven, "a notification was refused");
            (StatusCode::FORBIDDEN, "Not proven.\n".to_owned())
        }
        Err(old @ NotTaken::TooOld) => {
            tracing::warn!("a notification was refused: it was written more than an hour ago");
            (StatusCode::FORBIDDEN, format!("Not taken: {old}.\n"))
        }
        Err(later) => {
            tracing::warn!(reason = %later, "a notification was not taken; the provider tries again");
            (StatusCode::SERVICE_UNAVAILABLE, "Not now.\n".to_owned())
        }
    }
}
