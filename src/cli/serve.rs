use tokio::signal::unix::{SignalKind, signal};

use super::CommandError;
use crate::{clock::Clock, config::Config, service::Service};

/// Serves until it is told to stop by SIGTERM or Ctrl-C.
pub async fn run(config: Config) -> Result<(), CommandError> {
    // Heard from the start: who reads that it serves may tell it to stop at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut service = Service::start(&config, Clock::system()).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to stop by SIGTERM"),
        _ = interrupt.recv() => tracing::info!("told to stop by Ctrl-C"),
        () = service.failed() => return Err(std::io::Error::other("the server ended by itself").into()),
    }
    service.stop().await;
    Ok(())
}
