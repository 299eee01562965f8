//! The oracle: what was planned, what the service says became of it, and what the sink accepted must tell one story.

use std::{collections::HashMap, fmt};

use rapport::rpc::proto::{Contact, Purpose, contact::State};

use super::{
    load::{Plan, Planned},
    sink::Entry,
};

/// How many intents one process may have open at once.
pub const OPEN_INTENTS: u64 = 128;

/// What may be doubled or in doubt: intents that were open when a process was killed, or lost its answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Doubts {
    /// How many contacts may be left in doubt.
    pub unknown: u64,
    /// How many transactional messages may have been accepted once more.
    pub doubled: u64,
}

/// One contact from every side.
struct Case<'a> {
    id: &'a str,
    planned: &'a Planned,
    contact: Option<&'a Contact>,
    accepted: &'a [&'a Entry],
}

impl Case<'_> {
    fn state(&self) -> State {
        self.contact.map_or(State::Unspecified, Contact::state)
    }

    fn is_lost(&self) -> bool {
        match self.state() {
            State::Sent | State::UnknownOutcome => false,
            State::Suppressed | State::Failed | State::Expired | State::Canceled => {
                self.contact.is_none_or(|contact| contact.block.is_none() && self.state() != State::Failed)
            }
            State::Unspecified | State::Scheduled | State::Sending => true,
        }
    }

    fn describe(&self, fault: &str) -> String {
        let attempts = self.contact.map_or(0, |contact| contact.attempt_count);
        let (state, purpose, times) = (self.state(), self.planned.purpose, self.accepted.len());
        format!("{fault}: {} ({purpose:?}, {state:?}, {attempts} attempts, accepted {times} times)", self.id)
    }
}

/// What was found; shows itself as a table.
#[derive(Debug, Default)]
pub struct Report {
    rows: HashMap<(i32, i32), u64>,
    /// Accepted more than once, of transactional purpose: how often too often.
    pub doubled: u64,
    /// In doubt.
    pub unknown: u64,
    /// In doubt, and accepted.
    pub unknown_accepted: u64,
    /// What must never be, in words.
    pub violations: Vec<String>,
}

/// Compares the three sides.
pub fn reconcile(plan: &Plan, contacts: &[Contact], ledger: &[Entry], doubts: Doubts) -> Report {
    let by_id: HashMap<&str, &Contact> =
        contacts.iter().map(|contact| (contact.contact_id.as_str(), contact)).collect();
    let mut accepted: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in ledger {
        accepted.entry(&entry.message_id).or_default().push(entry);
    }
    let mut report = Report::default();
    for (id, planned) in plan {
        let contact = by_id.get(id.as_str()).copied();
        let accepted = contact.and_then(|contact| accepted.remove(message_id(contact))).unwrap_or_default();
        report.take(&Case { id, planned, contact, accepted: &accepted });
    }
    let strangers = accepted.into_iter().map(|(id, entries)| format!("nobody planned: {id} ({} times)", entries.len()));
    report.violations.extend(strangers);
    if report.unknown > doubts.unknown {
        report.violations.push(format!("{} in doubt, at most {} may be", report.unknown, doubts.unknown));
    }
    if report.doubled > doubts.doubled {
        report.violations.push(format!("{} transactional doubles, at most {} may be", report.doubled, doubts.doubled));
    }
    report
}

/// As the ledger has it, without the angle brackets.
fn message_id(contact: &Contact) -> &str {
    contact.message_id.trim_matches(['<', '>'])
}

impl Report {
    fn take(&mut self, case: &Case<'_>) {
        *self.rows.entry((case.planned.purpose.into(), case.state().into())).or_default() += 1;
        let state = case.state();
        let times = case.accepted.len();
        let mut violate = |fault: &str| self.violations.push(case.describe(fault));
        if case.is_lost() {
            violate("lost");
        }
        if state == State::Sent && times == 0 {
            violate("said to be sent, but nobody got it");
        }
        if times > 0 && !matches!(state, State::Sent | State::UnknownOutcome | State::Unspecified) {
            violate("accepted, but said not to be");
        }
        if times > 1 && case.planned.purpose != Purpose::Transactional {
            violate("doubled");
        }
        if case.contact.is_some_and(|contact| usize::try_from(contact.attempt_count).is_ok_and(|count| count < times)) {
            violate("accepted more often than attempted");
        }
        if case.accepted.iter().any(|entry| entry.recipient != case.planned.address) {
            violate("accepted for somebody else");
        }
        if case.planned.purpose == Purpose::Transactional {
            self.doubled += times.saturating_sub(1) as u64;
        }
        if state == State::UnknownOutcome {
            self.unknown += 1;
            self.unknown_accepted += u64::from(times > 0);
        }
    }

    /// Prints the table; fails with the first of what must not be.
    pub fn check(&self, story: &str) {
        println!("{story}\n{self}");
        let shown = self.violations.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.violations.is_empty(), "{} violations:\n{shown}", self.violations.len());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort();
        for ((purpose, state), count) in rows {
            let purpose = Purpose::try_from(*purpose).unwrap_or_default().as_str_name().trim_start_matches("PURPOSE_");
            let state = match State::try_from(*state) {
                Ok(State::Unspecified) | Err(_) => "MISSING",
                Ok(state) => state.as_str_name().trim_start_matches("STATE_"),
            };
            writeln!(f, "  {purpose:<14} {state:<16} {count:>8}")?;
        }
        writeln!(f, "  transactional, once more        {:>8}", self.doubled)?;
        writeln!(f, "  in doubt, and accepted          {:>8}", self.unknown_accepted)?;
        write!(f, "  what must not be                {:>8}", self.violations.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn entry(number: u32) -> Entry {
        let now = SystemTime::now();
        Entry {
            message_id: format!("m{number}"),
            recipient: "a@b.test".to_owned(),
            connection: 1,
            start: now,
            end: now,
        }
    }

    /// Three contacts, one of each purpose, in these states.
    fn three(states: [State; 3]) -> (Plan, Vec<Contact>) {
        let purposes = [Purpose::Transactional, Purpose::Service, Purpose::Marketing];
        let planned = |purpose| Planned { purpose, customer: "c".to_owned(), address: "a@b.test".to_owned() };
        let plan = (0..).zip(purposes).map(|(number, purpose)| (format!("c{number}"), planned(purpose))).collect();
        let contact = |(number, state): (u32, State)| Contact {
            contact_id: format!("c{number}"),
            message_id: format!("<m{number}>"),
            state: state.into(),
            attempt_count: 9,
            ..Contact::default()
        };
        (plan, (0..).zip(states).map(contact).collect())
    }

    fn faults(states: [State; 3], accepted: &[u32], doubts: Doubts) -> Vec<String> {
        let (plan, contacts) = three(states);
        let ledger: Vec<Entry> = accepted.iter().copied().map(entry).collect();
        let words = |text: String| text.split(':').next().unwrap_or_default().to_owned();
        reconcile(&plan, &contacts, &ledger, doubts).violations.into_iter().map(words).collect()
    }

    #[test]
    fn one_story_from_three_sides_is_believed() {
        let unknown = Doubts { unknown: 1, doubled: 1 };
        assert!(faults([State::Sent; 3], &[0, 1, 2], Doubts::default()).is_empty());
        assert!(faults([State::Sent, State::UnknownOutcome, State::Sent], &[0, 2], unknown).is_empty());
        assert!(faults([State::Sent, State::UnknownOutcome, State::Sent], &[0, 1, 2], unknown).is_empty());
        assert!(faults([State::Sent; 3], &[0, 0, 1, 2], unknown).is_empty());
    }

    #[test]
    fn what_is_lost_doubled_or_made_up_is_seen() {
        let none = Doubts::default();
        assert_eq!(faults([State::Sent; 3], &[0, 2], none), ["said to be sent, but nobody got it"]);
        assert_eq!(faults([State::Sent; 3], &[0, 1, 1, 2], none), ["doubled"]);
        assert_eq!(faults([State::Sent; 3], &[0, 1, 2, 2], none), ["doubled"]);
        assert_eq!(faults([State::Sent; 3], &[0, 0, 1, 2], none), ["1 transactional doubles, at most 0 may be"]);
        assert_eq!(faults([State::Sent; 3], &[0, 1, 2, 7], none), ["nobody planned"]);
        assert_eq!(faults([State::Sent, State::Sent, State::Scheduled], &[0, 1], none), ["lost"]);
        assert_eq!(faults([State::Sent, State::Sending, State::Sent], &[0, 2], none), ["lost"]);
        assert_eq!(
            faults([State::Sent, State::Failed, State::Sent], &[0, 1, 2], none),
            ["accepted, but said not to be"]
        );
        assert_eq!(
            faults([State::Sent, State::Sent, State::UnknownOutcome], &[0, 1], none),
            ["1 in doubt, at most 0 may be"]
        );
    }

    #[test]
    fn a_contact_that_the_service_has_forgotten_is_lost() {
        let (plan, mut contacts) = three([State::Sent; 3]);
        contacts.pop();
        let report = reconcile(&plan, &contacts, &[entry(0), entry(1)], Doubts::default());
        assert!(report.violations.iter().any(|fault| fault.starts_with("lost: c2")), "{:?}", report.violations);
    }
}
