//! The rules of a style sheet, as far as they can be written at elements: names, classes, ids, and what holds what.

/// More rules make no letter.
const MOST_RULES: usize = 500;

/// A selector with what it says.
#[derive(Debug)]
pub(super) struct Rule {
    /// The element, and then what holds it, from the inside.
    pub(super) parts: Vec<Part>,
    /// Ids, classes, names.
    pub(super) specificity: (usize, usize, usize),
    pub(super) declarations: Vec<Declaration>,
}

#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) classes: Vec<String>,
    /// It stands right above, not just somewhere.
    pub(super) is_parent: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Declaration {
    pub(super) text: String,
    pub(super) important: bool,
}

/// Takes rules out of a sheet that can be written at elements, and answers what is left of it.
pub(super) fn take_rules(css: &str, rules: &mut Vec<Rule>) -> String {
    let css = without_comments(css);
    let (mut rest, mut at) = (String::new(), 0);
    while at < css.len() && rules.len() < MOST_RULES {
        let Some(open) = css[at..].find(['{', ';']).map(|found| at + found) else { break };
        let head = &css[at..open];
        let is_at_rule = head.trim_start().starts_with('@');
        if css.as_bytes()[open] == b';' {
            rest.push_str(&css[at..=open]);
            at = open + 1;
            continue;
        }
        let Some(close) = matching(&css, open) else { break };
        let body = &css[open + 1..close];
        let simple = !is_at_rule && !body.contains('{');
        let selectors: Vec<Option<Vec<Part>>> =
            head.split(',').map(|selector| if simple { parse_selector(selector) } else { None }).collect();
        if rules.len() + selectors.len() <= MOST_RULES && selectors.iter().all(Option::is_some) {
            let declarations = parse_declarations(body);
            rules.extend(selectors.into_iter().flatten().map(|parts| Rule {
                specificity: specificity(&parts),
                parts,
                declarations: declarations.clone(),
            }));
            rest.extend(css[at..=close].chars().filter(|letter| *letter == '\n'));
        } else {
            rest.push_str(&css[at..=close]);
        }
        at = close + 1;
    }
    rest.push_str(&css[at.min(css.len())..]);
    rest
}

fn without_comments(css: &str) -> String {
    let (mut text, mut at) = (String::with_capacity(css.len()), 0);
    while let Some(start) = css[at..].find("/*").map(|found| at + found) {
        text.push_str(&css[at..start]);
        let end = css[start + 2..].find("*/").map_or(css.len(), |end| start + 2 + end + 2);
        text.extend(css[start..end].chars().filter(|letter| *letter == '\n'));
        at = end;
    }
    text.push_str(&css[at..]);
    text
}

/// The brace that closes the one at `open`.
fn matching(css: &str, open: usize) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, letter) in css[open..].char_indices() {
        match (quote, letter) {
            (Some(close), letter) if letter == close => quote = None,
            (Some(_), _) => (),
            (None, '"' | '\'') => quote = Some(letter),
            (None, '{') => depth += 1,
            (None, '}') if depth == 1 => return Some(open + at),
            (None, '}') => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    None
}

/// Names, classes, ids and what holds what; none where it says more.
fn parse_selector(text: &str) -> Option<Vec<Part>> {
    let text = text.trim().replace('>', " > ");
    let (mut parts, mut is_parent) = (Vec::new(), false);
    for word in text.split_whitespace() {
        if word == ">" {
            is_parent = true;
            continue;
        }
        let mut part = parse_compound(word)?;
        if let Some(above) = parts.last_mut() {
            let above: &mut Part = above;
            above.is_parent = std::mem::take(&mut is_parent);
        } else if is_parent {
            return None;
        }
        part.is_parent = false;
        parts.push(part);
    }
    parts.reverse();
    (!parts.is_empty() && !is_parent).then_some(parts)
}

fn parse_compound(word: &str) -> Option<Part> {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | '#');
    if !word.chars().all(plain) {
        return None;
    }
    let mut part = Part::default();
    let first = word.find(['.', '#']).unwrap_or(word.len());
    if first > 0 {
        part.name = Some(word[..first].to_ascii_lowercase());
    }
    let mut rest = &word[first..];
    while !rest.is_empty() {
        let end = rest[1..].find(['.', '#']).map_or(rest.len(), |end| end + 1);
        let name = rest[1..end].to_owned();
        match (&rest[..1], name.is_empty()) {
            (_, true) => return None,
            (".", _) => part.classes.push(name),
            _ => part.id = Some(name),
        }
        rest = &rest[end..];
    }
    Some(part)
}

fn specificity(parts: &[Part]) -> (usize, usize, usize) {
    parts.iter().fold((0, 0, 0), |(ids, classes, names), part| {
        (ids + usize::from(part.id.is_some()), classes + part.classes.len(), names + usize::from(part.name.is_some()))
    })
}

fn parse_declarations(body: &str) -> Vec<Declaration> {
    let (mut declarations, mut start, mut quote, mut parentheses) = (Vec::new(), 0, None, 0_usize);
    for (at, letter) in body.char_indices().chain([(body.len(), ';')]) {
        match (quote, letter) {
            (Some(close), letter) if letter == close => quote = None,
            (Some(_), _) if at < body.len() => (),
            (None, '"' | '\'') => quote = Some(letter),
            (None, '(') => parentheses += 1,
            (None, ')') => parentheses = parentheses.saturating_sub(1),
            (_, ';') if parentheses == 0 || at == body.len() => {
                declarations.extend(parse_declaration(&body[start..at]));
                start = at + 1;
            }
            _ => (),
        }
    }
    declarations
}

fn parse_declaration(text: &str) -> Option<Declaration> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.split_whitespace().collect::<Vec<_>>().join(" "));
    let important = value.to_ascii_lowercase().ends_with("!important");
    if name.is_empty() || value.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    Some(Declaration { text: format!("{name}:{value}"), important })
}
