use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use crate::ids::ContactId;

/// What this process knows to have in its hands. The record may say that it holds more: intents of which the answer was lost on
/// the way from the database, a lot that broke off. What nobody has in hand is found by comparing the two.
#[derive(Debug, Clone, Default)]
pub struct Hands(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// In the hands of how many lots: one that is due again may be in another before the first lot has ended.
    held: HashMap<ContactId, usize>,
    /// On their way to the transport, and their outcome is not written yet.
    begun: HashSet<ContactId>,
}

/// Contacts in the hands of a lot; dropping it lets them go.
#[derive(Debug)]
pub struct Grip {
    hands: Hands,
    contacts: Vec<ContactId>,
}

impl Hands {
    /// Takes contacts in hand.
    pub fn take(&self, contacts: Vec<ContactId>) -> Grip {
        let mut state = self.lock();
        for contact in &contacts {
            *state.held.entry(*contact).or_default() += 1;
        }
        drop(state);
        Grip { hands: self.clone(), contacts }
    }

    /// The hand-over of a contact begins.
    pub fn begin(&self, contact: ContactId) {
        self.lock().begun.insert(contact);
    }

    /// The outcomes of contacts are written.
    pub fn settle(&self, contacts: impl Iterator<Item = ContactId>) {
        let mut state = self.lock();
        for contact in contacts {
            state.begun.remove(&contact);
        }
    }

    /// Whether a lot has it.
    pub fn hold(&self, contact: ContactId) -> bool {
        self.lock().held.contains_key(&contact)
    }

    /// Whether its hand-over has begun and nobody knows how it ended.
    pub fn have_begun(&self, contact: ContactId) -> bool {
        self.lock().begun.contains(&contact)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        let mut state = self.hands.lock();
        for contact in &self.contacts {
            if let Entry::Occupied(mut held) = state.held.entry(*contact) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
    }
}
