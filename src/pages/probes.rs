use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::StatusCode};
use tokio_util::sync::CancellationToken;

use super::Pages;
use crate::admin::Admin;

/// How long the database may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process is alive, whatever else is wrong: restarting it would mend nothing.
pub async fn live() -> &'static str {
    "Alive.\n"
}

/// Whether calls make sense now, and if not, why.
pub async fn ready(State(pages): State<Arc<Pages>>) -> (StatusCode, String) {
    match obstacle(&pages.admin, &pages.stopping).await {
        None => (StatusCode::OK, "Ready.\n".to_owned()),
        Some(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")),
    }
}

async fn obstacle(admin: &Admin, stopping: &CancellationToken) -> Option<String> {
    if stopping.is_cancelled() {
        return Some("The service is stopping.".to_owned());
    }
    match tokio::time::timeout(PATIENCE, admin.pending_migrations()).await {
        Ok(Ok(0)) => None,
        Ok(Ok(pending)) => Some(format!("Migrations are pending: {pending}.")),
        Ok(Err(_)) | Err(_) => Some("The database does not answer.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        config::{Config, DatabaseLocation, Settings},
        database::Database,
        senders::Senders,
    };

    #[tokio::test]
    async fn a_service_is_ready_when_it_can_work_and_until_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        let db = Database::connect(&DatabaseLocation::Sqlite(folder.path().join("a.db"))).await.unwrap();
        let Ok(config) = Config::from_settings(&Settings::default()) else { panic!("the defaults are refused") };
        let senders = Senders::open(&config, Clock::system()).unwrap();
        let (nobody, bell, breaker) = (Vec::new(), Arc::default(), Arc::default());
        let admin = Admin::new(db.clone(), Clock::system(), "here-1".to_owned(), nobody, bell, breaker, senders);
        let stopping = CancellationToken::new();
        let fresh = obstacle(&admin, &stopping).await;
        assert!(fresh.as_deref().is_some_and(|sentence| sentence.starts_with("Migrations are pending")), "{fresh:?}");
        db.migrate().await.unwrap();
        assert_eq!(obstacle(&admin, &stopping).await, None);
        stopping.cancel();
        assert_eq!(obstacle(&admin, &stopping).await.as_deref(), Some("The service is stopping."));
        db.close().await.unwrap();
        assert_eq!(obstacle(&admin, &CancellationToken::new()).await.as_deref(), Some("The database does not answer."));
    }
}
