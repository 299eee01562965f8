//! Templates to start with, in five languages: what a shop writes first. Installed by `rapport templates install` and by the demo;
//! what is there already is never changed.

use std::collections::BTreeMap;

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde::Deserialize;
use tonic::{Code, Status, transport::Channel};

use crate::rpc::proto::{
    CreateTemplateRequest, GetTemplateRequest, PublishTemplateRequest, Template, TemplateVariant, template::State,
    template_service_client::TemplateServiceClient,
};

const TEXTS: &str = include_str!("texts.toml");
const PARTIALS: [(&str, &str, &str); 3] = [
    ("letter-style", "How our letters look", include_str!("style.mjml")),
    ("letter-header", "The top of our letters", include_str!("header.mjml")),
    ("letter-footer", "The end of our letters", include_str!("footer.mjml")),
];
/// Whose language a variant is; the fallback is English.
const LANGUAGES: [(&str, &str); 5] = [("en", ""), ("lv", "lv"), ("lt", "lt"), ("da", "da"), ("ru", "ru")];
/// What means something in HTML or in a template.
const SPECIAL: [char; 9] = ['&', '<', '>', '"', '\'', '{', '}', '[', ']'];

/// Whose letters they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brand {
    name: String,
    url: String,
    host: String,
}

impl Brand {
    /// A shop by its name and its address on the web.
    pub fn new(name: &str, url: &str) -> Result<Self, String> {
        let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let host =
            parsed.as_ref().and_then(|url| url.host_str()).ok_or_else(|| format!("{url:?} is no web address"))?;
        if name.trim().is_empty() || name.contains(SPECIAL) || name.chars().any(char::is_control) {
            return Err(format!("{name:?} is no name: it must not be empty nor hold one of & < > \" ' {{ }} [ ]"));
        }
        if url.contains(SPECIAL) {
            return Err(format!("{url:?} must be a plain address, without & and the like"));
        }
        Ok(Self { name: name.trim().to_owned(), url: url.to_owned(), host: host.to_owned() })
    }

    fn write(&self, text: &str) -> String {
        text.replace("[[shop]]", &self.name).replace("[[url]]", &self.url).replace("[[host]]", &self.host)
    }
}

/// What became of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// It was not there.
    New,
    /// It was there, and is as it was.
    Kept,
}

/// Creates and publishes what is not there. Answers what became of each.
pub async fn install(channel: Channel, brand: &Brand) -> Result<Vec<(String, Installed)>, Status> {
    let mut service = TemplateServiceClient::new(channel);
    let mut installed = Vec::new();
    for template in templates(brand)? {
        let template_id = template.template_id.clone();
        let found = service.get_template(GetTemplateRequest { template_id: template_id.clone(), version: 0 }).await;
        let unfinished = match found {
            Ok(found) => {
                let there = found.into_inner().template.unwrap_or_default();
                // Somebody stopped an installation half-way.
                there.version == 1 && there.state() == State::Draft && there.variants == template.variants
            }
            Err(status) if status.code() == Code::NotFound => {
                let request = CreateTemplateRequest { template: Some(template), ..Default::default() };
                service.create_template(request).await?;
                true
            }
            Err(status) => return Err(status),
        };
        if unfinished {
            let request = PublishTemplateRequest { template_id: template_id.clone(), ..Default::default() };
            service.publish_template(request).await?;
        }
        installed.push((template_id, if unfinished { Installed::New } else { Installed::Kept }));
    }
    Ok(installed)
}

/// What one template says.
#[derive(Deserialize)]
struct Letter {
    name: String,
    /// It tells stories that come with the data.
    #[serde(default)]
    stories: bool,
    /// It may hold a code that comes with the data.
    #[serde(default)]
    code: bool,
    #[serde(flatten)]
    texts: BTreeMap<String, Text>,
}

/// What it says in one language.
#[derive(Deserialize)]
struct Text {
    subject: String,
    preheader: String,
    title: String,
    greeting: String,
    paragraphs: Vec<String>,
    #[serde(default)]
    points: Vec<String>,
    #[serde(default)]
    more: String,
    #[serde(default)]
    code_words: String,
    #[serde(default)]
    button: String,
    #[serde(default = "shop_url")]
    button_url: String,
    farewell: String,
}

fn shop_url() -> String {
    "[[url]]".to_owned()
}

/// The partials, and then what includes them.
fn templates(brand: &Brand) -> Result<Vec<Template>, Status> {
    let wrong = |error: toml::de::Error| Status::internal(format!("the texts that ship with the program: {error}"));
    let letters: BTreeMap<String, Letter> = toml::from_str(TEXTS).map_err(wrong)?;
    let partials = PARTIALS.into_iter().map(|(id, name, mjml)| Template {
        template_id: id.to_owned(),
        display_name: name.to_owned(),
        partial: true,
        variants: vec![TemplateVariant { mjml_body: brand.write(mjml), ..TemplateVariant::default() }],
        ..Template::default()
    });
    let letters = letters.iter().map(|(id, letter)| Template {
        template_id: id.clone(),
        display_name: letter.name.clone(),
        variants: LANGUAGES
            .iter()
            .filter_map(|(language, locale)| {
                Some(letter.variant(letter.texts.get(*language)?, language, locale, brand))
            })
            .collect(),
        sample_data: Some(sample(brand)),
        ..Template::default()
    });
    Ok(partials.chain(letters).collect())
}

impl Letter {
    fn variant(&self, text: &Text, language: &str, locale: &str, brand: &Brand) -> TemplateVariant {
        TemplateVariant {
            locale: locale.to_owned(),
            subject: brand.write(&text.subject),
            preheader: brand.write(&text.preheader),
            text_body: brand.write(&self.text(text)),
            mjml_body: brand.write(&self.mjml(text, language)),
            ..TemplateVariant::default()
        }
    }

    fn text(&self, of: &Text) -> String {
        let mut text = format!("{}\n", of.greeting);
        for paragraph in &of.paragraphs {
            text += &format!("\n{paragraph}\n");
        }
        if !of.points.is_empty() {
            text += "\n";
            of.points.iter().for_each(|point| text += &format!("* {point}\n"));
        }
        if self.stories {
            text += "{% for story in data.stories | default([]) %}\n{{ story.title }}\n{{ story.text }}\n{{ story.url }}\n{% endfor %}";
        }
        if self.code {
            text += &format!("{{% if data.code is defined %}}\n{} {{{{ data.code }}}}\n{{% endif %}}", of.code_words);
        }
        if !of.button.is_empty() {
            text += &format!("\n{}: {}\n", of.button, of.button_url);
        }
        text + &format!("\n{}\n", of.farewell)
    }

    fn mjml(&self, of: &Text, language: &str) -> String {
        let mut parts = vec![
            format!("<mj-text mj-class=\"title\"><h1>{}</h1></mj-text>", of.title),
            format!("<mj-text>{}</mj-text>", of.greeting),
        ];
        parts.extend(of.paragraphs.iter().map(|paragraph| format!("<mj-text>{paragraph}</mj-text>")));
        if !of.points.is_empty() {
            let points: String = of.points.iter().map(|point| format!("<li>{point}</li>")).collect();
            parts.push(format!("<mj-text><ul>{points}</ul></mj-text>"));
        }
        if self.stories {
            parts.push(format!(
                "{{% for story in data.stories | default([]) %}}\n\
                 <mj-text font-size=\"18px\" font-weight=\"bold\" padding=\"16px 0 0\"><h2>{{{{ story.title }}}}</h2></mj-text>\n\
                 <mj-text padding=\"4px 0 8px\">{{{{ story.text }}}}<br><a href=\"{{{{ story.url }}}}\">{}</a></mj-text>\n\
                 {{% endfor %}}",
                of.more
            ));
        }
        if self.code {
            parts.push(format!(
                "{{% if data.code is defined %}}\n<mj-text padding=\"8px 0 0\">{}</mj-text>\n\
                 <mj-text mj-class=\"code\">{{{{ data.code }}}}</mj-text>\n{{% endif %}}",
                of.code_words
            ));
        }
        if !of.button.is_empty() {
            parts.push(format!("<mj-button href=\"{}\">{}</mj-button>", of.button_url, of.button));
        }
        parts.push(format!("<mj-text mj-class=\"farewell\">{}</mj-text>", of.farewell));
        format!(
            "<mjml lang=\"{language}\">\n<mj-head>\n<mj-title>{}</mj-title>\n{{% include \"letter-style\" %}}\n</mj-head>\n\
             <mj-body background-color=\"#f4f1ea\">\n{{% include \"letter-header\" %}}\n\
             <mj-section background-color=\"#ffffff\">\n<mj-column>\n{}\n</mj-column>\n</mj-section>\n\
             {{% include \"letter-footer\" %}}\n</mj-body>\n</mjml>\n",
            of.title,
            parts.join("\n")
        )
    }
}

/// What previews show of the letters whose data comes with them.
fn sample(brand: &Brand) -> Struct {
    let story = |title: &str, text: &str| {
        object([("title", string(title)), ("text", string(text)), ("url", string(&brand.url))])
    };
    let stories = [
        story(
            "A first story",
            "Two or three sentences say what it is about, so that nobody needs to follow the link to know.",
        ),
        story("A second story", "Short ones are read; long ones are put off until later, and then for ever."),
    ];
    let stories = ListValue { values: stories.into_iter().map(|story| value(Kind::StructValue(story))).collect() };
    let data = object([("code", string("WITH-LOVE")), ("stories", value(Kind::ListValue(stories)))]);
    object([("data", value(Kind::StructValue(data)))])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

fn string(text: &str) -> Value {
    value(Kind::StringValue(text.to_owned()))
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_letters_speak_five_languages_each() {
        let brand = Brand::new("Plašu bode", "https://shop.example/").unwrap();
        let all = templates(&brand).unwrap();
        assert_eq!(all.len(), 3 + 7);
        for template in all.iter().filter(|template| !template.partial) {
            assert_eq!(template.variants.len(), 5, "{}", template.template_id);
            for variant in &template.variants {
                let everything = format!("{variant:?}");
                assert!(!everything.contains("[[") && everything.contains("Plašu bode"), "{everything}");
            }
        }
    }

    #[test]
    fn a_shop_whose_name_would_be_markup_is_refused() {
        for (name, url) in
            [("", "https://a.example"), ("A <b>", "https://a.example"), ("A", "a.example"), ("A", "javascript:x")]
        {
            assert!(Brand::new(name, url).is_err(), "{name} {url}");
        }
    }
}
