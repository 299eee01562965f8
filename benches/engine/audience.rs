//! How long it takes to count an audience, and to ask the rules about it.

use std::time::{Duration, Instant};

use rapport::rpc::proto::{
    self, Campaign, EventTrigger, ListCustomersRequest, PreviewCampaignRequest, Step,
    campaign_service_client::CampaignServiceClient, customer_service_client::CustomerServiceClient,
    preview_campaign_request::Source,
};

use super::{Bench, Table, place::Place, process::Process, seed};

const CUSTOMERS: u32 = 1_000_000;
const TIMES: usize = 5;
/// Two attributes and a date.
const FILTER: &str = r#"attributes.plan = "gold" AND attributes.orders >= 15 AND attributes.renewal < "2026-03-01""#;

pub async fn measure(bench: &mut Bench) {
    let conditions = [format!("{CUSTOMERS} customers, each with an address and a consent"), FILTER.to_owned()];
    let columns = ["", "matching", "counted (median)", "counted (slowest)", "previewed (median)", "asked about"];
    let mut table = Table::begin("Audiences", &conditions, &columns);
    let expected = (1..=CUSTOMERS).filter(|n| n % 3 == 0 && n % 20 >= 15 && n % 365 < 59).count() as i64;
    for kind in bench.kinds.clone() {
        let place = Place::make(&kind).await;
        seed::begin(&place, &mut bench.peaks).await;
        let record = place.record().await;
        seed::crowd(&record, CUSTOMERS).await;
        drop(record);
        let process = Process::start(&place, &[]).await;
        let (mut counted, mut previewed, mut examined) = (Vec::new(), Vec::new(), 0);
        for _ in 0..TIMES {
            let start = Instant::now();
            let request = ListCustomersRequest {
                filter: FILTER.to_owned(),
                include_total: true,
                page_size: 1,
                ..ListCustomersRequest::default()
            };
            let found =
                CustomerServiceClient::new(process.channel.clone()).list_customers(request).await.expect("listed");
            counted.push(start.elapsed());
            assert_eq!(found.into_inner().total_size, expected);
            let start = Instant::now();
            let request = PreviewCampaignRequest { source: Some(Source::Inline(campaign())), sample_size: 0 };
            let preview = CampaignServiceClient::new(process.channel.clone()).preview_campaign(request).await;
            let preview = preview.expect("previewed").into_inner();
            previewed.push(start.elapsed());
            assert_eq!(preview.audience, expected);
            examined = preview.examined;
        }
        let seconds = |time: &Duration| format!("{:.2} s", time.as_secs_f64());
        counted.sort_unstable();
        previewed.sort_unstable();
        table.row(&[
            kind.name().to_owned(),
            expected.to_string(),
            seconds(&counted[TIMES / 2]),
            seconds(&counted[TIMES - 1]),
            seconds(&previewed[TIMES / 2]),
            examined.to_string(),
        ]);
        process.stop(&format!("{}: counting audiences", kind.name()), &mut bench.peaks).await;
    }
    table.print();
}

fn campaign() -> Campaign {
    let elapsed = proto::delay::Length::Elapsed(proto::Elapsed { hours: 1, minutes: 0 });
    let send = proto::SendAction { template_id: "note".to_owned(), ..Default::default() };
    let step = Step {
        step_id: "note".to_owned(),
        delay: Some(proto::Delay { length: Some(elapsed), ..Default::default() }),
        action: Some(proto::step::Action::Send(send)),
        ..Default::default()
    };
    let trigger = EventTrigger { event_type: "order.placed".to_owned(), ..Default::default() };
    Campaign {
        campaign_id: "renewals".to_owned(),
        display_name: "Renewals".to_owned(),
        topic_id: seed::OFFERS.to_owned(),
        trigger: Some(proto::campaign::Trigger::Event(trigger)),
        audience_filter: FILTER.to_owned(),
        steps: vec![step],
        ..Campaign::default()
    }
}
