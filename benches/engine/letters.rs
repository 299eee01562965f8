//! What a letter costs before it is handed over: composed, and signed with each kind of key.

use std::time::{Duration, Instant};

use rapport::{
    clock::Timestamp,
    delivery::{EmailAddress, Letter, Mailbox, MailingList, SigningPair, sign},
};

use super::Table;

/// The keys that sign, by the name that tables give them.
pub const KEYS: [(&str, &[&str]); 4] = [
    ("unsigned", &[]),
    ("Ed25519", &["ed25519"]),
    ("RSA-2048", &["rsa-2048"]),
    ("RSA-2048 and Ed25519", &["rsa-2048", "ed25519"]),
];
/// How many are measured one by one, after as many as warm up.
const LETTERS: usize = 2_000;

pub fn key_file(name: &str) -> String {
    format!("{}/tests/keys/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

pub fn measure() {
    let conditions = [format!(
        "one thread, {LETTERS} letters of each: {} bytes of text and {} of HTML, to a list, with everything that a header says; \
            relaxed/relaxed, both parts hashed once for all keys",
        text().len(),
        html().len()
    )];
    let columns = ["", "composed µs (p50)", "signed µs (p50)", "both µs (p99)", "bytes"];
    let mut table = Table::begin("Letters", &conditions, &columns);
    for (name, keys) in KEYS {
        let pairs: Vec<SigningPair> = keys
            .iter()
            .map(|key| {
                let pem = std::fs::read(key_file(key)).expect("a key");
                SigningPair::from_pem("s1".to_owned(), &pem).expect("it signs")
            })
            .collect();
        let (composed, signed, both, size) = letters(&pairs.iter().collect::<Vec<_>>());
        let micros = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e6);
        let signed = if keys.is_empty() { "-".to_owned() } else { micros(signed) };
        table.row(&[name.to_owned(), micros(composed), signed, micros(both), size.to_string()]);
    }
    table.print();
}

/// How long composing and signing take in the middle, both at worst but for one in a hundred, and how large they are.
fn letters(keys: &[&SigningPair]) -> (Duration, Duration, Duration, usize) {
    let (mut composed, mut signed, mut both, mut size) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for round in 0..2 * LETTERS {
        let started = Instant::now();
        let letter = compose();
        let between = Instant::now();
        let letter = if keys.is_empty() { letter } else { sign(&letter, "example.com", keys, now()).expect("signed") };
        let ended = Instant::now();
        size = letter.len();
        if round >= LETTERS {
            composed.push(between - started);
            signed.push(ended - between);
            both.push(ended - started);
        }
    }
    for times in [&mut composed, &mut signed, &mut both] {
        times.sort_unstable();
    }
    (composed[LETTERS / 2], signed[LETTERS / 2], both[LETTERS * 99 / 100], size)
}

fn compose() -> Vec<u8> {
    let from: Mailbox = "The Shop <shop@example.com>".parse().expect("a mailbox");
    let to: EmailAddress = "anna.ozola@example.net".parse().expect("an address");
    let unsubscribe = format!("https://mail.example.com/u/{}", "a".repeat(52));
    let list = MailingList { name: "Offers", id: "offers.example.com", unsubscribe: &unsubscribe };
    let letter = Letter {
        from: &from,
        reply_to: Some(&from),
        to_name: "Anna Ozola",
        to: &to,
        subject: "All well, Anna?",
        text: &text(),
        html: &html(),
        date: now(),
        message_id: "0123456789abcdefghjkmnpqrs@example.com",
        list: Some(list),
        feedback_id: "check-in:offers:marketing:default",
        auto_submitted: true,
        bulk: true,
    };
    letter.compose().expect("composed")
}

const LINE: &str = "We hope that everything is as you expected; if it is not, just answer.\n";

fn text() -> String {
    format!("Hello Anna,\n\n{}", LINE.repeat(25))
}

fn html() -> String {
    format!("<p>Hello Anna,</p>\n{}", format!("<p>{LINE}</p>\n").repeat(31))
}

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_800_000_000, 0).expect("a moment")
}
