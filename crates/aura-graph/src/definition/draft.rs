//! A flow between text and model: every part has been read and still knows where it stands, but ids are names yet,
//! not places, and nothing says that the parts fit together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use aura_core::budget::Budget;
use aura_core::effect::EffectClass;
use aura_core::task::{Idempotency, OnUnknown, Retry};
use aura_core::tool::ToolDef;
use serde_json::Value;

use super::edges::Graph;
use super::tree::Tree;
use crate::expr::{Expr, Template};

/// A part of a flow and the value of the file that it was read from.
#[derive(Debug)]
pub(super) struct Placed<'t, T> {
    pub(super) value: T,
    pub(super) tree: &'t Tree,
    pub(super) path: String,
}

impl<T> Placed<'_, T> {
    pub(super) fn span(&self) -> &Range<usize> {
        &self.tree.span
    }
}

#[derive(Debug)]
pub(super) struct Flow<'t> {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) input: Option<Value>,
    pub(super) vars: Vec<(String, Placed<'t, Template>)>,
    pub(super) deadline_ms: Option<u64>,
    pub(super) signals: Option<BTreeMap<String, Value>>,
    pub(super) body: Body<'t>,
    pub(super) output: Option<Placed<'t, Template>>,
    pub(super) budget: Option<Budget>,
}

/// What a call costs.
#[derive(Debug)]
pub(super) struct NodeCost<'t> {
    pub(super) most: Cost<'t>,
    pub(super) actual: Option<Cost<'t>>,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

#[derive(Debug)]
pub(super) struct Cost<'t> {
    pub(super) usd: Option<Placed<'t, Template>>,
    pub(super) tokens: Option<Placed<'t, Template>>,
}

#[derive(Debug, Default)]
pub(super) struct Body<'t> {
    pub(super) nodes: Vec<Node<'t>>,
    /// Place of each node by its id.
    pub(super) index: BTreeMap<String, usize>,
    pub(super) graph: Graph,
}

#[derive(Debug)]
pub(super) struct Node<'t> {
    /// Empty where the file gives none that can be used; such a node is in no index.
    pub(super) id: String,
    /// Where the id stands, or the node where it has none.
    pub(super) span: Range<usize>,
    pub(super) path: String,
    pub(super) title: Option<String>,
    /// Nothing where the file gives no kind that can be used.
    pub(super) kind: Option<Kind<'t>>,
    pub(super) when: Option<Placed<'t, Expr>>,
    pub(super) after: Option<Vec<Placed<'t, String>>>,
    pub(super) next: Vec<Route<'t>>,
    pub(super) on_error: OnError<'t>,
    pub(super) retry: Retry,
    pub(super) timeout_ms: Option<u64>,
    pub(super) deadline_ms: Option<u64>,
    pub(super) heartbeat_ms: Option<u64>,
    pub(super) effect: Option<EffectClass>,
    pub(super) effect_span: Option<Range<usize>>,
    pub(super) on_unknown: OnUnknown,
    pub(super) probe: Option<Probe<'t>>,
    pub(super) idempotency: Option<Idempotency>,
    pub(super) max_visits: u32,
    pub(super) cost: Option<NodeCost<'t>>,
    pub(super) budget: Option<Budget>,
    pub(super) on_budget: Option<Placed<'t, String>>,
    /// A node of its own, in no list.
    pub(super) compensate: Option<Box<Node<'t>>>,
}

#[derive(Debug)]
pub(super) struct Route<'t> {
    pub(super) when: Option<Placed<'t, Expr>>,
    pub(super) to: Placed<'t, String>,
}

#[derive(Debug)]
pub(super) enum OnError<'t> {
    Fail,
    Continue,
    Goto(Placed<'t, String>),
}

#[derive(Debug)]
pub(super) enum Kind<'t> {
    Tool(Tool<'t>),
    Code(Function<'t>),
    Set(Vec<(String, Placed<'t, Template>)>),
    Switch { cases: Vec<(Placed<'t, Expr>, Body<'t>)>, otherwise: Option<Body<'t>> },
    Parallel(Vec<(String, Body<'t>)>),
    Map(Map<'t>),
    Loop(Loop<'t>),
    Sleep(Placed<'t, Template>),
    Wait { signal: Placed<'t, String>, timeout_ms: Option<u64> },
    Approval(Approval<'t>),
    Verify(Verify<'t>),
    Child(Child<'t>),
    Continue(Option<Placed<'t, Template>>),
}

#[derive(Debug)]
pub(super) struct Child<'t> {
    pub(super) file: String,
    pub(super) input: Option<Placed<'t, Template>>,
    pub(super) detached: bool,
}

#[derive(Debug)]
pub(super) struct Tool<'t> {
    pub(super) name: String,
    /// Nothing where no tool has the name.
    pub(super) def: Option<Rc<ToolDef>>,
    pub(super) with: Option<Placed<'t, Template>>,
    /// Where to point at what `with` lacks.
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

/// How to find out whether an effect happened.
#[derive(Debug)]
pub(super) struct Probe<'t> {
    /// Nothing where the file gives no tool that can be used.
    pub(super) tool: Option<Tool<'t>>,
    pub(super) done: Option<Placed<'t, Expr>>,
    pub(super) not_done: Option<Placed<'t, Expr>>,
    pub(super) output: Option<Placed<'t, Template>>,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

#[derive(Debug)]
pub(super) struct Function<'t> {
    pub(super) name: String,
    pub(super) with: Option<Placed<'t, Template>>,
    /// Tools that it may call, with their definitions.
    pub(super) tools: Vec<(String, Rc<ToolDef>)>,
}

#[derive(Debug)]
pub(super) struct Map<'t> {
    pub(super) items: Placed<'t, Template>,
    pub(super) name: String,
    pub(super) body: Body<'t>,
    pub(super) concurrency: u32,
    pub(super) collect: bool,
}

#[derive(Debug)]
pub(super) struct Loop<'t> {
    pub(super) mode: LoopMode<'t>,
    pub(super) max: u64,
    pub(super) collect: bool,
    pub(super) body: Body<'t>,
}

#[derive(Debug)]
pub(super) enum LoopMode<'t> {
    Times(Placed<'t, Template>),
    While(Placed<'t, Expr>),
    Until(Placed<'t, Expr>),
}

#[derive(Debug)]
pub(super) struct Approval<'t> {
    pub(super) of: Option<Placed<'t, String>>,
    pub(super) message: Option<Placed<'t, Template>>,
    pub(super) show: Option<Placed<'t, Template>>,
    pub(super) roles: Vec<String>,
    pub(super) quorum: u32,
    pub(super) expires_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Verify<'t> {
    pub(super) value: Placed<'t, Template>,
    pub(super) schema: Option<Value>,
    pub(super) checks: Vec<Check<'t>>,
    pub(super) min_score: f64,
}

#[derive(Debug)]
pub(super) struct Check<'t> {
    pub(super) name: String,
    pub(super) that: Placed<'t, Expr>,
    pub(super) weight: f64,
}

impl<'t> Kind<'t> {
    /// The word of the flow file.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Tool(_) => "tool",
            Self::Code(_) => "code",
            Self::Set(_) => "set",
            Self::Switch { .. } => "switch",
            Self::Parallel(_) => "parallel",
            Self::Map(_) => "map",
            Self::Loop(_) => "loop",
            Self::Sleep(_) => "sleep",
            Self::Wait { .. } => "wait",
            Self::Approval(_) => "approval",
            Self::Verify(_) => "verify",
            Self::Child(_) => "flow",
            Self::Continue(_) => "continue",
        }
    }

    /// The bodies within it.
    pub(super) fn bodies(&self) -> Vec<&Body<'t>> {
        match self {
            Self::Switch { cases, otherwise } => {
                cases.iter().map(|(_, body)| body).chain(otherwise).collect()
            }
            Self::Parallel(branches) => branches.iter().map(|(_, body)| body).collect(),
            Self::Map(map) => vec![&map.body],
            Self::Loop(again) => vec![&again.body],
            _ => Vec::new(),
        }
    }

    /// The bodies within it, to fill in their edges.
    pub(super) fn bodies_mut(&mut self) -> Vec<&mut Body<'t>> {
        match self {
            Self::Switch { cases, otherwise } => {
                cases.iter_mut().map(|(_, body)| body).chain(otherwise).collect()
            }
            Self::Parallel(branches) => branches.iter_mut().map(|(_, body)| body).collect(),
            Self::Map(map) => vec![&mut map.body],
            Self::Loop(again) => vec![&mut again.body],
            _ => Vec::new(),
        }
    }
}
