//! Faults: real processes over a real database and real sockets, killed, frozen, cut off, and refused.
//!
//! `cargo test --test faults` runs each story for seconds; `cargo test --test faults -- --ignored --test-threads=1` runs them
//! long: 100,000 contacts and 100 kills, twenty restarts of Postgres, 10,000 withdrawals, and waiting out a real back-off.
//! `RAPPORT_TEST_POSTGRES` names a server on which databases may be made; restarts of Postgres are of a server of their own,
//! where its programs are installed. A story prints its seed, and `RAPPORT_SEED` plays it again.
//!
//! `sink` and `proxy` are the outer world, `fleet` and `postgres` our side of it, `load` what is to be done, `reconcile` the judge.
//!
//! That the judge can see is tested beside it; that the kill test can fail, by `.ci/run --long`, which takes the fence out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on ends there")]
#![allow(clippy::print_stdout, reason = "a story prints its seed and its table")]
#![allow(clippy::disallowed_methods, reason = "faults happen in real time")]

mod fleet;
mod imports;
mod load;
mod postgres;
mod proxy;
mod reconcile;
mod seed;
mod sink;
mod stage;

mod backfills;
mod database;
mod drain;
mod kill;
mod newsletters;
mod outer_world;
mod second;
mod smtp;
mod withdrawals;
mod zombie;
