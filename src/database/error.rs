use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

/// What went wrong in the database, as far as somebody can act on it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A key is taken; the operation knows which one it tried.
    #[error("a unique key is taken")]
    Taken(#[source] DbErr),
    /// Two transactions got in each other's way; this one had no effect and can be repeated.
    #[error("two transactions got in each other's way")]
    Conflict(#[source] DbErr),
    /// Somebody else did the same between a look and a write; this transaction had no effect and can be repeated.
    #[error("somebody else did the same at the same time")]
    Raced,
    /// The database does not answer, or not in time.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] DbErr),
    /// A row holds what this program never wrote.
    #[error("{table} holds a row that makes no sense: {detail}")]
    Corrupt {
        /// In which table.
        table: &'static str,
        /// What is wrong with it; never the value of a personal column.
        detail: String,
    },
    /// Anything else.
    #[error("the database refused: {0}")]
    Other(#[source] DbErr),
}

impl StoreError {
    /// Whether the same transaction may succeed when it is repeated after a while.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Raced | Self::Unavailable(_))
    }
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
            return Self::Taken(error);
        }
        match &error {
            DbErr::ConnectionAcquire(_) => Self::Unavailable(error),
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => match kind(cause) {
                Kind::Conflict => Self::Conflict(error),
                Kind::Unavailable => Self::Unavailable(error),
                Kind::Other => Self::Other(error),
            },
            _ => Self::Other(error),
        }
    }
}

enum Kind {
    Conflict,
    Unavailable,
    Other,
}

/// Postgres: 40001 serialization failure, 40P01 deadlock; classes 08, 53 and 57 are connection, resources, shutdown.
/// SQLite: result code 5 is BUSY, 6 LOCKED, 10 IOERR, 13 FULL, 14 CANTOPEN; extended codes carry them in their low byte.
fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => Kind::Unavailable,
        sqlx::Error::Database(refusal) => match refusal.code().as_deref() {
            Some("40001" | "40P01") => Kind::Conflict,
            Some(state) if state.len() == 5 && ["08", "53", "57"].contains(&&state[..2]) => Kind::Unavailable,
            // Every other one of Postgres, whatever its digits would mean to SQLite.
            Some(state) if state.len() == 5 => Kind::Other,
            Some(code) => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(5 | 6) => Kind::Conflict,
                Ok(10 | 13 | 14) => Kind::Unavailable,
                _ => Kind::Other,
            },
            None => Kind::Other,
        },
        _ => Kind::Other,
    }
}
