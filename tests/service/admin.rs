//! What operators and their tools meet.

use rapport::rpc::proto::{GetStatusRequest, RunJobRequest};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use super::harness::{World, refusal};

const SERVICES: [&str; 8] = ["Admin", "Campaign", "Contact", "Customer", "Delivery", "Event", "Preference", "Template"];

#[tokio::test]
async fn the_status_names_the_version_the_schema_the_database_and_every_job() {
    let mut world = World::new().await;
    world.dispatch().await;
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert!(status.schema_version.starts_with("m2026"), "{}", status.schema_version);
    assert!(status.database.starts_with("sqlite 3.") || status.database.starts_with("postgres 1"));
    assert_eq!(status.degraded_reasons, Vec::<String>::new());
    let jobs: Vec<_> = status.jobs.iter().map(|job| job.job_id.as_str()).collect();
    let expected = [
        "dispatch",
        "run-newsletters",
        "advance-enrollments",
        "scan-triggers",
        "run-backfills",
        "recover",
        "expire",
        "forget-requests",
        "forget-deliveries",
        "forget-evidence",
        "purge-customers",
        "check-senders",
        "watch-senders",
    ];
    assert_eq!(jobs, expected);
    let dispatch = &status.jobs[0];
    assert!(dispatch.run_count >= 1 && dispatch.failure_count == 0 && dispatch.last_success_time.is_some());
    let unknown = world.admin.run_job(RunJobRequest { job_id: "sweep".into() }).await;
    assert_eq!(refusal(unknown), "JOB_NOT_FOUND");
}

#[tokio::test]
async fn health_is_known_for_the_whole_for_each_service_and_for_the_dispatcher() {
    let world = World::new().await;
    let mut health = HealthClient::new(world.channel.clone());
    let names = SERVICES.iter().map(|name| format!("rapport.v1.{name}Service"));
    for service in names.chain([String::new(), "dispatcher".to_owned()]) {
        let answer = health.check(HealthCheckRequest { service: service.clone() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(HealthCheckRequest { service: "rapport.v1.Nothing".into() }).await;
    assert_eq!(unknown.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn reflection_of_both_ages_lists_every_service_and_knows_the_error_details() {
    let world = World::new().await;
    let names = SERVICES.iter().map(|name| format!("rapport.v1.{name}Service"));
    let expected: Vec<String> = names.chain(["grpc.health.v1.Health".to_owned()]).collect();

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(listed)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("no list")
    };
    let listed: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for name in &expected {
        assert!(listed.contains(name), "{name} is not in {listed:?}");
    }
    for symbol in ["google.rpc.BadRequest", "google.rpc.ErrorInfo", "rapport.v1.Contact", "google.protobuf.Struct"] {
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.channel.clone());
        let ask = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.into());
        let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        assert!(
            matches!(answer, Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))),
            "{symbol}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_pass_that_was_asked_for_goes_on_when_the_caller_hangs_up() {
    let mut world = World::new().await;
    world.shop().await;
    for number in 0..200 {
        let name = format!("customer-{number}");
        world.customer(&name, "").await;
        let mut request = super::harness::ad_hoc(&name, "orders", "check-in");
        let due = super::harness::at("2026-02-02T10:00:00Z");
        request.due = Some(rapport::rpc::proto::schedule_contact_request::Due::DueTime(due));
        world.contacts.schedule_contact(request).await.unwrap();
    }
    world.advance_to("2026-02-02T10:00:00Z");
    let mut admin = world.admin.clone();
    let call = tokio::spawn(async move { admin.run_job(RunJobRequest { job_id: "dispatch".into() }).await });
    while world.mail().is_empty() {
        tokio::task::yield_now().await;
    }
    call.abort();
    world.dispatch().await;
    assert_eq!(world.mail().len(), 200);
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.jobs[0].failure_count, 0);
}
