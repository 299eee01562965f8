//! SIGKILL in mid-campaign, again and again: nothing is lost, nothing but transactional mail is doubled.
//!
//! A build without its fence must fail here. The fence is that a contact whose outcome nobody knows is tried again only if it
//! is transactional. `.ci/run --long` takes it out and wants to see this fail; by hand five kills are enough on both databases
//! ("doubled: …"):
//!
//! ```sh
//! sed -i '/let again = /s/Purpose.eq(Purpose::Transactional)/Purpose.is_not_null()/' src/contacts/claims/leases/store.rs
//! ```

use std::time::Duration;

use super::{
    fleet::{Fleet, Record, Replica},
    load::{Load, Plan},
    postgres::{OwnDatabase, server},
    reconcile::{Doubts, OPEN_INTENTS},
    seed::Dice,
    sink::Sink,
    stage,
};

/// How long a kill waits for its share of the work: what a dead process held may lie still for a while.
const PATIENCE: Duration = Duration::from_secs(3);

struct Kills {
    kills: u64,
    processes: usize,
    load: Load,
    /// What the sink takes its time for, so that there is work going on at every kill.
    pace: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_over_a_file_it_loses_and_doubles_nothing() {
    let kills = Kills { kills: 5, processes: 1, load: Load::mixed(100, 9), pace: Duration::from_millis(10) };
    kills.play("five kills, one process on SQLite", Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_over_postgres_four_processes_lose_and_double_nothing() {
    let story = "five kills, four processes on Postgres";
    let Some(server) = server(story) else { return };
    let kills = Kills { kills: 5, processes: 4, load: Load::mixed(100, 9), pace: Duration::from_millis(40) };
    kills.play(story, Record::Postgres(OwnDatabase::make(server).await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn killed_a_hundred_times_over_a_file_it_loses_and_doubles_nothing() {
    let kills = Kills { kills: 100, processes: 1, load: Load::mixed(1_000, 33), pace: Duration::from_millis(10) };
    kills.play("100 kills, one process on SQLite", Record::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn killed_a_hundred_times_over_postgres_four_processes_lose_and_double_nothing() {
    let story = "100 kills, four processes on Postgres";
    let Some(server) = server(story) else { return };
    let kills = Kills { kills: 100, processes: 4, load: Load::mixed(1_000, 33), pace: Duration::from_millis(20) };
    kills.play(story, Record::Postgres(OwnDatabase::make(server).await)).await;
}

impl Kills {
    async fn play(&self, story: &str, record: Record) {
        let mut dice = Dice::of(story);
        let sink = Sink::start().await;
        let (mut fleet, plan) = stage::set(record, sink.url(), &self.load).await;
        sink.follow(stage::slowly(self.pace));
        let mut replicas = fleet.start_all(self.processes).await;
        let open = self.kill(&mut dice, &mut fleet, &mut replicas, &sink, &plan).await;
        sink.follow([]);
        let limit = stage::RESUME * 3 + Duration::from_secs(plan.len() as u64 / 200);
        let healed = stage::settle(&replicas[0], limit).await;
        println!("{story}: {} contacts, {open} intents open at the kills, healed in {healed:.1?}", plan.len());
        // On Postgres the intents of those who live on were counted too; those of the dead are no more than their limit.
        let most = open.min(self.kills * OPEN_INTENTS);
        stage::judge(story, &replicas[0], &plan, &sink, Doubts { unknown: most, doubled: most }).await;
    }

    /// Kills at seeded moments, and starts another in its place; answers how many intents were open then.
    async fn kill(
        &self,
        dice: &mut Dice,
        fleet: &mut Fleet,
        replicas: &mut Vec<Replica>,
        sink: &Sink,
        plan: &Plan,
    ) -> u64 {
        let share = plan.len() as u64 / (self.kills + 1);
        let mut open = 0;
        for kill in 0..self.kills {
            let moment = kill * share + dice.number(share / 4..share);
            let reached = stage::accepted(sink, moment);
            // Late is as good a moment as any.
            let _ = tokio::time::timeout(PATIENCE, reached).await;
            tokio::time::sleep(dice.millis(0..100)).await;
            replicas.swap_remove(dice.index(replicas.len())).kill();
            open += fleet.open_intents().await;
            tokio::time::sleep(dice.millis(0..300)).await;
            replicas.push(fleet.start().await);
        }
        open
    }
}
