//! How an enrollment goes on, from step to step: decided here, read and written elsewhere.

use super::{
    super::{Action, Anchor, Due, Fields, Past, Plan, Seen, Step, StepPast, Update, Wait},
    EndCause, Enrollment, EnrollmentState, PassedStep, StepOutcome, Waits,
};
use crate::{
    calendar::{Planned, Zone},
    clock::Timestamp,
    contacts::{Block, Contact, ContactState},
    customers::{Customer, CustomerChange, fits},
    events::Event,
    filter::Facts,
    ids::{EventId, TopicId},
};

/// What is known of an enrollment.
#[derive(Debug)]
pub struct Known<'a> {
    /// What it follows.
    pub plan: &'a Plan,
    /// What started it.
    pub event: Option<&'a Event>,
    /// Whose it is; none where the plan is plain, or nothing may be judged now.
    pub customer: Option<&'a mut Customer>,
    /// Where they live.
    pub zone: Zone,
    /// What happened to them that it may wait for; the earliest first.
    pub heard: &'a [Event],
    /// What became of its steps.
    pub past: Past,
    /// What is recorded of them elsewhere, as far as conditions ask for it.
    pub facts: &'a Facts,
}

/// What comes of its going on, beside what it is then itself.
#[derive(Debug, Default)]
pub struct Course {
    /// What is planned.
    pub contacts: Vec<Contact>,
    /// What is over.
    pub passed: Vec<PassedStep>,
    /// The customer was changed.
    pub changed: bool,
    /// What the customer hears about no more, by which step.
    pub withdrawn: Vec<(String, TopicId)>,
}

/// Brings an enrollment to its first step.
pub fn begin(of: &mut Enrollment, known: Known<'_>, now: Timestamp) -> Course {
    let first = known.plan.steps.first();
    let mut journey = Journey { of, known, now, course: Course::default() };
    journey.come_to(first);
    journey.go_on();
    journey.course
}

/// Brings an enrollment on whose step waits for something, as far as it goes by now.
pub fn go_on(of: &mut Enrollment, known: Known<'_>, now: Timestamp) -> Course {
    let mut journey = Journey { of, known, now, course: Course::default() };
    journey.go_on();
    journey.course
}

/// Brings an enrollment to the step after the one whose contact is done. Nothing is judged: what needs that waits for it.
pub fn follow(of: &mut Enrollment, plan: &Plan, zone: Zone, now: Timestamp) -> Course {
    let next = of.next_step_id.as_deref().and_then(|step_id| plan.step_after(step_id));
    let facts = Facts::default();
    let known = Known { plan, event: None, customer: None, zone, heard: &[], past: Past::new(), facts: &facts };
    let mut journey = Journey { of, known, now, course: Course::default() };
    journey.of.previous_time = now;
    journey.come_to(next);
    journey.course
}

struct Journey<'a> {
    of: &'a mut Enrollment,
    known: Known<'a>,
    now: Timestamp,
    course: Course,
}

impl<'a> Journey<'a> {
    fn go_on(&mut self) {
        while self.of.state == EnrollmentState::Active && self.take_turn() {}
    }

    /// False where there is nothing to do now.
    fn take_turn(&mut self) -> bool {
        let plan: &'a Plan = self.known.plan;
        let (Some(waits), Some(due)) = (self.of.waits, self.of.next_time) else { return false };
        let Some(step) = self.of.next_step_id.as_deref().and_then(|step_id| plan.step(step_id)) else {
            self.of.end(EnrollmentState::Completed, None, self.now);
            return true;
        };
        match (waits, &step.action) {
            (Waits::Field, _) if self.known.customer.is_some() => self.come_to(Some(step)),
            (Waits::Delay, _) if due <= self.now => self.act(step, due),
            (Waits::Event, Action::Wait(wait)) => return self.hear(step, wait, due),
            _ => return false,
        }
        true
    }

    /// Finds out when a step is due, and plans it if that is all there is to it; leaves out those that never are.
    fn come_to(&mut self, step: Option<&'a Step>) {
        let mut next = step;
        while let Some(step) = next {
            match step.due(&self.of.place(self.known.zone), self.fields(), self.now) {
                Due::Never => {
                    self.note(step, StepOutcome::Skipped, None, self.now);
                    next = self.known.plan.step_after(&step.step_id);
                }
                Due::Unread => return self.wait_at(step, Waits::Field, self.now),
                Due::At(planned) => {
                    let planned = self.made_up_for(step, planned);
                    self.wait_at(step, Waits::Delay, planned.instant);
                    self.of.next_local = planned.local;
                    if step.is_planned_ahead() {
                        let contact =
                            self.known.plan.contact(step, self.of.purpose, &self.of.place(self.known.zone), planned);
                        self.plan(contact.map(|contact| contact.plan(self.now)));
                    }
                    return;
                }
            }
        }
        self.of.end(EnrollmentState::Completed, None, self.now);
    }

    /// When a message is due that was due before a backfill let the customer in: now, or at the next such time of day. What counts from
    /// the same moment is moved on by as much, so that it does not come all at once.
    fn made_up_for(&mut self, step: &Step, planned: Planned) -> Planned {
        let began = match step.anchor {
            Anchor::Trigger => self.of.anchor_time,
            Anchor::PreviousStep => self.of.previous_time,
            Anchor::Field(_) => return planned,
        };
        let is_message = matches!(step.action, Action::Send { .. });
        if self.of.run_id.is_none() || !is_message || planned.instant >= self.of.start_time {
            return planned;
        }
        let anchor = step.delay.anchor_for(began, self.now, self.known.zone);
        self.of.anchor_time += anchor - began;
        self.of.previous_time += anchor - began;
        step.delay.after(anchor, self.known.zone)
    }

    /// Does what a step is for, which is due.
    fn act(&mut self, step: &'a Step, due: Timestamp) {
        if !self.holds(step) {
            return self.leave_out(step, due);
        }
        match &step.action {
            Action::Send { .. } => {
                let planned = Planned { instant: due, local: self.of.next_local };
                let contact = self.known.plan.contact(step, self.of.purpose, &self.of.place(self.known.zone), planned);
                self.plan(contact.map(|contact| contact.plan(self.now)));
            }
            Action::Wait(wait) => self.wait_at(step, Waits::Event, due + wait.timeout()),
            Action::Update(update) => {
                let outcome = if self.update(step, update) { StepOutcome::Done } else { StepOutcome::Skipped };
                self.pass(step, outcome, None, due);
            }
        }
    }

    /// Whether a step's condition matches now.
    fn holds(&self, step: &Step) -> bool {
        let Some(condition) = self.known.plan.condition(step) else { return true };
        let (Ok(condition), Some(customer)) = (condition, self.known.customer.as_deref()) else { return false };
        let seen = Seen { customer, event: self.known.event, past: &self.known.past };
        condition.matches(&seen, self.known.facts, self.now)
    }

    /// Leaves out a step whose condition does not match; of a message it is kept that there was none.
    fn leave_out(&mut self, step: &'a Step, due: Timestamp) {
        let planned = Planned { instant: due, local: self.of.next_local };
        let place = self.of.place(self.known.zone);
        let Some(contact) = self.known.plan.contact(step, self.of.purpose, &place, planned) else {
            return self.pass(step, StepOutcome::Skipped, None, due);
        };
        let mut contact = contact.plan(self.now);
        let block = Block::of_condition(&step.step_id);
        contact.state = block.effect.state();
        contact.block = Some(block);
        self.course.contacts.push(contact);
        let state = ContactState::Suppressed.as_str();
        self.known.past.insert(step.step_id.clone(), StepPast { state, ..StepPast::of(StepOutcome::Skipped) });
        self.of.previous_time = due;
        self.come_to(self.known.plan.step_after(&step.step_id));
    }

    /// Ends a wait at what it waits for, or in vain. False where it goes on.
    fn hear(&mut self, step: &'a Step, wait: &Wait, deadline: Timestamp) -> bool {
        let (since, heard): (_, &'a [Event]) = (deadline - wait.timeout(), self.known.heard);
        let (trigger, subject, now) = (self.of.event_id, &self.of.subject, self.now);
        let counts = |event: &&Event| {
            let body = &event.body;
            body.occur_time > since
                && body.occur_time <= deadline
                && Some(event.event_id) != trigger
                && wait.matches(subject, event, now)
        };
        if let Some(event) = heard.iter().find(counts) {
            self.pass(step, StepOutcome::Reached, Some(event.event_id), event.body.occur_time);
            return true;
        }
        if deadline > self.now {
            return false;
        }
        if wait.exit_on_timeout {
            self.note(step, StepOutcome::TimedOut, None, deadline);
            self.of.end(EnrollmentState::Exited, Some(EndCause::WaitTimeout), self.now);
        } else {
            self.pass(step, StepOutcome::TimedOut, None, deadline);
        }
        true
    }

    /// False where the customer would hold more than a customer may.
    fn update(&mut self, step: &Step, update: &Update) -> bool {
        let Some(customer) = self.known.customer.as_deref_mut() else { return false };
        let mut after = customer.clone();
        let change = CustomerChange {
            attributes: Some(update.set_attributes.clone()),
            add_tags: update.add_tags.clone(),
            remove_tags: update.remove_tags.clone(),
            ..CustomerChange::default()
        };
        after.apply(change, self.now);
        if !fits(&after) {
            return false;
        }
        if after.attributes != customer.attributes || after.tags != customer.tags {
            *customer = after;
            self.course.changed = true;
        }
        self.course.withdrawn.extend(update.withdraw_topic_id.clone().map(|topic| (step.step_id.clone(), topic)));
        true
    }

    fn plan(&mut self, contact: Option<Contact>) {
        self.of.next_local = None;
        self.of.waits = None;
        self.course.contacts.extend(contact);
    }

    fn wait_at(&mut self, step: &Step, waits: Waits, until: Timestamp) {
        self.of.next_step_id = Some(step.step_id.clone());
        (self.of.waits, self.of.next_time, self.of.next_local) = (Some(waits), Some(until), None);
    }

    fn pass(&mut self, step: &'a Step, outcome: StepOutcome, event_id: Option<EventId>, end_time: Timestamp) {
        self.note(step, outcome, event_id, end_time);
        self.come_to(self.known.plan.step_after(&step.step_id));
    }

    fn note(&mut self, step: &Step, outcome: StepOutcome, event_id: Option<EventId>, end_time: Timestamp) {
        self.of.previous_time = end_time;
        self.known.past.insert(step.step_id.clone(), StepPast::of(outcome));
        let (enrollment_id, step_id) = (self.of.enrollment_id, step.step_id.clone());
        self.course.passed.push(PassedStep { enrollment_id, step_id, outcome, event_id, end_time });
    }

    /// What steps may read; none where nothing was read.
    fn fields(&self) -> Option<Fields<'_>> {
        Some(Fields { event: self.known.event, customer: self.known.customer.as_deref()? })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        events::EventBody,
        ids::{CustomerId, EnrollmentId},
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn enrollment() -> Enrollment {
        Enrollment {
            enrollment_id: EnrollmentId::generate(),
            campaign_id: "journey".parse().unwrap(),
            campaign_version: 1,
            customer_id: CustomerId::generate(),
            event_id: None,
            entry_key: "once".into(),
            subject: "o-1".into(),
            topic_id: "orders".parse().unwrap(),
            purpose: crate::contacts::Purpose::Service,
            trigger_time: at(0),
            anchor_time: at(0),
            run_id: None,
            state: EnrollmentState::Active,
            end_cause: None,
            next_step_id: None,
            next_time: None,
            next_local: None,
            waits: None,
            previous_time: at(0),
            start_time: at(0),
            end_time: None,
        }
    }

    fn event(minute: i64, kind: u8) -> Event {
        let body = EventBody {
            source: "shop".into(),
            source_event_id: String::new(),
            event_type: format!("thing.happened_{kind}"),
            occur_time: at(minute),
            subject: "o-1".into(),
            value: None,
            items: Vec::new(),
            properties: serde_json::Map::new(),
        };
        Event { event_id: EventId::generate(), customer_id: CustomerId::generate(), record_time: at(minute), body }
    }

    fn action() -> impl Strategy<Value = Value> {
        let wait = (0_u8..3, 1_i32..48, prop::bool::weighted(0.2), any::<bool>());
        let wait = wait.prop_map(|(kind, hours, exits, same)| {
            let event_type = format!("thing.happened_{kind}");
            json!({"wait": {"event_type": event_type, "same_subject": same, "timeout_hours": hours, "exit_on_timeout": exits}})
        });
        let update = (0_u8..5).prop_map(|tag| {
            json!({"update": {"set_attributes": {}, "add_tags": [tag.to_string()], "remove_tags": [], "withdraw_topic_id": null}})
        });
        prop_oneof![wait, update]
    }

    fn plan(steps: Vec<(i64, bool, Value)>) -> Plan {
        let step = |(place, (minutes, from_trigger, action)): (usize, (i64, bool, Value))| {
            let anchor = if from_trigger { "trigger" } else { "previous_step" };
            let delay = json!({"elapsed": {"minutes": minutes}});
            json!({"step_id": place.to_string(), "delay": delay, "anchor": anchor, "action": action})
        };
        let steps: Vec<Value> = steps.into_iter().enumerate().map(step).collect();
        serde_json::from_value(json!({
            "display_name": "", "description": "", "topic_id": "orders", "steps": steps, "exits": [],
            "trigger": {"event": {"event_type": "order.placed"}}, "expire_after_hours": 72,
            "reentry": {"mode": "always", "cooldown_days": 0},
        }))
        .unwrap()
    }

    /// Looks at each of these moments, each time knowing what has occurred by then; answers what became of the steps.
    fn travel(plan: &Plan, events: &[Event], moments: &[i64]) -> (Vec<(String, StepOutcome, Timestamp)>, Vec<String>) {
        let (mut of, mut customer, facts) = (enrollment(), Customer::bare(at(0)), Facts::default());
        let mut passed = Vec::new();
        for (place, moment) in moments.iter().enumerate() {
            let heard: Vec<Event> =
                events.iter().filter(|event| event.body.occur_time <= at(*moment)).cloned().collect();
            let known = Known {
                plan,
                event: None,
                customer: Some(&mut customer),
                zone: Zone::UTC,
                heard: &heard,
                past: Past::new(),
                facts: &facts,
            };
            let course =
                if place == 0 { begin(&mut of, known, at(*moment)) } else { go_on(&mut of, known, at(*moment)) };
            passed.extend(course.passed.into_iter().map(|one| (one.step_id, one.outcome, one.end_time)));
        }
        (passed, customer.tags)
    }

    proptest! {
        /// Replicas that stood still, a bell that was lost, an event that came between: none of it changes what happens.
        #[test]
        fn however_often_somebody_looks_the_same_becomes_of_every_step(
            steps in prop::collection::vec((0_i64..2_000, prop::bool::weighted(0.2), action()), 1..7),
            events in prop::collection::vec((0_i64..12_000, 0_u8..3), 0..12),
            moments in prop::collection::btree_set(1_i64..20_000, 0..30),
        ) {
            let plan = plan(steps);
            let mut events: Vec<Event> = events.into_iter().map(|(minute, kind)| event(minute, kind)).collect();
            events.sort_by_key(|event| event.body.occur_time);
            let pieces: Vec<i64> = [0].into_iter().chain(moments).chain([30_000]).collect();
            let in_pieces = travel(&plan, &events, &pieces);
            prop_assert_eq!(&in_pieces, &travel(&plan, &events, &[30_000]));
            // Every step is over once, in order, and no later than its wait allows.
            let over: Vec<String> = in_pieces.0.iter().map(|(step_id, ..)| step_id.clone()).collect();
            prop_assert_eq!(over, (0..in_pieces.0.len()).map(|place| place.to_string()).collect::<Vec<_>>());
        }
    }
}
