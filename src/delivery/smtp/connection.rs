use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::{
    Limits, Server,
    offers::Offers,
    reply::{self, Reply},
    tls::Stream,
};
use crate::config::{Credentials, Security};

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It broke.
    #[error("the connection was lost ({0})")]
    Lost(#[from] io::Error),
    /// The other side took too long.
    #[error("no answer in time")]
    Stalled,
    /// The other side speaks something else, or talks out of turn.
    #[error("what came back is no SMTP reply to it")]
    Garbage,
}

/// Why there is no connection. Nothing of it is about a letter, and nothing shows a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    #[error("connecting: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("{0}: {1}")]
    Talk(&'static str, Trouble),
    #[error("{0} was answered with {1}")]
    Refused(&'static str, String),
    #[error("the server does not offer STARTTLS")]
    NoStartTls,
    #[error("the server offers neither AUTH PLAIN nor AUTH LOGIN")]
    NoAuth,
}

/// A conversation with a server that is ready for letters.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) limits: Limits,
    pub(super) offers: Offers,
    /// When all that comes before the final dot must be over.
    pub(super) until: Instant,
    /// Commands that go next, in one write.
    pub(super) commands: Vec<u8>,
    /// The letter as it goes onto the wire, and what goes with it.
    pub(super) body: Vec<u8>,
    /// A transaction is open that the next one must not add to.
    pub(super) is_open: bool,
    /// The next letter has been announced.
    pub(super) is_announced: bool,
    /// Nothing went wrong yet.
    pub(super) is_sound: bool,
    input: Vec<u8>,
    /// How much of the input has been dealt with.
    read: usize,
}

impl Connection {
    /// Connects, and does all that comes before the first letter.
    pub async fn open(server: &Server, until: Instant) -> Result<Self, NoConnection> {
        let limits = server.limits;
        let tcp = connect(server).await.map_err(NoConnection::Connect)?;
        let own_name = own_name(tcp.local_addr().ok());
        let mut connection = Self {
            stream: Stream::Plain(tcp),
            limits,
            offers: Offers::default(),
            until,
            commands: Vec::with_capacity(512),
            body: Vec::new(),
            is_open: false,
            is_announced: false,
            is_sound: true,
            input: Vec::with_capacity(1_024),
            read: 0,
        };
        if server.settings.security == Security::Implicit {
            connection = connection.secure(server).await?;
        }
        connection.heard("the greeting", 2).await?;
        connection.hello(&own_name).await?;
        if server.settings.security == Security::StartTls {
            connection = connection.start_tls(server).await?;
            connection.hello(&own_name).await?;
        }
        if let Some(credentials) = &server.settings.credentials {
            connection.authenticate(credentials).await?;
        }
        Ok(connection)
    }

    async fn hello(&mut self, own_name: &str) -> Result<(), NoConnection> {
        self.say(&["EHLO ", own_name]);
        self.write("EHLO").await?;
        let until = self.step();
        let greeted = self.reply(until).await.map_err(|trouble| NoConnection::Talk("EHLO", trouble))?;
        let (code, codes, offers) = (greeted.code(), greeted.codes(), Offers::read(greeted));
        self.offers = if code / 100 == 2 { offers } else { Offers::default() };
        match code {
            200..300 => return Ok(()),
            421 => return Err(NoConnection::Refused("EHLO", codes)),
            // It may be an old one.
            _ => {}
        }
        self.say(&["HELO ", own_name]);
        self.write("HELO").await?;
        self.heard("HELO", 2).await
    }

    async fn start_tls(mut self, server: &Server) -> Result<Self, NoConnection> {
        if !self.offers.start_tls {
            return Err(NoConnection::NoStartTls);
        }
        self.say(&["STARTTLS"]);
        self.write("STARTTLS").await?;
        self.heard("STARTTLS", 2).await?;
        self.secure(server).await
    }

    async fn secure(self, server: &Server) -> Result<Self, NoConnection> {
        // What was said before TLS must not be taken for something that was said under it.
        let (Some(tls), Stream::Plain(tcp), true) = (&server.tls, self.stream, self.read == self.input.len()) else {
            return Err(NoConnection::Talk("STARTTLS", Trouble::Garbage));
        };
        let until = self.until.min(Instant::now() + self.limits.tls);
        let stream = timeout_at(until, tls.secure(tcp)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(NoConnection::Tls)?;
        Ok(Self { stream, ..self })
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), NoConnection> {
        let Credentials { user, password } = credentials;
        if self.offers.auth_plain {
            self.say(&["AUTH PLAIN ", &STANDARD.encode(format!("\0{user}\0{password}"))]);
            self.write("AUTH").await?;
            return self.heard("AUTH", 2).await;
        }
        if !self.offers.auth_login {
            return Err(NoConnection::NoAuth);
        }
        for (line, class) in [("AUTH LOGIN", 3), (&STANDARD.encode(user), 3), (&STANDARD.encode(password), 2)] {
            self.say(&[line]);
            self.write("AUTH").await?;
            self.heard("AUTH", class).await?;
        }
        Ok(())
    }

    /// Says goodbye.
    pub async fn quit(mut self) {
        self.until = Instant::now() + self.limits.command;
        self.say(&["QUIT"]);
        if self.send(self.until).await.is_ok() {
            let _ = self.reply(self.until).await;
        }
    }

    /// Whether another letter can go over it.
    pub fn is_reusable(&self) -> bool {
        self.is_sound && self.read == self.input.len()
    }

    /// When the next answer must have come.
    pub(super) fn step(&self) -> Instant {
        self.until.min(Instant::now() + self.limits.command)
    }

    /// Adds a command to what is written next.
    pub(super) fn say(&mut self, pieces: &[&str]) {
        pieces.iter().for_each(|piece| self.commands.extend_from_slice(piece.as_bytes()));
        self.commands.extend_from_slice(b"\r\n");
    }

    async fn write(&mut self, step: &'static str) -> Result<(), NoConnection> {
        self.send(self.step()).await.map_err(|trouble| NoConnection::Talk(step, trouble))
    }

    /// Waits for the answer to a step before the first letter. A server's words are not repeated: they may name the user.
    async fn heard(&mut self, step: &'static str, class: u16) -> Result<(), NoConnection> {
        let until = self.step();
        let reply = self.reply(until).await.map_err(|trouble| NoConnection::Talk(step, trouble))?;
        if reply.class() == class { Ok(()) } else { Err(NoConnection::Refused(step, reply.codes())) }
    }

    /// Writes all commands.
    pub(super) async fn send(&mut self, until: Instant) -> Result<(), Trouble> {
        let (_, sent) = write_all(&mut self.stream, &self.commands, until).await;
        self.commands.clear();
        self.is_sound &= sent.is_ok();
        sent
    }

    /// Writes the letter; answers how much has left, if there is trouble.
    pub(super) async fn send_body(&mut self, until: Instant) -> Result<(), (usize, Trouble)> {
        let (written, sent) = write_all(&mut self.stream, &self.body, until).await;
        self.is_sound &= sent.is_ok();
        sent.map_err(|trouble| (written, trouble))
    }

    /// The next reply, whole.
    pub(super) async fn reply(&mut self, until: Instant) -> Result<Reply<'_>, Trouble> {
        let whole = timeout_at(until, self.read_reply()).await.unwrap_or(Err(Trouble::Stalled));
        self.is_sound &= whole.is_ok();
        let start = self.read;
        self.read = whole?;
        let reply = Reply::new(&self.input[start..self.read]);
        // The server closes the connection after this one.
        self.is_sound &= reply.code() != 421;
        Ok(reply)
    }

    async fn read_reply(&mut self) -> Result<usize, Trouble> {
        if self.read == self.input.len() {
            self.input.clear();
            self.read = 0;
        }
        loop {
            if let Some(length) = reply::end(&self.input[self.read..]).map_err(|_| Trouble::Garbage)? {
                return Ok(self.read + length);
            }
            if self.stream.read(&mut self.input).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}

/// Answers how much was written, too.
async fn write_all(stream: &mut Stream, output: &[u8], until: Instant) -> (usize, Result<(), Trouble>) {
    let mut written = 0;
    let all = async {
        while written < output.len() {
            match stream.write(&output[written..]).await? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                some => written += some,
            }
        }
        stream.flush().await.map_err(Trouble::Lost)
    };
    let sent = timeout_at(until, all).await.unwrap_or(Err(Trouble::Stalled));
    (written, sent)
}

/// Tries every address of the host, each for its share of the time.
async fn connect(server: &Server) -> io::Result<TcpStream> {
    let settings = &server.settings;
    let until = Instant::now() + server.limits.connect;
    let addresses = timeout_at(until, lookup_host((settings.host.as_str(), settings.port))).await??;
    let mut addresses: VecDeque<SocketAddr> = addresses.collect();
    let mut error = io::ErrorKind::AddrNotAvailable.into();
    while let (now, Some(address)) = (Instant::now(), addresses.pop_front()) {
        let share = (until - now).div_f64(1.0 + addresses.len() as f64);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Ok(Err(refused)) => error = refused,
            Err(elapsed) => error = elapsed.into(),
        }
    }
    Err(error)
}

/// The name of this computer where it is one that others could know, else its address (RFC 5321, 4.1.3).
fn own_name(address: Option<SocketAddr>) -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    let is_known = name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    match address.map(|address| address.ip()) {
        _ if is_known => name,
        Some(IpAddr::V6(ip)) => format!("[IPv6:{ip}]"),
        Some(IpAddr::V4(ip)) => format!("[{ip}]"),
        None => "[127.0.0.1]".to_owned(),
    }
}
