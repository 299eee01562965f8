use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{Dispatcher, decide::Send};
use crate::{
    contacts::Contact,
    delivery::{Envelope, Letter, Outcome, Refusal},
};

/// How many letters are on their way at once.
const AT_ONCE: usize = 8;
/// How long one hand-over may take: less than half of a lease.
const LIMIT: Duration = Duration::from_secs(25);

impl Dispatcher {
    /// Hands letters over, a few at a time; answers what became of each.
    pub(super) async fn hand_over<'a>(&self, sends: Vec<Send<'a>>) -> Vec<(&'a Contact, Outcome)> {
        let letters: Vec<_> = sends.into_iter().map(|send| self.hand_over_one(send)).collect();
        stream::iter(letters).buffer_unordered(AT_ONCE).collect().await
    }

    async fn hand_over_one<'a>(&self, send: Send<'a>) -> (&'a Contact, Outcome) {
        let contact = send.draft.contact;
        let name = contact.contact_id.to_string();
        let outcome = match self.compose(&send) {
            Ok(letter) => {
                let (from, to) = (&self.from.address, &send.address.value);
                let handed = self.transport.hand_over(Envelope { name: &name, from, to, letter: &letter });
                let overdue = || Outcome::Unknown { detail: format!("no answer within {} s", LIMIT.as_secs()) };
                tokio::time::timeout(LIMIT, handed).await.unwrap_or_else(|_| overdue())
            }
            Err(detail) => Outcome::Never(Refusal::plain(detail)),
        };
        (contact, outcome)
    }

    fn compose(&self, send: &Send<'_>) -> Result<Vec<u8>, String> {
        let (rendered, _) = send.draft.message.as_ref().map_err(Clone::clone)?;
        let letter = Letter {
            from: &self.from,
            to_name: &send.draft.to_name,
            to: &send.address.value,
            subject: &rendered.subject,
            text: &rendered.text,
            html: &rendered.html,
            date: self.clock.now(),
            message_id: &self.message_id(send.draft.contact.contact_id),
        };
        letter.compose().map_err(|unfit| unfit.to_string())
    }
}
