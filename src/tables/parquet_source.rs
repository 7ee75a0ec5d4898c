//! Rows of a Parquet file, one batch in memory at a time.

use std::fs::File;
use std::io;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::{Date, date};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Number, Value};

use super::{ColumnTypes, RowProblem, TableError};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 256;

/// A Parquet file being read.
pub(super) struct ParquetSource {
    batches: ParquetRecordBatchReader,
    header: Vec<String>,
    types: ColumnTypes,
    batch: Option<RecordBatch>,
    next_of_batch: usize,
    rows_read: u64,
    rows: u64,
    bytes: u64,
}

/// The number of rows that a Parquet file says it has.
///
/// # Errors
/// [`TableError::Read`] if it is no whole Parquet file.
pub fn parquet_row_count(path: &Path) -> Result<u64, TableError> {
    let table = path.display().to_string();
    let read_error = |reason| TableError::Read { table: table.clone(), reason };
    let file = File::open(path).map_err(read_error)?;
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| read_error(io::Error::other(error)))?;
    Ok(u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default())
}

impl ParquetSource {
    /// Reads the file's footer; `table` names it in messages.
    pub fn open(file: File, table: &str) -> Result<Self, TableError> {
        let read_error = |reason| TableError::Read { table: table.to_owned(), reason };
        let bytes = file.metadata().map_err(read_error)?.len();
        let from_parquet = |error| read_error(io::Error::other(error));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(from_parquet)?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let schema = builder.schema().clone();
        if let Some(field) = schema.fields().iter().find(|field| !is_read(field.data_type())) {
            let allowed = "strings, numbers, true or false, dates, times, and lists or structs of them";
            let problem = format!("column {:?} is of type {}; allowed: {allowed}", field.name(), field.data_type());
            return Err(TableError::Header { table: table.to_owned(), problem });
        }
        let header = schema.fields().iter().map(|field| field.name().clone()).collect();
        let types = ColumnTypes::of_schema(&schema);
        let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(from_parquet)?;
        Ok(Self { batches, header, types, batch: None, next_of_batch: 0, rows_read: 0, rows, bytes })
    }

    /// The columns, in order.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Their types.
    pub fn types(&self) -> &ColumnTypes {
        &self.types
    }

    /// About how many bytes of the file were read: its size times the share of its rows.
    pub fn position(&self) -> u64 {
        let share = self.rows_read as f64 / self.rows.max(1) as f64;
        (self.bytes as f64 * share) as u64
    }

    /// The next row's columns; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Result<Map<String, Value>, RowProblem>>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.next_of_batch < batch.num_rows()) {
                let row = self.next_of_batch;
                self.next_of_batch += 1;
                self.rows_read += 1;
                let columns = self.header.iter().zip(batch.columns()).map(|(name, column)| {
                    let problem = |problem| RowProblem::BadValue { field: name.clone(), problem };
                    Ok((name.clone(), value(column.as_ref(), row).map_err(problem)?))
                });
                return Ok(Some(columns.collect()));
            }
            match self.batches.next() {
                None => return Ok(None),
                Some(batch) => {
                    self.batch = Some(batch.map_err(io::Error::other)?);
                    self.next_of_batch = 0;
                }
            }
        }
    }
}

fn is_read(kind: &DataType) -> bool {
    match kind {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::Date32
        | DataType::Decimal128(_, _)
        | DataType::Timestamp(_, _) => true,
        DataType::Dictionary(_, values) => is_read(values),
        DataType::List(item) | DataType::LargeList(item) => is_read(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_read(field.data_type())),
        _ => false,
    }
}

/// A value as JSON; the message says why there is none.
fn value(array: &dyn Array, row: usize) -> Result<Value, String> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        // By way of its digits, as a number of 32 bits would grow false ones.
        DataType::Float32 => number(array.as_primitive::<Float32Type>().value(row).to_string().parse().ok()),
        DataType::Float64 => number(Some(array.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(row);
            std::str::from_utf8(bytes).map_err(|error| format!("bytes that are not UTF-8: {error}"))?.into()
        }
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().value_as_string(row).into(),
        DataType::Date32 => day(array.as_primitive::<Date32Type>().value(row))?.to_string().into(),
        DataType::Timestamp(unit, _) => timestamp(array, *unit, row)?.to_string().into(),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let key = value(dictionary.keys(), row)?.as_u64().and_then(|key| usize::try_from(key).ok());
            let values = dictionary.values();
            match key.filter(|key| *key < values.len()) {
                Some(key) => value(values.as_ref(), key)?,
                None => return Err("the dictionary has no such value".to_owned()),
            }
        }
        DataType::List(_) => items(array.as_list::<i32>().value(row).as_ref())?,
        DataType::LargeList(_) => items(array.as_list::<i64>().value(row).as_ref())?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let members = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| Ok((field.name().clone(), value(column.as_ref(), row)?)));
            Value::Object(members.collect::<Result<_, String>>()?)
        }
        other => return Err(format!("values of type {other} are not read")),
    })
}

/// What is no number is null, as JSON has no word for it.
fn number(value: Option<f64>) -> Value {
    value.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

fn items(array: &dyn Array) -> Result<Value, String> {
    (0..array.len()).map(|row| value(array, row)).collect::<Result<_, _>>().map(Value::Array)
}

fn day(days: i32) -> Result<Date, String> {
    date(1970, 1, 1).checked_add(i64::from(days).days()).map_err(|error| error.to_string())
}

fn timestamp(array: &dyn Array, unit: TimeUnit, row: usize) -> Result<Timestamp, String> {
    match unit {
        TimeUnit::Second => Timestamp::from_second(array.as_primitive::<TimestampSecondType>().value(row)),
        TimeUnit::Millisecond => {
            Timestamp::from_millisecond(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        TimeUnit::Microsecond => {
            Timestamp::from_microsecond(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        TimeUnit::Nanosecond => {
            Timestamp::from_nanosecond(i128::from(array.as_primitive::<TimestampNanosecondType>().value(row)))
        }
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    use arrow_array::{
        ArrayRef, Date32Array, DictionaryArray, Float32Array, Int64Array, StringArray, TimestampMillisecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use serde_json::json;

    use super::super::{Input, ReaderOptions, TableReader};
    use super::*;

    fn write(path: &Path) {
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("a"), Some("b")]);
        list.append_null();
        let channel: DictionaryArray<Int32Type> = [Some("chat"), Some("call")].into_iter().collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![7, 8]))),
            ("text", Arc::new(StringArray::from(vec![Some("касса"), None]))),
            ("score", Arc::new(Float32Array::from(vec![Some(0.1), None]))),
            ("channel", Arc::new(channel)),
            ("day", Arc::new(Date32Array::from(vec![19_874, 0]))),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1_717_171_200_500, 0]))),
            ("list", Arc::new(list.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    #[test]
    fn rows_are_read_with_their_types() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.parquet");
        write(&path);
        assert_eq!(parquet_row_count(&path).unwrap(), 2);
        let reader = TableReader::open(&Input::File(path.clone()), &ReaderOptions::default()).unwrap();
        let rows: Vec<_> = reader.collect();
        let first = rows[0].as_ref().unwrap();
        assert_eq!(
            Value::Object(first.columns.clone()),
            json!({"id": 7, "text": "касса", "score": 0.1, "channel": "chat", "day": "2024-05-31",
                   "at": "2024-05-31T16:00:00.5Z", "list": ["a", "b"]})
        );
        assert_eq!((first.feedback.id.as_str(), first.feedback.channel.as_deref()), ("7", Some("chat")));
        assert_eq!(rows[1].as_ref().unwrap_err().to_string(), "row 2: column \"text\" is empty; a text is wanted");
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn half_a_file_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.parquet");
        write(&path);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = TableReader::open(&Input::File(path.clone()), &ReaderOptions::default()).err().unwrap();
        assert!(error.to_string().contains("in.parquet") && error.to_string().contains("Parquet"), "{error}");
        assert!(parquet_row_count(&path).is_err());
    }
}
