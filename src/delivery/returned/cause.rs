//! What a failure means: whose fault it is, and what follows for the address.

use std::{fmt, str::FromStr};

use super::phrases::{self, Theme};
use crate::database::text_enum;

/// An enhanced status code (RFC 3463): 5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status {
    /// 2 is success, 4 a failure for now, 5 one for good.
    pub class: u16,
    /// What it is about: 1 is the address, 2 the mailbox, 7 a policy.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, subject, detail } = self;
        write!(f, "{class}.{subject}.{detail}")
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split('.').map(|number| {
            let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { number.parse().map_err(|_| ()) } else { Err(()) }
        });
        let mut next = || numbers.next().unwrap_or(Err(()));
        let status = Self { class: next()?, subject: next()?, detail: next()? };
        if numbers.next().is_none() && matches!(status.class, 2 | 4 | 5) { Ok(status) } else { Err(()) }
    }
}

text_enum! {
    /// Why a message did not reach its recipient.
    Cause {
        /// Nobody has that mailbox.
        NoMailbox = "no mailbox",
        /// The domain does not exist or takes no mail.
        NoDomain = "no domain",
        /// The mailbox is closed, perhaps for a while.
        Closed = "closed",
        /// The mailbox has no room.
        Full = "full",
        /// Who sent it, what it says, or a rule of the receiver's.
        Policy = "policy",
        /// The message as such: too large, badly made.
        Message = "message",
        /// Not at that time: nobody answered, too much at once, time ran out.
        Later = "later",
        /// Nobody can tell.
        Unclear = "unclear",
    }
}

text_enum! {
    /// What a failure for good means for the address.
    Weight {
        /// Nothing: it was the message's fault, or its sender's.
        None = "none",
        /// A failure that counts when others follow.
        Soft = "soft",
        /// Perhaps the address is gone; the same again on another day proves it.
        Suspected = "suspected",
        /// The address is gone.
        Hard = "hard",
    }
}

impl Weight {
    /// Of what nobody vouches for: a suspicion at most.
    #[must_use]
    pub fn doubted(self) -> Self {
        if self == Self::Hard { Self::Suspected } else { self }
    }
}

/// The command that a server answered to, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody said.
    Unknown,
    /// Before the recipient was named.
    Sender,
    /// When the recipient was named.
    Recipient,
    /// After the recipient had been taken.
    Data,
}

/// What is known of a failure.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The reply code of the server that refused.
    pub reply: Option<u16>,
    /// The most telling enhanced code.
    pub status: Option<Status>,
    /// What it answered to.
    pub stage: Stage,
    /// The server's words.
    pub said: &'a str,
    /// What whoever reports it adds in words of its own.
    pub beside: &'a str,
}

/// Judges a failure: what the server says may overrule its code, and doubt never suppresses.
///
/// | what | weight | why |
/// | --- | --- | --- |
/// | policy, spam, authentication, size, form | none | the next message may pass |
/// | a word for a policy beside X.1.1 and words for "no such mailbox" in answer to RCPT | hard | "user unknown, relaying denied" |
/// | 4xx, mailbox full, time ran out | soft | |
/// | before the recipient was named | none | it cannot be about the recipient |
/// | X.1.1, X.1.2, X.1.3, X.1.6, X.1.10, X.4.4 | hard | |
/// | words for "no such mailbox" in answer to RCPT, from a look into a directory, or confirmed by who reports it | hard | |
/// | the same words with no or another code, at another moment | suspected | many say "unknown user" once they have read the message |
/// | X.2.1, closed mailbox | suspected | it may be opened again |
/// | no such domain | hard | |
pub fn judge(failure: &Failure<'_>) -> (Cause, Weight) {
    let themes = phrases::themes(failure.said);
    let has = |theme| themes.contains(&theme);
    let weight = |(cause, weight): (Cause, Weight)| {
        let is_too_much = failure.is_for_now() && weight != Weight::None;
        (cause, if is_too_much { Weight::Soft } else { weight })
    };
    // Microsoft's words for an address that is not in the directory, where others mean a policy.
    if failure.status.is_some_and(|status| (status.subject, status.detail) == (4, 1))
        && rejects_by_directory(failure.said)
    {
        return weight((Cause::NoMailbox, Weight::Hard));
    }
    let beside = phrases::themes(failure.beside);
    if let Some(doubt) = doubt(&themes, &beside, failure) {
        return weight(doubt);
    }
    if failure.stage == Stage::Sender {
        return (Cause::Policy, Weight::None);
    }
    weight(match () {
        () if has(Theme::NoDomain) && failure.stage != Stage::Data => (Cause::NoDomain, Weight::Hard),
        () if has(Theme::NotListed) && failure.stage != Stage::Data => (Cause::NoMailbox, Weight::Hard),
        () if failure.names_no_address() && !(has(Theme::Later) && failure.reply.is_none()) => by_code(failure),
        () if has(Theme::Closed) => (Cause::Closed, Weight::Suspected),
        () if has(Theme::Later) => (Cause::Later, Weight::Soft),
        () if has(Theme::NoMailbox) || has(Theme::Refused) && failure.stage == Stage::Recipient => {
            let is_beside = beside.contains(&Theme::NotListed) && failure.stage != Stage::Data;
            let sure = failure.stage == Stage::Recipient || is_beside;
            (Cause::NoMailbox, if sure { Weight::Hard } else { Weight::Suspected })
        }
        () => by_code(failure),
    })
}

fn rejects_by_directory(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    let words = ["recipient address rejected: access denied", "recipient addresses rejected : access denied"];
    words.iter().any(|words| said.contains(words))
}

/// What speaks against the address being gone, whatever else is said.
fn doubt(themes: &[Theme], beside: &[Theme], failure: &Failure<'_>) -> Option<(Cause, Weight)> {
    let has = |theme| themes.contains(&theme);
    let is_clear = failure.stage == Stage::Recipient
        && failure.status.is_some_and(|status| (status.subject, status.detail) == (1, 1))
        && (has(Theme::NoMailbox) || has(Theme::NotListed));
    if has(Theme::Policy) || has(Theme::PerhapsPolicy) && !is_clear {
        return Some((Cause::Policy, Weight::None));
    }
    if has(Theme::Full) {
        return Some((Cause::Full, Weight::Soft));
    }
    if has(Theme::Message) {
        return Some((Cause::Message, Weight::None));
    }
    if has(Theme::NotNow) && !failure.names_no_address() {
        return Some((Cause::Later, Weight::Soft));
    }
    let is_beside = |theme| beside.contains(&theme);
    if is_beside(Theme::Full) && !has(Theme::NoDomain) {
        return Some((Cause::Full, Weight::Soft));
    }
    let is_closed = is_beside(Theme::Closed) && !has(Theme::NoDomain) && !failure.names_no_address();
    is_closed.then_some((Cause::Closed, Weight::Suspected))
}

/// What the code says where the words say nothing.
fn by_code(failure: &Failure<'_>) -> (Cause, Weight) {
    let Some(Status { subject, detail, .. }) = failure.status else {
        return match failure.reply {
            Some(421 | 450..=452) => (Cause::Later, Weight::Soft),
            Some(500..=504 | 521 | 530..=538) => (Cause::Policy, Weight::None),
            Some(550 | 551 | 553) if failure.stage == Stage::Recipient => (Cause::Unclear, Weight::Suspected),
            _ => (Cause::Unclear, Weight::Soft),
        };
    };
    match (subject, detail) {
        (1, 1 | 3 | 6) => (Cause::NoMailbox, Weight::Hard),
        (1, 2 | 10) | (4, 4) => (Cause::NoDomain, Weight::Hard),
        (1, 7 | 8) => (Cause::Policy, Weight::None),
        (1, 0) if phrases::themes(failure.said).contains(&Theme::Refused) => (Cause::NoMailbox, Weight::Hard),
        (2, 1) if failure.stage == Stage::Recipient => (Cause::Closed, Weight::Hard),
        (2, 1) => (Cause::Closed, Weight::Suspected),
        (2, 2) => (Cause::Full, Weight::Soft),
        (2, 3) | (3, 4) | (4, 6) | (6, _) => (Cause::Message, Weight::None),
        (5 | 7, _) => (Cause::Policy, Weight::None),
        (3 | 4, _) => (Cause::Later, Weight::Soft),
        (0, 0) if failure.stage == Stage::Recipient && matches!(failure.reply, Some(550 | 551 | 553)) => {
            (Cause::Unclear, Weight::Suspected)
        }
        _ => (Cause::Unclear, Weight::Soft),
    }
}

impl Failure<'_> {
    /// Whether it may pass later, by the code of the server that refused, else by that of who reports it.
    fn is_for_now(&self) -> bool {
        match self.reply {
            Some(reply) => reply / 100 == 4,
            None => self.status.is_some_and(|status| status.class == 4),
        }
    }

    /// Whether the code says that there is no such address.
    fn names_no_address(&self) -> bool {
        let no_address = |status: Status| matches!((status.subject, status.detail), (1, 1 | 2 | 3 | 6 | 10));
        self.status.is_some_and(no_address)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::codes,
        Cause::{Closed, Full, Later, Message, NoDomain, NoMailbox, Policy, Unclear},
        Stage::{Data, Recipient, Sender},
        Weight::{Hard, None, Soft, Suspected},
        *,
    };

    fn said(stage: Stage, text: &str) -> (Cause, Weight) {
        let (reply, status) = codes::find(text);
        judge(&Failure { reply, status, stage, said: text, beside: "" })
    }

    #[test]
    fn what_servers_say_when_the_recipient_is_named_is_understood() {
        for (cause, weight, text) in [
            // Nobody there
            (
                NoMailbox,
                Hard,
                "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking",
            ),
            (NoMailbox, Hard, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
            (
                NoMailbox,
                Hard,
                "550 5.4.1 Recipient address rejected: Access denied. [AM6EUR05FT037.eop.protection.outlook.com]",
            ),
            (
                NoMailbox,
                Hard,
                "550 5.1.1 <anna@example.com>: Recipient address rejected: User unknown in virtual mailbox table",
            ),
            (NoMailbox, Hard, "550 5.1.1 <anna@example.com>... User unknown"),
            (NoMailbox, Hard, "550 No such user here"),
            (NoMailbox, Hard, "550 unknown user"),
            (NoMailbox, Hard, "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)"),
            (NoMailbox, Hard, "550 Unrouteable recipient anna@example.com"),
            (NoMailbox, Hard, "550 Mailbox not found"),
            (NoMailbox, Hard, "550 Invalid recipient anna@example.com"),
            (NoMailbox, Hard, "550 Addressee unknown"),
            (NoMailbox, Hard, "553 sorry, this recipient is not in my validrcptto list; user does not exist"),
            (NoMailbox, Hard, "550 5.7.1 No such recipient here"),
            (NoMailbox, Hard, "550 <anna@example.com>: Recipient address rejected."),
            (NoMailbox, Hard, "550 5.1.6 recipient no longer on server: anna@example.com"),
            (
                NoMailbox,
                Hard,
                "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416 [416]",
            ),
            (
                NoMailbox,
                Hard,
                "550 Requested action not taken: mailbox unavailable; invalid DNS MX or A/AAAA is not it: unknown user account",
            ),
            (
                NoMailbox,
                Hard,
                "550 Message was not accepted -- invalid mailbox.  Local mailbox anna@mail.ru is unavailable: user not found",
            ),
            (NoDomain, Hard, "550 5.1.2 <anna@example.invalid>... Host unknown (Name server: host not found)"),
            (NoDomain, Hard, "550 Unrouteable address: unknown domain"),
            // Perhaps nobody there
            (Closed, Suspected, "550 5.2.1 The email account that you tried to reach is disabled."),
            (
                Closed,
                Suspected,
                "554 delivery error: dd Sorry your message cannot be delivered. This account has been disabled or discontinued [#102]",
            ),
            (Closed, Hard, "550 5.2.1 No"),
            (Unclear, Suspected, "550 Go away"),
            // Full
            (Full, Soft, "552 5.2.2 Mailbox full"),
            (Full, Soft, "452-4.2.2 The recipient's inbox is out of storage space. Please direct the recipient to"),
            (Full, Soft, "552 5.1.1 sorry, mailbox anna@example.com is over quota temporarily"),
            (
                Full,
                Soft,
                "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
            ),
            (Full, Soft, "550 5.1.1 Requested mail action aborted: exceeded storage allocation"),
            // Later
            (
                Later,
                Soft,
                "450 4.2.0 <anna@example.com>: Recipient address rejected: Greylisted, see https://example.com",
            ),
            (Later, Soft, "451 4.7.1 Please try again later"),
            (Later, Soft, "421 4.7.28 Too many connections from you"),
            (
                NoMailbox,
                Soft,
                "450 4.1.1 <anna@example.com>: Recipient address rejected: User unknown in local recipient table",
            ),
        ] {
            assert_eq!(said(Recipient, text), (cause, weight), "{text}");
        }
    }

    #[test]
    fn a_word_for_a_policy_beside_a_clear_answer_excuses_no_address() {
        for text in [
            "550 5.1.1 User unknown; please contact our security department",
            "550 5.1.1 <anna@example.com>: User unknown. Relaying denied",
            "550 5.1.1 <anna@example.com> access denied: no such user",
            "550 5.1.1 Blocked: user unknown",
            "550 5.4.1 All recipient addresses rejected : Access denied. AS(201806281)",
        ] {
            assert_eq!(said(Recipient, text), (NoMailbox, Hard), "{text}");
        }
        for text in [
            "550 5.1.1 User unknown; your IP is blocked",
            "550 5.1.1 User unknown: blocked using zen.spamhaus.org",
            "550 5.7.1 Blocked: security policy; user unknown",
        ] {
            assert_eq!(said(Recipient, text), (Policy, None), "{text}");
        }
    }

    #[test]
    fn what_is_said_of_the_sender_or_the_message_never_touches_the_address() {
        for (cause, text) in [
            (Policy, "550-5.7.26 Unauthenticated email from example.com is not accepted due to domain's DMARC policy."),
            (Policy, "550-5.7.25 The IP address sending this message does not have a PTR record setup"),
            (Policy, "550 5.7.1 Our system has detected that this message is likely unsolicited mail."),
            (Policy, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
            (
                Policy,
                "550 5.7.515 Access denied, sending domain example.com does not meet the required authentication level",
            ),
            (
                Policy,
                "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Part of their network is on our block list (S3140).",
            ),
            (Policy, "554 5.7.9 Message not accepted for policy reasons. See https://senders.yahooinc.com/error-codes"),
            (Policy, "550 5.1.1 IP address blacklisted by recipient; unknown user"),
            (Policy, "550 5.1.1 Blocked: user unknown"),
            (Policy, "550 5.1.0 Relaying denied; user unknown"),
            (Policy, "553 5.1.8 <a@example.com>... Domain of sender address a@example.com does not exist"),
            (Policy, "550 5.1.0 Sender rejected: unknown sender"),
            (Policy, "550 5.7.1 <anna@example.com>: Relay access denied"),
            (Policy, "550 relay not permitted"),
            (Policy, "553 http://www.spamhaus.org/query/bl?ip=192.0.2.1"),
            (Policy, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
            (Policy, "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
            (Policy, "550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]"),
            (Policy, "554 Email rejected due to security policies - MCSpamSignature.x.x"),
            (Message, "552 5.3.4 Message size exceeds fixed limit"),
            (Message, "554 5.4.6 Too many hops"),
            (Message, "552 5.2.3 Message length exceeds administrative limit"),
        ] {
            assert_eq!(said(Stage::Unknown, text), (cause, None), "{text}");
        }
        assert_eq!(said(Sender, "550 5.1.1 unknown user").1, None);
    }

    #[test]
    fn unknown_after_the_message_was_read_is_a_suspicion_only() {
        assert_eq!(said(Data, "550 : User unknown"), (NoMailbox, Suspected));
        assert_eq!(said(Stage::Unknown, "550 5.2.0 Unknown user anna@example.com"), (NoMailbox, Suspected));
        assert_eq!(said(Data, "550 5.1.1 User unknown"), (NoMailbox, Hard));
        let reported =
            Failure { reply: Some(550), status: Option::None, stage: Stage::Unknown, said: "User unknown", beside: "" };
        let beside = "Your message wasn't delivered because the address couldn't be found.";
        assert_eq!(judge(&reported), (NoMailbox, Suspected));
        assert_eq!(judge(&Failure { beside, ..reported }), (NoMailbox, Hard));
        let after_data = "said: 550 user not found (in reply to end of DATA command)";
        let at_data = Failure { stage: Data, said: "550 user not found", beside: after_data, ..reported };
        assert_eq!(judge(&at_data), (NoMailbox, Suspected), "who reports it speaks of a reply, and of no directory");
        assert_eq!(judge(&Failure { stage: Stage::Unknown, ..at_data }), (NoMailbox, Suspected));
        assert_eq!(judge(&Failure { beside: "Not enough disk space", ..reported }), (Full, Soft));
    }

    #[test]
    fn a_status_is_three_numbers() {
        assert_eq!("5.7.515".parse(), Ok(Status { class: 5, subject: 7, detail: 515 }));
        for wrong in ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.1000", "5.+1.1", "5..1", "a.b.c"] {
            assert!(wrong.parse::<Status>().is_err(), "{wrong}");
        }
    }
}
