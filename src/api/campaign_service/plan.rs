//! A plan from the wire: all that is wrong with it at once.

use std::num::NonZeroU32;

use super::{
    super::{decode, event_service::event_type},
    steps::{OwnTimes, event_filter, steps},
    trigger::{decode_range, one_off, recurring},
};
use crate::{
    campaigns::{self, DateTrigger, Exit, Goal, LeapDay, Plan, PlanChange, Recurrence, Reentry, ReentryMode, Trigger},
    ids::CampaignId,
    rpc::{
        Fault, Violations,
        proto::{self, campaign, date_trigger, reentry},
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
    let own_times = match &of.trigger {
        Some(campaign::Trigger::Date(_)) => OwnTimes::Dates,
        Some(campaign::Trigger::OneOff(_) | campaign::Trigger::Recurring(_)) => OwnTimes::Firings,
        _ => OwnTimes::None,
    };
    if TRIGGERS.iter().any(|trigger| named(trigger)) {
        change.trigger = trigger(violations, of.trigger);
    }
    if named("audience_filter") {
        let fields = campaigns::audience_fields();
        let filter = decode::filter(violations, "campaign.audienceFilter", &of.audience_filter, fields);
        let text = filter.map_or(String::new(), |filter| filter.text().to_owned());
        if text.is_empty() && change.trigger == Some(Trigger::Audience) {
            violations.add("campaign.audienceFilter", "is required: whom the campaign is for");
        }
        change.audience_filter = Some(text);
    }
    if named("reentry") {
        change.reentry = Some(reentry(violations, of.reentry.unwrap_or_default()));
    }
    if named("steps") {
        change.steps = Some(steps(violations, &of.steps, own_times));
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
        let priority = decode::between(violations, "campaign.policy.priority", policy.priority, 0, 100);
        change.priority = Some(u8::try_from(priority).unwrap_or(0));
    }
    if named("active_range") {
        let range = decode_range(violations, "campaign.activeRange", of.active_range.as_ref());
        change.active_range = Some(range);
    }
    change
}

/// The fields of the contract that say what starts a campaign.
pub(super) const TRIGGERS: [&str; 5] = ["one_off", "recurring", "event", "date", "audience"];

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

/// A plan of which every field is named.
pub(super) fn whole(change: PlanChange) -> Option<Plan> {
    Some(Plan {
        display_name: change.display_name?,
        description: change.description?,
        topic_id: change.topic_id?,
        trigger: change.trigger?,
        audience_filter: change.audience_filter?,
        reentry: change.reentry?,
        steps: change.steps?,
        exits: change.exits?,
        goal: change.goal?,
        expire_after_hours: change.expire_after_hours?,
        max_per_minute: change.max_per_minute?,
        active_range: change.active_range?,
        holdout_percent: change.holdout_percent?,
        priority: change.priority?,
    })
}

/// A plan that is not stored: what is wrong with it stands where it stands in the request.
pub(super) fn inline(violations: &mut Violations, campaign: proto::Campaign) -> Option<(Option<CampaignId>, Plan)> {
    let mut of_plan = Violations::default();
    let id = decode::parse_optional(&mut of_plan, "campaign.campaignId", &campaign.campaign_id);
    let plan = whole(change(&mut of_plan, campaign, |_| true));
    add_inline(violations, &of_plan);
    Some((id, plan?))
}

/// What the service finds wrong with such a plan.
pub(super) fn fault_of_inline(fault: Fault) -> Fault {
    let Fault::Invalid(of_plan) = fault else { return fault };
    let mut violations = Violations::default();
    add_inline(&mut violations, &of_plan);
    Fault::Invalid(violations)
}

fn add_inline(violations: &mut Violations, of_plan: &Violations) {
    for violation in of_plan.iter() {
        violations.add(violation.field.replacen("campaign", "inline", 1), &*violation.description);
    }
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

fn exits(violations: &mut Violations, exits: &[proto::Exit]) -> Vec<Exit> {
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
