//! An SMTP server that takes mail as it is told to. What it accepts is in its ledger, durably, before it says 250: whatever a
//! client was told, and whatever it was not told, the ledger knows.
//!
//! It listens on loopback alone, speaks PIPELINING, and follows a script that may change while it runs.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

const LEDGER: &str = "ledger.tsv";

/// Where in a conversation something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Connect,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// The final dot.
    Dot,
    Rset,
    Quit,
    Other,
}

/// What the sink does instead of what is usual.
#[derive(Debug, Clone)]
pub enum Act {
    /// Answers this: "451 4.3.0 not now".
    Reply(&'static str),
    /// Answers this, or nothing if it is empty, and closes the connection.
    HangUp(&'static str),
    /// At the final dot: records the message, and closes the connection without an answer.
    Lose,
    /// At the final dot: records the message, and waits before it says so.
    Linger(Duration),
    /// At RCPT: 451 4.7.1 the first time that a recipient is named, later as usual.
    Greylist,
    /// Waits before it answers as usual.
    Stall(Duration),
    /// Never answers.
    StallForEver,
    /// Answers as usual, at so many bytes a second.
    Drip(u32),
}

/// One line of the script.
#[derive(Debug)]
pub struct Rule {
    at: Verb,
    domain: Option<String>,
    every: u64,
    act: Act,
    met: AtomicU64,
}

impl Rule {
    /// For everybody, always.
    pub fn at(at: Verb, act: Act) -> Self {
        Self { at, domain: None, every: 1, act, met: AtomicU64::new(0) }
    }

    /// Only for recipients of this domain; before RCPT nobody knows them.
    pub fn of(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }

    /// Only each n-th time.
    pub fn every(mut self, times: u64) -> Self {
        self.every = times;
        self
    }

    fn applies(&self, at: Verb, domain: &str) -> bool {
        self.at == at
            && self.domain.as_deref().is_none_or(|own| own == domain)
            && (self.met.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.every)
    }
}

/// A message that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Without angle brackets.
    pub message_id: String,
    pub recipient: String,
    /// Which connection, counted from 1.
    pub connection: u64,
    /// When MAIL came.
    pub start: SystemTime,
    /// When the final dot came.
    pub end: SystemTime,
}

impl Entry {
    fn line(&self) -> String {
        let (start, end) = (micros(self.start), micros(self.end));
        format!("{}\t{}\t{}\t{start}\t{end}\n", self.message_id, self.recipient, self.connection)
    }

    fn read(line: &str) -> Self {
        let mut parts = line.split('\t');
        let mut part = || parts.next().expect("five parts");
        let (message_id, recipient) = (part().to_owned(), part().to_owned());
        let mut number = || part().parse().expect("a number");
        let connection = number();
        let mut time = || SystemTime::UNIX_EPOCH + Duration::from_micros(number());
        Self { message_id, recipient, connection, start: time(), end: time() }
    }
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros()
}

/// The running sink; it ends when it is dropped.
pub struct Sink {
    addr: SocketAddr,
    folder: TempDir,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    rules: RwLock<Vec<Rule>>,
    seen: Mutex<HashSet<String>>,
    counts: Mutex<BTreeMap<(Verb, String), u64>>,
    accepted: AtomicU64,
    ledger: mpsc::Sender<Record>,
}

struct Record {
    line: String,
    durable: oneshot::Sender<()>,
}

impl Sink {
    /// Listens on a free port; its ledger goes away with it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = File::create(folder.path().join(LEDGER)).expect("a ledger");
        let (ledger, records) = mpsc::channel();
        std::thread::spawn(move || keep_ledger(file, &records));
        let shared = Arc::new(Shared {
            rules: RwLock::default(),
            seen: Mutex::default(),
            counts: Mutex::default(),
            accepted: AtomicU64::new(0),
            ledger,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, folder, shared, task }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// For `RAPPORT_MAIL_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// Follows these rules from now on, and no others; none = takes everything.
    pub fn follow(&self, rules: impl IntoIterator<Item = Rule>) {
        *self.shared.rules.write().expect("not poisoned") = rules.into_iter().collect();
    }

    /// How many messages are in the ledger.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Everything that was accepted, in order, as it is on the disk.
    pub fn ledger(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.folder.path().join(LEDGER)).expect("the ledger");
        text.lines().map(Entry::read).collect()
    }

    /// How often each verb was answered how; "" = not at all.
    pub fn counts(&self) -> BTreeMap<(Verb, String), u64> {
        self.shared.counts.lock().expect("not poisoned").clone()
    }

    /// How often a verb got an answer that begins so.
    pub fn count(&self, verb: Verb, answer: &str) -> u64 {
        self.counts().iter().filter(|((at, code), _)| *at == verb && code.starts_with(answer)).map(|(_, n)| n).sum()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything that waits becomes durable at once.
fn keep_ledger(mut file: File, records: &mpsc::Receiver<Record>) {
    while let Ok(first) = records.recv() {
        let mut lines = String::new();
        let mut waiting = Vec::new();
        for record in std::iter::once(first).chain(records.try_iter()) {
            lines += &record.line;
            waiting.push(record.durable);
        }
        file.write_all(lines.as_bytes()).expect("the ledger is written");
        file.sync_data().expect("the ledger is durable");
        for durable in waiting {
            // Who asked may be gone: a connection that was cut. The record stands.
            let _ = durable.send(());
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut sessions = tokio::task::JoinSet::new();
    for number in 1.. {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while sessions.try_join_next().is_some() {}
        stream.set_nodelay(true).expect("a TCP socket");
        let session = Session {
            stream,
            shared: Arc::clone(&shared),
            number,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            mail: None,
        };
        sessions.spawn(session.talk());
    }
}

/// The connection is over.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

struct Mail {
    start: SystemTime,
    recipients: Vec<String>,
}

struct Session {
    stream: TcpStream,
    shared: Arc<Shared>,
    number: u64,
    input: Vec<u8>,
    /// How much of the input was dealt with.
    taken: usize,
    output: Vec<u8>,
    mail: Option<Mail>,
}

impl Session {
    async fn talk(mut self) {
        let Err(Gone) = self.converse().await;
        let _ = self.flush().await;
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Gone> {
        self.answer(Verb::Connect, "220 sink.test ESMTP").await?;
        loop {
            let line = self.line().await?;
            let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "HELO" => {
                    self.mail = None;
                    let usual = "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 20971520\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES";
                    self.answer(Verb::Ehlo, usual).await?;
                }
                "MAIL" => self.mail().await?,
                "RCPT" => self.recipient(&line).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.mail = None;
                    self.answer(Verb::Rset, "250 2.0.0 forgotten").await?;
                }
                "QUIT" => {
                    self.answer(Verb::Quit, "221 2.0.0 bye").await?;
                    return Err(Gone);
                }
                "NOOP" => drop(self.answer(Verb::Other, "250 2.0.0 yes").await?),
                _ => drop(self.answer(Verb::Other, "502 5.5.1 what?").await?),
            }
        }
    }

    async fn mail(&mut self) -> Result<(), Gone> {
        let usual = if self.mail.is_some() { "503 5.5.1 one at a time" } else { "250 2.1.0 sender ok" };
        let start = SystemTime::now();
        if self.answer(Verb::Mail, usual).await? {
            self.mail = Some(Mail { start, recipients: Vec::new() });
        }
        Ok(())
    }

    async fn recipient(&mut self, line: &str) -> Result<(), Gone> {
        let address = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let usual = match &self.mail {
            None => "503 5.5.1 MAIL first",
            Some(_) if !address.contains('@') => "501 5.1.3 no address",
            Some(_) => "250 2.1.5 recipient ok",
        };
        if self.answer_about(Verb::Rcpt, &address, usual).await?
            && let Some(mail) = &mut self.mail
        {
            mail.recipients.push(address);
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Gone> {
        let recipient = match &self.mail {
            Some(Mail { recipients, .. }) if !recipients.is_empty() => recipients[0].clone(),
            _ => return self.answer(Verb::Data, "503 5.5.1 no valid recipients").await.map(drop),
        };
        if !self.answer_about(Verb::Data, &recipient, "354 go on").await? {
            return Ok(());
        }
        let message_id = self.letter().await?;
        let mail = self.mail.take().expect("a recipient was named");
        let played = self.play(Verb::Dot, &recipient, "250 2.0.0 taken").await?;
        if played.reply.starts_with('2') {
            self.record(&mail, &message_id).await;
            self.stall(played.linger).await?;
        }
        if played.lose {
            self.count(Verb::Dot, "");
            return Err(Gone);
        }
        self.say(Verb::Dot, &played).await
    }

    async fn record(&self, mail: &Mail, message_id: &str) {
        let end = SystemTime::now();
        for recipient in &mail.recipients {
            let entry = Entry {
                message_id: message_id.to_owned(),
                recipient: recipient.clone(),
                connection: self.number,
                start: mail.start,
                end,
            };
            let (durable, done) = oneshot::channel();
            self.shared.ledger.send(Record { line: entry.line(), durable }).expect("the ledger is kept");
            done.await.expect("the ledger is kept");
            self.shared.accepted.fetch_add(1, Ordering::Release);
        }
    }

    /// Answers as the script says; whether it was a good answer.
    async fn answer(&mut self, verb: Verb, usual: &'static str) -> Result<bool, Gone> {
        self.answer_about(verb, "", usual).await
    }

    async fn answer_about(&mut self, verb: Verb, address: &str, usual: &'static str) -> Result<bool, Gone> {
        let played = self.play(verb, address, usual).await?;
        self.say(verb, &played).await?;
        Ok(played.reply.starts_with(['2', '3']))
    }

    async fn play(&mut self, verb: Verb, address: &str, usual: &'static str) -> Result<Played, Gone> {
        let mut played = Played { reply: usual, lose: false, linger: Duration::ZERO, drip: None };
        for act in self.acts(verb, address) {
            match act {
                Act::Reply(other) => played.reply = other,
                Act::HangUp("") => {
                    self.count(verb, "");
                    return Err(Gone);
                }
                Act::HangUp(last_words) => {
                    self.say(verb, &Played { reply: last_words, ..played }).await?;
                    return Err(Gone);
                }
                Act::Lose => played.lose = true,
                Act::Linger(time) => played.linger = time,
                Act::Greylist => {
                    if self.shared.seen.lock().expect("not poisoned").insert(address.to_owned()) {
                        played.reply = "451 4.7.1 greylisted, try again later";
                    }
                }
                Act::Stall(time) => self.stall(time).await?,
                Act::StallForEver => self.stall(Duration::MAX).await?,
                Act::Drip(bytes_a_second) => played.drip = Some(bytes_a_second),
            }
        }
        Ok(played)
    }

    fn acts(&self, verb: Verb, address: &str) -> Vec<Act> {
        let domain = address.rsplit('@').next().unwrap_or_default();
        let rules = self.shared.rules.read().expect("not poisoned");
        rules.iter().filter(|rule| rule.applies(verb, domain)).map(|rule| rule.act.clone()).collect()
    }

    /// What was said before waits no longer than for the next thing that takes time: so answers to a pipeline leave together.
    async fn say(&mut self, verb: Verb, played: &Played) -> Result<(), Gone> {
        self.count(verb, played.reply);
        let reply = format!("{}\r\n", played.reply);
        let Some(bytes_a_second) = played.drip else {
            self.output.extend_from_slice(reply.as_bytes());
            return Ok(());
        };
        for byte in reply.bytes() {
            self.output.push(byte);
            self.stall(Duration::from_secs(1) / bytes_a_second).await?;
        }
        Ok(())
    }

    fn count(&self, verb: Verb, reply: &str) {
        let code = reply.get(..3).unwrap_or_default().to_owned();
        *self.shared.counts.lock().expect("not poisoned").entry((verb, code)).or_default() += 1;
    }

    /// Waits, and notices when nobody waits with it.
    async fn stall(&mut self, time: Duration) -> Result<(), Gone> {
        if time.is_zero() {
            return Ok(());
        }
        self.flush().await?;
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                read = self.stream.read_buf(&mut self.input) => if read? == 0 {
                    return Err(Gone);
                },
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// The next command, without its end.
    async fn line(&mut self) -> Result<String, Gone> {
        let length = self.find(b"\r\n").await?;
        let line = String::from_utf8_lossy(&self.input[self.taken..self.taken + length]).into_owned();
        self.taken += length + 2;
        Ok(line)
    }

    /// Reads a letter to its final dot; answers its Message-ID.
    async fn letter(&mut self) -> Result<String, Gone> {
        // The end of the line before counts: a letter may be empty.
        self.taken -= 2;
        let length = self.find(b"\r\n.\r\n").await?;
        let letter = &self.input[self.taken + 2..(self.taken + length).max(self.taken + 2)];
        let message_id = message_id(letter);
        self.taken += length + 5;
        Ok(message_id)
    }

    /// How far away the next end is; reads until there is one.
    async fn find(&mut self, end: &[u8]) -> Result<usize, Gone> {
        let mut seen = self.taken;
        loop {
            if let Some(at) = memchr::memmem::find(&self.input[seen..], end) {
                return Ok(seen - self.taken + at);
            }
            seen = self.input.len().saturating_sub(end.len() - 1).max(self.taken);
            // What was dealt with goes, but for the two bytes that a letter begins with.
            let done = self.taken.saturating_sub(2);
            self.input.drain(..done);
            (self.taken, seen) = (self.taken - done, seen - done);
            self.flush().await?;
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Gone);
            }
        }
    }
}

/// What the script made of an answer.
#[derive(Clone, Copy)]
struct Played {
    reply: &'static str,
    lose: bool,
    linger: Duration,
    drip: Option<u32>,
}

/// From the headers, without angle brackets; empty where there is none.
fn message_id(letter: &[u8]) -> String {
    let text = String::from_utf8_lossy(&letter[..letter.len().min(8192)]);
    let headers = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut fields = headers.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(name, _)| name.eq_ignore_ascii_case("message-id")).map(|(_, value)| value);
    value.unwrap_or_default().trim().trim_matches(['<', '>']).to_owned()
}
