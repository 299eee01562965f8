//! What starts a campaign, from the wire and onto it.

use super::{
    super::{decode, encode},
    encode::date,
};
use crate::{
    calendar::{LocalTime, Zone},
    campaigns::{ActiveRange, CatchUp, OneOff, Overlap, Recurring, Trigger},
    rpc::{
        Violations,
        proto::{
            self, AudienceTrigger, CatchUpPolicy, EventTrigger, OneOffTrigger, OverlapPolicy, RecurringTrigger,
            TimeRange, campaign, one_off_trigger, recurring_trigger,
        },
    },
};

/// For how many minutes a missed firing is worth catching up with, unless said otherwise.
const CATCH_UP_WINDOW: u32 = 1_440;
const LONGEST_CATCH_UP: i32 = 10_080;

/// The only time of a newsletter.
pub(super) fn one_off(violations: &mut Violations, of: OneOffTrigger) -> Option<OneOff> {
    match of.at {
        Some(one_off_trigger::At::SendTime(time)) => {
            let path = "campaign.oneOff.sendTime";
            if time.nanos != 0 {
                violations.add(path, "must be a whole second");
            }
            decode::time(violations, path, Some(time)).map(OneOff::At)
        }
        Some(one_off_trigger::At::LocalTime(text)) => {
            decode::parse::<LocalTime>(violations, "campaign.oneOff.localTime", &text).map(OneOff::Local)
        }
        None => {
            violations.add("campaign.oneOff", "is required: sendTime or localTime");
            None
        }
    }
}

/// The times of a newsletter.
pub(super) fn recurring(violations: &mut Violations, of: &RecurringTrigger) -> Option<Recurring> {
    let path = "campaign.recurring";
    let cron = decode::parse(violations, format_args!("{path}.cron"), &of.cron);
    let zone = match &of.zone {
        Some(recurring_trigger::Zone::TimeZone(name)) => {
            decode::parse::<Zone>(violations, format_args!("{path}.timeZone"), name).map(Some)
        }
        Some(recurring_trigger::Zone::CustomerTimeZone(true)) => Some(None),
        Some(recurring_trigger::Zone::CustomerTimeZone(false)) => {
            violations.add(format!("{path}.customerTimeZone"), "must be true, or timeZone be set instead");
            None
        }
        None => {
            violations.add(path, "is required: timeZone or customerTimeZone");
            None
        }
    };
    let overlap: Option<OverlapPolicy> = decode::choice(violations, format_args!("{path}.overlap"), of.overlap);
    let overlap = match overlap {
        Some(OverlapPolicy::Queue) => Overlap::Queue,
        Some(OverlapPolicy::Skip | OverlapPolicy::Unspecified) | None => Overlap::Skip,
    };
    let catch_up: Option<CatchUpPolicy> = decode::choice(violations, format_args!("{path}.catchUp"), of.catch_up);
    let catch_up = match catch_up {
        Some(CatchUpPolicy::Skip) => CatchUp::Skip,
        Some(CatchUpPolicy::Latest | CatchUpPolicy::Unspecified) | None => CatchUp::Latest,
    };
    let window = format!("{path}.catchUpWindowMinutes");
    let minutes = decode::between(violations, &window, of.catch_up_window_minutes, 0, LONGEST_CATCH_UP);
    if minutes != 0 && catch_up == CatchUp::Skip {
        violations.add(window, "means something with CATCH_UP_POLICY_LATEST alone");
    }
    let minutes = u32::try_from(minutes).ok().filter(|minutes| *minutes > 0).unwrap_or(CATCH_UP_WINDOW);
    Some(Recurring { cron: cron?, zone: zone?, overlap, catch_up, catch_up_window_minutes: minutes })
}

/// From when to when it acts.
pub(super) fn decode_range(violations: &mut Violations, path: &str, of: Option<&TimeRange>) -> ActiveRange {
    let Some(of) = of else { return ActiveRange::default() };
    let start = decode::time(violations, format_args!("{path}.startTime"), of.start_time);
    let end = decode::time(violations, format_args!("{path}.endTime"), of.end_time);
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        violations.add(format!("{path}.endTime"), "must be after startTime");
    }
    ActiveRange { start, end }
}

/// What starts it, onto the wire.
pub(super) fn encode_trigger(of: Trigger) -> campaign::Trigger {
    match of {
        Trigger::Event { event_type, event_filter } => {
            campaign::Trigger::Event(EventTrigger { event_type, event_filter })
        }
        Trigger::Date(of) => campaign::Trigger::Date(date(of)),
        Trigger::Audience => campaign::Trigger::Audience(AudienceTrigger {}),
        Trigger::OneOff(of) => {
            let at = match of {
                OneOff::At(time) => one_off_trigger::At::SendTime(encode::time(time)),
                OneOff::Local(local) => one_off_trigger::At::LocalTime(local.to_string()),
            };
            campaign::Trigger::OneOff(OneOffTrigger { at: Some(at) })
        }
        Trigger::Recurring(of) => campaign::Trigger::Recurring(encode_recurring(of)),
    }
}

fn encode_recurring(of: Recurring) -> RecurringTrigger {
    let overlap = match of.overlap {
        Overlap::Skip => OverlapPolicy::Skip,
        Overlap::Queue => OverlapPolicy::Queue,
    };
    let (catch_up, minutes) = match of.catch_up {
        CatchUp::Skip => (CatchUpPolicy::Skip, 0),
        CatchUp::Latest => (CatchUpPolicy::Latest, of.catch_up_window_minutes),
    };
    RecurringTrigger {
        cron: of.cron.to_string(),
        zone: Some(match of.zone {
            Some(zone) => recurring_trigger::Zone::TimeZone(zone.name().to_owned()),
            None => recurring_trigger::Zone::CustomerTimeZone(true),
        }),
        overlap: overlap.into(),
        catch_up: catch_up.into(),
        catch_up_window_minutes: i32::try_from(minutes).unwrap_or(0),
    }
}

/// From when to when it acts, onto the wire.
pub(super) fn encode_range(of: ActiveRange) -> Option<proto::TimeRange> {
    let range = TimeRange { start_time: of.start.map(encode::time), end_time: of.end.map(encode::time) };
    (of != ActiveRange::default()).then_some(range)
}
