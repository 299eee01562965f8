use std::{fmt, str::FromStr};

use idna::AsciiDenyList;

use super::breaks_headers;

/// An e-mail address that mail can be sent to: a dot-atom, "@" and a DNS name of at least two labels (RFC 5321, 4.1.2).
/// Comments, quoted local parts and address literals are refused: nobody signs up with one. The domain is kept in its ASCII
/// form and lower case (UTS 46), the local part as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// The address as it is written into a message.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes two addresses the same: all of it in lower case. No mailbox provider tells addresses apart by case.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }

    /// For people and logs: "c…@example.com".
    pub fn masked(&self) -> String {
        let (local, domain) = self.0.split_once('@').unwrap_or_default();
        let first: String = local.chars().take(1).collect();
        format!("{first}…@{domain}")
    }

    /// The part after the "@".
    pub fn domain(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = "must be an e-mail address such as \"anna@example.com\"";
        // Blanks around it are a slip of the hand; a line break is not.
        let (local, domain) = text.trim_matches([' ', '\t']).rsplit_once('@').ok_or(allowed)?;
        if !is_dot_atom(local) {
            return Err(format!("{allowed}: before the \"@\" 1 to 64 letters, digits and .!#$%&'*+/=?^_`{{|}}~-"));
        }
        let domain = idna::domain_to_ascii_cow(domain.as_bytes(), AsciiDenyList::STD3)
            .ok()
            .filter(|domain| is_dns_name(domain))
            .ok_or_else(|| format!("{allowed}: after the \"@\" a domain name with at least one dot"))?;
        let address = format!("{local}@{domain}");
        if address.len() > 254 { Err(format!("{allowed}, at most 254 characters long")) } else { Ok(Self(address)) }
    }
}

fn is_dot_atom(local: &str) -> bool {
    let atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atom_byte);
    (1..=64).contains(&local.len()) && local.split('.').all(atom)
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dns_name(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let top = domain.rsplit('.').next().unwrap_or_default();
    domain.len() <= 253
        && domain.contains('.')
        && domain.split('.').all(label)
        && top.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Who a message is from or to: an address and perhaps a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The name beside the address; empty = none.
    pub name: String,
    /// The address.
    pub address: EmailAddress,
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.address),
            name => write!(f, "{name} <{}>", self.address),
        }
    }
}

impl FromStr for Mailbox {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('<') else {
            return Ok(Self { name: String::new(), address: text.parse()? });
        };
        let address = rest.strip_suffix('>').ok_or("must end with \">\" after the address")?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if name.chars().any(breaks_headers) {
            return Err("must not hold line breaks or other control characters".to_owned());
        }
        Ok(Self { name: name.to_owned(), address: address.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_sign_up_with_is_accepted() {
        for (text, stored) in [
            ("anna@example.com", "anna@example.com"),
            (" Anna.Bērziņa+shop@Example.COM", ""),
            ("Anna.Berzina+shop@Example.COM", "Anna.Berzina+shop@example.com"),
            ("o'brien@sub.example.co.uk", "o'brien@sub.example.co.uk"),
            ("jörg@example.com", ""),
            ("info@müller.example", "info@xn--mller-kva.example"),
            ("a@xn--mller-kva.example", "a@xn--mller-kva.example"),
        ] {
            assert_eq!(text.parse::<EmailAddress>().map(|a| a.0).unwrap_or_default(), stored, "{text}");
        }
        assert_eq!("A.B@example.com".parse::<EmailAddress>().unwrap().key(), "a.b@example.com");
        assert_eq!("anna@example.com".parse::<EmailAddress>().unwrap().masked(), "a…@example.com");
    }

    #[test]
    fn what_no_mail_server_takes_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("a@{}.com", "a".repeat(64));
        for wrong in [
            "",
            "@",
            "anna",
            "anna@",
            "@example.com",
            "anna@example",
            "a b@example.com",
            "a@b@example.com",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "\"a b\"@example.com",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a(c)@example.com",
            "a@-example.com",
            "a@example-.com",
            "a@ex_ample.com",
            "a@example..com",
            "a@.com",
            "a\r\n@example.com",
            "a@example.com\r\n",
            "\na@example.com",
            "a@example.com\u{0}",
            "a@exa mple.com",
            &long_local,
            &long_label,
        ] {
            assert!(wrong.parse::<EmailAddress>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_mailbox_is_an_address_with_or_without_a_name() {
        let mailbox: Mailbox = "Rapport <hello@example.com>".parse().unwrap();
        assert_eq!((mailbox.name.as_str(), mailbox.address.as_str()), ("Rapport", "hello@example.com"));
        assert_eq!("hello@example.com".parse::<Mailbox>().unwrap().name, "");
        assert_eq!("\"Shop, Ltd\" <a@example.com>".parse::<Mailbox>().unwrap().name, "Shop, Ltd");
        assert_eq!("Shop \"x\" <a@example.com>".parse::<Mailbox>().unwrap().name, "Shop \"x\"");
        for wrong in ["Rapport", "Rapport <hello@example.com", "Rapport <>", "a\u{7}b <a@example.com>"] {
            assert!(wrong.parse::<Mailbox>().is_err(), "{wrong}");
        }
    }
}
