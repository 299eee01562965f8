use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, decode, encode, open};
use crate::{
    contacts::{Attempt, AttemptOutcome, Contact, ContactState, Decision, Selection},
    dispatch::{Due, NewMessage},
    gate::Explained,
    ids::ContactId,
    rpc::{
        Fault, Reply, Violations, etag,
        proto::{
            self, CancelContactRequest, CancelContactResponse, ExplainContactRequest, ExplainContactResponse,
            GetContactRequest, GetContactResponse, ListContactsRequest, ListContactsResponse, ScheduleContactRequest,
            ScheduleContactResponse, contact, contact_attempt, contact_service_server::ContactService,
            explain_contact_request::About, schedule_contact_request,
        },
    },
};

#[async_trait]
impl ContactService for Api {
    async fn schedule_contact(
        &self,
        request: Request<ScheduleContactRequest>,
    ) -> Result<Response<ScheduleContactResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, &caller, "ScheduleContact", &request_id, &message);
        let topic_id = decode::parse(&mut violations, "topicId", &message.topic_id);
        let template_id = decode::parse(&mut violations, "templateId", &message.template_id);
        decode::channel(&mut violations, "channel", message.channel);
        let data = decode::object(&mut violations, "data", message.data);
        let due = due(&mut violations, message.due);
        let expire_time = decode::time(&mut violations, "expireTime", message.expire_time);
        let dedupe_key = decode::line(&mut violations, "dedupeKey", &message.dedupe_key, 128);
        let customer_id = self.resolve(message.customer, "customer", violations).await?;
        let ((topic_id, template_id), due) = Violations::default().finish(topic_id.zip(template_id).zip(due))?;
        let dedupe_key = Some(dedupe_key).filter(|key| !key.is_empty());
        let new = NewMessage { customer_id, topic_id, template_id, data, due, expire_time, dedupe_key };
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.dispatcher.schedule(new, key.as_ref(), message.validate_only).await?;
        let warnings = match reply.value.contact.state {
            ContactState::Scheduled => self.0.gate.warnings(&reply.value.contact).await?,
            _ => Vec::new(),
        };
        let Reply { value, replayed } = reply;
        let contact = self.encode_contact(value.contact);
        Ok(answer(Reply { value: contact, replayed }, |contact| ScheduleContactResponse {
            contact: Some(contact),
            existed: value.existed,
            warnings: warnings.into_iter().map(encode::block).collect(),
        }))
    }

    async fn get_contact(&self, request: Request<GetContactRequest>) -> Result<Response<GetContactResponse>, Status> {
        let (_, message, violations) = open(request);
        let contact = self.0.contacts.get(id(&message.contact_id, violations)?).await?;
        Ok(Response::new(GetContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let paged =
            ListContactsRequest { page_size: 0, page_token: String::new(), include_total: false, ..message.clone() };
        let mut which = selection(&mut violations, &message);
        let page_size = decode::page_size(&mut violations, message.page_size);
        which.customer_id = self.resolve_optional(message.customer, "customer", violations).await?;
        let page = self.0.pages.open("ListContacts", &paged, page_size, &message.page_token)?;
        let found = self.0.contacts.list(&which, &page).await.map_err(Fault::from)?;
        let total_size = match message.include_total {
            true => self.0.contacts.count(&which).await.map_err(Fault::from)?,
            false => 0,
        };
        Ok(Response::new(ListContactsResponse {
            next_page_token: self.0.pages.seal("ListContacts", &paged, found.next.as_deref()),
            contacts: found.rows.into_iter().map(|contact| self.encode_contact(contact)).collect(),
            total_size: i64::try_from(total_size).unwrap_or(i64::MAX),
        }))
    }

    async fn cancel_contact(
        &self,
        request: Request<CancelContactRequest>,
    ) -> Result<Response<CancelContactResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let reason = decode::line(&mut violations, "reason", &message.reason, 500);
        let id = id(&message.contact_id, violations)?;
        let contact = self.0.intake.cancel_contact(id, &reason, &message.etag).await?;
        Ok(Response::new(CancelContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn explain_contact(
        &self,
        request: Request<ExplainContactRequest>,
    ) -> Result<Response<ExplainContactResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let at = decode::time(&mut violations, "atTime", message.at_time);
        let explained = match message.about {
            Some(About::ContactId(text)) => {
                let contact = self.0.contacts.get(id(&text, violations)?).await?;
                self.0.gate.explain(contact, at).await?
            }
            Some(About::CampaignAndCustomer(about)) => {
                let path = "campaignAndCustomer";
                let campaign = decode::parse(&mut violations, format_args!("{path}.campaignId"), &about.campaign_id);
                let customer = self.resolve(about.customer, &format!("{path}.customer"), violations).await?;
                let campaign = self.0.campaigns.get(&Violations::default().finish(campaign)?).await?;
                self.0.gate.explain_between(&campaign, customer, at).await?
            }
            None => {
                violations.add("contactId", "one of contactId and campaignAndCustomer is required");
                return Err(Fault::Invalid(violations).into());
            }
        };
        Ok(Response::new(self.encode_explained(explained)))
    }
}

impl Api {
    fn encode_contact(&self, of: Contact) -> proto::Contact {
        let step = of.step;
        let local = of.due_local.map(|(time, zone)| format!("{time} {zone}"));
        proto::Contact {
            contact_id: of.contact_id.to_string(),
            customer_id: of.customer_id.to_string(),
            campaign_id: step.as_ref().map(|step| step.campaign_id.to_string()).unwrap_or_default(),
            enrollment_id: step.as_ref().map(|step| step.enrollment_id.to_string()).unwrap_or_default(),
            step_id: step.map(|step| step.step_id).unwrap_or_default(),
            topic_id: of.topic_id.to_string(),
            purpose: encode::purpose(of.purpose).into(),
            channel: proto::Channel::Email.into(),
            address_id: of.address_id.map(|id| id.to_string()).unwrap_or_default(),
            template_id: of.template_id.to_string(),
            template_version: of.template_version.unwrap_or(0),
            data: encode::object(&of.data),
            due_time: Some(encode::time(of.due_time)),
            original_due_time: Some(encode::time(of.original_due_time)),
            due_local_time: local.unwrap_or_default(),
            expire_time: Some(encode::time(of.expire_time)),
            state: state(of.state).into(),
            block: of.block.map(encode::block),
            attempt_count: of.attempt_count,
            message_id: format!("<{}>", self.0.dispatcher.message_id(of.contact_id)),
            send_time: of.send_time.map(encode::time),
            create_time: Some(encode::time(of.create_time)),
            update_time: Some(encode::time(of.update_time)),
            etag: etag(of.revision),
        }
    }

    fn encode_explained(&self, of: Explained) -> ExplainContactResponse {
        let (contact, attempts, decisions) = match of.contact {
            Some(explanation) => (Some(explanation.contact), explanation.attempts, explanation.decisions),
            None => (None, Vec::new(), Vec::new()),
        };
        let decision = |decision: Decision| proto::ContactDecision {
            time: Some(encode::time(decision.time)),
            block: Some(encode::block(decision.block)),
        };
        ExplainContactResponse {
            summary: of.summary,
            checks: encode::checks(of.checks),
            contact: contact.map(|contact| self.encode_contact(contact)),
            attempts: attempts.into_iter().map(encode_attempt).collect(),
            next_allowed_time: of.next_allowed_time.map(encode::time),
            decisions: decisions.into_iter().map(decision).collect(),
        }
    }
}

fn id(text: &str, mut violations: Violations) -> Result<ContactId, Fault> {
    let id = decode::parse(&mut violations, "contactId", text);
    violations.finish(id)
}

fn due(violations: &mut Violations, due: Option<schedule_contact_request::Due>) -> Option<Due> {
    match due {
        None => Some(Due::Now),
        Some(schedule_contact_request::Due::DueTime(time)) => {
            decode::time(violations, "dueTime", Some(time)).map(Due::At)
        }
        Some(schedule_contact_request::Due::DueLocalTime(text)) => {
            decode::parse(violations, "dueLocalTime", &text).map(Due::Local)
        }
    }
}

fn selection(violations: &mut Violations, message: &ListContactsRequest) -> Selection {
    let mut which = Selection {
        campaign_id: decode::parse_optional(violations, "campaignId", &message.campaign_id),
        ..Selection::default()
    };
    for (place, number) in message.states.iter().enumerate() {
        let wanted = decode::required_choice(violations, format_args!("states[{place}]"), *number, "must be a state");
        which.states.extend(ALL_STATES.iter().copied().filter(|own| Some(state(*own)) == wanted));
    }
    if let Some(range) = &message.due_range {
        which.due_from = decode::time(violations, "dueRange.startTime", range.start_time);
        which.due_before = decode::time(violations, "dueRange.endTime", range.end_time);
        if let (Some(from), Some(before)) = (which.due_from, which.due_before)
            && before <= from
        {
            violations.add("dueRange.endTime", "must be after startTime");
        }
    }
    which
}

const ALL_STATES: [ContactState; 8] = [
    ContactState::Scheduled,
    ContactState::Sending,
    ContactState::Sent,
    ContactState::Suppressed,
    ContactState::Failed,
    ContactState::Expired,
    ContactState::Canceled,
    ContactState::UnknownOutcome,
];

fn state(state: ContactState) -> contact::State {
    match state {
        ContactState::Scheduled => contact::State::Scheduled,
        ContactState::Sending => contact::State::Sending,
        ContactState::Sent => contact::State::Sent,
        ContactState::Suppressed => contact::State::Suppressed,
        ContactState::Failed => contact::State::Failed,
        ContactState::Expired => contact::State::Expired,
        ContactState::Canceled => contact::State::Canceled,
        ContactState::UnknownOutcome => contact::State::UnknownOutcome,
    }
}

fn encode_attempt(of: Attempt) -> proto::ContactAttempt {
    let outcome = match of.outcome {
        None => contact_attempt::Outcome::Unspecified,
        Some(AttemptOutcome::Accepted) => contact_attempt::Outcome::Accepted,
        Some(AttemptOutcome::TemporaryFailure) => contact_attempt::Outcome::TemporaryFailure,
        Some(AttemptOutcome::PermanentFailure) => contact_attempt::Outcome::PermanentFailure,
        Some(AttemptOutcome::Unknown) => contact_attempt::Outcome::Unknown,
    };
    proto::ContactAttempt {
        number: of.number,
        start_time: Some(encode::time(of.start_time)),
        end_time: of.end_time.map(encode::time),
        outcome: outcome.into(),
        detail: of.detail,
        replica: of.replica,
    }
}
