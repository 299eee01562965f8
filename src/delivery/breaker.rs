use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many letters in a row come back before the transport is left alone.
const ENOUGH: u32 = 3;
/// How long it is left alone at first; each time that it fails again twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long it is left alone at most.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Leaves a transport alone that takes no letters at all, so that no contact suffers for it: while it is open nothing is handed
/// over, then a single letter tries whether the transport is well again.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    returned: u32,
    rest: Duration,
    open_until: Option<Instant>,
    detail: String,
}

impl Breaker {
    /// How much longer the transport is left alone; none = letters go.
    pub fn rest(&self) -> Option<Duration> {
        let until = self.state().open_until?;
        until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero())
    }

    /// Whether the next letter is a trial: the transport has failed, and nothing has been taken since.
    pub fn is_on_trial(&self) -> bool {
        self.state().returned >= ENOUGH
    }

    /// Why nothing is handed over.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        (state.returned >= ENOUGH).then(|| format!("the mail server takes no letters: {}", state.detail))
    }

    /// The transport took a letter, or refused this one.
    pub fn is_well(&self) {
        let mut state = self.state();
        if state.returned >= ENOUGH {
            tracing::warn!("the transport is well again");
        }
        *state = State::default();
    }

    /// A letter came back: the transport has not looked at it.
    pub fn came_back(&self, detail: &str) {
        let mut state = self.state();
        state.returned = state.returned.saturating_add(1);
        detail.clone_into(&mut state.detail);
        let now = Instant::now();
        let is_open = state.open_until.is_some_and(|until| until > now);
        if state.returned >= ENOUGH && !is_open {
            state.rest = (state.rest * 2).clamp(FIRST_REST, LONGEST_REST);
            state.open_until = Some(now + state.rest);
            tracing::warn!(detail, seconds = state.rest.as_secs(), "the transport takes no letters and is left alone");
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_when_letters_keep_coming_back_and_closes_when_one_is_taken() {
        let breaker = Breaker::default();
        breaker.came_back("refused");
        breaker.came_back("refused");
        assert!(breaker.rest().is_none() && breaker.trouble().is_none());
        breaker.came_back("refused");
        assert!(breaker.rest().is_some() && breaker.is_on_trial());
        assert!(breaker.trouble().unwrap().contains("refused"));
        breaker.is_well();
        assert!(breaker.rest().is_none() && !breaker.is_on_trial());
    }
}
