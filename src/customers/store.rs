use std::collections::{HashMap, hash_map::Entry};

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, IntoIden, OnConflict, Query, TableRef, ValueTuple},
};
use serde_json::{Map, Value};

use super::{
    Address, Customer, CustomerKey,
    entity::{address, customer, external_id},
};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    database::{self, Erased, StoreError, WriteTx},
    delivery::{Channel, EmailAddress},
    filter::Wanted,
    ids::{AddressId, CustomerId},
    rpc::{Order, Page},
};

/// How many rows or keys a statement names at most.
pub(super) const AT_ONCE: usize = 1_000;

/// Whom a key names, living or not; an e-mail address names the living only.
pub async fn resolve(db: &impl ConnectionTrait, key: &CustomerKey) -> Result<Option<CustomerId>, StoreError> {
    let id = match key {
        CustomerKey::Id(id) => {
            let query = customer::Entity::find_by_id(*id).select_only().column(customer::Column::CustomerId);
            query.into_tuple().one(db).await?
        }
        CustomerKey::ExternalId(external_id) => {
            let query = external_id::Entity::find_by_id(external_id.clone()).select_only();
            query.column(external_id::Column::CustomerId).into_tuple().one(db).await?
        }
        CustomerKey::Email(email) => {
            let query = address::Entity::find().select_only().column(address::Column::CustomerId);
            query.filter(address::Column::LivingKey.eq(email_key(email))).into_tuple().one(db).await?
        }
    };
    Ok(id)
}

/// Customers with their external ids and addresses, in three queries.
pub async fn load(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<HashMap<CustomerId, Customer>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = customer::Entity::find().filter(customer::Column::CustomerId.is_in(ids.iter().copied())).all(db).await?;
    complete(db, rows).await.map(|customers| customers.into_iter().map(|one| (one.customer_id, one)).collect())
}

/// Where these customers live, as far as that is known.
pub async fn zones(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<HashMap<CustomerId, Zone>, StoreError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(CustomerId, String)> = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .column(customer::Column::TimeZone)
        .filter(customer::Column::CustomerId.is_in(ids.iter().copied()))
        .filter(customer::Column::TimeZone.is_not_null())
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter().map(|(id, name)| Ok((id, name.parse().map_err(|_| corrupt("customers", "time_zone"))?))).collect()
}

/// What messages say about these customers: without external ids and addresses, in one query.
pub async fn profiles(
    db: &impl ConnectionTrait,
    ids: &[CustomerId],
) -> Result<HashMap<CustomerId, Customer>, StoreError> {
    let rows = customer::Entity::find().filter(customer::Column::CustomerId.is_in(ids.iter().copied()));
    let profile = |row: customer::Model| domain(row, Vec::new(), Vec::new()).map(|one| (one.customer_id, one));
    rows.all(db).await?.into_iter().map(profile).collect()
}

/// How these customers can be reached: without external ids, in one query.
pub async fn reach(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<HashMap<CustomerId, Customer>, StoreError> {
    let owner = customer::Entity::belongs_to(address::Entity)
        .from(customer::Column::CustomerId)
        .to(address::Column::CustomerId);
    let rows = customer::Entity::find()
        .join(JoinType::LeftJoin, owner.into())
        .select_also(address::Entity)
        .filter(customer::Column::CustomerId.is_in(ids.iter().copied()))
        .order_by_asc(address::Column::AddressId);
    let mut customers: HashMap<CustomerId, Customer> = HashMap::new();
    for (row, address) in rows.all(db).await? {
        let customer = match customers.entry(row.customer_id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(domain(row, Vec::new(), Vec::new())?),
        };
        customer.addresses.extend(address.map(domain_address).transpose()?);
    }
    Ok(customers)
}

async fn addresses(
    db: &impl ConnectionTrait,
    ids: &[CustomerId],
) -> Result<HashMap<CustomerId, Vec<Address>>, StoreError> {
    let mut addresses: HashMap<CustomerId, Vec<Address>> = HashMap::new();
    let query = address::Entity::find().filter(address::Column::CustomerId.is_in(ids.iter().copied()));
    for row in query.order_by_asc(address::Column::AddressId).all(db).await? {
        addresses.entry(row.customer_id).or_default().push(domain_address(row)?);
    }
    Ok(addresses)
}

/// Customers, one more than the page holds. Their ids are in the order of their creation.
pub async fn list(
    db: &impl ConnectionTrait,
    deleted: bool,
    wanted: &Wanted,
    order: Order<()>,
    page: &Page,
) -> Result<Vec<Customer>, StoreError> {
    let mut query = customer::Entity::find().filter(wanted.condition(db));
    if !deleted {
        query = query.filter(customer::Column::DeleteTime.is_null());
    }
    let rows = order.read::<_, CustomerId>(query, None, customer::Column::CustomerId, page).all(db).await?;
    complete(db, rows).await
}

/// How many customers there are.
pub async fn count(db: &impl ConnectionTrait, deleted: bool, wanted: &Wanted) -> Result<u64, StoreError> {
    let mut query = customer::Entity::find().filter(wanted.condition(db));
    if !deleted {
        query = query.filter(customer::Column::DeleteTime.is_null());
    }
    Ok(query.count(db).await?)
}

async fn complete(db: &impl ConnectionTrait, rows: Vec<customer::Model>) -> Result<Vec<Customer>, StoreError> {
    let ids: Vec<CustomerId> = rows.iter().map(|row| row.customer_id).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut external_ids: HashMap<CustomerId, Vec<String>> = HashMap::new();
    let query = external_id::Entity::find().filter(external_id::Column::CustomerId.is_in(ids.iter().copied()));
    for row in query.order_by_asc(external_id::Column::Position).all(db).await? {
        external_ids.entry(row.customer_id).or_default().push(row.external_id);
    }
    let mut addresses = addresses(db, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let external_ids = external_ids.remove(&row.customer_id).unwrap_or_default();
            let addresses = addresses.remove(&row.customer_id).unwrap_or_default();
            domain(row, external_ids, addresses)
        })
        .collect()
}

/// The first of these external ids that another customer has.
pub async fn taken_external_id(tx: &WriteTx, ids: &[String], except: CustomerId) -> Result<Option<String>, StoreError> {
    let query = external_id::Entity::find()
        .select_only()
        .column(external_id::Column::ExternalId)
        .filter(external_id::Column::ExternalId.is_in(ids.iter().map(String::as_str)))
        .filter(external_id::Column::CustomerId.ne(except));
    Ok(query.into_tuple().one(tx).await?)
}

/// The first of these addresses that another living customer has.
pub async fn taken_address(tx: &WriteTx, of: &Customer) -> Result<Option<AddressId>, StoreError> {
    let keys = of.addresses.iter().map(|address| living_key(address.channel, &address.value.key()));
    let query = address::Entity::find()
        .select_only()
        .column(address::Column::AddressId)
        .filter(address::Column::LivingKey.is_in(keys))
        .filter(address::Column::CustomerId.ne(of.customer_id));
    Ok(query.into_tuple().one(tx).await?)
}

/// Inserts a customer with all that belongs to it.
pub async fn insert(tx: &WriteTx, new: &Customer) -> Result<(), StoreError> {
    insert_all(tx, &[new]).await
}

/// Inserts customers with all that belongs to them.
pub(super) async fn insert_all(tx: &WriteTx, new: &[&Customer]) -> Result<(), StoreError> {
    database::insert_rows(tx, new.iter().map(|one| row(one)).collect(), None).await?;
    insert_external_ids(tx, new.iter().map(|one| (*one, 0))).await?;
    database::insert_rows(tx, new.iter().flat_map(|one| address_rows(one)).collect(), None).await?;
    Ok(())
}

/// Writes a customer back with all that belongs to it.
pub async fn save(tx: &WriteTx, before: &Customer, after: &Customer) -> Result<(), StoreError> {
    customer::Entity::update(row(after)).exec(tx).await?;
    if before.external_ids != after.external_ids {
        external_id::Entity::delete_many()
            .filter(external_id::Column::CustomerId.eq(after.customer_id))
            .exec(tx)
            .await?;
        insert_external_ids(tx, [(after, 0)]).await?;
    }
    if before.addresses != after.addresses {
        let kept = after.addresses.iter().map(|address| address.address_id);
        address::Entity::delete_many()
            .filter(address::Column::CustomerId.eq(after.customer_id))
            .filter(address::Column::AddressId.is_not_in(kept))
            .exec(tx)
            .await?;
        save_addresses(tx, &[after]).await?;
    }
    Ok(())
}

/// Writes the attributes and tags of customers back.
pub async fn save_profiles(tx: &WriteTx, changed: &[&Customer]) -> Result<(), StoreError> {
    let given = |place: u8| Expr::col(("given", format!("column{place}")));
    for some in changed.chunks(AT_ONCE) {
        let row = |of: &&Customer| {
            let (attributes, tags) = (Value::Object(of.attributes.clone()), Value::from(of.tags.clone()));
            let (id, time, revision) = (of.customer_id.into(), of.update_time.into(), of.revision.into());
            ValueTuple::Many(vec![id, attributes.into(), tags.into(), time, revision])
        };
        let update = Query::update()
            .table(customer::Entity)
            .from(TableRef::ValuesList(some.iter().map(row).collect(), "given".into_iden()))
            .value(customer::Column::Attributes, given(2))
            .value(customer::Column::Tags, given(3))
            .value(customer::Column::UpdateTime, given(4))
            .value(customer::Column::Revision, given(5))
            .and_where(Expr::col((customer::Entity, customer::Column::CustomerId)).equals(("given", "column1")))
            .to_owned();
        tx.execute(&update).await?;
    }
    Ok(())
}

/// Writes a customer back that lives again: its addresses are its own again.
pub async fn restore(tx: &WriteTx, of: &Customer) -> Result<(), StoreError> {
    customer::Entity::update(row(of)).exec(tx).await?;
    save_addresses(tx, &[of]).await
}

/// Who has an address.
pub async fn owner_of(db: &impl ConnectionTrait, id: AddressId) -> Result<Option<CustomerId>, StoreError> {
    let query = address::Entity::find_by_id(id).select_only().column(address::Column::CustomerId);
    Ok(query.into_tuple().one(db).await?)
}

/// Marks a customer as deleted and sets its addresses free.
pub async fn delete(tx: &WriteTx, id: CustomerId, revision: i32, now: Timestamp) -> Result<(), StoreError> {
    customer::Entity::update_many()
        .col_expr(customer::Column::DeleteTime, now.into())
        .col_expr(customer::Column::UpdateTime, now.into())
        .col_expr(customer::Column::Revision, revision.into())
        .filter(customer::Column::CustomerId.eq(id))
        .exec(tx)
        .await?;
    address::Entity::update_many()
        .col_expr(address::Column::LivingKey, Expr::val(None::<String>))
        .filter(address::Column::CustomerId.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Customers who were deleted at a moment or before and are not erased, the longest deleted first.
pub async fn deleted_before(
    db: &impl ConnectionTrait,
    moment: Timestamp,
    most: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    let query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .filter(customer::Column::DeleteTime.is_not_null())
        .filter(customer::Column::EraseTime.is_null())
        .filter(customer::Column::DeleteTime.lte(moment))
        .order_by_asc(customer::Column::DeleteTime)
        .limit(most);
    Ok(query.into_tuple().all(db).await?)
}

/// Removes everything about a customer but that there was one.
pub async fn erase(tx: &WriteTx, of: &Customer, now: Timestamp) -> Result<Erased, StoreError> {
    let external_ids =
        external_id::Entity::delete_many().filter(external_id::Column::CustomerId.eq(of.customer_id)).exec(tx).await?;
    let addresses =
        address::Entity::delete_many().filter(address::Column::CustomerId.eq(of.customer_id)).exec(tx).await?;
    let mut left = Customer::bare(now);
    left.customer_id = of.customer_id;
    left.create_time = of.create_time;
    left.delete_time = Some(of.delete_time.unwrap_or(now));
    left.erase_time = Some(now);
    left.revision = of.revision + 1;
    customer::Entity::update(row(&left)).exec(tx).await?;
    Ok(vec![("customers", 1), ("external_ids", external_ids.rows_affected), ("addresses", addresses.rows_affected)])
}

/// Inserts the external ids of customers, each from a place on.
pub(super) async fn insert_external_ids<'a>(
    tx: &WriteTx,
    of: impl IntoIterator<Item = (&'a Customer, usize)>,
) -> Result<(), StoreError> {
    let rows = |(of, first): (&'a Customer, usize)| {
        of.external_ids.iter().zip(0..).skip(first).map(|(external_id, position)| external_id::ActiveModel {
            external_id: Set(external_id.clone()),
            customer_id: Set(of.customer_id),
            position: Set(position),
        })
    };
    database::insert_rows(tx, of.into_iter().flat_map(rows).collect(), None).await?;
    Ok(())
}

/// Inserts the addresses of customers, and writes those back that are there.
pub(super) async fn save_addresses(tx: &WriteTx, of: &[&Customer]) -> Result<(), StoreError> {
    let known = OnConflict::column(address::Column::AddressId)
        .update_columns([address::Column::LivingKey, address::Column::IsPrimary, address::Column::VerifyTime])
        .to_owned();
    database::insert_rows(tx, of.iter().flat_map(|one| address_rows(one)).collect(), Some(known)).await?;
    Ok(())
}

fn address_rows(of: &Customer) -> impl Iterator<Item = address::ActiveModel> {
    of.addresses.iter().map(|address| address::ActiveModel {
        address_id: Set(address.address_id),
        customer_id: Set(of.customer_id),
        channel: Set(address.channel),
        value: Set(address.value.as_str().to_owned()),
        living_key: Set(Some(living_key(address.channel, &address.value.key()))),
        is_primary: Set(address.primary),
        create_time: Set(of.update_time),
        verify_time: Set(address.verify_time),
    })
}

/// How an address is kept, where it is looked for.
pub(super) fn email_key(email: &EmailAddress) -> String {
    living_key(Channel::Email, &email.key())
}

fn living_key(channel: Channel, key: &str) -> String {
    format!("{channel}:{key}")
}

pub(super) fn corrupt(table: &'static str, detail: &str) -> StoreError {
    StoreError::Corrupt { table, detail: detail.to_owned() }
}

fn domain(row: customer::Model, external_ids: Vec<String>, addresses: Vec<Address>) -> Result<Customer, StoreError> {
    let time_zone =
        row.time_zone.map(|name| name.parse().map_err(|_| corrupt("customers", "time_zone"))).transpose()?;
    let attributes: Map<String, Value> =
        serde_json::from_value(row.attributes).map_err(|_| corrupt("customers", "attributes"))?;
    Ok(Customer {
        customer_id: row.customer_id,
        external_ids,
        display_name: row.display_name,
        given_name: row.given_name,
        family_name: row.family_name,
        time_zone,
        locale: row.locale.map(crate::templates::Locale::from_stored),
        attributes,
        tags: serde_json::from_value(row.tags).map_err(|_| corrupt("customers", "tags"))?,
        addresses,
        create_time: row.create_time,
        update_time: row.update_time,
        delete_time: row.delete_time,
        erase_time: row.erase_time,
        revision: row.revision,
    })
}

fn domain_address(row: address::Model) -> Result<Address, StoreError> {
    let value = row.value.parse().map_err(|_| corrupt("addresses", "value"))?;
    Ok(Address {
        address_id: row.address_id,
        channel: row.channel,
        value,
        primary: row.is_primary,
        verify_time: row.verify_time,
    })
}

pub(super) fn row(of: &Customer) -> customer::ActiveModel {
    customer::ActiveModel {
        customer_id: Set(of.customer_id),
        display_name: Set(of.display_name.clone()),
        given_name: Set(of.given_name.clone()),
        family_name: Set(of.family_name.clone()),
        time_zone: Set(of.time_zone.map(|zone| zone.name().to_owned())),
        locale: Set(of.locale.as_ref().map(ToString::to_string)),
        attributes: Set(of.attributes.clone().into()),
        tags: Set(of.tags.clone().into()),
        create_time: Set(of.create_time),
        update_time: Set(of.update_time),
        delete_time: Set(of.delete_time),
        erase_time: Set(of.erase_time),
        revision: Set(of.revision),
    }
}
