use super::Dispatcher;
use crate::{
    campaigns, contacts,
    ids::TemplateId,
    rpc::{Fault, Reason},
    templates::Template,
};

impl Dispatcher {
    /// Puts a template away, unless something still uses it.
    pub async fn archive_template(&self, id: &TemplateId, etag: &str) -> Result<Template, Fault> {
        let unused = |tx, id: TemplateId| async move {
            if let Some(campaign) = campaigns::using_template(&tx, &id).await? {
                let message = format!("campaign {campaign} uses template {id}");
                return Err(Fault::refused(Reason::TemplateInUse, &id, message));
            }
            if let Some(contact) = contacts::waiting_with(&tx, &id).await? {
                let message = format!("contact {contact} waits, and uses template {id}");
                return Err(Fault::refused(Reason::TemplateInUse, &id, message));
            }
            Ok(tx)
        };
        self.of.templates.archive(id, etag, unused).await
    }
}
