//! The HTTP side: probes for whoever runs the process, metrics for whoever watches it, and the pages behind the links in mail.

mod confirm;
mod doors;
mod guests;
mod look;
mod metrics;
mod preferences;
mod probes;
mod providers;
mod tracking;
mod unsubscribe;

use std::{io, sync::Arc};

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::metrics::Gauges;
pub use self::{guests::Guests, look::Look, providers::Providers};
use crate::{admin::Admin, metrics::Metrics};

/// More than any form of these pages, in octets.
const LARGEST_FORM: usize = 64 * 1024;

/// What the pages show.
#[derive(Debug)]
pub struct Pages {
    admin: Arc<Admin>,
    metrics: Metrics,
    stopping: CancellationToken,
    gauges: Gauges,
    guests: Guests,
}

impl Pages {
    /// Pages about a service, which is stopping once `stopping` is cancelled.
    pub fn new(admin: Arc<Admin>, metrics: Metrics, stopping: CancellationToken, guests: Guests) -> Self {
        Self { admin, metrics, stopping, gauges: Gauges::default(), guests }
    }

    /// Serves, with what providers post, until `stop` is cancelled.
    pub async fn serve(self, providers: Providers, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        doors::open(listener, self.routes().merge(providers.routes()), stop).await;
        Ok(())
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/livez", get(probes::live))
            .route("/readyz", get(probes::ready))
            .route("/metrics", get(metrics::page))
            .route("/u/{token}", get(unsubscribe::ask).post(unsubscribe::act))
            .route("/p/{token}", get(preferences::ask).post(preferences::act))
            .route("/c/{token}", get(confirm::ask).post(confirm::act))
            .route("/o/{token}", get(tracking::picture).head(tracking::glance))
            .route("/r/{token}", get(tracking::follow).head(tracking::peek))
            .layer(DefaultBodyLimit::max(LARGEST_FORM))
            .fallback(async || (StatusCode::NOT_FOUND, "There is no such page.\n"))
            .with_state(Arc::new(self))
    }
}
