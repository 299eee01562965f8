//! What stands below a message that its reader may leave and whose author wrote no link for that.

use std::fmt::Write;

use crate::templates::{Locale, Rendered, end_of_body, escape};

/// What a footer says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footer<'a> {
    /// Where its reader leaves.
    pub unsubscribe: &'a str,
    /// Where its reader chooses.
    pub preferences: &'a str,
    /// Of the organisation; empty = not said.
    pub postal_address: &'a str,
}

struct Words {
    language: &'static str,
    choose: &'static str,
    unsubscribe: &'static str,
    preferences: &'static str,
}

/// In the languages of the pages, the fallback first.
const WORDS: [Words; 5] = [
    Words {
        language: "en",
        choose: "You choose what we write to you about.",
        unsubscribe: "Unsubscribe",
        preferences: "Your settings",
    },
    Words {
        language: "lv",
        choose: "Jūs nosakāt, par ko jums rakstām.",
        unsubscribe: "Atteikties",
        preferences: "Jūsu iestatījumi",
    },
    Words {
        language: "lt",
        choose: "Jūs pasirenkate, apie ką jums rašome.",
        unsubscribe: "Atsisakyti",
        preferences: "Jūsų nustatymai",
    },
    Words {
        language: "da",
        choose: "Du vælger, hvad vi skriver til dig om.",
        unsubscribe: "Afmeld",
        preferences: "Dine indstillinger",
    },
    Words {
        language: "ru",
        choose: "Вы выбираете, о чём мы вам пишем.",
        unsubscribe: "Отписаться",
        preferences: "Ваши настройки",
    },
];

impl Footer<'_> {
    /// Below each part that does not hold the link to leave.
    pub fn below(&self, message: &mut Rendered, reader: &Locale) {
        let language = reader.as_str().split('-').next().unwrap_or_default();
        let words = WORDS.iter().find(|words| words.language == language).unwrap_or(&WORDS[0]);
        if !message.text.is_empty() && !message.text.contains(self.unsubscribe) {
            self.write_text(&mut message.text, words);
        }
        if !message.html.is_empty() && !message.html.contains(self.unsubscribe) {
            self.write_html(&mut message.html, words);
        }
    }

    /// Below the line at which mail programs cut what is quoted in an answer (RFC 3676, 4.3).
    fn write_text(&self, text: &mut String, words: &Words) {
        let end = text.trim_end().len();
        text.truncate(end);
        let Words { choose, unsubscribe, preferences, .. } = words;
        let (leave, change) = (self.unsubscribe, self.preferences);
        let _ = write!(text, "\n\n-- \n{choose}\n{unsubscribe}: {leave}\n{preferences}: {change}\n");
        if !self.postal_address.is_empty() {
            let _ = writeln!(text, "{}", self.postal_address);
        }
    }

    fn write_html(&self, html: &mut String, words: &Words) {
        let Words { language, choose, unsubscribe, preferences } = words;
        let (leave, change) = (escape(self.unsubscribe), escape(self.preferences));
        let postal_address = match self.postal_address {
            "" => String::new(),
            text => format!("<br>\n{}", escape(text).replace('\n', "<br>\n")),
        };
        let style =
            "margin:2em auto 0;max-width:40em;padding:1em;font:13px/1.6 sans-serif;color:#595959;text-align:center";
        let link = "color:#595959;text-decoration:underline";
        let footer = format!(
            "<div lang=\"{language}\" style=\"{style}\">{choose}<br>\n<a href=\"{leave}\" style=\"{link}\">{unsubscribe}</a> · \
             <a href=\"{change}\" style=\"{link}\">{preferences}</a>{postal_address}</div>\n"
        );
        html.insert_str(end_of_body(html), &footer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTER: Footer<'_> = Footer {
        unsubscribe: "https://example.com/u/a",
        preferences: "https://example.com/p/b",
        postal_address: "Shop & Co\nRīga",
    };

    fn below(text: &str, html: &str, locale: &str) -> Rendered {
        let mut message = Rendered { locale: None, subject: "x".into(), text: text.to_owned(), html: html.to_owned() };
        FOOTER.below(&mut message, &locale.parse().unwrap());
        message
    }

    #[test]
    fn a_footer_says_in_the_readers_language_how_to_leave() {
        let message = below("Hello.\n\n", "<html><body><p>Hello.</p></BODY></html>", "lv-LV");
        assert_eq!(
            message.text,
            "Hello.\n\n-- \nJūs nosakāt, par ko jums rakstām.\nAtteikties: https://example.com/u/a\n\
             Jūsu iestatījumi: https://example.com/p/b\nShop & Co\nRīga\n"
        );
        let (before, after) = message.html.split_once("<div lang=\"lv\"").unwrap();
        assert_eq!(before, "<html><body><p>Hello.</p>");
        assert!(after.ends_with("Shop &amp; Co<br>\nRīga</div>\n</BODY></html>"), "{after}");
        assert!(after.contains("<a href=\"https://example.com/u/a\""), "{after}");
        assert!(below("x", "", "et").text.contains("Unsubscribe: "));
        assert!(below("", "<p>x", "ru").html.starts_with("<p>x<div lang=\"ru\""));
    }

    #[test]
    fn a_message_that_says_it_already_gets_none() {
        let (text, html) = ("Leave: https://example.com/u/a", "<a href=\"https://example.com/u/a\">Leave</a>");
        let message = below(text, html, "en");
        assert_eq!((message.text.as_str(), message.html.as_str()), (text, html));
        assert_eq!(below("", "", "en").text, "");
    }
}
