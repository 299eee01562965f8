//! Ids as columns: UUID for those that are made, text for those that are chosen.

use sea_orm::{
    ActiveValue, ColIdx, DbErr, IntoActiveValue, QueryResult, TryFromU64, TryGetError, TryGetable, Value,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use uuid::Uuid;

use crate::ids::{
    AddressId, CampaignId, ClaimToken, ConsentRecordId, ContactId, CustomerId, DeliveryEventId, EnrollmentId,
    ErasureId, EventId, PauseId, RunId, SenderId, SuppressionId, TemplateId, TopicId, WordingId,
};

macro_rules! columns {
    ($kind:ty as $variant:ident by $from:ident: $($name:ident)*) => {$(
        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                <$kind>::from(id).into()
            }
        }

        impl TryGetable for $name {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                <$kind>::try_get_by(row, index).map(<$name>::$from)
            }
        }

        impl ValueType for $name {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                <$kind as ValueType>::try_from(value).map(<$name>::$from)
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> ArrayType {
                ArrayType::$variant
            }

            fn column_type() -> ColumnType {
                <$kind as ValueType>::column_type()
            }
        }

        impl Nullable for $name {
            fn null() -> Value {
                <$kind as Nullable>::null()
            }
        }

        impl IntoActiveValue<$name> for $name {
            fn into_active_value(self) -> ActiveValue<$name> {
                ActiveValue::Set(self)
            }
        }

        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )*};
}
columns!(Uuid as Uuid by from_uuid: AddressId ClaimToken ConsentRecordId ContactId CustomerId DeliveryEventId EnrollmentId ErasureId EventId PauseId RunId SuppressionId WordingId);
columns!(String as String by from_stored: CampaignId SenderId TemplateId TopicId);
