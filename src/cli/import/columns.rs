//! Which column of a file says what about a customer.

use std::fmt;

use prost_types::{Struct, Timestamp as WireTime, Value as WireValue, value::Kind};

use crate::{
    cli::cells::{read_cell, read_list},
    clock::Timestamp,
    rpc::proto::{Address, Customer, ImportConsent, ImportRow},
};

/// What a column says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Nothing: it is left out.
    Nothing,
    /// Our own id.
    CustomerId,
    /// A key of the caller's.
    ExternalId,
    /// Several of them.
    ExternalIds,
    /// The primary address.
    Email,
    /// Other addresses.
    OtherEmails,
    /// How the customer is addressed.
    DisplayName,
    /// First name.
    GivenName,
    /// Last name.
    FamilyName,
    /// Where the customer lives.
    TimeZone,
    /// Which language the customer reads.
    Locale,
    /// Labels.
    Tags,
    /// Free data, as a JSON object.
    Attributes,
    /// One piece of it.
    Attribute(String, AttributeType),
    /// Yes or no to a topic.
    Consent(String),
    /// When that was said: to one topic, or to all.
    ConsentTime(Option<String>),
    /// What shows it.
    ConsentEvidence(Option<String>),
    /// When it is over.
    ConsentEnd(Option<String>),
}

/// What an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeType {
    Text,
    Number,
    Bool,
    Json,
}

/// What is wrong with a cell, or a row.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongCell {
    /// The column's name in the file; empty = the row.
    pub column: String,
    /// What is wrong.
    pub sentence: String,
}

/// What the columns of a file say.
#[derive(Debug)]
pub struct Columns {
    names: Vec<String>,
    says: Vec<Says>,
}

/// What columns of files are called that say these things, in small letters and digits alone.
const USUAL: &[(&[&str], Says)] = &[
    (&["customerid"], Says::CustomerId),
    (
        &["externalid", "id", "customernumber", "customerno", "customerkey", "clientid", "userid", "crmid"],
        Says::ExternalId,
    ),
    (&["externalids"], Says::ExternalIds),
    (&["email", "emailaddress", "mail", "mailaddress", "primaryemail"], Says::Email),
    (&["otheremails", "secondaryemail", "email2"], Says::OtherEmails),
    (&["displayname", "name", "fullname", "customername"], Says::DisplayName),
    (&["givenname", "firstname", "forename", "first"], Says::GivenName),
    (&["familyname", "lastname", "surname", "last"], Says::FamilyName),
    (&["timezone", "tz", "zone"], Says::TimeZone),
    (&["locale", "language", "lang", "preferredlanguage"], Says::Locale),
    (&["tags", "tag", "labels"], Says::Tags),
    (&["attributes"], Says::Attributes),
    // What an export holds and nobody can set.
    (&["state", "createtime", "updatetime", "emailverifytime"], Says::Nothing),
];

impl Columns {
    /// By the first line of a file, and by what was said about columns otherwise ("E-mail=email").
    pub fn read(names: Vec<String>, maps: &[String]) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut says: Vec<Option<Says>> = names.iter().map(|name| usual(name)).collect();
        for map in maps {
            let Some((name, target)) = map.rsplit_once('=') else {
                problems.push(format!("--map {map:?} must be COLUMN=TARGET"));
                continue;
            };
            let Some(place) = names.iter().position(|one| one.trim() == name.trim()) else {
                problems.push(format!("--map {map:?}: there is no column {name:?}"));
                continue;
            };
            match target.trim().parse() {
                Ok(target) => says[place] = Some(target),
                Err(allowed) => problems.push(format!("--map {map:?}: {allowed}")),
            }
        }
        let says: Vec<Says> = says.into_iter().map(|one| one.unwrap_or(Says::Nothing)).collect();
        for (place, one) in says.iter().enumerate() {
            if *one != Says::Nothing && says[..place].contains(one) && *one != Says::OtherEmails {
                problems.push(format!(
                    "columns {} say the same: leave one out with --map COLUMN=-",
                    both(&names, &says, one)
                ));
            }
        }
        let tells = |one: &Says| matches!(one, Says::CustomerId | Says::ExternalId | Says::ExternalIds | Says::Email);
        if !says.iter().any(tells) {
            problems.push("no column says who it is: --map COLUMN=external_id, or email, names it".to_owned());
        }
        if problems.is_empty() { Ok(Self { names, says }) } else { Err(problems) }
    }

    /// Which columns say what, for people.
    pub fn describe(&self) -> String {
        let told = self.names.iter().zip(&self.says).filter(|(_, says)| **says != Says::Nothing);
        told.map(|(name, says)| format!("{name} = {says}")).collect::<Vec<_>>().join(", ")
    }

    /// The columns that say nothing.
    pub fn left_out(&self) -> Vec<String> {
        let nothing = self.names.iter().zip(&self.says).filter(|(_, says)| **says == Says::Nothing);
        nothing.map(|(name, _)| name.clone()).collect()
    }

    /// The name of a column, by its place.
    pub fn name(&self, place: usize) -> String {
        self.names.get(place).cloned().unwrap_or_default()
    }

    /// Which column an error of the service is about; its path where that is no single one.
    pub fn column_of(&self, path: &str) -> String {
        let is_it = |says: &Says| match (says, path.strip_prefix("customer.").unwrap_or(path)) {
            (Says::CustomerId, "customerId")
            | (Says::DisplayName, "displayName")
            | (Says::GivenName, "givenName")
            | (Says::FamilyName, "familyName")
            | (Says::TimeZone, "timeZone")
            | (Says::Locale, "locale") => true,
            (Says::ExternalId | Says::ExternalIds, path) => path.starts_with("externalIds"),
            (Says::Tags, path) => path.starts_with("tags"),
            (Says::Email, path) => path.starts_with("addresses[0]"),
            (Says::OtherEmails, path) => path.starts_with("addresses["),
            (Says::Attributes, path) => path.starts_with("attributes"),
            (Says::Attribute(name, _), path) => {
                path.strip_prefix("attributes.").and_then(|path| path.strip_prefix(name.as_str())).is_some()
            }
            _ => false,
        };
        let place = self.says.iter().position(is_it);
        place.map_or_else(|| path.to_owned(), |place| self.name(place))
    }

    /// What a row says. None where it says nothing at all.
    pub fn row(&self, line: u64, mut cells: Vec<String>) -> Result<Option<ImportRow>, Vec<WrongCell>> {
        let expected = self.names.len();
        while cells.len() > expected && cells.last().is_some_and(|cell| cell.trim().is_empty()) {
            cells.pop();
        }
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return Ok(None);
        }
        if cells.len() != expected {
            let sentence = format!("has {} cells, and the first line {expected}", cells.len());
            return Err(vec![WrongCell { column: String::new(), sentence }]);
        }
        let (mut row, mut wrong) = (Row::default(), Vec::new());
        for (place, cell) in cells.iter().enumerate() {
            let text = read_cell(cell).trim_matches([' ', '\t']);
            if text.is_empty() {
                continue;
            }
            if let Err(sentence) = row.say(&self.says[place], text) {
                wrong.push(WrongCell { column: self.name(place), sentence });
            }
        }
        if wrong.is_empty() { Ok(Some(row.finish(line))) } else { Err(wrong) }
    }
}

fn both(names: &[String], says: &[Says], one: &Says) -> String {
    let same = names.iter().zip(says).filter(|(_, says)| *says == one).map(|(name, _)| format!("{name:?}"));
    same.collect::<Vec<_>>().join(" and ")
}

fn usual(name: &str) -> Option<Says> {
    let name = read_cell(name).trim();
    if name.contains('.')
        && let Ok(says) = name.parse()
    {
        return Some(says);
    }
    let plain: String = name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    USUAL.iter().find(|(names, _)| names.contains(&plain.as_str())).map(|(_, says)| says.clone())
}

impl std::str::FromStr for Says {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let some = |topic: &str| (!topic.is_empty()).then(|| topic.to_owned());
        if let Some(rest) = text.strip_prefix("attributes.").filter(|rest| !rest.is_empty()) {
            let (name, kind) = match rest.rsplit_once(':') {
                Some((name, "text")) => (name, AttributeType::Text),
                Some((name, "number")) => (name, AttributeType::Number),
                Some((name, "bool")) => (name, AttributeType::Bool),
                Some((name, "json")) => (name, AttributeType::Json),
                _ => (rest, AttributeType::Text),
            };
            return Ok(Self::Attribute(name.to_owned(), kind));
        }
        if let Some(rest) = text.strip_prefix("consent.") {
            let (topic, what) = rest.rsplit_once('.').unwrap_or(("", rest));
            match what {
                "time" => return Ok(Self::ConsentTime(some(topic))),
                "evidence" => return Ok(Self::ConsentEvidence(some(topic))),
                "end" => return Ok(Self::ConsentEnd(some(topic))),
                topic if rest == topic && !topic.is_empty() => return Ok(Self::Consent(topic.to_owned())),
                _ => {}
            }
        }
        Ok(match text {
            "-" => Self::Nothing,
            "customer_id" => Self::CustomerId,
            "external_id" => Self::ExternalId,
            "external_ids" => Self::ExternalIds,
            "email" => Self::Email,
            "other_emails" => Self::OtherEmails,
            "display_name" => Self::DisplayName,
            "given_name" => Self::GivenName,
            "family_name" => Self::FamilyName,
            "time_zone" => Self::TimeZone,
            "locale" => Self::Locale,
            "tags" => Self::Tags,
            "attributes" => Self::Attributes,
            _ => {
                return Err("a target is customer_id, external_id, external_ids, email, other_emails, display_name, given_name, family_name, \
                    time_zone, locale, tags, attributes, attributes.NAME (or NAME:number, :bool, :json), consent.TOPIC, \
                    consent.TOPIC.time, .evidence, .end, the same without TOPIC for all of them, or - to leave it out"
                    .to_owned());
            }
        })
    }
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |topic: &Option<String>| topic.as_ref().map(|topic| format!("{topic}.")).unwrap_or_default();
        match self {
            Self::Nothing => f.write_str("-"),
            Self::CustomerId => f.write_str("customer_id"),
            Self::ExternalId => f.write_str("external_id"),
            Self::ExternalIds => f.write_str("external_ids"),
            Self::Email => f.write_str("email"),
            Self::OtherEmails => f.write_str("other_emails"),
            Self::DisplayName => f.write_str("display_name"),
            Self::GivenName => f.write_str("given_name"),
            Self::FamilyName => f.write_str("family_name"),
            Self::TimeZone => f.write_str("time_zone"),
            Self::Locale => f.write_str("locale"),
            Self::Tags => f.write_str("tags"),
            Self::Attributes => f.write_str("attributes"),
            Self::Attribute(name, AttributeType::Text) => write!(f, "attributes.{name}"),
            Self::Attribute(name, AttributeType::Number) => write!(f, "attributes.{name}:number"),
            Self::Attribute(name, AttributeType::Bool) => write!(f, "attributes.{name}:bool"),
            Self::Attribute(name, AttributeType::Json) => write!(f, "attributes.{name}:json"),
            Self::Consent(topic) => write!(f, "consent.{topic}"),
            Self::ConsentTime(topic) => write!(f, "consent.{}time", of(topic)),
            Self::ConsentEvidence(topic) => write!(f, "consent.{}evidence", of(topic)),
            Self::ConsentEnd(topic) => write!(f, "consent.{}end", of(topic)),
        }
    }
}

/// A row while its cells are read.
#[derive(Default)]
struct Row {
    customer: Customer,
    attributes: Struct,
    other: Vec<String>,
    consents: Vec<ImportConsent>,
    /// What is said of consents: of one topic, or of all.
    times: Vec<(Option<String>, WireTime)>,
    evidence: Vec<(Option<String>, String)>,
    ends: Vec<(Option<String>, WireTime)>,
}

impl Row {
    fn say(&mut self, says: &Says, text: &str) -> Result<(), String> {
        match says {
            Says::Nothing => {}
            Says::CustomerId => self.customer.customer_id = text.to_owned(),
            Says::ExternalId => self.customer.external_ids.insert(0, text.to_owned()),
            Says::ExternalIds => self.customer.external_ids.extend(read_list(text)?),
            Says::Email => {
                let address = Address { value: text.to_owned(), primary: true, ..Address::default() };
                self.customer.addresses.insert(0, address);
            }
            Says::OtherEmails => self.other.extend(read_list(text)?),
            Says::DisplayName => self.customer.display_name = text.to_owned(),
            Says::GivenName => self.customer.given_name = text.to_owned(),
            Says::FamilyName => self.customer.family_name = text.to_owned(),
            Says::TimeZone => self.customer.time_zone = text.to_owned(),
            Says::Locale => self.customer.locale = text.replace('_', "-"),
            Says::Tags => self.customer.tags = read_list(text)?,
            Says::Attributes => {
                let wrong = || "must be a JSON object".to_owned();
                let value = serde_json::from_str(text).map_err(|_| wrong())?;
                let Some(Kind::StructValue(all)) = wire_value(value).kind else { return Err(wrong()) };
                self.attributes.fields.extend(all.fields);
            }
            Says::Attribute(name, kind) => {
                self.attributes.fields.insert(name.clone(), attribute(*kind, text)?);
            }
            Says::Consent(topic) => {
                let withdrawal = !agrees(text)?;
                self.consents.push(ImportConsent { topic_id: topic.clone(), withdrawal, ..ImportConsent::default() });
            }
            Says::ConsentTime(topic) => self.times.push((topic.clone(), time(text)?)),
            Says::ConsentEvidence(topic) => self.evidence.push((topic.clone(), text.to_owned())),
            Says::ConsentEnd(topic) => self.ends.push((topic.clone(), time(text)?)),
        }
        Ok(())
    }

    fn finish(mut self, line: u64) -> ImportRow {
        for consent in &mut self.consents {
            consent.occur_time = of_topic(&self.times, &consent.topic_id).copied();
            consent.evidence = of_topic(&self.evidence, &consent.topic_id).cloned().unwrap_or_default();
            if !consent.withdrawal {
                consent.expire_time = of_topic(&self.ends, &consent.topic_id).copied();
            }
        }
        let other = self.other.into_iter().map(|value| Address { value, ..Address::default() });
        self.customer.addresses.extend(other);
        if !self.attributes.fields.is_empty() {
            self.customer.attributes = Some(self.attributes);
        }
        let row = i64::try_from(line).unwrap_or(i64::MAX);
        ImportRow { row, customer: Some(self.customer), consents: self.consents }
    }
}

/// What is said of this topic, else what is said of all.
fn of_topic<'a, T>(said: &'a [(Option<String>, T)], topic: &str) -> Option<&'a T> {
    let own = said.iter().find(|(of, _)| of.as_deref() == Some(topic));
    own.or_else(|| said.iter().find(|(of, _)| of.is_none())).map(|(_, value)| value)
}

fn agrees(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "yes" | "y" | "true" | "1" | "x" | "granted" | "subscribed" | "opted in" | "opt-in" => Ok(true),
        "no" | "n" | "false" | "0" | "withdrawn" | "denied" | "unsubscribed" | "opted out" | "opt-out" => Ok(false),
        _ => Err("must be yes or no, or empty where the customer said nothing".to_owned()),
    }
}

fn attribute(kind: AttributeType, text: &str) -> Result<WireValue, String> {
    let kind = match kind {
        AttributeType::Text => Kind::StringValue(text.to_owned()),
        AttributeType::Number => {
            Kind::NumberValue(text.parse().map_err(|_| "must be a number such as 12.5".to_owned())?)
        }
        AttributeType::Bool => Kind::BoolValue(agrees(text).map_err(|_| "must be true or false".to_owned())?),
        AttributeType::Json => {
            return serde_json::from_str(text).map(wire_value).map_err(|_| "must be JSON".to_owned());
        }
    };
    Ok(WireValue { kind: Some(kind) })
}

fn wire_value(value: serde_json::Value) -> WireValue {
    use serde_json::Value;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(wire_value).collect() })
        }
        Value::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, wire_value(value))).collect(),
        }),
    };
    WireValue { kind: Some(kind) }
}

/// An instant, or a day or a time of day in UTC.
pub fn time(text: &str) -> Result<WireTime, String> {
    let wrong = || "must be a time such as 2026-11-28T10:00:00Z, or a day such as 2026-11-28".to_owned();
    let day = || text.parse::<chrono::NaiveDate>().ok().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    let blank = || chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok().map(|time| time.and_utc());
    let time = text.parse::<Timestamp>().ok().or_else(day).or_else(blank).ok_or_else(wrong)?;
    Ok(WireTime { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str], maps: &[&str]) -> Result<Columns, Vec<String>> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Columns::read(owned(names), &owned(maps))
    }

    fn row(columns: &Columns, cells: &[&str]) -> Result<Option<ImportRow>, Vec<WrongCell>> {
        columns.row(2, cells.iter().map(|&cell| cell.to_owned()).collect())
    }

    #[test]
    fn columns_are_known_by_several_spellings_and_by_what_is_said_about_them() {
        let names =
            ["ID", "E-Mail", "First Name", "surname", "Time_Zone", "attributes.size:number", "Kund", "consent.news"];
        let known = columns(&names, &["Kund=attributes.kind"]).unwrap();
        let expected = "ID = external_id, E-Mail = email, First Name = given_name, surname = family_name, \
            Time_Zone = time_zone, attributes.size:number = attributes.size:number, Kund = attributes.kind, \
            consent.news = consent.news";
        assert_eq!(known.describe(), expected);
        assert_eq!(known.column_of("customer.addresses[0].value"), "E-Mail");
        assert_eq!(known.column_of("customer.externalIds[3]"), "ID");
        assert_eq!(known.column_of("consents[0].evidence"), "consents[0].evidence");
        let problems = columns(&["a", "email", "mail"], &["b=email", "a=colour", "a"]).unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(columns(&["name"], &[]).unwrap_err().len(), 1);
        assert_eq!(columns(&["email", "mail"], &["mail=-"]).unwrap().left_out(), ["mail"]);
    }

    #[test]
    fn a_row_says_what_its_cells_say() {
        let names = ["id", "email", "tags", "attributes.n:number", "attributes.zip", "consent.news", "consent.time"];
        let columns = columns(&names, &[]).unwrap();
        let read = row(&columns, &["'=1", " a@example.com ", "vip; new", "-2.5", "0123", "yes", "2026-01-02"]);
        let read = read.unwrap().unwrap();
        let customer = read.customer.unwrap();
        assert_eq!((customer.external_ids, customer.tags), (vec!["=1".into()], vec!["vip".into(), "new".into()]));
        assert_eq!(customer.addresses[0].value, "a@example.com");
        let attributes = customer.attributes.unwrap().fields;
        assert_eq!(attributes["n"].kind, Some(Kind::NumberValue(-2.5)));
        assert_eq!(attributes["zip"].kind, Some(Kind::StringValue("0123".into())));
        assert_eq!(read.consents[0].occur_time, Some(WireTime { seconds: 1_767_312_000, nanos: 0 }));
        assert_eq!(row(&columns, &["", " ", "", "", "", "", ""]), Ok(None));
        assert_eq!(row(&columns, &["1", "", "", "", "", "", "", ""]).unwrap().unwrap().row, 2);
        let wrong = row(&columns, &["1", "", "[x", "many", "", "maybe", "yesterday"]).unwrap_err();
        let named: Vec<&str> = wrong.iter().map(|one| one.column.as_str()).collect();
        assert_eq!(named, ["tags", "attributes.n:number", "consent.news", "consent.time"]);
        assert_eq!(
            row(&columns, &["1", "a@example.com"]).unwrap_err()[0].sentence,
            "has 2 cells, and the first line 7"
        );
    }
}
