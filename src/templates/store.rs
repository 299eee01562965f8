use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{CaseStatement, Expr, ExprTrait, LockType, OnConflict, Query, SimpleExpr},
};

use super::{
    Content, Template, TemplateState,
    entity::{include, template, version},
    partials::included,
};
use crate::{
    database::{self, StoreError, WriteTx},
    delivery::Channel,
    filter::Wanted,
    ids::TemplateId,
    rpc::Page,
};

/// False when the id is taken.
pub async fn insert(tx: &WriteTx, new: &Template) -> Result<bool, StoreError> {
    let row = template::ActiveModel {
        template_id: Set(new.template_id.clone()),
        display_name: Set(new.display_name.clone()),
        channel: Set(new.channel),
        latest_version: Set(new.version),
        published_version: Set(None),
        partial: Set(new.partial),
        archive_time: Set(None),
        create_time: Set(new.create_time),
        revision: Set(new.revision),
    };
    let inserted = template::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    if inserted == 0 {
        return Ok(false);
    }
    insert_version(tx, new).await?;
    Ok(true)
}

/// Writes a template back; its latest version is a new row or a changed one.
pub async fn save(tx: &WriteTx, changed: &Template, new_version: bool) -> Result<(), StoreError> {
    let mut update = template::Entity::update_many()
        .col_expr(template::Column::DisplayName, changed.display_name.clone().into())
        .col_expr(template::Column::LatestVersion, changed.version.into())
        .col_expr(template::Column::Revision, changed.revision.into())
        .filter(template::Column::TemplateId.eq(changed.template_id.clone()));
    if changed.state == TemplateState::Published {
        update = update.col_expr(template::Column::PublishedVersion, changed.version.into());
    }
    update.exec(tx).await?;
    if new_version {
        return insert_version(tx, changed).await;
    }
    version::Entity::update_many()
        .col_expr(version::Column::State, Expr::val(changed.state))
        .col_expr(version::Column::Content, Expr::val(content_json(&changed.content)?))
        .col_expr(version::Column::UpdateTime, changed.update_time.into())
        .filter(version::Column::TemplateId.eq(changed.template_id.clone()))
        .filter(version::Column::Version.eq(changed.version))
        .filter(version::Column::State.eq(TemplateState::Draft))
        .exec(tx)
        .await?;
    include::Entity::delete_many()
        .filter(include::Column::TemplateId.eq(changed.template_id.clone()))
        .filter(include::Column::Version.eq(changed.version))
        .exec(tx)
        .await?;
    insert_includes(tx, changed).await
}

async fn insert_includes(tx: &WriteTx, of: &Template) -> Result<(), StoreError> {
    let rows: Vec<include::ActiveModel> = included(&of.content)
        .into_iter()
        .map(|partial_id| include::ActiveModel {
            template_id: Set(of.template_id.clone()),
            version: Set(of.version),
            partial_id: Set(partial_id),
        })
        .collect();
    if !rows.is_empty() {
        include::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Nothing may use it any more.
pub async fn archive(tx: &WriteTx, of: &Template) -> Result<(), StoreError> {
    template::Entity::update_many()
        .col_expr(template::Column::ArchiveTime, Expr::val(of.update_time))
        .col_expr(template::Column::Revision, of.revision.into())
        .filter(template::Column::TemplateId.eq(of.template_id.clone()))
        .exec(tx)
        .await?;
    Ok(())
}

/// The published versions of those templates that include a block themselves, unless they are archived.
pub async fn includers(
    db: &impl ConnectionTrait,
    partial: &TemplateId,
) -> Result<Vec<(TemplateId, bool, Content)>, StoreError> {
    let rows: Vec<(TemplateId, bool, serde_json::Value)> = include::Entity::find()
        .select_only()
        .column(template::Column::TemplateId)
        .column(template::Column::Partial)
        .column(version::Column::Content)
        .join(JoinType::InnerJoin, includer())
        .join(JoinType::InnerJoin, included_version())
        .filter(include::Column::PartialId.eq(partial.clone()))
        .filter(template::Column::ArchiveTime.is_null())
        .filter(
            Expr::col((template::Entity, template::Column::PublishedVersion))
                .equals((include::Entity, include::Column::Version)),
        )
        .order_by_asc(template::Column::TemplateId)
        .into_tuple()
        .all(db)
        .await?;
    rows.into_iter().map(|(id, partial, json)| Ok((id, partial, content(json)?))).collect()
}

fn includer() -> sea_orm::RelationDef {
    include::Entity::belongs_to(template::Entity)
        .from(include::Column::TemplateId)
        .to(template::Column::TemplateId)
        .into()
}

fn included_version() -> sea_orm::RelationDef {
    include::Entity::belongs_to(version::Entity)
        .from((include::Column::TemplateId, include::Column::Version))
        .to((version::Column::TemplateId, version::Column::Version))
        .into()
}

/// What the published versions of these blocks say.
pub async fn published_partials(
    db: &impl ConnectionTrait,
    ids: Vec<TemplateId>,
) -> Result<Vec<(TemplateId, i32, Content)>, StoreError> {
    let rows = version::Entity::find()
        .join(JoinType::InnerJoin, join_template())
        .filter(version::Column::TemplateId.is_in(ids))
        .filter(template::Column::Partial.eq(true))
        .filter(template::Column::ArchiveTime.is_null())
        .filter(
            Expr::col((version::Entity, version::Column::Version))
                .equals((template::Entity, template::Column::PublishedVersion)),
        )
        .all(db)
        .await?;
    rows.into_iter().map(|row| Ok((row.template_id, row.version, content(row.content)?))).collect()
}

async fn insert_version(tx: &WriteTx, of: &Template) -> Result<(), StoreError> {
    let row = version::ActiveModel {
        template_id: Set(of.template_id.clone()),
        version: Set(of.version),
        state: Set(of.state),
        content: Set(content_json(&of.content)?),
        update_time: Set(of.update_time),
    };
    version::Entity::insert(row).exec_without_returning(tx).await?;
    insert_includes(tx, of).await
}

/// Keeps other writers away from a template until this transaction ends.
pub async fn lock(tx: &WriteTx, id: &TemplateId) -> Result<(), StoreError> {
    template::Entity::find_by_id(id.clone()).lock(LockType::Update).one(tx).await?;
    Ok(())
}

/// One version; 0 = the latest.
pub async fn find(db: &impl ConnectionTrait, id: &TemplateId, number: i32) -> Result<Option<Template>, StoreError> {
    let Some(row) = template::Entity::find_by_id(id.clone()).one(db).await? else {
        return Ok(None);
    };
    let number = if number == 0 { row.latest_version } else { number };
    let version = version::Entity::find_by_id((id.clone(), number)).one(db).await?;
    version.map(|version| domain(row, version)).transpose()
}

/// Latest versions by id, one more than the page holds.
pub async fn list(db: &impl ConnectionTrait, wanted: &Wanted, page: &Page) -> Result<Vec<Template>, StoreError> {
    let mut query = template::Entity::find()
        .filter(wanted.condition(db))
        .order_by_asc(template::Column::TemplateId)
        .limit(page.size + 1);
    if let Some(after) = &page.after {
        query = query.filter(template::Column::TemplateId.gt(after.as_str()));
    }
    let rows = query.all(db).await?;
    let ids = rows.iter().map(|row| row.template_id.clone());
    let versions = version::Entity::find()
        .join(JoinType::InnerJoin, join_template())
        .filter(version::Column::TemplateId.is_in(ids))
        .filter(
            Expr::col((version::Entity, version::Column::Version))
                .equals((template::Entity, template::Column::LatestVersion)),
        )
        .order_by_asc(version::Column::TemplateId)
        .all(db)
        .await?;
    rows.into_iter().zip(versions).map(|(row, version)| domain(row, version)).collect()
}

/// Where the latest version of a template stands.
pub fn state(_: DbBackend) -> SimpleExpr {
    let latest = Query::select()
        .column((version::Entity, version::Column::State))
        .from(version::Entity)
        .and_where(
            Expr::col((version::Entity, version::Column::TemplateId))
                .equals((template::Entity, template::Column::TemplateId)),
        )
        .and_where(
            Expr::col((version::Entity, version::Column::Version))
                .equals((template::Entity, template::Column::LatestVersion)),
        )
        .to_owned();
    let is_archived = Expr::col((template::Entity, template::Column::ArchiveTime)).is_not_null();
    CaseStatement::new().case(is_archived, TemplateState::Archived).finally(latest).into()
}

/// The published versions that are sent now.
pub async fn published_versions(
    db: &impl ConnectionTrait,
    ids: &[TemplateId],
) -> Result<Vec<(TemplateId, i32)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(TemplateId, i32)> = template::Entity::find()
        .select_only()
        .column(template::Column::TemplateId)
        .column(template::Column::PublishedVersion)
        .filter(template::Column::TemplateId.is_in(ids.iter().cloned()))
        .filter(template::Column::PublishedVersion.is_not_null())
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows)
}

/// What may be said of a template before it is used.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub channel: Channel,
    pub is_published: bool,
    pub is_archived: bool,
    pub is_partial: bool,
}

/// How these templates stand.
pub async fn standings(
    db: &impl ConnectionTrait,
    ids: impl Iterator<Item = TemplateId>,
) -> Result<HashMap<TemplateId, Standing>, StoreError> {
    let rows = template::Entity::find().filter(template::Column::TemplateId.is_in(ids)).all(db).await?;
    let standing = |row: &template::Model| Standing {
        channel: row.channel,
        is_published: row.published_version.is_some(),
        is_archived: row.archive_time.is_some(),
        is_partial: row.partial,
    };
    Ok(rows.into_iter().map(|row| (row.template_id.clone(), standing(&row))).collect())
}

/// What these versions say.
pub async fn contents(
    db: &impl ConnectionTrait,
    versions: Vec<(TemplateId, i32)>,
) -> Result<Vec<(TemplateId, i32, Content)>, StoreError> {
    let mut contents = Vec::with_capacity(versions.len());
    // One query per version, once in the life of the process: they are cached.
    for key in versions {
        if let Some(row) = version::Entity::find_by_id(key).one(db).await? {
            contents.push((row.template_id, row.version, content(row.content)?));
        }
    }
    Ok(contents)
}

/// Puts all templates in the place of those of another database: they share blocks.
pub async fn copy(from: &impl ConnectionTrait, to: &WriteTx) -> Result<(), StoreError> {
    database::copy_table::<template::Entity>(from, to).await?;
    database::copy_table::<version::Entity>(from, to).await?;
    database::copy_table::<super::entity::include::Entity>(from, to).await
}

fn join_template() -> sea_orm::RelationDef {
    version::Entity::belongs_to(template::Entity)
        .from(version::Column::TemplateId)
        .to(template::Column::TemplateId)
        .into()
}

fn domain(row: template::Model, version: version::Model) -> Result<Template, StoreError> {
    Ok(Template {
        template_id: row.template_id,
        display_name: row.display_name,
        channel: row.channel,
        partial: row.partial,
        version: version.version,
        state: if row.archive_time.is_some() { TemplateState::Archived } else { version.state },
        content: content(version.content)?,
        create_time: row.create_time,
        update_time: version.update_time,
        revision: row.revision,
    })
}

fn content(json: serde_json::Value) -> Result<Content, StoreError> {
    serde_json::from_value(json)
        .map_err(|wrong| StoreError::Corrupt { table: "template_versions", detail: wrong.to_string() })
}

fn content_json(content: &Content) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(content)
        .map_err(|wrong| StoreError::Corrupt { table: "template_versions", detail: wrong.to_string() })
}
