use chrono::TimeDelta;

use super::super::{Place, Reentry, ReentryMode};
use crate::{
    calendar::{LocalTime, Zone},
    clock::Timestamp,
    contacts::Purpose,
    database::text_enum,
    ids::{CampaignId, CustomerId, EnrollmentId, EventId, RunId, TopicId},
};

text_enum! {
    /// Where an enrollment stands.
    EnrollmentState {
        /// Steps are still to come.
        Active = "active",
        /// All steps are done.
        Completed = "completed",
        /// Ended before its last step.
        Exited = "exited",
        /// An operator ended it before its last step.
        Stopped = "stopped",
    }
}

text_enum! {
    /// Why an enrollment ended before its last step.
    EndCause {
        /// An exit event.
        ExitEvent = "exit_event",
        /// The goal was reached.
        Goal = "goal",
        /// A withdrawal, an objection, silence.
        OptOut = "opt_out",
        /// The customer was deleted.
        CustomerDeleted = "customer_deleted",
        /// It waited for something in vain.
        WaitTimeout = "wait_timeout",
        /// A newer event started it again.
        Restarted = "restarted",
        /// An operator.
        Operator = "operator",
        /// The campaign was archived, or its time is over.
        Archived = "archived",
    }
}

text_enum! {
    /// What an enrollment waits for that is at a step without a contact.
    Waits {
        /// That somebody reads the field that says when the step is due.
        Field = "field",
        /// That the step is due.
        Delay = "delay",
        /// That something happens, or that it is too late for it.
        Event = "event",
    }
}

text_enum! {
    /// What became of a step without a contact.
    StepOutcome {
        /// What it waited for happened.
        Reached = "reached",
        /// It waited in vain.
        TimedOut = "timed_out",
        /// The customer was changed.
        Done = "done",
        /// It was left out.
        Skipped = "skipped",
    }
}

/// A step without a contact that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedStep {
    /// Of which enrollment.
    pub enrollment_id: EnrollmentId,
    /// Which.
    pub step_id: String,
    /// What became of it.
    pub outcome: StepOutcome,
    /// The event that ended it.
    pub event_id: Option<EventId>,
    /// When it ended.
    pub end_time: Timestamp,
}

/// One customer inside a follow-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrollment {
    /// Its id.
    pub enrollment_id: EnrollmentId,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// The version that it follows to its end.
    pub campaign_version: i32,
    /// Who.
    pub customer_id: CustomerId,
    /// The event that started it; none = a date or an audience did.
    pub event_id: Option<EventId>,
    /// What makes it the only one of its kind.
    pub entry_key: String,
    /// What that event was about.
    pub subject: String,
    /// What its messages are about.
    pub topic_id: TopicId,
    /// Of the topic.
    pub purpose: Purpose,
    /// When that event occurred.
    pub trigger_time: Timestamp,
    /// From when on steps count that count from that event: when it occurred, or later where a backfill came too late for them.
    pub anchor_time: Timestamp,
    /// The backfill that it began by.
    pub run_id: Option<RunId>,
    /// Where it stands.
    pub state: EnrollmentState,
    /// Why it ended before its last step.
    pub end_cause: Option<EndCause>,
    /// The step that waits.
    pub next_step_id: Option<String>,
    /// When that step was planned for; where it waits for an event, until when.
    pub next_time: Option<Timestamp>,
    /// The wall-clock time from which that was worked out, for a step without a contact.
    pub next_local: Option<LocalTime>,
    /// What that step waits for; none = its contact.
    pub waits: Option<Waits>,
    /// When the step before ended.
    pub previous_time: Timestamp,
    /// When it began.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
}

impl Enrollment {
    /// Its place in its plan.
    pub fn place(&self, zone: Zone) -> Place<'_> {
        Place {
            campaign_id: &self.campaign_id,
            enrollment_id: self.enrollment_id,
            event_id: self.event_id,
            customer_id: self.customer_id,
            zone,
            trigger_time: self.anchor_time,
            previous_time: self.previous_time,
        }
    }

    /// From when on what happens can concern it.
    pub fn hears_from(&self) -> Timestamp {
        // A date may lie ahead of its first step.
        if self.event_id.is_some() { self.trigger_time } else { self.start_time }
    }

    /// Ends it: nothing more is to come.
    pub fn end(&mut self, state: EnrollmentState, cause: Option<EndCause>, now: Timestamp) {
        (self.state, self.end_cause, self.end_time) = (state, cause, Some(now));
        (self.next_step_id, self.next_time, self.next_local, self.waits) = (None, None, None, None);
    }
}

/// An event that asks to enter a campaign, or a date, or somebody who has begun to match.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// The id of the event; none = it is none.
    pub event_id: Option<EventId>,
    /// What it is about; of a date, that date.
    pub subject: &'a str,
    /// When it occurred.
    pub occur_time: Timestamp,
}

/// What a campaign's rule says to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Enters, and ends these open enrollments.
    Enter {
        /// What the rule makes unique.
        entry_key: String,
        /// The open enrollments that it restarts.
        restarts: Vec<EnrollmentId>,
    },
    /// Does not; why, for people.
    Stay(String),
}

impl Reentry {
    /// Judges an event by the customer's earlier enrollments in the campaign.
    pub fn judge(self, event: Applicant<'_>, earlier: &[&Enrollment]) -> Entry {
        let once_in_a_life = self.mode == ReentryMode::Once
            || self.mode == ReentryMode::OncePerSubject && event.event_id.is_none() && event.subject.is_empty();
        let by_subject = self.mode == ReentryMode::OncePerSubject && !event.subject.is_empty();
        let entry_key = match event.event_id {
            _ if once_in_a_life => "once".to_owned(),
            Some(_) if by_subject => format!("subject:{}", event.subject),
            Some(event_id) => format!("event:{event_id}"),
            // A date comes once, whatever the rule.
            None if !event.subject.is_empty() => format!("date:{}", event.subject),
            None => format!("audience:{}", event.occur_time.timestamp_micros()),
        };
        // Not by the key alone: the earlier ones may have entered under another mode.
        let same = |enrollment: &&&Enrollment| match event.event_id {
            _ if once_in_a_life => true,
            // A backfill comes to events that have entered before.
            Some(event_id) if enrollment.event_id == Some(event_id) => true,
            _ if by_subject => enrollment.subject == event.subject,
            _ => enrollment.entry_key == entry_key,
        };
        if let Some(same) = earlier.iter().find(same) {
            let what = if once_in_a_life {
                "a customer enters once".to_owned()
            } else {
                format!("{:?} entered before", event.subject)
            };
            return Entry::Stay(format!("{what} ({})", same.enrollment_id));
        }
        let mut restarts = Vec::new();
        if self.mode == ReentryMode::Restart {
            if let Some(later) = earlier.iter().find(|enrollment| enrollment.trigger_time > event.occur_time) {
                return Entry::Stay(format!("a later event started it already ({})", later.enrollment_id));
            }
            let open = earlier.iter().filter(|enrollment| enrollment.state == EnrollmentState::Active);
            restarts.extend(open.map(|enrollment| enrollment.enrollment_id));
        }
        let counts = |enrollment: &&Enrollment| {
            enrollment.end_cause != Some(EndCause::Restarted) && !restarts.contains(&enrollment.enrollment_id)
        };
        let cooldown = TimeDelta::days(i64::from(self.cooldown_days));
        let near =
            earlier.iter().copied().filter(counts).find(|one| (event.occur_time - one.trigger_time).abs() < cooldown);
        if let Some(near) = near {
            return Entry::Stay(format!("less than {} days from {}", self.cooldown_days, near.enrollment_id));
        }
        Entry::Enter { entry_key, restarts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::days(days)
    }

    fn earlier(trigger: i64, subject: &str, state: EnrollmentState, end_cause: Option<EndCause>) -> Enrollment {
        let event_id = EventId::generate();
        let entry_key = if subject.is_empty() { format!("event:{event_id}") } else { format!("subject:{subject}") };
        Enrollment {
            enrollment_id: EnrollmentId::generate(),
            campaign_id: "check-in".parse().unwrap(),
            campaign_version: 1,
            customer_id: CustomerId::generate(),
            event_id: Some(event_id),
            entry_key,
            subject: subject.into(),
            topic_id: "after-sales".parse().unwrap(),
            purpose: Purpose::Service,
            trigger_time: day(trigger),
            anchor_time: day(trigger),
            run_id: None,
            state,
            end_cause,
            next_step_id: None,
            next_time: None,
            next_local: None,
            waits: None,
            previous_time: day(trigger),
            start_time: day(trigger),
            end_time: None,
        }
    }

    fn enters(
        mode: ReentryMode,
        cooldown_days: u16,
        when: i64,
        subject: &str,
        earlier: &[Enrollment],
    ) -> Option<usize> {
        let event = Applicant { event_id: Some(EventId::generate()), subject, occur_time: day(when) };
        match (Reentry { mode, cooldown_days }).judge(event, &earlier.iter().collect::<Vec<_>>()) {
            Entry::Enter { restarts, .. } => Some(restarts.len()),
            Entry::Stay(_) => None,
        }
    }

    #[test]
    fn a_subject_enters_once_and_events_without_one_stand_for_themselves() {
        let before =
            [earlier(1, "order-1", EnrollmentState::Completed, None), earlier(1, "", EnrollmentState::Active, None)];
        assert_eq!(enters(ReentryMode::OncePerSubject, 0, 2, "order-1", &before), None);
        assert_eq!(enters(ReentryMode::OncePerSubject, 0, 2, "order-2", &before), Some(0));
        assert_eq!(enters(ReentryMode::OncePerSubject, 0, 2, "", &before), Some(0));
        assert_eq!(enters(ReentryMode::Always, 0, 2, "order-1", &before), Some(0));
    }

    #[test]
    fn a_newer_event_restarts_and_an_older_one_does_not() {
        let before = [
            earlier(1, "", EnrollmentState::Exited, Some(EndCause::Restarted)),
            earlier(10, "", EnrollmentState::Active, None),
        ];
        assert_eq!(enters(ReentryMode::Restart, 0, 11, "", &before), Some(1));
        assert_eq!(enters(ReentryMode::Restart, 0, 10, "", &before), Some(1));
        assert_eq!(enters(ReentryMode::Restart, 0, 9, "", &before), None);
    }

    #[test]
    fn a_cooldown_counts_from_event_to_event_and_a_restarted_enrollment_does_not_count() {
        let done = [earlier(10, "", EnrollmentState::Completed, None)];
        assert_eq!(enters(ReentryMode::Always, 5, 14, "", &done), None);
        assert_eq!(enters(ReentryMode::Always, 5, 15, "", &done), Some(0));
        assert_eq!(enters(ReentryMode::Always, 5, 6, "", &done), None);
        let open = [earlier(10, "", EnrollmentState::Active, None)];
        assert_eq!(enters(ReentryMode::Restart, 5, 11, "", &open), Some(1));
        assert_eq!(enters(ReentryMode::Restart, 5, 11, "", &done), None);
    }

    #[test]
    fn a_date_enters_once_whatever_the_rule_and_an_audience_once_unless_always_is_asked_for() {
        let at = |mode, subject: &str, when, earlier: &[Enrollment]| {
            let event = Applicant { event_id: None, subject, occur_time: day(when) };
            match (Reentry { mode, cooldown_days: 0 }).judge(event, &earlier.iter().collect::<Vec<_>>()) {
                Entry::Enter { entry_key, .. } => Some(entry_key),
                Entry::Stay(_) => None,
            }
        };
        for mode in [ReentryMode::OncePerSubject, ReentryMode::Always, ReentryMode::Restart] {
            let key = at(mode, "2027-03-01", 1, &[]);
            assert_eq!(key.as_deref(), Some("date:2027-03-01"));
            let before = Enrollment {
                entry_key: key.unwrap(),
                event_id: None,
                ..earlier(1, "2027-03-01", EnrollmentState::Completed, None)
            };
            assert_eq!(at(mode, "2027-03-01", 1, std::slice::from_ref(&before)), None);
            assert_eq!(at(mode, "2028-03-01", 367, &[before]).as_deref(), Some("date:2028-03-01"));
        }
        let before = [earlier(1, "", EnrollmentState::Completed, None)];
        assert_eq!(at(ReentryMode::OncePerSubject, "", 2, &before), None);
        assert!(at(ReentryMode::Always, "", 2, &before).is_some_and(|key| key.starts_with("audience:")));
    }
}
