//! Is a sender ready for marketing? Each requirement of mailbox providers and the law as one check, with what was found, what is
//! expected, and the record to publish.

use data_encoding::BASE64;

use super::{
    Sender, dmarc,
    dns::{Dns, NoAnswer},
    sender::Key,
    spf,
};

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, stable; for a key with "/" and its selector.
    pub rule: String,
    /// Whether a sender without it is not ready; else it is advice.
    pub needed: bool,
    /// What came of it.
    pub finding: Finding,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Fine,
    /// What was found, what is expected, and what to do.
    Wrong(String),
    /// It could not be found out; why.
    Unknown(String),
}

impl Finding {
    fn from_trouble(trouble: Option<String>) -> Self {
        trouble.map_or(Self::Fine, Self::Wrong)
    }

    /// Why it does not count as fine; none where it does.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Fine => None,
            Self::Wrong(trouble) | Self::Unknown(trouble) => Some(trouble),
        }
    }
}

impl From<Result<Option<String>, NoAnswer>> for Finding {
    fn from(asked: Result<Option<String>, NoAnswer>) -> Self {
        asked.map_or_else(|unknown| Self::Unknown(unknown.to_string()), Self::from_trouble)
    }
}

/// Checks everything, the most important first.
pub(super) async fn check(sender: &Sender, has_https: bool, dns: &Dns) -> Vec<Check> {
    let mut checks = vec![needed("dkim_signs", Finding::from_trouble(no_signature(sender)))];
    for key in &sender.keys {
        let finding = key_trouble(dns, sender.domain(), key).await.into();
        checks.push(Check { rule: format!("dkim_published/{}", key.pair.selector()), needed: key.signs, finding });
    }
    let walk = dmarc::walk(dns, sender.domain()).await;
    let dmarc = walk.as_ref().map(|walk| policy_trouble(sender, walk)).map_err(Clone::clone);
    checks.push(needed("dmarc", dmarc.into()));
    if let Ok(Some(record)) = walk.as_ref().map(|walk| &walk.record) {
        let finding = Finding::from_trouble(outdated_trouble(record));
        checks.push(Check { rule: "dmarc_tags".to_owned(), needed: false, finding });
    }
    let unsaid = "the sender has no return_path_domain: bounces would go to who answers".to_owned();
    let own = sender.return_path_domain.as_deref();
    checks.push(needed("return_path", Finding::from_trouble(if own.is_none() { Some(unsaid) } else { None })));
    if let Some(domain) = own {
        checks.push(needed("return_path_mx", mail_server_trouble(dns, domain).await.into()));
        checks.push(needed("return_path_spf", spf_trouble(dns, domain).await.into()));
        let alignment = match &walk {
            Ok(walk) => alignment_trouble(dns, sender, domain, walk).await,
            Err(unknown) => Err(unknown.clone()),
        };
        checks.push(Check { rule: "return_path_alignment".to_owned(), needed: false, finding: alignment.into() });
    }
    let nowhere = "the sender has no postal_address, which the law asks for below marketing".to_owned();
    let address = Finding::from_trouble(if sender.postal_address.is_empty() { Some(nowhere) } else { None });
    checks.push(needed("postal_address", address));
    let unsafe_url = "RAPPORT_PUBLIC_URL is not https://…, so mail programs offer no one-click unsubscribe".to_owned();
    checks.push(needed("unsubscribe_url", Finding::from_trouble(if has_https { None } else { Some(unsafe_url) })));
    checks
}

fn needed(rule: &str, finding: Finding) -> Check {
    Check { rule: rule.to_owned(), needed: true, finding }
}

fn no_signature(sender: &Sender) -> Option<String> {
    let signing: Vec<&str> = sender.keys.iter().filter(|key| key.signs).map(|key| key.pair.kind()).collect();
    match signing.as_slice() {
        [] => Some("no key signs: describe one under dkim".to_owned()),
        kinds if !kinds.contains(&"rsa") => {
            Some("only an Ed25519 key signs, which many receivers do not know yet: add an RSA key".to_owned())
        }
        _ => None,
    }
}

async fn key_trouble(dns: &Dns, domain: &str, key: &Key) -> Result<Option<String>, NoAnswer> {
    let name = format!("{}._domainkey.{domain}", key.pair.selector());
    let texts = dns.texts(&name).await?;
    let expected = format!("publish: {name} TXT \"{}\"", key.pair.record());
    let found = match texts.as_slice() {
        [] => format!("there is no record at {name}"),
        [text] => match record_trouble(text, key) {
            Some(trouble) => format!("the record at {name} {trouble}"),
            None => return Ok(None),
        },
        several => format!("there are {} records at {name}", several.len()),
    };
    Ok(Some(format!("{found}; {expected}")))
}

/// What keeps the key's signatures from verifying by a record (RFC 6376, 3.6.1).
fn record_trouble(text: &str, key: &Key) -> Option<String> {
    let tags: Vec<(&str, &str)> = text
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let tag = |name: &str| tags.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    if tag("v").is_some_and(|version| version != "DKIM1") {
        return Some("is of another version".to_owned());
    }
    let kind = tag("k").unwrap_or("rsa");
    if kind != key.pair.kind() {
        return Some(format!("is for a key of the kind {kind:?}, not {:?}", key.pair.kind()));
    }
    let published: String = tag("p").unwrap_or_default().split_ascii_whitespace().collect();
    if published.is_empty() {
        return Some("holds no key, which revokes it".to_owned());
    }
    if !is_same_key(&published, &key.pair.public_half()) {
        return Some("holds another key than the one that signs".to_owned());
    }
    let lists = |name, wanted: &str| tag(name).is_none_or(|list| list.split(':').any(|one| one.trim() == wanted));
    if !lists("h", "sha256") || !lists("s", "email") && !lists("s", "*") {
        return Some("forbids what the key is for by h= or s=".to_owned());
    }
    tag("t").filter(|flags| flags.split(':').any(|flag| flag.trim() == "y"))?;
    Some("says by t=y that the signatures are a test".to_owned())
}

/// RSA keys are published with the name of their kind before them, or without.
fn is_same_key(published: &str, own: &str) -> bool {
    let octets = |text: &str| BASE64.decode(text.as_bytes()).ok().filter(|octets| octets.len() >= 32);
    match (octets(published), octets(own)) {
        (Some(published), Some(own)) => published == own || published[0] == 0x30 && own.ends_with(&published),
        _ => false,
    }
}

fn policy_trouble(sender: &Sender, walk: &dmarc::Walk) -> Option<String> {
    let at = &walk.organization;
    let Some(record) = &walk.record else {
        let domain = sender.domain();
        return Some(format!(
            "there is no DMARC record for {domain}; publish: _dmarc.{domain} TXT \"v=DMARC1; p=none; rua=mailto:dmarc@{domain}\""
        ));
    };
    let trouble = record.trouble()?;
    let (found, domain) = (&record.text, &record.domain);
    Some(format!(
        "{found:?} at _dmarc.{domain} is wrong: {trouble}; expected such as \"v=DMARC1; p=none; rua=mailto:dmarc@{at}\""
    ))
}

fn outdated_trouble(record: &dmarc::Record) -> Option<String> {
    let outdated = record.outdated();
    let sentence = || format!("nobody reads {} in {:?} any more: leave it out", outdated.join(", "), record.text);
    (!outdated.is_empty()).then(sentence)
}

async fn mail_server_trouble(dns: &Dns, domain: &str) -> Result<Option<String>, NoAnswer> {
    let servers = dns.mail_servers(domain).await?;
    if servers.is_empty() {
        return Ok(Some(format!(
            "there is no MX record at {domain}, so bounces do not come back; publish: {domain} MX 10 HOST, the server that takes them"
        )));
    }
    if servers.iter().any(|server| server == ".") {
        return Ok(Some(format!("the MX record of {domain} says that it takes no mail")));
    }
    for server in &servers {
        if dns.has_address(server).await? {
            return Ok(None);
        }
    }
    Ok(Some(format!("no mail server of {domain} has an address: {}", servers.join(", "))))
}

async fn spf_trouble(dns: &Dns, domain: &str) -> Result<Option<String>, NoAnswer> {
    let expected = format!("publish: {domain} TXT \"v=spf1 … ~all\", with the servers that send between");
    Ok(spf::trouble(dns, domain).await?.map(|trouble| format!("{trouble}; {expected}")))
}

/// Whether SPF alone would show that mail is from the domain that readers see; DKIM shows it anyway.
async fn alignment_trouble(
    dns: &Dns,
    sender: &Sender,
    domain: &str,
    walk: &dmarc::Walk,
) -> Result<Option<String>, NoAnswer> {
    let own = sender.domain();
    if walk.record.as_ref().is_some_and(dmarc::Record::wants_same_return_path) && domain != own {
        return Ok(Some(format!(
            "the DMARC record wants the return path to be of {own} itself (aspf=s), not of {domain}"
        )));
    }
    let organization = dmarc::walk(dns, domain).await?.organization;
    if organization == walk.organization {
        return Ok(None);
    }
    Ok(Some(format!("{domain} belongs to {organization}, and {own} to {}: use a domain below that", walk.organization)))
}
