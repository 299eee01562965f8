//! Templates: drafts, immutable published versions, rendering, and the problems that authors should look at.

mod entity;
mod fence;
mod fields;
mod inline;
mod inspect;
mod jinja;
mod locale;
mod markup;
mod meter;
mod mjml;
mod partials;
mod plain;
mod preheader;
mod render;
mod sheet;
mod store;
mod template;
mod tracking;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

pub use self::{
    fields::fields,
    inspect::{Inspected, inspect, sample_of},
    locale::Locale,
    markup::{end_of_body, escape, write_value},
    partials::Partials,
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

use self::store::Standing;

/// More versions than any deployment sends at the same time; beyond it the cache starts anew.
const MOST_COMPILED: usize = 1_000;

/// The templates of this deployment.
#[derive(Debug)]
pub struct Templates {
    db: Database,
    clock: Clock,
    /// The version of each template that was sent last, made ready. It stays right while neither it nor a block in it has a
    /// newer version.
    compiled: Mutex<HashMap<TemplateId, (i32, Arc<Compiled>)>>,
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
            let first = find(&tx, &TemplateId::from_stored(first.resource), 0).await?;
            return Ok(Reply::replayed(saved(&tx, first).await?));
        }
        let template = Template {
            template_id: new.template_id.unwrap_or_else(TemplateId::generate),
            display_name: new.display_name,
            channel: new.channel,
            partial: new.partial,
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
        let saved = saved(&tx, template).await?;
        finish(tx, validate_only).await?;
        Ok(Reply::fresh(saved))
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
        check_open(&template)?;
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
        let saved = saved(&tx, template).await?;
        finish(tx, validate_only).await?;
        Ok(saved)
    }

    /// Makes the draft an immutable version that is sent from now on.
    pub async fn publish(&self, template_id: &TemplateId, etag: &str) -> Result<Template, Fault> {
        let tx = self.db.begin_write().await?;
        let mut template = lock(&tx, template_id).await?;
        check_etag(etag, template.revision, template_id)?;
        check_open(&template)?;
        if template.state == TemplateState::Published {
            let message =
                format!("version {} of {template_id} is published, and there is no draft after it", template.version);
            return Err(Fault::refused(Reason::TemplateNotChanged, template_id, message));
        }
        let partials = load_partials(&tx, &template.content).await?;
        if let Some(problem) = first_error(&template, &partials) {
            let message = format!("{} line {}: {}", problem.part.field(), problem.line, problem.description);
            return Err(Fault::refused(Reason::TemplateHasErrors, template_id, message));
        }
        if template.partial {
            check_includers(&tx, &template).await?;
        }
        template.state = TemplateState::Published;
        template.update_time = self.clock.now();
        template.revision += 1;
        store::save(&tx, &template, false).await?;
        database::commit(tx).await?;
        Ok(template)
    }

    /// Puts a template away: nothing may begin to use it. `unused` says so if somebody still does.
    pub async fn archive<F>(
        &self,
        template_id: &TemplateId,
        etag: &str,
        unused: impl FnOnce(WriteTx, TemplateId) -> F,
    ) -> Result<Template, Fault>
    where
        F: Future<Output = Result<WriteTx, Fault>>,
    {
        let tx = self.db.begin_write().await?;
        let mut template = lock(&tx, template_id).await?;
        check_etag(etag, template.revision, template_id)?;
        if template.state == TemplateState::Archived {
            return Ok(template);
        }
        if let Some((includer, ..)) = store::includers(&tx, template_id).await?.first() {
            let message = format!("template {includer} includes {template_id}");
            return Err(Fault::refused(Reason::TemplateInUse, template_id, message));
        }
        let tx = unused(tx, template_id.clone()).await?;
        template.state = TemplateState::Archived;
        template.update_time = self.clock.now();
        template.revision += 1;
        store::archive(&tx, &template).await?;
        database::commit(tx).await?;
        Ok(template)
    }

    /// The published versions that are sent now, made ready; a template without one is missing, one that does not compile is
    /// there with its error. A new version of a block is in whatever is asked for after it was published.
    pub async fn published(&self, ids: &[TemplateId]) -> Result<BTreeMap<TemplateId, Published>, StoreError> {
        let mut asked = ids.to_vec();
        {
            let cache = self.lock_compiled();
            let blocks = ids.iter().filter_map(|id| cache.get(id)).flat_map(|(_, compiled)| compiled.partials());
            asked.extend(blocks.map(|(id, _)| id.clone()));
        }
        asked.sort_unstable();
        asked.dedup();
        let versions: HashMap<TemplateId, i32> =
            store::published_versions(self.db.reader(), &asked).await?.into_iter().collect();
        let mut published = BTreeMap::new();
        let mut missing = Vec::new();
        for id in ids {
            let Some(version) = versions.get(id) else { continue };
            match self.current(id, *version, &versions) {
                Some(compiled) => {
                    published.insert(id.clone(), Published { version: *version, compiled: Ok(compiled) });
                }
                None => missing.push((id.clone(), *version)),
            }
        }
        for (template_id, version, content) in store::contents(self.db.reader(), missing).await? {
            let partials = load_partials(self.db.reader(), &content).await?;
            let compiled = Compiled::new(content, &partials).map(Arc::new);
            if let Ok(compiled) = &compiled {
                self.keep_compiled(template_id.clone(), version, compiled.clone());
            }
            published.insert(template_id, Published { version, compiled });
        }
        Ok(published)
    }

    /// One version made ready, published or not.
    pub async fn compile(&self, template: &Template) -> Result<Result<Compiled, RenderError>, StoreError> {
        let partials = load_partials(self.db.reader(), &template.content).await?;
        Ok(Compiled::new(template.content.clone(), &partials))
    }

    /// Texts that are not stored, made ready, and what their author should look at.
    pub async fn try_out(
        &self,
        template_id: Option<&TemplateId>,
        partial: bool,
        content: &Content,
    ) -> Result<(Result<Compiled, RenderError>, Vec<Problem>), StoreError> {
        let partials = load_partials(self.db.reader(), content).await?;
        let problems = inspect(&Inspected { template_id, partial, content }, &partials);
        Ok((Compiled::new(content.clone(), &partials), problems))
    }

    /// What was made ready before, if nothing in it is newer.
    fn current(&self, id: &TemplateId, version: i32, versions: &HashMap<TemplateId, i32>) -> Option<Arc<Compiled>> {
        let cache = self.lock_compiled();
        let (known, compiled) = cache.get(id)?;
        let is_current = *known == version
            && compiled.partials().iter().all(|(block, version)| versions.get(block) == Some(version));
        is_current.then(|| compiled.clone())
    }

    fn keep_compiled(&self, id: TemplateId, version: i32, compiled: Arc<Compiled>) {
        let mut cache = self.lock_compiled();
        if cache.len() >= MOST_COMPILED {
            cache.clear();
        }
        cache.insert(id, (version, compiled));
    }

    fn lock_compiled(&self) -> std::sync::MutexGuard<'_, HashMap<TemplateId, (i32, Arc<Compiled>)>> {
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
    let channels = Channels::load(tx, ids.iter().cloned()).await?;
    ids.iter().try_for_each(|id| channels.of(id).map(drop))
}

/// Puts all templates in the place of those of another database, with their drafts.
pub async fn copy(from: &impl Connection, to: &WriteTx) -> Result<(), StoreError> {
    store::copy(from, to).await
}

/// The channels of templates that messages refer to.
#[derive(Debug)]
pub struct Channels(HashMap<TemplateId, Standing>);

impl Channels {
    /// Of these templates, in one query.
    pub async fn load(tx: &WriteTx, ids: impl Iterator<Item = TemplateId>) -> Result<Self, StoreError> {
        Ok(Self(store::standings(tx, ids).await?))
    }

    /// How the template's messages go out; it must have a published version, and be neither a block nor put away.
    pub fn of(&self, id: &TemplateId) -> Result<Channel, Fault> {
        match self.0.get(id) {
            Some(standing) if standing.is_archived => Err(archived(id)),
            Some(standing) if standing.is_partial => {
                let message = format!("template {id} is a partial: other templates include it, and it is never sent");
                Err(Fault::refused(Reason::TemplateIsPartial, id, message))
            }
            Some(standing) if standing.is_published => Ok(standing.channel),
            Some(_) => Err(not_published(id)),
            None => Err(not_found(id, 0)),
        }
    }
}

/// The latest version of a template, for operations that refer to it.
pub async fn find_latest(tx: &WriteTx, id: &TemplateId) -> Result<Template, Fault> {
    find(tx, id, 0).await
}

async fn saved(db: &impl Connection, template: Template) -> Result<Saved, StoreError> {
    let partials = load_partials(db, &template.content).await?;
    let problems = inspect(&inspected(&template), &partials);
    Ok(Saved { template, problems })
}

fn inspected(template: &Template) -> Inspected<'_> {
    Inspected { template_id: Some(&template.template_id), partial: template.partial, content: &template.content }
}

fn first_error(template: &Template, partials: &Partials) -> Option<Problem> {
    inspect(&inspected(template), partials).into_iter().find(|problem| problem.severity == Severity::Error)
}

/// The published blocks that texts include, and those that these include.
async fn load_partials(db: &impl Connection, content: &Content) -> Result<Partials, StoreError> {
    let mut partials = Partials::default();
    for _ in 0..=partials::DEEPEST {
        let missing: Vec<TemplateId> = partials.missing(content).into_iter().collect();
        let found = if missing.is_empty() { Vec::new() } else { store::published_partials(db, missing).await? };
        if found.is_empty() {
            break;
        }
        for (id, version, content) in found {
            partials.add(id, version, content);
        }
    }
    Ok(partials)
}

/// Whoever includes a block must still be sound with what it is to say.
async fn check_includers(tx: &WriteTx, block: &Template) -> Result<(), Fault> {
    let (mut blocks, mut seen) = (vec![block.template_id.clone()], vec![block.template_id.clone()]);
    while let Some(id) = blocks.pop() {
        for (includer, partial, content) in store::includers(tx, &id).await? {
            if seen.contains(&includer) {
                continue;
            }
            let mut partials = load_partials(tx, &content).await?;
            partials.add(block.template_id.clone(), block.version, block.content.clone());
            let inspected = Inspected { template_id: Some(&includer), partial, content: &content };
            let problems = inspect(&inspected, &partials);
            if let Some(problem) = problems.into_iter().find(|problem| problem.severity == Severity::Error) {
                let message =
                    format!("template {includer} would break, {}: {}", problem.part.field(), problem.description);
                return Err(Fault::refused(Reason::TemplateHasErrors, &block.template_id, message));
            }
            if partial {
                blocks.push(includer.clone());
            }
            seen.push(includer);
        }
    }
    Ok(())
}

fn check_open(template: &Template) -> Result<(), Fault> {
    if template.state == TemplateState::Archived { Err(archived(&template.template_id)) } else { Ok(()) }
}

fn archived(id: &TemplateId) -> Fault {
    Fault::refused(Reason::TemplateArchived, id, format!("template {id} is archived"))
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
