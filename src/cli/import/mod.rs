//! `rapport import`: customers from a CSV file into a running service, some hundreds at a time; who was interrupted goes on where it ended.

mod columns;
mod records;
mod report;
mod source;

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Code, Request, metadata::AsciiMetadataValue};

use self::{
    columns::Columns,
    records::Records,
    report::{Report, Told},
    source::{Bad, Source},
};
use crate::rpc::proto::{
    ImportConsent, ImportCustomersRequest, ImportOptions, customer_service_client::CustomerServiceClient,
    import_customers_request::Item, import_options::Match,
};

/// How many rows, or errors, are read ahead.
const AHEAD: usize = 256;
/// Something in the file, or in how it is to be read, is wrong (sysexits.h).
const EX_DATAERR: u8 = 65;
/// The file cannot be read.
const EX_NOINPUT: u8 = 66;
/// A file cannot be written.
const EX_CANTCREAT: u8 = 73;
/// It did not get to the end: the same command again goes on.
const EX_TEMPFAIL: u8 = 75;

#[derive(clap::Args)]
pub struct Import {
    /// CSV file of customers, in UTF-8, with the names of its columns in the first line
    file: PathBuf,
    /// What a column says, where its name does not tell: "E-mail=email", "Shoe=attributes.shoe:number", "Club=consent.club"; "Note=-"
    /// leaves it out
    #[arg(long = "map", value_name = "COLUMN=TARGET")]
    maps: Vec<String>,
    /// What parts the cells [default: what the first line has most of: , ; | or a tab]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Check everything and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave customers alone whom there are already
    #[arg(long)]
    only_new: bool,
    /// What tells whether there is a customer already [default: external ids where a row has any, else e-mail addresses]
    #[arg(long = "match", value_name = "KEY")]
    match_by: Option<MatchBy>,
    /// What shows consents, where no column says so: which form, in which words, on which page
    #[arg(long, value_name = "TEXT", default_value = "")]
    consent_evidence: String,
    /// When consents were given, where no column says so
    #[arg(long, value_name = "TIME")]
    consent_time: Option<String>,
    /// Customers confirmed their consents from their mailboxes, and the evidence says how
    #[arg(long)]
    consent_confirmed: bool,
    /// File for what is wrong, row by row [default: FILE.errors.csv]
    #[arg(long, value_name = "ERRORS")]
    errors: Option<PathBuf>,
    /// Begin from the first row, where an import of this file was interrupted
    #[arg(long)]
    restart: bool,
    /// Address of the running service's gRPC API
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_GRPC_ADDR", default_value = "127.0.0.1:50051")]
    grpc_addr: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MatchBy {
    ExternalId,
    Email,
}

/// Why an import did not get to the end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}: {1}")]
    Unreadable(String, io::Error),
    #[error("{}", .0.join("\n         "))]
    Columns(Vec<String>),
    #[error("--delimiter must be one character of ASCII")]
    Delimiter,
    #[error("--consent-time {0}")]
    Time(String),
    #[error("{0}")]
    Changed(String),
    #[error("{0}: {1}")]
    Unwritable(String, io::Error),
    #[error("the service at {0} is not reached: the same command again goes on")]
    Unreachable(String),
    #[error("interrupted after line {line}: {message}; the same command again goes on after it")]
    Interrupted { line: i64, message: String },
    #[error("the service refused: {0}")]
    Refused(String),
}

impl Failed {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable(..) => EX_NOINPUT,
            Self::Unwritable(..) => EX_CANTCREAT,
            Self::Unreachable(_) | Self::Interrupted { .. } => EX_TEMPFAIL,
            Self::Columns(_) | Self::Delimiter | Self::Time(_) | Self::Changed(_) | Self::Refused(_) => EX_DATAERR,
        }
    }
}

/// Imports a file, and says what became of it. Exits with 65 where rows were wrong, and with 75 where it is to be run again.
pub async fn run(of: Import) -> ExitCode {
    let file = of.file.display().to_string();
    match import(of).await {
        Ok((told, errors, left_out)) => {
            say(&told.sentence(&file, &errors));
            if !left_out.is_empty() {
                say(&format!("left out: {}", left_out.join(", ")));
            }
            if told.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(EX_DATAERR) }
        }
        Err(failed) => {
            #[expect(clippy::print_stderr, reason = "a command's last word is for the person at the terminal")]
            {
                eprintln!("rapport: {failed}");
            }
            ExitCode::from(failed.exit_code())
        }
    }
}

#[expect(clippy::print_stdout, reason = "what became of the file is for the person at the terminal")]
fn say(sentence: &str) {
    println!("{sentence}");
}

async fn import(of: Import) -> Result<(Told, PathBuf, Vec<String>), Failed> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Failed::Columns(vec![error.to_string()]),
        _ => Failed::Unreadable(of.file.display().to_string(), error),
    };
    let delimiter = of.delimiter.map(|one| u8::try_from(one).ok().filter(u8::is_ascii).ok_or(Failed::Delimiter));
    let delimiter = delimiter.transpose()?;
    let options = options(&of)?;
    let file = File::open(&of.file).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let bar = progress(metadata.len());
    let mut records =
        Records::open(BufReader::with_capacity(1 << 16, bar.wrap_read(file)), delimiter).map_err(unreadable)?;
    let columns = Arc::new(columns(records.next().map_err(unreadable)?, &of.maps)?);
    if of.dry_run {
        bar.suspend(|| say(&format!("columns: {}", columns.describe())));
    }
    let left_out = columns.left_out();
    let errors = of.errors.clone().unwrap_or_else(|| beside(&of.file, "errors.csv"));
    let report = Report::open(&of.file, &metadata, asked(&of), &errors, of.restart, of.dry_run)?;
    if report.line() > 0 {
        bar.println(format!("goes on after line {}", report.line()));
    }
    let told = upload(&of, options, records, columns, report, &bar).await;
    bar.finish_and_clear();
    Ok((told?, errors, left_out))
}

/// Sends rows and reads answers until both are at an end.
async fn upload(
    of: &Import,
    options: ImportOptions,
    records: Records<BufReader<indicatif::ProgressBarIter<File>>>,
    columns: Arc<Columns>,
    mut report: Report,
    bar: &ProgressBar,
) -> Result<Told, Failed> {
    let unreachable = |_| Failed::Unreachable(of.grpc_addr.clone());
    let mut service = CustomerServiceClient::connect(format!("http://{}", of.grpc_addr)).await.map_err(unreachable)?;
    let (rows, waiting) = mpsc::channel(AHEAD);
    let (bads_in, bads) = mpsc::channel(AHEAD);
    let source = Source { columns: Arc::clone(&columns), after: report.line(), rows, bads: bads_in };
    let reading = tokio::task::spawn_blocking(move || source.read(records));
    let first = ImportCustomersRequest { item: Some(Item::Options(options)) };
    let messages = tokio_stream::once(first).chain(ReceiverStream::new(waiting));
    let mut request = Request::new(messages);
    request.metadata_mut().insert("x-caller", AsciiMetadataValue::from_static("rapport-import"));
    let line = report.line();
    let answered = async {
        let mut answers = service.import_customers(request).await?.into_inner();
        let mut aside = Aside { bads, first: None };
        loop {
            tokio::select! {
                answer = answers.message() => match answer? {
                    // Those before its last row were read before that was sent.
                    Some(answer) => report.answered(&answer, &columns, &aside.before(answer.last_row))?,
                    None => break,
                },
                () = aside.wait(), if aside.first.is_none() => {}
            }
            aside.pass_on(&mut report)?;
            bar.set_message(HumanCount(report.told().rows()).to_string());
        }
        aside.drain(&mut report).await
    };
    let ended: Result<(), Broken> = answered.await;
    let read = reading.await;
    match ended {
        Ok(()) => {}
        Err(Broken::Report(failed)) => return Err(failed),
        Err(Broken::Service(status)) => return Err(interrupted(&status, report.line().max(line))),
    }
    match read {
        Ok(Ok(sent)) if sent == report.received() => report.finish(),
        Ok(Err(error)) => Err(Failed::Unreadable(of.file.display().to_string(), error)),
        _ => Err(Failed::Interrupted { line: report.line(), message: "the service stopped".to_owned() }),
    }
}

/// Why answers ended.
enum Broken {
    Service(tonic::Status),
    Report(Failed),
}

impl From<tonic::Status> for Broken {
    fn from(status: tonic::Status) -> Self {
        Self::Service(status)
    }
}

impl From<Failed> for Broken {
    fn from(failed: Failed) -> Self {
        Self::Report(failed)
    }
}

/// Rows that were not sent: each is told once all before it are answered.
struct Aside {
    bads: mpsc::Receiver<Bad>,
    first: Option<Bad>,
}

impl Aside {
    /// Until there is one; for ever where there will be none.
    async fn wait(&mut self) {
        match self.bads.recv().await {
            Some(bad) => self.first = Some(bad),
            None => std::future::pending().await,
        }
    }

    /// Those that stand before a line.
    fn before(&mut self, line: i64) -> Vec<Bad> {
        let mut bads = Vec::new();
        while let Some(bad) = self.first.take().or_else(|| self.bads.try_recv().ok()) {
            if bad.line > line {
                self.first = Some(bad);
                break;
            }
            bads.push(bad);
        }
        bads
    }

    fn pass_on(&mut self, report: &mut Report) -> Result<(), Failed> {
        while let Some(bad) = self.first.take_if(|bad| bad.after <= report.line()) {
            report.unread(&bad)?;
            self.first = self.bads.try_recv().ok();
        }
        Ok(())
    }

    /// Tells what is left when everything is answered.
    async fn drain(&mut self, report: &mut Report) -> Result<(), Broken> {
        while let Some(bad) = match self.first.take() {
            Some(bad) => Some(bad),
            None => self.bads.recv().await,
        } {
            report.unread(&bad)?;
        }
        Ok(())
    }
}

fn interrupted(status: &tonic::Status, line: i64) -> Failed {
    match status.code() {
        Code::InvalidArgument | Code::Unimplemented => Failed::Refused(status.message().to_owned()),
        _ => Failed::Interrupted { line, message: status.message().to_owned() },
    }
}

fn columns(first: Option<records::Record>, maps: &[String]) -> Result<Columns, Failed> {
    let names = match first.map(|record| record.cells) {
        None => Err("the file is empty: its first line must name its columns".to_owned()),
        Some(Err(unreadable)) => Err(format!("the first line {unreadable}")),
        Some(Ok(names)) if names.iter().any(|name| name.contains('\0')) => {
            Err("the file is UTF-16: save it as UTF-8".to_owned())
        }
        Some(Ok(names)) => Ok(names),
    };
    Columns::read(names.map_err(|wrong| Failed::Columns(vec![wrong]))?, maps).map_err(Failed::Columns)
}

fn options(of: &Import) -> Result<ImportOptions, Failed> {
    let occur_time = of.consent_time.as_deref().map(columns::time).transpose().map_err(Failed::Time)?;
    let evidence = of.consent_evidence.clone();
    let confirmed = of.consent_confirmed;
    let r#match = match of.match_by {
        None => Match::Unspecified,
        Some(MatchBy::ExternalId) => Match::ExternalId,
        Some(MatchBy::Email) => Match::Email,
    };
    Ok(ImportOptions {
        validate_only: of.dry_run,
        update_existing: !of.only_new,
        r#match: r#match.into(),
        consent_defaults: Some(ImportConsent { evidence, occur_time, confirmed, ..ImportConsent::default() }),
    })
}

/// What decides what a row comes to: who goes on must ask for the same.
fn asked(of: &Import) -> String {
    let how = (&of.maps, of.delimiter, of.only_new, of.match_by, &of.consent_time, of.consent_confirmed);
    format!("{how:?} {}", of.consent_evidence)
}

fn beside(file: &Path, extension: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// Hidden where there is no terminal.
fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("{bar:40} {percent}% {msg} rows, {elapsed} passed, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
