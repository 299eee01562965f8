//! Why a contact went out, why not, and what will happen next: one sentence first, then the list.

use std::fmt::Write;

use super::{Case, Check, Facts, Gate, RULES, Verdict, foresee, instant, lines};
use crate::{
    calendar::Zone,
    campaigns::{self, Action, Campaign, CampaignState, Enrollment, EnrollmentState, Waits, enrollments},
    clock::Timestamp,
    contacts::{self, Attempt, Block, BlockReason, Contact, ContactState, Decision, Origin},
    customers,
    delivery::Channel,
    events::{self, EffectOutcome},
    ids::{CustomerId, RunId},
    preferences,
    rpc::Fault,
};

/// An answer to "why".
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// One sentence.
    pub summary: String,
    /// The list: as it was decided, or as it would be.
    pub checks: Vec<Check>,
    /// When it would go out; none = never, or it did.
    pub next_allowed_time: Option<Timestamp>,
    /// What is explained; none = there is no contact.
    pub contact: Option<Explanation>,
}

/// A contact with everything that happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The contact.
    pub contact: Contact,
    /// Every hand-over.
    pub attempts: Vec<Attempt>,
    /// Every decision.
    pub decisions: Vec<Decision>,
}

impl Gate {
    /// Explains a contact; one that waits is asked about `at` (none = its due time, or now if that is over).
    pub async fn explain(&self, contact: Contact, at: Option<Timestamp>) -> Result<Explained, Fault> {
        let db = self.db.reader();
        let attempts = contacts::attempts(db, contact.contact_id).await?;
        let decisions = contacts::decisions(db, contact.contact_id).await?;
        let facts = Facts::read(&self.db, &self.key, self.senders.readiness(), &[&contact], self.clock.now()).await?;
        let case = Case { circuit_open_until: self.circuit_open_until(), ..facts.case(&contact, None)? };
        let told = Told { contact: &contact, case: &case, attempts: &attempts, decisions: &decisions };
        let (summary, checks, next_allowed_time) = if contact.state == ContactState::Scheduled {
            let at = at.unwrap_or_else(|| contact.due_time.max(self.clock.now()));
            told.ahead(at)
        } else {
            let mut summary = told.back();
            if let Some(consent) = attempts.iter().rev().find_map(|attempt| attempt.consent)
                && let Some(record) = preferences::find_record(db, consent).await?
            {
                let _ =
                    write!(summary, " The consent was given at {} ({}).", instant(record.occur_time), record.method);
            }
            (summary, told.decided(), None)
        };
        let summary = match self.backfill_of(&contact).await? {
            Some(run_id) => format!("{summary} The customer entered by backfill {run_id}."),
            None => summary,
        };
        Ok(Explained {
            summary,
            checks,
            next_allowed_time,
            contact: Some(Explanation { contact, attempts, decisions }),
        })
    }

    /// The backfill by which the enrollment of a contact began.
    async fn backfill_of(&self, contact: &Contact) -> Result<Option<RunId>, Fault> {
        let Some(step) = contact.step() else { return Ok(None) };
        let enrollment = enrollments::find(self.db.reader(), step.enrollment_id).await?;
        Ok(enrollment.and_then(|enrollment| enrollment.run_id))
    }

    /// Explains what is, or is not, between a campaign and a customer.
    pub async fn explain_between(
        &self,
        campaign: &Campaign,
        customer_id: CustomerId,
        at: Option<Timestamp>,
    ) -> Result<Explained, Fault> {
        let db = self.db.reader();
        let enrollment = enrollments::between(db, &campaign.campaign_id, customer_id).await?.pop();
        let ahead = match enrollment.as_ref().filter(|one| one.waits.is_some()) {
            Some(waiting) => Some(self.waits(waiting).await?),
            None => None,
        };
        if let Some(contact) = contacts::find_latest(db, &campaign.campaign_id, customer_id).await? {
            let explained = self.explain(contact, at).await?;
            let summary = [explained.summary].into_iter().chain(ahead).collect::<Vec<_>>().join(" ");
            return Ok(Explained { summary, ..explained });
        }
        let effect = events::latest_effect(db, customer_id, &campaign.campaign_id).await?;
        let summary = match (enrollment, effect) {
            (Some(enrollment), _) => ahead.unwrap_or_else(|| ended_before_contact(&enrollment)),
            (None, Some((event_id, effect))) if effect.outcome == EffectOutcome::Ignored => {
                format!("Event {event_id} did not enter {}: {}.", campaign.campaign_id, effect.detail)
            }
            (None, _) => never_met(campaign),
        };
        let contactability = self.contactability(customer_id, &campaign.plan.topic_id, Channel::Email, at).await?;
        Ok(Explained { summary, checks: contactability.checks, next_allowed_time: None, contact: None })
    }

    /// What an enrollment waits for at a step without a contact, in a sentence.
    async fn waits(&self, enrollment: &Enrollment) -> Result<String, Fault> {
        let db = self.db.reader();
        let customer = customers::find(db, enrollment.customer_id).await?;
        let zone = preferences::zone(db, customer.and_then(|customer| customer.time_zone)).await?;
        let key = (enrollment.campaign_id.clone(), enrollment.campaign_version);
        let plan = campaigns::plan(db, key).await?;
        let step_id = enrollment.next_step_id.as_deref().unwrap_or_default();
        let step = plan.as_ref().and_then(|plan| plan.step(step_id));
        let until = enrollment.next_time.map(|time| local(zone, time)).unwrap_or_default();
        let what = match (enrollment.waits, step.map(|step| &step.action)) {
            (Some(Waits::Event), Some(Action::Wait(wait))) => {
                let about = if wait.same_subject { " about the same subject" } else { "" };
                format!("waits for {}{about}, until {until} at most", wait.event_type)
            }
            (Some(Waits::Field), _) => "waits for the field to be read that says when it is due".to_owned(),
            _ => format!("is due at {until}"),
        };
        Ok(format!("{step_id} of {} {what}.", enrollment.campaign_id))
    }

    /// What would stand in a contact's way if it were due now.
    pub async fn warnings(&self, contact: &Contact) -> Result<Vec<Block>, Fault> {
        let now = self.clock.now();
        let facts = Facts::read(&self.db, &self.key, self.senders.readiness(), &[contact], now).await?;
        let case = Case { circuit_open_until: self.circuit_open_until(), ..facts.case(contact, None)? };
        Ok(lines(&case, now).into_iter().filter_map(|check| check.block).collect())
    }
}

/// A contact whose story is told.
struct Told<'a> {
    contact: &'a Contact,
    case: &'a Case<'a>,
    attempts: &'a [Attempt],
    decisions: &'a [Decision],
}

impl Told<'_> {
    /// What will happen to a contact that waits.
    fn ahead(&self, at: Timestamp) -> (String, Vec<Check>, Option<Timestamp>) {
        let (what, at_text) = (self.what(), self.local(at));
        let mut summary = match foresee(self.case, at) {
            Verdict::Send { address, .. } => format!("{what} will be sent at {at_text} to {}.", address.value.masked()),
            Verdict::Defer(Block { detail, retry_time: Some(retry), .. }) => {
                format!("{what} will wait until {}: {detail}.", self.local(retry))
            }
            Verdict::Defer(Block { detail, .. }) => format!("{what} waits: {detail}."),
            Verdict::End(Block { detail, .. }) => format!("{what} will not be sent at {at_text}: {detail}."),
        };
        if let Some(block) = &self.contact.block {
            let _ = write!(summary, " It was put off before: {}.", block.detail);
        }
        let next = match foresee(self.case, at) {
            Verdict::Send { .. } => Some(at),
            Verdict::Defer(block) => block.retry_time,
            Verdict::End(_) => None,
        };
        (summary, lines(self.case, at), next)
    }

    /// What became of a contact that does not wait any more.
    fn back(&self) -> String {
        let what = self.what();
        let why = self.contact.block.as_ref().map_or("", |block| block.detail.as_str());
        let when = self.local(self.contact.update_time);
        let mut summary = match self.contact.state {
            ContactState::Sent => {
                let sent = self.contact.send_time.unwrap_or(self.contact.update_time);
                format!("{what} was sent at {}{}.", self.local(sent), self.to())
            }
            ContactState::Sending => format!("{what} is being handed over since {when}."),
            ContactState::UnknownOutcome => {
                format!(
                    "{what} was handed over, and the answer was lost: it may have been sent, and is not sent again."
                )
            }
            ContactState::Failed => {
                let said = self.attempts.last().map_or("", |attempt| attempt.detail.as_str());
                format!("{what} was refused for good at {when}: {said}.")
            }
            ContactState::Canceled => format!("{what} was called off at {when}: {why}."),
            ContactState::Expired => format!("{what} came too late and was not sent: {why}."),
            ContactState::Suppressed | ContactState::Scheduled => format!("{what} was not sent: {why}."),
        };
        let mut put_off = self.decisions.iter().filter(|decision| decision.block.effect == contacts::Effect::Defer);
        if let Some(last) = put_off.next_back() {
            let _ = write!(summary, " It had been put off: {}.", last.block.detail);
        }
        if self.contact.attempt_count > 1 {
            let _ = write!(summary, " It took {} attempts.", self.contact.attempt_count);
        }
        summary
    }

    /// The list as it was at the last decision: what came before the block had passed, what comes after was not asked.
    fn decided(&self) -> Vec<Check> {
        let block = match self.contact.state {
            ContactState::Sent | ContactState::Sending | ContactState::Failed | ContactState::UnknownOutcome => None,
            _ => self.contact.block.clone(),
        };
        let Some(block) = block else {
            return RULES.iter().map(|rule| Check { rule: rule.name, block: None }).collect();
        };
        match block.reason {
            BlockReason::Canceled => return vec![Check { rule: "not_canceled", block: Some(block) }],
            BlockReason::ConditionFalse => return vec![Check { rule: "condition_holds", block: Some(block) }],
            _ => {}
        }
        let place = RULES.iter().position(|rule| rule.reason == block.reason).unwrap_or(0);
        let passed = RULES[..place].iter().map(|rule| Check { rule: rule.name, block: None });
        passed.chain([Check { rule: RULES[place].name, block: Some(block) }]).collect()
    }

    fn what(&self) -> String {
        match &self.contact.origin {
            Origin::Step(step) => format!("{} of {} ({})", step.step_id, step.campaign_id, self.contact.purpose),
            Origin::Run(run) => format!("{} of {} ({})", run.step_id, run.campaign_id, self.contact.purpose),
            Origin::AdHoc => format!("The {} message {}", self.contact.purpose, self.contact.template_id),
        }
    }

    fn to(&self) -> String {
        let address = self.case.customer.addresses.iter().find(|one| Some(one.address_id) == self.contact.address_id);
        address.map_or(String::new(), |address| format!(" to {}", address.value.masked()))
    }

    fn local(&self, time: Timestamp) -> String {
        local(self.case.zone(), time)
    }
}

fn local(zone: Zone, time: Timestamp) -> String {
    format!("{} ({} {})", instant(time), zone.local(time).format("%Y-%m-%d %H:%M"), zone.name())
}

fn ended_before_contact(enrollment: &Enrollment) -> String {
    let cause = enrollment.end_cause.map_or(String::new(), |cause| format!(" by {cause}"));
    let entered = match enrollment.event_id {
        Some(event_id) => format!("Event {event_id} entered {}", enrollment.campaign_id),
        None => format!("The customer entered {}", enrollment.campaign_id),
    };
    if enrollment.state == EnrollmentState::Completed {
        return format!("{entered}, and went through it without a message.");
    }
    format!("{entered}, but the enrollment ended{cause} before anything was planned.")
}

fn never_met(campaign: &Campaign) -> String {
    let id = &campaign.campaign_id;
    let event_type = campaign.plan.event_type();
    match campaign.state {
        CampaignState::Draft => format!("{id} is a draft: it acts on nothing yet."),
        CampaignState::Completed => format!("{id} is completed: it acts on nothing any more."),
        CampaignState::Archived => format!("{id} is archived: it acts on nothing any more."),
        CampaignState::Active | CampaignState::Paused if campaign.plan.trigger.is_newsletter() => {
            format!(
                "No run of {id} has planned anything for this customer: none has come to them, or it left them out."
            )
        }
        CampaignState::Active | CampaignState::Paused if campaign.plan.trigger.is_looked_for() => {
            format!("This customer has not entered {id} since it was activated: nothing that starts it was found.")
        }
        CampaignState::Active | CampaignState::Paused => {
            format!("No {event_type} of this customer has been recorded since {id} was activated.")
        }
    }
}
