//! Campaigns that no event starts: that a date has come, or that somebody has begun to match, is found by looking.

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Intake, TRIES, enroll::begin_without_event, journeys::Zones};
use crate::{
    calendar::Zone,
    campaigns::{
        self, DateTrigger, EndCause, Plan, Recurrence, Scanned, Trigger,
        enrollments::{self, Applicant, Entry},
        members,
    },
    clock::Timestamp,
    customers,
    database::{self, StoreError},
    filter::FilterError,
    ids::{CampaignId, CustomerId},
    preferences,
    rpc::Fault,
    workers::{Done, Job},
};

/// How far ahead dates are looked for: a step is planned so long before it is due, at most.
pub const LOOK_AHEAD: TimeDelta = TimeDelta::hours(1);
/// How often dates are looked for.
pub const LOOK_EVERY: TimeDelta = TimeDelta::minutes(10);
/// How many customers are looked at in a query.
const CHUNK: u64 = 1_000;
/// How many enter in a transaction.
const AT_ONCE: usize = 200;

/// Somebody who may enter a campaign.
struct Candidate {
    customer_id: CustomerId,
    zone: Option<Zone>,
    subject: String,
    trigger_time: Timestamp,
}

impl Intake {
    /// Lets enter for whom a date has come, or will soon. Answers how many entered.
    async fn look_for_dates(&self, of: &Scanned, plan: &Plan, dates: &DateTrigger) -> Result<usize, Fault> {
        let now = self.clock.now();
        if now < of.scan_time + LOOK_EVERY {
            return Ok(0);
        }
        let (delay, until) = (plan.first_delay(), now + LOOK_AHEAD);
        let corrupt =
            |wrong: FilterError| StoreError::Corrupt { table: "campaign_versions", detail: wrong.to_string() };
        let near = dates.candidates(&delay, of.scan_time, until).map_err(corrupt)?;
        let audience = campaigns::audience(plan)?;
        let home = preferences::policy(self.db.reader()).await?.time_zone;
        let (mut entered, mut after) = (0, None);
        loop {
            let found = customers::matching(self.db.reader(), &[&near, &audience], after, CHUNK, now).await?;
            let Some((last, ..)) = found.last() else { break };
            after = Some(*last);
            let arrived = found.iter().filter_map(|(customer_id, zone, attributes)| {
                let value = attributes.get(&dates.attribute).and_then(Value::as_str)?;
                let arrival = dates.arrival(value, &delay, zone.unwrap_or(home), of.scan_time, until)?;
                let subject = arrival.date.to_string();
                Some(Candidate { customer_id: *customer_id, zone: *zone, subject, trigger_time: arrival.start })
            });
            let arrived: Vec<Candidate> = arrived.collect();
            for some in arrived.chunks(AT_ONCE) {
                entered += self.admit(of, plan, some, false).await?;
            }
        }
        campaigns::note_scan(&self.db, &of.campaign_id, of.scan_time, now).await?;
        Ok(entered)
    }

    /// Lets enter who has begun to match the audience, and notes who matches it no more. Answers how many entered.
    async fn look_for_newcomers(&self, of: &Scanned, plan: &Plan) -> Result<usize, Fault> {
        let now = self.clock.now();
        let audience = campaigns::audience(plan)?;
        let (mut entered, mut after) = (0, None);
        loop {
            let db = self.db.reader();
            let found = members::newcomers(db, &of.campaign_id, &audience, after, AT_ONCE as u64, now).await?;
            let Some(last) = found.last() else { break };
            after = Some(*last);
            let candidate = |customer_id: &CustomerId| Candidate {
                customer_id: *customer_id,
                zone: None,
                subject: String::new(),
                trigger_time: now,
            };
            entered += self.admit(of, plan, &found.iter().map(candidate).collect::<Vec<_>>(), true).await?;
        }
        let mut after = None;
        loop {
            let db = self.db.reader();
            let gone = members::no_more(db, &of.campaign_id, &audience, after, CHUNK, now).await?;
            let Some(last) = gone.last() else { break };
            after = Some(*last);
            let tx = self.db.begin_write().await?;
            if !campaigns::still_acts(&tx, &of.campaign_id, of.version).await? {
                break;
            }
            members::remove(&tx, &of.campaign_id, &gone).await?;
            database::commit(tx).await?;
        }
        Ok(entered)
    }

    /// Lets candidates enter as far as the campaign's rule allows: a transaction, repeated where others are in the way.
    async fn admit(&self, of: &Scanned, plan: &Plan, all: &[Candidate], newcomers: bool) -> Result<usize, Fault> {
        let mut tries = 1;
        loop {
            match self.try_to_admit(of, plan, all, newcomers).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_admit(
        &self,
        of: &Scanned,
        plan: &Plan,
        all: &[Candidate],
        newcomers: bool,
    ) -> Result<usize, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if all.is_empty() || !campaigns::still_acts(&tx, &of.campaign_id, of.version).await? {
            return Ok(0);
        }
        let ids: Vec<CustomerId> = all.iter().map(|one| one.customer_id).collect();
        customers::lock_all(&tx, ids.clone()).await?;
        let mut living = customers::living(&tx, &ids).await?;
        if newcomers {
            let new = members::add(&tx, &of.campaign_id, &ids, now).await?;
            living.retain(|id| new.contains(id));
        }
        let earlier = enrollments::of_campaign(&tx, &of.campaign_id, &ids).await?;
        let (mut entering, mut restarts) = (Vec::new(), Vec::new());
        for one in all.iter().filter(|one| living.contains(&one.customer_id)) {
            let own: Vec<_> = earlier.iter().filter(|past| past.customer_id == one.customer_id).collect();
            let too_soon = matches!(&plan.trigger, Trigger::Date(dates) if dates.recurrence == Recurrence::Yearly)
                && own.iter().any(|past| campaigns::is_within_a_year(&one.subject, &past.subject));
            let applicant = Applicant { event_id: None, subject: &one.subject, occur_time: one.trigger_time };
            match plan.reentry.judge(applicant, &own) {
                Entry::Enter { entry_key, restarts: ended } if !too_soon => {
                    restarts.extend(ended);
                    entering.push(begin_without_event(of, plan, one.customer_id, applicant, entry_key, now));
                }
                Entry::Enter { .. } | Entry::Stay(_) => {}
            }
        }
        super::enroll::end(&tx, restarts, EndCause::Restarted, "it started again", now).await?;
        let known = match newcomers {
            true => customers::zones(&tx, &ids).await?,
            false => all.iter().filter_map(|one| Some((one.customer_id, one.zone?))).collect(),
        };
        let zones = Zones { known, home: preferences::policy(&tx).await?.time_zone };
        let travelled = self.travel(&tx, entering, &zones, now).await?;
        enrollments::insert(&tx, &travelled.enrollments).await?;
        self.arrive(&tx, &travelled, now).await?;
        database::commit(tx).await?;
        self.ring_for_all(&travelled.enrollments, &travelled.contacts);
        Ok(travelled.enrollments.len())
    }
}

/// Looks for dates that have come and customers who have begun to match.
#[derive(Debug)]
pub struct ScanTriggers(pub Intake);

impl ScanTriggers {
    async fn scan(&self, of: &Scanned) -> Result<usize, Fault> {
        let key = (of.campaign_id.clone(), of.version);
        let Some(plan) = campaigns::plan(self.0.db.reader(), key).await? else { return Ok(0) };
        match &plan.trigger {
            Trigger::Date(dates) => self.0.look_for_dates(of, &plan, dates).await,
            Trigger::Audience => self.0.look_for_newcomers(of, &plan).await,
            _ => Ok(0),
        }
    }
}

impl Job for ScanTriggers {
    fn id(&self) -> &'static str {
        "scan-triggers"
    }

    fn cron(&self) -> &'static str {
        "0 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (mut entered, mut failed): (usize, Vec<CampaignId>) = (0, Vec::new());
            for of in campaigns::scanned(self.0.db.reader()).await? {
                if stop.is_cancelled() {
                    break;
                }
                match self.scan(&of).await {
                    Ok(count) => entered += count,
                    Err(Fault::Store(error)) => return Err(error),
                    Err(fault) => {
                        // One campaign that cannot go on holds up no other.
                        tracing::error!(campaign = %of.campaign_id, %fault, "a campaign's customers were not looked for");
                        failed.push(of.campaign_id);
                    }
                }
            }
            Ok(Done { summary: format!("entered {entered}, failed {}", failed.len()), next_time: None })
        })
    }
}
