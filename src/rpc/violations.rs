use std::fmt;

use super::{Fault, Reason};

/// Everything that is wrong with the fields of a request, collected before anything happens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

/// One wrong field.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its JSON path: `campaign.steps[1].delay`.
    pub field: String,
    /// What is wrong and what is allowed; never the value of a personal field.
    pub description: String,
    /// What a program branches on, where nothing else is wrong.
    pub reason: Reason,
}

impl Violations {
    /// Notes a wrong field.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.add_because(Reason::InvalidFields, field, description);
    }

    /// Notes a field that is wrong in a way with a name of its own.
    pub fn add_because(&mut self, reason: Reason, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into(), reason });
    }

    /// The value, or nothing and a note about the field.
    pub fn take<T, E: fmt::Display>(&mut self, field: impl Into<String>, value: Result<T, E>) -> Option<T> {
        value.map_err(|wrong| self.add(field, wrong.to_string())).ok()
    }

    /// Refuses the request if anything was noted.
    pub fn check(self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Invalid(self)) }
    }

    /// The decoded request, unless anything was noted. A value is missing only where something was.
    pub fn finish<T>(self, decoded: Option<T>) -> Result<T, Fault> {
        match decoded {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Fault::Invalid(self)),
        }
    }

    /// The reason of all of them, where they have the same one.
    pub fn reason(&self) -> Reason {
        let first = self.0.first().map_or(Reason::InvalidFields, |first| first.reason);
        if self.0.iter().all(|violation| violation.reason == first) { first } else { Reason::InvalidFields }
    }

    /// How many were noted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was noted, in the order of the request.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("the request is not complete"),
            [only] => write!(f, "{}: {}", only.field, only.description),
            [first, rest @ ..] => write!(f, "{}: {} (and {} more)", first.field, first.description, rest.len()),
        }
    }
}
