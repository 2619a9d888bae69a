//! The edges of one list of nodes: which node waits for which, where `next` and `on_error` lead, and what is
//! therefore certain to be settled before a node starts.

use std::collections::BTreeSet;

use super::diagnostic::Findings;
use super::draft::{Body, Node, OnError, Placed};
use super::jumps;
use super::model::{Edge, Via};
use super::suggest::did_you_mean;

/// The edges of one list.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Edges into each node.
    pub(super) incoming: Vec<Vec<Edge>>,
    /// Where each route of `next` leads, in the order of the draft; nothing where it leads nowhere.
    pub(super) routes: Vec<Vec<Option<Target>>>,
    /// The handler of each node.
    pub(super) handlers: Vec<Option<usize>>,
    /// Where each node leads when its call would pass a limit of the budget.
    pub(super) degrades: Vec<Option<usize>>,
    /// For each node, those that are settled before it starts. Empty where the edges make no sense.
    before: Vec<Bits>,
}

/// Where a route leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) to: usize,
    pub(super) back: bool,
}

impl Graph {
    /// Whether `other` is certain to be settled before `node` starts.
    pub(super) fn settled_before(&self, other: usize, node: usize) -> bool {
        self.before.get(node).is_some_and(|before| before.has(other))
    }

    /// Whether the edges make sense; if not, that is noted, and nothing follows from them.
    pub(super) fn is_sound(&self) -> bool {
        self.before.len() == self.incoming.len()
    }
}

/// A set of places in a list.
#[derive(Debug, Clone, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn add(&mut self, at: usize) {
        if self.0.len() <= at / 64 {
            self.0.resize(at / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

/// Works out the edges of a list and of every list within it. Lists within lists are bounded, so this may recurse.
pub(super) fn connect(body: &mut Body<'_>, ids: &BTreeSet<String>, findings: &mut Findings) {
    let mut list = List { body, ids, findings, sound: true };
    let graph = list.graph();
    body.graph = graph;
    for node in &mut body.nodes {
        for inner in node.kind.iter_mut().flat_map(super::draft::Kind::bodies_mut) {
            connect(inner, ids, findings);
        }
    }
}

/// One list, while its edges are worked out.
struct List<'l, 't> {
    body: &'l Body<'t>,
    /// The ids of the whole flow.
    ids: &'l BTreeSet<String>,
    findings: &'l mut Findings,
    /// Whether every name was found, so that more can be said about the edges.
    sound: bool,
}

impl List<'_, '_> {
    fn graph(&mut self) -> Graph {
        let nodes = &self.body.nodes;
        let mut graph = Graph::default();
        let mut afters = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            afters.push(node.after.as_ref().map(|names| self.afters(at, names)));
            graph.routes.push(
                node.next
                    .iter()
                    .map(|route| {
                        let to = self.find(&route.to)?;
                        Some(Target { to, back: to <= at })
                    })
                    .collect(),
            );
            graph.handlers.push(match &node.on_error {
                OnError::Goto(name) => {
                    self.handler(at, name, "use fail, continue or the id of a node of this list")
                }
                OnError::Fail | OnError::Continue => None,
            });
            let degrades = node
                .on_budget
                .as_ref()
                .and_then(|name| self.handler(at, name, "use the id of a node of this list"));
            graph.degrades.push(degrades);
        }
        graph.incoming = incoming(&graph, &afters);
        if !self.sound || nodes.iter().any(|node| node.id.is_empty()) {
            // What is spelled out is certain also where something else could not be found.
            let mut spelled = graph.incoming.clone();
            for edges in &mut spelled {
                edges.retain(|edge| edge.via != Via::Implicit);
            }
            self.cycles(&spelled);
            return graph;
        }
        if self.cycles(&graph.incoming) {
            return graph;
        }
        self.ways_in(&graph);
        jumps::check(self.body, &graph, self.findings);
        graph.before = before(&graph.incoming);
        graph
    }

    fn afters(&mut self, at: usize, names: &[Placed<'_, String>]) -> Vec<usize> {
        let mut found = Vec::new();
        for name in names {
            match self.find(name) {
                Some(other) if other == at => {
                    let message = format!("'{}' can't wait for itself", name.value);
                    self.findings.add(name.span(), &name.path, message).suggest("leave it out");
                    self.sound = false;
                }
                other => found.extend(other),
            }
        }
        found
    }

    fn handler(
        &mut self,
        at: usize,
        name: &Placed<'_, String>,
        others: &'static str,
    ) -> Option<usize> {
        let known = self.findings.len();
        let Some(found) = self.find(name) else {
            if let Some(finding) = self.findings.since(known) {
                finding.suggest_else(others);
            }
            return None;
        };
        if found == at {
            let message = format!("'{}' can't handle its own failure", name.value);
            self.findings.add(name.span(), &name.path, message).suggest("name another node");
            self.sound = false;
            return None;
        }
        Some(found)
    }

    /// The place of the node that a name stands for.
    fn find(&mut self, name: &Placed<'_, String>) -> Option<usize> {
        if let Some(at) = self.body.index.get(&name.value) {
            return Some(*at);
        }
        self.sound = false;
        if self.ids.contains(&name.value) {
            let message = format!("the node '{}' stands in another list", name.value);
            self.findings
                .add(name.span(), &name.path, message)
                .suggest("edges stay within one list: name the node of this list that holds it");
            return None;
        }
        let known = self.body.index.keys().map(String::as_str);
        let near =
            (!self.findings.is_crowded()).then(|| did_you_mean(&name.value, known)).flatten();
        let message = format!("no node of this list has the id '{}'", name.value);
        self.findings.add(name.span(), &name.path, message).suggest_maybe(near);
        None
    }

    /// Notes every cycle, each with its nodes by name.
    fn cycles(&mut self, incoming: &[Vec<Edge>]) -> bool {
        /// Cycles told of one list; each costs a pass over its edges.
        const TOLD: usize = 10;
        let mut edges = incoming.to_vec();
        for told in 0..TOLD {
            let Some(cycle) = find_cycle(&edges) else { return told > 0 };
            let names: Vec<&str> = cycle
                .iter()
                .chain(cycle.first())
                .map(|at| self.body.nodes[*at].id.as_str())
                .collect();
            // The edge to point at: one that the file spells out, rather than the order of its lines.
            let spelled = |at: usize| {
                let from = cycle[(cycle.iter().position(|n| *n == at).unwrap_or(0) + cycle.len()
                    - 1)
                    % cycle.len()];
                edges[at]
                    .iter()
                    .position(|e| e.from == from && e.via != Via::Implicit)
                    .map(|e| (at, e))
            };
            let Some((at, edge)) = cycle.iter().find_map(|at| spelled(*at)) else { return true };
            let edge = edges[at].remove(edge);
            let (span, path) = self.edge_place(at, edge);
            self.findings
                .add(&span, &path, format!("cycle: {}", names.join(" → ")))
                .suggest("leave one of these edges out, or repeat nodes with a 'loop'");
        }
        true
    }

    /// Where the file says that there is this edge into `at`.
    fn edge_place(&self, at: usize, edge: Edge) -> (std::ops::Range<usize>, String) {
        let (node, from) = (&self.body.nodes[at], &self.body.nodes[edge.from]);
        let name = match edge.via {
            Via::After => node.after.iter().flatten().find(|name| name.value == from.id),
            Via::Next => from.next.iter().map(|route| &route.to).find(|to| to.value == node.id),
            Via::Error => match &from.on_error {
                OnError::Goto(name) if name.value == node.id => Some(name),
                _ => from.on_budget.as_ref(),
            },
            Via::Implicit => None,
        };
        match name {
            Some(name) => (name.span().clone(), name.path.clone()),
            None => (node.span.clone(), node.path.clone()),
        }
    }

    /// Notes every node that no way leads to.
    fn ways_in(&mut self, graph: &Graph) {
        let nodes = &self.body.nodes;
        let mut reached = vec![false; nodes.len()];
        for at in order(&graph.incoming) {
            let edges = &graph.incoming[at];
            reached[at] = edges.is_empty()
                || edges
                    .iter()
                    .any(|edge| reached[edge.from] && may_be_live(&nodes[edge.from], *edge));
            let cause = edges.iter().find(|edge| reached[edge.from]);
            if let (false, Some(cause)) = (reached[at], cause) {
                let (node, from) = (&nodes[at], &nodes[cause.from]);
                let to = from.next.iter().find(|route| route.when.is_none());
                let to = to.map_or("elsewhere", |route| route.to.value.as_str());
                let message =
                    format!("no way leads to '{}': '{}' always goes to '{to}'", node.id, from.id);
                self.findings.add(&node.span, &node.path, message).suggest(format!(
                    "give the route of '{}' a 'when', or lead here by 'next' or 'after'",
                    from.id
                ));
            }
        }
    }
}

/// The edges into each node, by the rules for implicit order, `after`, `next` and `on_error`.
fn incoming(graph: &Graph, afters: &[Option<Vec<usize>>]) -> Vec<Vec<Edge>> {
    let mut incoming = vec![Vec::new(); afters.len()];
    let mut outside = vec![false; afters.len()];
    for from in 0..afters.len() {
        for target in graph.routes[from].iter().flatten().filter(|target| !target.back) {
            outside[target.to] = true;
            let edge = Edge { from, via: Via::Next };
            if !incoming[target.to].contains(&edge) {
                incoming[target.to].push(edge);
            }
        }
        for handler in [graph.handlers[from], graph.degrades[from]].into_iter().flatten() {
            outside[handler] = true;
            let edge = Edge { from, via: Via::Error };
            if !incoming[handler].contains(&edge) {
                incoming[handler].push(edge);
            }
        }
    }
    let mut above = None;
    for (at, after) in afters.iter().enumerate() {
        match after {
            Some(after) => {
                incoming[at].extend(after.iter().map(|from| Edge { from: *from, via: Via::After }));
            }
            None if outside[at] => {}
            None => incoming[at].extend(above.map(|from| Edge { from, via: Via::Implicit })),
        }
        if !outside[at] {
            above = Some(at);
        }
        incoming[at].sort_by_key(|edge| (edge.from, edge.via as u8));
    }
    incoming
}

/// Whether an edge out of a node that runs can be live.
fn may_be_live(from: &Node<'_>, edge: Edge) -> bool {
    match edge.via {
        // Routes are chosen also where the node's own `when` does not hold.
        Via::Implicit => from.next.iter().all(|route| route.when.is_some()),
        Via::After | Via::Next | Via::Error => true,
    }
}

/// The nodes in an order in which each comes after those that it waits for; nodes of cycles are left out.
fn order(incoming: &[Vec<Edge>]) -> Vec<usize> {
    let mut waits: Vec<usize> = incoming.iter().map(Vec::len).collect();
    let mut outgoing = vec![Vec::new(); incoming.len()];
    for (at, edges) in incoming.iter().enumerate() {
        for edge in edges {
            outgoing[edge.from].push(at);
        }
    }
    let mut order: Vec<usize> = (0..incoming.len()).filter(|at| waits[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for to in &outgoing[at] {
            waits[*to] -= 1;
            if waits[*to] == 0 {
                order.push(*to);
            }
        }
    }
    order
}

/// A cycle, in the direction of its edges.
fn find_cycle(incoming: &[Vec<Edge>]) -> Option<Vec<usize>> {
    let mut left = vec![true; incoming.len()];
    for at in order(incoming) {
        left[at] = false;
    }
    // Every node that is left waits for another one that is left, so walking back must meet itself.
    let mut at = left.iter().position(|left| *left)?;
    let mut way: Vec<usize> = Vec::new();
    loop {
        if let Some(start) = way.iter().position(|seen| *seen == at) {
            let mut cycle = way.split_off(start);
            cycle.reverse();
            let first = cycle.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(n, _)| n);
            cycle.rotate_left(first);
            return Some(cycle);
        }
        way.push(at);
        at = incoming[at].iter().map(|edge| edge.from).find(|from| left[*from])?;
    }
}

fn before(incoming: &[Vec<Edge>]) -> Vec<Bits> {
    let mut before = vec![Bits::default(); incoming.len()];
    for at in order(incoming) {
        let mut bits = Bits::default();
        for edge in &incoming[at] {
            bits.add(edge.from);
            bits.add_all(&before[edge.from]);
        }
        before[at] = bits;
    }
    before
}
