use std::fmt;

/// Why a filter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What kind of mistake it is.
    pub problem: Problem,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// The kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It does not follow the grammar.
    Syntax,
    /// There is no such field or function here.
    Unknown,
    /// The field cannot be compared like this, or not with such a value.
    Type,
    /// It is too long, too deep, or asks for too much.
    TooLarge,
}

impl FilterError {
    pub(super) fn new(column: usize, problem: Problem, message: impl Into<String>) -> Self {
        Self { column, problem, message: message.into() }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for FilterError {}
