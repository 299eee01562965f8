//! Gives every comparison a kind, or says why it has none.

use std::sync::Arc;

use super::{
    MOST_CALLS,
    error::{FilterError, Problem},
    moment::moment,
    parser::{Comparison, Given, Literal, Subject as Named, Syntax},
    schema::{Argument, Call, Field, Function, Kind, Lookup, Parameter, Relation, Schema},
    token::{Comparator, Pattern},
};
use crate::clock::Timestamp;

/// A filter whose comparisons cannot fail.
#[derive(Debug, Clone)]
pub enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test(Test),
}

impl Node {
    /// Its comparisons.
    pub fn tests(&self) -> Box<dyn Iterator<Item = &Test> + '_> {
        match self {
            Self::All(parts) | Self::Any(parts) => Box::new(parts.iter().flat_map(Self::tests)),
            Self::Not(inner) => inner.tests(),
            Self::Test(test) => Box::new(std::iter::once(test)),
        }
    }
}

/// One comparison.
#[derive(Debug, Clone)]
pub struct Test {
    pub subject: Subject,
    pub question: Question,
}

/// What is asked about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A field, or what open data holds under these keys.
    Field(Arc<Field>, Vec<String>),
    /// What a function says.
    Call(Call),
}

impl Subject {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Field(field, _) => field.kind,
            Self::Call(call) => call.function.kind,
        }
    }
}

/// What is asked. No question has an answer where there is no value of its kind.
#[derive(Debug, Clone)]
pub enum Question {
    /// Whether there is a value at all.
    Present,
    Text(Order, String),
    /// Whether a text looks like this, or does not.
    Like(bool, Pattern),
    Number(Order, f64),
    Bool(bool),
    Time(Order, Timestamp),
    /// Whether a time is so many whole days ago.
    Age(Order, i64),
    /// Whether an enum has this value, or has another one.
    Is(bool, &'static str),
    /// Whether a list holds this.
    Holds(Element),
    /// Whether another table does.
    Related(Relation),
}

/// What a list can hold.
#[derive(Debug, Clone)]
pub enum Element {
    Text(Pattern),
    Number(f64),
    Bool(bool),
}

/// How two values of a kind can be to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// As SQL has it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    pub fn holds<T: PartialOrd>(self, one: &T, other: &T) -> bool {
        match self {
            Self::Equal => one == other,
            Self::NotEqual => one != other,
            Self::Less => one < other,
            Self::LessOrEqual => one <= other,
            Self::Greater => one > other,
            Self::GreaterOrEqual => one >= other,
        }
    }
}

/// How long ago something may be, in days.
const LONGEST_AGO: f64 = 36_500.0;
/// What the only function over fields is called.
const DAYS_SINCE: &str = "days_since";

/// Finds what the names of a filter mean.
pub fn check(syntax: Syntax, schema: &Schema, lookups: &mut Vec<Lookup>) -> Result<Node, FilterError> {
    Checker { schema, lookups }.node(syntax)
}

struct Checker<'a> {
    schema: &'a Schema,
    lookups: &'a mut Vec<Lookup>,
}

type Checked<T> = Result<T, FilterError>;

impl Checker<'_> {
    fn node(&mut self, syntax: Syntax) -> Checked<Node> {
        Ok(match syntax {
            Syntax::All(parts) => Node::All(self.nodes(parts)?),
            Syntax::Any(parts) => Node::Any(self.nodes(parts)?),
            Syntax::Not(inner) => Node::Not(Box::new(self.node(*inner)?)),
            Syntax::Comparison(comparison) => Node::Test(self.test(*comparison)?),
        })
    }

    fn nodes(&mut self, parts: Vec<Syntax>) -> Checked<Vec<Node>> {
        parts.into_iter().map(|part| self.node(part)).collect()
    }

    fn test(&mut self, comparison: Comparison) -> Checked<Test> {
        let Comparison { subject: named, against } = comparison;
        let column = named.column;
        let name = named.name.text.clone();
        let is_age = named.arguments.is_some() && name == DAYS_SINCE;
        let subject = if is_age { self.aged(named)? } else { self.subject(named)? };
        let Some((token, comparator, given)) = against else {
            return match subject.kind() {
                Kind::Bool if !is_age => Ok(Test { subject, question: Question::Bool(true) }),
                _ => wrong_type(column, format!("{name} must be compared with something")),
            };
        };
        let order = order(comparator);
        let question = match order {
            Some(order) if is_age => age(order, &given)?,
            None if is_age => {
                return wrong_type(token.column, format!("{DAYS_SINCE} is compared with =, !=, <, <=, > or >="));
            }
            _ => Question::new(&subject, &name, order, token.column, given)?,
        };
        if let Question::Related(relation) = &question {
            self.look_up(Lookup::Related(relation.clone()));
        }
        Ok(Test { subject, question })
    }

    fn look_up(&mut self, of: Lookup) {
        if !self.lookups.contains(&of) {
            self.lookups.push(of);
        }
    }

    fn subject(&mut self, named: Named) -> Checked<Subject> {
        let Some(arguments) = named.arguments else { return self.field(&named) };
        let name = named.name.text.as_str();
        let Some(function) = self.schema.functions.iter().find(|function| function.name == name).cloned() else {
            let known = self.schema.functions.iter().map(|function| function.name).chain([DAYS_SINCE]);
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(FilterError::new(
                named.column,
                Problem::Unknown,
                format!("no function {name} here; known: {known}"),
            ));
        };
        let call = call(function, named.column, arguments)?;
        self.look_up(Lookup::Call(call.clone()));
        if self.lookups.iter().filter(|of| matches!(of, Lookup::Call(_))).count() > MOST_CALLS {
            let message = format!("a filter looks up at most {MOST_CALLS} different function values");
            return Err(FilterError::new(named.column, Problem::TooLarge, message));
        }
        Ok(Subject::Call(call))
    }

    fn field(&self, named: &Named) -> Checked<Subject> {
        let parts = &named.name.parts;
        let split = (1..=parts.len()).rev().find_map(|length| {
            let name = parts[..length].join(".");
            let field = self.schema.fields.iter().find(|field| field.name == name)?;
            Some((field.clone(), parts[length..].to_vec()))
        });
        let unknown = |message| Err(FilterError::new(named.column, Problem::Unknown, message));
        match split {
            Some((field, keys)) if keys.is_empty() == (field.kind != Kind::Json) => Ok(Subject::Field(field, keys)),
            Some((field, _)) if field.kind == Kind::Json => {
                unknown(format!("{} holds data by key: write {}.key", field.name, field.name))
            }
            Some((field, _)) => unknown(format!("{} has no parts", field.name)),
            None => {
                let known: Vec<&str> = self.schema.fields.iter().map(|field| field.name.as_str()).collect();
                unknown(format!("no field {} here; known: {}", named.name.text, known.join(", ")))
            }
        }
    }

    /// The time that `days_since` is about.
    fn aged(&mut self, named: Named) -> Checked<Subject> {
        let mut arguments = named.arguments.unwrap_or_default();
        let (Some(Given { column, value: Literal::Subject(inner) }), true) = (arguments.pop(), arguments.is_empty())
        else {
            return wrong_type(named.column, format!("{DAYS_SINCE} takes one field or function that is a time"));
        };
        let subject = self.subject(inner)?;
        match subject.kind() {
            Kind::Time | Kind::Json => Ok(subject),
            _ => wrong_type(column, format!("{DAYS_SINCE} takes one field or function that is a time")),
        }
    }
}

fn call(function: Arc<Function>, column: usize, given: Vec<Given>) -> Checked<Call> {
    let takes = || {
        let names: Vec<String> = function.parameters.iter().map(Parameter::to_string).collect();
        format!("{}({})", function.name, names.join(", "))
    };
    if given.len() != function.parameters.len() {
        return wrong_type(column, format!("is written {}", takes()));
    }
    let arguments = function.parameters.iter().zip(given).map(|(parameter, given)| {
        let column = given.column;
        argument(*parameter, given).map_or_else(|| wrong_type(column, format!("is written {}", takes())), Ok)
    });
    let arguments = arguments.collect::<Checked<Vec<Argument>>>()?;
    Ok(Call { function, arguments })
}

fn argument(parameter: Parameter, given: Given) -> Option<Argument> {
    match (parameter, given.value) {
        (Parameter::Text(_), Literal::Text(pattern)) => {
            (pattern.is_exact() && !pattern.text.is_empty()).then_some(Argument::Text(pattern.text))
        }
        (Parameter::Days, Literal::Number(number)) => {
            (1..=3_650_u32).find(|days| f64::from(*days) == number).map(Argument::Days)
        }
        (Parameter::Enum(prefix, stored), Literal::Subject(Named { name, arguments: None, .. })) => {
            stored_name(prefix, stored, &name.text).map(Argument::Enum)
        }
        _ => None,
    }
}

fn order(comparator: Comparator) -> Option<Order> {
    Some(match comparator {
        Comparator::Equal => Order::Equal,
        Comparator::NotEqual => Order::NotEqual,
        Comparator::Less => Order::Less,
        Comparator::LessOrEqual => Order::LessOrEqual,
        Comparator::Greater => Order::Greater,
        Comparator::GreaterOrEqual => Order::GreaterOrEqual,
        Comparator::Has => return None,
    })
}

fn age(order: Order, given: &Given) -> Checked<Question> {
    match given.value {
        Literal::Number(days) if days.fract() == 0.0 && days.abs() <= LONGEST_AGO => {
            #[expect(clippy::cast_possible_truncation, reason = "whole and small enough")]
            let days = days as i64;
            Ok(Question::Age(order, days))
        }
        _ => wrong_type(given.column, format!("must be a whole number of days up to {LONGEST_AGO}")),
    }
}

impl Question {
    fn new(subject: &Subject, name: &str, order: Option<Order>, at: usize, given: Given) -> Checked<Self> {
        let kind = subject.kind();
        let Some(order) = order else { return Self::has(kind, name, at, given) };
        let column = given.column;
        match (kind, given.value) {
            (Kind::Texts | Kind::Related { .. }, _) => {
                wrong_type(at, format!("{name} is a list: look into it with \":\""))
            }
            (Kind::Text, Literal::Text(pattern)) => Self::text(order, at, pattern),
            (Kind::Json, Literal::Text(pattern)) => match moment(&pattern.text) {
                Some(time) if pattern.is_exact() => Ok(Self::Time(order, time)),
                _ => Self::text(order, at, pattern),
            },
            (Kind::Number | Kind::Json, Literal::Number(number)) => Ok(Self::Number(order, number)),
            (Kind::Bool | Kind::Json, Literal::Word(word)) if word == "true" || word == "false" => {
                let equal = equality(order, at, "true and false")?;
                Ok(Self::Bool((word == "true") == equal))
            }
            (Kind::Time, Literal::Text(pattern)) if pattern.is_exact() => match moment(&pattern.text) {
                Some(time) => Ok(Self::Time(order, time)),
                None => wrong_type(column, expected(kind)),
            },
            (Kind::Enum { prefix, stored }, Literal::Word(word)) => {
                let equal = equality(order, at, "the names of an enum")?;
                match stored_name(prefix, stored, &word) {
                    Some(stored) => Ok(Self::Is(equal, stored)),
                    None => wrong_type(column, expected(kind)),
                }
            }
            _ => wrong_type(column, expected(kind)),
        }
    }

    fn text(order: Order, at: usize, pattern: Pattern) -> Checked<Self> {
        if pattern.is_exact() {
            return Ok(Self::Text(order, pattern.text));
        }
        Ok(Self::Like(equality(order, at, "texts with a star")?, pattern))
    }

    fn has(kind: Kind, name: &str, at: usize, given: Given) -> Checked<Self> {
        let element = match (kind, given.value) {
            (Kind::Related { table, owner, column }, Literal::Star) => {
                return Ok(Self::Related(Relation { table, owner, column, pattern: None }));
            }
            (Kind::Related { table, owner, column }, Literal::Text(pattern)) => {
                return Ok(Self::Related(Relation { table, owner, column, pattern: Some(pattern) }));
            }
            (_, Literal::Star) => return Ok(Self::Present),
            (Kind::Texts | Kind::Json, Literal::Text(pattern)) => Element::Text(pattern),
            (Kind::Json, Literal::Number(number)) => Element::Number(number),
            (Kind::Json, Literal::Word(word)) if word == "true" || word == "false" => Element::Bool(word == "true"),
            (Kind::Texts | Kind::Related { .. } | Kind::Json, _) => return wrong_type(given.column, expected(kind)),
            _ => {
                return wrong_type(
                    at,
                    format!("{name} is no list: compare it, or ask with {name}:* whether it is there"),
                );
            }
        };
        Ok(Self::Holds(element))
    }
}

/// Whether it asks for the same or for another; nothing else makes sense for these values.
fn equality(order: Order, at: usize, what: &str) -> Checked<bool> {
    match order {
        Order::Equal => Ok(true),
        Order::NotEqual => Ok(false),
        _ => wrong_type(at, format!("{what} are compared with = and !=")),
    }
}

fn stored_name(prefix: &str, stored: &[&'static str], name: &str) -> Option<&'static str> {
    let rest = name.strip_prefix(prefix)?;
    stored.iter().copied().find(|stored| stored.to_uppercase() == rest)
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Texts | Kind::Related { .. } => "must be a text in quotes".to_owned(),
        Kind::Number => "must be a number".to_owned(),
        Kind::Bool => "must be true or false".to_owned(),
        Kind::Time => {
            "must be a time or a date: \"2026-11-01T00:00:00Z\", \"2026-11-01\", from 1900 to 2999".to_owned()
        }
        Kind::Enum { prefix, stored } => {
            let names: Vec<String> = stored.iter().map(|stored| format!("{prefix}{}", stored.to_uppercase())).collect();
            format!("must be one of {}", names.join(", "))
        }
        Kind::Json => "must be a text in quotes, a number, true or false".to_owned(),
    }
}

fn wrong_type<T>(column: usize, message: impl Into<String>) -> Checked<T> {
    Err(FilterError::new(column, Problem::Type, message))
}
