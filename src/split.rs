//! Who is in which share of an experiment: by a hash that is the same for ever and everywhere, and by nothing else.

use sha2::{Digest, Sha256};

use crate::ids::CustomerId;

/// What a draw is for. Each is independent of all others.
#[derive(Debug, Clone, Copy)]
pub enum Draw<'a> {
    /// Who never gets anything from a campaign.
    Campaign(&'a str),
    /// Who never gets anything but what is transactional.
    Everybody,
    /// Who gets which variant of a step.
    Step(&'a str, &'a str),
}

/// Which of some shares a customer is in, whose sizes relate to each other as the weights do; none where all weigh nothing.
pub fn share(draw: Draw<'_>, customer: CustomerId, weights: impl Iterator<Item = u32> + Clone) -> Option<usize> {
    let all: u128 = weights.clone().map(u128::from).sum();
    // The lot is a fraction of all, rounded down: below all, so that some share holds it.
    let lot = (u128::from(lot(draw, customer)) * all) >> 64;
    let mut upper = 0;
    weights.into_iter().position(|weight| {
        upper += u128::from(weight);
        lot < upper
    })
}

/// Whether a customer is held out, where so many of a hundred are.
pub fn is_held_out(draw: Draw<'_>, customer: CustomerId, percent: u32) -> bool {
    percent > 0 && share(draw, customer, [percent.min(100), 100 - percent.min(100)].into_iter()) == Some(0)
}

/// A number that is as good as drawn by lot.
fn lot(draw: Draw<'_>, customer: CustomerId) -> u64 {
    let parts: [&str; 3] = match draw {
        Draw::Campaign(campaign) => ["holdout", campaign, ""],
        Draw::Everybody => ["holdout of everybody", "", ""],
        Draw::Step(campaign, step) => ["variant", campaign, step],
    };
    // No part holds a zero octet, so no two draws hash the same text.
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(uuid::Uuid::from(customer).as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn customers(count: u128) -> impl Iterator<Item = CustomerId> {
        (0..count).map(|number| CustomerId::from_uuid(Uuid::from_u128(number * 7_919)))
    }

    fn counts(draw: Draw<'_>, weights: &[u32]) -> Vec<u32> {
        let mut counts = vec![0; weights.len()];
        for customer in customers(100_000) {
            counts[share(draw, customer, weights.iter().copied()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn a_hundred_thousand_customers_split_by_the_weights_within_half_a_percent() {
        for weights in [&[1, 1][..], &[50, 30, 20], &[9, 1], &[1, 1, 1, 1, 1, 1, 1]] {
            let all: u32 = weights.iter().sum();
            for (count, weight) in counts(Draw::Step("journey", "ask"), weights).into_iter().zip(weights) {
                let wanted = f64::from(100_000 * *weight) / f64::from(all);
                assert!((f64::from(count) - wanted).abs() < 500.0, "{count} of {wanted} in {weights:?}");
            }
        }
    }

    #[test]
    fn a_holdout_has_its_size_and_is_another_one_for_each_campaign() {
        let held = |draw: Draw<'_>, percent| customers(100_000).filter(|one| is_held_out(draw, *one, percent)).count();
        for percent in [0_u32, 1, 10, 50, 100] {
            let count = held(Draw::Campaign("journey"), percent);
            assert!(count.abs_diff(percent as usize * 1_000) < 500, "{count} at {percent}");
        }
        let both = customers(100_000).filter(|one| {
            is_held_out(Draw::Campaign("journey"), *one, 10) && is_held_out(Draw::Campaign("other"), *one, 10)
        });
        let both = both.count();
        assert!(both.abs_diff(1_000) < 200, "{both}");
    }

    #[test]
    fn who_is_where_never_changes() {
        // What was drawn once stands in the records of experiments: another hash would break them all.
        let drawn: Vec<u64> = customers(3).map(|customer| lot(Draw::Step("journey", "ask"), customer)).collect();
        assert_eq!(drawn, DRAWN);
    }

    /// Worked out by another implementation of SHA-256.
    const DRAWN: [u64; 3] = [6_129_489_606_773_012_734, 9_185_388_158_150_986_596, 11_879_925_284_068_987_834];

    proptest! {
        #[test]
        fn whoever_is_held_out_stays_so_when_the_share_grows(number in any::<u128>(), low in 0_u32..=100, high in 0_u32..=100) {
            let customer = CustomerId::from_uuid(Uuid::from_u128(number));
            let held = |percent| is_held_out(Draw::Everybody, customer, percent);
            prop_assert!(low > high || !held(low) || held(high));
        }

        #[test]
        fn every_share_with_a_weight_can_be_drawn_and_no_other(number in any::<u128>(), weights in prop::collection::vec(0_u32..5, 0..6)) {
            let customer = CustomerId::from_uuid(Uuid::from_u128(number));
            match share(Draw::Everybody, customer, weights.iter().copied()) {
                Some(place) => prop_assert!(weights[place] > 0),
                None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
            }
        }
    }
}
