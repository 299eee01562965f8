//! Connections and transactions on both databases, and what can go wrong with them.
//!
//! On SQLite there is one writing connection, and every writing transaction begins IMMEDIATE: it is alone from its first
//! statement on, so a row lock has nothing to do there. On Postgres the same code takes row locks. Code asks which database it
//! is for three things only: leases, to save a query that would only lock, and to insert many rows at a time.

mod copies;
#[cfg(test)]
mod drift;
mod error;
mod ids;
mod rows;
mod text_enum;

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    sync::Arc,
    time::Duration,
};

use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
    sea_query::{Expr, SimpleExpr},
    sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous},
};
use sea_orm_migration::{MigratorTrait, SchemaManager};

pub use self::copies::{copy, copy_table};
#[cfg(test)]
pub(crate) use self::drift::migrated;
pub use self::error::StoreError;
pub use self::rows::insert_rows;
pub use self::text_enum::UnknownText;
pub(crate) use self::text_enum::text_enum;
use crate::{
    clock,
    config::{DatabaseLocation, WrongSetting},
    migrations::Migrator,
};

/// How many prepared statements a connection keeps: lists of keys make one for each length.
const STATEMENTS: usize = 500;

/// Where queries go: the pool for reading, or an open transaction.
pub use sea_orm::ConnectionTrait as Connection;

/// An open writing transaction; dropping it without [`commit`] takes everything back.
pub type WriteTx = DatabaseTransaction;

/// What was removed of a customer: how many rows of which table.
pub type Erased = Vec<(&'static str, u64)>;

/// The record: a pool for reading and, on SQLite, one connection for writing.
#[derive(Debug, Clone)]
pub struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    /// Held by the only process that may use an SQLite file.
    lock: Option<Arc<File>>,
}

impl Database {
    /// Opens the SQLite file, which need not exist, or connects to the server.
    pub async fn connect(location: &DatabaseLocation) -> Result<Self, WrongSetting> {
        match location {
            DatabaseLocation::Sqlite(path) => Self::open_file(path).await,
            DatabaseLocation::Postgres(url) => Self::connect_server(url).await,
        }
    }

    async fn open_file(path: &Path) -> Result<Self, WrongSetting> {
        let wrong = |error: sea_orm::DbErr| {
            let found = format!("\"sqlite://{}\" ({})", path.display(), StoreError::from(error));
            WrongSetting::new("database_url", found, "a file that can be read and written, in a folder that exists")
        };
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let options = |connections: u32, read_only: bool| {
            let mut options = quiet(&url);
            // A file does not go away as a server does, so it is not asked for a sign of life before every query.
            options.max_connections(connections).min_connections(1).test_before_acquire(false);
            options.map_sqlx_sqlite_opts(move |sqlite| {
                let sqlite = sqlite
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(Duration::from_secs(5))
                    .statement_cache_capacity(STATEMENTS)
                    .pragma("secure_delete", "ON");
                if read_only {
                    sqlite.pragma("query_only", "ON")
                } else {
                    // What each transaction touches again stays in memory, and is written back from the log once, not after
                    // every few.
                    sqlite.pragma("cache_size", "-16384").pragma("wal_autocheckpoint", "8000")
                }
            });
            options
        };
        let lock = lock_file(path)?;
        let writer = sea_orm::Database::connect(options(1, false)).await.map_err(wrong)?;
        let reader = sea_orm::Database::connect(options(4, true)).await.map_err(wrong)?;
        Ok(Self { reader, writer, lock: Some(Arc::new(lock)) })
    }

    async fn connect_server(url: &str) -> Result<Self, WrongSetting> {
        let mut options = quiet(url);
        options.max_connections(20).min_connections(2).test_before_acquire_if_idle_for(Duration::from_secs(5));
        options.map_sqlx_postgres_opts(|postgres| {
            postgres.statement_cache_capacity(STATEMENTS).options([
                // A process that is stopped in the middle of a transaction must not keep its locks.
                ("idle_in_transaction_session_timeout", "5s"),
                // A plan that was made while a table was empty would go on scanning it when it is full.
                ("plan_cache_mode", "force_custom_plan"),
            ])
        });
        let pool = sea_orm::Database::connect(options).await.map_err(|error| {
            // The URL may hold a password, so it is not repeated.
            let found = format!("a URL that does not connect ({})", StoreError::from(error));
            WrongSetting::new("database_url", found, "the URL of a running Postgres server, version 15 or later")
        })?;
        Ok(Self { reader: pool.clone(), writer: pool, lock: None })
    }

    /// Whether other processes use this database too.
    pub fn is_shared(&self) -> bool {
        self.writer.get_database_backend() != DbBackend::Sqlite
    }

    /// For single queries that change nothing.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For a single statement that is a transaction by itself.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// Begins a transaction that may write.
    pub async fn begin_write(&self) -> Result<WriteTx, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.writer.begin_with_options(options).await?)
    }

    /// Clears away what erased rows left ([`note_leftovers`]) in an SQLite file and its log: deleted content is overwritten there, but
    /// not the copies that stay behind when pages are split and joined. False where a reader is in the way. A server does its own
    /// housekeeping.
    pub async fn clear_leftovers(&self) -> Result<bool, StoreError> {
        if self.is_shared() || self.pragma("user_version").await? == 0 {
            return Ok(true);
        }
        self.writer.execute_unprepared("VACUUM").await?;
        let is_clear = self.pragma("wal_checkpoint(TRUNCATE)").await? == 0;
        if is_clear {
            self.writer.execute_unprepared("PRAGMA user_version = 0").await?;
        }
        Ok(is_clear)
    }

    async fn pragma(&self, name: &str) -> Result<i32, StoreError> {
        let statement = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"));
        let row = self.writer.query_one_raw(statement).await?;
        Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.reader.execute_unprepared("SELECT 1").await?;
        Ok(())
    }

    /// "sqlite 3.51.0" or "postgres 15.20".
    pub async fn version(&self) -> Result<String, StoreError> {
        let (name, sql) = match self.reader.get_database_backend() {
            DbBackend::Sqlite => ("sqlite", "SELECT sqlite_version() AS version"),
            _ => ("postgres", "SELECT split_part(current_setting('server_version'), ' ', 1) AS version"),
        };
        let statement = Statement::from_string(self.reader.get_database_backend(), sql);
        let version: String = match self.reader.query_one_raw(statement).await? {
            Some(row) => row.try_get("", "version")?,
            None => String::new(),
        };
        Ok(format!("{name} {version}"))
    }

    /// Applies the migrations that are pending; answers how many.
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        let pending = self.pending_migrations().await?;
        Migrator::up(&self.writer, None).await?;
        Ok(pending)
    }

    /// How many migrations of this program are not applied yet. Those of a later one do not matter: they only add.
    pub async fn pending_migrations(&self) -> Result<usize, StoreError> {
        let applied = self.applied_migrations().await?;
        let migrations = Migrator::migrations();
        let pending = migrations.iter().filter(|migration| !applied.iter().any(|name| name == migration.name()));
        Ok(pending.count())
    }

    /// The migration that was applied last; empty before the first.
    pub async fn schema_version(&self) -> Result<String, StoreError> {
        Ok(self.applied_migrations().await?.pop().unwrap_or_default())
    }

    /// In order.
    async fn applied_migrations(&self) -> Result<Vec<String>, StoreError> {
        if !SchemaManager::new(&self.reader).has_table("seaql_migrations").await? {
            return Ok(Vec::new());
        }
        let sql = "SELECT version FROM seaql_migrations ORDER BY version";
        let statement = Statement::from_string(self.reader.get_database_backend(), sql);
        let rows = self.reader.query_all_raw(statement).await?;
        rows.iter().map(|row| Ok(row.try_get("", "version")?)).collect()
    }

    /// Waits for what is running and closes every connection.
    pub async fn close(self) -> Result<(), StoreError> {
        self.reader.close().await?;
        // On Postgres both are one pool, and closing it again is harmless.
        self.writer.close().await?;
        // Copies of this handle may live on; the next process need not wait for them.
        if let Some(lock) = self.lock {
            let _ = lock.unlock();
        }
        Ok(())
    }
}

/// Keeps an SQLite file from other processes, who would take each other's leases for those of the dead.
fn lock_file(path: &Path) -> Result<File, WrongSetting> {
    let lock = path.with_extension("lock");
    let wrong = |found: &str| {
        let found = format!("\"sqlite://{}\" ({found})", path.display());
        let allowed = "a file of its own for each process, in a folder that exists; any number of them share Postgres";
        WrongSetting::new("database_url", found, allowed)
    };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
    let file = file.map_err(|error| wrong(&error.to_string()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(wrong("which another process has open")),
        Err(TryLockError::Error(error)) => Err(wrong(&error.to_string())),
    }
}

/// What time it is for leases: the server's clock where replicas share one, else this computer's.
pub fn lease_now(tx: &impl ConnectionTrait) -> SimpleExpr {
    match tx.get_database_backend() {
        DbBackend::Sqlite => Expr::val(clock::real_now()),
        _ => Expr::cust("now()"),
    }
}

/// When a lease that is taken now ends.
pub fn lease_end(tx: &impl ConnectionTrait, length: Duration) -> SimpleExpr {
    match tx.get_database_backend() {
        DbBackend::Sqlite => Expr::val(clock::real_now() + length),
        _ => Expr::cust(format!("now() + interval '{} milliseconds'", length.as_millis())),
    }
}

/// What time it is for leases, in microseconds since 1970.
pub fn lease_micros(tx: &impl ConnectionTrait) -> SimpleExpr {
    match tx.get_database_backend() {
        DbBackend::Sqlite => Expr::val(clock::real_now().timestamp_micros()),
        _ => Expr::cust("(extract(epoch FROM now()) * 1000000)::bigint"),
    }
}

/// Notes that a transaction removes what nobody may find any more, so that [`Database::clear_leftovers`] has something to do, whatever
/// happens in between. The number is the application's own to use.
pub async fn note_leftovers(tx: &WriteTx) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        tx.execute_unprepared("PRAGMA user_version = 1").await?;
    }
    Ok(())
}

/// Makes a transaction's changes durable and visible, all at once.
pub async fn commit(tx: WriteTx) -> Result<(), StoreError> {
    Ok(tx.commit().await?)
}

/// Takes a transaction's changes back; what `validate_only` does after every check has passed.
pub async fn rollback(tx: WriteTx) -> Result<(), StoreError> {
    Ok(tx.rollback().await?)
}

fn quiet(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .connect_timeout(Duration::from_secs(5))
        .acquire_timeout(Duration::from_secs(5));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_cleared_holds_nothing_of_what_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cleared.db");
        let db = Database::connect(&DatabaseLocation::Sqlite(path.clone())).await.unwrap();
        let tx = db.begin_write().await.unwrap();
        tx.execute_unprepared("CREATE TABLE secrets (secret text PRIMARY KEY)").await.unwrap();
        for number in 0..3_000 {
            let insert = format!("INSERT INTO secrets VALUES ('{:04} nobody may know')", number * 7_919 % 10_000);
            tx.execute_unprepared(&insert).await.unwrap();
        }
        commit(tx).await.unwrap();
        let tx = db.begin_write().await.unwrap();
        tx.execute_unprepared("DELETE FROM secrets").await.unwrap();
        note_leftovers(&tx).await.unwrap();
        commit(tx).await.unwrap();
        let holds = |suffix: &str| {
            let bytes = std::fs::read(format!("{}{suffix}", path.display())).unwrap();
            memchr::memmem::find(&bytes, b"nobody may know").is_some()
        };
        assert!(holds("-wal"), "there is nothing to clear");
        assert!(db.clear_leftovers().await.unwrap());
        assert!(!holds("") && !holds("-wal"));
        assert_eq!(db.pragma("user_version").await.unwrap(), 0);
        db.close().await.unwrap();
    }
}
