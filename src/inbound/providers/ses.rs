use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::NotTaken;
use crate::{
    contacts::DeliveryKind,
    delivery::{self, Failure, Stage, Weight, codes_of, judge, without_addresses},
    ids::ContactId,
    inbound::{Found, ingest},
    tokens::SecretKey,
};

/// A notification of SES, by a feedback topic ("notificationType") or an event destination ("eventType").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    #[serde(alias = "eventType")]
    notification_type: String,
    mail: Mail,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
    delivery: Option<Delivery>,
    delivery_delay: Option<Delay>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mail {
    message_id: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    bounce_type: String,
    #[serde(default)]
    bounce_sub_type: String,
    bounced_recipients: Vec<Recipient>,
    #[serde(default)]
    feedback_id: String,
    timestamp: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
    complaint_feedback_type: Option<String>,
    #[serde(default)]
    feedback_id: String,
    timestamp: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Delivery {
    recipients: Vec<String>,
    timestamp: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delay {
    delayed_recipients: Vec<Recipient>,
    timestamp: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    diagnostic_code: String,
}

/// What a notification says of each recipient.
pub fn read(key: &SecretKey, body: &[u8]) -> Result<Vec<Found>, NotTaken> {
    let of: Notification = serde_json::from_slice(body)?;
    let contact = contact(key, &of.mail)?;
    let id = |feedback: &str| if feedback.is_empty() { of.mail.message_id.clone() } else { feedback.to_owned() };
    let all = |kind, id: String, time, recipients: &[Recipient], weight: &dyn Fn(&Recipient) -> Option<Weight>| {
        let each = recipients.iter().enumerate();
        each.map(|(place, one)| {
            found(kind, format!("{}/{id}/{place}", of.notification_type), contact, time, one, weight(one))
        })
        .collect::<Vec<Found>>()
    };
    Ok(match of.notification_type.as_str() {
        "Bounce" => of.bounce.map_or(Vec::new(), |bounce| {
            let weight = |one: &Recipient| Some(weight(&bounce.bounce_type, &bounce.bounce_sub_type, one));
            all(DeliveryKind::Bounced, id(&bounce.feedback_id), bounce.timestamp, &bounce.bounced_recipients, &weight)
        }),
        "Complaint" => of.complaint.map_or(Vec::new(), |complaint| {
            let kind = match complaint.complaint_feedback_type.as_deref() {
                Some("auth-failure" | "not-spam" | "virus") => DeliveryKind::Feedback,
                _ => DeliveryKind::Complained,
            };
            all(kind, id(&complaint.feedback_id), complaint.timestamp, &complaint.complained_recipients, &|_| None)
        }),
        "Delivery" => of.delivery.map_or(Vec::new(), |delivery| {
            let named = |email_address: &String| Recipient {
                email_address: email_address.clone(),
                status: String::new(),
                diagnostic_code: String::new(),
            };
            let recipients: Vec<Recipient> = delivery.recipients.iter().map(named).collect();
            all(DeliveryKind::Delivered, id(""), delivery.timestamp, &recipients, &|_| None)
        }),
        "DeliveryDelay" => of.delivery_delay.map_or(Vec::new(), |delay| {
            let moment = delay.timestamp.map(|time| time.timestamp_millis()).unwrap_or_default();
            let id = format!("{}/{moment}", id(""));
            all(DeliveryKind::Deferred, id, delay.timestamp, &delay.delayed_recipients, &|_| None)
        }),
        _ => Vec::new(),
    })
}

/// The message by its return path or its Message-ID; SES may have put another one in its place.
fn contact(key: &SecretKey, mail: &Mail) -> Result<Option<ContactId>, NotTaken> {
    let by_path = ingest::by_path(key, &mail.source).map_err(|()| NotTaken::Unproven("the return path is forged"))?;
    let ids = mail.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("message-id"));
    let mut ids = ids.map(|header| header.value.trim().trim_matches(['<', '>']));
    Ok(by_path.or_else(|| ids.find_map(|id| delivery::contact_of(key, id))))
}

fn found(
    kind: DeliveryKind,
    source_event_id: String,
    contact: Option<ContactId>,
    occur_time: Option<DateTime<Utc>>,
    of: &Recipient,
    weight: Option<Weight>,
) -> Found {
    let (_, status) = codes_of(&of.diagnostic_code);
    let status_code = status.map_or_else(|| of.status.clone(), |status| status.to_string());
    Found {
        source: "ses".to_owned(),
        source_event_id,
        contact,
        address: of.email_address.parse().ok(),
        kind,
        weight,
        status_code,
        detail: without_addresses(&of.diagnostic_code, &of.email_address).chars().take(500).collect(),
        url: String::new(),
        automated: false,
        occur_time,
    }
}

/// SES has judged the bounce already; where it passes on what the server said, that may lift the blame from the address.
fn weight(bounce_type: &str, sub_type: &str, of: &Recipient) -> Weight {
    let (reply, told) = codes_of(&of.diagnostic_code);
    let said = of.diagnostic_code.as_str();
    let status = told.or(of.status.parse().ok());
    let own = judge(&Failure { reply, status, stage: Stage::Unknown, said, beside: "" }).1;
    match (bounce_type, sub_type) {
        ("Permanent", "NoEmail") => Weight::Hard,
        ("Permanent", "General" | "Undetermined") if said.is_empty() => Weight::Hard,
        ("Permanent", "General") if own == Weight::None => Weight::None,
        ("Permanent", "General") => Weight::Hard,
        // It is on a list of SES's own: of what bounced before.
        ("Permanent", "Suppressed" | "OnAccountSuppressionList") => Weight::Suspected,
        (_, "MessageTooLarge" | "ContentRejected" | "AttachmentRejected") => Weight::None,
        _ if own == Weight::None => Weight::None,
        _ => Weight::Soft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Use;

    fn bounce(source: &str, message_id: &str, kind: &str, sub: &str, said: &str) -> String {
        format!(
            r#"{{"notificationType":"Bounce","bounce":{{"bounceType":"{kind}","reportingMTA":"dns; email.example.com",
            "bouncedRecipients":[{{"emailAddress":"jane@example.com","status":"5.1.1","action":"failed",
            "diagnosticCode":"{said}"}}],"bounceSubType":"{sub}","timestamp":"2016-01-27T14:59:38.237Z",
            "feedbackId":"00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000","remoteMtaIp":"127.0.2.0"}},
            "mail":{{"timestamp":"2016-01-27T14:59:38.237Z","source":"{source}",
            "sourceArn":"arn:aws:ses:us-east-1:888888888888:identity/example.com","sourceIp":"127.0.3.0",
            "sendingAccountId":"123456789012","messageId":"00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa0680-000000",
            "destination":["jane@example.com"],"headersTruncated":false,
            "headers":[{{"name":"From","value":"shop"}},{{"name":"Message-ID","value":"{message_id}"}}],
            "commonHeaders":{{"from":["shop"],"messageId":"custom-message-ID","subject":"Hello"}}}}}}"#
        )
    }

    #[test]
    fn a_bounce_is_matched_by_what_cannot_be_forged_and_judged_by_both() {
        let (key, contact) = (SecretKey::from_text("key"), ContactId::generate());
        let path =
            format!("b.{}@bounce.example.com", key.seal(Use::ReturnPath, &uuid::Uuid::from(contact).into_bytes()));
        let id = format!("<{}>", delivery::message_id(&key, contact, "example.com"));
        let unknown = "smtp; 550 5.1.1 <jane@example.com>... User Unknown";
        for (source, message_id) in [(path.as_str(), ""), ("shop@example.com", id.as_str())] {
            let found = read(&key, bounce(source, message_id, "Permanent", "General", unknown).as_bytes()).unwrap();
            assert_eq!((found[0].contact, found[0].weight), (Some(contact), Some(Weight::Hard)));
            assert_eq!(found[0].detail, "smtp; 550 5.1.1 <recipient>... User Unknown");
        }
        let forged = path.replace("b.", "b.a");
        assert!(matches!(
            read(&key, bounce(&forged, "", "Permanent", "General", "").as_bytes()),
            Err(NotTaken::Unproven(_))
        ));
        for (kind, sub, said, weight) in [
            ("Permanent", "NoEmail", "", Weight::Hard),
            ("Permanent", "General", "", Weight::Hard),
            ("Permanent", "General", "smtp; 550 5.7.1 blocked as spam", Weight::None),
            ("Permanent", "Suppressed", "", Weight::Suspected),
            ("Transient", "MailboxFull", "smtp; 552 5.2.2 mailbox full", Weight::Soft),
            ("Transient", "ContentRejected", "", Weight::None),
            ("Undetermined", "Undetermined", "", Weight::Soft),
        ] {
            let found = read(&key, bounce("a@b.example", "", kind, sub, said).as_bytes()).unwrap();
            assert_eq!(found[0].weight, Some(weight), "{kind} {sub} {said}");
        }
    }

    #[test]
    fn complaints_arrivals_and_delays_are_told_apart_and_what_is_not_wanted_is_left_out() {
        let key = SecretKey::from_text("key");
        let mail = r#""mail":{"messageId":"m1","source":"a@b.example","timestamp":"2016-01-27T14:59:38.237Z"}"#;
        let complaint = |kind: &str| {
            format!(
                r#"{{"eventType":"Complaint","complaint":{{"complainedRecipients":[{{"emailAddress":"jane@example.com"}}],
                "timestamp":"2017-08-05T00:41:02.669Z","feedbackId":"f1","complaintSubType":null,
                "complaintFeedbackType":"{kind}"}},{mail}}}"#
            )
        };
        let kind = |body: &str| read(&key, body.as_bytes()).unwrap().first().map(|found| found.kind);
        assert_eq!(kind(&complaint("abuse")), Some(DeliveryKind::Complained));
        assert_eq!(kind(&complaint("auth-failure")), Some(DeliveryKind::Feedback));
        let delivery = format!(
            r#"{{"notificationType":"Delivery","delivery":{{"timestamp":"2016-10-19T23:21:04.133Z","processingTimeMillis":546,
            "recipients":["jane@example.com"],"smtpResponse":"250 2.6.0 Message received","reportingMTA":"a.example"}},{mail}}}"#
        );
        assert_eq!(kind(&delivery), Some(DeliveryKind::Delivered));
        let delay = format!(
            r#"{{"eventType":"DeliveryDelay","deliveryDelay":{{"timestamp":"2020-06-16T00:15:40.641Z","delayType":"MailboxFull",
            "expirationTime":"2020-06-16T00:25:40.914Z","delayedRecipients":[{{"emailAddress":"jane@example.com",
            "status":"4.2.2","diagnosticCode":"452 4.2.2 full"}}]}},{mail}}}"#
        );
        assert_eq!(kind(&delay), Some(DeliveryKind::Deferred));
        assert_eq!(kind(&format!(r#"{{"eventType":"Send","send":{{}},{mail}}}"#)), None);
        assert!(matches!(read(&key, b"{}"), Err(NotTaken::Malformed(_))));
    }
}
