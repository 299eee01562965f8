//! Stories of letters that are announced with the one before.

use super::{
    fake::{Act, Fake, Script},
    stories::{ALL, LONG, SHORT, client, refused, send, talk},
};
use crate::delivery::{Outcome, Stage};

#[tokio::test]
async fn the_next_letter_is_announced_with_the_end_of_the_one_before() {
    let fake = Fake::start(Script { offers: ALL, ..Script::default() }).await;
    let smtp = client(&fake, LONG);
    let letters: [&[u8]; 3] = [b"a\r\n", "ž\r\n".as_bytes(), b"c\r\n"];
    let mut announced = None;
    for (place, letter) in letters.into_iter().enumerate() {
        let (outcome, conversation) = talk(&smtp, letter, announced, letters.get(place + 1).copied()).await;
        assert_eq!(outcome, Outcome::Accepted);
        assert_eq!(conversation.is_some(), place < 2);
        announced = conversation;
    }
    assert_eq!(send(&smtp, b"d\r\n").await, Outcome::Accepted);
    let seen = fake.seen();
    assert_eq!((seen.counts(), seen.followed), ((1, 4), 2));
    assert_eq!(seen.letters[..3], letters);
    let second = "MAIL FROM:<shop@example.com> SIZE=4 BODY=8BITMIME SMTPUTF8".to_owned();
    assert!(seen.commands.contains(&second), "{:?}", seen.commands);
}

#[tokio::test]
async fn nothing_is_announced_to_a_server_that_wants_its_commands_one_by_one_or_cannot_take_the_next_letter() {
    for offers in [&[][..], &["PIPELINING", "SIZE 10"]] {
        let fake = Fake::start(Script { offers, ..Script::default() }).await;
        let smtp = client(&fake, LONG);
        let (outcome, conversation) = talk(&smtp, b"a\r\n", None, Some(b"more than it takes\r\n")).await;
        assert_eq!(outcome, Outcome::Accepted);
        assert!(conversation.is_none());
        assert_eq!(send(&smtp, b"b\r\n").await, Outcome::Accepted);
        let seen = fake.seen();
        assert_eq!((seen.counts(), seen.followed), ((1, 2), 0));
    }
}

#[tokio::test]
async fn what_befalls_a_letter_befalls_neither_the_one_before_it_nor_the_one_announced_with_it() {
    let (later, never) =
        (Outcome::Later(refused(Stage::Data, "452 4.2.2", "full")), Outcome::Never(refused(Stage::Data, "550", "no")));
    let is_doubt = |outcome: &Outcome| matches!(outcome, Outcome::Unknown { .. });
    for (act, connections) in [
        (Act::Say("452 4.2.2 full"), 1),
        (Act::Say("550 no"), 1),
        (Act::SayAndDrop("421 4.3.2 going down"), 2),
        (Act::Say("354 more?"), 2),
        (Act::Drop, 2),
        (Act::Stall, 2),
    ] {
        let fake = Fake::start(Script { offers: ALL, acts: vec![(".", act)], ..Script::default() }).await;
        let smtp = client(&fake, SHORT);
        let (first, conversation) = talk(&smtp, b"a\r\n", None, Some(b"b\r\n")).await;
        let fits = match act {
            Act::Say("550 no") => first == never,
            Act::Say("452 4.2.2 full") => first == later,
            Act::SayAndDrop(_) => first == Outcome::Later(refused(Stage::Data, "421 4.3.2", "going down")),
            _ => is_doubt(&first),
        };
        assert!(fits, "{act:?}: {first:?}");
        assert_eq!(conversation.is_some(), connections == 1, "{act:?}");
        assert_eq!(talk(&smtp, b"b\r\n", conversation, None).await.0, Outcome::Accepted, "{act:?}");
        assert_eq!(fake.seen().counts(), (connections, 2), "{act:?}");
    }
    for (verb, stage) in [("RCPT", Stage::Recipient), ("MAIL", Stage::Sender), ("DATA", Stage::Data)] {
        let second = Outcome::Never(refused(stage, "550", "no"));
        let acts = vec![(verb, Act::Usual), (verb, Act::Say("550 no"))];
        let fake = Fake::start(Script { offers: ALL, acts, ..Script::default() }).await;
        let smtp = client(&fake, LONG);
        let (first, conversation) = talk(&smtp, b"a\r\n", None, Some(b"b\r\n")).await;
        assert_eq!(first, Outcome::Accepted);
        assert_eq!(talk(&smtp, b"b\r\n", conversation, None).await.0, second, "{verb}");
        assert_eq!(send(&smtp, b"c\r\n").await, Outcome::Accepted, "{verb}");
        assert_eq!(fake.seen().connections, 1, "{verb}");
    }
    // A server that closes once it has answered to the first has not looked at the second.
    let acts = vec![("MAIL", Act::Usual), ("MAIL", Act::Drop)];
    let fake = Fake::start(Script { offers: ALL, acts, ..Script::default() }).await;
    let smtp = client(&fake, LONG);
    let (_, conversation) = talk(&smtp, b"a\r\n", None, Some(b"b\r\n")).await;
    assert_eq!(talk(&smtp, b"b\r\n", conversation, None).await.0, Outcome::Accepted);
    assert_eq!(fake.seen().counts(), (2, 2));
}
