//! The body of a journal row as a parameter: written where the driver keeps its parameters, without a copy in between.

use amends_core::Fact;
use amends_store::record;
use sqlx::Type;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, Postgres};

/// A `bytea`.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a>(pub(crate) &'a [Fact]);

impl Type<Postgres> for Body<'_> {
    fn type_info() -> PgTypeInfo {
        <[u8] as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Body<'_> {
    fn array_type_info() -> PgTypeInfo {
        <Vec<u8> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Body<'_> {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        record::encode_into(buf, self.0);
        Ok(IsNull::No)
    }
}
