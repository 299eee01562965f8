use std::{collections::HashMap, sync::Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use url::Url;

use super::{NotTaken, https};
use crate::clock::Timestamp;

/// How old a notification is at most: what was written earlier may have been kept by somebody to say it again.
const OLDEST: TimeDelta = TimeDelta::hours(1);
/// How many certificates are remembered; SNS changes its own once a year or so.
const MOST_CERTIFICATES: usize = 20;

/// An SNS topic whose messages are taken, and the keys that they are signed with.
#[derive(Debug)]
pub struct Sns {
    topic: String,
    /// The server of the topic's region.
    host: String,
    /// By the address of the certificate.
    keys: Mutex<HashMap<String, Vec<u8>>>,
}

/// What SNS posts: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Posted {
    #[serde(rename = "Type")]
    kind: String,
    message_id: String,
    topic_arn: String,
    subject: Option<String>,
    message: String,
    timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL", alias = "SigningCertUrl")]
    signing_cert_url: String,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

impl Sns {
    /// Takes messages of this topic alone.
    pub fn new(topic: String) -> Self {
        Self { host: host_of(&topic), topic, keys: Mutex::default() }
    }

    /// What SNS passes on, once it is proven to be SNS's and of the topic; nothing where it was a matter between SNS and us.
    pub async fn open(&self, body: &[u8], now: Timestamp) -> Result<Option<String>, NotTaken> {
        let posted: Posted = serde_json::from_slice(body)?;
        if posted.topic_arn != self.topic {
            return Err(NotTaken::Unproven("it is of another topic"));
        }
        self.check(&posted).await?;
        let written = posted.timestamp.parse::<Timestamp>();
        let written = written.map_err(|_| NotTaken::Malformed("its Timestamp is none".to_owned()))?;
        if now - written > OLDEST {
            return Err(NotTaken::TooOld);
        }
        match posted.kind.as_str() {
            "Notification" => Ok(Some(posted.message)),
            "SubscriptionConfirmation" => {
                let url = self.confirmation(posted.subscribe_url.as_deref().unwrap_or_default())?;
                let confirmed = https::get(&url).await;
                confirmed.map_err(|why| NotTaken::Later(format!("the subscription was not confirmed: {why}")))?;
                tracing::info!("the subscription to the SES topic is confirmed");
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    async fn check(&self, posted: &Posted) -> Result<(), NotTaken> {
        let algorithm: &'static RsaParameters = match posted.signature_version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(NotTaken::Unproven("its signature is of an unknown version")),
        };
        let signature = STANDARD.decode(&posted.signature).map_err(|_| NotTaken::Unproven("its signature is none"))?;
        let key = self.key(&posted.signing_cert_url).await?;
        let signed = UnparsedPublicKey::new(algorithm, key).verify(posted.signed_text().as_bytes(), &signature);
        signed.map_err(|_| NotTaken::Unproven("its signature is not right"))
    }

    async fn key(&self, address: &str) -> Result<Vec<u8>, NotTaken> {
        let url = self.certificate(address)?;
        let known = |keys: &Mutex<HashMap<String, Vec<u8>>>| {
            keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(url.as_str()).cloned()
        };
        if let Some(key) = known(&self.keys) {
            return Ok(key);
        }
        let pem = https::get(&url).await;
        let pem = pem.map_err(|why| NotTaken::Later(format!("the certificate of SNS was not to be had: {why}")))?;
        let key = key_of(&pem).ok_or(NotTaken::Unproven("its certificate is none"))?;
        self.remember(&url, key.clone());
        Ok(key)
    }

    /// Whoever could name another server, or another file on it, would sign with their own certificate.
    fn certificate(&self, address: &str) -> Result<Url, NotTaken> {
        let is_certificate = |url: &Url| {
            let number =
                url.path().strip_prefix("/SimpleNotificationService-").and_then(|path| path.strip_suffix(".pem"));
            let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            url.query().is_none() && number.is_some_and(|number| !number.is_empty() && number.bytes().all(is_hex))
        };
        self.own(address).filter(is_certificate).ok_or(NotTaken::Unproven("its certificate is not one of SNS"))
    }

    fn confirmation(&self, address: &str) -> Result<Url, NotTaken> {
        let confirms = |url: &Url| {
            let mut actions = url.query_pairs().filter(|(name, _)| name == "Action").map(|(_, action)| action);
            url.path() == "/"
                && actions.next().is_some_and(|action| action == "ConfirmSubscription")
                && actions.next().is_none()
        };
        self.own(address).filter(confirms).ok_or(NotTaken::Unproven("its SubscribeURL is not one of SNS"))
    }

    /// An address on the server of the topic's region.
    fn own(&self, address: &str) -> Option<Url> {
        let url = Url::parse(address).ok()?;
        let is_bare =
            url.port().is_none() && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (url.scheme() == "https" && is_bare && url.host_str() == Some(self.host.as_str())).then_some(url)
    }

    fn remember(&self, url: &Url, key: Vec<u8>) {
        let mut keys = self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if keys.len() >= MOST_CERTIFICATES {
            keys.clear();
        }
        keys.insert(url.as_str().to_owned(), key);
    }
}

impl Posted {
    /// What the signature is of: name and value of each field, each on a line, in the order of their names.
    fn signed_text(&self) -> String {
        let mut fields = vec![("Message", self.message.as_str()), ("MessageId", &self.message_id)];
        if self.kind == "Notification" {
            fields.extend(self.subject.as_deref().map(|subject| ("Subject", subject)));
        } else {
            fields.push(("SubscribeURL", self.subscribe_url.as_deref().unwrap_or_default()));
        }
        fields.push(("Timestamp", &self.timestamp));
        if self.kind != "Notification" {
            fields.push(("Token", self.token.as_deref().unwrap_or_default()));
        }
        fields.extend([("TopicArn", self.topic_arn.as_str()), ("Type", &self.kind)]);
        fields.into_iter().map(|(name, value)| format!("{name}\n{value}\n")).collect()
    }
}

/// The server of the region that a topic's name (arn:aws:sns:{region}:…) tells.
fn host_of(topic: &str) -> String {
    let parts: Vec<&str> = topic.split(':').collect();
    let (partition, region) = (parts.get(1).copied().unwrap_or_default(), parts.get(3).copied().unwrap_or_default());
    let end = if partition == "aws-cn" { ".cn" } else { "" };
    format!("sns.{region}.amazonaws.com{end}")
}

/// The RSA key of a certificate. That it is SNS's own follows from where it was got; its dates are SNS's business.
fn key_of(pem: &[u8]) -> Option<Vec<u8>> {
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    let certificate = webpki::EndEntityCert::try_from(&certificate).ok()?;
    let described = certificate.subject_public_key_info();
    // SubjectPublicKeyInfo: the algorithm, then a bit string with the key and no unused bits.
    let (0x30, described, _) = element(&described)? else { return None };
    let (0x30, _, rest) = element(described)? else { return None };
    let (0x03, bits, _) = element(rest)? else { return None };
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// The tag and the content of the first element in DER, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use ring::{
        rand as lots,
        signature::{RSA_PKCS1_SHA256, RsaKeyPair},
    };
    use serde_json::{Value, json};
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";
    const CERTIFICATE: &str =
        "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem";
    /// Made with openssl for these tests; nobody else uses them.
    const PEM: &[u8] = include_bytes!("../../../tests/data/sns/certificate.pem");
    const KEY: &[u8] = include_bytes!("../../../tests/data/sns/key.pem");

    /// Of [`notification`], by `openssl dgst -sha1 -sign`.
    const SHA1: &str = "AMAROLJzlymjPy1haK5nvKUb7smyC4MUusc/Cp9yrgtkSD6WSbWu3ChsKTpNLP+u+0lgKgLeV0r22rWhvuyucnH8jUDcf0L47+wu\
        xIMIpPYlYJDKnPTx6W643rxtXcz9iBaiGdedoQ9/29QGwVxnON50u8VZaJg9hgJMKpzSNn3/go/eARTlGHhBRWDWMIg2V2V2rk5k\
        8lXdZOQjzLRPAhG/zELnXZwv36orWR32I4dLEmFjWlknRO5egLeQEyUmLGp/tMOs6gmKTdyB8tXYDNxrsB+5aq2SF4RfEo8CK4JJ\
        ss3tnh76ESac3rEclwjxelCtHzea3b0JFBeq0/ylJQ==";

    fn sns() -> Sns {
        let sns = Sns::new(TOPIC.to_owned());
        sns.remember(&Url::parse(CERTIFICATE).unwrap(), key_of(PEM).unwrap());
        sns
    }

    /// A minute after [`notification`].
    fn soon() -> Timestamp {
        "2012-05-02T00:55:06Z".parse().unwrap()
    }

    fn notification() -> Value {
        json!({
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "My First Message",
            "Message": "Hello world!",
            "Timestamp": "2012-05-02T00:54:06.655Z",
            "SignatureVersion": "2",
            "Signature": "",
            "SigningCertURL": CERTIFICATE,
            "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
        })
    }

    /// Signed as SNS does it.
    fn signed(mut posted: Value) -> Vec<u8> {
        let read: Posted = serde_json::from_value(posted.clone()).unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_slice(KEY).unwrap();
        let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &lots::SystemRandom::new(), read.signed_text().as_bytes(), &mut signature)
            .unwrap();
        posted["Signature"] = STANDARD.encode(signature).into();
        serde_json::to_vec(&posted).unwrap()
    }

    #[tokio::test]
    async fn what_sns_has_signed_is_opened_and_nothing_else() {
        let sns = sns();
        assert_eq!(sns.open(&signed(notification()), soon()).await.unwrap().as_deref(), Some("Hello world!"));
        let without_subject = Value::Object(
            notification().as_object().unwrap().clone().into_iter().filter(|(name, _)| name != "Subject").collect(),
        );
        assert!(sns.open(&signed(without_subject), soon()).await.is_ok());
        let mut first_version = notification();
        first_version["SignatureVersion"] = "1".into();
        first_version["Signature"] = SHA1.into();
        assert!(sns.open(&serde_json::to_vec(&first_version).unwrap(), soon()).await.is_ok());
        for (field, value) in [
            ("Message", "Hello!"),
            ("MessageId", "1"),
            ("Subject", "Other"),
            ("Timestamp", "2013-05-02T00:54:06.655Z"),
            ("Type", "UnsubscribeConfirmation"),
            ("Signature", "AAAA"),
            ("Signature", "?"),
            ("SignatureVersion", "1"),
            ("SignatureVersion", "3"),
            ("TopicArn", "arn:aws:sns:us-west-2:123456789012:Other"),
        ] {
            let mut changed: Value = serde_json::from_slice(&signed(notification())).unwrap();
            changed[field] = value.into();
            let opened = sns.open(&serde_json::to_vec(&changed).unwrap(), soon()).await;
            assert!(matches!(opened, Err(NotTaken::Unproven(_))), "{field}: {opened:?}");
        }
        let other_topic = signed({
            let mut other = notification();
            other["TopicArn"] = "arn:aws:sns:us-west-2:123456789012:Other".into();
            other
        });
        assert!(
            matches!(sns.open(&other_topic, soon()).await, Err(NotTaken::Unproven(_))),
            "signed, and of another topic"
        );
        for wrong in [&b"{}"[..], b"", b"[1]"] {
            assert!(matches!(sns.open(wrong, soon()).await, Err(NotTaken::Malformed(_))));
        }
    }

    #[tokio::test]
    async fn what_is_more_than_an_hour_old_is_not_taken_again() {
        let (sns, signed) = (sns(), signed(notification()));
        let after = |minutes| soon() + TimeDelta::minutes(minutes);
        assert!(sns.open(&signed, after(58)).await.is_ok());
        assert!(matches!(sns.open(&signed, after(60)).await, Err(NotTaken::TooOld)));
    }

    #[test]
    fn certificates_come_from_the_server_of_the_topics_region_alone() {
        let sns = sns();
        assert!(sns.certificate(CERTIFICATE).is_ok());
        let chinese = Sns::new("arn:aws-cn:sns:cn-north-1:123456789012:MyTopic".to_owned());
        let good = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a.pem";
        assert!(chinese.certificate(good).is_ok());
        assert!(sns.certificate(good).is_err());
        for wrong in [
            "http://sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com.cn/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com.evil.example/SimpleNotificationService-0a.pem",
            "https://evil.example/sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com:8443/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com@evil.example/SimpleNotificationService-0a.pem",
            "https://:x@sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.evil.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://s3.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-.pem",
            "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0g.pem",
            "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem?Action=GetTopic",
            "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0a.pem#a",
            "https://sns.us-west-2.amazonaws.com/a/SimpleNotificationService-0a.pem",
            "https://sns.us-west-2.amazonaws.com/a.pem",
            "file:///a.pem",
            "",
        ] {
            assert!(matches!(sns.certificate(wrong), Err(NotTaken::Unproven(_))), "{wrong}");
        }
    }

    #[test]
    fn a_subscription_is_confirmed_where_the_topic_is_and_nothing_else_is_done_there() {
        let sns = sns();
        let good = "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=a&Token=b";
        assert!(sns.confirmation(good).is_ok());
        for wrong in [
            "https://sns.us-west-2.amazonaws.com/?Action=Publish",
            "https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription&Action=Publish",
            "https://sns.us-west-2.amazonaws.com/",
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
            "http://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription",
        ] {
            assert!(matches!(sns.confirmation(wrong), Err(NotTaken::Unproven(_))), "{wrong}");
        }
    }
}
