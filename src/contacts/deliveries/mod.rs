//! What came back for messages: delivered, bounced, complained about, answered. Only added to; the sum is on the contact.

mod entity;
mod event;
mod fields;
mod store;

pub use self::{
    event::{Delivery, DeliveryEvent, DeliveryKind, Which},
    fields::delivery_fields,
    store::{
        address_keys, are_told, clicked_since, erase, forget, insert, known, noticed, past, show, tell_later, untold,
    },
};
use super::Contacts;
use crate::{
    database::StoreError,
    filter::Wanted,
    rpc::{Page, PageOf},
};

impl Contacts {
    /// A page of what came back, in the order in which it was recorded.
    pub async fn deliveries(
        &self,
        which: &Which,
        wanted: &Wanted,
        page: &Page,
    ) -> Result<PageOf<DeliveryEvent>, StoreError> {
        let rows = store::list(self.db.reader(), which, wanted, page).await?;
        Ok(PageOf::from_rows(rows, page, |event| event.delivery_event_id.to_string()))
    }
}
