//! MJML becomes HTML once for each version, not once for each message: what stands in tags of the template goes through as it is.

use mrml::{
    mj_head::MjHeadChild,
    mj_style::StyleInlineMode,
    prelude::{
        parser::{Error, ParserOptions, Span, WarningKind},
        render::RenderOptions,
    },
};

use super::{
    fence::Refused,
    inline,
    jinja::{Kind, Tags},
};

/// Deeper than this nobody nests elements.
const DEEPEST: usize = 60;
/// More elements make no letter.
const MOST_ELEMENTS: usize = 1_500;
/// Each picture of a carousel needs styles for all the others, and those below take over what is said above them.
const MOST_REPEATED: [(&str, usize); 4] =
    [("mj-carousel-image", 20), ("mj-social-element", 50), ("mj-navbar-link", 50), ("mj-accordion-element", 50)];
/// Longer addresses are cut by mail programs.
const LONGEST_VALUE: usize = 2_000;
/// What is said once for all elements, times the elements.
const MOST_DEFAULTS: usize = 2 * 1024 * 1024;
/// Larger HTML is clipped by mail programs many times over.
const LARGEST: usize = 512 * 1024;

/// Elements whose children are elements of MJML: between them a tag of the template stands as a comment.
const STRUCTURE: [&str; 17] = [
    "",
    "mjml",
    "mj-head",
    "mj-attributes",
    "mj-body",
    "mj-wrapper",
    "mj-section",
    "mj-group",
    "mj-column",
    "mj-hero",
    "mj-navbar",
    "mj-social",
    "mj-accordion",
    "mj-accordion-element",
    "mj-carousel",
    "mj-class",
    "mj-all",
];
/// Elements of HTML that hold nothing.
const VOID: [&str; 9] = ["area", "br", "col", "hr", "img", "input", "link", "meta", "wbr"];

/// What became of MJML.
#[derive(Debug)]
pub(super) struct Made {
    /// The HTML, with the tags of the template in it.
    pub html: String,
    /// For each line of it, that of the MJML.
    pub lines: Vec<usize>,
    /// What the author should look at: line and description.
    pub warnings: Vec<(usize, String)>,
}

/// The HTML of a document in MJML.
pub(super) fn to_html(source: &str) -> Result<Made, Refused> {
    let tags = Tags::of(source)?;
    let hidden = Hidden::of(source, &tags)?;
    // Nothing is included by MJML: the loader knows no file and no address.
    let parsed = mrml::parse_with_options(&hidden.text, &ParserOptions::default());
    let mut document = parsed.map_err(|error| Refused::new(hidden.line_of(source, place(&error)), describe(&error)))?;
    let warnings = document.warnings.iter().filter(|warning| warning.kind != WarningKind::InlineStyleUnsupported);
    let warnings = warnings
        .map(|warning| {
            let word = hidden.text.get(warning.span.start..warning.span.end).unwrap_or_default();
            let line = hidden.line_of(source, Some(warning.span.start));
            (line, format!("MJML does not know what is meant here ({}): {word}", warning.kind))
        })
        .collect();
    let styles = take_inline_styles(&mut document.element);
    let html = document.element.render(&RenderOptions::default());
    let html = html.map_err(|error| Refused::new(0, format!("MJML: {error}")))?;
    if html.len() > LARGEST {
        return Err(Refused::new(0, format!("MJML makes more than {LARGEST} bytes of HTML of this")));
    }
    check_tags(&tags, &hidden, &html)?;
    let html = if styles.is_empty() { html } else { inline::inline(&html, &styles, &tags)? };
    let (html, lines) = tags.shown_by_line(&html);
    Ok(Made { html, lines, warnings })
}

/// MJML in which words stand for the tags of a template.
struct Hidden {
    text: String,
    /// Pieces that are as in the source: where they begin here and there.
    pieces: Vec<(usize, usize)>,
    /// Whether each tag stands between quotes or in a style, where it may be written more than once.
    in_attribute: Vec<bool>,
}

impl Hidden {
    fn of(source: &str, tags: &Tags<'_>) -> Result<Self, Refused> {
        let mut scan = Scan::default();
        let mut hidden =
            Self { text: String::with_capacity(source.len()), pieces: Vec::new(), in_attribute: Vec::new() };
        let mut done = 0;
        for (number, tag) in tags.all.iter().enumerate() {
            hidden.keep(source, done..tag.start, &mut scan)?;
            let word = tags.word(number);
            match scan.place() {
                Place::Structure => hidden.text.extend(["<!--", &word, "-->"]),
                Place::Attribute | Place::Content => hidden.text.push_str(&word),
            }
            hidden.in_attribute.push(scan.place() == Place::Attribute);
            done = tag.end;
        }
        hidden.keep(source, done..source.len(), &mut scan)?;
        match scan.open.last() {
            Some(open) => Err(Refused::new(0, format!("<{open}> is not closed"))),
            None => Ok(hidden),
        }
    }

    fn keep(&mut self, source: &str, range: std::ops::Range<usize>, scan: &mut Scan) -> Result<(), Refused> {
        let mut at = range.start;
        let line = |at: usize| source[..at].matches('\n').count() + 1;
        while at < range.end {
            // A comment of the template is nobody else's business.
            let comment = source[at..range.end].find("{#").map_or(range.end, |found| at + found);
            let piece = &source[at..comment];
            if let Some(found) = piece.find("{%") {
                return Err(Refused::new(line(at + found), "raw blocks are not offered in MJML"));
            }
            self.pieces.push((self.text.len(), at));
            self.text.push_str(piece);
            scan.read(piece).map_err(|(place, what)| Refused::new(line(at + place), what))?;
            at = source[comment..range.end].find("#}").map_or(range.end, |end| comment + end + 2);
        }
        Ok(())
    }

    fn line_of(&self, source: &str, place: Option<usize>) -> usize {
        let Some(place) = place else { return 0 };
        let piece = self.pieces.partition_point(|(here, _)| *here <= place).saturating_sub(1);
        let at = self.pieces.get(piece).map_or(0, |(here, there)| there + place - here);
        source.as_bytes()[..at.min(source.len())].iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

/// Where a tag of the template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between elements of MJML.
    Structure,
    /// Inside an element's tag, or in a comment.
    Attribute,
    /// In what a reader sees.
    Content,
}

/// Reads markup piece by piece.
#[derive(Debug, Default)]
struct Scan {
    open: Vec<String>,
    state: State,
    tag: String,
    elements: usize,
    repeated: [usize; MOST_REPEATED.len()],
    /// The length of the value that is read, and of all that hold for every element.
    value: usize,
    defaults: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    Tag,
    Quoted(char),
    Comment,
}

impl Scan {
    fn place(&self) -> Place {
        if self.state != State::Text {
            return Place::Attribute;
        }
        let content = self.open.iter().any(|name| !STRUCTURE.contains(&name.as_str()));
        if content { Place::Content } else { Place::Structure }
    }

    fn read(&mut self, text: &str) -> Result<(), (usize, String)> {
        for (at, letter) in text.char_indices() {
            match (self.state, letter) {
                (State::Text, '<') if text[at..].starts_with("<!--") => self.state = State::Comment,
                (State::Text, '<') => {
                    self.state = State::Tag;
                    self.tag.clear();
                }
                (State::Comment, '>') if text[..at].ends_with("--") => self.state = State::Text,
                (State::Tag, '>') => {
                    self.state = State::Text;
                    self.end_tag().map_err(|what| (at, what))?;
                }
                (State::Tag, '"' | '\'') => {
                    self.state = State::Quoted(letter);
                    self.tag.push(' ');
                    self.value = 0;
                }
                (State::Tag, letter) => self.tag.push(letter),
                (State::Quoted(quote), letter) if letter == quote => self.state = State::Tag,
                (State::Quoted(_), _) => {
                    self.value += 1;
                    self.defaults += usize::from(self.open.last().is_some_and(|name| name == "mj-attributes"));
                    if self.value > LONGEST_VALUE {
                        return Err((at, format!("a value is longer than {LONGEST_VALUE} characters")));
                    }
                }
                _ => (),
            }
        }
        if self.defaults.saturating_mul(self.elements) > MOST_DEFAULTS {
            return Err((0, "mj-attributes says too much for so many elements".to_owned()));
        }
        Ok(())
    }

    fn end_tag(&mut self) -> Result<(), String> {
        if let Some(name) = self.tag.strip_prefix('/') {
            // MJML takes the end of anything for the end of what is open.
            return match (self.open.pop(), name.trim()) {
                (Some(open), name) if open == name => Ok(()),
                (Some(open), name) => Err(format!("<{open}> is open where </{name}> stands")),
                (None, name) => Err(format!("nothing is open where </{name}> stands")),
            };
        }
        let name = self.tag.split(|letter: char| letter.is_whitespace() || letter == '/').next().unwrap_or_default();
        self.elements += 1;
        for ((repeated, most), count) in MOST_REPEATED.iter().zip(&mut self.repeated) {
            *count += usize::from(name == *repeated);
            if *count > *most {
                return Err(format!("there are more than {most} {repeated}"));
            }
        }
        if !self.tag.ends_with('/') && !VOID.contains(&name) && !name.starts_with('!') {
            self.open.push(name.to_owned());
        }
        match () {
            () if self.elements > MOST_ELEMENTS => Err(format!("there are more than {MOST_ELEMENTS} elements")),
            () if self.open.len() > DEEPEST => Err(format!("elements nest deeper than {DEEPEST} levels")),
            () => Ok(()),
        }
    }
}

/// MJML computes with some values and leaves some places out: a tag that did not come through as it was written would say
/// something else, or nothing.
fn check_tags(tags: &Tags<'_>, hidden: &Hidden, html: &str) -> Result<(), Refused> {
    let (counts, in_order) = tags.count(html);
    for ((tag, count), in_attribute) in tags.all.iter().zip(&counts).zip(&hidden.in_attribute) {
        let start: String = tag.source.chars().take(60).collect();
        if *count == 0 {
            let why = "MJML does not show what stands here, or computes with it";
            return Err(Refused::new(tag.line, format!("{start} cannot stand here: {why}")));
        }
        if *count > 1 && tag.kind == Kind::Statement && !in_attribute {
            return Err(Refused::new(tag.line, format!("{start} cannot stand here: MJML writes it {count} times")));
        }
    }
    let shown: usize = tags.all.iter().zip(&counts).map(|(tag, count)| tag.source.len() * count).sum();
    if shown + html.len() > LARGEST {
        return Err(Refused::new(0, format!("MJML makes more than {LARGEST} bytes of HTML of this")));
    }
    let only_once = counts.iter().all(|count| *count <= 1);
    if only_once && !in_order {
        return Err(Refused::new(0, "MJML changes the order of {% tags %}: write them around whole elements"));
    }
    Ok(())
}

/// The styles that are to stand at the elements, taken out of the head.
fn take_inline_styles(document: &mut mrml::mjml::Mjml) -> String {
    let mut styles = String::new();
    let Some(head) = &mut document.children.head else { return styles };
    head.children.retain(|child| match child {
        MjHeadChild::MjStyle(style) if style.inline_mode() == StyleInlineMode::Inline => {
            styles.push_str(style.children());
            styles.push('\n');
            false
        }
        _ => true,
    });
    styles
}

fn place(error: &Error) -> Option<usize> {
    let span: &Span = match error {
        Error::UnexpectedElement { position, .. }
        | Error::UnexpectedToken { position, .. }
        | Error::MissingAttribute { position, .. }
        | Error::InvalidAttribute { position, .. }
        | Error::InvalidFormat { position, .. }
        | Error::IncludeLoaderError { position, .. } => position,
        Error::EndOfStream { .. } | Error::SizeLimit { .. } | Error::ParserError { .. } | Error::NoRootNode => {
            return None;
        }
    };
    Some(span.start)
}

fn describe(error: &Error) -> String {
    match error {
        Error::UnexpectedElement { .. } => "MJML: this element cannot stand here".to_owned(),
        Error::UnexpectedToken { .. } => "MJML: this cannot stand here".to_owned(),
        Error::MissingAttribute { name, .. } => format!("MJML: the attribute {name} is missing"),
        Error::InvalidAttribute { .. } => "MJML: this attribute cannot be read".to_owned(),
        Error::InvalidFormat { .. } => "MJML: this value cannot be read".to_owned(),
        Error::EndOfStream { .. } => "MJML: an element does not end".to_owned(),
        Error::SizeLimit { .. } => "MJML: there is too much of it".to_owned(),
        Error::ParserError { source, .. } => format!("MJML: {source}"),
        Error::NoRootNode => "MJML: a document begins with <mjml>".to_owned(),
        Error::IncludeLoaderError { .. } => "mj-include is not offered: write {% include \"template-id\" %}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(body: &str) -> String {
        format!("<mjml>\n<mj-body>\n<mj-section>\n<mj-column>\n{body}\n</mj-column></mj-section></mj-body></mjml>")
    }

    fn html(source: &str) -> String {
        to_html(source).map(|made| made.html.replace("{{\n", "{{").replace("{%\n", "{%")).unwrap()
    }

    #[test]
    fn tags_of_the_template_come_through_as_they_were_written() {
        for part in [
            "<mj-text>Dear {{ customer.given_name | default(\"friend\", true) }},</mj-text>",
            "{% if 1 < 2 %}<mj-text>yes</mj-text>{% else %}<mj-text>no</mj-text>{% endif %}",
            "{% for item in event[\"items\"] %}<mj-text>{{ item.title }}</mj-text>{% endfor %}",
            "<mj-text>{% if a > b %}<b>x</b>{% elif '\"' == \"}}\" %}y{% endif %}</mj-text>",
            "<mj-table>{% for row in data.rows %}<tr><td>{{ row }}</td></tr>{% endfor %}</mj-table>",
            "<mj-button href=\"https://shop.example/{{ data.path }}?a={% if b %}1{% else %}2{% endif %}\">Go</mj-button>",
            "<mj-image src=\"{{ data.picture }}\" alt='{{ data[\"alt\"] }}' />",
            "<mj-text color=\"{{ data.color }}\">x</mj-text>",
            "<mj-raw>{{ data.html }}</mj-raw>",
            "<mj-social>{% for one in data.links %}<mj-social-element name=\"web\" href=\"{{ one }}\">x</mj-social-element>{% endfor %}</mj-social>",
        ] {
            let made = html(&document(part));
            let tags = Tags::of(part).unwrap();
            for tag in &tags.all {
                assert!(made.contains(tag.source), "{} is not in {made}", tag.source);
            }
        }
    }

    #[test]
    fn a_tag_around_a_section_stays_around_it() {
        let made = html(
            "<mjml><mj-body>{% if a %}<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>{% endif %}</mj-body></mjml>",
        );
        let (before, after) = made.split_once("{% if a %}").unwrap();
        assert!(!before.contains(">x<") && after.contains(">x<"), "{made}");
        let (inside, _) = after.split_once("{% endif %}").unwrap();
        assert_eq!(inside.matches("<table").count(), inside.matches("</table").count(), "{inside}");
    }

    #[test]
    fn what_cannot_come_through_is_refused_with_its_line() {
        for (part, line) in [
            ("<mj-text padding=\"1px\">a</mj-text>\n<mj-image width=\"{{ data.width }}px\" src=\"x\" />", 6),
            ("<mj-text>\n</mj-section>", 6),
            ("<mj-include path=\"/etc/passwd\" />", 5),
            ("<mj-text>{% raw %}{{{% endraw %}</mj-text>", 5),
            ("<mj-text>{{ a </mj-text>", 0),
        ] {
            let error = to_html(&document(part)).unwrap_err();
            assert!(line == 0 || error.line == line, "{part}: {error:?}");
        }
        let unknown =
            "<mjml><mj-head>\n<mj-style colour=\"red\">a { b: c }</mj-style></mj-head><mj-body></mj-body></mjml>";
        let unknown = to_html(unknown).unwrap();
        assert_eq!(unknown.warnings.first().map(|(line, _)| *line), Some(2), "{:?}", unknown.warnings);
    }

    #[test]
    fn styles_that_are_to_be_inlined_are() {
        let made = html(
            "<mjml><mj-head><mj-style inline=\"inline\">.note { color: #123456 }</mj-style><mj-style>.a:hover { color: red }</mj-style></mj-head>\
             <mj-body><mj-section><mj-column><mj-text><p class=\"note\">x</p></mj-text></mj-column></mj-section></mj-body></mjml>",
        );
        assert!(made.contains("<p class=\"note\" style=\"color:#123456\">"), "{made}");
        assert!(made.contains(".a:hover") && !made.contains(".note {"), "{made}");
    }

    #[test]
    fn bombs_are_refused() {
        let nested = format!("<mj-raw>{}</mj-raw>", "<div>".repeat(100_000));
        let many = "<mj-spacer />".repeat(10_000);
        let carousel = format!("<mj-carousel>{}</mj-carousel>", "<mj-carousel-image src=\"x\" />".repeat(1_000));
        for part in [nested, many, carousel] {
            assert!(to_html(&document(&part)).is_err());
        }
    }
}
