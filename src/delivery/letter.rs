use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_builder::{
    MessageBuilder,
    headers::{HeaderType, address::Address, content_type::ContentType, raw::Raw, text::Text},
    mime::MimePart,
};

use super::{EmailAddress, Mailbox};
use crate::clock::Timestamp;

const LONGEST_LINE: usize = 998;

/// One message to one person, before it is encoded.
#[derive(Debug, Clone)]
pub struct Letter<'a> {
    /// Who sends it.
    pub from: &'a Mailbox,
    /// Who gets the answer; none = who sends it.
    pub reply_to: Option<&'a Mailbox>,
    /// The name of who gets it; empty = none.
    pub to_name: &'a str,
    /// The address of who gets it.
    pub to: &'a EmailAddress,
    /// One line.
    pub subject: &'a str,
    /// The plain-text part; empty = none.
    pub text: &'a str,
    /// The HTML part; empty = none.
    pub html: &'a str,
    /// When it is sent.
    pub date: Timestamp,
    /// Without angle brackets.
    pub message_id: &'a str,
    /// The list that it belongs to, and how to leave it; none = it cannot be left.
    pub list: Option<MailingList<'a>>,
    /// What mailbox providers count complaints by, the sender last.
    pub feedback_id: &'a str,
    /// Nobody's hand sent it: who is away does not answer (RFC 3834).
    pub auto_submitted: bool,
    /// One of many: who is away does not answer either.
    pub bulk: bool,
}

/// What a letter says about the list that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct MailingList<'a> {
    /// Its name for people.
    pub name: &'a str,
    /// Its name for programs: labels with dots between (RFC 2919).
    pub id: &'a str,
    /// Where a POST takes the reader off it (RFC 8058).
    pub unsubscribe: &'a str,
}

/// Why a letter cannot be sent to anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnfitLetter {
    /// A value that goes into a header holds a line break or another control character.
    #[error("the {0} holds a control character")]
    ControlCharacter(&'static str),
    /// A line is longer than mail servers take (RFC 5322, 2.1.1).
    #[error("a line of the message is longer than {LONGEST_LINE} octets")]
    LongLine,
    /// There is nothing to read.
    #[error("the message has neither a text nor an HTML part")]
    Empty,
    /// A key did not sign.
    #[error("the message could not be signed")]
    NotSigned,
}

impl Letter<'_> {
    /// The message as it goes onto the wire (RFC 5322, 2045 to 2047): 7-bit, lines end in CRLF.
    pub fn compose(&self) -> Result<Vec<u8>, UnfitLetter> {
        check_letter(self.to_name, self.subject, self.text, self.html)?;
        let mut message = MessageBuilder::new()
            .date(self.date.timestamp())
            .header("From", mailbox(&self.from.name, &self.from.address))
            .header("To", mailbox(self.to_name, self.to));
        if let Some(reply_to) = self.reply_to {
            message = message.header("Reply-To", mailbox(&reply_to.name, &reply_to.address));
        }
        message = message.header("Subject", unstructured(self.subject)).message_id(self.message_id);
        if let Some(list) = &self.list {
            message = message
                .header("List-Id", list_id(list))
                .header("List-Unsubscribe", Raw::new(format!("<{}>", list.unsubscribe)))
                .header("List-Unsubscribe-Post", Raw::new("List-Unsubscribe=One-Click"));
        }
        message = message.header("Feedback-ID", Raw::new(self.feedback_id));
        if self.auto_submitted {
            message = message.header("Auto-Submitted", Raw::new("auto-generated"));
        }
        if self.bulk {
            message = message.header("Precedence", Raw::new("bulk"));
        }
        let message = message.body(self.body());
        let mut bytes = Vec::with_capacity(1_024 + 2 * (self.text.len() + self.html.len()));
        message.serialize(&mut bytes);
        // The composer folds what it can fold; an address or a header it cannot is caught here.
        if longest_line(&bytes) > LONGEST_LINE { Err(UnfitLetter::LongLine) } else { Ok(bytes) }
    }

    fn body(&self) -> MimePart<'_> {
        let text = || MimePart::new("text/plain", lines(self.text));
        let html = || MimePart::new("text/html", lines(self.html));
        if self.html.is_empty() {
            return text();
        }
        if self.text.is_empty() {
            return html();
        }
        // A boundary that follows from the message makes every attempt the same message.
        let boundary = format!("=_{}", self.message_id.split('@').next().unwrap_or_default());
        let kind = ContentType::new("multipart/alternative").attribute("boundary", boundary);
        MimePart::new(kind, vec![text(), html()])
    }
}

/// Checks what can be checked before it is known where a letter goes.
pub fn check_letter(to_name: &str, subject: &str, text: &str, html: &str) -> Result<(), UnfitLetter> {
    for (name, value) in [("subject", subject), ("recipient's name", to_name)] {
        if value.chars().any(breaks_headers) {
            return Err(UnfitLetter::ControlCharacter(name));
        }
    }
    if text.is_empty() && html.is_empty() { Err(UnfitLetter::Empty) } else { Ok(()) }
}

/// Lines that all end, and all in the same way: a lone CR must not go onto the wire (RFC 5322, 2.3).
fn lines(text: &str) -> Cow<'_, str> {
    let mut lines: Cow<'_, str> = match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n").into(),
        false => text.into(),
    };
    if !lines.ends_with('\n') {
        lines.to_mut().push('\n');
    }
    lines
}

/// Without its CRLF.
fn longest_line(bytes: &[u8]) -> usize {
    let (mut start, mut longest) = (0, 0);
    for end in memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]) {
        let line = &bytes[start..end];
        longest = longest.max(line.strip_suffix(b"\r").unwrap_or(line).len());
        start = end + 1;
    }
    longest
}

fn mailbox<'a>(name: &'a str, address: &'a EmailAddress) -> HeaderType<'a> {
    if looks_encoded(name) {
        return Raw::new(format!("{} <{}>", encoded_words(name), address.as_str())).into();
    }
    Address::new_address(Some(name).filter(|name| !name.is_empty()), address.as_str()).into()
}

fn unstructured(text: &str) -> HeaderType<'_> {
    if looks_encoded(text) { Raw::new(encoded_words(text)).into() } else { Text::new(text).into() }
}

/// Whether readers would take a part of the text for an encoded word (RFC 2047) when it is written as it is.
fn looks_encoded(text: &str) -> bool {
    text.contains("=?")
}

/// The text as encoded words of at most 75 characters (RFC 2047, 2), none of which splits a letter.
fn encoded_words(text: &str) -> String {
    const LONGEST: usize = 45;
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        if let Some(piece) = pieces.last_mut().filter(|piece| piece.len() + letter.len_utf8() <= LONGEST) {
            piece.push(letter);
        } else {
            pieces.push(letter.to_string());
        }
    }
    let words: Vec<String> = pieces.iter().map(|piece| format!("=?utf-8?B?{}?=", STANDARD.encode(piece))).collect();
    words.join(" ")
}

/// A phrase and a name in angle brackets (RFC 2919).
fn list_id(list: &MailingList<'_>) -> HeaderType<'static> {
    let plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\') || letter == ' ';
    let name = match list.name {
        "" => String::new(),
        name if name.chars().all(plain) && !looks_encoded(name) => format!("\"{name}\" "),
        name => encoded_words(name) + " ",
    };
    Raw::new(format!("{name}<{}>", list.id)).into()
}

/// Control characters and line separators, and the marks that turn the direction of writing and so disguise an address: no
/// line that may go into a header holds one.
pub fn breaks_headers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use mail_parser::{Addr, MessageParser};
    use proptest::prelude::*;

    use super::*;

    fn compose(name: &str, subject: &str, text: &str, html: &str) -> Result<Vec<u8>, UnfitLetter> {
        let from: Mailbox = "Rapport <hello@example.com>".parse().unwrap();
        let to: EmailAddress = "anna@example.com".parse().unwrap();
        bare(&from, &to, Content { name, subject, text, html }).compose()
    }

    struct Content<'a> {
        name: &'a str,
        subject: &'a str,
        text: &'a str,
        html: &'a str,
    }

    fn bare<'a>(from: &'a Mailbox, to: &'a EmailAddress, content: Content<'a>) -> Letter<'a> {
        Letter {
            from,
            reply_to: None,
            to_name: content.name,
            to,
            subject: content.subject,
            text: content.text,
            html: content.html,
            date: Timestamp::from_timestamp(852_714_000, 0).unwrap(),
            message_id: "0123456789@example.com",
            list: None,
            feedback_id: "none:orders:service:default",
            auto_submitted: false,
            bulk: false,
        }
    }

    #[test]
    fn a_letter_to_a_list_says_which_and_how_to_leave_it() {
        let (from, to) = ("Shop <shop@example.com>".parse().unwrap(), "anna@example.com".parse().unwrap());
        let reply_to: Mailbox = "Care, Ltd <care@example.com>".parse().unwrap();
        let unsubscribe = format!("https://mail.example.com/u/{}", "a".repeat(52));
        for (name, expected) in [
            ("Offers, and more", "List-Id: \"Offers, and more\" <offers.example.com>\r\n"),
            ("Piedāvājumi", "List-Id: =?utf-8?B?UGllZMSBdsSBanVtaQ==?= <offers.example.com>\r\n"),
            ("a \"b\"", "List-Id: =?utf-8?B?YSAiYiI=?= <offers.example.com>\r\n"),
        ] {
            let letter = Letter {
                reply_to: Some(&reply_to),
                list: Some(MailingList { name, id: "offers.example.com", unsubscribe: &unsubscribe }),
                auto_submitted: true,
                bulk: true,
                ..bare(&from, &to, Content { name: "", subject: "x", text: "x", html: "" })
            };
            let text = String::from_utf8(letter.compose().unwrap()).unwrap();
            let unsubscribe = format!("List-Unsubscribe: <{unsubscribe}>\r\n");
            for header in [
                expected,
                "Reply-To: \"Care, Ltd\" <care@example.com>\r\n",
                &unsubscribe,
                "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
                "Feedback-ID: none:orders:service:default\r\n",
                "Auto-Submitted: auto-generated\r\n",
                "Precedence: bulk\r\n",
            ] {
                assert!(text.contains(header), "{header:?} is not in {text}");
            }
        }
    }

    #[test]
    fn a_letter_reads_like_this() {
        let bytes = compose("Anna", "Hello", "Dear Anna,\nwelcome.\n", "<p>Dear Anna</p>").unwrap();
        let expected = "Date: Wed, 8 Jan 1997 09:00:00 +0000\r\n\
            From: \"Rapport\" <hello@example.com>\r\n\
            To: \"Anna\" <anna@example.com>\r\n\
            Subject: Hello\r\n\
            Message-ID: <0123456789@example.com>\r\n\
            Feedback-ID: none:orders:service:default\r\n\
            MIME-Version: 1.0\r\n";
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("boundary=\"=_0123456789\""), "{text}");
    }

    #[test]
    fn what_would_break_a_header_is_refused() {
        for wrong in ["a\r\nBcc: b@example.com", "a\nb", "a\u{0}", "a\u{85}b", "a\u{2028}b", "a\u{202e}b"] {
            assert_eq!(compose("", wrong, "x", ""), Err(UnfitLetter::ControlCharacter("subject")));
            assert_eq!(compose(wrong, "x", "x", ""), Err(UnfitLetter::ControlCharacter("recipient's name")));
        }
        assert_eq!(compose("", "x", "", ""), Err(UnfitLetter::Empty));
    }

    #[test]
    fn every_line_of_a_text_ends_in_crlf_however_it_was_written() {
        for text in ["a\rb", "a\nb\n", "a\r\nb\r\n", "a\n\rb"] {
            let bytes = compose("", "x", text, "").unwrap();
            assert!(bytes.ends_with(b"b\r\n"), "{text:?}");
            for (place, byte) in bytes.iter().enumerate() {
                assert!(*byte != b'\r' || bytes[place + 1] == b'\n', "{text:?}");
                assert!(*byte != b'\n' || bytes[place - 1] == b'\r', "{text:?}");
            }
        }
    }

    #[test]
    fn what_looks_like_an_encoded_word_arrives_as_it_was_written() {
        for text in ["=?utf-8?q?abc?=", "Hello =?utf-8?B?QQ==?= and ūž", "=?x?q?y?= ".repeat(30).trim()] {
            let bytes = compose(text, text, "x", "").unwrap();
            let message = MessageParser::new().parse(&bytes).unwrap();
            assert_eq!(message.subject(), Some(text));
            assert_eq!(message.to().and_then(|to| to.first()).and_then(Addr::name), Some(text));
        }
    }

    proptest! {
        #[test]
        fn any_text_in_any_language_arrives_as_it_was_written(
            name in "[^\\p{C}\\p{Z}]([^\\p{C}\\p{Z}]| [^\\p{C}\\p{Z}]){0,60}",
            subject in "[^\\p{C}\\p{Z}]([^\\p{C}\\p{Z}]| [^\\p{C}\\p{Z}]){0,200}",
            text in "([^\\p{C}\u{2028}\u{2029}]|\n){1,400}",
            word in "[a-zāčēģīķļņšūžжщ🎉]{0,2000}",
        ) {
            let text = format!("{text}\n{word}\n");
            let html = format!("<p>{word}</p>\n");
            let bytes = compose(&name, &subject, &text, &html).unwrap();
            prop_assert!(bytes.is_ascii());
            prop_assert!(!bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'));
            let message = MessageParser::new().parse(&bytes).unwrap();
            prop_assert_eq!(message.subject(), Some(subject.as_str()));
            let to: Option<&Addr> = message.to().and_then(|to| to.first());
            prop_assert_eq!(to.and_then(Addr::name), Some(name.as_str()));
            let plain = message.body_text(0).unwrap().replace("\r\n", "\n");
            prop_assert_eq!(plain, text);
            let shown = message.body_html(0).unwrap().replace("\r\n", "\n");
            prop_assert_eq!(shown, html);
        }
    }
}
