//! The schema, one step after the other: the truth about it on both databases. `README.md` has the rules.

use sea_orm_migration::{MigrationTrait, MigratorTrait};

mod m20261121_000001_create_requests;
mod m20261121_000002_create_customers;
mod m20261121_000003_create_events;
mod m20261121_000004_create_preferences;
mod m20261121_000005_create_templates;
mod m20261121_000006_create_campaigns;
mod m20261121_000007_create_contacts;
mod m20261122_000008_add_engine;
mod m20261122_000009_add_policy;
mod m20261122_000010_add_limits;
mod m20261122_000011_add_lane_index;
mod m20261122_000012_claim_with_intent;
mod m20261127_000013_add_suppressions;
mod m20261128_000014_complete_the_ledger;
mod m20261128_000015_add_privacy;
mod m20261128_000016_add_delivery_events;
mod m20261128_000017_add_breakers;
mod m20261128_000018_add_tracked_links;
mod m20261128_000019_add_runs;
mod m20261128_000020_count_runs;
mod m20261128_000021_add_journeys;
mod m20261128_000022_add_experiments;
mod m20261128_000023_add_triggers;
mod m20261128_000024_share_blocks;
mod m20261128_000025_add_audience_filter;
mod m20261128_000026_add_backfills;
mod m20261128_000027_add_priority;
mod m20261128_000028_tell_refusals;
mod m20261128_000029_count_by_index;
mod m20261128_000030_go_on_ending;

/// Knows every step.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_requests::Migration),
            Box::new(m20261121_000002_create_customers::Migration),
            Box::new(m20261121_000003_create_events::Migration),
            Box::new(m20261121_000004_create_preferences::Migration),
            Box::new(m20261121_000005_create_templates::Migration),
            Box::new(m20261121_000006_create_campaigns::Migration),
            Box::new(m20261121_000007_create_contacts::Migration),
            Box::new(m20261122_000008_add_engine::Migration),
            Box::new(m20261122_000009_add_policy::Migration),
            Box::new(m20261122_000010_add_limits::Migration),
            Box::new(m20261122_000011_add_lane_index::Migration),
            Box::new(m20261122_000012_claim_with_intent::Migration),
            Box::new(m20261127_000013_add_suppressions::Migration),
            Box::new(m20261128_000014_complete_the_ledger::Migration),
            Box::new(m20261128_000015_add_privacy::Migration),
            Box::new(m20261128_000016_add_delivery_events::Migration),
            Box::new(m20261128_000017_add_breakers::Migration),
            Box::new(m20261128_000018_add_tracked_links::Migration),
            Box::new(m20261128_000019_add_runs::Migration),
            Box::new(m20261128_000020_count_runs::Migration),
            Box::new(m20261128_000021_add_journeys::Migration),
            Box::new(m20261128_000022_add_experiments::Migration),
            Box::new(m20261128_000023_add_triggers::Migration),
            Box::new(m20261128_000024_share_blocks::Migration),
            Box::new(m20261128_000025_add_audience_filter::Migration),
            Box::new(m20261128_000026_add_backfills::Migration),
            Box::new(m20261128_000027_add_priority::Migration),
            Box::new(m20261128_000028_tell_refusals::Migration),
            Box::new(m20261128_000029_count_by_index::Migration),
            Box::new(m20261128_000030_go_on_ending::Migration),
        ]
    }
}
