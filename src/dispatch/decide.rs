use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{Dispatcher, compose::Order, hand_over::Post, hands::Grip, prepare::Draft, score::Tally};
use crate::{
    campaigns::enrollments,
    clock::Timestamp,
    contacts::{
        self, Block, BlockReason, Contact, Effect, Purpose, Queue, StepOf, TrackedLink,
        claims::{self, Blocked, Intent},
    },
    customers::{self, Address},
    database::{self, Connection, StoreError, WriteTx},
    gate::{self, Facts, Verdict},
    ids::{ClaimToken, ConsentRecordId, ContactId},
    preferences,
    templates::{Tracking, add_picture, lead_links},
};

/// How often deciding is tried when others are in the way.
const TRIES: usize = 5;
/// How long it rests before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Which contacts are decided.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// Those of a queue that are due, the longest due first.
    Due(&'a Queue),
    /// Those whose time is over, in whatever queue.
    Overdue,
}

/// What deciding came to.
#[derive(Debug)]
pub(super) struct Decided {
    /// About how many contacts something was decided, and what.
    pub tally: Tally,
    /// What goes out: the intents are recorded.
    pub letters: Vec<Post>,
    /// Holds what goes out.
    pub grip: Grip,
}

/// What it comes to for each.
#[derive(Default)]
struct Decisions {
    orders: Vec<Order>,
    intents: Vec<Intent>,
    blocked: Vec<Blocked>,
    steps: Vec<(ContactId, StepOf)>,
    links: Vec<TrackedLink>,
}

impl Dispatcher {
    /// Picks up to `most` contacts, has the gate judge them, records every decision, and records the intents of what goes out.
    /// Nothing is decided by a process that has lost its lease. `ahead` is what was picked before.
    pub(super) async fn decide(
        &self,
        which: Which<'_>,
        token: ClaimToken,
        most: usize,
        mut ahead: Option<Vec<Draft>>,
    ) -> Result<Decided, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_decide(which, token, most, ahead.take()).await {
                Err(error) if error.may_pass() && tries < TRIES => tokio::time::sleep(PAUSE).await,
                decided => return decided,
            }
        }
    }

    async fn try_to_decide(
        &self,
        which: Which<'_>,
        token: ClaimToken,
        most: usize,
        ahead: Option<Vec<Draft>>,
    ) -> Result<Decided, StoreError> {
        let now = self.of.clock.now();
        let case = if self.of.db.is_shared() {
            self.open_beside_others(which, token, most, now).await?
        } else {
            self.open_alone(which, most, ahead, now).await?
        };
        let Some((tx, drafts, facts)) = case else {
            return Ok(Decided { tally: Tally::default(), letters: Vec::new(), grip: self.hands.take(Vec::new()) });
        };
        let decisions = self.judge(drafts, facts, now)?;
        self.record(tx, token, decisions, now).await
    }

    /// Where other processes send too, what is picked is kept from them at once.
    async fn open_beside_others(
        &self,
        which: Which<'_>,
        token: ClaimToken,
        most: usize,
        now: Timestamp,
    ) -> Result<Option<(WriteTx, Vec<Draft>, Facts)>, StoreError> {
        let tx = self.of.db.begin_write().await?;
        let contacts = pick(&tx, which, now, most).await?;
        if contacts.is_empty() {
            return Ok(None);
        }
        if !claims::is_held(&tx, token).await? {
            return Err(StoreError::Raced);
        }
        let facts =
            Facts::lock(&tx, &self.of.key, self.of.senders.readiness(), &contacts.iter().collect::<Vec<_>>(), now)
                .await?;
        let drafts = self.prepare(contacts, facts.customers(), facts.policy()).await?;
        Ok(Some((tx, drafts, facts)))
    }

    /// Where nobody else sends, who writes need not wait until everything is rendered: what changed since it was picked is left
    /// out when decisions are recorded.
    async fn open_alone(
        &self,
        which: Which<'_>,
        most: usize,
        ahead: Option<Vec<Draft>>,
        now: Timestamp,
    ) -> Result<Option<(WriteTx, Vec<Draft>, Facts)>, StoreError> {
        let mut drafts = match ahead {
            Some(drafts) => drafts,
            None => self.pick_ahead(which, most, now).await?,
        };
        drafts.truncate(most);
        if drafts.is_empty() {
            return Ok(None);
        }
        let tx = self.of.db.begin_write().await?;
        let facts = Facts::lock(
            &tx,
            &self.of.key,
            self.of.senders.readiness(),
            &drafts.iter().map(|draft| &draft.contact).collect::<Vec<_>>(),
            now,
        )
        .await?;
        Ok(Some((tx, drafts, facts)))
    }

    /// Picks and renders what will be decided next, by a process that is alone.
    pub(super) async fn pick_ahead(
        &self,
        which: Which<'_>,
        most: usize,
        now: Timestamp,
    ) -> Result<Vec<Draft>, StoreError> {
        let db = self.of.db.reader();
        let contacts = pick(db, which, now, most).await?;
        if contacts.is_empty() {
            return Ok(Vec::new());
        }
        let customers: Vec<_> = contacts.iter().map(|contact| contact.customer_id).collect();
        let (policy, customers) = tokio::try_join!(preferences::policy(db), customers::profiles(db, &customers))?;
        self.prepare(contacts, &customers, &policy).await
    }

    fn judge(&self, drafts: Vec<Draft>, mut facts: Facts, now: Timestamp) -> Result<Decisions, StoreError> {
        let mut decisions = Decisions::default();
        for mut draft in drafts {
            if !facts.knows(&draft.contact) {
                continue;
            }
            let template_error = draft.message.as_ref().err().map(String::as_str);
            match gate::decide(&facts.case(&draft.contact, template_error)?, now) {
                Verdict::Send { address, consent } => match self.slow_receiver(&draft.contact, &address) {
                    Some(block) => decisions.block(&draft.contact, block),
                    None => {
                        facts.count(&draft.contact, now);
                        let list_name = facts.topic_name(&draft.contact).to_owned();
                        let tracking = facts.tracking(&draft.contact, now);
                        decisions.links.extend(self.track(&mut draft, tracking));
                        decisions.send(draft, address, consent, list_name);
                    }
                },
                Verdict::Defer(block) => decisions.block(&draft.contact, patient(&draft.contact, block)),
                Verdict::End(block) => decisions.end(&draft.contact, block),
            }
        }
        Ok(decisions)
    }

    async fn record(
        &self,
        tx: WriteTx,
        token: ClaimToken,
        decisions: Decisions,
        now: Timestamp,
    ) -> Result<Decided, StoreError> {
        let Decisions { orders, intents, blocked, steps, links } = decisions;
        // The letters are composed while the database is at it. One on which that breaks off is found by recovery, alone.
        let (intended, mut letters) =
            tokio::join!(claims::intend(&tx, token, &intents, &self.of.replica, now), async {
                let compose = |order| catch_unwind(AssertUnwindSafe(|| self.compose(order))).ok();
                orders.into_iter().filter_map(compose).collect::<Vec<_>>()
            });
        let intended = intended?;
        let links: Vec<_> = links.into_iter().filter(|link| intended.contains(&link.contact_id)).collect();
        contacts::keep_links(&tx, &links).await?;
        let held_back = claims::block(&tx, &blocked, now).await?;
        let ended = steps.into_iter().filter(|(id, _)| held_back.contains(id)).map(|(_, step)| step);
        let planned = enrollments::advance(&tx, &self.of.plans, &ended.collect::<Vec<_>>(), now).await?;
        // Before anybody can see the intents: recovery takes what nobody has in hand for lost.
        let grip = self.hands.take(intended.clone());
        database::commit(tx).await?;
        self.ring_for(&planned);
        let mut tally = Tally { decided: intended.len() + held_back.len(), ..Tally::default() };
        for blocked in blocked.iter().filter(|one| held_back.contains(&one.contact_id)) {
            self.of.metrics.decided(blocked.block.effect.as_str(), 1);
            if blocked.block.effect == Effect::Defer { tally.deferred += 1 } else { tally.ended += 1 }
        }
        letters.retain(|post| intended.contains(&post.contact.contact_id));
        Ok(Decided { tally, letters, grip })
    }

    /// Has noticed of a message what its reader agreed to; answers where its links lead.
    fn track(&self, draft: &mut Draft, tracking: Tracking) -> Vec<TrackedLink> {
        let (links, contact_id) = (&self.of.links, draft.contact.contact_id);
        let Ok((message, _)) = &mut draft.message else { return Vec::new() };
        if message.html.is_empty() || tracking == Tracking::default() {
            return Vec::new();
        }
        let mut targets = Vec::new();
        if tracking.clicks {
            (message.html, targets) =
                lead_links(&message.html, |link| links.is_own(link), |number| links.follow(contact_id, number));
        }
        if tracking.opens {
            message.html = add_picture(&message.html, &links.open(contact_id));
        }
        let link = |(number, url)| TrackedLink { contact_id, number, url };
        (0..).zip(targets).map(link).collect()
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

/// What waits for its sender is asked about again when that is ready ([`super::Expire`]), and not every few minutes until then:
/// each time would be one more decision on record.
fn patient(contact: &Contact, block: Block) -> Block {
    if block.reason != BlockReason::SenderNotReady {
        return block;
    }
    Block { retry_time: Some(contact.expire_time), ..block }
}

async fn pick(db: &impl Connection, which: Which<'_>, now: Timestamp, most: usize) -> Result<Vec<Contact>, StoreError> {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    match which {
        Which::Due(queue) => claims::due(db, queue, now, most).await,
        Which::Overdue => claims::overdue(db, now, most).await,
    }
}

impl Decisions {
    /// The gate sends nothing whose message does not render.
    fn send(&mut self, draft: Draft, address: Address, consent: Option<ConsentRecordId>, list_name: String) {
        let Draft { contact, to_name, message: Ok((message, template_version)) } = draft else {
            return;
        };
        self.intents.push(Intent {
            contact_id: contact.contact_id,
            revision: contact.revision,
            number: contact.attempt_count + 1,
            address_id: address.address_id,
            template_version,
            consent,
        });
        self.orders.push(Order { contact, to_name, to: address.value, list_name, message });
    }

    fn end(&mut self, contact: &Contact, block: Block) {
        self.block(contact, block);
        self.steps.extend(contact.step().cloned().map(|step| (contact.contact_id, step)));
    }

    fn block(&mut self, contact: &Contact, block: Block) {
        self.blocked.push(Blocked { contact_id: contact.contact_id, revision: contact.revision, block });
    }
}
