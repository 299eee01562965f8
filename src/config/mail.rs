use std::{fmt, net::IpAddr, path::PathBuf};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::WrongSetting;

/// Where mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailLocation {
    /// Each message becomes a file in this folder.
    Folder(PathBuf),
    /// Each message is handed over to a mail server.
    Smtp(SmtpServer),
}

/// A mail server, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpServer {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the connection is protected by.
    pub security: Security,
    /// Who we are there; absent = nobody asks.
    pub credentials: Option<Credentials>,
}

/// What a connection to a mail server is protected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    None,
    /// TLS, asked for by STARTTLS; without it nothing is sent.
    StartTls,
    /// TLS from the first octet on.
    Implicit,
}

/// A user and a password, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

const ALLOWED: &str =
    "file:FOLDER, smtp://HOST:PORT, or smtp+starttls:// or smtps:// with USER:PASSWORD@HOST:PORT, percent-encoded";

/// The URL may hold a password: a refusal shows only its scheme.
pub(super) fn parse_mail(text: &str) -> Result<MailLocation, WrongSetting> {
    let folder = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:"));
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        return Ok(MailLocation::Folder(folder.into()));
    }
    let scheme = text.split(':').next().unwrap_or_default();
    let (security, port) = match scheme {
        "smtp" => (Security::None, 25),
        "smtp+starttls" => (Security::StartTls, 587),
        "smtps" => (Security::Implicit, 465),
        _ => return Err(wrong(scheme, "", ALLOWED)),
    };
    let url = Url::parse(text).map_err(|error| wrong(scheme, &format!(" ({error})"), ALLOWED))?;
    let host = host(&url).ok_or_else(|| wrong(scheme, " without the name of a host", ALLOWED))?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(scheme, " with something after the host", ALLOWED));
    }
    let credentials = credentials(&url).map_err(|what| wrong(scheme, what, ALLOWED))?;
    if credentials.is_some() && security == Security::None && !is_loopback(&host) {
        let found = ", which would send the password unprotected";
        return Err(wrong(scheme, found, "smtp+starttls:// or smtps:// where there is a password"));
    }
    Ok(MailLocation::Smtp(SmtpServer { host, port: url.port().unwrap_or(port), security, credentials }))
}

fn wrong(scheme: &str, what: &str, allowed: &str) -> WrongSetting {
    WrongSetting::new("mail_url", format!("\"{scheme}:…\"{what}"), allowed)
}

fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
        Host::Domain(name) => {
            let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
            Some(name.to_owned()).filter(|name| is_name && !name.is_empty())
        }
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let decoded = |text| percent_decode_str(text).decode_utf8().map(String::from).ok();
    let (user, password) = match (url.username(), url.password()) {
        ("", None) => return Ok(None),
        ("", _) | (_, None | Some("")) => return Err(" with half of a user and a password"),
        (user, Some(password)) => (decoded(user), decoded(password)),
    };
    let (Some(user), Some(password)) = (user, password) else { return Err(" with credentials that are no UTF-8") };
    // It parts the two on the wire (RFC 4616).
    if user.contains('\0') || password.contains('\0') {
        return Err(" with a zero in the credentials");
    }
    Ok(Some(Credentials { user, password }))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> SmtpServer {
        match parse_mail(url) {
            Ok(MailLocation::Smtp(server)) => server,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_mail_server_is_named_by_scheme_host_and_port() {
        for (url, host, port, security) in [
            ("smtp://mail.example.com", "mail.example.com", 25, Security::None),
            ("smtp://127.0.0.1:2525/", "127.0.0.1", 2_525, Security::None),
            ("smtp://[::1]:2525", "::1", 2_525, Security::None),
            ("smtp://sink_1", "sink_1", 25, Security::None),
            ("smtp+starttls://mail.example.com", "mail.example.com", 587, Security::StartTls),
            ("smtps://mail.example.com", "mail.example.com", 465, Security::Implicit),
        ] {
            let expected = SmtpServer { host: host.to_owned(), port, security, credentials: None };
            assert_eq!(server(url), expected, "{url}");
        }
    }

    #[test]
    fn credentials_are_percent_decoded_and_never_printed() {
        let with = server("smtps://shop%40example.com:p%3a%2F%25%C5%BE@mail.example.com");
        let expected = Credentials { user: "shop@example.com".to_owned(), password: "p:/%ž".to_owned() };
        assert_eq!(with.credentials, Some(expected));
        let printed = format!("{with:?}");
        assert!(!printed.contains("shop") && !printed.contains("p:/"), "{printed}");
        assert!(server("smtp://a:b@127.0.0.1").credentials.is_some());
        assert!(server("smtp://a:b@[::1]").credentials.is_some());
        assert!(server("smtp://a:b@localhost").credentials.is_some());
    }

    #[test]
    fn a_wrong_mail_url_is_refused_without_showing_a_secret() {
        for (url, detail) in [
            ("carrier:pigeon", "\"carrier:…\""),
            ("file:", "file:FOLDER"),
            ("smtp:", "host"),
            ("smtp://", "host"),
            ("smtp://hunter2@:25", "host"),
            ("smtp://mail.example.com:hunter2", "port"),
            ("smtps://a:hunter2@ma il.example.com", "domain character"),
            ("smtps://a:hunter2@mäil.example.com", "host"),
            ("smtps://a:hunter2@mail.example.com/x", "after the host"),
            ("smtps://a:b@mail.example.com?hunter2", "after the host"),
            ("smtps://hunter2@mail.example.com", "half"),
            ("smtps://:hunter2@mail.example.com", "half"),
            ("smtps://a:hunter2%ff@mail.example.com", "UTF-8"),
            ("smtps://a:hunter2%00@mail.example.com", "zero"),
            ("smtp://a:hunter2@mail.example.com", "smtp+starttls://"),
            ("smtp://a:hunter2@127.0.0.1.example.com", "unprotected"),
        ] {
            let sentence = parse_mail(url).err().map(|wrong| wrong.to_string()).unwrap_or_default();
            assert!(sentence.contains("RAPPORT_MAIL_URL") && sentence.contains(detail), "{url}: {sentence}");
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
    }
}
