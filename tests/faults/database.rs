//! Postgres goes away and comes back under load: no process dies, work resumes, nothing is lost.

use std::time::{Duration, SystemTime};

use super::{
    fleet::{Record, until},
    load::Load,
    postgres::{Cluster, OwnDatabase},
    reconcile::{Doubts, OPEN_INTENTS},
    seed::Dice,
    sink::Sink,
    stage,
};

const PROCESSES: usize = 2;
/// How long after the database is back work may take to go on.
const RESUME: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_restarts_of_the_database_lose_nothing() {
    restart("three restarts of Postgres", 3, Load::mixed(100, 9)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn twenty_restarts_of_the_database_lose_nothing() {
    restart("twenty restarts of Postgres", 20, Load::mixed(500, 19)).await;
}

async fn restart(story: &str, times: u64, load: Load) {
    let Some(cluster) = Cluster::start(story) else { return };
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let record = Record::Postgres(OwnDatabase::make(cluster.url()).await);
    let (mut fleet, plan) = stage::set(record, sink.url(), &load).await;
    sink.follow(stage::slowly(Duration::from_millis(50)));
    let mut replicas = fleet.start_all(PROCESSES).await;
    let share = plan.len() as u64 / (times + 1);
    for time in 0..times {
        stage::accepted(&sink, time * share + dice.number(share / 4..share / 2)).await;
        let mode = ["fast", "immediate"][dice.index(2)];
        cluster.down(mode);
        tokio::time::sleep(dice.millis(0..2_000)).await;
        cluster.up();
        let back = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
        // What was on its way when it went is taken meanwhile; work goes on when an intent is written.
        let sql = format!("SELECT count(*) AS n FROM attempts WHERE start_time > '{}'", back.to_rfc3339());
        let resumed = until(RESUME, "an intent after the restart", async || fleet.count(&sql).await > 0).await;
        println!("{story}: {mode}, resumed after {resumed:.1?}");
        assert!(replicas.iter_mut().all(|replica| !replica.ended()), "a process died");
    }
    sink.follow([]);
    stage::settle(&replicas[0], stage::RESUME * 3).await;
    let most = times * PROCESSES as u64 * OPEN_INTENTS;
    stage::judge(story, &replicas[0], &plan, &sink, Doubts { unknown: most, doubled: most }).await;
}
