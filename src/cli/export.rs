//! `rapport export`: what a running service holds, for spreadsheets and for other programs; page by page, however much it is.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use chrono::SecondsFormat;
use clap::ValueEnum;
use prost::Message;
use prost_types::{Struct, Timestamp as WireTime, Value as WireValue, value::Kind};
use serde_json::{Map, Value, json};
use tonic::{Code, Status, transport::Channel};

use super::cells::{write_cell, write_list};
use crate::{
    clock::Timestamp,
    rpc::{
        proto::{
            Contact, Customer, Event, ListContactsRequest, ListCustomersRequest, ListEventsRequest, Money,
            contact_service_client::ContactServiceClient, customer_service_client::CustomerServiceClient,
            event_service_client::EventServiceClient,
        },
        to_json,
    },
};

/// How many rows are asked for at once.
const PAGE: i32 = 500;
/// The filter is wrong (sysexits.h).
const EX_DATAERR: u8 = 65;
/// A file cannot be written.
const EX_CANTCREAT: u8 = 73;
/// Nobody is there, or no more: try again.
const EX_TEMPFAIL: u8 = 75;

#[derive(clap::Args)]
pub struct Export {
    /// What to write
    what: What,
    /// As what: in CSV, cells that a spreadsheet would run as a formula begin with an apostrophe
    #[arg(long, default_value = "csv")]
    format: Format,
    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only what this matches, in the filter language of the lists: 'attributes.plan = "gold"'
    #[arg(long, value_name = "FILTER", default_value = "")]
    filter: String,
    /// Address of the running service's gRPC API
    #[arg(long, value_name = "HOST:PORT", env = "RAPPORT_GRPC_ADDR", default_value = "127.0.0.1:50051")]
    grpc_addr: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Customers,
    Events,
    Contacts,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

/// Why an export did not get to the end.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the service at {0} is not reached")]
    Unreachable(String),
    #[error("the service refused: {0}")]
    Refused(String),
    #[error("the service did not go on: {0}")]
    Interrupted(Box<Status>),
    #[error("it could not be written: {0}")]
    Unwritable(#[from] io::Error),
}

impl Failed {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => EX_DATAERR,
            Self::Unwritable(_) => EX_CANTCREAT,
            Self::Unreachable(_) | Self::Interrupted(_) => EX_TEMPFAIL,
        }
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::InvalidArgument => Self::Refused(status.message().to_owned()),
            _ => Self::Interrupted(Box::new(status)),
        }
    }
}

impl From<csv::Error> for Failed {
    fn from(error: csv::Error) -> Self {
        Self::Unwritable(error.into())
    }
}

/// Writes everything of a kind that is wanted.
pub async fn run(of: Export) -> ExitCode {
    match export(of).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            #[expect(clippy::print_stderr, reason = "a command's last word is for the person at the terminal")]
            {
                eprintln!("rapport: {failed}");
            }
            ExitCode::from(failed.exit_code())
        }
    }
}

async fn export(of: Export) -> Result<(), Failed> {
    let unreachable = |_| Failed::Unreachable(of.grpc_addr.clone());
    let channel = Channel::from_shared(format!("http://{}", of.grpc_addr)).map_err(|_| unreachable(()))?;
    let channel = channel.connect().await.map_err(|_| unreachable(()))?;
    let out: Box<dyn Write> = match &of.out {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::stdout()),
    };
    let out = match of.format {
        Format::Csv => Out::Csv(Box::new(csv::Writer::from_writer(BufWriter::new(out)))),
        Format::Jsonl => Out::Jsonl(BufWriter::new(out)),
    };
    match of.what {
        What::Customers => write_all::<Customer>(channel, &of.filter, out).await,
        What::Events => write_all::<Event>(channel, &of.filter, out).await,
        What::Contacts => write_all::<Contact>(channel, &of.filter, out).await,
    }
}

async fn write_all<T: Listed>(channel: Channel, filter: &str, mut out: Out) -> Result<(), Failed> {
    out.begin::<T>()?;
    let mut page_token = String::new();
    loop {
        let (rows, next) = T::page(&channel, filter.to_owned(), page_token).await?;
        for row in &rows {
            out.write(row)?;
        }
        if next.is_empty() {
            return Ok(out.flush()?);
        }
        page_token = next;
    }
}

/// Where rows go.
enum Out {
    Csv(Box<csv::Writer<BufWriter<Box<dyn Write>>>>),
    Jsonl(BufWriter<Box<dyn Write>>),
}

impl Out {
    fn begin<T: Listed>(&mut self) -> Result<(), Failed> {
        if let Self::Csv(writer) = self {
            writer.write_record(T::COLUMNS)?;
        }
        Ok(())
    }

    fn write<T: Listed>(&mut self, row: &T) -> Result<(), Failed> {
        match self {
            Self::Csv(writer) => {
                let cells = row.cells();
                writer.write_record(cells.iter().map(|cell| write_cell(cell).into_owned()))?;
            }
            Self::Jsonl(writer) => {
                let value = to_json(T::NAME, row).map_err(io::Error::other)?;
                writeln!(writer, "{value}")?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.flush(),
            Self::Jsonl(writer) => writer.flush(),
        }
    }
}

/// What can be exported.
trait Listed: Message + Sized {
    /// What the contract calls it.
    const NAME: &'static str;
    /// The first line of a CSV file: it only ever grows at its end.
    const COLUMNS: &'static [&'static str];

    /// A page, and the token of the next; empty = there is none.
    async fn page(channel: &Channel, filter: String, page_token: String) -> Result<(Vec<Self>, String), Status>;

    /// A line of a CSV file.
    fn cells(&self) -> Vec<String>;
}

impl Listed for Customer {
    const NAME: &'static str = "Customer";
    const COLUMNS: &'static [&'static str] = &[
        "customer_id",
        "external_ids",
        "email",
        "other_emails",
        "display_name",
        "given_name",
        "family_name",
        "time_zone",
        "locale",
        "tags",
        "attributes",
        "email_verify_time",
        "state",
        "create_time",
        "update_time",
    ];

    async fn page(channel: &Channel, filter: String, page_token: String) -> Result<(Vec<Self>, String), Status> {
        let request = ListCustomersRequest { page_size: PAGE, page_token, filter, ..Default::default() };
        let page = CustomerServiceClient::new(channel.clone()).list_customers(request).await?.into_inner();
        Ok((page.customers, page.next_page_token))
    }

    fn cells(&self) -> Vec<String> {
        let (primary, others): (Vec<_>, Vec<_>) = self.addresses.iter().partition(|address| address.primary);
        let others: Vec<String> = others.iter().map(|address| address.value.clone()).collect();
        let primary = primary.first();
        vec![
            self.customer_id.clone(),
            write_list(&self.external_ids),
            primary.map(|address| address.value.clone()).unwrap_or_default(),
            write_list(&others),
            self.display_name.clone(),
            self.given_name.clone(),
            self.family_name.clone(),
            self.time_zone.clone(),
            self.locale.clone(),
            write_list(&self.tags),
            object(self.attributes.as_ref()),
            time(primary.and_then(|address| address.verify_time)),
            self.state().as_str_name().to_owned(),
            time(self.create_time),
            time(self.update_time),
        ]
    }
}

impl Listed for Event {
    const NAME: &'static str = "Event";
    const COLUMNS: &'static [&'static str] = &[
        "event_id",
        "customer_id",
        "source",
        "source_event_id",
        "event_type",
        "occur_time",
        "record_time",
        "subject",
        "value_amount",
        "value_currency",
        "items",
        "properties",
    ];

    async fn page(channel: &Channel, filter: String, page_token: String) -> Result<(Vec<Self>, String), Status> {
        let request = ListEventsRequest { page_size: PAGE, page_token, filter, ..Default::default() };
        let page = EventServiceClient::new(channel.clone()).list_events(request).await?.into_inner();
        Ok((page.events, page.next_page_token))
    }

    fn cells(&self) -> Vec<String> {
        let Money { currency_code, amount } = self.value.clone().unwrap_or_default();
        let items = self.items.iter().filter_map(|item| to_json("LineItem", item).ok());
        let items: Vec<Value> = items.collect();
        vec![
            self.event_id.clone(),
            self.customer_id.clone(),
            self.source.clone(),
            self.source_event_id.clone(),
            self.event_type.clone(),
            time(self.occur_time),
            time(self.record_time),
            self.subject.clone(),
            amount,
            currency_code,
            if items.is_empty() { String::new() } else { json!(items).to_string() },
            object(self.properties.as_ref()),
        ]
    }
}

impl Listed for Contact {
    const NAME: &'static str = "Contact";
    const COLUMNS: &'static [&'static str] = &[
        "contact_id",
        "customer_id",
        "campaign_id",
        "enrollment_id",
        "step_id",
        "topic_id",
        "purpose",
        "template_id",
        "template_version",
        "state",
        "block_reason",
        "block_detail",
        "delivery",
        "due_time",
        "due_local_time",
        "expire_time",
        "send_time",
        "attempt_count",
        "create_time",
        "update_time",
    ];

    async fn page(channel: &Channel, filter: String, page_token: String) -> Result<(Vec<Self>, String), Status> {
        let request = ListContactsRequest { page_size: PAGE, page_token, filter, ..Default::default() };
        let page = ContactServiceClient::new(channel.clone()).list_contacts(request).await?.into_inner();
        Ok((page.contacts, page.next_page_token))
    }

    fn cells(&self) -> Vec<String> {
        let block = self.block.as_ref();
        vec![
            self.contact_id.clone(),
            self.customer_id.clone(),
            self.campaign_id.clone(),
            self.enrollment_id.clone(),
            self.step_id.clone(),
            self.topic_id.clone(),
            self.purpose().as_str_name().to_owned(),
            self.template_id.clone(),
            self.template_version.to_string(),
            self.state().as_str_name().to_owned(),
            block.map(|block| block.reason().as_str_name().to_owned()).unwrap_or_default(),
            block.map(|block| block.detail.clone()).unwrap_or_default(),
            self.delivery().as_str_name().to_owned(),
            time(self.due_time),
            self.due_local_time.clone(),
            time(self.expire_time),
            time(self.send_time),
            self.attempt_count.to_string(),
            time(self.create_time),
            time(self.update_time),
        ]
    }
}

fn time(time: Option<WireTime>) -> String {
    let instant = time.and_then(|time| Timestamp::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?));
    instant.map(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

/// Free data as JSON; empty = there is none.
fn object(fields: Option<&Struct>) -> String {
    fields.map(|fields| Value::Object(map(fields)).to_string()).unwrap_or_default()
}

fn map(fields: &Struct) -> Map<String, Value> {
    fields.fields.iter().map(|(key, value)| (key.clone(), value_of(value))).collect()
}

/// Whole numbers stay whole.
fn value_of(value: &WireValue) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 1e15 => json!(*number as i64),
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::StructValue(fields)) => Value::Object(map(fields)),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value_of).collect()),
    }
}
