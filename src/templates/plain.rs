//! The text of a message whose author wrote HTML alone: every sentence that can be seen, and where every link
//! that has words (or a picture that is described) leads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use html2text::config::plain;

/// Lines are broken here.
const WIDTH: usize = 76;
/// Larger HTML is clipped by mail programs, and takes long.
const LARGEST: usize = 256 * 1024;
/// Deeper than any letter nests its elements; what nests deeper takes long.
const DEEPEST: usize = 250;
/// Elements that hold nothing, or end by themselves where the next one begins.
const SHALLOW: [&str; 27] = [
    "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "head", "hr", "html", "img", "input", "li",
    "link", "meta", "option", "p", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "wbr",
];

/// The text, or why there is none.
pub(super) fn text_of(html: &str) -> Result<String, String> {
    if html.len() > LARGEST {
        return Err(format!("no text can be derived from more than {LARGEST} bytes of HTML: write one"));
    }
    if depth(html) > DEEPEST {
        return Err(format!("no text can be derived from HTML that is nested deeper than {DEEPEST} levels: write one"));
    }
    let reader = plain().raw_mode(true).no_link_wrapping().allow_width_overflow();
    let read = AssertUnwindSafe(|| reader.string_from_read(html.as_bytes(), WIDTH));
    match catch_unwind(read) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(_)) | Err(_) => Err("no text can be derived from this HTML: write one".to_owned()),
    }
}

/// How deep elements nest at most, or a little more.
fn depth(html: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for tag in html.split('<').skip(1) {
        let (ends, rest) = tag.strip_prefix('/').map_or((false, tag), |rest| (true, rest));
        let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        if name.is_empty() || SHALLOW.contains(&name.as_str()) {
            continue;
        }
        open = if ends { open.saturating_sub(1) } else { open + 1 };
        deepest = deepest.max(open);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_and_every_link_is_in_the_text() {
        let html = "<!doctype html><html><head><title>Not shown</title><style>p { color: red }</style></head><body>\
            <h1>Sveiki, Anna &amp; co!</h1><p>Read <a href=\"https://example.com/news?x=1&amp;y=2\">our news</a>.</p>\
            <ul><li>one</li><li>two</li></ul>\
            <table><tr><td>left</td><td>right <a href=\"https://b.example/\">B</a></td></tr></table>\
            <a href=\"https://d.example/\"><img src=\"x.png\" alt=\"Winter sale\"></a></body></html>";
        let text = text_of(html).unwrap();
        for part in [
            "Sveiki, Anna & co!",
            "our news",
            "https://example.com/news?x=1&y=2",
            "* one",
            "left",
            "right",
            "https://b.example/",
            "Winter sale",
            "https://d.example/",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!text.contains("Not shown") && !text.contains("color"), "{text}");
    }

    #[test]
    fn html_that_would_take_long_is_refused() {
        for html in
            ["<div>".repeat(1_000), "<P><b>x".repeat(1_000), "<table><tr><td>".repeat(300), "x".repeat(LARGEST + 1)]
        {
            assert!(text_of(&html).unwrap_err().contains("write one"));
        }
        let rows = format!("<table>{}</table>", "<tr><td>a<td>b".repeat(1_000));
        assert!(text_of(&rows).unwrap().contains('b'));
        assert_eq!(depth("<div><p>a<p>b<br><ul><li>c<li>d</ul></div><!-- x --><div></div> 1 < 2"), 2);
    }
}
