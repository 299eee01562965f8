use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Why TLS cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// Nobody's certificate could be checked.
    #[error("this computer has no root certificates (SSL_CERT_FILE names a file with some)")]
    NoRoots,
    /// A certificate is for a DNS name or an IP address.
    #[error("the host's name is not one that a certificate can be for")]
    WrongName,
    /// The library refused its own defaults.
    #[error(transparent)]
    Library(#[from] tokio_rustls::rustls::Error),
}

/// Makes connections private, with servers that prove who they are.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl Tls {
    /// Trusts whom the operating system trusts, or `SSL_CERT_FILE`.
    pub fn of_system(host: &str) -> Result<Self, NoTls> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() { Err(NoTls::NoRoots) } else { Self::new(host, roots) }
    }

    pub fn new(host: &str, roots: RootCertStore) -> Result<Self, NoTls> {
        let host = ServerName::try_from(host.to_owned()).map_err(|_| NoTls::WrongName)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    pub async fn secure(&self, tcp: TcpStream) -> io::Result<Stream> {
        let stream = self.connector.connect(self.host.clone(), tcp).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// The way to a server.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether what was written has left as it was.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Appends what has come; nothing more ever comes after 0 octets.
    pub async fn read(&mut self, input: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read_buf(input).await,
            Self::Tls(tls) => tls.read_buf(input).await,
        }
    }

    /// Writes some of it.
    pub async fn write(&mut self, output: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(output).await,
            Self::Tls(tls) => tls.write(output).await,
        }
    }

    /// Waits until what was written is on its way.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.flush().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Server, Smtp,
            fake::{Act, Fake, Script, certificate},
            stories::{LETTER, LONG, send, settings, talk},
        },
        *,
    };
    use crate::{
        config::{Credentials, Security, SmtpServer},
        delivery::Outcome,
    };

    fn with_tls(fake: &Fake, security: Security, tls: Tls) -> Smtp {
        let credentials = Some(Credentials { user: "shop".to_owned(), password: "hunter2".to_owned() });
        let settings = SmtpServer { host: "localhost".to_owned(), credentials, ..settings(fake.port, security) };
        Smtp::new(Server { settings, tls: Some(tls), limits: LONG })
    }

    #[tokio::test]
    async fn a_password_goes_over_tls_alone() {
        const PLAIN: &[&str] = &["AUTH PLAIN LOGIN", "STARTTLS", "PIPELINING"];
        const LOGIN: &[&str] = &["AUTH LOGIN", "STARTTLS"];
        let (acceptor, roots) = certificate("localhost");
        for (security, offers) in [
            (Security::StartTls, PLAIN),
            (Security::StartTls, LOGIN),
            (Security::Implicit, PLAIN),
            (Security::Implicit, LOGIN),
        ] {
            let implicit_tls = security == Security::Implicit;
            let fake =
                Fake::start(Script { offers, tls: Some(acceptor.clone()), implicit_tls, ..Script::default() }).await;
            let smtp = with_tls(&fake, security, Tls::new("localhost", roots.clone()).unwrap());
            for _ in 0..2 {
                assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted, "{security:?} {offers:?}");
            }
            let seen = fake.seen();
            let before = if implicit_tls { ["EHLO"].as_slice() } else { &["EHLO", "STARTTLS", "EHLO"] };
            assert_eq!(seen.verbs()[..before.len()], *before);
            let auth = &seen.commands[before.len()..];
            match offers == PLAIN {
                true => assert_eq!(auth[0], "AUTH PLAIN AHNob3AAaHVudGVyMg=="),
                false => assert_eq!(auth[..3], ["AUTH LOGIN", "c2hvcA==", "aHVudGVyMg=="]),
            }
            assert_eq!((seen.connections, seen.letters.len()), (1, 2));
        }
    }

    #[tokio::test]
    async fn the_next_letter_is_announced_under_tls_too() {
        let (acceptor, roots) = certificate("localhost");
        let (offers, tls) = (&["AUTH PLAIN", "PIPELINING"], Some(acceptor));
        let fake = Fake::start(Script { offers, tls, implicit_tls: true, ..Script::default() }).await;
        let smtp = with_tls(&fake, Security::Implicit, Tls::new("localhost", roots).unwrap());
        let (first, conversation) = talk(&smtp, LETTER.as_bytes(), None, Some(b"next\r\n")).await;
        assert!(first == Outcome::Accepted && conversation.is_some());
        assert_eq!(talk(&smtp, b"next\r\n", conversation, None).await.0, Outcome::Accepted);
        assert_eq!(fake.seen().counts(), (1, 2));
    }

    #[tokio::test]
    async fn without_tls_or_a_proof_of_who_the_server_is_nothing_is_said() {
        let (localhost, roots) = certificate("localhost");
        let (other, other_roots) = certificate("mail.example.com");
        let cases = [
            (
                Security::StartTls,
                other.clone(),
                &other_roots,
                "TLS: invalid peer certificate: certificate not valid for name",
            ),
            (Security::Implicit, other, &other_roots, "TLS: invalid peer certificate: certificate not valid for name"),
            (Security::StartTls, localhost.clone(), &other_roots, "TLS: invalid peer certificate"),
            (Security::Implicit, localhost, &other_roots, "TLS: invalid peer certificate"),
        ];
        for (security, acceptor, trusted, expected) in cases {
            let implicit_tls = security == Security::Implicit;
            let offers = &["STARTTLS", "AUTH PLAIN"];
            let fake = Fake::start(Script { offers, tls: Some(acceptor), implicit_tls, ..Script::default() }).await;
            let smtp = with_tls(&fake, security, Tls::new("localhost", trusted.clone()).unwrap());
            let outcome = send(&smtp, LETTER.as_bytes()).await;
            assert!(matches!(&outcome, Outcome::Returned { detail } if detail.contains(expected)), "{outcome:?}");
            assert!(!fake.seen().verbs().contains(&"AUTH"));
        }
        let tls = Tls::new("localhost", roots).unwrap();
        for (offers, acts, expected) in [
            (&["AUTH PLAIN"], vec![], "does not offer STARTTLS"),
            (&["STARTTLS"], vec![("STARTTLS", Act::Say("454 4.7.0 not now"))], "454 4.7.0"),
            // Somebody in between adds what shall be taken for something that was said under TLS.
            (
                &["STARTTLS"],
                vec![("STARTTLS", Act::Say("220 go on\r\n250-AUTH PLAIN\r\n250 ok"))],
                "STARTTLS: what came back",
            ),
        ] {
            let fake = Fake::start(Script { offers, acts, ..Script::default() }).await;
            let outcome = send(&with_tls(&fake, Security::StartTls, tls.clone()), LETTER.as_bytes()).await;
            assert!(matches!(&outcome, Outcome::Returned { detail } if detail.contains(expected)), "{outcome:?}");
            let seen = fake.seen();
            assert!(!seen.verbs().contains(&"MAIL") && !seen.verbs().contains(&"AUTH"));
        }
    }

    #[tokio::test]
    async fn refused_credentials_return_the_letter_and_are_not_repeated() {
        let (acceptor, roots) = certificate("localhost");
        for (offers, acts, expected) in [
            (
                &["AUTH PLAIN"],
                vec![("AUTH", Act::Say("535 5.7.8 shop, hunter2 is wrong"))],
                "AUTH was answered with 535 5.7.8",
            ),
            (&["AUTH GSSAPI"], vec![], "neither AUTH PLAIN nor AUTH LOGIN"),
        ] {
            let tls = Some(acceptor.clone());
            let fake = Fake::start(Script { offers, acts, tls, implicit_tls: true, ..Script::default() }).await;
            let smtp = with_tls(&fake, Security::Implicit, Tls::new("localhost", roots.clone()).unwrap());
            let outcome = send(&smtp, LETTER.as_bytes()).await;
            assert!(matches!(&outcome, Outcome::Returned { detail } if detail.contains(expected)), "{outcome:?}");
            assert!(!format!("{outcome:?} {smtp:?}").contains("hunter2"));
        }
    }
}
