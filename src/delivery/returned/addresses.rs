//! Addresses in the middle of what people and servers write.

/// All addresses of a text, each with the place where it begins.
pub(super) fn all(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('@').filter_map(|(at, _)| around(text, at))
}

/// The first address of a text.
pub(super) fn first(text: &str) -> Option<String> {
    all(text).next().map(|(_, address)| address.to_owned())
}

fn around(text: &str, at: usize) -> Option<(usize, &str)> {
    let local = |letter: &char| letter.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(*letter);
    let domain = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '.' | '_');
    let before: usize = text[..at].chars().rev().take_while(local).map(char::len_utf8).sum();
    let after: usize = text[at + 1..].chars().take_while(domain).map(char::len_utf8).sum();
    let start = at - before;
    let quotes = text[start..at].len() - text[start..at].trim_start_matches(['\'', '`']).len();
    let start = start + quotes;
    let address = text[start..at + 1 + after].trim_end_matches(['.', '-', '_']);
    let whole = start < at && address.len() > at + 1 - start;
    whole.then_some((start, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        for (text, found) in [
            ("<anna@example.com>: no", "anna@example.com"),
            ("to anna@example.com.", "anna@example.com"),
            ("'o'brien@example.com' is not", "o'brien@example.com"),
            ("(jörg@bücher.example)", "jörg@bücher.example"),
            ("\"|prog x@example.com /home\"", "x@example.com"),
        ] {
            assert_eq!(first(text).as_deref(), Some(found), "{text}");
        }
        for nothing in ["", "@", "a@", "@b", "anna at example.com", "@@@"] {
            assert_eq!(first(nothing), None, "{nothing}");
        }
        assert_eq!(all("a@b.example, c@d.example").count(), 2);
    }
}
