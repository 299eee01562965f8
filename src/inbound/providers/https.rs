use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};
use url::Url;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much it may say, in octets.
const LARGEST: usize = 64 * 1_024;

/// With the certificates that the system trusts, read once.
static CONNECTOR: LazyLock<Result<TlsConnector, String>> = LazyLock::new(connector);

/// Gets a page over HTTPS from a server that proves who it is. Follows no redirect.
pub async fn get(url: &Url) -> Result<Vec<u8>, String> {
    tokio::time::timeout(PATIENCE, fetch(url)).await.map_err(|_| "it took too long".to_owned())?
}

async fn fetch(url: &Url) -> Result<Vec<u8>, String> {
    let host = url.host_str().ok_or("it has no host")?.to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect((host.as_str(), 443)).await.map_err(|error| error.to_string())?;
    let tls = CONNECTOR.as_ref()?.connect(name, tcp).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let path = url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let request = Request::get(path).header(HOST, &host).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| error.to_string())?;
    driver.abort();
    Ok(body.to_bytes().to_vec())
}

fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
