use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    contacts::claims,
    database::{self, Database, StoreError},
    ids::ClaimToken,
};

/// How often the lease is renewed.
const PERIOD: Duration = Duration::from_secs(2);
/// How soon it is tried again when that failed.
const AGAIN: Duration = Duration::from_millis(250);
/// How long before the lease's end nothing is begun any more: what the clocks and the way to the database may take.
const MARGIN: Duration = Duration::from_secs(2);

/// This process's right to hold contacts. It ends by itself when it is not renewed; then nothing is begun under it, because
/// others may have taken over what it held.
#[derive(Debug)]
pub struct Lease {
    db: Database,
    name: String,
    held: Mutex<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    token: ClaimToken,
    /// Nothing is begun after it; by the clock that runs on while the process is stopped.
    until: Instant,
    /// Since when it was held without a break.
    since: Instant,
}

impl Lease {
    /// Takes a lease for the process called `name`.
    pub async fn take(db: Database, name: String) -> Result<Arc<Self>, StoreError> {
        let now = Instant::now();
        let lease = Self { db, name, held: Mutex::new(Held { token: ClaimToken::generate(), until: now, since: now }) };
        lease.begin().await?;
        Ok(Arc::new(lease))
    }

    /// What contacts are claimed with; none while the lease is not held.
    pub fn token(&self) -> Option<ClaimToken> {
        let held = self.held();
        (Instant::now() < held.until).then_some(held.token)
    }

    /// Whether what was claimed with a token is held still.
    pub fn holds(&self, token: ClaimToken) -> bool {
        self.token() == Some(token)
    }

    /// Whether it was held for so long without a break that others had the time to renew theirs too: after the database was away,
    /// nobody is taken for dead too early.
    pub fn is_steady(&self) -> bool {
        let held = self.held();
        let now = Instant::now();
        !self.db.is_shared() || now < held.until && now.duration_since(held.since) >= claims::LEASE / 2
    }

    /// Renews it until told to stop.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut well = true;
        loop {
            let wait = if well { PERIOD } else { AGAIN };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let renewed = tokio::time::timeout(PERIOD, self.renew()).await;
            let failed = match renewed {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the database did not answer in time".to_owned()),
            };
            match &failed {
                Some(error) if well => tracing::warn!(error, "the lease could not be renewed; trying again"),
                None if !well => tracing::info!("the lease is renewed again"),
                _ => {}
            }
            well = failed.is_none();
        }
    }

    /// Gives it up, after everything that it held was given back.
    pub async fn give_up(&self) -> Result<(), StoreError> {
        let token = self.held().token;
        let tx = self.db.begin_write().await?;
        claims::end(&tx, token).await?;
        database::commit(tx).await
    }

    async fn renew(&self) -> Result<(), StoreError> {
        let (token, asked) = (self.held().token, Instant::now());
        let tx = self.db.begin_write().await?;
        let renewed = claims::renew(&tx, token).await?;
        database::commit(tx).await?;
        if renewed {
            self.extend(asked);
            return Ok(());
        }
        tracing::warn!("the lease was lost, and others took over what it held");
        self.begin().await
    }

    async fn begin(&self) -> Result<(), StoreError> {
        let (token, asked) = (ClaimToken::generate(), Instant::now());
        let tx = self.db.begin_write().await?;
        claims::register(&tx, token, &self.name).await?;
        database::commit(tx).await?;
        *self.lock() = Held { token, until: asked, since: asked };
        self.extend(asked);
        Ok(())
    }

    fn extend(&self, asked: Instant) {
        let mut held = self.lock();
        if held.until < Instant::now() {
            held.since = asked;
        }
        held.until = asked + claims::LEASE - MARGIN;
    }

    fn held(&self) -> Held {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
