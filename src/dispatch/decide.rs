use super::{Dispatcher, Tally, prepare::Draft};
use crate::{
    campaigns::enrollments,
    contacts::{
        Contact, Effect, StepOf,
        claims::{self, Blocked, Intent},
    },
    customers::Address,
    database::{self, StoreError},
    gate::{self, Facts, Verdict},
    ids::{ClaimToken, ContactId},
};

/// A letter whose intent is recorded.
#[derive(Debug)]
pub(super) struct Send<'a> {
    /// The contact, its message and who gets it.
    pub draft: &'a Draft<'a>,
    /// Where it goes.
    pub address: Address,
}

/// What one lot comes to.
#[derive(Default)]
struct Lot<'a> {
    sends: Vec<Send<'a>>,
    intents: Vec<Intent>,
    blocked: Vec<Blocked>,
    steps: Vec<(ContactId, StepOf)>,
}

impl Dispatcher {
    /// Lets the gate judge a lot, records every decision, and records the intents of what goes out: one transaction.
    pub(super) async fn decide<'a>(
        &self,
        token: ClaimToken,
        drafts: &'a [Draft<'a>],
        tally: &mut Tally,
    ) -> Result<Vec<Send<'a>>, StoreError> {
        let now = self.clock.now();
        let contacts: Vec<&Contact> = drafts.iter().map(|draft| draft.contact).collect();
        let tx = self.db.begin_write().await?;
        let mut facts = Facts::lock(&tx, &contacts, now).await?;
        let mut lot = Lot::default();
        for draft in drafts {
            let template_error = draft.message.as_ref().err().map(String::as_str);
            let verdict = gate::decide(&facts.case(draft.contact, template_error)?, now);
            if matches!(verdict, Verdict::Send { .. }) {
                facts.count(draft.contact, now);
            }
            lot.add(draft, verdict);
        }
        let intended = claims::intend(&tx, token, &lot.intents, &self.replica, now).await?;
        let blocked = claims::block(&tx, token, &lot.blocked, now).await?;
        let ended = lot.steps.into_iter().filter(|(id, _)| blocked.contains(id)).map(|(_, step)| step);
        let planned = enrollments::advance(&tx, &self.plans, &ended.collect::<Vec<_>>(), now).await?;
        database::commit(tx).await?;
        self.ring_for(&planned);
        for blocked in lot.blocked.iter().filter(|one| blocked.contains(&one.contact_id)) {
            if blocked.block.effect == Effect::Defer { tally.deferred += 1 } else { tally.ended += 1 }
        }
        lot.sends.retain(|send| intended.contains(&send.draft.contact.contact_id));
        Ok(lot.sends)
    }
}

impl<'a> Lot<'a> {
    fn add(&mut self, draft: &'a Draft<'a>, verdict: Verdict) {
        let contact = draft.contact;
        let contact_id = contact.contact_id;
        match (verdict, &draft.message) {
            (Verdict::Send { address, consent }, Ok((_, template_version))) => {
                self.intents.push(Intent {
                    contact_id,
                    number: contact.attempt_count + 1,
                    address_id: address.address_id,
                    template_version: *template_version,
                    consent,
                });
                self.sends.push(Send { draft, address });
            }
            (Verdict::Defer(block), _) => self.blocked.push(Blocked { contact_id, revision: contact.revision, block }),
            (Verdict::End(block), _) => {
                self.blocked.push(Blocked { contact_id, revision: contact.revision, block });
                self.steps.extend(contact.step.clone().map(|step| (contact_id, step)));
            }
            // The gate sends nothing whose template does not render.
            (Verdict::Send { .. }, Err(_)) => {}
        }
    }
}
