use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use unic_langid::LanguageIdentifier;

/// A language, perhaps of a country, in canonical BCP 47: "lv", "pt-BR", "sr-Latn".
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Locale(String);

impl Locale {
    /// A locale that was checked when it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This locale, then the wider ones that hold it: "sr-Latn-RS", "sr-Latn", "sr".
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        let cuts = self.0.match_indices('-').map(|(at, _)| at).collect::<Vec<_>>();
        std::iter::once(self.0.as_str()).chain(cuts.into_iter().rev().map(|at| &self.0[..at]))
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Locale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<LanguageIdentifier>()
            .ok()
            .filter(|locale| !locale.language.is_empty())
            .map(|locale| Self(locale.to_string()))
            .ok_or_else(|| "must be a BCP 47 language tag such as \"lv\" or \"pt-BR\"".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_canonical_and_falls_back_to_wider_ones() {
        assert_eq!("PT-br".parse::<Locale>().unwrap().as_str(), "pt-BR");
        let serbian: Locale = "sr-latn-rs".parse().unwrap();
        assert_eq!(serbian.chain().collect::<Vec<_>>(), ["sr-Latn-RS", "sr-Latn", "sr"]);
        for wrong in ["", "und", "englishman", "e", "en--US", "en-US-x-private-because", "lv lv"] {
            assert!(wrong.parse::<Locale>().is_err(), "{wrong}");
        }
    }
}
