use super::error::{FilterError, Problem};

/// A piece of a filter and where it begins, in characters from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub column: usize,
    pub what: What,
}

/// A piece of a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Open,
    Close,
    Comma,
    Minus,
    Star,
    Compare(Comparator),
    /// A name with its parts, a number, a keyword.
    Word(Word),
    Text(Pattern),
}

/// What is between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Has,
}

/// A dotted word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it is written.
    pub text: String,
    /// Between its dots, without quotes.
    pub parts: Vec<String>,
}

/// A text in quotes; a star at an end of it stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Without stars at the ends.
    pub text: String,
    /// Whether anything may stand before it.
    pub open_start: bool,
    /// Whether anything may follow.
    pub open_end: bool,
}

impl Pattern {
    /// Whether it is one text and no other.
    pub fn is_exact(&self) -> bool {
        !self.open_start && !self.open_end
    }

    /// Whether a text looks like this.
    pub fn matches(&self, text: &str) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => text == self.text,
            (false, true) => text.starts_with(&self.text),
            (true, false) => text.ends_with(&self.text),
            (true, true) => text.contains(&self.text),
        }
    }
}

/// The pieces of a filter.
pub fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let letters: Vec<char> = text.chars().collect();
    let mut reader = Reader { letters: &letters, at: 0 };
    let mut found = Vec::new();
    while reader.skip_spaces() {
        let column = reader.column();
        found.push(Token { column, what: reader.next()? });
    }
    Ok(found)
}

struct Reader<'a> {
    letters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn column(&self) -> usize {
        self.at + 1
    }

    /// False at the end.
    fn skip_spaces(&mut self) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek().is_some()
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError { column: self.column(), problem: Problem::Syntax, message: message.into() })
    }

    fn next(&mut self) -> Result<What, FilterError> {
        let Some(letter) = self.peek() else { return self.wrong("the filter ends too early") };
        let single = match letter {
            '(' => What::Open,
            ')' => What::Close,
            ',' => What::Comma,
            '-' => What::Minus,
            '*' => What::Star,
            '=' => What::Compare(Comparator::Equal),
            ':' => What::Compare(Comparator::Has),
            '!' | '<' | '>' => return self.comparator(letter),
            '"' | '\'' => return self.quoted(letter),
            _ if is_word(letter) => return self.word(),
            _ => return self.wrong(format!("{letter:?} has no meaning here; put texts into quotes")),
        };
        self.at += 1;
        Ok(single)
    }

    fn comparator(&mut self, first: char) -> Result<What, FilterError> {
        let or_equal = self.letters.get(self.at + 1) == Some(&'=');
        let comparator = match (first, or_equal) {
            ('!', true) => Comparator::NotEqual,
            ('<', true) => Comparator::LessOrEqual,
            ('<', false) => Comparator::Less,
            ('>', true) => Comparator::GreaterOrEqual,
            ('>', false) => Comparator::Greater,
            _ => return self.wrong("\"!\" alone has no meaning; write != or NOT"),
        };
        self.at += if or_equal { 2 } else { 1 };
        Ok(What::Compare(comparator))
    }

    /// Letters, digits, `_` and `-`, with dots between; a part may stand in quotes.
    fn word(&mut self) -> Result<What, FilterError> {
        let start = self.at;
        let is_number = self.peek().is_some_and(|letter| letter.is_ascii_digit());
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                Some(quote @ ('"' | '\'')) => parts.push(self.quoted_part(quote)?),
                Some(letter) if is_word(letter) => parts.push(self.part(is_number)),
                _ => return self.wrong("a part of the name is missing after the dot"),
            }
            if self.peek() != Some('.') {
                break;
            }
            self.at += 1;
        }
        Ok(What::Word(Word { text: self.letters[start..self.at].iter().collect(), parts }))
    }

    fn part(&mut self, is_number: bool) -> String {
        let start = self.at;
        while let Some(letter) = self.peek() {
            let after_exponent =
                is_number && letter == '+' && self.at > start && "eE".contains(self.letters[self.at - 1]);
            if !is_word(letter) && letter != '-' && !after_exponent {
                break;
            }
            self.at += 1;
        }
        self.letters[start..self.at].iter().collect()
    }

    fn quoted_part(&mut self, quote: char) -> Result<String, FilterError> {
        let start = self.at;
        let What::Text(pattern) = self.quoted(quote)? else { return self.wrong("a name is missing") };
        if !pattern.is_exact() || pattern.text.is_empty() || pattern.text.contains(['"', '\\']) {
            self.at = start;
            return self.wrong("a name in quotes has at least one character, and no quotes, backslashes or stars");
        }
        Ok(pattern.text)
    }

    fn quoted(&mut self, quote: char) -> Result<What, FilterError> {
        let start = self.at;
        let mut pattern = Pattern { text: String::new(), open_start: false, open_end: false };
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    self.at = start;
                    return self.wrong("the quotes are not closed");
                }
                Some(letter) if letter == quote => break,
                Some('\0') => return self.wrong("the character U+0000 occurs in no text"),
                Some('*') => {
                    let (first, last) = (self.at == start + 1, self.letters.get(self.at + 1) == Some(&quote));
                    if !first && !last {
                        return self.wrong(
                            "a star stands at the beginning or at the end of a text; write \\* for the character",
                        );
                    }
                    // A star alone stands for every text.
                    pattern.open_start |= first;
                    pattern.open_end |= last;
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(letter @ ('"' | '\'' | '\\' | '*')) => pattern.text.push(letter),
                        _ => return self.wrong("after a backslash comes a quote, a backslash or a star"),
                    }
                }
                Some(letter) => pattern.text.push(letter),
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(What::Text(pattern))
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
