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
