use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// A hand-over that takes longer makes its domain a slow one.
const SLOW: Duration = Duration::from_secs(2);
/// How many hand-overs to a slow domain go on at once.
const AT_ONCE_WHEN_SLOW: usize = 2;
/// How long what a domain did before tells something about it.
const MEMORY: Duration = Duration::from_secs(60);
/// The longest wait for a slow domain's turn.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// How often a letter that waits for its domain looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Keeps receiving domains that answer slowly from holding up the others: a domain that nothing is known about has half of the
/// places, one that was quick all of them, one that is slow two; what does not fit waits for later, out of everybody's way.
#[derive(Debug, Clone)]
pub struct Domains {
    half: usize,
    state: Arc<Mutex<HashMap<String, Domain>>>,
    visits: Arc<AtomicU64>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Domain {
    /// When each hand-over that has a place began; none = not yet.
    going_on: HashMap<u64, Option<Instant>>,
    /// How long the last one took, and when it ended.
    last: Option<(Duration, Instant)>,
    /// When the next letter that was put off has its turn.
    next_turn: Option<Instant>,
}

/// Whether a letter may go now.
#[derive(Debug)]
pub enum Admission {
    /// Now, and the place is free again when this is dropped.
    Go(Visit),
    /// After about this long.
    Later(Duration),
}

/// A hand-over to a domain.
#[derive(Debug)]
pub struct Visit {
    domains: Domains,
    name: String,
    number: u64,
    began: Option<Instant>,
}

impl Domains {
    /// For a transport that takes `width` letters at once.
    pub fn new(width: usize) -> Self {
        Self { half: (width / 2).max(1), state: Arc::default(), visits: Arc::default(), changed: Arc::default() }
    }

    /// Waits for a place at a domain that is not slow; a letter to one that is has its turn later.
    pub async fn visit(&self, name: &str) -> Admission {
        loop {
            let free = self.changed.notified();
            match self.try_visit(name) {
                Some(admission) => return admission,
                None => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, free).await;
                }
            }
        }
    }

    /// How long a letter that is not yet on its way should wait; none = it can go.
    pub fn wait(&self, name: &str) -> Option<Duration> {
        let mut state = self.lock();
        let domain = state.get_mut(name)?;
        let now = Instant::now();
        (domain.is_slow(now) && domain.going_on.len() >= AT_ONCE_WHEN_SLOW).then(|| domain.put_off(now))
    }

    fn try_visit(&self, name: &str) -> Option<Admission> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.len() > 10_000 {
            state.retain(|_, domain| domain.is_remembered(now));
        }
        let domain = state.entry(name.to_owned()).or_default();
        let slow = domain.is_slow(now);
        if slow && domain.going_on.len() >= AT_ONCE_WHEN_SLOW {
            return Some(Admission::Later(domain.put_off(now)));
        }
        if !slow && !domain.was_quick(now) && domain.going_on.len() >= self.half {
            return None;
        }
        let number = self.visits.fetch_add(1, Ordering::Relaxed);
        domain.going_on.insert(number, None);
        Some(Admission::Go(Visit { domains: self.clone(), name: name.to_owned(), number, began: None }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Domain>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Domain {
    fn is_slow(&self, now: Instant) -> bool {
        let oldest = self.going_on.values().flatten().min().is_some_and(|began| now.duration_since(*began) > SLOW);
        oldest || self.last.is_some_and(|(took, end)| took > SLOW && now.duration_since(end) < MEMORY)
    }

    fn was_quick(&self, now: Instant) -> bool {
        self.last.is_some_and(|(took, end)| took <= SLOW / 2 && now.duration_since(end) < MEMORY)
    }

    fn is_remembered(&self, now: Instant) -> bool {
        !self.going_on.is_empty() || self.last.is_some_and(|(_, end)| now.duration_since(end) < MEMORY)
    }

    /// The next free turn of a slow domain, by how long it takes.
    fn put_off(&mut self, now: Instant) -> Duration {
        let takes = self.last.map_or(SLOW, |(took, _)| took.max(SLOW));
        let next = self.next_turn.filter(|next| *next > now).unwrap_or(now) + takes / 2;
        self.next_turn = Some(next.min(now + LONGEST_WAIT));
        next.duration_since(now).min(LONGEST_WAIT)
    }
}

impl Visit {
    /// The hand-over begins.
    pub fn begin(&mut self) {
        self.began_at(Instant::now());
    }

    fn began_at(&mut self, moment: Instant) {
        self.began = Some(moment);
        if let Some(domain) = self.domains.lock().get_mut(&self.name) {
            domain.going_on.insert(self.number, Some(moment));
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(domain) = self.domains.lock().get_mut(&self.name) {
            domain.going_on.remove(&self.number);
            if let Some(began) = self.began {
                let now = Instant::now();
                domain.last = Some((now.duration_since(began), now));
            }
        }
        self.domains.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn go(domains: &Domains, name: &str) -> Option<Visit> {
        match domains.visit(name).now_or_never() {
            Some(Admission::Go(visit)) => Some(visit),
            _ => None,
        }
    }

    #[tokio::test]
    async fn an_unknown_domain_has_half_of_the_places_and_a_quick_one_all() {
        let domains = Domains::new(8);
        let mut visits: Vec<_> = (0..4).map(|_| go(&domains, "a.example").unwrap()).collect();
        assert!(go(&domains, "a.example").is_none());
        visits.iter_mut().for_each(Visit::begin);
        assert!(go(&domains, "b.example").is_some());
        drop(visits);
        let visits: Vec<_> = (0..8).map(|_| go(&domains, "a.example").unwrap()).collect();
        assert_eq!(visits.len(), 8);
    }

    #[tokio::test]
    async fn a_slow_domain_has_two_places_and_its_letters_turns_that_grow_later() {
        let domains = Domains::new(8);
        let mut visits: Vec<_> = (0..2).map(|_| go(&domains, "a.example").unwrap()).collect();
        assert!(domains.wait("a.example").is_none());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        visits.iter_mut().for_each(|visit| visit.began_at(long_ago));
        let (first, second) = (domains.wait("a.example").unwrap(), domains.wait("a.example").unwrap());
        assert!(second > first, "{first:?} {second:?}");
        assert!(matches!(domains.visit("a.example").await, Admission::Later(_)));
        drop(visits);
        let again: Vec<_> = (0..2).map(|_| go(&domains, "a.example").unwrap()).collect();
        assert!(go(&domains, "a.example").is_none(), "it is slow still: {again:?}");
    }
}
