use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use super::{
    Announcement, Conversation, Limits, Server, Smtp,
    fake::{Act, Fake, Script},
};
use crate::{
    config::{Security, SmtpServer},
    delivery::{EmailAddress, Envelope, Outcome, Refusal, Stage},
};

pub(super) const LETTER: &str = "Subject: Hello\r\n\r\nDear Anna,\r\n.\r\nwelcome.\r\n";
pub(super) const ALL: &[&str] = &["PIPELINING", "SIZE 50000000", "8BITMIME", "SMTPUTF8"];
/// Pipelined and not.
const BOTH: [&[&str]; 2] = [&[], &["PIPELINING"]];

/// Long enough for a busy computer to be in time, where it should be.
pub(super) const SHORT: Limits = Limits {
    command: Duration::from_secs(1),
    before_dot: Duration::from_secs(2),
    after_dot: Duration::from_secs(1),
    ..LONG
};
/// So long that no story fails for a busy computer.
pub(super) const LONG: Limits = Limits { idle: Duration::from_secs(600), ..Limits::USUAL };

pub(super) fn settings(port: u16, security: Security) -> SmtpServer {
    SmtpServer { host: "127.0.0.1".to_owned(), port, security, credentials: None }
}

pub(super) fn client(fake: &Fake, limits: Limits) -> Smtp {
    Smtp::new(Server { settings: settings(fake.port, Security::None), tls: None, limits })
}

pub(super) async fn send(smtp: &Smtp, letter: &[u8]) -> Outcome {
    talk(smtp, letter, None, None).await.0
}

/// Hands a letter over, in the conversation in which it was announced, and announces the next.
pub(super) async fn talk(
    smtp: &Smtp,
    letter: &[u8],
    announced: Option<Conversation>,
    next: Option<&[u8]>,
) -> (Outcome, Option<Conversation>) {
    let (from, to): (EmailAddress, EmailAddress) =
        ("shop@example.com".parse().unwrap(), "anna@example.com".parse().unwrap());
    let envelope = |letter| Envelope { name: "cnt_1", from: &from, to: &to, letter };
    smtp.hand_over(envelope(letter), announced, || next.map(|next| Announcement::of(envelope(next)))).await
}

/// What becomes of one letter, and the server that saw it.
async fn one(script: Script, limits: Limits) -> (Outcome, Fake) {
    let fake = Fake::start(script).await;
    let outcome = send(&client(&fake, limits), LETTER.as_bytes()).await;
    (outcome, fake)
}

pub(super) fn refused(stage: Stage, code: &str, detail: &str) -> Refusal {
    Refusal { code: code.to_owned(), detail: detail.to_owned(), stage }
}

#[tokio::test]
async fn a_letter_goes_in_three_commands_and_arrives_as_it_is() {
    for offers in BOTH {
        let (outcome, fake) = one(Script { offers, ..Script::default() }, LONG).await;
        assert_eq!(outcome, Outcome::Accepted);
        let seen = fake.seen();
        let commands = ["MAIL FROM:<shop@example.com>", "RCPT TO:<anna@example.com>", "DATA"];
        assert!(seen.commands[0].starts_with("EHLO "), "{}", seen.commands[0]);
        assert_eq!(seen.commands[1..], commands);
        assert_eq!(seen.letters, [LETTER.as_bytes()]);
        assert_eq!(seen.pipelined, if offers.is_empty() { 0 } else { 2 });
    }
}

#[tokio::test]
async fn a_server_that_knows_no_ehlo_is_told_helo() {
    let acts = vec![("EHLO", Act::Say("502 5.5.1 what?"))];
    let (outcome, fake) = one(Script { acts, ..Script::default() }, LONG).await;
    assert_eq!(outcome, Outcome::Accepted);
    assert_eq!(fake.seen().verbs(), ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]);
}

#[tokio::test]
async fn a_connection_is_used_again_and_as_many_are_opened_as_are_needed_at_once() {
    for offers in BOTH {
        let fake = Fake::start(Script { offers, ..Script::default() }).await;
        let smtp = client(&fake, LONG);
        for _ in 0..5 {
            assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted);
        }
        assert_eq!(fake.seen().connections, 1);
        let outcomes = tokio::join!(send(&smtp, b"a\r\n"), send(&smtp, b"b\r\n"), send(&smtp, b"c\r\n"));
        assert_eq!(outcomes, (Outcome::Accepted, Outcome::Accepted, Outcome::Accepted));
        assert_eq!(fake.seen().counts(), (3, 8));
    }
}

#[tokio::test]
async fn a_connection_that_died_while_it_was_idle_is_replaced_and_nobody_notices() {
    for offers in BOTH {
        for act in [Act::Drop, Act::SayAndDrop("421 4.4.2 idle for too long"), Act::Say("nonsense")] {
            let acts = vec![("MAIL", Act::Usual), ("MAIL", act)];
            let fake = Fake::start(Script { offers, acts, ..Script::default() }).await;
            let smtp = client(&fake, LONG);
            for _ in 0..3 {
                assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted, "{act:?}");
            }
            assert_eq!(fake.seen().counts(), (2, 3), "{act:?}");
        }
    }
}

#[tokio::test]
async fn a_dead_connection_is_replaced_once_only() {
    let acts = vec![("MAIL", Act::Usual), ("MAIL", Act::Drop), ("MAIL", Act::Drop)];
    let fake = Fake::start(Script { acts, ..Script::default() }).await;
    let smtp = client(&fake, LONG);
    assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted);
    let outcome = send(&smtp, LETTER.as_bytes()).await;
    assert!(matches!(outcome, Outcome::Returned { .. }), "{outcome:?}");
    assert_eq!(fake.seen().counts(), (2, 1));
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_closed_in_order() {
    let fake = Fake::start(Script::default()).await;
    let smtp = client(&fake, Limits { idle: Duration::from_millis(50), ..LONG });
    for letters in 1..=2 {
        assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted);
        let limit = Instant::now() + Duration::from_secs(20);
        while fake.seen().verbs().iter().filter(|verb| **verb == "QUIT").count() < letters {
            assert!(Instant::now() < limit, "nobody says QUIT");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fake.seen().connections, letters);
    }
}

#[tokio::test]
async fn a_refusal_is_judged_at_every_verb_and_the_connection_serves_the_next_letter() {
    for offers in BOTH {
        for (verb, text, outcome) in [
            ("MAIL", "451 4.3.0 later", Outcome::Later(refused(Stage::Sender, "451 4.3.0", "later"))),
            ("MAIL", "550 never", Outcome::Never(refused(Stage::Sender, "550", "never"))),
            (
                "RCPT",
                "450 4.7.1 <anna@example.com>: greylisted",
                Outcome::Later(refused(Stage::Recipient, "450 4.7.1", "<recipient>: greylisted")),
            ),
            (
                "RCPT",
                "550-5.1.1 No such\r\n550 5.1.1 user",
                Outcome::Never(refused(Stage::Recipient, "550 5.1.1", "No such user")),
            ),
            ("DATA", "451 later", Outcome::Later(refused(Stage::Data, "451", "later"))),
            (
                "DATA",
                "554 5.5.1 no valid recipients",
                Outcome::Never(refused(Stage::Data, "554 5.5.1", "no valid recipients")),
            ),
            (".", "452 4.2.2 full", Outcome::Later(refused(Stage::Data, "452 4.2.2", "full"))),
            (".", "550 5.7.1 spam", Outcome::Never(refused(Stage::Data, "550 5.7.1", "spam"))),
            ("RCPT", "550 5.7.606 banned", Outcome::Returned { detail: "RCPT: 550 5.7.606 banned".to_owned() }),
            ("MAIL", "530 5.7.0 log in", Outcome::Returned { detail: "MAIL: 530 5.7.0 log in".to_owned() }),
        ] {
            let fake = Fake::start(Script { offers, acts: vec![(verb, Act::Say(text))], ..Script::default() }).await;
            let smtp = client(&fake, LONG);
            assert_eq!(send(&smtp, LETTER.as_bytes()).await, outcome, "{verb} {text} {offers:?}");
            assert_eq!(send(&smtp, b"next\r\n").await, Outcome::Accepted, "{verb} {text} {offers:?}");
            let seen = fake.seen();
            assert_eq!(seen.connections, 1, "{verb} {text} {offers:?}");
            assert_eq!(seen.letters.last().map(Vec::as_slice), Some(&b"next\r\n"[..]));
            // Nothing of a refused envelope is carried into the next.
            let reset_or_ended = seen.verbs().contains(&"RSET") || seen.letters.len() == 2;
            assert!(reset_or_ended, "{verb} {text} {offers:?}: {:?}", seen.commands);
        }
    }
}

#[tokio::test]
async fn a_server_that_waits_for_a_letter_to_nobody_gets_an_empty_one() {
    let acts = vec![("RCPT", Act::Say("550 5.1.1 nobody")), (".", Act::Say("554 5.5.1 no valid recipients"))];
    let (outcome, fake) = one(Script { offers: ALL, acts, ..Script::default() }, LONG).await;
    assert_eq!(outcome, Outcome::Never(refused(Stage::Recipient, "550 5.1.1", "nobody")));
    assert_eq!(fake.seen().letters, [b""]);
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_returns_the_letter() {
    for offers in BOTH {
        for verb in ["MAIL", "RCPT", "DATA"] {
            let acts = vec![(verb, Act::SayAndDrop("421 4.3.2 going down"))];
            let (outcome, fake) = one(Script { offers, acts, ..Script::default() }, LONG).await;
            let detail = format!("{verb}: 421 4.3.2 going down");
            assert_eq!(outcome, Outcome::Returned { detail });
            assert_eq!(fake.seen().letters.len(), 0);
        }
    }
}

#[tokio::test]
async fn whatever_goes_wrong_before_the_first_letter_returns_it() {
    for (verb, act) in [
        ("greeting", Act::Say("554 5.3.2 no")),
        ("greeting", Act::SayAndDrop("421 busy")),
        ("greeting", Act::Say("SSH-2.0")),
        ("greeting", Act::Drop),
        ("EHLO", Act::SayAndDrop("421 busy")),
        ("EHLO", Act::Drop),
        ("MAIL", Act::Drop),
        ("MAIL", Act::Say("hello")),
        ("MAIL", Act::Say("354 what?")),
    ] {
        let (outcome, _) = one(Script { acts: vec![(verb, act)], ..Script::default() }, LONG).await;
        assert!(matches!(outcome, Outcome::Returned { .. }), "{verb} {act:?}: {outcome:?}");
    }
    let nobody = Server { settings: settings(1, Security::None), tls: None, limits: LONG };
    let outcome = send(&Smtp::new(nobody), LETTER.as_bytes()).await;
    assert!(matches!(&outcome, Outcome::Returned { detail } if detail.contains("refused")), "{outcome:?}");
}

#[tokio::test]
async fn a_letter_that_breaks_the_connection_before_the_final_dot_is_refused_for_now() {
    for offers in BOTH {
        for (verb, act) in
            [("RCPT", Act::Drop), ("RCPT", Act::Say("nonsense")), ("DATA", Act::Drop), ("DATA", Act::Say("250 what?"))]
        {
            let (outcome, fake) = one(Script { offers, acts: vec![(verb, act)], ..Script::default() }, LONG).await;
            assert!(matches!(outcome, Outcome::Later(_)), "{verb} {act:?}: {outcome:?}");
            assert_eq!(fake.seen().letters.len(), 0);
        }
    }
    let fake = Fake::start(Script { offers: ALL, acts: vec![("body", Act::Drop)], ..Script::default() }).await;
    let outcome = send(&client(&fake, LONG), &huge()).await;
    assert!(matches!(outcome, Outcome::Later(_)), "{outcome:?}");
}

/// Larger than what two sockets buffer.
fn huge() -> Vec<u8> {
    let line = b"All work and no play. ".repeat(40);
    [&line[..], b"\r\n"].concat().repeat(20_000)
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_final_dot_is_a_doubt() {
    for offers in BOTH {
        for act in [Act::Drop, Act::SayAndDrop("25"), Act::Say("nonsense"), Act::Say("354 more?"), Act::Stall] {
            let (outcome, fake) = one(Script { offers, acts: vec![(".", act)], ..Script::default() }, SHORT).await;
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{act:?}: {outcome:?}");
            assert_eq!(fake.seen().letters, [LETTER.as_bytes()]);
        }
    }
}

#[tokio::test]
async fn a_server_that_stalls_is_left_within_the_limits() {
    let verbs = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "body", "."];
    let cases = BOTH.into_iter().flat_map(|offers| verbs.map(|verb| stall(offers, verb)));
    join_all(cases).await;
}

async fn stall(offers: &'static [&'static str], verb: &'static str) {
    let fake = Fake::start(Script { offers, acts: vec![(verb, Act::Stall)], ..Script::default() }).await;
    let smtp = client(&fake, SHORT);
    let letter = if verb == "body" { huge() } else { LETTER.into() };
    let begin = Instant::now();
    let outcome = send(&smtp, &letter).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{verb}: {:?}", begin.elapsed());
    let fits = match verb {
        "RCPT" | "DATA" | "body" => matches!(outcome, Outcome::Later(_)),
        "." => matches!(outcome, Outcome::Unknown { .. }),
        _ => matches!(outcome, Outcome::Returned { .. }),
    };
    assert!(fits, "{verb}: {outcome:?}");
    assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted, "{verb}");
    assert_eq!(fake.seen().connections, 2);
}

#[tokio::test]
async fn replies_that_come_octet_by_octet_are_read_whole() {
    for offers in [&[], ALL] {
        let acts = vec![("RCPT", Act::Say("550-5.1.1 No\r\n550-5.1.1 such\r\n550 5.1.1 user"))];
        let fake = Fake::start(Script { offers, acts, dribbles: true, ..Script::default() }).await;
        let smtp = client(&fake, LONG);
        assert_eq!(
            send(&smtp, LETTER.as_bytes()).await,
            Outcome::Never(refused(Stage::Recipient, "550 5.1.1", "No such user"))
        );
        assert_eq!(send(&smtp, LETTER.as_bytes()).await, Outcome::Accepted);
    }
}

#[tokio::test]
async fn a_letter_says_what_it_needs_where_the_server_can_give_it() {
    let (plain, body, header) = ("a: b\r\n\r\nc\r\n", "a: b\r\n\r\nž\r\n", "a: ž\r\n\r\nc\r\n");
    let fake = Fake::start(Script { offers: ALL, ..Script::default() }).await;
    let smtp = client(&fake, LONG);
    for letter in [plain, body, header] {
        assert_eq!(send(&smtp, letter.as_bytes()).await, Outcome::Accepted);
    }
    let mails: Vec<_> = fake.seen().commands.iter().filter(|command| command.starts_with("MAIL")).cloned().collect();
    assert_eq!(
        mails,
        [
            "MAIL FROM:<shop@example.com> SIZE=11",
            "MAIL FROM:<shop@example.com> SIZE=12 BODY=8BITMIME",
            "MAIL FROM:<shop@example.com> SIZE=12 BODY=8BITMIME SMTPUTF8",
        ]
    );
    let small = Fake::start(Script { offers: &["SIZE 11"], ..Script::default() }).await;
    let smtp = client(&small, LONG);
    assert_eq!(send(&smtp, plain.as_bytes()).await, Outcome::Accepted);
    for letter in [body, header, "a: b\r\n\r\ncccc\r\n", "a\rb"] {
        let outcome = send(&smtp, letter.as_bytes()).await;
        assert!(matches!(outcome, Outcome::Never(_)), "{outcome:?}");
    }
    assert_eq!(small.seen().counts(), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn every_octet_arrives(letters in prop::collection::vec("([.]{0,3}[a-z.\u{e0}-\u{ff}]{0,5}\r\n){0,200}", 1..4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arrived = runtime.block_on(async {
            let fake = Fake::start(Script { offers: ALL, ..Script::default() }).await;
            let smtp = client(&fake, LONG);
            for letter in &letters {
                assert_eq!(send(&smtp, letter.as_bytes()).await, Outcome::Accepted);
            }
            fake.seen().letters.clone()
        });
        let expected: Vec<Vec<u8>> = letters.into_iter().map(String::into_bytes).collect();
        prop_assert_eq!(arrived, expected);
    }
}

/// Nothing but the wire: eight connections to a server that takes everything, in this process.
#[test]
#[ignore = "prints numbers; cargo test --release --lib -- --ignored --nocapture letters_a_second"]
#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn letters_a_second() {
    const LETTERS: usize = 40_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let letter = ["Subject: Hello\r\n\r\n".to_owned(), format!("{}\r\n", "x".repeat(76)).repeat(64)].concat();
    for offers in BOTH {
        let took = runtime.block_on(async {
            let sink = sink(offers).await;
            let smtp = Smtp::new(Server { settings: settings(sink, Security::None), tls: None, limits: LONG });
            let begin = Instant::now();
            let senders = (0..8).map(|_| {
                let (smtp, letter) = (smtp.clone(), letter.clone());
                tokio::spawn(async move {
                    for _ in 0..LETTERS / 8 {
                        assert_eq!(send(&smtp, letter.as_bytes()).await, Outcome::Accepted);
                    }
                })
            });
            join_all(senders).await.into_iter().for_each(Result::unwrap);
            begin.elapsed()
        });
        let rate = LETTERS as f64 / took.as_secs_f64();
        println!("{offers:?}: {rate:.0} letters of {} octets a second", letter.len());
    }
}

/// A server with as little to do as possible: it looks only at how each packet ends.
async fn sink(offers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                client.set_nodelay(true)?;
                client.write_all(b"220 sink\r\n").await?;
                let mut packet = Vec::with_capacity(64 * 1_024);
                while client.read_buf(&mut packet).await? > 0 {
                    let hello = || format!("250-sink\r\n250 {}\r\n", offers.first().unwrap_or(&"HELP"));
                    let reply = match &packet[..] {
                        [b'E', b'H', ..] => hello(),
                        [b'M', .., b'T', b'A', b'\r', b'\n'] => "250 ok\r\n250 ok\r\n354 go on\r\n".to_owned(),
                        [b'D', .., b'\r', b'\n'] => "354 go on\r\n".to_owned(),
                        [b'M' | b'R', .., b'\r', b'\n'] | [.., b'\n', b'.', b'\r', b'\n'] => "250 ok\r\n".to_owned(),
                        _ => continue,
                    };
                    packet.clear();
                    client.write_all(reply.as_bytes()).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}
