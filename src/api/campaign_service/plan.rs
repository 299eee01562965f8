//! A plan from the wire: all that is wrong with it at once.

use std::num::NonZeroU32;

use super::{
    super::{decode, event_service::event_type},
    steps::{OwnTimes, event_filter, steps},
    trigger::{decode_range, one_off, recurring},
};
use crate::{
    campaigns::{self, DateTrigger, Exit, Goal, LeapDay, Plan, Recurrence, Reentry, ReentryMode, Trigger},
    ids::CampaignId,
    rpc::{
        Mask, Violations,
        proto::{self, campaign, date_trigger, reentry},
    },
};

/// After how many hours a contact is too late, unless said otherwise.
const PATIENCE: i32 = 72;
const MOST_PER_MINUTE: i32 = 1_000_000;
pub(super) const MOST_DAYS: i32 = 3_650;
/// Within how many days a goal counts as reached by a message, unless said otherwise.
const WINDOW: u16 = 14;

/// A plan; whatever it cannot do without is noted when it is missing.
pub(super) fn plan(violations: &mut Violations, of: proto::Campaign) -> Option<Plan> {
    let own_times = OwnTimes::of(of.trigger.as_ref());
    let display_name = decode::line(violations, "campaign.displayName", &of.display_name, 200);
    let description = decode::text(violations, "campaign.description", of.description, 2_000);
    let topic_id = decode::parse(violations, "campaign.topicId", &of.topic_id);
    let trigger = trigger(violations, of.trigger);
    let audience_filter = audience_filter(violations, &of.audience_filter, trigger.as_ref());
    let reentry = reentry(violations, of.reentry.unwrap_or_default());
    if own_times == OwnTimes::Firings && reentry != Reentry::DEFAULT {
        violations.add("campaign.reentry", "must be absent: everybody gets each firing of a newsletter");
    }
    let steps = steps(violations, &of.steps, own_times);
    let exits = exits(violations, &of.exits, own_times);
    let goal = of.goal.map(|of| goal(violations, &of));
    let policy = of.policy.unwrap_or_default();
    let path = "campaign.policy.expireAfterHours";
    let hours = decode::between(violations, path, policy.expire_after_hours, 0, 8_760);
    let path = "campaign.policy.maxPerMinute";
    let most = decode::between(violations, path, policy.max_per_minute, 0, MOST_PER_MINUTE);
    let path = "campaign.policy.holdoutPercent";
    let percent = decode::between(violations, path, policy.holdout_percent, 0, 90);
    let priority = decode::between(violations, "campaign.policy.priority", policy.priority, 0, 100);
    let active_range = decode_range(violations, "campaign.activeRange", of.active_range.as_ref());
    Some(Plan {
        display_name,
        description,
        topic_id: topic_id?,
        trigger: trigger?,
        audience_filter,
        reentry,
        steps,
        exits,
        goal,
        expire_after_hours: if hours == 0 { PATIENCE } else { hours },
        max_per_minute: u32::try_from(most).ok().and_then(NonZeroU32::new),
        active_range,
        holdout_percent: u8::try_from(percent).unwrap_or(0),
        priority: u8::try_from(priority).unwrap_or(0),
    })
}

/// What results from a change: the fields that its mask names are the change's, the others stay as they are stored.
pub(super) fn merged(stored: proto::Campaign, change: proto::Campaign, mask: &Mask) -> proto::Campaign {
    let starts = TRIGGERS.iter().any(|trigger| mask.has(trigger));
    proto::Campaign {
        display_name: mask.pick("display_name", change.display_name).unwrap_or(stored.display_name),
        description: mask.pick("description", change.description).unwrap_or(stored.description),
        topic_id: mask.pick("topic_id", change.topic_id).unwrap_or(stored.topic_id),
        trigger: if starts { change.trigger } else { stored.trigger },
        audience_filter: mask.pick("audience_filter", change.audience_filter).unwrap_or(stored.audience_filter),
        reentry: mask.pick("reentry", change.reentry).unwrap_or(stored.reentry),
        steps: mask.pick("steps", change.steps).unwrap_or(stored.steps),
        exits: mask.pick("exits", change.exits).unwrap_or(stored.exits),
        goal: mask.pick("goal", change.goal).unwrap_or(stored.goal),
        policy: mask.pick("policy", change.policy).unwrap_or(stored.policy),
        active_range: mask.pick("active_range", change.active_range).unwrap_or(stored.active_range),
        ..stored
    }
}

fn audience_filter(violations: &mut Violations, text: &str, trigger: Option<&Trigger>) -> String {
    let path = "campaign.audienceFilter";
    if text.trim().is_empty() && trigger == Some(&Trigger::Audience) {
        violations.add(path, "is required: whom the campaign is for");
    }
    let filter = decode::filter(violations, path, text, campaigns::audience_fields());
    filter.map_or(String::new(), |filter| filter.text().to_owned())
}

/// The fields of the contract that say what starts a campaign.
const TRIGGERS: [&str; 5] = ["one_off", "recurring", "event", "date", "audience"];

fn trigger(violations: &mut Violations, of: Option<campaign::Trigger>) -> Option<Trigger> {
    match of {
        Some(campaign::Trigger::Event(of)) => {
            let event_filter = event_filter(violations, "campaign.event.eventFilter", &of.event_filter);
            let event_type = event_type(violations, "campaign.event.eventType", &of.event_type);
            Some(Trigger::Event { event_type, event_filter })
        }
        Some(campaign::Trigger::OneOff(of)) => one_off(violations, of).map(Trigger::OneOff),
        Some(campaign::Trigger::Recurring(of)) => recurring(violations, &of).map(Trigger::Recurring),
        Some(campaign::Trigger::Date(of)) => Some(Trigger::Date(date(violations, &of))),
        Some(campaign::Trigger::Audience(_)) => Some(Trigger::Audience),
        None => {
            violations.add("campaign.event", "is required: what starts the campaign, event, date or audience");
            None
        }
    }
}

fn date(violations: &mut Violations, of: &proto::DateTrigger) -> DateTrigger {
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name = &of.attribute;
    if !(1..=64).contains(&name.len())
        || !name.chars().all(word)
        || name.starts_with(|first: char| first.is_ascii_digit())
    {
        let allowed = "must be 1 to 64 characters of a-z, A-Z, 0-9 and \"_\", not beginning with a digit";
        violations.add("campaign.date.attribute", allowed);
    }
    let allowed = "is required: RECURRENCE_ONCE or RECURRENCE_YEARLY";
    let recurrence = decode::required_choice(violations, "campaign.date.recurrence", of.recurrence, allowed);
    let leap_day = decode::choice(violations, "campaign.date.leapDay", of.leap_day);
    DateTrigger {
        attribute: name.clone(),
        recurrence: match recurrence {
            Some(date_trigger::Recurrence::Yearly) => Recurrence::Yearly,
            Some(date_trigger::Recurrence::Once | date_trigger::Recurrence::Unspecified) | None => Recurrence::Once,
        },
        leap_day: match leap_day {
            Some(date_trigger::LeapDay::March1) => LeapDay::March1,
            Some(date_trigger::LeapDay::February28 | date_trigger::LeapDay::Unspecified) | None => LeapDay::February28,
        },
    }
}

/// A plan that is not stored: what is wrong with it stands where it stands in the request.
pub(super) fn inline(violations: &mut Violations, campaign: proto::Campaign) -> Option<(Option<CampaignId>, Plan)> {
    let mut of_plan = Violations::default();
    let id = decode::parse_optional(&mut of_plan, "campaign.campaignId", &campaign.campaign_id);
    let plan = plan(&mut of_plan, campaign);
    for violation in of_plan.iter() {
        violations.add(violation.field.replacen("campaign", "inline", 1), &*violation.description);
    }
    Some((id, plan?))
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
        event_filter: event_filter(violations, "campaign.goal.eventFilter", &of.event_filter),
        window_days: u16::try_from(days).ok().filter(|days| *days > 0).unwrap_or(WINDOW),
        exit: of.exit,
    }
}

fn exits(violations: &mut Violations, exits: &[proto::Exit], own_times: OwnTimes) -> Vec<Exit> {
    if own_times == OwnTimes::Firings && !exits.is_empty() {
        violations.add("campaign.exits", "must be empty: nobody is inside a newsletter");
    }
    if exits.len() > 20 {
        violations.add("campaign.exits", "must be at most 20");
    }
    let each = exits.iter().enumerate().take(20);
    each.map(|(place, exit)| Exit {
        event_type: event_type(violations, &format!("campaign.exits[{place}].eventType"), &exit.event_type),
        event_filter: event_filter(violations, &format!("campaign.exits[{place}].eventFilter"), &exit.event_filter),
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
        "event" => matches!(campaign.trigger, Some(campaign::Trigger::Event(_))),
        "date" => matches!(campaign.trigger, Some(campaign::Trigger::Date(_))),
        "audience" => matches!(campaign.trigger, Some(campaign::Trigger::Audience(_))),
        "audience_filter" => !campaign.audience_filter.is_empty(),
        "one_off" => matches!(campaign.trigger, Some(campaign::Trigger::OneOff(_))),
        "recurring" => matches!(campaign.trigger, Some(campaign::Trigger::Recurring(_))),
        "active_range" => campaign.active_range.is_some(),
        "reentry" => campaign.reentry.is_some(),
        "steps" => !campaign.steps.is_empty(),
        "exits" => !campaign.exits.is_empty(),
        "goal" => campaign.goal.is_some(),
        _ => campaign.policy.is_some(),
    }
}
