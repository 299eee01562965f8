//! The whole service on a fresh SQLite file in `./demo`, driven through its own API with real purchases. Eighteen months pass
//! on a simulated clock, by the same workers and code as in production.

mod campaigns;
mod people;
mod purchases;
mod report;
mod story;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use self::story::{Happening, Shop, earliest};
use super::start_logging;
use crate::{
    clock::{Clock, ClockHand, Timestamp},
    config::{
        Config, DEFAULT_MAIL_CONNECTIONS, DatabaseLocation, MailLocation, Providers, TestRecipients, WrongSetting,
    },
    rpc::proto::{RunJobRequest, admin_service_client::AdminServiceClient},
    service::{Service, StartError},
};

const FOLDER: &str = "demo";
/// Marks a folder that a demo made, and that the next one may replace.
const MARK: &str = ".made-by-rapport-demo";

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Something else is where the demo would go.
    #[error("./{FOLDER} is there, and no demo made it: move it away, or start the demo somewhere else")]
    NotOurs,
    /// The data that ships with the program does not read.
    #[error("the purchases that ship with the program do not read")]
    Purchases,
    /// A file failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The service did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A call failed.
    #[error("the service answered {0}")]
    Call(#[from] Status),
    /// The service could not be reached.
    #[error("the service could not be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// The numbers do not add up.
    #[error("{campaign}: {planned} contacts were planned, and {accounted} are accounted for")]
    Unaccounted {
        /// Of which campaign.
        campaign: &'static str,
        /// How many.
        planned: i64,
        /// How many ended in some way.
        accounted: i64,
    },
}

impl From<WrongSetting> for DemoError {
    fn from(wrong: WrongSetting) -> Self {
        Self::Start(wrong.into())
    }
}

/// Plays the demo.
pub async fn run() -> Result<(), DemoError> {
    let filter = std::env::var("RAPPORT_LOG").unwrap_or_else(|_| "warn".to_owned());
    start_logging(&filter)?;
    let folder = fresh_folder(Path::new(FOLDER))?;
    let timeline = story::timeline(purchases::all().ok_or(DemoError::Purchases)?);
    let (clock, hand) = Clock::simulated(story::beginning(&timeline));
    let service = Service::start(&config(&folder), clock.clone()).await?;
    let channel = connect(&service).await?;

    let started = std::time::Instant::now();
    campaigns::set_up(channel.clone()).await?;
    play(&channel, &clock, &hand, timeline).await?;
    report::print(&channel, &folder, started.elapsed()).await?;
    service.stop().await;
    Ok(())
}

/// A folder of our own; what an earlier demo left in it is gone.
fn fresh_folder(path: &Path) -> Result<PathBuf, DemoError> {
    if path.exists() {
        if !path.join(MARK).is_file() {
            return Err(DemoError::NotOurs);
        }
        fs::remove_dir_all(path)?;
    }
    fs::create_dir(path)?;
    fs::write(path.join(MARK), "rapport demo replaces this folder.\n")?;
    Ok(path.to_owned())
}

fn config(folder: &Path) -> Config {
    Config {
        database: DatabaseLocation::Sqlite(folder.join("rapport.db")),
        grpc_addr: ([127, 0, 0, 1], 0).into(),
        http_addr: ([127, 0, 0, 1], 0).into(),
        public_url: None,
        mail: MailLocation::Folder(folder.join("outbox")),
        mail_connections: DEFAULT_MAIL_CONNECTIONS,
        mail_rate: None,
        mail_from: Some("Vinyl <shop@example.com>".to_owned()),
        senders: Vec::new(),
        test_system: false,
        dns_server: None,
        providers: Providers::default(),
        test_recipients: TestRecipients::default(),
        secret_key: None,
    }
}

async fn connect(service: &Service) -> Result<Channel, DemoError> {
    let endpoint = Endpoint::from_shared(format!("http://{}", service.grpc_addr()))?;
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}

/// Moves the clock from one moment at which something happens or is due to the next, until nothing is open.
async fn play(
    channel: &Channel,
    clock: &Clock,
    hand: &ClockHand,
    mut timeline: BTreeMap<Timestamp, Vec<Happening>>,
) -> Result<(), DemoError> {
    let shop = Shop::new(channel.clone());
    let mut admin = AdminServiceClient::new(channel.clone());
    let bar = progress(&timeline, clock.now());
    let mut mornings = story::mornings(&timeline);
    let mut due: Option<Timestamp> = None;
    while let Some(next) = timeline.keys().next().into_iter().chain(mornings.first()).copied().chain(due).min() {
        hand.advance_to(next);
        if let Some(happenings) = timeline.remove(&next) {
            due = earliest(due, shop.report(&happenings).await?);
        }
        if mornings.remove(&next) {
            for job in ["run-newsletters", "scan-triggers"] {
                run_job(&mut admin, job).await?;
            }
            // They have planned what is due now, if anything.
            due = Some(next);
        }
        if due.is_some_and(|due| due <= next) {
            due = run_job(&mut admin, "dispatch").await?;
        }
        show(&bar, next);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Has a job do all that is due; answers when it has something to do again.
async fn run_job(admin: &mut AdminServiceClient<Channel>, job_id: &str) -> Result<Option<Timestamp>, DemoError> {
    let job = admin.run_job(RunJobRequest { job_id: job_id.to_owned() }).await?.into_inner().job;
    let next = job.and_then(|job| job.next_time);
    Ok(next.and_then(|time| Timestamp::from_timestamp(time.seconds, 0)))
}

fn progress(timeline: &BTreeMap<Timestamp, Vec<Happening>>, start: Timestamp) -> ProgressBar {
    let last = timeline.keys().next_back().copied().unwrap_or(start);
    let days = u64::try_from((last - start).num_days()).unwrap_or(0);
    let bar = ProgressBar::new(days + 61);
    let style = ProgressStyle::with_template("{msg:>14} [{bar:40}] day {pos} of {len}, {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, now: Timestamp) {
    let begin = Timestamp::from_timestamp(852_076_800, 0).unwrap_or(now);
    bar.set_position(u64::try_from((now - begin).num_days()).unwrap_or(0));
    bar.set_message(now.format("%B %Y").to_string());
}
