//! A newsletter to many: how soon it begins, how fast it goes, how much memory it takes, and whether anybody else waits for it.

use std::time::{Duration, Instant, SystemTime};

use rapport::rpc::proto::{
    self, ActivateCampaignRequest, Campaign, CreateCampaignRequest, OneOffTrigger, campaign::Trigger,
    campaign_service_client::CampaignServiceClient, one_off_trigger,
};
use sea_orm::DatabaseConnection;
use tonic::transport::Channel;

use super::{
    Bench, Table, lateness,
    machine::percentile,
    place::{Kind, Place, value},
    process::Process,
    seed,
    sink::Sink,
};

const FEW: u32 = 10_000;
/// How many check-ins go out beside it, one a second.
const SINGLE: u32 = 60;

pub async fn measure(bench: &mut Bench) {
    let many = if bench.full { 1_000_000 } else { 100_000 };
    let conditions = [
        "one-off to every customer, each of whom has consented, to a sink of our own over 8 connections".to_owned(),
        format!(
            "beside it {SINGLE} check-ins, one a second over gRPC, due at a random moment of the second after next"
        ),
        "first: from its time to the first recorded outcome, in ms; memory: the most that the process had, in MB"
            .to_owned(),
    ];
    let columns = ["", "customers", "first", "sent/s", "check-ins' p99 in ms", "memory", "of the few"];
    let mut table = Table::begin("Newsletter", &conditions, &columns);
    if !bench.full {
        println!("  1,000,000 are skipped: cargo bench -- --full");
    }
    let sink = Sink::start().await;
    for kind in bench.kinds.clone() {
        let mut least = None;
        for customers in [FEW, many] {
            let run = run(bench, &kind, customers, &sink).await;
            let least = *least.get_or_insert(run.memory);
            let mut late = run.late;
            table.row(&[
                kind.name().to_owned(),
                customers.to_string(),
                run.first.as_millis().to_string(),
                format!("{:.0}", run.rate),
                format!("{:.0}", percentile(&mut late, 99) as f64 / 1_000.0),
                run.memory.to_string(),
                format!("{:.2}", run.memory as f64 / least as f64),
            ]);
        }
    }
    println!("  target: first <= 2,000, p99 <= 2,000, memory < 200 and at most 1.20 of the few");
    table.print();
}

struct Run {
    first: Duration,
    rate: f64,
    late: Vec<i64>,
    memory: u64,
}

async fn run(bench: &mut Bench, kind: &Kind, customers: u32, sink: &Sink) -> Run {
    let place = Place::make(kind).await;
    seed::begin(&place, &mut bench.peaks).await;
    let record = place.record().await;
    seed::populate(&record, seed::OFFERS, customers).await;
    let process = Process::start(&place, &[("RAPPORT_MAIL_URL", &sink.url())]).await;
    lateness::people(&process.channel, 0..SINGLE).await;
    let due = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() + 3;
    let due = SystemTime::UNIX_EPOCH + Duration::from_secs(due);
    activate(&process.channel, due).await;
    lateness::one_a_second(&process.channel, 0..SINGLE).await;
    let late = lateness::lateness(&record, SINGLE).await;
    finished(&record, customers).await;
    let moment = |which: &'static str| {
        let sql = format!("SELECT {which}(send_time) AS value FROM contacts WHERE run_id IS NOT NULL");
        let record = &record;
        async move { value::<chrono::DateTime<chrono::Utc>>(record, &sql).await }
    };
    let (first, last) = (moment("min").await, moment("max").await);
    let sent: i64 =
        value(&record, "SELECT count(*) AS value FROM contacts WHERE run_id IS NOT NULL AND state = 'sent'").await;
    let memory = process.peak();
    process.stop(&format!("{}: a newsletter to {customers}", kind.name()), &mut bench.peaks).await;
    Run {
        first: (first - chrono::DateTime::<chrono::Utc>::from(due)).to_std().unwrap_or_default(),
        rate: sent as f64 / (last - first).as_seconds_f64().max(0.001),
        late,
        memory,
    }
}

async fn finished(record: &DatabaseConnection, customers: u32) {
    let limit = Instant::now() + Duration::from_secs(120 + u64::from(customers) / 200);
    let sql = "SELECT count(*) AS value FROM campaign_runs WHERE state = 'finished'";
    while value::<i64>(record, sql).await == 0 {
        assert!(Instant::now() < limit, "not everybody is reached");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn activate(channel: &Channel, due: SystemTime) {
    let mut campaigns = CampaignServiceClient::new(channel.clone());
    let send = proto::SendAction { template_id: "note".to_owned(), ..Default::default() };
    let step = proto::Step {
        step_id: "send".to_owned(),
        action: Some(proto::step::Action::Send(send)),
        ..proto::Step::default()
    };
    let campaign = Campaign {
        campaign_id: "news".to_owned(),
        display_name: "News".to_owned(),
        topic_id: seed::OFFERS.to_owned(),
        trigger: Some(Trigger::OneOff(OneOffTrigger { at: Some(one_off_trigger::At::SendTime(due.into())) })),
        steps: vec![step],
        ..Campaign::default()
    };
    campaigns
        .create_campaign(CreateCampaignRequest { campaign: Some(campaign), ..Default::default() })
        .await
        .expect("created");
    let request = ActivateCampaignRequest { campaign_id: "news".to_owned(), ..Default::default() };
    campaigns.activate_campaign(request).await.expect("activated");
}
