//! A mail server that takes everything and keeps nothing, for what is not compared with anything.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const END: &[u8] = b"\r\n.\r\n";

/// Listens until it is dropped.
pub struct Sink {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client));
            }
        });
        Self { address, task }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream) {
    let _ = client.set_nodelay(true);
    let (mut said, mut reply, mut in_letter) = (Vec::new(), b"220 sink\r\n".to_vec(), false);
    loop {
        if client.write_all(&reply).await.is_err() {
            return;
        }
        reply.clear();
        if !matches!(client.read_buf(&mut said).await, Ok(1..)) {
            return;
        }
        while let Some(length) = next(&said, in_letter) {
            let words: Vec<u8> = said.drain(..length).collect();
            in_letter = !in_letter && words.starts_with(b"DATA");
            reply.extend_from_slice(match words.get(..4) {
                Some(b"EHLO") => b"250-sink\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
                Some(b"DATA") => b"354 go on\r\n",
                _ => b"250 2.0.0 ok\r\n",
            });
        }
    }
}

/// How long the next command, or the letter, is, once all of it is there; what comes next may be there too.
fn next(said: &[u8], in_letter: bool) -> Option<usize> {
    let end: &[u8] = if in_letter { END } else { b"\r\n" };
    said.windows(end.len()).position(|window| window == end).map(|start| start + end.len())
}
