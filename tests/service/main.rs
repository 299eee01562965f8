//! Stories about the whole service: a real one on a free port, over a real database, writing real mail, on a clock that the
//! story moves. On SQLite, or on Postgres where `RAPPORT_TEST_POSTGRES` names a server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on ends there")]

mod harness;

mod addresses;
mod admin;
mod audiences;
mod backfill;
mod batches;
mod breakers;
mod campaigns;
mod caps;
mod conditions;
mod contacts;
mod customers;
mod engine;
mod erasure;
mod errors;
mod events;
mod exits;
mod experiments;
mod export;
mod files;
mod filters;
mod flows;
mod happenings;
mod imports;
mod inbound;
mod journeys;
mod ledger;
mod lists;
mod mail;
mod newsletters;
mod pages;
mod pauses;
mod pitfalls;

mod policy;
mod preferences;
mod previews;
mod probes;
mod readiness;
mod rehearsal;
mod resolving;
mod retention;
mod schema;
mod senders;
mod start;
mod state_machine;
mod suppressions;
mod templates;
mod traces;
mod tracking;
mod triggers;
mod zone;
