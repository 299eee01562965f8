use crate::{
    clock::Timestamp,
    database::text_enum,
    delivery::Weight,
    ids::{CampaignId, ContactId, CustomerId, DeliveryEventId},
};

text_enum! {
    /// What became of a message that was sent, as far as anybody said.
    Delivery {
        /// It arrived.
        Delivered = "delivered",
        /// It did not arrive.
        Bounced = "bounced",
        /// Whoever got it marked it as spam.
        Complained = "complained",
    }
}

text_enum! {
    /// What came back.
    DeliveryKind {
        /// It arrived.
        Delivered = "delivered",
        /// It has not arrived yet.
        Deferred = "deferred",
        /// It will not arrive.
        Bounced = "bounced",
        /// Whoever got it marked it as spam.
        Complained = "complained",
        /// It was opened.
        Opened = "opened",
        /// A link was followed.
        Clicked = "clicked",
        /// Whoever got it unsubscribed.
        Unsubscribed = "unsubscribed",
        /// A person answered.
        Replied = "replied",
        /// A program answered.
        AutoReplied = "auto_replied",
        /// Somebody thinks something of it that is no complaint.
        Feedback = "feedback",
    }
}

impl DeliveryKind {
    /// What it shows of the message.
    pub fn shows(self) -> Option<Delivery> {
        match self {
            Self::Delivered => Some(Delivery::Delivered),
            Self::Bounced => Some(Delivery::Bounced),
            Self::Complained => Some(Delivery::Complained),
            _ => None,
        }
    }
}

/// One thing that is known of a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEvent {
    /// Its id.
    pub delivery_event_id: DeliveryEventId,
    /// Who says so.
    pub source: String,
    /// Its key there: the same again changes nothing.
    pub source_event_id: String,
    /// Of which message; none = nobody can tell, only of whom.
    pub contact_id: Option<ContactId>,
    /// Of whom.
    pub customer_id: CustomerId,
    /// Of which campaign.
    pub campaign_id: Option<CampaignId>,
    /// The key of the address that it went to.
    pub address_key: Option<Vec<u8>>,
    /// What.
    pub kind: DeliveryKind,
    /// Of a bounce: what it means for the address.
    pub weight: Option<Weight>,
    /// The enhanced code (RFC 3463); empty where there is none.
    pub status_code: String,
    /// In the words of who said so; without addresses.
    pub detail: String,
    /// Which link was followed.
    pub url: String,
    /// A machine did it.
    pub automated: bool,
    /// When it happened.
    pub occur_time: Timestamp,
    /// When it was recorded.
    pub record_time: Timestamp,
}

/// Which are meant.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// Those of a message.
    Contact(ContactId),
    /// Those of a customer.
    Customer(CustomerId),
    /// All.
    All,
}
