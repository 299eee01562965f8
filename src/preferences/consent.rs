use super::ConsentAct;
use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::text_enum,
    delivery::Channel,
    ids::{AddressId, ConsentRecordId, TopicId, WordingId},
};

text_enum! {
    /// What a customer said last about a topic.
    ConsentState {
        /// Asked for; not confirmed from the mailbox yet.
        Pending = "pending",
        /// Given.
        Granted = "granted",
        /// Withdrawn, or never given and refused.
        Denied = "denied",
        /// Given for a time that is over, or asked for and not confirmed in time.
        Expired = "expired",
    }
}

text_enum! {
    /// What a consent is for.
    DataUse {
        /// The messages themselves.
        Messages = "messages",
        /// Noticing that a message was opened.
        OpenTracking = "open_tracking",
        /// Noticing which links were followed.
        ClickTracking = "click_tracking",
        /// Drawing conclusions about the customer.
        Profiling = "profiling",
    }
}

text_enum! {
    /// How something was said.
    ConsentMethod {
        /// A form that the customer filled in.
        WebForm = "web_form",
        /// Confirmed from the mailbox.
        DoubleOptIn = "double_opt_in",
        /// The preference page.
        PreferencePage = "preference_page",
        /// The mail program's unsubscribe button.
        OneClick = "one_click",
        /// An answer to a message.
        Reply = "reply",
        /// Marked as spam.
        Complaint = "complaint",
        /// Face to face or on the phone.
        InPerson = "in_person",
        /// An operator's decision.
        Operator = "operator",
        /// Taken over from another system.
        Import = "import",
    }
}

impl ConsentMethod {
    /// An act of the customer's own: the only kind that lifts a withdrawal.
    pub fn is_own_act(self) -> bool {
        matches!(self, Self::WebForm | Self::DoubleOptIn | Self::PreferencePage | Self::Reply | Self::InPerson)
    }

    /// Whether anybody ever agreed in this way.
    pub fn can_grant(self) -> bool {
        !matches!(self, Self::OneClick | Self::Complaint)
    }
}

/// What a customer said about one topic on one channel: the sum of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// About which topic.
    pub topic_id: TopicId,
    /// On which channel.
    pub channel: Channel,
    /// What for.
    pub data_use: DataUse,
    /// What was said last; it may be over by now.
    pub state: ConsentState,
    /// How.
    pub method: ConsentMethod,
    /// The address that a grant is for.
    pub address_id: Option<AddressId>,
    /// The words that were agreed to.
    pub wording_id: Option<WordingId>,
    /// When the customer said so.
    pub change_time: Timestamp,
    /// When it is over by itself.
    pub expire_time: Option<Timestamp>,
    /// The entry of the ledger that made it so.
    pub record_id: ConsentRecordId,
}

impl Consent {
    /// Where it stands at a moment.
    pub fn state_at(&self, now: Timestamp) -> ConsentState {
        let over = self.expire_time.is_some_and(|expire| expire <= now);
        match self.state {
            ConsentState::Granted | ConsentState::Pending if over => ConsentState::Expired,
            state => state,
        }
    }
}

/// What a new statement about a topic leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It holds from now on.
    Holds,
    /// It is recorded, but what was said later stands.
    Outdated,
    /// It is refused: the customer withdrew, and this does not lift that.
    WithdrawnBefore,
}

/// What is known when a statement is judged.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// What was said last about the topic.
    pub current: Option<&'a Consent>,
    /// Since when the customer objects to what the topic is for: by objection or silence.
    pub objects_since: Option<Timestamp>,
}

/// Judges a statement: the strictest counts. A withdrawal beats every grant of the same moment or before, in whatever order
/// they arrive; it is lifted only by a later act of the customer's own.
pub fn judge(standing: Standing<'_>, act: ConsentAct, method: ConsentMethod, occur_time: Timestamp) -> Judgement {
    let current = standing.current;
    if !matches!(act, ConsentAct::Grant | ConsentAct::Request) {
        let later_own_grant = current.is_some_and(|consent| {
            consent.state == ConsentState::Granted && consent.method.is_own_act() && consent.change_time > occur_time
        });
        let later_withdrawal =
            current.is_some_and(|consent| consent.state == ConsentState::Denied && consent.change_time >= occur_time);
        return if later_own_grant || later_withdrawal { Judgement::Outdated } else { Judgement::Holds };
    }
    let denied = current.filter(|consent| consent.state == ConsentState::Denied).map(|consent| consent.change_time);
    let withdrawn = denied.max(standing.objects_since);
    if withdrawn.is_some_and(|withdrawn| !method.is_own_act() || occur_time <= withdrawn) {
        return Judgement::WithdrawnBefore;
    }
    let later_grant = current.is_some_and(|consent| consent.change_time > occur_time);
    if later_grant { Judgement::Outdated } else { Judgement::Holds }
}

/// Whether a grant counts although the customer objected or asked for silence at `since`: a later act of the customer's own.
pub fn lifts(consent: Option<&Consent>, since: Timestamp, now: Timestamp) -> bool {
    consent.is_some_and(|consent| {
        consent.state_at(now) == ConsentState::Granted && consent.method.is_own_act() && consent.change_time > since
    })
}

/// The purposes that an objection concerns.
pub const OBJECTION: &[Purpose] = &[Purpose::Marketing, Purpose::Survey];
/// The purposes that silence concerns.
pub const SILENCE: &[Purpose] = &[Purpose::Service, Purpose::Marketing, Purpose::Survey];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn consent(state: ConsentState, method: ConsentMethod, when: i64) -> Consent {
        Consent {
            topic_id: "news".parse().unwrap(),
            channel: Channel::Email,
            data_use: DataUse::Messages,
            state,
            method,
            address_id: None,
            wording_id: None,
            change_time: at(when),
            expire_time: None,
            record_id: ConsentRecordId::generate(),
        }
    }

    fn judged(current: Option<&Consent>, act: ConsentAct, method: ConsentMethod, when: i64) -> Judgement {
        judge(Standing { current, objects_since: None }, act, method, at(when))
    }

    #[test]
    fn only_a_later_act_of_the_customers_own_lifts_a_withdrawal() {
        use ConsentAct::Grant;
        let withdrawn = consent(ConsentState::Denied, ConsentMethod::OneClick, 100);
        for (method, when, expected) in [
            (ConsentMethod::WebForm, 101, Judgement::Holds),
            (ConsentMethod::WebForm, 100, Judgement::WithdrawnBefore),
            (ConsentMethod::WebForm, 99, Judgement::WithdrawnBefore),
            (ConsentMethod::Import, 101, Judgement::WithdrawnBefore),
            (ConsentMethod::Operator, 101, Judgement::WithdrawnBefore),
        ] {
            assert_eq!(judged(Some(&withdrawn), Grant, method, when), expected, "{method} {when}");
        }
        assert_eq!(judged(None, Grant, ConsentMethod::Import, 1), Judgement::Holds);
    }

    #[test]
    fn a_withdrawal_that_arrives_late_stops_all_but_a_later_act_of_the_customers_own() {
        use ConsentAct::Withdraw;
        let own = consent(ConsentState::Granted, ConsentMethod::WebForm, 100);
        let import = consent(ConsentState::Granted, ConsentMethod::Import, 100);
        assert_eq!(judged(Some(&own), Withdraw, ConsentMethod::Reply, 99), Judgement::Outdated);
        assert_eq!(judged(Some(&own), Withdraw, ConsentMethod::Reply, 100), Judgement::Holds);
        assert_eq!(judged(Some(&import), Withdraw, ConsentMethod::Reply, 99), Judgement::Holds);
    }

    #[test]
    fn an_objection_counts_like_a_withdrawal_of_every_topic() {
        let standing = Standing { current: None, objects_since: Some(at(100)) };
        let grant = |method, when| judge(standing, ConsentAct::Grant, method, at(when));
        assert_eq!(grant(ConsentMethod::WebForm, 101), Judgement::Holds);
        assert_eq!(grant(ConsentMethod::WebForm, 100), Judgement::WithdrawnBefore);
        assert_eq!(grant(ConsentMethod::Import, 101), Judgement::WithdrawnBefore);
        assert!(lifts(Some(&consent(ConsentState::Granted, ConsentMethod::WebForm, 101)), at(100), at(102)));
        assert!(!lifts(Some(&consent(ConsentState::Granted, ConsentMethod::Import, 101)), at(100), at(102)));
    }

    proptest! {
        /// The state after any two own statements does not depend on the order in which they arrive.
        #[test]
        fn own_statements_can_arrive_in_any_order(first in (any::<bool>(), 0_i64..4), second in (any::<bool>(), 0_i64..4)) {
            let fold = |statements: [(bool, i64); 2]| {
                let mut current: Option<Consent> = None;
                for (grant, when) in statements {
                    let (act, state) = if grant {
                        (ConsentAct::Grant, ConsentState::Granted)
                    } else {
                        (ConsentAct::Withdraw, ConsentState::Denied)
                    };
                    if judged(current.as_ref(), act, ConsentMethod::WebForm, when) == Judgement::Holds {
                        current = Some(consent(state, ConsentMethod::WebForm, when));
                    }
                }
                current.map(|consent| (consent.state, consent.change_time))
            };
            prop_assert_eq!(fold([first, second]), fold([second, first]));
        }
    }
}
