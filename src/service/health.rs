use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{DISPATCHER, PULSE};
use crate::{api, database::Database, workers::Worker};

/// What the health service says of everything that is served.
pub async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for name in api::SERVICES.into_iter().chain(["", DISPATCHER]) {
        health.set_service_status(name, status).await;
    }
}

/// Asks the database and the dispatcher for a sign of life, and says what it hears.
pub async fn pulse(health: HealthReporter, db: Database, workers: Vec<Arc<Worker>>, stop: CancellationToken) {
    let mut serving = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PULSE) => {}
        }
        let alive = matches!(tokio::time::timeout(PULSE, db.ping()).await, Ok(Ok(())));
        if alive != serving {
            tracing::warn!(alive, "the database changed its state");
            let status = if alive { ServingStatus::Serving } else { ServingStatus::NotServing };
            set_health(&health, status).await;
            serving = alive;
        }
        let dispatching = alive && workers.iter().all(|worker| worker.report().failures_in_a_row < 3);
        let status = if dispatching { ServingStatus::Serving } else { ServingStatus::NotServing };
        health.set_service_status(DISPATCHER, status).await;
    }
}
