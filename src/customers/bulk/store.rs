use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::OnConflict};

use super::super::{
    Customer, CustomerKey,
    entity::{address, customer, external_id},
    store::{AT_ONCE, email_key, insert_external_ids, load, row, save_addresses},
};
use crate::{
    database::{self, StoreError, WriteTx},
    ids::CustomerId,
};

/// Whom keys name, in their order and in a query for each kind of key. An id of our own names somebody whether there is such a
/// customer or not.
pub async fn resolve_each(
    db: &impl ConnectionTrait,
    keys: &[&CustomerKey],
) -> Result<Vec<Option<CustomerId>>, StoreError> {
    let (mut external_ids, mut emails) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            CustomerKey::Id(_) => {}
            CustomerKey::ExternalId(id) => external_ids.push(id.as_str()),
            CustomerKey::Email(email) => emails.push(email_key(email)),
        }
    }
    let (owners, residents) = (owners(db, &external_ids).await?, residents(db, &emails).await?);
    let id_of = |key: &&CustomerKey| match key {
        CustomerKey::Id(id) => Some(*id),
        CustomerKey::ExternalId(id) => owners.get(id).copied(),
        CustomerKey::Email(email) => residents.get(&email_key(email)).copied(),
    };
    Ok(keys.iter().map(id_of).collect())
}

/// Who has these external ids, living or not.
pub async fn owners(
    db: &impl ConnectionTrait,
    external_ids: &[&str],
) -> Result<HashMap<String, CustomerId>, StoreError> {
    let mut owners = HashMap::new();
    for some in external_ids.chunks(AT_ONCE) {
        let query = external_id::Entity::find().select_only();
        let query = query.column(external_id::Column::ExternalId).column(external_id::Column::CustomerId);
        let query = query.filter(external_id::Column::ExternalId.is_in(some.iter().copied()));
        owners.extend(query.into_tuple::<(String, CustomerId)>().all(db).await?);
    }
    Ok(owners)
}

/// Which living customers have these addresses, as [`email_key`] names them.
pub async fn residents(db: &impl ConnectionTrait, keys: &[String]) -> Result<HashMap<String, CustomerId>, StoreError> {
    let mut residents = HashMap::new();
    for some in keys.chunks(AT_ONCE) {
        let query = address::Entity::find().select_only();
        let query = query.column(address::Column::LivingKey).column(address::Column::CustomerId);
        let query = query.filter(address::Column::LivingKey.is_in(some.iter().map(String::as_str)));
        residents.extend(query.into_tuple::<(String, CustomerId)>().all(db).await?);
    }
    Ok(residents)
}

/// Customers, however many they are.
pub async fn load_all(
    db: &impl ConnectionTrait,
    ids: &[CustomerId],
) -> Result<HashMap<CustomerId, Customer>, StoreError> {
    let mut customers = HashMap::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        customers.extend(load(db, some).await?);
    }
    Ok(customers)
}

/// Writes customers back who only got more: what each was before, and is now.
pub async fn save_grown(tx: &WriteTx, grown: &[(&Customer, &Customer)]) -> Result<(), StoreError> {
    let known = OnConflict::column(customer::Column::CustomerId)
        .update_columns([
            customer::Column::DisplayName,
            customer::Column::GivenName,
            customer::Column::FamilyName,
            customer::Column::TimeZone,
            customer::Column::Locale,
            customer::Column::Attributes,
            customer::Column::Tags,
            customer::Column::UpdateTime,
            customer::Column::Revision,
        ])
        .to_owned();
    database::insert_rows(tx, grown.iter().map(|(_, after)| row(after)).collect(), Some(known)).await?;
    insert_external_ids(tx, grown.iter().map(|(before, after)| (*after, before.external_ids.len()))).await?;
    let with_address = grown.iter().filter(|(before, after)| before.addresses != after.addresses);
    save_addresses(tx, &with_address.map(|(_, after)| *after).collect::<Vec<_>>()).await
}
