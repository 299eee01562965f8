use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

use super::{
    Inbound,
    record::{Fate, Found},
};
use crate::{
    contacts::{DeliveryEvent, DeliveryKind},
    delivery::{
        self, Complaint, ComplaintKind, EmailAddress, Fate as Became, Notice, Returned, Weight, What, read_returned,
        without_addresses,
    },
    ids::ContactId,
    rpc::Fault,
    tokens::{SecretKey, Use},
};

/// Who says what is read here.
const SOURCE: &str = "mail";
/// How many recipients of one message are looked at.
const MOST: usize = 100;
/// How long a key is at most that a message brings with it.
const LONGEST_ID: usize = 150;

/// What a message was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Classification {
    /// What became of a message.
    Bounce,
    /// What somebody thinks of one.
    Complaint,
    /// A program answered.
    AutoReply,
    /// A person answered.
    Reply,
    /// Nothing of that kind, or one with a forged return path.
    Unknown,
}

/// What a message was, and what it says.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// What it was.
    pub classification: Classification,
    /// What it says.
    pub readings: Vec<Reading>,
}

/// What a message says of one recipient.
#[derive(Debug, Clone)]
pub struct Reading {
    /// As it was read.
    pub found: Found,
    /// Whom it names; empty = nobody.
    pub recipient: String,
    /// As it is recorded; none = it had been before, or it is about nobody of ours.
    pub recorded: Option<DeliveryEvent>,
}

/// What the return path says to which a message was sent.
enum Path {
    /// Nothing.
    Silent,
    /// Which message it is about.
    Of(ContactId),
    /// It looks like ours, and is not.
    Forged,
}

impl Inbound {
    /// Reads a message that came back, records what it says, and lets it take effect.
    pub async fn ingest(&self, raw: Vec<u8>, envelope_recipient: &str) -> Result<Ingested, Fault> {
        let digest = BASE64URL_NOPAD.encode(&Sha256::digest(&raw));
        // A large message takes long enough to keep others waiting.
        let permit = Arc::clone(&self.reading).acquire_owned().await.ok();
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_returned(&raw)
        });
        let read = read.await;
        let unknown = Ingested { classification: Classification::Unknown, readings: Vec::new() };
        let Ok(Ok(returned)) = read else { return Ok(unknown) };
        let token = match path(&self.key, envelope_recipient, &returned) {
            Path::Forged => {
                tracing::warn!("a message with a forged return path came back; nothing follows from it");
                return Ok(unknown);
            }
            Path::Of(contact) => Some(contact),
            Path::Silent => None,
        };
        let about = || returned.about.iter().find_map(|id| delivery::contact_of(&self.key, id));
        let contact = token.or_else(about);
        let classification = classify(&returned.what);
        let id = Some(returned.message_id.clone()).filter(|id| (1..=LONGEST_ID).contains(&id.len())).unwrap_or(digest);
        let findings = findings(&returned, contact, &id).into_iter();
        let findings = findings.map(|(found, recipient)| (self.as_far_as_proven(found), recipient));
        let (found, recipients): (Vec<Found>, Vec<String>) = findings.unzip();
        let fates = self.record(&found).await?;
        let reading = |((found, recipient), fate)| Reading {
            found,
            recipient,
            recorded: if let Fate::Recorded(event) = fate { Some(*event) } else { None },
        };
        let readings = found.into_iter().zip(recipients).zip(fates).map(reading).collect();
        Ok(Ingested { classification, readings })
    }
}

impl Inbound {
    /// A message that is known went to one address, whichever this one names. Whoever can write to us can name an address: where all
    /// mail has a return path of its own, that alone suppresses nobody.
    fn as_far_as_proven(&self, found: Found) -> Found {
        if found.contact.is_some() {
            return Found { address: None, ..found };
        }
        if self.by_address {
            return found;
        }
        let kind = if found.kind == DeliveryKind::Complained { DeliveryKind::Feedback } else { found.kind };
        Found {
            kind,
            weight: found.weight.map(|weight| if weight == Weight::Hard { Weight::Soft } else { weight }),
            ..found
        }
    }
}

fn classify(what: &What) -> Classification {
    match what {
        What::Report(_) => Classification::Bounce,
        What::Complaint(_) => Classification::Complaint,
        What::AutoReply => Classification::AutoReply,
        What::Reply => Classification::Reply,
        What::Unknown => Classification::Unknown,
    }
}

/// The message that a return path is about; an error where it looks like ours, and is not.
pub(super) fn by_path(key: &SecretKey, address: &str) -> Result<Option<ContactId>, ()> {
    let Some(token) = token(address) else { return Ok(None) };
    let bytes = key.open(Use::ReturnPath, token).ok_or(())?;
    Ok(Some(ContactId::from_uuid(uuid::Uuid::from_bytes(bytes))))
}

fn path(key: &SecretKey, envelope_recipient: &str, returned: &Returned) -> Path {
    let mut path = Path::Silent;
    for address in std::iter::once(envelope_recipient).chain(returned.sent_to.iter().map(String::as_str)) {
        match by_path(key, address) {
            Ok(Some(contact)) => return Path::Of(contact),
            Ok(None) => {}
            Err(()) => path = Path::Forged,
        }
    }
    path
}

/// What stands in a return path: "b.{token}@bounce.example.com". Shorter ones are people's addresses.
fn token(address: &str) -> Option<&str> {
    let (local, _) = address.trim().trim_matches(['<', '>']).split_once('@')?;
    let (start, token) = local.split_at_checked(2)?;
    let is_token = token.len() >= 26 && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (start.eq_ignore_ascii_case("b.") && is_token).then_some(token)
}

/// What a message says, each with whom it names. Where it is known which message it is about, there is one recipient.
fn findings(returned: &Returned, contact: Option<ContactId>, id: &str) -> Vec<(Found, String)> {
    let blank = |place: usize, kind| Found {
        source: SOURCE.to_owned(),
        source_event_id: format!("{id}#{place}"),
        contact,
        address: None,
        kind,
        weight: None,
        status_code: String::new(),
        detail: String::new(),
        url: String::new(),
        automated: false,
        occur_time: None,
    };
    let about =
        |found: Found, recipient: &str| (Found { address: recipient.parse().ok(), ..found }, recipient.to_owned());
    match &returned.what {
        What::Report(notices) => {
            let each = notices.iter().take(MOST).enumerate();
            let found = each.map(|(place, notice)| from_notice(blank(place, DeliveryKind::Bounced), notice));
            let mut found: Vec<(Found, String)> = found.collect();
            if contact.is_some() {
                // A copy that was forwarded may have failed where the message itself arrived.
                found.sort_by_key(|(found, _)| severity(found));
                found.truncate(1);
            }
            found
        }
        What::Complaint(Complaint { kind, recipients }) => {
            let kind = match kind {
                ComplaintKind::Unwanted => DeliveryKind::Complained,
                ComplaintKind::NotSpam | ComplaintKind::Other => DeliveryKind::Feedback,
            };
            if contact.is_some() || recipients.is_empty() {
                return vec![about(blank(0, kind), recipients.first().map_or("", String::as_str))];
            }
            let each = recipients.iter().take(MOST).enumerate();
            each.map(|(place, recipient)| about(blank(place, kind), recipient)).collect()
        }
        What::AutoReply | What::Reply => {
            let human = returned.what == What::Reply;
            let kind = if human { DeliveryKind::Replied } else { DeliveryKind::AutoReplied };
            let from = returned.from.first().map_or("", String::as_str);
            vec![about(Found { automated: !human, ..blank(0, kind) }, from)]
        }
        What::Unknown => Vec::new(),
    }
}

fn from_notice(blank: Found, notice: &Notice) -> (Found, String) {
    let recipient = notice.recipients.first().cloned().unwrap_or_default();
    let detail = without_addresses(&notice.detail, &recipient);
    let (kind, weight) = match notice.fate {
        Became::Delivered => (DeliveryKind::Delivered, None),
        Became::Delayed => (DeliveryKind::Deferred, None),
        Became::Failed { weight, .. } => (DeliveryKind::Bounced, Some(weight)),
    };
    let address = notice.recipients.iter().find_map(|one| one.parse::<EmailAddress>().ok());
    let status_code = notice.status.map(|status| status.to_string()).unwrap_or_default();
    (Found { kind, weight, status_code, detail, address, ..blank }, recipient)
}

fn severity(found: &Found) -> u8 {
    match (found.kind, found.weight) {
        (DeliveryKind::Bounced, Some(Weight::Hard)) => 5,
        (DeliveryKind::Bounced, Some(Weight::Suspected)) => 4,
        (DeliveryKind::Bounced, Some(Weight::Soft)) => 3,
        (DeliveryKind::Bounced, _) => 2,
        (DeliveryKind::Deferred, _) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_path_is_told_from_an_address_of_a_person() {
        let long = "a".repeat(52);
        assert_eq!(token(&format!("b.{long}@bounce.example.com")), Some(long.as_str()));
        assert_eq!(token(&format!("<B.{long}@bounce.example.com>")), Some(long.as_str()));
        for other in ["b.smith@example.com", "anna@example.com", "", "b.@example.com", &format!("c.{long}@example.com")]
        {
            assert_eq!(token(other), None, "{other}");
        }
    }
}
