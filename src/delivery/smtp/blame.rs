use std::fmt;

use super::reply::{Enhanced, Reply};

/// What a reply answers to, in the order in which a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    Reset,
    Mail,
    Recipient,
    Data,
    /// The letter itself, up to the final dot.
    Letter,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "RSET",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Letter => "the final dot",
        })
    }
}

/// What a refusal speaks about, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The whole server, our account or our standing: every other letter would have heard the same.
    Service,
    /// This letter or its recipient, for now.
    Later,
    /// This letter or its recipient, for good.
    Never,
}

/// Whose fault a refusal (4xx or 5xx) is. The first row that fits decides:
///
/// | what was said | about | why |
/// | --- | --- | --- |
/// | 432, 454, 530, 534, 535, 538 | service | our credentials (RFC 4954); not X.7.8 and X.7.9, which some say of a letter |
/// | 500, 502, 503 | service | we do not speak its language: no letter would pass |
/// | X.7.20 to X.7.32, Microsoft's X.7.5xx to X.7.7xx but those about a recipient, S3140, S3150, \[TSS…\], X.4.5 | service | our reputation, our DNS, our rate, our daily limit |
/// | X.1.7, X.1.8; X.7.* to MAIL | service | our sender address: the recipient has not been named yet |
/// | 421; X.3.1, X.3.2, X.3.5 | service | it closes, is full or is out of order; but not after the final dot: it has seen the letter then, which may be why |
/// | X.2.2 | later | a full mailbox, whatever the class: somebody may empty it |
/// | 4xx | later | |
/// | 5xx | never | |
///
/// What is said about the letter must never be taken for the service's: one letter would stop all others.
pub(super) fn blame(reply: Reply<'_>, verb: Verb) -> Blame {
    let enhanced = reply.enhanced();
    if matches!(reply.code(), 432 | 454 | 530 | 534 | 535 | 538 | 500 | 502 | 503) {
        return Blame::Service;
    }
    if is_about_sender(enhanced, verb) || names_a_block_list(reply) {
        return Blame::Service;
    }
    if verb < Verb::Letter && is_about_server(reply.code(), enhanced) {
        return Blame::Service;
    }
    let mailbox_full = matches!(enhanced, Some(Enhanced { subject: 2, detail: 2, .. }));
    if reply.class() == 4 || mailbox_full { Blame::Later } else { Blame::Never }
}

fn is_about_sender(enhanced: Option<Enhanced>, verb: Verb) -> bool {
    match enhanced {
        Some(Enhanced { subject: 1, detail: 7 | 8, .. } | Enhanced { subject: 4, detail: 5, .. }) => true,
        // RFC 7372 and Gmail: authentication, reverse DNS, rate.
        Some(Enhanced { subject: 7, detail: 20..=32, .. }) => true,
        // Microsoft: those are about a recipient or this message alone.
        Some(Enhanced { subject: 7, detail: 504 | 505 | 507 | 510 | 512 | 513, .. }) => false,
        Some(Enhanced { subject: 7, detail: 500..=799, .. }) => true,
        Some(Enhanced { subject: 7, .. }) => verb <= Verb::Mail,
        _ => false,
    }
}

/// Outlook.com and Yahoo say it under codes that others use for a letter.
fn names_a_block_list(reply: Reply<'_>) -> bool {
    let names = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        ["S3140", "S3150", "[TSS"].iter().any(|name| text.contains(name))
    };
    reply.texts().any(names)
}

fn is_about_server(code: u16, enhanced: Option<Enhanced>) -> bool {
    code == 421 || matches!(enhanced, Some(Enhanced { subject: 3, detail: 1 | 2 | 5, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(verb: Verb, text: &str) -> Blame {
        blame(Reply::new(format!("{text}\r\n").as_bytes()), verb)
    }

    #[test]
    fn known_texts_are_blamed_on_whom_they_are_about() {
        use Blame::{Later, Never, Service};
        use Verb::{Data, Letter, Mail, Recipient};
        for (blamed, verb, text) in [
            // Gmail
            (
                Service,
                Letter,
                "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP",
            ),
            (Service, Letter, "550-5.7.26 Your email has been blocked because the sender is unauthenticated."),
            (Service, Letter, "550-5.7.25 The IP address sending this message does not have a PTR record setup"),
            (Never, Letter, "550-5.7.1 Our system has detected that this message is likely unsolicited mail."),
            (Never, Recipient, "550-5.1.1 The email account that you tried to reach does not exist."),
            (Later, Recipient, "452-4.2.2 The recipient's inbox is out of storage space."),
            (Later, Recipient, "552-5.2.2 The recipient's inbox is out of storage space and inactive."),
            (Later, Recipient, "450-4.2.1 The user you are trying to contact is receiving mail too quickly."),
            (Service, Mail, "530-5.7.0 Authentication Required."),
            (Service, Mail, "535-5.7.8 Username and Password not accepted."),
            (Service, Letter, "550-5.4.5 Daily user sending limit exceeded. (X.4.5)"),
            // Microsoft
            (Service, Recipient, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]."),
            (Service, Recipient, "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)"),
            (Service, Mail, "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. ... block list (S3140)."),
            (Service, Recipient, "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. (S3150)"),
            (
                Service,
                Letter,
                "550 5.7.515 Access denied, sending domain does not meet the required authentication level.",
            ),
            (Never, Recipient, "550 5.7.505 Access denied, banned recipient"),
            (Never, Recipient, "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)."),
            (Never, Recipient, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
            (Later, Letter, "452 4.3.1 Insufficient system resources"),
            // Yahoo
            (
                Service,
                Letter,
                "421 4.7.0 [TSS04] Messages temporarily deferred due to unexpected volume or user complaints",
            ),
            (Never, Letter, "554 5.7.9 Message not accepted for policy reasons."),
            (Never, Recipient, "554 30 Sorry, your message cannot be delivered. This mailbox is disabled"),
            // Postfix, Exim, Sendmail
            (Later, Recipient, "450 4.7.1 Greylisted, please try again in 5 minutes"),
            (Later, Recipient, "451 4.7.1 Greylisting in action, please come back later"),
            (Later, Letter, "451 4.7.1 Service unavailable - try again later"),
            (Later, Recipient, "451 4.3.0 Temporary lookup failure"),
            (Later, Letter, "451 4.3.0 Error: queue file write error"),
            (Service, Mail, "452 4.3.1 Insufficient system storage"),
            (Service, Mail, "452 4.4.5 Insufficient disk space; try again later"),
            (Service, Recipient, "421 4.3.2 Service shutting down"),
            (Service, Data, "421 too many connections"),
            (Later, Letter, "421 4.4.2 Error: timeout exceeded"),
            (Never, Recipient, "550 5.7.1 Relaying denied"),
            (Service, Mail, "553 5.7.1 Sender address rejected: not owned by user"),
            (Service, Recipient, "450 4.1.8 Sender address rejected: Domain not found"),
            (Never, Mail, "552 5.3.4 Message size exceeds fixed limit"),
            (Never, Recipient, "550 No such user"),
            (Never, Recipient, "501 5.1.3 Bad recipient address syntax"),
            (Service, Recipient, "503 5.5.1 Error: need MAIL command"),
            (Later, Mail, "451 try again"),
            (Never, Mail, "550 no"),
        ] {
            assert_eq!(judge(verb, text), blamed, "{verb}: {text}");
        }
    }
}
