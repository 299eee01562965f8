use std::{fmt, sync::Arc};

use sea_orm::{DbBackend, sea_query::SimpleExpr};

use super::token::Pattern;
use crate::clock::Timestamp;

/// What can be asked about in one place: fields and functions.
#[derive(Debug, Clone)]
pub struct Schema {
    table: &'static str,
    pub(super) fields: Vec<Arc<Field>>,
    pub(super) functions: Vec<Arc<Function>>,
}

/// A field of a schema.
#[derive(Debug)]
pub struct Field {
    /// As filters name it: `due_time`, `block.reason`.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    pub(super) source: Source,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number; compared as a double.
    Number,
    /// `true` or `false`.
    Bool,
    /// An instant.
    Time,
    /// One of the names of an enum of the contract: a prefix, and the stored texts in capital letters.
    Enum {
        /// `STATE_`.
        prefix: &'static str,
        /// `scheduled`, `sent`.
        stored: &'static [&'static str],
    },
    /// A list of texts, in a JSON column.
    Texts,
    /// Open data, in a JSON column: `attributes.plan`.
    Json,
    /// Texts of a customer in another table.
    Related {
        /// Its name.
        table: &'static str,
        /// The column that names the customer.
        owner: &'static str,
        /// The column with the text.
        column: &'static str,
    },
}

/// Where a field stands in a query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Column(&'static str, &'static str),
    Expression(fn(DbBackend) -> SimpleExpr),
}

/// A function over what is recorded about a customer elsewhere.
#[derive(Debug)]
pub struct Function {
    /// `event_count`.
    pub name: &'static str,
    /// In order.
    pub parameters: &'static [Parameter],
    /// [`Kind::Number`], [`Kind::Bool`] or [`Kind::Time`].
    pub kind: Kind,
    /// Its value for the customer whom an expression names, at a moment.
    pub sql: fn(&Call, SimpleExpr, Timestamp) -> SimpleExpr,
}

/// What a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// A text, and what it is called in messages.
    Text(&'static str),
    /// A whole number of days, 1 to 3,650.
    Days,
    /// One of the names of an enum of the contract.
    Enum(&'static str, &'static [&'static str]),
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(name) => write!(f, "{name:?}"),
            Self::Days => f.write_str("days from 1 to 3650"),
            Self::Enum(prefix, stored) => {
                let names: Vec<String> = stored.iter().map(|name| format!("{prefix}{}", name.to_uppercase())).collect();
                f.write_str(&names.join("|"))
            }
        }
    }
}

/// What a function was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Argument {
    /// A text.
    Text(String),
    /// Days.
    Days(u32),
    /// An enum, as it is stored.
    Enum(&'static str),
}

/// A function with its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which function.
    pub function: Arc<Function>,
    /// In the order of its parameters, one for each.
    pub arguments: Vec<Argument>,
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && self.arguments == other.arguments
    }
}

impl Call {
    /// A text argument.
    pub fn text(&self, place: usize) -> &str {
        match self.arguments.get(place) {
            Some(Argument::Text(text)) => text,
            Some(Argument::Enum(stored)) => stored,
            _ => "",
        }
    }

    /// An argument in days.
    pub fn days(&self, place: usize) -> u32 {
        match self.arguments.get(place) {
            Some(Argument::Days(days)) => *days,
            _ => 0,
        }
    }
}

/// What a filter has looked up about a customer before it is asked in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// What a function says.
    Call(Call),
    /// Whether another table holds a text of theirs.
    Related(Relation),
}

/// Texts of a customer in another table, of which one is to look like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub(super) table: &'static str,
    pub(super) owner: &'static str,
    pub(super) column: &'static str,
    /// None: any text will do.
    pub(super) pattern: Option<Pattern>,
}

impl Schema {
    /// Nothing yet of a table, or of something in memory only.
    pub fn of(table: &'static str) -> Self {
        Self { table, fields: Vec::new(), functions: Vec::new() }
    }

    /// A column of text with the field's name.
    #[must_use]
    pub fn text(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Text)
    }

    /// A column of numbers with the field's name.
    #[must_use]
    pub fn number(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Number)
    }

    /// A column of booleans with the field's name.
    #[must_use]
    pub fn bool(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Bool)
    }

    /// A column of instants with the field's name.
    #[must_use]
    pub fn time(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Time)
    }

    /// A JSON column with the field's name, which holds a list of texts.
    #[must_use]
    pub fn texts(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Texts)
    }

    /// A JSON column with the field's name, which holds open data.
    #[must_use]
    pub fn json(self, name: &'static str) -> Self {
        self.column(name, name, Kind::Json)
    }

    /// A column of an enum with the field's name.
    #[must_use]
    pub fn choice(self, name: &'static str, prefix: &'static str, stored: &'static [&'static str]) -> Self {
        self.column(name, name, Kind::Enum { prefix, stored })
    }

    /// Texts in another table, whose `owner` is the customer that `key` names.
    #[must_use]
    pub fn related(
        self,
        name: &str,
        key: &'static str,
        (table, owner, column): (&'static str, &'static str, &'static str),
    ) -> Self {
        self.column(name, key, Kind::Related { table, owner, column })
    }

    /// A field over a column with another name.
    #[must_use]
    pub fn column(mut self, name: &str, column: &'static str, kind: Kind) -> Self {
        let source = Source::Column(self.table, column);
        self.fields.push(Arc::new(Field { name: name.to_owned(), kind, source }));
        self
    }

    /// A field over an expression.
    #[must_use]
    pub fn expression(mut self, name: &str, kind: Kind, expression: fn(DbBackend) -> SimpleExpr) -> Self {
        let source = Source::Expression(expression);
        self.fields.push(Arc::new(Field { name: name.to_owned(), kind, source }));
        self
    }

    /// The fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().map(AsRef::as_ref)
    }

    /// A function over what is recorded about the customer elsewhere.
    #[must_use]
    pub fn function(mut self, function: Function) -> Self {
        self.functions.push(Arc::new(function));
        self
    }

    /// The fields of another schema under a prefix: `event` makes `event.subject`. For filters in memory.
    #[must_use]
    pub fn nested(mut self, prefix: &str, other: &Self) -> Self {
        let moved = other.fields.iter().map(|field| {
            Arc::new(Field { name: format!("{prefix}.{}", field.name), kind: field.kind, source: field.source })
        });
        self.fields.extend(moved);
        self
    }
}
