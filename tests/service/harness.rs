//! A world for a story: a service of its own, a shop that calls it, and a clock.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use chrono::TimeDelta;
use mail_parser::MessageParser;
use rapport::{
    clock::{Clock, ClockHand, Timestamp},
    config::{Config, DEFAULT_MAIL_CONNECTIONS, DatabaseLocation, MailLocation, Providers, TestRecipients},
    contacts::claims,
    database::{self, Database},
    ids::ClaimToken,
    rpc::proto::{
        self, Campaign, CampaignEffect, Contact, CreateCampaignRequest, CreateCustomerRequest, CreateTemplateRequest,
        CreateTopicRequest, Customer, CustomerRef, Event, PublishTemplateRequest, RecordEventRequest,
        RecordEventResponse, Template, TemplateVariant, Topic, admin_service_client::AdminServiceClient,
        campaign_service_client::CampaignServiceClient, contact_service_client::ContactServiceClient,
        customer_ref::Key, customer_service_client::CustomerServiceClient,
        delivery_service_client::DeliveryServiceClient, event_service_client::EventServiceClient,
        preference_service_client::PreferenceServiceClient, template_service_client::TemplateServiceClient,
    },
    service::Service,
};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

/// Names a server on which each story makes a database of its own.
pub const POSTGRES: &str = "RAPPORT_TEST_POSTGRES";
/// The key of every story.
pub const SECRET: &str = "a key for stories, which nobody needs to guess";
/// A Monday, far from every change of the clocks.
pub const MONDAY: &str = "2026-02-02T09:00:00Z";

/// A running service and everything that a story needs around it.
pub struct World {
    pub customers: CustomerServiceClient<Channel>,
    pub events: EventServiceClient<Channel>,
    pub preferences: PreferenceServiceClient<Channel>,
    pub templates: TemplateServiceClient<Channel>,
    pub campaigns: CampaignServiceClient<Channel>,
    pub contacts: ContactServiceClient<Channel>,
    pub deliveries: DeliveryServiceClient<Channel>,
    pub admin: AdminServiceClient<Channel>,
    pub channel: Channel,
    clock: Clock,
    hand: ClockHand,
    config: Config,
    service: Option<Service>,
    // Dropped last: the folder, and the database on a server.
    place: Place,
}

impl World {
    /// A service on a Monday morning.
    pub async fn new() -> Self {
        Self::at(MONDAY).await
    }

    /// A service on a Monday morning, with settings of its own.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(MONDAY, change).await
    }

    /// A service at a moment.
    pub async fn at(start: &str) -> Self {
        Self::with(start, |_| {}).await
    }

    /// A service at a moment, with other settings than usual.
    pub async fn with(start: &str, change: impl FnOnce(&mut Config)) -> Self {
        let place = Place::make().await;
        let mut config = place.config();
        change(&mut config);
        migrate(&config).await;
        let (clock, hand) = Clock::simulated(moment(start));
        let service = Service::start(&config, clock.clone()).await.expect("the service starts");
        let channel = connect(&service).await;
        Self {
            customers: CustomerServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            preferences: PreferenceServiceClient::new(channel.clone()),
            templates: TemplateServiceClient::new(channel.clone()),
            campaigns: CampaignServiceClient::new(channel.clone()),
            contacts: ContactServiceClient::new(channel.clone()),
            deliveries: DeliveryServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()),
            channel,
            clock,
            hand,
            config,
            service: Some(service),
            place,
        }
    }

    /// Stops the service in order, does something to what it left, and starts it again.
    pub async fn restart_after(mut self, change: impl AsyncFnOnce(&Database)) -> Self {
        self.service.take().expect("it runs").stop().await;
        let db = Database::connect(&self.config.database).await.expect("the database opens");
        change(&db).await;
        db.close().await.expect("it closes");
        let service = Service::start(&self.config, self.clock.clone()).await.expect("the service starts again");
        let channel = connect(&service).await;
        self.customers = CustomerServiceClient::new(channel.clone());
        self.events = EventServiceClient::new(channel.clone());
        self.preferences = PreferenceServiceClient::new(channel.clone());
        self.templates = TemplateServiceClient::new(channel.clone());
        self.campaigns = CampaignServiceClient::new(channel.clone());
        self.contacts = ContactServiceClient::new(channel.clone());
        self.deliveries = DeliveryServiceClient::new(channel.clone());
        self.admin = AdminServiceClient::new(channel.clone());
        self.channel = channel;
        self.service = Some(service);
        self
    }

    /// Another process on the same record, where that is possible: on a server.
    pub async fn another_replica(&self) -> Option<Replica> {
        self.place.server.as_ref()?;
        Some(Replica(Service::start(&self.config, self.clock.clone()).await.expect("another one starts")))
    }

    /// Where the service listens.
    pub fn address(&self) -> String {
        self.service.as_ref().expect("it runs").grpc_addr().to_string()
    }

    /// Where its pages are.
    pub fn http_addr(&self) -> SocketAddr {
        self.service.as_ref().expect("it runs").http_addr()
    }

    /// A connection to the record, beside those of the service.
    pub async fn own_connection(&self) -> DatabaseConnection {
        let url = match &self.config.database {
            DatabaseLocation::Sqlite(path) => format!("sqlite://{}", path.display()),
            DatabaseLocation::Postgres(url) => url.clone(),
        };
        sea_orm::Database::connect(url).await.expect("the database opens")
    }

    /// On a server: cuts every connection to the database and lets nobody in again. On a file there is nothing to cut.
    pub async fn shut_out(&self) -> Option<ShutOut<'_>> {
        let own = self.place.server.as_ref()?;
        own.tell_server(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", own.name)).await;
        let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", own.name);
        own.tell_server(&cut).await;
        Some(ShutOut(own))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock, without waiting for what becomes due.
    pub fn advance_to(&self, moment_text: &str) {
        self.hand.advance_to(moment(moment_text));
    }

    /// Moves the clock and has everything sent that is due by then.
    pub async fn dispatch_at(&mut self, moment_text: &str) {
        self.advance_to(moment_text);
        self.dispatch().await;
    }

    /// Moves the clock by hours and has everything sent that is due by then.
    pub async fn dispatch_after_hours(&mut self, hours: i64) {
        self.hand.advance_to(self.now() + TimeDelta::hours(hours));
        self.dispatch().await;
    }

    /// Has everything sent that is due now.
    pub async fn dispatch(&mut self) {
        self.run_job("dispatch").await;
    }

    /// Moves the clock and has everything done and sent that is due by then, step by step.
    pub async fn live_until(&mut self, moment_text: &str) {
        self.advance_to(moment_text);
        self.live().await;
    }

    /// Has everything done and sent that is due now, and what follows from it.
    pub async fn live(&mut self) {
        for _ in 0..3 {
            self.run_job("advance-enrollments").await;
            self.dispatch().await;
        }
    }

    /// Runs a job; answers what it did.
    pub async fn run_job(&mut self, job_id: &str) -> String {
        let request = proto::RunJobRequest { job_id: job_id.to_owned() };
        self.admin.run_job(request).await.expect("the job runs").into_inner().summary
    }

    /// Has found what dead processes left; that waits until all others could renew their leases.
    pub async fn recover(&mut self) -> String {
        loop {
            let summary = self.run_job("recover").await;
            if !summary.starts_with("waited") {
                return summary;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The folder into which mail is written.
    pub fn outbox(&self) -> PathBuf {
        self.place.folder.path().join("outbox")
    }

    /// The folder in which everything is that this world writes to a disk.
    pub fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// Where the record is on a server; none on a file.
    pub fn server_url(&self) -> Option<String> {
        self.place.server.as_ref().map(OwnDatabase::url)
    }

    /// Every message that was sent, the earliest contact first.
    pub fn mail(&self) -> Vec<Mail> {
        let files = std::fs::read_dir(self.outbox()).expect("there is an outbox");
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| Mail::read(path)).collect()
    }

    /// The subjects of the messages that were sent, in order.
    pub fn subjects(&self) -> Vec<String> {
        self.mail().into_iter().map(|mail| mail.subject).collect()
    }
}

/// Another process on the record of a world.
pub struct Replica(Service);

impl Replica {
    /// A connection to it.
    pub async fn channel(&self) -> Channel {
        connect(&self.0).await
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// The shop's everyday calls, each with what most stories want.
impl World {
    /// A customer with an address, known by `name`.
    pub async fn customer(&mut self, name: &str, zone: &str) -> Customer {
        self.customer_with(name, |customer| customer.time_zone = zone.to_owned()).await
    }

    /// A customer with an address, known by `name`, and changed before it is created.
    pub async fn customer_with(&mut self, name: &str, change: impl FnOnce(&mut Customer)) -> Customer {
        let mut customer = Customer {
            external_ids: vec![name.to_owned()],
            given_name: name.to_owned(),
            addresses: vec![email(&format!("{}@example.com", plain(name)))],
            ..Customer::default()
        };
        change(&mut customer);
        let request = CreateCustomerRequest { customer: Some(customer), ..Default::default() };
        self.customers.create_customer(request).await.expect("created").into_inner().customer.expect("a customer")
    }

    /// A topic.
    pub async fn topic(&mut self, id: &str, purpose: proto::Purpose, opt_in: proto::topic::OptIn) {
        let names = vec![proto::LocalizedText { locale: String::new(), text: id.to_owned() }];
        let topic = Topic {
            topic_id: id.to_owned(),
            names,
            purpose: purpose.into(),
            opt_in: opt_in.into(),
            ..Topic::default()
        };
        let request = CreateTopicRequest { topic: Some(topic), ..Default::default() };
        self.preferences.create_topic(request).await.expect("created");
    }

    /// A published template: its subject names the template and the customer.
    pub async fn template(&mut self, id: &str) {
        let subject = format!("{id} for {{{{ customer.given_name }}}}");
        self.template_with(id, &subject, "Hello {{ customer.given_name }}.").await;
    }

    /// A published template with a subject and a text.
    pub async fn template_with(&mut self, id: &str, subject: &str, text: &str) {
        let template =
            Template { template_id: id.to_owned(), variants: vec![variant("", subject, text)], ..template(id) };
        let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
        self.templates.create_template(request).await.expect("created");
        let request = PublishTemplateRequest { template_id: id.to_owned(), ..Default::default() };
        self.templates.publish_template(request).await.expect("published");
    }

    /// An active campaign.
    pub async fn campaign(&mut self, campaign: Campaign) -> Campaign {
        let campaign_id = campaign.campaign_id.clone();
        let request = CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
        self.campaigns.create_campaign(request).await.expect("created");
        let request = proto::ActivateCampaignRequest { campaign_id, ..Default::default() };
        self.campaigns.activate_campaign(request).await.expect("activated").into_inner().campaign.expect("a campaign")
    }

    /// The shop of most stories: a service topic and a marketing topic with a single opt-in, a template for each, and an active
    /// check-in a day after an order that a refund of the same order ends.
    pub async fn shop(&mut self) {
        self.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
        self.topic("offers", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
        self.template("check-in").await;
        self.template("offer").await;
        let exits =
            vec![proto::Exit { event_type: "order.refunded".to_owned(), same_subject: true, ..Default::default() }];
        let campaign =
            Campaign { exits, ..campaign("check-in", "orders", vec![step("ask", after_hours(24), "check-in")]) };
        self.campaign(campaign).await;
    }

    /// Records that something happened to a customer, now.
    pub async fn happens(&mut self, event_type: &str, name: &str, subject: &str) -> RecordEventResponse {
        let event = self.event(event_type, name, subject);
        self.record(event).await.expect("recorded")
    }

    /// An event that happens now; its key is made of its type, subject and time.
    pub fn event(&self, event_type: &str, name: &str, subject: &str) -> Event {
        Event {
            source: "shop".to_owned(),
            source_event_id: format!("{event_type}/{name}/{subject}/{}", self.now().timestamp()),
            customer: by_name(name),
            event_type: event_type.to_owned(),
            occur_time: Some(wire(self.now())),
            subject: subject.to_owned(),
            ..Event::default()
        }
    }

    /// Records an event.
    pub async fn record(&mut self, event: Event) -> Result<RecordEventResponse, Status> {
        let request = RecordEventRequest { event: Some(event), ..Default::default() };
        self.events.record_event(request).await.map(tonic::Response::into_inner)
    }

    /// Says what a customer decides about a topic, in a web form.
    pub async fn consent(&mut self, name: &str, topic: &str, decision: proto::set_consent_request::Decision) -> i32 {
        let request = proto::SetConsentRequest {
            customer: by_name(name),
            topic_id: topic.to_owned(),
            decision: decision.into(),
            method: proto::ConsentMethod::WebForm.into(),
            ..Default::default()
        };
        self.preferences.set_consent(request).await.expect("recorded").into_inner().canceled_contacts
    }

    /// Plans an ad-hoc message that is due now.
    pub async fn send(&mut self, name: &str, topic: &str, template: &str) -> Contact {
        let request = ad_hoc(name, topic, template);
        self.contacts.schedule_contact(request).await.expect("planned").into_inner().contact.expect("a contact")
    }

    /// A contact as it is now.
    pub async fn contact(&mut self, contact_id: &str) -> Contact {
        let request = proto::GetContactRequest { contact_id: contact_id.to_owned() };
        self.contacts.get_contact(request).await.expect("there is one").into_inner().contact.expect("a contact")
    }

    /// A customer's contacts, the latest first.
    pub async fn contacts_of(&mut self, name: &str) -> Vec<Contact> {
        let request = proto::ListContactsRequest { customer: by_name(name), ..Default::default() };
        self.contacts.list_contacts(request).await.expect("listed").into_inner().contacts
    }

    /// Why a contact went out or not.
    pub async fn explain(&mut self, contact_id: &str) -> proto::ExplainContactResponse {
        let about = proto::explain_contact_request::About::ContactId(contact_id.to_owned());
        let request = proto::ExplainContactRequest { about: Some(about), at_time: None };
        self.contacts.explain_contact(request).await.expect("explained").into_inner()
    }
}

/// A message as its reader gets it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub to: String,
    pub from: String,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    pub message_id: String,
    pub raw: String,
}

impl Mail {
    /// The text without the footer.
    pub fn words(&self) -> &str {
        self.text.split("\r\n-- \r\n").next().unwrap_or_default().trim_end()
    }

    /// What stands in a header, unfolded; empty = there is no such header.
    pub fn header(&self, name: &str) -> String {
        let headers =
            self.raw.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned);
        headers.lines().find_map(of).unwrap_or_default()
    }

    fn read(path: &Path) -> Self {
        let raw = std::fs::read(path).expect("it reads");
        let message = MessageParser::default().parse(&raw).expect("it is a message");
        let address = |list: Option<&mail_parser::Address<'_>>| {
            list.and_then(|list| list.first()).and_then(|one| one.address.as_deref()).unwrap_or_default().to_owned()
        };
        Self {
            to: address(message.to()),
            from: address(message.from()),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).unwrap_or_default().into_owned(),
            html: message
                .parts
                .iter()
                .find(|part| part.is_text_html())
                .and_then(|part| part.text_contents())
                .map(str::to_owned),
            message_id: message.message_id().unwrap_or_default().to_owned(),
            raw: String::from_utf8_lossy(&raw).into_owned(),
        }
    }
}

/// Where the record and the mail of one story are.
pub struct Place {
    folder: TempDir,
    server: Option<OwnDatabase>,
}

/// A database on a server that goes away with the story.
pub struct OwnDatabase {
    server: String,
    name: String,
}

impl Place {
    pub async fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = match std::env::var(POSTGRES) {
            Ok(server) => Some(OwnDatabase::make(server).await),
            Err(_) => {
                say_what_is_skipped();
                None
            }
        };
        Self { folder, server }
    }

    pub fn config(&self) -> Config {
        Config {
            database: match &self.server {
                Some(own) => DatabaseLocation::Postgres(own.url()),
                None => DatabaseLocation::Sqlite(self.folder.path().join("rapport.db")),
            },
            grpc_addr: ([127, 0, 0, 1], 0).into(),
            http_addr: ([127, 0, 0, 1], 0).into(),
            public_url: None,
            mail: MailLocation::Folder(self.folder.path().join("outbox")),
            mail_connections: DEFAULT_MAIL_CONNECTIONS,
            mail_rate: None,
            mail_from: Some("The Shop <shop@example.com>".to_owned()),
            senders: Vec::new(),
            test_system: false,
            dns_server: None,
            providers: Providers::default(),
            test_recipients: TestRecipients::default(),
            secret_key: Some(SECRET.to_owned()),
        }
    }
}

/// A database that nobody gets to.
pub struct ShutOut<'a>(&'a OwnDatabase);

impl ShutOut<'_> {
    /// Lets everybody in again.
    pub async fn end(self) {
        self.0.tell_server(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", self.0.name)).await;
    }
}

impl OwnDatabase {
    pub async fn make(server: String) -> Self {
        let name = format!("rapport_test_{}", uuid::Uuid::from(rapport::ids::EventId::generate()).simple());
        let own = Self { server, name };
        own.tell_server(&format!("CREATE DATABASE {}", own.name)).await;
        own
    }

    pub fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{}", self.name)
    }

    async fn tell_server(&self, sql: &str) {
        let server = sea_orm::Database::connect(&self.server).await.expect("Postgres answers");
        server.execute_unprepared(sql).await.expect("Postgres obeys");
        server.close().await.expect("it closes");
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(self.tell_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)));
            });
        });
    }
}

/// Once, and not into the captured output of a test that passes.
fn say_what_is_skipped() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let line =
            format!("skipped for want of Postgres: every story on Postgres; {POSTGRES}=postgres://… runs them\n");
        std::io::stderr().write_all(line.as_bytes()).expect("there is a stderr");
    });
}

pub async fn migrate(config: &Config) {
    let db = Database::connect(&config.database).await.expect("the database opens");
    db.migrate().await.expect("it migrates");
    db.close().await.expect("it closes");
}

async fn connect(service: &Service) -> Channel {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", service.grpc_addr())).expect("a URL");
    endpoint.tcp_nodelay(true).timeout(Duration::from_secs(60)).connect().await.expect("it connects")
}

/// How requests name a customer of the shop.
pub fn by_name(name: &str) -> Option<CustomerRef> {
    Some(CustomerRef { key: Some(Key::ExternalId(name.to_owned())) })
}

/// A name with nothing in it that an address cannot hold.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect()
}

/// An e-mail address.
pub fn email(value: &str) -> proto::Address {
    proto::Address { value: value.to_owned(), ..proto::Address::default() }
}

/// A template without texts.
pub fn template(id: &str) -> Template {
    Template { template_id: id.to_owned(), display_name: id.to_owned(), ..Template::default() }
}

/// What a template says in a language.
pub fn variant(locale: &str, subject: &str, text: &str) -> TemplateVariant {
    TemplateVariant {
        locale: locale.to_owned(),
        subject: subject.to_owned(),
        text_body: text.to_owned(),
        ..TemplateVariant::default()
    }
}

/// What an event of a type starts.
pub fn on_event(event_type: &str) -> Option<proto::campaign::Trigger> {
    let trigger = proto::EventTrigger { event_type: event_type.to_owned(), ..Default::default() };
    Some(proto::campaign::Trigger::Event(trigger))
}

/// A campaign that orders start.
pub fn campaign(id: &str, topic: &str, steps: Vec<proto::Step>) -> Campaign {
    Campaign {
        campaign_id: id.to_owned(),
        display_name: id.to_owned(),
        topic_id: topic.to_owned(),
        trigger: on_event("order.placed"),
        steps,
        ..Campaign::default()
    }
}

/// A step that sends a template.
pub fn step(id: &str, delay: proto::Delay, template: &str) -> proto::Step {
    let send = proto::SendAction { template_id: template.to_owned(), ..Default::default() };
    proto::Step {
        step_id: id.to_owned(),
        delay: Some(delay),
        action: Some(proto::step::Action::Send(send)),
        ..Default::default()
    }
}

/// The same step, with data for its template.
pub fn with_data(mut of: proto::Step, data: serde_json::Value) -> proto::Step {
    if let Some(proto::step::Action::Send(send)) = &mut of.action {
        send.data = Some(structure(data));
    }
    of
}

/// A step that waits for an event.
pub fn wait_step(id: &str, event_type: &str, timeout_hours: i32) -> proto::Step {
    let wait = proto::WaitAction { event_type: event_type.to_owned(), timeout_hours, ..Default::default() };
    proto::Step {
        step_id: id.to_owned(),
        delay: Some(after_hours(0)),
        action: Some(proto::step::Action::Wait(wait)),
        ..Default::default()
    }
}

/// A step that changes the customer.
pub fn update_step(id: &str, update: proto::UpdateAction) -> proto::Step {
    proto::Step {
        step_id: id.to_owned(),
        delay: Some(after_hours(0)),
        action: Some(proto::step::Action::Update(update)),
        ..Default::default()
    }
}

/// So many hours later.
pub fn after_hours(hours: i32) -> proto::Delay {
    let elapsed = proto::Elapsed { hours, minutes: 0 };
    proto::Delay { length: Some(proto::delay::Length::Elapsed(elapsed)), ..proto::Delay::default() }
}

/// So many calendar days later, at a time of day.
pub fn after_days(days: i32, at: &str) -> proto::Delay {
    let calendar = proto::CalendarDelay { days, at: at.to_owned(), weekdays: Vec::new() };
    proto::Delay { length: Some(proto::delay::Length::Calendar(calendar)), ..proto::Delay::default() }
}

/// An ad-hoc message that is due now.
pub fn ad_hoc(name: &str, topic: &str, template: &str) -> proto::ScheduleContactRequest {
    proto::ScheduleContactRequest {
        customer: by_name(name),
        topic_id: topic.to_owned(),
        template_id: template.to_owned(),
        ..Default::default()
    }
}

/// The instant that a text names.
pub fn moment(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// An instant on the wire.
pub fn wire(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).expect("small");
    prost_types::Timestamp { seconds: time.timestamp(), nanos }
}

/// The instant that a text names, on the wire.
pub fn at(text: &str) -> prost_types::Timestamp {
    wire(moment(text))
}

/// An instant from the wire, as text.
pub fn shown(time: Option<prost_types::Timestamp>) -> String {
    let time = time.expect("a time");
    let nanos = u32::try_from(time.nanos).expect("positive");
    let instant = Timestamp::from_timestamp(time.seconds, nanos).expect("a time");
    instant.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// What a program branches on.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The reason of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.expect_err("it is refused"))
}

/// Which fields were wrong, in order.
pub fn wrong_fields<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = answer.expect_err("it is refused");
    let fields = status.get_details_bad_request().expect("fields are named").field_violations;
    fields.into_iter().map(|violation| violation.field).collect()
}

/// The only effect.
pub fn only(effects: &[CampaignEffect]) -> &CampaignEffect {
    assert_eq!(effects.len(), 1, "{effects:?}");
    &effects[0]
}

/// Free data on the wire.
pub fn structure(value: serde_json::Value) -> prost_types::Struct {
    let serde_json::Value::Object(fields) = value else { panic!("not an object: {value}") };
    prost_types::Struct { fields: fields.into_iter().map(|(key, value)| (key, wire_value(value))).collect() }
}

fn wire_value(value: serde_json::Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a number")),
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(wire_value).collect() })
        }
        object => Kind::StructValue(structure(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Picks what is due, up to `most` of each queue, as another process.
pub async fn pick(db: &Database, token: ClaimToken, time: Timestamp, most: u64) -> Vec<rapport::contacts::Contact> {
    let tx = db.begin_write().await.expect("begun");
    claims::register(&tx, token, "another process").await.expect("registered");
    database::commit(tx).await.expect("committed");
    let mut picked = Vec::new();
    for (queue, _) in claims::queues(db.reader()).await.expect("looked") {
        picked.extend(claims::due(db.reader(), &queue, time, most).await.expect("picked"));
    }
    picked
}
