//! The steps of a plan from the wire.

use super::{
    super::{decode, event_service::event_type},
    plan::MOST_DAYS,
};
use crate::{
    calendar::{Delay, parse_time_of_day},
    campaigns::{Action, Anchor, IfPast, Step, Update, Variant, Wait, condition_fields},
    delivery::Channel,
    events,
    ids::is_slug,
    rpc::{
        Violations,
        proto::{self, campaign, delay, step},
    },
};

const MOST_STEPS: usize = 50;
const MOST_TAGS: usize = 20;
const MOST_VARIANTS: usize = 10;
/// Ten years.
const LONGEST_TIMEOUT: i32 = 87_600;

/// What the times of a campaign's first steps are counted from, beyond something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnTimes {
    /// Nothing.
    None,
    /// A date: a step may come before it.
    Dates,
    /// The firings of a newsletter: its step has no time of its own.
    Firings,
}

impl OwnTimes {
    /// Those of what starts a campaign.
    pub(super) fn of(trigger: Option<&campaign::Trigger>) -> Self {
        match trigger {
            Some(campaign::Trigger::Date(_)) => Self::Dates,
            Some(campaign::Trigger::OneOff(_) | campaign::Trigger::Recurring(_)) => Self::Firings,
            Some(campaign::Trigger::Event(_) | campaign::Trigger::Audience(_)) | None => Self::None,
        }
    }
}

/// All steps, in order.
pub(super) fn steps(violations: &mut Violations, steps: &[proto::Step], own_times: OwnTimes) -> Vec<Step> {
    if own_times == OwnTimes::Firings && steps.len() != 1 {
        violations.add("campaign.steps", "must be exactly one: a newsletter is one message");
    } else if !(1..=MOST_STEPS).contains(&steps.len()) {
        violations.add("campaign.steps", format!("must be 1 to {MOST_STEPS}"));
    }
    let mut decoded: Vec<Step> = Vec::new();
    for (place, of) in steps.iter().enumerate().take(MOST_STEPS) {
        let path = format!("campaign.steps[{place}]");
        if !is_slug(&of.step_id, 1) {
            violations.add(format!("{path}.stepId"), "must be 1 to 63 characters of a-z, 0-9 and \"-\"");
        } else if decoded.iter().any(|earlier| earlier.step_id == of.step_id) {
            violations.add(format!("{path}.stepId"), "comes twice");
        }
        if own_times == OwnTimes::Firings {
            check_message(violations, &path, of);
        }
        let timing = timing(violations, &path, of.delay.as_ref(), place, own_times);
        let action = action(violations, &path, of.action.as_ref());
        let condition = condition(violations, &format!("{path}.conditionFilter"), &of.condition_filter, &decoded);
        if let (Some((delay, anchor, if_past)), Some(action)) = (timing, action) {
            decoded.push(Step { step_id: of.step_id.clone(), delay, anchor, if_past, condition, action });
        }
    }
    decoded
}

/// The step of a newsletter is its message, and nothing else.
fn check_message(violations: &mut Violations, path: &str, of: &proto::Step) {
    if of.delay.as_ref().is_some_and(|delay| !is_nothing(delay)) {
        violations.add(format!("{path}.delay"), "must be absent: a newsletter has its own times");
    }
    if matches!(of.action, Some(step::Action::Wait(_) | step::Action::Update(_))) {
        violations.add(format!("{path}.send"), "is required: a newsletter is one message");
    }
    if !of.condition_filter.is_empty() {
        let allowed = "must be empty: campaign.audienceFilter says who gets a newsletter";
        violations.add(format!("{path}.conditionFilter"), allowed);
    }
}

/// Whether a delay is what the step of a newsletter is shown with.
fn is_nothing(of: &proto::Delay) -> bool {
    let at_once = matches!(of.length, None | Some(delay::Length::Elapsed(proto::Elapsed { hours: 0, minutes: 0 })));
    at_once && matches!(of.anchor(), delay::Anchor::Unspecified | delay::Anchor::Trigger) && of.field.is_empty()
}

/// When a step begins: how long after what, and what comes of it where that is over.
fn timing(
    violations: &mut Violations,
    path: &str,
    of: Option<&proto::Delay>,
    place: usize,
    own_times: OwnTimes,
) -> Option<(Delay, Anchor, IfPast)> {
    if own_times == OwnTimes::Firings {
        return Some((Delay::NOTHING, Anchor::Trigger, IfPast::Skip));
    }
    let anchor = anchor(violations, path, of, place);
    let of_field = matches!(anchor, Some(Anchor::Field(_)));
    let before = of_field || own_times == OwnTimes::Dates && anchor == Some(Anchor::Trigger);
    let delay = delay(violations, &format!("{path}.delay"), of, before);
    let if_past = if_past(violations, path, of, of_field);
    Some((delay?, anchor?, if_past))
}

/// It may ask what became of the steps before.
fn condition(violations: &mut Violations, path: &str, text: &str, earlier: &[Step]) -> String {
    let fields = condition_fields(earlier.iter().map(|step| step.step_id.as_str()));
    decode::filter(violations, path, text, &fields).map_or(String::new(), |filter| filter.text().to_owned())
}

fn action(violations: &mut Violations, path: &str, of: Option<&step::Action>) -> Option<Action> {
    match of {
        Some(step::Action::Send(of)) => send(violations, &format!("{path}.send"), of),
        Some(step::Action::Wait(of)) => Some(Action::Wait(wait(violations, &format!("{path}.wait"), of))),
        Some(step::Action::Update(of)) => Some(Action::Update(update(violations, &format!("{path}.update"), of))),
        None => {
            violations.add(format!("{path}.send"), "is required: what the step does, send, wait or update");
            None
        }
    }
}

fn send(violations: &mut Violations, path: &str, of: &proto::SendAction) -> Option<Action> {
    let variants = variants(violations, &format!("{path}.variants"), &of.variants);
    let data = decode::object(violations, format_args!("{path}.data"), of.data.clone());
    let template_id = match variants.first() {
        None => decode::parse(violations, format_args!("{path}.templateId"), &of.template_id)?,
        Some(first) => {
            if !of.template_id.is_empty() {
                violations.add(format!("{path}.templateId"), "must be empty where there are variants");
            }
            first.template_id.clone()
        }
    };
    Some(Action::Send { template_id, channel: Channel::Email, variants, data })
}

fn variants(violations: &mut Violations, path: &str, of: &[proto::Variant]) -> Vec<Variant> {
    if of.len() == 1 || of.len() > MOST_VARIANTS {
        violations.add(path, format!("must be none, or 2 to {MOST_VARIANTS}"));
    }
    let mut decoded: Vec<Variant> = Vec::new();
    for (place, of) in of.iter().enumerate().take(MOST_VARIANTS) {
        let at = |name: &str| format!("{path}[{place}].{name}");
        if !is_slug(&of.variant_id, 1) {
            violations.add(at("variantId"), "must be 1 to 63 characters of a-z, 0-9 and \"-\"");
        } else if decoded.iter().any(|earlier| earlier.variant_id == of.variant_id) {
            violations.add(at("variantId"), "comes twice");
        }
        let weight = decode::between(violations, at("weight"), of.weight, 0, 1_000);
        let template_id = decode::parse(violations, at("templateId"), &of.template_id);
        decoded.extend(template_id.map(|template_id| Variant {
            variant_id: of.variant_id.clone(),
            template_id,
            weight: u32::try_from(weight).unwrap_or(0),
        }));
    }
    if !of.is_empty() && of.iter().all(|variant| variant.weight == 0) {
        violations.add(path, "must have weights of which one is more than 0");
    }
    decoded
}

fn wait(violations: &mut Violations, path: &str, of: &proto::WaitAction) -> Wait {
    let timeout = format_args!("{path}.timeoutHours");
    Wait {
        event_type: event_type(violations, &format!("{path}.eventType"), &of.event_type),
        event_filter: event_filter(violations, &format!("{path}.eventFilter"), &of.event_filter),
        same_subject: of.same_subject,
        timeout_hours: decode::between(violations, timeout, of.timeout_hours, 1, LONGEST_TIMEOUT),
        exit_on_timeout: of.exit_on_timeout,
    }
}

/// A filter over events, as it is kept.
pub(super) fn event_filter(violations: &mut Violations, path: &str, text: &str) -> String {
    decode::filter(violations, path, text, events::fields()).map_or(String::new(), |filter| filter.text().to_owned())
}

fn update(violations: &mut Violations, path: &str, of: &proto::UpdateAction) -> Update {
    let topic = decode::parse_optional(violations, format_args!("{path}.withdrawTopicId"), &of.withdraw_topic_id);
    let update = Update {
        set_attributes: decode::object(violations, format_args!("{path}.setAttributes"), of.set_attributes.clone()),
        add_tags: decode::lines(violations, &format!("{path}.addTags"), &of.add_tags, MOST_TAGS, 64),
        remove_tags: decode::lines(violations, &format!("{path}.removeTags"), &of.remove_tags, MOST_TAGS, 64),
        withdraw_topic_id: topic,
    };
    let changes_tags = !of.add_tags.is_empty() || !of.remove_tags.is_empty();
    if of.set_attributes.is_none() && !changes_tags && of.withdraw_topic_id.is_empty() {
        violations.add(path, "must change something");
    }
    update
}

fn anchor(violations: &mut Violations, path: &str, of: Option<&proto::Delay>, place: usize) -> Option<Anchor> {
    let number = of.map_or(0, |delay| delay.anchor);
    let field = of.map_or("", |delay| delay.field.as_str());
    let anchor: Option<delay::Anchor> = decode::choice(violations, format_args!("{path}.delay.anchor"), number);
    if anchor != Some(delay::Anchor::Field) && !field.is_empty() {
        violations.add(format!("{path}.delay.field"), "must be empty unless anchor is ANCHOR_FIELD");
    }
    match anchor {
        Some(delay::Anchor::PreviousStep) if place == 0 => {
            violations.add(format!("{path}.delay.anchor"), "the first step has none before it");
            None
        }
        Some(delay::Anchor::Field) => {
            decode::parse(violations, format_args!("{path}.delay.field"), field).map(Anchor::Field)
        }
        Some(delay::Anchor::Trigger) => Some(Anchor::Trigger),
        Some(delay::Anchor::PreviousStep) => Some(Anchor::PreviousStep),
        Some(delay::Anchor::Unspecified) | None if place == 0 => Some(Anchor::Trigger),
        Some(delay::Anchor::Unspecified) | None => Some(Anchor::PreviousStep),
    }
}

fn if_past(violations: &mut Violations, path: &str, of: Option<&proto::Delay>, of_field: bool) -> IfPast {
    let path = format!("{path}.delay.ifPast");
    let if_past: Option<delay::IfPast> = decode::choice(violations, &path, of.map_or(0, |delay| delay.if_past));
    if if_past.is_some() && !of_field {
        violations.add(path, "must be unspecified unless anchor is ANCHOR_FIELD");
    }
    if if_past == Some(delay::IfPast::SendNow) { IfPast::SendNow } else { IfPast::Skip }
}

/// `before` allows that it ends before it begins.
fn delay(violations: &mut Violations, path: &str, of: Option<&proto::Delay>, before: bool) -> Option<Delay> {
    let least = |most: i32| if before { -most } else { 0 };
    match of.and_then(|delay| delay.length.as_ref()) {
        Some(delay::Length::Elapsed(elapsed)) => {
            let most = MOST_DAYS * 24;
            let hours =
                decode::between(violations, format_args!("{path}.elapsed.hours"), elapsed.hours, least(most), most);
            let most = most * 60;
            let minutes =
                decode::between(violations, format_args!("{path}.elapsed.minutes"), elapsed.minutes, least(most), most);
            let together = i64::from(hours) * 60 + i64::from(minutes);
            if together.abs() > i64::from(most) {
                violations.add(format!("{path}.elapsed"), format!("must be at most {MOST_DAYS} days together"));
            }
            Some(Delay::Elapsed { minutes: together })
        }
        Some(delay::Length::Calendar(calendar)) => {
            let days = format_args!("{path}.calendar.days");
            let days = decode::between(violations, days, calendar.days, least(MOST_DAYS), MOST_DAYS);
            let at = (!calendar.at.is_empty())
                .then(|| violations.take(format!("{path}.calendar.at"), parse_time_of_day(&calendar.at)));
            let weekdays = decode::weekdays(violations, format_args!("{path}.calendar.weekdays"), &calendar.weekdays)?;
            Some(Delay::Calendar { days, at: at.flatten(), weekdays })
        }
        None => {
            violations.add(path, "is required: elapsed or calendar");
            None
        }
    }
}
