//! Going on: which nodes of a body are ready, which bodies of a step are next, and when both are done.

use aura_core::data::Data;
use aura_core::error::{Code, Failure};
use aura_core::event::{
    EventBody, Next, Output, RunCompleted, SkipReason, StepCompleted, StepSkipped, Work as Opened,
};
use aura_core::hash::Hash;
use aura_core::path::StepPath;

use super::turn::{Evaluated, Job, Step, Work, evaluated};
use super::view::View;
use crate::definition::{Body, Kind, LoopMode, Node, Route as RouteDef, Via};
use crate::expr::EvalError;
use crate::state::{Bodies, Key, Phase, Route, Scope, Status};
use crate::val::Val;

/// Whether a node can be reached now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Ready,
    Dead,
    NotYet,
}

impl Work<'_, '_> {
    /// Works off the places that may go on, as far as the turn's limit allows.
    pub(super) fn go_on(&mut self) -> Step {
        while !self.full {
            let Some(job) = self.jobs.pop_front() else { return Ok(()) };
            if self.run.closed() {
                self.jobs.clear();
                return Ok(());
            }
            match &job {
                Job::Compensate => self.compensate()?,
                _ if self.compensating() => {}
                Job::Body(body) => self.body(body)?,
                Job::Step(step) => self.step(step)?,
            }
        }
        Ok(())
    }

    /// Asks every body in work to go on.
    pub(super) fn everywhere(&mut self) {
        if self.compensating() {
            return self.later(Job::Compensate);
        }
        let mut places = Vec::new();
        collect(&StepPath::root(), &self.run.root, &mut places);
        if self.jobs.is_empty() {
            // They are all different, and there may be thousands.
            self.jobs = places.into();
            return;
        }
        for job in places {
            self.later(job);
        }
    }

    fn body(&mut self, body: &StepPath) -> Step {
        if self.stops(body) {
            return self.unwind(body);
        }
        if !self.is_open(body) {
            return Ok(());
        }
        let def = self.body_def(body)?;
        loop {
            let mut moved = false;
            for place in 0..def.nodes.len() {
                let reach = reach(self.run.scope(body), &def, place);
                if reach == Reach::Ready && self.waits_for_budget(body, &def.nodes[place]) {
                    continue;
                }
                if reach != Reach::NotYet && !self.spend() {
                    self.later(Job::Body(body.clone()));
                    return Ok(());
                }
                match reach {
                    Reach::NotYet => continue,
                    Reach::Dead => self.skip(body, &def.nodes[place].id, SkipReason::Dead, None)?,
                    Reach::Ready => self.begin(body, &def, place)?,
                }
                // Only a node that has ended makes others of its body ready.
                let node = self.run.scope(body).and_then(|s| s.nodes.get(&def.nodes[place].id));
                moved |= node.is_some_and(|node| node.status != Status::Running);
                if self.run.closed() {
                    return Ok(());
                }
                if self.stops(body) {
                    return self.unwind(body);
                }
            }
            if !moved {
                break;
            }
        }
        let scope = self.run.scope(body);
        if scope.is_some_and(|scope| all_settled(scope, &def)) {
            return self.end_body(body, &def);
        }
        Ok(())
    }

    /// Whether a body is in work, or is the next to be opened. Its step may have ended since it was asked to go on.
    fn is_open(&self, body: &StepPath) -> bool {
        let (Some(step), Some(key)) = (body.parent(), body.last().and_then(|last| last.key)) else {
            return true;
        };
        let key = Key::from(key);
        let Some(bodies) = self.run.node(&step).and_then(|node| node.bodies()) else {
            return false;
        };
        if bodies.running.contains_key(&key) {
            return true;
        }
        match (&bodies.work, &key) {
            (Opened::Map { count, .. }, Key::Number(number)) => {
                *number == in_work(bodies).1 && *number < u64::from(*count)
            }
            (Opened::Loop { .. }, Key::Number(number)) => *number == bodies.ended && !bodies.last,
            (Opened::Switch { .. }, _) => bodies.ended == 0,
            (Opened::Parallel { .. }, _) => !bodies.done.contains_key(&key),
            _ => false,
        }
    }

    pub(super) fn skip(
        &mut self,
        body: &StepPath,
        id: &str,
        reason: SkipReason,
        next: Option<Next>,
    ) -> Step {
        let step = self.visit(body, id);
        self.emit(&step, EventBody::StepSkipped(StepSkipped { reason, next, state: Hash::ZERO }))
    }

    /// The path of the next visit of a node.
    pub(super) fn visit(&self, body: &StepPath, id: &str) -> StepPath {
        let before = self.run.scope(body).and_then(|scope| scope.nodes.get(id));
        body.node(id, before.map_or(1, |node| node.visit + 1))
    }

    /// Every node of a body is settled.
    fn end_body(&mut self, body: &StepPath, def: &Body) -> Step {
        let scope = self.run.scope(body);
        let last = scope.and_then(|scope| last_completed(scope, def));
        if body.is_root() {
            let output = match last {
                Some(id) => self.run.root.nodes.get(&id).map(|node| node.output.clone()),
                None => None,
            };
            return self.end_run(&output.unwrap_or_default());
        }
        let Some(step) = body.parent() else { return Ok(()) };
        let is_last = match self.iteration_is_last(body, &step, last.as_deref())? {
            Ok(is_last) => is_last,
            Err(failure) => return self.fail_body(body, failure),
        };
        let output = Output::Node(last);
        self.complete_raw(body, output, is_last)?;
        self.later(Job::Step(step));
        Ok(())
    }

    fn complete_raw(&mut self, body: &StepPath, output: Output, last: bool) -> Step {
        self.emit(
            body,
            EventBody::StepCompleted(StepCompleted {
                output,
                vars: std::collections::BTreeMap::new(),
                last,
                compensate: None,
                next: None,
                state: Hash::ZERO,
            }),
        )
    }

    /// For an iteration of a loop: whether the loop ends with it.
    fn iteration_is_last(
        &mut self,
        body: &StepPath,
        step: &StepPath,
        last: Option<&str>,
    ) -> Evaluated<bool> {
        let (body_def, place) = self.node_def(step)?;
        let Kind::Loop(again) = &body_def.nodes[place].kind else { return Ok(Ok(false)) };
        let Some(Key::Number(index)) = body.last().and_then(|s| s.key).map(Key::from) else {
            return Ok(Ok(false));
        };
        let output = last
            .and_then(|id| Some(self.run.scope(body)?.nodes.get(id)?.output.clone()))
            .unwrap_or_default();
        let done = index + 1;
        let ends = match &again.mode {
            LoopMode::Times(_) => Ok(self.times(step).is_none_or(|times| done >= times)),
            LoopMode::Until(until) => {
                let view = View::new(&self.run, self.flow, body).looping(index, output);
                until.holds(&self.context_with(view))
            }
            LoopMode::While(condition) => {
                let outer = step.parent().unwrap_or_else(StepPath::root);
                let view = View::new(&self.run, self.flow, &outer).looping(done, output);
                condition.holds(&self.context_with(view)).map(|holds| !holds)
            }
        };
        let limit = || {
            EvalError::Failed(Failure::certain(
                Code::LimitExceeded,
                format!("the loop did not end within {} iterations", again.max),
            ))
        };
        evaluated(match ends {
            Ok(false) if done >= again.max => Err(limit()),
            other => other,
        })
    }

    fn times(&self, step: &StepPath) -> Option<u64> {
        match self.run.node(step)?.bodies()?.work {
            Opened::Loop { times, .. } => times,
            _ => None,
        }
    }

    /// Something changed in the bodies of a step.
    fn step(&mut self, step: &StepPath) -> Step {
        let Some(node) = self.run.node(step) else { return Ok(()) };
        if node.failing.is_some() || self.stops(step) {
            return self.unwind(step);
        }
        let Some(bodies) = node.bodies() else { return Ok(()) };
        match &bodies.work {
            Opened::Map { count, concurrency, .. } => {
                let (count, concurrency) = (u64::from(*count), u64::from(*concurrency));
                if bodies.ended >= count {
                    return self.complete_bodies(step);
                }
                self.open_items(step, count, concurrency)
            }
            Opened::Parallel { branches } => {
                if bodies.ended >= branches.len() as u64 {
                    return self.complete_bodies(step);
                }
                Ok(())
            }
            // What follows from an answer is for the function to say.
            Opened::Code(_) => Ok(()),
            Opened::Loop { .. } if !bodies.last => {
                self.later(Job::Body(step.body(bodies.ended)));
                Ok(())
            }
            _ if bodies.ended > 0 => self.complete_bodies(step),
            _ => Ok(()),
        }
    }

    fn open_items(&mut self, step: &StepPath, count: u64, concurrency: u64) -> Step {
        let (running, next) = match self.run.node(step).and_then(|node| node.bodies()) {
            Some(bodies) => in_work(bodies),
            None => return Ok(()),
        };
        if running < concurrency && next < count {
            // One at a time, so that what an item decides at once counts before the next one is opened.
            self.body(&step.body(next))?;
            let moved = self.run.node(step).and_then(|node| node.bodies()).map(in_work);
            if moved.is_some_and(|(_, after)| after > next) {
                self.later(Job::Step(step.clone()));
            }
        }
        Ok(())
    }

    fn complete_bodies(&mut self, step: &StepPath) -> Step {
        let val = self.run.node(step).and_then(|node| node.bodies()).map(Bodies::gather);
        self.complete(step, Output::Bodies, val.unwrap_or_default())
    }

    fn end_run(&mut self, last: &Val) -> Step {
        let root = StepPath::root();
        let output = match &self.flow.output {
            None => self.keep_val(last)?,
            Some(template) => {
                let context = self.context(&root);
                match evaluated(template.value(&context))?.and_then(|value| self.keep(value)) {
                    Ok(output) => output,
                    Err(failure) => return self.end_badly(Some((failure, None))),
                }
            }
        };
        self.complete_run(output)
    }

    pub(super) fn complete_run(&mut self, output: Data) -> Step {
        self.emit_run(EventBody::RunCompleted(RunCompleted { output, state: Hash::ZERO }))
    }

    /// Chooses the route of `next` of a node as it ends.
    pub(super) fn route(&mut self, step: &StepPath, view: View) -> Evaluated<Option<Next>> {
        let (list, place) = self.node_def(step)?;
        let node = &list.nodes[place];
        let context = self.context_with(view);
        for route in &node.next {
            let taken = match &route.when {
                None => true,
                Some(when) => match evaluated(when.holds(&context))? {
                    Ok(holds) => holds,
                    Err(failure) => return Ok(Err(failure)),
                },
            };
            if taken {
                return Ok(self.taken(step, &list, place, route).map(Some));
            }
        }
        Ok(Ok(None))
    }

    /// The route of `next` that a function chose.
    pub(super) fn route_to(&self, step: &StepPath, to: &str) -> Evaluated<Option<Next>> {
        let (list, place) = self.node_def(step)?;
        let node = &list.nodes[place];
        let Some(route) = node.next.iter().find(|route| list.nodes[route.to].id == to) else {
            let message = format!("the function chose '{to}', which 'next' of the node lacks");
            return Ok(Err(Failure::certain(Code::InvalidInput, message)));
        };
        Ok(self.taken(step, &list, place, route).map(Some))
    }

    fn taken(
        &self,
        step: &StepPath,
        list: &Body,
        place: usize,
        route: &RouteDef,
    ) -> Result<Next, Failure> {
        let to = list.nodes[route.to].id.clone();
        let again: Vec<_> = if route.back {
            list.nodes[route.to..=place].iter().map(|node| node.id.clone()).collect()
        } else {
            Vec::new()
        };
        self.within_visits(step, &list.nodes[route.to], &again)?;
        Ok(Next { to, again })
    }

    fn within_visits(
        &self,
        step: &StepPath,
        target: &Node,
        again: &[String],
    ) -> Result<(), Failure> {
        let body = step.parent().unwrap_or_else(StepPath::root);
        let visits = self
            .run
            .scope(&body)
            .and_then(|scope| scope.nodes.get(&target.id))
            .map_or(0, |node| node.visit);
        if again.is_empty() || visits < target.max_visits {
            return Ok(());
        }
        Err(Failure::certain(
            Code::LimitExceeded,
            format!("'{}' was visited {visits} times, which is its limit", target.id),
        ))
    }

    pub(super) fn cancelling(&self) -> bool {
        matches!(self.run.phase, Phase::Cancelling(_))
    }

    /// A step ended: its body may go on.
    pub(super) fn after_step(&mut self, step: &StepPath) {
        self.later(match step.compensates() {
            Some(_) => Job::Compensate,
            None => Job::Body(step.parent().unwrap_or_else(StepPath::root)),
        });
    }
}

/// Bodies in work, and the number of the next one.
fn in_work(bodies: &Bodies) -> (u64, u64) {
    let running = bodies.running.size() as u64;
    (running, running + bodies.ended)
}

fn collect(path: &StepPath, scope: &Scope, places: &mut Vec<Job>) {
    for (id, node) in &scope.nodes {
        let Some(bodies) = node.bodies().filter(|_| node.status == Status::Running) else {
            continue;
        };
        let step = path.node(id, node.visit);
        match &bodies.work {
            // Branches and cases open together with their node, perhaps in a turn that reached its limit.
            Opened::Parallel { branches } => {
                let open = |name: &&String| !bodies.done.contains_key(&Key::Name((*name).clone()));
                places.extend(branches.iter().filter(open).map(|name| Job::Body(step.body(name))));
            }
            Opened::Switch { route: Some(route) } => {
                places.push(Job::Body(step.body(route)));
            }
            _ => {}
        }
        for (key, inner) in &bodies.running {
            collect(&step.body(key), inner, places);
        }
        places.push(Job::Step(step));
    }
    places.push(Job::Body(path.clone()));
}

fn all_settled(scope: &Scope, def: &Body) -> bool {
    def.nodes.iter().all(|node| scope.nodes.get(&node.id).is_some_and(|node| node.settled()))
}

/// The last node of the list that completed: its output is that of the body.
fn last_completed(scope: &Scope, def: &Body) -> Option<String> {
    let completed = |node: &&Node| {
        scope.nodes.get(&node.id).is_some_and(|state| state.status == Status::Completed)
    };
    def.nodes.iter().rev().find(completed).map(|node| node.id.clone())
}

fn reach(scope: Option<&Scope>, def: &Body, place: usize) -> Reach {
    let node = &def.nodes[place];
    let state = |id: &str| scope.and_then(|scope| scope.nodes.get(id));
    if let Some(state) = state(&node.id)
        && !state.again
    {
        return Reach::NotYet;
    }
    if node.incoming.is_empty() {
        return Reach::Ready;
    }
    let mut live = false;
    for edge in &node.incoming {
        let Some(from) = state(&def.nodes[edge.from].id).filter(|from| from.settled()) else {
            return Reach::NotYet;
        };
        live |= lives(edge.via, &from.route, from.status, &node.id);
    }
    if live { Reach::Ready } else { Reach::Dead }
}

fn lives(via: Via, route: &Route, status: Status, target: &str) -> bool {
    if status == Status::Dead {
        return false;
    }
    match (via, route) {
        (Via::Implicit | Via::After, Route::Onward) | (Via::After, Route::Next(_)) => true,
        (Via::Next, Route::Next(to)) | (Via::Error, Route::Error(to)) => to == target,
        _ => false,
    }
}
