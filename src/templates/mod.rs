//! Templates: drafts, immutable published versions, rendering, and the problems that authors should look at.

mod entity;
mod fields;
mod inspect;
mod locale;
mod markup;
mod plain;
mod render;
mod store;
mod template;
mod tracking;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

pub use self::{
    fields::fields,
    inspect::{inspect, sample_of},
    locale::Locale,
    markup::{end_of_body, escape, write_value},
    render::{Compiled, Data, RenderError, Rendered},
    store::published_versions,
    template::{Content, NewTemplate, Part, Problem, Severity, Template, TemplateChange, TemplateState, Variant},
    tracking::{Tracking, add_picture, lead_links},
};
use crate::{
    clock::Clock,
    database::{self, Connection, Database, StoreError, WriteTx},
    delivery::Channel,
    filter::Wanted,
    ids::TemplateId,
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey, check_etag},
};

/// More versions than any deployment sends at the same time; beyond it the cache starts anew.
const MOST_COMPILED: usize = 1_000;

/// The templates of this deployment.
#[derive(Debug)]
pub struct Templates {
    db: Database,
    clock: Clock,
    /// Published versions never change, so what was compiled once stays right.
    compiled: Mutex<HashMap<(TemplateId, i32), Arc<Compiled>>>,
}

/// A template as it was saved, and what its author should look at.
#[derive(Debug)]
pub struct Saved {
    /// The saved version.
    pub template: Template,
    /// What its author should look at.
    pub problems: Vec<Problem>,
}

impl Templates {
    /// The templates in a database.
    pub fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock, compiled: Mutex::default() }
    }

    /// Creates a template with its first draft.
    pub async fn create(
        &self,
        new: NewTemplate,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Saved>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(saved(find(&tx, &TemplateId::from_stored(first.resource), 0).await?)));
        }
        let template = Template {
            template_id: new.template_id.unwrap_or_else(TemplateId::generate),
            display_name: new.display_name,
            channel: new.channel,
            version: 1,
            state: TemplateState::Draft,
            content: new.content,
            create_time: now,
            update_time: now,
            revision: 1,
        };
        if !store::insert(&tx, &template).await? {
            let message = format!("there is a template {} already", template.template_id);
            return Err(Fault::refused(Reason::TemplateExists, &template.template_id, message));
        }
        if let Some(key) = key {
            key.finish(&tx, &template.template_id, &[]).await?;
        }
        finish(tx, validate_only).await?;
        Ok(Reply::fresh(saved(template)))
    }

    /// One version; 0 = the latest.
    pub async fn get(&self, template_id: &TemplateId, version: i32) -> Result<Template, Fault> {
        find(self.db.reader(), template_id, version).await
    }

    /// A page of latest versions by id.
    pub async fn list(&self, wanted: &Wanted, page: &Page) -> Result<PageOf<Template>, Fault> {
        let rows = store::list(self.db.reader(), wanted, page).await?;
        Ok(PageOf::from_rows(rows, page, |template| template.template_id.to_string()))
    }

    /// Changes the draft, or begins one after the published version.
    pub async fn update(
        &self,
        template_id: &TemplateId,
        etag: &str,
        change: TemplateChange,
        validate_only: bool,
    ) -> Result<Saved, Fault> {
        let tx = self.db.begin_write().await?;
        let mut template = lock(&tx, template_id).await?;
        check_etag(etag, template.revision, template_id)?;
        let begins_draft = template.state == TemplateState::Published;
        if begins_draft {
            template.version += 1;
            template.state = TemplateState::Draft;
        }
        template.display_name = change.display_name.unwrap_or(template.display_name);
        template.content.variants = change.variants.unwrap_or(template.content.variants);
        template.content.sample_data = change.sample_data.unwrap_or(template.content.sample_data);
        template.update_time = self.clock.now();
        template.revision += 1;
        store::save(&tx, &template, begins_draft).await?;
        finish(tx, validate_only).await?;
        Ok(saved(template))
    }

    /// Makes the draft an immutable version that is sent from now on.
    pub async fn publish(&self, template_id: &TemplateId, etag: &str) -> Result<Template, Fault> {
        let tx = self.db.begin_write().await?;
        let mut template = lock(&tx, template_id).await?;
        check_etag(etag, template.revision, template_id)?;
        if template.state == TemplateState::Published {
            let message =
                format!("version {} of {template_id} is published, and there is no draft after it", template.version);
            return Err(Fault::refused(Reason::TemplateNotChanged, template_id, message));
        }
        if let Some(problem) =
            inspect(&template.content).into_iter().find(|problem| problem.severity == Severity::Error)
        {
            let message = format!("{} line {}: {}", problem.part.field(), problem.line, problem.description);
            return Err(Fault::refused(Reason::TemplateHasErrors, template_id, message));
        }
        template.state = TemplateState::Published;
        template.update_time = self.clock.now();
        template.revision += 1;
        store::save(&tx, &template, false).await?;
        database::commit(tx).await?;
        Ok(template)
    }

    /// The published versions that are sent now, made ready; a template without one is missing, one that does not compile is
    /// there with its error.
    pub async fn published(&self, ids: &[TemplateId]) -> Result<BTreeMap<TemplateId, Published>, StoreError> {
        let versions = store::published_versions(self.db.reader(), ids).await?;
        let mut published = BTreeMap::new();
        let mut missing = Vec::new();
        for key in versions {
            match self.lock_compiled().get(&key) {
                Some(compiled) => {
                    drop(published.insert(key.0, Published { version: key.1, compiled: Ok(compiled.clone()) }))
                }
                None => missing.push(key),
            }
        }
        for (template_id, version, content) in store::contents(self.db.reader(), missing).await? {
            let compiled = Compiled::new(content).map(Arc::new);
            if let Ok(compiled) = &compiled {
                self.keep_compiled((template_id.clone(), version), compiled.clone());
            }
            published.insert(template_id, Published { version, compiled });
        }
        Ok(published)
    }

    fn keep_compiled(&self, key: (TemplateId, i32), compiled: Arc<Compiled>) {
        let mut cache = self.lock_compiled();
        if cache.len() >= MOST_COMPILED {
            cache.clear();
        }
        cache.insert(key, compiled);
    }

    fn lock_compiled(&self) -> std::sync::MutexGuard<'_, HashMap<(TemplateId, i32), Arc<Compiled>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A published version that is sent now.
#[derive(Debug, Clone)]
pub struct Published {
    /// Which.
    pub version: i32,
    /// Ready for rendering, or why it is not.
    pub compiled: Result<Arc<Compiled>, RenderError>,
}

/// Which of these have a published version: what a campaign needs before it starts.
pub async fn check_published(tx: &WriteTx, ids: &[TemplateId]) -> Result<(), Fault> {
    let published = store::published_versions(tx, ids).await?;
    match ids.iter().find(|id| !published.iter().any(|(known, _)| known == *id)) {
        None => Ok(()),
        Some(id) => Err(not_published(id)),
    }
}

/// The channels of templates that messages refer to.
#[derive(Debug)]
pub struct Channels(HashMap<TemplateId, (Channel, bool)>);

impl Channels {
    /// Of these templates, in one query.
    pub async fn load(tx: &WriteTx, ids: impl Iterator<Item = TemplateId>) -> Result<Self, StoreError> {
        Ok(Self(store::channels(tx, ids).await?))
    }

    /// How the template's messages go out; it must have a published version.
    pub fn of(&self, id: &TemplateId) -> Result<Channel, Fault> {
        match self.0.get(id) {
            Some((channel, true)) => Ok(*channel),
            Some((_, false)) => Err(not_published(id)),
            None => Err(not_found(id, 0)),
        }
    }
}

/// The latest version of a template, for operations that refer to it.
pub async fn find_latest(tx: &WriteTx, id: &TemplateId) -> Result<Template, Fault> {
    find(tx, id, 0).await
}

fn saved(template: Template) -> Saved {
    let problems = inspect(&template.content);
    Saved { template, problems }
}

async fn find(db: &impl Connection, id: &TemplateId, version: i32) -> Result<Template, Fault> {
    store::find(db, id, version).await?.ok_or_else(|| not_found(id, version))
}

async fn lock(tx: &WriteTx, id: &TemplateId) -> Result<Template, Fault> {
    store::lock(tx, id).await?;
    find(tx, id, 0).await
}

fn not_published(id: &TemplateId) -> Fault {
    let message = format!("template {id} has no published version");
    Fault::refused(Reason::TemplateNotPublished, id, message)
}

fn not_found(id: &TemplateId, version: i32) -> Fault {
    let message = if version == 0 {
        format!("there is no template {id}")
    } else {
        format!("there is no version {version} of template {id}")
    };
    Fault::refused(Reason::TemplateNotFound, id, message)
}

async fn finish(tx: WriteTx, validate_only: bool) -> Result<(), StoreError> {
    if validate_only { database::rollback(tx).await } else { database::commit(tx).await }
}
