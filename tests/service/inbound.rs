//! What comes back for messages, and what follows for addresses and customers.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use rapport::{
    config::{MailLocation, Security, SenderSettings, SmtpServer},
    ids::ContactId,
    rpc::proto::{
        AddAddressRequest, BlockReason, Campaign, ConsentMethod, Contact, DeliveryEvent, GetCustomerRequest,
        GetPreferencesRequest, IngestInboundMessageRequest, IngestInboundMessageResponse, ListDeliveryEventsRequest,
        ListSuppressionsRequest, Purpose, RemoveAddressRequest, ReportDeliveryEventsRequest,
        ReportDeliveryEventsResponse, ScheduleContactRequest, UpdateAction, contact, delivery_event::Kind,
        schedule_contact_request::Due, set_consent_request::Decision, suppression::Cause, topic::OptIn,
    },
    tokens::{SecretKey, Use},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::harness::{
    SECRET, World, ad_hoc, at, by_name, campaign, email, on_event, refusal, update_step, wrong_fields,
};

/// A bounce as Postfix writes it.
fn bounce(recipient: &str, action: &str, status: &str, said: &str, message_id: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\n\
         To: bounces@example.com\nMessage-ID: <{}@mx.example.net>\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\nThis is the mail system at host mx.example.net.\n\n\
         <{recipient}>: host mail.example.org said: {said} (in reply to RCPT TO command)\n\n\
         --b1\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {said}\n\n\
         --b1\nContent-Type: text/rfc822-headers\n\nMessage-ID: {message_id}\nTo: {recipient}\n\n--b1--\n",
        ContactId::generate()
    )
}

const UNKNOWN: &str = "550 5.1.1 <someone@example.com>: Recipient address rejected: User unknown";

fn hard(recipient: &str, message_id: &str) -> String {
    bounce(recipient, "failed", "5.1.1", UNKNOWN, message_id)
}

fn report(kind: &str, recipient: &str, message_id: &str) -> String {
    format!(
        "From: <feedback@isp.example>\nSubject: FW: Earn money\nTo: <fbl@example.com>\nMessage-ID: <{kind}.{}@isp.example>\n\
         MIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=\"b1\"\n\n\
         --b1\nContent-Type: text/plain\n\nThis is an email abuse report.\n\n\
         --b1\nContent-Type: message/feedback-report\n\nFeedback-Type: {kind}\nUser-Agent: SomeGenerator/1.0\nVersion: 1\n\
         Original-Rcpt-To: {recipient}\n\n--b1\nContent-Type: message/rfc822\n\nFrom: <shop@example.com>\n\
         Message-ID: {message_id}\nSubject: Earn money\n\nSpam\n\n--b1--\n",
        ContactId::generate()
    )
}

/// The return path of a contact.
fn path(contact: &Contact) -> String {
    let id: ContactId = contact.contact_id.parse().unwrap();
    let token = SecretKey::from_text(SECRET).seal(Use::ReturnPath, &uuid::Uuid::from(id).into_bytes());
    format!("b.{token}@bounce.example.com")
}

async fn ingest(world: &mut World, raw: &str, recipient: &str) -> IngestInboundMessageResponse {
    let request = IngestInboundMessageRequest { raw: raw.as_bytes().to_vec(), envelope_recipient: recipient.into() };
    world.deliveries.ingest_inbound_message(request).await.unwrap().into_inner()
}

async fn say(world: &mut World, events: Vec<DeliveryEvent>) -> ReportDeliveryEventsResponse {
    world.deliveries.report_delivery_events(ReportDeliveryEventsRequest { events }).await.unwrap().into_inner()
}

async fn suppressed(world: &mut World) -> Vec<(String, Cause)> {
    let listed = world.preferences.list_suppressions(ListSuppressionsRequest::default()).await.unwrap().into_inner();
    listed.suppressions.iter().map(|one| (one.masked_address.clone(), one.cause())).collect()
}

async fn listed(world: &mut World, request: ListDeliveryEventsRequest) -> Vec<DeliveryEvent> {
    world.deliveries.list_delivery_events(request).await.unwrap().into_inner().events
}

/// A shop that wrote to Anna.
async fn written() -> (World, Contact) {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let contact = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    (world, contact)
}

fn event(id: &str, contact: &Contact, kind: Kind) -> DeliveryEvent {
    DeliveryEvent {
        source: "ses".into(),
        source_event_id: id.into(),
        contact_id: contact.contact_id.clone(),
        kind: kind.into(),
        ..DeliveryEvent::default()
    }
}

#[tokio::test]
async fn a_hard_bounce_is_found_by_its_return_path_and_suppresses_the_address_that_the_message_went_to() {
    let (mut world, sent) = written().await;
    assert_eq!(world.contact(&sent.contact_id).await.delivery(), contact::Delivery::Unspecified);
    let raw = hard("forwarded@example.org", "<other@example.net>");
    let answer = ingest(&mut world, &raw, &path(&sent)).await;
    assert_eq!(answer.classification, "bounce");
    let found = &answer.events[0];
    assert_eq!(
        (found.contact_id.as_str(), found.kind(), found.permanent),
        (sent.contact_id.as_str(), Kind::Bounced, true)
    );
    assert_eq!((found.status_code.as_str(), found.recipient.as_str()), ("5.1.1", "forwarded@example.org"));
    assert!(!found.detail.contains('@'), "{}", found.detail);
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::HardBounce)]);
    let after = world.contact(&sent.contact_id).await;
    assert_eq!(after.delivery(), contact::Delivery::Bounced);
    let explained = world.explain(&sent.contact_id).await;
    assert_eq!(explained.contact.unwrap().delivery(), contact::Delivery::Bounced);

    // The mail server tries again: nothing is recorded twice.
    let again = ingest(&mut world, &raw, &path(&sent)).await;
    assert_eq!((again.classification.as_str(), again.events[0].delivery_event_id.as_str()), ("bounce", ""));
    let request = ListDeliveryEventsRequest { contact_id: sent.contact_id.clone(), ..Default::default() };
    assert_eq!(listed(&mut world, request).await.len(), 1);

    let next = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let next = world.contact(&next.contact_id).await;
    assert_eq!(next.block.unwrap().reason(), BlockReason::HardBounce);
}

#[tokio::test]
async fn the_return_path_is_found_in_the_header_too_and_in_whatever_case() {
    let (mut world, sent) = written().await;
    let raw = format!("Delivered-To: {}\n{}", path(&sent).to_uppercase(), hard("anna@example.com", ""));
    let answer = ingest(&mut world, &raw, "").await;
    assert_eq!(answer.events[0].contact_id, sent.contact_id);
}

#[tokio::test]
async fn a_forged_return_path_suppresses_nobody_and_leaves_nothing() {
    let (mut world, sent) = written().await;
    let mut forged = path(&sent).into_bytes();
    forged[20] = if forged[20] == b'a' { b'b' } else { b'a' };
    let forged = String::from_utf8(forged).unwrap();
    let raw = hard("anna@example.com", &sent.message_id);
    let answer = ingest(&mut world, &raw, &forged).await;
    assert_eq!((answer.classification.as_str(), answer.events.len()), ("unknown", 0));
    assert_eq!(suppressed(&mut world).await, []);
    assert_eq!(listed(&mut world, ListDeliveryEventsRequest::default()).await, []);
}

#[tokio::test]
async fn without_a_return_path_the_message_id_tells_which_message_it_was_and_without_that_the_address() {
    let (mut world, sent) = written().await;
    let answer = ingest(&mut world, &hard("elsewhere@example.org", &sent.message_id), "").await;
    assert_eq!(answer.events[0].contact_id, sent.contact_id);
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::HardBounce)]);

    world.customer("bert", "").await;
    let to_bert = world.send("bert", "orders", "check-in").await;
    world.dispatch().await;
    let answer = ingest(&mut world, &hard("BERT@example.com", "<unknown@example.net>"), "").await;
    assert_eq!((answer.events[0].contact_id.as_str(), answer.events[0].permanent), (to_bert.contact_id.as_str(), true));
    assert_eq!(suppressed(&mut world).await.len(), 2);

    // Nobody of ours: read, and nothing follows.
    let answer = ingest(&mut world, &hard("stranger@example.com", "<unknown@example.net>"), "").await;
    let found = &answer.events[0];
    assert_eq!(
        (found.permanent, found.recipient.as_str(), found.delivery_event_id.as_str()),
        (true, "stranger@example.com", "")
    );
    assert_eq!(suppressed(&mut world).await.len(), 2);
}

#[tokio::test]
async fn where_all_mail_has_a_return_path_whoever_names_an_address_suppresses_nobody() {
    let mut world = World::configured(|config| {
        config.mail_from = None;
        config.senders = vec![SenderSettings {
            id: "default".to_owned(),
            from: "The Shop <shop@example.com>".to_owned(),
            return_path_domain: Some("bounce.example.com".to_owned()),
            ..SenderSettings::default()
        }];
    })
    .await;
    world.shop().await;
    world.customer("anna", "").await;
    let sent = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let answer = ingest(&mut world, &hard("anna@example.com", "<unknown@example.net>"), "").await;
    assert!(!answer.events[0].permanent);
    let answer = ingest(&mut world, &report("abuse", "anna@example.com", "<unknown@example.net>"), "").await;
    assert_eq!((answer.classification.as_str(), answer.events[0].kind()), ("complaint", Kind::Feedback));
    assert_eq!(answer.events[0].contact_id, sent.contact_id);
    assert_eq!(suppressed(&mut world).await, []);
    let request = GetPreferencesRequest { customer: by_name("anna") };
    let preferences = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
    assert_eq!(preferences.objection_time, None);
}

#[tokio::test]
async fn the_return_path_of_ones_own_message_suppresses_no_address_of_somebody_elses() {
    let mut world = World::new().await;
    world.shop().await;
    let anna = world.customer("anna", "").await;
    let sent = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    world.customer("bert", "").await;
    let request = RemoveAddressRequest { customer: by_name("anna"), address_id: anna.addresses[0].address_id.clone() };
    world.customers.remove_address(request).await.unwrap();
    let answer = ingest(&mut world, &hard("bert@example.com", ""), &path(&sent)).await;
    assert_eq!(answer.events[0].contact_id, sent.contact_id);
    ingest(&mut world, &report("abuse", "bert@example.com", ""), &path(&sent)).await;
    assert_eq!(suppressed(&mut world).await, []);
}

#[tokio::test]
async fn a_customers_reply_about_a_failed_delivery_suppresses_nobody() {
    let (mut world, sent) = written().await;
    let raw = format!(
        "From: Anna <anna@example.com>\nTo: shop@example.com\nSubject: Re: Your parcel: delivery failed\nIn-Reply-To: {}\n\n\
         The courier told me that the recipient was not found at the address.\n",
        sent.message_id
    );
    assert_eq!(ingest(&mut world, &raw, &path(&sent)).await.classification, "reply");
    assert_eq!(suppressed(&mut world).await, []);
}

#[tokio::test]
async fn what_holds_control_characters_is_recorded_without_them() {
    let (mut world, sent) = written().await;
    let said = "550 5.1.1 User\u{0} un\u{7}known";
    let raw = bounce("anna@example.com", "failed", "5.1.1", said, &sent.message_id);
    let raw = raw.replacen("Message-ID: <", "Message-ID: <\u{0}\u{1}", 1);
    let answer = ingest(&mut world, &raw, &path(&sent)).await;
    assert!(!answer.events[0].delivery_event_id.is_empty());
    let request = ListDeliveryEventsRequest { contact_id: sent.contact_id.clone(), ..Default::default() };
    let detail = listed(&mut world, request).await[0].detail.clone();
    assert!(detail.contains("User unknown") && !detail.contains(char::is_control), "{detail:?}");
    let again = ingest(&mut world, &raw, &path(&sent)).await;
    assert_eq!(again.events[0].delivery_event_id, "", "it is known");
}

#[tokio::test]
async fn what_is_not_the_addresss_fault_is_recorded_and_suppresses_nobody() {
    let (mut world, sent) = written().await;
    for (action, status, said, kind) in [
        ("failed", "5.7.1", "550 5.7.1 Message rejected as spam", Kind::Bounced),
        ("failed", "5.2.2", "552 5.2.2 Mailbox full", Kind::Bounced),
        ("failed", "5.1.1", "552 5.1.1 over quota", Kind::Bounced),
        ("delayed", "4.4.1", "451 4.4.1 connection timed out", Kind::Deferred),
        ("relayed", "2.0.0", "250 2.0.0 ok", Kind::Delivered),
    ] {
        let raw = bounce("anna@example.com", action, status, said, &sent.message_id);
        let answer = ingest(&mut world, &raw, "").await;
        assert_eq!((answer.events[0].kind(), answer.events[0].permanent), (kind, false), "{said}");
        assert!(!answer.events[0].delivery_event_id.is_empty(), "{said}");
    }
    assert_eq!(suppressed(&mut world).await, []);
    assert_eq!(world.contact(&sent.contact_id).await.delivery(), contact::Delivery::Bounced);
}

#[tokio::test]
async fn failures_on_five_days_suppress_for_a_while_and_an_arrival_forgets_them() {
    let (mut world, _) = written().await;
    for round in 0..2 {
        for day in 0..5 {
            let sent = world.send("anna", "orders", "check-in").await;
            world.dispatch_after_hours(24).await;
            assert_eq!(suppressed(&mut world).await, [], "round {round}, day {day}");
            let raw = bounce("anna@example.com", "failed", "5.2.2", "552 5.2.2 Mailbox full", &sent.message_id);
            ingest(&mut world, &raw, "").await;
            if round == 0 && day == 3 {
                let arrived = vec![event("arrived", &sent, Kind::Delivered)];
                assert_eq!(say(&mut world, arrived).await.recorded, 1);
                world.dispatch_after_hours(1).await;
                break;
            }
        }
    }
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::SoftBounces)]);
}

#[tokio::test]
async fn a_suspicion_becomes_a_certainty_on_another_day() {
    let (mut world, sent) = written().await;
    let said = "550 5.2.1 The email account that you tried to reach is disabled";
    ingest(&mut world, &bounce("anna@example.com", "failed", "5.2.1", said, &sent.message_id), "").await;
    assert_eq!(suppressed(&mut world).await, []);
    let again = world.send("anna", "orders", "check-in").await;
    world.dispatch_after_hours(25).await;
    let answer = ingest(&mut world, &bounce("anna@example.com", "failed", "5.2.1", said, &again.message_id), "").await;
    assert!(answer.events[0].permanent);
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::HardBounce)]);
}

#[tokio::test]
async fn a_complaint_suppresses_at_once_and_ends_all_marketing() {
    let (mut world, sent) = written().await;
    world.consent("anna", "offers", Decision::Grant).await;
    let later = ScheduleContactRequest {
        due: Some(Due::DueTime(at("2026-02-03T09:00:00Z"))),
        ..ad_hoc("anna", "offers", "offer")
    };
    let offer = world.contacts.schedule_contact(later).await.unwrap().into_inner().contact.unwrap();
    for (kind, recorded) in [("auth-failure", Kind::Feedback), ("not-spam", Kind::Feedback)] {
        let answer = ingest(&mut world, &report(kind, "anna@example.com", &sent.message_id), "").await;
        assert_eq!((answer.classification.as_str(), answer.events[0].kind()), ("complaint", recorded), "{kind}");
        assert_eq!(suppressed(&mut world).await, [], "{kind}");
    }
    let answer = ingest(&mut world, &report("abuse", "anna@example.com", &sent.message_id), "").await;
    assert_eq!(answer.events[0].kind(), Kind::Complained);
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::Complaint)]);
    assert_eq!(world.contact(&sent.contact_id).await.delivery(), contact::Delivery::Complained);
    assert_eq!(world.contact(&offer.contact_id).await.state(), contact::State::Canceled);

    // It was a person and not an address: another address of hers gets no marketing either.
    let request =
        AddAddressRequest { customer: by_name("anna"), address: Some(email("anna@example.org")), ..Default::default() };
    world.customers.add_address(request).await.unwrap();
    let request = GetPreferencesRequest { customer: by_name("anna") };
    let preferences = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
    assert!(preferences.objection_time.is_some(), "{preferences:?}");
    let records = world.preferences.list_consent_records(rapport::rpc::proto::ListConsentRecordsRequest {
        customer: by_name("anna"),
        ..Default::default()
    });
    let records = records.await.unwrap().into_inner().records;
    assert_eq!(records.last().unwrap().method(), ConsentMethod::Complaint);

    // Told twice, it is said once.
    ingest(&mut world, &report("opt-out", "anna@example.com", &sent.message_id), "").await;
    assert_eq!(suppressed(&mut world).await.len(), 1);
}

#[tokio::test]
async fn replies_of_programs_are_told_from_those_of_people() {
    let (mut world, sent) = written().await;
    let reply = |extra: &str, subject: &str| {
        format!(
            "From: Anna <anna@example.com>\nTo: <shop@example.com>\nSubject: {subject}\nMessage-ID: <{}@example.com>\n\
             In-Reply-To: {}\n{extra}\nThank you!\n",
            ContactId::generate(),
            sent.message_id
        )
    };
    for (extra, subject, kind, class) in [
        ("", "Re: How was it?", Kind::Replied, "reply"),
        ("Auto-Submitted: auto-replied\n", "Re: How was it?", Kind::AutoReplied, "auto-reply"),
        ("Return-Path: <>\n", "Re: How was it?", Kind::AutoReplied, "auto-reply"),
        ("X-Autoreply: yes\n", "Re: How was it?", Kind::AutoReplied, "auto-reply"),
        ("", "Automatic reply: How was it?", Kind::AutoReplied, "auto-reply"),
        ("Auto-Submitted: no\n", "Re: How was it?", Kind::Replied, "reply"),
    ] {
        let answer = ingest(&mut world, &reply(extra, subject), "").await;
        let found = &answer.events[0];
        assert_eq!((answer.classification.as_str(), found.kind()), (class, kind), "{extra}{subject}");
        assert_eq!((found.contact_id.as_str(), found.automated), (sent.contact_id.as_str(), kind == Kind::AutoReplied));
    }
    assert_eq!(world.contact(&sent.contact_id).await.delivery(), contact::Delivery::Unspecified);
}

#[tokio::test]
async fn a_provider_reports_many_at_once_and_may_repeat_itself() {
    let (mut world, sent) = written().await;
    let by_message_id = DeliveryEvent {
        contact_id: String::new(),
        message_id: sent.message_id.clone(),
        ..event("2", &sent, Kind::Clicked)
    };
    let stranger = Contact { contact_id: ContactId::generate().to_string(), ..sent.clone() };
    let events = vec![
        event("1", &sent, Kind::Opened),
        by_message_id,
        event("3", &stranger, Kind::Opened),
        event("1", &sent, Kind::Opened),
    ];
    let answer = say(&mut world, events.clone()).await;
    assert_eq!((answer.recorded, answer.duplicates, answer.unmatched), (2, 1, 1));
    let answer = say(&mut world, events).await;
    assert_eq!((answer.recorded, answer.duplicates, answer.unmatched), (0, 3, 1));

    let request = || ListDeliveryEventsRequest { customer: by_name("anna"), page_size: 1, ..Default::default() };
    let first = world.deliveries.list_delivery_events(request()).await.unwrap().into_inner();
    let next = ListDeliveryEventsRequest { page_token: first.next_page_token.clone(), ..request() };
    let second = world.deliveries.list_delivery_events(next).await.unwrap().into_inner();
    assert_eq!((first.events[0].kind(), second.events[0].kind()), (Kind::Opened, Kind::Clicked));
    assert_eq!(second.next_page_token, "");

    let permanent = DeliveryEvent { permanent: true, ..event("4", &sent, Kind::Bounced) };
    assert_eq!(say(&mut world, vec![permanent]).await.recorded, 1);
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::HardBounce)]);
}

#[tokio::test]
async fn whoever_unsubscribes_at_a_provider_gets_no_more_of_the_topic() {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("news", Purpose::Service, OptIn::None).await;
    world.customer("anna", "").await;
    let sent = world.send("anna", "news", "check-in").await;
    world.dispatch().await;
    assert_eq!(say(&mut world, vec![event("1", &sent, Kind::Unsubscribed)]).await.recorded, 1);
    let next = world.send("anna", "news", "check-in").await;
    let other = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    assert_eq!(world.contact(&next.contact_id).await.block.unwrap().reason(), BlockReason::OptedOut);
    assert_eq!(world.contact(&other.contact_id).await.state(), contact::State::Sent);
}

#[tokio::test]
async fn every_wrong_field_of_a_report_is_named() {
    let (mut world, sent) = written().await;
    let wrong = DeliveryEvent::default();
    let long = DeliveryEvent { source: "x".repeat(65), contact_id: "cus_1".into(), ..event("1", &sent, Kind::Opened) };
    let request = ReportDeliveryEventsRequest { events: vec![wrong, long] };
    let fields = wrong_fields(world.deliveries.report_delivery_events(request).await);
    for field in [
        "events[0].source",
        "events[0].sourceEventId",
        "events[0].contactId",
        "events[0].kind",
        "events[1].source",
        "events[1].contactId",
    ] {
        assert!(fields.iter().any(|found| found == field), "{field} in {fields:?}");
    }
    let nothing = IngestInboundMessageRequest::default();
    assert_eq!(wrong_fields(world.deliveries.ingest_inbound_message(nothing).await), ["raw"]);
    let nobody = ListDeliveryEventsRequest { contact_id: ContactId::generate().to_string(), ..Default::default() };
    assert_eq!(refusal(world.deliveries.list_delivery_events(nobody).await), "CONTACT_NOT_FOUND");
}

#[tokio::test]
async fn a_message_of_ten_megabytes_is_read_and_nonsense_is_unknown() {
    let (mut world, sent) = written().await;
    let mut raw = hard("anna@example.com", &sent.message_id);
    raw.push_str(&"x".repeat(10 * 1_024 * 1_024 - raw.len()));
    assert_eq!(ingest(&mut world, &raw, "").await.events[0].contact_id, sent.contact_id);
    assert_eq!(ingest(&mut world, "\u{0}\u{1}", "").await.classification, "unknown");
}

/// Runs `rapport ingest` as a mail server does; answers its exit code and what it said.
async fn pipe(raw: String, arguments: Vec<String>) -> (i32, String) {
    let piped = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command.arg("ingest").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that does not want all of it closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(raw.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    tokio::task::spawn_blocking(piped).await.unwrap()
}

#[tokio::test]
async fn a_mail_server_pipes_into_the_command_and_tries_again_when_nobody_is_there() {
    let (mut world, sent) = written().await;
    let to = |address: String| vec!["--recipient".to_owned(), path(&sent), "--grpc-addr".to_owned(), address];
    let raw = hard("anna@example.com", "");
    let (code, said) = pipe(raw.clone(), to(world.address())).await;
    assert_eq!((code, said.trim()), (0, "bounce"));
    assert_eq!(suppressed(&mut world).await.len(), 1);
    let (code, said) = pipe(raw, to("127.0.0.1:1".to_owned())).await;
    assert_eq!((code, said.trim()), (75, "rapport: the service at 127.0.0.1:1 is not reached"));
    let (code, said) = pipe("x".repeat(10 * 1_024 * 1_024 + 1), to(world.address())).await;
    assert_eq!((code, said.trim()), (65, "rapport: the message is larger than 10 MiB"));
    let (code, _) = pipe(String::new(), to(world.address())).await;
    assert_eq!(code, 65);
}

/// A mail server that refuses every recipient.
async fn refusing(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, answer));
        }
    });
    address
}

async fn converse(stream: TcpStream, answer: &'static str) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mx.example.org\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = if line.starts_with("RCPT") { answer } else { "250 ok" };
        if write.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn tags(world: &mut World, name: &str) -> Vec<String> {
    let request = GetCustomerRequest { customer: by_name(name), ..Default::default() };
    world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap().tags
}

#[tokio::test]
async fn a_refusal_at_hand_over_has_the_same_consequence_as_a_bounce() {
    for (answer, causes) in [
        ("550 5.1.1 no such user", vec![("a…@example.com".to_owned(), Cause::HardBounce)]),
        ("550 5.7.1 message rejected as spam", Vec::new()),
    ] {
        let address = refusing(answer).await;
        let server =
            SmtpServer { host: "127.0.0.1".into(), port: address.port(), security: Security::None, credentials: None };
        let mut world = World::configured(|config| config.mail = MailLocation::Smtp(server)).await;
        world.shop().await;
        world.customer("anna", "").await;
        let mark = UpdateAction { add_tags: vec!["unreachable".into()], ..UpdateAction::default() };
        let listens = campaign("unreachable", "orders", vec![update_step("mark", mark)]);
        world.campaign(Campaign { trigger: on_event("contact.bounced"), ..listens }).await;
        let sent = world.send("anna", "orders", "check-in").await;
        world.dispatch().await;
        assert_eq!(world.contact(&sent.contact_id).await.state(), contact::State::Failed, "{answer}");
        // Its own worker may be at it.
        let told = async {
            while tags(&mut world, "anna").await != ["unreachable"] {
                world.run_job("advance-enrollments").await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.expect("campaigns are told");
        assert_eq!(suppressed(&mut world).await, causes, "{answer}");
        let request = ListDeliveryEventsRequest { contact_id: sent.contact_id.clone(), ..Default::default() };
        let events = listed(&mut world, request).await;
        assert_eq!(events.len(), 1, "{answer}");
        assert_eq!((events[0].kind(), events[0].permanent), (Kind::Bounced, !causes.is_empty()), "{answer}");
        assert_eq!(events[0].source, "smtp");
    }
}

/// Posts to the HTTP side; answers the status.
async fn post(world: &World, path: &str, authorization: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(world.http_addr()).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{authorization}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next_line().await.unwrap().unwrap();
    status.split(' ').nth(1).unwrap().parse().unwrap()
}

const POSTMARK_BOUNCE: &str = r#"{"RecordType":"Bounce","ID":42,"Type":"HardBounce","TypeCode":1,"Name":"Hard bounce",
    "MessageID":"883953f4-6105-42a2-a16a-77a8eac79483","Description":"unknown user","Details":"smtp;550 5.1.1 unknown",
    "Email":"anna@example.com","From":"shop@example.com","BouncedAt":"2026-02-02T08:59:00Z","Inactive":true}"#;

#[tokio::test]
async fn postmark_is_listened_to_when_it_says_who_it_is() {
    let mut world =
        World::configured(|config| config.providers.postmark_secret = Some("postmark:0123456789abcdef".into())).await;
    world.shop().await;
    world.customer("anna", "").await;
    let sent = world.send("anna", "orders", "check-in").await;
    world.dispatch().await;
    let basic = |secret: &str| format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(secret.as_bytes()));
    for wrong in [String::new(), basic("postmark:0123456789abcdeF"), basic(""), "Authorization: Basic ?\r\n".to_owned()]
    {
        assert_eq!(post(&world, "/providers/postmark", &wrong, POSTMARK_BOUNCE).await, 401, "{wrong}");
    }
    assert_eq!(suppressed(&mut world).await, []);
    let right = basic("postmark:0123456789abcdef");
    for _ in 0..2 {
        assert_eq!(post(&world, "/providers/postmark", &right, POSTMARK_BOUNCE).await, 200);
    }
    assert_eq!(suppressed(&mut world).await, [("a…@example.com".to_owned(), Cause::HardBounce)]);
    let request = ListDeliveryEventsRequest { contact_id: sent.contact_id, ..Default::default() };
    assert_eq!(listed(&mut world, request).await.len(), 1);
    let control = POSTMARK_BOUNCE.replace("42", "43").replace("5.1.1 unknown", "5.1.1 un\\u0000known");
    assert_eq!(post(&world, "/providers/postmark", &right, &control).await, 200, "no database is asked to keep a NUL");
    assert_eq!(post(&world, "/providers/postmark", &right, "{").await, 400);
}

#[tokio::test]
async fn providers_are_not_there_unless_they_are_set_and_ses_has_to_prove_itself() {
    let world = World::new().await;
    for path in ["/providers/postmark", "/providers/ses"] {
        assert_eq!(post(&world, path, "", POSTMARK_BOUNCE).await, 404, "{path}");
    }
    let topic = "arn:aws:sns:eu-west-1:123456789012:bounces";
    let mut world = World::configured(|config| config.providers.ses_topic = Some(topic.into())).await;
    let unsigned = |topic: &str, certificate: &str| {
        format!(
            r#"{{"Type":"Notification","MessageId":"1","TopicArn":"{topic}","Message":"{{}}","Timestamp":"2026-02-02T08:59:00Z",
            "SignatureVersion":"2","Signature":"AAAA","SigningCertURL":"{certificate}"}}"#
        )
    };
    let elsewhere = "https://sns.eu-west-1.amazonaws.com.example.com/a.pem";
    assert_eq!(post(&world, "/providers/ses", "", &unsigned(topic, elsewhere)).await, 403);
    assert_eq!(post(&world, "/providers/ses", "", &unsigned("arn:aws:sns:eu-west-1:1:other", elsewhere)).await, 403);
    assert_eq!(post(&world, "/providers/ses", "", "{}").await, 400);
    assert_eq!(listed(&mut world, ListDeliveryEventsRequest::default()).await, []);
}
