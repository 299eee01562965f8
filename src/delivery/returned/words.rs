//! What a server said, as words, and patterns over them.

/// What ends a sentence: no gap of a pattern reaches over it.
const STOP: &str = ".";
/// An address, whichever it was: the words in addresses say nothing about what happened.
const ADDRESS: &str = "@";
/// A host or a domain, whichever it was.
const HOST: &str = "%";
/// How much of what a server said is looked at.
const LONGEST: usize = 8 * 1_024;

/// A text as its words: lower case, without links, addresses and codes.
#[derive(Debug)]
pub(super) struct Words {
    text: String,
    ends: Vec<usize>,
    /// The initial of each.
    initials: Vec<Initials>,
}

impl Words {
    pub fn of(text: &str) -> Self {
        let mut words = Self { text: String::new(), ends: Vec::new(), initials: Vec::new() };
        let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(end, _)| end);
        for piece in text[..end].split(|letter: char| letter.is_whitespace() || letter.is_control()) {
            words.take(piece);
        }
        words
    }

    pub fn is_empty(&self) -> bool {
        self.iter().all(|word| word == STOP || word == ADDRESS)
    }

    fn take(&mut self, piece: &str) {
        if piece.contains("://") || piece.starts_with("www.") || is_code(piece) {
            return;
        }
        if piece.contains('@') || piece.contains("<recipient>") || piece.contains("<address>") {
            // "<anna@example.com>...Denied" and "anna@example.com:unknown" go on behind the address.
            self.push(ADDRESS);
            let rest = piece.rfind(['>', ':', ')']).map_or("", |at| &piece[at + 1..]);
            if !rest.contains('@') {
                self.take_words(rest);
            }
            return;
        }
        if is_host(piece) {
            self.push(HOST);
            return;
        }
        self.take_words(piece);
        if piece.ends_with(['.', '!', '?', ';']) {
            self.push(STOP);
        }
    }

    fn take_words(&mut self, piece: &str) {
        for word in piece.split(|letter: char| !letter.is_alphanumeric() && letter != '\'' && letter != '’') {
            let word = word.trim_matches(['\'', '’']);
            if !word.is_empty() {
                self.push(&word.to_lowercase().replace('’', "'"));
            }
        }
    }

    fn push(&mut self, word: &str) {
        self.text.push_str(word);
        self.ends.push(self.text.len());
        self.initials.push(Initials::of(word));
    }

    fn get(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|at| self.get(at))
    }
}

/// Whether a piece is a reply code, an enhanced one, or both: "550", "550-5.1.1", "(#5.1.1)".
fn is_code(piece: &str) -> bool {
    let core = piece.trim_matches(|letter: char| !letter.is_ascii_digit());
    !core.is_empty() && core.len() >= 3 && core.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// Whether a piece names a host or a domain: "mx.example.com[192.0.2.1]:25".
fn is_host(piece: &str) -> bool {
    let name = piece.trim_start_matches(['<', '(', '[', '"', '\'']);
    let name = name.split(['[', ':', '>', ')', ']', ',', '"', '\'']).next().unwrap_or_default().trim_end_matches('.');
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    let top = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && name.split('.').all(label)
        && top.len() >= 2
        && top.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Words in their order. "a|b" is either word, "word~" every word that begins so, "a|b?" one of these or none, "?" any word or
/// none, "*" up to four of any.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Element>);

#[derive(Debug)]
enum Element {
    Word(OneOf),
    Perhaps(OneOf),
    Gap(usize),
}

impl Pattern {
    /// "$name" stands for the words that `names` has under it.
    pub fn new(text: &'static str, names: &[(&str, &'static str)]) -> Self {
        let element = |part: &'static str| match part {
            "*" => Element::Gap(4),
            "?" => Element::Gap(1),
            part => {
                let (part, perhaps) = part.strip_suffix('?').map_or((part, false), |part| (part, true));
                let expand = |word: &'static str| match word.strip_prefix('$') {
                    Some(own) => {
                        names.iter().find(|(name, _)| *name == own).map_or(word, |(_, words)| words).split('|')
                    }
                    None => word.split('|'),
                };
                let words = OneOf::new(part.split('|').flat_map(expand).collect());
                if perhaps { Element::Perhaps(words) } else { Element::Word(words) }
            }
        };
        Self(text.split_whitespace().map(element).collect())
    }

    pub fn is_in(&self, words: &Words) -> bool {
        (0..words.ends.len()).any(|at| matches(&self.0, words, at))
    }
}

fn matches(pattern: &[Element], words: &Words, at: usize) -> bool {
    match pattern.split_first() {
        None => true,
        Some((Element::Word(allowed), rest)) => allowed.has(words, at) && matches(rest, words, at + 1),
        Some((Element::Perhaps(allowed), rest)) => {
            matches(rest, words, at) || allowed.has(words, at) && matches(rest, words, at + 1)
        }
        Some((Element::Gap(longest), rest)) => {
            let reach = (0..*longest).take_while(|gap| words.get(at + gap).is_some_and(|word| word != STOP)).count();
            (0..=reach).any(|gap| matches(rest, words, at + gap))
        }
    }
}

/// Words of which one is meant.
#[derive(Debug)]
struct OneOf {
    words: Vec<&'static str>,
    initials: Initials,
}

impl OneOf {
    fn new(words: Vec<&'static str>) -> Self {
        let initials = words.iter().fold(Initials(0), |all, word| Initials(all.0 | Initials::of(word).0));
        Self { words, initials }
    }

    fn has(&self, words: &Words, at: usize) -> bool {
        // Most words are ruled out by their first letter.
        let may_be = words.initials.get(at).is_some_and(|initial| initial.0 & self.initials.0 != 0);
        let is = |one: &&str, word: &str| one.strip_suffix('~').map_or(*one == word, |start| word.starts_with(start));
        may_be && words.get(at).is_some_and(|word| self.words.iter().any(|one| is(one, word)))
    }
}

/// With which letters words begin, one bit for each.
#[derive(Debug, Clone, Copy)]
struct Initials(u64);

impl Initials {
    fn of(word: &str) -> Self {
        Self(1 << (word.as_bytes().first().copied().unwrap_or_default() & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_across_gaps_but_not_across_sentences() {
        let found =
            |pattern: &'static str, text: &str| Pattern::new(pattern, &[("who", "user|@")]).is_in(&Words::of(text));
        assert!(found("user unknown", "550 5.1.1 <a@b.example>... User Unknown"));
        assert!(found("$who unknown", "550-5.1.1 a@b.example: unknown"));
        assert!(found("user * unknown", "User a@b.example is simply unknown"));
        assert!(!found("user * unknown", "Hello user. The reason is unknown"));
        assert!(!found("user * unknown", "user one two three four five unknown"));
        assert!(found("user ? unknown", "user is unknown") && found("user ? unknown", "user unknown"));
        assert!(found("no mail? user", "no user") && found("no mail? user", "no mail user"));
        assert!(found("host % not found", "host mx.example.com[192.0.2.1]:25 not found"));
        assert!(found("black~", "on our BLACKLIST"));
        assert!(found("doesn't exist", "The mailbox doesn’t exist"));
        assert!(!found("user unknown", "see https://x.example/#user-unknown or user.unknown@x.example"));
        assert!(!found("user ? unknown", ""));
    }
}
