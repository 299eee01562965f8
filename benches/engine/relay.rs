//! Stands on the wire and counts what clients say.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is counted.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Statements of the Postgres protocol, BEGIN and COMMIT among them.
    Statements,
}

/// Passes connections on; ends when it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    count: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn to(server: SocketAddr, unit: Unit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let count = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, unit, Arc::clone(&counter)));
            }
        });
        Self { address, count, task }
    }

    /// What clients have said so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, unit: Unit, count: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let (mut buffer, mut statements) = (vec![0; 65_536], Statements::default());
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let said = &buffer[..length];
            let more = match unit {
                Unit::Bytes => length as u64,
                Unit::Statements => statements.count(said),
            };
            count.fetch_add(more, Ordering::Relaxed);
            if to_server.write_all(said).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let _ = tokio::join!(there, tokio::io::copy(&mut from_server, &mut to_client));
}

/// Finds messages in what a client of Postgres says: a letter, four bytes of length, the rest. The first has no letter.
#[derive(Default)]
struct Statements {
    head: Vec<u8>,
    is_begun: bool,
    /// How much of the present message is still to come.
    rest: usize,
}

impl Statements {
    fn count(&mut self, mut said: &[u8]) -> u64 {
        let mut count = 0;
        while !said.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(said.len());
                self.rest -= skipped;
                said = &said[skipped..];
                continue;
            }
            self.head.push(said[0]);
            said = &said[1..];
            let letters = usize::from(self.is_begun);
            if let Some(length) = self.head[letters..].first_chunk::<4>() {
                self.rest = u32::from_be_bytes(*length) as usize - 4;
                // Execute, and Query.
                count += u64::from(self.is_begun && matches!(self.head[0], b'E' | b'Q'));
                self.head.clear();
                self.is_begun = true;
            }
        }
        count
    }
}
