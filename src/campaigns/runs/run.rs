use crate::{
    calendar::{LocalTime, Zone},
    clock::Timestamp,
    contacts::{BlockReason, Effect, Purpose},
    customers::Residents,
    database::text_enum,
    ids::{CampaignId, CustomerId, RunId},
};

text_enum! {
    /// Where a run stands.
    ///
    /// ```text
    ///           ┌──► SKIPPED
    /// firing ───┼──► QUEUED ──► RUNNING ──nothing remains──► FINISHED
    ///           └───────────────┘  └──called off──► CANCELED
    /// ```
    RunState {
        /// Waits until an earlier run has ended.
        Queued = "queued",
        /// Goes through its audience.
        Running = "running",
        /// Everybody is accounted for.
        Finished = "finished",
        /// Called off.
        Canceled = "canceled",
        /// Was left out.
        Skipped = "skipped",
    }
}

/// One firing of a newsletter, or one backfill of another campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub run_id: RunId,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// The version that it follows to its end.
    pub campaign_version: i32,
    /// What makes it the only one of its kind.
    pub firing: String,
    /// When it was to begin.
    pub nominal_time: Timestamp,
    /// The wall-clock time at which it reaches each customer where they live.
    pub local: Option<LocalTime>,
    /// An operator asked for it.
    pub manual: bool,
    /// It is no firing: it goes through events, see [`super::super::backfills`].
    pub is_backfill: bool,
    /// Of the topic.
    pub purpose: Purpose,
    /// Where it stands.
    pub state: RunState,
    /// Why it was skipped or called off.
    pub note: String,
    /// When it began.
    pub start_time: Option<Timestamp>,
    /// When everybody was accounted for.
    pub end_time: Option<Timestamp>,
}

/// Whom a cursor goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Share {
    /// Everybody.
    All,
    /// Those who live in a zone.
    Zone(Zone),
    /// Those of whom it is not known where they live.
    Elsewhere,
}

/// How far a run has come with some of its audience, in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Of which run.
    pub run_id: RunId,
    /// Through whom.
    pub share: Share,
    /// When they are reached.
    pub due_time: Timestamp,
    /// When it is too late for them.
    pub expire_time: Timestamp,
    /// The last who was reached.
    pub position: Option<CustomerId>,
    /// Counts its changes.
    pub version: i32,
}

/// How many customers a run left out for one reason, without a contact for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exclusion {
    /// Why.
    pub reason: BlockReason,
    /// What follows.
    pub effect: Effect,
    /// How many.
    pub customers: i64,
}

impl Run {
    /// Whether it still has something to do.
    pub fn is_open(&self) -> bool {
        self.end_time.is_none()
    }
}

impl Share {
    /// As it is stored.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "*",
            Self::Zone(zone) => zone.name(),
            Self::Elsewhere => "",
        }
    }

    /// As it was stored.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "*" => Some(Self::All),
            "" => Some(Self::Elsewhere),
            zone => Some(Self::Zone(zone.parse().ok()?)),
        }
    }

    /// Who they are.
    pub fn residents(self) -> Residents {
        match self {
            Self::All => Residents::OfAnywhere,
            Self::Zone(zone) => Residents::Of(Some(zone)),
            Self::Elsewhere => Residents::Of(None),
        }
    }

    /// Of those who live in a zone, as far as that is known.
    pub(super) fn of(zone: Option<Zone>) -> Self {
        zone.map_or(Self::Elsewhere, Self::Zone)
    }
}
