//! Workers and the bells that wake them.
//!
//! tokio-cron-scheduler rings bells and does nothing else. Each worker is a loop of its own: it waits for its bell, for the next
//! moment at which something is due, or for a fallback timer that works even if no bell ever rings, and then makes one pass. A
//! worker never overlaps itself, and a pass that is run by hand waits for the one that is under way.

mod bell;
mod bells;
mod worker;

pub use self::{
    bell::Bell,
    bells::{BellError, Bells},
    worker::{Done, Job, Report, Worker},
};
