//! What `-o json` prints, as JSON Schema: `schema.json` has one definition for each command.

use serde_json::{Value, json};

const ALL: &str = include_str!("schema.json");

/// What `-o schema` prints: all definitions, and which one this command's output follows.
pub(super) fn of(name: &str) -> Value {
    let mut schema: Value = serde_json::from_str(ALL).unwrap_or_default();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$ref".to_owned(), json!(format!("#/$defs/{name}")));
    }
    schema
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_definitions_can_be_read() {
        let schema = of("offsets");
        assert!(schema["$defs"]["offsets"].is_object());
        // Nothing is referred to that is not there.
        for part in ALL.split("\"$ref\": \"#/$defs/").skip(1) {
            let (name, _) = part.split_once('"').unwrap();
            assert!(schema["$defs"][name].is_object(), "{name}");
        }
    }
}
