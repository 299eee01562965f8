//! Quiet hours, frequency caps and the sending policy, from the wire and onto it.

use std::fmt;

use super::super::{decode, encode};
use crate::{
    calendar::{QuietHours, Zone, parse_time_of_day},
    delivery::Channel,
    preferences::{FrequencyCap, OnHit, PolicyChange, SendingPolicy},
    rpc::{
        Mask, Violations, etag,
        proto::{self, UpdateSendingPolicyRequest, frequency_cap},
    },
    templates::Locale,
};

const CAN_CHANGE: &[&str] = &["quiet_hours", "caps", "time_zone", "default_locale", "holdout_percent"];
const MOST_CAPS: usize = 20;
const MOST_CONTACTS: i32 = 1_000;
/// A year.
const LONGEST_WINDOW: i32 = 366 * 24;

/// What is to change, and the etag that must match.
pub(super) fn change(violations: &mut Violations, message: UpdateSendingPolicyRequest) -> (PolicyChange, String) {
    let new = message.policy.unwrap_or_default();
    let is_set = |path: &str| match path {
        "quiet_hours" => new.quiet_hours.is_some(),
        "caps" => !new.caps.is_empty(),
        "time_zone" => !new.time_zone.is_empty(),
        "default_locale" => !new.default_locale.is_empty(),
        _ => new.holdout_percent != 0,
    };
    let mask = Mask::decode(message.update_mask, CAN_CHANGE, &["etag"], is_set, violations);
    let quiet = new.quiet_hours.and_then(|hours| quiet_hours(violations, "policy.quietHours", &hours));
    let caps = caps(violations, "policy.caps", &new.caps);
    let or = |text: &str, cleared: &str| if text.is_empty() { cleared.to_owned() } else { text.to_owned() };
    let time_zone: Option<Zone> = decode::parse(violations, "policy.timeZone", &or(&new.time_zone, "UTC"));
    let locale: Option<Locale> = decode::parse(violations, "policy.defaultLocale", &or(&new.default_locale, "en"));
    let holdout = decode::between(violations, "policy.holdoutPercent", new.holdout_percent, 0, 50);
    let change = PolicyChange {
        quiet_hours: mask.pick("quiet_hours", quiet),
        caps: mask.pick("caps", caps),
        time_zone: mask.pick("time_zone", time_zone).flatten(),
        default_locale: mask.pick("default_locale", locale).flatten(),
        holdout_percent: mask.pick("holdout_percent", u8::try_from(holdout).unwrap_or(0)),
    };
    (change, new.etag)
}

pub(super) fn quiet_hours(violations: &mut Violations, path: &str, hours: &proto::QuietHours) -> Option<QuietHours> {
    let start = violations.take(format!("{path}.start"), parse_time_of_day(&hours.start));
    let end = violations.take(format!("{path}.end"), parse_time_of_day(&hours.end));
    let days = decode::weekdays(violations, format_args!("{path}.days"), &hours.days);
    if start.is_some() && start == end {
        violations.add(format!("{path}.end"), "must differ from start");
    }
    Some(QuietHours { start: start?, end: end?, days: days? })
}

pub(super) fn caps(violations: &mut Violations, path: &str, caps: &[proto::FrequencyCap]) -> Vec<FrequencyCap> {
    if caps.len() > MOST_CAPS {
        violations.add(path, format!("must be at most {MOST_CAPS}"));
    }
    let each = caps.iter().enumerate().take(MOST_CAPS);
    each.filter_map(|(place, of)| cap(violations, &format!("{path}[{place}]"), of)).collect()
}

fn cap(violations: &mut Violations, path: &str, of: &proto::FrequencyCap) -> Option<FrequencyCap> {
    let channel: Option<proto::Channel> = decode::choice(violations, format_args!("{path}.channel"), of.channel);
    let topic_id = decode::parse_optional(violations, format_args!("{path}.topicId"), &of.topic_id);
    let on_hit = decode::choice(violations, format_args!("{path}.onHit"), of.on_hit);
    let max_contacts = count(violations, format_args!("{path}.maxContacts"), of.max_contacts, MOST_CONTACTS);
    let window_hours = count(violations, format_args!("{path}.windowHours"), of.window_hours, LONGEST_WINDOW);
    Some(FrequencyCap {
        channel: channel.map(|_| Channel::Email),
        topic_id,
        max_contacts: max_contacts?,
        window_hours: window_hours?,
        on_hit: on_hit.map(|on_hit| match on_hit {
            frequency_cap::OnHit::Skip => OnHit::Skip,
            frequency_cap::OnHit::Defer | frequency_cap::OnHit::Unspecified => OnHit::Defer,
        }),
    })
}

fn count(violations: &mut Violations, path: impl fmt::Display, number: i32, most: i32) -> Option<u16> {
    u16::try_from(decode::between(violations, path, number, 1, most)).ok()
}

pub(super) fn encode_policy(of: SendingPolicy) -> proto::SendingPolicy {
    proto::SendingPolicy {
        quiet_hours: of.quiet_hours.map(encode_quiet_hours),
        caps: of.caps.into_iter().map(encode_cap).collect(),
        time_zone: of.time_zone.name().to_owned(),
        default_locale: of.default_locale.to_string(),
        holdout_percent: of.holdout_percent.into(),
        etag: etag(of.revision),
    }
}

pub(super) fn encode_quiet_hours(hours: QuietHours) -> proto::QuietHours {
    proto::QuietHours {
        start: hours.start.format("%H:%M").to_string(),
        end: hours.end.format("%H:%M").to_string(),
        days: hours.days.names(),
    }
}

pub(super) fn encode_cap(of: FrequencyCap) -> proto::FrequencyCap {
    let on_hit = match of.on_hit {
        None => frequency_cap::OnHit::Unspecified,
        Some(OnHit::Defer) => frequency_cap::OnHit::Defer,
        Some(OnHit::Skip) => frequency_cap::OnHit::Skip,
    };
    proto::FrequencyCap {
        channel: encode::channel(of.channel).into(),
        topic_id: of.topic_id.map(|id| id.to_string()).unwrap_or_default(),
        max_contacts: of.max_contacts.into(),
        window_hours: of.window_hours.into(),
        on_hit: on_hit.into(),
    }
}
