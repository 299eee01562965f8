//! What changes the plans of waiting contacts, and settles those in doubt: each a guarded update in the transaction of the caller.

mod store;

pub use self::store::{
    CallOff, ask_again, ask_again_after_pause, ask_again_when_ready, cancel, cancel_all, customers_of, first_ids,
    lock_waiting, replan, replan_all, reschedule, resolve, waiting_by_wall_clock,
};
