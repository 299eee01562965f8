use super::super::{decode, encode};
use crate::{
    contacts::Purpose,
    delivery::Channel,
    ids::TopicId,
    preferences::{OptIn, Topic, TopicChange},
    rpc::{
        Mask, Violations, etag,
        proto::{self, UpdateTopicRequest, topic},
    },
};

const CAN_CHANGE: &[&str] = &["names", "descriptions", "opt_in", "essential", "archived"];
const OUTPUT_ONLY: &[&str] = &["etag"];

/// A topic that is to be created.
pub fn decode(violations: &mut Violations, topic: &proto::Topic) -> Option<Topic> {
    let topic_id = decode::parse(violations, "topic.topicId", &topic.topic_id);
    let names = decode::localized(violations, "topic.names", &topic.names);
    let descriptions = decode::localized(violations, "topic.descriptions", &topic.descriptions);
    if topic.archived {
        violations.add("topic.archived", "must be false for a new topic");
    }
    let purpose: Option<proto::Purpose> = decode::choice(violations, "topic.purpose", topic.purpose);
    let purpose = match purpose {
        Some(proto::Purpose::Transactional) => Purpose::Transactional,
        Some(proto::Purpose::Service) => Purpose::Service,
        Some(proto::Purpose::Survey) => Purpose::Survey,
        Some(proto::Purpose::Marketing | proto::Purpose::Unspecified) | None => Purpose::Marketing,
    };
    let opt_in = opt_in(violations, topic.opt_in).unwrap_or(OptIn::usual(purpose));
    for (place, channel) in topic.channels.iter().enumerate() {
        let path = format_args!("topic.channels[{place}]");
        let _: Option<proto::Channel> = decode::required_choice(violations, path, *channel, "must be CHANNEL_EMAIL");
    }
    Topic::check(purpose, opt_in, topic.essential, violations);
    Some(Topic {
        topic_id: topic_id?,
        names,
        descriptions,
        purpose,
        opt_in,
        channels: vec![Channel::Email],
        essential: topic.essential,
        archive_time: None,
        revision: 1,
    })
}

/// Which topic is to change, from which state, and how.
pub fn change(violations: &mut Violations, message: UpdateTopicRequest) -> Option<(TopicId, String, TopicChange)> {
    let Some(new) = message.topic else {
        violations.add("topic", "is required");
        return None;
    };
    let id = decode::parse(violations, "topic.topicId", &new.topic_id);
    let is_set = |path: &str| match path {
        "names" => !new.names.is_empty(),
        "descriptions" => !new.descriptions.is_empty(),
        "opt_in" => new.opt_in != 0,
        "essential" => new.essential,
        _ => new.archived,
    };
    let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, violations);
    let names = decode::localized(violations, "topic.names", &new.names);
    let descriptions = decode::localized(violations, "topic.descriptions", &new.descriptions);
    let opt_in = opt_in(violations, new.opt_in);
    let change = TopicChange {
        names: mask.pick("names", names),
        descriptions: mask.pick("descriptions", descriptions),
        opt_in: mask.pick("opt_in", opt_in),
        essential: mask.pick("essential", new.essential),
        archived: mask.pick("archived", new.archived),
    };
    Some((id?, new.etag, change))
}

/// None = what topics of the purpose usually take.
fn opt_in(violations: &mut Violations, number: i32) -> Option<OptIn> {
    let opt_in: Option<topic::OptIn> = decode::choice(violations, "topic.optIn", number);
    match opt_in? {
        topic::OptIn::Unspecified => None,
        topic::OptIn::Double => Some(OptIn::Double),
        topic::OptIn::Single => Some(OptIn::Single),
        topic::OptIn::Soft => Some(OptIn::Soft),
        topic::OptIn::None => Some(OptIn::None),
    }
}

/// As it is stored.
pub fn encode(topic: Topic) -> proto::Topic {
    let opt_in = match topic.opt_in {
        OptIn::Double => topic::OptIn::Double,
        OptIn::Single => topic::OptIn::Single,
        OptIn::Soft => topic::OptIn::Soft,
        OptIn::None => topic::OptIn::None,
    };
    proto::Topic {
        topic_id: topic.topic_id.to_string(),
        names: encode::localized(topic.names),
        descriptions: encode::localized(topic.descriptions),
        purpose: encode::purpose(topic.purpose).into(),
        opt_in: opt_in.into(),
        channels: topic.channels.iter().map(|Channel::Email| proto::Channel::Email.into()).collect(),
        essential: topic.essential,
        archived: topic.archive_time.is_some(),
        etag: etag(topic.revision),
    }
}
