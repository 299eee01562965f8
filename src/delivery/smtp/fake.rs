//! A mail server for stories: polite, but where its script says otherwise.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// What it does instead of answering politely.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// What it would have done anyway.
    Usual,
    /// Says something else, without CRLF at the end.
    Say(&'static str),
    /// Says something and closes.
    SayAndDrop(&'static str),
    /// Closes.
    Drop,
    /// Neither reads nor says anything.
    Stall,
}

/// How a server behaves.
#[derive(Default)]
pub struct Script {
    /// In the answer to EHLO.
    pub offers: &'static [&'static str],
    /// Each is done once, in this order: at "greeting", at the verb of a command, at "body" (once it waits for a letter), at "."
    pub acts: Vec<(&'static str, Act)>,
    /// Whom it says it is.
    pub tls: Option<TlsAcceptor>,
    /// TLS from the first octet on.
    pub implicit_tls: bool,
    /// Each octet of a reply goes in a packet of its own.
    pub dribbles: bool,
}

/// What it has seen.
#[derive(Default)]
pub struct Seen {
    pub connections: usize,
    pub commands: Vec<String>,
    pub letters: Vec<Vec<u8>>,
    /// How many commands came in one packet with the next.
    pub pipelined: usize,
    /// How many letters came in one packet with the next envelope.
    pub followed: usize,
}

impl Seen {
    /// Connections and letters.
    pub fn counts(&self) -> (usize, usize) {
        (self.connections, self.letters.len())
    }

    /// The commands, without what stands behind their verbs.
    pub fn verbs(&self) -> Vec<&str> {
        self.commands.iter().map(|command| command.split(' ').next().unwrap_or_default()).collect()
    }
}

#[derive(Clone)]
pub struct Fake {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    script: Arc<Mutex<Script>>,
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type Client = BufReader<Box<dyn Io>>;

impl Fake {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Self { port, seen: Arc::default(), script: Arc::new(Mutex::new(script)) };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(client).await });
            }
        });
        fake
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        self.seen().connections += 1;
        client.set_nodelay(true)?;
        let mut client: Client = BufReader::new(Box::new(client));
        if self.script().implicit_tls {
            client = self.secure(client).await?;
        }
        self.say(&mut client, "greeting", "220 fake").await?;
        loop {
            let Some(command) = read_line(&mut client).await? else { return Ok(()) };
            let verb = command.split(' ').next().unwrap_or_default().to_owned();
            self.seen().commands.push(command.clone());
            self.seen().pipelined += usize::from(!client.buffer().is_empty());
            match verb.as_str() {
                "EHLO" => {
                    let offers = self.script().offers;
                    let lines: Vec<_> = ["fake"].iter().chain(offers).map(|offer| format!("250-{offer}\r\n")).collect();
                    self.say(&mut client, "EHLO", &(lines.concat() + "250 HELP")).await?;
                }
                "STARTTLS" => {
                    self.say(&mut client, "STARTTLS", "220 go on").await?;
                    client = self.secure(client).await?;
                }
                "AUTH" => self.authenticate(&mut client, &command).await?,
                "DATA" => {
                    if self.say(&mut client, "DATA", "354 go on").await?.starts_with('3') {
                        self.receive(&mut client).await?;
                    }
                }
                "QUIT" => {
                    self.say(&mut client, "QUIT", "221 bye").await?;
                    return Ok(());
                }
                _ => drop(self.say(&mut client, &verb, "250 2.0.0 ok").await?),
            }
        }
    }

    async fn authenticate(&self, client: &mut Client, command: &str) -> io::Result<()> {
        if command == "AUTH LOGIN" {
            for question in ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] {
                write(client, &format!("{question}\r\n"), false).await?;
                let answer = read_line(client).await?.unwrap_or_default();
                self.seen().commands.push(answer);
            }
        }
        self.say(client, "AUTH", "235 2.7.0 welcome").await.map(drop)
    }

    async fn receive(&self, client: &mut Client) -> io::Result<()> {
        self.act("body").await?;
        let mut letter = Vec::new();
        loop {
            let begin = letter.len();
            if client.read_until(b'\n', &mut letter).await? == 0 {
                return Ok(());
            }
            match &letter[begin..] {
                b".\r\n" => break,
                [b'.', ..] => drop(letter.remove(begin)),
                _ => {}
            }
        }
        letter.truncate(letter.len() - 3);
        self.seen().letters.push(letter);
        self.seen().followed += usize::from(!client.buffer().is_empty());
        self.say(client, ".", "250 2.0.0 taken").await.map(drop)
    }

    /// Answers, as the script wants it or as usual; says what.
    async fn say(&self, client: &mut Client, place: &str, usual: &str) -> io::Result<String> {
        let (text, then) = match self.act(place).await? {
            Some(Act::Say(text)) => (text, Ok(())),
            Some(Act::SayAndDrop(text)) => (text, Err(io::ErrorKind::Other.into())),
            _ => (usual, Ok(())),
        };
        let dribbles = self.script().dribbles;
        write(client, &format!("{text}\r\n"), dribbles).await?;
        then.map(|()| text.to_owned())
    }

    /// What the script wants here; an error closes the connection.
    async fn act(&self, place: &str) -> io::Result<Option<Act>> {
        let act = {
            let mut script = self.script();
            let at = script.acts.iter().position(|(at, _)| *at == place);
            at.map(|at| script.acts.remove(at).1)
        };
        match act {
            Some(Act::Drop) => Err(io::ErrorKind::Other.into()),
            Some(Act::Stall) => std::future::pending().await,
            other => Ok(other),
        }
    }

    async fn secure(&self, client: Client) -> io::Result<Client> {
        let acceptor = self.script().tls.clone().expect("a certificate");
        let stream = acceptor.accept(client.into_inner()).await?;
        Ok(BufReader::new(Box::new(stream)))
    }
}

async fn read_line(client: &mut Client) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = client.read_line(&mut line).await?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

async fn write(client: &mut Client, text: &str, dribbles: bool) -> io::Result<()> {
    for packet in text.as_bytes().chunks(if dribbles { 1 } else { text.len() }) {
        client.write_all(packet).await?;
        client.flush().await?;
        if dribbles {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// A certificate for this name, and who says so.
pub fn certificate(name: &str) -> (TlsAcceptor, RootCertStore) {
    let authority = CertificateParams::new([]).map(|mut params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    });
    let authority = CertifiedIssuer::self_signed(authority.unwrap(), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    (TlsAcceptor::from(Arc::new(config.unwrap())), roots)
}
