//! The people and programs around a world: they answer, signal, settle and cancel, and sometimes do so twice.

use aura_core::Data;
use aura_core::error::{Code, Problem};
use aura_core::event::Settlement;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::{ApprovalVerdict, Input};
use aura_engine::{Message, Submission, Submitted};
use aura_graph::Run;
use serde_json::json;

use super::World;

const ACTOR: &str = "world";

/// The signal that comes at any time, also when nobody waits for it yet.
const EARLY: &str = "news";

impl World {
    /// Somebody looks at a run, or at `all` of them, and does what one waits for, or something that nobody has asked
    /// for. Gives back whether there was anything to do.
    pub(super) fn answer_somebody(&mut self, all: bool) -> bool {
        let open = self.witness.open();
        if open.is_empty() {
            return false;
        }
        // Begins at any of them, so that none is answered first in every world.
        let from = self.seed.below(open.len());
        for offset in 0..if all { open.len() } else { 1 } {
            let id = open[(from + offset) % open.len()];
            let Some(run) = self.run(id) else { continue };
            if let Some(input) = self.answer_to(&run) {
                self.note(format_args!("answers {id}"));
                self.submit(id, &input);
                return true;
            }
        }
        false
    }

    fn answer_to(&mut self, run: &Run) -> Option<Input> {
        if self.one_in(self.hardship.cancel) {
            self.cancelled.insert(run.id);
            return Some(Input::Cancel { actor: ACTOR.to_owned(), reason: None });
        }
        if self.one_in(self.hardship.pause) {
            return Some(Input::Pause { actor: ACTOR.to_owned(), reason: None });
        }
        // Who paused the parent lets that go on, and its children with it.
        if run.paused.is_some() && !run.paused_by_parent() && !self.paused_above(run) {
            return Some(Input::Resume { actor: ACTOR.to_owned(), reason: None });
        }
        if let Some((step, asked)) = run.approvals.iter().next() {
            // Who has seen something else than what is asked must be refused.
            let seen = if self.seed.one_in(8) { Hash::ZERO } else { asked.request.action };
            return Some(Input::Approval {
                step: step.clone(),
                verdict: ApprovalVerdict::Granted,
                action: Some(seen),
                // A quorum wants different people.
                actor: format!("{ACTOR}-{}", asked.granted.len()),
                reason: None,
            });
        }
        if let Some((_, name)) = run.waits.iter().next() {
            return Some(self.signal(name.clone()));
        }
        let in_doubt = run.in_doubt().find(|(step, _)| {
            // Who looks while the call may still act learns nothing that stays true.
            !self.handed.inner().calls.may_still_act(run.id, step)
        });
        if let Some((_, task)) = in_doubt {
            let key = task.spec.key;
            self.settled += 1;
            return Some(Input::Settle {
                key,
                outcome: match self.outside.output_of(key) {
                    Some(output) => Settlement::Succeeded(Data::from(output)),
                    None => Settlement::Retry,
                },
                actor: ACTOR.to_owned(),
                reason: Some("looked at the ledger".to_owned()),
            });
        }
        let early = self.one_in(self.hardship.twice * 8);
        early.then(|| self.signal(EARLY.to_owned()))
    }

    /// Whether a run above this one is paused: nobody lets a child go on before that goes on.
    fn paused_above(&self, run: &Run) -> bool {
        let parent = run.started.as_ref().and_then(|started| started.parent.as_ref());
        let above =
            parent.filter(|parent| !parent.detached).and_then(|parent| self.run(parent.run));
        above.is_some_and(|above| above.paused.is_some() || self.paused_above(&above))
    }

    fn signal(&mut self, name: String) -> Input {
        self.signals += 1;
        Input::Signal {
            id: format!("signal-{}", self.signals),
            name,
            payload: Data::from(json!({ "answer": 42 })),
            actor: ACTOR.to_owned(),
        }
    }

    fn submit(&mut self, run: RunId, input: &Input) {
        let times = if self.one_in(self.hardship.twice) { 2 } else { 1 };
        for _ in 0..times {
            let (input, reply) = (Submitted::Input(input.clone()), self.reply(run));
            self.deliver(Message::Submit(Submission { run, input, reply }));
        }
    }

    /// Somebody was refused: they try again later, as far as what they wanted is still to be done.
    pub(super) fn refused(&mut self, run: RunId, problem: &Problem) {
        if let Some(starting) = self.starting.get_mut(&run) {
            starting.refused(self.now);
        }
        let expected = matches!(
            problem.code,
            Code::Busy
                | Code::StoreFull
                | Code::StoreUnavailable
                | Code::NotWaiting
                | Code::RunClosed
                | Code::ApprovalMismatch
                | Code::RunNotFound
                | Code::Conflict
        );
        assert!(expected, "run {run}: {} {}\n{}", problem.code, problem.what, self.tail());
    }
}
