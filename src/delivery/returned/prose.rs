//! Reports that no program was meant to read: what stands before the message that came back, and whom it is about.

use super::addresses;

/// A text, cut where the message begins that came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prose {
    pub report: String,
    pub returned: String,
}

/// What a text says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Passage {
    pub recipient: String,
    pub said: String,
}

impl Prose {
    pub fn of(text: &str) -> Self {
        let text = unquoted(text);
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if begins_original(line) && at > 0 {
                let (report, returned) = text.split_at(at);
                return Self { report: report.to_owned(), returned: returned.to_owned() };
            }
            at += line.len();
        }
        Self { report: text, returned: String::new() }
    }

    /// What is said of each recipient. `known` are those that the header names.
    pub fn passages(&self, known: &[String]) -> Vec<Passage> {
        let lines: Vec<&str> = self.report.lines().collect();
        let mut heads = heads(&lines, leading);
        if heads.is_empty() {
            heads = self::heads(&lines, within);
        }
        if !known.is_empty() && heads.iter().any(|head| is_one_of(known, &head.recipient)) {
            heads.retain(|head| is_one_of(known, &head.recipient));
        }
        match heads.as_slice() {
            [] => known
                .iter()
                .map(|recipient| Passage { recipient: recipient.clone(), said: self.report.clone() })
                .collect(),
            [only] => vec![Passage { recipient: only.recipient.clone(), said: self.report.clone() }],
            heads => several(heads, &lines),
        }
    }

    /// What is said around a recipient whom a notification names.
    pub fn around(&self, recipient: &str) -> String {
        let recipient = recipient.to_lowercase();
        let lines: Vec<&str> = self.report.lines().collect();
        let mut said = Vec::new();
        let mut inside = false;
        for line in lines {
            if line.to_lowercase().contains(&recipient) {
                inside = true;
            } else if line.trim().is_empty() || leading(line).is_some() {
                inside = false;
            }
            if inside {
                said.push(line.trim());
            }
        }
        said.join("\n")
    }
}

fn is_one_of(known: &[String], recipient: &str) -> bool {
    known.iter().any(|one| one.eq_ignore_ascii_case(recipient))
}

struct Head {
    line: usize,
    recipient: String,
    /// Whether all that is said stands on the line itself.
    is_whole: bool,
}

fn heads(lines: &[&str], find: fn(&str) -> Option<Found<'_>>) -> Vec<Head> {
    let mut heads: Vec<Head> = Vec::new();
    for (line, text) in lines.iter().enumerate() {
        if heads.len() == super::MOST {
            break;
        }
        if let Some(found) = find(text)
            && !heads.iter().any(|head| head.recipient.eq_ignore_ascii_case(found.recipient))
        {
            heads.push(Head { line, recipient: found.recipient.to_owned(), is_whole: found.is_whole });
        }
    }
    heads
}

fn several(heads: &[Head], lines: &[&str]) -> Vec<Passage> {
    let ends = heads.iter().skip(1).map(|head| head.line).chain([lines.len()]);
    let passage = |(head, end): (&Head, usize)| {
        let end = if head.is_whole { head.line + 1 } else { end };
        Passage { recipient: head.recipient.clone(), said: lines.get(head.line..end).unwrap_or_default().join("\n") }
    };
    heads.iter().zip(ends).map(passage).collect()
}

struct Found<'a> {
    recipient: &'a str,
    is_whole: bool,
}

/// The recipient with whom a line begins: "<anna@example.com>:", "* anna@example.com".
fn leading(line: &str) -> Option<Found<'_>> {
    let start = line.trim_start_matches(|letter: char| letter.is_whitespace() || "<\"'*-•".contains(letter));
    let (at, recipient) = addresses::all(start).next()?;
    (at == 0).then_some(Found { recipient, is_whole: false })
}

/// The recipient whom a line names as such: "delivered to: <anna@example.com>", "554 <anna@example.com>... no".
fn within(line: &str) -> Option<Found<'_>> {
    addresses::all(line).find_map(|(at, recipient)| {
        let before = line[..at].trim_end_matches(|letter: char| letter.is_whitespace() || "<\"'[({".contains(letter));
        let last = before.rsplit(|letter: char| letter.is_whitespace()).next().unwrap_or_default();
        let last = last.trim_matches([':', '=', '-', '[', '(', '<', '"']).to_lowercase();
        let is_code = last.len() == 3 && last.bytes().all(|byte| byte.is_ascii_digit());
        (is_code || NAMES_RECIPIENT.contains(&last.as_str())).then_some(Found { recipient, is_whole: is_code })
    })
}

/// After these words comes the recipient.
const NAMES_RECIPIENT: &[&str] = &[
    "to",
    "recipient",
    "recipients",
    "recipient(s)",
    "rcpt",
    "mailbox",
    "user",
    "attempts",
    "size",
    "errors",
    "for",
    "address",
    "addresses",
    "address(es)",
    "deliver",
    "undeliverable",
    "destinataire",
    "an",
    "à",
    "para",
    "addressee",
    "failed",
    "account",
    "smtp",
    "userid",
];

/// Whether a line announces or begins the message that came back.
fn begins_original(line: &str) -> bool {
    const BEGINS: &[&str] = &[
        "received:",
        "received :",
        "return-path:",
        "x-received:",
        "dkim-signature:",
        "x-google-smtp-source:",
        "message-id:",
    ];
    let lower = line.trim_end().to_lowercase();
    if BEGINS.iter().any(|field| lower.starts_with(field)) {
        return true;
    }
    if lower.len() > 100 {
        return false;
    }
    let core = lower.trim_matches(|letter: char| !letter.is_alphanumeric());
    let is_ruled = lower.trim_start().starts_with(['-', '=', '*', '|', '_', '~', '+']);
    let announces = |phrase: &&str| core.starts_with(*phrase) || is_ruled && core.contains(*phrase);
    ANNOUNCES_ORIGINAL.iter().any(announces)
}

const ANNOUNCES_ORIGINAL: &[&str] = &[
    "below this line is a copy",
    "this is a copy of",
    "enclosed is a copy",
    "included is a copy",
    "below is a copy",
    "here is a copy",
    "a copy of the original",
    "copy of your message",
    "original message follows",
    "original message header",
    "original message below",
    "original mail as follows",
    "message headers follow",
    "message header follows",
    "message text follows",
    "the header of the original",
    "the headers of the original",
    "header of the original message",
    "headers of your message",
    "unsent message",
    "returned message",
    "returned mail",
    "your original message",
    "original message",
    "original mail",
    "the body of the original",
    "weitergeleitete nachricht",
    "message d'origine",
];

/// A report that was forwarded is quoted as a whole.
fn unquoted(text: &str) -> String {
    let quoted = text.lines().filter(|line| line.starts_with('>')).count();
    if quoted < 5 || quoted * 2 < text.lines().filter(|line| !line.trim().is_empty()).count() {
        return text.to_owned();
    }
    let unquote = |line: &str| line.strip_prefix("> ").or(line.strip_prefix('>')).unwrap_or(line).to_owned();
    text.lines().map(unquote).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipients(text: &str) -> Vec<(String, String)> {
        let passages = Prose::of(text).passages(&[]);
        passages.into_iter().map(|one| (one.recipient, one.said.replace('\n', " / "))).collect()
    }

    #[test]
    fn each_recipient_has_what_is_said_of_it() {
        let text = "I could not deliver.\n\n<a@b.example>:\n550 no such user\n\n<c@d.example>:\n552 full\n--- Below this line is a \
                    copy of the message.\n\nTo: e@f.example\n";
        assert_eq!(
            recipients(text),
            [
                ("a@b.example".to_owned(), "<a@b.example>: / 550 no such user / ".to_owned()),
                ("c@d.example".to_owned(), "<c@d.example>: / 552 full".to_owned()),
            ]
        );
        assert_eq!(
            recipients("Could not be delivered to: <a@b.example>\nAs their mailbox is full.")[0].0,
            "a@b.example"
        );
        assert_eq!(
            recipients("554 <a@b.example>... Unknown host\n550 <c@d.example>... No such user")[1].1,
            "550 <c@d.example>... No such user"
        );
        assert_eq!(recipients("MAIL FROM:<a@b.example>\nPlease contact <postmaster@b.example>"), []);
    }

    #[test]
    fn the_message_that_came_back_is_no_part_of_the_report() {
        for line in [
            "--- Below this line is a copy of the message.",
            "------ This is a copy of the message, including all the headers. ------",
            "----- Original message -----",
            "Original message follows.",
            "Received: from a by b; Thu, 1 Jan 2026 00:00:00 +0000",
        ] {
            let prose = Prose::of(&format!("No.\n{line}\nTo: a@b.example\n"));
            assert_eq!(prose.report, "No.\n", "{line}");
            assert!(prose.returned.contains("a@b.example"), "{line}");
        }
        assert_eq!(Prose::of("The original message was received at noon\nfrom here").returned, "");
    }
}
