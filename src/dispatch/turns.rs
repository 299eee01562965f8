use std::{collections::HashMap, hash::Hash};

/// Lets several take turns, each by its weight: who has had the least for its weight comes next (weighted fair queueing).
/// Who comes late starts level with the others and cannot catch up on turns that it never waited for.
#[derive(Debug)]
pub struct Turns<K> {
    had: HashMap<K, f64>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { had: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Whose turn it is among those who want one; the first of them where it is a tie. The others are forgotten.
    pub fn next(&mut self, wanting: &[K]) -> Option<K> {
        self.had.retain(|one, _| wanting.contains(one));
        let least = self.had.values().copied().reduce(f64::min).unwrap_or(0.0);
        for one in wanting {
            self.had.entry(one.clone()).or_insert(least);
        }
        let had = |one: &K| self.had.get(one).copied().unwrap_or(least);
        wanting.iter().min_by(|a, b| had(a).total_cmp(&had(b))).cloned()
    }

    /// Notes that somebody had `amount`.
    pub fn had(&mut self, one: &K, amount: usize, weight: u32) {
        if let Some(had) = self.had.get_mut(one) {
            #[expect(clippy::cast_precision_loss, reason = "amounts are batches, far below 2^52")]
            let amount = amount as f64;
            *had += amount / f64::from(weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_and_who_comes_late_has_no_more() {
        let mut turns = Turns::default();
        let mut count = HashMap::new();
        for round in 0..2_600 {
            let wanting: &[(&str, u32)] = if round < 1_300 {
                &[("a", 16), ("b", 4), ("c", 1)]
            } else {
                &[("a", 16), ("b", 4), ("c", 1), ("d", 4)]
            };
            let names: Vec<_> = wanting.iter().map(|(name, _)| *name).collect();
            let next = turns.next(&names).unwrap();
            let weight = wanting.iter().find(|(name, _)| *name == next).unwrap().1;
            turns.had(&next, 1, weight);
            *count.entry(next).or_insert(0) += 1;
        }
        assert!((1_740..=1_860).contains(&count["a"]), "{count:?}");
        assert!((440..=470).contains(&count["b"]), "{count:?}");
        assert!((110..=120).contains(&count["c"]), "{count:?}");
        assert!((200..=215).contains(&count["d"]), "{count:?}");
        assert_eq!(turns.next(&[]), None);
    }
}
