use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Locale;
use crate::{clock::Timestamp, database::text_enum, delivery::Channel, ids::TemplateId};

text_enum! {
    /// Where a version of a template stands.
    TemplateState {
        /// Can be changed; never sent.
        Draft = "draft",
        /// Immutable; the latest one is sent.
        Published = "published",
        /// Of a template that nothing may use any more.
        Archived = "archived",
    }
}

/// One version of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its name.
    pub template_id: TemplateId,
    /// What people call it.
    pub display_name: String,
    /// How its messages reach customers.
    pub channel: Channel,
    /// A block for other templates; never sent by itself.
    pub partial: bool,
    /// Which version this is, from 1.
    pub version: i32,
    /// Where that version stands.
    pub state: TemplateState,
    /// The texts.
    pub content: Content,
    /// When the template was created.
    pub create_time: Timestamp,
    /// When this version last changed.
    pub update_time: Timestamp,
    /// Counts changes of the template.
    pub revision: i32,
}

/// What a version says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Content {
    /// One per locale; the one without a locale is the fallback.
    pub variants: Vec<Variant>,
    /// What previews are rendered with.
    pub sample_data: Map<String, Value>,
}

/// The text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Variant {
    /// None = the fallback.
    pub locale: Option<Locale>,
    /// One line.
    pub subject: String,
    /// What a list of messages shows beside the subject; empty = none.
    #[serde(default)]
    pub preheader: String,
    /// The plain-text part; empty = none.
    pub text_body: String,
    /// The HTML part; empty = none, or made of the MJML.
    pub html_body: String,
    /// The HTML part in MJML; empty = none.
    #[serde(default)]
    pub mjml_body: String,
}

impl Content {
    /// The variant for a customer: of their locale, of a wider one, or the fallback.
    pub fn variant(&self, locale: Option<&Locale>) -> Option<&Variant> {
        let of = |wanted: Option<&str>| {
            self.variants.iter().find(|variant| variant.locale.as_ref().map(Locale::as_str) == wanted)
        };
        locale.and_then(|locale| locale.chain().find_map(|wanted| of(Some(wanted)))).or_else(|| of(None))
    }
}

/// What a new template holds.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTemplate {
    /// Its name; none = given one.
    pub template_id: Option<TemplateId>,
    /// What people call it.
    pub display_name: String,
    /// How its messages reach customers.
    pub channel: Channel,
    /// A block for other templates; never sent by itself.
    pub partial: bool,
    /// The texts.
    pub content: Content,
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TemplateChange {
    /// What people call it.
    pub display_name: Option<String>,
    /// All variants.
    pub variants: Option<Vec<Variant>>,
    /// What previews are rendered with.
    pub sample_data: Option<Map<String, Value>>,
}

/// Something that the author should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// In which variant; none = the fallback.
    pub locale: Option<Locale>,
    /// In which field.
    pub part: Part,
    /// In which line, from 1; 0 = not known.
    pub line: usize,
    /// One sentence for people.
    pub description: String,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Can be published.
    Warning,
    /// Cannot be published.
    Error,
}

/// A field of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The subject.
    Subject,
    /// What a list of messages shows beside it.
    Preheader,
    /// The plain-text part.
    Text,
    /// The HTML part.
    Html,
    /// The HTML part in MJML.
    Mjml,
}

impl Part {
    /// The field's name in requests.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Preheader => "preheader",
            Self::Text => "textBody",
            Self::Html => "htmlBody",
            Self::Mjml => "mjmlBody",
        }
    }

    /// The field's source in a variant.
    pub fn source(self, variant: &Variant) -> &str {
        match self {
            Self::Subject => &variant.subject,
            Self::Preheader => &variant.preheader,
            Self::Text => &variant.text_body,
            Self::Html => &variant.html_body,
            Self::Mjml => &variant.mjml_body,
        }
    }

    /// Whether values in it are escaped.
    pub const fn is_markup(self) -> bool {
        matches!(self, Self::Preheader | Self::Html | Self::Mjml)
    }

    /// All of them.
    pub const ALL: [Self; 5] = [Self::Subject, Self::Preheader, Self::Text, Self::Html, Self::Mjml];
}
