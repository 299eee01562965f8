//! A TCP proxy on loopback that does what networks do: it cuts, delays, throttles, refuses, and swallows. Its weather may
//! change while it runs, and acts on the connections that are open.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, broadcast, watch},
    task::JoinHandle,
};

use super::seed::Dice;

/// What happens to what passes.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Each piece waits so many milliseconds.
    pub delay_ms: Option<Range<u64>>,
    /// So many bytes a second, each way.
    pub bytes_a_second: Option<u32>,
    /// Nothing passes until the weather changes, and nobody is told.
    pub swallow: bool,
    /// A connection is reset after so many bytes to the server.
    pub cut_after: Option<Range<u64>>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    Reset,
    Finish,
}

/// The running proxy; it ends when it is dropped.
pub struct Proxy {
    addr: SocketAddr,
    inner: Arc<Inner>,
    door: Option<JoinHandle<()>>,
}

struct Inner {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    cuts: broadcast::Sender<Cut>,
    dice: Mutex<Dice>,
}

impl Proxy {
    /// Passes everything to `target`.
    pub async fn start(target: SocketAddr, dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let inner = Inner {
            target,
            weather: watch::Sender::new(Weather::default()),
            cuts: broadcast::Sender::new(16),
            dice: Mutex::new(dice),
        };
        let inner = Arc::new(inner);
        let door = Some(tokio::spawn(accept(listener, Arc::clone(&inner))));
        Self { addr, inner, door }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on.
    pub fn weather(&self, weather: Weather) {
        self.inner.weather.send_replace(weather);
    }

    /// Ends what is open.
    pub fn cut(&self, how: Cut) {
        // Nobody hears it when nothing is open.
        let _ = self.inner.cuts.send(how);
    }

    /// Closes the port: whoever calls is refused. What is open stays open.
    pub async fn close(&mut self) {
        if let Some(door) = self.door.take() {
            door.abort();
            // Its end is the end of the listener.
            let _ = door.await;
        }
    }

    /// Opens the port again.
    pub async fn open(&mut self) {
        self.close().await;
        let listener = TcpListener::bind(self.addr).await.expect("the port is still free");
        self.door = Some(tokio::spawn(accept(listener, Arc::clone(&self.inner))));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut(Cut::Reset);
        if let Some(door) = &self.door {
            door.abort();
        }
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    loop {
        if let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, Arc::clone(&inner)));
        }
    }
}

async fn pass(client: TcpStream, inner: Arc<Inner>) {
    let mut cuts = inner.cuts.subscribe();
    let Ok(server) = TcpStream::connect(inner.target).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut up = Pump::new(from_client, to_server, &inner);
    let mut down = Pump::new(from_server, to_client, &inner);
    let how = {
        let both = async { tokio::try_join!(up.run(true), down.run(false)) };
        let reset = async {
            match cuts.recv().await {
                Ok(how) => how,
                Err(_) => Cut::Reset,
            }
        };
        tokio::select! {
            ended = both => if ended.is_ok() { Cut::Finish } else { Cut::Reset },
            how = reset => how,
        }
    };
    if matches!(how, Cut::Reset) {
        for half in [&up.to, &down.to] {
            let _ = half.as_ref().set_zero_linger();
        }
    }
}

struct Pump<'a> {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    inner: &'a Inner,
    weather: watch::Receiver<Weather>,
    passed: u64,
}

impl<'a> Pump<'a> {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf, inner: &'a Inner) -> Self {
        Self { from, to, inner, weather: inner.weather.subscribe(), passed: 0 }
    }

    /// Until the end of the stream, or an error: a cut.
    async fn run(&mut self, up: bool) -> std::io::Result<()> {
        let mut limit = None;
        let mut piece = vec![0; 16 * 1024];
        loop {
            let length = self.from.read(&mut piece).await?;
            if length == 0 {
                return self.to.shutdown().await;
            }
            // Whoever waits for better weather has no other way out.
            let _ = self.weather.wait_for(|weather| !weather.swallow).await;
            let weather = self.weather.borrow_and_update().clone();
            if let Some(delay) = weather.delay_ms {
                let time = self.inner.dice.lock().await.millis(delay);
                tokio::time::sleep(time).await;
            }
            let mut rest = &piece[..length];
            if let Some(range) = weather.cut_after.filter(|_| up) {
                let limit = match limit {
                    Some(limit) => limit,
                    None => *limit.insert(self.inner.dice.lock().await.number(range)),
                };
                if self.passed + rest.len() as u64 >= limit {
                    let last = usize::try_from(limit.saturating_sub(self.passed)).expect("less than a piece");
                    self.to.write_all(&rest[..last]).await?;
                    return Err(std::io::ErrorKind::ConnectionReset.into());
                }
            }
            self.passed += rest.len() as u64;
            while let Some(bytes_a_second) = weather.bytes_a_second.filter(|_| !rest.is_empty()) {
                let (now, later) = rest.split_at(rest.len().min((bytes_a_second / 20).max(1) as usize));
                self.to.write_all(now).await?;
                rest = later;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            self.to.write_all(rest).await?;
        }
    }
}
