//! Campaigns onto the wire.

use super::{
    super::encode,
    trigger::{encode_range, encode_trigger},
};
use crate::{
    calendar::Delay,
    campaigns::{
        Action, Anchor, Campaign, CampaignState, DateTrigger, EndCause, Enrollment, EnrollmentState, Exit, Goal,
        IfPast, LeapDay, PassedStep, Recurrence, ReentryMode, Step, StepOutcome, Update, Variant, Wait, Waits,
    },
    clock::Timestamp,
    contacts::{BlockReason, ContactState, Effect, Results, Tally},
    gate::CampaignPreview,
    rpc::{
        etag,
        proto::{self, block, delay, reentry},
    },
};

/// A campaign.
pub(super) fn campaign(of: Campaign, upcoming: Vec<Timestamp>) -> proto::Campaign {
    let state = match of.state {
        CampaignState::Draft => proto::campaign::State::Draft,
        CampaignState::Active => proto::campaign::State::Active,
        CampaignState::Paused => proto::campaign::State::Paused,
        CampaignState::Completed => proto::campaign::State::Completed,
        CampaignState::Archived => proto::campaign::State::Archived,
    };
    let mode = match of.plan.reentry.mode {
        ReentryMode::Once => reentry::Mode::Once,
        ReentryMode::OncePerSubject => reentry::Mode::OncePerSubject,
        ReentryMode::Always => reentry::Mode::Always,
        ReentryMode::Restart => reentry::Mode::Restart,
    };
    let exit = |exit: Exit| proto::Exit {
        event_type: exit.event_type,
        event_filter: exit.event_filter,
        same_subject: exit.same_subject,
    };
    proto::Campaign {
        campaign_id: of.campaign_id.to_string(),
        display_name: of.plan.display_name,
        description: of.plan.description,
        topic_id: of.plan.topic_id.to_string(),
        purpose: encode::purpose(of.purpose).into(),
        trigger: Some(encode_trigger(of.plan.trigger)),
        audience_filter: of.plan.audience_filter,
        reentry: Some(proto::Reentry { mode: mode.into(), cooldown_days: of.plan.reentry.cooldown_days.into() }),
        steps: of.plan.steps.into_iter().map(step).collect(),
        exits: of.plan.exits.into_iter().map(exit).collect(),
        goal: of.plan.goal.map(goal),
        policy: Some(proto::CampaignPolicy {
            expire_after_hours: of.plan.expire_after_hours,
            max_per_minute: of.plan.max_per_minute.map_or(0, |most| i32::try_from(most.get()).unwrap_or(i32::MAX)),
            holdout_percent: of.plan.holdout_percent.into(),
            priority: of.plan.priority.into(),
        }),
        active_range: encode_range(of.plan.active_range),
        state: state.into(),
        state_note: of.state_note,
        version: of.version,
        upcoming_fire_times: upcoming.into_iter().map(encode::time).collect(),
        create_time: Some(encode::time(of.create_time)),
        update_time: Some(encode::time(of.update_time)),
        etag: etag(of.revision),
    }
}

pub(super) fn date(of: DateTrigger) -> proto::DateTrigger {
    let recurrence = match of.recurrence {
        Recurrence::Once => proto::date_trigger::Recurrence::Once,
        Recurrence::Yearly => proto::date_trigger::Recurrence::Yearly,
    };
    let leap_day = match of.leap_day {
        LeapDay::February28 => proto::date_trigger::LeapDay::February28,
        LeapDay::March1 => proto::date_trigger::LeapDay::March1,
    };
    proto::DateTrigger { attribute: of.attribute, recurrence: recurrence.into(), leap_day: leap_day.into() }
}

fn goal(of: Goal) -> proto::Goal {
    proto::Goal {
        event_type: of.event_type,
        event_filter: of.event_filter,
        window_days: of.window_days.into(),
        exit: of.exit,
    }
}

fn step(of: Step) -> proto::Step {
    let length = match of.delay {
        Delay::Elapsed { minutes } => delay::Length::Elapsed(proto::Elapsed {
            hours: i32::try_from(minutes / 60).unwrap_or(i32::MAX),
            minutes: i32::try_from(minutes % 60).unwrap_or(0),
        }),
        Delay::Calendar { days, at, weekdays } => delay::Length::Calendar(proto::CalendarDelay {
            days,
            at: at.map(|at| at.format("%H:%M").to_string()).unwrap_or_default(),
            weekdays: weekdays.names(),
        }),
    };
    let (anchor, field) = match of.anchor {
        Anchor::Trigger => (delay::Anchor::Trigger, String::new()),
        Anchor::PreviousStep => (delay::Anchor::PreviousStep, String::new()),
        Anchor::Field(path) => (delay::Anchor::Field, path.to_string()),
    };
    let if_past = match of.if_past {
        _ if anchor != delay::Anchor::Field => delay::IfPast::Unspecified,
        IfPast::Skip => delay::IfPast::Skip,
        IfPast::SendNow => delay::IfPast::SendNow,
    };
    let action = match of.action {
        Action::Send { template_id, variants, data, channel: _ } => {
            let template_id = if variants.is_empty() { template_id.to_string() } else { String::new() };
            let variants = variants.into_iter().map(variant).collect();
            proto::step::Action::Send(proto::SendAction { template_id, variants, data: encode::object(&data) })
        }
        Action::Wait(of) => proto::step::Action::Wait(wait(of)),
        Action::Update(of) => proto::step::Action::Update(update(of)),
    };
    let delay = proto::Delay { length: Some(length), anchor: anchor.into(), field, if_past: if_past.into() };
    proto::Step { step_id: of.step_id, delay: Some(delay), condition_filter: of.condition, action: Some(action) }
}

fn variant(of: Variant) -> proto::Variant {
    proto::Variant {
        variant_id: of.variant_id,
        template_id: of.template_id.to_string(),
        weight: i32::try_from(of.weight).unwrap_or(i32::MAX),
    }
}

fn wait(of: Wait) -> proto::WaitAction {
    proto::WaitAction {
        event_type: of.event_type,
        event_filter: of.event_filter,
        same_subject: of.same_subject,
        timeout_hours: of.timeout_hours,
        exit_on_timeout: of.exit_on_timeout,
    }
}

fn update(of: Update) -> proto::UpdateAction {
    proto::UpdateAction {
        set_attributes: encode::object(&of.set_attributes),
        add_tags: of.add_tags,
        remove_tags: of.remove_tags,
        withdraw_topic_id: of.withdraw_topic_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// A customer inside a follow-up.
pub(in crate::api) fn enrollment(of: Enrollment, passed: Vec<PassedStep>) -> proto::Enrollment {
    let state = match of.state {
        EnrollmentState::Active => proto::enrollment::State::Active,
        EnrollmentState::Completed => proto::enrollment::State::Completed,
        EnrollmentState::Exited => proto::enrollment::State::Exited,
        EnrollmentState::Stopped => proto::enrollment::State::Stopped,
    };
    let cause = match of.end_cause {
        None => proto::enrollment::EndCause::Unspecified,
        Some(EndCause::ExitEvent) => proto::enrollment::EndCause::ExitEvent,
        Some(EndCause::Goal) => proto::enrollment::EndCause::Goal,
        Some(EndCause::OptOut) => proto::enrollment::EndCause::OptOut,
        Some(EndCause::CustomerDeleted) => proto::enrollment::EndCause::CustomerDeleted,
        Some(EndCause::WaitTimeout) => proto::enrollment::EndCause::WaitTimeout,
        Some(EndCause::Restarted) => proto::enrollment::EndCause::Restarted,
        Some(EndCause::Operator) => proto::enrollment::EndCause::Operator,
        Some(EndCause::Archived) => proto::enrollment::EndCause::Archived,
    };
    let waiting = match of.waits {
        None => proto::enrollment::Waiting::Unspecified,
        Some(Waits::Field) => proto::enrollment::Waiting::ForField,
        Some(Waits::Delay) => proto::enrollment::Waiting::ForTime,
        Some(Waits::Event) => proto::enrollment::Waiting::ForEvent,
    };
    proto::Enrollment {
        enrollment_id: of.enrollment_id.to_string(),
        campaign_id: of.campaign_id.to_string(),
        campaign_version: of.campaign_version,
        customer_id: of.customer_id.to_string(),
        event_id: of.event_id.map(|id| id.to_string()).unwrap_or_default(),
        subject: of.subject,
        state: state.into(),
        end_cause: cause.into(),
        next_step_id: of.next_step_id.unwrap_or_default(),
        next_time: of.next_time.map(encode::time),
        start_time: Some(encode::time(of.start_time)),
        end_time: of.end_time.map(encode::time),
        waiting: waiting.into(),
        passed_steps: passed.into_iter().map(passed_step).collect(),
        run_id: of.run_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn passed_step(of: PassedStep) -> proto::PassedStep {
    let outcome = match of.outcome {
        StepOutcome::Reached => proto::passed_step::Outcome::Reached,
        StepOutcome::TimedOut => proto::passed_step::Outcome::TimedOut,
        StepOutcome::Done => proto::passed_step::Outcome::Done,
        StepOutcome::Skipped => proto::passed_step::Outcome::Skipped,
    };
    proto::PassedStep {
        step_id: of.step_id,
        outcome: outcome.into(),
        event_id: of.event_id.map(|id| id.to_string()).unwrap_or_default(),
        end_time: Some(encode::time(of.end_time)),
    }
}

/// Whom a campaign would reach.
pub(super) fn preview(of: CampaignPreview, fire_times: Vec<Timestamp>) -> proto::PreviewCampaignResponse {
    let block = |(reason, effect, count): (BlockReason, Effect, i64)| proto::BlockCount {
        reason: encode::reason(reason).into(),
        count,
        effect: encode::effect(effect).into(),
    };
    proto::PreviewCampaignResponse {
        audience: of.audience,
        contactable: of.contactable,
        blocks: of.blocks.into_iter().map(block).collect(),
        sample_customer_ids: of.sample.iter().map(ToString::to_string).collect(),
        fire_times: fire_times.into_iter().map(encode::time).collect(),
        warnings: of.warnings,
        examined: of.examined,
    }
}

/// What became of a campaign's contacts.
pub(super) fn stats(tally: &Tally, results: Vec<Results>) -> proto::CampaignStats {
    let ended = |state: ContactState| match state {
        ContactState::Suppressed => Some(block::Effect::Suppress),
        ContactState::Expired => Some(block::Effect::Expire),
        ContactState::Canceled => Some(block::Effect::Cancel),
        _ => None,
    };
    let block = |(state, reason, count): &(ContactState, Option<BlockReason>, i64)| {
        let (effect, reason) = (ended(*state)?.into(), encode::reason((*reason)?).into());
        Some(proto::BlockCount { reason, count: *count, effect })
    };
    let mut blocks: Vec<proto::BlockCount> = tally.counts.iter().filter_map(block).collect();
    blocks.sort_by_key(|block| (block.effect, block.reason));
    let (sent, mut held_out): (Vec<Results>, Vec<Results>) = results.into_iter().partition(|one| one.step_id.is_some());
    proto::CampaignStats {
        audience: tally.total(),
        scheduled: tally.of(ContactState::Scheduled),
        sending: tally.of(ContactState::Sending),
        sent: tally.of(ContactState::Sent),
        suppressed: tally.of(ContactState::Suppressed),
        failed: tally.of(ContactState::Failed),
        expired: tally.of(ContactState::Expired),
        canceled: tally.of(ContactState::Canceled),
        unknown_outcome: tally.of(ContactState::UnknownOutcome),
        // Who complains has got it.
        delivered: tally.delivered + tally.complained,
        bounced: tally.bounced,
        complained: tally.complained,
        opened: tally.opened,
        clicked: tally.clicked,
        unsubscribed: tally.unsubscribed,
        blocks,
        remaining: tally.remaining,
        converted: sent.iter().map(|one| one.converted).sum(),
        variants: sent.into_iter().filter(|one| one.variant_id.is_some()).map(results_of).collect(),
        holdout: held_out.pop().map(results_of),
    }
}

fn results_of(of: Results) -> proto::VariantStats {
    let share = of.conversion();
    proto::VariantStats {
        step_id: of.step_id.unwrap_or_default(),
        variant_id: of.variant_id.unwrap_or_default(),
        sent: of.sent,
        converted: of.converted,
        conversion: share.share,
        conversion_low: share.low,
        conversion_high: share.high,
    }
}
