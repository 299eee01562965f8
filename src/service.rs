//! The composition root: builds the parts, starts the API and the workers, and stops them in order.

mod engine;
mod health;
mod secret;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinHandle},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use self::{
    engine::{Engine, Ground},
    health::{pulse, set_health},
    secret::keep_secret,
};
use crate::{
    admin::Admin,
    api::{self, Parts},
    campaigns::Campaigns,
    clock::{self, Clock},
    config::{Config, DatabaseLocation, MailLocation, WrongSetting},
    contacts::{Contacts, Purpose, claims},
    customers::Customers,
    database::{self, Database, StoreError},
    delivery::{Folder, Smtp, Transport},
    dispatch::{Expire, ForgetRequests, Lease, Recover},
    events::Events,
    gate::{Gate, WatchSenders},
    inbound::Inbound,
    intake::RunBackfills,
    links::Links,
    metrics::Metrics,
    pages::{Guests, Look, Pages, Providers},
    preferences::{PreferenceBook, Suppressions},
    privacy::{ForgetDeliveries, ForgetEvidence, Privacy, PurgeCustomers},
    rehearsal::Rehearsals,
    rpc::{GuardLayer, PageTokens, proto},
    senders::{CheckSenders, Senders},
    tokens::SecretKey,
    workers::{BellError, Bells, Job, Worker},
};

/// The health name of the dispatcher, beside those of the services.
const DISPATCHER: &str = "dispatcher";
/// How often the database and the workers are asked for a sign of life.
const PULSE: Duration = Duration::from_secs(5);
/// How long what is under way may take once the service was told to stop.
const FAREWELL: Duration = Duration::from_secs(22);
/// How long open connections may take after that.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] WrongSetting),
    /// The schema is older than this program.
    #[error("{0} migrations are pending on this database: run `rapport migrate` first")]
    PendingMigrations(usize),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secret key could not be kept beside the database.
    #[error("the secret key could not be kept in {path}: {error}")]
    SecretFile {
        /// Where.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The scheduler did not start.
    #[error(transparent)]
    Bells(#[from] BellError),
    /// Reflection could not be set up.
    #[error("reflection could not be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    db: Database,
    health: HealthReporter,
    bells: Bells,
    lease: Kept,
    stop_workers: CancellationToken,
    workers: Vec<JoinHandle<()>>,
    stop_server: CancellationToken,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    pages: JoinHandle<io::Result<()>>,
}

impl Service {
    /// Builds everything, migrates an SQLite file, and listens.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let (listener, grpc_addr) = listen("grpc_addr", config.grpc_addr).await?;
        let (web_listener, http_addr) = listen("http_addr", config.http_addr).await?;
        let senders = Senders::open(config, clock.clone())?;
        let is_test = senders.is_test();
        let db = open_database(config).await?;
        let key = secret_key(config)?;
        let stop_workers = CancellationToken::new();
        let metrics = Metrics::default();
        let lease = Lease::take(db.clone(), replica()).await?;
        let base = config.public_url.clone().unwrap_or_else(|| format!("http://{http_addr}"));
        let links = Links::new(base, key.clone());
        let brand = senders.of(Purpose::Marketing).name().to_owned();
        let (db_of, lease_of) = (db.clone(), Arc::clone(&lease));
        let test_recipients = config.test_recipients.clone();
        let ground = Ground {
            db: db_of,
            clock,
            key,
            senders,
            test_recipients,
            links,
            lease: lease_of,
            metrics: metrics.clone(),
        };
        let parts = build(config, ground, &stop_workers)?;
        let workers = parts.workers;
        metrics.started(clock::real_now().timestamp());
        let guests = guests(brand, &parts.api);
        let providers = Providers::new(parts.api.inbound.clone(), &config.providers);
        let pages = Pages::new(Arc::clone(&parts.api.admin), metrics.clone(), stop_workers.clone(), guests);

        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::Serving).await;
        let stop_server = CancellationToken::new();
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        let server = Server::builder()
            .layer(GuardLayer::new(metrics))
            .http2_keepalive_interval(Some(Duration::from_secs(60)))
            .max_concurrent_streams(200)
            .add_routes(api::routes(parts.api))
            .add_service(health_service)
            .add_service(v1)
            .add_service(v1alpha)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stop_server.clone().cancelled_owned(),
            );
        let server = tokio::spawn(server);
        let pages = tokio::spawn(pages.serve(providers, web_listener, stop_server.clone()));
        let bells = Bells::start(&workers).await?;
        let pulse = pulse(health.clone(), db.clone(), workers.clone(), stop_workers.clone());
        let stop_lease = CancellationToken::new();
        let keeper = tokio::spawn(Arc::clone(&lease).keep(stop_lease.clone()));
        let mut tasks = vec![tokio::spawn(pulse)];
        tasks.extend(workers.into_iter().map(|worker| tokio::spawn(worker.work())));
        if is_test {
            tracing::info!("a test system: marketing goes out whether its sender is ready or not");
        }
        tracing::info!(%http_addr, %grpc_addr, "serving");
        let lease = Kept { lease, stop: stop_lease, keeper };
        Ok(Self {
            grpc_addr,
            http_addr,
            db,
            health,
            bells,
            lease,
            stop_workers,
            workers: tasks,
            stop_server,
            server,
            pages,
        })
    }

    /// Where the API listens.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where the pages are.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Waits until a server ends by itself, which it does only when it fails.
    pub async fn failed(&mut self) {
        tokio::select! {
            ended = &mut self.server => tracing::error!(?ended, "the gRPC server ended"),
            ended = &mut self.pages => tracing::error!(?ended, "the HTTP server ended"),
        }
    }

    /// Stops in order: says so, lets the workers finish what is under way and give the rest back, then closes the doors.
    pub async fn stop(self) {
        self.stop_workers.cancel();
        set_health(&self.health, ServingStatus::NotServing).await;
        self.bells.stop().await;
        let finish = async {
            for worker in self.workers {
                let _ = worker.await;
            }
        };
        if tokio::time::timeout(FAREWELL, finish).await.is_err() {
            tracing::warn!("workers did not finish in time; what they held is recovered when the lease is over");
        }
        self.lease.give_up().await;
        self.stop_server.cancel();
        let aborters = [self.server.abort_handle(), self.pages.abort_handle()];
        let close = async { tokio::join!(self.server, self.pages) };
        if tokio::time::timeout(LAST_CALLS, close).await.is_err() {
            // Open streams would keep the servers for ever.
            aborters.iter().for_each(AbortHandle::abort);
        }
        match tokio::time::timeout(LAST_CALLS, self.db.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the database did not close in order"),
            Err(_) => tracing::warn!("the database did not close in time"),
        }
        tracing::info!("stopped");
    }
}

/// The lease, and the task that renews it.
#[derive(Debug)]
struct Kept {
    lease: Arc<Lease>,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

impl Kept {
    async fn give_up(self) {
        self.stop.cancel();
        let _ = self.keeper.await;
        match tokio::time::timeout(LAST_CALLS, self.lease.give_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given up; it ends by itself"),
            Err(_) => tracing::warn!("the lease was not given up in time; it ends by itself"),
        }
    }
}

struct Built {
    api: Parts,
    workers: Vec<Arc<Worker>>,
}

fn build(config: &Config, ground: Ground, stop: &CancellationToken) -> Result<Built, StartError> {
    let Ground { db, clock, key, senders, links, .. } = ground.clone();
    let engine = engine::build(ground, open_transport(config)?, config.mail_connections, config.mail_rate);
    let rehearsals = Rehearsals::new(db.clone(), clock.clone(), key.clone(), engine::casting(&key, &senders, &links));
    let Engine { templates, breaker, bell, newsletters, dispatcher, intake, jobs, looking } = engine;
    let privacy = Privacy::new(db.clone(), clock.clone(), key.clone());
    let watch = WatchSenders::new(db.clone(), clock.clone(), senders.clone());
    let by_themselves: [Arc<dyn Job>; 10] = [
        looking,
        Arc::new(RunBackfills(intake.clone())),
        Arc::new(Recover(Arc::clone(&dispatcher))),
        Arc::new(Expire(Arc::clone(&dispatcher))),
        Arc::new(ForgetRequests::new(db.clone(), clock.clone())),
        Arc::new(ForgetDeliveries(privacy.clone())),
        Arc::new(ForgetEvidence(privacy.clone())),
        Arc::new(PurgeCustomers(privacy.clone())),
        Arc::new(CheckSenders(senders.clone())),
        Arc::new(watch),
    ];
    let jobs = jobs.into_iter().chain(by_themselves.map(|job| (job, Arc::default())));
    let workers: Vec<_> = jobs.map(|(job, bell)| Worker::new(job, bell, clock.clone(), stop.clone())).collect();
    let api = Parts {
        clock: clock.clone(),
        pages: PageTokens::new(key.clone(), clock.clone()),
        customers: Customers::new(db.clone(), clock.clone()),
        events: Events::new(db.clone()),
        links,
        preferences: PreferenceBook::new(db.clone(), clock.clone()),
        suppressions: Suppressions::new(db.clone(), clock.clone(), key.clone()),
        privacy,
        templates,
        campaigns: Campaigns::new(db.clone(), clock.clone(), newsletters),
        rehearsals,
        contacts: Contacts::new(db.clone()),
        inbound: Inbound::new(db.clone(), clock.clone(), key.clone(), intake.clone(), !senders.all_have_return_paths()),
        intake,
        gate: Gate::new(db.clone(), clock.clone(), key, senders.clone(), Arc::clone(&breaker)),
        dispatcher,
        senders: senders.clone(),
        admin: Arc::new(Admin::new(db, clock, replica(), workers.clone(), bell, breaker, senders)),
    };
    Ok(Built { api, workers })
}

/// The pages behind the links in mail, in the name of whoever sends most of it.
fn guests(brand: String, api: &Parts) -> Guests {
    Guests {
        clock: api.clock.clone(),
        links: api.links.clone(),
        customers: api.customers.clone(),
        contacts: api.contacts.clone(),
        preferences: api.preferences.clone(),
        intake: api.intake.clone(),
        inbound: api.inbound.clone(),
        look: Look::new(brand),
    }
}

async fn open_database(config: &Config) -> Result<Database, StartError> {
    let db = Database::connect(&config.database).await?;
    match config.database {
        DatabaseLocation::Sqlite(_) => {
            db.migrate().await?;
            // This process is the only one, so whoever held a lease before is gone.
            let tx = db.begin_write().await?;
            claims::expire_all(&tx).await?;
            database::commit(tx).await?;
        }
        DatabaseLocation::Postgres(_) => match db.pending_migrations().await? {
            0 => {}
            pending => return Err(StartError::PendingMigrations(pending)),
        },
    }
    Ok(db)
}

fn secret_key(config: &Config) -> Result<SecretKey, StartError> {
    if let Some(secret) = &config.secret_key {
        return Ok(SecretKey::from_text(secret));
    }
    let DatabaseLocation::Sqlite(path) = &config.database else {
        return Err(WrongSetting::new("secret_key", "not set", "32 characters or more").into());
    };
    let path = path.with_extension("key");
    let kept = keep_secret(&path);
    kept.map_err(|error| StartError::SecretFile { path: path.display().to_string(), error })
}

fn open_transport(config: &Config) -> Result<Transport, StartError> {
    match &config.mail {
        MailLocation::Folder(path) => match Folder::open(path) {
            Ok(folder) => Ok(Transport::Folder(folder)),
            Err(error) => {
                let found = format!("\"file:{}\" ({error})", path.display());
                Err(WrongSetting::new("mail_url", found, "a folder that can be written, or made").into())
            }
        },
        MailLocation::Smtp(server) => match Smtp::open(server) {
            Ok(smtp) => Ok(Transport::Smtp(smtp)),
            Err(no_tls) => {
                let found = format!("a server that is reached by TLS, but {no_tls}");
                Err(WrongSetting::new("mail_url", found, "one whose certificate can be checked").into())
            }
        },
    }
}

/// Listens where a setting says; answers where that is.
async fn listen(setting: &str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), WrongSetting> {
    let wrong = |error: io::Error| {
        WrongSetting::new(setting, format!("\"{addr}\" ({error})"), "an address of this computer and a free port")
    };
    let listener = TcpListener::bind(addr).await.map_err(wrong)?;
    let addr = listener.local_addr().map_err(wrong)?;
    Ok((listener, addr))
}

fn replica() -> String {
    format!("{}-{}", gethostname::gethostname().to_string_lossy(), std::process::id())
}

/// Reflection with everything in it, the error details and health included: without them clients cannot read errors.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false)
}
