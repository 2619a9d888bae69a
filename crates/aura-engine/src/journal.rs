//! Functions that wait for answers: who asked for what, and telling them when the answer is durable.

use std::collections::BTreeMap;

use aura_core::StepPath;
use aura_core::error::{Code, Problem};
use aura_core::event::Doubt;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::time::Millis;
use aura_graph::definition::Flows;
use aura_graph::state::{Bodies, Node};

use crate::message::{Accepted, Answered, Asking};
use crate::shard::{Released, Shard};
use crate::stream::Job;

/// Who waits, by run and step: a function asks for one thing at a time.
pub(crate) type Journals = BTreeMap<(RunId, StepPath), Asking>;

/// An answer that is told when the commit that it stands in is durable.
pub(crate) struct Told {
    asking: Asking,
    answer: Answered,
}

impl Told {
    pub(crate) fn tell(self) {
        // Whoever asked may have been stopped meanwhile.
        let _ = self.asking.reply.send(Ok(self.answer));
    }

    pub(crate) fn back(self) -> Asking {
        self.asking
    }
}

impl Asking {
    fn input(&self) -> Input {
        Input::Journal {
            step: self.step.clone(),
            number: self.number,
            asked: self.asked.clone(),
            call: self.call,
        }
    }
}

impl Shard {
    /// A function asks for something, or waits for what it asked before.
    pub(crate) fn journal(&mut self, asking: Asking, now: Millis) {
        let run = asking.run;
        if let Err(problem) = self.load(run) {
            let _ = asking.reply.send(Err(problem));
            return;
        }
        let asked = self.streams.get(&run).is_some_and(|stream| {
            let bodies = stream.run.node(&asking.step).and_then(Node::bodies);
            bodies.is_some_and(|bodies| bodies.calls.contains_key(&asking.number))
        });
        let input = asking.input();
        self.journals.insert((run, asking.step.clone()), asking);
        if !asked {
            return self.decide_for(run, Job::own(input), now);
        }
        let told = self.answered(run);
        let Some(stream) = self.streams.get(&run).filter(|_| !told.is_empty()) else { return };
        if stream.undurable == 0 {
            return told.into_iter().for_each(Told::tell);
        }
        let (events, status) = (stream.run.events, stream.run.status());
        let accepted = Accepted { run, events, status, already: true };
        self.release_when_durable(Released::answer(run, accepted, None, told));
    }

    /// The functions of a run whose calls have an answer by now, or whose step is gone.
    pub(crate) fn answered(&mut self, run: RunId) -> Vec<Told> {
        if self.journals.is_empty() {
            return Vec::new();
        }
        let Some(stream) = self.streams.get(&run) else { return Vec::new() };
        let mut told = Vec::new();
        let waiting = self.journals.range((run, StepPath::root())..);
        let waiting: Vec<_> =
            waiting.map(|(key, _)| key.clone()).take_while(|(of, _)| *of == run).collect();
        for key in waiting {
            let Some(bodies) = stream.run.node(&key.1).and_then(Node::bodies) else {
                self.journals.remove(&key);
                continue;
            };
            let number = self.journals.get(&key).map_or(0, |asking| asking.number);
            let answer = bodies.recorded(number).and_then(|recorded| recorded.answer);
            if let Some(answer) = answer
                && let Some(asking) = self.journals.remove(&key)
            {
                told.push(Told { asking, answer });
            }
        }
        told
    }

    /// A function asked for what can't be had.
    pub(crate) fn refuse_journal(&mut self, run: RunId, input: &Input, problem: &Problem) {
        if let Input::Journal { step, .. } = input
            && let Some(asking) = self.journals.remove(&(run, step.clone()))
        {
            let _ = asking.reply.send(Err(problem.clone()));
        }
    }

    /// What the functions of a run asked for can't be had any more.
    pub(crate) fn refuse_journals(&mut self, run: RunId, problem: &Problem) {
        let from = (run, StepPath::root());
        let asked = self.journals.range(from..).map(|(key, _)| key.clone());
        for key in asked.take_while(|(of, _)| *of == run).collect::<Vec<_>>() {
            if let Some(asking) = self.journals.remove(&key) {
                let _ = asking.reply.send(Err(problem.clone()));
            }
        }
    }

    /// What functions asked for and what did not become durable is asked for again.
    pub(crate) fn ask_again(&mut self, given_up: Vec<Told>) -> Vec<(RunId, Job)> {
        for told in given_up {
            let asking = told.back();
            self.journals.insert((asking.run, asking.step.clone()), asking);
        }
        self.journals.values().map(|asking| (asking.run, Job::own(asking.input()))).collect()
    }

    /// Brings a run into memory for something that happens to it. One that was asleep when it was taken over may have
    /// functions that wait: they were lost with the process before, and run again.
    pub(crate) fn load_performing(&mut self, run: RunId) -> Result<(), Problem> {
        let fresh = !self.streams.contains_key(&run);
        self.load(run)?;
        let Some(stream) = self.streams.get(&run) else { return Ok(()) };
        if !fresh || !self.performs.contains(&run) {
            return Ok(());
        }
        let waits = |step: &StepPath| {
            let bodies = stream.run.node(step).and_then(Node::bodies);
            bodies.is_some_and(Bodies::call_open)
        };
        let mut steps = stream.run.outstanding();
        steps.retain(|step| waits(step) && !self.in_flight.contains_key(&(run, step.clone())));
        if !steps.is_empty() {
            let input = Input::Unknown { steps, doubt: Doubt::Crash };
            self.hold(run, Job::own(input));
        }
        Ok(())
    }

    /// Why this process can't perform the flows of a bundle, if it lacks a function of one of them.
    pub(crate) fn lacks(&self, run: RunId, flows: &Flows) -> Option<Problem> {
        let all = std::iter::once(&flows.main).chain(flows.files.values());
        let missing = all.into_iter().find_map(|flow| self.ports.performer.missing(flow))?;
        let what =
            format!("the flow runs the function '{missing}', which this program has not got");
        Some(
            Problem::new(Code::FunctionMissing, what)
                .kept(format!("run {run} as it is; it waits for a program that has the function"))
                .next("go on with it in the program that registers the function"),
        )
    }
}
