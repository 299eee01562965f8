use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{
    calendar::{Delay, Zone},
    clock::Timestamp,
    contacts::{NewContact, Purpose, StepOf},
    database::text_enum,
    delivery::Channel,
    ids::{CampaignId, CustomerId, EnrollmentId, EventId, TemplateId, TopicId},
};

text_enum! {
    /// Where a campaign stands.
    ///
    /// ```text
    /// DRAFT ──activate──► ACTIVE ◄──pause, resume──► PAUSED
    /// ```
    CampaignState {
        /// Does nothing yet.
        Draft = "draft",
        /// Acts.
        Active = "active",
        /// Sends nothing; enrolls and exits.
        Paused = "paused",
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
    /// How often the same customer may enter.
    pub reentry: Reentry,
    /// In order; at least one.
    pub steps: Vec<Step>,
    /// What ends an enrollment before its last step.
    pub exits: Vec<Exit>,
    /// After how many hours from its due time a contact is too late.
    pub expire_after_hours: i32,
    /// How many of its contacts go out in a minute at most; none = as fast as the transport.
    #[serde(default)]
    pub max_per_minute: Option<NonZeroU32>,
}

/// What starts a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Something that happened.
    Event {
        /// "noun.verb".
        event_type: String,
    },
}

/// How often the same customer may enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reentry {
    /// The rule.
    pub mode: ReentryMode,
    /// At least so many days between the events of two entries.
    pub cooldown_days: u16,
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

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the campaign.
    pub step_id: String,
    /// How long it waits.
    pub delay: Delay,
    /// From where the wait counts.
    pub anchor: Anchor,
    /// What it does.
    pub action: Action,
}

/// From where a wait counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// When the event occurred.
    Trigger,
    /// When the step before ended.
    PreviousStep,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends a message.
    Send {
        /// What it says.
        template_id: TemplateId,
        /// Of the template.
        channel: Channel,
    },
}

/// What ends an enrollment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// "noun.verb".
    pub event_type: String,
    /// Only an event about the same subject counts.
    pub same_subject: bool,
}

impl Exit {
    /// Whether something that happened ends an enrollment about `subject`.
    pub fn matches(&self, subject: &str, event_type: &str, event_subject: &str) -> bool {
        self.event_type == event_type && (!self.same_subject || (!subject.is_empty() && subject == event_subject))
    }
}

/// Where an enrollment stands in its plan, for planning its next contact.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Which campaign.
    pub campaign_id: &'a CampaignId,
    /// Which enrollment.
    pub enrollment_id: EnrollmentId,
    /// The event that started it.
    pub event_id: EventId,
    /// Whose.
    pub customer_id: CustomerId,
    /// Where they live.
    pub zone: Zone,
    /// When the event that started it occurred.
    pub trigger_time: Timestamp,
    /// When the step before ended.
    pub previous_time: Timestamp,
}

impl Plan {
    /// The event type that starts it.
    pub fn event_type(&self) -> &str {
        let Trigger::Event { event_type } = &self.trigger;
        event_type
    }

    /// The templates that it sends.
    pub fn template_ids(&self) -> Vec<TemplateId> {
        let mut ids: Vec<TemplateId> = self
            .steps
            .iter()
            .map(|step| {
                let Action::Send { template_id, .. } = &step.action;
                template_id.clone()
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The event types that end its enrollments.
    pub fn exit_types(&self) -> Vec<String> {
        self.exits.iter().map(|exit| exit.event_type.clone()).collect()
    }

    /// The step after one.
    pub fn step_after(&self, step_id: &str) -> Option<&Step> {
        let place = self.steps.iter().position(|step| step.step_id == step_id)?;
        self.steps.get(place + 1)
    }

    /// The contact of a step.
    pub fn contact(&self, step: &Step, purpose: Purpose, place: &Place<'_>) -> NewContact {
        let anchor = match step.anchor {
            Anchor::Trigger => place.trigger_time,
            Anchor::PreviousStep => place.previous_time,
        };
        let planned = step.delay.after(anchor, place.zone);
        let Action::Send { template_id, channel } = &step.action;
        NewContact {
            customer_id: place.customer_id,
            step: Some(StepOf {
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
            data: serde_json::Map::new(),
            dedupe_key: None,
            expire_time: planned.instant + chrono::TimeDelta::hours(i64::from(self.expire_after_hours)),
            planned,
            zone: place.zone,
        }
    }
}

/// What is to change in a plan.
#[derive(Debug, Clone, Default)]
pub struct PlanChange {
    /// What people call the campaign.
    pub display_name: Option<String>,
    /// For colleagues.
    pub description: Option<String>,
    /// What its messages are about.
    pub topic_id: Option<TopicId>,
    /// What starts it.
    pub trigger: Option<Trigger>,
    /// How often the same customer may enter.
    pub reentry: Option<Reentry>,
    /// All steps.
    pub steps: Option<Vec<Step>>,
    /// All exits.
    pub exits: Option<Vec<Exit>>,
    /// When a contact is too late.
    pub expire_after_hours: Option<i32>,
    /// How many contacts go out in a minute at most.
    pub max_per_minute: Option<Option<NonZeroU32>>,
}

impl Plan {
    /// Takes over what is to change.
    pub fn apply(&mut self, change: PlanChange) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut self.display_name, change.display_name);
        set(&mut self.description, change.description);
        set(&mut self.topic_id, change.topic_id);
        set(&mut self.trigger, change.trigger);
        set(&mut self.reentry, change.reentry);
        set(&mut self.steps, change.steps);
        set(&mut self.exits, change.exits);
        set(&mut self.expire_after_hours, change.expire_after_hours);
        set(&mut self.max_per_minute, change.max_per_minute);
    }
}
