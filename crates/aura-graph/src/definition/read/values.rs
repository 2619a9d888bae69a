//! The values that keys may have: texts, numbers, durations, conditions, templates.

use aura_core::limits;
use aura_core::time::parse_duration;
use serde_json::Value;

use super::Reader;
use super::fields::{Fields, join};
use crate::definition::depth::{expression_too_deep, too_deep};
use crate::definition::draft::Placed;
use crate::definition::suggest::{did_you_mean, one_of};
use crate::definition::tree::{Content, Tree};
use crate::definition::yaml::short;
use crate::expr::{Expr, Template};

/// Whether a text is an id: a letter or `_`, then letters, digits and `_`.
pub(super) fn is_id(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The id that a text which is none should be.
pub(super) fn mended(text: &str) -> String {
    let mut id: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if id.starts_with(|c: char| c.is_ascii_digit()) {
        id.insert(0, '_');
    }
    id
}

/// Whether a text would be evaluated.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

impl Reader<'_> {
    /// A plain text.
    pub(super) fn text<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<&'t str> {
        let text = tree.as_text();
        if text.is_none() {
            let number = matches!(tree.content, Content::Scalar(Value::Number(_) | Value::Bool(_)));
            let found = self.expected(tree, path, "a text");
            if number {
                found.suggest("put it in quotes");
            }
        }
        text
    }

    pub(super) fn text_of(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let tree = fields.get(key)?;
        self.text(tree, &fields.path(key)).map(str::to_owned)
    }

    /// A plain text, not empty, short enough for a name, and never a template.
    pub(super) fn name<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<&'t str> {
        let text = self.text(tree, path)?;
        if text.is_empty() {
            self.note(&tree.span, path, "a name can't be empty");
            return None;
        }
        if text.len() > limits::NAME_BYTES {
            let message = format!("a name has at most {} bytes", limits::NAME_BYTES);
            self.note(&tree.span, path, message);
            return None;
        }
        if is_template(text) {
            self.note(&tree.span, path, "an expression can't stand here")
                .suggest("write the text itself: it is needed before the flow runs");
            return None;
        }
        Some(text)
    }

    /// A name of letters, digits and `_`.
    pub(super) fn id<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<&'t str> {
        if let Content::Scalar(value @ (Value::Number(_) | Value::Bool(_))) = &tree.content {
            self.id_text(&value.to_string(), tree, path);
            return None;
        }
        let text = self.name(tree, path)?;
        self.id_text(text, tree, path).then_some(text)
    }

    /// Whether `text`, which stands at `tree`, can be an id; if not, that is noted.
    fn id_text(&mut self, text: &str, tree: &Tree, path: &str) -> bool {
        if is_id(text) {
            return true;
        }
        let better = mended(text);
        let message = format!("'{}' can't be a name: use letters, digits and '_'", short(text));
        let found = self.note(&tree.span, path, message);
        if better.chars().any(|c| c != '_') {
            found.suggest(format!("write '{better}'"));
        }
        false
    }

    /// A name that is a key of an object.
    pub(super) fn key_id(&mut self, key: &crate::definition::tree::Key, path: &str) -> bool {
        if is_id(&key.text) && key.text.len() <= limits::NAME_BYTES {
            return true;
        }
        let message =
            format!("'{}' can't be a name: use letters, digits and '_'", short(&key.text));
        self.note(&key.span, path, message);
        false
    }

    /// Milliseconds of a duration.
    pub(super) fn duration(&mut self, fields: &Fields<'_>, key: &str) -> Option<u64> {
        let tree = fields.get(key)?;
        let path = fields.path(key);
        if let Content::Scalar(Value::Number(number)) = &tree.content {
            self.note(&tree.span, &path, format!("the duration {number} has no unit"))
                .suggest(format!("write '{number}s' or '{number}ms'"));
            return None;
        }
        let text = self.text(tree, &path)?;
        if is_template(text) || text.starts_with('$') {
            self.note(&tree.span, &path, "an expression can't stand here")
                .suggest("write a duration such as 30s");
            return None;
        }
        match parse_duration(text) {
            Ok(0) => {
                self.note(&tree.span, &path, "a duration of 0 is no duration");
                None
            }
            Ok(span) => Some(span),
            Err(_) => {
                self.not_a_duration(text, tree, &path);
                None
            }
        }
    }

    pub(super) fn not_a_duration(&mut self, text: &str, tree: &Tree, path: &str) {
        self.note(&tree.span, path, format!("'{}' is not a duration", short(text)))
            .suggest("write a whole number and a unit, such as 250ms, 5s, 10m, 24h or 7d");
    }

    /// A whole number within bounds.
    pub(super) fn whole(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        least: u64,
        most: u64,
    ) -> Option<u64> {
        let tree = fields.get(key)?;
        let Content::Scalar(Value::Number(number)) = &tree.content else {
            self.expected(tree, &fields.path(key), "a whole number");
            return None;
        };
        let within = number.as_u64().filter(|number| (least..=most).contains(number));
        if within.is_none() {
            let message = format!("expected a whole number from {least} to {most}");
            self.note(&tree.span, &fields.path(key), message);
        }
        within
    }

    /// A number within bounds.
    pub(super) fn number(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        bounds: std::ops::RangeInclusive<f64>,
    ) -> Option<f64> {
        let tree = fields.get(key)?;
        let Content::Scalar(Value::Number(number)) = &tree.content else {
            self.expected(tree, &fields.path(key), "a number");
            return None;
        };
        let within = number.as_f64().filter(|number| bounds.contains(number));
        if within.is_none() {
            let message = format!("expected a number from {} to {}", bounds.start(), bounds.end());
            self.note(&tree.span, &fields.path(key), message);
        }
        within
    }

    pub(super) fn flag(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let tree = fields.get(key)?;
        let Content::Scalar(Value::Bool(flag)) = &tree.content else {
            self.expected(tree, &fields.path(key), "true or false");
            return None;
        };
        Some(*flag)
    }

    /// One of a few words; those of `later` are refused as not supported yet.
    pub(super) fn word<'w>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        words: &[&'w str],
        later: &[&str],
    ) -> Option<&'w str> {
        let tree = fields.get(key)?;
        let path = fields.path(key);
        let text = self.text(tree, &path)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        if later.contains(&text) {
            let message = format!("'{key}: {text}' is not supported yet");
            self.note(&tree.span, &path, message).suggest(format!("use {}", one_of(words)));
            return None;
        }
        let near = did_you_mean(text, words.iter().copied());
        let near = near.unwrap_or_else(|| format!("use {}", one_of(words)));
        self.note(&tree.span, &path, format!("'{}' is not a value of '{key}'", short(text)))
            .suggest(near);
        None
    }

    /// A condition.
    pub(super) fn condition<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Placed<'t, Expr>> {
        let fixed = match &tree.content {
            Content::Scalar(Value::Bool(fixed)) => Some(if *fixed { "true" } else { "false" }),
            _ => None,
        };
        let Some(text) = fixed.or_else(|| tree.as_text()) else {
            self.expected(tree, path, "a condition")
                .suggest("write an expression such as \"{{ input.amount > 100 }}\", in quotes");
            return None;
        };
        if let Some(message) = expression_too_deep(text) {
            self.note(&tree.span, path, message).suggest("name parts of it with 'set'");
            return None;
        }
        match Expr::condition(text) {
            Ok(value) => Some(Placed { value, tree, path: path.to_owned() }),
            Err(message) => {
                self.note(&tree.span, path, format!("the expression can't be read: {message}"));
                None
            }
        }
    }

    /// Any value, with expressions.
    pub(super) fn template<'t>(
        &mut self,
        tree: &'t Tree,
        path: &str,
    ) -> Option<Placed<'t, Template>> {
        let value = self.json(tree, path)?;
        if !self.shallow(tree, path) {
            return None;
        }
        match Template::compile(&value) {
            Ok(value) => Some(Placed { value, tree, path: path.to_owned() }),
            Err(errors) => {
                for error in errors {
                    let (at, below) = tree.at(&error.pointer);
                    let message = format!("the expression can't be read: {}", error.message);
                    self.note(&at.span, &format!("{path}{below}"), message);
                }
                None
            }
        }
    }

    /// Whether no text of a value is too deep to be compiled; each that is, is noted. The depth of values is bounded,
    /// so this may recurse.
    fn shallow(&mut self, tree: &Tree, path: &str) -> bool {
        match &tree.content {
            Content::List(items) => {
                let mut shallow = true;
                for (at, item) in items.iter().enumerate() {
                    shallow &= self.shallow(item, &format!("{path}[{at}]"));
                }
                shallow
            }
            Content::Map(entries) => {
                let mut shallow = true;
                for (key, item) in entries {
                    shallow &= self.shallow(item, &join(path, &key.text));
                }
                shallow
            }
            Content::Scalar(Value::String(text)) => {
                let evaluated = is_template(text) || text.contains("{#") || text.starts_with('$');
                let why = evaluated.then(|| too_deep(text)).flatten();
                let shallow = why.is_none();
                if let Some(message) = why {
                    self.note(&tree.span, path, message).suggest("name parts of it with 'set'");
                }
                shallow
            }
            Content::Scalar(_) => true,
        }
    }

    /// Any value, as it stands.
    pub(super) fn json(&mut self, tree: &Tree, path: &str) -> Option<Value> {
        if tree.depth > limits::VALUE_NESTING {
            let message =
                format!("a value has at most {} nested collections", limits::VALUE_NESTING);
            self.note(&tree.span, path, message);
            return None;
        }
        Some(tree.to_json())
    }

    /// A JSON Schema.
    pub(super) fn schema(&mut self, fields: &Fields<'_>, key: &str) -> Option<Value> {
        self.schema_at(fields.get(key)?, &fields.path(key))
    }

    pub(super) fn schema_at(&mut self, tree: &Tree, path: &str) -> Option<Value> {
        if tree.as_map().is_none() {
            self.expected(tree, path, "a JSON Schema")
                .suggest("write an object such as { type: object, properties: {} }");
            return None;
        }
        let schema = self.json(tree, path)?;
        if let Err(message) = aura_core::schema::Schema::compile(&schema) {
            let message = format!("not a JSON Schema: {}", short(&message));
            self.note(&tree.span, path, message);
            return None;
        }
        Some(schema)
    }
}
