//! SIGTERM under load: what is under way is finished, the rest is given back, no doubt is left.

use std::time::Duration;

use super::{
    fleet::Record,
    load::Load,
    postgres::{OwnDatabase, server},
    reconcile::Doubts,
    seed::Dice,
    sink::Sink,
    stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_over_a_file_it_leaves_no_doubt() {
    drain("SIGTERM on SQLite", Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_over_postgres_it_leaves_no_doubt() {
    let story = "SIGTERM on Postgres";
    let Some(server) = server(story) else { return };
    drain(story, Record::Postgres(OwnDatabase::make(server).await)).await;
}

async fn drain(story: &str, record: Record) {
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let (mut fleet, plan) = stage::set(record, sink.url(), &Load::mixed(40, 9)).await;
    sink.follow(stage::slowly(Duration::from_millis(20)));
    for _ in 0..2 {
        let before = sink.accepted();
        let replica = fleet.start().await;
        stage::accepted(&sink, before + dice.number(50..200)).await;
        let (ended, time) = replica.stop().await;
        println!("{story}: {} of {} accepted, drained in {time:.1?}", sink.accepted(), plan.len());
        assert!(ended.success() && time < Duration::from_secs(30), "{ended} after {time:?}");
        let doubts = "SELECT count(*) AS n FROM contacts WHERE state IN ('sending', 'unknown_outcome')";
        assert_eq!(fleet.count(doubts).await, 0);
    }
    assert!(sink.accepted() < plan.len() as u64, "there was no load any more");
    sink.follow([]);
    let replica = fleet.start().await;
    stage::settle(&replica, Duration::from_secs(30)).await;
    stage::judge(story, &replica, &plan, &sink, Doubts::default()).await;
}
