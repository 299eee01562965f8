//! The tools themselves: a tool that lies proves nothing.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    proxy::{Cut, Proxy, Weather},
    seed::Dice,
    sink::{Act, Rule, Sink, Verb},
};

/// A client that says what it is told to.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(addr: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// A line of the answer; "" = the connection is over.
    async fn hear(&mut self) -> String {
        let mut line = String::new();
        match timeout(Duration::from_secs(10), self.0.read_line(&mut line)).await.expect("an answer") {
            Ok(_) => line.trim_end().to_owned(),
            Err(_) => String::new(),
        }
    }

    async fn say(&mut self, text: &str) -> String {
        // A connection that was cut is noticed when it is read.
        let _ = self.0.get_mut().write_all(text.as_bytes()).await;
        self.hear().await
    }

    /// Hands a letter over, command by command; the answers' codes, as far as it came.
    async fn send(&mut self, to: &str, message_id: &str) -> String {
        let letter = format!("From: a@b.test\r\nMessage-ID:\r\n <{message_id}>\r\n\r\nHello\r\n..\r\n.\r\n");
        let mut codes = Vec::new();
        for text in ["MAIL FROM:<a@b.test>\r\n", &format!("RCPT TO:<{to}>\r\n"), "DATA\r\n", &letter] {
            let answer = self.say(text).await;
            codes.push(answer.get(..3).unwrap_or_default().to_owned());
            if !answer.starts_with(['2', '3']) {
                break;
            }
        }
        codes.join(" ")
    }
}

/// A client that was greeted.
async fn greeted(addr: std::net::SocketAddr) -> Client {
    let mut client = Client::connect(addr).await;
    assert!(client.hear().await.starts_with("220 "));
    client
}

fn ids(sink: &Sink) -> Vec<String> {
    sink.ledger().into_iter().map(|entry| entry.message_id).collect()
}

#[tokio::test]
async fn the_sink_records_who_got_what_before_it_says_so() {
    let sink = Sink::start().await;
    let mut client = greeted(sink.addr()).await;
    let mut offers = vec![client.say("EHLO me\r\n").await];
    while offers.last().unwrap().starts_with("250-") {
        offers.push(client.hear().await);
    }
    for offer in ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE"] {
        assert!(offers.iter().any(|line| line[4..].starts_with(offer)), "{offer}: {offers:?}");
    }
    assert_eq!(client.send("x@a.test", "1@a").await, "250 250 354 250");
    let entry = sink.ledger().pop().unwrap();
    assert_eq!((entry.message_id.as_str(), entry.recipient.as_str(), entry.connection), ("1@a", "x@a.test", 1));
    assert!(entry.start <= entry.end);
    assert_eq!(client.say("RCPT TO:<x@a.test>\r\n").await.split(' ').next(), Some("503"));
    assert_eq!(client.say("QUIT\r\n").await, "221 2.0.0 bye");
    assert_eq!((sink.accepted(), sink.count(Verb::Rcpt, "250"), sink.count(Verb::Rcpt, "503")), (1, 1, 1));
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order_even_when_the_next_envelope_rides_with_the_letter() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Rcpt, Act::Reply("550 5.1.1 who?")).of("no.test")]);
    let mut client = greeted(sink.addr()).await;
    let envelope = |to: &str| format!("MAIL FROM:<a@b.test>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    let mut heard = vec![client.say(&envelope("x@a.test")).await, client.hear().await, client.hear().await];
    let letter_and_more = format!("Message-ID: <1@a>\r\n\r\n.\r\n{}", envelope("x@no.test"));
    heard.push(client.say(&letter_and_more).await);
    for _ in 0..3 {
        heard.push(client.hear().await);
    }
    heard.push(client.say("RSET\r\n").await);
    let codes: Vec<&str> = heard.iter().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "354", "250", "250", "550", "503", "250"]);
    assert_eq!(ids(&sink), ["1@a"]);
}

#[tokio::test]
async fn every_verb_can_be_refused_for_everybody_or_for_a_domain() {
    let sink = Sink::start().await;
    let cases = [
        (Verb::Mail, "421 4.3.2 later", "421"),
        (Verb::Mail, "451 4.3.0 later", "451"),
        (Verb::Rcpt, "550 5.1.1 never", "250 550"),
        (Verb::Data, "452 4.3.1 later", "250 250 452"),
        (Verb::Dot, "554 5.7.1 never", "250 250 354 554"),
    ];
    for (verb, reply, expected) in cases {
        sink.follow([Rule::at(verb, Act::Reply(reply))]);
        assert_eq!(greeted(sink.addr()).await.send("x@a.test", "1@a").await, expected);
    }
    sink.follow([Rule::at(Verb::Dot, Act::Reply("554 5.7.1 never")).of("bad.test")]);
    let mut client = greeted(sink.addr()).await;
    assert_eq!(client.send("x@bad.test", "1@a").await, "250 250 354 554");
    assert_eq!(client.send("x@good.test", "2@a").await, "250 250 354 250");
    assert_eq!(ids(&sink), ["2@a"]);
    assert_eq!(sink.count(Verb::Dot, "5"), 2);
}

#[tokio::test]
async fn a_greylisted_recipient_is_taken_the_second_time() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Rcpt, Act::Greylist)]);
    for (to, expected) in [("x@a.test", "250 451"), ("y@a.test", "250 451"), ("x@a.test", "250 250 354 250")] {
        assert_eq!(greeted(sink.addr()).await.send(to, "1@a").await, expected);
    }
}

#[tokio::test]
async fn it_hangs_up_in_mid_session_with_last_words_or_without() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Mail, Act::HangUp("421 4.3.2 closing")).every(3)]);
    let mut client = greeted(sink.addr()).await;
    for expected in ["250 250 354 250", "250 250 354 250", "421"] {
        assert_eq!(client.send("x@a.test", "1@a").await, expected);
    }
    assert_eq!(client.hear().await, "");
    sink.follow([Rule::at(Verb::Connect, Act::HangUp(""))]);
    assert_eq!(Client::connect(sink.addr()).await.hear().await, "");
}

#[tokio::test]
async fn after_the_final_dot_it_may_drop_what_it_recorded_or_what_it_did_not() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Dot, Act::Lose).of("kept.test"), Rule::at(Verb::Dot, Act::HangUp("")).of("lost.test")]);
    assert_eq!(greeted(sink.addr()).await.send("x@kept.test", "1@a").await, "250 250 354 ");
    assert_eq!(greeted(sink.addr()).await.send("x@lost.test", "2@a").await, "250 250 354 ");
    assert_eq!(ids(&sink), ["1@a"]);
}

#[tokio::test]
async fn it_may_keep_to_itself_for_a_while_what_it_recorded() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Dot, Act::Linger(Duration::from_secs(60)))]);
    let mut client = greeted(sink.addr()).await;
    assert!(timeout(Duration::from_millis(500), client.send("x@a.test", "1@a")).await.is_err());
    assert_eq!(ids(&sink), ["1@a"]);
}

#[tokio::test]
async fn it_stalls_and_drips() {
    let sink = Sink::start().await;
    sink.follow([Rule::at(Verb::Rcpt, Act::Stall(Duration::from_millis(200))), Rule::at(Verb::Dot, Act::Drip(100))]);
    let begin = Instant::now();
    assert_eq!(greeted(sink.addr()).await.send("x@a.test", "1@a").await, "250 250 354 250");
    assert!(begin.elapsed() > Duration::from_millis(200 + 160), "{:?}", begin.elapsed());
    sink.follow([Rule::at(Verb::Data, Act::StallForEver)]);
    let mut client = greeted(sink.addr()).await;
    assert!(timeout(Duration::from_millis(300), client.send("x@a.test", "2@a")).await.is_err());
    assert_eq!(sink.accepted(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_is_no_bottleneck() {
    const EACH: u64 = 1_000;
    let sink = Sink::start().await;
    let line = "A line of text that says nothing, as most lines of text do, if one looks at them.\r\n";
    let begin = Instant::now();
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let (addr, body) = (sink.addr(), line.repeat(60));
            tokio::spawn(async move {
                let mut client = greeted(addr).await;
                for letter in 0..EACH {
                    let envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<x@a.test>\r\nDATA\r\n";
                    assert_eq!(&client.say(envelope).await[..3], "250");
                    client.hear().await;
                    client.hear().await;
                    let text = format!("Message-ID: <{number}.{letter}@a>\r\n\r\n{body}.\r\n");
                    assert_eq!(&client.say(&text).await[..3], "250");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(ids(&sink).len() as u64, 8 * EACH);
    println!("the sink took {:.0} messages of 5 kB a second", 8_000.0 / begin.elapsed().as_secs_f64());
}

#[tokio::test]
async fn the_proxy_passes_delays_throttles_and_swallows() {
    let sink = Sink::start().await;
    let proxy = Proxy::start(sink.addr(), Dice::from(1)).await;
    assert_eq!(greeted(proxy.addr()).await.send("x@a.test", "1@a").await, "250 250 354 250");

    proxy.weather(Weather { delay_ms: Some(20..30), ..Weather::default() });
    let begin = Instant::now();
    assert_eq!(greeted(proxy.addr()).await.send("x@a.test", "2@a").await, "250 250 354 250");
    assert!(begin.elapsed() > Duration::from_millis(9 * 20), "{:?}", begin.elapsed());

    proxy.weather(Weather { bytes_a_second: Some(200), ..Weather::default() });
    let begin = Instant::now();
    assert_eq!(greeted(proxy.addr()).await.send("x@a.test", "3@a").await, "250 250 354 250");
    assert!(begin.elapsed() > Duration::from_millis(700), "{:?}", begin.elapsed());

    let mut client = greeted(proxy.addr()).await;
    proxy.weather(Weather { swallow: true, ..Weather::default() });
    assert!(timeout(Duration::from_millis(300), client.say("NOOP\r\n")).await.is_err());
    proxy.weather(Weather::default());
    assert_eq!(client.hear().await, "250 2.0.0 yes");
}

#[tokio::test]
async fn the_proxy_cuts_and_refuses() {
    let sink = Sink::start().await;
    let mut proxy = Proxy::start(sink.addr(), Dice::from(1)).await;
    for how in [Cut::Reset, Cut::Finish] {
        let mut client = greeted(proxy.addr()).await;
        proxy.cut(how);
        assert_eq!(client.hear().await, "");
    }
    proxy.weather(Weather { cut_after: Some(60..61), ..Weather::default() });
    assert_eq!(greeted(proxy.addr()).await.send("x@a.test", "1@a").await, "250 250 354 ");
    assert_eq!(sink.accepted(), 0);
    proxy.weather(Weather::default());
    proxy.close().await;
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
    proxy.open().await;
    assert_eq!(greeted(proxy.addr()).await.send("x@a.test", "2@a").await, "250 250 354 250");
}
