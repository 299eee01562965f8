mod policy;
mod suppressions;

use chrono::TimeDelta;
use tonic::{Request, Response, Status, async_trait};

use self::policy::{caps, encode_cap, encode_policy, encode_quiet_hours, quiet_hours};
use super::{Api, answer, decode, encode, open};
use crate::{
    contacts::Purpose,
    delivery::Channel,
    ids::TopicId,
    intake::{Statement, Unsubscription},
    preferences::{Consent, ConsentMethod, ConsentState, OptIn, PreferenceChange, Preferences, Topic},
    rpc::{
        Fault, Mask, Violations, etag,
        proto::{
            self, CheckContactabilityRequest, CheckContactabilityResponse, CreateSuppressionRequest,
            CreateSuppressionResponse, CreateTopicRequest, CreateTopicResponse, DeleteSuppressionRequest,
            DeleteSuppressionResponse, GetPreferencesRequest, GetPreferencesResponse, GetSendingPolicyRequest,
            GetSendingPolicyResponse, GetTopicRequest, GetTopicResponse, ListSuppressionsRequest,
            ListSuppressionsResponse, ListTopicsRequest, ListTopicsResponse, SetConsentRequest, SetConsentResponse,
            UnsubscribeRequest, UnsubscribeResponse, UpdatePreferencesRequest, UpdatePreferencesResponse,
            UpdateSendingPolicyRequest, UpdateSendingPolicyResponse, consent,
            preference_service_server::PreferenceService,
            set_consent_request::Decision,
            topic,
            unsubscribe_request::{By, Scope},
        },
    },
};

const CAN_CHANGE: &[&str] = &["quiet_hours", "caps", "snooze_end_time"];
const OUTPUT_ONLY: &[&str] = &["customer_id", "consents", "objection_time", "silence_time", "etag"];
/// How far the clocks of callers may be ahead of ours when a customer says something.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

#[async_trait]
impl PreferenceService for Api {
    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<GetPreferencesResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let preferences = self.0.preferences.get(id).await.map_err(Fault::from)?;
        Ok(Response::new(GetPreferencesResponse { preferences: Some(encode_preferences(preferences)) }))
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
            preferences: Some(encode_preferences(preferences)),
        }))
    }

    async fn set_consent(&self, request: Request<SetConsentRequest>) -> Result<Response<SetConsentResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "SetConsent", &request_id, &message);
        let statement = statement(&mut violations, &message, self.0.clock.now());
        let id = self.resolve(message.customer, "customer", violations).await?;
        let statement = Violations::default().finish(statement)?;
        let reply = self.0.intake.set_consent(id, statement, key.as_ref()).await?;
        Ok(answer(reply, |(consent, canceled)| SetConsentResponse {
            consent: Some(encode_consent(consent)),
            canceled_contacts: i32::try_from(canceled).unwrap_or(i32::MAX),
        }))
    }

    async fn unsubscribe(&self, request: Request<UnsubscribeRequest>) -> Result<Response<UnsubscribeResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let what = unsubscription(&mut violations, message.scope, message.channel);
        let method = method(&mut violations, message.method);
        let customer = message.by.map(|By::Customer(customer)| customer);
        let id = self.resolve(customer, "customer", violations).await?;
        let (what, method) = Violations::default().finish(what.zip(method))?;
        let (preferences, canceled) = self.0.intake.unsubscribe(id, what, method).await?;
        Ok(Response::new(UnsubscribeResponse {
            preferences: Some(encode_preferences(preferences)),
            canceled_contacts: i32::try_from(canceled).unwrap_or(i32::MAX),
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
            Some(topic) => decode_topic(&mut violations, &topic),
            None => {
                violations.add("topic", "is required");
                None
            }
        };
        let topic = violations.finish(topic)?;
        let reply = self.0.preferences.create_topic(topic, key.as_ref()).await?;
        Ok(answer(reply, |topic| CreateTopicResponse { topic: Some(encode_topic(topic)) }))
    }

    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Result<Response<GetTopicResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<TopicId> = decode::parse(&mut violations, "topicId", &message.topic_id);
        let topic = self.0.preferences.topic(&violations.finish(id)?).await?;
        Ok(Response::new(GetTopicResponse { topic: Some(encode_topic(topic)) }))
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Result<Response<ListTopicsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        violations.check()?;
        let selection = ListTopicsRequest::default();
        let page = self.0.pages.open("ListTopics", &selection, page_size, &message.page_token)?;
        let found = self.0.preferences.list_topics(&page).await.map_err(Fault::from)?;
        Ok(Response::new(ListTopicsResponse {
            next_page_token: self.0.pages.seal("ListTopics", &selection, found.next.as_deref()),
            topics: found.rows.into_iter().map(encode_topic).collect(),
        }))
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
        violations.check()?;
        let selection = ListSuppressionsRequest { address: message.address, ..Default::default() };
        let page = self.0.pages.open("ListSuppressions", &selection, page_size, &message.page_token)?;
        let found = self.0.suppressions.list(address.as_ref(), &page).await.map_err(Fault::from)?;
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

fn statement(
    violations: &mut Violations,
    message: &SetConsentRequest,
    now: crate::clock::Timestamp,
) -> Option<Statement> {
    let topic_id = decode::parse(violations, "topicId", &message.topic_id);
    let channel = decode::channel(violations, "channel", message.channel);
    let allowed = "must be DECISION_GRANT or DECISION_WITHDRAW";
    let decision: Option<Decision> = decode::required_choice(violations, "decision", message.decision, allowed);
    let method = method(violations, message.method);
    let grant = decision == Some(Decision::Grant);
    if grant && method.is_some_and(|method| !method.can_grant()) {
        violations.add("method", "is one by which customers only ever withdraw");
    }
    let occur_time = decode::time(violations, "occurTime", message.occur_time);
    if occur_time.is_some_and(|time| time > now + AHEAD) {
        violations.add("occurTime", "must not be more than 5 minutes ahead");
    }
    let address_id = decode::parse_optional(violations, "addressId", &message.address_id);
    Some(Statement { topic_id: topic_id?, channel, grant, method: method?, occur_time, address_id })
}

fn unsubscription(violations: &mut Violations, scope: Option<Scope>, channel: i32) -> Option<Unsubscription> {
    let channel: Option<proto::Channel> = decode::choice(violations, "channel", channel);
    let channel = channel.map(|_| Channel::Email);
    match scope {
        Some(Scope::TopicId(id)) => {
            decode::parse(violations, "topicId", &id).map(|id| Unsubscription::Topic(id, channel))
        }
        Some(Scope::AllMarketing(true)) => Some(Unsubscription::Marketing),
        Some(Scope::Everything(true)) => Some(Unsubscription::Everything),
        Some(Scope::AllMarketing(false)) | Some(Scope::Everything(false)) | None => {
            violations.add("topicId", "one of topicId, allMarketing (true) and everything (true) is required");
            None
        }
    }
}

fn method(violations: &mut Violations, number: i32) -> Option<ConsentMethod> {
    let allowed = "is required: how the customer said so, such as CONSENT_METHOD_WEB_FORM";
    let method: Option<proto::ConsentMethod> = decode::required_choice(violations, "method", number, allowed);
    Some(match method? {
        proto::ConsentMethod::Unspecified => return None,
        proto::ConsentMethod::WebForm => ConsentMethod::WebForm,
        proto::ConsentMethod::DoubleOptIn => ConsentMethod::DoubleOptIn,
        proto::ConsentMethod::PreferencePage => ConsentMethod::PreferencePage,
        proto::ConsentMethod::OneClick => ConsentMethod::OneClick,
        proto::ConsentMethod::Reply => ConsentMethod::Reply,
        proto::ConsentMethod::Complaint => ConsentMethod::Complaint,
        proto::ConsentMethod::InPerson => ConsentMethod::InPerson,
        proto::ConsentMethod::Operator => ConsentMethod::Operator,
        proto::ConsentMethod::Import => ConsentMethod::Import,
    })
}

fn decode_topic(violations: &mut Violations, topic: &proto::Topic) -> Option<Topic> {
    let topic_id = decode::parse(violations, "topic.topicId", &topic.topic_id);
    let names = decode::localized(violations, "topic.names", &topic.names);
    let purpose: Option<proto::Purpose> = decode::choice(violations, "topic.purpose", topic.purpose);
    let purpose = match purpose {
        Some(proto::Purpose::Transactional) => Purpose::Transactional,
        Some(proto::Purpose::Service) => Purpose::Service,
        Some(proto::Purpose::Survey) => Purpose::Survey,
        Some(proto::Purpose::Marketing | proto::Purpose::Unspecified) | None => Purpose::Marketing,
    };
    let opt_in: Option<topic::OptIn> = decode::choice(violations, "topic.optIn", topic.opt_in);
    let opt_in = match opt_in {
        Some(topic::OptIn::Double) => OptIn::Double,
        Some(topic::OptIn::Single) => OptIn::Single,
        Some(topic::OptIn::None) => OptIn::None,
        Some(topic::OptIn::Unspecified) | None if purpose.needs_consent() => OptIn::Double,
        Some(topic::OptIn::Unspecified) | None => OptIn::None,
    };
    if purpose.needs_consent() && opt_in == OptIn::None {
        violations.add("topic.optIn", "must be OPT_IN_SINGLE or OPT_IN_DOUBLE for marketing and surveys");
    }
    if purpose == Purpose::Transactional && opt_in != OptIn::None {
        violations.add("topic.optIn", "must be OPT_IN_NONE for a transactional topic");
    }
    for (place, channel) in topic.channels.iter().enumerate() {
        let path = format_args!("topic.channels[{place}]");
        let _: Option<proto::Channel> = decode::required_choice(violations, path, *channel, "must be CHANNEL_EMAIL");
    }
    if topic.essential && purpose != Purpose::Transactional {
        violations.add("topic.essential", "must be false for a topic that is not transactional");
    }
    let (channels, essential) = (vec![Channel::Email], topic.essential);
    Some(Topic { topic_id: topic_id?, names, purpose, opt_in, channels, essential, revision: 1 })
}

fn encode_topic(topic: Topic) -> proto::Topic {
    let opt_in = match topic.opt_in {
        OptIn::Double => topic::OptIn::Double,
        OptIn::Single => topic::OptIn::Single,
        OptIn::None => topic::OptIn::None,
    };
    proto::Topic {
        topic_id: topic.topic_id.to_string(),
        names: encode::localized(topic.names),
        purpose: encode::purpose(topic.purpose).into(),
        opt_in: opt_in.into(),
        channels: topic.channels.iter().map(|Channel::Email| proto::Channel::Email.into()).collect(),
        essential: topic.essential,
        etag: etag(topic.revision),
    }
}

fn encode_consent(of: Consent) -> proto::Consent {
    let state = match of.state {
        ConsentState::Granted => consent::State::Granted,
        ConsentState::Denied => consent::State::Denied,
    };
    proto::Consent {
        topic_id: of.topic_id.to_string(),
        channel: proto::Channel::Email.into(),
        state: state.into(),
        address_id: of.address_id.map(|id| id.to_string()).unwrap_or_default(),
        change_time: Some(encode::time(of.change_time)),
    }
}

fn encode_preferences(of: Preferences) -> proto::Preferences {
    proto::Preferences {
        customer_id: of.customer_id.to_string(),
        consents: of.consents.into_iter().map(encode_consent).collect(),
        quiet_hours: of.quiet_hours.map(encode_quiet_hours),
        caps: of.caps.into_iter().map(encode_cap).collect(),
        snooze_end_time: of.snooze_end_time.map(encode::time),
        objection_time: of.objection_time.map(encode::time),
        etag: etag(of.revision),
        silence_time: of.silence_time.map(encode::time),
    }
}
