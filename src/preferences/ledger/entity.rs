use sea_orm::entity::prelude::*;

pub mod record {
    use super::*;
    use crate::{
        delivery::Channel,
        ids::{AddressId, ConsentRecordId, ContactId, CustomerId, TopicId, WordingId},
        preferences::{ConsentAct, ConsentMethod, ConsentState, DataUse},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "consent_records")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub record_id: ConsentRecordId,
        pub customer_id: CustomerId,
        #[sea_orm(column_type = "Text")]
        pub act: ConsentAct,
        #[sea_orm(column_type = "Text", nullable)]
        pub topic_id: Option<TopicId>,
        #[sea_orm(column_type = "Text", nullable)]
        pub channel: Option<Channel>,
        #[sea_orm(column_type = "Text")]
        pub method: ConsentMethod,
        pub address_id: Option<AddressId>,
        pub occur_time: DateTimeUtc,
        pub record_time: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub data_use: DataUse,
        #[sea_orm(column_type = "Text", nullable)]
        pub from_state: Option<ConsentState>,
        #[sea_orm(column_type = "Text")]
        pub to_state: ConsentState,
        pub wording_id: Option<WordingId>,
        #[sea_orm(column_type = "Blob", nullable)]
        pub evidence_digest: Option<Vec<u8>>,
        pub expire_time: Option<DateTimeUtc>,
        pub contact_id: Option<ContactId>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod evidence {
    use super::*;
    use crate::ids::{ConsentRecordId, CustomerId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "consent_evidence")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub record_id: ConsentRecordId,
        pub customer_id: CustomerId,
        #[sea_orm(column_type = "Text")]
        pub actor: String,
        #[sea_orm(column_type = "Text")]
        pub evidence: String,
        #[sea_orm(column_type = "Blob")]
        pub salt: Vec<u8>,
        pub create_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod wording {
    use super::*;
    use crate::ids::{TopicId, WordingId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "wordings")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub wording_id: WordingId,
        #[sea_orm(column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(column_type = "Text", nullable)]
        pub locale: Option<String>,
        #[sea_orm(column_type = "Text")]
        pub text: String,
        pub create_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database;

    #[tokio::test]
    async fn entities_say_what_the_migrations_made() {
        let migrated = database::migrated().await;
        migrated.check(record::Entity).await;
        migrated.check(evidence::Entity).await;
        migrated.check(wording::Entity).await;
        migrated.end().await;
    }
}
