//! Many rows at a time.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IdenStatic, Iterable,
    sea_query::{ArrayType, CaseStatement, Expr, Func, FunctionCall, InsertStatement, OnConflict, Query, Value},
};

use super::{StoreError, WriteTx};

/// How many rows a statement inserts on SQLite, so that their values stay below the number that it takes.
const AT_ONCE: usize = 500;
/// From how many rows on it pays to tell a server how to look their keys up.
const MANY: usize = 50;
/// A server checks each foreign key by a query of its own, which connections of ours have planned anew each time: that takes longer than
/// all the rest. One plan does for all rows; it goes by the index, however small the other table was when it was made.
const CHECK_KEYS_ALIKE: &str = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off";
const AS_BEFORE: &str = "SET LOCAL plan_cache_mode TO DEFAULT; SET LOCAL enable_seqscan TO DEFAULT";

/// Inserts rows that all set the same columns; answers how many came in: fewer than were given where `taken` leaves some out.
pub async fn insert_rows<R: ActiveModelTrait + Send>(
    tx: &WriteTx,
    rows: Vec<R>,
    taken: Option<OnConflict>,
) -> Result<u64, StoreError> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        return insert_lists(tx, rows, taken).await;
    }
    let is_many = rows.len() >= MANY;
    let Some(mut insert) = insert_arrays(rows)? else { return Ok(0) };
    if let Some(taken) = taken {
        insert.on_conflict(taken);
    }
    if !is_many {
        return Ok(tx.execute(&insert).await?.rows_affected());
    }
    tx.execute_unprepared(CHECK_KEYS_ALIKE).await?;
    let inserted = tx.execute(&insert).await?.rows_affected();
    tx.execute_unprepared(AS_BEFORE).await?;
    Ok(inserted)
}

async fn insert_lists<R: ActiveModelTrait + Send>(
    tx: &WriteTx,
    mut rows: Vec<R>,
    taken: Option<OnConflict>,
) -> Result<u64, StoreError> {
    let mut inserted = 0;
    while !rows.is_empty() {
        let rest = rows.split_off(rows.len().min(AT_ONCE));
        let mut insert = R::Entity::insert_many(std::mem::replace(&mut rows, rest));
        if let Some(taken) = &taken {
            insert = insert.on_conflict(taken.clone());
        }
        inserted += insert.exec_without_returning(tx).await?;
    }
    Ok(inserted)
}

/// A server reads and plans a list of thousands of values anew for each statement. So there each column is one array: the statement is
/// short, and the same for any number of rows. None = there are no rows.
///
/// `INSERT INTO table (a, b) SELECT a, CASE WHEN has_b THEN b END FROM (SELECT unnest($1) AS a, unnest($2) AS has_b, unnest($3) AS b)`:
/// the driver has no arrays with gaps.
fn insert_arrays<R: ActiveModelTrait>(mut rows: Vec<R>) -> Result<Option<InsertStatement>, DbErr> {
    if rows.is_empty() {
        return Ok(None);
    }
    let (mut columns, mut chosen, mut given) = (Vec::new(), Query::select(), Query::select());
    for column in <R::Entity as EntityTrait>::Column::iter() {
        let values: Option<Vec<Value>> = rows.iter_mut().map(|row| row.take(column).into_value()).collect();
        let Some(values) = values else { continue };
        columns.push(column);
        let value = Expr::col(column.as_str());
        if column.def().is_null() {
            let has = format!("has_{}", column.as_str());
            let is_there: Vec<Value> = values.iter().map(|value| value.is_some().into()).collect();
            given.expr_as(unnest(is_there), has.clone());
            chosen.expr(CaseStatement::new().case(Expr::col(has), value));
        } else {
            chosen.expr(value);
        }
        given.expr_as(unnest(values), column.as_str());
    }
    chosen.from_subquery(given, "given");
    let mut insert = Query::insert();
    insert.into_table(R::Entity::default()).columns(columns);
    insert.select_from(chosen).map_err(|wrong| DbErr::Custom(wrong.to_string()))?;
    Ok(Some(insert))
}

/// A row for each value; one that is missing is anything.
fn unnest(values: Vec<Value>) -> FunctionCall {
    let kind = values.first().map_or(ArrayType::Bool, Value::array_type);
    let filled = values.into_iter().map(|value| if value.is_some() { value } else { value.dummy_value() });
    Func::cust("unnest").arg(Expr::val(Value::Array(kind, Some(Box::new(filled.collect())))))
}
