//! Whether what a node hands to a tool can be what the tool takes, as far as that is certain before it runs:
//! for values that are written out, and for whole references into closed schemas.

use aura_core::effect::EffectClass;
use aura_core::schema::Schema;
use aura_core::tool::{ClassRule, ToolDef};
use serde_json::{Map, Value};

use super::draft::{Approval, Kind, Node, Placed, Tool};
use super::references::Checker;
use super::scope::{self, At};
use super::shape;
use super::suggest::did_you_mean;
use super::yaml::short;
use crate::expr::Template;

/// The parameters of one call.
struct Call<'a, 't> {
    def: &'a ToolDef,
    with: &'a Placed<'t, Template>,
    /// Pointers to the parts that something was found about.
    noted: Vec<String>,
}

impl<'c, 't> Checker<'c, 't> {
    /// Checks the parameters, secrets and effect class of a call.
    pub(super) fn call(&mut self, tool: &Tool<'t>, node: &'c Node<'t>) {
        self.arguments(tool);
        self.doubt(node);
        let Some(def) = &tool.def else { return };
        let pure = def.class == ClassRule::Fixed(EffectClass::Pure);
        if node.effect == Some(EffectClass::Pure) && !pure {
            let message = format!("'{}' can't be declared pure: {} is not", node.id, def.name);
            let span = node.effect_span.as_ref().unwrap_or(&node.span);
            self.findings
                .add(span, &format!("{}.effect", node.path), message)
                .suggest("use read, idempotent, reconcilable or irreversible");
        }
    }

    /// Checks the parameters and secrets of a call.
    pub(super) fn arguments(&mut self, tool: &Tool<'t>) {
        if let Some(with) = &tool.with {
            self.references(with);
        }
        let Some(def) = &tool.def else { return };
        let Some(with) = &tool.with else {
            for name in required(&def.input) {
                self.lacks(&tool.span, &tool.path, def, name);
            }
            return;
        };
        let mut call = Call { def, with, noted: Vec::new() };
        self.secrets(&call);
        self.fit(&mut call, &with.value, &def.input, "");
        self.validate(&mut call);
    }

    fn lacks(&mut self, span: &std::ops::Range<usize>, path: &str, def: &ToolDef, name: &str) {
        let message = format!("{} needs the parameter '{name}'", def.name);
        self.findings.add(span, path, message).suggest(format!("add '{name}' under 'with'"));
    }

    fn secrets(&mut self, call: &Call<'_, 't>) {
        let mut secrets = Vec::new();
        call.with.value.each_secret(&mut |at, name| secrets.push((at.to_owned(), name.to_owned())));
        for (at, name) in secrets {
            let param = at.split('/').nth(1).unwrap_or_default();
            let taking = &call.def.secret_params;
            if taking.iter().any(|known| known == param) {
                continue;
            }
            let why = match taking.as_slice() {
                [] => format!("{} takes none", call.def.name),
                taking => format!("{} takes them in {}", call.def.name, taking.join(", ")),
            };
            self.misplaced_secret(call.with, &at, &name, &why);
        }
    }

    fn note(
        &mut self,
        call: &mut Call<'_, 't>,
        at: &str,
        message: String,
        suggestion: Option<String>,
    ) {
        call.noted.push(at.to_owned());
        let (tree, below) = call.with.tree.at(at);
        let path = format!("{}{below}", call.with.path);
        self.findings.add(&tree.span, &path, message).suggest_maybe(suggestion);
    }

    /// Checks a part of the parameters, which stands at `at`, against its schema.
    fn fit(&mut self, call: &mut Call<'_, 't>, part: &Template, schema: &Value, at: &str) {
        if self.findings.is_crowded() {
            return;
        }
        let schema = shape::resolve(&call.def.input, schema);
        let types = shape::types(schema);
        let found = match part {
            Template::Literal(value) => vec![shape::type_of(value)],
            Template::Text(_) | Template::Block(..) => vec!["string"],
            Template::List(_) => vec!["array"],
            Template::Object(_) => vec!["object"],
            Template::Expr(expr) => match self.types_of(expr.source()) {
                Some(types) => types,
                None => return,
            },
        };
        if let Some(types) = &types {
            let whole = matches!(part, Template::Expr(_));
            let fits =
                if whole { shape::overlap(&found, types) } else { shape::allows(types, found[0]) };
            if !fits {
                let message =
                    format!("expected {}, found {}", shape::say(types), shape::say(&found));
                let quoted = found == ["integer"] || found == ["number"] || found == ["boolean"];
                let quoted = quoted && !whole && types.contains(&"string");
                self.note(call, at, message, quoted.then(|| "put it in quotes".to_owned()));
                return;
            }
        }
        match part {
            Template::Literal(value) => match &**value {
                Value::Object(map) => {
                    let parts = map.iter().map(|(k, v)| (k.as_str(), literal(v))).collect();
                    self.object(call, parts, schema, at);
                }
                Value::Array(items) => {
                    let items: Vec<Template> = items.iter().map(literal).collect();
                    self.list(call, &items, schema, at);
                }
                _ => {}
            },
            Template::Object(entries) => {
                let parts = entries.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
                self.object(call, parts, schema, at);
            }
            Template::List(items) => self.list(call, items, schema, at),
            Template::Expr(_) | Template::Text(_) | Template::Block(..) => {}
        }
    }

    fn list(&mut self, call: &mut Call<'_, 't>, items: &[Template], schema: &Value, at: &str) {
        let Some(of_items) = schema.get("items").filter(|_| schema.get("prefixItems").is_none())
        else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            self.fit(call, item, of_items, &format!("{at}/{index}"));
        }
    }

    fn object(
        &mut self,
        call: &mut Call<'_, 't>,
        parts: Vec<(&str, Template)>,
        schema: &Value,
        at: &str,
    ) {
        let Some(object) = schema.as_object() else { return };
        let properties = object.get("properties").and_then(Value::as_object);
        let closed = shape::is_closed(object, false);
        for name in required(schema) {
            let mistyped = parts.iter().any(|(k, _)| {
                *k != name
                    && !properties.is_some_and(|p| p.contains_key(*k))
                    && did_you_mean(k, [name]).is_some()
            });
            if parts.iter().any(|(k, _)| *k == name) || closed && mistyped {
                continue;
            }
            call.noted.push(at.to_owned());
            let (tree, below) = call.with.tree.at(at);
            let span = tree.as_map().and_then(|entries| entries.first());
            let span = span.map_or_else(|| tree.span.clone(), |(key, _)| key.span.clone());
            let path = format!("{}{below}", call.with.path);
            if at.is_empty() {
                self.lacks(&span, &path, call.def, name);
            } else {
                self.findings.add(&span, &path, format!("'{name}' is missing"));
            }
        }
        for (key, part) in parts {
            let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (properties.and_then(|p| p.get(key)), object.get("additionalProperties")) {
                (Some(of_key), _) => self.fit(call, &part, of_key, &below),
                (None, _) if closed => self.unknown_field(call, key, at, properties),
                (None, Some(others @ Value::Object(_))) => self.fit(call, &part, others, &below),
                (None, _) => {}
            }
        }
    }

    fn unknown_field(
        &mut self,
        call: &mut Call<'_, 't>,
        key: &str,
        at: &str,
        known: Option<&Map<String, Value>>,
    ) {
        let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let near = did_you_mean(key, names.iter().copied())
            .unwrap_or_else(|| format!("there are {}", names.join(", ")));
        let message = if at.is_empty() {
            format!("{} has no parameter '{}'", call.def.name, short(key))
        } else {
            format!("unknown field '{}'", short(key))
        };
        call.noted.push(at.to_owned());
        let (tree, below) = call.with.tree.at(at);
        let found = tree.find(key);
        let span = found.map_or_else(|| tree.span.clone(), |(key, _)| key.span.clone());
        let path = format!("{}{below}.{key}", call.with.path);
        self.findings.add(&span, &path, message).suggest(near);
    }

    /// Checks the parameters that are written out against everything that the schema says.
    fn validate(&mut self, call: &mut Call<'_, 't>) {
        let (value, whole) = match &call.with.value {
            Template::Literal(value) => ((**value).clone(), true),
            Template::Object(entries) => {
                let literals = entries.iter().filter_map(|(key, part)| {
                    part.as_literal().map(|value| (key.clone(), value.clone()))
                });
                (Value::Object(literals.collect()), false)
            }
            _ => return,
        };
        let schema = &call.def.input;
        let address = (std::ptr::from_ref(schema).addr(), whole);
        let compile = || if whole { Schema::compile(schema).ok() } else { relaxed(schema) };
        let Some(compiled) = self.schemas.entry(address).or_insert_with(compile) else { return };
        for violation in compiled.violations(&value) {
            // What was found about a part, or within it, is not said again in other words.
            let said = |noted: &String| {
                noted.starts_with(&violation.at)
                    || !noted.is_empty() && violation.at.starts_with(noted)
            };
            if call.noted.iter().any(said) {
                continue;
            }
            self.note(call, &violation.at, plain(&violation.message), None);
        }
    }

    /// Notes a whole reference that can't have one of these types.
    pub(super) fn whole_type(&mut self, template: &Placed<'_, Template>, types: &[&str]) {
        let Template::Expr(expr) = &template.value else { return };
        let Some(found) = self.types_of(expr.source()) else { return };
        if !shape::overlap(&found, types) {
            let message =
                format!("expected {}, found {}", shape::say(&types[..1]), shape::say(&found));
            self.findings.add(template.span(), &template.path, message);
        }
    }

    /// Checks that an approval approves a call that is known when it asks.
    pub(super) fn approval(&mut self, approval: &Approval<'t>) {
        let (Some(of), Some(level)) = (&approval.of, self.scope.levels.last().copied()) else {
            return;
        };
        let At::In(at) = level.at else { return };
        let nodes = &level.body.nodes;
        let Some(target) = level.body.index.get(&of.value).copied() else {
            let near = did_you_mean(&of.value, level.body.index.keys().map(String::as_str))
                .unwrap_or_else(|| "name a later tool node of the same list".to_owned());
            let message = if self.exists(&of.value) {
                format!("the node '{}' stands in another list", of.value)
            } else {
                format!("no node of this list has the id '{}'", of.value)
            };
            self.findings.add(of.span(), &of.path, message).suggest(near);
            return;
        };
        let Some(Kind::Tool(tool)) = &nodes[target].kind else {
            if let Some(kind) = &nodes[target].kind {
                let message = format!(
                    "'{}' is a '{}' node: only the call of a tool can be approved",
                    of.value,
                    kind.word()
                );
                self.findings.add(of.span(), &of.path, message);
            }
            return;
        };
        let graph = &level.body.graph;
        if !graph.is_sound() {
            return;
        }
        if !graph.settled_before(at, target) {
            let message = format!("'{}' does not wait for this approval", of.value);
            self.findings
                .add(of.span(), &of.path, message)
                .suggest(format!("let '{}' come after '{}'", of.value, nodes[at].id));
            return;
        }
        let mut needs = Vec::new();
        if let Some(with) = &tool.with {
            with.value.each_reference(&mut |_, reference| {
                let segments: Vec<&str> = reference.segments().collect();
                needs.push((reference.0.clone(), self.needed(&segments, at, target)));
            });
        }
        for (name, late) in needs {
            let Some(late) = late else { continue };
            let message = format!(
                "'{}' uses '{}', which '{}' settles only after this approval",
                of.value,
                short(&name),
                nodes[late].id
            );
            self.findings
                .add(of.span(), &of.path, message)
                .suggest(format!("move '{}' above the approval", nodes[late].id));
        }
    }

    /// The node that decides what a name in the call of `target` stands for, if it may do so after `approval`.
    fn needed(&self, name: &[&str], approval: usize, target: usize) -> Option<usize> {
        let level = self.scope.levels.last()?;
        let graph = &level.body.graph;
        let late = |node: &usize| !graph.settled_before(*node, approval);
        match name {
            ["steps", id, ..] => level.body.index.get(*id).copied().filter(late),
            ["vars", name, ..] => (0..level.body.nodes.len())
                .filter(|node| late(node) && graph.settled_before(*node, target))
                .find(|node| level.body.nodes[*node].kind.as_ref().is_some_and(|k| sets(k, name))),
            [head, ..] if self.scope.levels.len() == 1 => {
                let node = scope::numbered_step(head)?.checked_sub(1)?;
                Some(node).filter(|node| *node < level.body.nodes.len()).filter(late)
            }
            _ => None,
        }
    }
}

/// Whether a node may set this variable. Lists within lists are bounded, so this may recurse.
fn sets(kind: &Kind<'_>, name: &str) -> bool {
    match kind {
        Kind::Set(entries) => entries.iter().any(|(set, _)| set == name),
        _ => kind
            .bodies()
            .iter()
            .flat_map(|body| &body.nodes)
            .filter_map(|node| node.kind.as_ref())
            .any(|kind| sets(kind, name)),
    }
}

/// The schema for a part of the parameters: what each may be, but not which there must be. Nothing where the schema
/// relates parameters to each other, because those that are not written out are not known.
fn relaxed(schema: &Value) -> Option<Schema> {
    const RELATING: &[&str] =
        &["allOf", "anyOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas", "$ref"];
    let mut schema = schema.as_object()?.clone();
    if RELATING.iter().any(|key| schema.contains_key(*key)) {
        return None;
    }
    schema.remove("required");
    schema.remove("minProperties");
    Schema::compile(&Value::Object(schema)).ok()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn literal(value: &Value) -> Template {
    Template::Literal(std::sync::Arc::new(value.clone()))
}

/// A library's message in the form of ours: short, and not like a sentence.
fn plain(message: &str) -> String {
    let mut message = message.trim_end_matches('.').to_owned();
    if let Some(first) = message.get(..1) {
        let lower = first.to_ascii_lowercase();
        message.replace_range(..1, &lower);
    }
    if message.chars().count() > 160 {
        message = message.chars().take(160).collect();
        message.push('…');
    }
    message
}
