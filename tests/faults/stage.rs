//! How every story with processes begins and ends.

use std::{net::SocketAddr, time::Duration};

use super::{
    fleet::{Fleet, Record, Replica, until},
    load::{self, Api, Load, Plan},
    reconcile::{Doubts, Report, reconcile},
    sink::Sink,
};

/// How long the work of a dead process may lie still.
pub const RESUME: Duration = Duration::from_secs(20);

/// A fleet with something to do, all of it due; nothing serves yet.
pub async fn set(record: Record, mail: SocketAddr, load: &Load) -> (Fleet, Plan) {
    let mut fleet = Fleet::over(record, format!("smtp://{mail}"));
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
    let api = Api::of(replica);
    until(limit, "every contact is settled", async || api.clone().is_done().await).await
}

/// Asks the service what became of everything, and holds it against the ledger.
pub async fn judge(story: &str, replica: &Replica, plan: &Plan, sink: &Sink, doubts: Doubts) -> Report {
    let contacts = Api::of(replica).everything().await;
    let report = reconcile(plan, &contacts, &sink.ledger(), doubts);
    report.check(story);
    report
}

/// Waits until the sink has so many messages.
pub async fn accepted(sink: &Sink, count: u64) {
    until(Duration::from_secs(60), &format!("{count} messages are accepted"), async || sink.accepted() >= count).await;
}
