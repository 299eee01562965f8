//! The gate answers cases that somebody else made up: `.ci/decisions.py` draws them, works out by itself what the text of the
//! contract says about each, and compares.

#![allow(clippy::unwrap_used, reason = "a case that makes no sense ends it")]

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
};

use chrono::TimeDelta;
use rapport::{
    calendar::{QuietHours, Weekdays, Zone, parse_time_of_day},
    campaigns::{CampaignState, EnrollmentState},
    clock::Timestamp,
    contacts::{Block, HandOver, Purpose},
    customers::{Customer, CustomerChange, NewAddress},
    delivery::Channel,
    gate::{Case, HeldOut, Verdict, decide, pauses::Pause},
    ids::{ConsentRecordId, PauseId, SuppressionId},
    preferences::{AddressKey, Consent, DataUse, FrequencyCap, Preferences, SendingPolicy, Suppressed, Suppression},
    senders::NotReady,
    tokens::SecretKey,
};
use serde_json::{Value, json};

#[test]
#[ignore = "answers the cases of .ci/decisions.py, which .ci/run runs"]
fn the_gate_answers_each_case() {
    let place = |name: &str| std::env::var(name).unwrap();
    let cases = BufReader::new(File::open(place("RAPPORT_CASES")).unwrap());
    let mut answers = BufWriter::new(File::create(place("RAPPORT_ANSWERS")).unwrap());
    for line in cases.lines() {
        let case = serde_json::from_str(&line.unwrap()).unwrap();
        writeln!(answers, "{}", answer(&case)).unwrap();
    }
    answers.flush().unwrap();
}

/// Cases tell time in minutes from the moment that each names.
struct Clock(Timestamp);

impl Clock {
    fn at(&self, minute: &Value) -> Option<Timestamp> {
        minute.as_i64().map(|minute| self.0 + TimeDelta::minutes(minute))
    }

    fn minute(&self, time: Timestamp) -> i64 {
        (time - self.0).num_minutes()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn answer(case: &Value) -> Value {
    let clock = Clock(text(&case["start"]).parse().unwrap());
    let customer = customer(&case["customer"], &clock);
    let preferences = preferences(&case["said"], &customer, &clock);
    let policy = SendingPolicy {
        quiet_hours: quiet_hours(&case["policy"]["quiet_hours"]),
        caps: each(&case["policy"]["caps"]).map(cap).collect(),
        time_zone: zone(&case["policy"]["zone"]).unwrap(),
        default_locale: "en".parse().unwrap(),
        holdout_percent: 0,
        revision: 0,
    };
    let suppressed = suppressed(&case["suppressions"], &customer, &clock);
    let pauses: Vec<Pause> = each(&case["pauses"]).map(|of| pause(of, &clock)).collect();
    let mut handed_over: Vec<HandOver> = Vec::new();
    for got in each(&case["got"]) {
        let (topic_id, time) = (text(&got["topic"]).parse().unwrap(), clock.at(&got["at"]).unwrap());
        handed_over.push(HandOver { topic_id, channel: Channel::Email, time });
    }
    let ahead = |one: &Value| HandOver {
        topic_id: text(&one["topic"]).parse().unwrap(),
        channel: Channel::Email,
        time: clock.at(&one["until"]).unwrap(),
    };
    let ahead: Vec<HandOver> = each(&case["ahead"]).map(ahead).collect();
    let (topic, contact) = (&case["topic"], &case["contact"]);
    let topic_id = text(&topic["id"]).parse().unwrap();
    let sender_not_ready =
        clock.at(&case["sender_looked_at"]).map(|until| NotReady { why: "no DKIM key".to_owned(), until });
    let decided = decide(
        &Case {
            policy: &policy,
            pauses: &pauses,
            customer: &customer,
            preferences: &preferences,
            suppressed: &suppressed,
            handed_over: &handed_over,
            ahead: &ahead,
            topic_id: &topic_id,
            purpose: text(&topic["purpose"]).parse::<Purpose>().unwrap(),
            opt_in: text(&topic["opt_in"]).parse().unwrap(),
            essential: topic["essential"] == true,
            channel: Channel::Email,
            only_to: None,
            expire_time: clock.at(&contact["expires"]),
            held_out: (case["held_out"] == true).then_some(HeldOut::OfCampaign(10)),
            enrollment: enrollment(contact),
            run: None,
            in_audience: contact["in_audience"].as_bool().unwrap(),
            waits_for_room: contact["waits_for_room"] == true,
            template_error: (contact["template_error"] == true).then_some("line 1"),
            sender_not_ready: sender_not_ready.as_ref(),
            circuit_open_until: clock.at(&case["circuit_open_until"]),
            throttled_until: clock.at(&contact["turn"]),
            back_off: clock.at(&contact["again"]),
        },
        clock.at(&case["now"]).unwrap(),
    );
    match decided {
        Verdict::Send { address, .. } => {
            let place = customer.addresses.iter().position(|own| own.address_id == address.address_id).unwrap();
            json!({"verdict": "send", "address": place})
        }
        Verdict::End(Block { reason, effect, .. }) => {
            json!({"verdict": "end", "reason": reason.as_str(), "effect": effect.as_str()})
        }
        Verdict::Defer(Block { reason, retry_time, .. }) => {
            json!({"verdict": "defer", "reason": reason.as_str(), "until": retry_time.map(|time| clock.minute(time))})
        }
    }
}

fn customer(of: &Value, clock: &Clock) -> Customer {
    let mut customer = Customer::bare(clock.0);
    let addresses = (0..of["addresses"].as_u64().unwrap()).map(|place| {
        let value = format!("address-{place}@example.com").parse().unwrap();
        NewAddress { channel: Channel::Email, value, primary: of["primary"] == place }
    });
    let change =
        CustomerChange { addresses: addresses.collect(), time_zone: Some(zone(&of["zone"])), ..Default::default() };
    customer.apply(change, clock.0);
    customer.delete_time = (of["deleted"] == true || of["erased"] == true).then_some(clock.0);
    customer.erase_time = (of["erased"] == true).then_some(clock.0);
    customer
}

fn zone(of: &Value) -> Option<Zone> {
    of.as_str().map(|name| name.parse().unwrap())
}

fn preferences(of: &Value, customer: &Customer, clock: &Clock) -> Preferences {
    let consent = |said: &Value| Consent {
        topic_id: text(&said["topic"]).parse().unwrap(),
        channel: Channel::Email,
        data_use: DataUse::Messages,
        state: text(&said["state"]).parse().unwrap(),
        method: text(&said["method"]).parse().unwrap(),
        address_id: said["address"].as_u64().map(|place| {
            // One that was removed since is known by nobody.
            let own = customer.addresses.get(usize::try_from(place).unwrap());
            own.map_or_else(rapport::ids::AddressId::generate, |own| own.address_id)
        }),
        wording_id: None,
        change_time: clock.at(&said["since"]).unwrap(),
        expire_time: clock.at(&said["until"]),
        record_id: ConsentRecordId::generate(),
    };
    Preferences {
        consents: each(&of["consents"]).map(consent).collect(),
        quiet_hours: quiet_hours(&of["quiet_hours"]),
        caps: each(&of["caps"]).map(cap).collect(),
        snooze_end_time: clock.at(&of["snoozed_until"]),
        objection_time: clock.at(&of["objected"]),
        silence_time: clock.at(&of["silenced"]),
        ..Preferences::none(customer.customer_id)
    }
}

fn quiet_hours(of: &Value) -> Option<QuietHours> {
    let time = |name: &str| parse_time_of_day(text(&of[name])).unwrap();
    let days: Vec<&str> = if of.is_null() { return None } else { each(&of["days"]).map(text).collect() };
    Some(QuietHours { start: time("start"), end: time("end"), days: Weekdays::parse(&days).unwrap() })
}

fn cap(of: &Value) -> FrequencyCap {
    let number = |name: &str| u16::try_from(of[name].as_u64().unwrap()).unwrap();
    FrequencyCap {
        channel: None,
        topic_id: of["topic"].as_str().map(|topic| topic.parse().unwrap()),
        max_contacts: number("most"),
        window_hours: number("hours"),
        on_hit: of["on_hit"].as_str().map(|what| what.parse().unwrap()),
    }
}

fn suppressed(of: &Value, customer: &Customer, clock: &Clock) -> Suppressed {
    let mut by_address: HashMap<_, Vec<Suppression>> = HashMap::new();
    for one in each(of) {
        let address = &customer.addresses[usize::try_from(one["address"].as_u64().unwrap()).unwrap()];
        by_address.entry(address.address_id).or_default().push(Suppression {
            suppression_id: SuppressionId::generate(),
            channel: Channel::Email,
            address_key: AddressKey::of(&SecretKey::from_text("any"), Channel::Email, &address.value),
            masked_address: address.value.masked(),
            cause: text(&one["cause"]).parse().unwrap(),
            note: String::new(),
            actor: String::new(),
            create_time: clock.0,
            report_time: clock.0,
            expire_time: clock.at(&one["until"]),
        });
    }
    Suppressed::new(by_address)
}

fn pause(of: &Value, clock: &Clock) -> Pause {
    Pause {
        pause_id: PauseId::generate(),
        channel: None,
        reason: String::new(),
        actor: String::new(),
        create_time: clock.0,
        expire_time: clock.at(&of["until"]),
        sender_id: None,
        purposes: each(&of["purposes"]).map(|purpose| text(purpose).parse().unwrap()).collect(),
    }
}

fn enrollment(contact: &Value) -> Option<(EnrollmentState, Option<rapport::campaigns::EndCause>, CampaignState)> {
    let state = contact["enrollment"].as_str()?.parse().unwrap();
    Some((state, None, text(&contact["campaign"]).parse().unwrap()))
}
