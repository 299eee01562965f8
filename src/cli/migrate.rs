use super::CommandError;
use crate::{config::Config, database::Database};

/// Applies the migrations that are pending.
pub async fn run(config: Config) -> Result<(), CommandError> {
    let db = Database::connect(&config.database).await?;
    let applied = db.migrate().await?;
    tracing::info!(applied, schema = db.schema_version().await?, "migrated");
    db.close().await?;
    Ok(())
}
