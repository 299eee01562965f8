//! Shares of which a sample is known.

/// 95 of 100 such intervals hold the true share.
const Z: f64 = 1.96;

/// A share with its 95 % interval (Wilson's).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of the sample.
    pub share: f64,
    /// The true one is hardly lower.
    pub low: f64,
    /// The true one is hardly higher.
    pub high: f64,
}

impl Share {
    /// Of a sample in which `some` of `all` are meant; more than all count as all. Of an empty sample nothing is known.
    pub fn of(some: u64, all: u64) -> Self {
        if all == 0 {
            return Self { share: 0.0, low: 0.0, high: 1.0 };
        }
        let (n, share, z2) = (float(all), float(some.min(all)) / float(all), Z * Z);
        let centre = share + z2 / (2.0 * n);
        let spread = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        let bound = |bound: f64| (bound / (1.0 + z2 / n)).clamp(0.0, 1.0);
        Self { share, low: bound(centre - spread), high: bound(centre + spread) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages are far smaller")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compared with tables of the interval.
    #[test]
    fn bounds_are_those_of_the_tables() {
        for (some, all, low, high) in [
            (5, 500, 0.004_28, 0.023_19),
            (10, 100, 0.055_23, 0.174_37),
            (0, 10, 0.0, 0.277_54),
            (10, 10, 0.722_46, 1.0),
        ] {
            let share = Share::of(some, all);
            assert!(
                (share.low - low).abs() < 0.000_05 && (share.high - high).abs() < 0.000_05,
                "{some}/{all} {share:?}"
            );
        }
        assert_eq!(Share::of(0, 0), Share { share: 0.0, low: 0.0, high: 1.0 });
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_share_and_shrinks_with_the_sample(some in 0_u64..1_000, more in 0_u64..1_000) {
            let all = some + more + 1;
            let (small, large) = (Share::of(some, all), Share::of(some * 10, all * 10));
            prop_assert!(0.0 <= small.low && small.low <= small.share && small.share <= small.high && small.high <= 1.0);
            prop_assert!(large.high - large.low <= small.high - small.low);
        }
    }
}
