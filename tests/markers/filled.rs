//! Requests made from the descriptors: every field filled, every text a marker, so that no field of a new RPC can be forgotten.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

/// Messages within messages go no deeper: some hold their own kind.
const MOST_DEPTH: usize = 5;

/// Of each RPC the requests that are sent for it, by its name as in `otklik.v1.TaggingService/Classify`. `text` is in every field of
/// text but those that hold ids; one request for each alternative of a `oneof`, up to six.
pub fn requests(text: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
    let pool = DescriptorPool::decode(otklik::server::wire::FILE_DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.full_name().starts_with("otklik."));
    let methods = ours.flat_map(|service| service.methods().collect::<Vec<_>>());
    let of_method = methods.map(|method| {
        let name = format!("{}/{}", method.parent_service().full_name(), method.name());
        let filled = (0..6).map(|alternative| filled(&method.input(), text, alternative, 0).encode_to_vec());
        (name, filled.collect())
    });
    of_method.collect()
}

fn filled(descriptor: &MessageDescriptor, text: &str, alternative: usize, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        if let Some(oneof) = field.containing_oneof()
            && oneof.fields().nth(alternative % oneof.fields().len()).as_ref() != Some(&field)
        {
            continue;
        }
        let Some(value) = value(&field, text, alternative, depth) else { continue };
        let value = match (field.is_map(), field.is_list()) {
            (true, _) => map_of_one(&field, text, alternative, depth),
            (_, true) => Value::List(vec![value]),
            _ => value,
        };
        message.set_field(&field, value);
    }
    message
}

/// A map with one entry.
fn map_of_one(field: &FieldDescriptor, text: &str, alternative: usize, depth: usize) -> Value {
    let Kind::Message(entry) = field.kind() else { panic!("{field:?} is no map") };
    let of = entry.map_entry_value_field();
    let value = value(&of, text, alternative, depth);
    Value::Map(value.map(|value| (MapKey::String(text.to_owned()), value)).into_iter().collect())
}

fn value(field: &FieldDescriptor, text: &str, alternative: usize, depth: usize) -> Option<Value> {
    Some(match field.kind() {
        Kind::Message(_) if depth >= MOST_DEPTH => return None,
        Kind::Message(descriptor) => Value::Message(filled(&descriptor, text, alternative, depth + 1)),
        Kind::String if is_id(field.name()) => Value::String("no-such-id".to_owned()),
        Kind::String => Value::String(text.to_owned()),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Bool => Value::Bool(alternative.is_multiple_of(2)),
        Kind::Double => Value::F64(1.0),
        Kind::Float => Value::F32(1.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
        Kind::Bytes => Value::Bytes(text.as_bytes().to_vec().into()),
    })
}

/// Ids are told in logs and audit records on purpose.
fn is_id(name: &str) -> bool {
    name == "id" || name == "ids" || name.ends_with("_id") || name.ends_with("_ids") || name.ends_with("version")
}
