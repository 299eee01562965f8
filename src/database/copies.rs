//! A database for the time being, and rows of another in it.

use std::time::Duration;

use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, Select};

use super::{Database, StoreError, WriteTx, quiet};

/// How many rows a statement inserts, so that their values stay below the number that SQLite takes.
const AT_ONCE: usize = 500;

impl Database {
    /// An empty, migrated database in memory: nothing of it is left once its last handle is gone, however that came about. What is
    /// copied into it may refer to what is not. It has one connection, so nobody reads beside a transaction of their own.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let mut options = quiet("sqlite::memory:");
        options.max_connections(1).min_connections(1).test_before_acquire(false);
        options.idle_timeout(None::<Duration>).max_lifetime(None::<Duration>);
        options.map_sqlx_sqlite_opts(|sqlite| {
            sqlite.foreign_keys(false).statement_cache_capacity(super::STATEMENTS).pragma("temp_store", "MEMORY")
        });
        let only = sea_orm::Database::connect(options).await?;
        let db = Self { reader: only.clone(), writer: only, lock: None };
        db.migrate().await?;
        Ok(db)
    }
}

/// Copies rows into another database, each changed on the way.
pub async fn copy<E: EntityTrait>(
    from: &impl ConnectionTrait,
    rows: Select<E>,
    to: &WriteTx,
    change: impl Fn(E::Model) -> E::Model,
) -> Result<(), StoreError>
where
    E::Model: IntoActiveModel<E::ActiveModel>,
{
    let mut rows = rows.all(from).await?.into_iter().map(|row| change(row).into_active_model()).peekable();
    while rows.peek().is_some() {
        E::insert_many(rows.by_ref().take(AT_ONCE)).exec_without_returning(to).await?;
    }
    Ok(())
}

/// Puts all rows of a table in the place of those of another database.
pub async fn copy_table<E: EntityTrait>(from: &impl ConnectionTrait, to: &WriteTx) -> Result<(), StoreError>
where
    E::Model: IntoActiveModel<E::ActiveModel>,
{
    E::delete_many().exec(to).await?;
    copy(from, E::find(), to, |row| row).await
}
