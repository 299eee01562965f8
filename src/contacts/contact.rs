use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::{Delivery, Lane, Queue};
use crate::{
    calendar::{LocalTime, Planned, Zone},
    clock::Timestamp,
    database::text_enum,
    delivery::Channel,
    filter::Wanted,
    ids::{
        AddressId, CampaignId, ConsentRecordId, ContactId, CustomerId, EnrollmentId, EventId, RunId, TemplateId,
        TopicId,
    },
};

/// How long an ad-hoc contact waits beyond its due time, unless said otherwise.
pub const PATIENCE: TimeDelta = TimeDelta::hours(72);

text_enum! {
    /// What a message is for: fixed by its topic, and what decides which rules apply.
    Purpose {
        /// The customer expects it as part of what they asked for. Ignores opt-outs, quiet hours and snooze.
        Transactional = "transactional",
        /// About something the customer has. Needs no grant; obeys everything else.
        Service = "service",
        /// Promotes. Needs a consent and obeys everything.
        Marketing = "marketing",
        /// Asks for an answer. Needs a consent and obeys everything.
        Survey = "survey",
    }
}

impl Purpose {
    /// Whether a message whose answer was lost goes out again: it may then arrive twice, and otherwise not at all.
    pub fn is_repeated_in_doubt(self) -> bool {
        self == Self::Transactional
    }

    /// Whether a customer must have agreed before.
    pub fn needs_consent(self) -> bool {
        matches!(self, Self::Marketing | Self::Survey)
    }
}

text_enum! {
    /// Where a contact stands. Every arrow is one guarded update (`WHERE state = …`) in `claims/` or `store.rs`.
    ///
    /// ```text
    ///               picked, decided: no               (final)
    ///            ┌──────────────────────► SUPPRESSED, EXPIRED
    ///            │  called off, exit, withdrawal
    /// plan ──► SCHEDULED ───────────────► CANCELED
    ///           ▲ ▲   │ picked, decided: yes = intent
    ///     later │ │   ▼
    ///           │ └ SENDING ──accepted──► SENT
    ///           │     │  └────refused───► FAILED
    ///           │     │ answer lost
    ///           │     ▼
    ///           └── (transactional)  else ──► UNKNOWN_OUTCOME
    ///
    /// UNKNOWN_OUTCOME ──resolved: was sent──► SENT
    /// UNKNOWN_OUTCOME ──resolved: was not sent──► FAILED
    /// UNKNOWN_OUTCOME, FAILED ──resolved: send again──► SCHEDULED
    /// UNKNOWN_OUTCOME, SCHEDULED ──the lost answer came: accepted──► SENT
    /// ```
    ///
    /// A contact is claimed with its intent: what is SCHEDULED is nobody's and can be called off, what is SENDING is its claim's.
    ContactState {
        /// Waiting for its due time.
        Scheduled = "scheduled",
        /// Intent recorded; being handed over.
        Sending = "sending",
        /// Accepted by the transport.
        Sent = "sent",
        /// Held back for good.
        Suppressed = "suppressed",
        /// Refused by the transport for good, or known not to have been sent.
        Failed = "failed",
        /// Its time was over before it could go out.
        Expired = "expired",
        /// Called off.
        Canceled = "canceled",
        /// Handed over, and the answer was lost.
        UnknownOutcome = "unknown_outcome",
    }
}

text_enum! {
    /// Why a contact does not go out now, in the order of the gate.
    BlockReason {
        /// The customer is erased.
        CustomerErased = "customer_erased",
        /// The customer is deleted.
        CustomerDeleted = "customer_deleted",
        /// Somebody called it off.
        Canceled = "canceled",
        /// Its time was over.
        Expired = "expired",
        /// Its campaign was archived, or its time is over.
        CampaignEnded = "campaign_ended",
        /// Its enrollment ended.
        Exited = "exited",
        /// The condition of its step did not hold.
        ConditionFalse = "condition_false",
        /// The customer is not, or no longer, among those whom the campaign may reach.
        NotInAudience = "not_in_audience",
        /// The customer is in a share that gets nothing, to compare with.
        Holdout = "holdout",
        /// There is nowhere to send it.
        NoAddress = "no_address",
        /// The law forbids to write to the address.
        Legal = "legal",
        /// Whoever had the address was erased.
        AddressErased = "address_erased",
        /// Whoever reads the address marked a message as spam.
        Complaint = "complaint",
        /// The address does not exist.
        HardBounce = "hard_bounce",
        /// An operator suppressed the address.
        Operator = "suppressed_by_operator",
        /// Too much of what was sent to the address bounced.
        SoftBounces = "soft_bounces",
        /// The customer objected to marketing and surveys, or wants silence.
        Objected = "objected",
        /// The customer opted out of the topic.
        OptedOut = "opted_out",
        /// The topic needs a consent for this address.
        NoConsent = "no_consent",
        /// The consent is over, or was not confirmed in time.
        ConsentExpired = "consent_expired",
        /// The template cannot be rendered for this customer.
        TemplateError = "template_error",
        /// The consent is not confirmed yet.
        ConsentPending = "consent_pending",
        /// The customer asked for a pause.
        Snoozed = "snoozed",
        /// Its sender is not ready for marketing.
        SenderNotReady = "sender_not_ready",
        /// The campaign is paused.
        CampaignPaused = "campaign_paused",
        /// The dispatch is paused.
        DispatchPaused = "dispatch_paused",
        /// The transport fails, and rests.
        CircuitOpen = "circuit_open",
        /// The customer got as many messages as a cap allows.
        FrequencyCap = "frequency_cap",
        /// It is quiet time where the customer lives.
        QuietHours = "quiet_hours",
        /// It has to wait for its turn: a limited campaign, a slow receiver.
        Throttled = "throttled",
        /// An attempt failed for now.
        BackOff = "back_off",
    }
}

text_enum! {
    /// What a block does.
    Effect {
        /// Not now.
        Defer = "defer",
        /// Never.
        Suppress = "suppress",
        /// Too late.
        Expire = "expire",
        /// Called off.
        Cancel = "cancel",
    }
}

impl Effect {
    /// The state in which it leaves a contact.
    pub fn state(self) -> ContactState {
        match self {
            Self::Defer => ContactState::Scheduled,
            Self::Suppress => ContactState::Suppressed,
            Self::Expire => ContactState::Expired,
            Self::Cancel => ContactState::Canceled,
        }
    }
}

/// What stands in a contact's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Why.
    pub reason: BlockReason,
    /// What follows.
    pub effect: Effect,
    /// One sentence for people; no personal data.
    pub detail: String,
    /// When it is worth asking again, where that is known.
    pub retry_time: Option<Timestamp>,
}

impl Block {
    /// Of a message whose step has a condition that does not match.
    pub fn of_condition(step_id: &str) -> Self {
        let detail = format!("the condition of {step_id} did not hold");
        Self { reason: BlockReason::ConditionFalse, effect: Effect::Suppress, detail, retry_time: None }
    }
}

/// One planned message to one customer.
#[derive(Debug, Clone, PartialEq)]
pub struct Contact {
    /// Its id.
    pub contact_id: ContactId,
    /// To whom.
    pub customer_id: CustomerId,
    /// What planned it.
    pub origin: Origin,
    /// What it is about.
    pub topic_id: TopicId,
    /// Of the topic.
    pub purpose: Purpose,
    /// How it reaches the customer.
    pub channel: Channel,
    /// To which address: known once it was decided to send, or planned for this one and no other.
    pub address_id: Option<AddressId>,
    /// What it says.
    pub template_id: TemplateId,
    /// Which version of that; known once it was decided to send.
    pub template_version: Option<i32>,
    /// Which variant of the step that is, where there are several.
    pub variant_id: Option<String>,
    /// What the caller gave for the template.
    pub data: Map<String, Value>,
    /// The caller's key: one contact for ever.
    pub dedupe_key: Option<String>,
    /// When it goes out, unless something stands in its way.
    pub due_time: Timestamp,
    /// What that was at first.
    pub original_due_time: Timestamp,
    /// The wall-clock time that it was worked out from.
    pub due_local: Option<(LocalTime, String)>,
    /// When it is too late.
    pub expire_time: Timestamp,
    /// Where it stands.
    pub state: ContactState,
    /// The last thing that stood in its way.
    pub block: Option<Block>,
    /// How often it was handed over.
    pub attempt_count: i32,
    /// When it was accepted.
    pub send_time: Option<Timestamp>,
    /// What became of it, as far as anybody said.
    pub delivery: Option<Delivery>,
    /// When the goal of its campaign was reached by it.
    pub convert_time: Option<Timestamp>,
    /// When it was planned.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// Counts its changes.
    pub revision: i32,
}

impl Contact {
    /// Where it waits.
    pub fn queue(&self) -> Queue {
        let lane = match &self.origin {
            Origin::AdHoc => Lane::of(self.purpose, false),
            Origin::Step(_) => Lane::of(self.purpose, true),
            Origin::Run(_) => Lane::Bulk,
        };
        Queue { lane, campaign_id: self.campaign_id().cloned() }
    }

    /// The step that it is of, if it is of one.
    pub fn step(&self) -> Option<&StepOf> {
        self.origin.step()
    }

    /// The run that it is of, if it is of one.
    pub fn run(&self) -> Option<&RunOf> {
        match &self.origin {
            Origin::Run(run) => Some(run),
            Origin::AdHoc | Origin::Step(_) => None,
        }
    }

    /// The campaign that planned it; none = ad hoc.
    pub fn campaign_id(&self) -> Option<&CampaignId> {
        match &self.origin {
            Origin::AdHoc => None,
            Origin::Step(step) => Some(&step.campaign_id),
            Origin::Run(run) => Some(&run.campaign_id),
        }
    }
}

/// What planned a contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A caller, by itself.
    AdHoc,
    /// A step of an enrollment.
    Step(StepOf),
    /// A run of a newsletter.
    Run(RunOf),
}

impl Origin {
    /// The step of an enrollment, if that is what planned it.
    pub fn step(&self) -> Option<&StepOf> {
        match self {
            Self::Step(step) => Some(step),
            Self::AdHoc | Self::Run(_) => None,
        }
    }

    /// The same, to keep.
    pub fn into_step(self) -> Option<StepOf> {
        match self {
            Self::Step(step) => Some(step),
            Self::AdHoc | Self::Run(_) => None,
        }
    }
}

/// A run of a newsletter, which reaches each customer once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOf {
    /// Which campaign.
    pub campaign_id: CampaignId,
    /// Which run.
    pub run_id: RunId,
    /// The only step of the campaign.
    pub step_id: String,
}

/// A step of an enrollment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOf {
    /// Which campaign.
    pub campaign_id: CampaignId,
    /// Which enrollment.
    pub enrollment_id: EnrollmentId,
    /// Which step.
    pub step_id: String,
    /// The event that started the enrollment; none = a date or an audience did.
    pub event_id: Option<EventId>,
}

/// A contact that is to be planned.
#[derive(Debug, Clone)]
pub struct NewContact {
    /// To whom.
    pub customer_id: CustomerId,
    /// What plans it.
    pub origin: Origin,
    /// What it is about.
    pub topic_id: TopicId,
    /// Of the topic.
    pub purpose: Purpose,
    /// How it reaches the customer.
    pub channel: Channel,
    /// The only address that it is for; none = whichever the customer has when it goes out.
    pub address_id: Option<AddressId>,
    /// What it says.
    pub template_id: TemplateId,
    /// Which variant of the step that is, where there are several.
    pub variant_id: Option<String>,
    /// What the caller gave for the template.
    pub data: Map<String, Value>,
    /// The caller's key.
    pub dedupe_key: Option<String>,
    /// When it is due.
    pub planned: Planned,
    /// The customer's zone, for a wall-clock time.
    pub zone: Zone,
    /// When it is too late.
    pub expire_time: Timestamp,
}

impl NewContact {
    /// The contact, planned at `now`.
    pub fn plan(self, now: Timestamp) -> Contact {
        Contact {
            contact_id: ContactId::generate(),
            customer_id: self.customer_id,
            origin: self.origin,
            topic_id: self.topic_id,
            purpose: self.purpose,
            channel: self.channel,
            address_id: self.address_id,
            template_id: self.template_id,
            template_version: None,
            variant_id: self.variant_id,
            data: self.data,
            dedupe_key: self.dedupe_key,
            due_time: self.planned.instant,
            original_due_time: self.planned.instant,
            due_local: self.planned.local.map(|local| (local, self.zone.name().to_owned())),
            expire_time: self.expire_time,
            state: ContactState::Scheduled,
            block: None,
            attempt_count: 0,
            send_time: None,
            delivery: None,
            convert_time: None,
            create_time: now,
            update_time: now,
            revision: 1,
        }
    }
}

/// A recorded decision of the gate that a contact does not go out. One that it does is recorded as its [`Attempt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub time: Timestamp,
    /// What stood in the way.
    pub block: Block,
}

text_enum! {
    /// What a transport answered to an attempt.
    AttemptOutcome {
        /// Accepted.
        Accepted = "accepted",
        /// Refused for now.
        TemporaryFailure = "temporary_failure",
        /// Refused for good.
        PermanentFailure = "permanent_failure",
        /// The answer was lost.
        Unknown = "unknown",
    }
}

/// One hand-over: the decision that a contact goes out, recorded before it does, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: i32,
    /// When the intent was recorded.
    pub start_time: Timestamp,
    /// When the outcome was recorded.
    pub end_time: Option<Timestamp>,
    /// What the transport answered; none = still under way.
    pub outcome: Option<AttemptOutcome>,
    /// The reply code, with the enhanced one: "451 4.7.1". Empty where there is none.
    pub reply_code: String,
    /// What it said.
    pub detail: String,
    /// Which process did it.
    pub replica: String,
    /// The consent that allowed it, where one was needed.
    pub consent: Option<ConsentRecordId>,
}

/// That a customer got a message, or may have got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// What it was about.
    pub topic_id: TopicId,
    /// How it reached the customer.
    pub channel: Channel,
    /// When its last attempt began.
    pub time: Timestamp,
}

/// Which contacts an operation means: all that is set must match.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this customer.
    pub customer_id: Option<CustomerId>,
    /// Of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Of this run.
    pub run_id: Option<RunId>,
    /// In any of these states.
    pub states: Vec<ContactState>,
    /// Due at this moment or later.
    pub due_from: Option<Timestamp>,
    /// Due before this moment.
    pub due_before: Option<Timestamp>,
    /// Which a filter matches.
    pub wanted: Wanted,
}
