//! Tags of templates inside markup that a program reads that knows nothing of them: each becomes a word, and a tag again
//! afterwards.

use minijinja::machinery::Token;

use super::fence::{Placed, Refused, tokens};

/// A tag that decides or repeats, or one that says a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Statement,
    Value,
}

/// A tag of a template.
#[derive(Debug)]
pub(super) struct Tag<'s> {
    pub kind: Kind,
    pub source: &'s str,
    pub start: usize,
    pub end: usize,
    pub line: usize,
    /// Where its inside begins.
    inside: usize,
}

/// The tags of a source, and the word that stands for them.
#[derive(Debug)]
pub(super) struct Tags<'s> {
    pub all: Vec<Tag<'s>>,
    mark: String,
}

impl<'s> Tags<'s> {
    pub fn of(source: &'s str) -> Result<Self, Refused> {
        let mut all = Vec::new();
        let mut open: Option<(&Placed<'_>, Kind)> = None;
        let tokens = tokens(source)?;
        for placed in &tokens {
            match (&placed.token, open) {
                (Token::VariableStart, _) => open = Some((placed, Kind::Value)),
                (Token::BlockStart, _) => open = Some((placed, Kind::Statement)),
                (Token::VariableEnd | Token::BlockEnd, Some((first, kind))) => {
                    let (start, end) = (first.start, placed.end);
                    all.push(Tag {
                        kind,
                        source: &source[start..end],
                        start,
                        end,
                        line: first.line,
                        inside: first.end - start,
                    });
                    open = None;
                }
                _ => (),
            }
        }
        if let Some((first, _)) = open {
            return Err(Refused::new(first.line, "a tag does not end"));
        }
        let mut mark = "tag".to_owned();
        while source.contains(&mark) {
            mark.push('q');
        }
        Ok(Self { all, mark })
    }

    /// What stands for a tag: one word, whatever reads it.
    pub fn word(&self, number: usize) -> String {
        format!("{}{number:05}z", self.mark)
    }

    /// The source with a word for each tag. Only for markup in which a word may stand wherever a tag stands.
    pub fn hidden(&self, source: &str) -> String {
        let (mut text, mut done) = (String::with_capacity(source.len()), 0);
        for (number, tag) in self.all.iter().enumerate() {
            text.push_str(&source[done..tag.start]);
            text.push_str(&self.word(number));
            done = tag.end;
        }
        text + &source[done..]
    }

    /// The tags again, each where its word stands.
    pub fn shown(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len() + 64);
        self.each_word(text, |before, tag| {
            shown.push_str(before);
            shown.push_str(tag.map_or("", |tag| tag.source));
        });
        shown
    }

    /// The tags again, each on a line of its own, which no reader sees; and which line of the source each line belongs to.
    pub fn shown_by_line(&self, text: &str) -> (String, Vec<usize>) {
        let (mut shown, mut lines) = (String::with_capacity(text.len() + 64), vec![1]);
        let mut line = 1;
        self.each_word(text, |before, tag| {
            lines.extend(std::iter::repeat_n(line, before.matches('\n').count()));
            shown.push_str(before);
            if let Some(tag) = tag {
                line = tag.line;
                let (opening, inside) = tag.source.split_at(tag.inside);
                shown.push_str(opening);
                shown.push('\n');
                shown.push_str(inside);
                lines.extend((line..).take(tag.source.matches('\n').count() + 1));
                line = lines.last().copied().unwrap_or(line);
            }
        });
        (shown, lines)
    }

    /// How often each tag is there, and whether those that decide stand in their order.
    pub fn count(&self, text: &str) -> (Vec<usize>, bool) {
        let (mut counts, mut last, mut in_order) = (vec![0; self.all.len()], 0, true);
        self.each_word(text, |_, tag| {
            let Some(place) = tag.and_then(|tag| self.all.iter().position(|one| one.start == tag.start)) else {
                return;
            };
            counts[place] += 1;
            if self.all[place].kind == Kind::Statement {
                in_order &= place >= last;
                last = place;
            }
        });
        (counts, in_order)
    }

    /// Whether a word for a tag that decides stands there.
    pub fn decides(&self, text: &str) -> bool {
        let mut found = false;
        self.each_word(text, |_, tag| found |= tag.is_some_and(|tag| tag.kind == Kind::Statement));
        found
    }

    /// What stands before each word, with its tag; and then what is left.
    fn each_word<'t>(&self, text: &'t str, mut see: impl FnMut(&'t str, Option<&Tag<'s>>)) {
        let (mut done, mut at) = (0, 0);
        while let Some(found) = text[at..].find(&self.mark).map(|found| at + found) {
            let digits = found + self.mark.len();
            at = digits;
            let Some(word) = text.get(digits..digits + 6).and_then(|word| word.strip_suffix('z')) else { continue };
            let Some(tag) = word.parse::<usize>().ok().and_then(|number| self.all.get(number)) else { continue };
            at = digits + 6;
            let hidden = text[done..found].ends_with("<!--") && text[at..].starts_with("-->");
            let before = if hidden { &text[done..found - 4] } else { &text[done..found] };
            at += if hidden { 3 } else { 0 };
            see(before, Some(tag));
            done = at;
        }
        see(&text[done..], None);
    }
}
