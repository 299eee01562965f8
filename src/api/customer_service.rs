use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, answer, decode, encode,
    export::{self, Export},
    import, open,
    upload::Answers,
};
use crate::{
    campaigns,
    customers::{CustomerChange, NewAddress},
    intake::UpdateOptions,
    privacy::{Erasure, ErasureOrder},
    rpc::{
        Fault, Mask, Violations,
        proto::{
            self, AddAddressRequest, AddAddressResponse, BatchGetCustomersRequest, BatchGetCustomersResponse,
            CreateCustomerRequest, CreateCustomerResponse, DeleteCustomerRequest, DeleteCustomerResponse,
            EraseCustomerRequest, EraseCustomerResponse, ExportCustomerRequest, GetCustomerRequest,
            GetCustomerResponse, ImportCustomersRequest, ImportCustomersResponse, ListCustomersRequest,
            ListCustomersResponse, RemoveAddressRequest, RemoveAddressResponse, UndeleteCustomerRequest,
            UndeleteCustomerResponse, UpdateCustomerRequest, UpdateCustomerResponse, VerifyAddressRequest,
            VerifyAddressResponse, customer_service_server::CustomerService, verify_address_request,
        },
    },
};

const CAN_CHANGE: &[&str] = &[
    "external_ids",
    "display_name",
    "given_name",
    "family_name",
    "time_zone",
    "locale",
    "attributes",
    "tags",
    "addresses",
];
/// What customers are listed by.
const ORDERS: &[(&str, ())] = &[("create_time", ())];
/// How many customers a request names at most.
const MOST_AT_ONCE: usize = 500;
/// How long the reason of an erasure may be, in characters.
const LONGEST_REASON: usize = 500;
const OUTPUT_ONLY: &[&str] =
    &["customer_id", "state", "create_time", "update_time", "delete_time", "purge_time", "etag"];

#[async_trait]
impl CustomerService for Api {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<CreateCustomerResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "CreateCustomer", &request_id, &message);
        let all = |_: &str| true;
        let change = match message.customer {
            Some(customer) => change(&mut violations, "customer", customer, all),
            None => {
                violations.add("customer", "is required");
                CustomerChange::default()
            }
        };
        violations.check()?;
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.intake.create_customer(change, key.as_ref(), message.validate_only).await?;
        Ok(answer(reply, |customer| CreateCustomerResponse { customer: Some(encode::customer(customer)) }))
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<GetCustomerResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let customer = self.0.customers.get(id, message.show_deleted).await?;
        Ok(Response::new(GetCustomerResponse { customer: Some(encode::customer(customer)) }))
    }

    async fn batch_get_customers(
        &self,
        request: Request<BatchGetCustomersRequest>,
    ) -> Result<Response<BatchGetCustomersResponse>, Status> {
        let (_, message, mut violations) = open(request);
        if !(1..=MOST_AT_ONCE).contains(&message.customers.len()) {
            violations.add("customers", "must be 1 to 500");
        }
        let named = message.customers.iter().cloned().enumerate().take(MOST_AT_ONCE);
        let keys: Option<Vec<_>> = named
            .map(|(place, one)| decode::customer_key(&mut violations, &format!("customers[{place}]"), Some(one)))
            .collect();
        let keys = violations.finish(keys)?;
        let found = self.0.customers.get_each(&keys, message.show_deleted).await.map_err(Fault::from)?;
        let mut response = BatchGetCustomersResponse::default();
        for (named, customer) in message.customers.into_iter().zip(found) {
            match customer {
                Some(customer) => response.customers.push(encode::customer(customer)),
                None => response.missing.push(named),
            }
        }
        Ok(Response::new(response))
    }

    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let wanted = self.wanted(&mut violations, &message.filter, campaigns::audience_fields());
        let order = decode::order(&mut violations, &message.order_by, ORDERS);
        violations.check()?;
        let ListCustomersRequest { show_deleted, filter, order_by, .. } = message;
        let selection = ListCustomersRequest { show_deleted, filter, order_by, ..Default::default() };
        let page = self.0.pages.open("ListCustomers", &selection, page_size, &message.page_token)?;
        let found = self.0.customers.list(show_deleted, &wanted, order, &page).await.map_err(Fault::from)?;
        let next_page_token = self.0.pages.seal("ListCustomers", &selection, found.next.as_deref());
        let total_size = match message.include_total {
            true => self.0.customers.count(show_deleted, &wanted).await.map_err(Fault::from)?,
            false => 0,
        };
        Ok(Response::new(ListCustomersResponse {
            customers: found.rows.into_iter().map(encode::customer).collect(),
            next_page_token,
            total_size: i64::try_from(total_size).unwrap_or(i64::MAX),
        }))
    }

    async fn update_customer(
        &self,
        request: Request<UpdateCustomerRequest>,
    ) -> Result<Response<UpdateCustomerResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "UpdateCustomer", &request_id, &message);
        let target = decode::customer_key(&mut violations, "target", message.target);
        let customer = message.customer.unwrap_or_default();
        let etag = customer.etag.clone();
        let is_set = |path: &str| is_set(&customer, path);
        let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, &mut violations);
        let mut change = change(&mut violations, "customer", customer, |path| mask.has(path));
        change.add_tags = decode::lines(&mut violations, "addTags", &message.add_tags, 100, 64);
        change.remove_tags = decode::lines(&mut violations, "removeTags", &message.remove_tags, 100, 64);
        let target = violations.finish(target)?;
        let (allow_missing, validate_only) = (message.allow_missing, message.validate_only);
        let options = UpdateOptions { etag, allow_missing, validate_only };
        let key = key.filter(|_| !validate_only);
        let reply = self.0.intake.update_customer(&target, change, &options, key.as_ref()).await?;
        Ok(answer(reply, |updated| UpdateCustomerResponse {
            customer: Some(encode::customer(updated.customer)),
            created: updated.created,
        }))
    }

    async fn delete_customer(
        &self,
        request: Request<DeleteCustomerRequest>,
    ) -> Result<Response<DeleteCustomerResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let key = decode::customer_key(&mut violations, "customer", message.customer);
        let key = violations.finish(key)?;
        let Some(id) = self.0.customers.find_id(&key).await.map_err(Fault::from)? else {
            if message.allow_missing {
                return Ok(Response::new(DeleteCustomerResponse::default()));
            }
            return Err(crate::customers::not_found(&key).into());
        };
        let deleted = self.0.intake.delete_customer(id, &message.etag).await?;
        Ok(Response::new(DeleteCustomerResponse {
            customer: Some(encode::customer(deleted.customer)),
            canceled_contacts: i32::try_from(deleted.canceled).unwrap_or(i32::MAX),
        }))
    }

    async fn undelete_customer(
        &self,
        request: Request<UndeleteCustomerRequest>,
    ) -> Result<Response<UndeleteCustomerResponse>, Status> {
        let (_, message, violations) = open(request);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let customer = self.0.customers.undelete(id).await?;
        Ok(Response::new(UndeleteCustomerResponse { customer: Some(encode::customer(customer)) }))
    }

    async fn erase_customer(
        &self,
        request: Request<EraseCustomerRequest>,
    ) -> Result<Response<EraseCustomerResponse>, Status> {
        let (caller, message, mut violations) = open(request);
        // A digest of how the customer was named, or of the reason, would outlive the customer.
        let body =
            EraseCustomerRequest { confirm_customer_id: message.confirm_customer_id.clone(), ..Default::default() };
        let request_id = &message.request_id;
        let key = decode::request_key(&mut violations, "requestId", &caller, "EraseCustomer", request_id, &body);
        let customer = decode::customer_key(&mut violations, "customer", message.customer);
        let reason = decode::line(&mut violations, "reason", &message.reason, LONGEST_REASON);
        let confirmed = decode::parse(&mut violations, "confirmCustomerId", &message.confirm_customer_id);
        let (customer, confirmed) = violations.finish(customer.zip(confirmed))?;
        let order = ErasureOrder { customer, confirmed, reason, actor: caller.as_str().to_owned() };
        let reply = self.0.privacy.erase(&order, key.as_ref()).await?;
        Ok(answer(reply, encode_receipt))
    }

    type ImportCustomersStream = Answers<ImportCustomersResponse>;

    async fn import_customers(
        &self,
        request: Request<Streaming<ImportCustomersRequest>>,
    ) -> Result<Response<Self::ImportCustomersStream>, Status> {
        let (caller, rows, violations) = open(request);
        violations.check()?;
        Ok(Response::new(import::begin(self.clone(), caller, rows)))
    }

    type ExportCustomerStream = Export;

    async fn export_customer(&self, request: Request<ExportCustomerRequest>) -> Result<Response<Export>, Status> {
        let (_, message, violations) = open(request);
        let id = self.resolve(message.customer, "customer", violations).await?;
        Ok(Response::new(export::begin(self.clone(), id)))
    }

    async fn verify_address(
        &self,
        request: Request<VerifyAddressRequest>,
    ) -> Result<Response<VerifyAddressResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let verify_address_request::By::AddressId(id) =
            message.by.unwrap_or(verify_address_request::By::AddressId(String::new()));
        let id = decode::parse(&mut violations, "addressId", &id);
        let address = self.0.customers.verify_address(violations.finish(id)?).await?;
        Ok(Response::new(VerifyAddressResponse { address: Some(encode::address(address)) }))
    }

    async fn remove_address(
        &self,
        request: Request<RemoveAddressRequest>,
    ) -> Result<Response<RemoveAddressResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let address_id = decode::parse(&mut violations, "addressId", &message.address_id);
        let id = self.resolve(message.customer, "customer", violations).await?;
        let address_id = Violations::default().finish(address_id)?;
        let customer = self.0.customers.remove_address(id, address_id).await?;
        Ok(Response::new(RemoveAddressResponse { customer: Some(encode::customer(customer)) }))
    }

    async fn add_address(&self, request: Request<AddAddressRequest>) -> Result<Response<AddAddressResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "AddAddress", &request_id, &message);
        let address = match &message.address {
            Some(new) => address(&mut violations, "address", new),
            None => {
                violations.add("address", "is required");
                None
            }
        };
        let id = self.resolve(message.customer, "customer", violations).await?;
        let address = Violations::default().finish(address)?;
        let reply = self.0.customers.add_address(id, address, key.as_ref()).await?;
        Ok(answer(reply, |customer| AddAddressResponse { customer: Some(encode::customer(customer)) }))
    }
}

/// The receipt of an erasure.
pub(super) fn encode_receipt(of: Erasure) -> EraseCustomerResponse {
    let rows = |rows: u64| i32::try_from(rows).unwrap_or(i32::MAX);
    EraseCustomerResponse {
        erasure_id: of.erasure_id.to_string(),
        erase_time: Some(encode::time(of.erase_time)),
        erased_rows: of.erased_rows.into_iter().map(|(table, erased)| (table, rows(erased))).collect(),
    }
}

/// The fields that are set.
pub(super) fn change_of_set(violations: &mut Violations, path: &str, customer: proto::Customer) -> CustomerChange {
    let set: Vec<&str> = CAN_CHANGE.iter().copied().filter(|field| is_set(&customer, field)).collect();
    change(violations, path, customer, |field| set.contains(&field))
}

/// The fields that a mask names.
fn change(
    violations: &mut Violations,
    path: &str,
    customer: proto::Customer,
    named: impl Fn(&str) -> bool,
) -> CustomerChange {
    let mut line = |field: &str, name: &str, text: &str, most| {
        named(field).then(|| decode::line(violations, format_args!("{path}.{name}"), text, most))
    };
    let display_name = line("display_name", "displayName", &customer.display_name, 200);
    let given_name = line("given_name", "givenName", &customer.given_name, 100);
    let family_name = line("family_name", "familyName", &customer.family_name, 100);
    let at = |name: &str| format!("{path}.{name}");
    CustomerChange {
        display_name,
        given_name,
        family_name,
        external_ids: named("external_ids")
            .then(|| decode::lines(violations, &at("externalIds"), &customer.external_ids, 20, 128)),
        time_zone: named("time_zone").then(|| decode::parse_optional(violations, at("timeZone"), &customer.time_zone)),
        locale: named("locale").then(|| decode::parse_optional(violations, at("locale"), &customer.locale)),
        attributes: named("attributes").then(|| decode::object(violations, at("attributes"), customer.attributes)),
        tags: named("tags").then(|| decode::lines(violations, &at("tags"), &customer.tags, 100, 64)),
        addresses: if named("addresses") {
            addresses(violations, &at("addresses"), &customer.addresses)
        } else {
            Vec::new()
        },
        add_tags: Vec::new(),
        remove_tags: Vec::new(),
    }
}

fn addresses(violations: &mut Violations, path: &str, new: &[proto::Address]) -> Vec<NewAddress> {
    if new.len() > 20 {
        violations.add(path, "must be at most 20");
    }
    let each = new.iter().enumerate().take(20);
    each.filter_map(|(place, new)| address(violations, &format!("{path}[{place}]"), new)).collect()
}

fn address(violations: &mut Violations, path: &str, new: &proto::Address) -> Option<NewAddress> {
    let channel = decode::channel(violations, format_args!("{path}.channel"), new.channel);
    let value = decode::parse(violations, format_args!("{path}.value"), &new.value)?;
    Some(NewAddress { channel, value, primary: new.primary })
}

fn is_set(customer: &proto::Customer, path: &str) -> bool {
    match path {
        "external_ids" => !customer.external_ids.is_empty(),
        "display_name" => !customer.display_name.is_empty(),
        "given_name" => !customer.given_name.is_empty(),
        "family_name" => !customer.family_name.is_empty(),
        "time_zone" => !customer.time_zone.is_empty(),
        "locale" => !customer.locale.is_empty(),
        "attributes" => customer.attributes.is_some(),
        "tags" => !customer.tags.is_empty(),
        "addresses" => !customer.addresses.is_empty(),
        _ => false,
    }
}
