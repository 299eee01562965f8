//! SIGKILL in the middle of a backfill, again and again: each event of the past enters once, and its customer is written to once.

use std::{
    collections::HashSet,
    iter,
    time::{Duration, SystemTime},
};

use futures_util::stream;
use rapport::rpc::proto::{
    self, BackfillCampaignRequest, Campaign, CustomerRef, Event, EventTrigger, ImportCustomersRequest, ImportOptions,
    ImportRow, StreamEventsRequest, TimeRange, campaign::Trigger, campaign_run,
    campaign_service_client::CampaignServiceClient, customer_ref::Key, event_service_client::EventServiceClient,
    import_customers_request::Item,
};
use tonic::transport::Channel;

use super::{
    fleet::{Fleet, Record, until},
    load::{self, Api},
    postgres::{OwnDatabase, server},
    reconcile::OPEN_INTENTS,
    seed::Dice,
    sink::Sink,
    stage,
};

const ORDERS: u64 = 6_000;
const KILLS: u64 = 5;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_goes_on_after_kills_over_a_file() {
    play("a backfill, five kills, one process on SQLite", Record::Sqlite, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_of_two_processes_goes_on_after_kills_over_postgres() {
    let story = "a backfill, five kills, two processes on Postgres";
    let Some(server) = server(story) else { return };
    play(story, Record::Postgres(OwnDatabase::make(server).await), 2).await;
}

async fn play(story: &str, record: Record, processes: usize) {
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let mut fleet = Fleet::over(record, sink.url());
    let mut replicas = fleet.start_all(processes).await;
    load::texts(Api::of(&replicas[0])).await;
    let end = SystemTime::now() - DAY;
    sign_up(&mut Api::of(&replicas[0])).await;
    order(replicas[0].channel(), end).await;
    begin(replicas[0].channel(), end).await;

    let mut open = 0;
    for kill in 0..KILLS {
        let share = ORDERS / (KILLS + 1);
        let moment = kill * share + dice.number(1..share);
        // By what is recorded: that it has entered, not that it was written to.
        let sql = "SELECT count(*) AS n FROM enrollments";
        let what = format!("{moment} have entered");
        until(stage::RESUME * 2, &what, async || fleet.count(sql).await >= moment).await;
        replicas.swap_remove(dice.index(replicas.len())).kill();
        open += fleet.open_intents().await;
        replicas.push(fleet.start().await);
    }
    let channel = replicas[0].channel();
    let finished = async || load::only_run(channel.clone(), "check-in").await.state() == campaign_run::State::Finished;
    until(stage::RESUME * 3, "the backfill is finished", finished).await;
    stage::settle(&replicas[0], stage::RESUME * 3).await;

    let run = load::only_run(channel, "check-in").await;
    let (became, told) = (run.backfill.expect("a backfill"), run.stats.expect("numbers"));
    println!("{story}: {open} intents open at the kills; {became:?}; {told:?}");
    let orders = i64::try_from(ORDERS).expect("small");
    assert_eq!((became.events, became.entered, became.remaining), (orders, orders, 0));
    assert_eq!((told.audience, told.sent + told.unknown_outcome), (orders, orders));
    assert!(told.unknown_outcome <= i64::try_from(KILLS * OPEN_INTENTS).expect("small"), "{told:?}");
    let ledger = sink.ledger();
    let written_to: HashSet<&str> = ledger.iter().map(|entry| entry.recipient.as_str()).collect();
    assert_eq!(written_to.len(), ledger.len(), "nobody is written to twice");
    let heard = i64::try_from(written_to.len()).expect("small");
    assert!((told.sent..=orders).contains(&heard), "{heard} of {orders} were written to");
    assert_eq!(fleet.count("SELECT count(DISTINCT event_id) AS n FROM enrollments").await, ORDERS);
}

/// Everybody who will have ordered.
async fn sign_up(api: &mut Api) {
    let one = |number: u64| {
        let address = proto::Address { value: address(number), ..proto::Address::default() };
        let customer = Some(proto::Customer { addresses: vec![address], ..proto::Customer::default() });
        Item::Row(ImportRow { row: i64::try_from(number).expect("small"), customer, ..ImportRow::default() })
    };
    let items = iter::once(Item::Options(ImportOptions::default())).chain((0..ORDERS).map(one));
    let items: Vec<ImportCustomersRequest> = items.map(|item| ImportCustomersRequest { item: Some(item) }).collect();
    let mut answers = api.customers.import_customers(stream::iter(items)).await.expect("taken up").into_inner();
    let mut created = 0;
    while let Some(answer) = answers.message().await.expect("an answer") {
        created = answer.created;
    }
    assert_eq!(u64::try_from(created), Ok(ORDERS));
}

fn address(number: u64) -> String {
    format!("c{number}@example.com")
}

/// Orders of the day before a moment, each by somebody else.
async fn order(channel: Channel, before: SystemTime) {
    let one = move |number: u64| StreamEventsRequest {
        create_customer: false,
        event: Some(Event {
            source: "shop".to_owned(),
            source_event_id: number.to_string(),
            customer: Some(CustomerRef { key: Some(Key::Email(address(number))) }),
            event_type: "order.placed".to_owned(),
            occur_time: Some((before - DAY + Duration::from_secs(number)).into()),
            ..Event::default()
        }),
    };
    let mut answers = EventServiceClient::new(channel)
        .stream_events(stream::iter((0..ORDERS).map(one)))
        .await
        .expect("taken up")
        .into_inner();
    let mut recorded = 0;
    while let Some(answer) = answers.message().await.expect("an answer") {
        recorded = answer.recorded;
    }
    assert_eq!(u64::try_from(recorded), Ok(ORDERS));
}

/// A check-in that orders start, and the backfill of a day of them.
async fn begin(channel: Channel, end: SystemTime) {
    let send = proto::SendAction { template_id: "note".to_owned(), ..Default::default() };
    let at_once = proto::delay::Length::Elapsed(proto::Elapsed { hours: 0, minutes: 0 });
    let step = proto::Step {
        step_id: "send".to_owned(),
        delay: Some(proto::Delay { length: Some(at_once), ..proto::Delay::default() }),
        action: Some(proto::step::Action::Send(send)),
        ..proto::Step::default()
    };
    let campaign = Campaign {
        campaign_id: "check-in".to_owned(),
        display_name: "Check-in".to_owned(),
        topic_id: "orders".to_owned(),
        trigger: Some(Trigger::Event(EventTrigger { event_type: "order.placed".to_owned(), ..Default::default() })),
        steps: vec![step],
        ..Campaign::default()
    };
    load::activate(channel.clone(), campaign).await;
    let range = TimeRange { start_time: Some((end - DAY).into()), end_time: Some(end.into()) };
    let request = BackfillCampaignRequest {
        campaign_id: "check-in".to_owned(),
        range: Some(range),
        max_per_minute: 1_000_000,
        ..Default::default()
    };
    let begun = CampaignServiceClient::new(channel).backfill_campaign(request).await.expect("begun").into_inner();
    assert_eq!(u64::try_from(begun.matched), Ok(ORDERS));
}
