//! How pages look: plain HTML that needs nothing but itself, in the reader's language.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use minijinja::{
    AutoEscape, Environment, Error, UndefinedBehavior, Value, context,
    value::{Kwargs, Serde},
};
use sha2::{Digest, Sha256};

use crate::templates::{Locale, write_value};

const STYLE: &str = include_str!("html/style.css");
const TEMPLATES: [(&str, &str); 5] = [
    ("layout.html", include_str!("html/layout.html")),
    ("note.html", include_str!("html/note.html")),
    ("unsubscribe.html", include_str!("html/unsubscribe.html")),
    ("confirm.html", include_str!("html/confirm.html")),
    ("preferences.html", include_str!("html/preferences.html")),
];
/// The first is that of whoever reads none of them.
const LANGUAGES: [(&str, &str); 5] = [
    ("en", include_str!("texts/en.toml")),
    ("lv", include_str!("texts/lv.toml")),
    ("lt", include_str!("texts/lt.toml")),
    ("da", include_str!("texts/da.toml")),
    ("ru", include_str!("texts/ru.toml")),
];

/// The texts of one language.
#[derive(Debug)]
pub struct Language {
    /// Its name: "lv".
    pub name: &'static str,
    texts: BTreeMap<String, String>,
    shown: Value,
}

impl Language {
    /// One text; every language has the same ones, which a test sees to.
    pub fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }
}

/// Renders pages.
#[derive(Debug)]
pub struct Look {
    environment: Environment<'static>,
    languages: Vec<Language>,
    brand: Value,
    policy: HeaderValue,
}

impl Look {
    /// Pages of a company with this name.
    pub fn new(brand: String) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(write_value);
        environment.add_filter("fill", fill);
        for (name, source) in TEMPLATES {
            // They are part of the program, and a test renders each.
            if let Err(error) = environment.add_template(name, source) {
                tracing::error!(name, %error, "a page cannot be read");
            }
        }
        environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
        let read = |(name, source)| {
            let texts: BTreeMap<String, String> = toml::from_str(source).unwrap_or_default();
            Language { name, shown: Value::from(Serde(&texts)), texts }
        };
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; img-src data:; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        Self {
            environment,
            languages: LANGUAGES.into_iter().map(read).collect(),
            brand: brand.into(),
            policy: HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }

    /// The language for readers of a locale: the first of the locales that is there.
    pub fn language<'a>(&self, locales: impl IntoIterator<Item = &'a Locale>) -> &Language {
        let known = |name: &str| self.languages.iter().find(|language| language.name == name);
        let found = locales.into_iter().find_map(|locale| locale.chain().find_map(known));
        found.unwrap_or(&self.languages[0])
    }

    /// A page.
    pub fn page(&self, status: StatusCode, name: &str, language: &Language, data: Value) -> Response<Body> {
        let frame =
            context! { lang => language.name, brand => self.brand.clone(), t => language.shown.clone(), ..data };
        let rendered = self.environment.get_template(name).and_then(|template| template.render(frame));
        let (status, html) = rendered.map_or_else(
            |error| {
                tracing::error!(name, %error, "a page cannot be rendered");
                (StatusCode::INTERNAL_SERVER_ERROR, String::new())
            },
            |html| (status, html),
        );
        let mut response = Response::new(Body::from(html));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert("x-robots-tag", HeaderValue::from_static("noindex"));
        response
    }

    /// A page that only says something: a title and a text of this name.
    pub fn note(&self, status: StatusCode, language: &Language, name: &str) -> Response<Body> {
        let (title, text) = (language.text(&format!("{name}_title")), language.text(&format!("{name}_text")));
        self.page(status, "note.html", language, context! { title, text })
    }
}

/// A text with its gaps filled: "{topic}" by what is given as `topic`.
fn fill(text: String, given: Kwargs) -> Result<String, Error> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(before);
        filled.push_str(&given.get::<Value>(name)?.to_string());
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_language_has_the_same_texts_with_the_same_gaps() {
        let look = Look::new("The Shop".to_owned());
        let gaps = |text: &str| -> BTreeSet<String> {
            text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
        };
        let english = &look.languages[0];
        assert!(english.texts.len() > 40);
        for language in &look.languages {
            assert_eq!(language.texts.keys().collect::<Vec<_>>(), english.texts.keys().collect::<Vec<_>>());
            for (name, text) in &language.texts {
                assert!(!text.trim().is_empty(), "{} {name}", language.name);
                assert_eq!(gaps(text), gaps(&english.texts[name]), "{} {name}", language.name);
            }
        }
    }

    #[test]
    fn a_reader_gets_the_first_of_their_languages_that_is_there() {
        let look = Look::new(String::new());
        let locale = |text: &str| text.parse::<Locale>().unwrap();
        let chosen = |locales: &[Locale]| look.language(locales).name;
        assert_eq!(chosen(&[locale("lv-LV"), locale("da")]), "lv");
        assert_eq!(chosen(&[locale("fr"), locale("da")]), "da");
        assert_eq!(chosen(&[locale("fr")]), "en");
        assert_eq!(chosen(&[]), "en");
    }

    #[test]
    fn what_fills_a_gap_is_text_and_never_markup() {
        let look = Look::new(String::new());
        let language = look.language([]);
        let data = context! { topic => "<i>", address => "{topic}", wording => "<u>", done => "" };
        let page = look.environment.get_template("confirm.html").unwrap();
        let html = page.render(context! { lang => "en", brand => "<b>", t => language.shown.clone(), ..data }).unwrap();
        assert!(html.contains("&lt;i&gt;") && html.contains("{topic}") && html.contains("&lt;u&gt;"), "{html}");
        assert!(!html.contains("<i>") && !html.contains("<b>") && !html.contains("<u>"), "{html}");
    }
}
