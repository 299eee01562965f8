//! What comes back for a message: bounces, complaints, automatic and human replies.

mod addresses;
mod automatic;
mod cause;
mod codes;
mod parts;
mod phrases;
mod prose;
mod status;
mod words;

use std::panic;

use super::Refusal;

pub use self::cause::{Cause, Failure, Stage, Status, Weight, judge};
pub use self::codes::find as codes_of;
use self::{
    automatic::Kind,
    parts::{Opened, Part, fields},
    prose::Prose,
    status::Group,
};

/// A message that came back, as far as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// What it is.
    pub what: What,
    /// Whom it was sent to, as its header tells: one of these may be a return path.
    pub sent_to: Vec<String>,
    /// Who sent it, as its header tells.
    pub from: Vec<String>,
    /// The Message-IDs of what it is about, without angle brackets.
    pub about: Vec<String>,
    /// Its own Message-ID, without angle brackets; empty where it has none.
    pub message_id: String,
}

/// What a message is that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// What became of a message, for each of its recipients.
    Report(Vec<Notice>),
    /// What somebody thinks of a message.
    Complaint(Complaint),
    /// A program answered.
    AutoReply,
    /// A person answered.
    Reply,
    /// Nothing of that kind.
    Unknown,
}

/// What became of a message for one of its recipients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whom it was sent to, as far as anybody says: the address as it was written first.
    pub recipients: Vec<String>,
    /// What became of it.
    pub fate: Fate,
    /// The most telling enhanced code.
    pub status: Option<Status>,
    /// The reply code of the server that refused.
    pub reply: Option<u16>,
    /// In the words of who refused; with addresses.
    pub detail: String,
}

impl Notice {
    /// What nobody vouches for is a suspicion at most.
    fn doubt(&mut self) {
        if let Fate::Failed { weight, .. } = &mut self.fate {
            *weight = weight.doubted();
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrived, or was handed on.
    Delivered,
    /// It has not arrived yet.
    Delayed,
    /// It will not arrive.
    Failed {
        /// Why.
        cause: Cause,
        /// What that means for the address.
        weight: Weight,
    },
}

/// What somebody thinks of a message (RFC 5965).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// In whose eyes.
    pub kind: ComplaintKind,
    /// Who got it, as far as anybody says.
    pub recipients: Vec<String>,
}

/// What kind of feedback it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComplaintKind {
    /// A person wants no such mail: abuse, fraud, opt-out.
    Unwanted,
    /// A person says that it is no spam.
    NotSpam,
    /// A server could not authenticate it (RFC 6591), or something else that no person said.
    Other,
}

/// A message on which its reader failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be read")]
pub struct Unreadable;

/// Reads a raw message (RFC 5322) that came back.
pub fn read(raw: &[u8]) -> Result<Returned, Unreadable> {
    // The parser was written for the mail of the world, and yet it has panicked before.
    panic::catch_unwind(|| understand(raw)).map_err(|_| Unreadable)
}

fn understand(raw: &[u8]) -> Returned {
    let opened = Opened::new(raw);
    let prose = prose_of(&opened);
    let kind = automatic::kind(&opened);
    let what = match kind {
        Kind::Feedback => What::Complaint(complaint(&opened)),
        Kind::Report => What::Report(notices(&opened, &prose)),
        Kind::AutoReply => What::AutoReply,
        Kind::Reply => What::Reply,
        Kind::Unknown => What::Unknown,
    };
    Returned {
        sent_to: sent_to(&opened),
        from: addresses_in(opened.values("from")),
        about: about(&opened, &prose, &what),
        message_id: id(opened.value("message-id")),
        what,
    }
}

/// What people read, as far as it is looked at.
fn prose_of(opened: &Opened) -> Vec<Prose> {
    let mut left = LONGEST;
    let mut prose = Vec::new();
    for text in opened.texts() {
        if left == 0 {
            break;
        }
        let text = &text[..text.floor_char_boundary(left)];
        left = left.saturating_sub(text.len().max(1));
        prose.push(Prose::of(text));
    }
    prose
}

fn notices(opened: &Opened, prose: &[Prose]) -> Vec<Notice> {
    let mut notices = each_notice(opened, prose);
    if !automatic::is_certain(opened) {
        notices.iter_mut().for_each(Notice::doubt);
    }
    notices
}

fn each_notice(opened: &Opened, prose: &[Prose]) -> Vec<Notice> {
    let mut groups: Vec<Group> = Vec::new();
    for part in &opened.parts {
        if let Part::Status(block) = part {
            groups.extend(status::groups(block));
        }
    }
    if groups.is_empty() {
        groups = prose.iter().flat_map(|one| status::groups(&one.report)).collect();
    }
    if groups.is_empty() {
        groups = prose
            .iter()
            .filter(|one| one.returned.contains("inal-"))
            .flat_map(|one| status::groups(&one.returned))
            .collect();
    }
    groups.truncate(MOST);
    if !groups.is_empty() {
        let whole = prose.iter().map(|one| one.report.as_str()).collect::<Vec<_>>().join("\n");
        let whole = if groups.len() == 1 { without_header_lines(&whole) } else { String::new() };
        return groups.into_iter().map(|group| from_group(group, prose, &whole)).collect();
    }
    let mut known: Vec<String> = addresses_in(opened.values("x-failed-recipients"));
    known.truncate(MOST);
    let delayed = automatic::tells_of_delay(opened, prose);
    let mut passages: Vec<_> = prose.iter().flat_map(|one| one.passages(&known)).collect();
    if passages.is_empty() {
        let said = prose.iter().map(|one| one.report.as_str()).collect::<Vec<_>>().join("\n");
        let recipient = addressed(opened, prose).unwrap_or_default();
        passages.push(prose::Passage { recipient, said });
    }
    passages.truncate(MOST);
    passages.dedup_by(|one, other| one.recipient.eq_ignore_ascii_case(&other.recipient));
    passages.into_iter().map(|one| from_passage(one, delayed)).collect()
}

/// `whole` is all that is said where it is about one recipient.
fn from_group(group: Group, prose: &[Prose], whole: &str) -> Notice {
    let mut recipients = vec![group.original_recipient, group.final_recipient];
    recipients.retain(|one| !one.is_empty());
    recipients.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    let around: Vec<String> = recipients.iter().flat_map(|one| prose.iter().map(|prose| prose.around(one))).collect();
    let around = without_header_lines(&around.join("\n"));
    let beside = if whole.is_empty() { around.as_str() } else { whole };
    let comment = group.status.split_once(' ').map_or("", |(_, comment)| comment);
    let mut said = format!("{}\n{comment}", group.diagnostic);
    if phrases::says_nothing(&said) {
        said = format!("{said}\n{}", if around.trim().is_empty() { beside } else { &around });
    }
    let (told_reply, told) = codes::find(&group.diagnostic);
    let own = group.status.split_whitespace().next().and_then(|code| code.parse::<Status>().ok());
    let is_telling = |status: &Status| (status.subject, status.detail) != (0, 0);
    let told = told.filter(is_telling);
    let (beside_reply, beside_status) = codes::find(&said);
    let (reply, status) = (told_reply.or(beside_reply), told.or(own.filter(is_telling)).or(beside_status).or(own));
    let fate = match group.action.as_str() {
        "delayed" => Fate::Delayed,
        "delivered" | "relayed" | "expanded" | "deliverable" => Fate::Delivered,
        "" if own.is_some_and(|own| own.class == 2) => Fate::Delivered,
        "" if own.is_some_and(|own| own.class == 4) && reply.is_none() => Fate::Delayed,
        _ => {
            let stage = codes::stage(&format!("{said}\n{beside}"));
            let beside = if beside.len() <= SHORT { beside } else { &around };
            let (cause, weight) = judge(&Failure { reply, status, stage, said: &said, beside });
            Fate::Failed { cause, weight }
        }
    };
    Notice { recipients, fate, status, reply, detail: detail(&said) }
}

/// How many recipients of one message are looked at.
const MOST: usize = 100;
/// How much is looked at of what people read in one message, in octets.
const LONGEST: usize = 64 * 1_024;
/// How much is kept of what was said, in characters.
const LONGEST_DETAIL: usize = 500;

/// What was said, on one line; cut between words, so that no half of an address is left.
fn detail(said: &str) -> String {
    let mut said = parts::unfold(said);
    if let Some((end, _)) = said.char_indices().nth(LONGEST_DETAIL) {
        said.truncate(end);
        said.truncate(said.rfind(' ').unwrap_or(end));
    }
    said
}

/// A report of this length says what happened; a longer one explains what may happen in general.
const SHORT: usize = 800;

fn from_passage(passage: prose::Passage, delayed: bool) -> Notice {
    let (reply, status) = codes::find(&passage.said);
    let stage = codes::stage(&passage.said);
    let report = without_header_lines(&passage.said);
    let said = codes::from_reply(&report);
    let fate = if delayed {
        Fate::Delayed
    } else {
        let beside = if report.len() <= SHORT { report.as_str() } else { "" };
        let (cause, weight) = judge(&Failure { reply, status, stage, said, beside });
        Fate::Failed { cause, weight }
    };
    let recipients = if passage.recipient.is_empty() { Vec::new() } else { vec![passage.recipient] };
    Notice { recipients, fate, status, reply, detail: detail(said) }
}

/// Without the lines that repeat the header of the message: its subject says nothing about what became of it.
fn without_header_lines(report: &str) -> String {
    let repeats = |line: &&str| {
        let line = line.trim_start().to_lowercase();
        ["subject:", "sujet:", "betreff:", "sent:", "date:", "to:", "cc:", "from:"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    report.lines().filter(|line| !repeats(line)).collect::<Vec<_>>().join("\n")
}

fn complaint(opened: &Opened) -> Complaint {
    let mut recipients = Vec::new();
    let mut kind = ComplaintKind::Unwanted;
    for part in &opened.parts {
        let Part::Feedback(block) = part else { continue };
        for (name, value) in fields(block) {
            match name.as_str() {
                "feedback-type" => kind = ComplaintKind::of(&value),
                "original-rcpt-to" | "removal-recipient" => recipients.extend(addresses_in([value.as_str()])),
                _ => {}
            }
        }
    }
    if recipients.is_empty() {
        let headers = opened.returned().flat_map(header_fields);
        let of = |(name, value): (String, String)| {
            matches!(name.as_str(), "x-hmxmroriginalrecipient" | "x-original-to" | "delivered-to" | "to")
                .then_some(value)
        };
        let named: Vec<String> = headers.filter_map(of).collect();
        recipients = addresses_in(named.iter().map(String::as_str));
    }
    recipients.sort_unstable();
    recipients.dedup();
    Complaint { kind, recipients }
}

impl ComplaintKind {
    fn of(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "abuse" | "fraud" | "opt-out" | "opt-out-list" => Self::Unwanted,
            "not-spam" => Self::NotSpam,
            _ => Self::Other,
        }
    }
}

/// Whom the message that came back was addressed to, if that was one.
fn addressed(opened: &Opened, prose: &[Prose]) -> Option<String> {
    let returned = opened.returned().chain(prose.iter().map(|one| one.returned.as_str()));
    let to: Vec<String> =
        returned.flat_map(header_fields).filter(|(name, _)| name == "to").map(|(_, value)| value).collect();
    match addresses_in(to.iter().map(String::as_str)).as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    }
}

fn addresses_in<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    values
        .into_iter()
        .flat_map(|value| addresses::all(value).map(|(_, one)| one.to_owned()).collect::<Vec<_>>())
        .collect()
}

fn sent_to(opened: &Opened) -> Vec<String> {
    let fields = ["delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to", "cc"];
    let mut found = addresses_in(fields.iter().flat_map(|name| opened.values(name)));
    found.dedup();
    found
}

/// The Message-IDs of what a message is about: a report names that of what came back, a reply that of what it answers.
fn about(opened: &Opened, prose: &[Prose], what: &What) -> Vec<String> {
    let mut found = Vec::new();
    if matches!(what, What::Report(_) | What::Complaint(_)) {
        let status = opened
            .parts
            .iter()
            .filter_map(|part| if let Part::Status(text) = part { Some(text.as_str()) } else { None });
        let returned = opened.returned().chain(prose.iter().map(|one| one.returned.as_str())).chain(status);
        let ids = returned
            .flat_map(header_fields)
            .filter(|(name, _)| matches!(name.as_str(), "message-id" | "x-original-message-id"));
        found.extend(ids.map(|(_, value)| id(&value)));
    }
    let answered = ["in-reply-to", "references"].into_iter().flat_map(|name| opened.values(name));
    found.extend(answered.flat_map(str::split_whitespace).map(id));
    found.retain(|one| !one.is_empty());
    let mut seen = std::collections::HashSet::new();
    found.retain(|one| seen.insert(one.clone()));
    found
}

/// What a refusal means for the address, and its enhanced code.
pub fn judge_refusal(refusal: &Refusal) -> (Weight, Option<Status>) {
    let (reply, status) = codes::find(&refusal.code);
    let said = &refusal.detail;
    (judge(&Failure { reply, status, stage: refusal.stage, said, beside: "" }).1, status)
}

/// A text without the addresses in it, for what is kept: that of the recipient is marked as such.
pub fn without_addresses(text: &str, recipient: &str) -> String {
    let mut clean = String::new();
    let mut end = 0;
    for (start, address) in addresses::all(text) {
        // "a@b@c" is two, one inside of the other.
        if start < end {
            continue;
        }
        clean.push_str(&text[end..start]);
        clean.push_str(if address.eq_ignore_ascii_case(recipient) { "<recipient>" } else { "<address>" });
        end = start + address.len();
    }
    clean.push_str(&text[end..]);
    clean.replace("<<", "<").replace(">>", ">")
}

/// The fields of a message that came back, as far as its header can reach: its body is long, and says nothing of this.
fn header_fields(message: &str) -> Vec<(String, String)> {
    const LONGEST: usize = 16 * 1_024;
    let head = message.char_indices().nth(LONGEST).map_or(message, |(end, _)| &message[..end]);
    let head = head.trim_start();
    // Where a report is cut, the line that announces the message stands before its header.
    let end = head.match_indices("\n\n").nth(1).map_or(head.len(), |(end, _)| end);
    fields(&head[..end])
}

fn id(value: &str) -> String {
    value.trim().trim_matches(['<', '>']).to_owned()
}
