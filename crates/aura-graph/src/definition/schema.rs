//! The JSON Schema of flow files, and the tables of keys that the reader takes from it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::file;

/// The name of the schema; nothing is fetched by it.
const ID: &str = "urn:aura:schema:flow";

/// The JSON Schema (2020-12) of flow files, for editors and for `aura schema`.
pub fn schema() -> Value {
    SCHEMA.clone()
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<file::Flow>();
    schema.insert("$id".to_owned(), Value::from(ID));
    without_null(schema.as_value().clone())
});

/// Optional keys may be left out; the derived schema would also let them be null, which the reader refuses.
fn without_null(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        Value::Object(mut map) => {
            if let Some(Value::Array(types)) = map.get("type") {
                let kept: Vec<Value> = types.iter().filter(|t| *t != "null").cloned().collect();
                let kept = if kept.len() == 1 { kept[0].clone() } else { Value::Array(kept) };
                map.insert("type".to_owned(), kept);
            }
            if let Some(Value::Array(any)) = map.get("anyOf") {
                let null = |schema: &Value| schema.get("type").is_some_and(|t| t == "null");
                let kept: Vec<Value> = any.iter().filter(|s| !null(s)).cloned().collect();
                if let [Value::Object(only)] = kept.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                } else {
                    map.insert("anyOf".to_owned(), Value::Array(kept));
                }
            }
            if map.get("default") == Some(&Value::Null) {
                map.remove("default");
            }
            Value::Object(map.into_iter().map(|(key, value)| (key, without_null(value))).collect())
        }
        other => other,
    }
}

/// The keys of one type of [`file`], in the order of the schema.
pub(super) fn keys(of: &str) -> &'static [String] {
    KEYS.get(of).map_or(&[], Vec::as_slice)
}

static KEYS: LazyLock<BTreeMap<String, Vec<String>>> = LazyLock::new(|| {
    let names = |schema: &Value| {
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    };
    let mut keys = BTreeMap::from([("Flow".to_owned(), names(&SCHEMA))]);
    if let Some(types) = SCHEMA.get("$defs").and_then(Value::as_object) {
        keys.extend(types.iter().map(|(name, schema)| (name.clone(), names(schema))));
    }
    keys
});

#[cfg(test)]
mod tests {
    use super::super::diagnostic::Findings;
    use super::*;

    #[test]
    fn every_type_has_its_keys() {
        let types = [
            "Flow",
            "Node",
            "Route",
            "Retry",
            "Compensate",
            "Switch",
            "Case",
            "Parallel",
            "Map",
            "Loop",
            "LongSleep",
            "Wait",
            "Approval",
            "Verify",
            "Check",
        ];
        for of in types {
            assert!(!keys(of).is_empty(), "{of}");
        }
        assert!(keys("Node").iter().any(|key| key == "loop"));
        assert!(file::KINDS.iter().all(|kind| keys("Node").iter().any(|key| key == kind)));
        assert!(file::MODES.iter().all(|mode| keys("Loop").iter().any(|key| key == mode)));
    }

    #[test]
    fn every_key_is_described() {
        let mut stack = vec![&*SCHEMA];
        while let Some(schema) = stack.pop() {
            for (name, property) in
                schema.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                assert!(property.get("description").is_some(), "{name}: {property}");
            }
            stack.extend(
                schema
                    .get("$defs")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flat_map(|defs| defs.values()),
            );
        }
    }

    /// The files of a folder of fixtures, as JSON where they can be read at all.
    fn fixtures(folder: &str) -> Vec<(String, Value)> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/flows/");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(format!("{root}{folder}")).unwrap() {
            let path = entry.unwrap().path();
            let source = std::fs::read_to_string(&path).unwrap();
            let tree = crate::definition::yaml::parse(&source, &mut Findings::default());
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            files.extend(tree.map(|tree| (name, tree.to_json())));
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    #[test]
    fn good_files_fit_and_misshapen_ones_do_not() {
        let schema = aura_core::schema::Schema::compile(&schema()).unwrap();
        for (name, file) in fixtures("good") {
            assert_eq!(schema.violations(&file), [], "{name}");
        }
        // The others are about what only the whole of a flow can tell.
        let misshapen = [
            "01-unknown-key",
            "02-not-supported-yet",
            "03-version-without-quotes",
            "09-cycle-without-bound",
            "12-type-clash",
            "13-parameters",
            "14-durations",
            "15-ids",
            "16-kinds",
            "18-approval",
            "19-verify",
            "21-duplicate-keys",
            "23-bodies",
            "24-not-a-flow",
            "25-shape",
            "26-several",
            "27-compensate",
            "28-signals",
            "29-code",
            "29-probes",
            "30-budgets",
        ];
        for (name, file) in fixtures("broken") {
            assert_eq!(!schema.fits(&file), misshapen.contains(&name.as_str()), "{name}");
        }
    }
}
