use tokio::time::Instant;

use super::{
    Announcement,
    blame::{Blame, Verb, blame},
    body::{LoneLineEnd, Needs, push_body},
    connection::{Connection, Trouble},
    reply::Reply,
};
use crate::delivery::{EmailAddress, Envelope, Outcome, Refusal, Stage};

/// A buffer that a large letter needed is given back at this size.
const LARGE: usize = 256 * 1_024;
/// The end of a letter that must have left before a server can take it: ".\r\n".
const FINAL_DOT: usize = 3;

/// The server has not answered to MAIL: it has surely not looked at the letter.
#[derive(Debug, thiserror::Error)]
#[error("{verb}: {why}")]
pub(super) struct Unheard {
    verb: Verb,
    why: String,
}

enum Stop {
    Unheard(Unheard),
    Ended(Outcome),
}

impl Connection {
    /// Hands one letter over, which has been announced or not. All that comes before the final dot is over by `until`. Takes
    /// `next` once it can announce another letter.
    pub async fn hand_over(
        &mut self,
        envelope: Envelope<'_>,
        until: Instant,
        next: &mut Option<impl FnOnce() -> Option<Announcement>>,
    ) -> Result<Outcome, Unheard> {
        self.until = until;
        let needs = Needs::of(envelope.letter);
        if let Some(refusal) = self.offers.refusal(needs) {
            return Ok(Outcome::Never(Refusal::plain(refusal)));
        }
        self.body.clear();
        self.body.shrink_to(LARGE);
        if let Err(LoneLineEnd) = push_body(envelope.letter, &mut self.body) {
            return Ok(Outcome::Never(Refusal::plain("the letter holds a CR or LF that is not part of a CRLF")));
        }
        match self.announce(envelope, needs).await {
            Ok(()) => Ok(self.deliver(envelope.to, next).await),
            Err(Stop::Ended(outcome)) => Ok(outcome),
            Err(Stop::Unheard(unheard)) => Err(unheard),
        }
    }

    /// MAIL, RCPT and DATA, in one write where the server lets us; then it waits for the letter.
    async fn announce(&mut self, envelope: Envelope<'_>, needs: Needs) -> Result<(), Stop> {
        let was_announced = std::mem::take(&mut self.is_announced);
        let verbs = [Verb::Reset, Verb::Mail, Verb::Recipient, Verb::Data];
        let verbs = if self.is_open { &verbs[..] } else { &verbs[1..] };
        let at_once = self.offers.pipelining;
        if at_once && !was_announced {
            verbs.iter().for_each(|verb| self.say_verb(*verb, envelope.from, envelope.to, needs));
            self.send(self.step()).await.map_err(|trouble| broken(verbs[0], &trouble))?;
        }
        self.is_open = true;
        let mut refused = None;
        for &verb in verbs {
            if !at_once {
                self.say_verb(verb, envelope.from, envelope.to, needs);
                self.send(self.step()).await.map_err(|trouble| broken(verb, &trouble))?;
            }
            match self.answer(verb, envelope.to).await {
                Ok(()) if refused.is_some() && verb == Verb::Data => self.send_nothing().await,
                Ok(()) => {}
                // What is said after a refusal only follows from it.
                Err(stop) => refused = refused.or(Some(stop)),
            }
            if refused.is_some() && !(at_once && self.is_sound) {
                break;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn say_verb(&mut self, verb: Verb, from: &EmailAddress, to: &EmailAddress, needs: Needs) {
        match verb {
            Verb::Reset => self.say(&["RSET"]),
            Verb::Mail => {
                let size = if self.offers.size { format!(" SIZE={}", needs.octets) } else { String::new() };
                let body = if needs.eight_bit { " BODY=8BITMIME" } else { "" };
                let utf8 = if needs.utf8 { " SMTPUTF8" } else { "" };
                self.say(&["MAIL FROM:<", from.as_str(), ">", &size, body, utf8]);
            }
            Verb::Recipient => self.say(&["RCPT TO:<", to.as_str(), ">"]),
            Verb::Data | Verb::Letter => self.say(&["DATA"]),
        }
    }

    async fn answer(&mut self, verb: Verb, to: &EmailAddress) -> Result<(), Stop> {
        let until = self.step();
        let reply = self.reply(until).await.map_err(|trouble| broken(verb, &trouble))?;
        match (reply.class(), verb) {
            (2, Verb::Reset | Verb::Mail | Verb::Recipient) | (3, Verb::Data) => Ok(()),
            (4 | 5, Verb::Reset) => Err(Stop::Unheard(Unheard { verb, why: said(reply, to) })),
            (4 | 5, Verb::Mail) if reply.code() == 421 => Err(Stop::Unheard(Unheard { verb, why: said(reply, to) })),
            (4 | 5, _) => Err(Stop::Ended(refusal(reply, verb, to))),
            _ => {
                self.is_sound = false;
                Err(broken(verb, &Trouble::Garbage))
            }
        }
    }

    /// The server waits for a letter although it refused the recipient: an empty one goes to nobody (RFC 2920, 3.1).
    async fn send_nothing(&mut self) {
        self.say(&["."]);
        let until = self.step();
        if self.send(until).await.is_ok() && self.reply(until).await.is_ok() {
            self.is_open = false;
        }
    }

    /// The letter and the final dot, and what announces the next letter, in one write. From then on only a reply says that it was
    /// not taken.
    async fn deliver(
        &mut self,
        to: &EmailAddress,
        next: &mut Option<impl FnOnce() -> Option<Announcement>>,
    ) -> Outcome {
        let verb = Verb::Letter;
        let length = self.body.len();
        if self.offers.pipelining
            && let Some(next) = next.take().and_then(|next| next())
        {
            self.say_next(&next);
        }
        // TLS does not tell how much of a write has left, so there the letter goes alone and what announces the next right after.
        if self.stream.is_plain() {
            self.body.append(&mut self.commands);
        }
        if let Err((written, trouble)) = self.send_body(self.until).await {
            let detail = format!("{verb}: {trouble}");
            let dot_left = written + FINAL_DOT > length;
            return if dot_left { Outcome::Unknown { detail } } else { Outcome::Later(Refusal::plain(detail)) };
        }
        if !self.commands.is_empty() {
            // Where that fails, the answer to the letter says what became of it, and the next letter goes elsewhere.
            let _ = self.send(self.step()).await;
        }
        let until = Instant::now() + self.limits.after_dot;
        let outcome = match self.reply(until).await {
            Err(trouble) => return Outcome::Unknown { detail: format!("{verb}: {trouble}") },
            Ok(reply) => match reply.class() {
                2 => Outcome::Accepted,
                4 | 5 => refusal(reply, verb, to),
                _ => {
                    self.is_sound = false;
                    return Outcome::Unknown { detail: format!("{verb}: {}", Trouble::Garbage) };
                }
            },
        };
        self.is_open = false;
        outcome
    }

    fn say_next(&mut self, next: &Announcement) {
        // It will hear its refusal when it comes itself.
        if self.offers.refusal(next.needs).is_some() {
            return;
        }
        [Verb::Mail, Verb::Recipient, Verb::Data]
            .into_iter()
            .for_each(|verb| self.say_verb(verb, &next.from, &next.to, next.needs));
        self.is_announced = true;
    }
}

/// Once the server has taken MAIL, it may be this letter that breaks it: then it counts as an attempt, or one letter would be
/// handed over for ever. Where the whole server is down, the next connection says so.
fn broken(verb: Verb, trouble: &Trouble) -> Stop {
    if verb <= Verb::Mail {
        return Stop::Unheard(Unheard { verb, why: trouble.to_string() });
    }
    Stop::Ended(Outcome::Later(Refusal::plain(format!("{verb}: {trouble}"))))
}

fn refusal(reply: Reply<'_>, verb: Verb, to: &EmailAddress) -> Outcome {
    let stage = match verb {
        Verb::Reset | Verb::Mail => Stage::Sender,
        Verb::Recipient => Stage::Recipient,
        Verb::Data | Verb::Letter => Stage::Data,
    };
    let refusal = || Refusal { code: reply.codes(), detail: reply.words(to), stage };
    match blame(reply, verb) {
        Blame::Service => Outcome::Returned { detail: format!("{verb}: {}", said(reply, to)) },
        Blame::Later => Outcome::Later(refusal()),
        Blame::Never => Outcome::Never(refusal()),
    }
}

fn said(reply: Reply<'_>, to: &EmailAddress) -> String {
    format!("{} {}", reply.codes(), reply.words(to))
}
