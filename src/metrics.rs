//! What Prometheus reads: counts of this process, and gauges of the whole deployment. A label is a word of ours or it is not
//! taken (`&'static str`), so that nothing from outside, least of all personal data, becomes one, and their number is bounded.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

/// The format of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How late hand-overs are, in seconds: from what nobody notices to what an operator must know.
const LATENESS: [f64; 12] = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 60.0, 300.0, 900.0, 3600.0];
/// How long calls take, in seconds: up to the longest limit of a usual method.
const CALL_TIMES: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// One label and its value.
type Label = (&'static str, &'static str);
type Counters<const N: usize> = Family<[Label; N], Counter>;
type Histograms = Family<[Label; 1], Histogram, fn() -> Histogram>;

/// A handle on the metrics of this process; copies share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    start_time: Gauge,
    database_up: Gauge,
    contacts: Family<[Label; 2], Gauge>,
    oldest_due_age: Family<[Label; 1], Gauge<f64, AtomicU64>>,
    hand_overs: Counters<2>,
    decisions: Counters<1>,
    recovered: Counters<1>,
    lateness: Histograms,
    job_runs: Counters<1>,
    job_failures: Counters<1>,
    calls: Counters<2>,
    call_times: Histograms,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut families = Families {
            registry: Registry::default(),
            start_time: Gauge::default(),
            database_up: Gauge::default(),
            contacts: Family::default(),
            oldest_due_age: Family::default(),
            hand_overs: Family::default(),
            decisions: Family::default(),
            recovered: Family::default(),
            lateness: Family::new_with_constructor(|| Histogram::new(LATENESS)),
            job_runs: Family::default(),
            job_failures: Family::default(),
            calls: Family::default(),
            call_times: Family::new_with_constructor(|| Histogram::new(CALL_TIMES)),
        };
        families.register();
        Self(Arc::new(families))
    }
}

impl Families {
    /// Says what each is; the library ends each sentence and adds `_total` to the names of counters.
    fn register(&mut self) {
        let all = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("rapport_build", "The program that runs", build);
        all.register("process_start_time_seconds", "When this process started, Unix time", self.start_time.clone());
        all.register(
            "rapport_database_up",
            "Whether the database answered when it was last asked",
            self.database_up.clone(),
        );
        all.register(
            "rapport_contacts",
            "Open contacts of the deployment, the same from every replica; due ones are among the scheduled",
            self.contacts.clone(),
        );
        all.register(
            "rapport_oldest_due_age_seconds",
            "How long the oldest due contact of a lane has waited; 0 = none is due",
            self.oldest_due_age.clone(),
        );
        all.register("rapport_hand_overs", "Contacts handed over to a transport, by outcome", self.hand_overs.clone());
        all.register("rapport_decisions", "Contacts decided at the gate, by what follows", self.decisions.clone());
        all.register("rapport_recovered", "Contacts that a dead worker left, by their fate", self.recovered.clone());
        all.register(
            "rapport_lateness_seconds",
            "How long after its due time a contact was handed over",
            self.lateness.clone(),
        );
        all.register("rapport_job_runs", "Passes of a worker", self.job_runs.clone());
        all.register("rapport_job_failures", "Passes of a worker that failed", self.job_failures.clone());
        all.register("rapport_grpc_requests", "Answered calls, by method and code", self.calls.clone());
        all.register("rapport_grpc_request_seconds", "How long calls took", self.call_times.clone());
    }
}

impl Metrics {
    /// This process started at this Unix time.
    pub fn started(&self, unix_seconds: i64) {
        self.0.start_time.set(unix_seconds);
    }

    /// So many contacts of a lane were handed over, with this outcome.
    pub fn handed_over(&self, lane: &'static str, outcome: &'static str, n: u64) {
        self.0.hand_overs.get_or_create(&[("lane", lane), ("outcome", outcome)]).inc_by(n);
    }

    /// So many contacts were decided, with this effect.
    pub fn decided(&self, effect: &'static str, n: u64) {
        self.0.decisions.get_or_create(&[("effect", effect)]).inc_by(n);
    }

    /// A contact of a lane was handed over so long after its due time.
    pub fn lateness(&self, lane: &'static str, seconds: f64) {
        self.0.lateness.get_or_create(&[("lane", lane)]).observe(seconds);
    }

    /// So many contacts were found that a dead worker had left, and this became of them.
    pub fn recovered(&self, what: &'static str, n: u64) {
        self.0.recovered.get_or_create(&[("what", what)]).inc_by(n);
    }

    /// What a worker counts of itself.
    pub fn job(&self, job: &'static str, runs: u64, failures: u64) {
        let label = [("job", job)];
        self.0.job_runs.get_or_create(&label).inner().store(runs, Ordering::Relaxed);
        self.0.job_failures.get_or_create(&label).inner().store(failures, Ordering::Relaxed);
    }

    /// A call was answered.
    pub fn called(&self, method: &'static str, code: &'static str, seconds: f64) {
        self.0.calls.get_or_create(&[("method", method), ("code", code)]).inc();
        self.0.call_times.get_or_create(&[("method", method)]).observe(seconds);
    }

    /// So many contacts of a lane are in a state now.
    pub fn contacts(&self, lane: &'static str, state: &'static str, n: i64) {
        self.0.contacts.get_or_create(&[("lane", lane), ("state", state)]).set(n);
    }

    /// The oldest due contact of a lane has waited so long.
    pub fn oldest_due_age(&self, lane: &'static str, seconds: f64) {
        self.0.oldest_due_age.get_or_create(&[("lane", lane)]).set(seconds);
    }

    /// Whether the database answered; what was known of contacts is forgotten with it rather than shown as if it were so now.
    pub fn database_up(&self, up: bool) {
        self.0.database_up.set(up.into());
        if !up {
            self.0.contacts.clear();
            self.0.oldest_due_age.clear();
        }
    }

    /// All of them, as Prometheus reads them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into memory does not fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text_under_the_names_that_dashboards_use() {
        let metrics = Metrics::default();
        metrics.started(1_700_000_000);
        metrics.handed_over("bulk", "sent", 3);
        metrics.clone().handed_over("bulk", "sent", 2);
        metrics.decided("defer", 4);
        metrics.recovered("in_doubt", 1);
        metrics.lateness("transactional", 0.15);
        metrics.job("dispatch", 7, 1);
        metrics.called("EventService/RecordEvent", "OK", 0.002);
        metrics.contacts("follow_up", "due", 9);
        metrics.oldest_due_age("follow_up", 1.5);
        metrics.database_up(true);
        let text = metrics.text();
        for line in [
            concat!("rapport_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "process_start_time_seconds 1700000000",
            "rapport_hand_overs_total{lane=\"bulk\",outcome=\"sent\"} 5",
            "rapport_decisions_total{effect=\"defer\"} 4",
            "rapport_recovered_total{what=\"in_doubt\"} 1",
            "rapport_lateness_seconds_bucket{le=\"0.1\",lane=\"transactional\"} 0",
            "rapport_lateness_seconds_bucket{le=\"0.2\",lane=\"transactional\"} 1",
            "rapport_lateness_seconds_bucket{le=\"+Inf\",lane=\"transactional\"} 1",
            "rapport_job_runs_total{job=\"dispatch\"} 7",
            "rapport_job_failures_total{job=\"dispatch\"} 1",
            "rapport_grpc_requests_total{method=\"EventService/RecordEvent\",code=\"OK\"} 1",
            "rapport_grpc_request_seconds_count{method=\"EventService/RecordEvent\"} 1",
            "rapport_contacts{lane=\"follow_up\",state=\"due\"} 9",
            "rapport_oldest_due_age_seconds{lane=\"follow_up\"} 1.5",
            "rapport_database_up 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn with_the_database_goes_what_was_known_of_contacts() {
        let metrics = Metrics::default();
        metrics.database_up(true);
        metrics.contacts("bulk", "due", 9);
        metrics.database_up(false);
        let text = metrics.text();
        assert!(text.contains("rapport_database_up 0") && !text.contains("rapport_contacts{"), "{text}");
    }
}
