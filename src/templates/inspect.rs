//! What an author should look at before a template is published: found when it is saved, not when it is sent.

use serde_json::{Map, json};

use super::{
    Locale,
    partials::Partials,
    render::{Compiled, Data, RenderError},
    template::{Content, Part, Problem, Severity, Variant},
};
use crate::ids::TemplateId;

/// Names that every message has, and the free ones below which anything may stand.
const CUSTOMER: [&str; 8] =
    ["customer_id", "display_name", "given_name", "family_name", "locale", "time_zone", "attributes", "tags"];
const EVENT: [&str; 6] = ["event_type", "subject", "occur_time", "value", "items", "properties"];

/// Every problem, variant by variant. `own` is the template that this is to be, and `partials` what it includes.
pub fn inspect(of: &Inspected<'_>, partials: &Partials) -> Vec<Problem> {
    let mut problems = Vec::new();
    for variant in &of.content.variants {
        for part in Part::ALL {
            problems.extend(source_problems(of, variant, part, partials));
        }
        problems.extend(variant_problems(of, variant));
    }
    if problems.iter().all(|problem| problem.severity != Severity::Error) {
        problems.extend(trial_problems(of.content, of.partial, partials));
    }
    problems
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Inspected<'a> {
    /// The template that it is to be, if it has a name already.
    pub template_id: Option<&'a TemplateId>,
    /// A block: what includes it may say more names.
    pub partial: bool,
    /// The texts.
    pub content: &'a Content,
}

/// What previews show where neither a customer nor sample data says otherwise.
pub fn sample() -> Data {
    let customer = json!({
        "customer_id": "cus_00000000000000000000000000", "display_name": "Anna Example", "given_name": "Anna",
        "family_name": "Example", "locale": "en", "time_zone": "UTC", "attributes": {}, "tags": [],
    });
    let event = json!({
        "event_type": "order.placed", "subject": "order-1", "occur_time": "2026-01-31T12:00:00Z",
        "value": {"currency_code": "EUR", "amount": "12.50"}, "items": [], "properties": {},
    });
    Data::new(customer, Some(event), Map::new())
}

fn source_problems(of: &Inspected<'_>, variant: &Variant, part: Part, partials: &Partials) -> Vec<Problem> {
    let Ok(mut compiled) = Compiled::new(Content::default(), partials) else { return Vec::new() };
    let tried = if of.partial && part == Part::Mjml { framed(variant) } else { variant.clone() };
    if let Err(RenderError { line, description, .. }) = compiled.add(of.template_id, &tried, part, partials) {
        return vec![problem(Severity::Error, variant, part, line, description)];
    }
    let warnings = compiled.warnings().iter();
    let mut problems: Vec<Problem> =
        warnings.map(|one| problem(Severity::Warning, variant, part, one.line, one.description.clone())).collect();
    let mut unknown: Vec<String> =
        compiled.names(variant, part).into_iter().filter_map(|path| unknown_name(&path)).collect();
    unknown.sort_unstable();
    problems.extend(unknown.into_iter().map(|description| {
        let used = description.split('"').nth(1).unwrap_or_default();
        let line = compiled.line_of(variant, part, used);
        // What includes a block may say more names.
        let severity = if of.partial { Severity::Warning } else { Severity::Error };
        problem(severity, variant, part, line, description)
    }));
    problems
}

/// A block of MJML in a document, so that it can be read; its lines stay what they are.
fn framed(variant: &Variant) -> Variant {
    let block = &variant.mjml_body;
    let head = ["<mj-attributes", "<mj-style", "<mj-font", "<mj-title", "<mj-preview", "<mj-breakpoint"];
    let starts = block.trim_start();
    let mjml_body = match head.iter().any(|name| starts.starts_with(name)) {
        true => format!("<mjml><mj-head>{block}</mj-head><mj-body></mj-body></mjml>"),
        false => format!("<mjml><mj-body>{block}</mj-body></mjml>"),
    };
    Variant { mjml_body, ..variant.clone() }
}

fn variant_problems(of: &Inspected<'_>, variant: &Variant) -> Option<Problem> {
    let no_html = variant.html_body.is_empty() && variant.mjml_body.is_empty();
    let lost = !of.partial && no_html && !variant.preheader.is_empty();
    lost.then(|| {
        let description = "a preheader shows only in messages with an HTML part".to_owned();
        problem(Severity::Warning, variant, Part::Preheader, 1, description)
    })
}

/// Why no message will have this name; none where it may.
fn unknown_name(path: &str) -> Option<String> {
    let mut names = path.split('.');
    let (root, field) = (names.next()?, names.next());
    let known: &[&str] = match (root, field) {
        ("customer", Some(_)) => &CUSTOMER,
        ("event", Some(_)) => &EVENT,
        ("customer" | "event" | "data" | "namespace" | "dict", _) => return None,
        (name, _) if name.starts_with('_') => return None,
        ("unsubscribe_url" | "preferences_url", None) => return None,
        _ => {
            let known = "customer, event, data, unsubscribe_url and preferences_url";
            return Some(format!("there is no \"{root}\"; there are {known}"));
        }
    };
    let field = field?;
    if known.contains(&field) {
        return None;
    }
    Some(format!("there is no \"{root}.{field}\"; {root} has {}", known.join(", ")))
}

/// Renders every variant with the sample data. A block is rendered where it is included.
fn trial_problems(content: &Content, partial: bool, partials: &Partials) -> Vec<Problem> {
    if partial {
        return Vec::new();
    }
    let Ok(compiled) = Compiled::new(content.clone(), partials) else {
        return Vec::new();
    };
    let data = sample().overlaid(content.sample_data.clone());
    let no_sample = content.sample_data.is_empty();
    let of = |variant: &Variant| {
        let wrong = compiled.render(variant.locale.as_ref(), &data).err()?;
        let may_work = no_sample && wrong.depends_on_data;
        let severity = if may_work { Severity::Warning } else { Severity::Error };
        let hint = if may_work { "; give sampleData to have it tried" } else { "" };
        let description = format!("rendered with the sample data: {}{hint}", wrong.description);
        Some(problem(severity, variant, wrong.part, wrong.line, description))
    };
    let mut problems = Vec::new();
    for variant in &content.variants {
        let Some(problem) = of(variant) else { continue };
        // Others that take as long would take that long again.
        let is_slow = problem.description.contains("takes more than");
        problems.push(problem);
        if is_slow {
            break;
        }
    }
    problems
}

fn problem(severity: Severity, variant: &Variant, part: Part, line: usize, description: String) -> Problem {
    let locale: Option<Locale> = variant.locale.clone();
    Problem { severity, locale, part, line, description }
}

/// The data of a stored sample. To try a message out on a customer, it stands for what they do not bring: the event, and the data.
pub fn sample_of(content: &Content) -> Data {
    sample().overlaid(content.sample_data.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn problems(text: &str, sample: Json) -> Vec<(Severity, usize, String)> {
        let sample_data = sample.as_object().cloned().unwrap_or_default();
        let variant = Variant { subject: "Hello".into(), text_body: text.into(), ..Variant::default() };
        let content = Content { variants: vec![variant], sample_data };
        inspect(&Inspected { template_id: None, partial: false, content: &content }, &Partials::default())
            .into_iter()
            .map(|problem| (problem.severity, problem.line, problem.description))
            .collect()
    }

    #[test]
    fn a_sound_template_has_no_problem() {
        let text = "Dear {{ customer.given_name | default('friend', true) }},\n\
            {% for item in event['items'] %}{{ loop.index }}. {{ item.title }}\n{% endfor %}\
            {{ event.value.amount }} {{ data.code | default('') }} {{ customer.attributes.plan | default('none') }}";
        assert_eq!(problems(text, json!({})), []);
    }

    #[test]
    fn mistakes_are_found_with_their_line() {
        let cases = [
            ("one\n{{ custmer.given_name }}", 2, "\"custmer\""),
            ("one\ntwo\n{{ customer.frist_name | default('x') }}", 3, "\"customer.frist_name\""),
            ("{% if customer.tags %}", 1, "syntax error"),
            ("{{ event.propertys.size }}", 1, "\"event.propertys\""),
        ];
        for (text, line, part) in cases {
            let found = problems(text, json!({}));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].0, found[0].1), (Severity::Error, line), "{found:?}");
            assert!(found[0].2.contains(part), "{found:?}");
        }
    }

    #[test]
    fn what_the_sample_data_lacks_is_an_error_and_without_sample_data_a_warning() {
        let text = "{{ data.code }}";
        assert_eq!(problems(text, json!({}))[0].0, Severity::Warning);
        assert_eq!(problems(text, json!({"data": {"other": 1}}))[0].0, Severity::Error);
        assert_eq!(problems(text, json!({"data": {"code": "A1"}})), []);
    }
}
