//! Migrations: forwards, backwards, and forwards again.

use std::collections::BTreeSet;

use rapport::migrations::Migrator;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::MigratorTrait;

use super::harness::World;

async fn tables(db: &impl ConnectionTrait) -> BTreeSet<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        _ => "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = 'public'",
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let names = rows.into_iter().map(|row| row.try_get("", "name").unwrap());
    names.filter(|name| name != "seaql_migrations").collect()
}

#[tokio::test]
async fn migrations_take_back_exactly_what_they_did_and_do_it_again() {
    let world = World::new().await;
    let world = world
        .restart_after(async |db| {
            let all = tables(db.writer()).await;
            assert!(all.len() >= 18, "{all:?}");
            Migrator::down(db.writer(), None).await.unwrap();
            assert_eq!(tables(db.writer()).await, BTreeSet::new());
            Migrator::up(db.writer(), None).await.unwrap();
            assert_eq!(tables(db.writer()).await, all);
        })
        .await;
    drop(world);
}

#[tokio::test]
async fn every_table_has_an_entity_and_every_entity_a_table() {
    let mut entities = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.file_name().is_some_and(|name| name == "entity.rs") {
                let text = std::fs::read_to_string(entry).unwrap();
                let names = text.split("table_name = \"").skip(1).filter_map(|rest| rest.split('"').next());
                entities.extend(names.map(str::to_owned));
            }
        }
    }
    let world = World::new().await;
    let world = world.restart_after(async |db| assert_eq!(entities, tables(db.reader()).await)).await;
    drop(world);
}
