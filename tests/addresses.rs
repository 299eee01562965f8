//! Which addresses are taken, beside the verdicts of isemail's cases and of an independent validator. What is taken is what mail
//! can be sent to at scale: a dot-atom and a DNS name; no comments, folding, quoting, literals or names without a dot.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may stop where it stands")]
#![allow(clippy::print_stdout, reason = "whoever runs it wants to see where the verdicts differ")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use rapport::delivery::EmailAddress;

/// What the two say differently, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("26", "a local part of 65 octets is refused (RFC 5321, 4.5.3.1.1); the reference lets it pass"),
    ("157", "blanks before an address are trimmed, the one correction that is made; the reference refuses them"),
    ("158", "blanks after an address are trimmed; the reference refuses them"),
];

struct Case {
    id: String,
    address: String,
    category: String,
    reference: bool,
}

fn cases() -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/addresses/cases.tsv");
    let text = fs::read_to_string(path).unwrap();
    let case = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        Case {
            id: cells[0].to_owned(),
            address: with_controls(cells[1]),
            category: cells[2].to_owned(),
            reference: cells[4] == "accepted",
        }
    };
    text.lines().skip(1).map(case).collect()
}

/// The cases show control characters by their pictures (U+2400 and on).
fn with_controls(text: &str) -> String {
    let control = |letter: char| match u32::from(letter) {
        picture @ 0x2400..=0x2420 => char::from_u32(picture - 0x2400).unwrap(),
        0x2421 => '\u{7f}',
        _ => letter,
    };
    text.chars().map(control).collect()
}

#[test]
fn what_is_wrong_is_refused_and_what_is_right_is_taken() {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut differ = Vec::new();
    for case in cases() {
        let taken = case.address.parse::<EmailAddress>().is_ok();
        let count = counts.entry(case.category.clone()).or_default();
        count.1 += 1;
        count.0 += usize::from(taken);
        if taken != case.reference {
            println!("{}: {:?} ({}): the reference says {}", case.id, case.address, case.category, case.reference);
            differ.push(case.id);
        }
    }
    println!("taken, of how many: {counts:?}");
    let taken = |category: &str| counts[category];
    assert_eq!(taken("ERR"), (0, 66));
    // The one that is refused is "test@io": a name without a dot.
    assert_eq!(taken("VALID"), (13, 14));
    assert_eq!(taken("DNSWARN"), (8, 8));
    let expected: Vec<&str> = DIFFERENCES.iter().map(|(id, _)| *id).collect();
    assert_eq!(differ, expected, "each has its reason in DIFFERENCES");
}
