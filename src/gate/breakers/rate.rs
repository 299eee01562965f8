use crate::{contacts::Returned, share::Share};

/// Fewer messages prove nothing.
const LEAST: u64 = 500;
/// From this share on of messages that were marked as spam a mailbox provider blocks a sender.
const MOST_COMPLAINTS: f64 = 0.003;
/// From this share on of messages to addresses that do not exist it takes the sender for one who bought them.
const MOST_BOUNCES: f64 = 0.05;
/// How many messages can be too few for what came back: with more of them no rate is too high. None where nothing is.
pub fn most_accepted(returned: Returned) -> Option<u64> {
    let most = [(returned.complaints, MOST_COMPLAINTS), (returned.hard_bounces, MOST_BOUNCES)];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number of messages")]
    let most = most.map(|(bad, share)| (float(bad) / share) as u64).into_iter().max()?;
    (most >= LEAST).then_some(most)
}

/// What is wrong with what came back for so many messages, in a sentence.
pub fn judge(returned: Returned, messages: u64) -> Option<String> {
    let rates =
        [(returned.complaints, MOST_COMPLAINTS, "complaints"), (returned.hard_bounces, MOST_BOUNCES, "hard bounces")];
    let exceeds = |&(bad, most, _): &(u64, f64, &str)| messages >= LEAST && Share::of(bad, messages).low >= most;
    let (bad, most, what) = rates.into_iter().find(exceeds)?;
    Some(format!("{bad} {what} about {messages} messages in seven days: surely {} % or more", most * 100.0))
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages are far smaller")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(complaints: u64, messages: u64) -> bool {
        judge(Returned { complaints, hard_bounces: 0 }, messages).is_some()
    }

    fn bounces(hard_bounces: u64, messages: u64) -> bool {
        judge(Returned { complaints: 0, hard_bounces }, messages).is_some()
    }

    /// 4 of 500 has 0.31 % as its lower bound, 3 of 500 has 0.20 %.
    #[test]
    fn only_a_rate_that_is_surely_too_high_counts_and_only_of_many_messages() {
        assert!(bounces(600, 500) && !bounces(600, 499));
        assert!(!complaints(1, 50) && !complaints(40, 499));
        assert!(!complaints(3, 500) && complaints(4, 500));
        assert!(!complaints(30, 9_000) && complaints(40, 9_000));
        assert!(!bounces(30, 500) && bounces(40, 500));
        assert!(!complaints(0, 1_000_000) && !bounces(0, 500));
    }

    #[test]
    fn nobody_counts_more_messages_than_it_takes_to_know() {
        let most = |complaints, hard_bounces| most_accepted(Returned { complaints, hard_bounces });
        assert_eq!(most(1, 24), None);
        assert_eq!(most(2, 0), Some(666));
        assert_eq!(most(0, 25), Some(500));
        for bad in [4, 40, 400] {
            let most = most(bad, 0).unwrap();
            assert!(!complaints(bad, most + 1), "{bad} of {most}");
        }
    }
}
