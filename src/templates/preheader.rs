//! What a list of messages shows beside the subject: the first words of the HTML, which nobody sees in the message itself.

/// Nothing that can be seen, but what mail programs take for text: so they do not go on with the message's own words.
const PADDING: &str = "&#8199;&#847; ";
/// How many letters mail programs show at most.
const SHOWN: usize = 150;
const STYLE: &str =
    "display:none;max-height:0;max-width:0;opacity:0;overflow:hidden;mso-hide:all;font-size:1px;line-height:1px";

/// The HTML with its preheader.
pub(super) fn written_into(html: String, preheader: &str) -> String {
    let words = preheader.split_whitespace().collect::<Vec<_>>().join(" ");
    let missing = SHOWN.saturating_sub(words.chars().count()) / 2;
    let element = format!("<div style=\"{STYLE}\">{words}{}</div>", PADDING.repeat(missing));
    let mut written = html;
    written.insert_str(start_of_body(&written), &element);
    written
}

/// Where what is shown begins.
fn start_of_body(html: &str) -> usize {
    let body = html.match_indices('<').map(|(at, _)| at).find(|at| {
        let name = html.as_bytes().get(at + 1..at + 6).unwrap_or_default();
        name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"body"))
            && name.get(4).is_some_and(|after| after.is_ascii_whitespace() || *after == b'>')
    });
    let Some(start) = body else { return 0 };
    let mut quote = None;
    for (at, letter) in html[start..].char_indices() {
        match (quote, letter) {
            (None, '>') => return start + at + 1,
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => (),
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preheader_is_the_first_that_is_said() {
        for (html, before) in [
            ("<html><BODY class='a>b'><p>x</p></body></html>", "<html><BODY class='a>b'>"),
            ("<html><body><p>x</p></body></html>", "<html><body>"),
            ("<p>x</p>", ""),
        ] {
            let written = written_into(html.to_owned(), "Hello\n  you");
            let rest = written.strip_prefix(before).unwrap();
            assert!(rest.starts_with("<div style=\"display:none") && rest.contains(">Hello you&#8199;"), "{written}");
            assert!(rest.contains("</div><p>x</p>"), "{written}");
        }
        let long = "word ".repeat(60);
        assert!(!written_into(String::new(), &long).contains("&#847;"));
    }
}
