//! What a flow would do, as far as it can be told without doing it.

mod known;
mod words;

use std::collections::BTreeSet;

use aura_core::budget::Budget;
use aura_core::effect::EffectClass;
use aura_core::tool::{ClassRule, ToolDef};
use aura_graph::Flow;
use aura_graph::definition::{Body, Child, Flows, Kind, Loop, LoopMode, Map, Node};
use aura_graph::expr::{Part, Template};
use serde::Serialize;
use serde_json::{Value, json};

use self::known::{Known, field, host};
use self::words::{edges, if_killed, words};

/// A node of a plan.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    /// Its path; `[]` stands for every item, iteration or branch.
    pub(crate) path: String,
    /// How deep it lies.
    #[serde(skip)]
    pub(crate) depth: usize,
    /// The name in its line.
    #[serde(skip)]
    pub(crate) label: String,
    /// The kind of node; `body` for a branch or case.
    pub(crate) kind: &'static str,
    /// What it is, in words.
    pub(crate) what: String,
    /// The tool that it calls.
    pub(crate) tool: Option<String>,
    /// The class of the call, where it is known.
    pub(crate) class: Option<EffectClass>,
    /// The host or file that it calls, where it is known.
    pub(crate) target: Option<String>,
    /// Its condition.
    pub(crate) when: Option<String>,
    /// Where control comes from and goes to, where that is not from the node above and to the node below.
    pub(crate) edges: Vec<String>,
    /// What the steps within it may use up together.
    pub(crate) budget: Option<Budget>,
    /// What a try costs at most, as the file says it.
    pub(crate) cost: Option<String>,
    /// Tries of a call, at most.
    pub(crate) attempts: Option<u32>,
    /// What would be in doubt if the process were killed at it.
    pub(crate) if_killed: Option<String>,
    /// What undoes it if the run fails or is cancelled after it.
    pub(crate) compensate: Option<Undo>,
}

/// The compensation of a node.
#[derive(Debug, Serialize)]
pub(crate) struct Undo {
    /// The tool that it calls.
    pub(crate) tool: String,
    /// The class of the call, where it is known.
    pub(crate) class: Option<EffectClass>,
    /// The host or file that it calls, where it is known.
    pub(crate) target: Option<String>,
    /// Tries of the call, at most.
    pub(crate) attempts: u32,
    /// What would be in doubt if the process were killed at it.
    pub(crate) if_killed: Option<String>,
}

/// A number that may depend on what only a run knows.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Bound {
    /// The largest number, where it is known.
    pub(crate) most: u64,
    /// What multiplies it further: maps and loops whose size is not known.
    pub(crate) times_unknown: BTreeSet<String>,
}

impl Bound {
    fn of(most: u64) -> Self {
        Self { most, times_unknown: BTreeSet::new() }
    }

    fn add(&mut self, other: Self) {
        self.most = self.most.saturating_add(other.most);
        self.times_unknown.extend(other.times_unknown);
    }

    fn times(mut self, number: u64) -> Self {
        self.most = self.most.saturating_mul(number);
        self
    }
}

/// What a flow would do.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Plan {
    /// Its nodes, bodies after the node that they belong to.
    pub(crate) nodes: Vec<Item>,
    /// Names of the secrets that it uses.
    pub(crate) secrets: BTreeSet<String>,
    /// Steps, at most.
    pub(crate) steps: Bound,
    /// Calls of tools with all their tries, at most.
    pub(crate) calls: Bound,
}

/// Plans a flow, for an input where there is one.
pub(crate) fn plan(flows: &Flows, input: Option<&Value>) -> Plan {
    let flow = &flows.main;
    let known = Known::new(input);
    let mut planner = Planner { flows, flow, known, plan: Plan::default(), above: Vec::new() };
    let (steps, calls) = planner.body(&flow.body, "", 0);
    planner.plan.steps = steps;
    planner.plan.calls = calls;
    planner.plan
}

struct Planner<'a> {
    flows: &'a Flows,
    flow: &'a Flow,
    known: Known,
    plan: Plan,
    /// Files of the flows around the one that is planned.
    above: Vec<String>,
}

impl<'a> Planner<'a> {
    /// Adds the nodes of a body; gives back the bounds of one passage through it.
    fn body(&mut self, body: &Body, path: &str, depth: usize) -> (Bound, Bound) {
        let (mut steps, mut calls) = (Bound::default(), Bound::default());
        for (place, node) in body.nodes.iter().enumerate() {
            let slash = if path.is_empty() { "" } else { "/" };
            let here = format!("{path}{slash}{}", node.id);
            let (mut own_steps, mut own_calls) = self.node(body, place, (&here, depth));
            let visits = visits(body, place);
            own_steps = own_steps.times(visits);
            own_calls = own_calls.times(visits);
            steps.add(own_steps);
            calls.add(own_calls);
        }
        (steps, calls)
    }

    fn node(&mut self, body: &Body, place: usize, (path, depth): (&str, usize)) -> (Bound, Bound) {
        let node = &body.nodes[place];
        let mut item = Item {
            path: path.to_owned(),
            depth,
            label: node.id.clone(),
            kind: node.kind.word(),
            what: words(body, node),
            tool: None,
            class: None,
            target: None,
            when: node.when.as_ref().map(|when| when.source().to_owned()),
            edges: edges(body, place),
            budget: node.budget,
            cost: node.cost.as_ref().map(|cost| words::cost(&cost.most)),
            attempts: None,
            if_killed: None,
            compensate: None,
        };
        let mut calls = Bound::default();
        if let Kind::Tool { tool, with } = &node.kind {
            let looks = node.probe.as_ref().map(|probe| &probe.with);
            for with in [with].into_iter().chain(looks) {
                with.each_secret(&mut |_, name| {
                    self.plan.secrets.insert(name.to_owned());
                });
            }
            if let Some(def) = self.flow.tools.get(tool) {
                item.class = node.effect.or_else(|| self.class(def, with));
                item.if_killed = Some(if_killed(node, item.class, def));
            }
            item.target = self.target(with);
            item.tool = Some(tool.clone());
            item.attempts = Some(node.retry.max_attempts);
            calls = Bound::of(u64::from(node.retry.max_attempts));
            item.compensate = node.compensate.as_ref().and_then(|undo| self.undo(undo));
            if let Some(undo) = &item.compensate {
                calls.add(Bound::of(u64::from(undo.attempts)));
            }
        }
        if let Kind::Code(function) = &node.kind {
            item.if_killed = Some(if function.tools.is_empty() {
                "nothing: it runs again from its journal".to_owned()
            } else {
                "the call that was open, by the class of its tool".to_owned()
            });
        }
        self.plan.nodes.push(item);
        let mut steps = Bound::of(1);
        let (inner_steps, inner_calls) = self.inside(node, path, depth + 1);
        steps.add(inner_steps);
        calls.add(inner_calls);
        (steps, calls)
    }

    /// What undoes a node.
    fn undo(&mut self, node: &Node) -> Option<Undo> {
        let Kind::Tool { tool, with } = &node.kind else { return None };
        with.each_secret(&mut |_, name| {
            self.plan.secrets.insert(name.to_owned());
        });
        let def = self.flow.tools.get(tool)?;
        let class = node.effect.or_else(|| self.class(def, with));
        Some(Undo {
            tool: tool.clone(),
            class,
            target: self.target(with),
            attempts: node.retry.max_attempts,
            if_killed: Some(if_killed(node, class, def)),
        })
    }

    /// The bodies of a node.
    fn inside(&mut self, node: &Node, path: &str, depth: usize) -> (Bound, Bound) {
        match &node.kind {
            Kind::Map(map) => {
                let count = self.items(map);
                self.repeated(&map.body, node, (path, depth), count)
            }
            Kind::Loop(again) => {
                let count = self.iterations(again);
                self.repeated(&again.body, node, (path, depth), Some(count))
            }
            Kind::Parallel(branches) => {
                let (mut steps, mut calls) = (Bound::default(), Bound::default());
                for branch in branches {
                    let (more, more_calls) =
                        self.named(&branch.body, &branch.name, "", (path, depth));
                    steps.add(more);
                    calls.add(more_calls);
                }
                (steps, calls)
            }
            Kind::Code(function) if !function.tools.is_empty() => {
                // How often it calls is known to the function alone.
                let mut calls = Bound::of(u64::from(node.retry.max_attempts));
                calls.times_unknown.insert(node.id.clone());
                (Bound::default(), calls)
            }
            Kind::Switch { cases, otherwise } => {
                let (mut steps, mut calls) = (Bound::default(), Bound::default());
                for (number, case) in cases.iter().enumerate() {
                    let when = case.when.source();
                    let (more, more_calls) =
                        self.named(&case.body, &number.to_string(), when, (path, depth));
                    larger(&mut steps, more);
                    larger(&mut calls, more_calls);
                }
                if let Some(body) = otherwise {
                    let (more, more_calls) = self.named(body, "else", "", (path, depth));
                    larger(&mut steps, more);
                    larger(&mut calls, more_calls);
                }
                (steps, calls)
            }
            Kind::Child(child) => self.child(child, node, (path, depth)),
            _ => (Bound::default(), Bound::default()),
        }
    }

    /// The nodes of a child run. A flow that starts itself has no bound that could be told.
    fn child(
        &mut self,
        child: &Child,
        node: &Node,
        (path, depth): (&str, usize),
    ) -> (Bound, Bound) {
        let flows: &'a Flows = self.flows;
        let heading = self.flow.children.get(&child.file);
        let found = heading.and_then(|heading| flows.files.get_key_value(&heading.file));
        let Some((file, flow)) = found else { return (Bound::default(), Bound::default()) };
        if self.above.contains(file) || self.flow.file.as_ref() == Some(file) {
            let unknown = Bound { most: 1, times_unknown: [node.id.clone()].into() };
            return (unknown.clone(), unknown);
        }
        let input = match &child.input {
            None => Some(json!({})),
            Some(input) => self.known.value(input),
        };
        let outer = std::mem::replace(&mut self.flow, flow);
        let known = std::mem::replace(&mut self.known, Known::new(input.as_ref()));
        self.above.extend(outer.file.clone());
        let bounds = self.body(&flow.body, path, depth);
        (self.flow, self.known) = (outer, known);
        if outer.file.is_some() {
            self.above.pop();
        }
        bounds
    }

    fn repeated(
        &mut self,
        body: &Body,
        node: &Node,
        (path, depth): (&str, usize),
        count: Option<u64>,
    ) -> (Bound, Bound) {
        let (steps, calls) = self.body(body, &format!("{path}[]"), depth);
        let many = |bound: Bound| match count {
            Some(count) => bound.times(count),
            None if bound.most == 0 => bound,
            None => {
                let mut bound = bound;
                bound.times_unknown.insert(node.id.clone());
                bound
            }
        };
        (many(steps), many(calls))
    }

    fn named(
        &mut self,
        body: &Body,
        name: &str,
        when: &str,
        (path, depth): (&str, usize),
    ) -> (Bound, Bound) {
        let path = format!("{path}[{name}]");
        self.plan.nodes.push(Item {
            path: path.clone(),
            depth,
            label: format!("[{name}]"),
            kind: "body",
            what: String::new(),
            tool: None,
            class: None,
            target: None,
            when: (!when.is_empty()).then(|| when.to_owned()),
            edges: Vec::new(),
            budget: None,
            cost: None,
            attempts: None,
            if_killed: None,
            compensate: None,
        });
        self.body(body, &path, depth + 1)
    }

    fn items(&self, map: &Map) -> Option<u64> {
        self.known.value(&map.items)?.as_array().map(|items| items.len() as u64)
    }

    fn iterations(&self, again: &Loop) -> u64 {
        match &again.mode {
            LoopMode::Times(times) => {
                self.known.value(times).and_then(|times| times.as_u64()).unwrap_or(again.max)
            }
            LoopMode::While(_) | LoopMode::Until(_) => again.max,
        }
    }

    /// The class of a call, as far as its arguments are known.
    fn class(&self, def: &ToolDef, with: &Template) -> Option<EffectClass> {
        let ClassRule::ByParam { param, .. } = &def.class else {
            return Some(def.class.class_of(&Value::Null));
        };
        let args = match field(with, param) {
            None => json!({}),
            Some(template) => json!({ param: self.known.value(&template)? }),
        };
        Some(def.class.class_of(&args))
    }

    /// The host of a URL, or the path of a file.
    fn target(&self, with: &Template) -> Option<String> {
        if let Some(url) = field(with, "url") {
            return match self.known.value(&url) {
                Some(Value::String(url)) => host(&url, true),
                Some(_) => None,
                None => match &url {
                    Template::Text(parts) => match parts.first() {
                        Some(Part::Text(text)) => host(text, false),
                        _ => None,
                    },
                    _ => None,
                },
            };
        }
        let path = self.known.value(&field(with, "path")?)?;
        path.as_str().map(str::to_owned)
    }
}

fn larger(bound: &mut Bound, other: Bound) {
    bound.most = bound.most.max(other.most);
    bound.times_unknown.extend(other.times_unknown);
}

/// How often a node is visited at most, through jumps back over it.
fn visits(body: &Body, place: usize) -> u64 {
    let jumps = body.nodes.iter().enumerate().flat_map(|(from, node)| {
        node.next.iter().filter(|route| route.back).map(move |route| (route.to, from))
    });
    let over = jumps.filter(|(to, from)| (*to..=*from).contains(&place));
    over.map(|(to, _)| u64::from(body.nodes[to].max_visits)).max().unwrap_or(1)
}

/// Nodes of a body and of the bodies within it.
pub(crate) fn count(body: &Body) -> u64 {
    let inner = |node: &Node| node.kind.bodies().iter().map(|(_, body)| count(body)).sum::<u64>();
    body.nodes.iter().map(|node| 1 + inner(node)).sum()
}
