use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Action, Anchor, EndCause, Place, Step, hears,
    runs::Run,
    trigger::{ActiveRange, Firing, Trigger},
};
use crate::{
    calendar::{Planned, Zone},
    clock::Timestamp,
    contacts::{NewContact, Origin, Purpose, RunOf, StepOf},
    database::text_enum,
    events::Event,
    ids::{CampaignId, CustomerId, TemplateId, TopicId},
};

text_enum! {
    /// Where a campaign stands.
    ///
    /// ```text
    /// DRAFT ──activate──► ACTIVE ◄──pause, resume──► PAUSED
    ///                        │ done, range over          │
    ///                        ▼                           │
    ///                    COMPLETED ──archive──► ARCHIVED ◄── archive
    /// ```
    CampaignState {
        /// Does nothing yet.
        Draft = "draft",
        /// Acts.
        Active = "active",
        /// Sends nothing; enrolls and exits.
        Paused = "paused",
        /// Has done all that it was to do, or its time is over.
        Completed = "completed",
        /// An operator has ended it.
        Archived = "archived",
    }
}

/// A plan and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// Its name.
    pub campaign_id: CampaignId,
    /// Where it stands.
    pub state: CampaignState,
    /// Why it is paused.
    pub state_note: String,
    /// The version that new enrollments follow.
    pub version: i32,
    /// That version.
    pub plan: Plan,
    /// Of the topic.
    pub purpose: Purpose,
    /// Of a newsletter that acts: when its next firing begins.
    pub fire_time: Option<Timestamp>,
    /// Up to when what starts it was looked for; none = an event starts it, or it does not act yet.
    pub scan_time: Option<Timestamp>,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
    /// Counts its changes.
    pub revision: i32,
}

/// One version of what a campaign does: immutable once somebody follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What people call the campaign.
    pub display_name: String,
    /// For colleagues.
    pub description: String,
    /// What its messages are about.
    pub topic_id: TopicId,
    /// What starts it.
    pub trigger: Trigger,
    /// A filter over customers: who enters at all; empty = everybody.
    #[serde(default)]
    pub audience_filter: String,
    /// How often the same customer may enter.
    pub reentry: Reentry,
    /// In order; at least one.
    pub steps: Vec<Step>,
    /// What ends an enrollment before its last step.
    pub exits: Vec<Exit>,
    /// What it is for.
    #[serde(default)]
    pub goal: Option<Goal>,
    /// After how many hours from its due time a contact is too late.
    pub expire_after_hours: i32,
    /// How many of its contacts go out in a minute at most; none = as fast as the transport.
    #[serde(default)]
    pub max_per_minute: Option<NonZeroU32>,
    /// From when to when it acts.
    #[serde(default)]
    pub active_range: ActiveRange,
    /// How many of a hundred customers never get anything of it.
    #[serde(default)]
    pub holdout_percent: u8,
    /// Whose message takes the last place below a frequency cap: that of the higher one.
    #[serde(default)]
    pub priority: u8,
}

/// How often the same customer may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reentry {
    /// The rule.
    pub mode: ReentryMode,
    /// At least so many days between the events of two entries.
    pub cooldown_days: u16,
}

impl Reentry {
    /// Unless something else is said.
    pub const DEFAULT: Self = Self { mode: ReentryMode::OncePerSubject, cooldown_days: 0 };
}

/// How often the same customer may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReentryMode {
    /// Once in a life.
    Once,
    /// Once per subject.
    OncePerSubject,
    /// At every event.
    Always,
    /// At every event, which ends what is open.
    Restart,
}

/// What ends an enrollment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// "noun.verb".
    pub event_type: String,
    /// A filter over events that must match; empty = every event counts.
    #[serde(default)]
    pub event_filter: String,
    /// Only an event about the same subject counts.
    pub same_subject: bool,
}

impl Exit {
    /// Whether something that happened ends an enrollment about `subject`.
    pub fn matches(&self, subject: &str, event: &Event, now: Timestamp) -> bool {
        self.event_type == event.body.event_type
            && (!self.same_subject || (!subject.is_empty() && subject == event.body.subject))
            && hears(&self.event_filter, event, now)
    }
}

/// What a campaign is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goal {
    /// "noun.verb".
    pub event_type: String,
    /// A filter over events that must match; empty = every event counts.
    #[serde(default)]
    pub event_filter: String,
    /// Within how many days after a message it counts as reached by it.
    pub window_days: u16,
    /// Reaching it ends the enrollment.
    pub exit: bool,
}

impl Goal {
    /// Whether it is what happened.
    pub fn is_reached(&self, event: &Event, now: Timestamp) -> bool {
        self.event_type == event.body.event_type && hears(&self.event_filter, event, now)
    }
}

impl Plan {
    /// The event type that starts it; empty = no event does.
    pub fn event_type(&self) -> &str {
        match &self.trigger {
            Trigger::Event { event_type, .. } => event_type,
            Trigger::Date(_) | Trigger::Audience | Trigger::OneOff(_) | Trigger::Recurring(_) => "",
        }
    }

    /// The first firing of a newsletter that begins after an instant, while the campaign acts.
    pub fn next_firing(&self, after: Timestamp) -> Option<Firing> {
        let before_start = self.active_range.start.map(|start| start - chrono::TimeDelta::microseconds(1));
        let firing = self.trigger.next_firing(before_start.map_or(after, |before| before.max(after)))?;
        (!self.active_range.is_over(firing.start)).then_some(firing)
    }

    /// The contact of a run with a customer who is reached at `due`.
    pub fn contact_of_run(&self, run: &Run, customer_id: CustomerId, due: Timestamp, zone: Zone) -> Option<NewContact> {
        let step = self.steps.first()?;
        let Action::Send { channel, .. } = &step.action else { return None };
        let (template_id, variant_id) = step.message_for(&run.campaign_id, customer_id)?;
        Some(NewContact {
            customer_id,
            origin: Origin::Run(RunOf {
                campaign_id: run.campaign_id.clone(),
                run_id: run.run_id,
                step_id: step.step_id.clone(),
            }),
            topic_id: self.topic_id.clone(),
            purpose: run.purpose,
            channel: *channel,
            address_id: None,
            template_id: template_id.clone(),
            variant_id: variant_id.map(str::to_owned),
            // Of everybody the same: see `data_of_run`.
            data: Map::new(),
            dedupe_key: None,
            planned: Planned { instant: due, local: run.local },
            zone,
            expire_time: due + self.patience(),
        })
    }

    /// What the template of a newsletter sees as data. It is read when the message goes, and not copied for everybody.
    pub fn data_of_run(&self) -> Option<&Map<String, Value>> {
        match &self.steps.first()?.action {
            Action::Send { data, .. } => Some(data),
            Action::Wait(_) | Action::Update(_) => None,
        }
    }

    /// How long a contact waits beyond its due time.
    pub fn patience(&self) -> chrono::TimeDelta {
        chrono::TimeDelta::hours(i64::from(self.expire_after_hours))
    }

    /// Whether an event of the type that starts it is one that does.
    pub fn starts_on(&self, event: &Event, now: Timestamp) -> bool {
        match &self.trigger {
            Trigger::Event { event_filter, .. } => hears(event_filter, event, now),
            Trigger::Date(_) | Trigger::Audience | Trigger::OneOff(_) | Trigger::Recurring(_) => false,
        }
    }

    /// The templates that it sends.
    pub fn template_ids(&self) -> Vec<TemplateId> {
        let sent = |step: &Step| match &step.action {
            Action::Send { template_id, variants, .. } if variants.is_empty() => vec![template_id.clone()],
            Action::Send { variants, .. } => variants.iter().map(|variant| variant.template_id.clone()).collect(),
            Action::Wait(_) | Action::Update(_) => Vec::new(),
        };
        let mut ids: Vec<TemplateId> = self.steps.iter().flat_map(sent).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The topics that its steps withdraw.
    pub fn withdrawn_topic_ids(&self) -> Vec<TopicId> {
        let withdrawn = |step: &Step| match &step.action {
            Action::Update(update) => update.withdraw_topic_id.clone(),
            Action::Send { .. } | Action::Wait(_) => None,
        };
        self.steps.iter().filter_map(withdrawn).collect()
    }

    /// The event types that end its enrollments.
    pub fn exit_types(&self) -> Vec<String> {
        let goal = self.goal.iter().filter(|goal| goal.exit).map(|goal| goal.event_type.clone());
        self.exits.iter().map(|exit| exit.event_type.clone()).chain(goal).collect()
    }

    /// The event types that end a wait of its enrollments.
    pub fn waited_for_types(&self) -> impl Iterator<Item = String> + '_ {
        self.steps.iter().filter_map(|step| match &step.action {
            Action::Wait(wait) => Some(wait.event_type.clone()),
            Action::Send { .. } | Action::Update(_) => None,
        })
    }

    /// The event types that it listens to beside those that start it: they end its enrollments or their waits, or its filters ask
    /// for them.
    pub fn heard_types(&self) -> Vec<String> {
        let mut types = self.exit_types();
        types.extend(self.waited_for_types());
        types.extend(self.asked_types());
        types.sort_unstable();
        types.dedup();
        types
    }

    /// Why something that happened ends an enrollment about `subject`; none = it does not.
    pub fn ends_on(&self, subject: &str, event: &Event, now: Timestamp) -> Option<EndCause> {
        if self.exits.iter().any(|exit| exit.matches(subject, event, now)) {
            return Some(EndCause::ExitEvent);
        }
        let reached = self.goal.as_ref().is_some_and(|goal| goal.exit && goal.is_reached(event, now));
        reached.then_some(EndCause::Goal)
    }

    /// Whether every step is planned as soon as it is its turn, by nothing but its enrollment.
    pub fn is_plain(&self) -> bool {
        self.steps.iter().all(|step| step.is_planned_ahead() && !matches!(step.anchor, Anchor::Field(_)))
    }

    /// The first step that sends something.
    pub fn first_send(&self) -> Option<&Step> {
        self.steps.iter().find(|step| matches!(step.action, Action::Send { .. }))
    }

    /// One step.
    pub fn step(&self, step_id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.step_id == step_id)
    }

    /// The step after one.
    pub fn step_after(&self, step_id: &str) -> Option<&Step> {
        let place = self.steps.iter().position(|step| step.step_id == step_id)?;
        self.steps.get(place + 1)
    }

    /// The contact of a step that sends something at a moment; none of another step.
    pub fn contact(&self, step: &Step, purpose: Purpose, place: &Place<'_>, planned: Planned) -> Option<NewContact> {
        let Action::Send { channel, data, .. } = &step.action else { return None };
        let (template_id, variant_id) = step.message_for(place.campaign_id, place.customer_id)?;
        Some(NewContact {
            customer_id: place.customer_id,
            origin: Origin::Step(StepOf {
                campaign_id: place.campaign_id.clone(),
                enrollment_id: place.enrollment_id,
                step_id: step.step_id.clone(),
                event_id: place.event_id,
            }),
            topic_id: self.topic_id.clone(),
            purpose,
            channel: *channel,
            address_id: None,
            template_id: template_id.clone(),
            variant_id: variant_id.map(str::to_owned),
            data: data.clone(),
            dedupe_key: None,
            expire_time: planned.instant + self.patience(),
            planned,
            zone: place.zone,
        })
    }
}
