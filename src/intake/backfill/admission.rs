use std::collections::{HashMap, HashSet};

use super::{
    super::{
        enroll::{Started, applicant, begin},
        happenings::is_own_doing,
    },
    customers_of,
};
use crate::{
    campaigns::{
        self, Enrollment, EnrollmentState,
        enrollments::{self, Entry},
    },
    clock::Timestamp,
    customers::{self, Customer},
    database::{Connection, StoreError},
    events::{self, Event},
    filter::{Facts, Filter},
    ids::{CustomerId, EnrollmentId},
};

/// Judges which of some events enter a campaign, by what was read of all of them together: the same rules as for an event that
/// has just been recorded.
pub(super) struct Admission<'a> {
    campaign: Started<'a>,
    now: Timestamp,
    living: HashSet<CustomerId>,
    audience: Filter,
    profiles: HashMap<CustomerId, Customer>,
    facts: Facts,
    earlier: HashMap<CustomerId, Vec<Enrollment>>,
    since: HashMap<CustomerId, Vec<Event>>,
}

/// An event that enters.
pub(super) struct Admitted {
    /// What it begins; over already where an exit came since.
    pub enrollment: Enrollment,
    /// What it ends.
    pub restarts: Vec<EnrollmentId>,
}

impl<'a> Admission<'a> {
    pub async fn load(
        db: &impl Connection,
        campaign: Started<'a>,
        events: &[Event],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let (plan, ids) = (campaign.plan, customers_of(events));
        let audience = campaigns::audience(plan)?;
        let (mut profiles, mut facts) = (HashMap::new(), Facts::default());
        if !audience.is_empty() {
            profiles = customers::profiles(db, &ids).await?;
            facts = Facts::load(db, [&audience], &ids, now).await?;
        }
        let mut admission = Self {
            living: customers::living(db, &ids).await?.into_iter().collect(),
            earlier: HashMap::new(),
            since: HashMap::new(),
            campaign,
            now,
            audience,
            profiles,
            facts,
        };
        admission.remember(enrollments::of_campaign(db, admission.campaign.campaign_id, &ids).await?);
        let first = events.iter().map(|event| event.body.occur_time).min().unwrap_or(now);
        for event in events::happened_since(db, &ids, &plan.exit_types(), first).await? {
            admission.since.entry(event.customer_id).or_default().push(event);
        }
        Ok(admission)
    }

    /// Knows of more that entered before.
    pub fn remember(&mut self, entered: Vec<Enrollment>) {
        for one in entered {
            self.earlier.entry(one.customer_id).or_default().push(one);
        }
    }

    /// Lets an event enter, or not.
    pub fn admit(&mut self, event: &Event) -> Option<Admitted> {
        let (plan, now) = (self.campaign.plan, self.now);
        let acts = plan.active_range.holds(event.body.occur_time) && !is_own_doing(event, self.campaign.campaign_id);
        if !acts || !self.living.contains(&event.customer_id) || !plan.starts_on(event, now) || !self.reaches(event) {
            return None;
        }
        let earlier = self.earlier.entry(event.customer_id).or_default();
        let applicant = applicant(event);
        let Entry::Enter { entry_key, restarts } = plan.reentry.judge(applicant, &earlier.iter().collect::<Vec<_>>())
        else {
            return None;
        };
        let mut enrollment = begin(&self.campaign, event, entry_key, now);
        let since = self.since.get(&event.customer_id).map_or(&[][..], Vec::as_slice);
        let later = since.iter().filter(|one| one.body.occur_time > event.body.occur_time);
        if let Some(cause) = later.into_iter().find_map(|one| plan.ends_on(&event.body.subject, one, now)) {
            enrollment.end(EnrollmentState::Exited, Some(cause), now);
        }
        earlier.push(enrollment.clone());
        Some(Admitted { enrollment, restarts })
    }

    fn reaches(&self, event: &Event) -> bool {
        let customer = self.profiles.get(&event.customer_id);
        self.audience.is_empty()
            || customer.is_some_and(|customer| self.audience.matches(customer, &self.facts, self.now))
    }
}
