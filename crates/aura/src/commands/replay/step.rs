//! `aura replay --step`: a history event by event, forwards and back. Reads the store only.

use std::io::{BufRead, IsTerminal, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use aura_core::commit::StoredCommit;
use aura_core::error::{Code, Problem};
use aura_core::event::{Event, EventBody};
use aura_core::id::RunId;
use aura_core::ports::Store;
use aura_engine::read_all;
use aura_graph::Run;
use aura_graph::compare::values;
use aura_graph::state::{fold, outline};
use serde_json::json;

use super::super::events::text;
use crate::changes;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, clock_time, plain};
use crate::signals::{Hangup, Stop};

/// Events between two states that are kept to go back to.
const APART: u64 = 256;
/// Commits read from the store at a time.
const PAGE: usize = 64;
/// How often a wait for a line looks whether somebody asked to leave.
const LOOK: Duration = Duration::from_millis(100);

const HELP: &str = "what can be typed:
  next [N]        the next event, or the Nth after this one (n, or an empty line)
  back [N]        the event before this one, or the Nth before it (b)
  goto N          event N (g)
  continue        on to the next breakpoint, or to the end (c)
  break WHAT      a breakpoint: the id or path of a step, or a type such as step.failed or tool
  breaks          the breakpoints
  clear [WHAT]    one breakpoint less, or none left
  inspect [PATH]  the state, or a part of it: vars.total, steps.fetch.output, open.tasks (i)
  quit            leave (q, or Ctrl-D)";

/// Goes through a run as the lines of standard input say.
pub(super) fn run(context: &Context, store: &dyn Store, id: RunId) -> Result<Exit, Problem> {
    let mut stepper = Stepper::new(context, store, id)?;
    let terminal = context.out.terminal && std::io::stdin().is_terminal();
    let stop = Stop::listen(Hangup::Leaves)?;
    let lines = lines();
    if !context.out.json {
        let events = describe::count(stepper.total, "event");
        context.out.line(format_args!("run {id}: {events}; 'help' lists what can be typed"));
    }
    stepper.show();
    loop {
        if terminal {
            prompt(&stepper);
        }
        let Some(line) = next(&lines, &stop) else {
            if terminal {
                context.out.line("");
            }
            return Ok(Exit::Done);
        };
        if !stepper.obey(line.trim())? || context.out.closed() {
            return Ok(Exit::Done);
        }
    }
}

fn prompt(stepper: &Stepper<'_>) {
    let text = format!("{}/{} > ", stepper.at(), stepper.total);
    let mut out = std::io::stdout().lock();
    // A terminal that is gone ends the input too.
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}

/// The lines of standard input, read beside, so that Ctrl-C is heard.
fn lines() -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn next(lines: &Receiver<String>, stop: &Stop) -> Option<String> {
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => return Some(line),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if stop.asked() => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// A place in a history, with the ways from it.
struct Stepper<'a> {
    context: &'a Context,
    store: &'a dyn Store,
    /// Events of the history.
    total: u64,
    /// States to start from when going back, by the events in them.
    kept: Vec<Run>,
    /// The state after the event that is shown.
    run: Run,
    /// The state before it.
    before: Run,
    /// The event that is shown; none before the first.
    event: Option<Event>,
    /// The commit that the next event is looked for in first.
    page: Vec<(u64, StoredCommit, Vec<Event>)>,
    breaks: Vec<String>,
}

impl<'a> Stepper<'a> {
    fn new(context: &'a Context, store: &'a dyn Store, id: RunId) -> Result<Self, Problem> {
        let mut total = 0;
        read_all(store, id, &mut |commit| {
            total = commit.header.next_seq() - 1;
            Ok(())
        })?;
        let run = Run::new(id);
        let mut stepper = Self {
            context,
            store,
            total,
            kept: vec![run.clone()],
            before: run.clone(),
            run,
            event: None,
            page: Vec::new(),
            breaks: Vec::new(),
        };
        stepper.forward()?;
        Ok(stepper)
    }

    /// The number of the event that is shown.
    fn at(&self) -> u64 {
        self.run.events
    }

    /// Does what a line says; whether to go on.
    fn obey(&mut self, line: &str) -> Result<bool, Problem> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "" | "n" | "next" => self.by(rest, 1)?,
            "b" | "back" => self.by(rest, -1)?,
            "g" | "goto" => match rest.parse() {
                Ok(to) => self.go(to)?,
                Err(_) => self.say(format!("goto takes a number from 1 to {}", self.total)),
            },
            "c" | "continue" => self.go_on()?,
            "break" if rest.is_empty() => self.say("break takes a step or a type of event"),
            "break" => {
                if !self.breaks.iter().any(|known| known == rest) {
                    self.breaks.push(rest.to_owned());
                }
                self.say(format!("stops at {}", plain(&self.breaks.join(", "))));
            }
            "breaks" if self.breaks.is_empty() => self.say("no breakpoints"),
            "breaks" => self.say(plain(&self.breaks.join(", "))),
            "clear" if rest.is_empty() => self.breaks.clear(),
            "clear" => self.breaks.retain(|known| known != rest),
            "i" | "inspect" => self.inspect(rest),
            "h" | "help" | "?" => self.say(HELP),
            "q" | "quit" | "exit" => return Ok(false),
            other => {
                self.say(format!("'{}' means nothing here; 'help' lists what does", plain(other)));
            }
        }
        Ok(true)
    }

    fn say(&self, text: impl std::fmt::Display) {
        if self.context.out.json {
            self.context.out.record(&json!({ "said": text.to_string() }));
        } else {
            self.context.out.line(text);
        }
    }

    /// On or back by as many events as a text says, else by one.
    fn by(&mut self, count: &str, way: i64) -> Result<(), Problem> {
        let count = if count.is_empty() { Ok(1) } else { count.parse::<u32>() };
        let Ok(count) = count else {
            self.say("how many is a whole number");
            return Ok(());
        };
        let to = self.at().saturating_add_signed(way * i64::from(count));
        self.go(to)
    }

    fn go(&mut self, to: u64) -> Result<(), Problem> {
        let wanted = to.clamp(1, self.total);
        if wanted == self.at() {
            let end = if to > wanted { "end" } else { "beginning" };
            if to != wanted {
                self.say(format!("this is the {end}"));
            }
            return Ok(());
        }
        if wanted < self.at() {
            let kept = self.kept.iter().rev().find(|run| run.events < wanted);
            self.run = kept.or(self.kept.first()).cloned().unwrap_or_else(|| Run::new(self.run.id));
        }
        while self.at() < wanted {
            self.forward()?;
        }
        self.show();
        Ok(())
    }

    /// On to the next event that a breakpoint is for.
    fn go_on(&mut self) -> Result<(), Problem> {
        if self.at() >= self.total {
            self.say("this is the end");
            return Ok(());
        }
        while self.at() < self.total {
            self.forward()?;
            if self.event.as_ref().is_some_and(|event| self.breaks.iter().any(|b| stops(b, event)))
            {
                break;
            }
        }
        self.show();
        Ok(())
    }

    /// One event on.
    fn forward(&mut self) -> Result<(), Problem> {
        let id = self.run.id;
        let damaged = |why: String| {
            Problem::new(Code::ChainBroken, format!("run {id}: {why}")).next("aura store check")
        };
        let wanted = self.at() + 1;
        let holds = |(first, _, events): &&(u64, StoredCommit, Vec<Event>)| {
            *first <= wanted && wanted < *first + events.len() as u64
        };
        if !self.page.iter().any(|commit| holds(&commit)) {
            let commits = self.store.read(id, wanted, PAGE).map_err(|e| damaged(e.to_string()))?;
            self.page = commits
                .into_iter()
                .map(|commit| {
                    let events = commit.events().map_err(|e| damaged(e.to_string()))?;
                    Ok((commit.header.seq, commit, events))
                })
                .collect::<Result<_, Problem>>()?;
        }
        let found = self.page.iter().find(holds);
        let (first, commit, events) =
            found.ok_or_else(|| damaged(format!("event {wanted} is missing")))?;
        let place = usize::try_from(wanted - first).unwrap_or(usize::MAX);
        let event = events.get(place).cloned();
        self.before = self.run.clone();
        if let Some(event) = &event {
            fold(&mut self.run, commit.header.at, event).map_err(|e| damaged(e.to_string()))?;
        }
        self.event = event;
        let last = self.kept.last().map_or(0, |run| run.events);
        if self.run.events >= last + APART {
            self.kept.push(self.run.clone());
        }
        Ok(())
    }

    /// The event, and what it changed.
    fn show(&self) {
        let Some(event) = &self.event else { return };
        let (old, new) = (outline(&self.before), outline(&self.run));
        let out = &self.context.out;
        if out.json {
            let mut record = json!(event);
            record["seq"] = json!(self.at());
            record["at"] = json!(self.run.at);
            record["status"] = json!(self.run.status());
            record["changes"] = changes::document(&old, &new);
            return out.record(&record);
        }
        let time = out.paint(Tone::Faint, clock_time(self.run.at));
        out.line(format_args!("{:>6}  {time}  {}", self.at(), text(self.context, event)));
        for line in changes::lines(out, &old, &new) {
            out.line(format_args!("          {line}"));
        }
    }

    fn inspect(&self, path: &str) {
        let state = outline(&self.run);
        match values::at(&state, path) {
            Some(value) if self.context.out.json => {
                self.context.out.record(&json!({ "path": path, "value": value }));
            }
            Some(value) => {
                let text = serde_json::to_string_pretty(value).unwrap_or_default();
                self.say(plain(&text));
            }
            None => {
                let near: Vec<_> =
                    state.as_object().into_iter().flat_map(|map| map.keys()).collect();
                let names: Vec<_> = near.iter().map(|name| name.as_str()).collect();
                self.say(format!("no '{}' here; at the top are {}", plain(path), names.join(", ")));
            }
        }
    }
}

/// Whether a breakpoint is for an event: by the id of its node, the path of its step, or the first words of its type.
fn stops(wanted: &str, event: &Event) -> bool {
    let kind = EventBody::kind(&event.body);
    let by_type =
        kind.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let by_step = event.step.as_ref().is_some_and(|step| {
        step.as_str() == wanted || step.last().is_some_and(|last| last.id == wanted)
    });
    by_type || by_step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breakpoint_is_a_step_or_a_type() {
        let event: Event = serde_json::from_value(json!({
            "step": "items[3]/check#2", "type": "timer.set", "data": { "purpose": "sleep", "due": 1 }
        }))
        .unwrap();
        for wanted in ["check", "items[3]/check#2", "timer", "timer.set"] {
            assert!(stops(wanted, &event), "{wanted}");
        }
        for wanted in ["items", "che", "time", "timer.", ""] {
            assert!(!stops(wanted, &event), "{wanted}");
        }
    }
}
