//! What a message looks like on the wire.

use rapport::rpc::proto;
use serde_json::json;

use super::harness::{World, ad_hoc, structure};

#[tokio::test]
async fn any_language_arrives_as_it_was_written() {
    let mut world = World::new().await;
    world.shop().await;
    let texts = [
        "Sveiki, Žūžū! Ģērbies silti. Ķīķeris ņem ūdeni.",
        "Ёлка, щука, объезд — «кавычки»",
        "Rødgrød med fløde, Ærø, Århus",
        "こんにちは、世界。𠮷野家で🍣を食べる",
        "שלום עולם, مرحبا بالعالم",
        "e\u{301}\u{327} 👩‍👩‍👧‍👦 🇱🇻",
        ".leading dot\r\n..two dots\r\n.\r\nFrom here on",
        "trailing blanks   \t\r\nend",
    ];
    // Nothing is added to what cannot be left.
    world.topic("receipts", proto::Purpose::Transactional, proto::topic::OptIn::None).await;
    world.template_with("echo", "{{ data.subject }}", "{{ data.text }}").await;
    world.customer("anna", "").await;
    for (number, text) in texts.iter().enumerate() {
        let subject = text.lines().next().unwrap().trim();
        let request = proto::ScheduleContactRequest {
            data: Some(structure(json!({"subject": subject, "text": text}))),
            dedupe_key: number.to_string(),
            ..ad_hoc("anna", "receipts", "echo")
        };
        world.contacts.schedule_contact(request).await.unwrap();
        world.dispatch().await;
    }
    let mail = world.mail();
    assert_eq!(mail.len(), texts.len());
    for (mail, text) in mail.iter().zip(texts) {
        assert_eq!(mail.subject, text.lines().next().unwrap().trim());
        assert_eq!(mail.text.replace("\r\n", "\n").trim_end_matches('\n'), text.replace("\r\n", "\n"));
        assert!(mail.raw.is_ascii(), "{}", mail.raw);
        assert!(mail.raw.lines().all(|line| line.len() <= 78), "{}", mail.raw);
    }
}

#[tokio::test]
async fn a_message_has_the_headers_that_receivers_ask_for_and_a_stable_message_id() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer_with("anna", |customer| customer.display_name = "Anna \"Ann\" Bērziņa, PhD".into()).await;
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let mail = world.mail().remove(0);
    assert_eq!((mail.from.as_str(), mail.to.as_str()), ("shop@example.com", "anna@example.com"));
    assert_eq!(format!("<{}>", mail.message_id), contact.message_id);
    assert!(mail.message_id.ends_with("@example.com"));
    let headers: Vec<&str> = mail.raw.split("\r\n\r\n").next().unwrap().lines().collect();
    for name in ["From:", "To:", "Subject:", "Date:", "Message-ID:", "MIME-Version:", "Content-Type:"] {
        let count = headers.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(count, 1, "{name} in {headers:?}");
    }
    assert!(mail.raw.contains("Date: Mon, 2 Feb 2026 09:00:00 +0000"), "{}", mail.raw);
}
