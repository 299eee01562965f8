//! Two hundred templates whose authors mean harm: each ends in an error that says what is wrong, at once, and without much memory.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]
#![allow(clippy::print_stdout, reason = "the numbers are worth knowing")]

use std::{
    fs,
    time::{Duration, Instant},
};

use rapport::templates::{Compiled, Content, Data, Inspected, Locale, Partials, Severity, Variant, inspect};
use serde_json::{Map, json};

/// How long one may take, in a debug build too.
const LONGEST: Duration = Duration::from_millis(100);
/// What all of them may need together, above what the process had before.
const MOST_MEMORY: u64 = 64 * 1024;
/// Something else may keep the machine busy, so the fastest of these counts.
const TRIES: usize = 5;

/// A template, and what it is called here.
struct Hostile {
    name: String,
    variant: Variant,
}

fn text(name: impl Into<String>, body: impl Into<String>) -> Hostile {
    let variant = Variant { subject: "x".into(), text_body: body.into(), ..Variant::default() };
    Hostile { name: name.into(), variant }
}

fn html(name: impl Into<String>, body: impl Into<String>) -> Hostile {
    let variant = Variant { subject: "x".into(), html_body: body.into(), ..Variant::default() };
    Hostile { name: name.into(), variant }
}

fn mjml(name: impl Into<String>, body: impl Into<String>) -> Hostile {
    let variant = Variant { subject: "x".into(), mjml_body: body.into(), ..Variant::default() };
    Hostile { name: name.into(), variant }
}

fn column(name: impl Into<String>, body: impl AsRef<str>) -> Hostile {
    let body = body.as_ref();
    mjml(name, format!("<mjml><mj-body><mj-section><mj-column>{body}</mj-column></mj-section></mj-body></mjml>"))
}

fn nested(open: &str, inside: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + inside + &close.repeat(depth)
}

fn endless() -> Vec<Hostile> {
    let mut all = Vec::new();
    for (list, letters) in
        [("'xxxxxxxxxx'", "string"), ("[1,2,3,4,5,6,7,8]", "list"), ("data.list", "data"), ("customer", "map")]
    {
        for depth in [6, 9, 25] {
            let body = nested(&format!("{{% for a in {list} %}}"), "{{ a }}", "{% endfor %}", depth);
            all.push(text(format!("{depth} loops over a {letters}"), body));
        }
    }
    for arguments in ["1000000", "10**9", "0, 10**12", "0, 10**12, 1", "-10**9, 10**9", "2**62"] {
        all.push(text(format!("range({arguments})"), format!("{{% for a in range({arguments}) %}}x{{% endfor %}}")));
        all.push(text(format!("range({arguments})|list"), format!("{{{{ range({arguments})|list|length }}}}")));
    }
    let loops = nested("{% for a in data.list %}", "x".repeat(200).as_str(), "{% endfor %}", 5);
    all.push(text("two megabytes", loops.clone()));
    all.push(html("two megabytes of HTML", format!("<p>{loops}</p>")));
    all
}

fn growing() -> Vec<Hostile> {
    let mut all = Vec::new();
    for times in ["10**4", "50000000", "10**8", "10**9", "10**15", "2**62", "99999", "data.big"] {
        all.push(text(format!("'a' * {times}"), format!("{{{{ 'a' * ({times}) }}}}")));
        all.push(text(format!("[1] * {times}"), format!("{{{{ ([1] * ({times}))|length }}}}")));
    }
    for (name, step) in [
        ("~", "x ~ x"),
        ("+", "x + x"),
        ("~~", "x ~ x ~ x ~ x"),
        ("join", "[x, x]|join"),
        ("join by itself", "[x, x]|join(x)"),
        ("replace", "x|replace('a', 'aaaaaaaaaa')"),
        ("replace with itself", "x|replace('a', x)"),
        ("format", "'%s%s'|format(x, x)"),
    ] {
        all.push(text(
            format!("40 times {name}"),
            format!("{{% set x = 'aaaa' %}}{}{{{{ x }}}}", format!("{{% set x = {step} %}}").repeat(40)),
        ));
        let step = step.replace('x', "ns.x");
        all.push(text(
            format!("{name} in a namespace"),
            format!(
                "{{% set ns = namespace(x='aaaa') %}}{}{{% set ns.x = {step} %}}{}{{{{ ns.x }}}}",
                "{% for a in data.list %}".repeat(3),
                "{% endfor %}".repeat(3)
            ),
        ));
    }
    for (name, step) in [
        ("lists", "[x, x]"),
        ("sums of lists", "x + x"),
        ("maps", "{'a': x, 'b': x}"),
        ("dicts", "dict(a=x, b=x)"),
        ("namespaces", "namespace(a=x, b=x)"),
    ] {
        let body = |times: usize, end: &str| {
            format!("{{% set x = [1] %}}{}{end}", format!("{{% set x = {step} %}}").repeat(times))
        };
        all.push(text(format!("40 {name} shown"), body(40, "{{ x }}{{ x }}")));
        all.push(text(format!("40 {name} compared"), body(40, "{{ x == x }}{{ x < x }}{{ x|string }}")));
        all.push(text(format!("9000 {name}"), body(9_000, "{{ x|length }}")));
    }
    all.push(text(
        "lists in a namespace",
        "{% set ns = namespace(x=[1]) %}{% for a in data.list %}{% set ns.x = [ns.x] %}{% endfor %}",
    ));
    all.push(text("a namespace in itself", "{% set ns = namespace(x=1) %}{% set ns.x = ns %}{{ ns }}"));
    all
}

fn filters() -> Vec<Hostile> {
    let mut all = Vec::new();
    for filter in [
        "indent(10**9)",
        "batch(1)",
        "batch(10**9, 'x')",
        "slice(10**6)",
        "slice(10**9, 'x')",
        "groupby('a')",
        "zip('abc')",
        "chain('abc')",
        "pprint",
        "tojson",
        "tojson(indent=10**9)",
        "center(10**9)",
        "ljust(10**9)",
        "wordwrap(1)",
        "random",
        "filesizeformat",
        "xmlattr",
        "attr('__class__')|upper",
        "map('_upper')|list",
        "map('_replace', 'a', 'b')|list",
        "select('_in', 'a')|list",
        "map('indent', 10**9)|list",
        "_upper",
        "_any",
        "nofilter",
    ] {
        all.push(text(format!("|{filter}"), format!("{{{{ 'abc'|{filter} }}}}")));
    }
    for format in ["%1000000000d", "%0999999999d", "%.999999999f", "%*d", "%-1000d", "%100s", "%1$s", "%n"] {
        all.push(text(format!("format {format}"), format!("{{{{ '{format}'|format(1, 2) }}}}")));
    }
    let long = "a".repeat(9_000);
    for (name, body) in [
        ("replace of every letter", "x|replace('a', x)"),
        ("replace of nothing", "x|replace('', x)"),
        ("join of letters", "x|join(x)"),
        ("join with d", "x|join(d=x)"),
        ("join of a list by letters", "(x|list)|join(x)"),
        ("split into letters ten times", "(x|list|join(',')|split(','))|join(x)"),
        ("map of replace", "x|list|map('replace', 'a', x)|list"),
        ("sum of letters", "x|list|map('replace', 'a', x)|sum"),
    ] {
        all.push(text(name, format!("{{% set x = '{long}' %}}{{{{ {body} }}}}")));
    }
    for filter in [
        "upper",
        "lower",
        "title",
        "capitalize",
        "trim",
        "reverse",
        "list",
        "sort",
        "unique",
        "lines",
        "split",
        "length",
        "escape",
        "first",
        "string",
    ] {
        let body = format!(
            "{{% set x = '{long}' %}}{}{{% if x|{filter} == 1 %}}a{{% endif %}}{}",
            "{% for a in data.list %}".repeat(5),
            "{% endfor %}".repeat(5)
        );
        all.push(text(format!("{filter} for ever"), body));
    }
    for condition in
        ["x == y", "x < y", "'b' in x", "x[8000] == 'b'", "x[0:8000] == 'b'", "x[::2] == 'b'", "x ~ y == 'b'"]
    {
        let body = format!(
            "{{% set x = '{long}' %}}{{% set y = '{long}' %}}{}{{% if {condition} %}}{{% endif %}}{}",
            "{% for a in data.list %}".repeat(6),
            "{% endfor %}".repeat(6)
        );
        all.push(text(format!("{condition} for ever"), body));
    }
    all
}

fn deep() -> Vec<Hostile> {
    let mut all = Vec::new();
    for (name, open, inside, close) in [
        ("parentheses", "(", "1", ")"),
        ("lists", "[", "1", "]"),
        ("maps", "{1: ", "1", "}"),
        ("minuses", "-", "1", ""),
        ("nots", "not ", "1", ""),
        ("calls", "dict(a=", "1", ")"),
        ("subscripts", "data[", "1", "]"),
        ("sums", "1 + ", "1", ""),
        ("powers", "2 ** ", "2", ""),
        ("ands", "1 and ", "1", ""),
        ("conditions", "1 if 1 else ", "1", ""),
        ("filters", "", "'a'", "|upper"),
        ("attributes", "", "data", ".a"),
        ("items", "", "data", "[0]"),
        ("tests", "", "1", " is defined"),
        ("concatenations", "", "'a'", " ~ 'a'"),
        ("comparisons", "", "1", " == 1"),
    ] {
        for depth in [400, 40_000] {
            all.push(text(format!("{depth} {name}"), format!("{{{{ {} }}}}", nested(open, inside, close, depth))));
        }
    }
    for (name, open, close) in [
        ("ifs", "{% if 1 %}", "{% endif %}"),
        ("fors", "{% for a in [1] %}", "{% endfor %}"),
        ("withs", "{% with a = 1 %}", "{% endwith %}"),
        ("elifs", "{% if 0 %}{% elif 1 %}", ""),
    ] {
        all.push(text(format!("10000 {name}"), nested(open, "x", close, 10_000)));
    }
    all.push(text("10000 elifs in a row", format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 1 %}x".repeat(10_000))));
    all
}

fn reaching_out() -> Vec<Hostile> {
    let bodies = [
        "{% include '/etc/passwd' %}",
        "{% include 'https://evil.example/' %}",
        "{% include '../../secret' %}",
        "{% include data.x %}",
        "{% include ['a', 'b'] %}",
        "{% include 'x' ignore missing %}",
        "{% extends 'base' %}",
        "{% import 'x' as x %}",
        "{% from 'x' import y %}",
        "{% block a %}{% endblock %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ caller() }}{% endmacro %}{% call a() %}x{% endcall %}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% set x %}{% for a in data.list %}xxxxxxxx{% endfor %}{% endset %}",
        "{% filter upper %}x{% endfilter %}",
        "{% do x() %}",
        "{% autoescape false %}{{ customer.given_name }}{% endautoescape %}",
        "{{ self.a() }}",
        "{{ super() }}",
        "{{ debug() }}",
        "{{ lipsum(10**9) }}",
        "{{ cycler }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ customer.__class__ }}",
        "{{ config }}",
        "{{ _any('a') }}",
        "{% set _any = 1 %}",
        "{{ namespace.__init__ }}",
        "{{ loop }}",
        "{{ customer.given_name.upper() }}",
        "{{ data.list.append(1) }}",
        "{{ [].__len__() }}",
        "{{ dict(*data.list) }}",
        "{{ namespace(**customer) }}",
        "{{ 1 / 0 }}",
        "{{ 1 // 0 }}",
        "{{ 1 % 0 }}",
        "{{ 10 ** 400 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 170141183460469231731687303715884105727 + 1 }}",
        "{{ 'a' - 1 }}",
        "{{ 1 < 2 < 3 }}",
        "{{ 'a' is in 'abc' }}",
        "{{ 'a' is startingwith 'a' }}",
        "{{",
        "{%",
        "{{ 'a",
        "{% raw %}",
        "{% if %}",
        "{% endif %}",
        "{% for %}",
        "{{ }}",
        "{{ a b }}",
        "{% unknown %}",
        "{{ \"\\u{110000}\" | nofilter }}",
        "{{ environ }}",
        "{{ request }}",
        "{{ customer.secret }}",
        "{{ event.password }}",
    ];
    let mut all: Vec<Hostile> = bodies.into_iter().map(|body| text(body, body)).collect();
    for (name, subject) in [
        ("a line break in the subject", "a{{ '\\n' }}Bcc: x@example.com"),
        ("a return in the subject", "a{{ '\\r' }}b"),
        ("a null in the subject", "a{{ '\\x00' }}b"),
        (
            "a subject without end",
            "{% for a in data.list %}{% for b in data.list %}{% for c in data.list %}{% for d in data.list %}{% for e in data.list %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
        ),
    ] {
        let mut hostile = text(name, "x");
        hostile.variant.subject = subject.to_owned();
        all.push(hostile);
    }
    all
}

fn markup() -> Vec<Hostile> {
    let mut all = Vec::new();
    let many_rules: String = (0..450).map(|number| format!("p.a{} {{ color: red }}", number % 3)).collect();
    let nested_rules: String = (0..400).map(|_| "div div div div div div p { color: red }".to_owned()).collect();
    all.push(html(
        "450 rules, 5000 elements",
        format!("<style>{many_rules}</style>{}", "<p class='a0 a1 a2'>".repeat(5_000)),
    ));
    all.push(html(
        "rules that look far up",
        format!("<style>{nested_rules}</style>{}{}", "<div>".repeat(200), "<p>x</p>".repeat(3_000)),
    ));
    all.push(html(
        "a long style at many elements",
        format!("<style>p {{ background: url({}) }}</style>{}", "x".repeat(100_000), "<p>".repeat(3_000)),
    ));
    all.push(html(
        "10000 rules",
        format!("<style>{}</style>{}", "p { color: red }".repeat(10_000), "<p>".repeat(3_000)),
    ));
    for (name, open) in
        [("divs", "<div>"), ("tables", "<table><tr><td>"), ("bold words", "<b>"), ("fonts", "<p><font>")]
    {
        all.push(html(format!("20000 {name}"), open.repeat(12_000)));
    }
    all.push(html(
        "half a megabyte of HTML",
        "<p>words and words</p>".repeat(11_000) + "{% for a in data.list %}" + &"x".repeat(60_000) + "{% endfor %}",
    ));
    for (name, body) in [
        ("a document type with entities", "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]><mjml><mj-body>&b;</mj-body></mjml>".to_owned()),
        ("no document", "hello".to_owned()),
        ("HTML", "<html><body>x</body></html>".to_owned()),
        ("nothing but the beginning", "<mjml>".to_owned()),
        ("another root", "<mj-body></mj-body>".to_owned()),
        ("a head of unknown things", "<mjml><mj-head><script>x</script></mj-head></mjml>".to_owned()),
        ("100000 sections", format!("<mjml><mj-body>{}", "<mj-section>".repeat(20_000))),
        ("sections in sections", format!("<mjml><mj-body>{}</mj-body></mjml>", nested("<mj-section>", "x", "</mj-section>", 2_000))),
        ("wrappers in wrappers", format!("<mjml><mj-body>{}</mj-body></mjml>", nested("<mj-wrapper>", "x", "</mj-wrapper>", 2_000))),
        ("much for everybody", format!("<mjml><mj-head><mj-attributes>{}</mj-attributes></mj-head><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>", format!("<mj-all css-class=\"{}\" />", "x".repeat(1_900)).repeat(3), "<mj-text>x</mj-text>".repeat(1_400))),
        ("a long name for everybody", format!("<mjml><mj-head><mj-attributes><mj-all font-family=\"{}\" /></mj-attributes></mj-head><mj-body></mj-body></mjml>", "x".repeat(100_000))),
        ("a tag for everybody", format!("<mjml><mj-head><mj-attributes><mj-all font-family=\"{{{{ '{}' }}}}\" /></mj-attributes></mj-head><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>", "x".repeat(9_000), "<mj-text>x</mj-text>".repeat(700))),
        ("a style for everybody", format!("<mjml><mj-head><mj-style inline=\"inline\">{}</mj-style></mj-head><mj-body><mj-section><mj-column>{}</mj-column></mj-section></mj-body></mjml>", "td { color: red }".repeat(450), "<mj-text>x</mj-text>".repeat(1_000))),
        ("a style that depends", "<mjml><mj-head><mj-style inline=\"inline\">{% if 1 %}p { color: red }{% endif %}</mj-style></mj-head><mj-body></mj-body></mjml>".to_owned()),
        ("a tag in the head", "<mjml><mj-head>{% if 1 %}<mj-title>x</mj-title>{% endif %}<mj-attributes>{% if 1 %}<mj-all color=\"red\" />{% endif %}</mj-attributes></mj-head><mj-body></mj-body></mjml>".to_owned()),
    ] {
        all.push(mjml(name, body));
    }
    for (name, body) in [
        ("a file", "<mj-include path=\"/etc/passwd\" />".to_owned()),
        ("a file of HTML", "<mj-include path=\"/etc/passwd\" type=\"html\" />".to_owned()),
        ("a page", "<mj-include path=\"http://127.0.0.1/\" />".to_owned()),
        ("itself", "<mj-include path=\"./index.mjml\" />".to_owned()),
        ("100000 divs", format!("<mj-raw>{}</mj-raw>", "<div>".repeat(40_000))),
        ("30000 spacers", "<mj-spacer />".repeat(20_000)),
        (
            "1000 pictures that turn",
            format!("<mj-carousel>{}</mj-carousel>", "<mj-carousel-image src=\"x\" />".repeat(1_000)),
        ),
        (
            "1000 networks",
            format!("<mj-social>{}</mj-social>", "<mj-social-element name=\"web\">x</mj-social-element>".repeat(1_000)),
        ),
        (
            "1000 accordions",
            format!("<mj-accordion>{}</mj-accordion>", "<mj-accordion-element></mj-accordion-element>".repeat(1_000)),
        ),
        (
            "1000 links",
            format!("<mj-navbar>{}</mj-navbar>", "<mj-navbar-link href=\"x\">x</mj-navbar-link>".repeat(1_000)),
        ),
        ("a long address", format!("<mj-image src=\"{}\" />", "x".repeat(200_000))),
        ("a width that is computed", "<mj-image width=\"{{ data.big }}px\" src=\"x\" />".to_owned()),
        (
            "an element that is cut",
            "<mj-text>{% if 1 %}</mj-text><mj-text>{% endif %}</mj-column></mj-text>".to_owned(),
        ),
        ("a block that does not end", "{% for a in data.list %}<mj-text>x</mj-text>".to_owned()),
        ("a raw block", "<mj-text>{% raw %}{{{% endraw %}</mj-text>".to_owned()),
        ("loops", nested("{% for a in data.list %}", "<mj-text>x</mj-text>", "{% endfor %}", 6)),
        ("an attribute without end", "<mj-text color=\"red>x</mj-text>".to_owned()),
        ("a comment without end", "<!-- x".to_owned()),
        ("control letters", "<mj-text \u{1}=\"\u{2}\">x</mj-text \u{3}>".to_owned()),
    ] {
        all.push(column(format!("MJML with {name}"), body));
    }
    all
}

fn partials() -> (Partials, Vec<Hostile>) {
    let mut partials = Partials::default();
    let mut add = |id: &str, body: String| {
        let variant = Variant { text_body: body, ..Variant::default() };
        let content = Content { variants: vec![variant], sample_data: Map::new() };
        partials.add(id.parse().expect("an id"), 1, content);
    };
    add("itself", "{% include \"itself\" %}".to_owned());
    add("one-way", "{% include \"and-back\" %}".to_owned());
    add("and-back", "{% include \"one-way\" %}".to_owned());
    for level in 0..9 {
        add(&format!("level-{level}"), format!("{{% include \"level-{}\" %}}", level + 1).repeat(10));
    }
    add("level-9", "x".to_owned());
    add("large", "x".repeat(200_000));
    let all = ["itself", "one-way", "level-0", "level-3", "missing"]
        .map(|id| text(format!("includes {id}"), format!("{{% include \"{id}\" %}}")));
    let mut all = Vec::from(all);
    all.push(text("includes much", "{% include \"large\" %}".repeat(20)));
    all.push(text("includes a loop of itself", "{% for a in data.list %}{% include \"itself\" %}{% endfor %}"));
    (partials, all)
}

#[test]
fn two_hundred_hostile_templates_end_in_an_error_each_at_once_and_without_much_memory() {
    let (partials, included) = partials();
    let parts = [endless(), growing(), filters(), deep(), reaching_out(), markup(), included];
    let all: Vec<Hostile> = parts.into_iter().flatten().collect();
    assert!(all.len() >= 200, "{}", all.len());
    // What is set up once is nobody's fault.
    try_out(&text("", "hello"), &partials);
    let before = memory("VmRSS");
    fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    let (mut wrong, mut slowest) = (Vec::new(), (Duration::ZERO, String::new()));
    for hostile in &all {
        let mut fastest = Duration::MAX;
        for _ in 0..TRIES {
            let began = Instant::now();
            let refused = try_out(hostile, &partials);
            fastest = fastest.min(began.elapsed());
            if !refused {
                wrong.push(format!("{} is taken", hostile.name));
            }
            if !refused || fastest < LONGEST {
                break;
            }
        }
        if fastest >= LONGEST {
            wrong.push(format!("{} takes {fastest:?}", hostile.name));
        }
        slowest = slowest.max((fastest, hostile.name.clone()));
        let grown = memory("VmHWM").saturating_sub(before);
        if grown > MOST_MEMORY {
            wrong.push(format!("{}: {grown} kB", hostile.name));
            fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
        }
    }
    let grown = memory("VmHWM").saturating_sub(before);
    println!("{} templates; the slowest took {:?} ({}); memory grew by {grown} kB", all.len(), slowest.0, slowest.1);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

/// Whether it is refused, where it is saved or where it is rendered.
fn try_out(hostile: &Hostile, partials: &Partials) -> bool {
    let content = Content { variants: vec![hostile.variant.clone()], sample_data: Map::new() };
    let data = json!({"list": (0..30).collect::<Vec<_>>(), "big": 1_000_000, "x": "x"});
    let content = Content { sample_data: json!({"data": data}).as_object().cloned().unwrap_or_default(), ..content };
    let problems = inspect(&Inspected { template_id: None, partial: false, content: &content }, partials);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error && !problem.description.is_empty());
    let customer = json!({"given_name": "Anna", "attributes": {}, "tags": []});
    let data = Data::new(customer, None, data.as_object().cloned().unwrap_or_default());
    let rendered = Compiled::new(content, partials).and_then(|compiled| compiled.render(None::<&Locale>, &data));
    refused || rendered.is_err()
}

/// A number of the process in kB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says it");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
