use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, JoinType, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, OnConflict},
};

use super::{
    Content, Template, TemplateState,
    entity::{template, version},
};
use crate::{
    database::{StoreError, WriteTx},
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
    Ok(())
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
    Ok(())
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

/// How the messages of these templates go out, and whether they have a published version.
pub async fn channels(
    db: &impl ConnectionTrait,
    ids: impl Iterator<Item = TemplateId>,
) -> Result<HashMap<TemplateId, (Channel, bool)>, StoreError> {
    let rows: Vec<(TemplateId, Channel, Option<i32>)> = template::Entity::find()
        .select_only()
        .column(template::Column::TemplateId)
        .column(template::Column::Channel)
        .column(template::Column::PublishedVersion)
        .filter(template::Column::TemplateId.is_in(ids))
        .into_tuple()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, channel, published)| (id, (channel, published.is_some()))).collect())
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
        version: version.version,
        state: version.state,
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
