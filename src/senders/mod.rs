//! Senders: who mail is from, what it is signed with, where it comes back, and whether they are ready for marketing.

mod check;
mod dmarc;
mod dns;
mod job;
mod readiness;
mod sender;
mod spf;

use std::{collections::HashSet, sync::Arc};

pub use self::{
    check::{Check, Finding},
    job::CheckSenders,
    readiness::{NotReady, Readiness, Report},
    sender::{Key, Sender},
};
use self::{dns::Dns, readiness::Findings};
use crate::{
    clock::Clock,
    config::{Config, MailLocation, WrongSetting},
    contacts::Purpose,
    ids::SenderId,
    rpc::{Fault, Reason},
};

/// The senders of this deployment.
#[derive(Debug, Clone)]
pub struct Senders {
    default: Arc<Sender>,
    /// Each for its purposes.
    others: Vec<Arc<Sender>>,
    clock: Clock,
    dns: Dns,
    /// Whether links in mail start with https.
    has_https: bool,
    /// Marketing goes out from senders that are not ready.
    is_test: bool,
    findings: Arc<Findings>,
}

impl Senders {
    /// Reads their keys; a sender that is wrong in anything stops the start.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, WrongSetting> {
        let (default, others) = described(config)?;
        Ok(Self {
            default: Arc::new(default),
            others: others.into_iter().map(Arc::new).collect(),
            clock,
            dns: Dns::new(config.dns_server),
            has_https: config.public_url.as_ref().is_some_and(|url| url.starts_with("https://")),
            // What is written into a folder reaches nobody.
            is_test: config.test_system || matches!(config.mail, MailLocation::Folder(_)),
            findings: Arc::default(),
        })
    }

    /// The same for a rehearsal: whoever is not ready sends nevertheless, and nothing is signed, as nothing leaves.
    pub fn for_rehearsal(&self) -> Self {
        let unsigned = |sender: &Arc<Sender>| Arc::new(sender.without_keys());
        let (default, others) = (unsigned(&self.default), self.others.iter().map(unsigned).collect());
        Self { default, others, is_test: true, ..self.clone() }
    }

    /// Who sends what is for a purpose.
    pub fn of(&self, purpose: Purpose) -> &Arc<Sender> {
        self.others.iter().find(|sender| sender.purposes.contains(&purpose)).unwrap_or(&self.default)
    }

    /// Whether every letter bounces to an address of its own.
    pub fn all_have_return_paths(&self) -> bool {
        self.all().all(|sender| sender.return_path_domain.is_some())
    }

    /// All, the one for everything else last.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Sender>> {
        self.others.iter().chain([&self.default])
    }

    fn find(&self, id: &SenderId) -> Result<&Arc<Sender>, Fault> {
        self.all().find(|sender| sender.sender_id == *id).ok_or_else(|| {
            let known: Vec<&str> = self.all().map(|sender| sender.sender_id.as_str()).collect();
            let message = format!("there is no sender {id}; there are {}", known.join(", "));
            Fault::refused(Reason::SenderNotFound, id, message)
        })
    }
}

/// The sender for everything else, and the others.
fn described(config: &Config) -> Result<(Sender, Vec<Sender>), WrongSetting> {
    if config.senders.is_empty() {
        return Ok((Sender::of_all_mail(config.mail_from.as_deref())?, Vec::new()));
    }
    if let Some(from) = &config.mail_from {
        let found = format!("{from:?} beside [[senders]] in rapport.toml");
        return Err(WrongSetting::new("mail_from", found, "one of the two"));
    }
    let senders = config.senders.iter().map(Sender::open).collect::<Result<Vec<_>, _>>()?;
    check_ids(&senders)?;
    check_purposes(&senders)?;
    let (mut defaults, others): (Vec<_>, Vec<_>) = senders.into_iter().partition(|sender| sender.purposes.is_empty());
    match (defaults.pop(), defaults.pop()) {
        (Some(default), None) => Ok((default, others)),
        (None, _) => Err(wrong("senders", "all have purposes", "one without purposes, for everything else")),
        (Some(a), Some(b)) => {
            let found = format!("{} and {} both have no purposes", b.sender_id, a.sender_id);
            Err(wrong("senders", found, "one without purposes, for everything else"))
        }
    }
}

fn check_ids(senders: &[Sender]) -> Result<(), WrongSetting> {
    let mut known = HashSet::new();
    match senders.iter().find(|sender| !known.insert(&sender.sender_id)) {
        Some(twice) => Err(wrong("senders", format!("two are called {:?}", twice.sender_id.as_str()), "another id")),
        None => Ok(()),
    }
}

fn check_purposes(senders: &[Sender]) -> Result<(), WrongSetting> {
    let mut taken = HashSet::new();
    let mut twice = senders.iter().flat_map(|sender| sender.purposes.iter().map(move |purpose| (sender, purpose)));
    match twice.find(|(_, purpose)| !taken.insert(*purpose)) {
        Some((sender, purpose)) => {
            let found = format!("\"{purpose}\", which another sender is for");
            Err(wrong(&format!("senders.{}.purposes", sender.sender_id), found, "each purpose once"))
        }
        None => Ok(()),
    }
}

/// Something that only `rapport.toml` can say.
fn wrong(setting: &str, found: impl Into<String>, allowed: impl Into<String>) -> WrongSetting {
    WrongSetting { setting: format!("{setting} in rapport.toml"), found: found.into(), allowed: allowed.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn described(text: &str) -> Result<Senders, String> {
        let settings: Settings = toml::from_str(text).map_err(|wrong| wrong.message().to_owned())?;
        let config = Config::from_settings(&settings).map_err(|wrong| wrong.to_string())?;
        Senders::open(&config, Clock::system()).map_err(|wrong| wrong.to_string())
    }

    const DEFAULT: &str = "[[senders]]\nid = \"default\"\nfrom = \"Shop <shop@example.com>\"\n";

    #[test]
    fn each_purpose_has_a_sender() {
        let senders = described(&format!(
            "[[senders]]\nid = \"newsletter\"\nfrom = \"News <news@mail.example.com>\"\n\
             purposes = [\"marketing\", \"survey\"]\nreturn_path_domain = \"Bounce.Mail.example.com\"\n{DEFAULT}"
        ))
        .unwrap();
        let from = |purpose| senders.of(purpose).sender_id.as_str();
        assert_eq!(from(Purpose::Marketing), "newsletter");
        assert_eq!(from(Purpose::Survey), "newsletter");
        assert_eq!(from(Purpose::Service), "default");
        assert_eq!(from(Purpose::Transactional), "default");
        assert_eq!(senders.of(Purpose::Survey).return_path_domain.as_deref(), Some("bounce.mail.example.com"));
        let only = described("").unwrap();
        assert_eq!(only.of(Purpose::Marketing).from.address.as_str(), "rapport@localhost.localdomain");
    }

    #[test]
    fn a_wrong_sender_is_named_with_what_was_found_and_what_is_allowed() {
        for (text, details) in [
            ("[[senders]]\nid = \"x\"\nfrom = \"a@example.com\"", ["senders.x.id", "5 to 15"]),
            ("[[senders]]\nid = \"default\"\nfrom = \"nobody\"", ["senders.default.from", "\"nobody\""]),
            (
                "[[senders]]\nid = \"default\"\nfrom = \"a\\u2028b <a@example.com>\"",
                ["senders.default.from", "control"],
            ),
            ("[[senders]]\nid = \"default\"\nfrom = \"a@example.com\"\npurpose = \"x\"", ["purpose", "purposes"]),
            (&format!("{DEFAULT}reply_to = \"nobody\""), ["senders.default.reply_to", "\"nobody\""]),
            (&format!("{DEFAULT}postal_address = \"a\\u0007b\""), ["senders.default.postal_address", "control"]),
            (&format!("{DEFAULT}purposes = [\"spam\"]"), ["senders.default.purposes", "\"spam\""]),
            (&format!("{DEFAULT}purposes = [\"survey\"]"), ["senders", "without purposes"]),
            (&format!("{DEFAULT}return_path_domain = \"a b\""), ["senders.default.return_path_domain", "\"a b\""]),
            (&format!("{DEFAULT}{DEFAULT}"), ["\"default\"", "another id"]),
            (
                &format!("{DEFAULT}dkim = [{{selector = \"a_b\", key_file = \"x\"}}]"),
                ["senders.default.dkim", "\"a_b\""],
            ),
            (
                &format!("{DEFAULT}dkim = [{{selector = \"a\", key_file = \"no.pem\"}}]"),
                ["senders.default.dkim", "no.pem"],
            ),
            (&format!("mail_from = \"a@example.com\"\n{DEFAULT}"), ["RAPPORT_MAIL_FROM", "senders"]),
        ] {
            let sentence = described(text).err().unwrap_or_default();
            assert!(details.iter().all(|detail| sentence.contains(detail)), "{text}: {sentence}");
        }
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");
        let dkim = |keys: &str| described(&format!("{DEFAULT}dkim = [{keys}]")).unwrap_err();
        let small = dkim(&format!("{{selector = \"a\", key_file = \"{keys}/rsa-1024.pem\"}}"));
        assert!(small.contains("rsa-1024.pem") && small.contains("fewer than 2048 bits"), "{small}");
        let other = dkim(&format!("{{selector = \"a\", key_file = \"{keys}/p-256.pem\"}}"));
        assert!(other.contains("neither RSA nor Ed25519"), "{other}");
        let both =
            ["a", "b"].map(|selector| format!("{{selector = \"{selector}\", key_file = \"{keys}/ed25519.pem\"}}"));
        assert!(dkim(&both.join(", ")).contains("two ed25519 keys that sign"));
        let second = DEFAULT.replace("default", "another");
        assert!(described(&format!("{DEFAULT}{second}")).unwrap_err().contains("both have no purposes"));
        let news = DEFAULT.replace("default", "newsletter") + "purposes = [\"marketing\"]\n";
        let more = news.replace("newsletter", "offers");
        assert!(described(&format!("{DEFAULT}{news}{more}")).unwrap_err().contains("which another sender is for"));
    }
}
