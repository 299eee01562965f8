use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::clock::Timestamp;

/// Wakes one worker. Ringing is a hint: the record says what there is to do.
#[derive(Debug)]
pub struct Bell {
    rung: Notify,
    /// When its worker wakes by itself, in microseconds; until that is known, never.
    expected: AtomicI64,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: Notify::new(), expected: AtomicI64::new(i64::MAX) }
    }
}

impl Bell {
    /// Wakes the worker now, or as soon as it has finished what it is doing.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// Wakes the worker if something is due before it would wake by itself.
    pub fn ring_for(&self, due: Timestamp) {
        if due.timestamp_micros() < self.expected.load(Ordering::Acquire) {
            self.ring();
        }
    }

    pub(super) fn expect(&self, wake: Option<Timestamp>) {
        self.expected.store(wake.map_or(i64::MAX, |wake| wake.timestamp_micros()), Ordering::Release);
    }

    /// Waits until it rings.
    pub async fn wait(&self) {
        self.rung.notified().await;
    }
}
