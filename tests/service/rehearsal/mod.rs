//! Rehearsals: what a campaign would have done, and that they leave nothing behind.

mod by_themselves;
mod plans;
mod town;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rapport::{clock::Timestamp, rpc::proto};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use self::town::{END, START, Town, thank_you};
use super::harness::{World, after_hours, at, campaign, moment, refusal, step, wire, wrong_fields};

/// What became of one contact, so that two worlds can be compared: whose, of which step, due when, how it ended, and why.
type Fate = (String, String, Timestamp, i32, Option<(i32, i32)>, Option<Timestamp>);

fn rehearse(source: proto::rehearse_campaign_request::Source) -> proto::RehearseCampaignRequest {
    rehearse_in((START, END), source)
}

fn rehearse_in(
    (start, end): (&str, &str),
    source: proto::rehearse_campaign_request::Source,
) -> proto::RehearseCampaignRequest {
    let range = proto::TimeRange { start_time: Some(at(start)), end_time: Some(at(end)) };
    proto::RehearseCampaignRequest { source: Some(source), range: Some(range), sample_size: 1_000 }
}

fn inline(campaign: proto::Campaign) -> proto::rehearse_campaign_request::Source {
    proto::rehearse_campaign_request::Source::Inline(campaign)
}

fn time(of: prost_types::Timestamp) -> Timestamp {
    Timestamp::from_timestamp(of.seconds, u32::try_from(of.nanos).unwrap()).unwrap()
}

/// A rehearsed contact with its customer by name.
fn rehearsed(names: &BTreeMap<String, String>, of: &proto::RehearsedContact) -> Fate {
    (
        names[&of.customer_id].clone(),
        of.step_id.clone(),
        time(of.due_time.unwrap()),
        of.state,
        of.block.as_ref().map(|block| (block.reason, block.effect)),
        of.send_time.map(time),
    )
}

/// A real contact with its customer by name.
fn real(names: &BTreeMap<String, String>, of: &proto::Contact) -> Fate {
    (
        names[&of.customer_id].clone(),
        of.step_id.clone(),
        time(of.original_due_time.unwrap()),
        of.state,
        of.block.as_ref().map(|block| (block.reason, block.effect)),
        of.send_time.map(time),
    )
}

async fn contacts_of(world: &mut World, campaign_id: &str) -> Vec<proto::Contact> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListContactsRequest {
            campaign_id: campaign_id.to_owned(),
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page = world.contacts.list_contacts(request).await.unwrap().into_inner();
        all.extend(page.contacts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// Every row of every table, in short; leases are renewed by the second.
async fn record(world: &World) -> BTreeMap<String, String> {
    let db = world.own_connection().await;
    let backend = db.get_database_backend();
    let is_file = backend == DbBackend::Sqlite;
    let rows = async |sql: String| db.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    let text = |row: &sea_orm::QueryResult| row.try_get_by_index::<Option<String>>(0).unwrap().unwrap_or_default();
    let tables = match is_file {
        true => "SELECT name FROM sqlite_master WHERE type = 'table'",
        false => "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
    };
    let mut record = BTreeMap::new();
    for table in rows(tables.to_owned()).await.iter().map(text).filter(|table| table != "replicas") {
        let sql = if is_file {
            let columns = rows(format!("SELECT name FROM pragma_table_info('{table}')")).await;
            let columns: Vec<String> = columns.iter().map(|row| format!("quote({})", text(row))).collect();
            format!("SELECT group_concat({}, '\n') FROM {table}", columns.join(" || "))
        } else {
            format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t")
        };
        let content = rows(sql).await.first().map(text).unwrap_or_default();
        record.insert(table, content);
    }
    assert!(record.len() > 20, "{:?}", record.keys());
    record
}

async fn stats_of(world: &mut World, campaign_id: &str) -> proto::CampaignStats {
    let request = proto::GetCampaignStatsRequest { campaign_id: campaign_id.to_owned(), ..Default::default() };
    world.campaigns.get_campaign_stats(request).await.unwrap().into_inner().stats.unwrap()
}

async fn real_fates(world: &mut World, names: &BTreeMap<String, String>, campaign_id: &str) -> Vec<Fate> {
    let mut fates: Vec<Fate> = contacts_of(world, campaign_id).await.iter().map(|one| real(names, one)).collect();
    fates.sort();
    fates
}

fn rehearsed_fates(names: &BTreeMap<String, String>, answer: &proto::RehearseCampaignResponse) -> Vec<Fate> {
    let mut fates: Vec<Fate> = answer.samples.iter().map(|one| rehearsed(names, one)).collect();
    fates.sort();
    fates
}

/// What is told is what really happened, contact by contact.
fn assert_same(told: &[Fate], expected: &[Fate]) {
    let differences: Vec<_> = expected
        .iter()
        .filter(|one| !told.contains(one))
        .map(|one| ("real", one))
        .chain(told.iter().filter(|one| !expected.contains(one)).map(|one| ("rehearsed", one)))
        .collect();
    assert!(differences.is_empty(), "{} of {}: {differences:#?}", differences.len(), expected.len());
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_rehearsal_tells_contact_by_contact_what_becomes_of_a_campaign_that_is_active() {
    let mut with = Town::settle().await;
    with.live_until(START).await;
    with.world.campaign(thank_you()).await;
    with.live_until(END).await;
    let expected = real_fates(&mut with.world, &with.names, "thank-you").await;

    let mut without = Town::settle().await;
    without.live_until(END).await;
    let (before, sent) = (record(&without.world).await, without.world.mail().len());
    let answer = without.world.campaigns.rehearse_campaign(rehearse(inline(thank_you()))).await.unwrap().into_inner();
    assert_same(&rehearsed_fates(&without.names, &answer), &expected);
    let real_stats = stats_of(&mut with.world, "thank-you").await;
    assert_eq!(answer.stats, Some(real_stats.clone()));
    assert_eq!((answer.customers, answer.share), (i64::try_from(without.buyers()).unwrap(), 256));

    // It proves nothing unless all of this is in it.
    let kinds: Vec<_> = real_stats.blocks.iter().map(|block| (block.reason(), block.effect(), block.count)).collect();
    for reason in [
        proto::BlockReason::NoConsent,
        proto::BlockReason::OptedOut,
        proto::BlockReason::Objected,
        proto::BlockReason::Exited,
        proto::BlockReason::SuppressedByOperator,
        proto::BlockReason::CustomerDeleted,
        proto::BlockReason::Expired,
    ] {
        assert!(kinds.iter().any(|(own, ..)| *own == reason), "{reason:?} is not in {kinds:?}");
    }
    assert!(real_stats.audience > 400 && real_stats.sent > 150 && real_stats.scheduled > 0, "{real_stats:?}");
    let late = |minutes| {
        let late = |(.., due, _, _, sent): &&Fate| sent.is_some_and(|sent| sent - *due == TimeDelta::minutes(minutes));
        expected.iter().filter(late).count()
    };
    assert!(late(80) > 5, "{} waited for quiet hours to end", late(80));
    let hours = TimeDelta::hours(2);
    let by_caps = |(_, step, due, _, _, sent): &&Fate| step == "more" && sent.is_some_and(|sent| sent - *due > hours);
    let waited = expected.iter().filter(by_caps).count();
    assert!(waited > 2, "{waited} waited for room below the cap");
    assert!(answer.collisions > 10, "{}", answer.collisions);

    let after = record(&without.world).await;
    let written: Vec<_> =
        before.iter().filter(|(table, rows)| after[*table] != **rows).map(|(table, _)| table).collect();
    assert!(written.is_empty(), "a rehearsal writes nothing, and not to {written:?}");
    assert_eq!(without.world.mail().len(), sent, "a rehearsal sends nothing");
    what_is_stored_is_rehearsed_alike(&mut without, &answer).await;
    one_at_a_time(&mut without).await;
}

/// A draft, and a campaign that was active all the time: what it sent itself does not count.
async fn what_is_stored_is_rehearsed_alike(town: &mut Town, answer: &proto::RehearseCampaignResponse) {
    let request = proto::CreateCampaignRequest { campaign: Some(thank_you()), ..Default::default() };
    town.world.campaigns.create_campaign(request).await.unwrap();
    let stored = proto::rehearse_campaign_request::Source::CampaignId("thank-you".to_owned());
    let again = town.world.campaigns.rehearse_campaign(rehearse(stored)).await.unwrap().into_inner();
    assert_eq!(again.samples.len(), answer.samples.len());
    assert_eq!((&again.stats, again.collisions), (&answer.stats, answer.collisions));
}

/// One that comes meanwhile is refused, and one whose caller goes away ends.
async fn one_at_a_time(town: &mut Town) {
    let until = |end| proto::TimeRange { start_time: Some(at(START)), end_time: Some(wire(moment(START) + end)) };
    let within = |end| proto::RehearseCampaignRequest { range: Some(until(end)), ..rehearse(inline(thank_you())) };
    let request = || within(TimeDelta::days(21));
    let (mut one, mut other) = (town.world.campaigns.clone(), town.world.campaigns.clone());
    let (first, second) = tokio::join!(one.rehearse_campaign(request()), other.rehearse_campaign(request()));
    let (done, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    assert!(done.unwrap().into_inner().stats.unwrap().sent > 0);
    assert_eq!(refusal(refused), "OVERLOADED");

    let mut third = town.world.campaigns.clone();
    let call = tokio::spawn(async move {
        while third.rehearse_campaign(rehearse(inline(thank_you()))).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    let short = within(TimeDelta::minutes(1));
    // It is under way once another one is refused, and over once another one is not.
    while town.world.campaigns.rehearse_campaign(short.clone()).await.is_ok() {}
    call.abort();
    while town.world.campaigns.rehearse_campaign(short.clone()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_rehearsal_is_told_at_once() {
    let mut world = World::new().await;
    world.shop().await;
    let range = |start: &str, end: &str| proto::TimeRange { start_time: Some(at(start)), end_time: Some(at(end)) };
    let ask = |source, range| proto::RehearseCampaignRequest { source, range, sample_size: 0 };

    let nothing = proto::RehearseCampaignRequest { sample_size: 1_001, ..ask(None, None) };
    let wrong = wrong_fields(world.campaigns.rehearse_campaign(nothing).await);
    assert_eq!(wrong, ["source", "range.startTime", "range.endTime", "sampleSize"]);

    let no_steps = proto::Campaign { topic_id: "X".into(), ..campaign("thanks", "offers", Vec::new()) };
    let request = ask(Some(inline(no_steps)), Some(range("2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z")));
    let wrong = wrong_fields(world.campaigns.rehearse_campaign(request).await);
    assert_eq!(wrong, ["inline.topicId", "inline.steps", "range.endTime"], "the range is not over");

    let plan = || campaign("thanks", "offers", vec![step("one", after_hours(1), "offer")]);
    let request = ask(Some(inline(plan())), Some(range("2025-10-01T00:00:00Z", "2026-01-02T00:00:00Z")));
    let wrong = wrong_fields(world.campaigns.rehearse_campaign(request).await);
    assert_eq!(wrong, ["range"], "93 days are too many");

    // What an activation would refuse: a topic and a template that are not there, a draft that does not render.
    let variants = vec![super::harness::variant("", "{{ customer.given_name", "{% for %}")];
    let draft = proto::Template { variants, ..super::harness::template("broken") };
    let request = proto::CreateTemplateRequest { template: Some(draft), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let steps = vec![step("one", after_hours(1), "broken"), step("two", after_hours(1), "nowhere")];
    let over = || Some(range("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"));
    let request = ask(Some(inline(campaign("thanks", "nothing", steps))), over());
    let wrong = wrong_fields(world.campaigns.rehearse_campaign(request).await);
    assert_eq!(wrong, ["inline.topicId", "inline.steps", "inline.steps", "inline.steps"]);

    let missing = proto::rehearse_campaign_request::Source::CampaignId("missing".into());
    assert_eq!(refusal(world.campaigns.rehearse_campaign(ask(Some(missing), over())).await), "CAMPAIGN_NOT_FOUND");

    // Nothing happened then, so nothing would have.
    let answer = world.campaigns.rehearse_campaign(ask(Some(inline(plan())), over())).await.unwrap().into_inner();
    let nothing = proto::RehearseCampaignResponse {
        stats: Some(proto::CampaignStats::default()),
        share: 256,
        ..Default::default()
    };
    assert_eq!(answer, nothing);
}

#[tokio::test]
async fn a_draft_of_a_template_is_rehearsed_as_if_it_were_published() {
    let mut world = World::new().await;
    world.shop().await;
    let request = proto::UpdateTemplateRequest {
        template: Some(proto::Template {
            variants: vec![super::harness::variant("", "{{ event.properties.gone }}", "Hello.")],
            ..super::harness::template("check-in")
        }),
        ..Default::default()
    };
    world.templates.update_template(request).await.unwrap();
    world.customer("anna", "Europe/Riga").await;
    world.happens("order.placed", "anna", "order-1").await;
    world.dispatch_at("2026-02-04T09:00:00Z").await;
    assert_eq!(world.mail().len(), 1, "what is published renders");

    let stored = proto::rehearse_campaign_request::Source::CampaignId("check-in".into());
    let range = proto::TimeRange { start_time: Some(at("2026-02-01T00:00:00Z")), end_time: Some(wire(world.now())) };
    let request = proto::RehearseCampaignRequest { source: Some(stored), range: Some(range), sample_size: 5 };
    let answer = world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    let only = &answer.samples[0];
    assert_eq!(only.block.as_ref().map(proto::Block::reason), Some(proto::BlockReason::TemplateError));
    assert_eq!(only.due_local_time, "2026-02-03T11:00 Europe/Riga");
    assert_eq!((only.state(), only.send_time), (proto::contact::State::Suppressed, None));
}
