use std::fmt;

use super::Fault;

/// The etag of a row that has changed so many times.
pub fn etag(revision: i32) -> String {
    format!("r{revision}")
}

/// Refuses when the caller has seen another state. An empty etag matches every state.
pub fn check_etag(given: &str, revision: i32, subject: impl fmt::Display) -> Result<(), Fault> {
    if given.is_empty() || given == etag(revision) { Ok(()) } else { Err(Fault::etag_mismatch(subject)) }
}
