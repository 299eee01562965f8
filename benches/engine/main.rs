//! What the engine can do, as tables: what a letter costs, throughput beside Postfix's load generator, the cost of a contact in short and long
//! queues, imports, lateness under load and at rest, memory.
//!
//! `cargo bench` prints them all; `cargo bench -- throughput` (letters, signed, shape, claims, import, audience, lateness, newsletters) those of one kind; `--full` adds a
//! million waiting contacts to the shape, imports a million customers, and writes a newsletter to a million. Each is measured on real `rapport serve` processes over a real SQLite file and, where
//! `RAPPORT_TEST_POSTGRES` names a server on which databases may be made, over a database of its own there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on ends there")]
#![allow(clippy::print_stdout, reason = "tables are printed")]
#![allow(clippy::disallowed_methods, reason = "what is measured happens in real time")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "numbers are rounded to be printed"
)]

mod audience;
mod claims;
mod imports;
mod lateness;
mod letters;
mod machine;
mod newsletters;
mod place;
mod postfix;
mod process;
mod relay;
mod seed;
mod shape;
mod sink;
mod table;
mod throughput;

use self::{place::Kind, process::Peaks, table::Table};

/// What is measured, and what has been seen on the way.
pub struct Bench {
    /// A million contacts too.
    full: bool,
    kinds: Vec<Kind>,
    peaks: Peaks,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|one| name.contains(one.as_str()));
    let full = arguments.iter().any(|argument| argument == "--full");
    let mut bench = Bench { full, kinds: Kind::available(), peaks: Peaks::default() };

    machine::print(&bench.kinds).await;
    if wanted("letters") {
        letters::measure();
    }
    if wanted("throughput") {
        throughput::measure(&mut bench).await;
    }
    if wanted("throughput-signed") {
        throughput::measure_signed(&mut bench).await;
    }
    if wanted("shape") {
        shape::measure(&mut bench).await;
    }
    if wanted("claims") {
        claims::measure(&mut bench).await;
    }
    if wanted("import") {
        imports::measure(&mut bench).await;
    }
    if wanted("audience") {
        audience::measure(&mut bench).await;
    }
    if wanted("lateness") {
        lateness::measure(&mut bench).await;
    }
    if wanted("newsletters") {
        newsletters::measure(&mut bench).await;
    }
    bench.peaks.print();
}
