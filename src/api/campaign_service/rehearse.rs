//! Rehearsals on the wire.

use chrono::TimeDelta;

use super::{
    super::{contact_service::encode_state, decode, encode},
    encode::stats,
    plan,
};
use crate::{
    clock::Timestamp,
    rehearsal::{MOST_DAYS, Rehearsal, Rehearsed, RehearsedContact, Source},
    rpc::{
        Fault, Violations,
        proto::{self, RehearseCampaignRequest, RehearseCampaignResponse, TimeRange, rehearse_campaign_request},
    },
};

const MOST_SAMPLES: i32 = 1_000;

/// What is to be rehearsed; all that is wrong with it at once.
pub(super) fn decode(
    of: RehearseCampaignRequest,
    now: Timestamp,
    mut violations: Violations,
) -> Result<Rehearsal, Fault> {
    let source = match of.source {
        Some(rehearse_campaign_request::Source::CampaignId(id)) => {
            decode::parse(&mut violations, "campaignId", &id).map(Source::Stored)
        }
        Some(rehearse_campaign_request::Source::Inline(campaign)) => {
            plan::inline(&mut violations, campaign).map(|(id, plan)| Source::Inline(id, Box::new(plan)))
        }
        None => {
            violations.add("source", "is required: campaignId or inline");
            None
        }
    };
    let range = range(&mut violations, of.range, now);
    let sample_size = decode::between(&mut violations, "sampleSize", of.sample_size, 0, MOST_SAMPLES);
    let (source, (start, end)) = violations.finish(source.zip(range))?;
    Ok(Rehearsal { source, start, end, sample_size: usize::try_from(sample_size).unwrap_or(0) })
}

fn range(violations: &mut Violations, of: Option<TimeRange>, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let (start, end) = past(violations, of, now)?;
    if end - start > TimeDelta::days(MOST_DAYS) {
        violations.add("range", format!("must be {MOST_DAYS} days at most"));
    }
    Some((start, end))
}

/// A range that is over by now.
pub(super) fn past(
    violations: &mut Violations,
    of: Option<TimeRange>,
    now: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let of = of.unwrap_or_default();
    let start = decode::required_time(violations, "range.startTime", of.start_time);
    let end = decode::required_time(violations, "range.endTime", of.end_time);
    let (start, end) = start.zip(end)?;
    if end <= start {
        violations.add("range.endTime", "must be after the start");
    }
    if end > now {
        violations.add("range.endTime", "must be over: only what was recorded counts");
    }
    Some((start, end))
}

/// What it came to.
pub(super) fn encode(of: Rehearsed) -> RehearseCampaignResponse {
    RehearseCampaignResponse {
        stats: Some(stats(&of.tally, of.results)),
        samples: of.samples.into_iter().map(sample).collect(),
        collisions: of.collisions,
        customers: of.customers,
        share: of.buckets.into(),
    }
}

fn sample(of: RehearsedContact) -> proto::RehearsedContact {
    proto::RehearsedContact {
        customer_id: of.customer_id.to_string(),
        step_id: of.step_id,
        due_time: Some(encode::time(of.due_time)),
        due_local_time: of.due_local,
        block: of.block.map(encode::block),
        send_time: of.send_time.map(encode::time),
        state: encode_state(of.state).into(),
    }
}
