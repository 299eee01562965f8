use tonic::{Request, Response, Status, async_trait};

use super::{Api, decode, encode, open};
use crate::{
    admin::JobStatus,
    clock::Timestamp,
    contacts::{Lane, LaneStats},
    delivery::Channel,
    gate::pauses::{NewPause, Pause},
    ids::SenderId,
    rpc::proto::{
        self, CheckSenderRequest, CheckSenderResponse, DispatchPause, GetStatusRequest, GetStatusResponse,
        ListJobsRequest, ListJobsResponse, ListSendersRequest, ListSendersResponse, PauseDispatchRequest,
        PauseDispatchResponse, ResumeDispatchRequest, ResumeDispatchResponse, RunJobRequest, RunJobResponse,
        admin_service_server::AdminService, lane_stats,
    },
    senders::{self, Sender},
};

#[async_trait]
impl AdminService for Api {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let (_, GetStatusRequest {}, violations) = open(request);
        violations.check()?;
        let status = self.0.admin.status().await?;
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: status.schema_version,
            database: status.database,
            replica: status.replica,
            start_time: Some(encode::time(status.start_time)),
            server_time: Some(encode::time(status.server_time)),
            lanes: status.lanes.iter().map(|stats| encode_lane(stats, status.server_time)).collect(),
            jobs: status.jobs.into_iter().map(encode_job).collect(),
            pauses: status.pauses.into_iter().map(encode_pause).collect(),
            degraded_reasons: status.degraded_reasons,
        }))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        let (_, ListJobsRequest {}, violations) = open(request);
        violations.check()?;
        let jobs = self.0.admin.jobs().into_iter().map(encode_job).collect();
        Ok(Response::new(ListJobsResponse { jobs }))
    }

    async fn run_job(&self, request: Request<RunJobRequest>) -> Result<Response<RunJobResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let job_id = decode::required(&mut violations, "jobId", &message.job_id, 64);
        violations.check()?;
        let (job, summary) = self.0.admin.run_job(&job_id).await?;
        Ok(Response::new(RunJobResponse { job: Some(encode_job(job)), summary }))
    }

    async fn pause_dispatch(
        &self,
        request: Request<PauseDispatchRequest>,
    ) -> Result<Response<PauseDispatchResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let channel: Option<proto::Channel> = decode::choice(&mut violations, "channel", message.channel);
        let reason = decode::required(&mut violations, "reason", &message.reason, 500);
        let expire_time = decode::time(&mut violations, "expireTime", message.expire_time);
        if expire_time.is_some_and(|end| end <= self.0.clock.now()) {
            violations.add("expireTime", "must be after now");
        }
        violations.check()?;
        let channel = channel.map(|_| Channel::Email);
        let actor = caller.as_str().to_owned();
        let asked = NewPause { channel, reason, actor, expire_time, sender_id: None, purposes: Vec::new() };
        let pause = self.0.admin.pause(asked).await?;
        Ok(Response::new(PauseDispatchResponse { pause: Some(encode_pause(pause)) }))
    }

    async fn resume_dispatch(
        &self,
        request: Request<ResumeDispatchRequest>,
    ) -> Result<Response<ResumeDispatchResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let which = decode::parse_optional(&mut violations, "pauseId", &message.pause_id);
        violations.check()?;
        let left = self.0.admin.resume(which).await?;
        Ok(Response::new(ResumeDispatchResponse { pauses: left.into_iter().map(encode_pause).collect() }))
    }

    async fn list_senders(
        &self,
        request: Request<ListSendersRequest>,
    ) -> Result<Response<ListSendersResponse>, Status> {
        let (_, ListSendersRequest {}, violations) = open(request);
        violations.check()?;
        let senders = self.0.senders.all().map(|sender| encode_sender(sender)).collect();
        Ok(Response::new(ListSendersResponse { senders }))
    }

    async fn check_sender(
        &self,
        request: Request<CheckSenderRequest>,
    ) -> Result<Response<CheckSenderResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<SenderId> = decode::parse(&mut violations, "senderId", &message.sender_id);
        let (sender, report) = self.0.senders.check(&violations.finish(id)?).await?;
        Ok(Response::new(CheckSenderResponse {
            sender: Some(encode_sender(sender)),
            ready: report.is_ready(),
            checks: report.checks.into_iter().map(encode_check).collect(),
        }))
    }
}

fn encode_sender(of: &Sender) -> proto::Sender {
    proto::Sender {
        sender_id: of.sender_id.to_string(),
        from: of.from.to_string(),
        reply_to: of.reply_to.as_ref().map(ToString::to_string).unwrap_or_default(),
        postal_address: of.postal_address.clone(),
        dkim_domain: if of.has_signing_key() { of.domain().to_owned() } else { String::new() },
        dkim_selectors: of.keys.iter().map(|key| key.pair.selector().to_owned()).collect(),
        return_path_domain: of.return_path_domain.clone().unwrap_or_default(),
        purposes: of.purposes.iter().map(|purpose| encode::purpose(*purpose).into()).collect(),
    }
}

fn encode_check(of: senders::Check) -> proto::Check {
    let block = of.finding.trouble().map(|detail| proto::Block {
        reason: proto::BlockReason::SenderNotReady.into(),
        effect: proto::block::Effect::Defer.into(),
        detail: detail.to_owned(),
        retry_time: None,
    });
    proto::Check { passed: block.is_none(), rule: of.rule, block }
}

fn encode_pause(of: Pause) -> DispatchPause {
    DispatchPause {
        pause_id: of.pause_id.to_string(),
        channel: encode::channel(of.channel).into(),
        reason: of.reason,
        actor: of.actor,
        create_time: Some(encode::time(of.create_time)),
        expire_time: of.expire_time.map(encode::time),
        sender_id: of.sender_id.map(|id| id.to_string()).unwrap_or_default(),
        purposes: of.purposes.into_iter().map(|purpose| encode::purpose(purpose).into()).collect(),
    }
}

fn encode_lane(stats: &LaneStats, now: Timestamp) -> proto::LaneStats {
    let lane = match stats.lane {
        Lane::Transactional => lane_stats::Lane::Transactional,
        Lane::FollowUp => lane_stats::Lane::FollowUp,
        Lane::Bulk => lane_stats::Lane::Bulk,
    };
    proto::LaneStats {
        lane: lane.into(),
        scheduled: stats.scheduled,
        due: stats.due,
        sending: stats.sending,
        unknown_outcome: stats.unknown_outcome,
        oldest_due_time: stats.oldest_due_time.map(encode::time),
        lag_seconds: stats.lag_seconds(now),
    }
}

fn encode_job(of: JobStatus) -> proto::Job {
    proto::Job {
        job_id: of.job_id.to_owned(),
        cron: of.cron.to_owned(),
        last_start_time: of.report.last_start_time.map(encode::time),
        last_success_time: of.report.last_success_time.map(encode::time),
        next_time: of.report.next_time.map(encode::time),
        last_result: of.report.last_result,
        run_count: of.report.run_count,
        failure_count: of.report.failure_count,
    }
}
