//! Rapport follows customers up: it keeps customers, their communication preferences and follow-up campaigns, and its
//! scheduler fires every due contact by itself. Other services drive it over gRPC.
//!
//! The modules, from the top down; each imports only from rows below its own, and `tests/architecture.rs` holds it to that:
//!
//! | row | modules |
//! | --- | --- |
//! | commands | `cli` |
//! | composition root | `service` |
//! | adapters | `api`, `pages` |
//! | across all parts | `privacy`, `admin`, `inbound`, `rehearsal` |
//! | what changes plans, what carries them out | `intake`, `dispatch` |
//! | may this contact go out now? | `gate` |
//! | plans and the customers inside them | `campaigns` |
//! | what customers want | `preferences` |
//! | who they are, what happened, who writes to them | `customers`, `events`, `senders` |
//! | planned messages, their texts | `contacts`, `templates` |
//! | foundations | `filter`, `calendar`, `workers`, `rpc` |
//! | mail; its channels are columns | `delivery` |
//! | links to the pages | `links` |
//! | the record | `database` |
//! | ground | `migrations`, `tokens`, `split`, `ids`, `clock`, `config`, `telemetry`, `metrics`, `share` |

pub mod admin;
pub mod api;
pub mod calendar;
pub mod campaigns;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod customers;
pub mod database;
pub mod delivery;
pub mod dispatch;
pub mod events;
pub mod filter;
pub mod gate;
pub mod ids;
pub mod inbound;
pub mod intake;
pub mod links;
pub mod metrics;
#[path = "../migrations/mod.rs"]
pub mod migrations;
pub mod pages;
pub mod preferences;
pub mod privacy;
pub mod rehearsal;
pub mod rpc;
pub mod senders;
pub mod service;
pub mod share;
pub mod split;
pub mod telemetry;
pub mod templates;
pub mod tokens;
pub mod workers;
