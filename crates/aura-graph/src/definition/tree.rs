//! The values of a flow file with the places where they stand: what the rest of the loader reads.
//!
//! A tree is finite, of bounded depth and size, and has no aliases any more. What a key means is not known here.

use std::ops::Range;
use std::rc::Rc;

use serde_json::Value;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Tree {
    /// The bytes that it takes in the file; for an expanded alias, those of what it stands for.
    pub(super) span: Range<usize>,
    /// The value.
    pub(super) content: Content,
    /// Values in it, itself included.
    pub(super) size: usize,
    /// Collections within collections; 0 for a scalar.
    pub(super) depth: usize,
    /// Places of the entries of an object, sorted by key.
    sorted: Vec<usize>,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    /// Null, a boolean, a number or a text.
    Scalar(Value),
    /// A list.
    List(Vec<Rc<Tree>>),
    /// An object, in file order, without duplicates.
    Map(Vec<(Key, Rc<Tree>)>),
}

/// A key of an object.
#[derive(Debug)]
pub(super) struct Key {
    /// The key.
    pub(super) text: String,
    /// Where it stands.
    pub(super) span: Range<usize>,
}

impl Tree {
    pub(super) fn scalar(span: Range<usize>, value: Value) -> Self {
        Self { span, content: Content::Scalar(value), size: 1, depth: 0, sorted: Vec::new() }
    }

    pub(super) fn list(span: Range<usize>, items: Vec<Rc<Self>>) -> Self {
        let size = items.iter().map(|item| item.size).sum::<usize>() + 1;
        let depth = items.iter().map(|item| item.depth).max().unwrap_or(0) + 1;
        Self { span, content: Content::List(items), size, depth, sorted: Vec::new() }
    }

    pub(super) fn map(span: Range<usize>, entries: Vec<(Key, Rc<Self>)>) -> Self {
        let size = entries.iter().map(|(_, value)| value.size).sum::<usize>() + 1;
        let depth = entries.iter().map(|(_, value)| value.depth).max().unwrap_or(0) + 1;
        let mut sorted: Vec<usize> = (0..entries.len()).collect();
        sorted.sort_by(|a, b| entries[*a].0.text.cmp(&entries[*b].0.text));
        Self { span, content: Content::Map(entries), size, depth, sorted }
    }

    /// The entries, if it is an object.
    pub(super) fn as_map(&self) -> Option<&[(Key, Rc<Self>)]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of this key.
    pub(super) fn find(&self, key: &str) -> Option<&(Key, Rc<Self>)> {
        let entries = self.as_map()?;
        let found = self.sorted.binary_search_by(|at| entries[*at].0.text.as_str().cmp(key));
        entries.get(*self.sorted.get(found.ok()?)?)
    }

    /// The items, if it is a list.
    pub(super) fn as_list(&self) -> Option<&[Rc<Self>]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// What it is, in a word for messages.
    pub(super) fn word(&self) -> &'static str {
        match &self.content {
            Content::Scalar(Value::Null) => "nothing",
            Content::Scalar(Value::Bool(_)) => "a boolean",
            Content::Scalar(Value::Number(_)) => "a number",
            Content::Scalar(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "an object",
        }
    }

    /// The same as a JSON value. Its depth is bounded, so this may recurse.
    pub(super) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, item)| (key.text.clone(), item.to_json()));
                Value::Object(entries.collect())
            }
        }
    }

    /// The value that a JSON pointer leads to, or the nearest one on the way, and the path to it in the form
    /// `.json[0].name`.
    pub(super) fn at(&self, pointer: &str) -> (&Self, String) {
        let mut tree = self;
        let mut path = String::new();
        for segment in pointer.split('/').skip(1) {
            let segment = segment.replace("~1", "/").replace("~0", "~");
            let next = match &tree.content {
                Content::Scalar(_) => None,
                Content::List(items) => segment.parse().ok().and_then(|at: usize| items.get(at)),
                Content::Map(_) => tree.find(&segment).map(|(_, value)| value),
            };
            let Some(next) = next else { break };
            let (open, close) = match &tree.content {
                Content::List(_) => ("[", "]"),
                _ => (".", ""),
            };
            path.extend([open, &segment, close]);
            tree = next;
        }
        (tree, path)
    }
}
