//! What the filters inside plans see, and what they say.

use std::{collections::HashMap, sync::LazyLock};

use super::{Action, Plan, Step, StepOutcome, Trigger, audience, audience::with_functions};
use crate::{
    clock::Timestamp,
    contacts::{ContactState, Delivery},
    customers::{self, Customer},
    database::StoreError,
    events::{self, Event},
    filter::{Call, Facts, Filter, FilterError, Kind, Record, Schema, Value},
    ids::CustomerId,
};

/// Where a step can stand: its contact, or what became of it where it has none.
const STATES: &[&str] = &[
    ContactState::Scheduled.as_str(),
    ContactState::Sending.as_str(),
    ContactState::Sent.as_str(),
    ContactState::Suppressed.as_str(),
    ContactState::Failed.as_str(),
    ContactState::Expired.as_str(),
    ContactState::Canceled.as_str(),
    ContactState::UnknownOutcome.as_str(),
    StepOutcome::Reached.as_str(),
    StepOutcome::TimedOut.as_str(),
    StepOutcome::Done.as_str(),
    StepOutcome::Skipped.as_str(),
];

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPast {
    /// Where it stands.
    pub state: &'static str,
    /// What became of its message, as far as anybody said.
    pub delivery: Option<Delivery>,
    /// Somebody opened its message.
    pub opened: bool,
    /// Somebody followed a link of its message.
    pub clicked: bool,
    /// Somebody answered its message.
    pub replied: bool,
}

/// What became of the steps of an enrollment, by their names.
pub type Past = HashMap<String, StepPast>;

impl StepPast {
    /// Of a step without a contact.
    pub fn of(outcome: StepOutcome) -> Self {
        Self { state: outcome.as_str(), delivery: None, opened: false, clicked: false, replied: false }
    }
}

/// What a condition of a step sees.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The customer as they are now.
    pub customer: &'a Customer,
    /// The event that started the enrollment.
    pub event: Option<&'a Event>,
    /// What became of its steps.
    pub past: &'a Past,
}

impl Record for Seen<'_> {
    fn customer_id(&self) -> CustomerId {
        self.customer.customer_id
    }

    fn value(&self, field: &str) -> Value<'_> {
        if let Some(field) = field.strip_prefix("customer.") {
            return self.customer.value(field);
        }
        if let Some(field) = field.strip_prefix("event.") {
            return self.event.map_or(Value::Missing, |event| event.value(field));
        }
        let step = field.strip_prefix("steps.").and_then(|field| field.rsplit_once('.'));
        let Some((past, what)) = step.and_then(|(step_id, what)| Some((self.past.get(step_id)?, what))) else {
            return Value::Missing;
        };
        match what {
            "state" => Value::Text(past.state),
            "delivered" => Value::Bool(past.delivery == Some(Delivery::Delivered)),
            "bounced" => Value::Bool(past.delivery == Some(Delivery::Bounced)),
            "complained" => Value::Bool(past.delivery == Some(Delivery::Complained)),
            "opened" => Value::Bool(past.opened),
            "clicked" => Value::Bool(past.clicked),
            "replied" => Value::Bool(past.replied),
            _ => Value::Missing,
        }
    }
}

/// What the condition of a step can ask that comes after these.
pub fn condition_fields<'a>(earlier: impl Iterator<Item = &'a str>) -> Schema {
    static OF_STEP: LazyLock<Schema> = LazyLock::new(|| {
        let flags = ["delivered", "bounced", "complained", "opened", "clicked", "replied"];
        let state = Kind::Enum { prefix: "", stored: STATES };
        flags.into_iter().fold(Schema::of("steps").column("state", "state", state), Schema::bool)
    });
    let schema = Schema::of("customers").nested("customer", &customers::fields()).nested("event", events::fields());
    let schema = with_functions(schema);
    earlier.fold(schema, |schema, step_id| schema.nested(&format!("steps.{step_id}"), &OF_STEP))
}

/// Whether a filter over events matches one; an empty one matches every event.
pub fn hears(filter: &str, event: &Event, now: Timestamp) -> bool {
    filter.is_empty()
        || Filter::parse(filter, events::fields()).is_ok_and(|filter| filter.matches(event, &Facts::default(), now))
}

impl Plan {
    /// The condition of one of its steps; none where it has none.
    pub fn condition(&self, step: &Step) -> Option<Result<Filter, FilterError>> {
        if step.condition.is_empty() {
            return None;
        }
        let earlier = self.steps.iter().map(|step| step.step_id.as_str()).take_while(|id| *id != step.step_id);
        Some(Filter::parse(&step.condition, &condition_fields(earlier)))
    }

    /// The conditions of all its steps.
    pub fn conditions(&self) -> Vec<Filter> {
        self.steps.iter().filter_map(|step| self.condition(step)?.ok()).collect()
    }

    /// The event types that its filters count, or ask for the last of.
    pub(super) fn asked_types(&self) -> Vec<String> {
        let calls = self.calls().unwrap_or_default();
        let asks = |call: &&Call| matches!(call.function.name, "event_count" | "last_event");
        calls.iter().filter(asks).map(|call| call.text(0).to_owned()).collect()
    }

    /// Whether the condition of a step can be judged before anything has started the plan: it asks neither for what starts it nor for
    /// the steps before, and none of these changes the customer.
    pub fn is_foreseeable(&self, step: &Step, condition: &Filter) -> bool {
        let mut earlier = self.steps.iter().take_while(|one| one.step_id != step.step_id);
        let is_changed = earlier.any(|one| matches!(one.action, Action::Update(_)));
        let asks_for_event = matches!(self.trigger, Trigger::Event { .. }) && condition.asks_for("event.");
        !is_changed && !asks_for_event && !condition.asks_for("steps.")
    }

    /// What its filters ask functions about customers.
    pub fn calls(&self) -> Result<Vec<Call>, StoreError> {
        let filters = std::iter::once(audience(self)?).chain(self.conditions());
        Ok(filters.flat_map(|filter| filter.calls().cloned().collect::<Vec<_>>()).collect())
    }
}
