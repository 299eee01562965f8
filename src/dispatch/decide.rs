use super::{Dispatcher, Tally, prepare::Draft};
use crate::{
    campaigns::enrollments,
    contacts::{
        Block, Contact, StepOf,
        claims::{self, Intent},
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
    deferrals: Vec<(ContactId, i32, Block, Option<crate::clock::Timestamp>)>,
    ends: Vec<(ContactId, i32, Block)>,
    ended_steps: Vec<StepOf>,
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
        let facts = Facts::lock(&tx, &contacts).await?;
        let ids: Vec<ContactId> = contacts.iter().map(|contact| contact.contact_id).collect();
        let held = claims::still_held(&tx, token, &ids).await?;
        let mut lot = Lot::default();
        for draft in drafts.iter().filter(|draft| held.contains(&draft.contact.contact_id)) {
            let template_error = draft.message.as_ref().err().map(String::as_str);
            let case = facts.case(draft.contact, template_error)?;
            lot.add(draft, gate::decide(&case, now));
        }
        claims::intend(&tx, &lot.intents, &self.replica, now).await?;
        claims::defer(&tx, &lot.deferrals, now).await?;
        claims::end(&tx, &lot.ends, now).await?;
        let planned = enrollments::advance(&tx, &self.plans, &lot.ended_steps, now).await?;
        database::commit(tx).await?;
        self.ring_for(&planned);
        tally.deferred += lot.deferrals.len();
        tally.ended += lot.ends.len();
        Ok(lot.sends)
    }
}

impl<'a> Lot<'a> {
    fn add(&mut self, draft: &'a Draft<'a>, verdict: Verdict) {
        let contact = draft.contact;
        match (verdict, &draft.message) {
            (Verdict::Send { address, consent }, Ok((_, template_version))) => {
                self.intents.push(Intent {
                    contact_id: contact.contact_id,
                    revision: contact.revision,
                    number: contact.attempt_count + 1,
                    address_id: address.address_id,
                    template_version: *template_version,
                    consent,
                });
                self.sends.push(Send { draft, address });
            }
            (Verdict::Defer(block), _) => {
                let until = block.retry_time;
                self.deferrals.push((contact.contact_id, contact.revision, block, until));
            }
            (Verdict::End(block), _) => {
                self.ends.push((contact.contact_id, contact.revision, block));
                self.ended_steps.extend(contact.step.clone());
            }
            // The gate sends nothing whose template does not render.
            (Verdict::Send { .. }, Err(_)) => {}
        }
    }
}
