//! The names that expressions see at one place of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::data::Data;
use aura_core::event::Work;
use aura_core::path::StepPath;
use serde_json::json;

use crate::definition::{Flow, Kind};
use crate::expr::Names;
use crate::state::{Done, Node, Run};
use crate::val::Val;

/// The names at one place: `input`, `vars`, `steps`, `run`, the items and counters of enclosing maps and loops.
#[derive(Debug, Clone)]
pub struct View {
    run: Arc<Run>,
    flow: Arc<Flow>,
    body: StepPath,
    extra: Vec<(String, Val)>,
    own: Option<Own>,
    looping: Option<(u64, Val)>,
}

/// A step as it will be when the event in the making is folded.
#[derive(Debug, Clone)]
struct Own {
    id: String,
    status: &'static str,
    output: Val,
    error: Val,
    visit: u32,
}

impl View {
    /// What a node in `body` sees.
    pub fn new(run: &Arc<Run>, flow: &Arc<Flow>, body: &StepPath) -> Self {
        Self {
            run: Arc::clone(run),
            flow: Arc::clone(flow),
            body: body.clone(),
            extra: Vec::new(),
            own: None,
            looping: None,
        }
    }

    /// The same, with one more name.
    pub fn with(mut self, name: &str, val: Val) -> Self {
        self.extra.push((name.to_owned(), val));
        self
    }

    /// The same, with a step as it ends now.
    pub(super) fn ending(mut self, step: &StepPath, output: Val, error: Option<Val>) -> Self {
        if let Some(last) = step.last() {
            let status = if error.is_some() { "failed" } else { "completed" };
            let error = error.unwrap_or_default();
            let (id, visit) = (last.id.to_owned(), last.visit);
            self.own = Some(Own { id, status, output, error, visit });
        }
        self
    }

    /// The same, with a step that is passed over now.
    pub(super) fn skipping(mut self, step: &StepPath) -> Self {
        self = self.ending(step, Val::null(), None);
        if let Some(own) = &mut self.own {
            own.status = "skipped";
        }
        self
    }

    /// Variables as they will be when the event in the making is folded.
    pub(super) fn set_vars(&mut self, vars: &BTreeMap<String, Data>) {
        if vars.is_empty() {
            return;
        }
        let run = Arc::make_mut(&mut self.run);
        for (name, value) in vars {
            run.vars.insert_mut(name.clone(), Val::Data(value.clone()));
        }
    }

    /// The same, as the condition of a loop sees it: iterations done, and the output of the last.
    pub(super) fn looping(mut self, index: u64, last: Val) -> Self {
        self.looping = Some((index, last));
        self
    }

    /// The maps and loops around the place, innermost first: path of the step, key of the body.
    fn around(&self) -> Vec<(StepPath, String)> {
        let mut out = Vec::new();
        let mut body = self.body.clone();
        while let (Some(step), Some(last)) = (body.parent(), body.last()) {
            out.push((step.clone(), last.key.unwrap_or_default().to_owned()));
            body = step.parent().unwrap_or_else(StepPath::root);
        }
        out
    }

    fn around_name(&self, name: &str) -> Option<Val> {
        for (step, key) in self.around() {
            match &self.flow.node_at(&step)?.kind {
                Kind::Map(_) if name == "index" => {
                    return Some(json_val(json!(key.parse::<u64>().unwrap_or_default())));
                }
                Kind::Loop(_) if name == "loop" => {
                    let index = key.parse::<u64>().unwrap_or_default();
                    return Some(counters(index, self.last_output(&step)));
                }
                _ => {}
            }
        }
        None
    }

    fn last_output(&self, step: &StepPath) -> Val {
        let bodies = self.run.node(step).and_then(Node::bodies);
        match bodies.and_then(|bodies| bodies.done.last()) {
            Some((_, Done::Completed(val))) => val.clone(),
            _ => Val::null(),
        }
    }

    /// The output of the N-th node of the flow, from `step_N_output`.
    fn numbered(&self, name: &str) -> Option<Val> {
        let number: usize = name.strip_prefix("step_")?.strip_suffix("_output")?.parse().ok()?;
        let id = &self.flow.body.nodes.get(number.checked_sub(1)?)?.id;
        Some(self.run.root.nodes.get(id).map_or_else(Val::null, |node| node.output.clone()))
    }

    fn run_names(&self) -> Val {
        let Some(started) = &self.run.started else { return Val::null() };
        json_val(json!({
            "id": self.run.id,
            "flow": started.flow.name,
            "version": started.flow.version,
            "key": started.key,
            "started_at": self.run.started_at(),
        }))
    }
}

fn json_val(value: serde_json::Value) -> Val {
    Val::Data(Data::from(value))
}

fn counters(index: u64, last: Val) -> Val {
    Val::Object(Arc::new(BTreeMap::from([
        ("index".to_owned(), json_val(json!(index))),
        ("last".to_owned(), last),
    ])))
}

impl Names for View {
    fn name(&self, name: &str) -> Option<Val> {
        if let Some((_, val)) = self.extra.iter().find(|(extra, _)| extra == name) {
            return Some(val.clone());
        }
        match name {
            "input" => self.run.started.as_ref().map(|started| Val::Data(started.input.clone())),
            "vars" => Some(Val::Object(Arc::new(
                self.run.vars.iter().map(|(name, val)| (name.clone(), val.clone())).collect(),
            ))),
            "run" => Some(self.run_names()),
            "loop" if self.looping.is_some() => {
                self.looping.as_ref().map(|(index, last)| counters(*index, last.clone()))
            }
            _ => self.numbered(name).or_else(|| self.around_name(name)),
        }
    }

    fn item(&self, name: &str) -> Option<(Data, usize)> {
        for (step, key) in self.around() {
            if let Kind::Map(map) = &self.flow.node_at(&step)?.kind
                && map.name == name
                && let Work::Map { items, .. } = &self.run.node(&step)?.bodies()?.work
            {
                return Some((items.clone(), key.parse().ok()?));
            }
        }
        None
    }

    fn step(&self, id: &str, field: &str) -> Option<Val> {
        let mut body = self.body.clone();
        loop {
            let own = self.own.as_ref().filter(|own| own.id == id && body == self.body);
            if let Some(own) = own {
                return match field {
                    "status" => Some(json_val(json!(own.status))),
                    "output" => Some(own.output.clone()),
                    "error" => Some(own.error.clone()),
                    "visit" => Some(json_val(json!(own.visit))),
                    _ => None,
                };
            }
            if self.flow.body_at(&body).is_some_and(|def| def.index.contains_key(id)) {
                let node = self.run.scope(&body).and_then(|scope| scope.nodes.get(id));
                return field_of(node.map(|node| &**node), field);
            }
            body = body.parent()?.parent()?;
        }
    }
}

fn field_of(node: Option<&Node>, field: &str) -> Option<Val> {
    Some(match field {
        "status" => json_val(json!(node.map_or("pending", |node| node.status.as_str()))),
        "output" => node.map_or_else(Val::null, |node| node.output.clone()),
        "error" => json_val(json!(node.and_then(|node| node.error.as_ref()))),
        "visit" => json_val(json!(node.map_or(0, |node| node.visit))),
        _ => return None,
    })
}
