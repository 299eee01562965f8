//! Where the record is: an SQLite file, or a database of one's own on a Postgres server.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement, TryGetable,
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;

use super::letters;

/// Names a server on which databases may be made.
pub const POSTGRES: &str = "RAPPORT_TEST_POSTGRES";

/// Which database.
#[derive(Clone)]
pub enum Kind {
    Sqlite,
    /// The server's URL.
    Postgres(String),
}

impl Kind {
    pub fn available() -> Vec<Self> {
        let server = std::env::var(POSTGRES).ok().map(Self::Postgres);
        [Some(Self::Sqlite), server].into_iter().flatten().collect()
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "Postgres",
        }
    }
}

/// A record of one's own, which goes away when it is dropped.
pub struct Place {
    pub kind: Kind,
    pub folder: TempDir,
    url: String,
}

impl Place {
    /// An empty one.
    pub async fn make(kind: &Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.path().join("rapport.db").display()),
            Kind::Postgres(server) => {
                let name = format!("rapport_bench_{}", uuid::Uuid::from(rapport::ids::EventId::generate()).simple());
                tell(server, &format!("CREATE DATABASE {name}")).await;
                let (server, _) = server.rsplit_once('/').expect("a URL with a database");
                format!("{server}/{name}?sslmode=disable")
            }
        };
        Self { kind: kind.clone(), folder, url }
    }

    /// Has mail signed with these keys.
    pub fn sign_with(&self, keys: &[&str]) {
        let dkim: Vec<String> = keys
            .iter()
            .map(|key| format!("{{ selector = \"{key}\", key_file = \"{}\" }}", letters::key_file(key)))
            .collect();
        let sender = format!(
            "[[senders]]\nid = \"default\"\nfrom = \"The Shop <shop@example.com>\"\ndkim = [{}]\n",
            dkim.join(", ")
        );
        fs::write(self.settings(), sender).expect("it writes");
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("rapport.toml")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the server listens, if it is one.
    pub fn server(&self) -> Option<SocketAddr> {
        let Kind::Postgres(url) = &self.kind else { return None };
        let addresses = url::Url::parse(url).expect("a URL").socket_addrs(|| Some(5_432));
        Some(addresses.expect("a host")[0])
    }

    /// The record by way of another address, in plain text.
    pub fn url_by_way_of(&self, address: SocketAddr) -> String {
        let mut url = url::Url::parse(&self.url).expect("a URL");
        url.set_ip_host(address.ip()).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        url.query_pairs_mut().append_pair("sslmode", "disable");
        url.into()
    }

    pub fn migrate(&self) {
        let Output { status, stderr, .. } = self.command("migrate").output().expect("it runs");
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }

    /// The program over this record, deaf to the settings of whoever runs this.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAPPORT_")) {
            command.env_remove(name);
        }
        if !self.settings().exists() {
            command.env("RAPPORT_MAIL_FROM", "The Shop <shop@example.com>");
        }
        command
            .arg(name)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("RAPPORT_DATABASE_URL", &self.url)
            .env("RAPPORT_GRPC_ADDR", "127.0.0.1:0")
            .env("RAPPORT_HTTP_ADDR", "127.0.0.1:0")
            .env("RAPPORT_TEST_SYSTEM", "true")
            .env("RAPPORT_SECRET_KEY", "a key for benchmarks, which nobody needs to guess");
        command
    }

    /// One connection to the record, as durable as the program's own.
    pub async fn record(&self) -> DatabaseConnection {
        let mut options = ConnectOptions::new(&self.url);
        options.max_connections(1).sqlx_logging(false);
        if let Kind::Sqlite = self.kind {
            options.map_sqlx_sqlite_opts(|sqlite| {
                let sqlite = sqlite.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
                sqlite.busy_timeout(Duration::from_secs(60))
            });
        }
        sea_orm::Database::connect(options).await.expect("the database opens")
    }

    pub async fn version(&self, record: &DatabaseConnection) -> String {
        match self.kind {
            Kind::Sqlite => {
                let version: String = value(record, "SELECT sqlite_version() AS value").await;
                format!("SQLite {version} (WAL, synchronous=FULL)")
            }
            Kind::Postgres(_) => {
                let setting = "SELECT current_setting('server_version') || ' (fsync=' || current_setting('fsync') || \
                    ', synchronous_commit=' || current_setting('synchronous_commit') || \
                    ', shared_buffers=' || current_setting('shared_buffers') || ')' AS value";
                format!("Postgres {}", value::<String>(record, setting).await)
            }
        }
    }

    /// How many transactions a file has had: the index of its log counts them (https://sqlite.org/walformat.html, iChange).
    pub fn commits(&self) -> u64 {
        let index = fs::read(self.folder.path().join("rapport.db-shm")).expect("the index of the log");
        u64::from(u32::from_ne_bytes(index[8..12].try_into().expect("four bytes")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Kind::Postgres(server) = &self.kind else { return };
        let url = url::Url::parse(&self.url).expect("a URL");
        let name = url.path().trim_start_matches('/');
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(tell(server, &sql));
            });
        });
    }
}

async fn tell(server: &str, sql: &str) {
    let server = sea_orm::Database::connect(server).await.expect("Postgres answers");
    server.execute_unprepared(sql).await.expect("Postgres obeys");
    server.close().await.expect("it closes");
}

/// The one value that a query answers.
pub async fn value<T: TryGetable>(record: &DatabaseConnection, sql: &str) -> T {
    let statement = Statement::from_string(record.get_database_backend(), sql);
    let row = record.query_one_raw(statement).await.expect("it answers").expect("a row");
    row.try_get("", "value").expect("a value")
}

pub fn is_sqlite(record: &DatabaseConnection) -> bool {
    record.get_database_backend() == DbBackend::Sqlite
}
