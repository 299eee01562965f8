//! What real mail systems send back, read and judged, beside what an independent parser says of the same messages. Each
//! disagreement stands with its reason in `tests/data/bounces/disagreements.tsv`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may stop where it stands")]
#![allow(clippy::print_stdout, reason = "whoever runs it wants to see where the readings differ")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use rapport::delivery::{Fate, Notice, Returned, Weight, What, read_returned};

/// A row of an independent reading: which recipient of which file, and what became of it.
struct Row {
    file: String,
    index: usize,
    status: String,
    reason: String,
    hard: bool,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/bounces")
}

fn messages() -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let messages = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    messages.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
}

fn expectations() -> Vec<Row> {
    let text = fs::read_to_string(folder().join("expectations.tsv")).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        Row {
            file: cells[0].to_owned(),
            index: cells[1].parse().unwrap(),
            status: cells[2].to_owned(),
            reason: cells[4].to_owned(),
            hard: cells[5] == "true",
        }
    };
    text.lines().skip(1).map(row).collect()
}

fn notices(returned: &Returned) -> &[Notice] {
    if let What::Report(notices) = &returned.what { notices } else { &[] }
}

fn is_hard(notice: &Notice) -> bool {
    matches!(notice.fate, Fate::Failed { weight: Weight::Hard, .. })
}

fn ours(notice: Option<&Notice>) -> String {
    match notice.map(|notice| notice.fate) {
        None => "nothing".to_owned(),
        Some(Fate::Failed { cause, weight }) => format!("{cause}, {weight:?}").to_lowercase(),
        Some(fate) => format!("{fate:?}").to_lowercase(),
    }
}

#[test]
fn few_are_wronged_and_few_are_missed() {
    let read: BTreeMap<String, Returned> =
        messages().iter().map(|(name, raw)| (name.clone(), read_returned(raw).expect(name))).collect();
    let (mut soft, mut wronged, mut hard, mut found) = (0, 0, 0, 0);
    let mut differ = Vec::new();
    for row in expectations() {
        let notice = notices(&read[&row.file]).get(row.index - 1);
        let is_hard = notice.is_some_and(is_hard);
        if row.hard {
            hard += 1
        } else {
            soft += 1
        }
        match (row.hard, is_hard) {
            (true, true) => found += 1,
            (false, true) => wronged += 1,
            _ => {}
        }
        if row.hard != is_hard {
            let Row { file, index, reason, .. } = row;
            println!("{file} {index}: {reason}, and we say {}: {:?}", ours(notice), notice.map(|one| &one.detail));
            differ.push(format!("{file}\t{index}\t{reason}\t{}", ours(notice)));
        }
    }
    println!("{hard} hard rows, {found} of them suppress; {soft} soft rows, {wronged} of them suppress");
    assert!((hard, soft) == (83, 221), "{hard} hard and {soft} soft");
    assert!(found >= 75, "{found} of {hard}");
    assert!(wronged <= 4, "{wronged} of {soft}");
    assert_eq!(differ, listed("suppression"), "each of these has its reason in disagreements.tsv");
}

/// The disagreements that are known, without their reasons.
fn listed(about: &str) -> Vec<String> {
    let text = fs::read_to_string(folder().join("disagreements.tsv")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(about)?.strip_prefix('\t'));
    lines.map(|line| line.rsplit_once('\t').unwrap().0.to_owned()).collect()
}

#[test]
fn every_notification_for_programs_yields_its_recipients_and_statuses() {
    let (messages, rows) = (messages(), expectations());
    let (mut read_whole, mut differ) = (0, Vec::new());
    for (name, raw) in messages.iter().filter(|(_, raw)| is_for_programs(raw)) {
        let returned = read_returned(raw).unwrap();
        let notices = notices(&returned);
        let whole = |notice: &Notice| notice.status.is_some() && notice.recipients.iter().any(|one| one.contains('@'));
        let is_whole = !notices.is_empty() && notices.iter().all(whole);
        read_whole += usize::from(is_whole);
        if !is_whole {
            println!("{name}: {notices:?}");
            differ.push(format!("{name}\t-\tstatus and recipient\tnot both"));
        }
        for row in rows.iter().filter(|row| &row.file == name && !row.status.is_empty() && !row.status.contains(".0.9"))
        {
            let status = notices.get(row.index - 1).and_then(|notice| notice.status).map(|status| status.to_string());
            if status.as_ref() != Some(&row.status) {
                let ours = status.unwrap_or_else(|| "none".to_owned());
                println!("{name} {}: {} and we say {ours}", row.index, row.status);
                differ.push(format!("{name}\t{}\t{}\t{ours}", row.index, row.status));
            }
        }
    }
    println!("{read_whole} notifications for programs gave recipient and status of everybody");
    differ.dedup();
    assert_eq!(differ, listed("status"), "each of these has its reason in disagreements.tsv");
}

fn is_for_programs(raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw).to_lowercase();
    text.contains("content-type: message/delivery-status")
        || text.contains("content-type: message/global-delivery-status")
}

#[test]
fn the_end_of_a_line_makes_no_difference() {
    for (name, raw) in messages() {
        let text: Vec<u8> = raw.iter().copied().filter(|byte| *byte != b'\r').collect();
        let ending = |end: &[u8]| text.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(end);
        let lf = read_returned(&text).unwrap();
        assert_eq!(read_returned(&ending(b"\r\n")).unwrap(), lf, "{name} with CRLF");
        assert_eq!(read_returned(&ending(b"\r")).unwrap(), lf, "{name} with CR");
    }
}

#[test]
fn complaints_and_automatic_replies_are_what_they_are() {
    let read = |name: &str| read_returned(&fs::read(folder().join(name)).unwrap()).unwrap();
    for (name, raw) in
        messages().into_iter().filter(|(name, _)| name.starts_with("arf-") || name.starts_with("rfc3834-"))
    {
        let what = read_returned(&raw).unwrap().what;
        println!("{name}: {what:?}");
        match what {
            What::Complaint(_) => assert!(name.starts_with("arf-"), "{name}"),
            What::AutoReply => assert!(name.starts_with("rfc3834-"), "{name}"),
            what => panic!("{name}: {what:?}"),
        }
    }
    let What::Complaint(complaint) = read("arf-16.eml").what else { panic!("a complaint") };
    assert_eq!(complaint.recipients.len(), 7);
}

fn read(raw: &str) -> What {
    read_returned(raw.as_bytes()).unwrap().what
}

#[test]
fn what_a_customer_writes_of_a_failed_delivery_is_a_reply_and_no_report() {
    let letter = |header: &str| {
        format!(
            "From: Anna <anna@example.com>\nTo: shop@example.com\n{header}\n\nThe courier told me that the recipient was not \
             found at the address anna@example.com.\n"
        )
    };
    for header in [
        "Subject: Re: Your parcel: delivery failed\nIn-Reply-To: <1@example.com>",
        "Subject: Your parcel: delivery failed\nIn-Reply-To: <1@example.com>",
        "Subject: Your parcel: delivery failed",
        "Subject: AW: Mail delivery",
        "Subject: Re: Mail delivery failed\nReturn-Path: <anna@example.com>",
    ] {
        assert_eq!(read(&letter(header)), What::Reply, "{header}");
    }
    let What::Report(notices) = read(&letter("Subject: Delivery failed\nReturn-Path: <>")) else { panic!("a report") };
    assert!(!notices.iter().any(is_hard), "nobody vouches for it: {notices:?}");
    let daemon =
        "From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\n<anna@example.com>:\n550 5.1.1 unknown user\n";
    let What::Report(notices) = read(daemon) else { panic!("a report") };
    assert!(notices.iter().all(is_hard), "{notices:?}");
}

/// A notification for programs, with what people read before it.
fn notification(text: &str, groups: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net\nSubject: Undelivered\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\n{text}\n\n--b1\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.example.net\n\n{groups}\n--b1--\n"
    )
}

#[test]
fn a_report_of_thousands_of_recipients_is_read_as_far_as_its_first_hundred() {
    let each =
        |at: usize| (format!("<r{at}@example.com>: no such user, says the server\n\n"), group(at, "no such user"));
    let (text, groups): (String, String) = (0..2_000).map(each).unzip();
    let What::Report(notices) = read(&notification(&text, &groups)) else { panic!("a report") };
    assert_eq!(notices.len(), 100);
    let daemon = format!("From: MAILER-DAEMON@mx.example.net\nSubject: failure notice\n\n{text}");
    let What::Report(notices) = read(&daemon) else { panic!("a report") };
    assert_eq!(notices.len(), 100);
    let What::Report(notices) = read(&notification("No.", &group(1, &"no such user ".repeat(1_000)))) else {
        panic!("a report")
    };
    assert!(notices[0].detail.len() <= 500, "{}", notices[0].detail.len());
}

fn group(at: usize, said: &str) -> String {
    format!(
        "Final-Recipient: rfc822; r{at}@example.com\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 {said}\n\n"
    )
}

#[test]
fn the_subject_of_our_own_letter_decides_nothing() {
    let text = "Your message did not reach some or all of the intended recipients.\n\nSubject: Is your mailbox full?\nSent: today\n";
    let What::Report(notices) = read(&notification(text, &group(1, "User unknown"))) else { panic!("a report") };
    assert!(is_hard(&notices[0]), "{notices:?}");
}

/// How a message is damaged.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: prop::sample::Index, bit: u8 },
    Cut { at: prop::sample::Index },
    Drop { at: prop::sample::Index, length: usize },
    Double { at: prop::sample::Index, length: usize },
    Write { at: prop::sample::Index, bytes: Vec<u8> },
    Splice { at: prop::sample::Index, other: prop::sample::Index, from: prop::sample::Index },
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let telling = prop::sample::select(vec![
        "\r",
        "\n",
        "\r\n",
        "\n\n",
        ":",
        "--",
        "@",
        "<",
        ">",
        "=?utf-8?B?",
        "?=",
        "\\x{",
        "Content-Type: message/rfc822\n\n",
        "Content-Type: message/delivery-status\n\n",
        "Content-Transfer-Encoding: base64\n",
        "boundary=",
        "\u{0}",
        "550 5.1.1 ",
        "é",
    ]);
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        at().prop_map(|at| Damage::Cut { at }),
        (at(), 1..200usize).prop_map(|(at, length)| Damage::Drop { at, length }),
        (at(), 1..2000usize).prop_map(|(at, length)| Damage::Double { at, length }),
        (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Write { at, bytes }),
        (at(), telling).prop_map(|(at, text)| Damage::Write { at, bytes: text.as_bytes().to_vec() }),
        (at(), at(), at()).prop_map(|(at, other, from)| Damage::Splice { at, other, from }),
    ]
}

fn damaged(mut raw: Vec<u8>, damages: &[Damage], corpus: &[Vec<u8>]) -> Vec<u8> {
    for damage in damages {
        if raw.is_empty() {
            break;
        }
        let length_of = raw.len();
        match damage {
            Damage::Flip { at, bit } => raw[at.index(length_of)] ^= 1 << bit,
            Damage::Cut { at } => raw.truncate(at.index(length_of)),
            Damage::Drop { at, length } => {
                let start = at.index(length_of);
                raw.drain(start..length_of.min(start + length));
            }
            Damage::Double { at, length } => {
                let start = at.index(length_of);
                let piece = raw[start..length_of.min(start + length)].to_vec();
                raw.splice(start..start, piece);
            }
            Damage::Write { at, bytes } => {
                let start = at.index(length_of);
                raw.splice(start..start, bytes.iter().copied());
            }
            Damage::Splice { at, other, from } => {
                let other = &corpus[other.index(corpus.len())];
                raw.truncate(at.index(length_of));
                raw.extend_from_slice(&other[from.index(other.len())..]);
            }
        }
    }
    raw
}

/// Damages messages of the corpus, `cases` of them, and reads each: none may be unreadable, and its line ends make no difference.
fn read_damaged(cases: u32, seed: u64) {
    let corpus: Vec<Vec<u8>> = messages().into_values().collect();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(damage(), 1..8));
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, |(which, damages)| {
        let raw = damaged(corpus[which.index(corpus.len())].clone(), &damages, &corpus);
        let lf: Vec<u8> = with_lf(&raw);
        let crlf = lf.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
        let read = read_returned(&raw);
        prop_assert!(read.is_ok());
        prop_assert_eq!(read, read_returned(&crlf));
        Ok(())
    });
    result.expect("no damage is too much");
}

fn with_lf(raw: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'\r' if raw.get(at + 1) == Some(&b'\n') => {}
            b'\r' => lines.push(b'\n'),
            byte => lines.push(*byte),
        }
    }
    lines
}

#[test]
fn no_damage_is_too_much() {
    read_damaged(500, 1);
}

/// Reads damaged messages for ten minutes, or for RAPPORT_FUZZ_SECONDS.
#[test]
#[ignore = "takes ten minutes"]
fn no_damage_is_too_much_for_long() {
    let seconds = std::env::var("RAPPORT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let began = std::time::Instant::now();
    let mut rounds = 0;
    while began.elapsed().as_secs() < seconds {
        read_damaged(1_000, 1_000 + rounds);
        rounds += 1;
    }
    println!("{} damaged messages in {} s", rounds * 1_000, began.elapsed().as_secs());
}

/// Prints how many messages are read in a second; run it with --release.
#[test]
#[ignore = "prints a number"]
fn messages_read_in_a_second() {
    let corpus: Vec<Vec<u8>> = messages().into_values().collect();
    let bytes: usize = corpus.iter().map(Vec::len).sum();
    let rounds = 20;
    let began = std::time::Instant::now();
    for raw in (0..rounds).flat_map(|_| &corpus) {
        std::hint::black_box(read_returned(raw)).unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let each = corpus.len() * rounds;
    println!("{each} messages of {} bytes on average in {seconds:.2} s", bytes / corpus.len());
    println!("{:.0} messages a second on one core", each as f64 / seconds);
}
