//! Answering approvals from the process that follows a run: all of them (`--yes`), or by asking the person at the
//! terminal.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use aura_core::data::Data;
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::ApprovalVerdict;
use aura_core::path::StepPath;
use aura_graph::Run;
use aura_graph::state::Asked;
use serde_json::json;

use crate::budget;
use crate::commands::approvals::counted;
use crate::context::Context;
use crate::door::Door;
use crate::follow::Patience;
use crate::live::View;
use crate::output::{Tone, plain};
use crate::socket::protocol::Ask;

/// Lines shown of what is approved.
const SHOWN_LINES: usize = 20;

/// Who answers approvals.
#[derive(Debug)]
pub(crate) enum Answering {
    /// Nobody here.
    Nobody,
    /// Everything is granted.
    Yes,
    /// The person at the terminal.
    Person(Person),
}

/// A person at the terminal, and the question that is open.
#[derive(Debug)]
pub(crate) struct Person {
    /// What the person types; nobody listens before the first question.
    lines: Option<Receiver<String>>,
    open: Option<Question>,
    /// Who that is, as it is recorded.
    actor: String,
    /// Questions that the person left for later.
    later: BTreeSet<(RunId, StepPath, Hash)>,
}

#[derive(Debug)]
struct Question {
    run: RunId,
    step: StepPath,
    action: Hash,
    /// The answer, once it is given and only the reason is missing.
    verdict: Option<ApprovalVerdict>,
}

/// A question, and the run that asks it.
type Waiting<'a> = (RunId, &'a StepPath, &'a Arc<Asked>);

/// The questions of a tree.
fn all<'a>(runs: &[&'a Run]) -> Vec<Waiting<'a>> {
    let of = |run: &&'a Run| {
        let run: &'a Run = run;
        run.approvals.iter().map(move |(step, asked)| (run.id, step, asked))
    };
    runs.iter().flat_map(of).collect()
}

impl Answering {
    /// Who answers, by what the person asked for and where this process runs.
    pub(crate) fn fitting(context: &Context, yes: bool) -> Self {
        if yes {
            return Self::Yes;
        }
        let terminal = context.out.terminal && std::io::stdin().is_terminal();
        if !terminal || context.out.json || context.quiet {
            return Self::Nobody;
        }
        let actor = context.actor.clone();
        Self::Person(Person { lines: None, open: None, actor, later: BTreeSet::new() })
    }

    /// How long a run is followed that waits for somebody.
    pub(crate) fn patience(&self) -> Patience {
        match self {
            Self::Nobody | Self::Yes => Patience::None,
            Self::Person(_) => Patience::Expiry,
        }
    }

    /// Whether a question is open on the screen.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Person(Person { open: Some(_), .. }))
    }

    /// Takes back a question that is not asked any more.
    pub(crate) fn withdraw(&mut self, context: &Context, runs: &[&Run]) {
        let Self::Person(person) = self else { return };
        let Some(question) = &person.open else { return };
        let run = runs.iter().find(|run| run.id == question.run);
        let asked = run.and_then(|run| run.approvals.get(&question.step));
        if asked.is_none_or(|asked| asked.request.action != question.action) {
            person.open = None;
            context.out.line("\n  (answered elsewhere, or no longer asked)");
        }
    }

    /// Whether the next turn puts a question on the screen.
    pub(crate) fn would_ask(&self, runs: &[&Run]) -> bool {
        matches!(self, Self::Person(person) if person.open.is_none() && person.due(runs).is_some())
    }

    /// Answers what can be answered; gives back whether a question is open on the screen.
    pub(crate) fn turn(
        &mut self,
        context: &Context,
        runs: &[&Run],
        door: &mut Door,
        view: &mut View,
    ) -> Result<bool, Problem> {
        match self {
            Self::Nobody => Ok(false),
            Self::Yes => {
                // One person counts once: where others must say yes too, it waits for them. What is to be done was
                // agreed to, not what it may cost: that would be a budget without a limit.
                let mut asked = all(runs);
                asked.retain(|(.., asked)| {
                    !asked.has(&context.actor) && asked.request.raise.is_none()
                });
                let any = !asked.is_empty();
                for (run, step, asked) in asked {
                    let (step, reason) = (step.clone(), Some("--yes".to_owned()));
                    let given = (step, asked.request.action, ApprovalVerdict::Granted, reason);
                    answer(context, run, door, given)?;
                }
                // What was just answered shows as open until its commit is read.
                Ok(any)
            }
            Self::Person(person) => person.turn(context, runs, door, view),
        }
    }
}

/// Passes on the lines that the person types.
fn listen() -> Receiver<String> {
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Whether the terminal listens to this process. One that was sent to the background (`aura run … &`) would be
/// stopped as soon as it read a line.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin())
        .is_ok_and(|group| group == rustix::process::getpgrp())
}

impl Person {
    fn turn(
        &mut self,
        context: &Context,
        runs: &[&Run],
        door: &mut Door,
        view: &mut View,
    ) -> Result<bool, Problem> {
        if self.open.is_none() {
            let Some((run, step, asked)) = self.due(runs) else { return Ok(false) };
            let (step, asked) = (step.clone(), Arc::clone(asked));
            view.clear(context);
            // What was typed before the question was seen is no answer to it.
            let lines = self.lines.get_or_insert_with(listen);
            while lines.try_recv().is_ok() {}
            show(context, &step, &asked);
            let action = asked.request.action;
            self.open = Some(Question { run, step, action, verdict: None });
        }
        let line = match self.lines.get_or_insert_with(listen).try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) => return Ok(true),
            // Nobody can type any more; the question stays for another terminal.
            Err(TryRecvError::Disconnected) => "later".to_owned(),
        };
        self.take(context, door, line.trim())?;
        // What was just answered shows as open until its commit is read.
        Ok(true)
    }

    /// A question that is not on the screen yet, that the person did not leave for later, and that still misses this
    /// person's answer.
    fn due<'a>(&self, runs: &[&'a Run]) -> Option<Waiting<'a>> {
        if !in_foreground() {
            return None;
        }
        let left = |(run, step, asked): &Waiting<'_>| {
            let key = (*run, (*step).clone(), asked.request.action);
            asked.has(&self.actor) || self.later.contains(&key)
        };
        all(runs).into_iter().find(|due| !left(due))
    }

    fn take(&mut self, context: &Context, door: &mut Door, line: &str) -> Result<(), Problem> {
        let Some(question) = &mut self.open else { return Ok(()) };
        let run = question.run;
        if let Some(verdict) = question.verdict {
            let reason = (!line.is_empty()).then(|| line.to_owned());
            let given = (question.step.clone(), question.action, verdict, reason);
            self.open = None;
            return answer(context, run, door, given);
        }
        match line.to_ascii_lowercase().as_str() {
            "y" | "yes" => question.verdict = Some(ApprovalVerdict::Granted),
            "n" | "no" => question.verdict = Some(ApprovalVerdict::Denied),
            "l" | "later" => {
                self.later.insert((run, question.step.clone(), question.action));
                self.open = None;
                return Ok(());
            }
            // An empty line may be a slip; a no would end the run.
            _ => {
                context.out.write("  y, n or l (later): ");
                return Ok(());
            }
        }
        context.out.write("  reason (may be empty): ");
        Ok(())
    }
}

fn show(context: &Context, step: &StepPath, open: &Asked) {
    let out = &context.out;
    let asked = &open.request;
    out.line(format_args!("{} {}", out.paint(Tone::Warn, "?"), plain(&asked.message)));
    let place = budget::told(step);
    out.line(out.paint(Tone::Faint, format_args!("  asked at {place}")));
    if let Some(again) = &asked.again {
        out.line(format_args!("  '{again}' approved another call than this one"));
    }
    if asked.quorum > 1 {
        let granted: Vec<_> = open.granted.iter().map(|answer| answer.actor.clone()).collect();
        out.line(format_args!("  {}", counted(asked.quorum, &granted)));
    }
    let shown = match &asked.shows {
        Data::Json(value) if value.is_null() || **value == json!({}) => String::new(),
        Data::Json(value) => serde_json::to_string_pretty(value).unwrap_or_default(),
        Data::Blob(blob) => format!("({} bytes; aura why shows them)", blob.bytes),
    };
    for line in shown.lines().take(SHOWN_LINES) {
        out.line(format_args!("  {}", plain(line)));
    }
    if shown.lines().count() > SHOWN_LINES {
        out.line("  …");
    }
    out.write("  approve? [y/n, l = later]: ");
}

fn answer(
    context: &Context,
    run: RunId,
    door: &mut Door,
    (step, action, verdict, reason): (StepPath, Hash, ApprovalVerdict, Option<String>),
) -> Result<(), Problem> {
    let actor = context.actor.clone();
    let ask = Ask::Approval { step, verdict, action: Some(action), actor, reason };
    match door.input(run, &ask) {
        Ok(_) => Ok(()),
        // Somebody else was quicker, or the question changed; the next look at the run tells.
        Err(problem) => match problem.code {
            Code::NotWaiting | Code::ApprovalMismatch | Code::RunClosed => Ok(()),
            _ => Err(problem),
        },
    }
}
