//! Carries out what is due: pick, render, decide, hand over, settle; and ad-hoc messages and previews, which go the same way.
//!
//! The **conductor** looks which queues have something due, lets lanes and campaigns take turns, and starts **lots** as long as
//! there is room for open intents. A lot
//!
//! 1. is **picked** and **prepared**: each message is rendered. On Postgres its rows are locked until it is decided, and those that
//!    others have locked are left out; on SQLite, where this process is alone, nothing is locked yet. What is picked still
//!    waits and can be called off;
//! 2. is **decided**: with the customers' rows locked the gate judges each contact, and those that go out are **claimed** under the
//!    lease of this process as their intents are written. Whatever a customer said before that commit counts;
//! 3. is **handed over** to the transport, outside any transaction: each letter waits for its place and its moment, and is given
//!    back if the lease is lost or the process stops before it has begun;
//! 4. is **settled** as the answers come: every outcome is written, guarded by the claim, and what comes next is planned.
//!
//! What may go on at once: `capacity`; which letter is announced with the one before it: `heir`; how fast: `rates`; which receivers
//! wait: `domains`; when the transport is left alone: [`Breaker`]; who may hold contacts: [`Lease`]; what is found again:
//! [`Recover`].

mod capacity;
mod compose;
mod conductor;
mod decide;
mod domains;
mod expire;
mod footer;
mod forget;
mod hand_over;
mod hands;
mod heir;
mod lease;
mod lot;
mod newsletters;
mod prepare;
mod preview;
mod put_away;
mod rates;
mod recover;
mod schedule;
mod score;
mod settle;
mod try_out;
mod turns;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::{
    capacity::Capacity, compose::Desk, domains::Domains, hands::Hands, heir::Caution, rates::Rate, score::Score,
    turns::Turns,
};
pub use self::{
    expire::Expire,
    forget::ForgetRequests,
    lease::Lease,
    newsletters::RunNewsletters,
    preview::{Preview, PreviewSource},
    recover::Recover,
    schedule::{Due, NewMessage, Planned},
    try_out::TestMessage,
};
use crate::{
    campaigns::{Plans, enrollments::Advanced},
    clock::Clock,
    config::TestRecipients,
    database::{Database, StoreError},
    delivery::{Breaker, Transport},
    links::Links,
    metrics::Metrics,
    senders::Senders,
    templates::Templates,
    tokens::SecretKey,
    workers::{Bell, Done, Job},
};

/// How many contacts a lot has at most.
const LOT: usize = 56;

/// What a dispatcher is made of.
#[derive(Debug)]
pub struct Equipment {
    /// The record.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// What messages say.
    pub templates: Arc<Templates>,
    /// What comes after a step.
    pub plans: Plans,
    /// Where letters go.
    pub transport: Transport,
    /// Whether letters go there.
    pub breaker: Arc<Breaker>,
    /// What is counted.
    pub metrics: Metrics,
    /// How many letters the transport takes at once.
    pub width: usize,
    /// How many letters a second the transport takes from all processes; none = as many as it can.
    pub rate: Option<NonZeroU32>,
    /// Who sends.
    pub senders: Senders,
    /// Who gets messages that are tried out.
    pub test_recipients: TestRecipients,
    /// Makes the links in mail.
    pub links: Links,
    /// Makes Message-IDs and return paths.
    pub key: SecretKey,
    /// This process.
    pub replica: String,
    /// This process's right to hold contacts.
    pub lease: Arc<Lease>,
    /// Wakes this worker.
    pub bell: Arc<Bell>,
    /// Wakes whoever brings enrollments on.
    pub journeys: Arc<Bell>,
}

/// Sends what is due.
#[derive(Debug)]
pub struct Dispatcher {
    of: Equipment,
    rate: Option<Rate>,
    intents: Capacity,
    width: Capacity,
    caution: Caution,
    /// How many lots are decided at once.
    deciders: usize,
    domains: Domains,
    desk: Desk,
    hands: Hands,
    score: tokio::sync::Mutex<Score>,
}

impl Dispatcher {
    /// A dispatcher that has sent nothing yet.
    pub fn new(of: Equipment) -> Arc<Self> {
        let per_second = |count| Rate { name: "transport".to_owned(), count, per: Duration::from_secs(1) };
        Arc::new(Self {
            rate: of.rate.map(per_second),
            intents: Capacity::of_intents(),
            width: Capacity::of_transport(of.width),
            caution: Caution::default(),
            // A file has one writer, and who keeps to a rate need not hurry; on a server one lot is decided while another waits
            // for its commit.
            deciders: if of.db.is_shared() && of.rate.is_none() { 2 } else { 1 },
            domains: Domains::new(of.width),
            desk: Desk::new(),
            hands: Hands::default(),
            score: tokio::sync::Mutex::default(),
            of,
        })
    }

    /// Has it look again.
    pub fn ring(&self) {
        self.of.bell.ring();
    }

    fn ring_for(&self, next: &Advanced) {
        next.contacts.iter().for_each(|contact| self.of.bell.ring_for(contact.due_time));
        next.timer.iter().for_each(|due| self.of.journeys.ring_for(*due));
    }
}

/// A dispatcher as a job.
#[derive(Debug)]
pub struct Dispatch(pub Arc<Dispatcher>);

impl Job for Dispatch {
    fn id(&self) -> &'static str {
        "dispatch"
    }

    fn cron(&self) -> &'static str {
        "*/5 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (tally, next_time) = self.0.make_pass(stop).await?;
            Ok(Done { summary: tally.to_string(), next_time })
        })
    }
}
