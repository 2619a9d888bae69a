//! The steps of a run as a tree, from its events: every visit, item and iteration, up to a bound.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aura_core::budget::OnExceeded;
use aura_core::data::Data;
use aura_core::event::{
    ArtifactCreated, Event, EventBody, Output as Made, Settlement, StepFailed, Work,
};
use aura_core::fork::Origin;
use aura_core::path::StepPath;
use aura_core::saga::CompensationFailed;
use aura_core::time::{Millis, Span};
use serde_json::{Value, json};

use crate::describe;
use crate::output::{Output, Tone, plain};

/// Steps that are kept; later ones are counted.
const KEPT: usize = 10_000;
/// Steps that failed after that and are kept as well.
const FAILURES: usize = 1_000;
/// Bodies of a map or loop that are drawn; of the others those that did not end well.
const BODIES: usize = 8;
/// Lines of the drawing.
const LINES: usize = 400;
/// Width of the column of names.
const NAMES: usize = 26;

/// A step, or a body of one.
#[derive(Debug)]
pub(crate) struct Step {
    path: StepPath,
    /// What it opened; nothing for a body and for a step that was passed over.
    what: String,
    class: Option<&'static str>,
    status: &'static str,
    attempts: u32,
    started: Millis,
    ended: Option<Millis>,
    output: Option<Data>,
    /// Where its result was taken from instead of calling.
    reused: Option<Origin>,
    error: Option<aura_core::Failure>,
    children: Vec<usize>,
}

/// The steps of a run.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    all: Vec<Step>,
    places: BTreeMap<StepPath, usize>,
    roots: Vec<usize>,
    /// Steps that are not kept.
    pub(crate) omitted: u64,
    /// Lasting things, with the step that made each.
    pub(crate) artifacts: Vec<(StepPath, ArtifactCreated)>,
}

impl Steps {
    /// Takes the next event.
    pub(crate) fn take(&mut self, at: Millis, event: &Event) {
        let Some(path) = &event.step else {
            let closes = matches!(
                event.body,
                EventBody::RunCompleted(_) | EventBody::RunFailed(_) | EventBody::RunCancelled(_)
            );
            if closes {
                self.stop(at);
            }
            return;
        };
        match &event.body {
            EventBody::StepStarted(data) => {
                let Some(step) = self.reach(path, at, KEPT) else { return };
                step.what = describe::work(&data.work);
                if let Work::Code(_) = &data.work {
                    step.attempts = 1;
                }
                if let Work::Task(spec) = &data.work {
                    step.what.clone_from(&spec.tool);
                    step.class = Some(spec.class.as_str());
                    step.attempts = 1;
                }
            }
            EventBody::CompensationStarted(data) => {
                let Some(step) = self.reach(path, at, KEPT) else { return };
                step.what.clone_from(&data.tool);
                step.class = Some(data.class.as_str());
                step.attempts = 1;
            }
            EventBody::StepCompensated(_) => self.compensated(path, at),
            EventBody::ArtifactCreated(data) if self.artifacts.len() < KEPT => {
                self.artifacts.push((path.clone(), data.clone()));
            }
            body => {
                // A step whose values could not be rendered fails, and a skipped one ends, without a start.
                let ends = matches!(
                    body,
                    EventBody::StepFailed(_)
                        | EventBody::CompensationFailed(_)
                        | EventBody::StepSkipped(_)
                        | EventBody::StepCompleted(_)
                );
                let known = self.places.get(path).copied();
                let step = match known {
                    Some(place) => &mut self.all[place],
                    None if ends => match self.reach_end(path, at, body) {
                        Some(step) => step,
                        None => return,
                    },
                    None => return,
                };
                step.happens(at, event.attempt, body);
                if let (EventBody::CompensationFailed(_), Some(of)) = (body, path.compensates()) {
                    self.end_above(&of, at, "failed");
                }
            }
        }
    }

    /// What stands around a step of a child that was undone, or could not be: it ran in another run, and ended there.
    fn end_above(&mut self, of: &StepPath, at: Millis, status: &'static str) {
        let mut above = Some(of.clone());
        while let Some(path) = above {
            let step = self.places.get(&path).map(|place| &mut self.all[*place]);
            if let Some(step) = step.filter(|step| step.ended.is_none()) {
                step.end(at, status);
            }
            above = path.parent().filter(|path| !path.is_root());
        }
    }

    /// The run ended: what had no end until then will have none. Where it is not known what became of a call, that stays.
    fn stop(&mut self, at: Millis) {
        for step in &mut self.all {
            if step.ended.is_none() && !step.path.is_body() && step.status != "in doubt" {
                step.end(at, "stopped");
            }
        }
    }

    /// A step was undone: it says so, and its compensation ended.
    fn compensated(&mut self, path: &StepPath, at: Millis) {
        for (path, status) in [(path.clone(), "compensated"), (path.compensation(), "completed")] {
            if let Some(place) = self.places.get(&path) {
                let step = &mut self.all[*place];
                step.status = status;
                step.ended.get_or_insert(at);
            }
        }
        self.end_above(path, at, "compensated");
    }

    /// The step of a path that ends without having been seen to start.
    fn reach_end(&mut self, path: &StepPath, at: Millis, ends: &EventBody) -> Option<&mut Step> {
        match ends {
            // Kept beyond the others, for it may be the reason for all that follows.
            EventBody::StepFailed(_) | EventBody::CompensationFailed(_) => {
                self.reach(path, at, KEPT + FAILURES)
            }
            EventBody::StepCompleted(_) if self.all.len() >= KEPT => None,
            _ => self.reach(path, at, KEPT),
        }
    }

    /// The step of a path, made where it is new; `None` where no more are kept.
    fn reach(&mut self, path: &StepPath, at: Millis, room: usize) -> Option<&mut Step> {
        if let Some(place) = self.places.get(path) {
            return self.all.get_mut(*place);
        }
        if self.all.len() >= room {
            self.omitted += u64::from(!path.is_body());
            return None;
        }
        let above = path.parent().filter(|above| !above.is_root());
        if let Some(above) = &above {
            self.reach(above, at, room)?;
        }
        let place = self.all.len();
        let step = Step {
            path: path.clone(),
            what: String::new(),
            class: None,
            status: "running",
            attempts: 0,
            started: at,
            ended: None,
            output: None,
            reused: None,
            error: None,
            children: Vec::new(),
        };
        self.all.push(step);
        self.places.insert(path.clone(), place);
        match above.and_then(|above| self.places.get(&above).copied()) {
            Some(parent) => self.all[parent].children.push(place),
            None => self.roots.push(place),
        }
        self.all.last_mut()
    }

    /// Every step for programs, in the order in which they were reached; bodies are told by the paths.
    pub(crate) fn document(&self) -> Value {
        let steps = self.all.iter().filter(|step| !step.path.is_body()).map(|step| {
            json!({
                "path": step.path, "what": step.what, "class": step.class, "status": step.status,
                "attempts": step.attempts, "started": step.started, "ended": step.ended,
                "duration_ms": step.ended.map(|ended| ended.since(step.started)),
                "output": step.output, "reused": step.reused, "error": step.error,
            })
        });
        Value::Array(steps.collect())
    }

    /// The tree for people.
    pub(crate) fn draw(&self, out: &Output, now: Millis) -> Vec<String> {
        let mut lines = Vec::new();
        for place in &self.roots {
            self.below(out, now, (*place, 0), &mut lines);
        }
        let hidden = lines.len().saturating_sub(LINES);
        if hidden > 0 {
            lines.truncate(LINES);
            lines.push(format!("… {hidden} more lines"));
        }
        lines
    }

    fn below(
        &self,
        out: &Output,
        now: Millis,
        (place, depth): (usize, usize),
        lines: &mut Vec<String>,
    ) {
        // A little more than is shown is drawn, to know how much is hidden; never everything.
        if lines.len() > LINES * 4 {
            return;
        }
        let mut step = &self.all[place];
        let above = step.path.parent().unwrap_or_else(StepPath::root);
        // A body of one step is told in that step's line.
        if step.path.is_body()
            && let [only] = step.children.as_slice()
        {
            step = &self.all[*only];
        }
        let label = step.path.as_str().strip_prefix(above.as_str()).unwrap_or_default();
        lines.push(step.line(out, now, (label.trim_start_matches('/'), depth)));
        let repeats = step.what.starts_with("map") || step.what.starts_with("loop");
        let bodies = step.children.len();
        let (mut hidden, mut well) = (0_u64, true);
        for (number, child) in step.children.iter().enumerate() {
            let status = self.all[*child].status;
            let calm = matches!(status, "completed" | "skipped");
            let edge = number < BODIES || number + 1 == bodies;
            let shown = !repeats || edge || (!calm && hidden + (BODIES as u64) < LINES as u64);
            if shown {
                self.below(out, now, (*child, depth + 1), lines);
            } else {
                hidden += 1;
                well &= calm;
            }
        }
        if hidden > 0 {
            let how = if well { ", all completed" } else { "" };
            let indent = "  ".repeat(depth + 1);
            let more = out.paint(Tone::Faint, format_args!("… {hidden} more{how}"));
            lines.push(format!("{indent}{more}"));
        }
    }
}

impl Step {
    fn happens(&mut self, at: Millis, attempt: Option<u32>, body: &EventBody) {
        match body {
            EventBody::ToolCalled(_) => {
                self.attempts = attempt.unwrap_or(1);
                self.status = "running";
            }
            EventBody::StepRetrying(_) => {
                self.status = "retrying";
                self.attempts = attempt.unwrap_or(self.attempts + 1);
            }
            EventBody::ToolCompleted(data) => self.output = Some(data.output.clone()),
            EventBody::ChildCompleted(data) => self.output = Some(data.output.clone()),
            EventBody::ToolFailed(data) => self.error = Some(data.error.clone()),
            EventBody::EffectUnknown(data) => {
                self.status = if data.parked { "in doubt" } else { "running" };
                self.error.clone_from(&data.error);
            }
            EventBody::EffectWithheld(_) => self.status = "in doubt",
            EventBody::EffectReused(data) => {
                self.attempts = 0;
                self.reused = data.from;
                self.told(&data.outcome);
            }
            EventBody::ProbeStarted(_) => self.status = "probing",
            EventBody::EffectReconciled(data) => self.told(&data.outcome),
            EventBody::EffectSettled(data) => self.told(&data.outcome),
            EventBody::BudgetExceeded(data) if data.then == OnExceeded::Ask => {
                self.status = "waiting";
            }
            EventBody::ApprovalRequested(_) => self.status = "waiting",
            EventBody::ApprovalGranted(_) => self.status = "running",
            EventBody::StepCompleted(data) => {
                self.end(at, "completed");
                self.error = None;
                match &data.output {
                    Made::Value(value) => self.output = Some(value.clone()),
                    Made::Vars => self.output = Some(vars(&data.vars)),
                    Made::Task | Made::Node(_) | Made::Bodies => {}
                }
            }
            EventBody::StepFailed(StepFailed { error, .. })
            | EventBody::CompensationFailed(CompensationFailed { error }) => {
                self.end(at, "failed");
                self.output = None;
                self.error = Some(error.clone());
            }
            EventBody::StepSkipped(_) => self.end(at, "skipped"),
            _ => {}
        }
    }

    fn told(&mut self, outcome: &Settlement) {
        self.status = "running";
        match outcome {
            Settlement::Succeeded(output) => self.output = Some(output.clone()),
            Settlement::Failed(error) => self.error = Some(error.clone()),
            Settlement::Retry => {}
        }
    }

    fn end(&mut self, at: Millis, status: &'static str) {
        self.status = status;
        self.ended = Some(at);
    }

    fn line(&self, out: &Output, now: Millis, (label, depth): (&str, usize)) -> String {
        let (tone, mark) = match self.status {
            "completed" => (Tone::Good, "✓"),
            "failed" => (Tone::Bad, "✗"),
            "compensated" => (Tone::Faint, "↩"),
            "skipped" => (Tone::Faint, "–"),
            "stopped" => (Tone::Faint, "■"),
            "in doubt" => (Tone::Warn, "?"),
            "waiting" => (Tone::Warn, "◌"),
            "retrying" | "probing" => (Tone::Warn, "↻"),
            _ => (Tone::Busy, "●"),
        };
        let indent = "  ".repeat(depth);
        let width = NAMES.saturating_sub(indent.len()).max(8);
        let name = plain(label);
        let mut line = format!("{indent}{} {name:<width$}", out.paint(tone, mark));
        if !self.what.is_empty() {
            let _ = write!(line, " {}", plain(&self.what));
        }
        let ended = self.status != "skipped";
        let took = Span(self.ended.unwrap_or(now).since(self.started));
        if ended {
            line.push_str(&out.paint(Tone::Faint, format_args!("  {took}")));
        }
        if self.attempts > 1 {
            line.push_str(&out.paint(Tone::Warn, format_args!("  {} attempts", self.attempts)));
        }
        if self.reused.is_some() {
            line.push_str(&out.paint(Tone::Good, "  reused"));
        }
        if self.ended.is_none() || self.status == "stopped" {
            line.push_str(&out.paint(tone, format_args!("  {}", self.status)));
        }
        match (&self.error, &self.output) {
            (Some(error), _) => {
                let text = describe::one_line(&error.to_string(), 120);
                line.push_str(&out.paint(tone, format_args!("  {text}")));
            }
            (None, Some(output)) => {
                let text = describe::data(output);
                line.push_str(&out.paint(Tone::Faint, format_args!("  {text}")));
            }
            (None, None) => {}
        }
        line.trim_end().to_owned()
    }
}

/// The object of the variables that a step set; one that lies in a blob is told by its address.
fn vars(vars: &BTreeMap<String, Data>) -> Data {
    let entries = vars.iter().map(|(name, value)| {
        let shown = match value {
            Data::Json(value) => Value::clone(value),
            Data::Blob(blob) => json!(blob),
        };
        (name.clone(), shown)
    });
    Data::from(Value::Object(entries.collect()))
}
