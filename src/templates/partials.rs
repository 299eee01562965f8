//! Blocks that templates share: `{% include "template-id" %}` writes the block's text there, before anything else is done with
//! it. So MJML in a block is MJML, and a block sees every name that stands where it is included.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::Token;

use super::{
    Locale,
    fence::{Placed, Refused, tokens},
    template::{Content, Part, Variant},
};
use crate::ids::TemplateId;

/// Blocks in blocks in blocks.
pub(super) const DEEPEST: usize = 5;
/// A text with its blocks in it.
const LARGEST: usize = 512 * 1024;

/// The published blocks that a template includes, and those that they include.
#[derive(Debug, Clone, Default)]
pub struct Partials(BTreeMap<TemplateId, (i32, Content)>);

impl Partials {
    /// One more.
    pub fn add(&mut self, id: TemplateId, version: i32, content: Content) {
        self.0.insert(id, (version, content));
    }

    /// Which version of each.
    pub fn versions(&self) -> impl Iterator<Item = (&TemplateId, i32)> {
        self.0.iter().map(|(id, (version, _))| (id, *version))
    }

    /// Those that these texts or their blocks include, and that are not here.
    pub fn missing(&self, content: &Content) -> BTreeSet<TemplateId> {
        let mut missing = included(content);
        missing.extend(self.0.values().flat_map(|(_, content)| included(content)));
        missing.retain(|id| !self.0.contains_key(id));
        missing
    }

    /// A text with its blocks in it, in the language of its variant.
    pub(super) fn expand(&self, own: Option<&TemplateId>, variant: &Variant, part: Part) -> Result<Expanded, Refused> {
        let mut expanded = Expanded { text: String::new(), lines: vec![Origin { line: 1, block: None }] };
        let mut path = own.into_iter().collect();
        let reader = Reader { partials: self, locale: variant.locale.as_ref(), part };
        reader.write(part.source(variant), &mut path, None, &mut expanded)?;
        Ok(expanded)
    }
}

/// The blocks that texts include by name.
pub(super) fn included(content: &Content) -> BTreeSet<TemplateId> {
    let sources = content.variants.iter().flat_map(|variant| Part::ALL.map(|part| part.source(variant)));
    sources.flat_map(includes).map(|include| include.id).collect()
}

/// A text with its blocks in it.
#[derive(Debug)]
pub(super) struct Expanded {
    pub text: String,
    /// Where each of its lines is from.
    pub lines: Vec<Origin>,
}

/// Where a line is from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Of the template's own text.
    pub line: usize,
    /// The block, and its line.
    pub block: Option<(TemplateId, usize)>,
}

impl Origin {
    /// What is wrong there, said of the line that the author wrote.
    pub fn blame(&self, description: String) -> Refused {
        match &self.block {
            Some((id, line)) => Refused::new(self.line, format!("in partial {id} line {line}: {description}")),
            None => Refused::new(self.line, description),
        }
    }
}

struct Reader<'p> {
    partials: &'p Partials,
    locale: Option<&'p Locale>,
    part: Part,
}

struct Include {
    id: TemplateId,
    start: usize,
    end: usize,
}

impl<'p> Reader<'p> {
    /// Writes a source; `at` is the line of the template's own text that includes it.
    fn write(
        &self,
        source: &str,
        path: &mut Vec<&'p TemplateId>,
        at: Option<usize>,
        out: &mut Expanded,
    ) -> Result<(), Refused> {
        let mut done = 0;
        for include in includes(source) {
            self.keep(&source[done..include.start], source, done, path, at, out)?;
            let line = line_of(source, include.start);
            let own_line = at.unwrap_or(line);
            let Some((id, (_, content))) = self.partials.0.get_key_value(&include.id) else {
                return Err(Refused::new(own_line, format!("there is no published partial {}", include.id)));
            };
            if path.contains(&id) {
                return Err(Refused::new(own_line, format!("the partial {id} includes itself")));
            }
            if path.len() > DEEPEST {
                return Err(Refused::new(
                    own_line,
                    format!("partials include each other deeper than {DEEPEST} levels"),
                ));
            }
            let block = content.variant(self.locale).map_or("", |variant| self.part.source(variant));
            if block.trim().is_empty() {
                return Err(Refused::new(own_line, format!("the partial {id} has no {}", self.part.field())));
            }
            path.push(id);
            self.write(block.trim_end_matches('\n'), path, Some(own_line), out)?;
            path.pop();
            done = include.end;
        }
        self.keep(&source[done..], source, done, path, at, out)
    }

    /// Writes a piece of a source that includes nothing.
    fn keep(
        &self,
        piece: &str,
        source: &str,
        start: usize,
        path: &[&TemplateId],
        at: Option<usize>,
        out: &mut Expanded,
    ) -> Result<(), Refused> {
        if out.text.len() + piece.len() > LARGEST {
            return Err(Refused::new(at.unwrap_or(0), format!("with its partials it is longer than {LARGEST} bytes")));
        }
        out.text.push_str(piece);
        let first = line_of(source, start);
        for line in (first + 1..).take(piece.matches('\n').count()) {
            let block = at.and_then(|_| Some(((*path.last()?).clone(), line)));
            out.lines.push(Origin { line: at.unwrap_or(line), block });
        }
        Ok(())
    }
}

fn line_of(source: &str, at: usize) -> usize {
    source.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The includes of a source. One that says anything but an id in quotes stays where it is, and is an error there.
fn includes(source: &str) -> Vec<Include> {
    if !source.contains("include") {
        return Vec::new();
    }
    let Ok(tokens) = tokens(source) else { return Vec::new() };
    let include = |window: &[Placed<'_>]| {
        let [first, name, id, last] = window else { return None };
        let (Token::BlockStart, Token::Ident("include"), Token::BlockEnd) = (&first.token, &name.token, &last.token)
        else {
            return None;
        };
        let id = match &id.token {
            Token::Str(id) => id.parse().ok()?,
            _ => return None,
        };
        Some(Include { id, start: first.start, end: last.end })
    };
    tokens.windows(4).filter_map(include).collect()
}
