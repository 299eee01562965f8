//! The parts of a message that came back, each as text with lines that end in LF.

use std::borrow::Cow;

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType, decoders::html::html_to_text};

/// How many parts are read of one message, and how deep messages may lie in each other.
const MOST: usize = 200;
const DEEPEST: usize = 4;

/// A part, by what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// What became of each recipient (RFC 3464, RFC 6533).
    Status(String),
    /// What somebody thinks of a message (RFC 5965).
    Feedback(String),
    /// The message that came back, or its headers.
    Returned(String),
    /// What people read.
    Text(String),
}

/// The header of a message and its parts.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub header: Vec<(String, String)>,
    pub parts: Vec<Part>,
}

impl Opened {
    /// Takes a message apart. Line ends may be CRLF, LF or CR.
    pub fn new(raw: &[u8]) -> Self {
        let raw = with_lf(raw);
        let raw = without_envelope(&raw);
        let Some(message) = MessageParser::default().parse(raw) else {
            return Self { header: Vec::new(), parts: vec![Part::Text(text(raw))] };
        };
        let mut opened = Self { header: header(raw), parts: Vec::new() };
        if let Some(subject) = message.subject() {
            opened.header.retain(|(name, _)| name != "subject");
            opened.header.push(("subject".to_owned(), unfold(subject)));
        }
        opened.take(&message, 0);
        // Some put the whole report inside of the message that they attach.
        let reported = opened.parts.iter().any(|part| matches!(part, Part::Status(_) | Part::Feedback(_)));
        if !reported && let Some(inner) = report_inside(&message, 0) {
            opened.take(inner, 0);
        }
        opened
    }

    /// The values of a field, whose name is in lower case, in their order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.header.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field; empty where there is none.
    pub fn value(&self, name: &str) -> &str {
        self.values(name).next().unwrap_or_default()
    }

    /// All that people read.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
    }

    /// What came back.
    pub fn returned(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Returned(text) = part { Some(text.as_str()) } else { None })
    }

    fn take(&mut self, message: &Message<'_>, depth: usize) {
        for part in message.parts.iter().take(MOST) {
            if let Some(part) = read(message, part) {
                self.parts.push(part);
            }
            if let PartType::Message(inner) = &part.body
                && depth < DEEPEST
                && kind(part).is_some_and(|(main, _)| main != "message")
            {
                self.take(inner, depth + 1);
            }
        }
    }
}

fn read(message: &Message<'_>, part: &MessagePart<'_>) -> Option<Part> {
    let (main, sub) = kind(part).unwrap_or_default();
    let returned = matches!(
        (main.as_str(), sub.as_str()),
        ("message", "rfc822" | "global" | "global-headers" | "partial" | "rfc822-headers" | "external-body")
            | ("text", "rfc822-headers" | "rfc822-header" | "rfc822")
    );
    let content = match &part.body {
        PartType::Text(content) => content.replace("\r\n", "\n"),
        PartType::Html(content) if !returned => html_to_text(content),
        PartType::Html(content) => content.replace("\r\n", "\n"),
        PartType::Binary(content) | PartType::InlineBinary(content) => text(&with_lf(content)),
        PartType::Message(_) => {
            let (start, end) = (part.offset_body as usize, part.offset_end as usize);
            text(message.raw_message.get(start..end).unwrap_or_default())
        }
        PartType::Multipart(_) => return None,
    };
    match (main.as_str(), sub.as_str()) {
        _ if returned => Some(Part::Returned(content)),
        ("message", "delivery-status" | "global-delivery-status") => Some(Part::Status(content)),
        ("message", "feedback-report") => Some(Part::Feedback(content)),
        ("text" | "multipart" | "", _) => Some(Part::Text(content)),
        _ => None,
    }
}

fn kind(part: &MessagePart<'_>) -> Option<(String, String)> {
    let kind = part.content_type()?;
    Some((kind.ctype().to_ascii_lowercase(), kind.subtype().unwrap_or_default().to_ascii_lowercase()))
}

fn report_inside<'a, 'x>(message: &'a Message<'x>, depth: usize) -> Option<&'a Message<'x>> {
    message.parts.iter().take(MOST).find_map(|part| {
        let PartType::Message(inner) = &part.body else { return None };
        let status = |part: &MessagePart<'_>| kind(part).is_some_and(|(_, sub)| sub.ends_with("delivery-status"));
        if inner.parts.iter().any(status) {
            return Some(inner);
        }
        if depth < DEEPEST { report_inside(inner, depth + 1) } else { None }
    })
}

/// The fields of a header. The parser takes the field behind a date of zone "UT" for a part of the date.
fn header(raw: &[u8]) -> Vec<(String, String)> {
    let end = memchr::memmem::find(raw, b"\n\n").unwrap_or(raw.len());
    fields(&text(&raw[..end]))
}

/// Without empty lines and a mailbox's "From " line before the header.
fn without_envelope(raw: &[u8]) -> &[u8] {
    let raw = raw.trim_ascii_start();
    let is_envelope = raw.starts_with(b"From ") || raw.starts_with(b">From ");
    let end = memchr::memchr(b'\n', raw).filter(|_| is_envelope);
    end.map_or(raw, |end| &raw[end + 1..])
}

/// With LF alone at the end of each line.
pub(super) fn with_lf(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\r', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut lines = Vec::with_capacity(raw.len());
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'\r' if raw.get(at + 1) == Some(&b'\n') => {}
            b'\r' => lines.push(b'\n'),
            byte => lines.push(*byte),
        }
    }
    Cow::Owned(lines)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A field's value on one line.
pub(super) fn unfold(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fields of a block, as far as it looks like one: name in lower case, value on one line. An empty line is an empty name.
pub(super) fn fields(block: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        if line.trim().is_empty() {
            fields.push((String::new(), String::new()));
        } else if line.starts_with([' ', '\t']) && fields.last().is_some_and(|(name, _)| !name.is_empty()) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(&unfold(line));
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), unfold(value)));
        }
    }
    fields
}
