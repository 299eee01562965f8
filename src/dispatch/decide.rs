use super::{Dispatcher, conductor::Tally, hand_over::Order, lot::Lot, prepare::Draft};
use crate::{
    campaigns::enrollments,
    contacts::{
        Block, BlockReason, Contact, Effect, Purpose, StepOf,
        claims::{self, Blocked, Intent},
    },
    customers::Address,
    database::{self, StoreError},
    gate::{self, Facts, Verdict},
    ids::{ConsentRecordId, ContactId},
};

/// What one lot comes to.
#[derive(Default)]
struct Decisions {
    orders: Vec<Order>,
    intents: Vec<Intent>,
    blocked: Vec<Blocked>,
    steps: Vec<(ContactId, StepOf)>,
}

impl Dispatcher {
    /// Lets the gate judge a lot, records every decision, and records the intents of what goes out: one transaction. Nothing is
    /// decided by a process that has lost its lease.
    pub(super) async fn decide(
        &self,
        lot: &Lot,
        drafts: &[Draft<'_>],
        tally: &mut Tally,
    ) -> Result<Vec<Order>, StoreError> {
        let now = self.of.clock.now();
        let contacts: Vec<&Contact> = drafts.iter().map(|draft| draft.contact).collect();
        let tx = self.of.db.begin_write().await?;
        if !claims::is_held(&tx, lot.token).await? {
            return Err(StoreError::Raced);
        }
        let mut facts = Facts::lock(&tx, &contacts, now).await?;
        let mut decisions = Decisions::default();
        for (place, draft) in drafts.iter().enumerate() {
            let template_error = draft.message.as_ref().err().map(String::as_str);
            match gate::decide(&facts.case(draft.contact, template_error)?, now) {
                Verdict::Send { address, consent } => match self.slow_receiver(draft.contact, &address) {
                    Some(block) => decisions.block(draft.contact, block),
                    None => {
                        facts.count(draft.contact, now);
                        decisions.send(place, draft, address, consent);
                    }
                },
                Verdict::Defer(block) => decisions.block(draft.contact, block),
                Verdict::End(block) => decisions.end(draft.contact, block),
            }
        }
        let intended = claims::intend(&tx, lot.token, &decisions.intents, &self.of.replica, now).await?;
        let blocked = claims::block(&tx, lot.token, &decisions.blocked, now).await?;
        let ended = decisions.steps.into_iter().filter(|(id, _)| blocked.contains(id)).map(|(_, step)| step);
        let planned = enrollments::advance(&tx, &self.of.plans, &ended.collect::<Vec<_>>(), now).await?;
        database::commit(tx).await?;
        self.ring_for(&planned);
        for blocked in decisions.blocked.iter().filter(|one| blocked.contains(&one.contact_id)) {
            self.of.metrics.decided(blocked.block.effect.as_str(), 1);
            if blocked.block.effect == Effect::Defer { tally.deferred += 1 } else { tally.ended += 1 }
        }
        decisions.orders.retain(|order| intended.contains(&order.contact_id));
        Ok(decisions.orders)
    }

    /// What stands in the way of a letter whose receiver takes letters slowly, so that it does not hold up the others.
    fn slow_receiver(&self, contact: &Contact, address: &Address) -> Option<Block> {
        if contact.purpose == Purpose::Transactional {
            return None;
        }
        let wait = self.domains.wait(address.value.domain())?;
        Some(Block {
            reason: BlockReason::Throttled,
            effect: Effect::Defer,
            detail: "the receiver takes letters slowly".to_owned(),
            retry_time: Some((self.of.clock.now() + wait).min(contact.expire_time)),
        })
    }
}

impl Decisions {
    /// The gate sends nothing whose message does not render.
    fn send(&mut self, place: usize, draft: &Draft<'_>, address: Address, consent: Option<ConsentRecordId>) {
        let (contact, Ok((message, template_version))) = (draft.contact, &draft.message) else {
            return;
        };
        self.intents.push(Intent {
            contact_id: contact.contact_id,
            number: contact.attempt_count + 1,
            address_id: address.address_id,
            template_version: *template_version,
            consent,
        });
        self.orders.push(Order {
            place,
            contact_id: contact.contact_id,
            to_name: draft.to_name.clone(),
            to: address.value,
            message: message.clone(),
        });
    }

    fn end(&mut self, contact: &Contact, block: Block) {
        self.block(contact, block);
        self.steps.extend(contact.step.clone().map(|step| (contact.contact_id, step)));
    }

    fn block(&mut self, contact: &Contact, block: Block) {
        self.blocked.push(Blocked { contact_id: contact.contact_id, revision: contact.revision, block });
    }
}
