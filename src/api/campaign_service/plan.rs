//! A plan from the wire: all that is wrong with it at once.

use std::num::NonZeroU32;

use super::super::{decode, event_service::event_type};
use crate::{
    calendar::{Delay, parse_time_of_day},
    campaigns::{Action, Anchor, Exit, Plan, PlanChange, Reentry, ReentryMode, Step, Trigger},
    delivery::Channel,
    ids::is_slug,
    rpc::{
        Violations,
        proto::{self, campaign, delay, reentry, step},
    },
};

/// After how many hours a contact is too late, unless said otherwise.
const PATIENCE: i32 = 72;
const MOST_PER_MINUTE: i32 = 1_000_000;
const MOST_DAYS: i32 = 3_650;

/// The fields that a mask names. Whatever a plan cannot do without is noted when it is missing.
pub(super) fn change(violations: &mut Violations, of: proto::Campaign, named: impl Fn(&str) -> bool) -> PlanChange {
    let mut change = PlanChange::default();
    if named("display_name") {
        change.display_name = Some(decode::line(violations, "campaign.displayName", &of.display_name, 200));
    }
    if named("description") {
        change.description = Some(decode::text(violations, "campaign.description", of.description, 2_000));
    }
    if named("topic_id") {
        change.topic_id = decode::parse(violations, "campaign.topicId", &of.topic_id);
    }
    if named("event") {
        change.trigger = match of.trigger {
            Some(campaign::Trigger::Event(trigger)) => {
                let event_type = event_type(violations, "campaign.event.eventType", &trigger.event_type);
                Some(Trigger::Event { event_type })
            }
            None => {
                violations.add("campaign.event", "is required: what starts the campaign");
                None
            }
        };
    }
    if named("reentry") {
        change.reentry = Some(reentry(violations, of.reentry.unwrap_or_default()));
    }
    if named("steps") {
        change.steps = Some(steps(violations, &of.steps));
    }
    if named("exits") {
        change.exits = Some(exits(violations, &of.exits));
    }
    if named("policy") {
        let policy = of.policy.unwrap_or_default();
        let hours =
            decode::between(violations, "campaign.policy.expireAfterHours", policy.expire_after_hours, 0, 8_760);
        change.expire_after_hours = Some(if hours == 0 { PATIENCE } else { hours });
        let path = "campaign.policy.maxPerMinute";
        let most = decode::between(violations, path, policy.max_per_minute, 0, MOST_PER_MINUTE);
        change.max_per_minute = Some(u32::try_from(most).ok().and_then(NonZeroU32::new));
    }
    change
}

/// A plan of which every field is named.
pub(super) fn whole(change: PlanChange) -> Option<Plan> {
    Some(Plan {
        display_name: change.display_name?,
        description: change.description?,
        topic_id: change.topic_id?,
        trigger: change.trigger?,
        reentry: change.reentry?,
        steps: change.steps?,
        exits: change.exits?,
        expire_after_hours: change.expire_after_hours?,
        max_per_minute: change.max_per_minute?,
    })
}

fn reentry(violations: &mut Violations, of: proto::Reentry) -> Reentry {
    let mode: Option<reentry::Mode> = decode::choice(violations, "campaign.reentry.mode", of.mode);
    let mode = match mode {
        Some(reentry::Mode::Once) => ReentryMode::Once,
        Some(reentry::Mode::Always) => ReentryMode::Always,
        Some(reentry::Mode::Restart) => ReentryMode::Restart,
        Some(reentry::Mode::OncePerSubject | reentry::Mode::Unspecified) | None => ReentryMode::OncePerSubject,
    };
    let days = decode::between(violations, "campaign.reentry.cooldownDays", of.cooldown_days, 0, MOST_DAYS);
    Reentry { mode, cooldown_days: u16::try_from(days).unwrap_or(0) }
}

fn steps(violations: &mut Violations, steps: &[proto::Step]) -> Vec<Step> {
    if !(1..=50).contains(&steps.len()) {
        violations.add("campaign.steps", "must be 1 to 50");
    }
    let mut decoded: Vec<Step> = Vec::new();
    for (place, of) in steps.iter().enumerate().take(50) {
        let path = format!("campaign.steps[{place}]");
        if !is_slug(&of.step_id, 1) {
            violations.add(format!("{path}.stepId"), "must be 1 to 63 characters of a-z, 0-9 and \"-\"");
        } else if decoded.iter().any(|earlier| earlier.step_id == of.step_id) {
            violations.add(format!("{path}.stepId"), "comes twice");
        }
        let delay = delay(violations, &format!("{path}.delay"), of.delay.as_ref());
        let anchor = anchor(violations, &path, of.delay.as_ref(), place);
        let action = match &of.action {
            Some(step::Action::Send(send)) => {
                let template_id = decode::parse(violations, format_args!("{path}.send.templateId"), &send.template_id);
                template_id.map(|template_id| Action::Send { template_id, channel: Channel::Email })
            }
            None => {
                violations.add(format!("{path}.send"), "is required: what the step does");
                None
            }
        };
        if let (Some(delay), Some(action)) = (delay, action) {
            decoded.push(Step { step_id: of.step_id.clone(), delay, anchor, action });
        }
    }
    decoded
}

fn anchor(violations: &mut Violations, path: &str, of: Option<&proto::Delay>, place: usize) -> Anchor {
    let number = of.map_or(0, |delay| delay.anchor);
    let anchor: Option<delay::Anchor> = decode::choice(violations, format_args!("{path}.delay.anchor"), number);
    match anchor {
        Some(delay::Anchor::PreviousStep) if place == 0 => {
            violations.add(format!("{path}.delay.anchor"), "the first step has none before it");
            Anchor::Trigger
        }
        Some(delay::Anchor::Trigger) => Anchor::Trigger,
        Some(delay::Anchor::PreviousStep) => Anchor::PreviousStep,
        Some(delay::Anchor::Unspecified) | None if place == 0 => Anchor::Trigger,
        Some(delay::Anchor::Unspecified) | None => Anchor::PreviousStep,
    }
}

fn delay(violations: &mut Violations, path: &str, of: Option<&proto::Delay>) -> Option<Delay> {
    match of.and_then(|delay| delay.length.as_ref()) {
        Some(delay::Length::Elapsed(elapsed)) => {
            let most = MOST_DAYS * 24;
            let hours = decode::between(violations, format_args!("{path}.elapsed.hours"), elapsed.hours, 0, most);
            let minutes =
                decode::between(violations, format_args!("{path}.elapsed.minutes"), elapsed.minutes, 0, most * 60);
            let together = i64::from(hours) * 60 + i64::from(minutes);
            if together > i64::from(most) * 60 {
                violations.add(format!("{path}.elapsed"), format!("must be at most {MOST_DAYS} days together"));
            }
            Some(Delay::Elapsed { minutes: together })
        }
        Some(delay::Length::Calendar(calendar)) => {
            let days = decode::between(violations, format_args!("{path}.calendar.days"), calendar.days, 0, MOST_DAYS);
            let at = (!calendar.at.is_empty())
                .then(|| violations.take(format!("{path}.calendar.at"), parse_time_of_day(&calendar.at)));
            let weekdays = decode::weekdays(violations, format_args!("{path}.calendar.weekdays"), &calendar.weekdays)?;
            Some(Delay::Calendar { days: u32::try_from(days).unwrap_or(0), at: at.flatten(), weekdays })
        }
        None => {
            violations.add(path, "is required: elapsed or calendar");
            None
        }
    }
}

fn exits(violations: &mut Violations, exits: &[proto::Exit]) -> Vec<Exit> {
    if exits.len() > 20 {
        violations.add("campaign.exits", "must be at most 20");
    }
    let each = exits.iter().enumerate().take(20);
    each.map(|(place, exit)| Exit {
        event_type: event_type(violations, &format!("campaign.exits[{place}].eventType"), &exit.event_type),
        same_subject: exit.same_subject,
    })
    .collect()
}

/// Whether a field holds something, for an update without a mask.
pub(super) fn is_set(campaign: &proto::Campaign, path: &str) -> bool {
    match path {
        "display_name" => !campaign.display_name.is_empty(),
        "description" => !campaign.description.is_empty(),
        "topic_id" => !campaign.topic_id.is_empty(),
        "event" => campaign.trigger.is_some(),
        "reentry" => campaign.reentry.is_some(),
        "steps" => !campaign.steps.is_empty(),
        "exits" => !campaign.exits.is_empty(),
        _ => campaign.policy.is_some(),
    }
}
