use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    contacts::Purpose,
    database::text_enum,
    delivery::Channel,
    ids::TopicId,
    rpc::{Fault, Reason, Violations},
    templates::Locale,
};

text_enum! {
    /// What it takes before a customer may be written to.
    OptIn {
        /// A grant that is confirmed from the mailbox.
        Double = "double",
        /// A grant.
        Single = "single",
        /// A grant, or that they are customers already who were told and did not object: for a stated reason and a limited time.
        Soft = "soft",
        /// Nothing.
        None = "none",
    }
}

impl OptIn {
    /// What topics take that do not say it.
    pub fn usual(purpose: Purpose) -> Self {
        if purpose.needs_consent() { Self::Double } else { Self::None }
    }
}

/// What messages are about: the unit of consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub topic_id: TopicId,
    /// What people read, one text per language.
    pub names: Vec<LocalizedText>,
    /// What people read below the name, one text per language.
    pub descriptions: Vec<LocalizedText>,
    /// What its messages are for; fixed.
    pub purpose: Purpose,
    /// What it takes before a customer may be written to.
    pub opt_in: OptIn,
    /// On which channels.
    pub channels: Vec<Channel>,
    /// Goes out even after a complaint.
    pub essential: bool,
    /// Since when nothing new is planned about it.
    pub archive_time: Option<Timestamp>,
    /// Counts its changes.
    pub revision: i32,
}

/// What is to change about a topic.
#[derive(Debug, Clone, Default)]
pub struct TopicChange {
    /// All names.
    pub names: Option<Vec<LocalizedText>>,
    /// All descriptions.
    pub descriptions: Option<Vec<LocalizedText>>,
    /// What it takes; none = what topics of its purpose usually take.
    pub opt_in: Option<Option<OptIn>>,
    /// Whether it goes out even after a complaint.
    pub essential: Option<bool>,
    /// Whether nothing new is planned about it.
    pub archived: Option<bool>,
}

impl Topic {
    /// What people of this locale read as its name.
    pub fn name(&self, locale: &Locale) -> &str {
        LocalizedText::pick(&self.names, locale).unwrap_or(self.topic_id.as_str())
    }

    /// What people of this locale read below the name.
    pub fn description(&self, locale: &Locale) -> Option<&str> {
        LocalizedText::pick(&self.descriptions, locale)
    }

    /// Notes what does not fit together.
    pub fn check(purpose: Purpose, opt_in: OptIn, essential: bool, violations: &mut Violations) {
        let misfit = match (purpose, opt_in) {
            (Purpose::Marketing | Purpose::Survey, OptIn::None) => {
                "must be OPT_IN_DOUBLE, OPT_IN_SINGLE or OPT_IN_SOFT for marketing and surveys"
            }
            (Purpose::Transactional, OptIn::Double | OptIn::Single | OptIn::Soft) => {
                "must be OPT_IN_NONE for a transactional topic"
            }
            (Purpose::Service, OptIn::Soft) => "must not be OPT_IN_SOFT for a service topic",
            _ => "",
        };
        if !misfit.is_empty() {
            violations.add("topic.optIn", misfit);
        }
        if essential && purpose != Purpose::Transactional {
            violations.add("topic.essential", "must be false for a topic that is not transactional");
        }
    }

    /// Refuses what is archived.
    pub fn check_open(&self) -> Result<(), Fault> {
        let id = &self.topic_id;
        match self.archive_time {
            Some(_) => Err(Fault::refused(Reason::TopicArchived, id, format!("topic {id} is archived"))),
            None => Ok(()),
        }
    }
}

/// A text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalizedText {
    /// None = the fallback.
    pub locale: Option<Locale>,
    /// The text.
    pub text: String,
}

impl LocalizedText {
    /// The text for people of a locale: in it, in a wider one, or the fallback; any where there is no fallback.
    pub fn pick<'a>(texts: &'a [Self], locale: &Locale) -> Option<&'a str> {
        let of = |wanted: Option<&str>| texts.iter().find(|text| text.locale.as_ref().map(Locale::as_str) == wanted);
        let found = locale.chain().find_map(|wanted| of(Some(wanted))).or_else(|| of(None)).or(texts.first());
        found.map(|found| found.text.as_str())
    }
}
