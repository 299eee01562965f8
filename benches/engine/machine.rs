//! On what it was measured.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sea_orm::ConnectionTrait;

use super::{
    place::{Kind, Place},
    postfix::Postfix,
};

pub async fn print(kinds: &[Kind]) {
    println!("Machine");
    println!("  {}", computer());
    println!("  rapport {}, {}", env!("CARGO_PKG_VERSION"), first_line("rustc", &["--version"]));
    match Postfix::find() {
        Ok(postfix) => println!("  {}", postfix.version()),
        Err(why) => println!("  no Postfix: {why}"),
    }
    for kind in kinds {
        let place = Place::make(kind).await;
        place.migrate();
        let record = place.record().await;
        let version = place.version(&record).await;
        let (p50, p99) = commits(&record).await;
        println!("  {version}: a commit of one row takes {p50:.2?} (p99 {p99:.2?})");
        record.close().await.expect("it closes");
    }
    if kinds.len() == 1 {
        println!("  Postgres is skipped: {} names no server", super::place::POSTGRES);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (p50, p99) = syncs(folder.path());
    println!(
        "  fdatasync of 4 KiB in {}, where SQLite files are: {p50:.2?} (p99 {p99:.2?})",
        folder.path().parent().expect("a parent").display()
    );
}

fn computer() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let name = value(&cpus, "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = value(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1_048_576;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores ({name}), {memory} GiB, Linux {}", kernel.trim())
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("unknown").to_owned()
}

/// How long it takes until a page that is written over is durable.
fn syncs(folder: &Path) -> (Duration, Duration) {
    let mut file = fs::File::create(folder.join("sync")).expect("a file");
    let mut took = Vec::new();
    for _ in 0..300 {
        file.seek(SeekFrom::Start(0)).expect("it seeks");
        file.write_all(&[7; 4096]).expect("it writes");
        let begin = Instant::now();
        file.sync_data().expect("it syncs");
        took.push(begin.elapsed());
    }
    (percentile(&mut took, 50), percentile(&mut took, 99))
}

async fn commits(record: &impl ConnectionTrait) -> (Duration, Duration) {
    record.execute_unprepared("CREATE TABLE commits (number INTEGER)").await.expect("a table");
    let mut took = Vec::new();
    for _ in 0..300 {
        let begin = Instant::now();
        record.execute_unprepared("INSERT INTO commits VALUES (1)").await.expect("a row");
        took.push(begin.elapsed());
    }
    (percentile(&mut took, 50), percentile(&mut took, 99))
}

/// The smallest value that so many of a hundred do not exceed.
pub fn percentile<T: Copy + Ord>(values: &mut [T], percent: usize) -> T {
    values.sort_unstable();
    values[(values.len() * percent).div_ceil(100).max(1) - 1]
}
