//! What DNS says.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};

/// How long one question may take, with its second try.
const PATIENCE: Duration = Duration::from_secs(3);

/// Nobody answered; whether there are such records is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("DNS gives no answer about {0}")]
pub(super) struct NoAnswer(String);

/// Asks a server, or those that the system asks.
#[derive(Debug, Clone)]
pub(super) struct Dns(Option<TokioResolver>);

impl Dns {
    /// Asks this server; none = those that the system asks. Keeps no answer: whoever corrects a record wants to see it.
    pub fn new(server: Option<SocketAddr>) -> Self {
        let builder = match server {
            Some(addr) => {
                let ports = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = addr.port();
                    connection
                });
                let server = NameServerConfig::new(addr.ip(), true, ports.into());
                let config = ResolverConfig::from_name_servers(vec![server]);
                Ok(Resolver::builder_with_config(config, TokioRuntimeProvider::default()))
            }
            None => TokioResolver::builder_tokio(),
        };
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts, options.cache_size) = (PATIENCE, 2, 0);
        Self(builder.and_then(|builder| builder.with_options(options).build()).ok())
    }

    /// The texts at a name; empty = there are none.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let text = |data: &RData| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.ask(name, RecordType::TXT, text).await
    }

    /// The mail servers of a domain, with their preferences; empty = there are none, "." = it takes no mail.
    pub async fn mail_servers(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        let server = |data: &RData| match data {
            RData::MX(server) => Some(server.exchange.to_utf8()),
            _ => None,
        };
        self.ask(name, RecordType::MX, server).await
    }

    /// Whether a host has an address.
    pub async fn has_address(&self, name: &str) -> Result<bool, NoAnswer> {
        let address = |data: &RData| matches!(data, RData::A(_) | RData::AAAA(_)).then_some(());
        Ok(!self.ask(name, RecordType::A, address).await?.is_empty()
            || !self.ask(name, RecordType::AAAA, address).await?.is_empty())
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, NoAnswer> {
        let no_answer = || NoAnswer(format!("{kind} {name}"));
        let resolver = self.0.as_ref().ok_or_else(no_answer)?;
        // With the dot at its end no search list is tried.
        let name = format!("{}.", name.trim_end_matches('.'));
        match resolver.lookup(name.as_str(), kind).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| read(&record.data)).collect()),
            Err(error) if error.is_no_records_found() && !is_failure(&error) => Ok(Vec::new()),
            Err(_) => Err(no_answer()),
        }
    }
}

/// A server that fails is told from a name that is not there.
fn is_failure(error: &NetError) -> bool {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => {
            !matches!(nothing.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        }
        _ => true,
    }
}
