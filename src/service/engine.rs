//! What acts on what happens and on time: put together in one way for the service and for rehearsals.

use std::{num::NonZeroU32, sync::Arc};

use super::replica;
use crate::{
    campaigns::Plans,
    clock::Clock,
    config::{DEFAULT_MAIL_CONNECTIONS, TestRecipients},
    database::Database,
    delivery::{Breaker, Transport},
    dispatch::{Dispatch, Dispatcher, Equipment, Lease, RunNewsletters},
    intake::{AdvanceEnrollments, Intake, ScanTriggers},
    links::Links,
    metrics::Metrics,
    rehearsal::{self, Actors, Casting},
    senders::Senders,
    templates::Templates,
    tokens::SecretKey,
    workers::{Bell, Job},
};

/// What every part stands on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub db: Database,
    pub clock: Clock,
    pub key: SecretKey,
    pub senders: Senders,
    pub test_recipients: TestRecipients,
    pub links: Links,
    pub lease: Arc<Lease>,
    pub metrics: Metrics,
}

/// What acts.
pub(super) struct Engine {
    pub templates: Arc<Templates>,
    pub breaker: Arc<Breaker>,
    /// Wakes the dispatcher.
    pub bell: Arc<Bell>,
    /// Wakes whoever runs newsletters.
    pub newsletters: Arc<Bell>,
    pub dispatcher: Arc<Dispatcher>,
    pub intake: Intake,
    /// Everything that plans or sends when its time has come, each with what wakes it; the dispatcher first.
    pub jobs: Vec<(Arc<dyn Job>, Arc<Bell>)>,
    /// What looks at customers again and again.
    pub looking: Arc<dyn Job>,
}

/// Puts together what acts; `width` letters are handed over at once, `rate` a second.
pub(super) fn build(ground: Ground, transport: Transport, width: usize, rate: Option<NonZeroU32>) -> Engine {
    let Ground { db, clock, key, senders, test_recipients, links, lease, metrics } = ground;
    let plans = Plans::default();
    let templates = Arc::new(Templates::new(db.clone(), clock.clone()));
    let (bell, journeys, breaker) = (Arc::default(), Arc::default(), Arc::default());
    let bells = (Arc::clone(&bell), Arc::clone(&journeys));
    let intake = Intake::new(db.clone(), clock.clone(), key.clone(), plans.clone(), bells.0, bells.1);
    let dispatcher = Dispatcher::new(Equipment {
        db,
        clock,
        templates: Arc::clone(&templates),
        plans,
        transport,
        breaker: Arc::clone(&breaker),
        metrics,
        width,
        rate,
        senders,
        test_recipients,
        links,
        key,
        replica: replica(),
        lease,
        bell: Arc::clone(&bell),
        journeys: Arc::clone(&journeys),
    });
    let newsletters = Arc::default();
    let jobs: Vec<(Arc<dyn Job>, Arc<Bell>)> = vec![
        (Arc::new(Dispatch(Arc::clone(&dispatcher))), Arc::clone(&bell)),
        (Arc::new(RunNewsletters(Arc::clone(&dispatcher))), Arc::clone(&newsletters)),
        (Arc::new(AdvanceEnrollments(intake.clone())), journeys),
    ];
    let looking = Arc::new(ScanTriggers(intake.clone()));
    Engine { templates, breaker, bell, newsletters, dispatcher, intake, jobs, looking }
}

/// Puts the same together for rehearsals: nothing that it sends leaves, or is counted.
pub(super) fn casting(key: &SecretKey, senders: &Senders, links: &Links) -> Casting {
    let (key, senders, links) = (key.clone(), senders.for_rehearsal(), links.clone());
    Arc::new(move |ground: rehearsal::Ground| {
        let rehearsal::Ground { db, clock, lease } = ground;
        let (key, senders, links) = (key.clone(), senders.clone(), links.clone());
        let (test_recipients, metrics) = (TestRecipients::default(), Metrics::default());
        let ground = Ground { db, clock, key, senders, test_recipients, links, lease, metrics };
        let engine = build(ground, Transport::Nowhere, DEFAULT_MAIL_CONNECTIONS, None);
        Actors { intake: engine.intake, jobs: engine.jobs, looking: engine.looking }
    })
}
