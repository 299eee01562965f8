//! Receivers that refuse, stall, hang up or go away: every contact ends in its right state, and nobody else waits.

use std::{collections::HashMap, time::Duration};

use rapport::rpc::proto::{BlockReason, Contact, Purpose, contact::State};

use super::{
    fleet::{Record, Replica, until},
    load::{Api, Load, Plan},
    proxy::{Cut, Proxy, Weather},
    reconcile::Doubts,
    seed::Dice,
    sink::{Act, Rule, Sink, Verb},
    stage,
};

const BOTH: [Purpose; 2] = [Purpose::Transactional, Purpose::Service];
/// How long the first answer to everything may take.
const FIRST: Duration = Duration::from_secs(20);
/// How long a back-off may take to end well.
const BACK_OFF: Duration = Duration::from_secs(180);
/// How many customers there are at each domain.
const EACH: usize = 3;

/// What each domain does, and where that leaves a transactional contact and a service contact.
fn script() -> Vec<(&'static str, Option<Rule>, [State; 2])> {
    let (sent, failed, waits) = ([State::Sent; 2], [State::Failed; 2], [State::Scheduled; 2]);
    let doubt = [State::Scheduled, State::UnknownOutcome];
    vec![
        ("good.test", None, sent),
        ("nobody.test", Some(Rule::at(Verb::Rcpt, Act::Reply("550 5.1.1 no such user"))), failed),
        ("spam.test", Some(Rule::at(Verb::Dot, Act::Reply("554 5.7.1 not wanted"))), failed),
        ("busy.test", Some(Rule::at(Verb::Rcpt, Act::Reply("450 4.2.1 mailbox busy"))), waits),
        ("full.test", Some(Rule::at(Verb::Dot, Act::Reply("452 4.2.2 mailbox full"))), waits),
        ("kept.test", Some(Rule::at(Verb::Dot, Act::Lose)), doubt),
        ("dropped.test", Some(Rule::at(Verb::Dot, Act::HangUp(""))), doubt),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reply_leaves_its_contacts_in_the_right_state() {
    replies(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for real back-offs"]
async fn what_was_refused_for_now_is_sent_once_receivers_are_well_again() {
    replies(true).await;
}

async fn replies(heal: bool) {
    let sink = Sink::start().await;
    let domains: Vec<&str> = script().into_iter().map(|(domain, ..)| domain).collect();
    let (mut fleet, plan) = stage::set(Record::Sqlite, sink.url(), &Load::at(&domains, EACH, &BOTH)).await;
    sink.follow(script().into_iter().filter_map(|(domain, rule, _)| rule.map(|rule| rule.of(domain))));
    let replica = fleet.start().await;
    let mut wrong = Vec::new();
    let reached = until(FIRST, "every contact is where its receiver left it", async || {
        wrong = misplaced(&replica, &plan).await;
        wrong.is_empty()
    });
    let reached = tokio::time::timeout(FIRST - Duration::from_secs(1), reached).await;
    assert!(reached.is_ok(), "not where their receivers left them: {wrong:#?}");
    if !heal {
        return;
    }
    sink.follow([]);
    let time = stage::settle(&replica, BACK_OFF).await;
    println!("receivers are well again: everything is settled after {time:.1?}");
    let doubts = Doubts { unknown: 2 * EACH as u64, doubled: u64::MAX };
    let report = stage::judge("receivers with minds of their own", &replica, &plan, &sink, doubts).await;
    // Each letter that was recorded and not acknowledged came at least twice, with the same Message-ID.
    assert!(report.doubled >= EACH as u64 && report.unknown == 2 * EACH as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for real back-offs"]
async fn who_is_greylisted_is_sent_at_the_second_attempt() {
    let sink = Sink::start().await;
    let load = Load::at(&["a.test", "b.test"], 20, &[Purpose::Service]);
    let (mut fleet, plan) = stage::set(Record::Sqlite, sink.url(), &load).await;
    sink.follow([Rule::at(Verb::Rcpt, Act::Greylist)]);
    let replica = fleet.start().await;
    until(FIRST, "all are put off", async || Api::of(&replica).everything().await.iter().all(waits_for_another_try))
        .await;
    let time = stage::settle(&replica, BACK_OFF).await;
    println!("greylisting: everything is settled after {time:.1?}");
    stage::judge("greylisting", &replica, &plan, &sink, Doubts::default()).await;
    for contact in Api::of(&replica).everything().await {
        assert_eq!((contact.state(), contact.attempt_count), (State::Sent, 2), "{}", contact.contact_id);
    }
}

/// What each domain's contacts are, in words, where that is not what it should be.
async fn misplaced(replica: &Replica, plan: &Plan) -> Vec<String> {
    let mut by_domain = contacts(replica, plan).await;
    let mut wrong = Vec::new();
    for (domain, _, expected) in script() {
        for contact in by_domain.remove(domain).unwrap_or_default() {
            let expected = expected[usize::from(contact.purpose() == Purpose::Service)];
            let waits_rightly = expected != State::Scheduled || waits_for_another_try(&contact);
            // What is in doubt and transactional is tried again at once or later, as often as it takes.
            let again = expected == State::Scheduled && contact.attempt_count > 1;
            let block = contact.block.as_ref().map(|block| block.reason());
            // Where the other message was refused first, the address is known not to exist.
            let spared = expected == State::Failed && block == Some(BlockReason::HardBounce);
            if !(again || spared || contact.state() == expected && waits_rightly) {
                wrong.push(format!("{domain}: {:?} {:?} {block:?}", contact.purpose(), contact.state()));
            }
        }
    }
    wrong
}

fn waits_for_another_try(contact: &Contact) -> bool {
    let backs_off = contact.block.as_ref().is_some_and(|block| block.reason() == BlockReason::BackOff);
    backs_off && contact.attempt_count == 1
}

/// Everything, by the domain it goes to.
async fn contacts(replica: &Replica, plan: &Plan) -> HashMap<String, Vec<Contact>> {
    let mut by_domain: HashMap<String, Vec<Contact>> = HashMap::new();
    for contact in Api::of(replica).everything().await {
        let (_, domain) = plan[&contact.contact_id].address.split_once('@').unwrap();
        by_domain.entry(domain.to_owned()).or_default().push(contact);
    }
    by_domain
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_stalls_holds_up_nobody_else() {
    for verb in [Verb::Rcpt, Verb::Dot] {
        let sink = Sink::start().await;
        let domains = ["a.test", "b.test", "slow.test", "c.test", "d.test"];
        let (mut fleet, plan) = stage::set(Record::Sqlite, sink.url(), &Load::at(&domains, 40, &BOTH)).await;
        sink.follow([Rule::at(verb, Act::StallForEver).of("slow.test")]);
        let replica = fleet.start().await;
        let time = until(FIRST, "the others are sent", async || {
            let others = contacts(&replica, &plan).await.into_iter().filter(|(domain, _)| domain != "slow.test");
            others.flat_map(|(_, contacts)| contacts).all(|contact| contact.state() == State::Sent)
        })
        .await;
        println!("{} messages to others took {time:.1?} beside a stall at {verb:?}", sink.accepted());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_in_mid_session_costs_no_attempt() {
    let sink = Sink::start().await;
    let (mut fleet, plan) = stage::set(Record::Sqlite, sink.url(), &Load::at(&["a.test", "b.test"], 50, &BOTH)).await;
    sink.follow([Rule::at(Verb::Mail, Act::HangUp("421 4.3.2 closing")).every(20)]);
    let replica = fleet.start().await;
    stage::settle(&replica, Duration::from_secs(60)).await;
    assert!(sink.count(Verb::Mail, "421") > 0);
    all_sent_at_once(&replica, &plan).await;
    stage::judge("421 in mid-session", &replica, &plan, &sink, Doubts::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_costs_no_attempt() {
    let sink = Sink::start().await;
    let mut proxy = Proxy::start(sink.addr(), Dice::from(0)).await;
    let (mut fleet, plan) =
        stage::set(Record::Sqlite, format!("smtp://{}", proxy.addr()), &Load::at(&["a.test", "b.test"], 50, &BOTH))
            .await;
    proxy.close().await;
    let replica = fleet.start().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for contact in Api::of(&replica).everything().await {
        assert!(
            matches!(contact.state(), State::Scheduled | State::Sending) && contact.attempt_count <= 1,
            "{contact:#?}"
        );
    }
    proxy.open().await;
    let time = stage::settle(&replica, Duration::from_secs(60)).await;
    println!("the server is back: everything is sent after {time:.1?}");
    all_sent_at_once(&replica, &plan).await;
    stage::judge("connection refused", &replica, &plan, &sink, Doubts::default()).await;
}

/// Nothing but the one attempt that did it counts.
async fn all_sent_at_once(replica: &Replica, plan: &Plan) {
    for contact in contacts(replica, plan).await.into_values().flatten() {
        assert_eq!((contact.state(), contact.attempt_count), (State::Sent, 1), "{}", contact.contact_id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits for real back-offs"]
async fn a_network_that_fails_in_every_way_loses_and_doubles_nothing() {
    let story = "a bad network";
    let mut dice = Dice::of(story);
    let sink = Sink::start().await;
    let mut proxy = Proxy::start(sink.addr(), dice.clone()).await;
    let (mut fleet, plan) = stage::set(Record::Sqlite, format!("smtp://{}", proxy.addr()), &Load::mixed(100, 9)).await;
    let replica = fleet.start().await;
    let mut cuts = 0;
    for _ in 0..10 {
        let weather = match dice.number(0..4) {
            0 => Weather { delay_ms: Some(0..30), ..Weather::default() },
            1 => Weather { bytes_a_second: Some(20_000), ..Weather::default() },
            2 => Weather { cut_after: Some(500..20_000), ..Weather::default() },
            _ => Weather { swallow: true, ..Weather::default() },
        };
        println!("{story}: {weather:?}");
        proxy.weather(weather);
        tokio::time::sleep(dice.millis(500..1_500)).await;
        proxy.cut(if dice.number(0..2) == 0 { Cut::Reset } else { Cut::Finish });
        cuts += 1;
    }
    proxy.close().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.weather(Weather::default());
    proxy.open().await;
    stage::settle(&replica, BACK_OFF).await;
    println!("{story}: {cuts} cuts of everything");
    let doubts = Doubts { unknown: plan.len() as u64 / 10, doubled: plan.len() as u64 / 10 };
    stage::judge(story, &replica, &plan, &sink, doubts).await;
}
