use serde_json::{Map, Value};

use super::Dispatcher;
use crate::{
    customers,
    ids::{CustomerId, TemplateId},
    preferences,
    rpc::{Fault, Reason},
    templates::{Content, Locale, Problem, Rendered, Severity, sample_of},
};

/// What is to be rendered.
#[derive(Debug, Clone)]
pub enum PreviewSource {
    /// A stored template; version 0 = the latest.
    Stored(TemplateId, i32),
    /// A template that is not stored, and whether it is a block for others.
    Inline(Content, bool),
}

/// A message as a customer would get it, or why there is none.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The message, and how large it is with headers and encodings.
    pub message: Option<(Rendered, usize)>,
    /// What the author should look at.
    pub problems: Vec<Problem>,
}

impl Dispatcher {
    /// Renders for a customer, or for the sample data, by the code that sends.
    pub async fn preview(
        &self,
        source: PreviewSource,
        customer: Option<CustomerId>,
        over: Map<String, Value>,
        locale: Option<Locale>,
    ) -> Result<Preview, Fault> {
        let (id, content, partial) = match source {
            PreviewSource::Stored(id, version) => {
                let template = self.of.templates.get(&id, version).await?;
                (Some(id), template.content, template.partial)
            }
            PreviewSource::Inline(content, partial) => (None, content, partial),
        };
        let (data, own_locale, name) = match customer {
            Some(id) => {
                let found = customers::find(self.of.db.reader(), id).await?;
                let customer = found.ok_or_else(|| no_customer(id))?;
                let policy = preferences::policy(self.of.db.reader()).await?;
                let data = sample_of(&content).to(customer.template_data(policy.time_zone));
                (data, customer.locale.or(Some(policy.default_locale)), customer.display_name)
            }
            None => (sample_of(&content), None, String::new()),
        };
        let (compiled, mut problems) = self.of.templates.try_out(id.as_ref(), partial, &content).await?;
        let locale = locale.or(own_locale);
        let rendered = compiled.and_then(|compiled| compiled.render(locale.as_ref(), &data.overlaid(over)));
        let message = match rendered {
            Ok(rendered) => {
                let size = self.size(&rendered, &name);
                Some((rendered, size))
            }
            Err(error) => {
                let (part, line) = (error.part, error.line);
                problems.push(Problem {
                    severity: Severity::Error,
                    locale,
                    part,
                    line,
                    description: error.description,
                });
                None
            }
        };
        Ok(Preview { message, problems })
    }
}

fn no_customer(id: CustomerId) -> Fault {
    Fault::refused(Reason::CustomerNotFound, id, format!("there is no customer {id}"))
}
