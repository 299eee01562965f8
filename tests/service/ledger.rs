//! What customers said: kept for ever, confirmed from the mailbox where a topic wants that, and never weaker than what they decided.

use rapport::rpc::proto::{
    AddAddressRequest, Address, BlockReason, Channel, CheckContactabilityRequest, ConfirmConsentRequest, Consent,
    ConsentMethod, ConsentRecord, CreateSuppressionRequest, CreateWordingRequest, DataUse, GetCustomerRequest,
    GetPreferencesRequest, ListConsentRecordsRequest, ListTopicsRequest, ListWordingsRequest, LocalizedText, Purpose,
    ScheduleContactRequest, SetConsentRequest, SetConsentResponse, Suppression, Topic, UnsubscribeRequest,
    UpdateTopicRequest, Wording, consent::State, consent_record::Act, contact, schedule_contact_request::Due,
    set_consent_request::Decision, suppression, topic::OptIn, unsubscribe_request,
};
use sea_orm::{ConnectionTrait, DbBackend};
use sha2::{Digest, Sha256};

use super::harness::{World, ad_hoc, at, by_name, campaign, email, refusal, step, wrong_fields};

/// Anna, and a newsletter that wants to be confirmed.
async fn anna() -> World {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("news", Purpose::Marketing, OptIn::Double).await;
    world.customer("anna", "").await;
    world
}

fn wish(topic: &str, method: ConsentMethod) -> SetConsentRequest {
    SetConsentRequest {
        customer: by_name("anna"),
        topic_id: topic.into(),
        decision: Decision::Grant.into(),
        method: method.into(),
        ..Default::default()
    }
}

async fn say(world: &mut World, request: SetConsentRequest) -> SetConsentResponse {
    world.preferences.set_consent(request).await.expect("recorded").into_inner()
}

async fn ask(world: &mut World, topic: &str) -> SetConsentResponse {
    say(world, wish(topic, ConsentMethod::WebForm)).await
}

async fn withdraw(world: &mut World, topic: &str) {
    let request = SetConsentRequest { decision: Decision::Withdraw.into(), ..wish(topic, ConsentMethod::WebForm) };
    say(world, request).await;
}

async fn press(world: &mut World, token: &str) -> Result<Consent, String> {
    let request = ConfirmConsentRequest { token: token.into(), evidence: "pressed the button".into() };
    match world.preferences.confirm_consent(request).await {
        Ok(answer) => Ok(answer.into_inner().consent.expect("a consent")),
        refused => Err(refusal(refused)),
    }
}

/// The token of the link in the latest mail that has one.
fn token(world: &World) -> String {
    let mail = world.mail();
    let link = mail.iter().rev().find_map(|mail| mail.text.split("/c/").nth(1).map(str::to_owned)).expect("a link");
    link.split_whitespace().next().expect("a token").to_owned()
}

async fn ledger(world: &mut World) -> Vec<ConsentRecord> {
    let request = ListConsentRecordsRequest { customer: by_name("anna"), ..Default::default() };
    world.preferences.list_consent_records(request).await.expect("listed").into_inner().records
}

async fn consents(world: &mut World) -> Vec<Consent> {
    let request = GetPreferencesRequest { customer: by_name("anna") };
    world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap().consents
}

async fn blocks(world: &mut World, topic: &str) -> Vec<BlockReason> {
    let request =
        CheckContactabilityRequest { customer: by_name("anna"), topic_id: topic.into(), ..Default::default() };
    let answer = world.preferences.check_contactability(request).await.unwrap().into_inner();
    answer.checks.iter().filter_map(|check| check.block.as_ref()).map(|block| block.reason()).collect()
}

#[tokio::test]
async fn a_double_opt_in_waits_for_the_mailbox_and_what_waited_for_it_goes_out() {
    let mut world = anna().await;
    let asked = ask(&mut world, "news").await;
    assert_eq!((asked.consent.unwrap().state(), asked.confirmation_planned), (State::Pending, true));
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::ConsentPending]);
    let waiting = world.send("anna", "news", "offer").await;
    world.dispatch().await;
    let mail = world.mail();
    assert_eq!(
        (mail.len(), mail[0].to.as_str(), mail[0].subject.as_str()),
        (1, "anna@example.com", "Please confirm: news")
    );
    assert!(mail[0].html.as_deref().unwrap_or_default().contains(&token(&world)));
    let waits = world.contact(&waiting.contact_id).await;
    assert_eq!(
        (waits.state(), waits.block.unwrap().reason()),
        (contact::State::Scheduled, BlockReason::ConsentPending)
    );

    let token = token(&world);
    let confirmed = press(&mut world, &token).await.unwrap();
    assert_eq!((confirmed.state(), confirmed.expire_time), (State::Granted, None));
    world.dispatch().await;
    assert_eq!(world.contact(&waiting.contact_id).await.state(), contact::State::Sent);
    let ledger = ledger(&mut world).await;
    let told: Vec<_> = ledger.iter().map(|one| (one.act(), one.from_state(), one.to_state(), one.method())).collect();
    assert_eq!(
        told,
        [
            (Act::Request, State::Unspecified, State::Pending, ConsentMethod::WebForm),
            (Act::Grant, State::Pending, State::Granted, ConsentMethod::DoubleOptIn),
        ]
    );
    assert_eq!(ledger[0].contact_id, ledger[1].contact_id);
    assert_eq!((ledger[1].actor.as_str(), ledger[1].evidence.as_str()), ("anonymous", "pressed the button"));
}

#[tokio::test]
async fn what_nobody_confirms_within_seven_days_is_over() {
    let mut world = anna().await;
    ask(&mut world, "news").await;
    world.dispatch().await;
    let token = token(&world);
    let request = ScheduleContactRequest {
        expire_time: Some(at("2026-03-01T00:00:00Z")),
        due: Some(Due::DueTime(at("2026-02-04T00:00:00Z"))),
        ..ad_hoc("anna", "news", "offer")
    };
    let waiting = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap();
    world.dispatch_after_hours(24 * 7).await;
    assert_eq!(consents(&mut world).await[0].state(), State::Expired);
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::ConsentExpired]);
    assert_eq!(press(&mut world, &token).await, Err("CONFIRMATION_EXPIRED".to_owned()));
    let ended = world.contact(&waiting.contact_id).await;
    assert_eq!(
        (ended.state(), ended.block.unwrap().reason()),
        (contact::State::Suppressed, BlockReason::ConsentExpired)
    );
    assert_eq!(press(&mut world, "nonsense").await, Err("LINK_INVALID".to_owned()));
    // Whoever asks anew gets a link that works.
    ask(&mut world, "news").await;
    world.dispatch().await;
    let token = self::token(&world);
    assert_eq!(press(&mut world, &token).await.unwrap().state(), State::Granted);
}

#[tokio::test]
async fn a_link_confirms_once_and_not_again_after_a_withdrawal() {
    let mut world = anna().await;
    ask(&mut world, "news").await;
    world.dispatch().await;
    let token = token(&world);
    press(&mut world, &token).await.unwrap();
    let request = GetCustomerRequest { customer: by_name("anna"), ..Default::default() };
    let anna = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(anna.addresses[0].verify_time, Some(at("2026-02-02T09:00:00Z")));
    assert_eq!(press(&mut world, &token).await.unwrap().state(), State::Granted);
    assert_eq!(ledger(&mut world).await.len(), 2);
    world.advance_to("2026-02-03T09:00:00Z");
    withdraw(&mut world, "news").await;
    assert_eq!(press(&mut world, &token).await.unwrap().state(), State::Denied);
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::OptedOut]);
}

#[tokio::test]
async fn whoever_types_the_address_of_another_again_and_again_sends_three_mails_a_day() {
    let mut world = anna().await;
    let mut planned = Vec::new();
    for _ in 0..5 {
        planned.push(ask(&mut world, "news").await.confirmation_planned);
    }
    assert_eq!(planned, [true, true, true, false, false]);
    world.dispatch().await;
    assert_eq!(world.mail().len(), 3);
    world.advance_to("2026-03-01T00:00:00Z");
    assert!(ask(&mut world, "news").await.confirmation_planned);
}

#[tokio::test]
async fn a_request_changes_nothing_of_what_was_decided_until_it_is_confirmed() {
    let mut world = anna().await;
    let elsewhere = SetConsentRequest {
        evidence: "confirmed in the shop's own mail".into(),
        ..wish("news", ConsentMethod::DoubleOptIn)
    };
    assert_eq!(say(&mut world, elsewhere).await.consent.unwrap().state(), State::Granted);
    // Once more for the same address: it holds already, and nobody is asked.
    let again = ask(&mut world, "news").await;
    assert_eq!((again.consent.unwrap().state(), again.confirmation_planned), (State::Granted, false));
    world.advance_to("2026-02-03T09:00:00Z");
    withdraw(&mut world, "news").await;
    world.advance_to("2026-02-04T09:00:00Z");
    let asked = ask(&mut world, "news").await;
    assert_eq!((asked.consent.unwrap().state(), asked.confirmation_planned), (State::Denied, true));
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::OptedOut]);
    let import = world.preferences.set_consent(wish("news", ConsentMethod::Import)).await;
    assert_eq!(refusal(import), "CONSENT_WITHDRAWN");
    world.dispatch().await;
    let token = token(&world);
    assert_eq!(press(&mut world, &token).await.unwrap().state(), State::Granted);
    assert_eq!(blocks(&mut world, "news").await, []);
}

#[tokio::test]
async fn the_question_goes_to_the_address_that_the_consent_is_for_and_binds_to_it() {
    let mut world = anna().await;
    let second = Address { primary: false, ..email("anna@work.example") };
    let request = AddAddressRequest { customer: by_name("anna"), address: Some(second), ..Default::default() };
    let anna = world.customers.add_address(request).await.unwrap().into_inner().customer.unwrap();
    let second = anna.addresses.iter().find(|address| !address.primary).unwrap().address_id.clone();
    let request = SetConsentRequest { address_id: second.clone(), ..wish("news", ConsentMethod::WebForm) };
    say(&mut world, request).await;
    world.dispatch().await;
    assert_eq!(world.mail()[0].to, "anna@work.example");
    let token = token(&world);
    assert_eq!(press(&mut world, &token).await.unwrap().address_id, second);
    world.send("anna", "news", "offer").await;
    world.dispatch().await;
    assert_eq!(world.mail()[1].to, "anna@work.example");
}

#[tokio::test]
async fn the_question_is_asked_in_the_customers_language_with_the_words_that_are_agreed_to() {
    let mut world = anna().await;
    world.customer_with("jānis", |customer| customer.locale = "lv-LV".into()).await;
    let text = |locale: &str, text: &str| LocalizedText { locale: locale.into(), text: text.into() };
    let topic = Topic {
        topic_id: "news".into(),
        names: vec![text("", "Newsletter"), text("lv", "Jaunumi")],
        descriptions: vec![text("lv", "Reizi mēnesī")],
        ..Topic::default()
    };
    let request = UpdateTopicRequest { topic: Some(topic), ..Default::default() };
    let topic = world.preferences.update_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert_eq!((topic.names.len(), topic.descriptions.len(), topic.opt_in()), (2, 1, OptIn::Double));
    let words = "Vēlos saņemt jaunumus reizi mēnesī.";
    let wording = Wording { topic_id: "news".into(), locale: "lv".into(), text: words.into(), ..Wording::default() };
    let request = CreateWordingRequest { wording: Some(wording), request_id: "w1".into() };
    let wording = world.preferences.create_wording(request.clone()).await.unwrap().into_inner().wording.unwrap();
    let again = world.preferences.create_wording(request).await.unwrap();
    assert_eq!(again.metadata().get("x-replayed").unwrap(), "true");
    assert_eq!(again.into_inner().wording.unwrap(), wording);
    let request = SetConsentRequest {
        customer: by_name("jānis"),
        wording_id: wording.wording_id.clone(),
        ..wish("news", ConsentMethod::WebForm)
    };
    let consent = say(&mut world, request).await.consent.unwrap();
    assert_eq!(consent.wording_id, wording.wording_id);
    world.dispatch().await;
    let mail = world.mail().remove(0);
    assert_eq!(mail.subject, "Lūdzu, apstipriniet: Jaunumi");
    assert!(mail.text.contains(words), "{}", mail.text);
    let token = token(&world);
    assert_eq!(press(&mut world, &token).await.unwrap().wording_id, wording.wording_id);

    let listed = world.preferences.list_wordings(ListWordingsRequest { topic_id: "news".into(), ..Default::default() });
    assert_eq!(listed.await.unwrap().into_inner().wordings, std::slice::from_ref(&wording));
    let request = SetConsentRequest { wording_id: wording.wording_id, ..wish("offers", ConsentMethod::WebForm) };
    assert_eq!(refusal(world.preferences.set_consent(request).await), "WORDING_NOT_FOUND");
    let request = CreateWordingRequest { wording: Some(Wording::default()), ..Default::default() };
    assert_eq!(wrong_fields(world.preferences.create_wording(request).await), ["wording.topicId", "wording.text"]);
}

#[tokio::test]
async fn the_database_itself_refuses_to_change_what_was_said() {
    let mut world = anna().await;
    ask(&mut world, "offers").await;
    let wording = Wording { topic_id: "offers".into(), text: "Offers, please.".into(), ..Wording::default() };
    let request = CreateWordingRequest { wording: Some(wording), ..Default::default() };
    world.preferences.create_wording(request).await.unwrap();
    let db = world.own_connection().await;
    // Only SQLite knows it.
    let replace = match db.get_database_backend() {
        DbBackend::Sqlite => "REPLACE INTO consent_records SELECT * FROM consent_records",
        _ => "TRUNCATE consent_records",
    };
    for statement in [
        "UPDATE consent_records SET act = 'grant'",
        "DELETE FROM consent_records",
        replace,
        "UPDATE wordings SET text = 'Everything, please.'",
        "DELETE FROM wordings",
    ] {
        let refused = db.execute_unprepared(statement).await.map(|done| done.rows_affected());
        let sentence = refused.map_err(|error| error.to_string()).expect_err(statement);
        assert!(sentence.contains("is append-only"), "{statement}: {sentence}");
    }
    assert_eq!(ledger(&mut world).await.len(), 1);
    drop(db);
}

#[tokio::test]
async fn evidence_can_be_removed_while_its_digest_stays() {
    let mut world = anna().await;
    let request =
        SetConsentRequest { evidence: "form 7, 192.0.2.0/24".into(), ..wish("offers", ConsentMethod::WebForm) };
    say(&mut world, request).await;
    let before = ledger(&mut world).await.remove(0);
    let salt: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&before.evidence_salt[at..at + 2], 16).unwrap()).collect();
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update(&before.actor)
        .chain_update([0])
        .chain_update(&before.evidence)
        .finalize();
    assert_eq!(before.evidence_digest, digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let db = world.own_connection().await;
    db.execute_unprepared("DELETE FROM consent_evidence").await.unwrap();
    let after = ledger(&mut world).await.remove(0);
    assert_eq!((after.actor.as_str(), after.evidence.as_str(), after.evidence_salt.as_str()), ("", "", ""));
    assert_eq!(after.evidence_digest, before.evidence_digest);
    drop(db);
}

#[tokio::test]
async fn a_soft_opt_in_needs_a_reason_and_an_end_and_is_over_then() {
    let mut world = anna().await;
    world.topic("similar", Purpose::Marketing, OptIn::Soft).await;
    let bare = wish("similar", ConsentMethod::Operator);
    assert_eq!(wrong_fields(world.preferences.set_consent(bare.clone()).await), ["evidence", "expireTime"]);
    let request = SetConsentRequest {
        evidence: "bought order-1, told at the till".into(),
        expire_time: Some(at("2026-06-01T00:00:00Z")),
        ..bare
    };
    assert_eq!(say(&mut world, request).await.consent.unwrap().state(), State::Granted);
    assert_eq!(blocks(&mut world, "similar").await, []);
    world.advance_to("2026-06-01T00:00:00Z");
    assert_eq!(blocks(&mut world, "similar").await, [BlockReason::ConsentExpired]);
    assert_eq!(consents(&mut world).await[0].state(), State::Expired);
    // Who agrees needs neither.
    assert_eq!(ask(&mut world, "similar").await.consent.unwrap().state(), State::Granted);
}

#[tokio::test]
async fn consent_to_be_tracked_is_another_consent_than_that_to_be_written_to() {
    let mut world = anna().await;
    let request = SetConsentRequest { data_use: DataUse::OpenTracking.into(), ..wish("news", ConsentMethod::WebForm) };
    let tracked = say(&mut world, request).await;
    assert_eq!((tracked.consent.unwrap().state(), tracked.confirmation_planned), (State::Granted, false));
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::NoConsent]);
    ask(&mut world, "offers").await;
    let request = SetConsentRequest {
        data_use: DataUse::ClickTracking.into(),
        decision: Decision::Withdraw.into(),
        ..wish("offers", ConsentMethod::WebForm)
    };
    say(&mut world, request).await;
    assert_eq!(blocks(&mut world, "offers").await, []);
    let uses: Vec<_> =
        consents(&mut world).await.iter().map(|one| (one.topic_id.clone(), one.data_use(), one.state())).collect();
    assert_eq!(
        uses,
        [
            ("news".to_owned(), DataUse::OpenTracking, State::Granted),
            ("offers".to_owned(), DataUse::ClickTracking, State::Denied),
            ("offers".to_owned(), DataUse::Messages, State::Granted),
        ]
    );
}

#[tokio::test]
async fn nothing_new_is_planned_about_an_archived_topic_and_what_is_planned_goes_on() {
    let mut world = anna().await;
    ask(&mut world, "offers").await;
    let planned = world.send("anna", "offers", "offer").await;
    let topic = Topic { topic_id: "offers".into(), archived: true, ..Topic::default() };
    let request = UpdateTopicRequest { topic: Some(topic), ..Default::default() };
    let topic = world.preferences.update_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert!(topic.archived && !topic.names.is_empty(), "{topic:?}");
    world.dispatch().await;
    assert_eq!(world.contact(&planned.contact_id).await.state(), contact::State::Sent);
    assert_eq!(refusal(world.contacts.schedule_contact(ad_hoc("anna", "offers", "offer")).await), "TOPIC_ARCHIVED");
    assert_eq!(refusal(world.preferences.set_consent(wish("offers", ConsentMethod::WebForm)).await), "TOPIC_ARCHIVED");
    withdraw(&mut world, "offers").await;
    let plan = campaign("late", "offers", vec![step("ask", super::harness::after_hours(1), "offer")]);
    let request = rapport::rpc::proto::CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    assert_eq!(refusal(world.campaigns.create_campaign(request).await), "TOPIC_ARCHIVED");
    let listed = async |world: &mut World, show_archived| {
        let request = ListTopicsRequest { show_archived, ..Default::default() };
        world.preferences.list_topics(request).await.unwrap().into_inner().topics.len()
    };
    assert_eq!((listed(&mut world, false).await, listed(&mut world, true).await), (3, 4));
    let stale = Topic { etag: "stale".into(), ..topic.clone() };
    let request = UpdateTopicRequest { topic: Some(stale), ..Default::default() };
    assert_eq!(refusal(world.preferences.update_topic(request).await), "ETAG_MISMATCH");
    let wrong = Topic { opt_in: OptIn::None.into(), etag: String::new(), ..topic };
    let request = UpdateTopicRequest { topic: Some(wrong), ..Default::default() };
    assert_eq!(wrong_fields(world.preferences.update_topic(request).await), ["topic.optIn"]);
}

#[tokio::test]
async fn the_ledger_is_read_page_by_page_and_tells_objections_apart() {
    let mut world = anna().await;
    ask(&mut world, "offers").await;
    let objection = UnsubscribeRequest {
        by: Some(unsubscribe_request::By::Customer(by_name("anna").unwrap())),
        scope: Some(unsubscribe_request::Scope::AllMarketing(true)),
        method: ConsentMethod::Reply.into(),
        comment: "Too many.".into(),
        ..Default::default()
    };
    world.preferences.unsubscribe(objection.clone()).await.unwrap();
    let silence = UnsubscribeRequest { scope: Some(unsubscribe_request::Scope::Everything(true)), ..objection };
    world.preferences.unsubscribe(silence).await.unwrap();
    let (mut token, mut acts) = (String::new(), Vec::new());
    loop {
        let request = ListConsentRecordsRequest { customer: by_name("anna"), page_size: 1, page_token: token };
        let page = world.preferences.list_consent_records(request).await.unwrap().into_inner();
        acts.extend(
            page.records.iter().map(|one| (one.act(), one.topic_id.clone(), one.channel(), one.evidence.clone())),
        );
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let all = String::new();
    assert_eq!(
        acts,
        [
            (Act::Grant, "offers".to_owned(), Channel::Email, String::new()),
            (Act::Object, all.clone(), Channel::Unspecified, "Too many.".to_owned()),
            (Act::Silence, all, Channel::Unspecified, "Too many.".to_owned()),
        ]
    );
}

async fn leave(world: &mut World, scope: unsubscribe_request::Scope) {
    let request = UnsubscribeRequest {
        by: Some(unsubscribe_request::By::Customer(by_name("anna").unwrap())),
        scope: Some(scope),
        method: ConsentMethod::Reply.into(),
        ..Default::default()
    };
    world.preferences.unsubscribe(request).await.unwrap();
}

#[tokio::test]
async fn a_form_that_nobody_confirmed_lifts_neither_silence_nor_a_complaint() {
    let mut world = anna().await;
    let elsewhere = SetConsentRequest { evidence: "by mail".into(), ..wish("news", ConsentMethod::DoubleOptIn) };
    say(&mut world, elsewhere).await;
    let suppression = Suppression {
        address: "anna@example.com".into(),
        cause: suppression::Cause::Complaint.into(),
        ..Suppression::default()
    };
    let request = CreateSuppressionRequest { suppression: Some(suppression), ..Default::default() };
    world.preferences.create_suppression(request).await.unwrap();
    world.advance_to("2026-02-03T09:00:00Z");
    // It holds already, says nothing of the complaint, and does not outdo a withdrawal that comes late.
    let before = consents(&mut world).await;
    assert!(!ask(&mut world, "news").await.confirmation_planned);
    assert_eq!(consents(&mut world).await, before);
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::Complaint]);
    leave(&mut world, unsubscribe_request::Scope::Everything(true)).await;
    world.advance_to("2026-02-04T09:00:00Z");
    assert!(ask(&mut world, "news").await.confirmation_planned);
    assert_eq!(blocks(&mut world, "news").await, [BlockReason::Complaint, BlockReason::Objected]);
    world.dispatch().await;
    let token = token(&world);
    press(&mut world, &token).await.unwrap();
    assert_eq!(blocks(&mut world, "news").await, []);
}
