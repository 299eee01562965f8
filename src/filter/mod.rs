//! The one filter language: for lists, audiences, the conditions of events and steps.
//!
//! ```text
//! state = STATE_SUPPRESSED AND due_time > "2026-11-01T00:00:00Z"
//! attributes.plan = "gold" AND (tags:"vip" OR attributes.orders >= 5)
//! NOT block.reason = BLOCK_REASON_OPTED_OUT
//! event_count("purchase.completed", 90) >= 2 AND days_since(create_time) > 30
//! ```
//!
//! A filter is read against a [`Schema`], which says what the fields of a place are called and of what kind they are. What was
//! read has a kind for every comparison, so that only two things can be done with it, and both cannot fail: it becomes a
//! condition of a query ([`Filter::condition`]), or it is asked about one thing in memory ([`Filter::matches`]). A property test
//! holds the two to the same answers on both databases.
//!
//! * `AND`, `OR`, `NOT` or `-`, parentheses. **`OR` binds tighter than `AND`**: `a AND b OR c` is `a AND (b OR c)`.
//! * `=  !=  <  <=  >  >=` compare a field with a value of its kind; `:` looks for a value in a list; `field:*` asks whether there
//!   is a value at all.
//! * Values: `"text"`, numbers, `true` and `false`, names of enums, times as `"2026-11-01T00:00:00Z"` and dates as `"2026-11-01"`,
//!   which stand for their first moment in UTC. In `"gold*"`, `"*gold"` and `"*gold*"` the star stands for anything; `\*` is a star.
//! * Texts are compared byte by byte: case counts, and the order is that of code points.
//! * Where there is no value (a missing key, a `null`), or one of another kind (a text where a number is compared), every
//!   comparison is false, and `NOT` of it is true.
//! * Inside open data (`attributes`, `properties`) the value decides what is compared: `"2026-11-01"` is a date, compared with values
//!   that are dates or times themselves.

mod ages;
mod check;
mod error;
mod facts;
mod memory;
mod moment;
mod open;
mod parser;
mod schema;
mod sql;
mod token;
mod wanted;

use sea_orm::{DbBackend, sea_query::Condition};

pub use self::{
    error::{FilterError, Problem},
    facts::Facts,
    memory::{Record, Value},
    schema::{Argument, Call, Field, Function, Kind, Lookup, Parameter, Relation, Schema},
    wanted::Wanted,
};
use crate::clock::Timestamp;

/// How long a filter may be, in characters.
pub const LONGEST: usize = 2_000;
/// How deep parentheses and negations may be nested.
pub const DEEPEST: usize = 20;
/// How many comparisons a filter may have.
pub const MOST_COMPARISONS: usize = 64;
/// How many calls of functions that look at other records a filter may have.
pub const MOST_CALLS: usize = 10;

/// A filter that was read against a schema: every field is known, every comparison has a kind.
#[derive(Debug, Clone)]
pub struct Filter {
    text: String,
    root: check::Node,
    lookups: Vec<Lookup>,
}

/// Two filters are the same when they are written the same.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl Filter {
    /// Reads a filter. An empty one matches everything.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, FilterError> {
        let syntax = parser::parse(text)?;
        let mut lookups = Vec::new();
        let root = check::check(syntax, schema, &mut lookups)?;
        Ok(Self { text: text.to_owned(), root, lookups })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches everything because nothing was asked.
    pub fn is_empty(&self) -> bool {
        matches!(&self.root, check::Node::All(parts) if parts.is_empty())
    }

    /// What other tables are asked, each once: [`Facts::load`] answers it before [`Self::matches`].
    pub fn lookups(&self) -> &[Lookup] {
        &self.lookups
    }

    /// The calls of functions among them.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.lookups.iter().filter_map(|of| match of {
            Lookup::Call(call) => Some(call),
            Lookup::Related(_) => None,
        })
    }

    /// Whether it asks for a field whose name begins so.
    pub fn asks_for(&self, prefix: &str) -> bool {
        self.root
            .tests()
            .any(|test| matches!(&test.subject, check::Subject::Field(field, _) if field.name.starts_with(prefix)))
    }

    /// As a condition of a query over the schema's table, at a moment; every value is bound.
    pub fn condition(&self, backend: DbBackend, now: Timestamp) -> Condition {
        sql::condition(&self.root, backend, now)
    }

    /// Whether it matches one thing in memory, at a moment. `facts` must have been loaded for this filter and this customer where
    /// there are [lookups](Self::lookups); a fact that was not loaded is missing, so its comparison is false.
    pub fn matches(&self, record: &impl Record, facts: &Facts, now: Timestamp) -> bool {
        memory::matches(&self.root, record, facts, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::of("customers").text("locale").number("count").texts("tags").json("attributes").time("create_time")
    }

    fn wrong(text: &str) -> (usize, Problem) {
        let wrong = Filter::parse(text, &schema()).unwrap_err();
        (wrong.column, wrong.problem)
    }

    #[test]
    fn a_filter_is_read_with_or_binding_tighter_than_and() {
        let sql = |text: &str| {
            let filter = Filter::parse(text, &schema()).unwrap();
            let mut query = sea_orm::sea_query::Query::select();
            query.from("customers").column("a").cond_where(filter.condition(DbBackend::Sqlite, Timestamp::UNIX_EPOCH));
            query.to_string(sea_orm::sea_query::SqliteQueryBuilder)
        };
        assert_eq!(sql("count=1 AND count=2 OR count=3"), sql("count = 1 AND (count = 2 OR count = 3)"));
        assert_ne!(sql("count=1 AND count=2 OR count=3"), sql("(count=1 AND count=2) OR count=3"));
        assert_eq!(sql("-count=1"), sql("NOT count = 1"));
        assert_eq!(sql("locale = 'a'"), sql("locale=\"a\""));
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        assert!(Filter::parse("  ", &schema()).unwrap().is_empty());
        assert!(!Filter::parse("count=1", &schema()).unwrap().is_empty());
    }

    #[test]
    fn a_mistake_is_found_where_it_is() {
        for (text, column, problem) in [
            ("count", 1, Problem::Type),
            ("count =", 8, Problem::Syntax),
            ("count = = 1", 9, Problem::Syntax),
            ("count = 1 )", 11, Problem::Syntax),
            ("\"ä\" = locale", 1, Problem::Syntax),
            ("locale = \"ä\" OR counts = 1", 17, Problem::Unknown),
            ("locale = \"ä", 10, Problem::Syntax),
            ("locale = \"\\n\"", 12, Problem::Syntax),
            ("attributes..a = 1", 12, Problem::Syntax),
            ("attributes. = 1", 12, Problem::Syntax),
            ("attributes.'a*' = 1", 12, Problem::Syntax),
            ("locale.x = 'a'", 1, Problem::Unknown),
            ("count = 1e999", 9, Problem::Type),
            ("count : 1", 7, Problem::Type),
            ("tags:5", 6, Problem::Type),
            ("AND count = 1", 1, Problem::Syntax),
            ("count = 1 AND", 14, Problem::Syntax),
            ("count = 1 ; 2", 11, Problem::Syntax),
            ("days_since(create_time) > 1.5", 27, Problem::Type),
            ("days_since(create_time)", 1, Problem::Type),
            ("days_since(create_time, 1) > 1", 1, Problem::Type),
        ] {
            assert_eq!(wrong(text), (column, problem), "{text}");
        }
    }
}
