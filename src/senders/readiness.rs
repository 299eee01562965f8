use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use super::{
    Sender, Senders,
    check::{self, Check, Finding},
};
use crate::{clock::Timestamp, contacts::Purpose, ids::SenderId, rpc::Fault};

/// How often a sender that is ready is looked at again.
const HOUR: TimeDelta = TimeDelta::hours(1);
/// How often one that is not: whoever corrects a record waits for it.
const SOON: TimeDelta = TimeDelta::minutes(5);

/// What the last check of a sender came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All of them.
    pub checks: Vec<Check>,
    /// When it was made.
    pub time: Timestamp,
}

/// Why a sender sends no marketing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// In one sentence.
    pub why: String,
    /// When it is looked at again.
    pub until: Timestamp,
}

/// Which senders of marketing and surveys are not ready, at one moment; by default none.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    marketing: Option<NotReady>,
    survey: Option<NotReady>,
}

/// What was found about each sender.
#[derive(Debug, Default)]
pub(super) struct Findings(Mutex<HashMap<SenderId, Report>>);

impl Report {
    /// Whether the sender may send marketing.
    pub fn is_ready(&self) -> bool {
        self.missing().next().is_none()
    }

    /// What is needed and not there.
    fn missing(&self) -> impl Iterator<Item = &str> {
        let missing = self.checks.iter().filter(|check| check.needed && check.finding != Finding::Fine);
        missing.map(|check| check.rule.as_str())
    }

    fn end(&self) -> Timestamp {
        self.time + if self.is_ready() { HOUR } else { SOON }
    }

    /// What could not be found out now is as it was found before: DNS that fails for a while stops no campaign.
    fn or_earlier(mut self, earlier: Option<&Self>) -> Self {
        let before = |rule: &str| earlier?.checks.iter().find(|check| check.rule == rule);
        for check in self.checks.iter_mut().filter(|check| matches!(check.finding, Finding::Unknown(_))) {
            if let Some(earlier) = before(&check.rule).filter(|earlier| earlier.finding == Finding::Fine) {
                check.finding = earlier.finding.clone();
            }
        }
        self
    }
}

impl Readiness {
    /// Why nothing for a purpose goes out; none = it does.
    pub fn trouble(&self, purpose: Purpose) -> Option<&NotReady> {
        match purpose {
            Purpose::Marketing => self.marketing.as_ref(),
            Purpose::Survey => self.survey.as_ref(),
            Purpose::Transactional | Purpose::Service => None,
        }
    }
}

impl Senders {
    /// As far as is known: nobody is asked.
    pub fn readiness(&self) -> Readiness {
        if self.is_test {
            return Readiness::default();
        }
        Readiness { marketing: self.trouble(Purpose::Marketing), survey: self.trouble(Purpose::Survey) }
    }

    fn trouble(&self, purpose: Purpose) -> Option<NotReady> {
        let sender = self.of(purpose);
        let known = self.findings.lock();
        let Some(report) = known.get(&sender.sender_id) else {
            let why = format!("sender {} was not checked yet", sender.sender_id);
            return Some(NotReady { why, until: self.clock.now() + TimeDelta::seconds(10) });
        };
        if report.is_ready() {
            return None;
        }
        let missing: Vec<&str> = report.missing().collect();
        let why = format!("sender {} is not ready, CheckSender says why: {}", sender.sender_id, missing.join(", "));
        Some(NotReady { why, until: report.end().max(self.clock.now() + TimeDelta::seconds(10)) })
    }

    /// Looks whether a sender is ready.
    pub async fn check(&self, id: &SenderId) -> Result<(&Sender, Report), Fault> {
        let sender = self.find(id)?;
        Ok((sender, self.look_at(sender).await))
    }

    async fn look_at(&self, sender: &Sender) -> Report {
        let checks = check::check(sender, self.has_https, &self.dns).await;
        let found = Report { checks, time: self.clock.now() };
        let mut known = self.findings.lock();
        let report = found.or_earlier(known.get(&sender.sender_id));
        known.insert(sender.sender_id.clone(), report.clone());
        report
    }

    /// Looks at those whose time has come; answers how many, how many of these are not ready, and when the next one's time comes.
    pub(super) async fn check_due(&self) -> (usize, usize, Option<Timestamp>) {
        // Nobody's marketing waits for it, so no server is asked.
        if self.is_test {
            return (0, 0, None);
        }
        let now = self.clock.now();
        let is_due =
            |sender: &Sender| self.findings.lock().get(&sender.sender_id).is_none_or(|report| report.end() <= now);
        let (mut looked, mut not_ready) = (0, 0);
        for sender in self.of_marketing().filter(|sender| is_due(sender)) {
            let report = self.look_at(sender).await;
            looked += 1;
            not_ready += usize::from(!report.is_ready());
            match report.checks.iter().find(|check| check.needed && check.finding != Finding::Fine) {
                Some(Check { rule, finding, .. }) => {
                    let (sender, why) = (&sender.sender_id, finding.trouble());
                    tracing::warn!(%sender, rule, why, "the sender is not ready: its marketing waits");
                }
                None => tracing::info!(sender = %sender.sender_id, "the sender is ready for marketing"),
            }
        }
        let known = self.findings.lock();
        let next = self.of_marketing().filter_map(|sender| Some(known.get(&sender.sender_id)?.end())).min();
        (looked, not_ready, next)
    }

    /// Those that need to be ready.
    fn of_marketing(&self) -> impl Iterator<Item = &Sender> {
        let (marketing, survey) = (self.of(Purpose::Marketing), self.of(Purpose::Survey));
        let other = (marketing.sender_id != survey.sender_id).then_some(survey);
        [marketing].into_iter().chain(other).map(std::convert::AsRef::as_ref)
    }

    /// What is wrong, for people; empty = nothing.
    pub fn degraded_reasons(&self) -> Vec<String> {
        let readiness = self.readiness();
        let mut reasons: Vec<String> =
            [readiness.marketing, readiness.survey].into_iter().flatten().map(|trouble| trouble.why).collect();
        reasons.dedup();
        reasons
    }

    /// Whether marketing goes out from senders that are not ready.
    pub fn is_test(&self) -> bool {
        self.is_test
    }
}

impl Findings {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SenderId, Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(finding: Finding, needed: bool) -> Report {
        Report { checks: vec![Check { rule: "dmarc".into(), needed, finding }], time: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_is_needed_must_be_fine_and_advice_need_not() {
        let wrong = || Finding::Wrong("no record".into());
        assert!(report(Finding::Fine, true).is_ready() && report(wrong(), false).is_ready());
        assert!(!report(wrong(), true).is_ready() && !report(Finding::Unknown("?".into()), true).is_ready());
        assert!(report(wrong(), true).end() < report(Finding::Fine, true).end());
    }

    #[test]
    fn what_dns_does_not_say_for_a_while_is_as_it_was() {
        let unknown = || report(Finding::Unknown("no answer".into()), true);
        assert!(unknown().or_earlier(Some(&report(Finding::Fine, true))).is_ready());
        assert!(!unknown().or_earlier(Some(&report(Finding::Wrong("no record".into()), true))).is_ready());
        assert!(!unknown().or_earlier(None).is_ready());
        let wrong = report(Finding::Wrong("no record".into()), true);
        assert!(!wrong.or_earlier(Some(&report(Finding::Fine, true))).is_ready());
    }
}
