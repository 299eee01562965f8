//! Real processes of the service, and what they cost.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tonic::transport::{Channel, Endpoint};

use super::{Table, place::Place};

/// How long a process may take to start, and to stop.
const LIMIT: Duration = Duration::from_secs(60);
/// What memory is to stay below.
const MEMORY: u64 = 150;

/// A process that serves; it is killed when it is dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Where its API is.
    pub address: String,
    pub channel: Channel,
}

impl Process {
    /// Starts it, and waits until it listens.
    pub async fn start(place: &Place, settings: &[(&str, &str)]) -> Self {
        let log = place.folder.path().join("log");
        let said = File::create(&log).expect("a log");
        let mut command = place.command("serve");
        command.envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(said).spawn().expect("it starts");
        let limit = Instant::now() + LIMIT;
        let address = loop {
            let log = fs::read_to_string(&log).expect("a log");
            // A line that is not complete yet says nothing yet.
            let rest = log.split_once("grpc_addr=").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some(address) = rest.and_then(|(line, _)| line.split_whitespace().next()) {
                break address.to_owned();
            }
            assert!(child.try_wait().expect("a child").is_none(), "it does not start: {log}");
            assert!(Instant::now() < limit, "it does not serve: {log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL").tcp_nodelay(true);
        let channel = endpoint.connect().await.expect("it listens");
        Self { child, log, address, channel }
    }

    /// What all its threads have used.
    pub fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }

    /// The most memory that it had so far, in MB.
    pub fn peak(&self) -> u64 {
        peak(self.child.id())
    }

    /// SIGTERM; waits for the end, and keeps how much memory it had at most.
    pub async fn stop(mut self, what: &str, peaks: &mut Peaks) {
        peaks.0.push((what.to_owned(), peak(self.child.id())));
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
        let begin = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(begin.elapsed() < LIMIT, "it does not end: {}", fs::read_to_string(&self.log).expect("a log"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the threads of a process have used, in nanoseconds from the scheduler: ticks of 10 ms would be too coarse.
pub fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let used =
        |task: &Path| fs::read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse::<u64>().ok();
    Duration::from_nanos(tasks.filter_map(|task| used(&task.path())).sum())
}

/// The most memory that a process had, in MB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number") / 1_000
}

/// The most memory that each process had.
#[derive(Default)]
pub struct Peaks(Vec<(String, u64)>);

impl Peaks {
    pub fn print(self) {
        let conditions = [format!("VmHWM of each process above; target: below {MEMORY} MB")];
        let mut table = Table::begin("Memory", &conditions, &["process", "peak MB"]);
        for (what, peak) in self.0 {
            table.row(&[what, peak.to_string()]);
        }
        table.print();
    }
}
