//! Styles are written at the elements that they mean, because many mail programs read no others. What cannot be written there
//! (`@media`, `:hover`, and selectors beyond names, classes, ids and what holds what) stays in its style sheet; nothing else of
//! the HTML changes.

use std::{collections::HashMap, ops::Range};

use super::{
    fence::Refused,
    jinja::Tags,
    sheet::{Part, Rule, take_rules},
};

/// How often an element is held against a selector.
const MOST_TRIALS: usize = 10_000;
/// What all styles at elements may hold together.
const LARGEST: usize = 512 * 1024;
const DEEPEST: usize = 250;
const VOID: [&str; 14] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];
/// Elements that end where the next of their kind begins.
const SELF_ENDING: [&str; 7] = ["li", "p", "tr", "td", "th", "dt", "dd"];

/// The HTML with the styles of its own sheets at its elements; tags of the template are hidden in it.
pub(super) fn inline_sheets(html: &str, tags: &Tags<'_>) -> Result<String, Refused> {
    let (mut rules, mut rest, mut done) = (Vec::new(), String::with_capacity(html.len()), 0);
    for sheet in sheets(html) {
        let css = &html[sheet.clone()];
        // What is said only to some cannot be written at an element.
        if tags.decides(css) {
            continue;
        }
        rest.push_str(&html[done..sheet.start]);
        rest.push_str(&take_rules(css, &mut rules));
        done = sheet.end;
    }
    rest.push_str(&html[done..]);
    write_at_elements(&rest, rules)
}

/// The HTML with these styles at its elements; those in its sheets stay there.
pub(super) fn inline(html: &str, css: &str, tags: &Tags<'_>) -> Result<String, Refused> {
    if tags.decides(css) {
        return Err(Refused::new(0, "{% tags %} cannot stand in styles that are written at elements"));
    }
    let mut rules = Vec::new();
    let rest = take_rules(css, &mut rules);
    let html = write_at_elements(html, rules)?;
    match (rest.trim(), html.find("</head>")) {
        ("", _) | (_, None) => Ok(html),
        (rest, Some(end)) => Ok(format!("{}<style type=\"text/css\">{rest}</style>{}", &html[..end], &html[end..])),
    }
}

/// What stands between `<style>` and `</style>`.
fn sheets(html: &str) -> Vec<Range<usize>> {
    let lower = html.to_ascii_lowercase();
    let (mut sheets, mut at) = (Vec::new(), 0);
    while let Some(start) = lower[at..].find('<').map(|found| at + found) {
        if lower[start..].starts_with("<!--") {
            at = lower[start..].find("-->").map_or(html.len(), |end| start + end);
        } else if lower[start..].starts_with("<style") {
            let Some(open) = lower[start..].find('>').map(|end| start + end + 1) else { break };
            let close = lower[open..].find("</style").map_or(html.len(), |end| open + end);
            let media = lower[start..open].contains("media");
            if !media {
                sheets.push(open..close);
            }
            at = close;
        } else {
            at = start + 1;
        }
    }
    sheets
}

/// An element that is open.
#[derive(Debug, Default)]
struct Element {
    name: String,
    id: Option<String>,
    classes: Vec<String>,
}

/// The rules, found by what their element must be.
struct Index(HashMap<String, Vec<usize>>);

impl Index {
    fn of(rules: &[Rule]) -> Self {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, rule) in rules.iter().enumerate() {
            let Some(part) = rule.parts.first() else { continue };
            let key = match (&part.id, part.classes.first(), &part.name) {
                (Some(id), _, _) => format!("#{id}"),
                (_, Some(class), _) => format!(".{class}"),
                (_, _, name) => name.clone().unwrap_or_default(),
            };
            index.entry(key).or_default().push(place);
        }
        Self(index)
    }

    fn candidates(&self, element: &Element) -> Vec<usize> {
        let mut keys: Vec<String> = element.classes.iter().map(|class| format!(".{class}")).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.extend(element.id.iter().map(|id| format!("#{id}")));
        keys.push(element.name.clone());
        keys.iter().filter_map(|key| self.0.get(key)).flatten().copied().collect()
    }
}

fn write_at_elements(html: &str, rules: Vec<Rule>) -> Result<String, Refused> {
    if rules.is_empty() {
        return Ok(html.to_owned());
    }
    let index = Index::of(&rules);
    let (mut written, mut done, mut at, mut trials, mut added) = (String::with_capacity(html.len()), 0, 0, 0, 0);
    let mut open: Vec<Element> = Vec::new();
    while let Some(start) = html[at..].find('<').map(|found| at + found) {
        let Some(tag) = Tag::read(html, start) else {
            at = skipped(html, start);
            continue;
        };
        at = tag.end;
        if tag.ends {
            if let Some(place) = open.iter().rposition(|element| element.name == tag.element.name) {
                open.truncate(place);
            }
            continue;
        }
        if SELF_ENDING.contains(&tag.element.name.as_str())
            && open.last().is_some_and(|last| last.name == tag.element.name)
        {
            open.pop();
        }
        let name = tag.element.name.clone();
        if matches!(name.as_str(), "style" | "script" | "title" | "textarea") {
            at = html[at..].find("</").map_or(html.len(), |end| at + end);
            continue;
        }
        let candidates = index.candidates(&tag.element);
        trials += candidates.len();
        if trials > MOST_TRIALS {
            return Err(Refused::new(0, "there are too many styles for so many elements"));
        }
        let mut found: Vec<&Rule> = candidates
            .into_iter()
            .map(|place| &rules[place])
            .filter(|rule| rule.matches(&tag.element, &open))
            .collect();
        if !found.is_empty() {
            // Equal ones keep the order of the sheet.
            found.sort_by_key(|rule| rule.specificity);
            written.push_str(&html[done..start]);
            let before = written.len();
            tag.write(html, start, &found, &mut written);
            added += (written.len() - before).saturating_sub(tag.end - start);
            done = tag.end;
        }
        if added > LARGEST {
            return Err(Refused::new(0, format!("styles at elements would take more than {LARGEST} bytes")));
        }
        if !tag.is_closed && !VOID.contains(&name.as_str()) && open.len() < DEEPEST {
            open.push(tag.element);
        }
    }
    written.push_str(&html[done..]);
    Ok(written)
}

/// Where reading goes on after what is no tag.
fn skipped(html: &str, start: usize) -> usize {
    if html[start..].starts_with("<!--") {
        html[start..].find("-->").map_or(html.len(), |end| start + end + 3)
    } else {
        start + 1
    }
}

impl Rule {
    fn matches(&self, element: &Element, open: &[Element]) -> bool {
        let Some((first, above)) = self.parts.split_first() else { return false };
        first.matches(element) && holds(above, open)
    }
}

/// Whether the elements that are open hold each other as the parts say, the innermost first.
fn holds(parts: &[Part], open: &[Element]) -> bool {
    let (mut open, mut parts) = (open, parts);
    while let Some((part, rest)) = parts.split_first() {
        let place = if part.is_parent {
            open.len().checked_sub(1).filter(|last| part.matches(&open[*last]))
        } else {
            open.iter().rposition(|element| part.matches(element))
        };
        let Some(place) = place else { return false };
        (open, parts) = (&open[..place], rest);
    }
    true
}

impl Part {
    fn matches(&self, element: &Element) -> bool {
        self.name.as_ref().is_none_or(|name| *name == element.name)
            && self.id.as_ref().is_none_or(|id| Some(id) == element.id.as_ref())
            && self.classes.iter().all(|class| element.classes.contains(class))
    }
}

/// A tag of HTML.
struct Tag {
    element: Element,
    ends: bool,
    is_closed: bool,
    /// What stands between the quotes of its style, and the quote.
    style: Option<(Range<usize>, char)>,
    /// Where its name ends, and after its ">".
    name_end: usize,
    end: usize,
}

impl Tag {
    fn read(html: &str, start: usize) -> Option<Self> {
        let bytes = html.as_bytes();
        let ends = *bytes.get(start + 1)? == b'/';
        let name_start = start + 1 + usize::from(ends);
        let skip = |mut at: usize, holds: &dyn Fn(u8) -> bool| {
            while at < bytes.len() && holds(bytes[at]) {
                at += 1;
            }
            at
        };
        if !bytes.get(name_start)?.is_ascii_alphabetic() {
            return None;
        }
        let name_end = skip(name_start, &|byte| !byte.is_ascii_whitespace() && !b"/>".contains(&byte));
        let element = Element { name: html[name_start..name_end].to_ascii_lowercase(), ..Element::default() };
        let mut tag = Self { element, ends, is_closed: false, style: None, name_end, end: 0 };
        let mut at = name_end;
        loop {
            at = skip(at, &|byte| byte.is_ascii_whitespace() || byte == b'/');
            if *bytes.get(at)? == b'>' {
                tag.is_closed = bytes[at - 1] == b'/';
                tag.end = at + 1;
                return Some(tag);
            }
            let name = at;
            at = skip(at + 1, &|byte| !byte.is_ascii_whitespace() && !b"=>/".contains(&byte));
            let name = html.get(name..at)?.to_ascii_lowercase();
            let equals = skip(at, &|byte| byte.is_ascii_whitespace());
            if bytes.get(equals) != Some(&b'=') {
                continue;
            }
            let value = skip(equals + 1, &|byte| byte.is_ascii_whitespace());
            let quote = *bytes.get(value)?;
            let range = match quote {
                b'"' | b'\'' => value + 1..skip(value + 1, &|byte| byte != quote),
                _ => value..skip(value, &|byte| !byte.is_ascii_whitespace() && byte != b'>'),
            };
            bytes.get(range.end)?;
            let quoted = matches!(quote, b'"' | b'\'');
            at = range.end + usize::from(quoted);
            let text = html.get(range.clone())?;
            match name.as_str() {
                "id" => tag.element.id = Some(text.to_owned()),
                "class" => tag.element.classes = text.split_whitespace().map(str::to_owned).collect(),
                "style" if quoted => tag.style = Some((range, char::from(quote))),
                _ => (),
            }
        }
    }

    /// Writes the tag with what was found: it gives way to what the author wrote at the element, unless it is important.
    fn write(&self, html: &str, start: usize, found: &[&Rule], out: &mut String) {
        let quote = self.style.as_ref().map_or('"', |(_, quote)| *quote);
        let other = if quote == '"' { "'" } else { "\"" };
        let of = |important: bool| {
            let all = found.iter().flat_map(|rule| &rule.declarations);
            let texts = all.filter(move |declaration| declaration.important == important);
            texts.map(|declaration| declaration.text.replace(quote, other)).collect::<Vec<_>>()
        };
        let mut style = of(false);
        let (until, after) = match &self.style {
            Some((range, _)) => {
                style.push(html[range.clone()].trim().trim_end_matches(';').to_owned());
                (range.start, range.end)
            }
            None => (self.name_end, self.name_end),
        };
        style.extend(of(true));
        style.retain(|declaration| !declaration.is_empty());
        let style = style.join(";");
        match self.style {
            Some(_) => out.extend([&html[start..until], &style, &html[after..self.end]]),
            None => {
                // After the other attributes.
                let end = self.end - 1 - usize::from(self.is_closed);
                let before = html[start..end].trim_end();
                out.extend([before, " style=\"", &style, "\"", &html[end..self.end]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inlined(html: &str) -> String {
        let tags = Tags::of(html).unwrap();
        tags.shown(&inline_sheets(&tags.hidden(html), &tags).unwrap())
    }

    #[test]
    fn each_element_gets_what_the_sheet_says_of_it() {
        for (css, html, expected) in [
            ("p { color: red }", "<p>x</p>", "<p style=\"color:red\">x</p>"),
            (
                ".a, #b { margin: 0 1px; }",
                "<i class=\"c a\"></i><i id=b></i>",
                "<i class=\"c a\" style=\"margin:0 1px\"></i><i id=b style=\"margin:0 1px\"></i>",
            ),
            (
                "td p { a: 1 } table > p { b: 2 }",
                "<table><tr><td><p></table><p>",
                "<table><tr><td><p style=\"a:1\"></table><p>",
            ),
            ("p.x { a: 2 } p { a: 1 }", "<p class=x style='a: 3'>", "<p class=x style='a:1;a:2;a: 3'>"),
            ("p { a: 1 !important }", "<p style=\"a: 3;\">", "<p style=\"a: 3;a:1 !important\">"),
            ("p { font-family: \"A B\" }", "<p>", "<p style=\"font-family:'A B'\">"),
            ("img { width: 1px }", "<img src=x />", "<img src=x style=\"width:1px\"/>"),
            ("a { b: url(x;y) }", "<A HREF=\"{{ x }}\">", "<A HREF=\"{{ x }}\" style=\"b:url(x;y)\">"),
            ("p { color: {{ data.color }} }", "<p>", "<p style=\"color:{{ data.color }}\">"),
        ] {
            let html = inlined(&format!("<style>{css}</style>{html}"));
            assert_eq!(html, format!("<style></style>{expected}"), "{css}");
        }
    }

    #[test]
    fn what_cannot_stand_at_an_element_stays_in_its_sheet() {
        for css in [
            "@media (max-width: 480px) { p { color: red } }",
            "a:hover { color: red }",
            "p + p { color: red }",
            "[lang] { color: red }",
            "@import 'x';",
            "{% if data.a %}p { color: red }{% endif %}",
        ] {
            let html = format!("<style>{css}</style><p><a></a></p>");
            assert_eq!(inlined(&html), html);
        }
        let media = "<style media=\"screen\">p { color: red }</style><!-- <p> --><p>";
        assert_eq!(inlined(media), media);
    }

    #[test]
    fn too_much_is_refused() {
        let sheet: String = (0..400).map(|_| "p { color: red }").collect();
        let html = format!("<style>{sheet}</style>{}", "<p>".repeat(2_000));
        let tags = Tags::of(&html).unwrap();
        assert!(inline_sheets(&html, &tags).is_err());
    }
}
