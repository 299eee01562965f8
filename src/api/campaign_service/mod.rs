//! Campaigns on the wire.

mod backfill;
mod encode;
mod plan;
mod rehearse;
mod runs;
mod steps;
mod trigger;

use tonic::{Request, Response, Status, async_trait};

use self::runs::{decode_period, encode_points, encode_run};
use super::{Api, Parts, answer, decode, open};
use crate::{
    campaigns::{self, Campaign, CampaignOrder, Enrollment, Run},
    clock::Timestamp,
    ids::CampaignId,
    rpc::{
        Fault, Mask, Reply, Violations,
        proto::{
            self, ActivateCampaignRequest, ActivateCampaignResponse, ArchiveCampaignRequest, ArchiveCampaignResponse,
            BackfillCampaignRequest, BackfillCampaignResponse, CancelCampaignRunRequest, CancelCampaignRunResponse,
            CreateCampaignRequest, CreateCampaignResponse, DeleteCampaignRequest, DeleteCampaignResponse,
            GetCampaignRequest, GetCampaignResponse, GetCampaignStatsRequest, GetCampaignStatsResponse,
            ListCampaignRunsRequest, ListCampaignRunsResponse, ListCampaignsRequest, ListCampaignsResponse,
            ListEnrollmentsRequest, ListEnrollmentsResponse, PauseCampaignRequest, PauseCampaignResponse,
            PreviewCampaignRequest, PreviewCampaignResponse, RehearseCampaignRequest, RehearseCampaignResponse,
            ResumeCampaignRequest, ResumeCampaignResponse, RunCampaignRequest, RunCampaignResponse,
            StopEnrollmentRequest, StopEnrollmentResponse, UpdateCampaignRequest, UpdateCampaignResponse,
            campaign_service_server::CampaignService, preview_campaign_request::Source,
        },
    },
};

const CAN_CHANGE: &[&str] = &[
    "display_name",
    "description",
    "topic_id",
    "one_off",
    "recurring",
    "event",
    "date",
    "audience",
    "audience_filter",
    "reentry",
    "steps",
    "exits",
    "goal",
    "policy",
    "active_range",
];
const OUTPUT_ONLY: &[&str] = &[
    "campaign_id",
    "purpose",
    "state",
    "state_note",
    "version",
    "upcoming_fire_times",
    "create_time",
    "update_time",
    "etag",
];
/// What campaigns are listed by.
const ORDERS: &[(&str, CampaignOrder)] = &[
    ("campaign_id", CampaignOrder::Id),
    ("create_time", CampaignOrder::Created),
    ("update_time", CampaignOrder::Updated),
];
/// How many customers a preview names, and how many at most.
const SAMPLES: usize = 5;
const MOST_SAMPLES: i32 = 20;

#[async_trait]
impl CampaignService for Api {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<CreateCampaignResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "CreateCampaign", &request_id, &message);
        if message.campaign.is_none() {
            violations.add("campaign", "is required");
        }
        let campaign = message.campaign.unwrap_or_default();
        let id: Option<CampaignId> =
            decode::parse_optional(&mut violations, "campaign.campaignId", &campaign.campaign_id);
        let plan = plan::plan(&mut violations, campaign);
        let plan = violations.finish(plan)?;
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.campaigns.create(id, plan, key.as_ref(), message.validate_only).await?;
        let campaign = Some(self.show_campaign(reply.value).await?);
        let reply = Reply { value: campaign, replayed: reply.replayed };
        Ok(answer(reply, |campaign| CreateCampaignResponse { campaign }))
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<GetCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let campaign = self.0.campaigns.get(&id(&message.campaign_id, violations)?).await?;
        Ok(Response::new(GetCampaignResponse { campaign: Some(self.show_campaign(campaign).await?) }))
    }

    async fn list_campaigns(
        &self,
        request: Request<ListCampaignsRequest>,
    ) -> Result<Response<ListCampaignsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let wanted = self.wanted(&mut violations, &message.filter, campaigns::fields());
        let order = decode::order(&mut violations, &message.order_by, ORDERS);
        violations.check()?;
        let ListCampaignsRequest { filter, order_by, .. } = message;
        let selection = ListCampaignsRequest { filter, order_by, ..Default::default() };
        let page = self.0.pages.open("ListCampaigns", &selection, page_size, &message.page_token)?;
        let found = self.0.campaigns.list(&wanted, order, &page).await.map_err(Fault::from)?;
        let next_page_token = self.0.pages.seal("ListCampaigns", &selection, found.next.as_deref());
        let campaigns = self.show_campaigns(found.rows).await?;
        Ok(Response::new(ListCampaignsResponse { campaigns, next_page_token }))
    }

    async fn preview_campaign(
        &self,
        request: Request<PreviewCampaignRequest>,
    ) -> Result<Response<PreviewCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let sample = decode::between(&mut violations, "sampleSize", message.sample_size, 0, MOST_SAMPLES);
        let campaign = match message.source {
            Some(Source::CampaignId(campaign_id)) => self.0.campaigns.get(&id(&campaign_id, violations)?).await?,
            Some(Source::Inline(campaign)) => {
                let inline = plan::inline(&mut violations, campaign);
                let (id, plan) = violations.finish(inline)?;
                let campaign = self.0.campaigns.create(None, plan, None, true).await?.value;
                // Whom it holds out is drawn by its name.
                Campaign { campaign_id: id.unwrap_or_else(|| campaign.campaign_id.clone()), ..campaign }
            }
            None => {
                violations.add("campaignId", "one of campaignId and inline is required");
                return Err(Fault::Invalid(violations).into());
            }
        };
        let sample = if sample == 0 { SAMPLES } else { usize::try_from(sample).unwrap_or(SAMPLES) };
        let preview = self.0.gate.preview(&campaign, sample).await?;
        let fire_times = self.fire_times(&campaign).await?;
        Ok(Response::new(encode::preview(preview, fire_times)))
    }

    async fn update_campaign(
        &self,
        request: Request<UpdateCampaignRequest>,
    ) -> Result<Response<UpdateCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let campaign = message.campaign.unwrap_or_default();
        let id: Option<CampaignId> = decode::parse(&mut violations, "campaign.campaignId", &campaign.campaign_id);
        let is_set = |path: &str| plan::is_set(&campaign, path);
        let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, &mut violations);
        // What is wrong with the rest depends on the campaign.
        let Some(id) = id else { return Err(Fault::Invalid(violations).into()) };
        let etag = campaign.etag.clone();
        let change = |stored: Campaign| {
            let result = plan::merged(encode::campaign(stored, Vec::new()), campaign, &mask);
            let plan = plan::plan(&mut violations, result);
            violations.finish(plan)
        };
        let campaign = self.0.campaigns.update(&id, &etag, change, message.validate_only).await?;
        let replanned_contacts = match message.replan_open {
            true => self.0.intake.replan_open(&campaign, message.validate_only).await?,
            false => 0,
        };
        let campaign = Some(self.show_campaign(campaign).await?);
        Ok(Response::new(UpdateCampaignResponse { campaign, replanned_contacts }))
    }

    async fn delete_campaign(
        &self,
        request: Request<DeleteCampaignRequest>,
    ) -> Result<Response<DeleteCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        self.0.campaigns.delete(&id(&message.campaign_id, violations)?, &message.etag).await?;
        Ok(Response::new(DeleteCampaignResponse {}))
    }

    async fn activate_campaign(
        &self,
        request: Request<ActivateCampaignRequest>,
    ) -> Result<Response<ActivateCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = id(&message.campaign_id, violations)?;
        let campaign = self.0.campaigns.activate(&id, &message.etag, message.validate_only).await?;
        Ok(Response::new(ActivateCampaignResponse { campaign: Some(self.show_campaign(campaign).await?) }))
    }

    async fn pause_campaign(
        &self,
        request: Request<PauseCampaignRequest>,
    ) -> Result<Response<PauseCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let note = decode::line(&mut violations, "note", &message.note, 500);
        let campaign = self.0.campaigns.pause(&id(&message.campaign_id, violations)?, note).await?;
        Ok(Response::new(PauseCampaignResponse { campaign: Some(self.show_campaign(campaign).await?) }))
    }

    async fn resume_campaign(
        &self,
        request: Request<ResumeCampaignRequest>,
    ) -> Result<Response<ResumeCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let campaign = self.0.campaigns.resume(&id(&message.campaign_id, violations)?).await?;
        // What waited for it may be due.
        self.0.dispatcher.ring();
        Ok(Response::new(ResumeCampaignResponse { campaign: Some(self.show_campaign(campaign).await?) }))
    }

    async fn archive_campaign(
        &self,
        request: Request<ArchiveCampaignRequest>,
    ) -> Result<Response<ArchiveCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let note = decode::line(&mut violations, "note", &message.note, 500);
        let (campaign, canceled_contacts) =
            self.0.campaigns.archive(&id(&message.campaign_id, violations)?, note).await?;
        let campaign = Some(self.show_campaign(campaign).await?);
        Ok(Response::new(ArchiveCampaignResponse { campaign, canceled_contacts }))
    }

    async fn run_campaign(
        &self,
        request: Request<RunCampaignRequest>,
    ) -> Result<Response<RunCampaignResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "RunCampaign", &request_id, &message);
        let id = id(&message.campaign_id, violations)?;
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.campaigns.run(&id, key.as_ref(), message.validate_only).await?;
        let run = self.show_runs(vec![reply.value]).await?.pop();
        Ok(answer(Reply { value: run, replayed: reply.replayed }, |run| RunCampaignResponse { run }))
    }

    async fn backfill_campaign(
        &self,
        request: Request<BackfillCampaignRequest>,
    ) -> Result<Response<BackfillCampaignResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "BackfillCampaign", &request_id, &message);
        let key = key.filter(|_| !message.validate_only);
        let order = backfill::decode(&message, self.0.clock.now(), violations)?;
        let reply = self.0.intake.backfill(&order, key.as_ref(), message.validate_only).await?;
        let run = self.show_runs(reply.value.run.into_iter().collect()).await?.pop();
        let answered = BackfillCampaignResponse { matched: reply.value.matched, run };
        Ok(answer(Reply { value: answered, replayed: reply.replayed }, |answered| answered))
    }

    async fn list_campaign_runs(
        &self,
        request: Request<ListCampaignRunsRequest>,
    ) -> Result<Response<ListCampaignRunsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let selection =
            ListCampaignRunsRequest { campaign_id: message.campaign_id.clone(), ..ListCampaignRunsRequest::default() };
        let page_size = decode::page_size(&mut violations, message.page_size);
        let id = id(&message.campaign_id, violations)?;
        let page = self.0.pages.open("ListCampaignRuns", &selection, page_size, &message.page_token)?;
        let found = self.0.campaigns.runs(&id, &page).await?;
        let next_page_token = self.0.pages.seal("ListCampaignRuns", &selection, found.next.as_deref());
        Ok(Response::new(ListCampaignRunsResponse { runs: self.show_runs(found.rows).await?, next_page_token }))
    }

    async fn cancel_campaign_run(
        &self,
        request: Request<CancelCampaignRunRequest>,
    ) -> Result<Response<CancelCampaignRunResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let note = decode::line(&mut violations, "note", &message.note, 500);
        let id = decode::parse(&mut violations, "runId", &message.run_id);
        let run = self.0.campaigns.cancel_run(violations.finish(id)?, note).await?;
        Ok(Response::new(CancelCampaignRunResponse { run: self.show_runs(vec![run]).await?.pop() }))
    }

    async fn rehearse_campaign(
        &self,
        request: Request<RehearseCampaignRequest>,
    ) -> Result<Response<RehearseCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let rehearsal = rehearse::decode(message, self.0.clock.now(), violations)?;
        let rehearsed = self.0.rehearsals.rehearse(&rehearsal).await?;
        Ok(Response::new(rehearse::encode(rehearsed)))
    }

    async fn get_campaign_stats(
        &self,
        request: Request<GetCampaignStatsRequest>,
    ) -> Result<Response<GetCampaignStatsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let period = decode_period(&mut violations, &message, self.0.clock.now());
        let id = id(&message.campaign_id, violations)?;
        self.0.campaigns.get(&id).await?;
        let (tally, points) = self.0.campaigns.tally(&id, period).await.map_err(Fault::from)?;
        let results = self.0.contacts.results(&id).await.map_err(Fault::from)?;
        let (stats, points) = (Some(encode::stats(&tally, results)), encode_points(points));
        Ok(Response::new(GetCampaignStatsResponse { stats, points }))
    }

    async fn list_enrollments(
        &self,
        request: Request<ListEnrollmentsRequest>,
    ) -> Result<Response<ListEnrollmentsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let selection = ListEnrollmentsRequest {
            campaign_id: message.campaign_id.clone(),
            customer: message.customer.clone(),
            filter: message.filter.clone(),
            ..Default::default()
        };
        let wanted = self.wanted(&mut violations, &message.filter, campaigns::enrollment_fields());
        let campaign: Option<CampaignId> = decode::parse_optional(&mut violations, "campaignId", &message.campaign_id);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        self.check_campaign(campaign.as_ref()).await?;
        let page = self.0.pages.open("ListEnrollments", &selection, page_size, &message.page_token)?;
        let found =
            self.0.campaigns.enrollments(campaign.as_ref(), customer, &wanted, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListEnrollmentsResponse {
            next_page_token: self.0.pages.seal("ListEnrollments", &selection, found.next.as_deref()),
            enrollments: self.0.enrollments(found.rows).await?,
        }))
    }

    async fn stop_enrollment(
        &self,
        request: Request<StopEnrollmentRequest>,
    ) -> Result<Response<StopEnrollmentResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let reason = decode::line(&mut violations, "reason", &message.reason, 500);
        let id = decode::parse(&mut violations, "enrollmentId", &message.enrollment_id);
        let stopped = self.0.intake.stop_enrollment(violations.finish(id)?, &reason).await?;
        Ok(Response::new(StopEnrollmentResponse { enrollment: self.0.enrollments(vec![stopped]).await?.pop() }))
    }
}

impl Parts {
    /// Enrollments with what became of their steps.
    pub(super) async fn enrollments(&self, rows: Vec<Enrollment>) -> Result<Vec<proto::Enrollment>, Fault> {
        let ids: Vec<_> = rows.iter().map(|one| one.enrollment_id).collect();
        let mut passed = self.campaigns.passed_steps(&ids).await?;
        let encoded = rows.into_iter().map(|one| {
            let passed = passed.remove(&one.enrollment_id).unwrap_or_default();
            encode::enrollment(one, passed)
        });
        Ok(encoded.collect())
    }
}

impl Api {
    async fn fire_times(&self, of: &Campaign) -> Result<Vec<Timestamp>, Fault> {
        Ok(self.0.campaigns.upcoming(&[of]).await?.pop().unwrap_or_default())
    }

    async fn show_campaign(&self, of: Campaign) -> Result<proto::Campaign, Fault> {
        let upcoming = self.fire_times(&of).await?;
        Ok(encode::campaign(of, upcoming))
    }

    async fn show_campaigns(&self, of: Vec<Campaign>) -> Result<Vec<proto::Campaign>, Fault> {
        let upcoming = self.0.campaigns.upcoming(&of.iter().collect::<Vec<_>>()).await?;
        Ok(of.into_iter().zip(upcoming).map(|(campaign, upcoming)| encode::campaign(campaign, upcoming)).collect())
    }

    async fn show_runs(&self, of: Vec<Run>) -> Result<Vec<proto::CampaignRun>, Fault> {
        let mut tallies = self.0.campaigns.run_tallies(&of).await?;
        let mut progress = self.0.campaigns.progress(&of).await?;
        let show = |run: Run| {
            let (tally, progress) = (tallies.remove(&run.run_id), progress.remove(&run.run_id));
            encode_run(run, &tally.unwrap_or_default(), progress.map(backfill::encode))
        };
        Ok(of.into_iter().map(show).collect())
    }
}

fn id(text: &str, mut violations: Violations) -> Result<CampaignId, Fault> {
    let id = decode::parse(&mut violations, "campaignId", text);
    violations.finish(id)
}
