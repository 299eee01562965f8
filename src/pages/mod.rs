//! The HTTP side: probes for whoever runs the process, metrics for whoever watches it.

mod metrics;
mod probes;

use std::{io, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::metrics::Gauges;
use crate::{admin::Admin, metrics::Metrics};

/// What the pages show.
#[derive(Debug)]
pub struct Pages {
    admin: Arc<Admin>,
    metrics: Metrics,
    stopping: CancellationToken,
    gauges: Gauges,
}

impl Pages {
    /// Pages about a service, which is stopping once `stopping` is cancelled.
    pub fn new(admin: Arc<Admin>, metrics: Metrics, stopping: CancellationToken) -> Self {
        Self { admin, metrics, stopping, gauges: Gauges::default() }
    }

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        axum::serve(listener, self.routes()).with_graceful_shutdown(stop.cancelled_owned()).await
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/livez", get(probes::live))
            .route("/readyz", get(probes::ready))
            .route("/metrics", get(metrics::page))
            .fallback(async || (StatusCode::NOT_FOUND, "There is no such page.\n"))
            .with_state(Arc::new(self))
    }
}
