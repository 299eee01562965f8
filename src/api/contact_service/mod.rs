//! Contacts on the wire.

mod decode;
mod encode;

use tonic::{Request, Response, Status, async_trait};

pub(super) use self::encode::{attempt as encode_attempt, decision as encode_decision, state as encode_state};

use super::{
    Api, answer,
    decode::{line, order, page_size, parse, request_key, required_time, time},
    encode::block,
    open,
};
use crate::{
    contacts::{self, ContactOrder, ContactState},
    dispatch::NewMessage,
    rpc::{
        Fault, Reply, Violations,
        proto::{
            BatchCancelContactsRequest, BatchCancelContactsResponse, BatchScheduleContactsRequest,
            BatchScheduleContactsResponse, CancelContactRequest, CancelContactResponse, ExplainContactRequest,
            ExplainContactResponse, GetContactRequest, GetContactResponse, ListContactAttemptsRequest,
            ListContactAttemptsResponse, ListContactsRequest, ListContactsResponse, RescheduleContactRequest,
            RescheduleContactResponse, ResolveContactRequest, ResolveContactResponse, ScheduleContactRequest,
            ScheduleContactResponse, ScheduleResult, contact_service_server::ContactService,
            explain_contact_request::About,
        },
        reason_name,
    },
};

/// What contacts are listed by.
const ORDERS: &[(&str, ContactOrder)] = &[("create_time", ContactOrder::Created), ("due_time", ContactOrder::Due)];

#[async_trait]
impl ContactService for Api {
    async fn schedule_contact(
        &self,
        request: Request<ScheduleContactRequest>,
    ) -> Result<Response<ScheduleContactResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let new = decode::message(&mut violations, &caller, "", message);
        let reply = self.0.dispatcher.schedule(violations.finish(new)?).await?;
        let warnings = match reply.value.contact.state {
            ContactState::Scheduled => self.0.gate.warnings(&reply.value.contact).await?,
            _ => Vec::new(),
        };
        let Reply { value, replayed } = reply;
        let contact = self.encode_contact(value.contact);
        Ok(answer(Reply { value: contact, replayed }, |contact| ScheduleContactResponse {
            contact: Some(contact),
            existed: value.existed,
            warnings: warnings.into_iter().map(block).collect(),
        }))
    }

    async fn batch_schedule_contacts(
        &self,
        request: Request<BatchScheduleContactsRequest>,
    ) -> Result<Response<BatchScheduleContactsResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        if !(1..=1_000).contains(&message.requests.len()) {
            violations.add("requests", "must be 1 to 1,000");
        }
        violations.check()?;
        let (mut results, mut good) = (Vec::with_capacity(message.requests.len()), Vec::new());
        for (place, request) in message.requests.into_iter().enumerate() {
            let mut violations = Violations::default();
            let decoded = decode::message(&mut violations, &caller, &format!("requests[{place}]."), request);
            let mut result =
                ScheduleResult { index: i64::try_from(place).unwrap_or(i64::MAX), ..ScheduleResult::default() };
            match violations.finish(decoded) {
                Ok(new) => good.push((place, new)),
                Err(fault) => refuse(&mut result, &fault),
            }
            results.push(result);
        }
        let (places, messages): (Vec<usize>, Vec<NewMessage>) = good.into_iter().unzip();
        let outcomes = self.0.dispatcher.schedule_all(&messages).await?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Ok(Reply { value, .. }) => {
                    results[place].existed = value.existed;
                    results[place].contact = Some(self.encode_contact(value.contact));
                }
                Err(fault) => refuse(&mut results[place], &fault),
            }
        }
        Ok(Response::new(BatchScheduleContactsResponse { results }))
    }

    async fn get_contact(&self, request: Request<GetContactRequest>) -> Result<Response<GetContactResponse>, Status> {
        let (_, message, violations) = open(request);
        let contact = self.0.contacts.get(decode::id(&message.contact_id, violations)?).await?;
        Ok(Response::new(GetContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let paged =
            ListContactsRequest { page_size: 0, page_token: String::new(), include_total: false, ..message.clone() };
        let mut which =
            decode::selection(&mut violations, &message.campaign_id, &message.states, message.due_range.as_ref());
        which.wanted = self.wanted(&mut violations, &message.filter, contacts::fields());
        let order = order(&mut violations, &message.order_by, ORDERS);
        let page_size = page_size(&mut violations, message.page_size);
        which.customer_id = self.resolve_optional(message.customer, "customer", violations).await?;
        self.check_campaign(which.campaign_id.as_ref()).await?;
        let page = self.0.pages.open("ListContacts", &paged, page_size, &message.page_token)?;
        let found = self.0.contacts.list(&which, order, &page).await.map_err(Fault::from)?;
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
        let reason = line(&mut violations, "reason", &message.reason, 500);
        let id = decode::id(&message.contact_id, violations)?;
        let contact = self.0.intake.cancel_contact(id, &reason, &message.etag).await?;
        Ok(Response::new(CancelContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn batch_cancel_contacts(
        &self,
        request: Request<BatchCancelContactsRequest>,
    ) -> Result<Response<BatchCancelContactsResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = request_key(&mut violations, "requestId", &caller, "BatchCancelContacts", &request_id, &message);
        let mut batch = decode::batch_cancel(&mut violations, &message);
        batch.which.wanted = self.wanted(&mut violations, &message.filter, contacts::fields());
        batch.which.customer_id = self.resolve_optional(message.customer, "customer", violations).await?;
        self.check_campaign(batch.which.campaign_id.as_ref()).await?;
        let key = key.filter(|_| !batch.validate_only);
        let reply = self.0.intake.cancel_contacts(&batch, key.as_ref()).await?;
        Ok(answer(reply, |done| BatchCancelContactsResponse {
            matched: done.matched,
            canceled: done.canceled,
            sample_contact_ids: done.sample.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn reschedule_contact(
        &self,
        request: Request<RescheduleContactRequest>,
    ) -> Result<Response<RescheduleContactResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let due = required_time(&mut violations, "dueTime", message.due_time);
        let id = parse(&mut violations, "contactId", &message.contact_id);
        let (id, due) = violations.finish(id.zip(due))?;
        let contact = self.0.intake.reschedule_contact(id, due, &message.etag).await?;
        Ok(Response::new(RescheduleContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn resolve_contact(
        &self,
        request: Request<ResolveContactRequest>,
    ) -> Result<Response<ResolveContactResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let id = parse(&mut violations, "contactId", &message.contact_id);
        let verdict = decode::verdict(&mut violations, message.verdict);
        let note = line(&mut violations, "note", &message.note, 500);
        let (id, verdict) = violations.finish(id.zip(verdict))?;
        let contact = self.0.intake.resolve_contact(id, verdict, &caller, &note).await?;
        Ok(Response::new(ResolveContactResponse { contact: Some(self.encode_contact(contact)) }))
    }

    async fn list_contact_attempts(
        &self,
        request: Request<ListContactAttemptsRequest>,
    ) -> Result<Response<ListContactAttemptsResponse>, Status> {
        let (_, message, violations) = open(request);
        let attempts = self.0.contacts.attempts(decode::id(&message.contact_id, violations)?).await?;
        let attempts = attempts.into_iter().map(encode::attempt).collect();
        Ok(Response::new(ListContactAttemptsResponse { attempts }))
    }

    async fn explain_contact(
        &self,
        request: Request<ExplainContactRequest>,
    ) -> Result<Response<ExplainContactResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let at = time(&mut violations, "atTime", message.at_time);
        let explained = match message.about {
            Some(About::ContactId(text)) => {
                let contact = self.0.contacts.get(decode::id(&text, violations)?).await?;
                self.0.gate.explain(contact, at).await?
            }
            Some(About::CampaignAndCustomer(about)) => {
                let path = "campaignAndCustomer";
                let campaign = parse(&mut violations, format_args!("{path}.campaignId"), &about.campaign_id);
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

fn refuse(result: &mut ScheduleResult, fault: &Fault) {
    result.reason = fault.reason().map(reason_name).unwrap_or_default().to_owned();
    result.detail = fault.to_string();
}
