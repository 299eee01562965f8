//! Open data in SQL: what a JSON column holds under some keys.

use sea_orm::sea_query::{Expr, SimpleExpr};

use super::{check::Order, sql::Dialect, token::Pattern};
use crate::clock::Timestamp;

/// A date from 1900 to 2999 that there is.
const DATE: &str = "(?:(?:19|2[0-9])[0-9][0-9]-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|\
                    (?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|\
                    (?:(?:19|2[0-9])(?:0[48]|[2468][048]|[13579][26])|2[048]00)-02-29)";
/// What makes a time of it.
const TIME: &str =
    "T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])";

/// The same, in microseconds since 1970.
const SQLITE_MOMENT: &str = "(SELECT CASE \
    WHEN given GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]' AND given >= '1900' AND date(given) = given \
        THEN unixepoch(given) * 1000000 \
    WHEN given GLOB '[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*' AND given >= '1900' \
        AND date(substr(given, 1, 10)) = substr(given, 1, 10) AND substr(given, 12, 2) < '24' \
        AND (zone = 'Z' OR (zone GLOB '[+-][01][0-9]:[0-5][0-9]' AND substr(zone, 2, 2) < '15')) \
        AND (fraction = '' OR (fraction GLOB '.[0-9]*' AND length(fraction) <= 10 AND substr(fraction, 2) NOT GLOB '*[^0-9]*')) \
        THEN (unixepoch(substr(given, 1, 19)) - CASE zone WHEN 'Z' THEN 0 ELSE CAST(substr(zone, 1, 1) || '60' AS INTEGER) \
            * (CAST(substr(zone, 2, 2) AS INTEGER) * 60 + CAST(substr(zone, 5, 2) AS INTEGER)) END) * 1000000 \
            + CAST(substr(substr(fraction, 2) || '000000', 1, 6) AS INTEGER) END \
    FROM (SELECT given, zone, substr(given, 20, length(given) - 19 - length(zone)) AS fraction \
    FROM (SELECT given, CASE WHEN given GLOB '*Z' THEN 'Z' ELSE substr(given, -6) END AS zone \
    FROM (SELECT json_extract($1, $2) AS given WHERE json_type($1, $2) = 'text'))))";

/// What a column holds under some keys.
pub struct Open {
    dialect: Dialect,
    /// The column and the path there on SQLite; on Postgres the value, and the value as text.
    parts: [SimpleExpr; 2],
}

impl Open {
    pub fn new(dialect: Dialect, column: SimpleExpr, keys: &[String]) -> Self {
        if dialect.is_sqlite() {
            // Keys with quotes or backslashes are not read from filters.
            let path: String = keys.iter().map(|key| format!(".\"{key}\"")).collect();
            return Self { dialect, parts: [column, format!("${path}").into()] };
        }
        let step = |value, key: &String| dialect.sql("($1 -> $2)", &[value, key.as_str().into()]);
        let value = keys.iter().fold(column.clone(), step);
        let text = match keys.split_last() {
            Some((last, before)) => {
                dialect.sql("($1 ->> $2)", &[before.iter().fold(column, step), last.as_str().into()])
            }
            None => dialect.sql("($1 #>> '{}')", &[column]),
        };
        Self { dialect, parts: [value, text] }
    }

    /// `$1` and `$2` are the parts, `$3` the argument.
    fn sql(&self, sqlite: impl Into<String>, postgres: impl Into<String>, argument: Option<SimpleExpr>) -> SimpleExpr {
        let parts: Vec<SimpleExpr> = self.parts.iter().cloned().chain(argument).collect();
        self.dialect.sql(if self.dialect.is_sqlite() { sqlite.into() } else { postgres.into() }, &parts)
    }

    pub fn is_present(&self) -> SimpleExpr {
        self.sql("json_type($1, $2) <> 'null'", "jsonb_typeof($1) <> 'null'", None)
    }

    /// Of a list.
    pub fn is_filled(&self) -> SimpleExpr {
        self.sql("json_array_length($1, $2) > 0", "$1 <> '[]'::jsonb", None)
    }

    pub fn is_text(&self) -> SimpleExpr {
        self.sql("json_type($1, $2) = 'text'", "jsonb_typeof($1) = 'string'", None)
    }

    /// Means something only where it [is a text](Self::is_text).
    pub fn as_text(&self) -> SimpleExpr {
        self.sql("json_extract($1, $2)", "$2", None)
    }

    pub fn text(&self, order: Order, text: &str) -> SimpleExpr {
        // The cheap half first: that it is a text is asked where something equal was found.
        let sqlite = format!("(json_extract($1, $2) {} $3 AND json_type($1, $2) = 'text')", order.sql());
        let postgres = match order {
            Order::Equal => "$1 = to_jsonb($3::text)".to_owned(),
            Order::NotEqual => "(jsonb_typeof($1) = 'string' AND $2 <> $3)".to_owned(),
            _ => format!("(jsonb_typeof($1) = 'string' AND $2 COLLATE \"C\" {} $3)", order.sql()),
        };
        self.sql(sqlite, postgres, Some(text.into()))
    }

    pub fn number(&self, order: Order, number: f64) -> SimpleExpr {
        let operator = order.sql();
        let sqlite =
            format!("(json_type($1, $2) IN ('integer', 'real') AND CAST(json_extract($1, $2) AS REAL) {operator} $3)");
        let postgres = format!("CASE WHEN jsonb_typeof($1) = 'number' THEN ($1)::float8 {operator} $3 END");
        self.sql(sqlite, postgres, Some(number.into()))
    }

    pub fn bool(&self, wanted: bool) -> SimpleExpr {
        self.sql(format!("json_type($1, $2) = '{wanted}'"), format!("$1 = '{wanted}'::jsonb"), None)
    }

    /// The time that a text says; NULL where it says none.
    pub fn moment(&self) -> SimpleExpr {
        let postgres = format!(
            "CASE WHEN jsonb_typeof($1) <> 'string' THEN NULL \
            WHEN $2 ~ '^{DATE}$' THEN ($2 || 'T00:00:00Z')::timestamptz \
            WHEN $2 ~ '^{DATE}{TIME}$' THEN regexp_replace($2, '([.][0-9]{{6}})[0-9]+', '\\1')::timestamptz END"
        );
        self.sql(SQLITE_MOMENT, postgres, None)
    }

    /// A time to compare a [moment](Self::moment) with.
    pub fn bound(&self, time: Timestamp) -> SimpleExpr {
        if self.dialect.is_sqlite() { time.timestamp_micros().into() } else { time.into() }
    }

    pub fn holds_text(&self, pattern: &Pattern) -> SimpleExpr {
        if !self.dialect.is_sqlite() && pattern.is_exact() {
            return self.contains("text", pattern.text.as_str().into());
        }
        let text = Expr::cust(if self.dialect.is_sqlite() { "entry.value" } else { "(entry.value #>> '{}')" });
        let kind =
            if self.dialect.is_sqlite() { "entry.type = 'text'" } else { "jsonb_typeof(entry.value) = 'string'" };
        self.has_element(kind, self.dialect.like(text, pattern))
    }

    pub fn holds_number(&self, number: f64) -> SimpleExpr {
        if !self.dialect.is_sqlite() {
            return self.contains("float8", number.into());
        }
        let same = self.dialect.sql("CAST(entry.value AS REAL) = $1", &[number.into()]);
        self.has_element("entry.type IN ('integer', 'real')", same)
    }

    pub fn holds_bool(&self, wanted: bool) -> SimpleExpr {
        if !self.dialect.is_sqlite() {
            return self.contains("boolean", wanted.into());
        }
        self.has_element("entry.type IN ('true', 'false')", Expr::cust(format!("entry.type = '{wanted}'")))
    }

    fn contains(&self, kind: &str, element: SimpleExpr) -> SimpleExpr {
        let postgres = format!("(jsonb_typeof($1) = 'array' AND $1 @> to_jsonb($3::{kind}))");
        self.sql("", postgres, Some(element))
    }

    fn has_element(&self, kind: &str, test: SimpleExpr) -> SimpleExpr {
        let sqlite = format!(
            "(json_type($1, $2) = 'array' AND EXISTS (SELECT 1 FROM json_each($1, $2) AS entry WHERE {kind} AND $3))"
        );
        let postgres = format!(
            "EXISTS (SELECT 1 FROM jsonb_array_elements(CASE jsonb_typeof($1) WHEN 'array' THEN $1 ELSE '[]'::jsonb END) \
            AS entry(value) WHERE {kind} AND $3)"
        );
        self.sql(sqlite, postgres, Some(test))
    }
}
