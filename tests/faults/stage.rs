//! How every story with processes begins and ends.

use std::time::Duration;

use rapport::rpc::proto::contact::State;

use super::{
    fleet::{Fleet, Record, Replica, until},
    load::{self, Api, Load, Plan},
    reconcile::{Doubts, Report, reconcile},
    sink::{Act, Rule, Sink, Verb},
};

/// How long the work of a dead process may lie still.
pub const RESUME: Duration = Duration::from_secs(20);

/// A fleet with something to do, all of it due; nothing serves yet.
pub async fn set(record: Record, mail_url: String, load: &Load) -> (Fleet, Plan) {
    let mut fleet = Fleet::over(record, mail_url);
    let planner = fleet.start().await;
    let mut plan = load::plan(&Api::of(&planner), load).await;
    let (ended, _) = planner.stop().await;
    assert!(ended.success());
    let record = fleet.record().await;
    load::release(&record, &mut plan, load.copies).await;
    record.close().await.expect("it closes");
    (fleet, plan)
}

/// Waits until nothing waits and nothing is under way.
pub async fn settle(replica: &Replica, limit: Duration) -> Duration {
    let mut api = Api::of(replica);
    let settled = until(limit, "every contact is settled", async || api.is_done().await);
    match tokio::time::timeout(limit - Duration::from_secs(1), settled).await {
        Ok(time) => time,
        Err(_) => {
            let (left, log) = (left(&mut Api::of(replica)).await, replica.log());
            let warnings: Vec<&str> = log.lines().filter(|line| !line.contains("INFO")).collect();
            panic!("not settled within {limit:?}: {left}\n{}", warnings.join("\n"));
        }
    }
}

/// What is not settled, in words.
async fn left(api: &mut Api) -> String {
    let mut left = api.everything().await;
    left.retain(|contact| matches!(contact.state(), State::Scheduled | State::Sending));
    let some = left.iter().take(5).map(|contact| {
        let block = contact.block.as_ref().map(|block| (block.reason(), &block.detail));
        format!("{} {:?}, {} attempts, {block:?}", contact.contact_id, contact.state(), contact.attempt_count)
    });
    format!("{} contacts\n{}", left.len(), some.collect::<Vec<_>>().join("\n"))
}

/// Asks the service what became of everything, and holds it against the ledger.
pub async fn judge(story: &str, replica: &Replica, plan: &Plan, sink: &Sink, doubts: Doubts) -> Report {
    let contacts = Api::of(replica).everything().await;
    let report = reconcile(plan, &contacts, &sink.ledger(), doubts);
    report.check(story);
    report
}

/// A server that takes its time before it records a message, and again before it says so: whoever is cut off meanwhile cannot
/// know which it was.
pub fn slowly(time: Duration) -> [Rule; 2] {
    [Rule::at(Verb::Dot, Act::Stall(time / 2)), Rule::at(Verb::Dot, Act::Linger(time / 2))]
}

/// Waits until the sink has so many messages.
pub async fn accepted(sink: &Sink, count: u64) {
    until(Duration::from_secs(60), &format!("{count} messages are accepted"), async || sink.accepted() >= count).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::{OwnDatabase, server};

    /// Without any fault, into a folder.
    async fn send_everything(record: Record) {
        let (mut fleet, plan) = set(record, "file:outbox".to_owned(), &Load::mixed(4, 2)).await;
        let replica = fleet.start().await;
        settle(&replica, Duration::from_secs(20)).await;
        let contacts = Api::of(&replica).everything().await;
        assert_eq!((plan.len(), contacts.len()), (4 * 3 * 3, 4 * 3 * 3));
        let planned = |id: &String| plan.contains_key(id);
        assert!(contacts.iter().all(|contact| contact.state() == State::Sent && planned(&contact.contact_id)));
        let letters = std::fs::read_dir(fleet.folder.path().join("outbox")).unwrap();
        assert_eq!(
            letters.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "eml")).count(),
            36
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_faults_everything_that_is_planned_is_sent() {
        send_everything(Record::Sqlite).await;
        if let Some(server) = server("a load on Postgres") {
            send_everything(Record::Postgres(OwnDatabase::make(server).await)).await;
        }
    }
}
