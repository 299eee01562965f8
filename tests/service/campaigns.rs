use rapport::rpc::proto::{
    self, ActivateCampaignRequest, BlockReason, Campaign, CampaignPolicy, CreateCampaignRequest, DeleteCampaignRequest,
    GetCampaignRequest, GetCampaignStatsRequest, ListCampaignsRequest, ListEnrollmentsRequest, PauseCampaignRequest,
    Reentry, ResumeCampaignRequest, UpdateCampaignRequest, block::Effect, campaign::State, campaign_effect::Outcome,
    contact, enrollment, reentry::Mode, set_consent_request::Decision,
};

use super::harness::{
    self, World, after_days, after_hours, at, by_name, campaign, only, refusal, shown, step, wrong_fields,
};

async fn pause(world: &mut World, id: &str) {
    let request = PauseCampaignRequest { campaign_id: id.into(), note: "stock is late".into() };
    let campaign = world.campaigns.pause_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((campaign.state(), campaign.state_note.as_str()), (State::Paused, "stock is late"));
}

async fn resume(world: &mut World, id: &str) {
    let request = ResumeCampaignRequest { campaign_id: id.into() };
    let campaign = world.campaigns.resume_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(campaign.state(), State::Active);
}

async fn stats(world: &mut World, id: &str) -> proto::CampaignStats {
    let request = GetCampaignStatsRequest { campaign_id: id.into(), ..GetCampaignStatsRequest::default() };
    world.campaigns.get_campaign_stats(request).await.unwrap().into_inner().stats.unwrap()
}

#[tokio::test]
async fn steps_follow_each_other_by_hours_and_by_the_wall_clock() {
    let mut world = World::new().await;
    world.shop().await;
    for id in ["two-hours", "next-day", "next-friday"] {
        world.template(id).await;
    }
    let friday = proto::CalendarDelay { days: 1, at: "09:30".into(), weekdays: vec!["FRI".into()] };
    let friday = proto::Delay { length: Some(proto::delay::Length::Calendar(friday)), ..Default::default() };
    let steps = vec![
        step("a", after_hours(2), "two-hours"),
        step("b", after_days(1, "10:00"), "next-day"),
        step("c", friday, "next-friday"),
    ];
    world.campaign(campaign("journey", "orders", steps)).await;
    world.customer("anna", "America/New_York").await;
    world.happens("order.placed", "anna", "o-1").await;
    // Monday 04:00 in New York; the check-in of the shop goes out on Tuesday as well.
    for (moment, mails) in [
        ("2026-02-02T10:59:59Z", 0),
        ("2026-02-02T11:00:00Z", 1),
        ("2026-02-03T14:59:59Z", 2),
        ("2026-02-03T15:00:00Z", 3),
        ("2026-02-06T14:29:59Z", 3),
        ("2026-02-06T14:30:00Z", 4),
    ] {
        world.dispatch_at(moment).await;
        assert_eq!(world.mail().len(), mails, "{moment}");
    }
    let request = ListEnrollmentsRequest { campaign_id: "journey".into(), ..Default::default() };
    let enrollments = world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments;
    assert_eq!(enrollments[0].state(), enrollment::State::Completed);
}

#[tokio::test]
async fn a_missing_hour_and_a_double_hour_are_met_once() {
    // New York, 8 March 2026: 02:00 to 03:00 does not exist. 1 November 2026: 01:00 to 02:00 comes twice.
    for (start, at, due) in [
        ("2026-03-07T15:00:00Z", "02:30", "2026-03-08T07:00:00Z"),
        ("2026-10-31T15:00:00Z", "01:30", "2026-11-01T05:30:00Z"),
    ] {
        let mut world = World::at(start).await;
        world.shop().await;
        world.campaign(campaign("early", "orders", vec![step("a", after_days(1, at), "offer")])).await;
        world.customer("anna", "America/New_York").await;
        let receipt = world.happens("order.placed", "anna", "o-1").await;
        let effect = receipt.effects.iter().find(|effect| effect.campaign_id == "early").unwrap();
        assert_eq!(shown(effect.due_time), due);
        world.dispatch_at(due).await;
        world.dispatch_after_hours(2).await;
        assert_eq!(world.subjects().iter().filter(|subject| *subject == "offer for anna").count(), 1);
    }
}

#[tokio::test]
async fn a_paused_campaign_sends_nothing_and_goes_on_with_what_is_not_too_late() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.customer("bo", "").await;
    let early = only(&world.happens("order.placed", "anna", "o-1").await.effects).contact_id.clone();
    pause(&mut world, "check-in").await;
    world.dispatch_at("2026-02-05T09:00:00Z").await;
    let late = only(&world.happens("order.placed", "bo", "o-2").await.effects).contact_id.clone();
    assert_eq!(world.contact(&early).await.state(), contact::State::Scheduled);
    assert!(world.explain(&early).await.summary.contains("the campaign is paused"));
    // 24 hours and 72 more after its order, the first is too late.
    world.dispatch_at("2026-02-06T09:00:00Z").await;
    world.run_job("expire").await;
    assert_eq!(world.contact(&early).await.state(), contact::State::Expired);
    assert!(world.mail().is_empty());
    resume(&mut world, "check-in").await;
    world.dispatch().await;
    assert_eq!(world.contact(&late).await.state(), contact::State::Sent);
    assert_eq!(world.subjects(), ["check-in for bo"]);
}

#[tokio::test]
async fn exits_act_while_a_campaign_is_paused() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    pause(&mut world, "check-in").await;
    world.advance_to("2026-02-02T10:00:00Z");
    assert_eq!(only(&world.happens("order.refunded", "anna", "o-1").await.effects).outcome(), Outcome::Exited);
    resume(&mut world, "check-in").await;
    world.dispatch_after_hours(30).await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn a_newer_order_restarts_the_waiting_and_an_older_one_does_not() {
    let mut world = World::new().await;
    world.shop().await;
    let reentry = Reentry { mode: Mode::Restart.into(), cooldown_days: 0 };
    let win_back = campaign("win-back", "offers", vec![step("miss", after_days(60, "18:00"), "offer")]);
    world.campaign(Campaign { reentry: Some(reentry), ..win_back }).await;
    world.customer("anna", "").await;
    world.consent("anna", "offers", Decision::Grant).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.advance_to("2026-03-02T09:00:00Z");
    let receipt = world.happens("order.placed", "anna", "o-2").await;
    let again = receipt.effects.iter().find(|effect| effect.campaign_id == "win-back").unwrap();
    assert_eq!(shown(again.due_time), "2026-05-01T18:00:00Z");
    let old =
        proto::Event { occur_time: Some(at("2026-02-20T09:00:00Z")), ..world.event("order.placed", "anna", "o-0") };
    let receipt = world.record(old).await.unwrap();
    let ignored = receipt.effects.iter().find(|effect| effect.campaign_id == "win-back").unwrap();
    assert_eq!(ignored.outcome(), Outcome::Ignored);
    assert!(ignored.detail.contains("later event"), "{}", ignored.detail);
    world.dispatch_at("2026-05-01T18:00:00Z").await;
    assert_eq!(world.subjects().iter().filter(|subject| *subject == "offer for anna").count(), 1);
    let told = stats(&mut world, "win-back").await;
    assert_eq!((told.audience, told.sent, told.canceled), (2, 1, 1));
    let block = &told.blocks[0];
    assert_eq!((block.reason(), block.effect(), block.count), (BlockReason::Exited, Effect::Cancel, 1));
}

#[tokio::test]
async fn a_subject_enters_once_a_customer_once_or_every_event_anew() {
    let mut world = World::new().await;
    world.shop().await;
    for (id, mode) in [("once", Mode::Once), ("subject", Mode::OncePerSubject), ("always", Mode::Always)] {
        let reentry = Some(Reentry { mode: mode.into(), cooldown_days: 0 });
        let plan = campaign(id, "orders", vec![step("a", after_hours(1), "offer")]);
        world.campaign(Campaign { reentry, ..plan }).await;
    }
    world.customer("anna", "").await;
    for (subject, hour) in [("o-1", 9), ("o-1", 10), ("o-2", 11)] {
        world.advance_to(&format!("2026-02-02T{hour:02}:00:00Z"));
        world.happens("order.placed", "anna", subject).await;
    }
    for (id, expected) in [("once", 1), ("subject", 2), ("always", 3)] {
        assert_eq!(stats(&mut world, id).await.audience, expected, "{id}");
    }
}

#[tokio::test]
async fn a_step_that_is_held_back_does_not_end_the_rest() {
    let mut world = World::new().await;
    world.shop().await;
    world.template_with("broken-for-most", "x", "{{ customer.attributes.plan }}").await;
    let steps = vec![step("first", after_hours(1), "broken-for-most"), step("second", after_hours(1), "offer")];
    world.campaign(campaign("two", "orders", steps)).await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(1).await;
    world.dispatch_after_hours(1).await;
    assert_eq!(world.subjects(), ["offer for anna"]);
    let told = stats(&mut world, "two").await;
    assert_eq!((told.sent, told.suppressed), (1, 1));
}

#[tokio::test]
async fn an_edit_makes_a_version_that_only_new_enrollments_follow() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.customer("bo", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let change =
        Campaign { steps: vec![step("ask", after_hours(48), "offer")], ..campaign("check-in", "orders", vec![]) };
    let mut request = UpdateCampaignRequest { campaign: Some(change), ..Default::default() };
    request.update_mask = Some(prost_types::FieldMask { paths: vec!["steps".into()] });
    let edited = world.campaigns.update_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((edited.version, edited.exits.len(), edited.state()), (2, 1, State::Active));
    world.happens("order.placed", "bo", "o-2").await;
    world.dispatch_after_hours(24).await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    world.dispatch_after_hours(24).await;
    assert_eq!(world.subjects(), ["check-in for anna", "offer for bo"]);
}

#[tokio::test]
async fn a_rate_is_part_of_the_plan_and_counts_while_the_campaign_is_active() {
    let mut world = World::new().await;
    world.shop().await;
    let policy = |most| Some(CampaignPolicy { max_per_minute: most, ..CampaignPolicy::default() });
    for (id, most) in [("slow", 60), ("paused", 5)] {
        let plan = campaign(id, "orders", vec![step("a", after_hours(1), "offer")]);
        world.campaign(Campaign { policy: policy(most), ..plan }).await;
    }
    pause(&mut world, "paused").await;
    let change = |most| UpdateCampaignRequest {
        campaign: Some(Campaign { policy: policy(most), ..campaign("slow", "orders", vec![]) }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["policy".into()] }),
        ..Default::default()
    };
    let edited = world.campaigns.update_campaign(change(90)).await.unwrap().into_inner().campaign.unwrap();
    let told = edited.policy.unwrap();
    assert_eq!((edited.version, told.max_per_minute, told.expire_after_hours), (2, 90, 72));
    let mut world = world
        .restart_after(async |db| {
            let limits = rapport::campaigns::limits(db.reader()).await.unwrap();
            let limits: Vec<_> = limits.iter().map(|(id, most)| (id.as_str(), most.get())).collect();
            assert_eq!(limits, [("slow", 90)]);
        })
        .await;
    let lifted = world.campaigns.update_campaign(change(0)).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(lifted.policy.unwrap().max_per_minute, 0);
    assert_eq!(
        wrong_fields(world.campaigns.update_campaign(change(1_000_001)).await),
        ["campaign.policy.maxPerMinute"]
    );
}

#[tokio::test]
async fn a_draft_acts_on_nothing_and_only_a_draft_can_be_deleted() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let draft = campaign("draft", "orders", vec![step("a", after_hours(1), "offer")]);
    let request = CreateCampaignRequest { campaign: Some(draft), ..Default::default() };
    let created = world.campaigns.create_campaign(request.clone()).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!((created.state(), created.purpose(), created.version), (State::Draft, proto::Purpose::Service, 1));
    assert_eq!(refusal(world.campaigns.create_campaign(request).await), "CAMPAIGN_EXISTS");
    world.happens("order.placed", "anna", "o-1").await;
    assert_eq!(stats(&mut world, "draft").await.audience, 0);
    let pause = PauseCampaignRequest { campaign_id: "draft".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.pause_campaign(pause).await), "CAMPAIGN_NOT_ACTIVE");
    let delete = |id: &str| DeleteCampaignRequest { campaign_id: id.into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.delete_campaign(delete("check-in")).await), "CAMPAIGN_NOT_DRAFT");
    world.campaigns.delete_campaign(delete("draft")).await.unwrap();
    let get = GetCampaignRequest { campaign_id: "draft".into() };
    assert_eq!(refusal(world.campaigns.get_campaign(get).await), "CAMPAIGN_NOT_FOUND");
    let all = world.campaigns.list_campaigns(ListCampaignsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.campaigns.len(), 1);
}

#[tokio::test]
async fn a_campaign_starts_only_when_its_templates_are_published() {
    let mut world = World::new().await;
    world.shop().await;
    let unpublished =
        proto::Template { variants: vec![harness::variant("", "x", "x")], ..harness::template("unpublished") };
    let request = proto::CreateTemplateRequest { template: Some(unpublished), ..Default::default() };
    world.templates.create_template(request).await.unwrap();
    let plan = campaign("soon", "orders", vec![step("a", after_hours(1), "unpublished")]);
    let request = CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    world.campaigns.create_campaign(request).await.unwrap();
    let request = ActivateCampaignRequest { campaign_id: "soon".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.activate_campaign(request).await), "TEMPLATE_NOT_PUBLISHED");
}

#[tokio::test]
async fn a_wrong_plan_is_told_every_wrong_field() {
    let mut world = World::new().await;
    let plan = Campaign {
        campaign_id: "Not A Slug".into(),
        trigger: None,
        reentry: Some(Reentry { mode: Mode::Once.into(), cooldown_days: -1 }),
        policy: Some(CampaignPolicy {
            expire_after_hours: 100_000,
            max_per_minute: -1,
            holdout_percent: 91,
            priority: 101,
        }),
        steps: vec![
            step("a", after_hours(-1), "offer"),
            step("a", after_days(1, "25:00"), "offer"),
            proto::Step { step_id: "b".into(), ..Default::default() },
        ],
        exits: vec![proto::Exit { event_type: "refund".into(), same_subject: false, ..Default::default() }],
        ..campaign("x", "orders", vec![])
    };
    let request = CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    let mut fields = wrong_fields(world.campaigns.create_campaign(request).await);
    fields.sort();
    let expected = [
        "campaign.campaignId",
        "campaign.event",
        "campaign.exits[0].eventType",
        "campaign.policy.expireAfterHours",
        "campaign.policy.holdoutPercent",
        "campaign.policy.maxPerMinute",
        "campaign.policy.priority",
        "campaign.reentry.cooldownDays",
        "campaign.steps[0].delay.elapsed.hours",
        "campaign.steps[1].delay.calendar.at",
        "campaign.steps[1].stepId",
        "campaign.steps[2].delay",
        "campaign.steps[2].send",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn stats_add_up_whatever_became_of_the_contacts() {
    let mut world = World::new().await;
    world.shop().await;
    world.campaign(campaign("offers", "offers", vec![step("a", after_hours(1), "offer")])).await;
    for name in ["agrees", "never-asked", "leaves", "waits"] {
        world.customer(name, "").await;
    }
    for name in ["agrees", "leaves", "waits"] {
        world.consent(name, "offers", Decision::Grant).await;
    }
    for name in ["agrees", "never-asked", "leaves"] {
        world.happens("order.placed", name, "o").await;
    }
    world.consent("leaves", "offers", Decision::Withdraw).await;
    world.dispatch_after_hours(1).await;
    world.happens("order.placed", "waits", "o").await;
    let told = stats(&mut world, "offers").await;
    let sum = told.scheduled
        + told.sending
        + told.sent
        + told.suppressed
        + told.failed
        + told.expired
        + told.canceled
        + told.unknown_outcome;
    assert_eq!((told.audience, sum), (4, 4));
    assert_eq!((told.scheduled, told.sent, told.suppressed, told.canceled), (1, 1, 1, 1));
    let request = ListEnrollmentsRequest { customer: by_name("leaves"), ..Default::default() };
    let enrollments = world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments;
    let ended = enrollments.iter().find(|one| one.campaign_id == "offers").unwrap();
    assert_eq!(ended.end_cause(), enrollment::EndCause::OptOut);
}
