//! A few hundred customers with real purchases, who agree, object, want quiet, are suppressed and leave: the same in every world.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Days, DurationRound, NaiveDate, TimeDelta, TimeZone};
use chrono_tz::Tz;
use rapport::{clock::Timestamp, rpc::proto};
use serde_json::json;

use crate::harness::{self, World, after_days, after_hours, by_name, campaign, moment, step, structure, wire};

/// The demo's last three months, from a moment at which nothing is due.
pub const START: &str = "1998-04-01T00:00:30Z";
/// Their end.
pub const END: &str = "1998-07-01T00:00:30Z";
const BEGINNING: &str = "1998-03-01T00:00:00Z";
/// The CDNOW sample; see its NOTICE.
const PURCHASES: &str = include_str!("../../../src/cli/demo/CDNOW_sample.txt");
const ZONES: [&str; 6] =
    ["Australia/Lord_Howe", "Asia/Kathmandu", "Europe/Riga", "Europe/Vilnius", "America/New_York", "Pacific/Honolulu"];

/// Something that the shop reports.
#[derive(Debug, Clone)]
enum Act {
    SignUp(Person),
    Buy(String, Timestamp, String),
    Refund(String, String),
    Agree(String),
    Leave(String, Leave),
    Suppress(String),
    LiftAgain(String),
    Delete(String),
}

#[derive(Debug, Clone, Copy)]
enum Leave {
    Offers,
    Marketing,
    Everything,
}

#[derive(Debug, Clone)]
struct Person {
    name: String,
    zone: Tz,
    agrees: bool,
    quiet: bool,
    born: Option<String>,
}

/// A town and its shop.
pub struct Town {
    pub world: World,
    /// The customers' names by their ids.
    pub names: BTreeMap<String, String>,
    timeline: BTreeMap<Timestamp, Vec<Act>>,
    suppressions: BTreeMap<String, String>,
    orders: Vec<(Timestamp, String)>,
    due: Option<Timestamp>,
    newsletters: bool,
    /// When customers are looked at next, and how often, where a story needs that.
    looks: Option<(Timestamp, TimeDelta)>,
}

/// Two thanks: three days after an order in the evening, and 74 hours after that, near the check-in; a refund ends it.
pub fn thank_you() -> proto::Campaign {
    let exits = vec![proto::Exit { event_type: "order.refunded".to_owned(), same_subject: true, ..Default::default() }];
    let steps = vec![step("thanks", after_days(3, "18:10"), "thank-you"), step("more", after_hours(74), "thank-you")];
    proto::Campaign { exits, ..campaign("thank-you", "offers", steps) }
}

impl Town {
    /// A shop with two campaigns, and a cap for everybody.
    pub async fn settle() -> Self {
        let mut world = World::at(BEGINNING).await;
        world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
        world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
        for template in ["check-in", "win-back", "thank-you"] {
            world.template(template).await;
        }
        world.campaign(campaign("check-in", "orders", vec![step("mail", after_days(7, "10:00"), "check-in")])).await;
        let restart = proto::Reentry { mode: proto::reentry::Mode::Restart.into(), cooldown_days: 0 };
        let steps = vec![step("mail", after_days(60, "18:00"), "win-back")];
        world.campaign(proto::Campaign { reentry: Some(restart), ..campaign("win-back", "offers", steps) }).await;
        let cap = proto::FrequencyCap { max_contacts: 1, window_hours: 20, ..Default::default() };
        let request = proto::UpdateSendingPolicyRequest {
            policy: Some(proto::SendingPolicy { caps: vec![cap], ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["caps".into()] }),
        };
        world.preferences.update_sending_policy(request).await.unwrap();
        Self {
            world,
            names: BTreeMap::new(),
            timeline: timeline(),
            suppressions: BTreeMap::new(),
            orders: Vec::new(),
            due: None,
            newsletters: false,
            looks: None,
        }
    }

    /// Activates a campaign of which something comes by itself.
    pub async fn begin(&mut self, plan: proto::Campaign, look_every: Option<TimeDelta>) {
        self.newsletters =
            matches!(plan.trigger, Some(proto::campaign::Trigger::OneOff(_) | proto::campaign::Trigger::Recurring(_)));
        self.world.campaign(plan).await;
        self.look(look_every.map(|every| (self.world.now(), every)));
        self.act().await;
    }

    /// The job that looks at customers runs at whole minutes, and finds nobody more often than so.
    fn look(&mut self, last: Option<(Timestamp, TimeDelta)>) {
        let rounded = |time: Timestamp| {
            let minute = time.duration_trunc(TimeDelta::minutes(1)).unwrap();
            if minute == time { time } else { minute + TimeDelta::minutes(1) }
        };
        self.looks = last.map(|(last, every)| (rounded(last + every), every));
    }

    /// Lives up to a moment: reports what happens, and has done and sent what is due, in the order of time.
    pub async fn live_until(&mut self, end: &str) {
        let end = moment(end);
        let next = |town: &Self| {
            let acts = town.timeline.keys().next().copied();
            acts.into_iter().chain(town.due).chain(town.looks.map(|(next, _)| next)).min()
        };
        while let Some(now) = next(self).filter(|now| *now < end) {
            self.world.advance_to(&now.to_rfc3339());
            let acts = self.timeline.remove(&now).unwrap_or_default();
            let mut is_quiet = acts.is_empty() && self.due.is_none_or(|due| due > now);
            for act in acts {
                self.report(act).await;
            }
            if let Some((_, every)) = self.looks.filter(|(next, _)| *next == now) {
                is_quiet &= self.world.run_job("scan-triggers").await == "entered 0, failed 0";
                self.looks = Some((now + every, every));
            }
            if !is_quiet {
                self.act().await;
            }
        }
        self.world.advance_to(&end.to_rfc3339());
    }

    /// Has done and sent what is due, and asks what is due next.
    async fn act(&mut self) {
        let jobs: &[&str] = if self.newsletters {
            &["run-newsletters", "dispatch", "run-newsletters", "dispatch"]
        } else {
            &["dispatch"]
        };
        let mut next = BTreeMap::new();
        for job in jobs {
            let request = proto::RunJobRequest { job_id: (*job).to_owned() };
            let done = self.world.admin.run_job(request).await.unwrap().into_inner().job.unwrap();
            next.insert(*job, done.next_time.map(|time| Timestamp::from_timestamp(time.seconds, 0).unwrap()));
        }
        self.due = next.into_values().flatten().min();
    }

    /// Of how many customers an order was recorded in the last three months.
    pub fn buyers(&self) -> usize {
        let recent = self.orders.iter().filter(|(time, _)| *time >= moment(START));
        recent.map(|(_, name)| name).collect::<BTreeSet<_>>().len()
    }

    async fn report(&mut self, act: Act) {
        match act {
            Act::SignUp(person) => self.sign_up(person).await,
            Act::Buy(name, occurred, order) => {
                let event = proto::Event {
                    occur_time: Some(wire(occurred)),
                    ..self.world.event("order.placed", &name, &order)
                };
                // Whoever is deleted buys no more, and whoever is not there yet does not buy here.
                if self.world.record(event).await.is_ok() {
                    self.orders.push((self.world.now(), name));
                }
            }
            Act::Refund(name, order) => {
                let event = self.world.event("order.refunded", &name, &order);
                let _ = self.world.record(event).await;
            }
            Act::Agree(name) => {
                self.world.consent(&name, "offers", proto::set_consent_request::Decision::Grant).await;
            }
            Act::Leave(name, leave) => self.leave(&name, leave).await,
            Act::Suppress(name) => {
                let suppression = proto::Suppression {
                    address: address(&name),
                    cause: proto::suppression::Cause::Operator.into(),
                    ..Default::default()
                };
                let request = proto::CreateSuppressionRequest { suppression: Some(suppression), ..Default::default() };
                let made = self.world.preferences.create_suppression(request).await.unwrap().into_inner();
                self.suppressions.insert(name, made.suppression.unwrap().suppression_id);
            }
            Act::LiftAgain(name) => {
                let request = proto::DeleteSuppressionRequest {
                    suppression_id: self.suppressions[&name].clone(),
                    reason: "it works again".to_owned(),
                };
                self.world.preferences.delete_suppression(request).await.unwrap();
            }
            Act::Delete(name) => {
                let request = proto::DeleteCustomerRequest { customer: by_name(&name), ..Default::default() };
                self.world.customers.delete_customer(request).await.unwrap();
            }
        }
    }

    async fn sign_up(&mut self, person: Person) {
        let born = person.born.clone();
        let created = self.world.customer_with(&person.name, |customer| {
            customer.time_zone = person.zone.name().to_owned();
            customer.addresses = vec![harness::email(&address(&person.name))];
            customer.attributes = born.map(|born| structure(json!({"birthday": born})));
        });
        let id = created.await.customer_id;
        self.names.insert(id, person.name.clone());
        if person.agrees {
            self.world.consent(&person.name, "offers", proto::set_consent_request::Decision::Grant).await;
        }
        if person.quiet {
            let quiet = proto::QuietHours { start: "17:00".into(), end: "19:30".into(), days: Vec::new() };
            let request = proto::UpdatePreferencesRequest {
                customer: by_name(&person.name),
                preferences: Some(proto::Preferences { quiet_hours: Some(quiet), ..Default::default() }),
                ..Default::default()
            };
            self.world.preferences.update_preferences(request).await.unwrap();
        }
    }

    async fn leave(&mut self, name: &str, leave: Leave) {
        let scope = match leave {
            Leave::Offers => proto::unsubscribe_request::Scope::TopicId("offers".to_owned()),
            Leave::Marketing => proto::unsubscribe_request::Scope::AllMarketing(true),
            Leave::Everything => proto::unsubscribe_request::Scope::Everything(true),
        };
        let request = proto::UnsubscribeRequest {
            by: by_name(name).map(proto::unsubscribe_request::By::Customer),
            scope: Some(scope),
            method: proto::ConsentMethod::PreferencePage.into(),
            ..Default::default()
        };
        self.world.preferences.unsubscribe(request).await.unwrap();
    }
}

fn address(name: &str) -> String {
    format!("{name}@example.com")
}

/// What happens to everybody who bought something in the last three months, from a month before.
fn timeline() -> BTreeMap<Timestamp, Vec<Act>> {
    let mut purchases: BTreeMap<u64, Vec<(usize, NaiveDate)>> = BTreeMap::new();
    for (line, text) in PURCHASES.lines().enumerate() {
        let mut columns = text.split_whitespace();
        let number: u64 = columns.next().unwrap().parse().unwrap();
        let date = NaiveDate::parse_from_str(columns.nth(1).unwrap(), "%Y%m%d").unwrap();
        purchases.entry(number).or_default().push((line, date));
    }
    let mut timeline = Timeline(BTreeMap::new());
    for (number, bought) in purchases {
        let recent = bought.last().is_some_and(|(_, date)| *date >= day(1998, 4, 1));
        if recent {
            timeline.add_person(number, bought);
        }
    }
    timeline.0
}

struct Timeline(BTreeMap<Timestamp, Vec<Act>>);

impl Timeline {
    fn add(&mut self, time: Timestamp, act: Act) {
        self.0.entry(time).or_default().push(act);
    }

    fn add_person(&mut self, number: u64, bought: Vec<(usize, NaiveDate)>) {
        let mut dice = Dice(number);
        let zone: Tz = ZONES[dice.roll(6)].parse().unwrap();
        let name = format!("cdnow-{number}");
        let at = |date: NaiveDate, hour: u32, minute: u32| {
            zone.from_local_datetime(&date.and_hms_opt(hour, minute, 0).unwrap()).earliest().unwrap().to_utc()
        };
        let (agrees, quiet) = (dice.roll(10) < 7, dice.roll(4) == 0);
        // Most birthdays are in the days around the end of March; some are not known.
        let mut birth = Dice(number + 1_000_000);
        let born = day(1940 + i32::try_from(birth.roll(50)).unwrap(), 3, 25) + Days::new(birth.roll(28) as u64);
        let born = Some(born.to_string()).filter(|_| birth.roll(8) > 0);
        let person = Person { name: name.clone(), zone, agrees, quiet, born };
        // Some come only when half of April is over, and what they bought before is not theirs yet.
        let came = match number % 16 {
            9 => at(day(1998, 4, 2) + Days::new(birth.roll(25) as u64), 9, 11),
            _ => moment(BEGINNING) + TimeDelta::hours(1),
        };
        self.add(came, Act::SignUp(person));
        let mut latest = None;
        for (line, date) in bought.into_iter().filter(|(_, date)| *date >= day(1998, 3, 2)) {
            // Whoever buys every day waits with several messages for the same moment below the cap, and which of them comes first
            // then is told by nobody.
            if latest.is_some_and(|latest| date < latest + Days::new(12)) {
                continue;
            }
            latest = Some(date);
            let (order, noon) = (format!("order-{line}"), at(date, 12, 0));
            // Some are reported late, the latest when their thanks would come too late.
            let late = if dice.roll(8) == 0 {
                TimeDelta::hours(36 * i64::try_from(1 + dice.roll(6)).unwrap())
            } else {
                TimeDelta::zero()
            };
            self.add(noon + late, Act::Buy(name.clone(), noon, order.clone()));
            if dice.roll(8) == 0 {
                self.add(noon + TimeDelta::minutes(1_500), Act::Refund(name.clone(), order));
            }
        }
        let mut after = |first: NaiveDate, most: usize| at(first + Days::new(dice.roll(most) as u64), 15, 7);
        let mut later = |most: usize| after(day(1998, 3, 20), most);
        match number % 16 {
            0 | 1 => self.add(later(80), Act::Leave(name, Leave::Offers)),
            2 => self.add(later(80), Act::Leave(name, Leave::Marketing)),
            3 => self.add(later(80), Act::Leave(name, Leave::Everything)),
            4 | 5 => self.add(later(60), Act::Agree(name)),
            6 => {
                let first = later(40);
                self.add(first, Act::Leave(name.clone(), Leave::Offers));
                self.add(first + TimeDelta::days(9), Act::Agree(name));
            }
            7 => {
                let first = later(60);
                self.add(first, Act::Suppress(name.clone()));
                self.add(first + TimeDelta::days(21), Act::LiftAgain(name));
            }
            // Within the last month: whoever is deleted for longer is erased, and cannot be rehearsed.
            8 => self.add(after(day(1998, 6, 3), 20), Act::Delete(name)),
            _ => {}
        }
    }
}

fn day(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap()
}

/// Splitmix64: the same numbers for the same person everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }
}
