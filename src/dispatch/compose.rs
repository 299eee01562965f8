use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use tokio::sync::Semaphore;

use super::{Dispatcher, hand_over::Post};
use crate::{
    contacts::{Contact, Lane, Purpose},
    delivery::{EmailAddress, Letter, MailingList, UnfitLetter},
    ids::{CampaignId, ContactId},
    senders::Sender,
    templates::Rendered,
};

/// What is written to whom.
#[derive(Debug)]
pub(super) struct Order {
    /// Its contact, as it was picked.
    pub contact: Contact,
    /// How the customer is addressed.
    pub to_name: String,
    /// Where it goes.
    pub to: EmailAddress,
    /// What the topic is called.
    pub list_name: String,
    /// What it says.
    pub message: Rendered,
}

/// Signs, on as many cores as there are and no more: a signature is a millisecond of pure work.
#[derive(Debug)]
pub(super) struct Desk(Arc<Semaphore>);

impl Desk {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))))
    }
}

impl Dispatcher {
    /// The Message-ID of a contact, without angle brackets.
    pub fn message_id(&self, contact: ContactId, purpose: Purpose) -> String {
        crate::delivery::message_id(&self.of.key, contact, self.of.senders.of(purpose).domain())
    }

    /// Composes what was ordered; it is signed before it is handed over.
    pub(super) fn compose(&self, order: Order) -> Post {
        let Order { contact, to_name, to, list_name, message } = order;
        let sender = Arc::clone(self.of.senders.of(contact.purpose));
        let lane = contact.queue().lane;
        let unsubscribe = self.of.links.unsubscribe(contact.contact_id);
        let list_id = format!("{}.{}", contact.topic_id, sender.domain());
        let can_be_left = contact.purpose != Purpose::Transactional;
        let letter = Letter {
            from: &sender.from,
            reply_to: sender.reply_to.as_ref(),
            to_name: &to_name,
            to: &to,
            subject: &message.subject,
            text: &message.text,
            html: &message.html,
            date: self.of.clock.now(),
            message_id: &self.message_id(contact.contact_id, contact.purpose),
            list: can_be_left.then_some(MailingList { name: &list_name, id: &list_id, unsubscribe: &unsubscribe }),
            feedback_id: &feedback_id(&contact, &sender),
            auto_submitted: lane != Lane::Bulk,
            bulk: contact.purpose == Purpose::Marketing,
        };
        let letter = letter.compose();
        let from = sender.return_path(&self.of.key, contact.contact_id);
        Post { contact, sender, from, to, letter }
    }

    /// The letter with its signatures: made beside what is under way, so that no connection waits for them.
    pub(super) async fn sign(&self, sender: &Arc<Sender>, letter: Vec<u8>) -> Result<Vec<u8>, UnfitLetter> {
        if !sender.has_signing_key() {
            return Ok(letter);
        }
        let Ok(_place) = Arc::clone(&self.desk.0).acquire_owned().await else {
            return Err(UnfitLetter::NotSigned);
        };
        let (sender, now) = (Arc::clone(sender), self.of.clock.now());
        let signed = tokio::task::spawn_blocking(move || sender.sign(&letter, now)).await;
        signed.unwrap_or(Err(UnfitLetter::NotSigned))
    }

    /// How large a message is with its headers, encodings and signatures; 0 where it cannot be sent.
    pub(super) fn size(&self, rendered: &Rendered, to_name: &str) -> usize {
        let Ok(to) = "customer@example.com".parse::<EmailAddress>() else {
            return 0;
        };
        let (sender, contact) = (self.of.senders.of(Purpose::Marketing), ContactId::generate());
        let letter = Letter {
            from: &sender.from,
            reply_to: sender.reply_to.as_ref(),
            to_name,
            to: &to,
            subject: &rendered.subject,
            text: &rendered.text,
            html: &rendered.html,
            date: self.of.clock.now(),
            message_id: &self.message_id(contact, Purpose::Marketing),
            list: None,
            feedback_id: "ad-hoc:topic:marketing:sender",
            auto_submitted: false,
            bulk: false,
        };
        let signed = letter.compose().and_then(|letter| sender.sign(&letter, self.of.clock.now()));
        signed.map_or(0, |letter| letter.len())
    }
}

/// Names of ours alone, from the finest to the coarsest: mailbox providers read it from its end.
fn feedback_id(contact: &Contact, sender: &Sender) -> String {
    let campaign = contact.campaign_id().map_or("ad-hoc", CampaignId::as_str);
    format!("{campaign}:{}:{}:{}", contact.topic_id, contact.purpose, sender.sender_id)
}
