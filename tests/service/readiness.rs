//! Marketing waits until its sender is ready: what DNS says about it, asked on a real port.

use std::net::SocketAddr;

use rapport::{
    config::{DkimSettings, MailLocation, Security, SenderSettings, SmtpServer},
    rpc::proto::{
        BlockReason, CheckContactabilityRequest, CheckSenderRequest, CheckSenderResponse, GetStatusRequest,
        ListSendersRequest, contact, set_consent_request::Decision,
    },
};

use super::{
    harness::{World, by_name, refusal, wrong_fields},
    zone::{Entry, Zone},
};

const DOMAIN: &str = "news.example.com";
const RETURN_PATH: &str = "bounce.news.example.com";

fn newsletter() -> SenderSettings {
    let key = |selector: &str, file: &str| DkimSettings {
        selector: selector.to_owned(),
        key_file: format!("{}/tests/keys/{file}", env!("CARGO_MANIFEST_DIR")).into(),
        signs: true,
    };
    SenderSettings {
        id: "newsletter".to_owned(),
        from: format!("The Shop <news@{DOMAIN}>"),
        reply_to: None,
        postal_address: Some("The Shop, Rīga".to_owned()),
        purposes: Some(vec!["marketing".to_owned(), "survey".to_owned()]),
        return_path_domain: Some(RETURN_PATH.to_owned()),
        dkim: vec![key("r1", "rsa-2048.pem"), key("e1", "ed25519.pem")],
    }
}

/// A mail server that nobody reaches: what is ready to go stays here.
fn nowhere() -> MailLocation {
    let server = SmtpServer { host: "127.0.0.1".to_owned(), port: 1, security: Security::None, credentials: None };
    MailLocation::Smtp(server)
}

/// A shop whose mail goes to a server, with a sender for marketing.
async fn shop(dns: SocketAddr, sender: SenderSettings) -> World {
    shop_that(dns, sender, false).await
}

async fn shop_that(dns: SocketAddr, sender: SenderSettings, is_test: bool) -> World {
    let mut world = World::configured(|config| {
        config.test_system = is_test;
        config.mail_from = None;
        config.public_url = Some("https://mail.example.com".to_owned());
        config.mail = nowhere();
        config.dns_server = Some(dns);
        let from = "shop@example.com".to_owned();
        config.senders = vec![sender, SenderSettings { id: "default".to_owned(), from, ..SenderSettings::default() }];
    })
    .await;
    world.shop().await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    world
}

async fn check(world: &mut World) -> CheckSenderResponse {
    let request = CheckSenderRequest { sender_id: "newsletter".to_owned() };
    world.admin.check_sender(request).await.unwrap().into_inner()
}

/// Whether the sender of an offer to Anna stands in its way.
async fn is_ready(world: &mut World) -> bool {
    let request =
        CheckContactabilityRequest { customer: by_name("anna"), topic_id: "offers".to_owned(), ..Default::default() };
    let told = world.preferences.check_contactability(request).await.unwrap().into_inner();
    told.checks.into_iter().find(|check| check.rule == "sender_ready").unwrap().passed
}

/// What is wrong by one rule; empty = nothing.
fn trouble(answer: &CheckSenderResponse, rule: &str) -> String {
    let check = answer.checks.iter().find(|check| check.rule == rule).unwrap();
    assert_eq!(check.passed, check.block.is_none());
    check.block.as_ref().map(|block| block.detail.clone()).unwrap_or_default()
}

/// Publishes what a check asks for, and the rest.
fn publish(zone: &Zone, answer: &CheckSenderResponse) {
    for selector in ["r1", "e1"] {
        let wanted = trouble(answer, &format!("dkim_published/{selector}"));
        let record = wanted.split('"').nth(1).unwrap();
        zone.text(&format!("{selector}._domainkey.{DOMAIN}"), record);
    }
    let wanted = trouble(answer, "dmarc");
    zone.text(&format!("_dmarc.{DOMAIN}"), wanted.split('"').nth(1).unwrap());
    let spf = Entry::Text("v=spf1 include:_spf.example.net ip4:192.0.2.1 ~all".to_owned());
    zone.set(RETURN_PATH, &[spf, Entry::MailServer("mx.example.net.")]);
    zone.text("_spf.example.net", "v=spf1 ip4:192.0.2.2 -all");
    zone.set("mx.example.net", &[Entry::Address]);
}

#[tokio::test]
async fn what_a_check_asks_to_publish_makes_the_sender_ready() {
    let zone = Zone::serve().await;
    let mut world = shop(zone.addr, newsletter()).await;
    let bare = check(&mut world).await;
    assert!(!bare.ready);
    for (rule, details) in [
        ("dkim_signs", [""; 2]),
        ("dkim_published/r1", ["no record at r1._domainkey.news.example.com", "\"v=DKIM1; k=rsa; p=MIIB"]),
        ("dkim_published/e1", ["no record at e1._domainkey.news.example.com", "\"v=DKIM1; k=ed25519; p=LWtA"]),
        ("dmarc", ["_dmarc.news.example.com TXT", "\"v=DMARC1; p=none; rua=mailto:"]),
        ("return_path", [""; 2]),
        ("return_path_mx", ["no MX record", "bounce.news.example.com MX 10"]),
        ("return_path_spf", ["no SPF record", "\"v=spf1"]),
        ("postal_address", [""; 2]),
        ("unsubscribe_url", [""; 2]),
    ] {
        let found = trouble(&bare, rule);
        assert!(details.iter().all(|detail| found.contains(detail)), "{rule}: {found}");
        assert_eq!(found.is_empty(), details[0].is_empty(), "{rule}: {found}");
    }
    publish(&zone, &bare);
    let full = check(&mut world).await;
    assert!(full.ready && full.checks.iter().all(|check| check.passed), "{full:?}");
    for old in ["pct=", "rf=", "ri="] {
        assert!(!trouble(&bare, "dmarc").contains(old));
    }
}

#[tokio::test]
async fn marketing_waits_for_its_sender_and_says_what_is_missing_while_service_messages_do_not() {
    let zone = Zone::serve().await;
    let mut world = shop(zone.addr, newsletter()).await;
    world.run_job("check-senders").await;
    let (offer, question) =
        (world.send("anna", "offers", "offer").await, world.send("anna", "orders", "check-in").await);
    world.dispatch().await;
    let waits = world.contact(&offer.contact_id).await;
    let block = waits.block.clone().unwrap();
    assert_eq!((waits.state(), block.reason()), (contact::State::Scheduled, BlockReason::SenderNotReady), "{block:?}");
    assert!(
        block.detail.contains("newsletter") && block.detail.contains("dkim_published/r1, dkim_published/e1, dmarc"),
        "{block:?}"
    );
    assert!(block.retry_time.is_some());
    assert!(!is_ready(&mut world).await);
    let other = world.contact(&question.contact_id).await.block;
    assert_ne!(other.map(|block| block.reason()), Some(BlockReason::SenderNotReady));
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    let degraded = status.degraded_reasons.join("\n");
    assert!(degraded.contains("newsletter is not ready, CheckSender says why: dkim_published/r1"), "{degraded}");

    let answer = check(&mut world).await;
    publish(&zone, &answer);
    // Five minutes later it is looked at again.
    assert_eq!(world.run_job("check-senders").await, "checked 0, 0 not ready");
    world.advance_to("2026-02-02T09:06:00Z");
    world.run_job("check-senders").await;
    assert!(is_ready(&mut world).await);
    let status = world.admin.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert!(!status.degraded_reasons.join("\n").contains("newsletter"), "{status:?}");
}

#[tokio::test]
async fn what_waits_for_its_sender_is_decided_once_and_again_when_that_is_ready() {
    let zone = Zone::serve().await;
    let mut world = shop(zone.addr, newsletter()).await;
    world.run_job("check-senders").await;
    let offer = world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    for minute in ["06", "12", "18", "24", "30"] {
        world.advance_to(&format!("2026-02-02T09:{minute}:00Z"));
        world.run_job("check-senders").await;
        world.run_job("expire").await;
        world.dispatch().await;
    }
    let waits = world.explain(&offer.contact_id).await;
    assert_eq!(waits.decisions.len(), 1, "{:?}", waits.decisions);
    assert_eq!(waits.contact.unwrap().due_time, offer.expire_time);
    let answer = check(&mut world).await;
    publish(&zone, &answer);
    assert!(check(&mut world).await.ready);
    world.run_job("expire").await;
    world.dispatch().await;
    let block = world.contact(&offer.contact_id).await.block;
    assert_ne!(block.map(|block| block.reason()), Some(BlockReason::SenderNotReady));
}

#[tokio::test]
async fn in_a_test_system_nobody_is_asked_and_nothing_waits() {
    let zone = Zone::serve().await;
    let mut world = shop_that(zone.addr, newsletter(), true).await;
    assert_eq!(world.run_job("check-senders").await, "checked 0, 0 not ready");
    assert!(is_ready(&mut world).await);
    assert!(!check(&mut world).await.ready, "who asks is told the truth");
    assert!(is_ready(&mut world).await);
}

#[tokio::test]
async fn dns_that_fails_for_a_while_stops_nobody_who_was_ready() {
    let zone = Zone::serve().await;
    let mut world = shop(zone.addr, newsletter()).await;
    zone.fail(true);
    let unknown = check(&mut world).await;
    assert!(!unknown.ready && trouble(&unknown, "dmarc").contains("no answer"), "{unknown:?}");
    zone.fail(false);
    let bare = check(&mut world).await;
    publish(&zone, &bare);
    assert!(check(&mut world).await.ready);
    zone.fail(true);
    assert!(check(&mut world).await.ready);
    zone.fail(false);
    zone.text(&format!("_dmarc.{DOMAIN}"), "v=spf1 -all");
    assert!(!check(&mut world).await.ready, "what is surely gone is gone");
}

#[tokio::test]
async fn a_wrong_record_is_told_from_a_missing_one() {
    let zone = Zone::serve().await;
    let mut world = shop(zone.addr, newsletter()).await;
    let bare = check(&mut world).await;
    let dkim = format!("r1._domainkey.{DOMAIN}");
    let rsa = trouble(&bare, "dkim_published/r1").split('"').nth(1).unwrap().to_owned();
    for (name, text, rule, detail) in [
        (
            dkim.as_str(),
            rsa.replace(
                "p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
                "p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEB",
            ),
            "dkim_published/r1",
            "another key",
        ),
        (&dkim, "v=DKIM1; k=rsa; p=".to_owned(), "dkim_published/r1", "revokes"),
        (&dkim, "v=DKIM1; k=ed25519; p=LWtA".to_owned(), "dkim_published/r1", "\"ed25519\", not \"rsa\""),
        (&dkim, format!("{rsa}; t=y"), "dkim_published/r1", "t=y"),
        (&dkim, format!("{rsa}; s=tlsrpt"), "dkim_published/r1", "forbids"),
        (&dkim, rsa.replace("; ", " ;\t "), "dkim_published/r1", ""),
        ("_dmarc.example.com", "v=DMARC1; p=reject".to_owned(), "dmarc", ""),
        ("_dmarc.example.com", "v=DMARC1; p=maybe".to_owned(), "dmarc", "p=maybe"),
        ("_dmarc.example.com", "v=DMARC1; p=none; pct=50".to_owned(), "dmarc_tags", "pct"),
        ("_dmarc.example.com", "v=DMARC1; p=none; aspf=s".to_owned(), "return_path_alignment", "aspf=s"),
        (RETURN_PATH, "v=spf1 +all".to_owned(), "return_path_spf", "lets everybody send"),
        (RETURN_PATH, "v=spf1 mx".to_owned(), "return_path_spf", "does not end"),
        (RETURN_PATH, "v=spf1 include:gone.example ~all".to_owned(), "return_path_spf", "includes gone.example"),
        (
            RETURN_PATH,
            "v=spf1 include:bounce.news.example.com ~all".to_owned(),
            "return_path_spf",
            "more than 10 questions",
        ),
    ] {
        zone.text(name, &text);
        let found = trouble(&check(&mut world).await, rule);
        assert!(found.contains(detail) && found.is_empty() == detail.is_empty(), "{text}: {found}");
    }
    zone.set(RETURN_PATH, &[Entry::MailServer(".")]);
    assert!(trouble(&check(&mut world).await, "return_path_mx").contains("takes no mail"));
    zone.set(RETURN_PATH, &[Entry::MailServer("gone.example.")]);
    assert!(trouble(&check(&mut world).await, "return_path_mx").contains("no mail server"));
}

#[tokio::test]
async fn what_the_configuration_lacks_is_named_and_senders_are_listed_without_their_keys() {
    let zone = Zone::serve().await;
    let sender = SenderSettings {
        postal_address: None,
        return_path_domain: None,
        dkim: vec![newsletter().dkim.remove(1)],
        ..newsletter()
    };
    let mut world = shop(zone.addr, sender).await;
    let answer = check(&mut world).await;
    for (rule, detail) in
        [("dkim_signs", "RSA"), ("return_path", "return_path_domain"), ("postal_address", "postal_address")]
    {
        assert!(trouble(&answer, rule).contains(detail), "{rule}: {answer:?}");
    }
    let listed = world.admin.list_senders(ListSendersRequest {}).await.unwrap().into_inner().senders;
    let ids: Vec<&str> = listed.iter().map(|sender| sender.sender_id.as_str()).collect();
    assert_eq!(ids, ["newsletter", "default"]);
    assert_eq!(answer.sender.as_ref(), Some(&listed[0]));
    assert_eq!((listed[0].dkim_domain.as_str(), listed[0].dkim_selectors.as_slice()), (DOMAIN, &["e1".to_owned()][..]));
    assert_eq!((listed[1].from.as_str(), listed[1].purposes.len()), ("shop@example.com", 0));

    let nobody = CheckSenderRequest { sender_id: "nobody".to_owned() };
    assert_eq!(refusal(world.admin.check_sender(nobody).await), "SENDER_NOT_FOUND");
    let wrong = CheckSenderRequest { sender_id: String::new() };
    assert_eq!(wrong_fields(world.admin.check_sender(wrong).await), ["senderId"]);
}
