//! Types of a table's columns, where its format has them: what is read from Parquet is written to Parquet as what it was.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema};

/// Types of columns by name; those of other formats have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnTypes(Fields);

impl ColumnTypes {
    /// Those of a Parquet file, as far as a value of JSON carries them: dictionaries become what their values are, and bytes the text that
    /// they have to be.
    pub(super) fn of_schema(schema: &Schema) -> Self {
        Self(schema.fields().iter().map(|field| carried(field)).collect())
    }

    /// The type of a column.
    pub(super) fn get(&self, name: &str) -> Option<&FieldRef> {
        self.0.iter().find(|field| field.name() == name)
    }
}

/// A field whose values come back whole from JSON.
fn carried(field: &Field) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Dictionary(_, values) => of_values(values),
        DataType::List(item) => DataType::List(carried(item)),
        DataType::LargeList(item) => DataType::LargeList(carried(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| carried(field)).collect()),
        other => of_values(other),
    };
    // JSON has no word for a float that is no number: it becomes null.
    let nullable = field.is_nullable() || matches!(kind, DataType::Float32 | DataType::Float64);
    Arc::new(Field::new(field.name(), kind, nullable).with_metadata(field.metadata().clone()))
}

fn of_values(kind: &DataType) -> DataType {
    match kind {
        DataType::Binary => DataType::Utf8,
        DataType::Dictionary(_, values) => of_values(values),
        other => other.clone(),
    }
}
