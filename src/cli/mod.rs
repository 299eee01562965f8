//! The commands. Only `serve` and `migrate` open a database, and `demo` one of its own.

mod cells;
mod demo;
mod export;
mod import;
mod ingest;
mod migrate;
mod serve;
mod starters;
mod templates;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, DEFAULT_LOG, Settings, WrongSetting},
    service::StartError,
    telemetry,
};

/// Follows customers up: keeps customers, their communication preferences and follow-up campaigns, and sends every due contact
/// by itself. Other services drive it over gRPC.
#[derive(Parser)]
#[command(
    name = "rapport",
    version,
    about,
    after_help = "Every setting can also be given as a variable or in rapport.toml; \
    flags come first, then variables, then the file."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service: the API and the workers that send what is due
    Serve(Place),
    /// Bring the database's schema up to date, and end
    Migrate(Place),
    /// Hand a message that came back, on standard input, to the running service; exits with 75 where that is to be tried again
    Ingest(ingest::Ingest),
    /// Bring customers from a CSV file into the running service; exits with 65 where rows were wrong, with 75 where the same command
    /// is to be run again
    Import(import::Import),
    /// Write customers, events or contacts of the running service as CSV or as lines of JSON
    Export(export::Export),
    /// Templates to start with
    Templates(templates::Templates),
    /// Play eighteen months of real purchases in a minute, into ./demo, and say what became of them
    Demo,
}

#[derive(clap::Args)]
struct Place {
    /// Settings file [default: rapport.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "RAPPORT_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] crate::database::StoreError),
    /// A file or stream failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Templates were not installed.
    #[error(transparent)]
    Templates(#[from] templates::NotInstalled),
    /// The demo failed.
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
}

impl From<WrongSetting> for CommandError {
    fn from(wrong: WrongSetting) -> Self {
        Self::Start(wrong.into())
    }
}

impl Place {
    /// Flags and variables, then the file.
    fn read(self) -> Result<Settings, WrongSetting> {
        let mut settings = self.settings;
        // Not a flag: arguments can be read by everybody on the computer.
        settings.secret_key = std::env::var("RAPPORT_SECRET_KEY").ok();
        settings.postmark_secret = std::env::var("RAPPORT_POSTMARK_SECRET").ok();
        Ok(settings.or(Settings::read(self.config.as_deref())?))
    }
}

/// Runs the command that the arguments name; answers the exit code.
pub async fn run() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(place) => with_settings(place, serve::run).await,
        Command::Migrate(place) => with_settings(place, migrate::run).await,
        Command::Ingest(of) => return ingest::run(of).await,
        Command::Import(of) => return import::run(of).await,
        Command::Export(of) => return export::run(of).await,
        Command::Templates(of) => templates::run(of).await.map_err(CommandError::from),
        Command::Demo => demo::run().await.map_err(CommandError::from),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command's last word is for the person at the terminal")]
            {
                eprintln!("rapport: {error}");
            }
            std::process::ExitCode::FAILURE
        }
    }
}

async fn with_settings<F>(place: Place, command: impl FnOnce(Config) -> F) -> Result<(), CommandError>
where
    F: Future<Output = Result<(), CommandError>>,
{
    let settings = place.read()?;
    start_logging(settings.log.as_deref().unwrap_or(DEFAULT_LOG))?;
    command(Config::from_settings(&settings)?).await
}

fn start_logging(filter: &str) -> Result<(), WrongSetting> {
    let allowed = "error, warn, info, debug, trace, or a filter such as info,rapport::dispatch=debug";
    // The filter language takes any other word for the name of a target, and so for "nothing else".
    let word = |part: &str| part.contains('=') || part.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if let Some(part) = filter.split(',').find(|part| !word(part.trim())) {
        return Err(WrongSetting::new("log", format!("{part:?}"), allowed));
    }
    telemetry::init(filter).map_err(|wrong| WrongSetting::new("log", format!("{filter:?} ({wrong})"), allowed))
}
