use std::{fmt, str::FromStr};

use super::Purpose;
use crate::{database::UnknownText, ids::CampaignId};

/// Which of the three streams a contact waits in. Each has capacity that the others cannot take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// What the customer waits for.
    Transactional,
    /// Steps of enrollments, and single service messages.
    FollowUp,
    /// Messages to many: newsletters, and marketing and surveys outside an enrollment.
    Bulk,
}

impl Lane {
    /// All, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Transactional, Self::FollowUp, Self::Bulk];

    /// The lane of a contact.
    pub fn of(purpose: Purpose, is_step: bool) -> Self {
        match purpose {
            Purpose::Transactional => Self::Transactional,
            Purpose::Service => Self::FollowUp,
            Purpose::Marketing | Purpose::Survey if is_step => Self::FollowUp,
            Purpose::Marketing | Purpose::Survey => Self::Bulk,
        }
    }

    /// How it is called in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::FollowUp => "follow_up",
            Self::Bulk => "bulk",
        }
    }

    /// Its place in [`Self::ALL`], from 0.
    pub fn place(self) -> usize {
        match self {
            Self::Transactional => 0,
            Self::FollowUp => 1,
            Self::Bulk => 2,
        }
    }
}

/// What waits in one line: the contacts of one campaign in one lane, or those of a lane that have none. Stored as the lane's
/// number, a bar and the campaign: "2/check-in", "1/".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// Its lane.
    pub lane: Lane,
    /// Its campaign; none = ad hoc.
    pub campaign_id: Option<CampaignId>,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.lane.place() + 1, self.campaign_id.as_ref().map_or("", |id| id.as_str()))
    }
}

impl FromStr for Queue {
    type Err = UnknownText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = UnknownText("queue");
        let (number, campaign) = text.split_once('/').ok_or(unknown)?;
        let lane = match number {
            "1" => Lane::Transactional,
            "2" => Lane::FollowUp,
            "3" => Lane::Bulk,
            _ => return Err(unknown),
        };
        let campaign_id = match campaign {
            "" => None,
            id => Some(id.parse().map_err(|_| unknown)?),
        };
        Ok(Self { lane, campaign_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_reads_back_as_it_was_written() {
        for text in ["1/", "2/check-in", "3/"] {
            assert_eq!(text.parse::<Queue>().unwrap().to_string(), text);
        }
        for wrong in ["", "1", "4/", "2/No Slug"] {
            assert!(wrong.parse::<Queue>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_a_message_to_many_is_bulk() {
        assert_eq!(Lane::of(Purpose::Transactional, true), Lane::Transactional);
        assert_eq!(Lane::of(Purpose::Service, false), Lane::FollowUp);
        assert_eq!(Lane::of(Purpose::Marketing, true), Lane::FollowUp);
        assert_eq!(Lane::of(Purpose::Survey, false), Lane::Bulk);
    }
}
