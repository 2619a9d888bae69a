//! Which names an expression may use at one place of a flow.

use super::draft::{Body, Flow};

/// Functions that every expression has.
pub(super) const FUNCTIONS: &[&str] = &["range", "dict", "namespace"];

/// Names with a meaning of their own, which no item may take.
const RESERVED: &[&str] = &[
    "input", "vars", "steps", "run", "index", "loop", "value", "effect", "probe", "secret",
    "debug", "self", "true", "false", "none", "True", "False", "None", "and", "or", "not", "in",
    "is", "if", "else",
];

/// What is known of a run.
pub(super) const RUN: &[&str] = &["id", "flow", "version", "started_at", "key"];

/// What is known of a step.
pub(super) const STEP: &[&str] = &["output", "status", "error", "visit"];

/// What is known of a failure.
pub(super) const ERROR: &[&str] = &["code", "message", "certain", "attempt"];

/// What is known of an effect in doubt.
pub(super) const EFFECT: &[&str] = &["key", "args"];

/// What is known of a probe that has ended.
pub(super) const PROBE: &[&str] = &["output", "error"];

/// What is known of a loop.
pub(super) const LOOP: &[&str] = &["index", "last"];

/// Whether an item can't have this name.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || FUNCTIONS.contains(&name) || numbered_step(name).is_some()
}

/// `N` of `step_N_output`.
pub(super) fn numbered_step(name: &str) -> Option<usize> {
    name.strip_prefix("step_")?.strip_suffix("_output")?.parse().ok()
}

/// A place of a flow, as far as names go.
#[derive(Debug)]
pub(super) struct Scope<'s, 't> {
    pub(super) flow: &'s Flow<'t>,
    /// The lists around the place, outermost first.
    pub(super) levels: Vec<Level<'s, 't>>,
    /// The item names of the maps around the place, outermost first.
    pub(super) items: Vec<&'s str>,
    /// Loops around the place.
    pub(super) loops: usize,
    /// Whether `value` is the value that is verified.
    pub(super) value: bool,
    /// Whether `effect` is the effect in doubt.
    pub(super) effect: bool,
    /// Whether `probe` is the probe that has ended.
    pub(super) probe: bool,
    /// JSON Schema of what that probe gave, if there is one.
    pub(super) probed: Option<&'s serde_json::Value>,
    /// JSON Schema of what a call gave back, where that is `output`.
    pub(super) output: Option<&'s serde_json::Value>,
}

/// A list around a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level<'s, 't> {
    pub(super) body: &'s Body<'t>,
    pub(super) at: At,
}

/// Where in a list a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// In this node, before it is done.
    In(usize),
    /// In this node, when it is done: what comes next.
    After(usize),
    /// After the whole list.
    End,
}

/// What a step's id stands for at a place.
pub(super) enum Found<'s, 't> {
    /// This node, which is settled.
    Settled(&'s super::draft::Node<'t>),
    /// This node of the list that `reader` stands in, which may not be settled yet.
    Unsettled { list: Level<'s, 't>, node: usize, reader: usize },
    /// The node that asks, or one that it stands in.
    Itself,
    /// No node that shows here.
    Unknown,
}

impl<'s, 't> Scope<'s, 't> {
    /// What `steps.ID` stands for: the node of the nearest list that has one of this id.
    pub(super) fn step(&self, id: &str) -> Found<'s, 't> {
        for level in self.levels.iter().rev() {
            if let Some(node) = level.body.index.get(id) {
                return settled(*level, *node);
            }
        }
        Found::Unknown
    }

    /// The same for the Nth node of the flow's own list, from 1.
    pub(super) fn numbered(&self, number: usize) -> Found<'s, 't> {
        let top = self.levels.first().copied();
        match (top, number.checked_sub(1)) {
            (Some(level), Some(node)) if node < level.body.nodes.len() => settled(level, node),
            _ => Found::Unknown,
        }
    }

    /// Every id that shows here, for suggestions.
    pub(super) fn ids(&self) -> impl Iterator<Item = &'s str> {
        self.levels.iter().flat_map(|level| level.body.index.keys().map(String::as_str))
    }
}

fn settled<'s, 't>(level: Level<'s, 't>, node: usize) -> Found<'s, 't> {
    let found = Found::Settled(&level.body.nodes[node]);
    let reader = match level.at {
        At::End => return found,
        At::After(reader) if reader == node => return found,
        At::In(reader) if reader == node => return Found::Itself,
        At::After(reader) | At::In(reader) => reader,
    };
    let graph = &level.body.graph;
    // Where the edges make no sense, nothing is said about what follows from them.
    if !graph.is_sound() || graph.settled_before(node, reader) {
        return found;
    }
    Found::Unsettled { list: level, node, reader }
}
