//! The top level of a flow file.

use std::collections::BTreeMap;

use aura_core::limits;
use serde_json::Value;

use super::Reader;
use super::fields::{Fields, join};
use crate::definition::draft::{Body, Flow, Placed};
use crate::definition::tree::{Content, Tree};
use crate::expr::Template;

impl Reader<'_> {
    pub(super) fn flow<'t>(&mut self, tree: &'t Tree) -> Flow<'t> {
        let mut flow = Flow {
            name: String::new(),
            version: None,
            description: None,
            input: None,
            vars: Vec::new(),
            deadline_ms: None,
            signals: None,
            body: Body::default(),
            output: None,
            budget: None,
        };
        let Some(fields) = self.fields(tree, "", "Flow") else { return flow };
        if let Some(name) = self.required(&fields, "flow", "NAME") {
            flow.name = self.flow_name(name).unwrap_or_default();
        }
        flow.version = self.version(&fields);
        flow.description = self.text_of(&fields, "description");
        flow.input = self.schema(&fields, "input");
        flow.deadline_ms = self.duration(&fields, "deadline");
        flow.signals = fields.get("signals").map(|signals| self.signals(signals));
        if let Some(vars) = fields.get("vars") {
            flow.vars = self.named_templates(vars, "vars");
        }
        if let Some(nodes) = self.required(&fields, "nodes", "[…]") {
            flow.body = self.body(nodes, "nodes");
        }
        flow.output = fields.get("output").and_then(|output| self.template(output, "output"));
        flow.budget = self.budget(&fields);
        flow
    }

    /// The schema of each signal's payload.
    fn signals(&mut self, tree: &Tree) -> BTreeMap<String, Value> {
        let Some(entries) = tree.as_map() else {
            self.expected(tree, "signals", "an object of JSON Schemas")
                .suggest("write NAME: { type: object, properties: {} }");
            return BTreeMap::new();
        };
        let mut signals = BTreeMap::new();
        for (key, schema) in entries {
            let path = join("signals", &key.text);
            if key.text.is_empty() || key.text.len() > limits::NAME_BYTES {
                let message = format!("a name has 1 to {} bytes", limits::NAME_BYTES);
                self.note(&key.span, &path, message);
            }
            // One whose schema can't be read is still a signal.
            let schema = self.schema_at(schema, &path).unwrap_or(Value::Bool(true));
            signals.insert(key.text.clone(), schema);
        }
        signals
    }

    fn flow_name(&mut self, tree: &Tree) -> Option<String> {
        let name = self.name(tree, "flow")?;
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
        if !fits {
            self.note(
                &tree.span,
                "flow",
                "the name of a flow has letters, digits, '_', '-' and '.' only",
            );
            return None;
        }
        Some(name.to_owned())
    }

    fn version(&mut self, fields: &Fields<'_>) -> Option<String> {
        let tree = fields.get("version")?;
        if let Content::Scalar(Value::Number(number)) = &tree.content {
            self.note(&tree.span, "version", "a version is a text, but this is a number")
                .suggest(format!("put it in quotes: version: \"{number}\""));
            return None;
        }
        let version = self.text(tree, "version")?;
        if version.is_empty() || version.len() > limits::NAME_BYTES {
            let message = format!("a version has 1 to {} bytes", limits::NAME_BYTES);
            self.note(&tree.span, "version", message);
            return None;
        }
        Some(version.to_owned())
    }

    /// An object of templates by name: `vars`, `set`.
    pub(super) fn named_templates<'t>(
        &mut self,
        tree: &'t Tree,
        path: &str,
    ) -> Vec<(String, Placed<'t, Template>)> {
        let Some(entries) = tree.as_map() else {
            self.expected(tree, path, "an object of variables").suggest("write NAME: VALUE");
            return Vec::new();
        };
        let mut named = Vec::new();
        for (key, value) in entries {
            let path = join(path, &key.text);
            let fits = self.key_id(key, &path);
            if let Some(template) = self.template(value, &path)
                && fits
            {
                named.push((key.text.clone(), template));
            }
        }
        named
    }
}
