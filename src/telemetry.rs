//! Logs: one line per batch and per trouble, to standard error, without personal data.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// Libraries that tell more than an operator asked for, unless the setting names them.
const QUIET: &str = "sea_orm_migration=warn,sqlx=warn,tokio_cron_scheduler=warn";

/// Starts logging by a filter of levels and targets; a second call in one process changes nothing.
pub fn init(filter: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))?;
    let colours = std::io::stderr().is_terminal();
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).compact();
    // An error here means that logging already runs, as it does in tests.
    let _ = lines.try_init();
    Ok(())
}
