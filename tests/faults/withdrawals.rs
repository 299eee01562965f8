//! Customers say no while their mail is being sent: after the answer nothing is begun.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};
use rapport::rpc::proto::{
    ConsentMethod, Purpose, UnsubscribeRequest, contact::State, set_consent_request::Decision,
    unsubscribe_request::Scope,
};

use super::{
    fleet::Record,
    load::{self, Api, Load},
    postgres::{OwnDatabase, server},
    reconcile::Doubts,
    seed::Dice,
    sink::Sink,
    stage,
};

/// How many say no at once.
const AT_ONCE: usize = 8;

/// One customer's no.
struct Withdrawal {
    contact_id: String,
    /// When the answer was there.
    answered: SystemTime,
    /// What the answer said.
    canceled: i32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_withdrawals_over_a_file_are_obeyed_at_once() {
    withdraw("500 withdrawals on SQLite", Record::Sqlite, 500, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_withdrawals_over_postgres_are_obeyed_at_once() {
    let story = "500 withdrawals on Postgres";
    let Some(server) = server(story) else { return };
    withdraw(story, Record::Postgres(OwnDatabase::make(server).await), 500, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn ten_thousand_withdrawals_over_a_file_are_obeyed_at_once() {
    withdraw("10,000 withdrawals on SQLite", Record::Sqlite, 10_000, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn ten_thousand_withdrawals_over_postgres_are_obeyed_at_once() {
    let story = "10,000 withdrawals on Postgres";
    let Some(server) = server(story) else { return };
    withdraw(story, Record::Postgres(OwnDatabase::make(server).await), 10_000, 2).await;
}

async fn withdraw(story: &str, record: Record, customers: usize, processes: usize) {
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let domains = ["a.test", "b.test", "c.test", "d.test"];
    let load = Load::at(&domains, customers / domains.len(), &[Purpose::Marketing]);
    let (mut fleet, plan) = stage::set(record, sink.url(), &load).await;
    sink.follow(stage::slowly(Duration::from_millis(20)));
    let replicas = fleet.start_all(processes).await;

    let mut order: Vec<(String, String)> = plan.iter().map(|(id, to)| (id.clone(), to.customer.clone())).collect();
    order.sort();
    dice.shuffle(&mut order);
    let noes = order.into_iter().enumerate().map(|(number, (contact_id, customer))| {
        let api = Api::of(&replicas[number % processes]);
        withdraw_one(api, contact_id, customer, number % 2 == 0)
    });
    let noes: Vec<Withdrawal> = stream::iter(noes).buffer_unordered(AT_ONCE).collect().await;
    sink.follow([]);
    stage::settle(&replicas[0], Duration::from_secs(30)).await;

    let mut api = Api::of(&replicas[0]);
    let states = api.everything().await.into_iter().map(|contact| (contact.contact_id.clone(), contact.state()));
    let states: std::collections::HashMap<_, _> = states.collect();
    let mut late = Vec::new();
    let mut canceled = 0;
    for no in noes {
        let state = states[&no.contact_id];
        let begun = api.attempts(&no.contact_id).await.into_iter().filter_map(|attempt| attempt.start_time);
        let begun_later = begun.map(|time| SystemTime::try_from(time).expect("a time")).any(|time| time > no.answered);
        // The answer counts what it canceled: then the contact is canceled; else it was handed over before.
        let expected = if no.canceled == 1 { State::Canceled } else { State::Sent };
        if begun_later || state != expected {
            late.push(format!("{}: {state:?}, {} canceled, begun later: {begun_later}", no.contact_id, no.canceled));
        }
        canceled += no.canceled;
    }
    println!("{story}: {canceled} contacts canceled, {} sent, {} against a withdrawal", sink.accepted(), late.len());
    assert!(late.is_empty(), "{late:#?}");
    assert!(canceled > 0 && sink.accepted() > 0, "there was no race");
    stage::judge(story, &replicas[0], &plan, &sink, Doubts::default()).await;
}

/// Says no to offers, in either of the two ways.
async fn withdraw_one(mut api: Api, contact_id: String, customer: String, by_consent: bool) -> Withdrawal {
    let canceled = if by_consent {
        load::decide(&mut api, &customer, Decision::Withdraw).await
    } else {
        let request = UnsubscribeRequest {
            by: Some(rapport::rpc::proto::unsubscribe_request::By::Customer(
                load::by_name(&customer).expect("a reference"),
            )),
            scope: Some(Scope::AllMarketing(true)),
            method: ConsentMethod::OneClick.into(),
            ..Default::default()
        };
        api.preferences.unsubscribe(request).await.expect("recorded").into_inner().canceled_contacts
    };
    Withdrawal { contact_id, answered: SystemTime::now(), canceled }
}
