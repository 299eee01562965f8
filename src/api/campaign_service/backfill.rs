//! Backfills on the wire.

use std::num::NonZeroU32;

use super::{
    super::{decode, encode},
    rehearse,
};
use crate::{
    campaigns::Progress,
    clock::Timestamp,
    intake::BackfillOrder,
    rpc::{
        Fault, Violations,
        proto::{BackfillCampaignRequest, BackfillProgress, TimeRange},
    },
};

const FASTEST: i32 = 1_000_000;

/// What is to be backfilled; all that is wrong with it at once.
pub(super) fn decode(
    of: &BackfillCampaignRequest,
    now: Timestamp,
    mut violations: Violations,
) -> Result<BackfillOrder, Fault> {
    let campaign_id = decode::parse(&mut violations, "campaignId", &of.campaign_id);
    let range = rehearse::past(&mut violations, of.range, now);
    let rate = decode::between(&mut violations, "maxPerMinute", of.max_per_minute, 1, FASTEST);
    let rate = u32::try_from(rate).ok().and_then(NonZeroU32::new);
    let ((campaign_id, (start, end)), max_per_minute) = violations.finish(campaign_id.zip(range).zip(rate))?;
    Ok(BackfillOrder { campaign_id, start, end, max_per_minute })
}

/// How far it has come.
pub(super) fn encode(of: Progress) -> BackfillProgress {
    let Progress { backfill, remaining } = of;
    BackfillProgress {
        range: Some(TimeRange {
            start_time: Some(encode::time(backfill.start)),
            end_time: Some(encode::time(backfill.end)),
        }),
        max_per_minute: i32::try_from(backfill.max_per_minute.get()).unwrap_or(FASTEST),
        events: backfill.entered + backfill.exited + backfill.ignored + remaining,
        entered: backfill.entered,
        exited: backfill.exited,
        ignored: backfill.ignored,
        remaining,
    }
}
