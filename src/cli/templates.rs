use std::io::{self, Write};

use tonic::transport::Endpoint;

use super::starters::{self, Brand, Installed};

#[derive(clap::Args)]
pub struct Templates {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Create and publish templates to start with, in five languages, in the running service; what is there already stays as it is
    Install(Install),
}

#[derive(clap::Args)]
struct Install {
    /// Name of the shop, at the top and at the end of the letters
    #[arg(long, value_name = "NAME", default_value = "Your shop")]
    shop: String,
    /// Where buttons lead
    #[arg(long, value_name = "URL", default_value = "https://shop.example.com/")]
    url: String,
    /// Address of the running service's gRPC API
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_GRPC_ADDR", default_value = "127.0.0.1:50051")]
    grpc_addr: String,
}

/// Why nothing, or not everything, was installed.
#[derive(Debug, thiserror::Error)]
pub enum NotInstalled {
    /// An argument is wrong.
    #[error("{0}")]
    Argument(String),
    /// Nobody is there.
    #[error("the service at {0} is not reached")]
    Unreachable(String),
    /// A call failed.
    #[error("the service answered {0}")]
    Call(#[from] Box<tonic::Status>),
    /// The terminal is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Installs, and says what became of each template.
pub async fn run(of: Templates) -> Result<(), NotInstalled> {
    let Command::Install(Install { shop, url, grpc_addr }) = of.command;
    let brand = Brand::new(&shop, &url).map_err(NotInstalled::Argument)?;
    let unreachable = |_| NotInstalled::Unreachable(grpc_addr.clone());
    let endpoint = Endpoint::from_shared(format!("http://{grpc_addr}")).map_err(unreachable)?;
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let installed = starters::install(channel, &brand).await.map_err(Box::new)?;
    let mut out = io::stdout().lock();
    for (id, outcome) in installed {
        let word = match outcome {
            Installed::New => "installed",
            Installed::Kept => "is there already",
        };
        writeln!(out, "{id:<20} {word}")?;
    }
    Ok(())
}
