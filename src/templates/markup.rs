use std::borrow::Cow;

use minijinja::{AutoEscape, Error, Output, State, Value, escape_formatter};

/// Writes a value into HTML, text as text.
pub fn write_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str().filter(|_| *state.auto_escape() == AutoEscape::Html && !value.is_safe()) {
        Some(text) => Ok(out.write_str(&escape(text))?),
        None => escape_formatter(out, state, value),
    }
}

/// Text as it stands in HTML. A slash needs no escape there, and links are to be readable for what reads mail.
pub fn escape(text: &str) -> Cow<'_, str> {
    const SPECIAL: [char; 5] = ['&', '<', '>', '"', '\''];
    if !text.contains(SPECIAL) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped.into()
}

/// Where something can be added at the end of what is shown: before the last end of a body or a document, whatever its case.
pub fn end_of_body(html: &str) -> usize {
    let lower = html.to_ascii_lowercase();
    lower.rfind("</body").or_else(|| lower.rfind("</html")).unwrap_or(html.len())
}

#[cfg(test)]
mod tests {
    use minijinja::{Environment, context};

    use super::*;

    #[test]
    fn text_stays_text_and_links_stay_readable() {
        let mut environment = Environment::new();
        environment.set_formatter(write_value);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let rendered = environment.render_str(
            "{{ a }} {{ b }} {{ c }} {{ d|safe }} {{ e }}",
            context! { a => "https://a.example/?b=c&d", b => "<i a=\"b\" c='d'>", c => 7, d => "<b>", e => "ūž/" },
        );
        let expected = "https://a.example/?b=c&amp;d &lt;i a=&quot;b&quot; c=&#39;d&#39;&gt; 7 <b> ūž/";
        assert_eq!(rendered.unwrap(), expected);
    }
}
