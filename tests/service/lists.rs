//! Lists that are filtered: by the fields of what they list, page by page, and with an answer that says where a filter is wrong.

use rapport::{
    filter::{Kind, Schema},
    rpc::proto::{
        self, ArchiveTemplateRequest, BatchCancelContactsRequest, ListCampaignsRequest, ListContactsRequest,
        ListCustomersRequest, ListDeliveryEventsRequest, ListEnrollmentsRequest, ListEventsRequest,
        ListSuppressionsRequest, ListTemplatesRequest, PauseCampaignRequest, schedule_contact_request::Due,
    },
};
use serde_json::json;
use tonic_types::StatusExt;

use super::harness::{
    World, ad_hoc, after_hours, at, by_name, campaign, email, refusal, step, structure, template, variant, wrong_fields,
};

async fn names(world: &mut World, filter: &str) -> Vec<String> {
    let request = ListCustomersRequest { filter: filter.to_owned(), ..Default::default() };
    let found = world.customers.list_customers(request).await;
    let found = found.unwrap_or_else(|status| panic!("{filter}: {}", status.message())).into_inner().customers;
    found.into_iter().map(|customer| customer.given_name).collect()
}

#[tokio::test]
async fn customers_are_found_by_what_is_known_about_them_and_by_what_they_did() {
    let mut world = World::new().await;
    world.shop().await;
    world
        .customer_with("anna", |customer| {
            customer.locale = "lv".to_owned();
            customer.tags = vec!["vip".to_owned(), "early bird".to_owned()];
            customer.attributes =
                Some(structure(json!({"plan": "gold", "orders": 7, "renewal": "2026-03-01", "shoe size": 38})));
        })
        .await;
    world
        .customer_with("bela", |customer| {
            customer.attributes = Some(structure(json!({"plan": "Gold", "orders": "7", "renewal": "soon"})));
            customer.addresses.push(email("bela@other.example"));
        })
        .await;
    world.customer_with("cleo", |customer| customer.display_name = "Cleo 100%".to_owned()).await;
    world.happens("order.placed", "anna", "1").await;
    world.happens("order.placed", "anna", "2").await;
    world.happens("order.placed", "cleo", "3").await;
    world.consent("anna", "offers", proto::set_consent_request::Decision::Grant).await;
    world.consent("bela", "offers", proto::set_consent_request::Decision::Withdraw).await;
    world.send("anna", "orders", "offer").await;
    world.dispatch().await;

    for (filter, expected) in [
        ("attributes.plan = \"gold\"", vec!["anna"]),
        ("attributes.plan = 'gold'", vec!["anna"]),
        ("NOT attributes.plan = \"gold\"", vec!["bela", "cleo"]),
        ("attributes.plan != \"gold\"", vec!["bela"]),
        ("attributes.plan:*", vec!["anna", "bela"]),
        ("attributes.orders >= 5", vec!["anna"]),
        ("attributes.\"shoe size\" < 40", vec!["anna"]),
        ("attributes.renewal > \"2026-02-15\"", vec!["anna"]),
        ("days_since(attributes.renewal) >= -30", vec!["anna"]),
        ("tags:\"vip\" OR display_name = \"*100%\"", vec!["anna", "cleo"]),
        ("tags:\"early*\"", vec!["anna"]),
        ("external_ids:\"bela\"", vec!["bela"]),
        ("addresses.value:\"*@other.example\"", vec!["bela"]),
        ("locale:*", vec!["anna"]),
        ("event_count(\"order.placed\", 30) >= 2", vec!["anna"]),
        ("event_count(\"order.placed\", 30) = 0", vec!["bela"]),
        ("last_event(\"order.placed\") >= \"2026-02-02\"", vec!["anna", "cleo"]),
        ("NOT days_since(last_event(\"order.placed\")) < 10", vec!["bela"]),
        ("consented(\"offers\", CHANNEL_EMAIL)", vec!["anna"]),
        ("-consented(\"offers\", CHANNEL_EMAIL)", vec!["bela", "cleo"]),
        ("contacted(\"orders\", 7) AND contacted(\"service\", 7)", vec!["anna"]),
        ("contacted(\"marketing\", 7)", vec![]),
        // OR binds tighter.
        ("tags:\"vip\" AND locale = \"de\" OR locale = \"lv\"", vec!["anna"]),
    ] {
        assert_eq!(names(&mut world, filter).await, expected, "{filter}");
    }

    let request = ListCustomersRequest {
        filter: "given_name:*".to_owned(),
        page_size: 2,
        include_total: true,
        ..Default::default()
    };
    let first = world.customers.list_customers(request.clone()).await.unwrap().into_inner();
    assert_eq!((first.customers.len(), first.total_size), (2, 3));
    let next = ListCustomersRequest { page_token: first.next_page_token.clone(), ..request.clone() };
    assert_eq!(world.customers.list_customers(next).await.unwrap().into_inner().customers.len(), 1);
    let other = ListCustomersRequest { page_token: first.next_page_token, filter: "locale:*".to_owned(), ..request };
    assert_eq!(refusal(world.customers.list_customers(other).await), "PAGE_TOKEN_MISMATCH");
}

#[tokio::test]
async fn a_wrong_filter_is_refused_with_a_reason_and_a_column() {
    let mut world = World::new().await;
    for (filter, reason, column) in [
        ("attributes.plan = ", "FILTER_SYNTAX", 19),
        ("locale = \"lv\" tags:\"vip\"", "FILTER_SYNTAX", 15),
        ("(locale = \"lv\"", "FILTER_SYNTAX", 15),
        ("locale = \"lv\" and tags:\"vip\"", "FILTER_SYNTAX", 15),
        ("locale = \"l*v\"", "FILTER_SYNTAX", 12),
        ("locale = lv", "FILTER_WRONG_TYPE", 10),
        ("plan = \"gold\"", "FILTER_UNKNOWN_FIELD", 1),
        ("locale = \"lv\" AND attributes = 5", "FILTER_UNKNOWN_FIELD", 19),
        ("orders_in(30) > 2", "FILTER_UNKNOWN_FIELD", 1),
        ("create_time > 5", "FILTER_WRONG_TYPE", 15),
        ("create_time > \"2026-02-30\"", "FILTER_WRONG_TYPE", 15),
        ("locale > \"l*\"", "FILTER_WRONG_TYPE", 8),
        ("tags = \"vip\"", "FILTER_WRONG_TYPE", 6),
        ("event_count(\"order.placed\") > 2", "FILTER_WRONG_TYPE", 1),
        ("event_count(\"order.placed\", 0) > 2", "FILTER_WRONG_TYPE", 29),
        ("consented(\"offers\", CHANNEL_PIGEON)", "FILTER_WRONG_TYPE", 21),
        ("days_since(locale) > 3", "FILTER_WRONG_TYPE", 12),
        (&"(".repeat(21), "FILTER_TOO_LARGE", 22),
    ] {
        let request = ListCustomersRequest { filter: filter.to_owned(), ..Default::default() };
        let status = world.customers.list_customers(request).await.unwrap_err();
        assert_eq!(
            (status.code(), super::harness::reason(&status)),
            (tonic::Code::InvalidArgument, reason.to_owned()),
            "{filter}"
        );
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "filter");
        let said = &violations[0].description;
        assert!(said.starts_with(&format!("column {column}: ")), "{filter}: {said}");
    }
    // Together with other mistakes it is one of many.
    let request = ListCustomersRequest { filter: "=".to_owned(), page_size: -1, ..Default::default() };
    assert_eq!(refusal(world.customers.list_customers(request.clone()).await), "INVALID_FIELDS");
    assert_eq!(wrong_fields(world.customers.list_customers(request).await), ["pageSize", "filter"]);
}

#[tokio::test]
async fn everything_that_is_listed_can_be_filtered() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    world.customer("bela", "Europe/Riga").await;
    let event = proto::Event {
        value: Some(proto::Money { currency_code: "EUR".to_owned(), amount: "120.50".to_owned() }),
        properties: Some(structure(json!({"coupon": "SPRING"}))),
        ..world.event("order.placed", "anna", "order-1")
    };
    world.record(event).await.unwrap();
    let event = proto::Event {
        value: Some(proto::Money { currency_code: "JPY".to_owned(), amount: "120".to_owned() }),
        ..world.event("order.placed", "bela", "order-2")
    };
    world.record(event).await.unwrap();
    world.advance_to("2026-02-02T10:00:00Z");
    world.happens("order.refunded", "bela", "order-2").await;

    macro_rules! count {
        ($service:ident.$method:ident($request:ident) -> $list:ident, $filter:expr) => {{
            let request = $request { filter: $filter.to_owned(), ..Default::default() };
            world.$service.$method(request).await.unwrap().into_inner().$list.len()
        }};
    }
    assert_eq!(
        count!(events.list_events(ListEventsRequest) -> events, "value.amount > 120 AND value.currency_code = 'EUR'"),
        1
    );
    assert_eq!(count!(events.list_events(ListEventsRequest) -> events, "value.amount = 120"), 1);
    assert_eq!(count!(events.list_events(ListEventsRequest) -> events, "value.amount = 120.5"), 1);
    assert_eq!(
        count!(events.list_events(ListEventsRequest) -> events, "properties.coupon = 'SPRING' OR event_type = '*.refunded'"),
        2
    );
    let contacts = "state = STATE_SCHEDULED AND due_time > '2026-02-02' AND campaign_id = 'check-in'";
    assert_eq!(count!(contacts.list_contacts(ListContactsRequest) -> contacts, contacts), 1);
    assert_eq!(
        count!(contacts.list_contacts(ListContactsRequest) -> contacts, "NOT block.reason = BLOCK_REASON_EXITED"),
        1
    );
    assert_eq!(
        count!(contacts.list_contacts(ListContactsRequest) -> contacts, "block.reason = BLOCK_REASON_EXITED AND block.effect = EFFECT_CANCEL"),
        1
    );
    assert_eq!(
        count!(deliveries.list_delivery_events(ListDeliveryEventsRequest) -> events, "kind = KIND_BOUNCED AND automated = false"),
        0
    );
    assert_eq!(
        count!(preferences.list_suppressions(ListSuppressionsRequest) -> suppressions, "cause != CAUSE_HARD_BOUNCE AND expire_time:*"),
        0
    );
    assert_eq!(count!(templates.list_templates(ListTemplatesRequest) -> templates, "template_id = 'check*'"), 1);
    assert_eq!(
        count!(campaigns.list_campaigns(ListCampaignsRequest) -> campaigns, "state = STATE_ACTIVE AND event.event_type = 'order.placed'"),
        1
    );
    assert_eq!(count!(campaigns.list_campaigns(ListCampaignsRequest) -> campaigns, "purpose = PURPOSE_MARKETING"), 0);
    assert_eq!(
        count!(campaigns.list_enrollments(ListEnrollmentsRequest) -> enrollments, "end_cause = END_CAUSE_EXIT_EVENT"),
        1
    );
    assert_eq!(count!(campaigns.list_enrollments(ListEnrollmentsRequest) -> enrollments, "NOT end_time:*"), 1);

    let request = BatchCancelContactsRequest {
        filter: "step_id = 'ask' AND due_time < '2026-03-01'".to_owned(),
        expected_count: Some(1),
        reason: "the template is wrong".to_owned(),
        ..Default::default()
    };
    let answer = world.contacts.batch_cancel_contacts(request).await.unwrap().into_inner();
    assert_eq!((answer.matched, answer.canceled), (1, 1));
    let request = ListContactsRequest {
        customer: by_name("anna"),
        filter: "state = STATE_CANCELED".to_owned(),
        ..Default::default()
    };
    assert_eq!(world.contacts.list_contacts(request).await.unwrap().into_inner().contacts.len(), 1);
    let request = BatchCancelContactsRequest { validate_only: true, ..Default::default() };
    assert_eq!(wrong_fields(world.contacts.batch_cancel_contacts(request).await), ["customer"]);
}

/// What every page of a list names, however small its pages are.
macro_rules! pages {
    ($world:ident.$service:ident.$method:ident($request:expr) -> $list:ident.$name:ident) => {{
        let (mut names, mut page_token) = (Vec::new(), String::new());
        loop {
            let mut request = $request;
            (request.page_size, request.page_token) = (2, page_token);
            let answer = $world.$service.$method(request).await.unwrap().into_inner();
            names.extend(answer.$list.into_iter().map(|one| one.$name));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break names;
            }
        }
    }};
}

#[tokio::test]
async fn customers_are_listed_from_the_oldest_or_from_the_newest() {
    let mut world = World::new().await;
    for name in ["anna", "bela", "cleo", "dora", "emil"] {
        world.customer(name, "Europe/Riga").await;
    }
    let list = |order_by: &str| ListCustomersRequest { order_by: order_by.to_owned(), ..Default::default() };
    for order_by in ["", "create_time", " create_time "] {
        let names = pages!(world.customers.list_customers(list(order_by)) -> customers.given_name);
        assert_eq!(names, ["anna", "bela", "cleo", "dora", "emil"], "{order_by:?}");
    }
    let newest = pages!(world.customers.list_customers(list("create_time desc")) -> customers.given_name);
    assert_eq!(newest, ["emil", "dora", "cleo", "bela", "anna"]);

    // A token goes on in its own order only.
    let request = ListCustomersRequest { page_size: 2, ..list("create_time desc") };
    let page_token = world.customers.list_customers(request).await.unwrap().into_inner().next_page_token;
    let other = ListCustomersRequest { page_token, ..list("") };
    assert_eq!(refusal(world.customers.list_customers(other).await), "PAGE_TOKEN_MISMATCH");

    for wrong in ["given_name", "create_time DESC", "desc", "create_time desc, given_name"] {
        let refused = world.customers.list_customers(list(wrong)).await;
        let details = refused.as_ref().unwrap_err().get_details_bad_request().unwrap();
        assert!(details.field_violations[0].description.contains("create_time"), "{details:?}");
        assert_eq!(wrong_fields(refused), ["orderBy"], "{wrong}");
    }
}

#[tokio::test]
async fn contacts_are_listed_by_when_they_are_due_and_those_of_a_moment_by_creation() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let due_times = [
        "2026-02-04T09:00:00Z",
        "2026-02-03T09:00:00Z",
        "2026-02-04T09:00:00Z",
        "2026-02-04T09:00:00.000001Z",
        "2026-02-04T09:00:00Z",
    ];
    let mut ids = Vec::new();
    for due in due_times {
        let due = Some(Due::DueTime(at(due)));
        let request = proto::ScheduleContactRequest { due, ..ad_hoc("anna", "orders", "check-in") };
        ids.push(world.contacts.schedule_contact(request).await.unwrap().into_inner().contact.unwrap().contact_id);
    }
    for (order_by, expected) in [
        ("", [0, 1, 2, 3, 4]),
        ("create_time desc", [4, 3, 2, 1, 0]),
        ("due_time", [1, 0, 2, 4, 3]),
        ("due_time desc", [3, 4, 2, 0, 1]),
    ] {
        let list = || ListContactsRequest { order_by: order_by.to_owned(), ..Default::default() };
        let listed = pages!(world.contacts.list_contacts(list()) -> contacts.contact_id);
        assert_eq!(listed, expected.map(|place: usize| ids[place].clone()), "{order_by:?}");
    }
    let request = ListContactsRequest { order_by: "state".to_owned(), page_size: -1, ..Default::default() };
    assert_eq!(wrong_fields(world.contacts.list_contacts(request).await), ["orderBy", "pageSize"]);
}

#[tokio::test]
async fn campaigns_are_listed_by_name_creation_or_change_and_found_by_what_people_call_them() {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    world.template("thanks").await;
    for (hour, id) in [(10, "thanks-b"), (11, "thanks-c"), (12, "thanks-a")] {
        world.advance_to(&format!("2026-02-02T{hour}:00:00Z"));
        world.campaign(campaign(id, "orders", vec![step("say", after_hours(1), "thanks")])).await;
    }
    world.advance_to("2026-02-02T13:00:00Z");
    let request = PauseCampaignRequest { campaign_id: "thanks-b".to_owned(), ..Default::default() };
    world.campaigns.pause_campaign(request).await.unwrap();
    let list = |order_by: &str, filter: &str| ListCampaignsRequest {
        order_by: order_by.to_owned(),
        filter: filter.to_owned(),
        ..Default::default()
    };
    for (order_by, filter, expected) in [
        ("", "", vec!["thanks-a", "thanks-b", "thanks-c"]),
        ("campaign_id desc", "", vec!["thanks-c", "thanks-b", "thanks-a"]),
        ("create_time", "", vec!["thanks-b", "thanks-c", "thanks-a"]),
        ("update_time desc", "", vec!["thanks-b", "thanks-a", "thanks-c"]),
        ("update_time desc", "state = STATE_ACTIVE", vec!["thanks-a", "thanks-c"]),
        ("", "display_name = \"*-c\"", vec!["thanks-c"]),
        ("create_time desc", "NOT display_name = \"thanks-c\"", vec!["thanks-a", "thanks-b"]),
    ] {
        let listed = pages!(world.campaigns.list_campaigns(list(order_by, filter)) -> campaigns.campaign_id);
        assert_eq!(listed, expected, "{order_by:?} {filter:?}");
    }
    assert_eq!(wrong_fields(world.campaigns.list_campaigns(list("state", "")).await), ["orderBy"]);
}

#[tokio::test]
async fn templates_are_found_by_where_they_stand() {
    let mut world = World::new().await;
    for id in ["first", "second", "third"] {
        world.template(id).await;
    }
    let fourth = proto::Template { variants: vec![variant("", "Hello", "World")], ..template("fourth") };
    let draft = proto::CreateTemplateRequest { template: Some(fourth), ..Default::default() };
    world.templates.create_template(draft).await.unwrap();
    let request = ArchiveTemplateRequest { template_id: "second".to_owned(), ..Default::default() };
    world.templates.archive_template(request).await.unwrap();
    for (state, expected) in [
        ("PUBLISHED", vec!["first", "opt-in-confirmation", "third"]),
        ("ARCHIVED", vec!["second"]),
        ("DRAFT", vec!["fourth"]),
    ] {
        let list = || ListTemplatesRequest { filter: format!("state = STATE_{state}"), ..Default::default() };
        let listed = pages!(world.templates.list_templates(list()) -> templates.template_id);
        assert_eq!(listed, expected, "{state}");
    }
}

#[test]
fn filters_name_enums_as_the_contract_does() {
    let contract = String::from_utf8_lossy(proto::DESCRIPTORS);
    let schemas = [
        rapport::campaigns::fields(),
        rapport::campaigns::enrollment_fields(),
        rapport::contacts::fields(),
        rapport::contacts::delivery_fields(),
        rapport::templates::fields(),
        rapport::preferences::suppression_fields(),
    ];
    let mut checked = 0;
    for field in schemas.into_iter().flat_map(Schema::fields) {
        let Kind::Enum { prefix, stored } = field.kind else { continue };
        for stored in stored.iter().filter(|stored| **stored != "address_erased") {
            let name = format!("{prefix}{}", stored.to_uppercase());
            assert!(contract.contains(&name), "{}: the contract has no {name}", field.name);
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}
