//! Postfix's load generator and its sink: what everybody can compare with.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Where its programs are.
pub struct Postfix {
    programs: PathBuf,
    libraries: PathBuf,
    version: String,
}

/// A sink that is listening; killed when it is dropped.
pub struct SmtpSink {
    child: Child,
    pub address: SocketAddr,
}

impl Postfix {
    /// Those that are installed, or Debian's package unpacked beside the build.
    pub fn find() -> Result<Self, String> {
        if Path::new("/usr/sbin/smtp-source").exists() {
            let version = said("/usr/sbin/postconf", &["-hd", "mail_version"]);
            let version = format!("Postfix {version}");
            return Ok(Self { programs: "/usr/sbin".into(), libraries: "/usr/lib/postfix".into(), version });
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("postfix");
        if !folder.join("usr/sbin/smtp-source").exists() {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/postfix");
            let done = Command::new(script).arg(&folder).output().map_err(|error| format!("{script}: {error}"))?;
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or("it failed").to_owned());
            }
        }
        let packages = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let package =
            packages.map(|entry| entry.file_name().to_string_lossy().into_owned()).find(|name| name.ends_with(".deb"));
        let version = package.as_deref().and_then(|name| name.split('_').nth(1)).unwrap_or("of unknown version");
        let version = format!("Postfix {version}");
        Ok(Self { programs: folder.join("usr/sbin"), libraries: folder.join("usr/lib/postfix"), version })
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Starts a sink, and waits until it listens.
    pub fn sink(&self) -> SmtpSink {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let mut command = self.command("smtp-sink");
        if is_root() {
            // It refuses to run as root.
            command.args(["-u", "nobody"]);
        }
        let child = command.arg(address.to_string()).arg("1000").stdout(Stdio::null()).spawn().expect("smtp-sink runs");
        let limit = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < limit, "smtp-sink does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        SmtpSink { child, address }
    }

    /// Sends so many messages with so many bytes of text over so many connections that are used again; answers how long it took.
    pub async fn source(&self, to: SocketAddr, messages: u32, length: u32, connections: u32) -> Duration {
        let mut command = self.command("smtp-source");
        command.args(["-d", "-s", &connections.to_string(), "-m", &messages.to_string(), "-l", &length.to_string()]);
        command.args(["-f", "shop@example.com", "-t", "someone@example.com", &to.to_string()]);
        let (done, took) = tokio::task::spawn_blocking(move || {
            let begin = Instant::now();
            (command.status().expect("smtp-source runs"), begin.elapsed())
        })
        .await
        .expect("it ends");
        assert!(done.success());
        took
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("LD_LIBRARY_PATH", &self.libraries).stdin(Stdio::null());
        command
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}
