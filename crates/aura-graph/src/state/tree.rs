//! The tree of bodies and nodes of a run, and the way to a place in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::error::Failure;
use aura_core::event::Work;
use aura_core::hash::Hash;
use aura_core::journal::{Asked, Recorded};
use aura_core::path::StepPath;
use aura_core::time::Millis;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Run, Shared, maps};
use crate::val::Val;

/// A body in work: the flow's own, an item, an iteration, a branch, a case.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Nodes that were reached, by id.
    #[serde(with = "maps")]
    pub nodes: Shared<String, Arc<Node>>,
    /// The failure for which it stops.
    pub failing: Option<Trouble>,
    /// When it was opened.
    pub opened: Millis,
}

/// A failure and the step that it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// Why.
    pub error: Failure,
    /// Where.
    pub step: StepPath,
}

/// A node that was reached: its latest visit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// The visit, from 1.
    pub visit: u32,
    /// Where it stands.
    pub status: Status,
    /// Its output; null unless it completed.
    pub output: Val,
    /// Why it failed.
    pub error: Option<Failure>,
    /// Where control went from it.
    pub route: Route,
    /// Whether a jump back asks for another visit that has not started yet.
    pub again: bool,
    /// What it holds while it runs.
    pub inside: Inside,
    /// The failure for which it stops.
    pub failing: Option<Trouble>,
    /// The output of its task, between outcome and completion.
    pub outcome: Option<Data>,
    /// When this visit was reached.
    pub opened: Millis,
    /// When it settled.
    pub closed: Option<Millis>,
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In work, or waiting for something.
    Running,
    /// Ended well.
    Completed,
    /// Failed.
    Failed,
    /// Passed over because its `when` did not hold.
    Skipped,
    /// Passed over because no route leads to it.
    Dead,
}

impl Status {
    /// The word that flows see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped | Self::Dead => "skipped",
        }
    }
}

/// Where control went from a settled node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// To its implicit successor.
    #[default]
    Onward,
    /// By a route of `next` to this node.
    Next(String),
    /// By `on_error` to this node.
    Error(String),
    /// Nowhere: its body fails.
    Nowhere,
}

/// What a node holds while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inside {
    /// Nothing.
    Nothing,
    /// It waits for a child run.
    Child,
    /// It waits for this signal.
    Wait(String),
    /// Bodies.
    Bodies(Bodies),
}

/// The bodies of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bodies {
    /// What the node opened.
    pub work: Work,
    /// Bodies in work. A snapshot has them beside the node, see [`flat`].
    #[serde(skip)]
    pub running: Shared<Key, Arc<Scope>>,
    /// Bodies that ended; of a loop that does not collect, only the last.
    #[serde(with = "maps")]
    pub done: Shared<Key, Done>,
    /// How many ended.
    pub ended: u64,
    /// Whether the loop ends with the last iteration.
    pub last: bool,
    /// Of a function: its calls so far, with the hash of each. The answers are in `done`.
    #[serde(with = "maps", default)]
    pub calls: Shared<u64, (Asked, Hash)>,
}

/// The key of a body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// An item, an iteration, a case.
    Number(u64),
    /// A branch, `else`.
    Name(String),
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Well, with this output.
    Completed(Val),
    /// In failure.
    Failed(Failure),
}

impl Node {
    /// A node that is reached now.
    pub fn new(visit: u32, status: Status, at: Millis) -> Self {
        Self {
            visit,
            status,
            output: Val::null(),
            error: None,
            route: Route::Onward,
            again: false,
            inside: Inside::Nothing,
            failing: None,
            outcome: None,
            opened: at,
            closed: (status != Status::Running).then_some(at),
        }
    }

    /// Whether it needs no more work.
    pub fn settled(&self) -> bool {
        self.status != Status::Running && !self.again
    }

    /// Its bodies, if it has any.
    pub fn bodies(&self) -> Option<&Bodies> {
        match &self.inside {
            Inside::Bodies(bodies) => Some(bodies),
            _ => None,
        }
    }
}

impl Bodies {
    /// Whether they are the calls of a function, and one of them is open: the function waits for it.
    pub fn call_open(&self) -> bool {
        matches!(self.work, Work::Code(_)) && !self.running.is_empty()
    }

    /// A call of a function, by its number.
    pub fn recorded(&self, number: u64) -> Option<Recorded> {
        let (asked, call) = self.calls.get(&number)?.clone();
        let answer = self.done.get(&Key::Number(number)).map(|done| match done {
            Done::Completed(Val::Data(data)) => Ok(data.clone()),
            Done::Completed(Val::List(_) | Val::Object(_)) => Ok(Data::null()),
            Done::Failed(failure) => Err(failure.clone()),
        });
        Some(Recorded { asked, call, answer })
    }

    /// The output that is gathered from them.
    pub fn gather(&self) -> Val {
        let output = |done: &Done| match done {
            Done::Completed(val) => val.clone(),
            Done::Failed(_) => Val::null(),
        };
        match &self.work {
            Work::Map { collect: true, .. } => {
                Val::List(Arc::new(self.done.values().map(result).collect()))
            }
            Work::Map { .. } | Work::Loop { collect: true, .. } => {
                Val::List(Arc::new(self.done.values().map(output).collect()))
            }
            Work::Parallel { .. } => Val::Object(Arc::new(
                self.done.iter().map(|(key, done)| (key.to_string(), output(done))).collect(),
            )),
            _ => self.done.last().map_or_else(Val::null, |(_, done)| output(done)),
        }
    }
}

/// The entry of an item in the output of a map that collects: status with output or error.
fn result(done: &Done) -> Val {
    let (status, name, val) = match done {
        Done::Completed(val) => ("completed", "output", val.clone()),
        Done::Failed(error) => ("failed", "error", Val::Data(Data::from(json!(error)))),
    };
    let status = Val::Data(Data::from(json!(status)));
    Val::Object(Arc::new(BTreeMap::from([("status".to_owned(), status), (name.to_owned(), val)])))
}

impl Run {
    /// A body in work.
    pub fn scope(&self, body: &StepPath) -> Option<&Scope> {
        let mut scope = &*self.root;
        for segment in body.segments() {
            let node = scope.nodes.get(segment.id)?;
            let key = Key::from(segment.key?);
            scope = node.bodies()?.running.get(&key)?;
        }
        Some(scope)
    }

    /// A node that was reached; the visit must be its latest.
    pub fn node(&self, step: &StepPath) -> Option<&Node> {
        let last = step.last()?;
        let node = self.scope(&step.parent()?)?.nodes.get(last.id)?;
        (node.visit == last.visit && last.key.is_none()).then_some(node)
    }

    /// A body in work, opened if its node is there.
    pub(super) fn scope_mut(&mut self, body: &StepPath, at: Millis) -> Option<&mut Scope> {
        body_mut(Arc::make_mut(&mut self.root), body, at)
    }

    /// A node that was reached.
    pub(super) fn node_mut(&mut self, step: &StepPath) -> Option<&mut Node> {
        let last = step.last()?;
        let at = self.at;
        let scope = self.scope_mut(&step.parent()?, at)?;
        let node = scope.nodes.get_mut(last.id)?;
        (node.visit == last.visit).then(|| Arc::make_mut(node))
    }

    /// Drops everything that is open at `path` or below it.
    pub(super) fn drop_below(&mut self, path: &StepPath) {
        for step in keys_below(&self.tasks, path) {
            self.tasks.remove_mut(&step);
        }
        for step in keys_below(&self.waits, path) {
            self.waits.remove_mut(&step);
        }
        for step in keys_below(&self.children, path) {
            self.children.remove_mut(&step);
        }
        for step in keys_below(&self.approvals, path) {
            self.approvals.remove_mut(&step);
        }
        self.budgets.drop_below(path);
        self.timers.clear_below(path);
    }
}

fn body_mut<'a>(root: &'a mut Scope, body: &StepPath, at: Millis) -> Option<&'a mut Scope> {
    let mut scope = root;
    for segment in body.segments() {
        let key = Key::from(segment.key?);
        let node = Arc::make_mut(scope.nodes.get_mut(segment.id)?);
        let Inside::Bodies(bodies) = &mut node.inside else { return None };
        if !bodies.running.contains_key(&key) {
            let opened = Scope { opened: at, ..Scope::default() };
            bodies.running.insert_mut(key.clone(), Arc::new(opened));
        }
        scope = Arc::make_mut(bodies.running.get_mut(&key)?);
    }
    Some(scope)
}

/// Calls `each` with every body in work below `scope`, and its path, outermost first.
pub(super) fn walk<'a>(
    path: &StepPath,
    scope: &'a Scope,
    each: &mut dyn FnMut(StepPath, &'a Scope),
) {
    each(path.clone(), scope);
    for (id, node) in &scope.nodes {
        for (key, body) in node.bodies().into_iter().flat_map(|bodies| &bodies.running) {
            walk(&path.node(id, node.visit).body(key), body, each);
        }
    }
}

/// What stands at a path of the tree.
pub(super) enum Place<'a> {
    Step(&'a Node),
    /// A body that ended, of a step in work.
    Ended(&'a Done),
}

/// Shows every step in a body in work, and the bodies of such steps that ended.
pub(super) fn places(root: &Scope, see: &mut dyn FnMut(StepPath, Place<'_>)) {
    walk(&StepPath::root(), root, &mut |path, scope| {
        for (id, node) in &scope.nodes {
            let step = path.node(id, node.visit);
            for (key, done) in node.bodies().into_iter().flat_map(|bodies| &bodies.done) {
                see(step.body(key), Place::Ended(done));
            }
            see(step, Place::Step(node));
        }
    });
}

/// The tree of a snapshot: its bodies in work as a flat list of path and body, outermost first, so that its depth
/// is that of its values.
pub(super) mod flat {
    use std::sync::Arc;

    use aura_core::path::StepPath;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Scope, body_mut, walk};

    pub(in crate::state) fn serialize<S: Serializer>(
        root: &Scope,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut bodies = Vec::new();
        walk(&StepPath::root(), root, &mut |path, body| bodies.push((path, body)));
        serializer.collect_seq(bodies)
    }

    pub(in crate::state) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Scope>, D::Error> {
        let mut root = Scope::default();
        for (path, body) in Vec::<(StepPath, Scope)>::deserialize(deserializer)? {
            let place = body_mut(&mut root, &path, body.opened)
                .ok_or_else(|| D::Error::custom(format!("no step holds the body {path}")))?;
            *place = body;
        }
        Ok(Arc::new(root))
    }
}

/// Keys at `path` or below it; they lie together, because a path is a prefix of what lies below it.
pub(crate) fn keys_below<V>(map: &Shared<StepPath, V>, path: &StepPath) -> Vec<StepPath> {
    map.range(path.clone()..)
        .map(|(step, _)| step)
        .take_while(|step| step.as_str().starts_with(path.as_str()))
        .filter(|step| path.contains(step))
        .cloned()
        .collect()
}

/// Tasks at `path` or below it.
pub(crate) fn tasks_below<'a>(
    run: &'a Run,
    path: &'a StepPath,
) -> impl Iterator<Item = (&'a StepPath, &'a Arc<super::Task>)> {
    run.tasks
        .range(path.clone()..)
        .take_while(|(step, _)| step.as_str().starts_with(path.as_str()))
        .filter(|(step, _)| path.contains(step))
}
