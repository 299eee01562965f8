use super::{Consent, ConsentMethod, ConsentState, DataUse, FrequencyCap, OptIn, Topic, lifts};
use crate::{
    calendar::QuietHours,
    clock::Timestamp,
    contacts::Purpose,
    customers::Address,
    delivery::Channel,
    ids::{CustomerId, TopicId},
};

/// Everything that a customer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// Whose.
    pub customer_id: CustomerId,
    /// Topic by topic.
    pub consents: Vec<Consent>,
    /// When nothing but transactional mail goes out.
    pub quiet_hours: Option<QuietHours>,
    /// How many messages the customer gets at most, beside the caps of the policy.
    pub caps: Vec<FrequencyCap>,
    /// Until when nothing but transactional mail goes out.
    pub snooze_end_time: Option<Timestamp>,
    /// Since when the customer objects to marketing and surveys.
    pub objection_time: Option<Timestamp>,
    /// Since when the customer wants nothing but transactional mail.
    pub silence_time: Option<Timestamp>,
    /// Counts changes of all but consents; 0 = nothing was ever said.
    pub revision: i32,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreferenceChange {
    /// Quiet hours, or none any more.
    pub quiet_hours: Option<Option<QuietHours>>,
    /// All caps.
    pub caps: Option<Vec<FrequencyCap>>,
    /// Snooze, or none any more.
    pub snooze_end_time: Option<Option<Timestamp>>,
}

impl Preferences {
    /// Of a customer who said nothing.
    pub fn none(customer_id: CustomerId) -> Self {
        Self {
            customer_id,
            consents: Vec::new(),
            quiet_hours: None,
            caps: Vec::new(),
            snooze_end_time: None,
            objection_time: None,
            silence_time: None,
            revision: 0,
        }
    }

    /// What was said about messages on a channel about a topic.
    pub fn consent(&self, topic_id: &TopicId, channel: Channel) -> Option<&Consent> {
        self.consent_to(topic_id, channel, DataUse::Messages)
    }

    /// What was said about a use of data for a topic on a channel.
    pub fn consent_to(&self, topic_id: &TopicId, channel: Channel, data_use: DataUse) -> Option<&Consent> {
        let mut said = self.consents.iter();
        said.find(|said| said.topic_id == *topic_id && said.channel == channel && said.data_use == data_use)
    }

    /// Takes over what was said last about a topic.
    pub fn put(&mut self, new: Consent) {
        let same = |said: &&mut Consent| {
            said.topic_id == new.topic_id && said.channel == new.channel && said.data_use == new.data_use
        };
        match self.consents.iter_mut().find(same) {
            Some(said) => *said = new,
            None => self.consents.push(new),
        }
    }

    /// Since when the customer objects to what a topic is for, by objection or silence.
    pub fn objects_since(&self, purpose: Purpose) -> Option<Timestamp> {
        match purpose {
            Purpose::Transactional => None,
            Purpose::Service => self.silence_time,
            Purpose::Marketing | Purpose::Survey => self.objection_time.max(self.silence_time),
        }
    }

    /// Since when an objection or silence keeps a topic from the customer; a later grant of their own lifts it.
    pub fn objection_to(
        &self,
        topic_id: &TopicId,
        channel: Channel,
        purpose: Purpose,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let since = self.objects_since(purpose)?;
        (!lifts(self.consent(topic_id, channel), since, now)).then_some(since)
    }

    /// Whether the customer, who has these addresses, wants to hear about a topic on a channel, as far as what was said tells.
    pub fn wants(&self, topic: &Topic, channel: Channel, addresses: &[Address], now: Timestamp) -> bool {
        if self.objection_to(&topic.topic_id, channel, topic.purpose, now).is_some() {
            return false;
        }
        let Some(consent) = self.consent(&topic.topic_id, channel) else {
            return topic.opt_in == OptIn::None;
        };
        // A grant that is bound to an address goes with it.
        let is_there = addresses.iter().any(|address| Some(address.address_id) == consent.address_id);
        consent.state_at(now) == ConsentState::Granted && (is_there || !topic.purpose.needs_consent())
    }

    /// What holds of consents to notice what is done with messages.
    pub fn tracking(&self, now: Timestamp) -> impl Iterator<Item = &Consent> {
        let tracks = |consent: &&Consent| matches!(consent.data_use, DataUse::OpenTracking | DataUse::ClickTracking);
        self.consents.iter().filter(tracks).filter(move |one| one.state_at(now) == ConsentState::Granted)
    }

    /// Whether a use of data for a topic may be made: it was agreed to, and the customer wants to hear about the topic still.
    pub fn lets(
        &self,
        topic_id: &TopicId,
        channel: Channel,
        purpose: Purpose,
        data_use: DataUse,
        now: Timestamp,
    ) -> bool {
        let consent = self.consent_to(topic_id, channel, data_use);
        consent.is_some_and(|consent| consent.state_at(now) == ConsentState::Granted)
            && self.objection_to(topic_id, channel, purpose, now).is_none()
            && self.opt_out(topic_id, channel).is_none()
    }

    /// When and how the customer opted out of a topic, if that is what was said last.
    pub fn opt_out(&self, topic_id: &TopicId, channel: Channel) -> Option<(Timestamp, ConsentMethod)> {
        let consent = self.consent(topic_id, channel)?;
        (consent.state == ConsentState::Denied).then_some((consent.change_time, consent.method))
    }
}
