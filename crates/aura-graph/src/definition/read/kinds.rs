//! What each kind of node takes.

use std::rc::Rc;

use aura_core::limits;
use aura_core::time::parse_duration;
use aura_core::tool::ToolDef;
use serde_json::Value;

use super::Reader;
use super::fields::{Fields, join};
use crate::definition::draft::{
    Approval, Body, Check, Child, Function, Kind, Loop, LoopMode, Map, Placed, Probe, Tool, Verify,
};
use crate::definition::file::MODES;
use crate::definition::suggest::{did_you_mean, one_of};
use crate::definition::tree::{Content, Tree};
use crate::definition::yaml::short;
use crate::expr::{Expr, Template};

impl Reader<'_> {
    /// What a node does, if it can be read.
    pub(super) fn kind<'t>(&mut self, node: &Fields<'t>, word: &str) -> Option<Kind<'t>> {
        let tree = node.get(word)?;
        let path = node.path(word);
        match word {
            "tool" => self.tool(node, tree, &path).map(Kind::Tool),
            "code" => self.function(node, tree, &path).map(Kind::Code),
            "set" => {
                if tree.as_map().is_some_and(<[_]>::is_empty) {
                    self.note(&tree.span, &path, "'set' names no variable")
                        .suggest("add NAME: VALUE");
                }
                Some(Kind::Set(self.named_templates(tree, &path)))
            }
            "switch" => self.switch(tree, &path),
            "parallel" => self.parallel(tree, &path),
            "map" => self.map(tree, &path).map(Kind::Map),
            "loop" => self.again(tree, &path).map(Kind::Loop),
            "sleep" => self.sleep(tree, &path),
            "wait" => self.wait(tree, &path),
            "approval" => self.approval(tree, &path).map(Kind::Approval),
            "verify" => self.verify(tree, &path).map(Kind::Verify),
            "flow" => self.child(tree, &path).map(Kind::Child),
            _ => {
                let fields = self.fields(tree, &path, "Continue")?;
                Some(Kind::Continue(self.input_of(&fields)))
            }
        }
    }

    pub(super) fn tool<'t>(
        &mut self,
        node: &Fields<'t>,
        tree: &'t Tree,
        path: &str,
    ) -> Option<Tool<'t>> {
        let given = node.get("with");
        let with = match given {
            Some(with) if with.as_map().is_none() => {
                self.expected(with, &node.path("with"), "an object of parameters");
                None
            }
            with => with.and_then(|with| self.template(with, &node.path("with"))),
        };
        let name = self.name(tree, path)?.to_owned();
        // Parameters that can't be read are not missing.
        let merged = |with: &Tree| with.find("<<").is_some();
        let unread = given.is_some() && with.is_none() || given.is_some_and(merged);
        let found = self.def(&name);
        let known = found.is_some();
        let def = found.filter(|_| !unread);
        if !known {
            self.no_tool(&name, tree, path);
        }
        let span = node.get("with").map_or_else(|| tree.span.clone(), |_| node.key_span("with"));
        let path = if with.is_some() { node.path("with") } else { path.to_owned() };
        Some(Tool { name, def, with, span, path })
    }

    fn function<'t>(
        &mut self,
        node: &Fields<'t>,
        tree: &'t Tree,
        path: &str,
    ) -> Option<Function<'t>> {
        let with = match node.get("with") {
            Some(with) if with.as_map().is_none() => {
                self.expected(with, &node.path("with"), "an object of parameters");
                None
            }
            with => with.and_then(|with| self.template(with, &node.path("with"))),
        };
        let mut tools: Vec<(String, Rc<ToolDef>)> = Vec::new();
        if let Some(list) = node.get("tools") {
            let path = node.path("tools");
            for (at, item) in self.items(list, &path, "tools").iter().enumerate() {
                let path = format!("{path}[{at}]");
                let Some(name) = self.name(item, &path).map(str::to_owned) else { continue };
                match self.def(&name) {
                    Some(def) => tools.push((name, def)),
                    None => self.no_tool(&name, item, &path),
                }
            }
        }
        let name = self.name(tree, path)?.to_owned();
        Some(Function { name, with, tools })
    }

    fn no_tool(&mut self, name: &str, tree: &Tree, path: &str) {
        let names = self.tools.names();
        let near = did_you_mean(name, names.iter().map(String::as_str));
        let near = near.unwrap_or_else(|| "'aura tools' lists them".to_owned());
        let message = format!("no tool is named '{}'", short(name));
        self.note(&tree.span, path, message).suggest(near);
    }

    /// How to find out whether the effect of a node happened.
    pub(super) fn probe<'t>(&mut self, node: &Fields<'t>) -> Option<Probe<'t>> {
        let fields = self.fields(node.get("probe")?, &node.path("probe"), "Probe")?;
        let tool = self.required(&fields, "tool", "NAME");
        let tool = tool.and_then(|tool| self.tool(&fields, tool, &fields.path("tool")));
        let done = self.required(&fields, "done", "\"{{ … }}\"");
        let done = done.and_then(|done| self.condition(done, &fields.path("done")));
        let not_done = fields.get("not_done");
        let not_done = not_done.and_then(|not| self.condition(not, &fields.path("not_done")));
        let output = fields.get("output");
        let output = output.and_then(|output| self.template(output, &fields.path("output")));
        let (span, path) = (node.key_span("probe"), fields.path.clone());
        Some(Probe { tool, done, not_done, output, span, path })
    }

    /// The list of nodes under a key.
    fn body_of<'t>(&mut self, fields: &Fields<'t>, key: &str) -> Body<'t> {
        match self.required(fields, key, "[…]") {
            Some(tree) => self.body(tree, &fields.path(key)),
            None => Body::default(),
        }
    }

    fn switch<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Kind<'t>> {
        let fields = self.fields(tree, path, "Switch")?;
        let mut cases = Vec::new();
        if let Some(list) = self.required(&fields, "cases", "[…]") {
            let path = fields.path("cases");
            for (at, item) in self.items(list, &path, "cases").iter().enumerate() {
                let Some(case) = self.fields(item, &format!("{path}[{at}]"), "Case") else {
                    continue;
                };
                let when = self.required(&case, "when", "\"{{ … }}\"");
                let when = when.and_then(|when| self.condition(when, &case.path("when")));
                let body = self.body_of(&case, "do");
                // Without a condition the body is still checked.
                if let Some(when) = when.or_else(|| always(item, &path)) {
                    cases.push((when, body));
                }
            }
        }
        let otherwise = fields.get("else").map(|tree| self.body(tree, &fields.path("else")));
        Some(Kind::Switch { cases, otherwise })
    }

    /// The items of a list that must not be empty.
    fn items<'t>(&mut self, tree: &'t Tree, path: &str, what: &str) -> &'t [Rc<Tree>] {
        let Some(items) = tree.as_list() else {
            self.expected(tree, path, &format!("a list of {what}"));
            return &[];
        };
        if items.is_empty() {
            self.note(&tree.span, path, format!("the list of {what} can't be empty"));
        }
        items
    }

    fn parallel<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Kind<'t>> {
        let fields = self.fields(tree, path, "Parallel")?;
        let tree = self.required(&fields, "branches", "{ NAME: […] }")?;
        let path = fields.path("branches");
        let Some(entries) = tree.as_map() else {
            self.expected(tree, &path, "an object of branches")
                .suggest("name each branch: 'NAME: [nodes]'");
            return None;
        };
        if entries.is_empty() {
            self.note(&tree.span, &path, "'parallel' has no branch").suggest("add 'NAME: [nodes]'");
        }
        let mut branches = Vec::new();
        for (key, nodes) in entries {
            let path = join(&path, &key.text);
            self.key_id(key, &path);
            branches.push((key.text.clone(), self.body(nodes, &path)));
        }
        Some(Kind::Parallel(branches))
    }

    fn map<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Map<'t>> {
        let fields = self.fields(tree, path, "Map")?;
        let items = self.required(&fields, "items", "$input.LIST");
        let items = items.and_then(|items| self.map_items(items, &fields.path("items")));
        let name = self.item_name(&fields);
        let concurrency = self.whole(&fields, "concurrency", 1, u64::from(limits::MAP_CONCURRENCY));
        let concurrency = concurrency.and_then(|number| u32::try_from(number).ok()).unwrap_or(16);
        let words = ["stop", "collect"];
        let collect = self.word(&fields, "on_item_error", &words, &[]) == Some("collect");
        let body = self.body_of(&fields, "do");
        // Without items the body is still checked.
        let items = items.unwrap_or_else(|| nothing(tree, path));
        Some(Map { items, name, body, concurrency, collect })
    }

    fn map_items<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Placed<'t, Template>> {
        let items = self.template(tree, path)?;
        match &items.value {
            Template::Expr(_) | Template::List(_) => Some(items),
            Template::Literal(value) if value.is_array() => {
                let count = value.as_array().map_or(0, Vec::len);
                if count > limits::MAP_ITEMS {
                    let message = format!("a map has at most {} items", limits::MAP_ITEMS);
                    self.note(&tree.span, path, message);
                }
                Some(items)
            }
            Template::Text(_) | Template::Block(..) => {
                self.note(&tree.span, path, "this renders to a text, but the items are a list")
                    .suggest("use one whole expression, such as $input.items");
                None
            }
            Template::Literal(_) | Template::Object(_) => {
                self.expected(tree, path, "a list")
                    .suggest("write a list, or an expression that gives one");
                None
            }
        }
    }

    fn item_name(&mut self, fields: &Fields<'_>) -> String {
        let name = fields.get("as").and_then(|tree| self.id(tree, &fields.path("as")));
        let Some(name) = name else { return "item".to_owned() };
        if crate::definition::scope::is_reserved(name) {
            let (span, path) = (fields.get("as").map(|tree| tree.span.clone()), fields.path("as"));
            self.note(
                &span.unwrap_or_default(),
                &path,
                format!("'{name}' already has a meaning in expressions"),
            )
            .suggest("use another name, such as 'item'");
        }
        name.to_owned()
    }

    fn again<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Loop<'t>> {
        let fields = self.fields(tree, path, "Loop")?;
        let mode = self.mode(&fields);
        let max = self.whole(&fields, "max", 1, limits::LOOP_ITERATIONS);
        let asks = ["while", "until"].into_iter().find(|mode| fields.get(mode).is_some());
        if let Some(asks) = asks
            && fields.get("max").is_none()
        {
            self.note(
                &fields.key_span(asks),
                &fields.path(asks),
                "cycle without bound: nothing says when it must end",
            )
            .suggest("add 'max: 100' beside it");
        }
        let collect = self.flag(&fields, "collect").unwrap_or(false);
        let body = self.body_of(&fields, "do");
        let mode = mode.unwrap_or_else(|| LoopMode::Times(nothing(tree, path)));
        Some(Loop { mode, max: max.unwrap_or(limits::LOOP_ITERATIONS), collect, body })
    }

    fn mode<'t>(&mut self, fields: &Fields<'t>) -> Option<LoopMode<'t>> {
        let mut given = MODES.iter().filter(|mode| fields.get(mode).is_some());
        let Some(mode) = given.next() else {
            if !fields.strange {
                self.note(
                    &fields.start,
                    &fields.path,
                    "cycle without bound: nothing says how often it runs",
                )
                .suggest(format!("add {}", one_of(MODES)));
            }
            return None;
        };
        if let Some(second) = given.next() {
            let message = format!(
                "a loop has one of {}; this one has '{mode}' and '{second}'",
                one_of(MODES)
            );
            self.note(&fields.key_span(second), &fields.path(second), message)
                .suggest("keep one of them");
        }
        let (tree, path) = (fields.get(mode)?, fields.path(mode));
        match *mode {
            "while" => self.condition(tree, &path).map(LoopMode::While),
            "until" => self.condition(tree, &path).map(LoopMode::Until),
            _ => self.times(tree, &path).map(LoopMode::Times),
        }
    }

    fn times<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Placed<'t, Template>> {
        let times = self.template(tree, path)?;
        let fits = match &times.value {
            Template::Expr(_) => true,
            Template::Literal(value) => {
                value.as_u64().is_some_and(|n| n <= limits::LOOP_ITERATIONS)
            }
            _ => false,
        };
        if !fits {
            let message = format!("expected a whole number from 0 to {}", limits::LOOP_ITERATIONS);
            self.note(&tree.span, path, message).suggest("or one whole expression that gives one");
            return None;
        }
        Some(times)
    }

    fn sleep<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Kind<'t>> {
        let (tree, path) = match &tree.content {
            Content::Map(_) => {
                let fields = self.fields(tree, path, "LongSleep")?;
                (self.required(&fields, "for", "5s")?, fields.path("for"))
            }
            _ => (tree, path.to_owned()),
        };
        let span = self.template(tree, &path)?;
        match span.value.as_literal() {
            Some(Value::String(text)) if parse_duration(text).is_err() => {
                self.not_a_duration(text, tree, &path);
                return None;
            }
            Some(Value::String(_)) => {}
            Some(Value::Number(number)) => {
                self.note(&tree.span, &path, format!("the duration {number} has no unit"))
                    .suggest(format!("write '{number}s' or '{number}ms'"));
                return None;
            }
            Some(_) => {
                self.expected(tree, &path, "a duration").suggest("write 5s, 10m or 24h");
                return None;
            }
            None if matches!(span.value, Template::List(_) | Template::Object(_)) => {
                self.expected(tree, &path, "a duration").suggest("write 5s, 10m or 24h");
                return None;
            }
            None => {}
        }
        Some(Kind::Sleep(span))
    }

    fn wait<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Kind<'t>> {
        let fields = self.fields(tree, path, "Wait")?;
        let timeout_ms = self.duration(&fields, "timeout");
        let signal = self.required(&fields, "signal", "NAME")?;
        let path = fields.path("signal");
        let value = self.name(signal, &path)?.to_owned();
        Some(Kind::Wait { signal: Placed { value, tree: signal, path }, timeout_ms })
    }

    fn approval<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Approval<'t>> {
        let fields = self.fields(tree, path, "Approval")?;
        let message = fields.get("message").and_then(|tree| {
            self.text(tree, &fields.path("message"))?;
            self.template(tree, &fields.path("message"))
        });
        Some(Approval {
            of: fields.get("of").and_then(|tree| self.target(tree, &fields.path("of"))),
            message,
            show: fields.get("show").and_then(|tree| self.template(tree, &fields.path("show"))),
            roles: self.roles(&fields),
            quorum: self.quorum(&fields),
            expires_ms: self.duration(&fields, "expires"),
        })
    }

    fn quorum(&mut self, fields: &Fields<'_>) -> u32 {
        let quorum = self.whole(fields, "quorum", 1, u64::from(limits::QUORUM));
        quorum.and_then(|quorum| u32::try_from(quorum).ok()).unwrap_or(1)
    }

    fn child<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Child<'t>> {
        let fields = self.fields(tree, path, "Child")?;
        let input = self.input_of(&fields);
        let detached = self.flag(&fields, "detached").unwrap_or_default();
        let file = self.required(&fields, "file", "OTHER.yaml")?;
        let path = fields.path("file");
        let name = self.name(file, &path)?.to_owned();
        if name.starts_with('/') || name.contains(['\\', '\0']) {
            self.note(&file.span, &path, "the file of a child stands below the folder of this one")
                .suggest("write its path from there, with '/'");
            return None;
        }
        Some(Child { file: name, input, detached })
    }

    fn input_of<'t>(&mut self, fields: &Fields<'t>) -> Option<Placed<'t, Template>> {
        fields.get("input").and_then(|input| self.template(input, &fields.path("input")))
    }

    fn roles(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let Some(tree) = fields.get("roles") else { return Vec::new() };
        let path = fields.path("roles");
        let mut roles = Vec::new();
        for (at, item) in self.items(tree, &path, "roles").iter().enumerate() {
            roles.extend(self.name(item, &format!("{path}[{at}]")).map(str::to_owned));
        }
        roles
    }

    fn verify<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Verify<'t>> {
        if self.def("verify").is_none() {
            self.note(
                &tree.span,
                path,
                "this build has no tool 'verify', which a 'verify' node runs",
            );
        }
        let fields = self.fields(tree, path, "Verify")?;
        let value = self.required(&fields, "value", "$steps.ID.output");
        let value = value.and_then(|value| self.template(value, &fields.path("value")));
        let schema = self.schema(&fields, "schema");
        let mut checks = Vec::new();
        if let Some(list) = fields.get("checks") {
            let path = fields.path("checks");
            for (at, item) in self.items(list, &path, "checks").iter().enumerate() {
                checks.extend(self.check(item, &format!("{path}[{at}]")));
            }
        }
        if fields.get("schema").is_none() && fields.get("checks").is_none() && !fields.strange {
            self.note(&fields.start, path, "the verification checks nothing")
                .suggest("add 'schema', 'checks' or both");
        }
        let min_score = self.number(&fields, "min_score", 0.0..=100.0).unwrap_or(100.0);
        let value = value.unwrap_or_else(|| nothing(tree, path));
        Some(Verify { value, schema, checks, min_score })
    }

    fn check<'t>(&mut self, tree: &'t Tree, path: &str) -> Option<Check<'t>> {
        let fields = self.fields(tree, path, "Check")?;
        let weight = self.number(&fields, "weight", 0.0..=1e9).unwrap_or(1.0);
        if weight <= 0.0 {
            let span = fields.get("weight").map(|tree| tree.span.clone()).unwrap_or_default();
            self.note(&span, &fields.path("weight"), "a weight is above 0")
                .suggest("leave the check out");
        }
        let name = self.required(&fields, "name", "NAME");
        let name = name.and_then(|name| self.name(name, &fields.path("name")));
        let that = self.required(&fields, "that", "\"{{ value … }}\"");
        let that = that.and_then(|that| self.condition(that, &fields.path("that")));
        Some(Check { name: name.unwrap_or("check").to_owned(), that: that?, weight })
    }
}

/// Stands for a condition that could not be read; the flow is refused anyway.
fn always<'t>(tree: &'t Tree, path: &str) -> Option<Placed<'t, Expr>> {
    let value = Expr::compile("true").ok()?;
    Some(Placed { value, tree, path: path.to_owned() })
}

/// Stands for a template that could not be read; the flow is refused anyway.
fn nothing<'t>(tree: &'t Tree, path: &str) -> Placed<'t, Template> {
    let value = Template::Literal(std::sync::Arc::new(Value::Null));
    Placed { value, tree, path: path.to_owned() }
}
