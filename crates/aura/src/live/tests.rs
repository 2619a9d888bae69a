//! Events in, lines out.

use std::sync::Arc;

use aura_core::data::Data;
use aura_core::effect::EffectClass;
use aura_core::error::{Code, Failure};
use aura_core::event::{
    Event, EventBody, OnFailure, Output as Lies, StepCompleted, StepFailed, StepRetrying,
    StepStarted, Timer, Work,
};
use aura_core::hash::Hash;
use aura_core::path::StepPath;
use aura_core::task::TaskSpec;
use aura_core::time::Millis;

use super::model::Model;
use super::tree::{Canvas, ended_line};
use crate::output::{ColorChoice, Output};

/// A model that is told what happens, a second after the other.
struct Story {
    model: Model,
    at: Millis,
}

impl Story {
    fn new() -> Self {
        Self { model: Model::default(), at: Millis(0) }
    }

    fn tell(&mut self, step: &str, attempt: Option<u32>, body: EventBody) {
        self.at = self.at.plus(1_000);
        let event = Event { step: Some(StepPath::from(step)), attempt, body };
        self.model.apply(self.at, &event);
    }

    fn starts(&mut self, step: &str, work: Work) {
        let data = StepStarted { work, deadline: None, budget: None };
        self.tell(step, None, EventBody::StepStarted(Box::new(data)));
    }

    fn completes(&mut self, step: &str) {
        let (output, vars) = (Lies::Task, std::collections::BTreeMap::new());
        let data = StepCompleted {
            output,
            vars,
            last: false,
            compensate: None,
            next: None,
            state: Hash::ZERO,
        };
        self.tell(step, None, EventBody::StepCompleted(data));
    }

    fn fails(&mut self, step: &str, then: OnFailure) {
        let error = Failure::certain(Code::NotFound, "it is\u{1b}[31m not there");
        let data = StepFailed { error, then, compensate: None, next: None, state: Hash::ZERO };
        self.tell(step, None, EventBody::StepFailed(data));
    }

    /// What stands on the screen: what ended, then what is in work.
    fn screen(&mut self, most: usize) -> String {
        let out = Output::new(false, ColorChoice::Never);
        let mut lines: Vec<_> =
            self.model.finished.drain(..).map(|ended| ended_line(&out, &ended)).collect();
        let canvas = Canvas { out: &out, model: &self.model, now: self.at, frame: '*' };
        lines.extend(canvas.lines(most));
        lines.join("\n")
    }
}

fn task(tool: &str) -> Work {
    Work::Task(Arc::new(TaskSpec {
        tool: tool.to_owned(),
        definition: Hash::ZERO,
        class: EffectClass::Read,
        args: Data::null(),
        secrets: Vec::new(),
        call: Hash::ZERO,
        key: Hash::ZERO,
        timeout_ms: 1,
        retry: aura_core::task::Retry::default(),
        on_unknown: aura_core::task::OnUnknown::default(),
        key_ttl_ms: None,
        heartbeat_ms: None,
        probe: None,
        idempotency: None,
        cost: None,
    }))
}

fn map(count: u32) -> Work {
    Work::Map { items: Data::null(), count, concurrency: 1_024, collect: true }
}

#[test]
fn what_ended_stays_and_what_is_in_work_is_a_tree() {
    let mut story = Story::new();
    story.starts("fetch", task("http.request"));
    story.completes("fetch");
    story.starts("look", task("file.read"));
    story.fails("look", OnFailure::Continue);
    story.starts("both", Work::Parallel { branches: vec!["left".into(), "right".into()] });
    story.starts("both[left]/call", task("http.request"));
    let until = story.at.plus(4_000);
    story.tell("both[left]/call", Some(2), EventBody::StepRetrying(StepRetrying { until }));
    story.starts("both[right]/nap", Work::Sleep);
    let due = story.at.plus(62_000);
    let timer = Timer { purpose: aura_core::event::Purpose::Sleep, due };
    story.tell("both[right]/nap", None, EventBody::TimerSet(timer));
    insta::assert_snapshot!(story.screen(20), @r"
    ✓ fetch                      http.request  1.0 s
    ✗ look                       file.read  1.0 s  NOT_FOUND: it is�[31m not there
    * both                       parallel 0/2  4.0 s
      ↻ [left]/call              http.request  attempt 2 in 1.0 s  3.0 s
      ⏾ [right]/nap              sleep  1 m 01 s left  1.0 s
    ");
}

#[test]
fn a_thousand_items_are_a_counter_and_a_few_lines() {
    let mut story = Story::new();
    story.starts("many", map(1_000));
    for item in 0..500 {
        story.starts(&format!("many[{item}]/call"), task("echo"));
    }
    for item in 0..300 {
        story.completes(&format!("many[{item}]/call"));
        story.completes(&format!("many[{item}]"));
    }
    story.fails("many[300]", OnFailure::Fail);
    assert_eq!(story.model.steps.len(), 200, "what ended is only counted");
    let screen = story.screen(20);
    assert_eq!(screen.lines().count(), 7, "{screen}");
    assert!(screen.contains("map 301/1000, 1 failed"), "{screen}");
    assert!(screen.contains("… 194 more"), "{screen}");
    assert_eq!(story.screen(3).lines().count(), 3);
}

#[test]
fn a_long_loop_costs_no_memory() {
    let mut story = Story::new();
    story.starts("again", Work::Loop { times: Some(10_000), collect: false });
    for round in 0..10_000 {
        story.starts(&format!("again[{round}]/call"), task("echo"));
        story.completes(&format!("again[{round}]/call"));
        story.completes(&format!("again[{round}]"));
        assert!(story.model.steps.len() <= 2 && story.model.finished.is_empty());
    }
    story.completes("again");
    let screen = story.screen(20);
    assert!(screen.contains("loop 10000/10000"), "{screen}");
}
