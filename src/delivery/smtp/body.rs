/// What a letter asks of a server, found in one pass over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Its size, as the SIZE parameter counts it (RFC 1870).
    pub octets: usize,
    /// It holds octets above 127 (RFC 6152).
    pub eight_bit: bool,
    /// Its headers do (RFC 6531). Addresses never do: an `EmailAddress` is ASCII.
    pub utf8: bool,
}

impl Needs {
    pub fn of(letter: &[u8]) -> Self {
        let eight_bit = !letter.is_ascii();
        let headers = || memchr::memmem::find(letter, b"\r\n\r\n").unwrap_or(letter.len());
        Self { octets: letter.len(), eight_bit, utf8: eight_bit && !letter[..headers()].is_ascii() }
    }
}

/// A CR or LF that is not part of a CRLF: what one server takes for the end of a letter, the next takes for its text, and what
/// follows for commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LoneLineEnd;

/// Appends the letter as it goes onto the wire: a line that begins with a dot gets another one before it, and a line with
/// nothing but a dot is the end (RFC 5321, 4.5.2).
pub(super) fn push_body(letter: &[u8], wire: &mut Vec<u8>) -> Result<(), LoneLineEnd> {
    wire.reserve(letter.len() + letter.len() / 32 + 8);
    let mut rest = letter;
    while !rest.is_empty() {
        if rest[0] == b'.' {
            wire.push(b'.');
        }
        let end = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, next) = rest.split_at(end);
        wire.extend_from_slice(line);
        wire.extend_from_slice(b"\r\n");
        rest = match next {
            [] => next,
            [b'\r', b'\n', next @ ..] => next,
            _ => return Err(LoneLineEnd),
        };
    }
    wire.extend_from_slice(b".\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(letter: &str) -> String {
        let mut wire = Vec::new();
        push_body(letter.as_bytes(), &mut wire).unwrap();
        String::from_utf8(wire).unwrap()
    }

    /// What a server makes of it.
    fn received(mut wire: &[u8]) -> Vec<u8> {
        let mut letter = Vec::new();
        while wire != b".\r\n" {
            let end = wire.windows(2).position(|two| two == b"\r\n").expect("a line ends");
            let (line, rest) = wire.split_at(end + 2);
            assert_ne!(line, b".\r\n", "the letter ends once");
            letter.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            wire = rest;
        }
        letter
    }

    #[test]
    fn a_line_that_begins_with_a_dot_gets_another() {
        assert_eq!(wire("a\r\n.b\r\n..\r\nc.\r\n"), "a\r\n..b\r\n...\r\nc.\r\n.\r\n");
        assert_eq!(wire(".\r\n"), "..\r\n.\r\n");
        assert_eq!(wire(""), ".\r\n");
        assert_eq!(wire("no end"), "no end\r\n.\r\n");
    }

    #[test]
    fn a_lone_line_end_is_refused() {
        for letter in ["a\nb\r\n", "a\rb\r\n", "a\r\r\nb\r\n", "a\n.\r\nMAIL", "a\r", "\n"] {
            assert_eq!(push_body(letter.as_bytes(), &mut Vec::new()), Err(LoneLineEnd), "{letter:?}");
        }
    }

    #[test]
    fn a_letter_needs_what_its_octets_need() {
        let needs = |letter: &str| (Needs::of(letter.as_bytes()).eight_bit, Needs::of(letter.as_bytes()).utf8);
        assert_eq!(needs("Subject: a\r\n\r\nb\r\n"), (false, false));
        assert_eq!(needs("Subject: a\r\n\r\nž\r\n"), (true, false));
        assert_eq!(needs("Subject: ž\r\n\r\nb\r\n"), (true, true));
        assert_eq!(needs("Subject: ž"), (true, true));
    }

    proptest! {
        #[test]
        fn every_letter_arrives_to_the_last_octet(
            lines in prop::collection::vec(
                prop_oneof![
                    Just(b".".to_vec()),
                    Just(b"..".to_vec()),
                    Just(Vec::new()),
                    prop::collection::vec(any::<u8>().prop_filter("no line end", |octet| !b"\r\n".contains(octet)), 0..40),
                    prop::collection::vec(prop_oneof![Just(b'.'), Just(b'a')], 0..4),
                ],
                0..30,
            ),
        ) {
            let letter: Vec<u8> = lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect();
            let mut wire = Vec::new();
            prop_assert_eq!(push_body(&letter, &mut wire), Ok(()));
            prop_assert_eq!(received(&wire), letter);
        }
    }
}
