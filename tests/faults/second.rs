//! An SQLite file is one process's.

use std::process::Output;

use super::fleet::{Fleet, Record};

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let mut fleet = Fleet::over(Record::Sqlite, "file:outbox".to_owned());
    let mut first = fleet.start().await;
    let Output { status, stderr, .. } = fleet.command("serve").output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code().filter(|code| *code != 0), status.code(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["RAPPORT_DATABASE_URL", "another process", "Postgres"] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert!(!first.ended());
    first.kill();
    // A dead process holds nothing.
    let (ended, _) = fleet.start().await.stop().await;
    assert!(ended.success());
}
