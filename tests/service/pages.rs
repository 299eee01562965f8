//! What customers meet who follow the links in their mail.

use std::net::SocketAddr;

use rapport::{
    links::Links,
    rpc::proto::{
        BlockReason, CheckContactabilityRequest, Consent, ConsentMethod, ConsentRecord, CreatePreferenceLinkRequest,
        DeleteCustomerRequest, GetPreferencesRequest, ListConsentRecordsRequest, LocalizedText, Preferences, Purpose,
        QuietHours, ScheduleContactRequest, SetConsentRequest, Topic, UnsubscribeRequest, UpdatePreferencesRequest,
        UpdateTopicRequest, consent::State, consent_record::Act, contact, schedule_contact_request,
        set_consent_request::Decision, topic::OptIn, unsubscribe_request,
    },
    tokens::SecretKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::harness::{SECRET, World, ad_hoc, at, by_name, refusal};

/// An answer over HTTP.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn call(addr: SocketAddr, method: &str, path: &str, kind: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

async fn get(world: &World, path: &str) -> Answer {
    call(world.http_addr(), "GET", path, "text/plain", "").await
}

async fn post(world: &World, path: &str, form: &str) -> Answer {
    call(world.http_addr(), "POST", path, "application/x-www-form-urlencoded", form).await
}

const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// The links as the service makes them, without the address of its pages.
fn links() -> Links {
    Links::new(String::new(), SecretKey::from_text(SECRET))
}

/// Anna, who agreed to offers and got one, and the links in it.
async fn anna() -> (World, String, String) {
    anna_in("").await
}

async fn anna_in(locale: &str) -> (World, String, String) {
    let mut world = World::new().await;
    world.shop().await;
    let name = |locale: &str, text: &str| LocalizedText { locale: locale.into(), text: text.into() };
    let topic = Topic {
        topic_id: "offers".into(),
        names: vec![name("", "Offers"), name("lv", "Piedāvājumi"), name("ru", "Предложения")],
        descriptions: vec![name("", "Once a week at most")],
        ..Topic::default()
    };
    let request = UpdateTopicRequest { topic: Some(topic), ..Default::default() };
    world.preferences.update_topic(request).await.unwrap();
    world.customer_with("anna", |customer| customer.locale = locale.into()).await;
    world.consent("anna", "offers", Decision::Grant).await;
    let sent = world.send("anna", "offers", "offer").await;
    world.dispatch().await;
    let contact = sent.contact_id.parse().unwrap();
    (world, links().unsubscribe(contact), links().preferences(contact))
}

async fn ledger(world: &mut World) -> Vec<ConsentRecord> {
    let request = ListConsentRecordsRequest { customer: by_name("anna"), ..Default::default() };
    world.preferences.list_consent_records(request).await.unwrap().into_inner().records
}

async fn preferences(world: &mut World) -> Preferences {
    let request = GetPreferencesRequest { customer: by_name("anna") };
    world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap()
}

async fn consent(world: &mut World, topic: &str) -> Consent {
    preferences(world).await.consents.into_iter().find(|one| one.topic_id == topic).unwrap_or_default()
}

async fn blocks(world: &mut World, topic: &str) -> Vec<BlockReason> {
    let request =
        CheckContactabilityRequest { customer: by_name("anna"), topic_id: topic.into(), ..Default::default() };
    let answer = world.preferences.check_contactability(request).await.unwrap().into_inner();
    answer.checks.iter().filter_map(|check| check.block.as_ref()).map(|block| block.reason()).collect()
}

#[tokio::test]
async fn no_scanner_unsubscribes_anybody_and_one_post_does() {
    let (mut world, link, preferences_link) = anna().await;
    let due = Some(schedule_contact_request::Due::DueTime(at("2026-02-02T10:00:00Z")));
    let request = ScheduleContactRequest { due, ..ad_hoc("anna", "offers", "offer") };
    let planned = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap();
    for path in [&link, &preferences_link] {
        for method in ["GET", "HEAD", "OPTIONS"] {
            for _ in 0..50 {
                call(world.http_addr(), method, path, "text/plain", "").await;
            }
        }
    }
    assert_eq!(ledger(&mut world).await.len(), 1);
    assert_eq!(consent(&mut world, "offers").await.state(), State::Granted);

    let answer = post(&world, &link, ONE_CLICK).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("set-cookie") && !answer.head.contains("location:"), "{}", answer.head);
    assert_eq!(consent(&mut world, "offers").await.state(), State::Denied);
    world.dispatch_after_hours(2).await;
    assert_eq!(world.contact(&planned.contact_id).await.state(), contact::State::Canceled);
    assert_eq!(world.mail().len(), 1);
    // Once more is harmless, and nothing new.
    assert_eq!(post(&world, &link, ONE_CLICK).await.status, 200);
    let ledger = ledger(&mut world).await;
    assert_eq!(ledger.len(), 2);
    assert_eq!(
        (ledger[1].act(), ledger[1].method(), ledger[1].actor.as_str()),
        (Act::Withdraw, ConsentMethod::OneClick, "customer")
    );
    assert!(!ledger[1].contact_id.is_empty());
}

#[tokio::test]
async fn one_click_is_taken_as_a_form_in_parts_and_without_a_body() {
    let parts = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    for (kind, body, method) in [
        ("multipart/form-data; boundary=b", parts, ConsentMethod::OneClick),
        ("application/x-www-form-urlencoded", "action=topic", ConsentMethod::PreferencePage),
        ("text/plain", "", ConsentMethod::PreferencePage),
    ] {
        let (mut world, link, _) = anna().await;
        assert_eq!(call(world.http_addr(), "POST", &link, kind, body).await.status, 200);
        assert_eq!(ledger(&mut world).await[1].method(), method, "{kind}");
        assert_eq!(blocks(&mut world, "offers").await, [BlockReason::OptedOut]);
    }
}

#[tokio::test]
async fn a_forged_link_gets_nothing_and_tells_nothing() {
    let (mut world, link, preferences_link) = anna().await;
    let (first, rest) = link.split_at(4);
    let forged = format!("{first}{}{}", if rest.starts_with('a') { "b" } else { "a" }, &rest[1..]);
    let cut = &link[..link.len() - 1];
    let others = preferences_link.replace("/p/", "/u/");
    for path in [forged.as_str(), cut, &others, "/u/x", "/p/x", "/c/x", "/u/%00", "/c/é"] {
        for answer in [get(&world, path).await, post(&world, path, ONE_CLICK).await] {
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.body.contains("This link does not work") && !answer.body.contains("anna"), "{path}");
        }
    }
    assert_eq!(ledger(&mut world).await.len(), 1);
}

#[tokio::test]
async fn pages_need_nothing_but_themselves_and_reveal_nothing() {
    let (world, link, preferences_link) = anna().await;
    for path in [&link, &preferences_link] {
        let answer = get(&world, path).await;
        assert_eq!(answer.status, 200);
        for expected in [
            "content-security-policy: default-src 'none'; img-src data:; style-src 'sha256-",
            "frame-ancestors 'none'",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
        ] {
            assert!(answer.head.contains(expected), "{expected}: {}", answer.head);
        }
        assert!(!answer.head.contains("set-cookie"));
        assert!(!answer.body.contains("<script") && !answer.body.contains("anna@example.com"), "{}", answer.body);
        assert!(answer.body.contains("a…@example.com"), "{}", answer.body);
    }
}

#[tokio::test]
async fn whoever_is_asked_reads_their_own_language() {
    for (locale, lang, title, topic) in [
        ("", "en", "Unsubscribe", "Offers"),
        ("lv-LV", "lv", "Atteikties", "Piedāvājumi"),
        ("lt", "lt", "Atsisakyti", "Offers"),
        ("da", "da", "Afmeld", "Offers"),
        ("ru", "ru", "Отписаться", "Предложения"),
        ("fr", "en", "Unsubscribe", "Offers"),
    ] {
        let (world, link, _) = anna_in(locale).await;
        let body = get(&world, &link).await.body;
        for expected in [format!("<html lang=\"{lang}\">"), format!("<h1>{title}</h1>"), topic.to_owned()] {
            assert!(body.contains(&expected), "{locale}: {expected}: {body}");
        }
    }
}

#[tokio::test]
async fn marketing_can_be_stopped_altogether_from_the_same_page() {
    let (mut world, link, _) = anna().await;
    let answer = post(&world, &link, "action=marketing").await;
    assert!(answer.body.contains("no more marketing"), "{}", answer.body);
    assert!(preferences(&mut world).await.objection_time.is_some());
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::Objected]);
    assert_eq!(blocks(&mut world, "orders").await, []);
}

#[tokio::test]
async fn a_customer_changes_everything_on_one_page() {
    let (mut world, _, link) = anna().await;
    let body = get(&world, &link).await.body;
    assert!(body.contains("Once a week at most") && body.contains("value=\"offers\" checked"), "{body}");
    assert!(body.contains("value=\"orders\" checked") && !body.contains("opt-in-confirmation"), "{body}");

    let form = "action=save&shown=offers&was=offers&shown=orders&was=orders&topic=orders&frequency=weekly&quiet_from=22%3A00&quiet_to=08%3A00";
    let answer = post(&world, &link, form).await;
    assert!(answer.body.contains("Your settings are saved"), "{}", answer.body);
    assert!(!answer.body.contains("value=\"offers\" checked") && answer.body.contains("value=\"orders\" checked"));
    let now = preferences(&mut world).await;
    let quiet = QuietHours { start: "22:00".into(), end: "08:00".into(), days: Vec::new() };
    assert_eq!((now.quiet_hours, now.caps.len(), now.caps[0].window_hours), (Some(quiet), 1, 168));
    assert_eq!(consent(&mut world, "offers").await.state(), State::Denied);
    // What the page does not show, and what did not change, is not touched.
    assert_eq!(ledger(&mut world).await.len(), 2);

    // The link came to the mailbox: nothing is to be confirmed once more.
    world.advance_to("2026-02-02T09:00:01Z");
    let form = "action=save&shown=offers&shown=orders&was=orders&topic=orders&topic=offers&frequency=any&quiet_from=&quiet_to=";
    post(&world, &link, form).await;
    let now = preferences(&mut world).await;
    assert_eq!((now.quiet_hours, now.caps.len()), (None, 0));
    assert_eq!(blocks(&mut world, "offers").await, []);

    assert!(post(&world, &link, "action=pause").await.body.contains("paused until 4 March 2026"));
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::Snoozed]);
    post(&world, &link, "action=resume").await;
    assert_eq!(blocks(&mut world, "offers").await, []);

    let answer = post(&world, &link, "action=stop").await;
    assert!(answer.body.contains("Everything is switched off"), "{}", answer.body);
    assert_eq!(blocks(&mut world, "orders").await, [BlockReason::Objected]);
    world.advance_to("2026-02-03T09:00:00Z");
    post(&world, &link, "action=save&shown=offers&shown=orders&topic=orders").await;
    assert_eq!(blocks(&mut world, "orders").await, []);
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::Objected]);
}

#[tokio::test]
async fn settings_that_the_page_cannot_show_stay_unless_they_are_changed() {
    let (mut world, _, link) = anna().await;
    let caps = vec![rapport::rpc::proto::FrequencyCap { max_contacts: 3, window_hours: 48, ..Default::default() }];
    let quiet_hours = Some(QuietHours { start: "21:30".into(), end: "07:15".into(), days: vec!["FRI".into()] });
    let wanted = Preferences { quiet_hours: quiet_hours.clone(), caps: caps.clone(), ..Preferences::default() };
    let request =
        UpdatePreferencesRequest { customer: by_name("anna"), preferences: Some(wanted), ..Default::default() };
    world.preferences.update_preferences(request).await.unwrap();
    let body = get(&world, &link).await.body;
    assert!(body.contains("value=\"custom\" selected") && body.contains("value=\"21:30\" selected"), "{body}");
    let form = "action=save&frequency=custom&quiet_from=21%3A30&quiet_to=07%3A15";
    post(&world, &link, form).await;
    let now = preferences(&mut world).await;
    assert_eq!((now.caps, now.quiet_hours), (caps, quiet_hours));
    // Nonsense changes nothing.
    post(&world, &link, "action=save&frequency=never&quiet_from=25%3A00&quiet_to=x&shown=nothing&topic=nothing").await;
    assert!(preferences(&mut world).await.quiet_hours.is_some());
    assert_eq!(post(&world, &link, "action=explode").await.status, 200);
}

#[tokio::test]
async fn a_double_opt_in_is_confirmed_with_a_button() {
    let (mut world, ..) = anna().await;
    world.topic("news", Purpose::Marketing, OptIn::Double).await;
    world.consent("anna", "news", Decision::Grant).await;
    world.dispatch().await;
    let mail = world.mail();
    let text = &mail.last().unwrap().text;
    let link = text.split_whitespace().find(|word| word.contains("/c/")).unwrap();
    let host = format!("http://{}", world.http_addr());
    let path = link.strip_prefix(&host).expect("the link leads to the pages").to_owned();
    let asked = get(&world, &path).await;
    assert!(asked.body.contains("Please confirm") && asked.body.contains("news"), "{}", asked.body);
    assert_eq!(consent(&mut world, "news").await.state(), State::Pending);
    let done = post(&world, &path, "action=confirm").await;
    assert!(done.status == 200 && done.body.contains("Thank you"), "{}", done.body);
    assert_eq!(consent(&mut world, "news").await.state(), State::Granted);
    assert_eq!(post(&world, &path, "action=confirm").await.status, 200);
    world.advance_to("2026-02-20T09:00:00Z");
    world.consent("anna", "news", Decision::Withdraw).await;
    assert_eq!(post(&world, &path, "action=confirm").await.status, 404);
    assert_eq!(consent(&mut world, "news").await.state(), State::Denied);
    world.customer("berta", "").await;
    let request = SetConsentRequest {
        customer: by_name("berta"),
        topic_id: "news".into(),
        decision: Decision::Grant.into(),
        method: ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    world.dispatch().await;
    let mail = world.mail();
    let link = mail.last().unwrap().text.split_whitespace().find(|word| word.contains("/c/")).unwrap().to_owned();
    world.advance_to("2026-03-20T09:00:00Z");
    let late = post(&world, link.strip_prefix(&host).unwrap(), "").await;
    assert!(late.status == 410 && late.body.contains("seven days"), "{}", late.body);
}

#[tokio::test]
async fn a_caller_gives_a_customer_a_link_for_a_while() {
    let (mut world, ..) = anna().await;
    let request = CreatePreferenceLinkRequest { customer: by_name("anna"), ttl_hours: 2 };
    let given = world.preferences.create_preference_link(request).await.unwrap().into_inner();
    let path = given.url.strip_prefix(&format!("http://{}", world.http_addr())).unwrap().to_owned();
    assert!(get(&world, &path).await.body.contains("Your settings"));
    // It shows nobody's mailbox: a double opt-in is to be confirmed.
    world.topic("news", Purpose::Marketing, OptIn::Double).await;
    let answer = post(&world, &path, "action=save&shown=news&topic=news").await;
    assert!(answer.body.contains("waiting for you to confirm"), "{}", answer.body);
    assert_eq!(consent(&mut world, "news").await.state(), State::Pending);
    world.advance_to("2026-02-02T11:00:00Z");
    assert_eq!(get(&world, &path).await.status, 404);
    let request = CreatePreferenceLinkRequest { customer: by_name("nobody"), ttl_hours: 0 };
    assert_eq!(refusal(world.preferences.create_preference_link(request).await), "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn a_caller_with_pages_of_its_own_unsubscribes_by_the_token_of_the_link() {
    let (mut world, link, _) = anna().await;
    let by = |token: &str| UnsubscribeRequest {
        by: Some(unsubscribe_request::By::Token(token.to_owned())),
        method: ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    assert_eq!(refusal(world.preferences.unsubscribe(by("x")).await), "LINK_INVALID");
    world.preferences.unsubscribe(by(link.strip_prefix("/u/").unwrap())).await.unwrap();
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::OptedOut]);
}

#[tokio::test]
async fn the_links_of_a_deleted_customer_lead_nowhere_and_unsubscribing_succeeds() {
    let (mut world, link, preferences_link) = anna().await;
    let request = DeleteCustomerRequest { customer: by_name("anna"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    assert_eq!(get(&world, &preferences_link).await.status, 404);
    assert_eq!(post(&world, &link, ONE_CLICK).await.status, 200);
    assert_eq!(ledger(&mut world).await.len(), 1);
}

#[tokio::test]
async fn a_page_that_is_older_than_a_withdrawal_does_not_take_it_back() {
    let (mut world, link, preferences_link) = anna().await;
    assert!(get(&world, &preferences_link).await.body.contains("name=\"was\" value=\"offers\""));
    post(&world, &link, ONE_CLICK).await;
    world.advance_to("2026-02-03T09:00:00Z");
    let form = "action=save&shown=offers&was=offers&topic=offers&shown=orders&was=orders&topic=orders&frequency=weekly";
    assert!(post(&world, &preferences_link, form).await.body.contains("Your settings are saved"));
    assert!(blocks(&mut world, "offers").await.contains(&BlockReason::OptedOut));
    assert_eq!(preferences(&mut world).await.caps.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_granted_keeps_nobody_from_withdrawing_the_rest() {
    let (mut world, _, link) = anna().await;
    world.topic("news", Purpose::Marketing, OptIn::Single).await;
    // The address is gone to which the message went.
    let request = rapport::rpc::proto::GetCustomerRequest { customer: by_name("anna"), show_deleted: false };
    let anna = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    let address_id = anna.addresses[0].address_id.clone();
    let request = rapport::rpc::proto::RemoveAddressRequest { customer: by_name("anna"), address_id };
    world.customers.remove_address(request).await.unwrap();
    let body = get(&world, &link).await.body;
    assert!(!body.contains("value=\"offers\" checked"), "a grant goes with its address: {body}");
    world.advance_to("2026-02-03T09:00:00Z");
    let form = "action=save&shown=orders&was=orders&shown=news&topic=news&frequency=weekly&quiet_from=&quiet_to=";
    assert_eq!(post(&world, &link, form).await.status, 200);
    assert!(blocks(&mut world, "orders").await.contains(&BlockReason::OptedOut));
    assert_eq!(preferences(&mut world).await.caps.len(), 1);
}

#[tokio::test]
async fn the_link_of_a_message_that_is_needed_unsubscribes_from_nothing() {
    let (mut world, ..) = anna().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    let sent = world.send("anna", "receipts", "check-in").await;
    world.dispatch().await;
    let link = links().unsubscribe(sent.contact_id.parse().unwrap());
    assert!(get(&world, &link).await.body.contains("This message is necessary"));
    assert!(post(&world, &link, ONE_CLICK).await.body.contains("This message is necessary"));
    assert_eq!(ledger(&mut world).await.len(), 1);
    post(&world, &link, "action=marketing").await;
    assert!(preferences(&mut world).await.objection_time.is_some());
}

#[tokio::test]
async fn what_is_noticed_of_messages_can_be_ended_on_the_page() {
    let (mut world, _, link) = anna().await;
    assert!(!get(&world, &link).await.body.contains("name=\"tracked\""));
    let request = SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: ConsentMethod::WebForm.into(),
        data_use: rapport::rpc::proto::DataUse::ClickTracking.into(),
        ..Default::default()
    };
    world.preferences.set_consent(request).await.unwrap();
    assert!(get(&world, &link).await.body.contains("name=\"tracked\""));
    world.advance_to("2026-02-03T09:00:00Z");
    post(&world, &link, "action=save&was_tracked=yes&tracked=yes").await;
    assert!(get(&world, &link).await.body.contains("name=\"tracked\""));
    post(&world, &link, "action=save&was_tracked=yes").await;
    assert!(!get(&world, &link).await.body.contains("name=\"tracked\""));
}

#[tokio::test]
async fn whoever_stands_in_the_door_and_says_nothing_keeps_nobody_else_out() {
    let (world, link, _) = anna().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.http_addr()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(get(&world, &link).await.status, 200);
}
