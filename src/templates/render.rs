//! Templates made ready, and messages made of them. Fenced: no way to a file or the network, a budget of steps, a largest
//! output; a name that is not there is an error and not an empty text.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use minijinja::{Environment, ErrorKind, Value, value::Serde};
use serde_json::{Map, Value as Json};

use super::{
    Locale,
    fence::{Refused, fence},
    inline,
    jinja::Tags,
    meter::{ALL_VALUES, STEPS, fenced},
    mjml,
    partials::{Expanded, Origin, Partials},
    plain::text_of,
    preheader,
    template::{Content, Part, Variant},
};
use crate::ids::TemplateId;

const LARGEST_OUTPUT: usize = 2 * 1024 * 1024;

/// What a message is rendered from.
#[derive(Debug, Clone)]
pub struct Data {
    values: Map<String, Json>,
    unsubscribe_url: String,
    preferences_url: String,
}

impl Data {
    /// From what the customer brings, and the event, where one caused the message, and what the caller gave. Its links lead
    /// nowhere, as in a preview.
    pub fn new(customer: Json, event: Option<Json>, data: Map<String, Json>) -> Self {
        let mut all = Map::new();
        all.insert("customer".to_owned(), customer);
        all.insert("data".to_owned(), Json::Object(data));
        if let Some(event) = event {
            all.insert("event".to_owned(), event);
        }
        Self {
            values: all,
            unsubscribe_url: "https://example.com/u/preview".to_owned(),
            preferences_url: "https://example.com/p/preview".to_owned(),
        }
    }

    /// This, with the links of a message that is sent.
    pub fn with_links(mut self, unsubscribe_url: String, preferences_url: String) -> Self {
        (self.unsubscribe_url, self.preferences_url) = (unsubscribe_url, preferences_url);
        self
    }

    /// This, to another customer.
    pub fn to(mut self, customer: Json) -> Self {
        self.values.insert("customer".to_owned(), customer);
        self
    }

    /// This, with `over` laid over it key by key.
    pub fn overlaid(mut self, over: Map<String, Json>) -> Self {
        overlay(&mut self.values, over);
        self
    }

    pub(super) fn context(&self) -> Value {
        let values = Value::from(Serde(&self.values));
        let (unsubscribe_url, preferences_url) = (link(&self.unsubscribe_url), link(&self.preferences_url));
        minijinja::context! { unsubscribe_url, preferences_url, ..values }
    }
}

/// Written as it is, where nothing in it means anything in HTML: slashes need no escape, and not everybody who looks for links
/// undoes one.
fn link(url: &str) -> Value {
    let plain = !url.contains(['&', '<', '>', '"', '\'']);
    if plain { Value::from_safe_string(url.to_owned()) } else { Value::from(url) }
}

fn overlay(under: &mut Map<String, Json>, over: Map<String, Json>) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Json::Object(below)), Json::Object(above)) => overlay(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

/// A message for one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The variant that was chosen; none = the fallback.
    pub locale: Option<Locale>,
    /// One line.
    pub subject: String,
    /// The plain-text part; empty = none.
    pub text: String,
    /// The HTML part; empty = none.
    pub html: String,
}

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {description}", part.field(), match line { 0 => String::new(), line => format!(" line {line}") })]
pub struct RenderError {
    /// In which field.
    pub part: Part,
    /// In which line, from 1; 0 = not known.
    pub line: usize,
    /// What is wrong; names of variables, never their values.
    pub description: String,
    /// Other data would help: a name is not there.
    pub depends_on_data: bool,
}

/// A version made ready for rendering.
#[derive(Debug)]
pub struct Compiled {
    content: Content,
    environment: Environment<'static>,
    /// Where the lines of each text are from.
    lines: HashMap<String, Vec<Origin>>,
    warnings: Vec<RenderError>,
    partials: Vec<(TemplateId, i32)>,
}

impl Compiled {
    /// Makes every text ready: blocks are written in, MJML becomes HTML, styles go to their elements. The first that cannot be
    /// made ready is the error.
    pub fn new(content: Content, partials: &Partials) -> Result<Self, RenderError> {
        let mut compiled = Self {
            content,
            environment: fenced(),
            lines: HashMap::new(),
            warnings: Vec::new(),
            partials: partials.versions().map(|(id, version)| (id.clone(), version)).collect(),
        };
        let variants = std::mem::take(&mut compiled.content.variants);
        for variant in &variants {
            for part in Part::ALL {
                compiled.add(None, variant, part, partials)?;
            }
        }
        compiled.content.variants = variants;
        Ok(compiled)
    }

    /// Makes one text ready; `own` is the template that it belongs to.
    pub(super) fn add(
        &mut self,
        own: Option<&TemplateId>,
        variant: &Variant,
        part: Part,
        partials: &Partials,
    ) -> Result<(), RenderError> {
        if part.source(variant).is_empty() {
            return Ok(());
        }
        let (text, lines) = self.prepare(own, variant, part, partials).map_err(|refused| refused.of(part))?;
        let name = name(variant, part);
        let blame = |error| refusal(part, &error).blamed_on(&lines);
        let text = fence(&text).map_err(|refused| refused.of(part).blamed_on(&lines))?;
        self.environment.add_template_owned(name.clone(), text).map_err(blame)?;
        self.lines.insert(name, lines);
        Ok(())
    }

    fn prepare(
        &mut self,
        own: Option<&TemplateId>,
        variant: &Variant,
        part: Part,
        partials: &Partials,
    ) -> Result<(String, Vec<Origin>), Refused> {
        let Expanded { text, lines } = partials.expand(own, variant, part)?;
        let blame = |refused: Refused| match lines.get(refused.line.wrapping_sub(1)) {
            Some(origin) => origin.blame(refused.description),
            None => refused,
        };
        match part {
            Part::Mjml => {
                let made = mjml::to_html(&text).map_err(blame)?;
                self.warnings
                    .extend(made.warnings.into_iter().map(|(line, what)| blame(Refused::new(line, what)).of(part)));
                let lines = made.lines.iter().map(|line| lines[(line - 1).min(lines.len() - 1)].clone()).collect();
                Ok((made.html, lines))
            }
            Part::Html if text.contains('<') => {
                let tags = Tags::of(&text).map_err(blame)?;
                let html = inline::inline_sheets(&tags.hidden(&text), &tags)?;
                Ok((tags.shown(&html), lines))
            }
            _ => Ok((text, lines)),
        }
    }

    /// What its author should look at.
    pub fn warnings(&self) -> &[RenderError] {
        &self.warnings
    }

    /// The blocks in it, each with its version.
    pub fn partials(&self) -> &[(TemplateId, i32)] {
        &self.partials
    }

    /// The message for a customer of this locale.
    pub fn render(&self, locale: Option<&Locale>, data: &Data) -> Result<Rendered, RenderError> {
        let Some(variant) = self.content.variant(locale) else {
            let description = "there is no variant without a locale to fall back on".to_owned();
            return Err(RenderError { part: Part::Subject, line: 0, description, depends_on_data: false });
        };
        let context = data.context();
        let render = |part| self.render_part(variant, part, &context);
        let subject = render(Part::Subject)?.trim().to_owned();
        if subject.chars().any(char::is_control) {
            let description = "renders to more than one line or holds a control character".to_owned();
            return Err(RenderError { part: Part::Subject, line: 0, description, depends_on_data: false });
        }
        let part = if variant.mjml_body.is_empty() { Part::Html } else { Part::Mjml };
        let (mut text, mut html) = (render(Part::Text)?, render(part)?);
        if text.is_empty() && !html.is_empty() {
            text = text_of(&html).map_err(|description| Refused::new(0, description).of(part))?;
        }
        let preheader = render(Part::Preheader)?;
        if !preheader.trim().is_empty() && !html.is_empty() {
            html = preheader::written_into(html, &preheader);
        }
        Ok(Rendered { locale: variant.locale.clone(), subject, text, html })
    }

    pub(super) fn render_part(&self, variant: &Variant, part: Part, context: &Value) -> Result<String, RenderError> {
        let source = part.source(variant);
        if source.is_empty() {
            return Ok(String::new());
        }
        let name = name(variant, part);
        let mut output = Bounded(Vec::with_capacity(2 * source.len()));
        self.environment
            .get_template(&name)
            .and_then(|template| template.render_captured_to(context.clone(), &mut output).map(drop))
            .map_err(|error| refusal(part, &error).blamed_on(self.lines.get(&name).map_or(&[], Vec::as_slice)))?;
        Ok(String::from_utf8(output.0).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()))
    }

    /// The text as it is rendered, for whoever looks at its names.
    pub(super) fn names(&self, variant: &Variant, part: Part) -> HashSet<String> {
        let template = self.environment.get_template(&name(variant, part));
        template.map(|template| template.undeclared_variables(true)).unwrap_or_default()
    }

    /// The line of the author's text in which a rendered text holds something first.
    pub(super) fn line_of(&self, variant: &Variant, part: Part, what: &str) -> usize {
        let name = name(variant, part);
        let Ok(template) = self.environment.get_template(&name) else { return 0 };
        let Some(line) = template.source().lines().position(|line| line.contains(what)) else { return 0 };
        self.lines.get(&name).and_then(|lines| lines.get(line)).map_or(0, |origin| origin.line)
    }
}

impl Refused {
    pub(super) fn of(self, part: Part) -> RenderError {
        let Self { line, description } = self;
        RenderError { part, line, description, depends_on_data: false }
    }
}

impl RenderError {
    /// This, said of the line that the author wrote.
    fn blamed_on(self, lines: &[Origin]) -> Self {
        match lines.get(self.line.wrapping_sub(1)) {
            Some(origin) => {
                let Refused { line, description } = origin.blame(self.description);
                Self { line, description, ..self }
            }
            None => self,
        }
    }
}

fn name(variant: &Variant, part: Part) -> String {
    let locale = variant.locale.as_ref().map_or("", Locale::as_str);
    let kind = if part.is_markup() { "html" } else { "txt" };
    format!("{locale}/{}.{kind}", part.field())
}

fn refusal(part: Part, error: &minijinja::Error) -> RenderError {
    let description = match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, Some(detail)) => format!("uses a name that is not there: {detail}"),
        (ErrorKind::UndefinedError, None) => "uses a name that is not there".to_owned(),
        (ErrorKind::OutOfFuel, _) => {
            format!("takes more than {STEPS} steps, or its values weigh more than {ALL_VALUES} bytes")
        }
        (ErrorKind::WriteFailure, _) => format!("renders to more than {LARGEST_OUTPUT} bytes"),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    RenderError {
        part,
        line: error.line().unwrap_or(0),
        description,
        depends_on_data: error.kind() == ErrorKind::UndefinedError,
    }
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variant(locale: &str, subject: &str, text: &str, html: &str) -> Variant {
        let locale = if locale.is_empty() { None } else { Some(locale.parse().unwrap()) };
        Variant {
            locale,
            subject: subject.into(),
            text_body: text.into(),
            html_body: html.into(),
            ..Variant::default()
        }
    }

    fn render(variants: Vec<Variant>, locale: Option<&str>, customer: Json) -> Result<Rendered, RenderError> {
        let content = Content { variants, sample_data: Map::new() };
        let locale: Option<Locale> = locale.map(|locale| locale.parse().unwrap());
        Compiled::new(content, &Partials::default())?.render(locale.as_ref(), &Data::new(customer, None, Map::new()))
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let letter = variant("", "Hi {{ customer.name }}", "Dear {{ customer.name }}", "<p>{{ customer.name }}</p>");
        let rendered = render(vec![letter], None, json!({"name": "Tom & <b>Jerry</b> {{ 7*7 }}"})).unwrap();
        assert_eq!(rendered.subject, "Hi Tom & <b>Jerry</b> {{ 7*7 }}");
        assert_eq!(rendered.text, "Dear Tom & <b>Jerry</b> {{ 7*7 }}");
        assert_eq!(rendered.html, "<p>Tom &amp; &lt;b&gt;Jerry&lt;/b&gt; {{ 7*7 }}</p>");
    }

    #[test]
    fn the_nearest_variant_is_chosen() {
        let variants =
            || vec![variant("", "fallback", "x", ""), variant("pt", "pt", "x", ""), variant("pt-BR", "br", "x", "")];
        for (locale, chosen) in
            [(None, "fallback"), (Some("lv"), "fallback"), (Some("pt-PT"), "pt"), (Some("pt-br"), "br")]
        {
            assert_eq!(render(variants(), locale, json!({})).unwrap().subject, chosen);
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_unless_the_author_says_otherwise() {
        let strict = variant("", "Hi", "first\n{{ customer.name }}", "");
        let error = render(vec![strict], None, json!({})).unwrap_err();
        assert_eq!((error.part, error.line), (Part::Text, 2));
        let mild = variant("", "Hi {{ customer.name | default('friend', true) }}", "x", "");
        assert_eq!(render(vec![mild], None, json!({"name": ""})).unwrap().subject, "Hi friend");
    }

    #[test]
    fn a_hostile_template_ends_in_an_error() {
        for body in [
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% include '/text.txt' %}",
            "{% for a in 'xxxxxxxxxx' %}{% for b in 'xxxxxxxxxx' %}{% for c in 'xxxxxxxxxx' %}{% for d in 'xxxxxxxxxx' %}\
             {% for e in 'xxxxxxxxxx' %}{{ a }}{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
            "{{ range(1000000) }}",
            "{{ 'x' | indent(1000000000) }}",
            "{{ 'x' * 3000000 }}",
            "{% include '/etc/passwd' %}",
            "{{ 1 / 0 }}",
        ] {
            assert!(render(vec![variant("", "s", body, "")], None, json!({})).is_err(), "{body}");
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        let letter = variant("", "a{{ customer.name }}b", "x", "");
        assert!(render(vec![letter], None, json!({"name": "\r\nBcc: x@example.com"})).is_err());
    }
}
