//! The program itself: how it starts, refuses to start, and stops.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use rapport::{
    migrations::Migrator,
    rpc::proto::{GetStatusRequest, admin_service_client::AdminServiceClient},
};
use sea_orm_migration::MigratorTrait;
use tempfile::TempDir;

use super::harness::{OwnDatabase, POSTGRES};

fn rapport(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RAPPORT_")) {
        command.env_remove(name);
    }
    // Stories run side by side.
    command.env("RAPPORT_HTTP_ADDR", "127.0.0.1:0");
    command
}

fn ends(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// Starts `rapport serve` on a free port and waits until it says where it listens.
fn serves(command: &mut Command) -> (Child, String) {
    let mut child = command.env("RAPPORT_GRPC_ADDR", "127.0.0.1:0").stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("serving")).expect("it serves");
    let address = line.split("grpc_addr=").nth(1).expect("it says where").trim().to_owned();
    // What else it says must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, format!("http://{address}"))
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn it_serves_over_a_file_that_it_makes_and_stops_in_order_when_told_to() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, address) = serves(&mut rapport(&folder, &["serve"]));
        let mut admin = AdminServiceClient::connect(address).await.unwrap();
        admin.get_status(GetStatusRequest {}).await.unwrap();
        let key = folder.path().join("rapport.key");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        }
        signal(&child, name);
        assert!(child.wait().unwrap().success(), "{name}");
        assert!(!folder.path().join("rapport.db-wal").exists(), "the file was closed in order");
        // Started again, it uses the same key.
        let before = std::fs::read(&key).unwrap();
        let (mut child, _) = serves(&mut rapport(&folder, &["serve"]));
        signal(&child, name);
        child.wait().unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), before);
    }
}

#[test]
fn a_wrong_setting_stops_the_start_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static [&'static str]);
    let cases: [Case; 9] = [
        (&["serve", "--grpc-addr", "nowhere"], &[], &["RAPPORT_GRPC_ADDR", "\"nowhere\"", "127.0.0.1:50051"]),
        (&["serve"], &[("RAPPORT_GRPC_ADDR", "0.0.0.0:50051")], &["RAPPORT_GRPC_ADDR", "RAPPORT_ALLOW_REMOTE=true"]),
        (&["serve", "--http-addr", "0.0.0.0:8080"], &[], &["RAPPORT_HTTP_ADDR", "RAPPORT_ALLOW_REMOTE=true"]),
        (&["serve"], &[("RAPPORT_MAIL_FROM", "nobody")], &["RAPPORT_MAIL_FROM", "\"nobody\""]),
        (&["serve"], &[("RAPPORT_MAIL_URL", "gopher://localhost")], &["RAPPORT_MAIL_URL", "file:FOLDER"]),
        (&["serve"], &[("RAPPORT_LOG", "rapport=loud")], &["RAPPORT_LOG", "rapport=loud", "debug"]),
        (&["serve"], &[("RAPPORT_LOG", "verbose")], &["RAPPORT_LOG", "verbose", "debug"]),
        (&["serve"], &[("RAPPORT_DATABASE_URL", "sqlite://no/such/folder/a.db")], &["RAPPORT_DATABASE_URL"]),
        (&["serve", "--config", "missing.toml"], &[], &["--config", "missing.toml"]),
    ];
    for (arguments, variables, expected) in cases {
        let (good, said) = ends(rapport(&folder, arguments).envs(variables.iter().copied()));
        assert!(!good, "{arguments:?} {variables:?}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in expected {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    }
    std::fs::write(folder.path().join("rapport.toml"), "grpc_adr = \"127.0.0.1:1\"\n").unwrap();
    let (good, said) = ends(&mut rapport(&folder, &["serve"]));
    assert!(!good && said.contains("rapport.toml") && said.contains("grpc_adr"), "{said}");
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rapport.toml"), "grpc_addr = \"from-file\"\n").unwrap();
    let refused = |command: &mut Command| ends(command).1;
    assert!(refused(&mut rapport(&folder, &["serve"])).contains("from-file"));
    let variable = [("RAPPORT_GRPC_ADDR", "from-variable")];
    assert!(refused(rapport(&folder, &["serve"]).envs(variable)).contains("from-variable"));
    let flag = ["serve", "--grpc-addr", "from-flag"];
    assert!(refused(rapport(&folder, &flag).envs(variable)).contains("from-flag"));
}

#[test]
fn every_command_and_setting_explains_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (good, said) = ends(&mut rapport(&folder, &["--help"]));
    assert!(good && ["serve", "migrate", "demo"].iter().all(|command| said.contains(command)), "{said}");
    let (good, said) = ends(&mut rapport(&folder, &["serve", "--help"]));
    for name in ["DATABASE_URL", "GRPC_ADDR", "HTTP_ADDR", "ALLOW_REMOTE", "MAIL_URL", "MAIL_FROM", "LOG"] {
        assert!(good && said.contains(&format!("RAPPORT_{name}")), "{name}: {said}");
    }
}

#[tokio::test]
async fn on_postgres_it_starts_only_after_its_migrations_and_with_a_secret() {
    let Ok(server) = std::env::var(POSTGRES) else { return };
    let folder = tempfile::tempdir().unwrap();
    let own = OwnDatabase::make(server).await;
    let url = own.url();
    let (good, said) = ends(rapport(&folder, &["serve"]).env("RAPPORT_DATABASE_URL", &url));
    assert!(!good && said.contains("RAPPORT_SECRET_KEY"), "{said}");
    let variables =
        [("RAPPORT_DATABASE_URL", url.as_str()), ("RAPPORT_SECRET_KEY", "0123456789abcdef0123456789abcdef")];
    let (good, said) = ends(rapport(&folder, &["serve"]).envs(variables));
    let pending = format!("{} migrations are pending", Migrator::migrations().len());
    assert!(!good && said.contains(&pending) && said.contains("rapport migrate"), "{said}");
    let (good, said) = ends(rapport(&folder, &["migrate"]).envs(variables));
    assert!(good, "{said}");
    let (mut child, address) = serves(rapport(&folder, &["serve"]).envs(variables));
    AdminServiceClient::connect(address).await.unwrap().get_status(GetStatusRequest {}).await.unwrap();
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_demo_leaves_a_folder_alone_that_no_demo_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("demo")).unwrap();
    std::fs::write(folder.path().join("demo/precious"), "x").unwrap();
    let (good, said) = ends(&mut rapport(&folder, &["demo"]));
    assert!(!good && said.contains("./demo is there, and no demo made it"), "{said}");
    assert!(folder.path().join("demo/precious").exists());
}

#[test]
fn a_second_process_on_the_same_port_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    for (name, other) in [("RAPPORT_GRPC_ADDR", "RAPPORT_HTTP_ADDR"), ("RAPPORT_HTTP_ADDR", "RAPPORT_GRPC_ADDR")] {
        let folder = tempfile::tempdir().unwrap();
        let variables = [(name, taken.to_string()), (other, "127.0.0.1:0".to_owned())];
        let (good, said) = ends(rapport(&folder, &["serve"]).envs(variables));
        assert!(!good && said.contains(name) && said.contains("free port"), "{said}");
    }
    drop(listener);
}

#[test]
fn a_second_process_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = serves(&mut rapport(&folder, &["serve"]));
    for command in ["serve", "migrate"] {
        let (good, said) = ends(rapport(&folder, &[command]).env("RAPPORT_GRPC_ADDR", "127.0.0.1:0"));
        assert!(!good && said.contains("RAPPORT_DATABASE_URL") && said.contains("another process"), "{said}");
    }
    signal(&child, "KILL");
    child.wait().unwrap();
    let (mut child, _) = serves(&mut rapport(&folder, &["serve"]));
    signal(&child, "TERM");
    assert!(child.wait().unwrap().success(), "the file is free again when its process is dead");
}
