//! Something to do: customers, and contacts of every purpose that are due at once. The first contacts are planned through the
//! API; many more are copies of their rows, which takes a second where the API would take minutes.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt, stream};
use rapport::{
    ids::ContactId,
    rpc::proto::{
        self, ActivateCampaignRequest, Campaign, CampaignRun, Contact, CreateCampaignRequest, CreateCustomerRequest,
        CreateTemplateRequest, CreateTopicRequest, Customer, CustomerRef, ListCampaignRunsRequest, ListContactsRequest,
        Purpose, Template, TemplateVariant, Topic, campaign_service_client::CampaignServiceClient, contact,
        contact_service_client::ContactServiceClient, customer_ref::Key,
        customer_service_client::CustomerServiceClient, preference_service_client::PreferenceServiceClient,
        set_consent_request::Decision, template_service_client::TemplateServiceClient, topic::OptIn,
    },
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait, Value};
use tonic::transport::Channel;

use super::fleet::Replica;

/// How many calls are on their way at once.
const AT_ONCE: usize = 32;
/// What the load writes about: an id, its purpose, and how customers come to it.
const TOPICS: [(&str, Purpose, OptIn); 3] = [
    ("receipts", Purpose::Transactional, OptIn::None),
    ("orders", Purpose::Service, OptIn::None),
    ("offers", Purpose::Marketing, OptIn::Single),
];

/// The calls that fault tests make.
#[derive(Clone)]
pub struct Api {
    pub customers: CustomerServiceClient<Channel>,
    pub preferences: PreferenceServiceClient<Channel>,
    pub templates: TemplateServiceClient<Channel>,
    pub contacts: ContactServiceClient<Channel>,
}

impl Api {
    pub fn of(replica: &Replica) -> Self {
        let channel = replica.channel();
        Self {
            customers: CustomerServiceClient::new(channel.clone()),
            preferences: PreferenceServiceClient::new(channel.clone()),
            templates: TemplateServiceClient::new(channel.clone()),
            contacts: ContactServiceClient::new(channel),
        }
    }

    /// Every contact, page by page.
    pub async fn everything(&mut self) -> Vec<Contact> {
        let mut request = ListContactsRequest { page_size: 500, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.contacts.list_contacts(request.clone()).await.expect("listed").into_inner();
            all.extend(page.contacts);
            if page.next_page_token.is_empty() {
                return all;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// How many contacts are in any of these states.
    pub async fn count(&mut self, states: &[contact::State]) -> i64 {
        let states = states.iter().map(|state| (*state).into()).collect();
        let request = ListContactsRequest { page_size: 1, include_total: true, states, ..Default::default() };
        self.contacts.list_contacts(request).await.expect("listed").into_inner().total_size
    }

    /// Whether nothing waits and nothing is under way.
    pub async fn is_done(&mut self) -> bool {
        self.count(&[contact::State::Scheduled, contact::State::Sending]).await == 0
    }

    /// When each attempt of a contact was begun.
    pub async fn attempts(&mut self, contact_id: &str) -> Vec<proto::ContactAttempt> {
        let about = proto::explain_contact_request::About::ContactId(contact_id.to_owned());
        let request = proto::ExplainContactRequest { about: Some(about), at_time: None };
        self.contacts.explain_contact(request).await.expect("explained").into_inner().attempts
    }
}

/// What is planned.
#[derive(Debug, Clone)]
pub struct Load {
    pub customers: usize,
    /// The customers' addresses are spread over them evenly.
    pub domains: Vec<String>,
    /// Each customer gets a contact of each.
    pub purposes: Vec<Purpose>,
    /// So many more of each.
    pub copies: usize,
}

impl Load {
    /// Contacts of every purpose, for receivers at forty domains.
    pub fn mixed(customers: usize, copies: usize) -> Self {
        Self {
            customers,
            domains: (0..40).map(|number| format!("shop-{number}.test")).collect(),
            purposes: TOPICS.map(|(_, purpose, _)| purpose).to_vec(),
            copies,
        }
    }

    /// One contact for each of so many customers at each of these domains.
    pub fn at(domains: &[&str], customers: usize, purposes: &[Purpose]) -> Self {
        Self {
            customers: customers * domains.len(),
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            purposes: purposes.to_vec(),
            copies: 0,
        }
    }
}

/// A contact that must not be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub purpose: Purpose,
    /// The customer's external id.
    pub customer: String,
    pub address: String,
}

/// What must not be lost, by contact id.
pub type Plan = HashMap<String, Planned>;

/// Plans a load, due in an hour: a fault test decides by [`release`] when it begins.
pub async fn plan(api: &Api, load: &Load) -> Plan {
    texts(api.clone()).await;
    let people: Vec<(String, String)> = (0..load.customers)
        .map(|number| (format!("c{number}"), format!("c{number}@{}", load.domains[number % load.domains.len()])))
        .collect();
    let planned: Vec<Plan> = stream::iter(people)
        .map(|(name, address)| plan_for(api.clone(), name, address, load.purposes.clone()))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    planned.into_iter().flatten().collect()
}

/// What the load is about, and what it says.
pub async fn texts(mut api: Api) {
    for (id, purpose, opt_in) in TOPICS {
        let names = vec![proto::LocalizedText { locale: String::new(), text: id.to_owned() }];
        let (purpose, opt_in) = (purpose.into(), opt_in.into());
        let topic = Topic { topic_id: id.to_owned(), names, purpose, opt_in, ..Topic::default() };
        let request = CreateTopicRequest { topic: Some(topic), ..Default::default() };
        api.preferences.create_topic(request).await.expect("created");
    }
    let variant = TemplateVariant {
        subject: "For {{ customer.given_name }}".to_owned(),
        text_body: "Hello {{ customer.given_name }}.\n.\nThat was a line with a dot.".to_owned(),
        ..TemplateVariant::default()
    };
    let template = Template {
        template_id: "note".to_owned(),
        display_name: "Note".to_owned(),
        variants: vec![variant],
        ..Template::default()
    };
    let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
    api.templates.create_template(request).await.expect("created");
    let request = proto::PublishTemplateRequest { template_id: "note".to_owned(), ..Default::default() };
    api.templates.publish_template(request).await.expect("published");
}

/// Creates a campaign, and lets it act.
pub async fn activate(channel: Channel, campaign: Campaign) {
    let mut campaigns = CampaignServiceClient::new(channel);
    let campaign_id = campaign.campaign_id.clone();
    let request = CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
    campaigns.create_campaign(request).await.expect("created");
    let request = ActivateCampaignRequest { campaign_id, ..Default::default() };
    campaigns.activate_campaign(request).await.expect("activated");
}

/// The run of a campaign that has one at most; an empty one where there is none yet.
pub async fn only_run(channel: Channel, campaign_id: &str) -> CampaignRun {
    let request = ListCampaignRunsRequest { campaign_id: campaign_id.to_owned(), ..Default::default() };
    let runs = CampaignServiceClient::new(channel).list_campaign_runs(request).await.expect("listed").into_inner().runs;
    assert!(runs.len() <= 1, "{runs:?}");
    runs.into_iter().next().unwrap_or_default()
}

async fn plan_for(mut api: Api, name: String, address: String, purposes: Vec<Purpose>) -> Plan {
    let customer = Customer {
        external_ids: vec![name.clone()],
        given_name: name.clone(),
        addresses: vec![proto::Address { value: address.clone(), ..proto::Address::default() }],
        ..Customer::default()
    };
    let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
    api.customers.create_customer(request).await.expect("created");
    let later = SystemTime::now() + Duration::from_secs(3600);
    let mut plan = Plan::new();
    for purpose in purposes {
        let (topic, ..) = TOPICS.into_iter().find(|(_, of, _)| *of == purpose).expect("a topic");
        if purpose == Purpose::Marketing {
            decide(&mut api, &name, Decision::Grant).await;
        }
        let request = proto::ScheduleContactRequest {
            customer: by_name(&name),
            topic_id: topic.to_owned(),
            template_id: "note".to_owned(),
            due: Some(proto::schedule_contact_request::Due::DueTime(later.into())),
            ..Default::default()
        };
        let contact = api.contacts.schedule_contact(request).await.expect("planned").into_inner().contact;
        let planned = Planned { purpose, customer: name.clone(), address: address.clone() };
        plan.insert(contact.expect("a contact").contact_id, planned);
    }
    plan
}

/// Records what a customer says about offers; answers how many contacts that canceled.
pub async fn decide(api: &mut Api, name: &str, decision: Decision) -> i32 {
    let request = proto::SetConsentRequest {
        customer: by_name(name),
        topic_id: "offers".to_owned(),
        decision: decision.into(),
        method: proto::ConsentMethod::WebForm.into(),
        ..Default::default()
    };
    api.preferences.set_consent(request).await.expect("recorded").into_inner().canceled_contacts
}

/// How requests name a customer.
pub fn by_name(name: &str) -> Option<CustomerRef> {
    Some(CustomerRef { key: Some(Key::ExternalId(name.to_owned())) })
}

/// Makes everything due now, and so many copies of each contact. Nothing may serve meanwhile.
pub async fn release(record: &DatabaseConnection, plan: &mut Plan, copies: usize) {
    let backend = record.get_database_backend();
    let columns = columns(record, "contacts").await;
    let columns = columns.into_iter().filter(|name| name != "contact_id").collect::<Vec<_>>().join(", ");
    let tx = record.begin().await.expect("it begins");
    let sql = match backend {
        DbBackend::Sqlite => "UPDATE contacts SET due_time = ?, original_due_time = ?",
        _ => "UPDATE contacts SET due_time = $1, original_due_time = $2",
    };
    let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
    let now = [Value::from(now), Value::from(now)];
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, now)).await.expect("released");
    // Round by round, so that the copies of one contact do not follow one another.
    let mut rounds = vec![Vec::new(); plan.len()];
    for _ in 0..copies {
        rounds.iter_mut().for_each(|ids| ids.push(ContactId::generate()));
    }
    let mut made = Vec::new();
    for ((id, planned), ids) in plan.iter().zip(rounds).filter(|_| copies > 0) {
        let rows: Vec<String> = ids.iter().map(|id| format!("({})", literal(backend, *id))).collect();
        let sql = format!(
            "INSERT INTO contacts (contact_id, {columns}) SELECT ids.column1, {columns} \
             FROM contacts CROSS JOIN (VALUES {}) AS ids WHERE contact_id = {}",
            rows.join(", "),
            literal(backend, id.parse().expect("a contact id")),
        );
        tx.execute_unprepared(&sql).await.expect("copied");
        made.extend(ids.into_iter().map(|id| (id.to_string(), planned.clone())));
    }
    tx.commit().await.expect("it commits");
    plan.extend(made);
}

/// Every column of a table, as the database has them now.
pub async fn columns(record: &impl ConnectionTrait, table: &str) -> Vec<String> {
    let backend = record.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
        _ => format!(
            "SELECT column_name::text AS name FROM information_schema.columns \
             WHERE table_name = '{table}' AND table_schema = current_schema()"
        ),
    };
    let rows = record.query_all_raw(Statement::from_string(backend, sql)).await.expect("columns");
    rows.iter().map(|row| row.try_get::<String>("", "name").expect("a name")).collect()
}

fn literal(backend: DbBackend, id: ContactId) -> String {
    let uuid = uuid::Uuid::from(id);
    match backend {
        DbBackend::Sqlite => format!("x'{}'", uuid.simple()),
        _ => format!("'{uuid}'::uuid"),
    }
}
