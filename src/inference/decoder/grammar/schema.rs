//! What a JSON schema must be so that an answer can be held to it.
//!
//! Enters: a schema that somebody wrote. Leaves: the schema as the grammar reads it, or what can't be kept and where. Never here: tokens.

use serde_json::{Map, Value, json};

/// Schemas within a schema that are read, all together.
pub const MAX_SCHEMAS: usize = 5_000;

/// Schemas within each other.
pub const MAX_DEPTH: usize = 48;

/// The largest whole number that every reader of JSON keeps exactly (RFC 8259, section 6).
const MAX_EXACT: i64 = (1 << 53) - 1;

/// Keywords that hold the answer or say something about it, whose value is no schema.
const PLAIN: [&str; 33] = [
    "type",
    "enum",
    "const",
    "required",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "$ref",
    "$anchor",
    "$schema",
    "$id",
    "id",
    "$comment",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "example",
    "contentMediaType",
    "contentEncoding",
];

/// Keywords whose value is a schema.
const ONE: [&str; 3] = ["additionalProperties", "additionalItems", "items"];

/// Keywords whose value is a list of schemas; `items` may be as well.
const LIST: [&str; 4] = ["prefixItems", "anyOf", "oneOf", "allOf"];

/// Keywords whose value is an object of schemas by name.
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Keywords that the grammar does not know and that hold nothing.
const DROPPED: [&str; 2] = ["deprecated", "example"];

/// Something that a schema can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SchemaProblem {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// Checks a schema and makes it what the grammar reads: without keywords that begin with `x-`, and with numbers held to what
/// every reader of JSON keeps exactly, where it sets no bound itself.
pub(super) fn prepare(schema: &Value) -> Result<Value, SchemaProblem> {
    if !schema.is_object() {
        return Err(problem("", "must be an object"));
    }
    let mut count = 0;
    let prepared = read(schema, "", 0, &mut count)?;
    // Its kinds of values are checked before they are used: the grammar trusts them.
    let meta = match schema.get("$schema").and_then(Value::as_str) {
        None | Some("https://json-schema.org/draft/2020-12/schema") => {
            jsonschema::draft202012::meta::validate(&prepared)
        }
        Some("https://json-schema.org/draft/2019-09/schema") => jsonschema::draft201909::meta::validate(&prepared),
        Some("http://json-schema.org/draft-07/schema" | "http://json-schema.org/draft-07/schema#") => {
            jsonschema::draft7::meta::validate(&prepared)
        }
        Some(_) => return Err(problem("/$schema", "must be draft 7, 2019-09 or 2020-12")),
    };
    meta.map_err(|error| problem(&error.instance_path().to_string(), &error.to_string()))?;
    let mut prepared = prepared;
    if let Some(object) = prepared.as_object_mut() {
        object.insert("x-guidance".to_owned(), json!({ "whitespace_flexible": false }));
    }
    Ok(prepared)
}

fn problem(pointer: &str, problem: &str) -> SchemaProblem {
    SchemaProblem { pointer: pointer.to_owned(), problem: problem.to_owned() }
}

fn read(schema: &Value, pointer: &str, depth: usize, count: &mut usize) -> Result<Value, SchemaProblem> {
    *count += 1;
    if *count > MAX_SCHEMAS {
        return Err(problem(pointer, &format!("is one schema too many; at most {MAX_SCHEMAS} are read")));
    }
    if depth > MAX_DEPTH {
        return Err(problem(pointer, &format!("is too deep; schemas may lie {MAX_DEPTH} deep in each other")));
    }
    let keywords = match schema {
        Value::Bool(_) => return Ok(schema.clone()),
        Value::Object(keywords) => keywords,
        _ => return Err(problem(pointer, "must be an object, true or false")),
    };
    let mut prepared = Map::new();
    for (keyword, value) in keywords {
        let at = format!("{pointer}/{}", keyword.replace('~', "~0").replace('/', "~1"));
        let mut inner = |value: &Value, at: &str| read(value, at, depth + 1, count);
        let name = keyword.as_str();
        let read = if name.starts_with("x-") || DROPPED.contains(&name) {
            continue;
        } else if PLAIN.contains(&name) {
            check_plain(name, value, &at)?;
            value.clone()
        } else if let (true, Value::Array(list)) = (LIST.contains(&name) || name == "items", value) {
            let each = |(index, value): (usize, &Value)| inner(value, &format!("{at}/{index}"));
            Value::Array(list.iter().enumerate().map(each).collect::<Result<_, _>>()?)
        } else if ONE.contains(&name) {
            inner(value, &at)?
        } else if let (true, Value::Object(named)) = (NAMED.contains(&name), value) {
            let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
            let each =
                |(key, value): (&String, &Value)| Ok((key.clone(), inner(value, &format!("{at}/{}", escape(key)))?));
            Value::Object(named.iter().map(each).collect::<Result<_, SchemaProblem>>()?)
        } else if LIST.contains(&name) {
            return Err(problem(&at, "must be a list of schemas"));
        } else if NAMED.contains(&name) {
            return Err(problem(&at, "must be an object of schemas"));
        } else {
            let known = [&PLAIN[..], &ONE[..], &LIST[..], &NAMED[..]].concat().join(", ");
            return Err(problem(&at, &format!("is a keyword that an answer can't be held to; allowed: {known}")));
        };
        prepared.insert(keyword.clone(), read);
    }
    hold_numbers(&mut prepared);
    Ok(Value::Object(prepared))
}

fn check_plain(keyword: &str, value: &Value, at: &str) -> Result<(), SchemaProblem> {
    let local = || value.as_str().is_some_and(|reference| reference.starts_with('#'));
    if keyword == "$ref" && !local() {
        return Err(problem(at, "must point into this schema: begin it with #"));
    }
    Ok(())
}

/// A number without bounds may have so many digits that no reader takes it for a number.
fn hold_numbers(schema: &mut Map<String, Value>) {
    let number = |kind: &Value| matches!(kind.as_str(), Some("integer" | "number"));
    let counts = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(number),
        Some(kind) => number(kind),
        None => false,
    };
    if !counts || ["enum", "const", "$ref"].iter().any(|keyword| schema.contains_key(*keyword)) {
        return;
    }
    for (bound, other, limit) in
        [("minimum", "exclusiveMinimum", -MAX_EXACT), ("maximum", "exclusiveMaximum", MAX_EXACT)]
    {
        if !schema.contains_key(bound) && !schema.contains_key(other) {
            schema.insert(bound.to_owned(), limit.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_kept_is_refused_with_its_place() {
        let deep = (0..60).fold(json!({"type": "null"}), |inner, _| json!({"type": "array", "items": inner}));
        for (schema, pointer, part) in [
            (json!(true), "", "must be an object"),
            (json!({"properties": {"a/b": {"not": {}}}}), "/properties/a~1b/not", "can't be held to; allowed: type"),
            (json!({"type": "array", "uniqueItems": true}), "/uniqueItems", "can't be held to"),
            (json!({"tipe": "object"}), "/tipe", "can't be held to"),
            (json!({"anyOf": [{"type": "null"}, {"if": {}}]}), "/anyOf/1/if", "can't be held to"),
            (json!({"type": "целое"}), "/type", ""),
            (json!({"type": "string", "maxLength": "много"}), "/maxLength", ""),
            (json!({"$ref": "https://example.com/a.json"}), "/$ref", "begin it with #"),
            (json!({"$schema": "urn:mine"}), "/$schema", "draft 7"),
            (json!({"anyOf": {}}), "/anyOf", "must be a list"),
            (json!({"properties": []}), "/properties", "must be an object of schemas"),
            (deep, &"/items".repeat(MAX_DEPTH + 1), "too deep"),
        ] {
            let error = prepare(&schema).unwrap_err();
            assert_eq!(error.pointer, pointer, "{}", error.problem);
            assert!(error.problem.contains(part), "{}", error.problem);
        }
    }

    #[test]
    fn own_keywords_are_dropped_and_names_of_properties_are_not() {
        let schema = json!({
            "type": "object", "x-order": [1], "deprecated": false,
            "properties": {"x-name": {"type": "string", "x-hint": "да"}, "n": {"type": ["integer", "null"], "minimum": 1}},
        });
        let prepared = prepare(&schema).unwrap();
        assert_eq!(prepared["properties"]["x-name"], json!({"type": "string"}));
        let number = &prepared["properties"]["n"];
        assert_eq!((&number["minimum"], &number["maximum"]), (&json!(1), &json!(MAX_EXACT)));
        assert!(prepared.get("x-order").is_none() && prepared.get("deprecated").is_none());
    }
}
