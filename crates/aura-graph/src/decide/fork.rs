//! Forking: the turn with which a run leaves another one, and where the outcomes of its effects come from.

use std::collections::BTreeMap;

use aura_core::commit::Cause;
use aura_core::error::{Code, Problem};
use aura_core::event::{EventBody, Purpose, RunStarted, Settlement, Work as Opened};
use aura_core::fork::{
    Change, Changed, EffectReused, EffectWithheld, ForkEffects, Mocks, Reopened, RunForked,
    Withheld,
};
use aura_core::hash::Hash;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::path::StepPath;

use super::Reuse;
use super::begin::key_hash;
use super::turn::{Step, Stop, Work};
use crate::definition::Kind;
use crate::replay::input_of;
use crate::state::{Inside, Phase, Scope, Status, Task};

/// What becomes of an effect that is ready to start.
pub(super) enum Source {
    /// It may be called, if the gate lets it.
    Call,
    /// Not now.
    Later,
    /// This is its outcome.
    Outcome(Box<EffectReused>),
    /// A person must say.
    Nobody(Withheld),
}

fn refuse(what: impl Into<String>, next: impl Into<String>) -> Stop {
    let problem = Problem::new(Code::CannotFork, what);
    problem.kept("the run that was to be forked is as it was").next(next).into()
}

impl Work<'_, '_> {
    /// The first turn of a fork: leaves the parent, and decides the input that the parent took next.
    pub(super) fn fork(&mut self, asked: &RunForked) -> Step {
        if self.run.events != asked.seq || !matches!(self.run.phase, Phase::New | Phase::Running) {
            let what = "the parent was ending there, or shares other events";
            return Err(refuse(what, "fork at an earlier step"));
        }
        self.can_leave(asked)?;
        let then = input_of(Cause::Events, &asked.then);
        let mut forked = asked.clone();
        for change in &mut forked.changes {
            change.value = self.take_in(&change.value)?;
        }
        if let Some(mocks) = &mut forked.mocks {
            *mocks = self.take_in(mocks)?;
        }
        let keys = self.reopened(&mut forked, then.as_ref());
        forked.state = self.run.hash;
        forked.budget = self.flow.budget;
        let (open, parent) = (forked.open.clone(), forked.parent);
        self.borrowed.extend(forked.then.iter().filter_map(|event| event.step.clone()));
        let asked = forked.clone();
        self.emit_run(EventBody::RunForked(Box::new(forked)))?;
        let asking: Vec<_> = self.run.approvals.iter().map(|(step, _)| step.clone()).collect();
        self.then(&asked, then, &keys).map_err(|stop| match stop {
            Stop::Need(blobs) => Stop::Need(blobs),
            Stop::Nothing => {
                let what = "what came next in the parent means nothing in this flow";
                refuse(what, format!("fork at an earlier step: aura show {parent}"))
            }
            Stop::Refused(problem) => {
                let what =
                    format!("what came next in the parent can't be decided: {}", problem.what);
                refuse(what, format!("fork at an earlier step: aura show {parent}"))
            }
        })?;
        self.ask_anew(asking)?;
        for open in open.iter().filter(|open| open.again) {
            // What was approved for the parent is asked again.
            self.release(&open.step)?;
        }
        // The flow may have nodes that the parent's had not.
        if !self.run.closed() {
            self.everywhere();
        }
        Ok(())
    }

    /// Decides the input that the parent took next.
    fn then(
        &mut self,
        forked: &RunForked,
        then: Option<Input>,
        keys: &BTreeMap<Hash, Hash>,
    ) -> Step {
        match then {
            None if forked.seq == 0 => Err(Stop::Nothing),
            // The fork has its own time.
            None | Some(Input::Approval { .. } | Input::Timer { purpose: Purpose::Budget, .. }) => {
                Ok(())
            }
            Some(Input::Start(started)) => self.start_fork(&started, forked),
            Some(Input::Settle { key, outcome, actor, reason }) => {
                let key = keys.get(&key).copied().unwrap_or(key);
                self.fact(&Input::Settle { key, outcome, actor, reason })
            }
            Some(input) => self.fact(&input),
        }
    }

    /// The fork shares nothing: it starts as its parent did, with its own flow and values.
    fn start_fork(&mut self, started: &RunStarted, forked: &RunForked) -> Step {
        let mut start = started.clone();
        start.flow = forked.flow.clone();
        start.seed = forked.seed;
        start.labels.clone_from(&forked.labels);
        start.key = None;
        start.parent = None;
        // Computed anew from the flow: the parent's has run meanwhile.
        start.deadline = None;
        start.budget = None;
        let mut vars = BTreeMap::new();
        for change in &forked.changes {
            match &change.of {
                Changed::Input => start.input = change.value.clone(),
                Changed::Var(name) => {
                    vars.insert(name.clone(), change.value.clone());
                }
                Changed::Output(_) => {}
            }
        }
        self.start(&start, &vars)
    }

    /// Whether the fork can go on from where its parent stood.
    fn can_leave(&self, forked: &RunForked) -> Step {
        if forked.changes.len() > limits::FORK_CHANGES {
            let what = format!("a fork changes at most {} values", limits::FORK_CHANGES);
            return Err(refuse(what, "change fewer values"));
        }
        super::answer::labels_fit(&forked.labels, [&forked.actor])?;
        for Change { of, .. } in &forked.changes {
            let Changed::Output(step) = of else { continue };
            let node = self.run.node(step);
            if node.is_none_or(|node| node.status != Status::Completed) {
                let what = format!("step '{step}' has no output there that could be changed");
                return Err(refuse(what, format!("aura show {}", forked.parent)));
            }
        }
        self.places(&StepPath::root(), &self.run.root)
    }

    /// Every step in work needs its node in the fork's flow.
    fn places(&self, body: &StepPath, scope: &Scope) -> Step {
        if scope.nodes.is_empty() {
            return Ok(());
        }
        let def = self.flow.body_at(body).cloned();
        for (id, node) in &scope.nodes {
            let step = body.node(id, node.visit);
            if node.status != Status::Running {
                continue;
            }
            let kind = def.as_ref().and_then(|def| def.node(id)).map(|node| &node.kind);
            if !kind.is_some_and(|kind| self.continues(&step, kind, &node.inside)) {
                let what =
                    format!("step '{step}' was in work there, and the flow has no such node");
                return Err(refuse(what, format!("fork at it or before: --at {step}")));
            }
            if let Inside::Bodies(bodies) = &node.inside {
                for (key, inner) in &bodies.running {
                    self.places(&step.body(key), inner)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a node of this kind can go on with what a step has opened.
    fn continues(&self, step: &StepPath, kind: &Kind, inside: &Inside) -> bool {
        match (kind, inside) {
            (Kind::Tool { tool, .. }, Inside::Nothing) => {
                self.run.tasks.get(step).is_some_and(|task| task.spec.tool == *tool)
            }
            (Kind::Verify(_), Inside::Nothing) => self.run.tasks.contains_key(step),
            (Kind::Wait(wait), Inside::Wait(signal)) => wait.signal == *signal,
            (Kind::Approval(_), Inside::Nothing) => self.run.approvals.contains_key(step),
            (Kind::Sleep(_), Inside::Nothing) => {
                self.run.timers.due(step, Purpose::Sleep).is_some()
            }
            // Its end is what the parent took next: a fork does not leave while it is open.
            (Kind::Child(child), Inside::Child) => !child.detached,
            (_, Inside::Bodies(bodies)) => {
                let keys: Vec<String> = match &bodies.work {
                    Opened::Parallel { branches } => branches.clone(),
                    Opened::Switch { route: Some(route) } => vec![route.clone()],
                    _ => vec!["0".to_owned()],
                };
                let same = matches!(
                    (kind, &bodies.work),
                    (Kind::Map(_), Opened::Map { .. })
                        | (Kind::Parallel(_), Opened::Parallel { .. })
                        | (Kind::Switch { .. }, Opened::Switch { .. })
                        | (Kind::Loop(_), Opened::Loop { .. })
                );
                same && keys.iter().all(|key| kind.body(key).is_some())
            }
            _ => false,
        }
    }

    /// Fills in the keys of open tasks; gives the new key by the old one.
    fn reopened(&self, forked: &mut RunForked, then: Option<&Input>) -> BTreeMap<Hash, Hash> {
        let mut about: Vec<&StepPath> =
            forked.then.iter().filter_map(|event| event.step.as_ref()).collect();
        if matches!(then, None | Some(Input::Approval { .. })) {
            about.clear();
        }
        let mut keys = BTreeMap::new();
        let mut open = Vec::new();
        // A probe whose answer came next is heard; any other is forgotten, as its call begins anew.
        let probed: Vec<_> =
            about.iter().filter(|s| s.is_body()).filter_map(|s| s.parent()).collect();
        for (step, task) in &self.run.tasks {
            if step.is_body() && !about.contains(&step) {
                continue;
            }
            let key = match task.spec.idempotency {
                None => key_hash(self.run.id.0.as_bytes(), step, task.spec.call),
                // It is the same effect, whichever run asks for it.
                Some(_) => task.spec.key,
            };
            keys.insert(task.spec.key, key);
            let again = !about.contains(&step) && !probed.contains(step);
            open.push(Reopened { step: step.clone(), key, again });
        }
        forked.open = open;
        keys
    }

    /// Approvals that are open are asked for anew: what is approved is a call of this run.
    fn ask_anew(&mut self, asking: Vec<StepPath>) -> Step {
        for step in asking {
            if !self.run.approvals.contains_key(&step) {
                continue;
            }
            let (list, place) = self.node_def(&step)?;
            let node = &list.nodes[place];
            // A call that is held back begins anew beside the others, and is asked about then.
            let Kind::Approval(approval) = &node.kind else { continue };
            let context = self.context(&step.parent().unwrap_or_else(StepPath::root));
            match self.asking(&step, &list, (node, approval), &context)? {
                Ok(request) => self.emit(&step, EventBody::ApprovalRequested(request))?,
                Err(failure) => self.fail(&step, failure)?,
            }
        }
        Ok(())
    }

    /// Where the outcome of an effect comes from.
    pub(super) fn source(&mut self, step: &StepPath, task: &Task) -> Step<Source> {
        let Some(fork) = self.run.fork.as_ref().filter(|_| !task.live) else {
            return Ok(Source::Call);
        };
        match fork.effects {
            ForkEffects::Live => Ok(Source::Call),
            ForkEffects::Mock => self.mocked(step, task),
            ForkEffects::Reuse => Ok(match self.world.gate.reuse(step, &task.spec) {
                Reuse::Later => Source::Later,
                Reuse::Withhold(why) => Source::Nobody(why),
                Reuse::Take(taken) => Source::Outcome(Box::new(taken.of(&task.spec))),
            }),
        }
    }

    /// What the file says of an effect.
    fn mocked(&mut self, step: &StepPath, task: &Task) -> Step<Source> {
        let mocks = self.run.fork.as_ref().and_then(|fork| fork.mocks.clone());
        let mocks = self.json(&mocks.unwrap_or_default())?;
        let mocks: Mocks = serde_json::from_value((*mocks).clone()).unwrap_or_default();
        let outcome = match mocks.outcome(step, &task.spec.tool) {
            Some(Settlement::Succeeded(output)) => match self.take_in(&output) {
                Ok(output) => Some(Settlement::Succeeded(output)),
                // The whole file fits, so that each of its values does.
                Err(Stop::Refused(_)) => None,
                Err(other) => return Err(other),
            },
            other => other,
        };
        let (call, key) = (task.spec.call, task.spec.key);
        Ok(outcome.map_or(Source::Nobody(Withheld::NoMock), |outcome| {
            let reused = EffectReused { call, key, from: None, outcome, truncated: false };
            Source::Outcome(Box::new(reused))
        }))
    }

    /// Takes an outcome that was had before.
    pub(super) fn reuse(&mut self, step: &StepPath, attempt: u32, reused: EffectReused) -> Step {
        let outcome = reused.outcome.clone();
        self.borrowed.insert(step.clone());
        self.emit_attempt(step, attempt, EventBody::EffectReused(Box::new(reused)))?;
        match outcome {
            Settlement::Failed(failure) => self.fail(step, failure),
            Settlement::Succeeded(_) | Settlement::Retry => self.done(step),
        }
    }

    /// Does not call, and waits for a person.
    pub(super) fn withhold(&mut self, step: &StepPath, task: &Task, why: Withheld) -> Step {
        let withheld = EffectWithheld { call: task.spec.call, key: task.spec.key, why };
        self.emit_attempt(step, task.attempt, EventBody::EffectWithheld(withheld))?;
        self.after_step(step);
        Ok(())
    }
}
