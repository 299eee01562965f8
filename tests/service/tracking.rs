//! Opened messages and followed links are noticed only of customers who agreed to exactly that.

use rapport::rpc::proto::{
    ConsentMethod, CreateTemplateRequest, DataUse, ListDeliveryEventsRequest, PublishTemplateRequest,
    SetConsentRequest, Template, TemplateVariant, delivery_event::Kind, set_consent_request::Decision,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::harness::{Mail, World, by_name, template};

const READER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const PROXY: &str = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)";
const BODY: &str = "<html><body><p><a href=\"https://shop.example/a?x=1&amp;y=2\">A</a> <a href=\"https://shop.example/b\">B</a> \
                    <a href=\"mailto:shop@example.com\">mail</a></p></body></html>";

/// An answer's status line and headers, in lower case.
async fn ask(world: &World, method: &str, link: &str, agent: &str, more: &str) -> String {
    let path = link.strip_prefix(&format!("http://{}", world.http_addr())).unwrap_or(link);
    let mut stream = TcpStream::connect(world.http_addr()).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {agent}\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap().to_owned()
}

async fn say(world: &mut World, data_use: DataUse, decision: Decision) {
    let request = SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "offers".into(),
        decision: decision.into(),
        method: ConsentMethod::WebForm.into(),
        data_use: data_use.into(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
}

/// Anna got an offer with two links, having agreed to these uses of her data.
async fn offer(uses: &[DataUse]) -> (World, Mail, String) {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    for data_use in uses {
        say(&mut world, *data_use, Decision::Grant).await;
    }
    let variant = TemplateVariant { subject: "x".into(), html_body: BODY.into(), ..Default::default() };
    let request = CreateTemplateRequest {
        template: Some(Template { variants: vec![variant], ..template("links") }),
        ..Default::default()
    };
    world.templates.create_template(request).await.unwrap();
    let request = PublishTemplateRequest { template_id: "links".into(), ..Default::default() };
    world.templates.publish_template(request).await.unwrap();
    let contact = world.send("anna", "offers", "links").await;
    world.dispatch().await;
    let mail = world.mail().remove(0);
    (world, mail, contact.contact_id)
}

/// What was noticed: what, where to, and whether a machine did it.
async fn noticed(world: &mut World, contact_id: &str) -> Vec<(Kind, String, bool)> {
    let request = ListDeliveryEventsRequest { contact_id: contact_id.into(), ..Default::default() };
    let events = world.deliveries.list_delivery_events(request).await.unwrap().into_inner().events;
    events.into_iter().map(|event| (event.kind(), event.url, event.automated)).collect()
}

fn links(mail: &Mail, kind: &str) -> Vec<String> {
    let html = mail.html.as_deref().unwrap_or_default();
    html.split('"').filter(|part| part.contains(kind)).map(str::to_owned).collect()
}

#[tokio::test]
async fn without_consent_a_message_is_as_it_was_written() {
    let (_, mail, _) = offer(&[]).await;
    let html = mail.html.clone().unwrap();
    assert!(html.contains("https://shop.example/a?x=1&amp;y=2"), "{html}");
    assert!(links(&mail, "/r/").is_empty() && links(&mail, "/o/").is_empty(), "{html}");
    let (_, mail, _) = offer(&[DataUse::Profiling]).await;
    assert!(links(&mail, "/r/").is_empty() && links(&mail, "/o/").is_empty());
    let (_, mail, _) = offer(&[DataUse::OpenTracking]).await;
    assert!(links(&mail, "/r/").is_empty() && links(&mail, "/o/").len() == 1);
}

#[tokio::test]
async fn a_followed_link_leads_where_it_led_and_only_people_count() {
    let (mut world, mail, contact) = offer(&[DataUse::ClickTracking]).await;
    assert!(links(&mail, "/o/").is_empty());
    let [a, b] = links(&mail, "/r/").try_into().unwrap();
    assert!(mail.html.as_deref().unwrap_or_default().contains("mailto:shop@example.com"));
    assert!(!links(&mail, "/u/").is_empty());

    let target = "location: https://shop.example/a?x=1&y=2";
    // A scanner, right after the message arrived.
    let head = ask(&world, "GET", &a, READER, "").await;
    assert!(head.starts_with("HTTP/1.1 302") && head.contains(target), "{head}");
    let machine = (Kind::Clicked, "https://shop.example/a?x=1&y=2".to_owned(), true);
    assert_eq!(noticed(&mut world, &contact).await, std::slice::from_ref(&machine));

    world.advance_to("2026-02-02T10:00:00Z");
    let head = ask(&world, "HEAD", &a, READER, "").await;
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("location"), "{head}");
    ask(&world, "GET", &a, "Barracuda Sentinel (EE)", "").await;
    ask(&world, "GET", &a, READER, "Sec-Purpose: prefetch\r\n").await;
    assert_eq!(noticed(&mut world, &contact).await.len(), 1);
    ask(&world, "GET", &a, READER, "").await;
    ask(&world, "GET", &a, READER, "").await;
    let human = (Kind::Clicked, "https://shop.example/a?x=1&y=2".to_owned(), false);
    assert_eq!(noticed(&mut world, &contact).await, [machine, human]);
    // Nobody follows two links at once.
    assert!(ask(&world, "GET", &b, READER, "").await.contains("location: https://shop.example/b"));
    assert_eq!(noticed(&mut world, &contact).await[2], (Kind::Clicked, "https://shop.example/b".to_owned(), true));
}

#[tokio::test]
async fn no_link_of_ours_leads_where_somebody_else_wants() {
    let (mut world, mail, contact) = offer(&[DataUse::ClickTracking]).await;
    let link = links(&mail, "/r/").remove(0);
    let forged = format!("{}x", &link[..link.len() - 1]);
    for (method, path) in [("GET", forged.as_str()), ("GET", "/r/x?url=https://evil.example"), ("HEAD", "/r/x")] {
        let head = ask(&world, method, path, READER, "").await;
        assert!(!head.contains("location"), "{path}: {head}");
    }
    let head = ask(&world, "GET", &format!("{link}?url=https://evil.example"), READER, "").await;
    assert!(head.contains("location: https://shop.example/a?x=1&y=2\r\n"), "{head}");
    assert_eq!(noticed(&mut world, &contact).await.len(), 1);
}

#[tokio::test]
async fn an_opened_message_is_noticed_and_the_proxies_of_mailboxes_are_no_people() {
    let (mut world, mail, contact) = offer(&[DataUse::OpenTracking]).await;
    let picture = links(&mail, "/o/").remove(0);
    world.advance_to("2026-02-02T10:00:00Z");
    let head = ask(&world, "GET", &picture, PROXY, "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("image/gif") && !head.contains("set-cookie"), "{head}");
    ask(&world, "GET", &picture, "Mozilla/5.0", "").await;
    ask(&world, "HEAD", &picture, READER, "").await;
    assert_eq!(noticed(&mut world, &contact).await, [(Kind::Opened, String::new(), true)]);
    ask(&world, "GET", &picture, READER, "").await;
    assert_eq!(noticed(&mut world, &contact).await[1], (Kind::Opened, String::new(), false));
}

#[tokio::test]
async fn who_withdraws_is_not_noticed_even_by_messages_that_are_sent() {
    let (mut world, mail, contact) = offer(&[DataUse::OpenTracking, DataUse::ClickTracking]).await;
    world.advance_to("2026-02-02T10:00:00Z");
    say(&mut world, DataUse::OpenTracking, Decision::Withdraw).await;
    say(&mut world, DataUse::ClickTracking, Decision::Withdraw).await;
    ask(&world, "GET", &links(&mail, "/o/")[0], READER, "").await;
    let head = ask(&world, "GET", &links(&mail, "/r/")[0], READER, "").await;
    assert!(head.contains("location: https://shop.example/a"), "{head}");
    assert_eq!(noticed(&mut world, &contact).await, []);
}

#[tokio::test]
async fn who_wants_nothing_more_is_not_noticed_either() {
    let (mut world, mail, contact) = offer(&[DataUse::ClickTracking]).await;
    world.advance_to("2026-02-02T10:00:00Z");
    world.consent("anna", "offers", Decision::Withdraw).await;
    let link = &links(&mail, "/r/")[0];
    assert!(ask(&world, "GET", link, READER, "").await.contains("location: https://shop.example/a"));
    assert_eq!(noticed(&mut world, &contact).await, []);
    let head = ask(&world, "HEAD", "/r/nothing", READER, "").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}
