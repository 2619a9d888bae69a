//! The compiled form of a flow: references resolved, edges computed, templates compiled. Never serialised; a run
//! pins the file's text and compiles it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aura_core::budget::Budget;
use aura_core::effect::EffectClass;
use aura_core::hash::Hash;
use aura_core::task::{Idempotency, OnUnknown, Retry};
use aura_core::tool::ToolDef;
use serde_json::Value;

use crate::expr::{Expr, Template};

/// Where a loader finds the definitions of tools.
pub trait Tools {
    /// The definition of a tool; `None` if there is none.
    fn get(&self, name: &str) -> Option<ToolDef>;

    /// Every name, for suggestions.
    fn names(&self) -> Vec<String>;
}

impl Tools for BTreeMap<String, ToolDef> {
    fn get(&self, name: &str) -> Option<ToolDef> {
        BTreeMap::get(self, name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }
}

/// A flow, ready to be decided on.
#[derive(Debug)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// Its version, if it says one.
    pub version: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The file's text.
    pub source: String,
    /// SHA-256 of the text.
    pub hash: Hash,
    /// JSON Schema of the input.
    pub input: Option<Value>,
    /// Variables with the values that they have before any `set`.
    pub vars: BTreeMap<String, Template>,
    /// Milliseconds that a run may take.
    pub deadline_ms: Option<u64>,
    /// JSON Schema of the payload of each signal; where there is none, a run takes any.
    pub signals: Option<BTreeMap<String, Value>>,
    /// Its nodes.
    pub body: Arc<Body>,
    /// The output of the run; without it, the output of the last node that completed.
    pub output: Option<Template>,
    /// What a run may use up.
    pub budget: Option<Budget>,
    /// Definitions of the tools that it names (`verify` nodes name the tool `verify`).
    pub tools: BTreeMap<String, ToolDef>,
    /// Hashes of those definitions.
    pub definitions: BTreeMap<String, Hash>,
    /// The path of its file within its bundle; absent for the bundle's own flow.
    pub file: Option<String>,
    /// The flows that its nodes start as child runs, by their file as the nodes write it. Empty until the flow is
    /// loaded together with them ([`super::Flows`]).
    pub children: BTreeMap<String, Heading>,
}

/// What a flow needs to know of another to start it.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The path of its file within the bundle.
    pub file: String,
    /// Its name.
    pub name: String,
    /// Its version, if it says one.
    pub version: Option<String>,
    /// SHA-256 of its text.
    pub hash: Hash,
    /// JSON Schema of its input.
    pub input: Option<Value>,
    /// What a run of it may use up.
    pub budget: Option<Budget>,
}

impl Flow {
    /// Names of the functions that it runs.
    pub fn functions(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        let mut bodies = vec![&self.body];
        while let Some(body) = bodies.pop() {
            for node in &body.nodes {
                if let Kind::Code(function) = &node.kind {
                    names.insert(function.name.as_str());
                }
                bodies.extend(node.kind.bodies().into_iter().map(|(_, body)| body));
            }
        }
        names
    }
}

/// A list of nodes. Edges exist only within it.
#[derive(Debug)]
pub struct Body {
    /// The nodes, in file order.
    pub nodes: Vec<Node>,
    /// Place of each node by its id.
    pub index: BTreeMap<String, usize>,
}

impl Body {
    /// The node of this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.index.get(id).map(|at| &self.nodes[*at])
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its id, unique in its list.
    pub id: String,
    /// What it says it does, for people.
    pub title: Option<String>,
    /// What it does.
    pub kind: Kind,
    /// Whether it runs at all.
    pub when: Option<Expr>,
    /// Edges into it; none where it starts at once.
    pub incoming: Vec<Edge>,
    /// Where control goes from it: the first route that holds; none means the implicit successor.
    pub next: Vec<Route>,
    /// What its failure means.
    pub on_error: OnError,
    /// Tries and waits.
    pub retry: Retry,
    /// Milliseconds of one attempt.
    pub timeout_ms: Option<u64>,
    /// Milliseconds of the node with all its tries.
    pub deadline_ms: Option<u64>,
    /// Milliseconds within which an attempt must tell that it is alive.
    pub heartbeat_ms: Option<u64>,
    /// The effect class that the author declares over the tool's own.
    pub effect: Option<EffectClass>,
    /// What to do with an outcome that stays in doubt.
    pub on_unknown: OnUnknown,
    /// How to find out whether the effect happened.
    pub probe: Option<Probe>,
    /// That the result of its call is kept for the same call elsewhere.
    pub idempotency: Option<Idempotency>,
    /// Visits through backward `next`.
    pub max_visits: u32,
    /// What undoes it: a tool node of its own, in no list and without edges.
    pub compensate: Option<Box<Node>>,
    /// What its call may cost.
    pub cost: Option<NodeCost>,
    /// What the steps within it may use up together, at each visit anew.
    pub budget: Option<Budget>,
    /// Place of the node of the same list to go to where a budget does not let it be done.
    pub on_budget: Option<usize>,
    /// Places of the approval nodes of the same list that approve its call.
    pub approved_by: Vec<usize>,
}

impl Body {
    /// Nodes that have a compensation, bodies within included.
    pub fn compensations(&self) -> u32 {
        let own = |node: &Node| {
            let inner = node.kind.bodies();
            let inner: u32 = inner.iter().map(|(_, body)| body.compensations()).sum();
            u32::from(node.compensate.is_some()) + inner
        };
        self.nodes.iter().map(own).sum()
    }
}

/// How to find out whether an effect in doubt happened.
#[derive(Debug)]
pub struct Probe {
    /// The tool that looks.
    pub tool: String,
    /// Its arguments.
    pub with: Template,
    /// Whether the effect happened.
    pub done: Expr,
    /// Whether it certainly did not.
    pub not_done: Option<Expr>,
    /// What the call would have given; without it, what the probe gave.
    pub output: Option<Template>,
}

/// An edge into a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Place of the node that it comes from, in the same list.
    pub from: usize,
    /// What makes it live.
    pub via: Via,
}

/// What makes an edge live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The implicit successor: live unless a route of `next` was taken or the failure was routed elsewhere.
    Implicit,
    /// Named in `after`: live whenever the node was not dead and its failure was not routed elsewhere.
    After,
    /// A forward route of `next` to this node: live when that route was taken.
    Next,
    /// `on_error` or `on_budget` names this node: live when it failed and that led here.
    Error,
}

/// A route of `next`.
#[derive(Debug)]
pub struct Route {
    /// The condition; absent means always.
    pub when: Option<Expr>,
    /// Place of the target in the same list.
    pub to: usize,
    /// Whether it leads back: a jump, which visits target … this node again.
    pub back: bool,
}

/// What a node's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// The list that it stands in fails.
    Fail,
    /// The output is null and the flow goes on.
    Continue,
    /// Control goes to the node at this place of the same list.
    Goto(usize),
}

/// What a call costs.
#[derive(Debug)]
pub struct NodeCost {
    /// At most, known before the call.
    pub most: Cost,
    /// As told by its output.
    pub actual: Option<Cost>,
}

/// Amounts of money and tokens.
#[derive(Debug)]
pub struct Cost {
    /// Dollars.
    pub usd: Option<Template>,
    /// Tokens.
    pub tokens: Option<Template>,
}

/// What a node does.
#[derive(Debug)]
pub enum Kind {
    /// Calls a tool.
    Tool {
        /// Its name.
        tool: String,
        /// The arguments.
        with: Template,
    },
    /// Runs a function of the program.
    Code(Function),
    /// Sets variables.
    Set(Vec<(String, Template)>),
    /// Takes one of several bodies.
    Switch {
        /// The cases in order; their bodies have the keys `0`, `1`, ….
        cases: Vec<Case>,
        /// The body with the key `else`.
        otherwise: Option<Arc<Body>>,
    },
    /// Runs bodies side by side.
    Parallel(Vec<Branch>),
    /// Runs a body for each item.
    Map(Map),
    /// Runs a body again and again.
    Loop(Loop),
    /// Pauses.
    Sleep(Sleep),
    /// Waits for a signal.
    Wait(Wait),
    /// Asks a person.
    Approval(Approval),
    /// Checks a value.
    Verify(Verify),
    /// Runs another flow as a child run.
    Child(Child),
    /// Ends the run, and starts the next in its place with this input; without one, `{}`.
    Continue(Option<Template>),
}

impl Kind {
    /// The word of the flow file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tool",
            Self::Code(_) => "code",
            Self::Set(_) => "set",
            Self::Switch { .. } => "switch",
            Self::Parallel(_) => "parallel",
            Self::Map(_) => "map",
            Self::Loop(_) => "loop",
            Self::Sleep(_) => "sleep",
            Self::Wait(_) => "wait",
            Self::Approval(_) => "approval",
            Self::Verify(_) => "verify",
            Self::Child(_) => "flow",
            Self::Continue(_) => "continue",
        }
    }

    /// Every body with its key; the key is empty where one body serves all items or iterations.
    pub fn bodies(&self) -> Vec<(String, &Arc<Body>)> {
        match self {
            Self::Switch { cases, otherwise } => cases
                .iter()
                .enumerate()
                .map(|(number, case)| (number.to_string(), &case.body))
                .chain(otherwise.iter().map(|body| ("else".to_owned(), body)))
                .collect(),
            Self::Parallel(branches) => {
                branches.iter().map(|branch| (branch.name.clone(), &branch.body)).collect()
            }
            Self::Map(map) => vec![(String::new(), &map.body)],
            Self::Loop(again) => vec![(String::new(), &again.body)],
            _ => Vec::new(),
        }
    }

    /// The body of this key: an item or iteration number, a branch, a case.
    pub fn body(&self, key: &str) -> Option<&Arc<Body>> {
        match self {
            Self::Switch { cases, otherwise } => match key {
                "else" => otherwise.as_ref(),
                _ => cases.get(key.parse::<usize>().ok()?).map(|case| &case.body),
            },
            Self::Parallel(branches) => {
                branches.iter().find(|branch| branch.name == key).map(|branch| &branch.body)
            }
            Self::Map(map) => Some(&map.body),
            Self::Loop(again) => Some(&again.body),
            Self::Code(function) => key.parse::<u64>().is_ok().then_some(&function.calls),
            _ => None,
        }
    }
}

/// The id of the one node of each body of a function: the call with the body's number.
pub const CALL: &str = "call";

/// `code`.
#[derive(Debug)]
pub struct Function {
    /// The name under which the program has it.
    pub name: String,
    /// What it is given.
    pub with: Template,
    /// The tools that it may call.
    pub tools: Vec<String>,
    /// The body of each of its calls: one node, [`CALL`].
    pub calls: Arc<Body>,
}

/// A case of a `switch`.
#[derive(Debug)]
pub struct Case {
    /// Its condition.
    pub when: Expr,
    /// Its body.
    pub body: Arc<Body>,
}

/// A branch of a `parallel`.
#[derive(Debug)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Its body.
    pub body: Arc<Body>,
}

/// `map`.
#[derive(Debug)]
pub struct Map {
    /// The items, a list.
    pub items: Template,
    /// The name of the item in the body; `index` is its number from 0.
    pub name: String,
    /// The body.
    pub body: Arc<Body>,
    /// How many items may be in work at once.
    pub concurrency: u32,
    /// Whether item failures are collected instead of stopping the map.
    pub collect: bool,
}

/// `loop`.
#[derive(Debug)]
pub struct Loop {
    /// What makes it end.
    pub mode: LoopMode,
    /// Iterations after which it fails.
    pub max: u64,
    /// Whether its output is the list of all outputs instead of the last.
    pub collect: bool,
    /// The body. `loop.index` is the iteration from 0, `loop.last` the output of the one before.
    pub body: Arc<Body>,
}

/// What makes a loop end.
#[derive(Debug)]
pub enum LoopMode {
    /// A number of iterations.
    Times(Template),
    /// A condition before each iteration.
    While(Expr),
    /// A condition after each iteration, which sees the steps of the body.
    Until(Expr),
}

/// `sleep`: a duration text.
#[derive(Debug)]
pub struct Sleep {
    /// The duration, such as `5s`; a number means milliseconds.
    pub span: Template,
}

/// `wait`.
#[derive(Debug)]
pub struct Wait {
    /// The name of the signal.
    pub signal: String,
    /// Milliseconds after which it fails with `WAIT_TIMEOUT`.
    pub timeout_ms: Option<u64>,
}

/// `approval`.
#[derive(Debug)]
pub struct Approval {
    /// Place of the later node of the same list whose call is approved.
    pub of: Option<usize>,
    /// The question.
    pub message: Option<Template>,
    /// What is shown to the person, beside the call.
    pub show: Option<Template>,
    /// Who may answer; empty where anybody may.
    pub roles: Vec<String>,
    /// How many different people must say yes.
    pub quorum: u32,
    /// Milliseconds after which it expires and fails with `APPROVAL_EXPIRED`.
    pub expires_ms: Option<u64>,
}

/// `verify`.
#[derive(Debug)]
pub struct Verify {
    /// The value.
    pub value: Template,
    /// The JSON Schema that it must fit.
    pub schema: Option<Value>,
    /// Weighted checks.
    pub checks: Vec<Check>,
    /// The score that it must reach, 0 to 100.
    pub min_score: f64,
}

/// A weighted check.
#[derive(Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What must hold; `value` is the value.
    pub that: Expr,
    /// Its weight, above 0.
    pub weight: f64,
}

/// `flow`: a child run.
#[derive(Debug)]
pub struct Child {
    /// The flow's file, as the node writes it.
    pub file: String,
    /// The input; without it, `{}`.
    pub input: Option<Template>,
    /// Whether the child goes on by itself.
    pub detached: bool,
}
