//! Experiments: who gets which variant, who gets nothing, and what came of it.

use rapport::{
    rpc::proto::{
        self, BlockReason, Campaign, CampaignPolicy, GetCampaignStatsRequest, RecordEventRequest, SendingPolicy,
        UpdateSendingPolicyRequest, Variant, contact, event_service_client::EventServiceClient,
        set_consent_request::Decision,
    },
    split::{Draw, is_held_out, share},
};

use super::harness::{World, after_hours, at, by_name, campaign, email, step, wrong_fields};

/// So many customers are enough for every share to have some.
const CUSTOMERS: usize = 40;

fn name(number: usize) -> String {
    format!("customer-{number:02}")
}

async fn world() -> World {
    let mut world = World::new().await;
    for (id, purpose) in [("orders", proto::Purpose::Service), ("receipts", proto::Purpose::Transactional)] {
        world.topic(id, purpose, proto::topic::OptIn::None).await;
    }
    for id in ["plain", "bold", "receipt"] {
        world.template(id).await;
    }
    for number in 0..CUSTOMERS {
        world
            .customer_with(&name(number), |customer| customer.addresses = vec![email(&format!("{number}@example.com"))])
            .await;
    }
    world
}

fn split_step(weights: [i32; 2]) -> proto::Step {
    let variant = |id: &str, weight| Variant { variant_id: id.into(), template_id: id.into(), weight };
    let variants = vec![variant("plain", weights[0]), variant("bold", weights[1])];
    let send = proto::SendAction { variants, ..Default::default() };
    proto::Step { action: Some(proto::step::Action::Send(send)), ..step("ask", after_hours(1), "") }
}

/// Every customer orders, and an hour later what is planned goes out.
async fn everybody_orders(world: &mut World) {
    for number in 0..CUSTOMERS {
        world.happens("order.placed", &name(number), "").await;
    }
    world.dispatch_after_hours(1).await;
}

async fn stats(world: &mut World) -> proto::CampaignStats {
    let request = GetCampaignStatsRequest { campaign_id: "test".into(), ..GetCampaignStatsRequest::default() };
    world.campaigns.get_campaign_stats(request).await.unwrap().into_inner().stats.unwrap()
}

/// Of every customer: the variant and the state of the contact that was planned last.
async fn exposures(world: &mut World) -> Vec<(String, String, contact::State)> {
    let mut exposures = Vec::new();
    for number in 0..CUSTOMERS {
        let contact = world.contacts_of(&name(number)).await.pop().unwrap();
        exposures.push((contact.customer_id.clone(), contact.variant_id.clone(), contact.state()));
    }
    exposures
}

#[tokio::test]
async fn every_customer_gets_the_variant_that_was_drawn_and_gets_it_again_after_a_restart_and_from_another_replica() {
    let mut world = world().await;
    let reentry = Some(proto::Reentry { mode: proto::reentry::Mode::Always.into(), cooldown_days: 0 });
    world.campaign(Campaign { reentry, ..campaign("test", "orders", vec![split_step([3, 1])]) }).await;
    everybody_orders(&mut world).await;
    let first = exposures(&mut world).await;
    for (customer, variant, state) in &first {
        let drawn = share(Draw::Step("test", "ask"), customer.parse().unwrap(), [3, 1].into_iter());
        assert_eq!((["plain", "bold"][drawn.unwrap()], *state), (variant.as_str(), contact::State::Sent));
    }
    let bold = first.iter().filter(|(_, variant, _)| variant == "bold").count();
    assert!((1..CUSTOMERS).contains(&bold), "{bold}");
    assert_eq!(world.subjects().iter().filter(|subject| subject.starts_with("bold")).count(), bold);

    let mut world = world.restart_after(async |_| ()).await;
    everybody_orders(&mut world).await;
    assert_eq!(exposures(&mut world).await, first);

    let Some(replica) = world.another_replica().await else { return };
    let mut events = EventServiceClient::new(replica.channel().await);
    for number in 0..CUSTOMERS {
        let event = Some(world.event("order.placed", &name(number), ""));
        events.record_event(RecordEventRequest { event, ..Default::default() }).await.unwrap();
    }
    replica.stop().await;
    world.dispatch_after_hours(1).await;
    assert_eq!(exposures(&mut world).await, first);
}

#[tokio::test]
async fn results_count_whoever_reached_the_goal_within_its_window_by_variant_with_an_interval() {
    let mut world = world().await;
    let goal = Some(proto::Goal { event_type: "review.left".into(), window_days: 2, ..Default::default() });
    world.campaign(Campaign { goal, ..campaign("test", "orders", vec![split_step([1, 1])]) }).await;
    // From before the message nothing counts.
    world.happens("review.left", &name(0), "").await;
    everybody_orders(&mut world).await;
    let exposures = exposures(&mut world).await;
    let bold: Vec<usize> = (0..CUSTOMERS).filter(|number| exposures[*number].1 == "bold").collect();
    let plain: Vec<usize> = (0..CUSTOMERS).filter(|number| exposures[*number].1 == "plain").collect();
    world.dispatch_after_hours(47).await;
    for number in bold.iter().take(3).chain(plain.iter().take(1)) {
        // Once is enough.
        for _ in 0..2 {
            world.happens("review.left", &name(*number), "").await;
            world.dispatch_after_hours(0).await;
        }
    }
    world.dispatch_after_hours(2).await;
    world.happens("review.left", &name(bold[4]), "").await;

    let stats = stats(&mut world).await;
    assert_eq!((stats.sent, stats.converted), (40, 4));
    let found: Vec<_> = stats
        .variants
        .iter()
        .map(|one| (one.step_id.as_str(), one.variant_id.as_str(), one.sent, one.converted))
        .collect();
    let count = |of: &[usize]| i64::try_from(of.len()).unwrap();
    assert_eq!(found, [("ask", "bold", count(&bold), 3), ("ask", "plain", count(&plain), 1)]);
    for one in &stats.variants {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let share = one.converted as f64 / one.sent as f64;
        assert!((one.conversion - share).abs() < 1e-9);
        assert!(0.0 < one.conversion_low && one.conversion_low < share && share < one.conversion_high);
    }
    assert_eq!(stats.holdout, None);
}

#[tokio::test]
async fn whoever_is_held_out_gets_nothing_of_the_campaign_and_is_compared_with() {
    let mut world = world().await;
    let policy = Some(CampaignPolicy { holdout_percent: 40, ..CampaignPolicy::default() });
    let goal = Some(proto::Goal { event_type: "review.left".into(), ..Default::default() });
    let steps = vec![step("ask", after_hours(1), "plain"), step("again", after_hours(1), "bold")];
    world.campaign(Campaign { policy, goal, ..campaign("test", "orders", steps) }).await;
    everybody_orders(&mut world).await;
    world.dispatch_after_hours(1).await;
    let mut held = Vec::new();
    for number in 0..CUSTOMERS {
        let contacts = world.contacts_of(&name(number)).await;
        let is_held = is_held_out(Draw::Campaign("test"), contacts[0].customer_id.parse().unwrap(), 40);
        let expected = if is_held { contact::State::Suppressed } else { contact::State::Sent };
        assert_eq!(contacts.iter().map(contact_state).collect::<Vec<_>>(), [expected; 2], "{number}");
        if is_held {
            assert_eq!(contacts[0].block.as_ref().unwrap().reason(), BlockReason::Holdout);
            let why = world.explain(&contacts[0].contact_id).await.summary;
            assert!(why.contains("the customer is of the 40 % who get nothing of this campaign"), "{why}");
            held.push(number);
        }
    }
    assert!((1..CUSTOMERS).contains(&held.len()));
    assert_eq!(world.mail().len(), 2 * (CUSTOMERS - held.len()));
    world.happens("review.left", &name(held[0]), "").await;
    let holdout = stats(&mut world).await.holdout.unwrap();
    assert_eq!((holdout.sent, holdout.converted), (2 * i64::try_from(held.len()).unwrap(), 2));
}

#[tokio::test]
async fn only_who_would_have_been_sent_the_message_is_compared_with_those_who_were() {
    let mut world = world().await;
    world.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    for number in (0..CUSTOMERS).step_by(2) {
        world.consent(&name(number), "offers", Decision::Grant).await;
    }
    let policy = Some(CampaignPolicy { holdout_percent: 40, ..CampaignPolicy::default() });
    let goal = Some(proto::Goal { event_type: "review.left".into(), ..Default::default() });
    let steps = vec![step("ask", after_hours(1), "plain")];
    world.campaign(Campaign { policy, goal, ..campaign("test", "offers", steps) }).await;
    let mut held = Vec::new();
    for number in 0..CUSTOMERS {
        world.happens("order.placed", &name(number), "").await;
        let customer_id = world.contacts_of(&name(number)).await.pop().unwrap().customer_id;
        if is_held_out(Draw::Campaign("test"), customer_id.parse().unwrap(), 40) {
            held.push(number);
        }
    }
    let comparable: Vec<usize> = held.iter().copied().filter(|number| number % 2 == 0).collect();
    assert!(comparable.len() > 1 && comparable.len() < held.len(), "{held:?}");
    // What puts off others puts off who is held out, and says already that nothing comes of it.
    let snoozed = comparable[0];
    let until = Some(at("2026-02-03T09:00:00Z"));
    let preferences = Some(proto::Preferences { snooze_end_time: until, ..Default::default() });
    let request =
        proto::UpdatePreferencesRequest { customer: by_name(&name(snoozed)), preferences, ..Default::default() };
    world.preferences.update_preferences(request).await.unwrap();

    world.dispatch_after_hours(1).await;
    for number in 0..CUSTOMERS {
        let contact = world.contacts_of(&name(number)).await.pop().unwrap();
        let expected = match (number % 2 == 0, held.contains(&number)) {
            (true, true) if number == snoozed => Some(BlockReason::Snoozed),
            (true, true) => Some(BlockReason::Holdout),
            (true, false) => None,
            (false, _) => Some(BlockReason::NoConsent),
        };
        assert_eq!(contact.block.as_ref().map(proto::Block::reason), expected, "{number}");
        if number == snoozed {
            assert_eq!(contact.state(), contact::State::Scheduled);
            let why = world.explain(&contact.contact_id).await;
            assert!(why.summary.contains("will not be sent"), "{}", why.summary);
            assert_eq!(why.next_allowed_time, None);
        }
    }
    let count = |of: usize| i64::try_from(of).unwrap();
    assert_eq!(stats(&mut world).await.holdout.unwrap().sent, count(comparable.len() - 1));
    world.dispatch_at("2026-02-03T09:00:00Z").await;
    world.happens("review.left", &name(snoozed), "").await;
    world.happens("review.left", &name(*held.iter().find(|number| *number % 2 == 1).unwrap()), "").await;
    let stats = stats(&mut world).await;
    let holdout = stats.holdout.unwrap();
    assert_eq!((holdout.sent, holdout.converted), (count(comparable.len()), 1));
    assert_eq!((stats.sent, stats.converted), (count(CUSTOMERS / 2 - comparable.len()), 0));
}

fn contact_state(of: &proto::Contact) -> contact::State {
    of.state()
}

#[tokio::test]
async fn whoever_is_held_out_of_everything_gets_only_what_is_transactional() {
    let mut world = world().await;
    let policy = SendingPolicy { holdout_percent: 50, ..SendingPolicy::default() };
    let request = UpdateSendingPolicyRequest { policy: Some(policy), ..Default::default() };
    let policy = world.preferences.update_sending_policy(request).await.unwrap().into_inner().policy.unwrap();
    assert_eq!(policy.holdout_percent, 50);
    world.campaign(campaign("test", "orders", vec![step("ask", after_hours(0), "plain")])).await;
    everybody_orders(&mut world).await;
    let mut held = 0;
    for number in 0..CUSTOMERS {
        let name = name(number);
        world.send(&name, "receipts", "receipt").await;
        let customer_id = world.contacts_of(&name).await[0].customer_id.clone();
        held += usize::from(is_held_out(Draw::Everybody, customer_id.parse().unwrap(), 50));
    }
    world.dispatch().await;
    assert!((1..CUSTOMERS).contains(&held));
    let count = |word: &str| world.subjects().iter().filter(|subject| subject.starts_with(word)).count();
    assert_eq!((count("receipt"), count("plain")), (CUSTOMERS, CUSTOMERS - held));
}

#[tokio::test]
async fn everything_that_is_wrong_with_variants_is_told_at_once() {
    let mut world = world().await;
    let variant = |id: &str, weight| Variant { variant_id: id.into(), template_id: "plain".into(), weight };
    let action = |variants| {
        let send = proto::SendAction { template_id: "plain".into(), variants, data: None };
        Some(proto::step::Action::Send(send))
    };
    let one = proto::Step { action: action(vec![variant("a", 0)]), ..step("one", after_hours(0), "") };
    let two = proto::Step {
        action: action(vec![variant("A", 1), variant("b", -1), variant("b", 1)]),
        ..step("two", after_hours(0), "")
    };
    let plan = campaign("wrong", "orders", vec![one, two]);
    let request = proto::CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    let wrong = wrong_fields(world.campaigns.create_campaign(request).await);
    let expected = [
        "campaign.steps[0].send.variants",
        "campaign.steps[0].send.variants",
        "campaign.steps[0].send.templateId",
        "campaign.steps[1].send.variants[0].variantId",
        "campaign.steps[1].send.variants[1].weight",
        "campaign.steps[1].send.variants[2].variantId",
        "campaign.steps[1].send.templateId",
    ];
    assert_eq!(wrong, expected);
}
