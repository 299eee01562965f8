use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, contacts::HandOver, database::text_enum, delivery::Channel, ids::TopicId};

text_enum! {
    /// What happens to a message for which a cap has no room.
    OnHit {
        /// It waits for room.
        Defer = "defer",
        /// It is not sent.
        Skip = "skip",
    }
}

/// How many messages a customer gets at most in any stretch of time of a length. Transactional ones are neither counted nor
/// held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    /// On which channel; none = on all together.
    pub channel: Option<Channel>,
    /// About which topic; none = about all together.
    pub topic_id: Option<TopicId>,
    /// How many.
    pub max_contacts: u16,
    /// In how many hours: a sliding window, not a calendar day.
    pub window_hours: u16,
    /// What happens to one more; none = the message's kind decides.
    pub on_hit: Option<OnHit>,
}

impl FrequencyCap {
    /// Whether it holds and counts messages about a topic on a channel.
    pub fn concerns(&self, topic_id: &TopicId, channel: Channel) -> bool {
        self.channel.is_none_or(|own| own == channel) && self.topic_id.as_ref().is_none_or(|own| own == topic_id)
    }

    /// How far back it counts.
    pub fn window(&self) -> TimeDelta {
        TimeDelta::hours(self.window_hours.into())
    }

    /// When there is room for one more message beside those that the customer got; none where there is room at `now`.
    pub fn room_after(&self, handed_over: &[HandOver], now: Timestamp) -> Option<Timestamp> {
        let counted = handed_over.iter().filter(|one| self.concerns(&one.topic_id, one.channel));
        let mut leave: Vec<Timestamp> = counted.map(|one| one.time + self.window()).filter(|end| *end > now).collect();
        leave.sort_unstable();
        leave.iter().rev().nth(usize::from(self.max_contacts).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn got(topic: &str, hours: i64) -> HandOver {
        HandOver { topic_id: topic.parse().unwrap(), channel: Channel::Email, time: at(hours) }
    }

    fn cap(topic: Option<&str>, max_contacts: u16, window_hours: u16) -> FrequencyCap {
        let topic_id = topic.map(|topic| topic.parse().unwrap());
        FrequencyCap { channel: None, topic_id, max_contacts, window_hours, on_hit: None }
    }

    #[test]
    fn there_is_room_as_soon_as_enough_messages_have_left_the_window() {
        let got = [got("offers", 30), got("orders", 10), got("offers", 20)];
        for (cap, now, room) in [
            (cap(None, 3, 24), 33, Some(34)),
            (cap(None, 3, 24), 34, None),
            (cap(None, 2, 24), 33, Some(44)),
            (cap(None, 1, 24), 33, Some(54)),
            (cap(None, 4, 24), 33, None),
            (cap(Some("orders"), 1, 24), 33, Some(34)),
            (cap(Some("offers"), 2, 24), 33, Some(44)),
            (cap(Some("surveys"), 1, 24), 33, None),
        ] {
            assert_eq!(cap.room_after(&got, at(now)), room.map(at), "{cap:?} at {now}");
        }
    }
}
