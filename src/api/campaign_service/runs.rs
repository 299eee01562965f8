//! Runs and numbers, from the wire and onto it.

use super::{super::decode, encode};
use crate::{
    campaigns::{Period, Run, RunState},
    clock::Timestamp,
    contacts::Tally,
    rpc::{
        Violations,
        proto::{self, GetCampaignStatsRequest, StatsInterval, StatsPoint, campaign_run},
    },
};

/// How many points are given at most.
const MOST_POINTS: i64 = 1_000;

/// A run with what became of its audience.
pub(super) fn encode_run(of: Run, tally: &Tally, backfill: Option<proto::BackfillProgress>) -> proto::CampaignRun {
    let time = super::super::encode::time;
    let state = match of.state {
        RunState::Queued => campaign_run::State::Queued,
        RunState::Running => campaign_run::State::Running,
        RunState::Finished => campaign_run::State::Finished,
        RunState::Canceled => campaign_run::State::Canceled,
        RunState::Skipped => campaign_run::State::Skipped,
    };
    proto::CampaignRun {
        run_id: of.run_id.to_string(),
        campaign_id: of.campaign_id.to_string(),
        nominal_time: Some(time(of.nominal_time)),
        start_time: of.start_time.map(time),
        end_time: of.end_time.map(time),
        state: state.into(),
        manual: of.manual,
        note: of.note,
        stats: Some(encode::stats(tally, Vec::new())),
        local_time: of.local.map(|local| local.to_string()).unwrap_or_default(),
        campaign_version: of.campaign_version,
        backfill,
    }
}

/// Which numbers are asked for.
pub(super) fn decode_period(violations: &mut Violations, of: &GetCampaignStatsRequest, now: Timestamp) -> Period {
    let range = of.range.unwrap_or_default();
    let from = decode::time(violations, "range.startTime", range.start_time);
    let before = decode::time(violations, "range.endTime", range.end_time);
    if from.zip(before).is_some_and(|(from, before)| before <= from) {
        violations.add("range.endTime", "must be after startTime");
    }
    let interval: Option<StatsInterval> = decode::choice(violations, "interval", of.interval);
    let every = match interval {
        Some(StatsInterval::Hour) => 3_600,
        Some(StatsInterval::Day) => 86_400,
        Some(StatsInterval::Week) => 7 * 86_400,
        Some(StatsInterval::Unspecified) | None => return Period { from, before, every: None },
    };
    let Some(from) = from else {
        violations.add("range.startTime", "is required where points are asked for");
        return Period::default();
    };
    if from.timestamp_subsec_nanos() != 0 {
        violations.add("range.startTime", "must be a whole second where points are asked for");
    }
    let before = before.unwrap_or(now);
    if (before - from).num_seconds() > MOST_POINTS * every {
        violations.add("interval", format!("must be wider: {MOST_POINTS} points are the most"));
    }
    Period { from: Some(from), before: Some(before), every: Some(every) }
}

/// The numbers of parts of a range.
pub(super) fn encode_points(of: Vec<(Timestamp, Tally)>) -> Vec<StatsPoint> {
    let point = |(start, tally): (Timestamp, Tally)| StatsPoint {
        start_time: Some(super::super::encode::time(start)),
        stats: Some(encode::stats(&tally, Vec::new())),
    };
    of.into_iter().map(point).collect()
}
