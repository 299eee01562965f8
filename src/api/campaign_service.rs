use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, decode, encode, event_service::event_type, open};
use crate::{
    calendar::{Delay, Weekdays, parse_time_of_day},
    campaigns::{
        Action, Anchor, Campaign, CampaignState, EndCause, Enrollment, EnrollmentState, Exit, Plan, PlanChange,
        Reentry, ReentryMode, Step, Trigger,
    },
    contacts::{ContactState, Tally},
    delivery::Channel,
    ids::{CampaignId, is_slug},
    rpc::{
        Fault, Mask, Violations, etag,
        proto::{
            self, ActivateCampaignRequest, ActivateCampaignResponse, CreateCampaignRequest, CreateCampaignResponse,
            DeleteCampaignRequest, DeleteCampaignResponse, GetCampaignRequest, GetCampaignResponse,
            GetCampaignStatsRequest, GetCampaignStatsResponse, ListCampaignsRequest, ListCampaignsResponse,
            ListEnrollmentsRequest, ListEnrollmentsResponse, PauseCampaignRequest, PauseCampaignResponse,
            ResumeCampaignRequest, ResumeCampaignResponse, UpdateCampaignRequest, UpdateCampaignResponse, campaign,
            campaign_service_server::CampaignService, delay, enrollment, reentry, step,
        },
    },
};

const CAN_CHANGE: &[&str] =
    &["display_name", "description", "topic_id", "event", "reentry", "steps", "exits", "policy"];
const OUTPUT_ONLY: &[&str] =
    &["campaign_id", "purpose", "state", "state_note", "version", "create_time", "update_time", "etag"];
/// After how many hours a contact is too late, unless said otherwise.
const PATIENCE: i32 = 72;
const MOST_DAYS: i32 = 3_650;

#[async_trait]
impl CampaignService for Api {
    async fn create_campaign(
        &self,
        request: Request<CreateCampaignRequest>,
    ) -> Result<Response<CreateCampaignResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, &caller, "CreateCampaign", &request_id, &message);
        if message.campaign.is_none() {
            violations.add("campaign", "is required");
        }
        let campaign = message.campaign.unwrap_or_default();
        let id: Option<CampaignId> =
            decode::parse_optional(&mut violations, "campaign.campaignId", &campaign.campaign_id);
        let plan = whole(change(&mut violations, campaign, |_| true));
        let plan = violations.finish(plan)?;
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.campaigns.create(id, plan, key.as_ref(), message.validate_only).await?;
        Ok(answer(reply, |campaign| CreateCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn get_campaign(
        &self,
        request: Request<GetCampaignRequest>,
    ) -> Result<Response<GetCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let campaign = self.0.campaigns.get(&id(&message.campaign_id, violations)?).await?;
        Ok(Response::new(GetCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn list_campaigns(
        &self,
        request: Request<ListCampaignsRequest>,
    ) -> Result<Response<ListCampaignsResponse>, Status> {
        let (_, message, violations) = open(request);
        violations.check()?;
        let selection = ListCampaignsRequest::default();
        let page = self.0.pages.open("ListCampaigns", &selection, message.page_size, &message.page_token)?;
        let found = self.0.campaigns.list(&page).await.map_err(Fault::from)?;
        Ok(Response::new(ListCampaignsResponse {
            next_page_token: self.0.pages.seal("ListCampaigns", &selection, found.next.as_deref()),
            campaigns: found.rows.into_iter().map(encode_campaign).collect(),
        }))
    }

    async fn update_campaign(
        &self,
        request: Request<UpdateCampaignRequest>,
    ) -> Result<Response<UpdateCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let campaign = message.campaign.unwrap_or_default();
        let id: Option<CampaignId> = decode::parse(&mut violations, "campaign.campaignId", &campaign.campaign_id);
        let is_set = |path: &str| is_set(&campaign, path);
        let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, &mut violations);
        let etag = campaign.etag.clone();
        let change = change(&mut violations, campaign, |path| mask.has(path));
        let id = violations.finish(id)?;
        let campaign = self.0.campaigns.update(&id, &etag, change, message.validate_only).await?;
        Ok(Response::new(UpdateCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn delete_campaign(
        &self,
        request: Request<DeleteCampaignRequest>,
    ) -> Result<Response<DeleteCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        self.0.campaigns.delete(&id(&message.campaign_id, violations)?, &message.etag).await?;
        Ok(Response::new(DeleteCampaignResponse {}))
    }

    async fn activate_campaign(
        &self,
        request: Request<ActivateCampaignRequest>,
    ) -> Result<Response<ActivateCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = id(&message.campaign_id, violations)?;
        let campaign = self.0.campaigns.activate(&id, &message.etag, message.validate_only).await?;
        Ok(Response::new(ActivateCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn pause_campaign(
        &self,
        request: Request<PauseCampaignRequest>,
    ) -> Result<Response<PauseCampaignResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let note = decode::line(&mut violations, "note", &message.note, 500);
        let campaign = self.0.campaigns.pause(&id(&message.campaign_id, violations)?, note).await?;
        Ok(Response::new(PauseCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn resume_campaign(
        &self,
        request: Request<ResumeCampaignRequest>,
    ) -> Result<Response<ResumeCampaignResponse>, Status> {
        let (_, message, violations) = open(request);
        let campaign = self.0.campaigns.resume(&id(&message.campaign_id, violations)?).await?;
        // What waited for it may be due.
        self.0.dispatcher.bell.ring();
        Ok(Response::new(ResumeCampaignResponse { campaign: Some(encode_campaign(campaign)) }))
    }

    async fn get_campaign_stats(
        &self,
        request: Request<GetCampaignStatsRequest>,
    ) -> Result<Response<GetCampaignStatsResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = id(&message.campaign_id, violations)?;
        self.0.campaigns.get(&id).await?;
        let tally = self.0.contacts.tally(&id).await.map_err(Fault::from)?;
        Ok(Response::new(GetCampaignStatsResponse { stats: Some(stats(&tally)) }))
    }

    async fn list_enrollments(
        &self,
        request: Request<ListEnrollmentsRequest>,
    ) -> Result<Response<ListEnrollmentsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let selection = ListEnrollmentsRequest {
            campaign_id: message.campaign_id.clone(),
            customer: message.customer.clone(),
            ..Default::default()
        };
        let campaign: Option<CampaignId> = decode::parse_optional(&mut violations, "campaignId", &message.campaign_id);
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        let page = self.0.pages.open("ListEnrollments", &selection, message.page_size, &message.page_token)?;
        let found = self.0.campaigns.enrollments(campaign.as_ref(), customer, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListEnrollmentsResponse {
            next_page_token: self.0.pages.seal("ListEnrollments", &selection, found.next.as_deref()),
            enrollments: found.rows.into_iter().map(encode_enrollment).collect(),
        }))
    }
}

fn id(text: &str, mut violations: Violations) -> Result<CampaignId, Fault> {
    let id = decode::parse(&mut violations, "campaignId", text);
    violations.finish(id)
}

/// The fields that a mask names. Whatever a plan cannot do without is noted when it is missing.
fn change(violations: &mut Violations, of: proto::Campaign, named: impl Fn(&str) -> bool) -> PlanChange {
    let mut change = PlanChange::default();
    if named("display_name") {
        change.display_name = Some(decode::line(violations, "campaign.displayName", &of.display_name, 200));
    }
    if named("description") {
        change.description = Some(decode::text(violations, "campaign.description", of.description, 2_000));
    }
    if named("topic_id") {
        change.topic_id = decode::parse(violations, "campaign.topicId", &of.topic_id);
    }
    if named("event") {
        change.trigger = match of.trigger {
            Some(campaign::Trigger::Event(trigger)) => {
                let event_type = event_type(violations, "campaign.event.eventType", &trigger.event_type);
                Some(Trigger::Event { event_type })
            }
            None => {
                violations.add("campaign.event", "is required: what starts the campaign");
                None
            }
        };
    }
    if named("reentry") {
        change.reentry = Some(reentry(violations, of.reentry.unwrap_or_default()));
    }
    if named("steps") {
        change.steps = Some(steps(violations, &of.steps));
    }
    if named("exits") {
        change.exits = Some(exits(violations, &of.exits));
    }
    if named("policy") {
        let hours = of.policy.unwrap_or_default().expire_after_hours;
        let hours = decode::between(violations, "campaign.policy.expireAfterHours", hours, 0, 8_760);
        change.expire_after_hours = Some(if hours == 0 { PATIENCE } else { hours });
    }
    change
}

/// A plan of which every field is named.
fn whole(change: PlanChange) -> Option<Plan> {
    Some(Plan {
        display_name: change.display_name?,
        description: change.description?,
        topic_id: change.topic_id?,
        trigger: change.trigger?,
        reentry: change.reentry?,
        steps: change.steps?,
        exits: change.exits?,
        expire_after_hours: change.expire_after_hours?,
    })
}

fn reentry(violations: &mut Violations, of: proto::Reentry) -> Reentry {
    let mode: Option<reentry::Mode> = decode::choice(violations, "campaign.reentry.mode", of.mode);
    let mode = match mode {
        Some(reentry::Mode::Once) => ReentryMode::Once,
        Some(reentry::Mode::Always) => ReentryMode::Always,
        Some(reentry::Mode::Restart) => ReentryMode::Restart,
        Some(reentry::Mode::OncePerSubject | reentry::Mode::Unspecified) | None => ReentryMode::OncePerSubject,
    };
    let days = decode::between(violations, "campaign.reentry.cooldownDays", of.cooldown_days, 0, MOST_DAYS);
    Reentry { mode, cooldown_days: u16::try_from(days).unwrap_or(0) }
}

fn steps(violations: &mut Violations, steps: &[proto::Step]) -> Vec<Step> {
    if !(1..=50).contains(&steps.len()) {
        violations.add("campaign.steps", "must be 1 to 50");
    }
    let mut decoded: Vec<Step> = Vec::new();
    for (place, of) in steps.iter().enumerate().take(50) {
        let path = format!("campaign.steps[{place}]");
        if !is_slug(&of.step_id, 1) {
            violations.add(format!("{path}.stepId"), "must be 1 to 63 characters of a-z, 0-9 and \"-\"");
        } else if decoded.iter().any(|earlier| earlier.step_id == of.step_id) {
            violations.add(format!("{path}.stepId"), "comes twice");
        }
        let delay = delay(violations, &format!("{path}.delay"), of.delay.as_ref());
        let anchor = anchor(violations, &path, of.delay.as_ref(), place);
        let action = match &of.action {
            Some(step::Action::Send(send)) => {
                let template_id = decode::parse(violations, format_args!("{path}.send.templateId"), &send.template_id);
                template_id.map(|template_id| Action::Send { template_id, channel: Channel::Email })
            }
            None => {
                violations.add(format!("{path}.send"), "is required: what the step does");
                None
            }
        };
        if let (Some(delay), Some(action)) = (delay, action) {
            decoded.push(Step { step_id: of.step_id.clone(), delay, anchor, action });
        }
    }
    decoded
}

fn anchor(violations: &mut Violations, path: &str, of: Option<&proto::Delay>, place: usize) -> Anchor {
    let number = of.map_or(0, |delay| delay.anchor);
    let anchor: Option<delay::Anchor> = decode::choice(violations, format_args!("{path}.delay.anchor"), number);
    match anchor {
        Some(delay::Anchor::PreviousStep) if place == 0 => {
            violations.add(format!("{path}.delay.anchor"), "the first step has none before it");
            Anchor::Trigger
        }
        Some(delay::Anchor::Trigger) => Anchor::Trigger,
        Some(delay::Anchor::PreviousStep) => Anchor::PreviousStep,
        Some(delay::Anchor::Unspecified) | None if place == 0 => Anchor::Trigger,
        Some(delay::Anchor::Unspecified) | None => Anchor::PreviousStep,
    }
}

fn delay(violations: &mut Violations, path: &str, of: Option<&proto::Delay>) -> Option<Delay> {
    match of.and_then(|delay| delay.length.as_ref()) {
        Some(delay::Length::Elapsed(elapsed)) => {
            let most = MOST_DAYS * 24;
            let hours = decode::between(violations, format_args!("{path}.elapsed.hours"), elapsed.hours, 0, most);
            let minutes =
                decode::between(violations, format_args!("{path}.elapsed.minutes"), elapsed.minutes, 0, most * 60);
            Some(Delay::Elapsed { minutes: i64::from(hours) * 60 + i64::from(minutes) })
        }
        Some(delay::Length::Calendar(calendar)) => {
            let days = decode::between(violations, format_args!("{path}.calendar.days"), calendar.days, 0, MOST_DAYS);
            let at = (!calendar.at.is_empty())
                .then(|| violations.take(format!("{path}.calendar.at"), parse_time_of_day(&calendar.at)));
            let weekdays = Weekdays::parse(&calendar.weekdays).map_err(|name| format!("{name:?} is none of MON … SUN"));
            let weekdays = violations.take(format!("{path}.calendar.weekdays"), weekdays)?;
            Some(Delay::Calendar { days: u32::try_from(days).unwrap_or(0), at: at.flatten(), weekdays })
        }
        None => {
            violations.add(path, "is required: elapsed or calendar");
            None
        }
    }
}

fn exits(violations: &mut Violations, exits: &[proto::Exit]) -> Vec<Exit> {
    if exits.len() > 20 {
        violations.add("campaign.exits", "must be at most 20");
    }
    let each = exits.iter().enumerate().take(20);
    each.map(|(place, exit)| Exit {
        event_type: event_type(violations, &format!("campaign.exits[{place}].eventType"), &exit.event_type),
        same_subject: exit.same_subject,
    })
    .collect()
}

fn is_set(campaign: &proto::Campaign, path: &str) -> bool {
    match path {
        "display_name" => !campaign.display_name.is_empty(),
        "description" => !campaign.description.is_empty(),
        "topic_id" => !campaign.topic_id.is_empty(),
        "event" => campaign.trigger.is_some(),
        "reentry" => campaign.reentry.is_some(),
        "steps" => !campaign.steps.is_empty(),
        "exits" => !campaign.exits.is_empty(),
        _ => campaign.policy.is_some(),
    }
}

fn encode_campaign(of: Campaign) -> proto::Campaign {
    let Trigger::Event { event_type } = of.plan.trigger;
    let state = match of.state {
        CampaignState::Draft => campaign::State::Draft,
        CampaignState::Active => campaign::State::Active,
        CampaignState::Paused => campaign::State::Paused,
    };
    let mode = match of.plan.reentry.mode {
        ReentryMode::Once => reentry::Mode::Once,
        ReentryMode::OncePerSubject => reentry::Mode::OncePerSubject,
        ReentryMode::Always => reentry::Mode::Always,
        ReentryMode::Restart => reentry::Mode::Restart,
    };
    let exit = |exit: Exit| proto::Exit { event_type: exit.event_type, same_subject: exit.same_subject };
    proto::Campaign {
        campaign_id: of.campaign_id.to_string(),
        display_name: of.plan.display_name,
        description: of.plan.description,
        topic_id: of.plan.topic_id.to_string(),
        purpose: encode::purpose(of.purpose).into(),
        trigger: Some(campaign::Trigger::Event(proto::EventTrigger { event_type })),
        reentry: Some(proto::Reentry { mode: mode.into(), cooldown_days: of.plan.reentry.cooldown_days.into() }),
        steps: of.plan.steps.into_iter().map(encode_step).collect(),
        exits: of.plan.exits.into_iter().map(exit).collect(),
        policy: Some(proto::CampaignPolicy { expire_after_hours: of.plan.expire_after_hours }),
        state: state.into(),
        state_note: of.state_note,
        version: of.version,
        create_time: Some(encode::time(of.create_time)),
        update_time: Some(encode::time(of.update_time)),
        etag: etag(of.revision),
    }
}

fn encode_step(of: Step) -> proto::Step {
    let length = match of.delay {
        Delay::Elapsed { minutes } => delay::Length::Elapsed(proto::Elapsed {
            hours: i32::try_from(minutes / 60).unwrap_or(i32::MAX),
            minutes: i32::try_from(minutes % 60).unwrap_or(0),
        }),
        Delay::Calendar { days, at, weekdays } => delay::Length::Calendar(proto::CalendarDelay {
            days: i32::try_from(days).unwrap_or(i32::MAX),
            at: at.map(|at| at.format("%H:%M").to_string()).unwrap_or_default(),
            weekdays: weekdays.names(),
        }),
    };
    let anchor = match of.anchor {
        Anchor::Trigger => delay::Anchor::Trigger,
        Anchor::PreviousStep => delay::Anchor::PreviousStep,
    };
    let Action::Send { template_id, .. } = of.action;
    proto::Step {
        step_id: of.step_id,
        delay: Some(proto::Delay { length: Some(length), anchor: anchor.into() }),
        action: Some(step::Action::Send(proto::SendAction { template_id: template_id.to_string() })),
    }
}

fn encode_enrollment(of: Enrollment) -> proto::Enrollment {
    let state = match of.state {
        EnrollmentState::Active => enrollment::State::Active,
        EnrollmentState::Completed => enrollment::State::Completed,
        EnrollmentState::Exited => enrollment::State::Exited,
    };
    let cause = match of.end_cause {
        None => enrollment::EndCause::Unspecified,
        Some(EndCause::ExitEvent) => enrollment::EndCause::ExitEvent,
        Some(EndCause::OptOut) => enrollment::EndCause::OptOut,
        Some(EndCause::CustomerDeleted) => enrollment::EndCause::CustomerDeleted,
        Some(EndCause::Restarted) => enrollment::EndCause::Restarted,
    };
    proto::Enrollment {
        enrollment_id: of.enrollment_id.to_string(),
        campaign_id: of.campaign_id.to_string(),
        campaign_version: of.campaign_version,
        customer_id: of.customer_id.to_string(),
        event_id: of.event_id.to_string(),
        subject: of.subject,
        state: state.into(),
        end_cause: cause.into(),
        next_step_id: of.next_step_id.unwrap_or_default(),
        next_time: of.next_time.map(encode::time),
        start_time: Some(encode::time(of.start_time)),
        end_time: of.end_time.map(encode::time),
    }
}

fn stats(tally: &Tally) -> proto::CampaignStats {
    let ended = [ContactState::Suppressed, ContactState::Expired, ContactState::Canceled];
    let mut blocks: Vec<proto::BlockCount> = Vec::new();
    for (state, reason, count) in &tally.counts {
        let Some(reason) = reason.filter(|_| ended.contains(state)) else {
            continue;
        };
        let reason = encode::reason(reason).into();
        match blocks.iter_mut().find(|block| block.reason == reason) {
            Some(block) => block.count += count,
            None => blocks.push(proto::BlockCount { reason, count: *count }),
        }
    }
    blocks.sort_by_key(|block| block.reason);
    proto::CampaignStats {
        audience: tally.total(),
        scheduled: tally.of(ContactState::Scheduled),
        sending: tally.of(ContactState::Sending),
        sent: tally.of(ContactState::Sent),
        suppressed: tally.of(ContactState::Suppressed),
        failed: tally.of(ContactState::Failed),
        expired: tally.of(ContactState::Expired),
        canceled: tally.of(ContactState::Canceled),
        unknown_outcome: tally.of(ContactState::UnknownOutcome),
        blocks,
    }
}
