//! Cells of CSV files. Spreadsheets take a cell that begins with "=", "+", "-", "@", a tab or a line break for a formula, whoever wrote
//! it: an apostrophe before it says that it is text. It is taken away again where such a file is read, so that nothing changes on the way.

use std::borrow::Cow;

/// Whether a spreadsheet would take a text that begins so for a formula.
fn begins_formula(letter: char) -> bool {
    matches!(letter, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
}

/// Whether a text begins like a formula, apostrophes aside.
fn is_risky(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(begins_formula)
}

/// A text as a cell that no spreadsheet runs.
pub fn write_cell(text: &str) -> Cow<'_, str> {
    if is_risky(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// What [`write_cell`] was given.
pub fn read_cell(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_risky(text)).unwrap_or(cell)
}

/// Several texts in one cell: between commas, or as a JSON array where that would not be clear.
pub fn write_list(texts: &[String]) -> String {
    let is_clear = |text: &String| {
        !text.is_empty() && text.trim() == text && !text.contains([',', ';', '|']) && !text.starts_with('[')
    };
    if texts.iter().all(is_clear) { texts.join(", ") } else { serde_json::json!(texts).to_string() }
}

/// What [`write_list`] was given; semicolons and bars part texts too.
pub fn read_list(cell: &str) -> Result<Vec<String>, String> {
    if cell.starts_with('[') {
        return serde_json::from_str(cell)
            .map_err(|_| "must be texts between commas, or a JSON array of texts".to_owned());
    }
    Ok(cell.split([',', ';', '|']).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_cell_begins_like_a_formula() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+371 2000", "'+371 2000"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("'=1", "''=1"),
            ("O'Neil", "O'Neil"),
            ("'tis", "'tis"),
            ("", ""),
        ] {
            assert_eq!(write_cell(text), cell);
            assert_eq!(read_cell(cell), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(text in "['=+@\\-\t\r\nab]{0,6}|.*") {
            let cell = write_cell(&text).into_owned();
            prop_assert!(!cell.starts_with(begins_formula));
            prop_assert_eq!(read_cell(&cell), text);
        }

        #[test]
        fn a_list_is_read_as_it_was_written(texts in proptest::collection::vec("[ab,;| \\[\"]{0,4}", 0..4)) {
            prop_assert_eq!(read_list(&write_list(&texts)), Ok(texts));
        }
    }
}
