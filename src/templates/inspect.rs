//! What an author should look at before a template is published: found when it is saved, not when it is sent.

use serde_json::{Map, json};

use super::{
    Locale,
    render::{Compiled, Data, RenderError, fenced, name, refusal},
    template::{Content, Part, Problem, Severity, Variant},
};

/// Names that every message has, and the free ones below which anything may stand.
const CUSTOMER: [&str; 8] =
    ["customer_id", "display_name", "given_name", "family_name", "locale", "time_zone", "attributes", "tags"];
const EVENT: [&str; 6] = ["event_type", "subject", "occur_time", "value", "items", "properties"];

/// Every problem, variant by variant.
pub fn inspect(content: &Content) -> Vec<Problem> {
    let mut problems = Vec::new();
    for variant in &content.variants {
        for part in Part::ALL {
            problems.extend(source_problems(variant, part));
        }
    }
    if problems.iter().all(|problem| problem.severity != Severity::Error) {
        problems.extend(trial_problems(content));
    }
    problems
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

fn source_problems(variant: &Variant, part: Part) -> Vec<Problem> {
    let mut environment = fenced();
    let source = part.source(variant);
    let name = name(variant, part);
    if let Err(error) = environment.add_template(&name, source) {
        let RenderError { line, description, .. } = refusal(part, &error);
        return vec![problem(Severity::Error, variant, part, line, description)];
    }
    let Ok(template) = environment.get_template(&name) else {
        return Vec::new();
    };
    let mut unknown: Vec<String> =
        template.undeclared_variables(true).into_iter().filter_map(|path| unknown_name(&path)).collect();
    unknown.sort_unstable();
    unknown
        .into_iter()
        .map(|description| {
            let used = description.split('"').nth(1).unwrap_or_default();
            let line = source.lines().position(|line| line.contains(used)).map_or(0, |line| line + 1);
            problem(Severity::Error, variant, part, line, description)
        })
        .collect()
}

/// Why no message will have this name; none where it may.
fn unknown_name(path: &str) -> Option<String> {
    let mut names = path.split('.');
    let (root, field) = (names.next()?, names.next());
    let known: &[&str] = match (root, field) {
        ("customer", Some(_)) => &CUSTOMER,
        ("event", Some(_)) => &EVENT,
        ("customer" | "event" | "data" | "namespace" | "dict", _) => return None,
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

/// Renders every variant with the sample data.
fn trial_problems(content: &Content) -> Vec<Problem> {
    let Ok(compiled) = Compiled::new(content.clone()) else {
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
    content.variants.iter().filter_map(of).collect()
}

fn problem(severity: Severity, variant: &Variant, part: Part, line: usize, description: String) -> Problem {
    let locale: Option<Locale> = variant.locale.clone();
    Problem { severity, locale, part, line, description }
}

/// The data of a stored sample, for previews without a customer.
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
        inspect(&content).into_iter().map(|problem| (problem.severity, problem.line, problem.description)).collect()
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
