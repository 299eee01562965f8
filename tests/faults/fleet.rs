//! Real processes of the service over one database, which can be killed, frozen, and told to stop.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::postgres::OwnDatabase;

/// How long a process may take until it serves: a debug build on a busy machine.
const START: Duration = Duration::from_secs(30);

/// Where the record is.
pub enum Record {
    /// One file, so one process.
    Sqlite,
    /// A database of one's own.
    Postgres(OwnDatabase),
}

/// Where processes run, and what they share.
pub struct Fleet {
    pub folder: TempDir,
    url: String,
    mail_url: String,
    started: u32,
    // After what uses it: a database goes away last.
    _record: Record,
}

impl Fleet {
    /// Makes the database ready; starts nothing.
    pub fn over(record: Record, mail_url: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match &record {
            Record::Sqlite => format!("sqlite://{}", folder.path().join("rapport.db").display()),
            Record::Postgres(own) => own.url(),
        };
        let fleet = Self { folder, url, mail_url, started: 0, _record: record };
        let Output { status, stderr, .. } = fleet.command("migrate").output().expect("it runs");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        fleet
    }

    /// The service with the fleet's settings.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAPPORT_")) {
            command.env_remove(name);
        }
        command
            .arg(name)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("RAPPORT_DATABASE_URL", &self.url)
            .env("RAPPORT_GRPC_ADDR", "127.0.0.1:0")
            .env("RAPPORT_HTTP_ADDR", "127.0.0.1:0")
            .env("RAPPORT_MAIL_URL", &self.mail_url)
            .env("RAPPORT_MAIL_FROM", "The Shop <shop@example.com>")
            .env("RAPPORT_TEST_SYSTEM", "true")
            .env("RAPPORT_MAIL_CONNECTIONS", "8")
            .env("RAPPORT_SECRET_KEY", "a key for fault tests, which nobody needs to guess")
            .env("RAPPORT_LOG", "info");
        command
    }

    /// Starts a process, and waits until it serves.
    pub async fn start(&mut self) -> Replica {
        self.started += 1;
        let log = self.folder.path().join(format!("replica-{}.log", self.started));
        let said = File::create(&log).expect("a log");
        let child = self.command("serve").stdout(Stdio::null()).stderr(said).spawn().expect("it starts");
        let mut replica = Replica { child, log, channel: None };
        let limit = Instant::now() + START;
        let address = loop {
            if let Some(address) = replica.says("grpc_addr=") {
                break address;
            }
            assert!(!replica.ended(), "it does not start: {}", replica.log());
            assert!(Instant::now() < limit, "it does not serve: {}", replica.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL").tcp_nodelay(true);
        let channel = endpoint.timeout(Duration::from_secs(30)).connect().await.expect("it listens");
        let mut health = HealthClient::new(channel.clone());
        while health.check(HealthCheckRequest::default()).await.expect("it answers").into_inner().status()
            != ServingStatus::Serving
        {
            assert!(Instant::now() < limit, "it is not well: {}", replica.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replica.channel = Some(channel);
        replica
    }

    /// Starts so many processes at once.
    pub async fn start_all(&mut self, count: usize) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for _ in 0..count {
            replicas.push(self.start().await);
        }
        replicas
    }

    /// The record itself, for what no caller may see or do. On SQLite only while nothing serves, or to read.
    pub async fn record(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.url).await.expect("the database opens")
    }

    /// How many contacts stand there now: intents without an outcome.
    pub async fn open_intents(&self) -> u64 {
        self.count("SELECT count(*) AS n FROM contacts WHERE state = 'sending'").await
    }

    /// The one number that a query answers.
    pub async fn count(&self, sql: &str) -> u64 {
        let record = self.record().await;
        let statement = Statement::from_string(record.get_database_backend(), sql);
        let row = record.query_one_raw(statement).await.expect("it answers").expect("a row");
        record.close().await.expect("it closes");
        u64::try_from(row.try_get::<i64>("", "n").expect("a number")).expect("a count")
    }
}

/// One process; it is killed when it is dropped.
pub struct Replica {
    child: Child,
    log: PathBuf,
    channel: Option<Channel>,
}

impl Replica {
    /// For clients.
    pub fn channel(&self) -> Channel {
        self.channel.clone().expect("it serves")
    }

    /// Where its API is.
    pub fn address(&self) -> String {
        self.says("grpc_addr=").expect("it serves")
    }

    /// Everything that it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    /// What stands after a key in its log, up to the next blank.
    fn says(&self, key: &str) -> Option<String> {
        let log = self.log();
        let (_, rest) = log.split_once(key)?;
        // A line that is not complete yet says nothing yet.
        rest.split_once('\n').and_then(|(line, _)| line.split_whitespace().next()).map(str::to_owned)
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
    }

    /// STOP, CONT or TERM.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// SIGTERM; how it ended, and how long that took.
    pub async fn stop(mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal("TERM");
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, begin.elapsed());
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds; says what did not.
pub async fn until(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    begin.elapsed()
}
