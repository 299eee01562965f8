//! The ledger of consent says what for, from what to what, under which words and on what evidence; nobody can change it. Topics are
//! described and archived. The mail that asks to confirm a consent is a template like any other.

use chrono::{DateTime, Utc};
use sea_orm_migration::{
    prelude::*,
    schema::{
        blob, blob_null, json_binary, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
        uuid_null,
    },
    sea_orm::DbBackend,
};
use serde_json::json;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Its key holds the use of data, so it is built anew.
const MOVE_CONSENTS: [&str; 3] = [
    "INSERT INTO consents_with_use (customer_id, topic_id, channel, data_use, state, method, address_id, change_time, record_id) \
     SELECT customer_id, topic_id, channel, 'messages', state, method, address_id, change_time, record_id FROM consents",
    "DROP TABLE consents",
    "ALTER TABLE consents_with_use RENAME TO consents",
];

const MOVE_CONSENTS_BACK: [&str; 3] = [
    "INSERT INTO consents_without_use (customer_id, topic_id, channel, state, method, address_id, change_time, record_id) \
     SELECT customer_id, topic_id, channel, state, method, address_id, change_time, record_id FROM consents \
     WHERE data_use = 'messages' AND state IN ('granted', 'denied')",
    "DROP TABLE consents",
    "ALTER TABLE consents_without_use RENAME TO consents",
];

const FILL_RECORDS: &str =
    "UPDATE consent_records SET to_state = CASE act WHEN 'grant' THEN 'granted' ELSE 'denied' END";

/// What was said stays as it was said.
/// REPLACE deletes without saying so: on SQLite that is refused too.
const LOCK_ON_SQLITE: [&str; 6] = [
    "CREATE TRIGGER consent_records_stay BEFORE UPDATE ON consent_records BEGIN SELECT RAISE(ABORT, 'consent_records is append-only'); END",
    "CREATE TRIGGER consent_records_last BEFORE DELETE ON consent_records BEGIN SELECT RAISE(ABORT, 'consent_records is append-only'); END",
    "CREATE TRIGGER consent_records_once BEFORE INSERT ON consent_records \
     WHEN EXISTS (SELECT 1 FROM consent_records WHERE record_id = NEW.record_id) \
     BEGIN SELECT RAISE(ABORT, 'consent_records is append-only'); END",
    "CREATE TRIGGER wordings_once BEFORE INSERT ON wordings \
     WHEN EXISTS (SELECT 1 FROM wordings WHERE wording_id = NEW.wording_id) \
     BEGIN SELECT RAISE(ABORT, 'wordings is append-only'); END",
    "CREATE TRIGGER wordings_stay BEFORE UPDATE ON wordings BEGIN SELECT RAISE(ABORT, 'wordings is append-only'); END",
    "CREATE TRIGGER wordings_last BEFORE DELETE ON wordings BEGIN SELECT RAISE(ABORT, 'wordings is append-only'); END",
];

const LOCK_ON_POSTGRES: [&str; 5] = [
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$",
    "CREATE TRIGGER consent_records_stay BEFORE UPDATE OR DELETE ON consent_records FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER consent_records_last BEFORE TRUNCATE ON consent_records FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER wordings_stay BEFORE UPDATE OR DELETE ON wordings FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER wordings_last BEFORE TRUNCATE ON wordings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
];

const UNLOCK_ON_SQLITE: [&str; 6] = [
    "DROP TRIGGER consent_records_once",
    "DROP TRIGGER wordings_once",
    "DROP TRIGGER consent_records_stay",
    "DROP TRIGGER consent_records_last",
    "DROP TRIGGER wordings_stay",
    "DROP TRIGGER wordings_last",
];

const UNLOCK_ON_POSTGRES: [&str; 5] = [
    "DROP TRIGGER consent_records_stay ON consent_records",
    "DROP TRIGGER consent_records_last ON consent_records",
    "DROP TRIGGER wordings_stay ON wordings",
    "DROP TRIGGER wordings_last ON wordings",
    "DROP FUNCTION refuse_change()",
];

const CONFIRMATION: &str = include_str!("opt_in_confirmation.json");

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_columns(manager).await?;
        manager.create_table(consents("consents_with_use").to_owned()).await?;
        run(manager, &MOVE_CONSENTS).await?;
        create_wordings_and_evidence(manager).await?;
        match manager.get_database_backend() {
            DbBackend::Postgres => run(manager, &LOCK_ON_POSTGRES).await?,
            _ => run(manager, &LOCK_ON_SQLITE).await?,
        }
        add_confirmation(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        remove_confirmation(manager).await?;
        match manager.get_database_backend() {
            DbBackend::Postgres => run(manager, &UNLOCK_ON_POSTGRES).await?,
            _ => run(manager, &UNLOCK_ON_SQLITE).await?,
        }
        manager.drop_index(Index::drop().name("consent_records_contact").table("consent_records").to_owned()).await?;
        manager.drop_table(Table::drop().table("consent_evidence").to_owned()).await?;
        manager.drop_table(Table::drop().table("wordings").to_owned()).await?;
        manager.create_table(consents_before("consents_without_use").to_owned()).await?;
        run(manager, &MOVE_CONSENTS_BACK).await?;
        for column in RECORD_COLUMNS {
            manager.alter_table(Table::alter().table("consent_records").drop_column(*column).to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("topics").drop_column("archive_time").to_owned()).await?;
        manager.alter_table(Table::alter().table("topics").drop_column("descriptions").to_owned()).await
    }
}

const RECORD_COLUMNS: &[&str] =
    &["data_use", "from_state", "to_state", "wording_id", "evidence_digest", "expire_time", "contact_id"];

async fn add_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let add = |table: &'static str, column: ColumnDef| {
        manager.alter_table(Table::alter().table(table).add_column(column).to_owned())
    };
    add("topics", json_binary("descriptions").default("[]").take()).await?;
    add("topics", timestamp_with_time_zone_null("archive_time").take()).await?;
    add("consent_records", text("data_use").default("messages").take()).await?;
    add("consent_records", text_null("from_state").take()).await?;
    add("consent_records", text("to_state").default("denied").take()).await?;
    add("consent_records", uuid_null("wording_id").take()).await?;
    add("consent_records", blob_null("evidence_digest").take()).await?;
    add("consent_records", timestamp_with_time_zone_null("expire_time").take()).await?;
    add("consent_records", uuid_null("contact_id").take()).await?;
    run(manager, &[FILL_RECORDS]).await?;
    // The way from a link in a mail to what it asked to confirm.
    run(manager, &["CREATE INDEX consent_records_contact ON consent_records (contact_id) WHERE contact_id IS NOT NULL"])
        .await
}

fn consents(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(uuid("customer_id"))
        .col(text("topic_id"))
        .col(text("channel"))
        .col(text("data_use"))
        .col(text("state"))
        .col(text("method"))
        .col(uuid_null("address_id"))
        .col(uuid_null("wording_id"))
        .col(timestamp_with_time_zone("change_time"))
        .col(timestamp_with_time_zone_null("expire_time"))
        .col(uuid("record_id"))
        .primary_key(Index::create().col("customer_id").col("topic_id").col("channel").col("data_use"))
        .foreign_key(ForeignKey::create().from(name, "customer_id").to("customers", "customer_id"))
        .foreign_key(ForeignKey::create().from(name, "topic_id").to("topics", "topic_id"))
        .to_owned()
}

fn consents_before(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(uuid("customer_id"))
        .col(text("topic_id"))
        .col(text("channel"))
        .col(text("state"))
        .col(text("method"))
        .col(uuid_null("address_id"))
        .col(timestamp_with_time_zone("change_time"))
        .col(uuid("record_id"))
        .primary_key(Index::create().col("customer_id").col("topic_id").col("channel"))
        .foreign_key(ForeignKey::create().from(name, "customer_id").to("customers", "customer_id"))
        .foreign_key(ForeignKey::create().from(name, "topic_id").to("topics", "topic_id"))
        .to_owned()
}

async fn create_wordings_and_evidence(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("wordings")
                .col(uuid("wording_id").primary_key())
                .col(text("topic_id"))
                .col(text_null("locale"))
                .col(text("text"))
                .col(timestamp_with_time_zone("create_time"))
                .foreign_key(ForeignKey::create().from("wordings", "topic_id").to("topics", "topic_id"))
                .to_owned(),
        )
        .await?;
    // Who said how: apart from the ledger, so that it can be removed while the digest stays.
    manager
        .create_table(
            Table::create()
                .table("consent_evidence")
                .col(uuid("record_id").primary_key())
                .col(uuid("customer_id"))
                .col(text("actor"))
                .col(text("evidence"))
                .col(blob("salt"))
                .col(timestamp_with_time_zone("create_time"))
                .to_owned(),
        )
        .await?;
    let by_customer =
        Index::create().name("consent_evidence_customer").table("consent_evidence").col("customer_id").to_owned();
    manager.create_index(by_customer).await?;
    let by_time = Index::create().name("consent_evidence_time").table("consent_evidence").col("create_time").to_owned();
    manager.create_index(by_time).await
}

/// The topic and the template of the mail that asks to confirm. Where somebody has such names already, theirs stay.
async fn add_confirmation(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let wrong = |error: &dyn std::fmt::Display| DbErr::Migration(error.to_string());
    let content: serde_json::Value = serde_json::from_str(CONFIRMATION).map_err(|error| wrong(&error))?;
    let time: DateTime<Utc> = "2026-11-28T00:00:00Z".parse().map_err(|error: chrono::ParseError| wrong(&error))?;
    let id = || Expr::val("opt-in-confirmation");
    let name = || Expr::val("Confirmation of consents");
    let names = Expr::val(json!([{"locale": null, "text": "Confirmation of consents"}]));
    let topic = Query::insert()
        .into_table("topics")
        .columns(["topic_id", "names", "purpose", "opt_in", "channels", "create_time", "revision", "essential"])
        .values([
            id(),
            names,
            Expr::val("transactional"),
            Expr::val("none"),
            Expr::val(json!(["email"])),
            Expr::val(time),
            Expr::val(1),
            Expr::val(true),
        ])
        .map_err(|error| wrong(&error))?
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .to_owned();
    manager.execute(topic).await?;
    let template = Query::insert()
        .into_table("templates")
        .columns([
            "template_id",
            "display_name",
            "channel",
            "latest_version",
            "published_version",
            "create_time",
            "revision",
        ])
        .values([id(), name(), Expr::val("email"), Expr::val(1), Expr::val(1), Expr::val(time), Expr::val(1)])
        .map_err(|error| wrong(&error))?
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .to_owned();
    manager.execute(template).await?;
    let version = Query::insert()
        .into_table("template_versions")
        .columns(["template_id", "version", "state", "content", "update_time"])
        .values([id(), Expr::val(1), Expr::val("published"), Expr::val(content), Expr::val(time)])
        .map_err(|error| wrong(&error))?
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .to_owned();
    manager.execute(version).await
}

async fn remove_confirmation(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    run(
        manager,
        &[
            "DELETE FROM template_versions WHERE template_id = 'opt-in-confirmation'",
            "DELETE FROM templates WHERE template_id = 'opt-in-confirmation'",
            "DELETE FROM topics WHERE topic_id = 'opt-in-confirmation' \
             AND NOT EXISTS (SELECT 1 FROM contacts WHERE contacts.topic_id = 'opt-in-confirmation')",
        ],
    )
    .await
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
