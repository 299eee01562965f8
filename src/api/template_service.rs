use tonic::{Request, Response, Status, async_trait};

use super::{Api, answer, decode, encode, open};
use crate::{
    delivery::{EmailAddress, breaks_headers},
    dispatch::{Preview, PreviewSource, TestMessage},
    ids::TemplateId,
    rpc::{
        Mask, Violations, etag,
        proto::{
            self, ArchiveTemplateRequest, ArchiveTemplateResponse, CreateTemplateRequest, CreateTemplateResponse,
            GetTemplateRequest, GetTemplateResponse, ListTemplatesRequest, ListTemplatesResponse,
            PreviewTemplateRequest, PreviewTemplateResponse, PublishTemplateRequest, PublishTemplateResponse,
            SendTestMessageRequest, SendTestMessageResponse, UpdateTemplateRequest, UpdateTemplateResponse,
            preview_template_request::Source, template, template_problem, template_service_server::TemplateService,
        },
    },
    templates::{
        self, Content, Locale, NewTemplate, Problem, Severity, Template, TemplateChange, TemplateState, Variant,
    },
};

const CAN_CHANGE: &[&str] = &["display_name", "variants", "sample_data"];
const OUTPUT_ONLY: &[&str] =
    &["template_id", "channel", "partial", "version", "state", "create_time", "update_time", "etag"];
const LARGEST_SOURCE: usize = 256 * 1024;
const LARGEST_TEMPLATE: usize = 1024 * 1024;

#[async_trait]
impl TemplateService for Api {
    async fn create_template(
        &self,
        request: Request<CreateTemplateRequest>,
    ) -> Result<Response<CreateTemplateResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let key = decode::request_key(&mut violations, "requestId", &caller, "CreateTemplate", &request_id, &message);
        if message.template.is_none() {
            violations.add("template", "is required");
        }
        let template = message.template.unwrap_or_default();
        let template_id: Option<TemplateId> =
            decode::parse_optional(&mut violations, "template.templateId", &template.template_id);
        let new = NewTemplate {
            template_id,
            display_name: decode::line(&mut violations, "template.displayName", &template.display_name, 200),
            channel: decode::channel(&mut violations, "template.channel", template.channel),
            partial: template.partial,
            content: content(&mut violations, "template", template),
        };
        violations.check()?;
        let key = key.filter(|_| !message.validate_only);
        let reply = self.0.templates.create(new, key.as_ref(), message.validate_only).await?;
        Ok(answer(reply, |saved| CreateTemplateResponse {
            template: Some(encode_template(saved.template, true)),
            problems: saved.problems.into_iter().map(problem).collect(),
        }))
    }

    async fn get_template(
        &self,
        request: Request<GetTemplateRequest>,
    ) -> Result<Response<GetTemplateResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<TemplateId> = decode::parse(&mut violations, "templateId", &message.template_id);
        let version = decode::between(&mut violations, "version", message.version, 0, i32::MAX);
        let template = self.0.templates.get(&violations.finish(id)?, version).await?;
        Ok(Response::new(GetTemplateResponse { template: Some(encode_template(template, true)) }))
    }

    async fn list_templates(
        &self,
        request: Request<ListTemplatesRequest>,
    ) -> Result<Response<ListTemplatesResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let wanted = self.wanted(&mut violations, &message.filter, templates::fields());
        violations.check()?;
        let selection = ListTemplatesRequest { filter: message.filter, ..Default::default() };
        let page = self.0.pages.open("ListTemplates", &selection, page_size, &message.page_token)?;
        let found = self.0.templates.list(&wanted, &page).await?;
        Ok(Response::new(ListTemplatesResponse {
            next_page_token: self.0.pages.seal("ListTemplates", &selection, found.next.as_deref()),
            templates: found.rows.into_iter().map(|template| encode_template(template, false)).collect(),
        }))
    }

    async fn update_template(
        &self,
        request: Request<UpdateTemplateRequest>,
    ) -> Result<Response<UpdateTemplateResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let template = message.template.unwrap_or_default();
        let id: Option<TemplateId> = decode::parse(&mut violations, "template.templateId", &template.template_id);
        let is_set = |path: &str| match path {
            "display_name" => !template.display_name.is_empty(),
            "variants" => !template.variants.is_empty(),
            _ => template.sample_data.is_some(),
        };
        let mask = Mask::decode(message.update_mask, CAN_CHANGE, OUTPUT_ONLY, is_set, &mut violations);
        let etag = template.etag;
        let display_name = mask
            .has("display_name")
            .then(|| decode::line(&mut violations, "template.displayName", &template.display_name, 200));
        // Whether it is a partial is known once it is found; a subject that is missing then is a problem of its own.
        let variants =
            mask.has("variants").then(|| variants(&mut violations, "template.variants", template.variants, true));
        let sample_data = mask
            .has("sample_data")
            .then(|| decode::object(&mut violations, "template.sampleData", template.sample_data));
        let id = violations.finish(id)?;
        let change = TemplateChange { display_name, variants, sample_data };
        let saved = self.0.templates.update(&id, &etag, change, message.validate_only).await?;
        Ok(Response::new(UpdateTemplateResponse {
            template: Some(encode_template(saved.template, true)),
            problems: saved.problems.into_iter().map(problem).collect(),
        }))
    }

    async fn publish_template(
        &self,
        request: Request<PublishTemplateRequest>,
    ) -> Result<Response<PublishTemplateResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<TemplateId> = decode::parse(&mut violations, "templateId", &message.template_id);
        let template = self.0.templates.publish(&violations.finish(id)?, &message.etag).await?;
        Ok(Response::new(PublishTemplateResponse { template: Some(encode_template(template, true)) }))
    }

    async fn archive_template(
        &self,
        request: Request<ArchiveTemplateRequest>,
    ) -> Result<Response<ArchiveTemplateResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let id: Option<TemplateId> = decode::parse(&mut violations, "templateId", &message.template_id);
        let template = self.0.dispatcher.archive_template(&violations.finish(id)?, &message.etag).await?;
        Ok(Response::new(ArchiveTemplateResponse { template: Some(encode_template(template, true)) }))
    }

    async fn send_test_message(
        &self,
        request: Request<SendTestMessageRequest>,
    ) -> Result<Response<SendTestMessageResponse>, Status> {
        let (caller, mut message, mut violations) = open(request);
        let request_id = std::mem::take(&mut message.request_id);
        let request =
            decode::request_key(&mut violations, "requestId", &caller, "SendTestMessage", &request_id, &message);
        let template_id: Option<TemplateId> = decode::parse(&mut violations, "templateId", &message.template_id);
        let version = decode::between(&mut violations, "version", message.version, 0, i32::MAX);
        let address: Option<EmailAddress> = decode::parse(&mut violations, "address", &message.address);
        let data = decode::object(&mut violations, "data", message.data);
        let locale: Option<Locale> = decode::parse_optional(&mut violations, "locale", &message.locale);
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        let (template_id, address) = Violations::default().finish(template_id.zip(address))?;
        let test = TestMessage { template_id, version, address, customer, data, locale, request };
        let reply = self.0.dispatcher.send_test(test).await?;
        Ok(answer(reply, |id| SendTestMessageResponse { contact_id: id.to_string() }))
    }

    async fn preview_template(
        &self,
        request: Request<PreviewTemplateRequest>,
    ) -> Result<Response<PreviewTemplateResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let version = decode::between(&mut violations, "version", message.version, 0, i32::MAX);
        let source = match message.source {
            Some(Source::TemplateId(id)) => {
                decode::parse(&mut violations, "templateId", &id).map(|id| PreviewSource::Stored(id, version))
            }
            Some(Source::Inline(template)) => {
                let partial = template.partial;
                Some(PreviewSource::Inline(content(&mut violations, "inline", template), partial))
            }
            None => {
                violations.add("templateId", "one of templateId and inline is required");
                None
            }
        };
        let data = decode::object(&mut violations, "data", message.data);
        let locale: Option<Locale> = decode::parse_optional(&mut violations, "locale", &message.locale);
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        let source = Violations::default().finish(source)?;
        let Preview { message, problems } = self.0.dispatcher.preview(source, customer, data, locale).await?;
        let rendered = |(rendered, size): (crate::templates::Rendered, usize)| proto::RenderedMessage {
            locale: rendered.locale.map(|locale| locale.to_string()).unwrap_or_default(),
            subject: rendered.subject,
            text_body: rendered.text,
            html_body: rendered.html,
            size_bytes: i32::try_from(size).unwrap_or(i32::MAX),
        };
        Ok(Response::new(PreviewTemplateResponse {
            message: message.map(rendered),
            problems: problems.into_iter().map(problem).collect(),
        }))
    }
}

fn content(violations: &mut Violations, path: &str, template: proto::Template) -> Content {
    Content {
        variants: variants(violations, &format!("{path}.variants"), template.variants, template.partial),
        sample_data: decode::object(violations, format_args!("{path}.sampleData"), template.sample_data),
    }
}

fn variants(
    violations: &mut Violations,
    path: &str,
    variants: Vec<proto::TemplateVariant>,
    may_lack_subject: bool,
) -> Vec<Variant> {
    if !(1..=50).contains(&variants.len()) {
        violations.add(path, "must be 1 to 50");
    } else if variants.iter().all(|variant| !variant.locale.is_empty()) {
        violations.add(path, "must hold one with an empty locale, the fallback");
    }
    let mut decoded: Vec<Variant> = Vec::new();
    for (place, variant) in variants.into_iter().enumerate().take(50) {
        let at = |name: &str| format!("{path}[{place}].{name}");
        let locale = decode::parse_optional(violations, at("locale"), &variant.locale);
        if decoded.iter().any(|earlier| earlier.locale == locale) {
            violations.add(at("locale"), "comes twice");
        }
        if variant.subject.trim().is_empty() && !may_lack_subject {
            violations.add(at("subject"), "is required");
        } else if variant.subject.trim().chars().any(breaks_headers) {
            violations.add(at("subject"), "must not hold line breaks or other control characters");
        }
        let has = |body: &str| !body.trim().is_empty();
        match (has(&variant.text_body), has(&variant.html_body), has(&variant.mjml_body)) {
            (false, false, false) => {
                violations.add(at("textBody"), "one of textBody, htmlBody and mjmlBody is required")
            }
            (_, true, true) if !may_lack_subject => {
                violations.add(at("mjmlBody"), "must be empty where there is an htmlBody");
            }
            _ => (),
        }
        decoded.push(Variant {
            locale,
            subject: decode::text(violations, at("subject"), variant.subject, LARGEST_SOURCE),
            preheader: decode::text(violations, at("preheader"), variant.preheader, LARGEST_SOURCE),
            text_body: decode::text(violations, at("textBody"), variant.text_body, LARGEST_SOURCE),
            html_body: decode::text(violations, at("htmlBody"), variant.html_body, LARGEST_SOURCE),
            mjml_body: decode::text(violations, at("mjmlBody"), variant.mjml_body, LARGEST_SOURCE),
        });
    }
    let size =
        |variant: &Variant| crate::templates::Part::ALL.map(|part| part.source(variant).len()).iter().sum::<usize>();
    if decoded.iter().map(size).sum::<usize>() > LARGEST_TEMPLATE {
        violations.add(path, "must not hold more than 1 MiB of text in all");
    }
    decoded
}

/// A version of a template, with or without its texts.
pub(super) fn encode_template(of: Template, with_content: bool) -> proto::Template {
    let state = match of.state {
        TemplateState::Draft => template::State::Draft,
        TemplateState::Published => template::State::Published,
        TemplateState::Archived => template::State::Archived,
    };
    let variant = |variant: Variant| proto::TemplateVariant {
        locale: variant.locale.map(|locale| locale.to_string()).unwrap_or_default(),
        subject: variant.subject,
        text_body: if with_content { variant.text_body } else { String::new() },
        preheader: if with_content { variant.preheader } else { String::new() },
        html_body: if with_content { variant.html_body } else { String::new() },
        mjml_body: if with_content { variant.mjml_body } else { String::new() },
    };
    proto::Template {
        template_id: of.template_id.to_string(),
        display_name: of.display_name,
        channel: proto::Channel::Email.into(),
        variants: of.content.variants.into_iter().map(variant).collect(),
        sample_data: if with_content { encode::object(&of.content.sample_data) } else { None },
        version: of.version,
        state: state.into(),
        create_time: Some(encode::time(of.create_time)),
        update_time: Some(encode::time(of.update_time)),
        etag: etag(of.revision),
        partial: of.partial,
    }
}

fn problem(of: Problem) -> proto::TemplateProblem {
    let severity = match of.severity {
        Severity::Warning => template_problem::Severity::Warning,
        Severity::Error => template_problem::Severity::Error,
    };
    proto::TemplateProblem {
        severity: severity.into(),
        locale: of.locale.map(|locale| locale.to_string()).unwrap_or_default(),
        field: of.part.field().to_owned(),
        line: i32::try_from(of.line).unwrap_or(0),
        description: of.description,
    }
}
