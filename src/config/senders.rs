use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// A sender as `rapport.toml` describes it, not judged yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderSettings {
    /// Its name.
    pub id: String,
    /// Who its mail is from.
    pub from: String,
    /// Who gets the answers; absent = `from`.
    pub reply_to: Option<String>,
    /// Where the organisation can be reached by letter.
    pub postal_address: Option<String>,
    /// What for; absent = everything that no other sender is for.
    pub purposes: Option<Vec<String>>,
    /// Below which domain its bounces come back; absent = they go to `from`.
    pub return_path_domain: Option<String>,
    /// The keys that sign its mail.
    #[serde(default)]
    pub dkim: Vec<DkimSettings>,
}

/// A key that signs mail, and the name below which receivers find its public half.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimSettings {
    /// Receivers look at `SELECTOR._domainkey.DOMAIN`.
    pub selector: String,
    /// A private key as PEM.
    pub key_file: PathBuf,
    /// Whether it signs; one that does not is only published: the next key, or the last one.
    #[serde(default = "yes")]
    pub signs: bool,
}

fn yes() -> bool {
    true
}

/// A setting that is yes or no, written as such or as a text.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Is(bool),
        Says(String),
    }
    Ok(Option::<Flag>::deserialize(from)?.map(|flag| match flag {
        Flag::Is(is) => is.to_string(),
        Flag::Says(text) => text,
    }))
}
