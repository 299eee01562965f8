//! SIGKILL of the service in the middle of an import, again and again: the same command goes on, and everybody is there once.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    fleet::{Fleet, Record},
    postgres::{OwnDatabase, server},
};

const ROWS: u64 = 15_000;
/// Every so many rows one is wrong.
const WRONG: u64 = 500;
const KILLS: usize = 3;
/// How many lines an import gets ahead before the service is killed.
const AHEAD: u64 = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_kills_over_a_file() {
    play(Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_kills_over_postgres() {
    let Some(server) = server("imports over Postgres") else { return };
    play(Record::Postgres(OwnDatabase::make(server).await)).await;
}

async fn play(record: Record) {
    let mut fleet = Fleet::over(record, "file:outbox".to_owned());
    let file = fleet.folder.path().join("people.csv");
    let row = |number: u64| match number % WRONG {
        0 => format!("n{number},nobody\n"),
        _ => format!("n{number},n{number}@example.com\n"),
    };
    fs::write(&file, format!("external_id,email\n{}", (0..ROWS).map(row).collect::<String>())).unwrap();
    let state = fleet.folder.path().join("people.csv.import.json");
    for _ in 0..KILLS {
        let replica = fleet.start().await;
        let mut import = import(&file, &replica.address()).spawn().unwrap();
        let begun = line(&state);
        let limit = Instant::now() + Duration::from_secs(60);
        while line(&state) < begun + AHEAD {
            assert!(import.try_wait().unwrap().is_none() && Instant::now() < limit, "it does not go on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        replica.kill();
        assert_eq!(import.wait().unwrap().code(), Some(75));
    }
    let replica = fleet.start().await;
    let output = import(&file, &replica.address()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("15,000 rows") && said.contains(" 30 wrong"), "{said}");
    assert_eq!(fleet.count("SELECT count(*) AS n FROM customers").await, ROWS - ROWS / WRONG);
    assert_eq!(fleet.count("SELECT count(DISTINCT value) AS n FROM addresses").await, ROWS - ROWS / WRONG);
    let errors = fs::read_to_string(fleet.folder.path().join("people.csv.errors.csv")).unwrap();
    assert_eq!(errors.lines().count(), 31, "each is told once: {errors}");
    assert!(!state.exists());
}

fn import(file: &Path, address: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.arg("import").arg(file).args(["--grpc-addr", address]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// How far an import came; it replaces the file as a whole.
fn line(state: &Path) -> u64 {
    let Ok(text) = fs::read_to_string(state) else { return 0 };
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["line"].as_u64().unwrap()
}
