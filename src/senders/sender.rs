use std::{collections::HashSet, fs};

use super::wrong;
use crate::{
    clock::Timestamp,
    config::{DkimSettings, SenderSettings, WrongSetting},
    contacts::Purpose,
    delivery::{EmailAddress, Mailbox, SigningPair, UnfitLetter, breaks_headers, sign},
    ids::{ContactId, SenderId, is_slug},
    tokens::{SecretKey, Use},
};

/// Who mail is from.
#[derive(Debug)]
pub struct Sender {
    /// Its name.
    pub sender_id: SenderId,
    /// Who its mail is from.
    pub from: Mailbox,
    /// Who gets the answers; none = `from`.
    pub reply_to: Option<Mailbox>,
    /// Where the organisation can be reached by letter; empty = not said.
    pub postal_address: String,
    /// What for; empty = everything that no other sender is for.
    pub purposes: Vec<Purpose>,
    /// Below which domain its bounces come back; none = they go to `from`.
    pub return_path_domain: Option<String>,
    /// What its mail is signed with, and what else is published.
    pub keys: Vec<Key>,
}

/// A key of a sender.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub pair: SigningPair,
    /// Whether it signs.
    pub signs: bool,
}

impl Sender {
    /// What people know it by.
    pub fn name(&self) -> &str {
        let Mailbox { name, address } = &self.from;
        if name.is_empty() { address.domain() } else { name }
    }

    /// The same with nothing to sign with.
    pub(super) fn without_keys(&self) -> Self {
        Self {
            sender_id: self.sender_id.clone(),
            from: self.from.clone(),
            reply_to: self.reply_to.clone(),
            postal_address: self.postal_address.clone(),
            purposes: self.purposes.clone(),
            return_path_domain: self.return_path_domain.clone(),
            keys: Vec::new(),
        }
    }

    /// The only sender, where none is described.
    pub(super) fn of_all_mail(from: Option<&str>) -> Result<Self, WrongSetting> {
        let from = from.unwrap_or("Rapport <rapport@localhost.localdomain>");
        let parsed = from.parse().map_err(|wrong: String| {
            WrongSetting::new("mail_from", format!("{from:?}"), format!("\"Name <address>\" or an address; it {wrong}"))
        })?;
        Ok(Self {
            sender_id: SenderId::from_stored("default".to_owned()),
            from: parsed,
            reply_to: None,
            postal_address: String::new(),
            purposes: Vec::new(),
            return_path_domain: None,
            keys: Vec::new(),
        })
    }

    /// Judges what was described, and reads the keys.
    pub(super) fn open(described: &SenderSettings) -> Result<Self, WrongSetting> {
        let at = |name: &str| format!("senders.{}.{name}", described.id);
        let purposes = described.purposes.iter().flatten().map(|name| purpose(&at("purposes"), name));
        Ok(Self {
            sender_id: sender_id(&at("id"), &described.id)?,
            from: mailbox(&at("from"), &described.from)?,
            reply_to: described.reply_to.as_deref().map(|text| mailbox(&at("reply_to"), text)).transpose()?,
            postal_address: postal_address(&at("postal_address"), described.postal_address.as_deref())?,
            purposes: purposes.collect::<Result<_, _>>()?,
            return_path_domain: described
                .return_path_domain
                .as_deref()
                .map(|text| domain(&at("return_path_domain"), text))
                .transpose()?,
            keys: keys(&at("dkim"), &described.dkim)?,
        })
    }

    /// Where a letter bounces to: an address that tells the contact to us alone.
    pub fn return_path(&self, key: &SecretKey, contact: ContactId) -> EmailAddress {
        let own = self.return_path_domain.as_ref().and_then(|domain| {
            let token = key.seal(Use::ReturnPath, &uuid::Uuid::from(contact).into_bytes());
            format!("b.{token}@{domain}").parse().ok()
        });
        own.unwrap_or_else(|| self.from.address.clone())
    }

    /// The domain that signs: the one that readers see.
    pub fn domain(&self) -> &str {
        self.from.address.domain()
    }

    /// Whether any key signs.
    pub fn has_signing_key(&self) -> bool {
        self.keys.iter().any(|key| key.signs)
    }

    /// The letter with its signatures; a millisecond of work for an RSA key.
    pub fn sign(&self, letter: &[u8], now: Timestamp) -> Result<Vec<u8>, UnfitLetter> {
        let keys: Vec<&SigningPair> = self.keys.iter().filter(|key| key.signs).map(|key| &key.pair).collect();
        sign(letter, self.domain(), &keys, now)
    }
}

fn sender_id(setting: &str, text: &str) -> Result<SenderId, WrongSetting> {
    // Mailbox providers count complaints by names of this length.
    if is_slug(text, 5) && text.len() <= 15 {
        return Ok(SenderId::from_stored(text.to_owned()));
    }
    Err(wrong(setting, format!("{text:?}"), "5 to 15 characters of a-z, 0-9 and \"-\""))
}

fn mailbox(setting: &str, text: &str) -> Result<Mailbox, WrongSetting> {
    text.parse().map_err(|why: String| {
        wrong(setting, format!("{text:?}"), format!("\"Name <address>\" or an address; it {why}"))
    })
}

fn postal_address(setting: &str, text: Option<&str>) -> Result<String, WrongSetting> {
    let text = text.unwrap_or_default().trim();
    let broken = |letter: char| breaks_headers(letter) && letter != '\n';
    if text.chars().any(broken) || text.chars().count() > 500 {
        return Err(wrong(setting, format!("{text:?}"), "up to 500 characters, without control characters"));
    }
    Ok(text.to_owned())
}

fn purpose(setting: &str, name: &str) -> Result<Purpose, WrongSetting> {
    let allowed = "any of \"transactional\", \"service\", \"marketing\" and \"survey\"";
    name.parse().map_err(|_| wrong(setting, format!("{name:?}"), allowed))
}

fn domain(setting: &str, text: &str) -> Result<String, WrongSetting> {
    // Long enough for the longest local part that stands before it.
    let address: Result<EmailAddress, _> = format!("{}@{text}", "b".repeat(54)).parse();
    match address {
        Ok(address) => Ok(address.domain().to_owned()),
        Err(_) => Err(wrong(setting, format!("{text:?}"), "a domain name such as \"bounce.example.com\"")),
    }
}

fn keys(setting: &str, described: &[DkimSettings]) -> Result<Vec<Key>, WrongSetting> {
    let keys = described.iter().map(|one| key(setting, one)).collect::<Result<Vec<_>, _>>()?;
    let mut selectors = HashSet::new();
    if let Some(twice) = keys.iter().find(|key| !selectors.insert(key.pair.selector())) {
        return Err(wrong(setting, format!("selector {:?} twice", twice.pair.selector()), "another selector"));
    }
    let mut kinds = HashSet::new();
    if let Some(twice) = keys.iter().filter(|key| key.signs).find(|key| !kinds.insert(key.pair.kind())) {
        let found = format!("two {} keys that sign", twice.pair.kind());
        return Err(wrong(setting, found, "signs = false for the one that is only published"));
    }
    Ok(keys)
}

fn key(setting: &str, described: &DkimSettings) -> Result<Key, WrongSetting> {
    let DkimSettings { selector, key_file, signs } = described;
    if !is_selector(selector) {
        return Err(wrong(setting, format!("selector {selector:?}"), "labels of a-z, 0-9 and \"-\" with dots between"));
    }
    let file = key_file.display().to_string();
    let allowed = "a private key as PEM: RSA of 2048 to 4096 bits, or Ed25519";
    let pem = fs::read(key_file).map_err(|error| wrong(setting, format!("key_file {file:?} ({error})"), allowed))?;
    let pair = SigningPair::from_pem(selector.clone(), &pem)
        .map_err(|unfit| wrong(setting, format!("key_file {file:?}, which {unfit}"), allowed))?;
    Ok(Key { pair, signs: *signs })
}

fn is_selector(text: &str) -> bool {
    text.len() <= 100
        && text.split('.').all(|label| is_slug(label, 1) && !label.starts_with('-') && !label.ends_with('-'))
}
