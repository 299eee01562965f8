//! May this contact go out now? One ordered list answers when a contact is decided, when somebody asks whether a customer may
//! be written to, and when somebody asks why.

mod breakers;
mod explain;
mod facts;
pub mod pauses;
mod preview;
mod rules;

pub use self::{
    breakers::WatchSenders,
    explain::{Explained, Explanation},
    facts::Facts,
    preview::CampaignPreview,
    rules::{Case, HeldOut, RULES, Rule, Verdict, checks, decide, foresee, instant},
};
use std::sync::Arc;

use crate::{
    clock::{Clock, Timestamp},
    contacts::{self, Block},
    customers,
    database::Database,
    delivery::{Breaker, Channel},
    ids::{CustomerId, TopicId},
    preferences::{self, FrequencyCap},
    rpc::{Fault, Reason},
    senders::Senders,
    tokens::SecretKey,
};

/// Answers questions about what may be sent.
#[derive(Debug, Clone)]
pub struct Gate {
    db: Database,
    clock: Clock,
    key: SecretKey,
    senders: Senders,
    breaker: Arc<Breaker>,
}

/// One line of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The rule's name.
    pub rule: &'static str,
    /// What stands in the way.
    pub block: Option<Block>,
}

/// Whether a customer may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contactability {
    /// Rule by rule, at the moment that was asked about.
    pub checks: Vec<Check>,
    /// The first moment, from then on, at which a message would go out.
    pub next_allowed_time: Option<Timestamp>,
    /// At that very moment.
    pub allowed: bool,
}

impl Gate {
    /// A gate over a database, senders and a transport, with the key of suppressed addresses.
    pub fn new(db: Database, clock: Clock, key: SecretKey, senders: Senders, breaker: Arc<Breaker>) -> Self {
        Self { db, clock, key, senders, breaker }
    }

    /// Until when the transport is left alone.
    fn circuit_open_until(&self) -> Option<Timestamp> {
        Some(self.clock.now() + self.breaker.rest()?)
    }

    /// Whether a message about a topic would reach a customer at a moment (none = now).
    pub async fn contactability(
        &self,
        customer_id: CustomerId,
        topic_id: &TopicId,
        channel: Channel,
        at: Option<Timestamp>,
    ) -> Result<Contactability, Fault> {
        let at = at.unwrap_or_else(|| self.clock.now());
        let db = self.db.reader();
        let topic = preferences::find_topic(db, topic_id).await?;
        let customer = customers::find(db, customer_id).await?.ok_or_else(|| no_customer(customer_id))?;
        let preferences = preferences::of(db, customer_id).await?;
        let suppressed = preferences::suppressed_of(db, &self.key, [&customer], at).await?;
        let policy = preferences::policy(db).await?;
        let pauses = pauses::active(db, at).await?;
        let concerns = |cap: &&FrequencyCap| cap.concerns(topic_id, channel);
        let handed_over = match facts::longest(policy.caps.iter().chain(&preferences.caps).filter(concerns)) {
            Some(window) => contacts::hand_overs(db, &[customer_id], at - window).await?.remove(&customer_id),
            None => None,
        };
        let readiness = self.senders.readiness();
        let case = Case {
            policy: &policy,
            pauses: &pauses,
            customer: &customer,
            preferences: &preferences,
            suppressed: &suppressed,
            handed_over: handed_over.as_deref().unwrap_or_default(),
            ahead: &[],
            topic_id,
            purpose: topic.purpose,
            opt_in: topic.opt_in,
            essential: topic.essential,
            channel,
            only_to: None,
            expire_time: None,
            held_out: facts::held_out(&policy, None, customer_id),
            enrollment: None,
            run: None,
            in_audience: true,
            // The question is when there is room.
            waits_for_room: true,
            template_error: None,
            sender_not_ready: readiness.trouble(topic.purpose),
            circuit_open_until: self.circuit_open_until(),
            throttled_until: None,
            back_off: None,
        };
        let first_moment = |from| match foresee(&case, from) {
            Verdict::Send { .. } => Some(from),
            Verdict::Defer(block) => block.retry_time,
            Verdict::End(_) => None,
        };
        // What ends a message today does not end another one after it is over.
        let suppressed_until = || suppressed.end(case.address()?.address_id, at);
        let next_allowed_time = first_moment(at).or_else(|| first_moment(suppressed_until()?));
        Ok(Contactability { checks: lines(&case, at), next_allowed_time, allowed: next_allowed_time == Some(at) })
    }
}

/// Every rule in its order.
fn lines(case: &Case<'_>, at: Timestamp) -> Vec<Check> {
    checks(case, at).into_iter().map(|(rule, block)| Check { rule: rule.name, block }).collect()
}

fn no_customer(id: CustomerId) -> Fault {
    Fault::refused(Reason::CustomerNotFound, id, format!("there is no customer {id}"))
}
