//! A plan from the wire: all that is wrong with it at once.

use std::num::NonZeroU32;

use super::{
    super::{decode, event_service::event_type},
    steps::steps,
};
use crate::{
    campaigns::{Exit, Goal, Plan, PlanChange, Reentry, ReentryMode, Trigger},
    rpc::{
        Violations,
        proto::{self, campaign, reentry},
    },
};

/// After how many hours a contact is too late, unless said otherwise.
const PATIENCE: i32 = 72;
const MOST_PER_MINUTE: i32 = 1_000_000;
pub(super) const MOST_DAYS: i32 = 3_650;
/// Within how many days a goal counts as reached by a message, unless said otherwise.
const WINDOW: u16 = 14;

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
    if named("goal") {
        change.goal = Some(of.goal.map(|of| goal(violations, &of)));
    }
    if named("policy") {
        let policy = of.policy.unwrap_or_default();
        let hours =
            decode::between(violations, "campaign.policy.expireAfterHours", policy.expire_after_hours, 0, 8_760);
        change.expire_after_hours = Some(if hours == 0 { PATIENCE } else { hours });
        let path = "campaign.policy.maxPerMinute";
        let most = decode::between(violations, path, policy.max_per_minute, 0, MOST_PER_MINUTE);
        change.max_per_minute = Some(u32::try_from(most).ok().and_then(NonZeroU32::new));
        let path = "campaign.policy.holdoutPercent";
        let percent = decode::between(violations, path, policy.holdout_percent, 0, 90);
        change.holdout_percent = Some(u8::try_from(percent).unwrap_or(0));
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
        goal: change.goal?,
        expire_after_hours: change.expire_after_hours?,
        max_per_minute: change.max_per_minute?,
        active_range: change.active_range.unwrap_or_default(),
        holdout_percent: change.holdout_percent?,
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

fn goal(violations: &mut Violations, of: &proto::Goal) -> Goal {
    let days = decode::between(violations, "campaign.goal.windowDays", of.window_days, 0, 365);
    Goal {
        event_type: event_type(violations, "campaign.goal.eventType", &of.event_type),
        window_days: u16::try_from(days).ok().filter(|days| *days > 0).unwrap_or(WINDOW),
        exit: of.exit,
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
        "goal" => campaign.goal.is_some(),
        _ => campaign.policy.is_some(),
    }
}
