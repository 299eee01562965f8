//! What those who run and watch the process meet: probes and metrics over HTTP, and the lanes in the status.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use rapport::{
    contacts,
    database::Database,
    migrations::Migrator,
    rpc::proto::{
        self, CancelContactRequest, GetStatusRequest, LaneStats, ListJobsRequest, RunJobRequest, lane_stats::Lane,
    },
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::MigratorTrait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::harness::{MONDAY, World, ad_hoc, at, email, moment};

/// An answer over HTTP.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn get(addr: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The samples of a page of metrics by name and labels. Fails unless every line is one that Prometheus reads, and every sample
/// belongs to a family that said before what it is.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut helped, mut typed, mut ended) = (BTreeSet::new(), BTreeSet::new(), false);
    for line in page.lines() {
        assert!(!ended, "something follows the end: {line}");
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "EOF"] => ended = true,
            ["#", "HELP", family, _] => assert!(helped.insert(family), "{line}"),
            ["#", "TYPE", family, "counter" | "gauge" | "histogram" | "info"] => {
                assert!(helped.contains(family) && typed.insert(family), "{line}");
            }
            _ => {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{line}");
                for label in labels.strip_suffix('}').unwrap().split_terminator(',') {
                    let (_, value) = label.split_once("=\"").unwrap();
                    assert!(value.ends_with('"') && !value[..value.len() - 1].contains(['"', '\\', '\n']), "{line}");
                }
                let endings = ["_total", "_bucket", "_sum", "_count", "_info", ""];
                let mut families = endings.iter().filter_map(|ending| name.strip_suffix(ending));
                assert!(families.any(|family| typed.contains(family)), "{line}");
                assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
            }
        }
    }
    assert!(ended, "{page}");
    samples
}

async fn metrics(world: &World) -> BTreeMap<String, f64> {
    samples(&get(world.http_addr(), "/metrics").await.body)
}

async fn lanes(world: &mut World) -> Vec<LaneStats> {
    world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner().lanes
}

/// Says something to the record behind the service's back.
async fn tell(world: &World, sql: &str) {
    let db: DatabaseConnection = world.own_connection().await;
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn the_probes_answer_and_another_path_is_not_found() {
    let world = World::new().await;
    for (path, status, body) in [
        ("/livez", 200, "Alive.\n"),
        ("/readyz", 200, "Ready.\n"),
        ("/", 404, "There is no such page.\n"),
        ("/metrics/", 404, "There is no such page.\n"),
    ] {
        let answer = get(world.http_addr(), path).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
}

#[tokio::test]
async fn a_service_is_not_ready_while_its_schema_is_behind_and_does_not_mind_one_that_is_ahead() {
    let mut world = World::new().await;
    let last = Migrator::migrations().last().unwrap().name().to_owned();
    let renamed =
        format!("UPDATE seaql_migrations SET version = 'm99990101_of_a_later_release' WHERE version = '{last}'");
    tell(&world, &renamed).await;
    let answer = get(world.http_addr(), "/readyz").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "Migrations are pending: 1.\n"));
    assert_eq!(get(world.http_addr(), "/livez").await.status, 200);
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.degraded_reasons, ["1 migrations are pending: run `rapport migrate`"]);
    tell(&world, &format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{last}', 0)")).await;
    assert_eq!(get(world.http_addr(), "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_service_is_alive_but_not_ready_while_its_database_is_gone_and_ready_again_when_it_is_back() {
    let world = World::new().await;
    let Some(gone) = world.shut_out().await else { return };
    let answer = get(world.http_addr(), "/readyz").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "The database does not answer.\n"));
    assert_eq!(get(world.http_addr(), "/livez").await.status, 200);
    assert_eq!(metrics(&world).await["rapport_database_up"], 0.0);
    gone.end().await;
    let ready = async {
        while get(world.http_addr(), "/readyz").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("it is ready again");
}

#[tokio::test]
async fn each_lane_says_how_full_it_is_in_the_status_and_as_gauges() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", proto::Purpose::Transactional, proto::topic::OptIn::None).await;
    for name in ["anna", "bert"] {
        world.customer(name, "").await;
        world.happens("order.placed", name, "order-1").await;
    }
    // Not due before tomorrow, except for one; the workers, whom nobody wakes on this clock, leave it alone.
    for (topic, due) in [
        ("receipts", "2026-02-03T10:00:00Z"),
        ("orders", "2026-02-03T10:00:00Z"),
        ("offers", "2026-02-03T10:00:00Z"),
        ("offers", "2026-02-04T10:00:00Z"),
    ] {
        let mut request = ad_hoc("anna", topic, "offer");
        request.due = Some(proto::schedule_contact_request::Due::DueTime(at(due)));
        world.contacts.schedule_contact(request).await.unwrap();
    }
    let empty = |lane: Lane, scheduled| LaneStats { lane: lane.into(), scheduled, ..LaneStats::default() };
    let expected = [empty(Lane::Transactional, 1), empty(Lane::FollowUp, 3), empty(Lane::Bulk, 2)];
    assert_eq!(lanes(&mut world).await, expected);
    let page = metrics(&world).await;
    for (lane, scheduled) in [("transactional", 1.0), ("follow_up", 3.0), ("bulk", 2.0)] {
        assert_eq!(page[&format!("rapport_contacts{{lane=\"{lane}\",state=\"scheduled\"}}")], scheduled);
        assert_eq!(page[&format!("rapport_contacts{{lane=\"{lane}\",state=\"due\"}}")], 0.0);
        assert_eq!(page[&format!("rapport_oldest_due_age_seconds{{lane=\"{lane}\"}}")], 0.0);
    }
}

#[tokio::test]
async fn what_is_due_held_or_in_doubt_is_counted_and_doubts_are_named() {
    let mut world = World::new().await;
    world.shop().await;
    for name in ["anna", "bert", "cora", "dora"] {
        world.customer(name, "").await;
        world.happens("order.placed", name, "order-1").await;
    }
    let change = async |db: &Database, number: u8, change: &str| {
        let which = format!("SELECT contact_id FROM contacts ORDER BY contact_id LIMIT 1 OFFSET {number}");
        let sql = format!("UPDATE contacts SET {change} WHERE contact_id = ({which})");
        db.writer().execute_unprepared(&sql).await.unwrap();
    };
    let world = world
        .restart_after(async |db| {
            change(db, 0, "state = 'unknown_outcome'").await;
            change(db, 1, "state = 'sending', claim_token = contact_id").await;
            change(db, 2, "due_time = '2026-02-02 08:58:00+00:00'").await;
            let [_, follow_up, _] = contacts::lane_stats(db.reader(), moment(MONDAY)).await.unwrap();
            assert_eq!((follow_up.scheduled, follow_up.due), (2, 1));
            assert_eq!((follow_up.sending, follow_up.unknown_outcome), (1, 1));
            assert_eq!(follow_up.lag_seconds(moment(MONDAY)), 120.0);
            // Nobody is left who could send these.
            change(db, 1, "state = 'canceled', claim_token = NULL").await;
            change(db, 2, "state = 'canceled'").await;
        })
        .await;
    let mut admin = world.admin.clone();
    let status = admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.degraded_reasons, ["1 contacts in doubt: ListContacts with STATE_UNKNOWN_OUTCOME"]);
    let page = metrics(&world).await;
    for (state, count) in [("scheduled", 1.0), ("due", 0.0), ("sending", 0.0), ("unknown_outcome", 1.0)] {
        assert_eq!(page[&format!("rapport_contacts{{lane=\"follow_up\",state=\"{state}\"}}")], count, "{state}");
    }
}

#[tokio::test]
async fn metrics_count_calls_and_jobs_and_hold_nothing_that_came_from_outside() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer_with("canary-name", |customer| customer.addresses = vec![email("canary@example.com")]).await;
    world.happens("order.placed", "canary-name", "canary-subject").await;
    let missing = CancelContactRequest { contact_id: "cnt_canary".into(), ..Default::default() };
    world.contacts.cancel_contact(missing).await.unwrap_err();
    world.dispatch_after_hours(25).await;
    assert_eq!(world.mail().len(), 1);
    let unknown = tonic::client::Grpc::new(world.channel.clone());
    unknown_method(unknown).await;

    let answer = get(world.http_addr(), "/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    assert!(!answer.body.contains("canary") && !answer.body.contains('@'), "{}", answer.body);
    let page = samples(&answer.body);
    let calls =
        |method: &str, code: &str| page[&format!("rapport_grpc_requests_total{{method=\"{method}\",code=\"{code}\"}}")];
    assert_eq!(calls("EventService/RecordEvent", "OK"), 1.0);
    assert_eq!(calls("ContactService/CancelContact", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(calls("unknown", "UNIMPLEMENTED"), 1.0);
    assert_eq!(page["rapport_database_up"], 1.0);
    let jobs = world.admin.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs;
    for job in jobs {
        assert!(page[&format!("rapport_job_runs_total{{job=\"{}\"}}", job.job_id)] <= job.run_count as f64);
        assert_eq!(page[&format!("rapport_job_failures_total{{job=\"{}\"}}", job.job_id)], 0.0);
    }
}

async fn unknown_method(mut client: tonic::client::Grpc<tonic::transport::Channel>) {
    client.ready().await.unwrap();
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/rapport.v1.CanaryService/Sing");
    let codec = tonic_prost::ProstCodec::<GetStatusRequest, GetStatusRequest>::default();
    let refused = client.unary(tonic::Request::new(GetStatusRequest {}), path, codec).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn any_number_of_scrapers_cost_one_look_at_the_lanes() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let series = "rapport_contacts{lane=\"follow_up\",state=\"scheduled\"}";
    assert_eq!(metrics(&world).await[series], 0.0);
    world.happens("order.placed", "anna", "order-1").await;
    // Within seconds, so as it was; the status is asked seldom and looks itself.
    assert_eq!(metrics(&world).await[series], 0.0);
    assert_eq!(lanes(&mut world).await[1].scheduled, 1);
}

#[tokio::test]
async fn every_job_is_listed_with_what_it_has_done() {
    let mut world = World::new().await;
    let ran = world.admin.run_job(RunJobRequest { job_id: "recover".into() }).await.unwrap().into_inner();
    let jobs = world.admin.list_jobs(ListJobsRequest {}).await.unwrap().into_inner().jobs;
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    let names = |jobs: &[proto::Job]| jobs.iter().map(|job| job.job_id.clone()).collect::<Vec<_>>();
    assert_eq!(names(&jobs), names(&status.jobs));
    let recover = jobs.iter().find(|job| job.job_id == "recover").unwrap();
    assert!(recover.run_count >= ran.job.unwrap().run_count && recover.last_success_time.is_some());
}
