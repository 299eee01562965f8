//! What templates are rendered in: an environment that reaches neither files nor the network, counts steps, and weighs every
//! value that a step handles, so that neither time nor memory depends on the author's good will.

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, filters,
    value::{Rest, ValueKind},
};

use super::markup::write_value;

/// Goes through a function of these: anything, a number, what holds no other values.
pub(super) const ANY: &str = "_any(";
pub(super) const NUMBER: &str = "_number(";
pub(super) const SCALAR: &str = "_scalar(";

/// Steps of one text.
pub(super) const STEPS: u64 = 20_000;
/// The largest value that is handled, and what all of them may weigh together.
const LARGEST_VALUE: usize = 64 * 1024;
pub(super) const ALL_VALUES: usize = 4 * 1024 * 1024;
/// A value without anything in it.
const NODE: usize = 32;
/// Values nest no deeper: what callers bring does not, either.
const DEEPEST: usize = 60;

/// Filters that take a text for a list of its letters.
const BY_LETTER: [&str; 15] = [
    "dictsort",
    "join",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "split",
    "sum",
    "unique",
];

/// What is left.
struct Budget(usize);

/// An environment in which one author's templates can do no harm to others.
pub(super) fn fenced() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(STEPS));
    environment.set_recursion_limit(50);
    environment.set_auto_escape_callback(
        |name| {
            if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
        },
    );
    environment.set_formatter(write_metered);
    add_filters(&mut environment);
    environment.remove_global("range");
    environment.remove_global("debug");
    environment.add_function("_any", |state: &mut State, value: &Value| {
        spend(state, value)?;
        Ok::<_, Error>(value.clone())
    });
    environment.add_function("_number", |value: &Value| {
        if value.as_str().is_some() || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(refusal("only numbers can be multiplied"));
        }
        Ok(value.clone())
    });
    environment.add_function("_scalar", |state: &mut State, value: &Value| {
        let holds = matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain);
        if holds {
            return Err(refusal("a namespace keeps only texts, numbers, true, false and none"));
        }
        spend(state, value)?;
        Ok(value.clone())
    });
    environment
}

/// Filters whose work grows with what they are given. Those of `minijinja` that are not here either look at one thing alone
/// (default, safe) or are not offered (batch, slice, groupby, zip, chain, indent, pprint: what they make nests or grows).
fn add_filters(environment: &mut Environment<'static>) {
    for gone in ["batch", "slice", "groupby", "zip", "chain", "indent", "pprint"] {
        environment.remove_filter(gone);
    }
    macro_rules! metered {
        ($($name:ident)*) => {$(
            environment.add_filter(concat!("_", stringify!($name)), filters::$name);
            environment.add_filter(stringify!($name), |state: &mut State, arguments: Rest<Value>| {
                metered(state, stringify!($name), concat!("_", stringify!($name)), &arguments)
            });
        )*};
    }
    metered! {
        escape lower upper title capitalize replace length dictsort items reverse trim join split lines round abs int float
        attr first last min max sort list string bool sum select reject selectattr rejectattr map unique format
    }
    for (short, name) in [("e", "escape"), ("count", "length")] {
        environment
            .add_filter(short, move |state: &mut State, arguments: Rest<Value>| state.apply_filter(name, &arguments));
    }
}

fn metered(state: &mut State, name: &str, inner: &str, arguments: &[Value]) -> Result<Value, Error> {
    for argument in arguments {
        spend(state, argument)?;
    }
    // Letter by letter takes longer than all at once, and longer still where each becomes a value.
    let letters = arguments.first().and_then(Value::as_str).map_or(0, str::len);
    let each = if BY_LETTER.contains(&name) { NODE } else { NODE / 4 };
    take(state, letters.saturating_mul(each))?;
    check_growth(state, name, arguments)?;
    let made = state.apply_filter(inner, arguments)?;
    spend(state, &made)?;
    Ok(made)
}

/// What would grow is refused before it does.
fn check_growth(state: &mut State, name: &str, arguments: &[Value]) -> Result<(), Error> {
    let text = |place: usize| arguments.get(place).and_then(Value::as_str).unwrap_or_default();
    let items = arguments.first().and_then(Value::len).unwrap_or(0);
    match name {
        "replace" => {
            let found = if text(1).is_empty() { text(0).len() + 1 } else { text(0).matches(text(1)).count() };
            check_size(found.saturating_mul(text(2).len()))
        }
        "join" => {
            // The separator may also be given by name.
            let longest = arguments[1..].iter().map(|one| one.as_str().map_or_else(|| named(one, "d"), str::len)).max();
            check_size(items.saturating_mul(longest.unwrap_or(0)))
        }
        "format" => check_format(text(0)),
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => {
            if arguments[1..].iter().any(|one| one.as_str().is_some_and(|name| name.starts_with('_'))) {
                return Err(refusal("there is no filter or test whose name begins with an underscore"));
            }
            // Each item meets each argument.
            let mut weight = 0;
            for argument in &arguments[1..] {
                weight += weigh(argument, LARGEST_VALUE, 0)?;
            }
            take(state, weight.saturating_mul(items))
        }
        _ => Ok(()),
    }
}

fn named(arguments: &Value, name: &str) -> usize {
    arguments.get_attr(name).ok().and_then(|value| value.as_str().map(str::len)).unwrap_or(0)
}

/// Widths and precisions are small.
fn check_format(text: &str) -> Result<(), Error> {
    let mut digits = 0;
    for letter in text.chars() {
        digits = if letter.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 2 || letter == '*' {
            return Err(refusal("format takes widths and precisions up to 99, and no more digits in a row"));
        }
    }
    Ok(())
}

/// Writes a value, as [`write_value`] does.
fn write_metered(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.as_str().is_none() {
        spend(state, value)?;
    }
    write_value(out, state, value)
}

fn spend(state: &mut State, value: &Value) -> Result<(), Error> {
    let weight = weigh(value, LARGEST_VALUE, 0)?;
    take(state, weight)
}

fn take(state: &mut State, weight: usize) -> Result<(), Error> {
    let budget = state.get_or_insert_extension(Budget(ALL_VALUES));
    budget.0 = budget.0.checked_sub(weight).ok_or_else(|| Error::from(ErrorKind::OutOfFuel))?;
    Ok(())
}

/// How much a value holds, in bytes; an error as soon as that is more than `most`.
fn weigh(value: &Value, most: usize, depth: usize) -> Result<usize, Error> {
    let mut weight = NODE + value.as_str().map_or(0, str::len);
    if depth > DEEPEST {
        return Err(refusal("a value nests too deep"));
    }
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        let is_map = value.kind() == ValueKind::Map;
        for item in value.try_iter()? {
            check_weight(weight, most)?;
            weight += weigh(&item, most - weight, depth + 1)?;
            check_weight(weight, most)?;
            if is_map {
                weight += weigh(&value.get_item(&item)?, most - weight, depth + 1)?;
            }
        }
    }
    check_weight(weight, most)?;
    Ok(weight)
}

fn check_weight(weight: usize, most: usize) -> Result<(), Error> {
    if weight > most { check_size(usize::MAX) } else { Ok(()) }
}

fn check_size(size: usize) -> Result<(), Error> {
    if size > LARGEST_VALUE {
        return Err(refusal(&format!("a value is larger than {LARGEST_VALUE} bytes")));
    }
    Ok(())
}

fn refusal(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what.to_owned())
}
