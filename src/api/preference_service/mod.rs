mod consents;
mod policy;
mod suppressions;
mod topics;

use chrono::{SubsecRound, TimeDelta};
use tonic::{Request, Response, Status, async_trait};

use self::{
    consents::encode_consent,
    policy::{caps, encode_policy, quiet_hours},
};
pub(super) use self::{
    consents::{AHEAD, LONGEST_EVIDENCE, encode_preferences, encode_record, encode_wording},
    suppressions::encode as encode_suppression,
};
use super::{Api, answer, decode, encode, open};
use crate::{
    ids::TopicId,
    intake::{Said, Unsubscription},
    preferences::{ConsentRecord, Evidence, PreferenceChange, suppression_fields},
    rpc::{
        Fault, Mask, Reason, Violations,
        proto::{
            CheckContactabilityRequest, CheckContactabilityResponse, ConfirmConsentRequest, ConfirmConsentResponse,
            CreatePreferenceLinkRequest, CreatePreferenceLinkResponse, CreateSuppressionRequest,
            CreateSuppressionResponse, CreateTopicRequest, CreateTopicResponse, CreateWordingRequest,
            CreateWordingResponse, DeleteSuppressionRequest, DeleteSuppressionResponse, GetPreferencesRequest,
            GetPreferencesResponse, GetSendingPolicyRequest, GetSendingPolicyResponse, GetTopicRequest,
            GetTopicResponse, ListConsentRecordsRequest, ListConsentRecordsResponse, ListSuppressionsRequest,
            ListSuppressionsResponse, ListTopicsRequest, ListTopicsResponse, ListWordingsRequest, ListWordingsResponse,
            SetConsentRequest, SetConsentResponse, UnsubscribeRequest, UnsubscribeResponse, UpdatePreferencesRequest,
            UpdatePreferencesResponse, UpdateSendingPolicyRequest, UpdateSendingPolicyResponse, UpdateTopicRequest,
            UpdateTopicResponse, preference_service_server::PreferenceService, unsubscribe_request::By,
        },
    },
};

const CAN_CHANGE: &[&str] = &["quiet_hours", "caps", "snooze_end_time"];
const OUTPUT_ONLY: &[&str] = &["customer_id", "consents", "objection_time", "silence_time", "etag"];
/// For how long a link to preferences works at most, in hours: a year.
const LONGEST_LINK: i32 = 8_784;

#[async_trait]
impl PreferenceService for Api {
    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let preferences = self.0.preferences.get(id).await.map_err(Fault::from)?;
        Ok(Response::new(GetPreferencesResponse {
            preferences: Some(encode_preferences(preferences, self.0.clock.now())),
        }))
    }

    async fn update_preferences(
        &self,
        request: Request<UpdatePreferencesRequest>,
    ) -> Result<Response<UpdatePreferencesResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key =
            decode::request_key(&mut violations, "requestId", &caller, "UpdatePreferences", &request_id, &message);
        let new = message.preferences.unwrap_or_default();
        let is_set = |path: &str| match path {
            "quiet_hours" => new.quiet_hours.is_some(),
            "caps" => !new.caps.is_empty(),
            _ => new.snooze_end_time.is_some(),
        };
        let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, &mut violations);
        let quiet = new.quiet_hours.and_then(|hours| quiet_hours(&mut violations, "preferences.quietHours", &hours));
        let caps = caps(&mut violations, "preferences.caps", &new.caps);
        let snooze = decode::time(&mut violations, "preferences.snoozeEndTime", new.snooze_end_time);
        let change = PreferenceChange {
            quiet_hours: mask.pick("quiet_hours", quiet),
            caps: mask.pick("caps", caps),
            snooze_end_time: mask.pick("snooze_end_time", snooze),
        };
        let id = self.resolve(message.customer, "customer", violations).await?;
        let reply = self.0.preferences.update(id, &new.etag, change, key.as_ref()).await?;
        // What they put off may be due now.
        self.0.dispatcher.ring();
        Ok(answer(reply, |preferences| UpdatePreferencesResponse {
            preferences: Some(encode_preferences(preferences, self.0.clock.now())),
        }))
    }

    async fn set_consent(&self, request: Request<SetConsentRequest>) -> Result<Response<SetConsentResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "SetConsent", &request_id, &message);
        let now = self.0.clock.now();
        let customer = message.customer.take();
        let statement = consents::statement(&mut violations, message, caller.as_str(), now);
        let id = self.resolve(customer, "customer", violations).await?;
        let statement = Violations::default().finish(statement)?;
        let reply = self.0.intake.set_consent(id, statement, key.as_ref()).await?;
        Ok(answer(reply, |stated| SetConsentResponse {
            consent: Some(encode_consent(stated.consent, now)),
            confirmation_planned: stated.confirmation_planned,
            canceled_contacts: i32::try_from(stated.canceled).unwrap_or(i32::MAX),
        }))
    }

    async fn confirm_consent(
        &self,
        request: Request<ConfirmConsentRequest>,
    ) -> Result<Response<ConfirmConsentResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let evidence = decode::text(&mut violations, "evidence", message.evidence, LONGEST_EVIDENCE);
        violations.check()?;
        let contact = self.0.links.confirming(&message.token).ok_or_else(no_link)?;
        let consent = self.0.intake.confirm_consent(contact, Evidence::new(caller.as_str(), &evidence)).await?;
        let consent = Some(encode_consent(consent, self.0.clock.now()));
        Ok(Response::new(ConfirmConsentResponse { consent }))
    }

    async fn unsubscribe(&self, request: Request<UnsubscribeRequest>) -> Result<Response<UnsubscribeResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let by_link = matches!(message.by, Some(By::Token(_)));
        let what = consents::unsubscription(&mut violations, message.scope, message.channel, by_link);
        let method = consents::method(&mut violations, message.method);
        let comment = decode::text(&mut violations, "comment", message.comment, LONGEST_EVIDENCE);
        let (customer_id, contact) = match message.by {
            Some(By::Token(token)) => {
                violations.check()?;
                let contact = self.0.links.unsubscribed(&token).ok_or_else(no_link)?;
                let contact = self.0.contacts.get(contact).await?;
                (contact.customer_id, Some(contact))
            }
            Some(By::Customer(customer)) => (self.resolve(Some(customer), "customer", violations).await?, None),
            None => (self.resolve(None, "customer", violations).await?, None),
        };
        let (what, method) = Violations::default().finish(what.zip(method))?;
        let of_message = contact.as_ref().map(|contact| Unsubscription::Topic(contact.topic_id.clone(), None));
        let what = Violations::default().finish(what.or(of_message))?;
        let evidence = Evidence::new(caller.as_str(), &comment);
        let said = Said { method, evidence, contact_id: contact.map(|contact| contact.contact_id), proven: None };
        let (preferences, canceled) = self.0.intake.unsubscribe(customer_id, what, &said).await?;
        Ok(Response::new(UnsubscribeResponse {
            preferences: Some(encode_preferences(preferences, self.0.clock.now())),
            canceled_contacts: i32::try_from(canceled).unwrap_or(i32::MAX),
        }))
    }

    async fn list_consent_records(
        &self,
        request: Request<ListConsentRecordsRequest>,
    ) -> Result<Response<ListConsentRecordsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let id = self.resolve(message.customer.clone(), "customer", violations).await?;
        let selection = ListConsentRecordsRequest { customer: message.customer, ..Default::default() };
        let page = self.0.pages.open("ListConsentRecords", &selection, page_size, &message.page_token)?;
        let (found, mut evidence) = self.0.preferences.records(id, &page).await.map_err(Fault::from)?;
        let encode = |record: ConsentRecord| {
            let evidence = evidence.remove(&record.record_id);
            consents::encode_record(record, evidence)
        };
        Ok(Response::new(ListConsentRecordsResponse {
            next_page_token: self.0.pages.seal("ListConsentRecords", &selection, found.next.as_deref()),
            records: found.rows.into_iter().map(encode).collect(),
        }))
    }

    async fn create_preference_link(
        &self,
        request: Request<CreatePreferenceLinkRequest>,
    ) -> Result<Response<CreatePreferenceLinkResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let hours = if message.ttl_hours == 0 { 24 } else { message.ttl_hours };
        let hours = decode::between(&mut violations, "ttlHours", hours, 1, LONGEST_LINK);
        let id = self.resolve(message.customer, "customer", violations).await?;
        self.0.customers.get(id, false).await?;
        // The link holds whole seconds.
        let end = (self.0.clock.now() + TimeDelta::hours(hours.into())).trunc_subsecs(0);
        let (url, expire_time) = (self.0.links.preferences_of(id, end), Some(encode::time(end)));
        Ok(Response::new(CreatePreferenceLinkResponse { url, expire_time }))
    }

    async fn create_wording(
        &self,
        request: Request<CreateWordingRequest>,
    ) -> Result<Response<CreateWordingResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "CreateWording", &request_id, &message);
        let new = consents::wording(&mut violations, message);
        let reply = self.0.preferences.create_wording(violations.finish(new)?, key.as_ref()).await?;
        Ok(answer(reply, |wording| CreateWordingResponse { wording: Some(consents::encode_wording(wording)) }))
    }

    async fn list_wordings(
        &self,
        request: Request<ListWordingsRequest>,
    ) -> Result<Response<ListWordingsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let topic_id: Option<TopicId> = decode::parse_optional(&mut violations, "topicId", &message.topic_id);
        violations.check()?;
        let selection = ListWordingsRequest { topic_id: message.topic_id, ..Default::default() };
        let page = self.0.pages.open("ListWordings", &selection, page_size, &message.page_token)?;
        let found = self.0.preferences.list_wordings(topic_id.as_ref(), &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListWordingsResponse {
            next_page_token: self.0.pages.seal("ListWordings", &selection, found.next.as_deref()),
            wordings: found.rows.into_iter().map(consents::encode_wording).collect(),
        }))
    }

    async fn check_contactability(
        &self,
        request: Request<CheckContactabilityRequest>,
    ) -> Result<Response<CheckContactabilityResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let topic_id: Option<TopicId> = decode::parse(&mut violations, "topicId", &message.topic_id);
        let channel = decode::channel(&mut violations, "channel", message.channel);
        let at = decode::time(&mut violations, "atTime", message.at_time);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let topic_id = Violations::default().finish(topic_id)?;
        let answer = self.0.gate.contactability(id, &topic_id, channel, at).await?;
        Ok(Response::new(CheckContactabilityResponse {
            allowed: answer.allowed,
            checks: encode::checks(answer.checks),
            next_allowed_time: answer.next_allowed_time.map(encode::time),
        }))
    }

    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "CreateTopic", &request_id, &message);
        let topic = match message.topic {
            Some(topic) => topics::decode(&mut violations, &topic),
            None => {
                violations.add("topic", "is required");
                None
            }
        };
        let topic = violations.finish(topic)?;
        let reply = self.0.preferences.create_topic(topic, key.as_ref()).await?;
        Ok(answer(reply, |topic| CreateTopicResponse { topic: Some(topics::encode(topic)) }))
    }

    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Result<Response<GetTopicResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<TopicId> = decode::parse(&mut violations, "topicId", &message.topic_id);
        let topic = self.0.preferences.topic(&violations.finish(id)?).await?;
        Ok(Response::new(GetTopicResponse { topic: Some(topics::encode(topic)) }))
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Result<Response<ListTopicsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        violations.check()?;
        let selection = ListTopicsRequest { show_archived: message.show_archived, ..Default::default() };
        let page = self.0.pages.open("ListTopics", &selection, page_size, &message.page_token)?;
        let found = self.0.preferences.list_topics(message.show_archived, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListTopicsResponse {
            next_page_token: self.0.pages.seal("ListTopics", &selection, found.next.as_deref()),
            topics: found.rows.into_iter().map(topics::encode).collect(),
        }))
    }

    async fn update_topic(
        &self,
        request: Request<UpdateTopicRequest>,
    ) -> Result<Response<UpdateTopicResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let change = topics::change(&mut violations, message);
        let (id, etag, change) = violations.finish(change)?;
        let topic = self.0.preferences.update_topic(&id, &etag, change).await?;
        // What waits is decided by what it takes now.
        self.0.dispatcher.ring();
        Ok(Response::new(UpdateTopicResponse { topic: Some(topics::encode(topic)) }))
    }

    async fn create_suppression(
        &self,
        request: Request<CreateSuppressionRequest>,
    ) -> Result<Response<CreateSuppressionResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key =
            decode::request_key(&mut violations, "requestId", &caller, "CreateSuppression", &request_id, &message);
        let new = suppressions::decode(&mut violations, message.suppression, caller.as_str(), self.0.clock.now());
        let reply = self.0.suppressions.create(violations.finish(new)?, key.as_ref()).await?;
        Ok(answer(reply, |one| CreateSuppressionResponse { suppression: Some(suppressions::encode(one)) }))
    }

    async fn delete_suppression(
        &self,
        request: Request<DeleteSuppressionRequest>,
    ) -> Result<Response<DeleteSuppressionResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        let id = decode::parse(&mut violations, "suppressionId", &message.suppression_id);
        let reason = decode::required(&mut violations, "reason", &message.reason, suppressions::LONGEST_NOTE);
        self.0.suppressions.delete(violations.finish(id)?, caller.as_str(), &reason).await?;
        // What waits for the address goes out when it is due.
        Ok(Response::new(DeleteSuppressionResponse {}))
    }

    async fn list_suppressions(
        &self,
        request: Request<ListSuppressionsRequest>,
    ) -> Result<Response<ListSuppressionsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let address = decode::parse_optional(&mut violations, "address", &message.address);
        let wanted = self.wanted(&mut violations, &message.filter, suppression_fields());
        violations.check()?;
        let (address_text, filter) = (message.address, message.filter);
        let selection = ListSuppressionsRequest { address: address_text, filter, ..Default::default() };
        let page = self.0.pages.open("ListSuppressions", &selection, page_size, &message.page_token)?;
        let found = self.0.suppressions.list(address.as_ref(), &wanted, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListSuppressionsResponse {
            next_page_token: self.0.pages.seal("ListSuppressions", &selection, found.next.as_deref()),
            suppressions: found.rows.into_iter().map(suppressions::encode).collect(),
        }))
    }

    async fn get_sending_policy(
        &self,
        request: Request<GetSendingPolicyRequest>,
    ) -> Result<Response<GetSendingPolicyResponse>, Status> {
        let (_, GetSendingPolicyRequest {}, violations) = open(request);
        violations.check()?;
        let policy = self.0.preferences.policy().await.map_err(Fault::from)?;
        Ok(Response::new(GetSendingPolicyResponse { policy: Some(encode_policy(policy)) }))
    }

    async fn update_sending_policy(
        &self,
        request: Request<UpdateSendingPolicyRequest>,
    ) -> Result<Response<UpdateSendingPolicyResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let (change, etag) = policy::change(&mut violations, message);
        violations.check()?;
        let policy = self.0.preferences.update_policy(&etag, change).await?;
        Ok(Response::new(UpdateSendingPolicyResponse { policy: Some(encode_policy(policy)) }))
    }
}

fn no_link() -> Fault {
    Fault::refused(Reason::LinkInvalid, "token", "this is no token of a link of this service")
}
