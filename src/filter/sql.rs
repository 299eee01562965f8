//! Filters as conditions of queries. Every value is bound, names come from schemas, and what differs between the databases stands
//! here side by side.
//!
//! A comparison with what is not there is NULL in SQL. That is as good as false until it is negated, so negations are moved down to
//! the comparisons, and a negated one asks whether it is not true.

use sea_orm::{
    DbBackend,
    sea_query::{Condition, Expr, ExprTrait, Query, SimpleExpr},
};

use super::{
    ages::Ages,
    check::{Element, Node, Order, Question, Subject, Test},
    open::Open,
    schema::{Field, Kind, Relation, Source},
    token::Pattern,
};
use crate::clock::Timestamp;

/// A filter over its schema's table.
pub fn condition(node: &Node, backend: DbBackend, now: Timestamp) -> Condition {
    Compiler { dialect: Dialect(backend), now }.condition(node, false)
}

#[derive(Clone, Copy)]
pub struct Dialect(pub DbBackend);

impl Dialect {
    pub fn is_sqlite(self) -> bool {
        self.0 == DbBackend::Sqlite
    }

    /// SQL with numbered places for other expressions.
    pub fn sql(self, template: impl Into<String>, parts: &[SimpleExpr]) -> SimpleExpr {
        let template = template.into();
        if !self.is_sqlite() {
            return Expr::cust_with_exprs(template, parts.iter().cloned());
        }
        // There the places have no numbers.
        let (mut text, mut used) = (String::new(), Vec::new());
        let mut letters = template.chars().peekable();
        while let Some(letter) = letters.next() {
            let place = letters.peek().filter(|_| letter == '$').and_then(|next| next.to_digit(10));
            match place.and_then(|place| parts.get(place as usize - 1)) {
                Some(part) => {
                    letters.next();
                    text.push('?');
                    used.push(part.clone());
                }
                None => text.push(letter),
            }
        }
        Expr::cust_with_exprs(text, used)
    }

    /// Whether a text looks like a pattern.
    pub fn like(self, text: SimpleExpr, pattern: &Pattern) -> SimpleExpr {
        let template = match (pattern.open_start, pattern.open_end, self.is_sqlite()) {
            (false, false, _) => "$1 = $2",
            (false, true, true) => "substr($1, 1, length($2)) = $2",
            (false, true, false) => "starts_with($1, $2)",
            (true, false, true) => "substr($1, -length($2)) = $2",
            (true, false, false) => "right($1, length($2)) = $2",
            (true, true, true) => "instr($1, $2) > 0",
            (true, true, false) => "strpos($1, $2) > 0",
        };
        self.sql(template, &[text, pattern.text.as_str().into()])
    }

    /// Compares texts byte by byte.
    pub fn text(self, order: Order, text: SimpleExpr, other: &str) -> SimpleExpr {
        let by_bytes = !self.is_sqlite() && !matches!(order, Order::Equal | Order::NotEqual);
        let collation = if by_bytes { " COLLATE \"C\"" } else { "" };
        self.sql(format!("$1{collation} {} $2", order.sql()), &[text, other.into()])
    }
}

struct Compiler {
    dialect: Dialect,
    now: Timestamp,
}

impl Compiler {
    fn condition(&self, node: &Node, negated: bool) -> Condition {
        let joined = |parts: &[Node], all: bool| {
            let empty = if all { Condition::all() } else { Condition::any() };
            parts.iter().fold(empty, |joined, part| joined.add(self.condition(part, negated)))
        };
        match node {
            Node::All(parts) => joined(parts, !negated),
            Node::Any(parts) => joined(parts, negated),
            Node::Not(inner) => self.condition(inner, !negated),
            Node::Test(test) => {
                let test = self.test(test);
                Condition::all().add(if negated { self.dialect.sql("($1) IS NOT TRUE", &[test]) } else { test })
            }
        }
    }

    fn test(&self, test: &Test) -> SimpleExpr {
        match &test.subject {
            Subject::Call(call) => {
                let customer = Expr::col(("customers", "customer_id"));
                self.plain(call.function.kind, (call.function.sql)(call, customer, self.now), &test.question)
            }
            Subject::Field(field, keys) => {
                let column = self.column(field);
                match field.kind {
                    Kind::Json | Kind::Texts => {
                        self.open(&Open::new(self.dialect, column, keys), field.kind, &test.question)
                    }
                    kind => self.plain(kind, column, &test.question),
                }
            }
        }
    }

    fn column(&self, field: &Field) -> SimpleExpr {
        match field.source {
            Source::Column(table, column) => Expr::col((table, column)),
            Source::Expression(expression) => expression(self.dialect.0),
        }
    }

    fn plain(&self, kind: Kind, value: SimpleExpr, question: &Question) -> SimpleExpr {
        let compare = |order: &Order, with: SimpleExpr| {
            self.dialect.sql(format!("$1 {} $2", order.sql()), &[value.clone(), with])
        };
        match question {
            Question::Present if kind == Kind::Text => self.dialect.sql("$1 <> ''", &[value]),
            Question::Present => self.dialect.sql("$1 IS NOT NULL", &[value]),
            Question::Text(order, text) => self.dialect.text(*order, value, text),
            Question::Like(equal, pattern) => self.like(*equal, value, pattern),
            Question::Number(order, number) => compare(order, (*number).into()),
            Question::Bool(true) => value,
            Question::Bool(false) => self.dialect.sql("NOT ($1)", &[value]),
            Question::Time(order, time) => compare(order, (*time).into()),
            Question::Age(order, days) => self.age(Ages::new(*order, *days, self.now), &value, SimpleExpr::from),
            Question::Is(equal, stored) => {
                compare(&if *equal { Order::Equal } else { Order::NotEqual }, (*stored).into())
            }
            Question::Related(relation) => relation.exists(self.dialect, value),
            // No list is plain.
            Question::Holds(_) => Expr::val(false),
        }
    }

    fn open(&self, value: &Open, kind: Kind, question: &Question) -> SimpleExpr {
        match question {
            Question::Present if kind == Kind::Texts => value.is_filled(),
            Question::Present => value.is_present(),
            Question::Text(order, text) => value.text(*order, text),
            Question::Like(equal, pattern) => {
                let like = self.like(*equal, value.as_text(), pattern);
                self.dialect.sql("$1 AND $2", &[value.is_text(), like])
            }
            Question::Number(order, number) => value.number(*order, *number),
            Question::Bool(wanted) => value.bool(*wanted),
            Question::Time(order, time) => {
                self.dialect.sql(format!("$1 {} $2", order.sql()), &[value.moment(), value.bound(*time)])
            }
            Question::Age(order, days) => {
                let ages = Ages::new(*order, *days, self.now);
                self.age(ages, &value.moment(), |time| value.bound(time))
            }
            Question::Holds(Element::Text(pattern)) => value.holds_text(pattern),
            Question::Holds(Element::Number(number)) => value.holds_number(*number),
            Question::Holds(Element::Bool(wanted)) => value.holds_bool(*wanted),
            // Nothing open is an enum, or in another table.
            Question::Is(..) | Question::Related(_) => Expr::val(false),
        }
    }

    fn like(&self, equal: bool, text: SimpleExpr, pattern: &Pattern) -> SimpleExpr {
        let like = self.dialect.like(text, pattern);
        if equal { like } else { self.dialect.sql("NOT ($1)", &[like]) }
    }

    fn age(&self, ages: Ages, time: &SimpleExpr, bound: impl Fn(Timestamp) -> SimpleExpr) -> SimpleExpr {
        let side = |moment: Option<Timestamp>, operator: &str| {
            let template = format!("$1 {operator} $2");
            moment.map(|moment| self.dialect.sql(template, &[time.clone(), bound(moment)]))
        };
        let inside = match (side(ages.after, ">"), side(ages.until, "<=")) {
            (Some(after), Some(until)) => self.dialect.sql("$1 AND $2", &[after, until]),
            (Some(side), None) | (None, Some(side)) => side,
            (None, None) => Expr::val(true),
        };
        if ages.inside { inside } else { self.dialect.sql("NOT ($1)", &[inside]) }
    }
}

impl Relation {
    /// Whether the customer whom an expression names has such a text.
    pub fn exists(&self, dialect: Dialect, customer: SimpleExpr) -> SimpleExpr {
        let mut rows = Query::select();
        rows.expr(Expr::val(1)).from(self.table).and_where(Expr::col((self.table, self.owner)).eq(customer));
        if let Some(pattern) = &self.pattern {
            rows.and_where(dialect.like(Expr::col((self.table, self.column)), pattern));
        }
        Expr::exists(rows)
    }
}
