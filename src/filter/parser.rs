//! The grammar, by recursive descent:
//!
//! ```text
//! filter     = [ all ]
//! all        = any { "AND" any }
//! any        = one { "OR" one }
//! one        = [ "NOT" | "-" ] one | "(" all ")" | comparison
//! comparison = subject [ ( "=" | "!=" | "<" | "<=" | ">" | ">=" | ":" ) value ]
//! subject    = name | name "(" [ argument { "," argument } ] ")"
//! argument   = subject | text | number
//! value      = text | [ "-" ] number | word | "*"
//! ```

use super::{
    DEEPEST, LONGEST, MOST_COMPARISONS,
    error::{FilterError, Problem},
    token::{Comparator, Pattern, Token, What, Word, tokens},
};

/// A filter whose names mean nothing yet.
#[derive(Debug)]
pub enum Syntax {
    All(Vec<Syntax>),
    Any(Vec<Syntax>),
    Not(Box<Syntax>),
    Comparison(Box<Comparison>),
}

#[derive(Debug)]
pub struct Comparison {
    pub subject: Subject,
    /// None for a subject that is true or false by itself.
    pub against: Option<(Token, Comparator, Given)>,
}

/// What is compared.
#[derive(Debug)]
pub struct Subject {
    pub column: usize,
    pub name: Word,
    /// None for a field.
    pub arguments: Option<Vec<Given>>,
}

/// A value, or an argument.
#[derive(Debug)]
pub struct Given {
    pub column: usize,
    pub value: Literal,
}

#[derive(Debug)]
pub enum Literal {
    Text(Pattern),
    Number(f64),
    Word(String),
    Star,
    /// Of arguments only.
    Subject(Subject),
}

/// Takes a filter apart.
pub fn parse(text: &str) -> Result<Syntax, FilterError> {
    let length = text.chars().count();
    if length > LONGEST {
        let message = format!("the filter has {length} characters; at most {LONGEST} are allowed");
        return Err(FilterError::new(LONGEST + 1, Problem::TooLarge, message));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, end: length + 1, depth: 0, comparisons: 0 };
    if tokens.is_empty() {
        return Ok(Syntax::All(Vec::new()));
    }
    let syntax = parser.all()?;
    match parser.peek() {
        None => Ok(syntax),
        Some(What::Close) => parser.wrong("there is no parenthesis to close"),
        Some(_) => parser.wrong("write AND or OR between two comparisons"),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    /// The column after the last one.
    end: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a What> {
        self.tokens.get(self.at).map(|token| &token.what)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |token| token.column)
    }

    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, FilterError> {
        Err(FilterError::new(self.column(), Problem::Syntax, message))
    }

    fn takes(&mut self, what: &What) -> bool {
        let is_next = self.peek() == Some(what);
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_keyword(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Some(What::Word(word)) if word.text == keyword);
        self.at += usize::from(is_next);
        is_next
    }

    fn all(&mut self) -> Result<Syntax, FilterError> {
        let mut parts = vec![self.any()?];
        while self.takes_keyword("AND") {
            parts.push(self.any()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Syntax::All(parts) })
    }

    fn any(&mut self) -> Result<Syntax, FilterError> {
        let mut parts = vec![self.one()?];
        while self.takes_keyword("OR") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Syntax::Any(parts) })
    }

    fn one(&mut self) -> Result<Syntax, FilterError> {
        if self.takes_keyword("NOT") || self.takes(&What::Minus) {
            return Ok(Syntax::Not(Box::new(self.inside(Self::one)?)));
        }
        if self.takes(&What::Open) {
            let inner = self.inside(Self::all)?;
            return match self.takes(&What::Close) {
                true => Ok(inner),
                false => self.wrong("\")\", AND or OR is missing"),
            };
        }
        self.comparison().map(|comparison| Syntax::Comparison(Box::new(comparison)))
    }

    fn inside<T>(&mut self, read: fn(&mut Self) -> Result<T, FilterError>) -> Result<T, FilterError> {
        if self.depth == DEEPEST {
            let message = format!("parentheses and negations are nested deeper than {DEEPEST}");
            return Err(FilterError::new(self.column(), Problem::TooLarge, message));
        }
        self.depth += 1;
        let inner = read(self)?;
        self.depth -= 1;
        Ok(inner)
    }

    fn comparison(&mut self) -> Result<Comparison, FilterError> {
        self.comparisons += 1;
        if self.comparisons > MOST_COMPARISONS {
            let message = format!("a filter has at most {MOST_COMPARISONS} comparisons");
            return Err(FilterError::new(self.column(), Problem::TooLarge, message));
        }
        let subject = self.subject()?;
        let Some(token @ Token { what: What::Compare(comparator), .. }) = self.tokens.get(self.at) else {
            return Ok(Comparison { subject, against: None });
        };
        self.at += 1;
        let value = self.value()?;
        Ok(Comparison { subject, against: Some((token.clone(), *comparator, value)) })
    }

    fn subject(&mut self) -> Result<Subject, FilterError> {
        let column = self.column();
        let name = match self.peek() {
            Some(What::Word(word)) => word.clone(),
            Some(What::Text(_)) => return self.wrong("a comparison begins with a field, not with a text"),
            _ => return self.wrong("a field or a function is missing"),
        };
        match name.text.as_str() {
            "AND" | "OR" | "NOT" => return self.wrong(format!("a comparison is missing before {}", name.text)),
            "and" | "or" | "not" => return self.wrong("AND, OR and NOT are written in capital letters"),
            _ => self.at += 1,
        }
        let arguments = if self.takes(&What::Open) { Some(self.inside(Self::arguments)?) } else { None };
        Ok(Subject { column, name, arguments })
    }

    fn arguments(&mut self) -> Result<Vec<Given>, FilterError> {
        let mut arguments = Vec::new();
        if self.takes(&What::Close) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.argument()?);
            if self.takes(&What::Close) {
                return Ok(arguments);
            }
            if !self.takes(&What::Comma) {
                return self.wrong("\",\" or \")\" is missing after an argument");
            }
        }
    }

    fn argument(&mut self) -> Result<Given, FilterError> {
        let column = self.column();
        let is_name = matches!(self.peek(), Some(What::Word(word)) if number(&word.text).is_none());
        if !is_name {
            return self.value();
        }
        let subject = self.subject()?;
        Ok(Given { column, value: Literal::Subject(subject) })
    }

    fn value(&mut self) -> Result<Given, FilterError> {
        let column = self.column();
        let is_negative = self.takes(&What::Minus);
        let value = match self.peek() {
            Some(What::Word(word)) => match number(&word.text) {
                Some(number) => Literal::Number(if is_negative { -number } else { number }),
                None if is_negative => return self.wrong("a number is missing after \"-\""),
                None => Literal::Word(word.text.clone()),
            },
            _ if is_negative => return self.wrong("a number is missing after \"-\""),
            Some(What::Text(pattern)) => Literal::Text(pattern.clone()),
            Some(What::Star) => Literal::Star,
            _ => {
                return self
                    .wrong("a value is missing: a text in quotes, a number, true, false, or the name of an enum");
            }
        };
        self.at += 1;
        Ok(Given { column, value })
    }
}

/// Digits first, so that no name is one.
fn number(text: &str) -> Option<f64> {
    text.starts_with(|first: char| first.is_ascii_digit())
        .then(|| text.parse::<f64>().ok().filter(|number| number.is_finite()))
        .flatten()
}
