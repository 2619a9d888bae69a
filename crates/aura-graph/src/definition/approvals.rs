//! Whether an approval approves something definite: a call of a later node, of which everything is settled when the
//! question is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Approval, Body, Kind, Node};
use super::references::Checker;
use super::scope::{self, At};
use super::suggest::did_you_mean;
use super::yaml::short;

impl<'c, 't> Checker<'c, 't> {
    /// Checks that an approval approves a call that is known when it asks, and stays as it is until it is made.
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
        let mut names = BTreeSet::new();
        if let Some(with) = &tool.with {
            with.value.each_reference(&mut |_, reference| {
                names.insert(reference.0.clone());
            });
        }
        let uses_vars = names.iter().any(|name| name.split('.').next() == Some("vars"));
        let setters = if uses_vars { self.setters(at, target) } else { BTreeMap::new() };
        for name in names {
            let Some(late) = self.late(&name, at, &setters) else { continue };
            let (asker, of_name) = (&nodes[at].id, &of.value);
            let name = short(&name);
            let (message, suggestion) = match late {
                Late::Between(id) => (
                    format!(
                        "'{of_name}' uses '{name}', which '{id}' settles only after this approval"
                    ),
                    format!("move '{id}' above the approval"),
                ),
                Late::Beside(id) => (
                    format!(
                        "'{of_name}' uses '{name}', which '{id}' may change between this approval \
                         and the call"
                    ),
                    format!("let '{id}' come before '{asker}', or use another variable"),
                ),
            };
            self.findings.add(of.span(), &of.path, message).suggest(suggestion);
        }
    }

    /// The node that decides what a name in a call stands for, if it may do so after its approval was asked for.
    /// What a jump back visits again is another visit, and is asked about again when it runs.
    fn late(
        &self,
        name: &str,
        approval: usize,
        setters: &BTreeMap<&str, Late<'c>>,
    ) -> Option<Late<'c>> {
        let level = self.scope.levels.last()?;
        let unsettled = |node: &usize| !level.body.graph.settled_before(*node, approval);
        let between = |node: usize| Late::Between(&level.body.nodes[node].id);
        let segments: Vec<&str> = name.split('.').collect();
        match segments.as_slice() {
            ["steps", step, ..] => {
                level.body.index.get(*step).copied().filter(unsettled).map(between)
            }
            ["vars"] => setters.values().next().copied(),
            ["vars", name, ..] => setters.get(name).copied(),
            [head, ..] if self.scope.levels.len() == 1 => {
                let node = scope::numbered_step(head)?.checked_sub(1)?;
                let exists = node < level.body.nodes.len();
                Some(node).filter(|_| exists).filter(unsettled).map(between)
            }
            _ => None,
        }
    }

    /// The variables that may be set between an approval and its call, each with a node that may do so.
    fn setters(&self, approval: usize, target: usize) -> BTreeMap<&'c str, Late<'c>> {
        let mut found = BTreeMap::new();
        let Some((level, outer)) = self.scope.levels.split_last() else { return found };
        let graph = &level.body.graph;
        for (at, node) in level.body.nodes.iter().enumerate() {
            let late = at != approval && !graph.settled_before(at, approval);
            if late && !graph.settled_before(target, at) {
                let between = graph.settled_before(at, target);
                let late = if between { Late::Between(&node.id) } else { Late::Beside(&node.id) };
                each_set(node, &mut |name| {
                    found.entry(name).or_insert(late);
                });
            }
        }
        // The lists around it: what runs beside the node that holds the approval, and beside the body within it.
        let mut inner = level.body;
        for level in outer.iter().rev() {
            let At::In(holder) = level.at else { return found };
            let graph = &level.body.graph;
            let beside = level.body.nodes.iter().enumerate().filter(|(at, _)| {
                *at != holder
                    && !graph.settled_before(*at, holder)
                    && !graph.settled_before(holder, *at)
            });
            let bodies = level.body.nodes[holder].kind.iter();
            let bodies = bodies.flat_map(|kind| beside_within(kind, inner));
            let within = bodies.flat_map(|body| &body.nodes);
            for node in beside.map(|(_, node)| node).chain(within) {
                each_set(node, &mut |name| {
                    found.entry(name).or_insert(Late::Beside(&node.id));
                });
            }
            inner = level.body;
        }
        found
    }
}

/// A node that may decide what a call is after the call was approved.
#[derive(Clone, Copy)]
enum Late<'n> {
    /// It runs between the two, for certain.
    Between(&'n str),
    /// It runs beside them, so that it may.
    Beside(&'n str),
}

/// The bodies of a node that may run while `body`, which is one of them, does.
fn beside_within<'b, 't>(kind: &'b Kind<'t>, body: &Body<'t>) -> Vec<&'b Body<'t>> {
    match kind {
        Kind::Parallel(branches) => {
            let bodies = branches.iter().map(|(_, branch)| branch);
            bodies.filter(|branch| !std::ptr::eq(*branch, body)).collect()
        }
        // Other items run the same nodes.
        Kind::Map(map) if map.concurrency > 1 => vec![&map.body],
        _ => Vec::new(),
    }
}

/// Every variable that a node may set. Lists within lists are bounded, so this may recurse.
fn each_set<'n>(node: &'n Node<'_>, take: &mut dyn FnMut(&'n str)) {
    let Some(kind) = &node.kind else { return };
    if let Kind::Set(entries) = kind {
        for (name, _) in entries {
            take(name);
        }
    }
    for node in kind.bodies().into_iter().flat_map(|body| &body.nodes) {
        each_set(node, take);
    }
}
