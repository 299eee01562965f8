//! For tests: entities say what migrations made, on both databases.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, EntityName, EntityTrait, Schema, Statement};
use tempfile::TempDir;

use super::Database;
use crate::{config::DatabaseLocation, ids};

/// Migrated databases to compare with.
pub struct Migrated {
    _folder: TempDir,
    databases: Vec<Database>,
    /// The server and the database of our own on it.
    server: Option<(DatabaseConnection, String)>,
}

/// An SQLite file and, where `RAPPORT_TEST_POSTGRES` names a server, a database on it.
pub async fn migrated() -> Migrated {
    let folder = tempfile::tempdir().unwrap();
    let mut databases = vec![Database::connect(&DatabaseLocation::Sqlite(folder.path().join("a.db"))).await.unwrap()];
    let mut server = None;
    if let Ok(url) = std::env::var("RAPPORT_TEST_POSTGRES") {
        let name =
            format!("rapport_drift_{}", ids::encode(u128::from_be_bytes(ids::random_key()[..16].try_into().unwrap())));
        let admin = sea_orm::Database::connect(&url).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        let (place, _) = url.rsplit_once('/').unwrap();
        databases.push(Database::connect(&DatabaseLocation::Postgres(format!("{place}/{name}"))).await.unwrap());
        server = Some((admin, name));
    }
    for database in &databases {
        database.migrate().await.unwrap();
    }
    Migrated { _folder: folder, databases, server }
}

impl Migrated {
    /// Makes a table of what an entity says beside the migrated one, and compares their columns.
    pub async fn check<E: EntityTrait + EntityName>(&self, table: E) {
        for database in &self.databases {
            compare(database, table).await;
        }
    }

    /// Leaves nothing behind.
    pub async fn end(self) {
        for database in self.databases {
            database.close().await.unwrap();
        }
        if let Some((server, name)) = self.server {
            server.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
        }
    }
}

async fn compare<E: EntityTrait + EntityName>(database: &Database, table: E) {
    let db = database.writer();
    let name = table.table_name();
    let twin = format!("drift_{name}");
    let mut said = Schema::new(db.get_database_backend()).create_table_from_entity(table);
    db.execute(said.table(twin.clone())).await.unwrap();
    let (said, made) = (columns(database, &twin).await, columns(database, name).await);
    assert!(!made.is_empty(), "there is no table {name}");
    assert_eq!(said, made, "{name} in {:?}", db.get_database_backend());
}

/// Name, type, and whether it may be null, of each column, by name.
async fn columns(database: &Database, table: &str) -> Vec<(String, String, bool)> {
    let db = database.writer();
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => format!(
            "SELECT name, type, CASE WHEN \"notnull\" = 0 AND pk = 0 THEN 1 ELSE 0 END AS nullable
            FROM pragma_table_info('{table}') ORDER BY name"
        ),
        _ => format!(
            "SELECT column_name::text AS name, data_type::text AS type,
                CASE WHEN is_nullable = 'YES' THEN 1 ELSE 0 END AS nullable
            FROM information_schema.columns WHERE table_name = '{table}' ORDER BY column_name"
        ),
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let column = |row: sea_orm::QueryResult| {
        let kind: String = row.try_get("", "type").unwrap();
        let nullable: i32 = row.try_get("", "nullable").unwrap();
        (row.try_get("", "name").unwrap(), kind.to_lowercase(), nullable == 1)
    };
    rows.into_iter().map(column).collect()
}
