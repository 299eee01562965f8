use std::{fmt, str::FromStr};

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hears;
use crate::{
    calendar::{Delay, LocalTime, Planned, Zone},
    clock::Timestamp,
    customers::Customer,
    delivery::Channel,
    events::Event,
    ids::{CampaignId, CustomerId, EnrollmentId, EventId, TemplateId, TopicId},
    split::{self, Draw},
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the campaign.
    pub step_id: String,
    /// How long it waits.
    pub delay: Delay,
    /// From where the wait counts.
    pub anchor: Anchor,
    /// What happens where the moment that a field names is over before it is planned.
    #[serde(default)]
    pub if_past: IfPast,
    /// A filter that must match when it is due, or the step is left out; empty = it always matches.
    #[serde(default)]
    pub condition: String,
    /// What it does.
    pub action: Action,
}

/// From where a wait counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// When the event occurred.
    Trigger,
    /// When the step before ended.
    PreviousStep,
    /// The time or date that stands in a field.
    Field(FieldPath),
}

/// What happens where the moment that a field names is over before it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfPast {
    /// The step is skipped.
    #[default]
    Skip,
    /// It begins now.
    SendNow,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends a message.
    Send {
        /// What it says where there are no variants.
        template_id: TemplateId,
        /// Of the template.
        channel: Channel,
        /// What it says to which share of the customers.
        #[serde(default)]
        variants: Vec<Variant>,
        /// What the template sees as data.
        #[serde(default)]
        data: Map<String, Value>,
    },
    /// Waits for something to happen.
    Wait(Wait),
    /// Changes the customer.
    Update(Update),
}

/// What a message says to a share of the customers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Unique in its step.
    pub variant_id: String,
    /// What it says.
    pub template_id: TemplateId,
    /// How large its share is beside the others.
    pub weight: u32,
}

/// Waits for something to happen, or until it is too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// "noun.verb".
    pub event_type: String,
    /// A filter over events that must match; empty = every event counts.
    #[serde(default)]
    pub event_filter: String,
    /// Only an event about the same subject counts.
    pub same_subject: bool,
    /// How long it waits at most.
    pub timeout_hours: i32,
    /// The enrollment ends where it waited in vain.
    pub exit_on_timeout: bool,
}

impl Wait {
    /// How long it waits at most.
    pub fn timeout(&self) -> TimeDelta {
        TimeDelta::hours(self.timeout_hours.into())
    }

    /// Whether something that happened is what an enrollment about `subject` waits for.
    pub fn matches(&self, subject: &str, event: &Event, now: Timestamp) -> bool {
        let about = &event.body.subject;
        self.event_type == event.body.event_type
            && (!self.same_subject || (!subject.is_empty() && subject == about))
            && hears(&self.event_filter, event, now)
    }
}

/// Changes the customer. It takes a consent back, and never gives one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Merged by key; null removes.
    pub set_attributes: Map<String, Value>,
    /// Added.
    pub add_tags: Vec<String>,
    /// Removed.
    pub remove_tags: Vec<String>,
    /// What the customer hears about no more.
    pub withdraw_topic_id: Option<TopicId>,
}

/// Where an enrollment stands in its plan, for planning what comes next.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Which campaign.
    pub campaign_id: &'a CampaignId,
    /// Which enrollment.
    pub enrollment_id: EnrollmentId,
    /// The event that started it; none = a date or an audience did.
    pub event_id: Option<EventId>,
    /// Whose.
    pub customer_id: CustomerId,
    /// Where they live.
    pub zone: Zone,
    /// When what started it occurred.
    pub trigger_time: Timestamp,
    /// When the step before ended.
    pub previous_time: Timestamp,
}

/// What fields name moments in.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The event that started the enrollment.
    pub event: Option<&'a Event>,
    /// The customer.
    pub customer: &'a Customer,
}

/// When a step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Then.
    At(Planned),
    /// Its fields must be read first.
    Unread,
    /// Never: the field holds no moment, or one that is over.
    Never,
}

impl Step {
    /// When it is due; `fields` are none where they have not been read.
    pub fn due(&self, place: &Place<'_>, fields: Option<Fields<'_>>, now: Timestamp) -> Due {
        let anchor = match (&self.anchor, fields) {
            (Anchor::Trigger, _) => place.trigger_time,
            (Anchor::PreviousStep, _) => place.previous_time,
            (Anchor::Field(_), None) => return Due::Unread,
            (Anchor::Field(path), Some(fields)) => match path.moment(fields, place.zone) {
                Some(moment) => moment,
                None => return Due::Never,
            },
        };
        let planned = self.delay.after(anchor, place.zone);
        if planned.instant >= now || !matches!(self.anchor, Anchor::Field(_)) {
            return Due::At(planned);
        }
        match self.if_past {
            IfPast::Skip => Due::Never,
            IfPast::SendNow => Due::At(Planned { instant: now, local: None }),
        }
    }

    /// What it says to a customer: the template, and the variant where there are several.
    pub fn message_for(&self, campaign: &CampaignId, customer: CustomerId) -> Option<(&TemplateId, Option<&str>)> {
        let Action::Send { template_id, variants, .. } = &self.action else { return None };
        let draw = Draw::Step(campaign.as_str(), &self.step_id);
        let drawn = split::share(draw, customer, variants.iter().map(|variant| variant.weight));
        Some(match drawn.and_then(|place| variants.get(place)) {
            Some(variant) => (&variant.template_id, Some(&variant.variant_id)),
            None => (template_id, None),
        })
    }

    /// Whether its contact can be planned as soon as it is its turn, without anything being judged when it is due.
    pub fn is_planned_ahead(&self) -> bool {
        matches!(self.action, Action::Send { .. }) && self.condition.is_empty()
    }
}

/// Names what holds a time or date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FieldPath {
    /// "event.properties.starts_at": the keys that lead there.
    Property(Vec<String>),
    /// "customer.attributes.renewal_date": the keys that lead there.
    Attribute(Vec<String>),
    /// When the event occurred.
    OccurTime,
    /// When the event was recorded.
    RecordTime,
    /// When the customer was created.
    CreateTime,
}

const PROPERTIES: &str = "event.properties.";
const ATTRIBUTES: &str = "customer.attributes.";
const OCCUR_TIME: &str = "event.occur_time";
const RECORD_TIME: &str = "event.record_time";
const CREATE_TIME: &str = "customer.create_time";

impl FieldPath {
    /// The moment that stands there; a date is its first moment where the customer lives, a time without a zone is one of theirs.
    fn moment(&self, fields: Fields<'_>, zone: Zone) -> Option<Timestamp> {
        let (map, keys) = match self {
            Self::Property(keys) => (&fields.event?.body.properties, keys),
            Self::Attribute(keys) => (&fields.customer.attributes, keys),
            Self::OccurTime => return fields.event.map(|event| event.body.occur_time),
            Self::RecordTime => return fields.event.map(|event| event.record_time),
            Self::CreateTime => return Some(fields.customer.create_time),
        };
        let (first, rest) = keys.split_first()?;
        let value = rest.iter().try_fold(map.get(first)?, |value, key| value.get(key))?;
        moment(value.as_str()?, zone)
    }
}

/// A moment as people write it.
fn moment(text: &str, zone: Zone) -> Option<Timestamp> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        let start: LocalTime = format!("{date}T00:00").parse().ok()?;
        return Some(zone.instant(start.0));
    }
    if let Ok(local) = text.parse::<LocalTime>() {
        return Some(zone.instant(local.0));
    }
    let instant = chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    crate::calendar::YEARS.contains(&chrono::Datelike::year(&instant)).then_some(instant)
}

impl FromStr for FieldPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = "must be \"event.properties.\" or \"customer.attributes.\" and the name of a field, or one of \
                       \"event.occur_time\", \"event.record_time\", \"customer.create_time\"";
        match text {
            OCCUR_TIME => return Ok(Self::OccurTime),
            RECORD_TIME => return Ok(Self::RecordTime),
            CREATE_TIME => return Ok(Self::CreateTime),
            _ => {}
        }
        let split = |keys: &str| keys.split('.').map(str::to_owned).collect();
        let path = match (text.strip_prefix(PROPERTIES), text.strip_prefix(ATTRIBUTES)) {
            (Some(keys), _) => Self::Property(split(keys)),
            (None, Some(keys)) => Self::Attribute(split(keys)),
            (None, None) => return Err(allowed),
        };
        if text.len() > 300 || text.split('.').any(str::is_empty) { Err(allowed) } else { Ok(path) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(keys) => write!(f, "{PROPERTIES}{}", keys.join(".")),
            Self::Attribute(keys) => write!(f, "{ATTRIBUTES}{}", keys.join(".")),
            Self::OccurTime => f.write_str(OCCUR_TIME),
            Self::RecordTime => f.write_str(RECORD_TIME),
            Self::CreateTime => f.write_str(CREATE_TIME),
        }
    }
}

impl TryFrom<String> for FieldPath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::EventBody;

    fn shown(path: &str, properties: &Value, attributes: &Value, zone: &str) -> Option<String> {
        let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let mut customer = Customer::bare(at("2025-05-05T05:05:05Z"));
        customer.attributes = attributes.as_object().unwrap().clone();
        let body = EventBody {
            source: "shop".into(),
            source_event_id: String::new(),
            event_type: "webinar.booked".into(),
            occur_time: at("2026-02-01T10:00:00Z"),
            subject: String::new(),
            value: None,
            items: Vec::new(),
            properties: properties.as_object().unwrap().clone(),
        };
        let (event_id, record_time) = (EventId::generate(), at("2026-02-02T10:00:00Z"));
        let event = Event { event_id, customer_id: customer.customer_id, record_time, body };
        let fields = Fields { event: Some(&event), customer: &customer };
        let path: FieldPath = path.parse().unwrap();
        Some(path.moment(fields, zone.parse().unwrap())?.to_rfc3339())
    }

    #[test]
    fn a_field_names_an_instant_a_wall_clock_time_or_a_date_where_the_customer_lives() {
        let event =
            json!({"starts_at": "2026-03-01T18:00:00+01:00", "room": {"opens": "2026-03-01T17:30"}, "seats": 4});
        let customer = json!({"renewal": "2026-03-01", "odd": "2026-02-30", "never": null});
        for (path, zone, expected) in [
            ("event.properties.starts_at", "Europe/Riga", Some("2026-03-01T17:00:00+00:00")),
            ("event.properties.room.opens", "Europe/Riga", Some("2026-03-01T15:30:00+00:00")),
            ("event.properties.room.opens", "UTC", Some("2026-03-01T17:30:00+00:00")),
            ("customer.attributes.renewal", "America/New_York", Some("2026-03-01T05:00:00+00:00")),
            ("event.occur_time", "Europe/Riga", Some("2026-02-01T10:00:00+00:00")),
            ("event.record_time", "Europe/Riga", Some("2026-02-02T10:00:00+00:00")),
            ("customer.create_time", "Europe/Riga", Some("2025-05-05T05:05:05+00:00")),
            ("customer.attributes.odd", "UTC", None),
            ("customer.attributes.never", "UTC", None),
            ("event.properties.seats", "UTC", None),
            ("event.properties.room", "UTC", None),
            ("event.properties.missing.too", "UTC", None),
        ] {
            assert_eq!(shown(path, &event, &customer, zone).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_path_reads_back_as_it_was_written() {
        for path in [
            "event.properties.a",
            "customer.attributes.a.b",
            "event.occur_time",
            "event.record_time",
            "customer.create_time",
        ] {
            assert_eq!(path.parse::<FieldPath>().unwrap().to_string(), path);
        }
        for wrong in [
            "event.subject",
            "customer.update_time",
            "properties.a",
            "event.properties.",
            "customer.attributes.a..b",
            "",
        ] {
            assert!(wrong.parse::<FieldPath>().is_err(), "{wrong}");
        }
    }
}
