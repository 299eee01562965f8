use std::str::FromStr;

use sea_orm::{
    ColumnTrait, EntityTrait, Order as Direction, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, SimpleExpr, Value},
};

use super::Page;
use crate::clock::Timestamp;

/// In which order a list is read: by a field and, where that is the same, by id; both upwards or both downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order<By> {
    /// By which of the fields that the list can be ordered by.
    pub by: By,
    /// From the last to the first.
    pub descending: bool,
}

impl<By> Order<By> {
    /// Selects the rows of a page, and one more: by an instant, if the order is by one, and by id.
    pub fn read<E: EntityTrait, Id: FromStr + Into<Value>>(
        &self,
        rows: Select<E>,
        time: Option<E::Column>,
        id: E::Column,
        page: &Page,
    ) -> Select<E> {
        let direction = if self.descending { Direction::Desc } else { Direction::Asc };
        let columns = || time.into_iter().chain([id]);
        let rows = columns().fold(rows, |rows, column| rows.order_by(column, direction.clone())).limit(page.size + 1);
        let Some(last) = page.after.as_deref().and_then(values::<Id>) else { return rows };
        let own = Expr::tuple(columns().map(|column| Expr::col(column.as_column_ref())));
        rows.filter(if self.descending { own.lt(Expr::tuple(last)) } else { own.gt(Expr::tuple(last)) })
    }
}

/// What a page token keeps of the last row of a page.
pub fn key(time: Option<Timestamp>, id: &impl ToString) -> String {
    time.map_or_else(|| id.to_string(), |time| format!("{} {}", time.timestamp_micros(), id.to_string()))
}

fn values<Id: FromStr + Into<Value>>(key: &str) -> Option<Vec<SimpleExpr>> {
    let id = |text: &str| text.parse::<Id>().ok().map(Expr::val);
    match key.split_once(' ') {
        None => Some(vec![id(key)?]),
        Some((micros, rest)) => {
            let time = Timestamp::from_timestamp_micros(micros.parse().ok()?)?;
            Some(vec![Expr::val(time), id(rest)?])
        }
    }
}
