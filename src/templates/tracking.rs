//! Messages whose reader agreed that opening them, or following their links, is noticed.

use std::ops::Range;

use url::{Host, Url};

use super::markup::end_of_body;

/// More links than this in one message are left as they are.
const MOST_LINKS: u16 = 500;

/// What may be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracking {
    /// That it is opened.
    pub opens: bool,
    /// Which links are followed.
    pub clicks: bool,
}

/// The HTML with every link that can be followed led through `through`, and where each of them leads, in their order. Left alone are
/// links that are `own`, addresses of mail and telephones, whatever is marked
/// `data-no-track`, and what is no plain address on the web: what cannot be understood is never led astray.
pub fn lead_links(html: &str, own: impl Fn(&str) -> bool, through: impl Fn(u16) -> String) -> (String, Vec<String>) {
    let (mut led, mut targets, mut done) = (String::with_capacity(html.len() + 256), Vec::new(), 0);
    let mut at = 0;
    while let Some(start) = html[at..].find('<').map(|found| at + found) {
        at = match skipped(html, start) {
            Some(end) => end,
            None => start + 1,
        };
        let Some(link) = link(html, start) else { continue };
        at = link.end;
        let number = u16::try_from(targets.len()).unwrap_or(MOST_LINKS);
        let target = link.href.clone().filter(|_| !link.untracked).and_then(|href| target(&html[href]));
        let target = target.filter(|target| number < MOST_LINKS && !own(target));
        if let (Some(target), Some(href)) = (target, link.href) {
            led.push_str(&html[done..href.start]);
            led.push_str(&through(number));
            done = href.end;
            targets.push(target);
        }
    }
    led.push_str(&html[done..]);
    (led, targets)
}

/// Where the comment, style or script that begins at `start` ends: what stands in them is no link.
fn skipped(html: &str, start: usize) -> Option<usize> {
    let rest = &html[start..];
    if rest.starts_with("<!--") {
        return Some(rest.find("-->").map_or(html.len(), |end| start + end));
    }
    let until = |close: &str| Some(rest.to_ascii_lowercase().find(close).map_or(html.len(), |end| start + end));
    let is = |name: &str| rest.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    match () {
        () if is("<style") => until("</style"),
        () if is("<script") => until("</script"),
        () => None,
    }
}

/// The beginning of a link.
struct Link {
    /// What stands between the quotes of its `href`.
    href: Option<Range<usize>>,
    /// Whether it is marked `data-no-track`.
    untracked: bool,
    /// After its ">".
    end: usize,
}

/// The link that begins at `start`, if one does and it ends; the first of two attributes of the same name counts.
fn link(html: &str, start: usize) -> Option<Link> {
    let bytes = html.as_bytes();
    let is_link = bytes.get(start + 1)?.eq_ignore_ascii_case(&b'a') && bytes.get(start + 2)?.is_ascii_whitespace();
    if !is_link {
        return None;
    }
    let mut link = Link { href: None, untracked: false, end: 0 };
    let mut at = start + 2;
    let skip = |mut at: usize, holds: &dyn Fn(u8) -> bool| {
        while at < bytes.len() && holds(bytes[at]) {
            at += 1;
        }
        at
    };
    loop {
        at = skip(at, &|byte| byte.is_ascii_whitespace() || byte == b'/');
        if *bytes.get(at)? == b'>' {
            link.end = at + 1;
            return Some(link);
        }
        let name = at;
        at = skip(at + 1, &|byte| !byte.is_ascii_whitespace() && !b"=>/".contains(&byte));
        let name = &html[name..at];
        link.untracked |= name.eq_ignore_ascii_case("data-no-track");
        let equals = skip(at, &|byte| byte.is_ascii_whitespace());
        if bytes.get(equals) != Some(&b'=') {
            continue;
        }
        let value = skip(equals + 1, &|byte| byte.is_ascii_whitespace());
        let range = match bytes.get(value)? {
            quote @ (b'"' | b'\'') => value + 1..skip(value + 1, &|byte| byte != *quote),
            _ => value..skip(value, &|byte| !byte.is_ascii_whitespace() && byte != b'>'),
        };
        at = if bytes[value] == b'"' || bytes[value] == b'\'' { range.end + 1 } else { range.end };
        bytes.get(range.end)?;
        if name.eq_ignore_ascii_case("href") && link.href.is_none() {
            link.href = Some(range);
        }
    }
}

/// The HTML with a picture that nobody sees, at its end.
pub fn add_picture(html: &str, address: &str) -> String {
    let picture = format!("<img src=\"{address}\" width=\"1\" height=\"1\" alt=\"\" style=\"display:block\">");
    let (before, after) = html.split_at(end_of_body(html));
    format!("{before}{picture}{after}")
}

/// Where an attribute leads, if that is a plain address on the web that everybody can reach.
fn target(attribute: &str) -> Option<String> {
    let text = attribute.trim().replace("&amp;", "&");
    // Other entities are as good as never there; who reads them wrong leads readers astray.
    let has_entity = text.match_indices('&').any(|(at, _)| {
        let name = text[at + 1..].split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '#').next();
        name.is_some_and(|name| text[at + 1 + name.len()..].starts_with(';'))
    });
    let url = Url::parse(&text).ok().filter(|_| !has_entity)?;
    let public = match url.host()? {
        Host::Domain(name) => name.contains('.') && !name.ends_with(".local") && !name.ends_with(".internal"),
        Host::Ipv4(_) | Host::Ipv6(_) => false,
    };
    let plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    (public && plain).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn led(html: &str) -> (String, Vec<String>) {
        lead_links(
            html,
            |link| link.starts_with("https://mail.example.com/"),
            |number| format!("https://mail.example.com/r/{number}"),
        )
    }

    #[test]
    fn links_on_the_web_are_led_through_us_and_nothing_else_changes() {
        let html = "<p>Öl &amp; <a class=x HREF='https://shop.example/a?b=1&amp;c=2'>A</a>\n<a href=\"http://shop.example/\">B</a>";
        let (html, targets) = led(html);
        assert_eq!(targets, ["https://shop.example/a?b=1&c=2", "http://shop.example/"]);
        assert!(html.starts_with("<p>Öl &amp; <a class=x HREF='https://mail.example.com/r/0'>A</a>\n"), "{html}");
        assert!(html.ends_with("<a href=\"https://mail.example.com/r/1\">B</a>"), "{html}");
    }

    #[test]
    fn what_must_not_be_noticed_or_cannot_be_understood_is_left_alone() {
        for href in [
            "https://mail.example.com/u/token",
            "mailto:shop@example.com",
            "tel:+37120000000",
            "#top",
            "/relative",
            "javascript:alert(1)",
            "ftp://shop.example/",
            "https://user@shop.example/",
            "https://user:secret@shop.example/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://localhost/",
            "http://printer.local/",
            "https://shop.example/?a=1&#38;b=2",
            "https://shop.example/?a&lt;b",
            "",
        ] {
            let html = format!("<a href=\"{href}\">x</a>");
            assert_eq!(led(&html), (html, Vec::new()), "{href}");
        }
        let (html, targets) = led("<a data-no-track href=\"https://shop.example/\">x</a>");
        assert!(targets.is_empty() && html.contains("https://shop.example/"), "{html}");
        let hidden = "<!-- <a href='https://shop.example/'>x</a> --><style>a:after{content:'<a href=https://shop.example/>'}</style>";
        let broken =
            ["<a href='https://shop.example/", "<a href=", "<a ", "<a>", "<article href='https://shop.example/'>", "<"];
        for html in broken.into_iter().chain([hidden]) {
            assert_eq!(led(html), (html.to_owned(), Vec::new()), "{html}");
        }
        assert_eq!(led("<a title='>' href = https://shop.example/ >x").1, ["https://shop.example/"]);
    }

    proptest! {
        #[test]
        fn nothing_but_addresses_changes(
            html in "(<a |<A\n|href=|[\"'<>=/ aé]|https://shop\\.example/|<!--|-->|<style>|</style>|data-no-track){0,40}"
        ) {
            let (led, targets) = lead_links(&html, |_| false, |_| "@".to_owned());
            let pieces: Vec<&str> = led.split('@').collect();
            prop_assert_eq!(pieces.len(), targets.len() + 1);
            let mut rest = html.as_str();
            for piece in &pieces {
                let at = rest.find(piece);
                prop_assert!(at.is_some(), "{led}");
                rest = &rest[at.unwrap_or_default() + piece.len()..];
            }
            prop_assert!(html.starts_with(pieces[0]) && html.ends_with(pieces[pieces.len() - 1]));
        }
    }

    #[test]
    fn the_picture_stands_at_the_end_of_what_is_shown() {
        assert!(add_picture("<p>x</p></BODY></html>", "https://a.example/o/1").ends_with("block\"></BODY></html>"));
        assert!(
            add_picture("<p>x</p>", "https://a.example/o/1").starts_with("<p>x</p><img src=\"https://a.example/o/1\"")
        );
    }
}
