use std::{
    io::{self, Read},
    process::ExitCode,
    time::Duration,
};

use tonic::Code;

use crate::rpc::proto::{IngestInboundMessageRequest, delivery_service_client::DeliveryServiceClient};

/// The service takes no larger message.
const LARGEST: u64 = 10 * 1_024 * 1_024;
/// How long the service may take; then the mail server tries again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The message is wrong: trying again is no use (sysexits.h).
const EX_DATAERR: u8 = 65;
/// Nobody is there: try again.
const EX_TEMPFAIL: u8 = 75;

#[derive(clap::Args)]
pub struct Ingest {
    /// Address that the message was delivered to, from the envelope: a return path tells which message came back
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    recipient: String,
    /// Address of the running service's gRPC API
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_GRPC_ADDR", default_value = "127.0.0.1:50051")]
    grpc_addr: String,
}

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("the message could not be read: {0}")]
    Io(#[from] io::Error),
    #[error("the message is larger than 10 MiB")]
    TooLarge,
    #[error("the service at {0} is not reached")]
    Unreachable(String),
    #[error("the service did not take it: {0}")]
    Refused(#[from] Box<tonic::Status>),
    #[error("the service took too long")]
    TooLong,
}

impl NotTaken {
    fn exit_code(&self) -> u8 {
        match self {
            Self::TooLarge => EX_DATAERR,
            Self::Refused(status) if status.code() == Code::InvalidArgument => EX_DATAERR,
            _ => EX_TEMPFAIL,
        }
    }
}

/// Reads one message from standard input and hands it to the service, for mail servers that pipe into it: they try again after 75.
pub async fn run(of: Ingest) -> ExitCode {
    let taken = tokio::time::timeout(PATIENCE, hand_over(of)).await.unwrap_or(Err(NotTaken::TooLong));
    match taken {
        Ok(classification) => {
            #[expect(clippy::print_stdout, reason = "whoever tries it out wants to see what it was")]
            {
                println!("{classification}");
            }
            ExitCode::SUCCESS
        }
        Err(not_taken) => {
            #[expect(clippy::print_stderr, reason = "the mail server logs it")]
            {
                eprintln!("rapport: {not_taken}");
            }
            ExitCode::from(not_taken.exit_code())
        }
    }
}

async fn hand_over(of: Ingest) -> Result<String, NotTaken> {
    let raw = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
    let unreachable = |_| NotTaken::Unreachable(of.grpc_addr.clone());
    let mut service = DeliveryServiceClient::connect(format!("http://{}", of.grpc_addr)).await.map_err(unreachable)?;
    let request = IngestInboundMessageRequest { raw, envelope_recipient: of.recipient };
    let answer = service.ingest_inbound_message(request).await.map_err(Box::new)?;
    Ok(answer.into_inner().classification)
}

fn read() -> Result<Vec<u8>, NotTaken> {
    let mut raw = Vec::new();
    io::stdin().lock().take(LARGEST + 1).read_to_end(&mut raw)?;
    if raw.len() as u64 > LARGEST { Err(NotTaken::TooLarge) } else { Ok(raw) }
}
