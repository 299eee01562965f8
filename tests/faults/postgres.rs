//! Postgres for fault tests: a database of one's own on a server that others use too, or a server of one's own that may be
//! stopped and started.

use std::{
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use sea_orm::ConnectionTrait;
use tempfile::TempDir;

/// Names a server on which databases may be made.
pub const POSTGRES: &str = "RAPPORT_TEST_POSTGRES";

/// The server to use; says what is skipped for want of one.
pub fn server(story: &str) -> Option<String> {
    let server = std::env::var(POSTGRES).ok();
    if server.is_none() {
        println!("skipped for want of Postgres: {story}; {POSTGRES}=postgres://… runs it");
    }
    server
}

/// A database that goes away with the story.
pub struct OwnDatabase {
    server: String,
    name: String,
}

impl OwnDatabase {
    pub async fn make(server: String) -> Self {
        let name = format!("rapport_faults_{}", uuid::Uuid::from(rapport::ids::EventId::generate()).simple());
        let own = Self { server, name };
        own.tell_server(&format!("CREATE DATABASE {}", own.name)).await;
        own
    }

    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{}", self.name)
    }

    async fn tell_server(&self, sql: &str) {
        let server = sea_orm::Database::connect(&self.server).await.expect("Postgres answers");
        server.execute_unprepared(sql).await.expect("Postgres obeys");
        server.close().await.expect("it closes");
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(self.tell_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)));
            });
        });
    }
}

/// A server of one's own on a free port of loopback. What it acknowledged is durable, or a restart would prove nothing.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Cluster {
    /// None where Postgres is not installed; says what is skipped for want of it.
    pub fn start(story: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped for want of Postgres' initdb: {story}");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let cluster = Self { folder, programs, port };
        if is_root(cluster.folder.path()) {
            let given = Command::new("chown").arg("postgres").arg(cluster.folder.path()).status().expect("chown");
            assert!(given.success(), "there is no user postgres to run a server as");
        }
        cluster.run("initdb", &["--auth=trust", "--username=rapport", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        cluster.up();
        Some(cluster)
    }

    pub fn url(&self) -> String {
        format!("postgres://rapport@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, and waits until it answers.
    pub fn up(&self) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={}",
            self.port,
            self.folder.path().display()
        );
        let log = self.folder.path().join("log");
        let log = log.to_str().expect("a plain path");
        self.run("pg_ctl", &["start", "--wait", "--silent", "--timeout=60", "-l", log, "-o", &options]);
    }

    /// Stops it: "fast" tells the clients, "immediate" is a crash.
    pub fn down(&self, mode: &str) {
        self.run("pg_ctl", &["stop", "--wait", "--silent", "--timeout=60", "--mode", mode]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root(self.folder.path()) || self.given_away() {
            // Postgres refuses to run as root.
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-D").arg(self.folder.path().join("data")).args(arguments).current_dir("/");
        // The server outlives pg_ctl, and must not hold the pipes open.
        let out = std::fs::File::create(self.folder.path().join("said")).expect("a file");
        command.stdout(out.try_clone().expect("a file")).stderr(out);
        let done = command.status().expect("Postgres' programs run");
        let said = std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
        assert!(done.success(), "{arguments:?}: {said}");
    }

    fn given_away(&self) -> bool {
        is_root(Path::new("/proc/self")) && !is_root(self.folder.path())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be down already.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.down("immediate")));
    }
}

fn is_root(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.uid() == 0)
}

fn programs() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    versions.into_iter().rev().find(|bin| bin.join("initdb").exists())
}
