//! Chance that can be repeated: `RAPPORT_SEED=…` plays the same schedule again.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

/// SplitMix64: enough for schedules, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From `RAPPORT_SEED`, or from the time of day; prints which.
    pub fn of(story: &str) -> Self {
        let given = std::env::var("RAPPORT_SEED").ok().map(|text| text.parse().expect("RAPPORT_SEED is a number"));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let seed = given.unwrap_or(u64::from(since.subsec_nanos()) ^ since.as_secs());
        println!("{story}: RAPPORT_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.number(0..length as u64)).expect("an index")
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }
}

impl From<u64> for Dice {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}
