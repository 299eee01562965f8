//! One case: a few contacts in the record, the processes that carry them out, and the model beside them.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use proptest::{prop_assert, prop_assert_eq, test_runner::TestCaseError};
use rapport::{
    calendar::{Planned, Zone},
    clock::Timestamp,
    contacts::{
        self, Block, BlockReason, CallOff, Contact, ContactState, Effect, Lane, NewContact, Origin, Purpose, Queue,
        Verdict,
        claims::{self, Blocked, Intent, Setback},
    },
    database::WriteTx,
    delivery::Channel,
    ids::{AddressId, ClaimToken, ContactId, CustomerId},
};
use sea_orm::{ConnectionTrait, Statement, sea_query};

use super::{
    Decision, Operation,
    model::{Answer, Mirror},
};

/// Every arrow of the diagram, and no other.
pub const ARROWS: [(ContactState, ContactState); 13] = [
    (ContactState::Scheduled, ContactState::Sending),
    (ContactState::Scheduled, ContactState::Suppressed),
    (ContactState::Scheduled, ContactState::Expired),
    (ContactState::Scheduled, ContactState::Canceled),
    (ContactState::Scheduled, ContactState::Sent),
    (ContactState::Sending, ContactState::Scheduled),
    (ContactState::Sending, ContactState::Sent),
    (ContactState::Sending, ContactState::Failed),
    (ContactState::Sending, ContactState::UnknownOutcome),
    (ContactState::UnknownOutcome, ContactState::Sent),
    (ContactState::UnknownOutcome, ContactState::Failed),
    (ContactState::UnknownOutcome, ContactState::Scheduled),
    (ContactState::Failed, ContactState::Scheduled),
];
/// What nothing leads out of.
const FINAL: [ContactState; 4] =
    [ContactState::Sent, ContactState::Suppressed, ContactState::Expired, ContactState::Canceled];
/// More than there are.
const ALL: u64 = 100;

/// A contact is about the topic that is called like its purpose.
pub fn topic(purpose: Purpose) -> rapport::ids::TopicId {
    purpose.as_str().parse().unwrap()
}

/// A process, as far as others know it.
struct Process {
    token: ClaimToken,
    lease: Lease,
}

#[derive(PartialEq)]
enum Lease {
    Held,
    /// It ran out, and nobody has noticed.
    RunOut,
    /// Given up, or taken away.
    Gone,
}

/// Contacts that were picked together.
struct Lot {
    token: ClaimToken,
    /// Those that are not decided yet, as they were when they were picked.
    undecided: Vec<(usize, Contact)>,
    /// Places of those on their way, with the number of their hand-over.
    under_way: Vec<(usize, usize)>,
}

pub struct Case<'a> {
    tx: &'a WriteTx,
    customer_id: CustomerId,
    now: Timestamp,
    ids: Vec<ContactId>,
    model: Vec<Mirror>,
    processes: Vec<Process>,
    lots: Vec<Lot>,
    /// The arrows that were taken.
    pub taken: BTreeSet<usize>,
}

impl<'a> Case<'a> {
    pub async fn begin(
        tx: &'a WriteTx,
        customer_id: CustomerId,
        now: Timestamp,
        purposes: &[Purpose],
        processes: usize,
    ) -> Result<Self, TestCaseError> {
        let planned: Vec<Contact> =
            (0..).zip(purposes).map(|(minutes, purpose)| plan(customer_id, *purpose, now, minutes)).collect();
        contacts::insert(tx, &planned).await?;
        let mut case = Self {
            tx,
            customer_id,
            now,
            ids: planned.iter().map(|contact| contact.contact_id).collect(),
            model: Vec::new(),
            processes: Vec::new(),
            lots: Vec::new(),
            taken: BTreeSet::new(),
        };
        case.model = case.look().await?;
        for _ in 0..processes {
            let token = ClaimToken::generate();
            claims::register(tx, token, "a process").await?;
            case.processes.push(Process { token, lease: Lease::Held });
        }
        Ok(case)
    }

    /// Does something to the record and to the model, and compares them.
    pub async fn step(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let before = self.model.clone();
        self.apply(operation).await?;
        let seen = self.look().await?;
        prop_assert_eq!(&seen, &self.model, "the record (left) and the model after {:?}", operation);
        for (before, after) in before.iter().zip(&seen) {
            if before.state != after.state {
                let arrow = ARROWS.iter().position(|arrow| *arrow == (before.state, after.state));
                prop_assert!(arrow.is_some(), "{:?} made {} of {}", operation, after.state, before.state);
                self.taken.extend(arrow);
            }
            let stays = !FINAL.contains(&before.state) || before.told_late(after) == *after;
            prop_assert!(stays, "{:?} changed {:?}", operation, before);
        }
        Ok(())
    }

    /// All processes die: nothing is lost, each contact has ended, is in doubt, or is sent by the next process.
    pub async fn end(&mut self) -> Result<(), TestCaseError> {
        for process in 0..self.processes.len() {
            self.step(&Operation::RunOut { process }).await?;
        }
        self.step(&Operation::Recover).await?;
        let waiting = self.model.iter().filter(|contact| contact.waits());
        prop_assert!(self.model.iter().all(|contact| contact.waits() || contact.is_at_rest()));
        let lanes: BTreeSet<Lane> = waiting.clone().map(Mirror::lane).collect();
        let first = |lane: Lane| waiting.clone().filter(|one| one.lane() == lane).map(|one| one.due).min().unwrap();
        let expected: Vec<_> = lanes.iter().map(|lane| (queue(*lane), first(*lane))).collect();
        prop_assert_eq!(claims::queues(self.tx).await?, expected);
        self.step(&Operation::Pass { minutes: 100_000 }).await?;
        self.step(&Operation::Renew { process: 0 }).await?;
        let all_go = Operation::Decide { back: 0, decisions: vec![Some(Decision::Send); self.ids.len()] };
        for lane in lanes {
            self.step(&Operation::Pick { process: 0, lane, most: ALL }).await?;
            self.step(&all_go).await?;
        }
        let is_claimed = |contact: &Mirror| contact.is_at_rest() || contact.claim == Some(self.processes[0].token);
        prop_assert!(self.model.iter().all(is_claimed));
        Ok(())
    }

    async fn apply(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Pick { process, lane, most } => self.pick(*process, *lane, *most).await,
            Operation::PickOverdue { process } => self.pick_overdue(*process).await,
            Operation::Decide { back, decisions } => match self.lot(*back, |lot| !lot.undecided.is_empty()) {
                Some(lot) => self.decide(lot, decisions).await,
                None => Ok(()),
            },
            Operation::Settle { back, answers } => match self.lot(*back, |lot| !lot.under_way.is_empty()) {
                Some(lot) => self.settle(lot, answers).await,
                None => Ok(()),
            },
            Operation::RunOut { process } => self.run_out(*process).await,
            Operation::GiveUp { process } => self.give_up(*process).await,
            Operation::Renew { process } => self.renew(*process).await,
            Operation::Recover => self.recover().await,
            Operation::Cancel { place } => self.cancel(*place).await,
            Operation::Withdraw { purpose } => self.withdraw(*purpose).await,
            Operation::Reschedule { place, minutes } => self.reschedule(*place, *minutes).await,
            Operation::Resolve { place, verdict } => self.resolve(*place, *verdict).await,
            Operation::Pass { minutes } => {
                self.now += TimeDelta::minutes(*minutes);
                Ok(())
            }
        }
    }

    async fn pick(&mut self, process: usize, lane: Lane, most: u64) -> Result<(), TestCaseError> {
        let picked = claims::due(self.tx, &queue(lane), self.now, most).await?;
        let is_due = |one: &&Mirror| one.waits() && one.lane() == lane && one.due <= self.now;
        let mut due: Vec<&Mirror> = self.model.iter().filter(is_due).collect();
        due.sort_by_key(|one| (one.due, one.contact_id));
        due.truncate(usize::try_from(most)?);
        let expected: Vec<ContactId> = due.iter().map(|one| one.contact_id).collect();
        prop_assert_eq!(picked.iter().map(|one| one.contact_id).collect::<Vec<_>>(), expected, "what was picked");
        self.take(process, picked);
        Ok(())
    }

    async fn pick_overdue(&mut self, process: usize) -> Result<(), TestCaseError> {
        let picked = claims::overdue(self.tx, self.now, ALL).await?;
        let is_over = |one: &&Mirror| one.waits() && one.due <= self.now && one.expire <= self.now;
        let over = self.model.iter().filter(is_over).map(|one| one.contact_id).collect();
        prop_assert_eq!(sorted(picked.iter().map(|one| one.contact_id).collect()), sorted(over), "what was over");
        self.take(process, picked);
        Ok(())
    }

    fn take(&mut self, process: usize, picked: Vec<Contact>) {
        let place = |contact: &Contact| self.ids.iter().position(|id| *id == contact.contact_id);
        let undecided = picked.into_iter().filter_map(|contact| Some((place(&contact)?, contact))).collect();
        self.lots.push(Lot { token: self.processes[process].token, undecided, under_way: Vec::new() });
    }

    /// As the dispatcher does: nothing without a lease.
    async fn decide(&mut self, lot: usize, decisions: &[Option<Decision>]) -> Result<(), TestCaseError> {
        let lot = &mut self.lots[lot];
        let is_held = self.processes.iter().any(|one| one.token == lot.token && one.lease == Lease::Held);
        prop_assert_eq!(claims::is_held(self.tx, lot.token).await?, is_held);
        if !is_held {
            return Ok(());
        }
        let (mut intents, mut blocked) = (Vec::new(), Vec::new());
        let (mut intended, mut held_back) = (Vec::new(), Vec::new());
        for (place, contact) in &lot.undecided {
            let (mirror, seen) = (&mut self.model[*place], contact.revision);
            match decisions[*place] {
                Some(Decision::Send) => {
                    intents.push(intent(contact));
                    if mirror.intend(lot.token, seen) {
                        intended.push(contact.contact_id);
                        lot.under_way.push((*place, usize::try_from(contact.attempt_count)? + 1));
                    }
                }
                Some(Decision::HoldBack(reason, effect, minutes)) => {
                    let until = minutes.map(|minutes| self.now + TimeDelta::minutes(minutes));
                    let block = Block { reason, effect, detail: "it is so".to_owned(), retry_time: until };
                    blocked.push(Blocked { contact_id: contact.contact_id, revision: contact.revision, block });
                    if mirror.hold_back(seen, reason, effect, until) {
                        held_back.push(contact.contact_id);
                    }
                }
                None => {}
            }
        }
        lot.undecided.retain(|(place, _)| decisions[*place].is_none());
        let answered = claims::intend(self.tx, lot.token, &intents, "a process", self.now).await?;
        prop_assert_eq!(sorted(answered), sorted(intended), "what was intended");
        let answered = claims::block(self.tx, &blocked, self.now).await?;
        prop_assert_eq!(sorted(answered), sorted(held_back), "what was held back");
        Ok(())
    }

    /// As the dispatcher does: what was accepted and is no longer its own to settle is told late.
    async fn settle(&mut self, lot: usize, answers: &[Option<Answer>]) -> Result<(), TestCaseError> {
        let (tx, now, lot) = (self.tx, self.now, &mut self.lots[lot]);
        let answered: Vec<(usize, usize, Answer)> =
            lot.under_way.iter().filter_map(|&(place, number)| Some((place, number, answers[place]?))).collect();
        lot.under_way.retain(|(place, _)| answers[*place].is_none());
        let of = |wanted: fn(&Answer) -> bool| {
            let wanted = answered.iter().filter(move |(_, _, answer)| wanted(answer));
            wanted.map(|(place, _, answer)| setback(self.ids[*place], answer.next(now))).collect::<Vec<_>>()
        };
        let ids = |setbacks: Vec<Setback>| setbacks.iter().map(|one| one.contact_id).collect::<Vec<_>>();
        let accepted = ids(of(|answer| *answer == Answer::Accepted));
        let mut settled = claims::settle_accepted(tx, lot.token, &accepted, now).await?;
        claims::settle_later(tx, lot.token, &of(|answer| matches!(answer, Answer::Later(_))), now).await?;
        settled.extend(claims::settle_never(tx, lot.token, &of(|answer| *answer == Answer::Never), now).await?);
        let lost = of(|answer| matches!(answer, Answer::Lost(_)));
        settled.extend(claims::settle_unknown(tx, lot.token, &lost, now).await?);
        claims::give_back(tx, lot.token, &ids(of(|answer| *answer == Answer::Back)), now).await?;
        let put_off = of(|answer| matches!(answer, Answer::PutOff(_)));
        claims::put_off(tx, lot.token, &put_off, BlockReason::Throttled, now).await?;

        let (mut theirs, mut accepted_late, mut told_late) = (Vec::new(), Vec::new(), Vec::new());
        for (place, number, answer) in answered {
            let (contact_id, mirror) = (self.ids[place], &mut self.model[place]);
            if mirror.settle(lot.token, answer, now) {
                if matches!(answer, Answer::Accepted | Answer::Never | Answer::Lost(_)) {
                    theirs.push(contact_id);
                }
            } else if answer == Answer::Accepted {
                accepted_late.push((contact_id, i32::try_from(number)?));
                told_late.extend(mirror.settle_late(number).then_some(contact_id));
            }
        }
        prop_assert_eq!(sorted(settled), sorted(theirs), "what was theirs to settle");
        let late = claims::settle_late(tx, &accepted_late, now).await?;
        prop_assert_eq!(sorted(late), sorted(told_late), "what was told late");
        Ok(())
    }

    async fn run_out(&mut self, process: usize) -> Result<(), TestCaseError> {
        let process = &mut self.processes[process];
        let run_out = sea_query::Query::update()
            .table("replicas")
            .value("lease_end", Timestamp::UNIX_EPOCH)
            .and_where(sea_query::ExprTrait::eq(sea_query::Expr::col("claim_token"), process.token))
            .to_owned();
        self.tx.execute(&run_out).await?;
        if process.lease == Lease::Held {
            process.lease = Lease::RunOut;
        }
        Ok(())
    }

    async fn give_up(&mut self, process: usize) -> Result<(), TestCaseError> {
        claims::end(self.tx, self.processes[process].token).await?;
        self.processes[process].lease = Lease::Gone;
        Ok(())
    }

    /// As a process does that wakes up: it takes another lease if it finds its own gone.
    async fn renew(&mut self, process: usize) -> Result<(), TestCaseError> {
        let process = &mut self.processes[process];
        let renewed = claims::renew(self.tx, process.token).await?;
        prop_assert_eq!(renewed, process.lease != Lease::Gone);
        if !renewed {
            process.token = ClaimToken::generate();
            claims::register(self.tx, process.token, "a process").await?;
        }
        process.lease = Lease::Held;
        Ok(())
    }

    async fn recover(&mut self) -> Result<(), TestCaseError> {
        for process in self.processes.iter_mut().filter(|process| process.lease == Lease::RunOut) {
            process.lease = Lease::Gone;
        }
        let alive: Vec<ClaimToken> =
            self.processes.iter().filter(|one| one.lease == Lease::Held).map(|one| one.token).collect();
        let is_lost = |one: &&mut Mirror| one.claim.is_some_and(|token| !alive.contains(&token));
        let mut begun = Vec::new();
        for mirror in self.model.iter_mut().filter(is_lost) {
            begun.push(mirror.contact_id);
            mirror.recover();
        }
        let recovered = claims::recover(self.tx, self.now).await?;
        let recovered = recovered.iter().map(|contact| contact.contact_id).collect();
        prop_assert_eq!(sorted(recovered), sorted(begun), "what was recovered");
        Ok(())
    }

    async fn cancel(&mut self, place: usize) -> Result<(), TestCaseError> {
        let (which, block) = (CallOff::Contact(self.ids[place]), calling_off(BlockReason::Canceled));
        let canceled = contacts::cancel(self.tx, which, &block, self.now).await?;
        prop_assert_eq!(canceled, u64::from(self.model[place].call_off(BlockReason::Canceled)));
        Ok(())
    }

    async fn withdraw(&mut self, purpose: Purpose) -> Result<(), TestCaseError> {
        let which = CallOff::Topic(self.customer_id, topic(purpose), None);
        let canceled = contacts::cancel(self.tx, which, &calling_off(BlockReason::OptedOut), self.now).await?;
        let obeys = |one: &&mut Mirror| one.purpose == purpose && purpose != Purpose::Transactional;
        let called_off = self.model.iter_mut().filter(obeys).map(|one| one.call_off(BlockReason::OptedOut));
        prop_assert_eq!(canceled, u64::try_from(called_off.filter(|was| *was).count())?);
        Ok(())
    }

    async fn reschedule(&mut self, place: usize, minutes: i64) -> Result<(), TestCaseError> {
        let due = self.now + TimeDelta::minutes(minutes);
        contacts::reschedule(self.tx, self.ids[place], due, self.now).await?;
        self.model[place].reschedule(due);
        Ok(())
    }

    /// As an operator does, who is refused where there is no doubt.
    async fn resolve(&mut self, place: usize, verdict: Verdict) -> Result<(), TestCaseError> {
        let (mirror, before) = (&mut self.model[place], contacts::find(self.tx, self.ids[place]).await);
        let before = before.map_err(|fault| TestCaseError::fail(format!("{fault:?}")))?;
        prop_assert_eq!(verdict.settles(before.state), mirror.is_settled_by(verdict));
        if mirror.is_settled_by(verdict) {
            contacts::resolve(self.tx, &before, verdict, "an operator says so", self.now).await?;
            mirror.resolve(verdict, self.now);
        }
        Ok(())
    }

    /// One of those lots, counted back from the latest.
    fn lot(&self, back: usize, is_meant: fn(&Lot) -> bool) -> Option<usize> {
        (0..self.lots.len()).rev().filter(|lot| is_meant(&self.lots[*lot])).nth(back)
    }

    /// The record as the model shows it.
    async fn look(&self) -> Result<Vec<Mirror>, TestCaseError> {
        let sql = "SELECT c.contact_id, c.purpose, c.due_time, c.expire_time, c.state, c.block_reason, c.claim_token, \
             c.attempt_count, c.send_time, a.number, a.outcome, a.end_time, c.revision \
             FROM contacts AS c LEFT JOIN attempts AS a ON a.contact_id = c.contact_id ORDER BY c.contact_id, a.number";
        let rows = self.tx.query_all_raw(Statement::from_string(self.tx.get_database_backend(), sql)).await?;
        let (mut seen, mut counts): (Vec<Mirror>, Vec<usize>) = (Vec::new(), Vec::new());
        for row in rows {
            let contact_id: ContactId = row.try_get_by_index(0)?;
            if seen.last().is_none_or(|last| last.contact_id != contact_id) {
                let (state, send_time) = (row.try_get_by_index(4)?, row.try_get_by_index::<Option<Timestamp>>(8)?);
                prop_assert_eq!(state == ContactState::Sent, send_time.is_some(), "what was sent says when");
                counts.push(usize::try_from(row.try_get_by_index::<i32>(7)?)?);
                seen.push(Mirror {
                    contact_id,
                    purpose: row.try_get_by_index(1)?,
                    due: row.try_get_by_index(2)?,
                    expire: row.try_get_by_index(3)?,
                    state,
                    block: row.try_get_by_index(5)?,
                    claim: row.try_get_by_index(6)?,
                    revision: row.try_get_by_index(12)?,
                    attempts: Vec::new(),
                });
            }
            if let (Some(number), Some(last)) = (row.try_get_by_index::<Option<i32>>(9)?, seen.last_mut()) {
                let (outcome, end) = (row.try_get_by_index(10)?, row.try_get_by_index::<Option<Timestamp>>(11)?);
                prop_assert_eq!(usize::try_from(number)?, last.attempts.len() + 1, "attempts are numbered from 1");
                prop_assert_eq!(Option::is_some(&outcome), end.is_some(), "an attempt ends with its outcome");
                last.attempts.push(outcome);
            }
        }
        for (contact, count) in seen.iter().zip(counts) {
            prop_assert_eq!(contact.attempts.len(), count, "attempts are counted");
            let open = contact.attempts.iter().filter(|outcome| outcome.is_none()).count();
            let is_sending = contact.state == ContactState::Sending;
            prop_assert_eq!(open, usize::from(is_sending), "one is open while it is sent");
            prop_assert_eq!(contact.claim.is_some(), is_sending, "it is claimed while it is sent");
        }
        Ok(seen)
    }
}

fn plan(customer_id: CustomerId, purpose: Purpose, now: Timestamp, minutes: i64) -> Contact {
    let due = now + TimeDelta::minutes(minutes);
    let new = NewContact {
        customer_id,
        origin: Origin::AdHoc,
        topic_id: topic(purpose),
        purpose,
        channel: Channel::Email,
        address_id: None,
        template_id: "a-template".parse().unwrap(),
        variant_id: None,
        data: serde_json::Map::new(),
        dedupe_key: None,
        planned: Planned { instant: due, local: None },
        zone: Zone::UTC,
        expire_time: due + TimeDelta::minutes(60),
    };
    new.plan(now)
}

fn queue(lane: Lane) -> Queue {
    Queue { lane, campaign_id: None }
}

fn intent(contact: &Contact) -> Intent {
    Intent {
        contact_id: contact.contact_id,
        revision: contact.revision,
        number: contact.attempt_count + 1,
        address_id: AddressId::generate(),
        template_version: 1,
        consent: None,
    }
}

fn setback(contact_id: ContactId, retry_time: Timestamp) -> Setback {
    Setback { contact_id, code: "451".to_owned(), detail: "so it was said".to_owned(), retry_time }
}

fn calling_off(reason: BlockReason) -> Block {
    Block { reason, effect: Effect::Cancel, detail: "it is not wanted".to_owned(), retry_time: None }
}

fn sorted(mut ids: Vec<ContactId>) -> Vec<ContactId> {
    ids.sort_unstable();
    ids
}
