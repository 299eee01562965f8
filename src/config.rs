//! Settings: `rapport.toml`, overridden by `RAPPORT_*` variables, overridden by flags.

mod mail;
mod providers;
mod recipients;
mod senders;

use std::{
    fs, io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use url::Url;

pub use self::{
    mail::{Credentials, MailLocation, Security, SmtpServer},
    providers::Providers,
    recipients::TestRecipients,
    senders::{DkimSettings, SenderSettings},
};

/// A setting that stops the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {found}; allowed is {allowed}")]
pub struct WrongSetting {
    /// Its name as variable, with its name in `rapport.toml` where that helps.
    pub setting: String,
    /// What was found, quoted; never a secret.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

impl WrongSetting {
    /// A setting known by its name in `rapport.toml`.
    pub fn new(name: &str, found: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self {
            setting: format!("RAPPORT_{} ({name} in rapport.toml)", name.to_uppercase()),
            found: found.into(),
            allowed: allowed.into(),
        }
    }
}

/// What may be set. Every value is text here, from wherever it came; [`Config::from_settings`] judges it.
#[derive(Clone, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// SQLite file or Postgres server: sqlite://rapport.db or postgres://user:password@host/database [default: sqlite://rapport.db]
    #[arg(long, value_name = "URL", env = "RAPPORT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Address of the gRPC API [default: 127.0.0.1:50051]
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_GRPC_ADDR")]
    pub grpc_addr: Option<String>,
    /// Address of the HTTP side: probes and metrics [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_HTTP_ADDR")]
    pub http_addr: Option<String>,
    /// Where customers reach the HTTP side: the start of the links in mail [default: http:// and the HTTP address]
    #[arg(long, value_name = "URL", env = "RAPPORT_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Listen on an address that other machines reach, although callers are not authenticated: true or false [default: false]
    #[arg(long, value_name = "BOOL", env = "RAPPORT_ALLOW_REMOTE", num_args = 0..=1, default_missing_value = "true")]
    #[serde(deserialize_with = "senders::flag")]
    pub allow_remote: Option<String>,
    /// Where mail goes: file:FOLDER, smtp://HOST, smtp+starttls://USER:PASSWORD@HOST or smtps://… [default: file:outbox]
    #[arg(long, value_name = "URL", env = "RAPPORT_MAIL_URL", hide_env_values = true)]
    pub mail_url: Option<String>,
    /// How many messages are handed over at once, by each process: 1 to 100 [default: 8]
    #[arg(long, value_name = "COUNT", env = "RAPPORT_MAIL_CONNECTIONS")]
    pub mail_connections: Option<String>,
    /// How many messages are handed over a second, by all processes together [default: no limit]
    #[arg(long, value_name = "COUNT", env = "RAPPORT_MAIL_RATE")]
    pub mail_rate: Option<String>,
    /// Sender of all mail: a name with an address in angle brackets, or an address alone.
    #[arg(long, value_name = "MAILBOX", env = "RAPPORT_MAIL_FROM")]
    #[arg(
        help = "Sender of all mail: \"Name <address>\" or an address [default: Rapport <rapport@localhost.localdomain>]"
    )]
    pub mail_from: Option<String>,
    /// The senders of mail, in `rapport.toml` only; where there is none, `mail_from` is the only one.
    #[arg(skip)]
    pub senders: Vec<SenderSettings>,
    /// Mail reaches nobody who is not testing, so marketing needs no sender that is ready for it: true or false [default: false]
    #[arg(long, value_name = "BOOL", env = "RAPPORT_TEST_SYSTEM", num_args = 0..=1, default_missing_value = "true")]
    #[serde(deserialize_with = "senders::flag")]
    pub test_system: Option<String>,
    /// Who gets messages that are tried out: addresses and @domains with commas between [default: nobody]
    #[arg(long, value_name = "LIST", env = "RAPPORT_TEST_RECIPIENTS")]
    pub test_recipients: Option<String>,
    /// The DNS server that is asked about senders, IP:PORT [default: those that the system asks]
    #[arg(long, value_name = "IP:PORT", env = "RAPPORT_DNS_SERVER")]
    pub dns_server: Option<String>,
    /// ARN of the SNS topic to which Amazon SES publishes what became of mail; POST /providers/ses takes it [default: nothing]
    #[arg(long, value_name = "ARN", env = "RAPPORT_SES_TOPIC")]
    pub ses_topic: Option<String>,
    /// Who Postmark says it is at POST /providers/postmark, by HTTP Basic: RAPPORT_POSTMARK_SECRET, "USER:PASSWORD".
    #[arg(skip)]
    pub postmark_secret: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,rapport::dispatch=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "RAPPORT_LOG")]
    pub log: Option<String>,
    /// Keys page tokens and Message-IDs: RAPPORT_SECRET_KEY, 32 characters or more. On SQLite made once, beside the file.
    #[arg(skip)]
    pub secret_key: Option<String>,
}

impl Settings {
    /// These settings where they are given, the others elsewhere. An empty value counts as not given.
    pub fn or(self, others: Self) -> Self {
        let pick = |a: Option<String>, b: Option<String>| a.filter(|text| !text.is_empty()).or(b);
        Self {
            database_url: pick(self.database_url, others.database_url),
            grpc_addr: pick(self.grpc_addr, others.grpc_addr),
            http_addr: pick(self.http_addr, others.http_addr),
            public_url: pick(self.public_url, others.public_url),
            allow_remote: pick(self.allow_remote, others.allow_remote),
            mail_url: pick(self.mail_url, others.mail_url),
            mail_connections: pick(self.mail_connections, others.mail_connections),
            mail_rate: pick(self.mail_rate, others.mail_rate),
            mail_from: pick(self.mail_from, others.mail_from),
            senders: if self.senders.is_empty() { others.senders } else { self.senders },
            test_system: pick(self.test_system, others.test_system),
            test_recipients: pick(self.test_recipients, others.test_recipients),
            dns_server: pick(self.dns_server, others.dns_server),
            ses_topic: pick(self.ses_topic, others.ses_topic),
            postmark_secret: pick(self.postmark_secret, others.postmark_secret),
            log: pick(self.log, others.log),
            secret_key: pick(self.secret_key, others.secret_key),
        }
    }

    /// Reads a file. `rapport.toml` itself need not exist; one that was named must.
    pub fn read(path: Option<&Path>) -> Result<Self, WrongSetting> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new("rapport.toml"));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && !named => return Ok(Self::default()),
            Err(unreadable) => {
                return Err(WrongSetting {
                    setting: "--config".to_owned(),
                    found: format!("{:?} ({unreadable})", path.display().to_string()),
                    allowed: "a readable TOML file".to_owned(),
                });
            }
        };
        toml::from_str(&text).map_err(|wrong| WrongSetting {
            setting: path.display().to_string(),
            found: wrong.message().to_owned(),
            allowed:
                "database_url, grpc_addr, http_addr, public_url, allow_remote, mail_url, mail_connections, mail_rate, mail_from, \
                test_system, test_recipients, dns_server, ses_topic, postmark_secret, log and secret_key, each a text, and [[senders]] with id, from, reply_to, postal_address, purposes, \
                return_path_domain and dkim, a list of selector, key_file and signs"
                    .to_owned(),
        })
    }
}

/// What the service is built from: every value is right in form. Not printable, because it holds secrets.
#[derive(Clone)]
pub struct Config {
    /// Where the record is kept.
    pub database: DatabaseLocation,
    /// Where the API listens; port 0 takes any free one.
    pub grpc_addr: SocketAddr,
    /// Where the HTTP side listens; port 0 takes any free one.
    pub http_addr: SocketAddr,
    /// The start of the links in mail, without a slash at its end; none = where the HTTP side listens.
    pub public_url: Option<String>,
    /// Where mail goes.
    pub mail: MailLocation,
    /// How many messages this process hands over at once.
    pub mail_connections: usize,
    /// How many messages all processes together hand over a second; absent = as many as they can.
    pub mail_rate: Option<NonZeroU32>,
    /// Sender of all mail where no senders are described, as it was written; absent = the default.
    pub mail_from: Option<String>,
    /// The senders of mail, as they were described.
    pub senders: Vec<SenderSettings>,
    /// Whether marketing goes out from a sender that is not ready.
    pub test_system: bool,
    /// Who gets messages that are tried out.
    pub test_recipients: TestRecipients,
    /// Who is asked about senders; absent = those that the system asks.
    pub dns_server: Option<SocketAddr>,
    /// Providers whose notifications are taken.
    pub providers: Providers,
    /// As it was written; absent = made once, beside the SQLite file.
    pub secret_key: Option<String>,
}

/// Where the record is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseLocation {
    /// One file, one process.
    Sqlite(PathBuf),
    /// A server, any number of processes; the whole URL.
    Postgres(String),
}

/// The default of the `log` setting.
pub const DEFAULT_LOG: &str = "info";
/// The default of the `mail_connections` setting.
pub const DEFAULT_MAIL_CONNECTIONS: usize = 8;

impl Config {
    /// Judges settings; the first wrong one stops the start.
    pub fn from_settings(settings: &Settings) -> Result<Self, WrongSetting> {
        let database = parse_database(settings.database_url.as_deref().unwrap_or("sqlite://rapport.db"))?;
        let secret_key = settings.secret_key.clone();
        check_secret(secret_key.as_deref(), &database)?;
        let allow_remote = parse_flag("allow_remote", settings.allow_remote.as_deref())?;
        Ok(Self {
            database,
            grpc_addr: parse_addr("grpc_addr", settings.grpc_addr.as_deref(), "127.0.0.1:50051", allow_remote)?,
            http_addr: parse_addr("http_addr", settings.http_addr.as_deref(), "127.0.0.1:8080", allow_remote)?,
            public_url: settings.public_url.as_deref().map(parse_public_url).transpose()?,
            mail: mail::parse_mail(settings.mail_url.as_deref().unwrap_or("file:outbox"))?,
            mail_connections: parse_connections(settings.mail_connections.as_deref())?,
            mail_rate: parse_rate(settings.mail_rate.as_deref())?,
            mail_from: settings.mail_from.clone(),
            senders: settings.senders.clone(),
            test_system: parse_flag("test_system", settings.test_system.as_deref())?,
            test_recipients: settings.test_recipients.as_deref().unwrap_or_default().parse()?,
            dns_server: settings.dns_server.as_deref().map(parse_dns_server).transpose()?,
            providers: Providers::from_settings(settings.ses_topic.as_deref(), settings.postmark_secret.as_deref())?,
            secret_key,
        })
    }
}

fn parse_database(url: &str) -> Result<DatabaseLocation, WrongSetting> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(DatabaseLocation::Postgres(url.to_owned()));
    }
    let allowed = "sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE";
    match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
        Some(path) if !path.is_empty() && !path.contains([':', '?']) => Ok(DatabaseLocation::Sqlite(path.into())),
        // The URL may hold a password: only its scheme is shown.
        _ => {
            let scheme = url.split(':').next().unwrap_or_default();
            Err(WrongSetting::new("database_url", format!("\"{scheme}:…\""), allowed))
        }
    }
}

fn parse_public_url(text: &str) -> Result<String, WrongSetting> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let bare = |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match url.filter(bare) {
        Some(url) if url.as_str().len() <= 200 => Ok(url.as_str().trim_end_matches('/').to_owned()),
        _ => Err(WrongSetting::new("public_url", format!("{text:?}"), "https://HOST, or http://HOST:PORT, and a path")),
    }
}

fn parse_flag(name: &str, text: Option<&str>) -> Result<bool, WrongSetting> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(WrongSetting::new(name, format!("{other:?}"), "true or false")),
    }
}

fn parse_addr(name: &str, text: Option<&str>, default: &str, allow_remote: bool) -> Result<SocketAddr, WrongSetting> {
    let text = text.unwrap_or(default);
    let addr: SocketAddr = text.parse().map_err(|_| {
        WrongSetting::new(name, format!("{text:?}"), format!("an IP address and a port, such as {default}"))
    })?;
    if addr.ip().is_loopback() || allow_remote {
        return Ok(addr);
    }
    Err(WrongSetting::new(
        name,
        format!("{text:?}, which other machines reach, while callers are not authenticated"),
        "a loopback address, or RAPPORT_ALLOW_REMOTE=true",
    ))
}

fn parse_dns_server(text: &str) -> Result<SocketAddr, WrongSetting> {
    text.parse().map_err(|_| {
        WrongSetting::new("dns_server", format!("{text:?}"), "an IP address and a port, such as 192.0.2.1:53")
    })
}

fn parse_connections(text: Option<&str>) -> Result<usize, WrongSetting> {
    let Some(text) = text else { return Ok(DEFAULT_MAIL_CONNECTIONS) };
    let count = text.parse().ok().filter(|count| (1..=100).contains(count));
    count.ok_or_else(|| WrongSetting::new("mail_connections", format!("{text:?}"), "a whole number from 1 to 100"))
}

fn parse_rate(text: Option<&str>) -> Result<Option<NonZeroU32>, WrongSetting> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| {
        let found = format!("{:?}", text.unwrap_or_default());
        WrongSetting::new("mail_rate", found, "a whole number of messages a second from 1 on, or nothing")
    })
}

fn check_secret(secret: Option<&str>, database: &DatabaseLocation) -> Result<(), WrongSetting> {
    let allowed = "32 characters or more that nobody can guess, the same for every process";
    match (secret, database) {
        (Some(secret), _) if secret.chars().count() < 32 => {
            let found = format!("{} characters long", secret.chars().count());
            Err(WrongSetting::new("secret_key", found, allowed))
        }
        (None, DatabaseLocation::Postgres(_)) => Err(WrongSetting::new("secret_key", "not set", allowed)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Settings)) -> Result<Config, WrongSetting> {
        let mut settings = Settings::default();
        change(&mut settings);
        Config::from_settings(&settings)
    }

    fn refusal(change: impl FnOnce(&mut Settings)) -> String {
        with(change).err().map(|wrong| wrong.to_string()).unwrap_or_default()
    }

    #[test]
    fn without_any_setting_it_listens_on_loopback_over_a_file_and_writes_mail_into_a_folder() {
        let Ok(config) = with(|_| ()) else { panic!("the defaults are refused") };
        assert_eq!(config.database, DatabaseLocation::Sqlite("rapport.db".into()));
        assert_eq!(config.grpc_addr.to_string(), "127.0.0.1:50051");
        assert_eq!(config.http_addr.to_string(), "127.0.0.1:8080");
        assert_eq!(config.mail, MailLocation::Folder("outbox".into()));
        assert_eq!((config.mail_connections, config.mail_rate), (8, None));
    }

    #[test]
    fn how_fast_mail_goes_is_a_whole_number() {
        let set = |connections: &str, rate: &str| {
            let config = with(|s| {
                s.mail_connections = Some(connections.to_owned());
                s.mail_rate = Some(rate.to_owned());
            });
            config.map(|config| (config.mail_connections, config.mail_rate.map(NonZeroU32::get)))
        };
        assert_eq!(set("1", "1"), Ok((1, Some(1))));
        assert_eq!(set("100", "4294967295"), Ok((100, Some(u32::MAX))));
        for wrong in ["0", "101", "-1", "1.5", "many", " 8"] {
            let sentence = set(wrong, "1").map_err(|wrong| wrong.to_string()).err().unwrap_or_default();
            assert!(sentence.contains("RAPPORT_MAIL_CONNECTIONS") && sentence.contains(wrong), "{sentence}");
        }
        for wrong in ["0", "-1", "1.5", "4294967296", "fast"] {
            let sentence = set("1", wrong).map_err(|wrong| wrong.to_string()).err().unwrap_or_default();
            assert!(sentence.contains("RAPPORT_MAIL_RATE") && sentence.contains(wrong), "{sentence}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_was_found_and_what_is_allowed() {
        type Change = fn(&mut Settings);
        let cases: [(Change, &str, &str); 12] = [
            (|s| s.public_url = Some("mail.example.com".into()), "RAPPORT_PUBLIC_URL", "https://HOST"),
            (|s| s.public_url = Some("https://a.example/?q".into()), "RAPPORT_PUBLIC_URL", "https://HOST"),
            (|s| s.grpc_addr = Some("nowhere".into()), "RAPPORT_GRPC_ADDR", "\"nowhere\""),
            (|s| s.grpc_addr = Some("0.0.0.0:1".into()), "RAPPORT_GRPC_ADDR", "RAPPORT_ALLOW_REMOTE=true"),
            (|s| s.http_addr = Some("nowhere".into()), "RAPPORT_HTTP_ADDR", "127.0.0.1:8080"),
            (|s| s.http_addr = Some("0.0.0.0:1".into()), "RAPPORT_HTTP_ADDR", "RAPPORT_ALLOW_REMOTE=true"),
            (|s| s.allow_remote = Some("yes".into()), "RAPPORT_ALLOW_REMOTE", "\"yes\""),
            (|s| s.test_system = Some("yes".into()), "RAPPORT_TEST_SYSTEM", "\"yes\""),
            (|s| s.dns_server = Some("192.0.2.1".into()), "RAPPORT_DNS_SERVER", "192.0.2.1:53"),
            (|s| s.mail_url = Some("carrier:pigeon".into()), "RAPPORT_MAIL_URL", "\"carrier:…\""),
            (|s| s.secret_key = Some("short".into()), "RAPPORT_SECRET_KEY", "5 characters"),
            (|s| s.database_url = Some("postgres://h/d".into()), "RAPPORT_SECRET_KEY", "not set"),
        ];
        for (change, setting, detail) in cases {
            let sentence = refusal(change);
            assert!(sentence.contains(setting) && sentence.contains(detail), "{sentence}");
        }
    }

    #[test]
    fn a_password_or_a_secret_is_never_shown() {
        let sentence = refusal(|s| s.database_url = Some("mysql://root:hunter2@h/d".into()));
        assert!(sentence.contains("mysql") && !sentence.contains("hunter2"), "{sentence}");
    }

    #[test]
    fn an_earlier_source_wins_and_an_empty_value_counts_as_none() {
        let flags = Settings { log: Some("debug".into()), mail_url: Some(String::new()), ..Settings::default() };
        let file = Settings { log: Some("warn".into()), mail_url: Some("file:here".into()), ..Settings::default() };
        let both = flags.or(file);
        assert_eq!(both.log.as_deref(), Some("debug"));
        assert_eq!(both.mail_url.as_deref(), Some("file:here"));
    }

    #[test]
    fn an_unknown_name_in_the_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rapport.toml");
        fs::write(&path, "grpc_adr = \"127.0.0.1:1\"").unwrap();
        let sentence = Settings::read(Some(&path)).err().map(|wrong| wrong.to_string()).unwrap_or_default();
        assert!(sentence.contains("grpc_adr") && sentence.contains("grpc_addr"), "{sentence}");
        assert!(Settings::read(Some(&folder.path().join("missing.toml"))).is_err());
    }
}
