//! The ordered list. First what ends a contact, then what puts it off; the first end wins, the latest of the deferrals counts. Who is
//! held out is asked last: those are compared with who was sent the message, so they must be those who would have been.

use chrono::SecondsFormat;

use super::pauses::Pause;
use crate::{
    calendar::Zone,
    campaigns::{CampaignState, EndCause, EnrollmentState, RunState},
    clock::Timestamp,
    contacts::{Block, BlockReason, Effect, HandOver, Purpose},
    customers::{Address, Customer},
    delivery::Channel,
    ids::{AddressId, ConsentRecordId, TopicId},
    preferences::{Cause, Consent, ConsentState, FrequencyCap, OnHit, OptIn, Preferences, SendingPolicy, Suppressed},
    senders::NotReady,
};

/// What is known about a message that somebody would like to send.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What holds for everybody.
    pub policy: &'a SendingPolicy,
    /// What holds everything up.
    pub pauses: &'a [Pause],
    /// To whom.
    pub customer: &'a Customer,
    /// What they said.
    pub preferences: &'a Preferences,
    /// Which of their addresses are not written to.
    pub suppressed: &'a Suppressed,
    /// What they got, as far back as a cap counts.
    pub handed_over: &'a [HandOver],
    /// What is due to them as well and comes first: until its time it has a place.
    pub ahead: &'a [HandOver],
    /// What it is about.
    pub topic_id: &'a TopicId,
    /// What it is for.
    pub purpose: Purpose,
    /// What the topic takes.
    pub opt_in: OptIn,
    /// Whether the topic goes out even after a complaint.
    pub essential: bool,
    /// How it reaches the customer.
    pub channel: Channel,
    /// The only address that it is for; none = whichever the customer has now.
    pub only_to: Option<AddressId>,
    /// When it is too late; none for a question without a contact.
    pub expire_time: Option<Timestamp>,
    /// Of which shares of customers one gets nothing, to compare with, and this customer is in it.
    pub held_out: Option<HeldOut>,
    /// Where its enrollment and campaign stand; none for an ad-hoc message.
    pub enrollment: Option<(EnrollmentState, Option<EndCause>, CampaignState)>,
    /// Where its run and campaign stand; none for what no run has planned.
    pub run: Option<(RunState, CampaignState)>,
    /// Whether its newsletter may reach the customer; true where nothing is said about that.
    pub in_audience: bool,
    /// Where a cap that does not say itself has no room, it waits; else it is skipped.
    pub waits_for_room: bool,
    /// Why its template cannot be rendered.
    pub template_error: Option<&'a str>,
    /// Why its sender does not send it.
    pub sender_not_ready: Option<&'a NotReady>,
    /// Until when its transport rests.
    pub circuit_open_until: Option<Timestamp>,
    /// When its turn comes, where as many messages go out as are allowed at a time.
    pub throttled_until: Option<Timestamp>,
    /// When its next attempt may be made, after one that failed.
    pub back_off: Option<Timestamp>,
}

/// Who is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOut {
    /// So many of a hundred, from one campaign.
    OfCampaign(u32),
    /// So many of a hundred, from everything but what is transactional.
    OfEverything(u32),
}

impl Case<'_> {
    fn consent(&self) -> Option<&Consent> {
        self.preferences.consent(self.topic_id, self.channel)
    }

    /// Where it goes: to the address that it or a grant is for, else to the primary one.
    pub fn address(&self) -> Option<&Address> {
        if let Some(only) = self.only_to {
            return self.customer.addresses.iter().find(|address| address.address_id == only);
        }
        let granted = self.consent().filter(|consent| consent.state == ConsentState::Granted);
        let bound = granted.and_then(|consent| consent.address_id);
        self.customer
            .addresses
            .iter()
            .find(|address| address.channel == self.channel && Some(address.address_id) == bound)
            .or_else(|| self.customer.primary_address(self.channel))
    }

    /// Where the customer lives, or is taken to live.
    pub fn zone(&self) -> Zone {
        self.customer.time_zone.unwrap_or(self.policy.time_zone)
    }

    /// Where its campaign stands; none for an ad-hoc message.
    fn campaign(&self) -> Option<CampaignState> {
        self.enrollment.map(|(.., campaign)| campaign).or(self.run.map(|(_, campaign)| campaign))
    }

    /// Those that concern it.
    fn caps(&self) -> impl Iterator<Item = &FrequencyCap> {
        let caps = self.policy.caps.iter().chain(&self.preferences.caps);
        caps.filter(|cap| cap.concerns(self.topic_id, self.channel))
    }

    fn on_hit(&self, cap: &FrequencyCap) -> OnHit {
        cap.on_hit.unwrap_or(if self.waits_for_room { OnHit::Defer } else { OnHit::Skip })
    }

    /// The entry of the ledger that allows it, where the topic needs one.
    fn basis(&self) -> Option<ConsentRecordId> {
        let needed = self.purpose != Purpose::Transactional && self.opt_in != OptIn::None;
        self.consent()
            .filter(|consent| needed && consent.state == ConsentState::Granted)
            .map(|consent| consent.record_id)
    }
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes out now.
    Send {
        /// Where.
        address: Address,
        /// The consent that allows it, where one is needed.
        consent: Option<ConsentRecordId>,
    },
    /// Not now.
    Defer(Block),
    /// Never.
    End(Block),
}

/// One rule: its name, and what stands in the way at a moment.
pub struct Rule {
    /// Its name, stable.
    pub name: &'static str,
    /// The reason that it gives.
    pub reason: BlockReason,
    check: fn(&Case<'_>, Timestamp) -> Option<Block>,
}

/// The ordered list of decision 10 of the design, for the parts that exist, and who is held out at its end.
pub const RULES: [Rule; 30] = [
    Rule { name: "customer_not_erased", reason: BlockReason::CustomerErased, check: customer_not_erased },
    Rule { name: "customer_active", reason: BlockReason::CustomerDeleted, check: customer_active },
    Rule { name: "not_canceled", reason: BlockReason::Canceled, check: not_canceled },
    Rule { name: "not_expired", reason: BlockReason::Expired, check: not_expired },
    Rule { name: "campaign_open", reason: BlockReason::CampaignEnded, check: campaign_open },
    Rule { name: "enrollment_open", reason: BlockReason::Exited, check: enrollment_open },
    Rule { name: "in_audience", reason: BlockReason::NotInAudience, check: in_audience },
    Rule { name: "address_known", reason: BlockReason::NoAddress, check: address_known },
    Rule { name: "not_forbidden", reason: BlockReason::Legal, check: not_forbidden },
    Rule { name: "address_not_erased", reason: BlockReason::AddressErased, check: address_not_erased },
    Rule { name: "no_complaint", reason: BlockReason::Complaint, check: no_complaint },
    Rule { name: "no_hard_bounce", reason: BlockReason::HardBounce, check: no_hard_bounce },
    Rule { name: "not_suppressed", reason: BlockReason::Operator, check: not_suppressed },
    Rule { name: "no_soft_bounces", reason: BlockReason::SoftBounces, check: no_soft_bounces },
    Rule { name: "no_objection", reason: BlockReason::Objected, check: no_objection },
    Rule { name: "no_opt_out", reason: BlockReason::OptedOut, check: no_opt_out },
    Rule { name: "consent_given", reason: BlockReason::NoConsent, check: consent_given },
    Rule { name: "consent_current", reason: BlockReason::ConsentExpired, check: consent_current },
    Rule { name: "template_renders", reason: BlockReason::TemplateError, check: template_renders },
    Rule { name: "consent_confirmed", reason: BlockReason::ConsentPending, check: consent_confirmed },
    Rule { name: "not_snoozed", reason: BlockReason::Snoozed, check: not_snoozed },
    Rule { name: "sender_ready", reason: BlockReason::SenderNotReady, check: sender_ready },
    Rule { name: "campaign_running", reason: BlockReason::CampaignPaused, check: campaign_running },
    Rule { name: "dispatch_running", reason: BlockReason::DispatchPaused, check: dispatch_running },
    Rule { name: "circuit_closed", reason: BlockReason::CircuitOpen, check: circuit_closed },
    Rule { name: "within_caps", reason: BlockReason::FrequencyCap, check: within_caps },
    Rule { name: "no_quiet_hours", reason: BlockReason::QuietHours, check: no_quiet_hours },
    Rule { name: "not_throttled", reason: BlockReason::Throttled, check: not_throttled },
    Rule { name: "back_off_over", reason: BlockReason::BackOff, check: back_off_over },
    Rule { name: "not_held_out", reason: BlockReason::Holdout, check: not_held_out },
];

/// More rounds than any real set of deferrals takes to settle.
const MOST_ROUNDS: usize = 10;

/// Everything that stands in the way at a moment, rule by rule.
pub fn checks(case: &Case<'_>, now: Timestamp) -> Vec<(&'static Rule, Option<Block>)> {
    RULES.iter().map(|rule| (rule, (rule.check)(case, now))).collect()
}

/// Decides: sent, put off to a moment at which nothing stands in the way any more, or ended.
pub fn decide(case: &Case<'_>, now: Timestamp) -> Verdict {
    let blocks = RULES.iter().filter_map(|rule| (rule.check)(case, now));
    let (deferrals, mut ends): (Vec<Block>, Vec<Block>) = blocks.partition(|block| block.effect == Effect::Defer);
    // Whether a cap skips it shows when it could go out: until then there may be room. And who is held out waits like the others, for
    // whatever keeps a message from going out in the end is to keep them from being counted.
    let shows_later = |end: &Block| matches!(end.reason, BlockReason::FrequencyCap | BlockReason::Holdout);
    ends.retain(|end| deferrals.is_empty() || !shows_later(end));
    if !ends.is_empty() {
        return Verdict::End(ends.swap_remove(0));
    }
    let may_be_confirmed = deferrals.iter().any(is_pending);
    let latest = deferrals.into_iter().max_by_key(|block| block.retry_time.unwrap_or(Timestamp::MAX_UTC));
    let Some(mut deferral) = latest else {
        return match case.address() {
            Some(address) => Verdict::Send { address: address.clone(), consent: case.basis() },
            // Cannot be: a rule asks for the address before.
            None => Verdict::End(block(BlockReason::NoAddress, Effect::Suppress, "there is no address")),
        };
    };
    deferral.retry_time = settle(case, now, |_| true);
    let too_late = |moment: Option<Timestamp>| moment.zip(case.expire_time).is_some_and(|(moment, end)| moment >= end);
    match (deferral.retry_time, case.expire_time) {
        // It may be confirmed at any moment: what else stands in the way decides whether that can be in time.
        (retry, Some(expire))
            if too_late(retry) && may_be_confirmed && !too_late(settle(case, now, |block| !is_pending(block))) =>
        {
            Verdict::Defer(Block { retry_time: Some(expire), ..deferral })
        }
        (retry, Some(expire)) if too_late(retry) => {
            let detail = format!("{}; its time ends before, at {}", deferral.detail, instant(expire));
            Verdict::End(block(BlockReason::Expired, Effect::Expire, detail))
        }
        _ => Verdict::Defer(deferral),
    }
}

/// Decides for somebody who only asks: who is held out would not get it later either.
pub fn foresee(case: &Case<'_>, now: Timestamp) -> Verdict {
    match (decide(case, now), not_held_out(case, now)) {
        (Verdict::Defer(_), Some(block)) => Verdict::End(block),
        (verdict, _) => verdict,
    }
}

fn is_pending(block: &Block) -> bool {
    block.reason == BlockReason::ConsentPending
}

/// The first moment from `now` on at which nothing of what counts puts the case off any more; none where that is not known.
fn settle(case: &Case<'_>, now: Timestamp, counts: fn(&Block) -> bool) -> Option<Timestamp> {
    let mut moment = now;
    for _ in 0..MOST_ROUNDS {
        let deferrals: Vec<Option<Timestamp>> = RULES
            .iter()
            .filter_map(|rule| (rule.check)(case, moment))
            .filter(|block| block.effect == Effect::Defer && counts(block))
            .map(|block| block.retry_time)
            .collect();
        if deferrals.is_empty() {
            return Some(moment);
        }
        moment = deferrals.into_iter().collect::<Option<Vec<_>>>()?.into_iter().max()?;
    }
    Some(moment)
}

fn block(reason: BlockReason, effect: Effect, detail: impl Into<String>) -> Block {
    Block { reason, effect, detail: detail.into(), retry_time: None }
}

fn suppress(reason: BlockReason, detail: impl Into<String>) -> Option<Block> {
    Some(block(reason, Effect::Suppress, detail))
}

fn defer(reason: BlockReason, until: Option<Timestamp>, detail: impl Into<String>) -> Option<Block> {
    Some(Block { retry_time: until, ..block(reason, Effect::Defer, detail) })
}

/// An instant as it is written in sentences.
pub fn instant(time: Timestamp) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn customer_not_erased(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    let erased = case.customer.erase_time?;
    suppress(BlockReason::CustomerErased, format!("the customer was erased at {}", instant(erased)))
}

fn customer_active(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    let deleted = case.customer.delete_time?;
    suppress(BlockReason::CustomerDeleted, format!("the customer was deleted at {}", instant(deleted)))
}

fn not_expired(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let expire = case.expire_time.filter(|expire| now >= *expire)?;
    Some(block(BlockReason::Expired, Effect::Expire, format!("its time was over at {}", instant(expire))))
}

/// Calling a run off touches the run alone: here its contacts hear of it.
fn not_canceled(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    case.run.filter(|(run, _)| *run == RunState::Canceled)?;
    Some(block(BlockReason::Canceled, Effect::Cancel, "its run was canceled"))
}

/// A newsletter is completed when everybody was reached: a contact of it waits only because an operator has it sent again.
fn campaign_open(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    let campaign = case.campaign()?;
    let is_over = campaign == CampaignState::Archived || campaign == CampaignState::Completed && case.run.is_none();
    is_over.then(|| block(BlockReason::CampaignEnded, Effect::Cancel, format!("the campaign is {campaign}")))
}

/// A completed enrollment does not matter: a step of it waits only because an operator has it sent again.
fn enrollment_open(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    let over = |state| matches!(state, EnrollmentState::Exited | EnrollmentState::Stopped);
    let (state, cause, _) = case.enrollment.filter(|(state, ..)| over(*state))?;
    let cause = cause.map_or(String::new(), |cause| format!(" ({cause})"));
    Some(block(BlockReason::Exited, Effect::Cancel, format!("its enrollment is {state}{cause}")))
}

fn in_audience(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    if case.in_audience {
        return None;
    }
    suppress(BlockReason::NotInAudience, "the customer is not in the audience")
}

fn not_held_out(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    let detail = match case.held_out.filter(|_| case.purpose != Purpose::Transactional)? {
        HeldOut::OfCampaign(percent) => format!("the customer is of the {percent} % who get nothing of this campaign"),
        HeldOut::OfEverything(percent) => format!("the customer is of the {percent} % who get only transactional mail"),
    };
    suppress(BlockReason::Holdout, detail)
}

fn address_known(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    if case.address().is_some() {
        return None;
    }
    suppress(BlockReason::NoAddress, format!("the customer has no {} address", case.channel))
}

/// What a suppression of the address that it would go to says, if it stops such messages.
fn suppressed(case: &Case<'_>, cause: Cause, now: Timestamp, why: &str) -> Option<String> {
    let found = case.suppressed.find(case.address()?.address_id, cause, now)?;
    let (since, id) = (instant(found.create_time), found.suppression_id);
    // Of an erased customer's address nothing is shown.
    let masked = if found.masked_address.is_empty() { "" } else { &format!(" {}", found.masked_address) };
    cause.stops(case.purpose, case.essential).then(|| format!("{why}{masked}, on record since {since} ({id})"))
}

fn not_forbidden(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(BlockReason::Legal, suppressed(case, Cause::Legal, now, "the law forbids to write to")?)
}

fn address_not_erased(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(
        BlockReason::AddressErased,
        suppressed(case, Cause::Erasure, now, "somebody who was erased had the address")?,
    )
}

fn no_complaint(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(BlockReason::Complaint, suppressed(case, Cause::Complaint, now, "a message was marked as spam at")?)
}

fn no_hard_bounce(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(BlockReason::HardBounce, suppressed(case, Cause::HardBounce, now, "a mail server refused for good")?)
}

fn not_suppressed(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(BlockReason::Operator, suppressed(case, Cause::Operator, now, "an operator suppressed")?)
}

fn no_soft_bounces(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    suppress(BlockReason::SoftBounces, suppressed(case, Cause::SoftBounces, now, "too many messages bounced from")?)
}

fn no_objection(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let since = case.preferences.objection_to(case.topic_id, case.channel, case.purpose, now)?;
    let what = if case.preferences.silence_time == Some(since) { "asked for silence" } else { "objected to marketing" };
    suppress(BlockReason::Objected, format!("the customer {what} at {}", instant(since)))
}

fn no_opt_out(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    if case.purpose == Purpose::Transactional {
        return None;
    }
    let (when, method) = case.preferences.opt_out(case.topic_id, case.channel)?;
    let detail = format!("the customer opted out of {} at {} ({method})", case.topic_id, instant(when));
    suppress(BlockReason::OptedOut, detail)
}

fn consent_given(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    if case.purpose == Purpose::Transactional || case.opt_in == OptIn::None {
        return None;
    }
    let Some(consent) = case.consent() else {
        return suppress(BlockReason::NoConsent, format!("the customer never agreed to {}", case.topic_id));
    };
    // A withdrawal is the rule before this one.
    let bound = case.purpose.needs_consent() && consent.state == ConsentState::Granted;
    if bound && consent.address_id != case.address().map(|address| address.address_id) {
        return suppress(BlockReason::NoConsent, format!("the consent to {} is for another address", case.topic_id));
    }
    None
}

/// What was said, where the topic needs a grant.
fn needed<'a>(case: &'a Case<'_>) -> Option<&'a Consent> {
    let needs = case.purpose != Purpose::Transactional && case.opt_in != OptIn::None;
    case.preferences.consent(case.topic_id, case.channel).filter(|_| needs)
}

fn consent_current(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let consent = needed(case).filter(|consent| consent.state_at(now) == ConsentState::Expired)?;
    let over = consent.expire_time.map(instant).unwrap_or_default();
    let what = if consent.state == ConsentState::Pending { "was not confirmed by" } else { "was over at" };
    suppress(BlockReason::ConsentExpired, format!("the consent to {} {what} {over}", case.topic_id))
}

fn consent_confirmed(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let consent = needed(case).filter(|consent| consent.state_at(now) == ConsentState::Pending)?;
    let detail =
        format!("the consent to {}, asked for at {}, is not confirmed", case.topic_id, instant(consent.change_time));
    defer(BlockReason::ConsentPending, consent.expire_time, detail)
}

fn template_renders(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    suppress(BlockReason::TemplateError, case.template_error?)
}

fn not_snoozed(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let until = case.preferences.snooze_end_time.filter(|end| now < *end && case.purpose != Purpose::Transactional)?;
    defer(BlockReason::Snoozed, Some(until), format!("the customer asked for a pause until {}", instant(until)))
}

fn sender_ready(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let trouble = case.sender_not_ready.filter(|trouble| case.purpose.needs_consent() && now < trouble.until);
    let NotReady { why, until } = trouble?;
    defer(BlockReason::SenderNotReady, Some(*until), why.clone())
}

fn campaign_running(case: &Case<'_>, _: Timestamp) -> Option<Block> {
    case.campaign().filter(|campaign| *campaign == CampaignState::Paused)?;
    defer(BlockReason::CampaignPaused, None, "the campaign is paused")
}

fn dispatch_running(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let holding = case.pauses.iter().filter(|pause| pause.holds(case.channel, case.purpose, now));
    let pause = holding.max_by_key(|pause| pause.expire_time.unwrap_or(Timestamp::MAX_UTC))?;
    defer(BlockReason::DispatchPaused, pause.expire_time, format!("the dispatch is paused: {}", pause.reason))
}

fn circuit_closed(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let until = case.circuit_open_until.filter(|until| now < *until)?;
    defer(
        BlockReason::CircuitOpen,
        Some(until),
        format!("the transport fails and is tried again at {}", instant(until)),
    )
}

fn within_caps(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    if case.purpose == Purpose::Transactional {
        return None;
    }
    let full = case
        .caps()
        .filter_map(|cap| Some((case.on_hit(cap) == OnHit::Skip, cap.room_after(case.handed_over, now)?, cap)));
    let Some((skips, until, cap)) = full.max_by_key(|(skips, until, _)| (*skips, *until)) else {
        return leaves_room(case, now);
    };
    let about = cap.topic_id.as_ref().map_or(String::new(), |topic| format!(" about {topic}"));
    let (most, hours) = (cap.max_contacts, cap.window_hours);
    let detail = format!("{most} messages{about} in {hours} hours are the most; there is room at {}", instant(until));
    if skips {
        return suppress(BlockReason::FrequencyCap, detail);
    }
    defer(BlockReason::FrequencyCap, Some(until), detail)
}

/// What comes first has its place before it is sent.
fn leaves_room(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let ahead = case.ahead.iter().filter(|one| now < one.time);
    let given_up = ahead.clone().map(|one| one.time).min()?;
    let taken: Vec<HandOver> = case.handed_over.iter().chain(ahead).cloned().collect();
    // Or what was sent has left the window before.
    let until = case.caps().filter_map(|cap| cap.room_after(&taken, now)).max()?.min(given_up);
    let detail = "a message of a higher priority is due and takes the last place below a cap".to_owned();
    defer(BlockReason::FrequencyCap, Some(until), detail)
}

fn no_quiet_hours(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let quiet = case.preferences.quiet_hours.or(case.policy.quiet_hours);
    let quiet = quiet.filter(|_| case.purpose != Purpose::Transactional)?;
    let zone = case.zone();
    let until = quiet.end_after(now, zone)?;
    let detail = format!("it is quiet time in {} until {}", zone.name(), instant(until));
    defer(BlockReason::QuietHours, Some(until), detail)
}

fn not_throttled(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let until = case.throttled_until.filter(|until| now < *until)?;
    defer(BlockReason::Throttled, Some(until), format!("its turn comes at {}", instant(until)))
}

fn back_off_over(case: &Case<'_>, now: Timestamp) -> Option<Block> {
    let until = case.back_off.filter(|until| now < *until)?;
    defer(BlockReason::BackOff, Some(until), format!("the last attempt failed; the next is at {}", instant(until)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        calendar::{QuietHours, Weekdays, parse_time_of_day},
        customers::{CustomerChange, NewAddress},
        ids::ConsentRecordId,
        preferences::{ConsentMethod, DataUse},
    };

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn customer() -> Customer {
        let mut customer = Customer::bare(at(0));
        let value = "anna@example.com".parse().unwrap();
        let addresses = vec![NewAddress { channel: Channel::Email, value, primary: true }];
        customer.apply(CustomerChange { addresses, ..CustomerChange::default() }, at(0));
        customer
    }

    fn said(customer: &Customer, state: ConsentState, change_time: Timestamp) -> Consent {
        Consent {
            topic_id: "offers".parse().unwrap(),
            channel: Channel::Email,
            data_use: DataUse::Messages,
            state,
            method: ConsentMethod::WebForm,
            address_id: customer.addresses.first().map(|address| address.address_id),
            wording_id: None,
            change_time,
            expire_time: None,
            record_id: ConsentRecordId::generate(),
        }
    }

    fn quiet(start: &str, end: &str) -> Option<QuietHours> {
        let time = |text| parse_time_of_day(text).unwrap();
        Some(QuietHours { start: time(start), end: time(end), days: Weekdays::parse::<&str>(&[]).unwrap() })
    }

    fn policy() -> SendingPolicy {
        let default_locale = "en".parse().unwrap();
        SendingPolicy {
            quiet_hours: None,
            caps: Vec::new(),
            time_zone: Zone::UTC,
            default_locale,
            holdout_percent: 0,
            revision: 0,
        }
    }

    /// What is wrong with somebody who agreed to offers, and what the gate says to a message of a purpose at ten.
    fn verdict(purpose: Purpose, wrong: impl Fn(&mut Customer, &mut Preferences, &mut Case<'_>)) -> Verdict {
        let (mut customer, topic) = (customer(), "offers".parse().unwrap());
        let mut preferences = Preferences::none(customer.customer_id);
        preferences.consents.push(said(&customer, ConsentState::Granted, at(1)));
        let (before, none) = (customer.clone(), preferences.clone());
        let (policy, suppressed) = (policy(), Suppressed::default());
        let mut case = Case {
            policy: &policy,
            pauses: &[],
            customer: &before,
            preferences: &none,
            suppressed: &suppressed,
            handed_over: &[],
            ahead: &[],
            topic_id: &topic,
            purpose,
            opt_in: if purpose.needs_consent() { OptIn::Single } else { OptIn::None },
            essential: false,
            channel: Channel::Email,
            only_to: None,
            expire_time: Some(at(82)),
            held_out: None,
            enrollment: None,
            run: None,
            in_audience: true,
            waits_for_room: !purpose.needs_consent(),
            template_error: None,
            sender_not_ready: None,
            circuit_open_until: None,
            throttled_until: None,
            back_off: None,
        };
        wrong(&mut customer, &mut preferences, &mut case);
        decide(&Case { customer: &customer, preferences: &preferences, ..case }, at(10))
    }

    fn ends(verdict: &Verdict) -> Option<BlockReason> {
        if let Verdict::End(block) = verdict { Some(block.reason) } else { None }
    }

    fn waits(verdict: &Verdict) -> Option<(BlockReason, Option<Timestamp>)> {
        if let Verdict::Defer(block) = verdict { Some((block.reason, block.retry_time)) } else { None }
    }

    #[test]
    fn what_nothing_stands_against_goes_out_and_names_its_consent() {
        let sent = verdict(Purpose::Marketing, |_, _, _| ());
        assert!(matches!(sent, Verdict::Send { consent: Some(_), .. }), "{sent:?}");
        let sent = verdict(Purpose::Service, |_, preferences, _| preferences.consents.clear());
        assert!(matches!(sent, Verdict::Send { consent: None, .. }), "{sent:?}");
    }

    #[test]
    fn each_end_has_its_reason_and_the_first_in_the_list_is_named() {
        type Wrong = fn(&mut Customer, &mut Preferences, &mut Case<'_>);
        let wrongs: [(Wrong, BlockReason); 10] = [
            (|customer, _, _| customer.erase_time = Some(at(2)), BlockReason::CustomerErased),
            (|customer, _, _| customer.delete_time = Some(at(2)), BlockReason::CustomerDeleted),
            (|_, _, case| case.expire_time = Some(at(10)), BlockReason::Expired),
            (
                |_, _, case| case.enrollment = Some((EnrollmentState::Exited, None, CampaignState::Active)),
                BlockReason::Exited,
            ),
            (|_, _, case| case.in_audience = false, BlockReason::NotInAudience),
            (|customer, _, _| customer.addresses.clear(), BlockReason::NoAddress),
            (|_, preferences, _| preferences.silence_time = Some(at(2)), BlockReason::Objected),
            (|_, preferences, _| preferences.consents[0].state = ConsentState::Denied, BlockReason::OptedOut),
            (
                |_, preferences, _| preferences.consents.retain(|one| one.state == ConsentState::Denied),
                BlockReason::NoConsent,
            ),
            (|_, _, case| case.template_error = Some("line 1"), BlockReason::TemplateError),
        ];
        for (place, (wrong, reason)) in wrongs.iter().enumerate() {
            assert_eq!(ends(&verdict(Purpose::Marketing, wrong)), Some(*reason));
            let all = verdict(Purpose::Marketing, |customer, preferences, case| {
                preferences.snooze_end_time = Some(at(20));
                wrongs[place..].iter().for_each(|(wrong, _)| wrong(customer, preferences, case));
            });
            assert_eq!(ends(&all), Some(*reason), "the first of those from {reason:?} on");
        }
    }

    #[test]
    fn only_who_would_be_sent_it_is_held_out_and_when_it_would_be_sent() {
        type Wrong = fn(&mut Customer, &mut Preferences, &mut Case<'_>);
        let held = |purpose, wrong: Wrong| {
            verdict(purpose, move |customer, preferences, case| {
                case.held_out = Some(HeldOut::OfCampaign(10));
                wrong(customer, preferences, case);
            })
        };
        assert_eq!(ends(&held(Purpose::Marketing, |_, _, _| ())), Some(BlockReason::Holdout));
        let unasked: Wrong = |_, preferences, _| preferences.consents.clear();
        assert_eq!(ends(&held(Purpose::Marketing, unasked)), Some(BlockReason::NoConsent));
        let snoozed: Wrong = |_, preferences, _| preferences.snooze_end_time = Some(at(20));
        assert_eq!(waits(&held(Purpose::Marketing, snoozed)), Some((BlockReason::Snoozed, Some(at(20)))));
        assert!(matches!(held(Purpose::Transactional, |_, _, _| ()), Verdict::Send { .. }));
    }

    #[test]
    fn a_transactional_message_obeys_no_wish_and_a_service_message_no_missing_consent() {
        let wishes = |_: &mut Customer, preferences: &mut Preferences, _: &mut Case<'_>| {
            preferences.consents[0].state = ConsentState::Denied;
            preferences.objection_time = Some(at(2));
            preferences.silence_time = Some(at(2));
            preferences.snooze_end_time = Some(at(20));
            preferences.quiet_hours = quiet("09:00", "12:00");
        };
        assert!(matches!(verdict(Purpose::Transactional, wishes), Verdict::Send { .. }));
        assert_eq!(ends(&verdict(Purpose::Service, wishes)), Some(BlockReason::Objected));
        let objects = |_: &mut Customer, preferences: &mut Preferences, _: &mut Case<'_>| {
            preferences.consents.clear();
            preferences.objection_time = Some(at(2));
        };
        assert!(matches!(verdict(Purpose::Service, objects), Verdict::Send { .. }));
        assert_eq!(ends(&verdict(Purpose::Survey, objects)), Some(BlockReason::Objected));
    }

    #[test]
    fn it_waits_until_the_latest_of_its_moments_and_what_holds_there() {
        let both = verdict(Purpose::Service, |_, preferences, _| {
            preferences.quiet_hours = quiet("09:00", "12:00");
            preferences.snooze_end_time = Some(at(24 + 10));
        });
        assert_eq!(waits(&both), Some((BlockReason::Snoozed, Some(at(24 + 12)))));
        let unknown = verdict(Purpose::Service, |_, preferences, case| {
            preferences.quiet_hours = quiet("09:00", "12:00");
            case.enrollment = Some((EnrollmentState::Active, None, CampaignState::Paused));
        });
        assert_eq!(waits(&unknown), Some((BlockReason::CampaignPaused, None)));
        let too_late = verdict(Purpose::Service, |_, preferences, _| preferences.snooze_end_time = Some(at(82)));
        assert_eq!(ends(&too_late), Some(BlockReason::Expired));
        let tried = verdict(Purpose::Transactional, |_, _, case| case.back_off = Some(at(11)));
        assert_eq!(waits(&tried), Some((BlockReason::BackOff, Some(at(11)))));
    }

    proptest! {
        #[test]
        fn at_the_moment_it_is_put_off_to_nothing_puts_it_off_any_more(
            start in 0..24 * 60u32, length in 1..24 * 60u32, snooze in 0..100i64, back_off in 0..100i64, now in 0..100i64,
        ) {
            let time = |minutes: u32| chrono::NaiveTime::from_num_seconds_from_midnight_opt(minutes % 1440 * 60, 0).unwrap();
            let (customer, topic) = (customer(), "orders".parse().unwrap());
            let mut preferences = Preferences::none(customer.customer_id);
            let days = Weekdays::parse::<&str>(&[]).unwrap();
            preferences.quiet_hours = Some(QuietHours { start: time(start), end: time(start + length), days });
            preferences.snooze_end_time = Some(at(snooze));
            let (policy, suppressed) = (policy(), Suppressed::default());
            let case = Case {
                policy: &policy,
                pauses: &[],
                customer: &customer,
                preferences: &preferences,
                suppressed: &suppressed,
                handed_over: &[],
                ahead: &[],
                topic_id: &topic,
                purpose: Purpose::Service,
                opt_in: OptIn::None,
                essential: false,
                channel: Channel::Email,
                only_to: None,
                expire_time: None,
                held_out: None,
                enrollment: None,
                run: None,
                in_audience: true,
                waits_for_room: true,
                template_error: None,
                sender_not_ready: None,
                circuit_open_until: None,
                throttled_until: None,
                back_off: Some(at(back_off)),
            };
            if let Verdict::Defer(block) = decide(&case, at(now)) {
                let retry = block.retry_time.unwrap();
                prop_assert!(retry > at(now));
                let sent = matches!(decide(&case, retry), Verdict::Send { .. });
                prop_assert!(sent);
            }
        }
    }
}
