//! The main job, on real input: `rapport demo` from an empty folder, and what must be true of everything it sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a story that cannot go on ends there")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use mail_parser::MessageParser;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};

/// What the record says of a message that was sent.
struct Sent {
    contact_id: String,
    campaign: String,
    customer: Vec<u8>,
    time: DateTime<Utc>,
    address: String,
}

/// Who the customer is, as far as it matters here.
struct Person {
    zone: Tz,
    quiet: Option<Quiet>,
    birthday: Option<NaiveDate>,
    bought: Vec<DateTime<Utc>>,
    /// What they wanted no more of, and since when.
    left: Vec<(String, DateTime<Utc>)>,
}

struct Quiet {
    start: NaiveTime,
    end: NaiveTime,
    days: Vec<String>,
}

#[tokio::test]
async fn the_demo_adds_up_and_everything_it_sent_was_right() {
    // It stays, with what was printed: whoever checks it otherwise need not play it again.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop");
    let table = play(&folder);
    let db = open(&folder.join("demo/rapport.db")).await;
    let sent = sent(&db).await;
    let people = people(&db).await;
    let sent_by_table = adds_up(&table, &people);

    assert_eq!(sent.len(), sent_by_table, "the table and the record");
    let outbox = folder.join("demo/outbox");
    assert_eq!(fs::read_dir(&outbox).unwrap().count(), sent.len(), "the outbox and the record");
    for one in &sent {
        reads_well(&outbox.join(format!("{}.eml", one.contact_id)), &one.address);
        let person = &people[&one.customer];
        match one.campaign.as_str() {
            "check-in" => a_week_after_an_order_at_ten(one, person),
            "thank-you" => the_day_after_the_fifth_order_at_four(one, person),
            "newsletter" => on_the_last_day_of_a_month_at_nine(one, person),
            "birthday" => on_the_birthday_at_nine(one, person),
            _ => not_within_sixty_days_of_an_order(one, person),
        }
        not_after_a_goodbye(one, person);
    }
    samples_exist(&folder, &table);
    assert_eq!(ids(&db, "SELECT contact_id AS id FROM contacts WHERE state IN ('scheduled', 'sending')").await, 0);
}

fn play(folder: &Path) -> String {
    fs::create_dir_all(folder).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rapport")).arg("demo").current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(folder.join("printed.txt"), &output.stdout).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// planned = sent + suppressed + canceled + expired + failed + in doubt, in every column; answers how many were sent.
fn adds_up(table: &str, people: &BTreeMap<Vec<u8>, Person>) -> usize {
    let row = |name: &str| -> Vec<i64> {
        let line = table.lines().find_map(|line| line.strip_prefix(&format!("  {name} "))).expect(name);
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let planned = row("planned");
    assert_eq!(planned.len(), 6);
    let parts = ["sent", "suppressed", "canceled", "expired", "failed", "in doubt"].map(row);
    for (column, planned) in planned.iter().enumerate() {
        assert_eq!(*planned, parts.iter().map(|part| part[column]).sum::<i64>(), "{table}");
    }
    // Every order asks for a check-in and a win-back, and every fifth one thanks; nothing is lost on a day without trouble.
    let fifths = people.values().filter(|person| person.bought.len() >= 5).count();
    assert_eq!(planned[..3], [6_919, i64::try_from(fifths).unwrap(), 6_919]);
    assert_eq!(planned[5], planned[..5].iter().sum::<i64>());
    for name in ["expired", "failed", "in doubt"] {
        assert_eq!(row(name), [0; 6], "{table}");
    }
    let sent = row("sent");
    assert!(sent.iter().all(|sent| *sent > 100), "{table}");
    // Both variants of the win-back are all of it.
    assert_eq!(variant(table, "news") + variant(table, "question"), sent[2], "{table}");
    usize::try_from(sent[5]).unwrap()
}

/// How often a variant was sent.
fn variant(table: &str, name: &str) -> i64 {
    let line = table.lines().find_map(|line| line.strip_prefix(&format!("  {name} "))).expect(name);
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn samples_exist(folder: &Path, table: &str) {
    let paths: Vec<&str> =
        table.lines().filter_map(|line| line.trim().split(' ').next()).filter(|word| word.ends_with(".eml")).collect();
    assert_eq!(paths.len(), 5, "{table}");
    for path in paths {
        assert!(folder.join(path).is_file(), "{path}");
    }
}

fn reads_well(path: &Path, address: &str) {
    let raw = fs::read(path).unwrap();
    let message = MessageParser::default().parse(&raw).unwrap();
    assert_eq!(message.to().unwrap().first().unwrap().address.as_deref(), Some(address));
    assert!(!message.subject().unwrap().is_empty());
    for part in [message.body_text(0).unwrap(), message.body_html(0).unwrap()] {
        assert!(part.len() > 100 && !part.contains("{{") && !part.contains('\u{fffd}'), "{path:?}: {part}");
    }
    assert!(raw.split(|byte| *byte == b'\n').all(|line| line.len() <= 998), "{path:?}");
}

fn a_week_after_an_order_at_ten(one: &Sent, person: &Person) {
    let date = came_at(one, person, 10);
    let week = Days::new(7);
    let ordered = |bought: &DateTime<Utc>| bought.with_timezone(&person.zone).date_naive() + week == date;
    assert!(person.bought.iter().any(ordered), "{}: nothing was bought a week before", one.contact_id);
}

fn the_day_after_the_fifth_order_at_four(one: &Sent, person: &Person) {
    let date = came_at(one, person, 16);
    let mut bought = person.bought.clone();
    bought.sort_unstable();
    assert_eq!(bought[4].with_timezone(&person.zone).date_naive() + Days::new(1), date, "{}", one.contact_id);
}

fn on_the_last_day_of_a_month_at_nine(one: &Sent, person: &Person) {
    let date = came_at(one, person, 9);
    assert_eq!(date.succ_opt().unwrap().day(), 1, "{}: {date}", one.contact_id);
}

fn on_the_birthday_at_nine(one: &Sent, person: &Person) {
    let date = came_at(one, person, 9);
    let born = person.birthday.unwrap();
    // There is no 29 February in these years.
    let expected = born.with_year(date.year()).or_else(|| NaiveDate::from_ymd_opt(date.year(), 2, 28));
    assert_eq!(Some(date), expected, "{}: born on {born}", one.contact_id);
}

/// A message comes at a full hour on its customer's wall clock, or when the quiet around that is over; answers the date.
fn came_at(one: &Sent, person: &Person, hour: u32) -> NaiveDate {
    let local = one.time.with_timezone(&person.zone).naive_local();
    let planned = local.date().and_hms_opt(hour, 0, 0).unwrap();
    let expected = person.quiet.as_ref().and_then(|quiet| quiet.end_if_covers(planned)).unwrap_or(planned);
    assert_eq!(local, expected, "{} in {}", one.contact_id, person.zone);
    local.date()
}

impl Quiet {
    /// The end of the quiet hours that cover a time of day; by the day on which they begin.
    fn end_if_covers(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let begins = |date: chrono::NaiveDate| {
            let name = date.weekday().to_string().to_uppercase();
            self.days.is_empty() || self.days.contains(&name)
        };
        let overnight = self.end <= self.start;
        for start_date in [time.date() - Days::new(1), time.date()] {
            let end_date = if overnight { start_date + Days::new(1) } else { start_date };
            let (start, end) = (start_date.and_time(self.start), end_date.and_time(self.end));
            if begins(start_date) && start <= time && time < end {
                return Some(end);
            }
        }
        None
    }
}

fn not_within_sixty_days_of_an_order(one: &Sent, person: &Person) {
    let local = one.time.with_timezone(&person.zone).date_naive();
    for bought in &person.bought {
        let day = bought.with_timezone(&person.zone).date_naive();
        assert!(
            *bought >= one.time || day + Days::new(60) <= local,
            "{}: bought on {day}, sent on {local}",
            one.contact_id
        );
    }
}

fn not_after_a_goodbye(one: &Sent, person: &Person) {
    let topic = match one.campaign.as_str() {
        "check-in" | "thank-you" => "after-sales",
        "newsletter" => "news",
        _ => "offers",
    };
    for (scope, since) in &person.left {
        let concerns = scope == "silence" || scope == topic || (scope == "object" && topic != "after-sales");
        assert!(!concerns || one.time < *since, "{}: left ({scope}) at {since}", one.contact_id);
    }
}

async fn open(file: &Path) -> DatabaseConnection {
    sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await.unwrap()
}

async fn rows(db: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    db.query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap()
}

async fn ids(db: &DatabaseConnection, sql: &str) -> usize {
    rows(db, sql).await.len()
}

async fn sent(db: &DatabaseConnection) -> Vec<Sent> {
    let sql = "SELECT c.contact_id, c.campaign_id, c.customer_id, c.send_time, a.value
        FROM contacts c JOIN addresses a ON a.address_id = c.address_id WHERE c.state = 'sent'";
    let one = |row: QueryResult| Sent {
        contact_id: rapport::ids::ContactId::from_uuid(row.try_get("", "contact_id").unwrap()).to_string(),
        campaign: row.try_get("", "campaign_id").unwrap(),
        customer: customer(&row),
        time: row.try_get("", "send_time").unwrap(),
        address: row.try_get("", "value").unwrap(),
    };
    rows(db, sql).await.into_iter().map(one).collect()
}

fn customer(row: &QueryResult) -> Vec<u8> {
    row.try_get::<uuid::Uuid>("", "customer_id").unwrap().as_bytes().to_vec()
}

async fn people(db: &DatabaseConnection) -> BTreeMap<Vec<u8>, Person> {
    let mut people = BTreeMap::new();
    for row in rows(db, "SELECT customer_id, time_zone, attributes FROM customers").await {
        let zone: String = row.try_get("", "time_zone").unwrap();
        let attributes: serde_json::Value = row.try_get("", "attributes").unwrap();
        let birthday = attributes["birthday"].as_str().map(|date| date.parse().unwrap());
        let zone = zone.parse().unwrap();
        let person = Person { zone, quiet: None, birthday, bought: Vec::new(), left: Vec::new() };
        people.insert(customer(&row), person);
    }
    for row in rows(db, "SELECT customer_id, occur_time FROM events WHERE event_type = 'order.placed'").await {
        people.get_mut(&customer(&row)).unwrap().bought.push(row.try_get("", "occur_time").unwrap());
    }
    for row in rows(db, "SELECT customer_id, quiet_hours FROM preferences WHERE quiet_hours IS NOT NULL").await {
        let hours: serde_json::Value = row.try_get("", "quiet_hours").unwrap();
        let time = |name: &str| hours[name].as_str().unwrap().parse().unwrap();
        let days = hours["days"].as_array().into_iter().flatten().map(|day| day.as_str().unwrap().to_owned());
        let quiet = Quiet { start: time("start"), end: time("end"), days: days.collect() };
        people.get_mut(&customer(&row)).unwrap().quiet = Some(quiet);
    }
    let sql = "SELECT customer_id, act, topic_id, occur_time FROM consent_records WHERE act <> 'grant'";
    for row in rows(db, sql).await {
        let act: String = row.try_get("", "act").unwrap();
        let topic: Option<String> = row.try_get("", "topic_id").unwrap();
        let left = (topic.unwrap_or(act), row.try_get("", "occur_time").unwrap());
        people.get_mut(&customer(&row)).unwrap().left.push(left);
    }
    let zones: BTreeSet<_> = people.values().map(|person| person.zone.name()).collect();
    assert!(people.len() == 2_357 && zones.len() >= 6, "{} people, {zones:?}", people.len());
    let leavers = people.values().filter(|person| !person.left.is_empty()).count();
    let quiet = people.values().filter(|person| person.quiet.is_some()).count();
    assert!(leavers > 100 && quiet > 100, "{leavers} left and {quiet} want quiet: too few to prove anything");
    people
}
