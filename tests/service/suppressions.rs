//! Addresses that are not written to, whoever has them.

use rapport::{
    clock::Timestamp,
    rpc::proto::{
        AddAddressRequest, Address, BlockReason, CheckContactabilityRequest, ConsentMethod, CreateSuppressionRequest,
        CreateTopicRequest, DeleteSuppressionRequest, ListSuppressionsRequest, Purpose, ScheduleContactRequest,
        SetConsentRequest, Suppression, Topic, contact, schedule_contact_request::Due, set_consent_request::Decision,
        suppression::Cause, topic::OptIn,
    },
};

use super::harness::{World, ad_hoc, at, by_name, email, refusal, wire, wrong_fields};

fn of(address: &str, cause: Cause) -> CreateSuppressionRequest {
    let suppression = Suppression { address: address.into(), cause: cause.into(), ..Suppression::default() };
    CreateSuppressionRequest { suppression: Some(suppression), ..Default::default() }
}

async fn suppress(world: &mut World, address: &str, cause: Cause) -> Suppression {
    let answer = world.preferences.create_suppression(of(address, cause)).await;
    answer.unwrap().into_inner().suppression.unwrap()
}

async fn lift(world: &mut World, id: &str) -> Result<(), String> {
    let request = DeleteSuppressionRequest { suppression_id: id.into(), reason: "they wrote to us".into() };
    match world.preferences.delete_suppression(request).await {
        Ok(_) => Ok(()),
        refused => Err(refusal(refused)),
    }
}

async fn listed(world: &mut World, address: &str) -> Vec<Suppression> {
    let request = ListSuppressionsRequest { address: address.into(), ..Default::default() };
    world.preferences.list_suppressions(request).await.unwrap().into_inner().suppressions
}

/// What stands in the way of a message about a topic.
async fn blocks(world: &mut World, topic: &str) -> Vec<BlockReason> {
    let request =
        CheckContactabilityRequest { customer: by_name("anna"), topic_id: topic.into(), ..Default::default() };
    let answer = world.preferences.check_contactability(request).await.unwrap().into_inner();
    answer.checks.iter().filter_map(|check| check.block.as_ref()).map(|block| block.reason()).collect()
}

/// Anna, who agreed to offers, and a topic of every kind.
async fn anna() -> World {
    let mut world = World::new().await;
    world.shop().await;
    world.topic("receipts", Purpose::Transactional, OptIn::None).await;
    let essential = Topic {
        topic_id: "passwords".into(),
        purpose: Purpose::Transactional.into(),
        essential: true,
        ..Topic::default()
    };
    let request = CreateTopicRequest { topic: Some(essential), ..Default::default() };
    let topic = world.preferences.create_topic(request).await.unwrap().into_inner().topic.unwrap();
    assert!(topic.essential);
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    world
}

fn grant(method: ConsentMethod) -> SetConsentRequest {
    SetConsentRequest {
        customer: by_name("anna"),
        topic_id: "offers".into(),
        decision: Decision::Grant.into(),
        method: method.into(),
        ..Default::default()
    }
}

async fn agree(world: &mut World, method: ConsentMethod) {
    world.preferences.set_consent(grant(method)).await.unwrap();
}

#[tokio::test]
async fn each_cause_stops_what_it_must_and_lets_the_rest_through() {
    const TOPICS: [&str; 4] = ["passwords", "receipts", "orders", "offers"];
    for (cause, reason, stopped) in [
        (Cause::Legal, BlockReason::Legal, 4),
        (Cause::HardBounce, BlockReason::HardBounce, 4),
        (Cause::Operator, BlockReason::SuppressedByOperator, 4),
        (Cause::Complaint, BlockReason::Complaint, 3),
        (Cause::SoftBounces, BlockReason::SoftBounces, 2),
    ] {
        let mut world = anna().await;
        let mut contacts = Vec::new();
        for topic in TOPICS {
            let due = Timestamp::from_timestamp(world.now().timestamp() + 3_600, 0).map(wire);
            let request = ScheduleContactRequest { due: due.map(Due::DueTime), ..ad_hoc("anna", topic, "check-in") };
            let planned = world.contacts.schedule_contact(request).await.unwrap().into_inner().contact;
            contacts.push(planned.unwrap().contact_id);
        }
        // The address is the same however it is written.
        suppress(&mut world, "Anna@Example.COM", cause).await;
        world.dispatch_after_hours(1).await;
        assert_eq!(world.mail().len(), TOPICS.len() - stopped, "{cause:?}");
        for (place, (topic, id)) in TOPICS.into_iter().zip(&contacts).enumerate() {
            let (contact, stops) = (world.contact(id).await, place >= TOPICS.len() - stopped);
            let expected = if stops { contact::State::Suppressed } else { contact::State::Sent };
            assert_eq!(contact.state(), expected, "{cause:?} {topic}");
            assert_eq!(contact.block.map(|block| block.reason()), stops.then_some(reason), "{cause:?} {topic}");
            assert_eq!(blocks(&mut world, topic).await, if stops { vec![reason] } else { vec![] }, "{cause:?} {topic}");
        }
        let why = world.explain(&contacts[3]).await.summary;
        assert!(why.contains("A…@example.com") && !why.to_lowercase().contains("anna@"), "{why}");
    }
}

#[tokio::test]
async fn another_address_is_not_concerned_and_a_new_one_of_the_customer_is_written_to() {
    let mut world = anna().await;
    suppress(&mut world, "anna+shop@example.com", Cause::HardBounce).await;
    assert_eq!(blocks(&mut world, "orders").await, []);
    suppress(&mut world, "anna@example.com", Cause::HardBounce).await;
    assert_eq!(blocks(&mut world, "orders").await, [BlockReason::HardBounce]);
    let request = AddAddressRequest {
        customer: by_name("anna"),
        address: Some(Address { primary: true, ..email("anna@example.org") }),
        ..Default::default()
    };
    world.customers.add_address(request).await.unwrap();
    assert_eq!(blocks(&mut world, "orders").await, []);
    // Whoever comes with the old address finds it as it was left.
    world.customer_with("bo", |bo| bo.addresses = vec![email("bo@example.com")]).await;
    assert_eq!(listed(&mut world, "anna@example.com").await.len(), 1);
}

#[tokio::test]
async fn an_operator_lifts_what_is_an_operators_to_lift() {
    let mut world = anna().await;
    for (cause, lifted) in [
        (Cause::HardBounce, Ok(())),
        (Cause::Operator, Ok(())),
        (Cause::SoftBounces, Ok(())),
        (Cause::Complaint, Err("SUPPRESSION_STANDS".to_owned())),
        (Cause::Legal, Err("SUPPRESSION_STANDS".to_owned())),
    ] {
        let suppression = suppress(&mut world, "anna@example.com", cause).await;
        assert_eq!(lift(&mut world, &suppression.suppression_id).await, lifted, "{cause:?}");
        if lifted.is_ok() {
            assert_eq!(lift(&mut world, &suppression.suppression_id).await, Err("SUPPRESSION_NOT_FOUND".to_owned()));
            assert_eq!(blocks(&mut world, "orders").await, []);
        }
    }
    let left: Vec<Cause> = listed(&mut world, "").await.iter().map(Suppression::cause).collect();
    assert_eq!(left, [Cause::Complaint, Cause::Legal]);
}

#[tokio::test]
async fn only_a_later_act_of_the_customers_own_lifts_a_complaint() {
    let mut world = anna().await;
    suppress(&mut world, "anna@example.com", Cause::Complaint).await;
    suppress(&mut world, "anna@example.com", Cause::HardBounce).await;
    for method in [ConsentMethod::Import, ConsentMethod::Operator] {
        agree(&mut world, method).await;
        assert_eq!(blocks(&mut world, "offers").await, [BlockReason::Complaint, BlockReason::HardBounce], "{method:?}");
    }
    let before = SetConsentRequest { occur_time: Some(at("2020-01-01T00:00:00Z")), ..grant(ConsentMethod::WebForm) };
    world.preferences.set_consent(before).await.unwrap();
    assert!(blocks(&mut world, "offers").await.contains(&BlockReason::Complaint), "said before the complaint");
    world.dispatch_after_hours(1).await;
    agree(&mut world, ConsentMethod::WebForm).await;
    // That a mailbox is not there is not for its owner to say.
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::HardBounce]);
}

#[tokio::test]
async fn no_report_brings_the_end_of_a_complaint_nearer_and_a_later_one_outlives_what_was_said_before() {
    let mut world = anna().await;
    let first = suppress(&mut world, "anna@example.com", Cause::Complaint).await;
    let mut again = of("anna@example.com", Cause::Complaint);
    let soon = Timestamp::from_timestamp(world.now().timestamp() + 1, 0).unwrap();
    again.suppression.as_mut().unwrap().expire_time = Some(wire(soon));
    let answer = world.preferences.create_suppression(again).await.unwrap().into_inner().suppression.unwrap();
    assert_eq!((answer.suppression_id, answer.expire_time), (first.suppression_id, None));

    world.dispatch_after_hours(1).await;
    let said = wire(world.now());
    world.dispatch_after_hours(1).await;
    suppress(&mut world, "anna@example.com", Cause::Complaint).await;
    let request = SetConsentRequest { occur_time: Some(said), ..grant(ConsentMethod::WebForm) };
    world.preferences.set_consent(request).await.unwrap();
    assert_eq!(blocks(&mut world, "offers").await, [BlockReason::Complaint]);
}

#[tokio::test]
async fn a_consent_lifts_only_what_concerns_its_own_address() {
    let mut world = anna().await;
    let request =
        AddAddressRequest { customer: by_name("anna"), address: Some(email("anna@example.org")), ..Default::default() };
    let customer = world.customers.add_address(request).await.unwrap().into_inner().customer.unwrap();
    suppress(&mut world, "anna@example.com", Cause::Complaint).await;
    world.dispatch_after_hours(1).await;
    let address_id = customer.addresses[1].address_id.clone();
    let request = SetConsentRequest { address_id, ..grant(ConsentMethod::WebForm) };
    world.preferences.set_consent(request).await.unwrap();
    assert_eq!(listed(&mut world, "anna@example.com").await.len(), 1);
    // What needs no consent is agreed to by nobody.
    let request = SetConsentRequest { topic_id: "orders".into(), ..grant(ConsentMethod::WebForm) };
    world.preferences.set_consent(request).await.unwrap();
    assert_eq!(listed(&mut world, "anna@example.com").await.len(), 1);
}

#[tokio::test]
async fn who_asks_when_it_may_be_written_to_a_suppressed_address_hears_when_that_is_over() {
    let mut world = anna().await;
    let soft = suppress(&mut world, "anna@example.com", Cause::SoftBounces).await;
    let request =
        CheckContactabilityRequest { customer: by_name("anna"), topic_id: "orders".into(), ..Default::default() };
    let answer = world.preferences.check_contactability(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.allowed, answer.next_allowed_time), (false, soft.expire_time));
    suppress(&mut world, "anna@example.com", Cause::Operator).await;
    let answer = world.preferences.check_contactability(request).await.unwrap().into_inner();
    assert_eq!((answer.allowed, answer.next_allowed_time), (false, None));
}

#[tokio::test]
async fn a_suppression_ends_at_its_time_and_that_for_soft_bounces_after_thirty_days() {
    let mut world = anna().await;
    let mut request = of("anna@example.com", Cause::Operator);
    let end = Timestamp::from_timestamp(world.now().timestamp() + 3_600, 0).unwrap();
    request.suppression.as_mut().unwrap().expire_time = Some(wire(end));
    world.preferences.create_suppression(request).await.unwrap();
    let soft = suppress(&mut world, "anna@example.com", Cause::SoftBounces).await;
    let days = soft.expire_time.unwrap().seconds - soft.create_time.unwrap().seconds;
    assert_eq!(days, 30 * 86_400);
    assert_eq!(blocks(&mut world, "orders").await, [BlockReason::SuppressedByOperator, BlockReason::SoftBounces]);
    world.dispatch_after_hours(1).await;
    assert_eq!(blocks(&mut world, "orders").await, [BlockReason::SoftBounces]);
    world.dispatch_after_hours(30 * 24).await;
    assert_eq!(blocks(&mut world, "orders").await, []);
    assert_eq!(listed(&mut world, "").await, []);
    // It can come again.
    suppress(&mut world, "anna@example.com", Cause::SoftBounces).await;
    assert_eq!(blocks(&mut world, "orders").await, [BlockReason::SoftBounces]);
}

#[tokio::test]
async fn there_is_one_for_an_address_and_a_cause_and_repeats_change_nothing_else() {
    let mut world = anna().await;
    let mut request = of("anna@example.com", Cause::Operator);
    request.request_id = "once".into();
    request.suppression.as_mut().unwrap().note = "asked on the phone".into();
    let first = world.preferences.create_suppression(request.clone()).await.unwrap().into_inner().suppression.unwrap();
    assert_eq!((first.masked_address.as_str(), first.address.as_str()), ("a…@example.com", ""));
    let again = world.preferences.create_suppression(request).await.unwrap();
    assert_eq!(again.metadata().get("x-replayed").unwrap(), "true");
    assert_eq!(again.into_inner().suppression.unwrap(), first);
    let renewed = suppress(&mut world, "ANNA@example.com", Cause::Operator).await;
    assert_eq!((&renewed.suppression_id, &renewed.note), (&first.suppression_id, &first.note));
    assert_eq!(listed(&mut world, "").await, [renewed]);
}

#[tokio::test]
async fn suppressions_are_listed_page_by_page_and_found_by_address() {
    let mut world = World::new().await;
    for number in 0..5 {
        suppress(&mut world, &format!("c{number}@example.com"), Cause::Operator).await;
    }
    let mut request = ListSuppressionsRequest { page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let page = world.preferences.list_suppressions(request.clone()).await.unwrap().into_inner();
        found.extend(page.suppressions.into_iter().map(|one| one.masked_address));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, vec!["c…@example.com"; 5]);
    assert_eq!(listed(&mut world, "C3@example.com").await.len(), 1);
    assert_eq!(listed(&mut world, "c9@example.com").await.len(), 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_suppression_is_said_all_at_once() {
    let mut world = World::new().await;
    let wrong = Suppression {
        address: "nobody".into(),
        note: "x".repeat(501),
        expire_time: Some(at("2020-01-01T00:00:00Z")),
        ..Suppression::default()
    };
    let request = CreateSuppressionRequest { suppression: Some(wrong), ..Default::default() };
    let fields = wrong_fields(world.preferences.create_suppression(request).await);
    let all = ["suppression.address", "suppression.cause", "suppression.note", "suppression.expireTime"];
    assert_eq!(fields, all);
    let nothing = world.preferences.create_suppression(CreateSuppressionRequest::default()).await;
    assert_eq!(wrong_fields(nothing), ["suppression"]);
    let delete = DeleteSuppressionRequest { suppression_id: "sup_1".into(), ..Default::default() };
    let fields = wrong_fields(world.preferences.delete_suppression(delete).await);
    assert_eq!(fields, ["suppressionId", "reason"]);
    let essential = Topic { topic_id: "offers".into(), essential: true, ..Topic::default() };
    let request = CreateTopicRequest { topic: Some(essential), ..Default::default() };
    assert_eq!(wrong_fields(world.preferences.create_topic(request).await), ["topic.essential"]);
}
