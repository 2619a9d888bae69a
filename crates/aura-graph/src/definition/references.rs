//! Whether every name that an expression uses is there when it is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use aura_core::effect::EffectClass;
use aura_core::tool::ClassRule;
use serde_json::Value;

use super::diagnostic::Findings;
use super::draft::{Body, Cost, Flow, Kind, LoopMode, Node, NodeCost, Placed};
use super::filters::{self, Filters};
use super::model::Tools;
use super::scope::{self, At, Found, Level, Scope};
use super::shape::{self, Field};
use super::suggest::did_you_mean;
use super::yaml::short;
use crate::expr::{Expr, Reference, Template};

/// Checks every reference and every call of a flow.
pub(super) fn check(flow: &Flow<'_>, source: &str, tools: &dyn Tools, findings: &mut Findings) {
    let mut facts = Facts { verify: tools.get("verify").map(|def| def.output), ..Facts::default() };
    facts.collect(&flow.body, "");
    facts.variables.extend(flow.vars.iter().map(|(name, _)| name.clone()));
    let scope = Scope {
        flow,
        levels: Vec::new(),
        items: Vec::new(),
        loops: 0,
        value: false,
        effect: false,
        probe: false,
        probed: None,
        output: None,
    };
    let mut checker = Checker {
        source,
        facts: &facts,
        filters: Filters::default(),
        scope,
        findings,
        schemas: BTreeMap::new(),
        many: 0,
    };
    for (_, template) in &flow.vars {
        checker.template(template);
    }
    checker.body(&flow.body);
    if let Some(output) = &flow.output {
        checker.scope.levels.push(Level { body: &flow.body, at: At::End });
        checker.template(output);
    }
}

/// The schema of what nothing is known of.
static ANY: Value = Value::Bool(true);

/// Names in the expressions of one value: each is looked up, and approvals look up those of their targets again.
const NAMES: usize = 10_000;

/// What is true of the whole flow.
#[derive(Default)]
struct Facts {
    /// Every variable that is declared or set.
    variables: BTreeSet<String>,
    /// The node that each id stands in, for ids within other nodes.
    holders: BTreeMap<String, String>,
    /// JSON Schema of what `verify` gives.
    verify: Option<Value>,
}

impl Facts {
    fn collect(&mut self, body: &Body<'_>, holder: &str) {
        for node in &body.nodes {
            if !holder.is_empty() && !node.id.is_empty() {
                self.holders.insert(node.id.clone(), holder.to_owned());
            }
            let Some(kind) = &node.kind else { continue };
            if let Kind::Set(entries) = kind {
                self.variables.extend(entries.iter().map(|(name, _)| name.clone()));
            }
            for inner in kind.bodies() {
                self.collect(inner, &node.id);
            }
        }
    }
}

pub(super) struct Checker<'c, 't> {
    source: &'c str,
    facts: &'c Facts,
    filters: Filters,
    pub(super) scope: Scope<'c, 't>,
    pub(super) findings: &'c mut Findings,
    /// Compiled schemas by their address, which is stable while a flow is checked, and whether they are whole.
    pub(super) schemas: BTreeMap<(usize, bool), Option<aura_core::schema::Schema>>,
    /// Nodes around the place that have several bodies, or one of which there may be several.
    many: usize,
}

impl<'c, 't> Checker<'c, 't> {
    fn body(&mut self, body: &'c Body<'t>) {
        for (at, node) in body.nodes.iter().enumerate() {
            self.scope.levels.push(Level { body, at: At::In(at) });
            self.node(node);
            self.scope.levels.pop();
            self.scope.levels.push(Level { body, at: At::After(at) });
            for when in node.next.iter().filter_map(|route| route.when.as_ref()) {
                self.expr(when);
            }
            if let Some(undo) = &node.compensate {
                self.node(undo);
            }
            self.scope.levels.pop();
        }
    }

    fn node(&mut self, node: &'c Node<'t>) {
        if let Some(when) = &node.when {
            self.expr(when);
        }
        if let Some(cost) = &node.cost {
            self.cost(cost, node);
        }
        match &node.kind {
            None => {}
            Some(Kind::Wait { signal, .. }) => self.signal(signal),
            Some(Kind::Tool(tool)) => self.call(tool, node),
            Some(Kind::Code(function)) => {
                self.doubt(node);
                if let Some(with) = &function.with {
                    self.template(with);
                }
            }
            Some(Kind::Set(entries)) => {
                for (_, value) in entries {
                    self.template(value);
                }
            }
            Some(Kind::Switch { cases, otherwise }) => {
                for (when, body) in cases {
                    self.expr(when);
                    self.body(body);
                }
                if let Some(body) = otherwise {
                    self.body(body);
                }
            }
            Some(Kind::Parallel(branches)) => {
                self.many += 1;
                for (_, body) in branches {
                    self.body(body);
                }
                self.many -= 1;
            }
            Some(Kind::Map(map)) => {
                self.template(&map.items);
                self.whole_type(&map.items, &["array"]);
                self.scope.items.push(&map.name);
                self.many += 1;
                self.body(&map.body);
                self.many -= 1;
                self.scope.items.pop();
            }
            Some(Kind::Loop(again)) => self.again(again),
            Some(Kind::Sleep(span)) => {
                self.template(span);
                self.whole_type(span, &["string", "integer", "number"]);
            }
            Some(Kind::Approval(approval)) => {
                for template in approval.message.iter().chain(&approval.show) {
                    self.template(template);
                }
                self.approval(approval);
            }
            Some(Kind::Verify(verify)) => {
                self.template(&verify.value);
                self.scope.value = true;
                for check in &verify.checks {
                    self.expr(&check.that);
                }
                self.scope.value = false;
            }
            Some(Kind::Child(child)) => child.input.iter().for_each(|input| self.template(input)),
            Some(Kind::Continue(input)) => self.go_on_anew(node, input.as_ref()),
        }
    }

    fn go_on_anew(&mut self, node: &Node<'t>, input: Option<&Placed<'_, Template>>) {
        if let Some(input) = input {
            self.template(input);
        }
        if self.many > 0 {
            self.findings
                .add(&node.span, &node.path, "'continue' ends the run, so it can't stand here")
                .suggest("put it into the flow's own list, or into a 'switch' there");
        }
    }

    /// A signal that the flow does not list could never be sent.
    fn signal(&mut self, signal: &Placed<'_, String>) {
        let Some(known) = &self.scope.flow.signals else { return };
        if known.contains_key(&signal.value) {
            return;
        }
        let near = did_you_mean(&signal.value, known.keys().map(String::as_str))
            .unwrap_or_else(|| "give it a schema there".to_owned());
        let message = format!("'signals' lists no signal '{}'", short(&signal.value));
        self.findings.add(signal.span(), &signal.path, message).suggest(near);
    }

    fn cost(&mut self, cost: &NodeCost<'t>, node: &'c Node<'t>) {
        let fixed = |tool: &super::draft::Tool<'_>| {
            tool.def.as_ref().is_some_and(|def| def.class == ClassRule::Fixed(EffectClass::Pure))
        };
        let pure = matches!(&node.kind, Some(Kind::Tool(tool)) if fixed(tool));
        if node.effect.map_or(pure, |effect| effect == EffectClass::Pure) {
            let message = format!("the call of '{}' is pure, which costs nothing", node.id);
            self.findings.add(&cost.span, &cost.path, message).suggest("leave 'cost' out");
        }
        self.amounts(&cost.most);
        let Some(actual) = &cost.actual else { return };
        self.scope.output = Some(self.output_schema(node).unwrap_or(&ANY));
        self.amounts(actual);
        self.scope.output = None;
    }

    fn amounts(&mut self, cost: &Cost<'_>) {
        for amount in cost.usd.iter().chain(&cost.tokens) {
            self.template(amount);
            self.whole_type(amount, &["integer", "number", "string"]);
        }
    }

    fn again(&mut self, again: &'c super::draft::Loop<'t>) {
        if let LoopMode::Times(times) = &again.mode {
            self.template(times);
            self.whole_type(times, &["integer", "number"]);
        }
        self.scope.loops += 1;
        if let LoopMode::While(condition) = &again.mode {
            self.expr(condition);
        }
        self.many += 1;
        self.body(&again.body);
        self.many -= 1;
        if let LoopMode::Until(condition) = &again.mode {
            self.scope.levels.push(Level { body: &again.body, at: At::End });
            self.expr(condition);
            self.scope.levels.pop();
        }
        self.scope.loops -= 1;
    }

    /// A template that is no parameter of a tool: no secret may stand in it.
    pub(super) fn template(&mut self, template: &Placed<'_, Template>) {
        self.references(template);
        let mut secrets = Vec::new();
        template.value.each_secret(&mut |at, name| secrets.push((at.to_owned(), name.to_owned())));
        for (at, name) in secrets {
            self.misplaced_secret(template, &at, &name, "only parameters of a tool take secrets");
        }
    }

    pub(super) fn misplaced_secret(
        &mut self,
        template: &Placed<'_, Template>,
        pointer: &str,
        name: &str,
        why: &str,
    ) {
        let (tree, below) = template.tree.at(pointer);
        let message = format!("the secret '{name}' can't stand here: {why}");
        self.findings.add(&tree.span, &format!("{}{below}", template.path), message);
    }

    pub(super) fn references(&mut self, template: &Placed<'_, Template>) {
        let mut found = Vec::new();
        template.value.each_reference(&mut |at, reference| {
            found.push((at.to_owned(), reference.clone()));
        });
        let mut sources = Vec::new();
        filters::each_source(&template.value, &mut |source| sources.push(source));
        for source in sources {
            self.filters(source, template.span(), &template.path);
        }
        if found.len() > NAMES {
            let message = format!("a value has at most {NAMES} names in its expressions");
            self.findings.add(template.span(), &template.path, message);
            found.clear();
        }
        for (at, reference) in found {
            let (tree, below) = template.tree.at(&at);
            self.reference(&reference, &tree.span, &format!("{}{below}", template.path));
        }
    }

    /// Notes filters and tests that do not exist.
    fn filters(&mut self, source: &str, text: &Range<usize>, path: &str) {
        if self.findings.is_crowded() {
            return;
        }
        for named in self.filters.missing(source) {
            let (filters::Named::Filter(name) | filters::Named::Test(name)) = &named;
            let span = self.spot(text, name);
            self.findings
                .add(&span, path, named.unknown())
                .suggest("docs/flows.md says which there are");
        }
    }

    pub(super) fn expr(&mut self, expr: &Placed<'_, Expr>) {
        self.filters(expr.value.source(), expr.span(), &expr.path);
        for reference in expr.value.references() {
            self.reference(reference, expr.span(), &expr.path);
        }
    }

    /// Where in a text a name stands, or the whole text where that can't be told.
    fn spot(&self, text: &Range<usize>, name: &str) -> Range<usize> {
        let within = &self.source[text.clone()];
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let spots = within.match_indices(name).take(100);
        for (at, _) in spots {
            let before = within[..at].chars().next_back();
            let after = within[at + name.len()..].chars().next();
            if !before.is_some_and(is_name) && !after.is_some_and(is_name) {
                return text.start + at..text.start + at + name.len();
            }
        }
        text.clone()
    }

    fn say(&mut self, what: &Mention<'_>, message: String, suggestion: Option<String>) {
        let span = self.spot(what.text, &what.reference.0);
        self.findings.add(&span, what.path, message).suggest_maybe(suggestion);
    }

    fn reference(&mut self, reference: &Reference, text: &Range<usize>, path: &str) {
        if self.findings.is_crowded() {
            return;
        }
        let what = Mention { reference, text, path };
        let segments: Vec<&str> = reference.segments().collect();
        let (head, rest) = (segments[0], &segments[1..]);
        match head {
            "input" => self.input(&what, rest),
            "vars" => self.variable(&what, rest),
            "steps" => self.step(&what, rest),
            "run" => self.fixed(&what, rest, scope::RUN),
            "loop" if self.scope.loops > 0 => self.fixed(&what, rest, scope::LOOP),
            "index" if !self.scope.items.is_empty() => {}
            "value" if self.scope.value => {}
            "effect" if self.scope.effect => self.fixed(&what, rest, scope::EFFECT),
            "probe" if self.scope.probe => self.of_probe(&what, rest),
            "output" if self.scope.output.is_some() => {
                self.walk(&what, self.scope.output.unwrap_or(&ANY), rest, "output");
            }
            "secret" => self.say(
                &what,
                "secret('NAME') must stand alone in {{ }}, in a parameter of a tool".to_owned(),
                Some(
                    "write \"{{ secret('NAME') }}\", with other text outside the braces".to_owned(),
                ),
            ),
            _ if self.scope.items.contains(&head) || scope::FUNCTIONS.contains(&head) => {}
            _ => match scope::numbered_step(head) {
                Some(number) => self.numbered(&what, number, rest),
                None => self.unknown(&what, head),
            },
        }
    }

    fn unknown(&mut self, what: &Mention<'_>, head: &str) {
        let elsewhere = match head {
            "loop" => Some("'loop' is known within a 'loop' only"),
            "index" => Some("'index' is known within a 'map' only"),
            "value" => Some("'value' is known in the checks of a 'verify' only"),
            "effect" => Some("'effect' is known in a 'probe' only"),
            "probe" => {
                Some("'probe' is known in 'done', 'not_done' and 'output' of a 'probe' only")
            }
            "output" => Some("'output' is known in the 'actual' of a 'cost' only"),
            "debug" => Some("'debug' is not available in flows"),
            _ => None,
        };
        if let Some(message) = elsewhere {
            self.say(what, message.to_owned(), None);
            return;
        }
        let flow = self.scope.flow;
        let input = flow.input.as_ref().and_then(|schema| schema.get("properties"));
        let suggestion = if input.is_some_and(|properties| properties.get(head).is_some()) {
            Some(format!("write 'input.{head}'"))
        } else if self.scope.ids().any(|id| id == head) {
            Some(format!("write 'steps.{head}.output'"))
        } else if self.facts.variables.contains(head) {
            Some(format!("write 'vars.{head}'"))
        } else {
            let known = ["input", "vars", "steps", "run"].into_iter();
            did_you_mean(head, known.chain(self.scope.items.iter().copied())).or_else(|| {
                Some("put a text in quotes, or start with input, vars, steps or run".to_owned())
            })
        };
        self.say(what, format!("unknown name '{}'", short(head)), suggestion);
    }

    fn fixed(&mut self, what: &Mention<'_>, rest: &[&str], known: &[&str]) {
        let Some(field) = rest.first().filter(|field| !known.contains(field)) else { return };
        let near = did_you_mean(field, known.iter().copied())
            .unwrap_or_else(|| format!("it has {}", known.join(", ")));
        let message = format!("'{}' has no field '{}'", what.reference.head(), short(field));
        self.say(what, message, Some(near));
    }

    fn of_probe(&mut self, what: &Mention<'_>, rest: &[&str]) {
        match rest {
            ["output", path @ ..] => {
                if let Some(schema) = self.scope.probed {
                    self.walk(what, schema, path, "probe.output");
                }
            }
            ["error", field, ..] => self.of_error(what, field),
            _ => self.fixed(what, rest, scope::PROBE),
        }
    }

    fn of_error(&mut self, what: &Mention<'_>, field: &str) {
        if scope::ERROR.contains(&field) {
            return;
        }
        let near = did_you_mean(field, scope::ERROR.iter().copied())
            .unwrap_or_else(|| format!("it has {}", scope::ERROR.join(", ")));
        self.say(what, format!("an error has no field '{}'", short(field)), Some(near));
    }

    fn input(&mut self, what: &Mention<'_>, rest: &[&str]) {
        let Some(schema) = &self.scope.flow.input else { return };
        self.walk(what, schema, rest, "input");
    }

    /// Follows a path into a schema, and notes a field that can't be there. `input` shows what its schema lists.
    fn walk(&mut self, what: &Mention<'_>, root: &Value, path: &[&str], name: &str) {
        let mut schema = root;
        let mut so_far = name.to_owned();
        for (depth, segment) in path.iter().enumerate() {
            match shape::field(root, schema, segment, depth == 0 && name == "input") {
                Field::Known { schema: found, .. } => schema = found,
                Field::Open => return,
                Field::Unknown(known) => {
                    let near = did_you_mean(segment, known.iter().copied());
                    let near = near.unwrap_or_else(|| match known.as_slice() {
                        [] => "its schema names no field".to_owned(),
                        known => format!("it has {}", short(&known.join(", "))),
                    });
                    self.say(
                        what,
                        format!("'{so_far}' has no field '{}'", short(segment)),
                        Some(near),
                    );
                    return;
                }
            }
            so_far = format!("{so_far}.{segment}");
        }
    }

    fn variable(&mut self, what: &Mention<'_>, rest: &[&str]) {
        let Some(name) = rest.first().filter(|name| !self.facts.variables.contains(**name)) else {
            return;
        };
        let near = did_you_mean(name, self.facts.variables.iter().map(String::as_str))
            .unwrap_or_else(|| "give it a first value under 'vars'".to_owned());
        self.say(what, format!("no variable is named '{}'", short(name)), Some(near));
    }

    fn step(&mut self, what: &Mention<'_>, rest: &[&str]) {
        let Some((id, rest)) = rest.split_first() else {
            let message = "'steps' needs the id of a node that is known before the flow runs";
            self.say(what, message.to_owned(), Some("write 'steps.ID.output'".to_owned()));
            return;
        };
        let found = self.scope.step(id);
        self.found(what, &found, id, rest);
    }

    fn numbered(&mut self, what: &Mention<'_>, number: usize, rest: &[&str]) {
        let found = self.scope.numbered(number);
        if let Found::Unknown = found {
            let count = self.scope.flow.body.nodes.len();
            let message = format!("there is no node {number}: the flow's own list has {count}");
            self.say(what, message, None);
            return;
        }
        let name = format!("step {number}");
        let rest: Vec<&str> = std::iter::once("output").chain(rest.iter().copied()).collect();
        self.found(what, &found, &name, &rest);
    }

    fn found(&mut self, what: &Mention<'_>, found: &Found<'c, 't>, id: &str, rest: &[&str]) {
        match found {
            Found::Settled(node) => self.fields(what, node, rest),
            Found::Unsettled { list, node, reader } => self.unsettled(what, *list, *node, *reader),
            Found::Itself => {
                let message = format!("'{id}' is not done yet where this is evaluated");
                self.say(what, message, Some("refer to a node that comes before".to_owned()));
            }
            Found::Unknown => self.unknown_step(what, id),
        }
    }

    fn unknown_step(&mut self, what: &Mention<'_>, id: &str) {
        // A flow whose nodes could not be read has no unknown ones.
        if self.scope.flow.body.nodes.is_empty() {
            return;
        }
        if let Some(holder) = self.facts.holders.get(id) {
            let message = format!("'{id}' stands within '{holder}' and does not show here");
            self.say(what, message, Some(format!("use 'steps.{holder}.output'")));
            return;
        }
        let near = did_you_mean(id, self.scope.ids());
        self.say(what, format!("no node has the id '{}'", short(id)), near);
    }

    fn unsettled(&mut self, what: &Mention<'_>, list: Level<'_, '_>, node: usize, reader: usize) {
        let (nodes, graph) = (&list.body.nodes, &list.body.graph);
        let (id, reader_id) = (&nodes[node].id, &nodes[reader].id);
        if graph.settled_before(reader, node) {
            let message =
                format!("'{id}' comes after '{reader_id}', so its outcome is not known yet");
            self.say(what, message, Some(format!("move '{id}' above '{reader_id}'")));
            return;
        }
        let mut after: Vec<&str> =
            graph.incoming[reader].iter().map(|e| nodes[e.from].id.as_str()).collect();
        after.push(id);
        let message = format!("'{id}' is not certain to be settled before '{reader_id}' starts");
        let suggestion = format!("add 'after: [{}]' to '{reader_id}'", after.join(", "));
        self.say(what, message, Some(suggestion));
    }

    fn fields(&mut self, what: &Mention<'_>, node: &'c Node<'t>, rest: &[&str]) {
        match rest {
            ["output", path @ ..] => {
                if let Some(schema) = self.output_schema(node) {
                    self.walk(what, schema, path, &format!("steps.{}.output", node.id));
                }
            }
            ["error", field, ..] => self.of_error(what, field),
            [field, ..] if !scope::STEP.contains(field) => {
                let near = did_you_mean(field, scope::STEP.iter().copied()).unwrap_or_else(|| {
                    format!("what the node gave is 'steps.{}.output.{field}'", node.id)
                });
                self.say(what, format!("a step has no field '{}'", short(field)), Some(near));
            }
            _ => {}
        }
    }

    /// JSON Schema of what a node gives, if there is one.
    fn output_schema(&self, node: &'c Node<'t>) -> Option<&'c Value> {
        match &node.kind {
            Some(Kind::Tool(tool)) => tool.def.as_ref().map(|def| &def.output),
            Some(Kind::Verify(_)) => self.facts.verify.as_ref(),
            Some(Kind::Wait { signal, .. }) => self.scope.flow.signals.as_ref()?.get(&signal.value),
            _ => None,
        }
    }

    /// Whether any list of the flow has a node of this id.
    pub(super) fn exists(&self, id: &str) -> bool {
        self.facts.holders.contains_key(id) || self.scope.flow.body.index.contains_key(id)
    }

    /// The types that a whole reference can have, where closed schemas say so.
    pub(super) fn types_of(&self, path: &str) -> Option<Vec<&'c str>> {
        let segments: Vec<&str> = path.split('.').collect();
        let (root, rest, listed): (&'c Value, _, _) = match segments.as_slice() {
            ["input", rest @ ..] => (self.scope.flow.input.as_ref()?, rest, true),
            ["steps", id, "output", rest @ ..] => match self.scope.step(id) {
                Found::Settled(node) => (self.output_schema(node)?, rest, false),
                _ => return None,
            },
            _ => return None,
        };
        let mut schema = root;
        for (depth, segment) in rest.iter().enumerate() {
            match shape::field(root, schema, segment, listed && depth == 0) {
                Field::Known { schema: found, closed: true } => schema = found,
                _ => return None,
            }
        }
        (!rest.is_empty()).then(|| shape::types(schema)).flatten()
    }
}

/// A name, and the text that it stands in.
struct Mention<'m> {
    reference: &'m Reference,
    text: &'m Range<usize>,
    path: &'m str,
}
