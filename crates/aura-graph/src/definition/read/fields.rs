//! The keys of one object of a flow file.

use std::ops::Range;
use std::rc::Rc;

use super::Reader;
use crate::definition::schema;
use crate::definition::suggest::did_you_mean;
use crate::definition::tree::{Key, Tree};
use crate::definition::yaml::short;

/// Keys that later builds may know, by the type of `file` that they belong to. They are refused by name, so that
/// a flow never runs without something that its author asked for.
const LATER: &[(&str, &[&str])] = &[
    (
        "Flow",
        &[
            "triggers",
            "on_budget",
            "compensate",
            "concurrency",
            "labels",
            "policy",
            "schedule",
            "on_error",
            "retry",
            "timeout",
        ],
    ),
    ("Node", &["llm", "agent", "container", "emit", "cache", "memory", "quorum"]),
    ("Map", &["batch"]),
];

/// An object whose keys are those of a type of `file`.
pub(super) struct Fields<'t> {
    tree: &'t Tree,
    entries: &'t [(Key, Rc<Tree>)],
    /// Where the object starts.
    pub(super) start: Range<usize>,
    pub(super) path: String,
    /// Whether it has keys that it must not have, so that what is missing may be what was mistyped.
    pub(super) strange: bool,
}

impl<'t> Fields<'t> {
    pub(super) fn get(&self, key: &str) -> Option<&'t Tree> {
        self.tree.find(key).map(|(_, value)| &**value)
    }

    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        let found = self.tree.find(key);
        found.map_or_else(|| self.start.clone(), |(key, _)| key.span.clone())
    }

    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'t Key> {
        self.entries.iter().map(|(key, _)| key)
    }
}

/// The path of a key within the object at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Reader<'_> {
    /// Opens an object and notes every key that the type `of` does not have.
    pub(super) fn fields<'t>(
        &mut self,
        tree: &'t Tree,
        path: &str,
        of: &str,
    ) -> Option<Fields<'t>> {
        let known = schema::keys(of);
        let Some(entries) = tree.as_map() else {
            self.expected(tree, path, "an object")
                .suggest(format!("its keys are {}", known.join(", ")));
            return None;
        };
        let start = entries.first().map_or_else(|| tree.span.clone(), |(key, _)| key.span.clone());
        let mut fields = Fields { tree, entries, start, path: path.to_owned(), strange: false };
        for (key, _) in entries {
            if key.text == "<<" {
                fields.strange = true;
            } else if !known.contains(&key.text) {
                fields.strange = true;
                self.unknown_key(key, &fields.path(&key.text), of);
            }
        }
        Some(fields)
    }

    fn unknown_key(&mut self, key: &Key, path: &str, of: &str) {
        let later = LATER.iter().find(|(t, _)| *t == of).map_or(&[][..], |(_, keys)| keys);
        if later.contains(&key.text.as_str()) {
            let message = format!("'{}' is not supported yet", key.text);
            self.note(&key.span, path, message).suggest("leave it out");
            return;
        }
        let known = schema::keys(of);
        let near = did_you_mean(&key.text, known.iter().map(String::as_str));
        let near = near.or_else(|| {
            (known.len() <= 8).then(|| format!("the keys here are {}", known.join(", ")))
        });
        let message = format!("unknown key '{}'", short(&key.text));
        self.note(&key.span, path, message).suggest_maybe(near);
    }

    /// The value of a key that must be there.
    pub(super) fn required<'t>(
        &mut self,
        fields: &Fields<'t>,
        key: &str,
        example: &str,
    ) -> Option<&'t Tree> {
        let value = fields.get(key);
        // A mistyped key is one mistake, not two.
        let merged = fields.get("<<").is_some();
        let mistyped = fields.strange
            && fields.keys().any(|k| did_you_mean(&k.text, [key]).is_some() && k.text != key);
        if value.is_none() && !mistyped && !merged {
            self.note(&fields.start, &fields.path, format!("'{key}' is missing"))
                .suggest(format!("add '{key}: {example}'"));
        }
        value
    }
}
