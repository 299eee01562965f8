use tonic::{Request, Response, Status, async_trait};

use super::{Api, decode, encode, open};
use crate::{
    admin::JobStatus,
    clock::Timestamp,
    contacts::{Lane, LaneStats},
    rpc::proto::{
        self, GetStatusRequest, GetStatusResponse, ListJobsRequest, ListJobsResponse, RunJobRequest, RunJobResponse,
        admin_service_server::AdminService, lane_stats,
    },
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
