use minijinja::{AutoEscape, Error, Output, State, Value, escape_formatter};

/// Writes a value into HTML, text as text. A slash needs no escape there, and links are to be readable for what reads mail.
pub fn write_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let plain = value.as_str().filter(|_| *state.auto_escape() == AutoEscape::Html && !value.is_safe());
    let Some(text) = plain else { return escape_formatter(out, state, value) };
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        let (before, after) = rest.split_at(at);
        let escape = match after.as_bytes()[0] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            _ => "&#39;",
        };
        out.write_str(before)?;
        out.write_str(escape)?;
        rest = &after[1..];
    }
    Ok(out.write_str(rest)?)
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
