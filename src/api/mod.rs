//! The gRPC services: decode, call, encode. Every violation of a request is collected before anything happens; decisions and
//! queries are elsewhere.

mod admin_service;
mod campaign_service;
mod contact_service;
mod customer_service;
mod decode;
mod delivery_service;
mod encode;
mod event_service;
mod export;
mod import;
mod preference_service;
mod template_service;
mod upload;

use std::sync::Arc;

use tonic::{Request, Response, codec::CompressionEncoding, metadata::AsciiMetadataValue, service::Routes};

use crate::{
    admin::Admin,
    campaigns::Campaigns,
    clock::Clock,
    contacts::Contacts,
    customers::Customers,
    dispatch::Dispatcher,
    events::Events,
    filter::{Schema, Wanted},
    gate::Gate,
    ids::{CampaignId, CustomerId},
    inbound::Inbound,
    intake::Intake,
    links::Links,
    preferences::{PreferenceBook, Suppressions},
    privacy::Privacy,
    rehearsal::Rehearsals,
    rpc::{
        Caller, Fault, PageTokens, Reply, Violations,
        proto::{
            CustomerRef, admin_service_server::AdminServiceServer, campaign_service_server::CampaignServiceServer,
            contact_service_server::ContactServiceServer, customer_service_server::CustomerServiceServer,
            delivery_service_server::DeliveryServiceServer, event_service_server::EventServiceServer,
            preference_service_server::PreferenceServiceServer, template_service_server::TemplateServiceServer,
        },
    },
    senders::Senders,
    templates::Templates,
};

/// The parts that the services drive.
#[derive(Debug)]
pub struct Parts {
    /// Business time.
    pub clock: Clock,
    /// Page tokens.
    pub pages: PageTokens,
    /// Customers.
    pub customers: Customers,
    /// Events.
    pub events: Events,
    /// The links in mail.
    pub links: Links,
    /// Topics and preferences.
    pub preferences: PreferenceBook,
    /// Addresses that are not written to.
    pub suppressions: Suppressions,
    /// What customers can ask to be removed.
    pub privacy: Privacy,
    /// Templates.
    pub templates: Arc<Templates>,
    /// Campaigns.
    pub campaigns: Campaigns,
    /// Campaigns that are tried on the past.
    pub rehearsals: Rehearsals,
    /// Contacts.
    pub contacts: Contacts,
    /// What changes plans.
    pub intake: Intake,
    /// What came back.
    pub inbound: Inbound,
    /// What may go out.
    pub gate: Gate,
    /// What carries plans out.
    pub dispatcher: Arc<Dispatcher>,
    /// Who mail is from.
    pub senders: Senders,
    /// What looks after the process.
    pub admin: Arc<Admin>,
}

/// One service of the contract.
#[derive(Debug, Clone)]
struct Api(Arc<Parts>);

/// The names of all services, for their health.
pub const SERVICES: [&str; 8] = [
    "rapport.v1.CustomerService",
    "rapport.v1.EventService",
    "rapport.v1.PreferenceService",
    "rapport.v1.TemplateService",
    "rapport.v1.CampaignService",
    "rapport.v1.ContactService",
    "rapport.v1.DeliveryService",
    "rapport.v1.AdminService",
];

/// All services of the contract.
pub fn routes(parts: Parts) -> Routes {
    let api = Api(Arc::new(parts));
    // What a client compresses is read; answers are small and go out as they are.
    macro_rules! reading_gzip {
        ($first:ident $($server:ident)*) => {
            Routes::new($first::new(api.clone()).accept_compressed(CompressionEncoding::Gzip))
                $(.add_service($server::new(api.clone()).accept_compressed(CompressionEncoding::Gzip)))*
        };
    }
    reading_gzip!(CustomerServiceServer EventServiceServer PreferenceServiceServer TemplateServiceServer
        CampaignServiceServer ContactServiceServer AdminServiceServer)
    .add_service(
        DeliveryServiceServer::new(api.clone())
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(delivery_service::LARGEST_MESSAGE + 64 * 1_024),
    )
}

impl Api {
    /// Whom a request names; collects what is wrong with the name.
    async fn resolve(
        &self,
        reference: Option<CustomerRef>,
        path: &str,
        violations: Violations,
    ) -> Result<CustomerId, Fault> {
        let mut violations = violations;
        let key = decode::customer_key(&mut violations, path, reference);
        let key = violations.finish(key)?;
        self.0.customers.resolve(&key).await
    }

    /// Whom a request names, if it names anybody.
    async fn resolve_optional(
        &self,
        reference: Option<CustomerRef>,
        path: &str,
        violations: Violations,
    ) -> Result<Option<CustomerId>, Fault> {
        match reference {
            None => violations.check().map(|()| None),
            some => self.resolve(some, path, violations).await.map(Some),
        }
    }

    /// What a list is asked for by a filter; collects what is wrong with it.
    fn wanted(&self, violations: &mut Violations, filter: &str, schema: &Schema) -> Wanted {
        Wanted::at(decode::filter(violations, "filter", filter, schema), self.0.clock.now())
    }

    /// Refuses to select by a campaign that is not there.
    async fn check_campaign(&self, id: Option<&CampaignId>) -> Result<(), Fault> {
        match id {
            Some(id) => self.0.campaigns.get(id).await.map(drop),
            None => Ok(()),
        }
    }
}

/// A request taken apart: who calls, what, and what is wrong with it so far.
fn open<T>(request: Request<T>) -> (Caller, T, Violations) {
    let mut violations = Violations::default();
    let caller = Caller::from_metadata(request.metadata(), &mut violations);
    (caller, request.into_inner(), violations)
}

/// The answer, marked when an equal request had been answered before.
fn answer<V, T>(reply: Reply<V>, encode: impl FnOnce(V) -> T) -> Response<T> {
    let mut response = Response::new(encode(reply.value));
    if reply.replayed {
        response.metadata_mut().insert("x-replayed", AsciiMetadataValue::from_static("true"));
    }
    response
}
