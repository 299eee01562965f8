//! A process that was frozen for longer than its lease, and thaws, starts nothing.

use std::time::{Duration, SystemTime};

use super::{
    fleet::Record,
    load::Load,
    postgres::{OwnDatabase, server},
    reconcile::{Doubts, OPEN_INTENTS},
    seed::Dice,
    sink::Sink,
    stage,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_thaws_after_its_lease_starts_no_send() {
    let story = "a frozen process";
    let Some(server) = server(story) else { return };
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let load = Load::mixed(50, 7);
    let (mut fleet, plan) = stage::set(Record::Postgres(OwnDatabase::make(server).await), sink.url(), &load).await;
    sink.follow(stage::slowly(Duration::from_millis(50)));
    let mut replicas = fleet.start_all(2).await;
    stage::accepted(&sink, dice.number(100..400)).await;

    let zombie = replicas.swap_remove(dice.index(2));
    zombie.signal("STOP");
    let open = fleet.open_intents().await;
    let time = stage::settle(&replicas[0], stage::RESUME + Duration::from_secs(10)).await;
    // Longer than any lease, however early the other was done.
    tokio::time::sleep((stage::RESUME + Duration::from_secs(2)).saturating_sub(time)).await;
    let thawed = SystemTime::now();
    zombie.signal("CONT");
    tokio::time::sleep(Duration::from_secs(5)).await;

    let late = sink.ledger().iter().filter(|entry| entry.start > thawed).count();
    println!(
        "{story}: {open} intents open, its work was done within {time:.1?}, {late} sends were begun after it thawed"
    );
    assert_eq!(late, 0);
    let most = open.min(2 * OPEN_INTENTS);
    stage::judge(story, &replicas[0], &plan, &sink, Doubts { unknown: most, doubled: most }).await;
}
