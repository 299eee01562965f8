//! Who mail is from, what it says about itself, and what signs it.

use rapport::{
    config::{Config, DkimSettings, SenderSettings},
    ids::ContactId,
    rpc::proto::{self, set_consent_request::Decision, topic::OptIn},
    tokens::{SecretKey, Use},
};

use super::harness::{Mail, World, after_hours, campaign, step};

fn key(selector: &str, file: &str) -> DkimSettings {
    let key_file = format!("{}/tests/keys/{file}", env!("CARGO_MANIFEST_DIR")).into();
    DkimSettings { selector: selector.to_owned(), key_file, signs: true }
}

fn two_senders(config: &mut Config) {
    config.mail_from = None;
    config.public_url = Some("https://mail.example.com".to_owned());
    let newsletter = SenderSettings {
        id: "newsletter".to_owned(),
        from: "The Shop's News <news@news.example.com>".to_owned(),
        reply_to: Some("Care <care@example.com>".to_owned()),
        postal_address: Some("The Shop, 1 Brīvības iela, Rīga".to_owned()),
        purposes: Some(vec!["marketing".to_owned(), "survey".to_owned()]),
        return_path_domain: Some("bounce.news.example.com".to_owned()),
        dkim: vec![
            key("r1", "rsa-2048.pem"),
            key("e1", "ed25519.pem"),
            DkimSettings { signs: false, ..key("r2", "rsa-2048-pkcs1.pem") },
        ],
    };
    let default = SenderSettings {
        id: "default".to_owned(),
        from: "The Shop <shop@example.com>".to_owned(),
        ..SenderSettings::default()
    };
    config.senders = vec![newsletter, default];
}

async fn offer(world: &mut World) -> Mail {
    world.customer_with("anna", |customer| customer.locale = "lv".into()).await;
    world.consent("anna", "offers", Decision::Grant).await;
    world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    world.mail().remove(0)
}

#[tokio::test]
async fn an_offer_says_who_it_is_from_which_list_it_belongs_to_and_how_to_leave_it() {
    let mut world = World::configured(two_senders).await;
    world.shop().await;
    let mail = offer(&mut world).await;
    assert_eq!(mail.header("From"), "\"The Shop's News\" <news@news.example.com>");
    assert_eq!(mail.header("Reply-To"), "\"Care\" <care@example.com>");
    assert_eq!(mail.header("List-Id"), "\"offers\" <offers.news.example.com>");
    assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(mail.header("Feedback-ID"), "ad-hoc:offers:marketing:newsletter");
    assert_eq!(mail.header("Precedence"), "bulk");
    assert_eq!(mail.header("Auto-Submitted"), "");
    let link = mail.header("List-Unsubscribe");
    let link = link.strip_prefix('<').and_then(|link| link.strip_suffix('>')).unwrap();
    assert!(link.starts_with("https://mail.example.com/u/"), "{link}");
    assert!(mail.text.contains(&format!("Atteikties: {link}")), "{}", mail.text);
    assert!(mail.text.contains("Jūsu iestatījumi: https://mail.example.com/p/"), "{}", mail.text);
    assert!(mail.text.trim_end().ends_with("The Shop, 1 Brīvības iela, Rīga"), "{}", mail.text);
}

#[tokio::test]
async fn a_letter_bounces_to_an_address_that_tells_its_contact_to_us_alone() {
    let mut world = World::configured(two_senders).await;
    world.shop().await;
    let mail = offer(&mut world).await;
    let contact: ContactId = world.contacts_of("anna").await[0].contact_id.parse().unwrap();
    let path = mail.header("Return-Path");
    let token = path.strip_prefix("<b.").and_then(|path| path.strip_suffix("@bounce.news.example.com>")).unwrap();
    let key = SecretKey::from_text("a key for stories, which nobody needs to guess");
    assert_eq!(key.open(Use::ReturnPath, token), Some(uuid::Uuid::from(contact).into_bytes()));
    assert_eq!(key.open::<16>(Use::Unsubscribe, token), None);

    world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.mail()[1].header("Return-Path"), "<shop@example.com>", "where no domain was said");
}

#[tokio::test]
async fn both_keys_sign_at_once_and_one_that_is_only_published_does_not() {
    let mut world = World::configured(two_senders).await;
    world.shop().await;
    let mail = offer(&mut world).await;
    let unfolded = mail.raw.replace("\r\n\t", " ");
    let signatures: Vec<&str> = unfolded.lines().filter(|line| line.starts_with("DKIM-Signature: ")).collect();
    assert_eq!(signatures.len(), 2, "{unfolded}");
    for (signature, start) in [
        (signatures[0], "DKIM-Signature: v=1; a=rsa-sha256; s=r1; d=news.example.com; c=relaxed/relaxed; h=From:From:"),
        (
            signatures[1],
            "DKIM-Signature: v=1; a=ed25519-sha256; s=e1; d=news.example.com; c=relaxed/relaxed; h=From:From:",
        ),
    ] {
        let signature = signature.replace(": ", ":").replace("DKIM-Signature:", "DKIM-Signature: ").replace("  ", " ");
        assert!(signature.starts_with(start), "{signature}");
        for name in ["List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "Feedback-ID", "Message-ID", "Reply-To"] {
            assert!(signature.contains(&format!(":{name}")), "{name} is not in {signature}");
        }
        assert!(signature.contains(&format!("t={};", world.now().timestamp())), "{signature}");
        assert!(!signature.contains("l="), "{signature}");
    }
    assert!(mail.raw.lines().all(|line| line.len() <= 120), "{}", mail.raw);
}

#[tokio::test]
async fn what_nobody_can_leave_has_no_list_and_what_nobody_wrote_by_hand_says_so() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", proto::Purpose::Transactional, OptIn::None).await;
    world.campaign(campaign("thanks", "orders", vec![step("thank", after_hours(1), "check-in")])).await;
    world.customer("anna", "").await;
    world.send("anna", "receipts", "check-in").await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(1).await;
    let mail = world.mail();
    for mail in &mail {
        assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
        assert_eq!(mail.header("Precedence"), "");
    }
    assert_eq!(mail[0].header("Feedback-ID"), "ad-hoc:receipts:transactional:default");
    assert_eq!((mail[0].header("List-Id"), mail[0].header("List-Unsubscribe")), (String::new(), String::new()));
    assert_eq!(mail[0].text.trim_end(), "Hello anna.", "nothing is added");
    assert_eq!(mail[1].header("Feedback-ID"), "thanks:orders:service:default");
    assert_eq!(mail[1].header("List-Id"), "\"orders\" <orders.example.com>");
    assert!(mail[1].header("List-Unsubscribe").starts_with("<http://127.0.0.1:"), "{}", mail[1].raw);
    assert!(mail[1].text.contains("Unsubscribe: http://127.0.0.1:"), "{}", mail[1].text);
}

#[tokio::test]
async fn authors_place_the_links_themselves_or_get_a_footer_and_html_alone_becomes_a_text_too() {
    let mut world = World::configured(two_senders).await;
    world.shop().await;
    world.customer("anna", "").await;
    let own = "<html><body><p>Dear {{ customer.given_name }}</p><p><a href=\"{{ unsubscribe_url }}\">Leave</a> or \
        <a href=\"{{ preferences_url }}\">choose</a></p></body></html>";
    for (id, html) in [("own", own), ("none", "<html><body><p>Dear {{ customer.given_name }}</p></body></html>")] {
        let variant = proto::TemplateVariant { subject: id.into(), html_body: html.into(), ..Default::default() };
        let template = proto::Template { variants: vec![variant], ..super::harness::template(id) };
        let request = proto::CreateTemplateRequest { template: Some(template), ..Default::default() };
        let problems = world.templates.create_template(request).await.unwrap().into_inner().problems;
        assert!(problems.is_empty(), "{problems:?}");
        let request = proto::PublishTemplateRequest { template_id: id.into(), ..Default::default() };
        world.templates.publish_template(request).await.unwrap();
        world.send("anna", "orders", id).await;
        world.dispatch().await;
    }
    for mail in world.mail() {
        let html = mail.html.as_ref().unwrap();
        let link = mail.header("List-Unsubscribe");
        let link = link.trim_matches(['<', '>']);
        assert_eq!(html.matches(link).count(), 1, "{html}");
        assert_eq!(mail.text.matches(link).count(), 1, "{}", mail.text);
        assert!(mail.text.starts_with("Dear anna"), "{}", mail.text);
        assert_eq!(html.contains("You choose what we write to you about"), mail.subject == "none", "{html}");
    }
    let request = proto::PreviewTemplateRequest {
        source: Some(proto::preview_template_request::Source::TemplateId("own".into())),
        ..Default::default()
    };
    let shown = world.templates.preview_template(request).await.unwrap().into_inner().message.unwrap();
    assert!(shown.html_body.contains("href=\"https://example.com/u/preview\""), "{}", shown.html_body);
    assert!(shown.text_body.contains("https://example.com/p/preview"), "{}", shown.text_body);
}
