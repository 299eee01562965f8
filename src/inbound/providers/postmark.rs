use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::NotTaken;
use crate::{
    contacts::DeliveryKind,
    delivery::{Weight, without_addresses},
    inbound::Found,
};

/// A webhook of Postmark's: Bounce, SpamComplaint, Delivery or SubscriptionChange.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Webhook {
    record_type: String,
    #[serde(rename = "ID", default)]
    id: u64,
    #[serde(rename = "MessageID", default)]
    message_id: String,
    #[serde(rename = "Type", default)]
    bounce_type: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    recipient: String,
    details: Option<String>,
    description: Option<String>,
    #[serde(default)]
    suppress_sending: bool,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    suppression_reason: Option<String>,
    bounced_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    changed_at: Option<DateTime<Utc>>,
}

/// What a webhook says; nothing where it says nothing that matters here.
pub fn read(body: &[u8]) -> Result<Option<Found>, NotTaken> {
    let webhook: Webhook = serde_json::from_slice(body)?;
    let (kind, weight) = match webhook.record_type.as_str() {
        "Bounce" => match of_bounce(&webhook.bounce_type) {
            Some(meaning) => meaning,
            None => return Ok(None),
        },
        "SpamComplaint" => (DeliveryKind::Complained, None),
        "Delivery" => (DeliveryKind::Delivered, None),
        "SubscriptionChange" => match of_change(&webhook) {
            Some(meaning) => meaning,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let address = if webhook.email.is_empty() { &webhook.recipient } else { &webhook.email };
    let said = [&webhook.details, &webhook.description].into_iter().flatten().find(|said| !said.is_empty());
    let said = said.map_or("", String::as_str);
    let (_, status) = crate::delivery::codes_of(said);
    let key = if webhook.id == 0 { webhook.message_id.clone() } else { webhook.id.to_string() };
    let time = webhook.bounced_at.or(webhook.delivered_at).or(webhook.changed_at);
    let moment = webhook.changed_at.map(|time| time.timestamp_millis().to_string()).unwrap_or_default();
    Ok(Some(Found {
        source: "postmark".to_owned(),
        source_event_id: format!("{}/{key}/{moment}", webhook.record_type),
        contact: None,
        address: address.parse().ok(),
        kind,
        weight,
        status_code: status.map(|status| status.to_string()).unwrap_or_default(),
        detail: without_addresses(said, address).chars().take(500).collect(),
        url: String::new(),
        automated: kind == DeliveryKind::AutoReplied,
        occur_time: time,
    }))
}

/// Postmark has read the bounce already: https://postmarkapp.com/developer/api/bounce-api#bounce-types.
fn of_bounce(name: &str) -> Option<(DeliveryKind, Option<Weight>)> {
    let bounced = |weight| (DeliveryKind::Bounced, Some(weight));
    Some(match name {
        "HardBounce" | "BadEmailAddress" => bounced(Weight::Hard),
        "AddressChange" | "ManuallyDeactivated" => bounced(Weight::Suspected),
        "Transient" | "SoftBounce" | "DnsError" | "Unknown" => bounced(Weight::Soft),
        "AutoResponder" => (DeliveryKind::AutoReplied, None),
        "SpamComplaint" => (DeliveryKind::Complained, None),
        "Unsubscribe" => (DeliveryKind::Unsubscribed, None),
        "Subscribe" | "OpenRelayTest" | "InboundError" | "TemplateRenderingFailed" | "SMTPApiError" => return None,
        // Blocked, SpamNotification, VirusNotification, DMARCPolicy, ChallengeVerification: the message's fault, or a rule.
        _ => bounced(Weight::None),
    })
}

/// What a recipient changed; bounces and complaints come by themselves.
fn of_change(webhook: &Webhook) -> Option<(DeliveryKind, Option<Weight>)> {
    let by_hand = webhook.suppression_reason.as_deref() == Some("ManualSuppression");
    let own = webhook.suppress_sending && webhook.origin == "Recipient" && by_hand;
    own.then_some((DeliveryKind::Unsubscribed, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_says_what_it_says() {
        let bounce = |name: &str| {
            format!(
                r#"{{"RecordType":"Bounce","MessageStream":"outbound","ID":4323372036854775807,"Type":"{name}","TypeCode":1,
                "Name":"Hard bounce","Tag":"Test","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","ServerID":23,
                "Description":"The server was unable to deliver your message (ex: unknown user, mailbox not found).",
                "Details":"smtp;550 5.1.1 <john@example.com> unknown","Email":"john@example.com","From":"sender@example.com",
                "BouncedAt":"2019-11-05T16:33:54.9070259Z","DumpAvailable":true,"Inactive":true,"CanActivate":true,
                "Subject":"Test subject","Content":"","Metadata":{{"a_key":"a_value"}}}}"#
            )
        };
        let found = read(bounce("HardBounce").as_bytes()).unwrap().unwrap();
        assert_eq!((found.kind, found.weight), (DeliveryKind::Bounced, Some(Weight::Hard)));
        assert_eq!(found.source_event_id, "Bounce/4323372036854775807/");
        assert_eq!(
            (found.status_code.as_str(), found.detail.as_str()),
            ("5.1.1", "smtp;550 5.1.1 <recipient> unknown")
        );
        assert_eq!(found.address.unwrap().as_str(), "john@example.com");
        let without = bounce("HardBounce").replace(r#""smtp;550 5.1.1 <john@example.com> unknown""#, "null");
        assert!(read(without.as_bytes()).unwrap().unwrap().detail.starts_with("The server was unable"));
        for (name, weight) in
            [("SoftBounce", Weight::Soft), ("Blocked", Weight::None), ("SpamNotification", Weight::None)]
        {
            assert_eq!(read(bounce(name).as_bytes()).unwrap().unwrap().weight, Some(weight), "{name}");
        }
        assert!(read(bounce("Subscribe").as_bytes()).unwrap().is_none());

        let delivery = r#"{"MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","Recipient":"john@example.com",
            "DeliveredAt":"2019-11-05T16:33:54.9070259Z","Details":"Test delivery webhook details","Tag":"welcome-email",
            "ServerID":23,"Metadata":{"a_key":"a_value"},"RecordType":"Delivery","MessageStream":"outbound"}"#;
        assert_eq!(read(delivery.as_bytes()).unwrap().unwrap().kind, DeliveryKind::Delivered);

        let change = |origin: &str, suppress: bool| {
            format!(
                r#"{{"RecordType":"SubscriptionChange","MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","ServerID":123456,
                "MessageStream":"outbound","ChangedAt":"2020-02-01T10:53:34.416071Z","Recipient":"john@example.com",
                "Origin":"{origin}","SuppressSending":{suppress},"SuppressionReason":"ManualSuppression","Tag":"welcome",
                "Metadata":{{}}}}"#
            )
        };
        assert_eq!(read(change("Recipient", true).as_bytes()).unwrap().unwrap().kind, DeliveryKind::Unsubscribed);
        assert!(read(change("Recipient", false).as_bytes()).unwrap().is_none());
        assert!(read(change("Admin", true).as_bytes()).unwrap().is_none());
        assert!(read(br#"{"RecordType":"Open"}"#).unwrap().is_none());
        assert!(matches!(read(b"{}"), Err(NotTaken::Malformed(_))));
    }
}
