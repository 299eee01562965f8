use crate::delivery::EmailAddress;

/// No server has that much to say; RFC 5321 (4.5.3.1.5) allows 512 octets a line.
const LONGEST: usize = 16 * 1_024;
/// How much of a server's words is kept.
const LONGEST_WORDS: usize = 500;

/// What came back is no SMTP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Garbage;

/// One whole reply, as it lies in the input: one line or more, all with the same code.
///
/// smtp-proto is not used for it: its enhanced codes end at 255, while Microsoft's go on to 5.7.750, and it copies every reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply<'a> {
    code: u16,
    lines: &'a [u8],
}

/// An enhanced status code (RFC 3463): 4.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Enhanced {
    pub class: u16,
    pub subject: u16,
    pub detail: u16,
}

/// Where the reply ends with which the input begins; nothing while it has not come whole.
pub(super) fn end(input: &[u8]) -> Result<Option<usize>, Garbage> {
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &input[start..]) {
        let line = &input[start..start + length];
        if !begins_like_a_reply(line) || line[..3] != input[..3] {
            return Err(Garbage);
        }
        start += length + 1;
        if start > LONGEST {
            return Err(Garbage);
        }
        if line.get(3) != Some(&b'-') {
            return Ok(Some(start));
        }
    }
    if input.len() > LONGEST { Err(Garbage) } else { Ok(None) }
}

fn begins_like_a_reply(line: &[u8]) -> bool {
    matches!(
        line,
        [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] | [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-' | b'\r', ..]
    )
}

impl<'a> Reply<'a> {
    /// Takes what [`end`] found to be whole.
    pub fn new(lines: &'a [u8]) -> Self {
        let code = lines.iter().take(3).fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
        Self { code, lines }
    }

    /// The three digits.
    pub fn code(self) -> u16 {
        self.code
    }

    /// The first digit: 2 is yes, 3 go on, 4 not now, 5 no.
    pub fn class(self) -> u16 {
        self.code / 100
    }

    /// What stands behind the code, line by line.
    pub fn texts(self) -> impl Iterator<Item = &'a [u8]> {
        self.lines.split(|byte| *byte == b'\n').filter_map(|line| line.get(4..)).map(<[u8]>::trim_ascii)
    }

    /// The enhanced code, if the reply begins with one of its own class.
    pub fn enhanced(self) -> Option<Enhanced> {
        let (enhanced, _) = split_enhanced(self.texts().next()?);
        enhanced.filter(|enhanced| enhanced.class == self.class())
    }

    /// The code with the enhanced one: "451 4.7.1".
    pub fn codes(self) -> String {
        match self.enhanced() {
            Some(Enhanced { class, subject, detail }) => format!("{} {class}.{subject}.{detail}", self.code),
            None => self.code.to_string(),
        }
    }

    /// The server's own words, fit for a log: on one line, not too long, and without any address.
    pub fn words(self, recipient: &EmailAddress) -> String {
        let recipient = recipient.key();
        let mut words = String::new();
        for text in self.texts() {
            let (_, text) = split_enhanced(text);
            for word in
                String::from_utf8_lossy(text).split(|letter: char| letter.is_whitespace() || letter.is_control())
            {
                if !word.is_empty() {
                    words.push_str(if words.is_empty() { "" } else { " " });
                    push_without_addresses(&mut words, word, &recipient);
                }
            }
        }
        match words.char_indices().nth(LONGEST_WORDS) {
            Some((end, _)) => words[..end].to_owned(),
            None => words,
        }
    }
}

fn split_enhanced(text: &[u8]) -> (Option<Enhanced>, &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    match enhanced(first) {
        Some(enhanced) => (Some(enhanced), rest),
        None => (None, text),
    }
}

fn enhanced(word: &[u8]) -> Option<Enhanced> {
    let mut numbers = std::str::from_utf8(word).ok()?.split('.').map(|number| {
        let is_number = number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| is_number)
    });
    let (class, subject, detail) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let is_whole = numbers.next().is_none() && matches!(class, 2 | 4 | 5);
    is_whole.then_some(Enhanced { class, subject, detail })
}

/// Servers name the recipient, and whoever the mail was to be forwarded to; links name them percent-encoded.
fn push_without_addresses(words: &mut String, word: &str, recipient: &str) {
    let ends_address = |letter: char| matches!(letter, ',' | ';' | ':' | '(' | ')' | '[' | ']' | '"');
    for piece in word.split_inclusive(ends_address) {
        let (piece, end) = match piece.char_indices().next_back() {
            Some((at, last)) if ends_address(last) => piece.split_at(at),
            _ => (piece, ""),
        };
        words.push_str(match () {
            () if piece.to_lowercase().contains(recipient) => "<recipient>",
            () if piece.contains('@') || piece.contains("%40") => "<address>",
            () => piece,
        });
        words.push_str(end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(lines: &str) -> String {
        assert_eq!(end(lines.as_bytes()), Ok(Some(lines.len())), "{lines}");
        Reply::new(lines.as_bytes()).words(&"Anna@example.com".parse().unwrap())
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_no_hyphen() {
        for (input, whole) in [
            ("250 ok\r\n", 8),
            ("250\r\n", 5),
            ("250-a\r\n250-b\r\n250 c\r\n", 21),
            ("250 ok\r\n354 go on\r\n", 8),
            ("250 ok\n", 7),
        ] {
            assert_eq!(end(input.as_bytes()), Ok(Some(whole)), "{input:?}");
            for cut in 0..whole {
                assert_eq!(end(&input.as_bytes()[..cut]), Ok(None), "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_told_from_one_that_has_not_come_whole() {
        let endless = format!("250-{}\r\n", "x".repeat(100)).repeat(200);
        let one_line = "2".repeat(LONGEST + 1);
        for wrong in
            ["\r\n", "ok\r\n", "25\r\n", "150 x\r\n", "650 x\r\n", "2500\r\n", "250_x\r\n", "250-a\r\n251 b\r\n"]
        {
            assert_eq!(end(wrong.as_bytes()), Err(Garbage), "{wrong:?}");
        }
        assert_eq!(end(endless.as_bytes()), Err(Garbage));
        assert_eq!(end(one_line.as_bytes()), Err(Garbage));
    }

    #[test]
    fn an_enhanced_code_stands_first_and_is_of_the_same_class() {
        for (line, codes) in [
            ("451 4.7.1 Greylisted\r\n", "451 4.7.1"),
            ("421-4.7.28 Gmail\r\n421 4.7.28 has detected\r\n", "421 4.7.28"),
            ("550 5.7.606 Access denied\r\n", "550 5.7.606"),
            ("550 5.1.1\r\n", "550 5.1.1"),
            ("550 4.1.1 Of another class\r\n", "550"),
            ("550 5.1 Short\r\n", "550"),
            ("550 5.1.1.1 Long\r\n", "550"),
            ("550 5.+1.1 Signed\r\n", "550"),
            ("550 See 5.1.1\r\n", "550"),
            ("550\r\n", "550"),
        ] {
            assert_eq!(Reply::new(line.as_bytes()).codes(), codes, "{line}");
        }
    }

    #[test]
    fn the_words_of_a_server_name_nobody() {
        for (reply, expected) in [
            ("550-5.1.1 No such\r\n550 5.1.1 user  here\r\n", "No such user here"),
            ("550 5.1.1 <anna@EXAMPLE.com>: Recipient rejected\r\n", "<recipient>: Recipient rejected"),
            ("550 5.1.1 <Anna@example.com>... User unknown\r\n", "<recipient> User unknown"),
            ("554 dd (anna@example.com) [-5]\r\n", "dd (<recipient>) [-5]"),
            ("550 to=<anna@example.com>, forwarded to bert@example.org\r\n", "<recipient>, forwarded to <address>"),
            ("550 see https://x.example/?a=anna%40example.com\r\n", "see https:<address>"),
            ("550 a\u{7}b\tc\r\n", "a b c"),
        ] {
            assert_eq!(words(reply), expected);
        }
        assert_eq!(words(&format!("550 {}\r\n", "ž".repeat(600))).chars().count(), LONGEST_WORDS);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = end(&input);
            let reply = Reply::new(&input);
            let words = reply.words(&"anna@example.com".parse().unwrap());
            prop_assert!(!words.chars().any(char::is_control) && !words.contains('@'));
            let _ = reply.codes();
        }
    }
}
