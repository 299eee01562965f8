//! Made-up people for real purchases: the same for every run.

use chrono::{NaiveDate, NaiveTime};

use crate::calendar::Zone;
use crate::clock::Timestamp;

/// All over the world, half hours, quarter hours and places without summer time included.
const ZONES: [&str; 6] =
    ["Australia/Lord_Howe", "Asia/Kathmandu", "Europe/Riga", "Europe/Vilnius", "America/New_York", "Pacific/Honolulu"];

/// First and last names by language.
const NAMES: [(&str, [&str; 6], [&str; 6]); 5] = [
    (
        "en",
        ["Emma", "Oliver", "Amelia", "George", "Grace", "Harry"],
        ["Smith", "Taylor", "Brown", "Walker", "Wright", "Hughes"],
    ),
    (
        "lv",
        ["Anna", "Jānis", "Līga", "Kārlis", "Ilze", "Mārtiņš"],
        ["Bērziņa", "Kalniņš", "Ozoliņa", "Liepiņš", "Krūmiņa", "Eglītis"],
    ),
    (
        "lt",
        ["Ona", "Jonas", "Rūta", "Tomas", "Eglė", "Žygimantas"],
        ["Kazlauskienė", "Petrauskas", "Žukaitė", "Butkus", "Šimkutė", "Stankevičius"],
    ),
    (
        "da",
        ["Freja", "Søren", "Åse", "Lærke", "Jørgen", "Mads"],
        ["Jensen", "Møller", "Sørensen", "Østergaard", "Kjær", "Bæk"],
    ),
    (
        "ru",
        ["Анна", "Иван", "Ольга", "Пётр", "Юлия", "Сергей"],
        ["Иванова", "Смирнов", "Щербакова", "Попов", "Ёлкина", "Соколов"],
    ),
];

/// Quiet hours that some ask for: two that cover nothing that is planned, one over the check-in, one over the win-back.
const QUIET: [(&str, &str, &[&str]); 4] = [
    ("22:00", "08:00", &[]),
    ("23:30", "06:45", &["FRI", "SAT"]),
    ("21:00", "11:00", &[]),
    ("17:00", "19:30", &["MON", "TUE", "WED", "THU", "FRI"]),
];

/// Years with a 29 February.
const LEAP_YEARS: [i32; 10] = [1940, 1944, 1948, 1952, 1956, 1960, 1964, 1968, 1972, 1976];

/// A made-up customer.
#[derive(Debug, Clone)]
pub struct Person {
    /// The number in the data set.
    pub number: u32,
    /// First name.
    pub given_name: &'static str,
    /// Last name.
    pub family_name: &'static str,
    /// Which language they read.
    pub locale: &'static str,
    /// Where they live.
    pub zone: Zone,
    /// Whether they agree to offers when they sign up.
    pub agrees: bool,
    /// Whether they ask for the newsletter when they sign up.
    pub subscribes: bool,
    /// When they were born, as far as they say so.
    pub birthday: Option<NaiveDate>,
    /// When they want quiet.
    pub quiet: Option<(&'static str, &'static str, &'static [&'static str])>,
    /// What they want no more of, and how many days after they signed up.
    pub leaves: Option<(Leave, u64)>,
}

/// What somebody wants no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Offers.
    Offers,
    /// Check-ins.
    CheckIns,
    /// The newsletter.
    Newsletter,
    /// All marketing.
    Marketing,
    /// Everything.
    Everything,
}

impl Person {
    /// The person behind a number.
    pub fn new(number: u32) -> Self {
        let mut dice = Dice(u64::from(number));
        let (locale, given, family) = NAMES[dice.roll(5)];
        let zone = ZONES[dice.roll(ZONES.len())];
        let leaves = match dice.roll(100) {
            0..=4 => Some(Leave::Offers),
            5..=7 => Some(Leave::Marketing),
            8..=9 => Some(Leave::Everything),
            10..=11 => Some(Leave::CheckIns),
            12..=19 => Some(Leave::Newsletter),
            _ => None,
        };
        Self {
            number,
            given_name: given[dice.roll(6)],
            family_name: family[dice.roll(6)],
            locale,
            zone: zone.parse().unwrap_or(Zone::UTC),
            agrees: dice.roll(100) < 60,
            quiet: (dice.roll(5) == 0).then(|| QUIET[dice.roll(QUIET.len())]),
            leaves: leaves.map(|leave| (leave, 2 + dice.roll(90) as u64)),
            subscribes: dice.roll(100) < 20,
            birthday: dice.birthday(),
        }
    }

    /// The shop's own key.
    pub fn external_id(&self) -> String {
        format!("cdnow-{:05}", self.number)
    }

    /// An address that nobody has (RFC 2606).
    pub fn email(&self) -> String {
        format!("customer.{:05}@example.com", self.number)
    }

    /// A full hour where they live.
    pub fn moment(&self, date: NaiveDate, hour: u32) -> Timestamp {
        moment(self.zone, date, hour)
    }
}

/// Where people live.
pub fn zones() -> impl Iterator<Item = Zone> {
    ZONES.iter().filter_map(|name| name.parse().ok())
}

/// A full hour in a zone.
pub fn moment(zone: Zone, date: NaiveDate, hour: u32) -> Timestamp {
    zone.instant(date.and_time(NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default()))
}

/// Splitmix64 (Steele, Lea, Flood 2014): the same numbers for the same person on every computer.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap_or(0)
    }

    /// Three in five say nothing; more were born on 29 February than there are.
    fn birthday(&mut self) -> Option<NaiveDate> {
        match self.roll(50) {
            0..30 => None,
            30 => NaiveDate::from_ymd_opt(LEAP_YEARS[self.roll(LEAP_YEARS.len())], 2, 29),
            _ => {
                let days = u32::try_from(self.roll(365)).unwrap_or(0);
                NaiveDate::from_yo_opt(1930 + i32::try_from(self.roll(50)).unwrap_or(0), 1 + days)
            }
        }
    }
}
