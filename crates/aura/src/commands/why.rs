//! `aura why`: what a run waits for, since when, what happens next, and what to type.

use aura_core::effect::EffectClass;
use aura_core::error::{Code, Problem};
use aura_core::event::Purpose;
use aura_core::id::RunId;
use aura_core::path::StepPath;
use aura_core::ports::{Clock, KeyState, Store};
use aura_core::time::{Millis, Span};
use aura_engine::open_history;
use aura_graph::Run;
use aura_graph::state::{Child, Phase, Task, TaskPhase};
use aura_store::OwnerInfo;
use serde::Serialize;
use std::fmt::Write as _;

use super::approvals::counted;
use crate::budget;
use crate::context::Context;
use crate::describe;
use crate::exit::Exit;
use crate::output::{Tone, local_time, plain};
use crate::wire::SystemClock;
use crate::{resolve, saga};

/// Reasons that are told; of a map with a thousand items in work a few are enough.
const TOLD: usize = 20;

/// Arguments of `aura why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura why 0198c2d1
  aura why 0198c2d1 --json | jq -r '.reasons[].commands[]'")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
}

/// One thing that a run waits for, or why it ended as it did.
#[derive(Debug, Serialize)]
struct Reason {
    /// `approval`, `signal`, `effect`, `timer`, `call`, `slot`, `key`, `child`, `nobody`, `ended`.
    kind: &'static str,
    /// Where.
    step: Option<StepPath>,
    /// What, for a person.
    what: String,
    /// Since when.
    since: Option<Millis>,
    /// When something happens by itself.
    until: Option<Millis>,
    /// What happens next.
    next: String,
    /// What to type.
    commands: Vec<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let opened = context.reader()?;
    let id = resolve::run(&*opened.store, &args.run)?.run;
    let history = open_history(&*opened.store, id)?
        .ok_or_else(|| Problem::new(Code::RunNotFound, format!("no run {id}")).next("aura runs"))?;
    let run = history.run;
    let owner = aura_store::owner(&context.dir);
    let now = SystemClock.now();
    let mut found = reasons(&run, owner.as_ref(), now);
    for (step, task) in &run.tasks {
        if let Some(other) = behind(&*opened.store, run.id, step, task)?
            && let Some(reason) = found.iter_mut().find(|reason| reason.step.as_ref() == Some(step))
        {
            *reason = Reason { since: reason.since, ..other };
        }
    }
    children(&*opened.store, &run, (owner.as_ref(), now), &mut found)?;
    if context.out.json {
        context.out.document(&serde_json::json!({
            "run_id": run.id, "status": run.status(), "reasons": found,
        }));
        return Ok(Exit::Done);
    }
    print(context, &run, &found, now);
    Ok(Exit::Done)
}

fn print(context: &Context, run: &Run, found: &[Reason], now: Millis) {
    let out = &context.out;
    let status = run.status();
    let head = out.paint(describe::tone(status), status.as_str());
    let flow = run.started.as_ref().map(|started| plain(&started.flow.name)).unwrap_or_default();
    out.line(format_args!("run {}  {flow}  {head}", run.id));
    for reason in found.iter().take(TOLD) {
        out.line(format_args!("\n  {}", reason.what));
        let row = |name: &str, text: &str| {
            let name = out.paint(Tone::Faint, format_args!("{name:<6}"));
            out.line(format_args!("    {name} {text}"));
        };
        if let Some(since) = reason.since {
            row("since", &format!("{} ({})", local_time(since), describe::distance(since, now)));
        }
        if !reason.next.is_empty() {
            row("next", &reason.next);
        }
        for command in &reason.commands {
            row("type", &out.paint(Tone::Strong, command));
        }
    }
    if found.len() > TOLD {
        out.line(format_args!("\n  … and {} more: aura why {} --json", found.len() - TOLD, run.id));
    }
}

/// What a run waits for, a line each.
pub(crate) fn lines(run: &Run) -> Vec<String> {
    let found = reasons(run, None, run.at);
    found.into_iter().take(TOLD).map(|reason| reason.what).collect()
}

/// Everything that a run waits for; what needs a person comes first.
fn reasons(run: &Run, owner: Option<&OwnerInfo>, now: Millis) -> Vec<Reason> {
    if run.closed() {
        return vec![ended(run)];
    }
    let mut found = Vec::new();
    found.extend(paused(run));
    found.extend(undoing(run));
    if let Some(asked) = run.cancelled_by() {
        let why = asked.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
        found.push(Reason {
            kind: "cancelling",
            step: None,
            what: plain(&format!("it is being cancelled, by {}{why}", asked.actor)),
            since: None,
            until: None,
            next: match run.phase {
                Phase::Compensating(_) => "it ends when what it did is undone".to_owned(),
                _ => "it ends when every call that may have acted has an outcome".to_owned(),
            },
            commands: Vec::new(),
        });
    }
    found.extend(deadline(run, now));
    found.extend(time_of_budget(run, now));
    approvals(run, &mut found);
    signals(run, &mut found);
    // A call that is held back is told as the approval that it waits for.
    for (step, task) in run.tasks.iter().filter(|(_, task)| task.phase != TaskPhase::Held) {
        found.push(of_task(run, step, task, owner));
    }
    timers(run, now, &mut found);
    for (step, child) in &run.children {
        found.push(of_child(run, step, child));
    }
    if run.more || found.iter().all(|reason| reason.kind == "deadline") {
        found.push(Reason {
            kind: "decision",
            step: None,
            what: "it is in the middle of deciding what comes next".to_owned(),
            since: Some(run.at),
            until: None,
            next: performed_by(owner),
            commands: Vec::new(),
        });
    }
    let overdue = run.due().is_some_and(|(due, ..)| due <= now);
    let works = run.more && run.paused.is_none()
        || overdue
        || run.tasks.iter().any(|(step, task)| is_work(run, step, task));
    if owner.is_none() && works {
        found.insert(0, nobody(run));
    }
    found
}

/// Who paused a run.
fn paused(run: &Run) -> Option<Reason> {
    let asked = run.paused.as_ref()?;
    let why = asked.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
    Some(Reason {
        kind: "paused",
        step: None,
        what: plain(&format!("it is paused, by {}{why}", asked.actor)),
        since: None,
        until: None,
        next: "nothing new starts until somebody lets it go on; what comes due fires then"
            .to_owned(),
        commands: vec![format!(
            "aura resume {}",
            if run.paused_by_parent() { run.root_run() } else { run.id }
        )],
    })
}

/// How far a run has come that undoes what it did.
fn undoing(run: &Run) -> Option<Reason> {
    let saga = run.saga.as_ref().filter(|saga| saga.begun)?;
    let why = run.failure().map(|(error, step)| {
        let at = step.map(|step| format!(" at {step}")).unwrap_or_default();
        format!("it failed{at}: {error}\n    ")
    });
    let so_far = describe::count(saga.end.compensated, "step");
    let left = describe::count(saga.waiting() as u64 + run.tasks.size() as u64, "step");
    let mut what = format!("it undoes what it did: {so_far} undone, {left} to go");
    if saga.end.failed > 0 {
        let _ = write!(what, "; not undone: {}", saga::left(&saga.end).join(", "));
    }
    Some(Reason {
        kind: "compensating",
        step: None,
        what: format!("{}{what}", why.unwrap_or_default()),
        since: None,
        until: None,
        next: "it ends when each has been tried, the last step first".to_owned(),
        commands: Vec::new(),
    })
}

/// What the children wait for that the run waits for, and theirs; they are nested only so deep.
fn children(
    store: &dyn Store,
    run: &Run,
    (owner, now): (Option<&OwnerInfo>, Millis),
    found: &mut Vec<Reason>,
) -> Result<(), Problem> {
    for (step, child) in &run.children {
        // Of a map with a thousand children a few are enough.
        if found.len() > TOLD {
            return Ok(());
        }
        let Some(history) = open_history(store, child.run)? else { continue };
        for mut reason in reasons(&history.run, owner, now) {
            reason.what = format!(
                "child run {} ({}) at {step}: {}",
                child.run, child.spec.flow.name, reason.what
            );
            found.push(reason);
        }
        children(store, &history.run, (owner, now), found)?;
    }
    Ok(())
}

/// Whether a performer could do something about a task now.
fn is_work(run: &Run, step: &StepPath, task: &Task) -> bool {
    let ready = task.phase == TaskPhase::Ready && !run.waits_for_more(step);
    task.in_flight() || ready && run.paused.is_none()
}

fn nobody(run: &Run) -> Reason {
    Reason {
        kind: "nobody",
        step: None,
        what: "no process performs it: whoever did has ended".to_owned(),
        since: Some(run.at),
        until: None,
        next: "nothing, until somebody takes it up again; what was done is not done twice"
            .to_owned(),
        // A child is performed with its tree.
        commands: vec![format!("aura resume {}", run.root_run())],
    }
}

fn of_child(run: &Run, step: &StepPath, child: &Child) -> Reason {
    let next = match &child.cancelling {
        None => "the step ends with the child".to_owned(),
        Some(why) => format!("the child was asked to stop, because {why}"),
    };
    Reason {
        kind: "child",
        step: Some(step.clone()),
        what: format!(
            "it waits at {step} for child run {} ({}){}",
            child.run,
            child.spec.flow.name,
            share(run, step)
        ),
        since: since(run, step),
        until: run.timers.due(step, Purpose::Deadline),
        next: plain(&next),
        commands: vec![format!("aura why {}", child.run)],
    }
}

/// What is set aside for a child: nodes and calls of its parent may wait for that.
fn share(run: &Run, step: &StepPath) -> String {
    let lent = run.budgets.lent.get(step).filter(|lent| !lent.is_nothing());
    lent.map(|lent| format!(", which may use {}", budget::amounts(lent))).unwrap_or_default()
}

fn performed_by(owner: Option<&OwnerInfo>) -> String {
    match owner {
        Some(owner) => format!("process {} goes on with it", owner.pid),
        None => "it goes on when somebody takes it up".to_owned(),
    }
}

/// When the run must have ended.
fn deadline(run: &Run, now: Millis) -> Option<Reason> {
    let due = run.timers.due(&StepPath::root(), Purpose::Deadline)?;
    let when = describe::distance(due, now);
    Some(Reason {
        kind: "deadline",
        step: None,
        what: format!("it has until {} ({when})", local_time(due)),
        since: Some(run.began_at()),
        until: Some(due),
        next: "it fails with DEADLINE then".to_owned(),
        commands: Vec::new(),
    })
}

/// When the time of the run's budget is over.
fn time_of_budget(run: &Run, now: Millis) -> Option<Reason> {
    let due = run.timers.due(&StepPath::root(), Purpose::Budget)?;
    let when = describe::distance(due, now);
    let then = if run.budgets.run.asks() { "it asks for more" } else { "it fails" };
    Some(Reason {
        kind: "deadline",
        step: None,
        what: format!("its budget gives it until {} ({when})", local_time(due)),
        since: Some(run.budgets.run.since),
        until: Some(due),
        next: format!("{then} then"),
        commands: Vec::new(),
    })
}

fn approvals(run: &Run, found: &mut Vec<Reason>) {
    let several = run.approvals.size() > 1;
    for (step, open) in &run.approvals {
        let asked = &open.request;
        let id = run.id;
        let place = if several { format!(" {}", budget::typed(step)) } else { String::new() };
        let shows = describe::data(&asked.shows);
        let shows =
            if shows == "null" || shows == "{}" { String::new() } else { format!("\n    {shows}") };
        let mut next = match asked.raise {
            Some(_) => {
                "nothing new starts there until somebody answers; after a no, what would pass a limit fails"
            }
            None => "the step goes on when somebody says yes, and fails when somebody says no",
        }
        .to_owned();
        if let Some(expires) = asked.expires {
            let _ = write!(next, "; it expires at {}", local_time(expires));
        }
        if !asked.roles.is_empty() {
            let _ = write!(next, "; for {}", plain(&asked.roles.join(", ")));
        }
        if asked.quorum > 1 {
            let granted: Vec<_> = open.granted.iter().map(|answer| answer.actor.clone()).collect();
            let _ = write!(next, "; {}", counted(asked.quorum, &granted));
        }
        let message = describe::one_line(&asked.message, 300);
        let again = match &asked.again {
            Some(by) => format!(" again, because '{by}' approved another call"),
            None => String::new(),
        };
        found.push(Reason {
            kind: "approval",
            step: Some(step.clone()),
            what: match asked.raise {
                Some(_) => format!("it asks for more budget: {message}"),
                None => format!("it asks for an approval at {step}{again}: {message}{shows}"),
            },
            since: Some(open.since),
            until: asked.expires,
            next,
            commands: vec![
                format!("aura approve {id}{place}"),
                format!("aura deny {id}{place} --reason TEXT"),
            ],
        });
    }
}

fn signals(run: &Run, found: &mut Vec<Reason>) {
    for (step, name) in &run.waits {
        let until = run.timers.due(step, Purpose::Wait);
        let mut next = "the step completes with what the signal carries".to_owned();
        if let Some(until) = until {
            let _ = write!(next, "; it fails with WAIT_TIMEOUT at {}", local_time(until));
        }
        found.push(Reason {
            kind: "signal",
            step: Some(step.clone()),
            what: plain(&format!("it waits at {step} for the signal '{name}'")),
            since: since(run, step),
            until,
            next,
            commands: vec![format!("aura signal {} {} --payload JSON", run.id, plain(name))],
        });
    }
}

/// What the attempt last told of how far it had come.
fn alive(task: &Task) -> String {
    let details = task.details.as_ref().map(describe::data);
    details.map(|details| format!("; it last told {details}")).unwrap_or_default()
}

fn of_task(run: &Run, step: &StepPath, task: &Task, owner: Option<&OwnerInfo>) -> Reason {
    let tool = &task.spec.tool;
    let key = task.spec.key.short();
    let why = task.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let until = run.timers.due(step, Purpose::Retry);
    let (kind, what, next, commands) = match task.phase {
        TaskPhase::InDoubt => {
            let (what, next, last) = in_doubt(step, task, &why);
            let commands = ["--succeeded --output JSON", "--failed", last]
                .map(|how| format!("aura effects settle {key} {how} --reason TEXT"));
            ("effect", what, next, commands.to_vec())
        }
        TaskPhase::Probing => (
            "effect",
            format!("nobody knows whether {tool} at {step} happened{why}"),
            "its probe looks; where it can't tell, a person must".to_owned(),
            Vec::new(),
        ),
        TaskPhase::Backoff => (
            "timer",
            format!("{tool} at {step} failed and is tried again{why}"),
            format!("attempt {} at {}", task.attempt, until.map(local_time).unwrap_or_default()),
            Vec::new(),
        ),
        TaskPhase::Called => {
            let lost = match (owner, task.spec.class) {
                (Some(owner), _) => format!("process {} awaits its outcome", owner.pid),
                (None, EffectClass::Irreversible) => {
                    "its outcome was lost; it will wait for a person".to_owned()
                }
                (None, _) => "its outcome was lost; it is called again".to_owned(),
            };
            (
                "call",
                format!("{tool} at {step} was called, attempt {}{}", task.attempt, alive(task)),
                lost,
                Vec::new(),
            )
        }
        TaskPhase::Ready if run.waits_for_more(step) => (
            "budget",
            format!("{tool} at {step} is ready"),
            if run.asks_for_more(step) {
                "it is called when somebody has answered whether there is more budget".to_owned()
            } else {
                "it is called when a child has ended that may use the rest of the budget".to_owned()
            },
            Vec::new(),
        ),
        TaskPhase::Held | TaskPhase::Ready | TaskPhase::Failed if run.paused.is_some() => (
            "slot",
            format!("{tool} at {step} is ready"),
            "it is called when the run goes on".to_owned(),
            Vec::new(),
        ),
        TaskPhase::Held | TaskPhase::Ready | TaskPhase::Failed => (
            "slot",
            format!("{tool} at {step} waits for its turn"),
            performed_by(owner),
            Vec::new(),
        ),
    };
    let since = task.intended.or_else(|| since(run, step));
    let what = describe::one_line(&what, 400);
    Reason { kind, step: Some(step.clone()), what, since, until, next, commands }
}

/// What is in doubt, what happens next, and the flag with which it is called.
fn in_doubt(step: &StepPath, task: &Task, why: &str) -> (String, String, &'static str) {
    let (tool, key) = (&task.spec.tool, task.spec.key.short());
    if let Some(withheld) = task.withheld {
        let why = describe::withheld(withheld);
        let what = format!("{tool} at {step} is not called by this fork: {why}");
        return (what, "nothing, until somebody says what came of it".to_owned(), "--live");
    }
    let next = format!("nothing, until somebody finds out and says so; the call has the key {key}");
    (format!("nobody knows whether {tool} at {step} happened{why}"), next, "--retry")
}

/// The same call of another step, which a task waits for.
fn behind(
    store: &dyn Store,
    run: RunId,
    step: &StepPath,
    task: &Task,
) -> Result<Option<Reason>, Problem> {
    if task.phase != TaskPhase::Ready || task.spec.idempotency.is_none() {
        return Ok(None);
    }
    let row = store.key(task.spec.key).map_err(|e| resolve::unreadable(&e))?;
    let Some(row) =
        row.filter(|row| row.state == KeyState::Held && (row.run, &row.step) != (run, step))
    else {
        return Ok(None);
    };
    let what = format!("{} at {step} waits for the same call of another step", task.spec.tool);
    Ok(Some(Reason {
        kind: "key",
        step: Some(step.clone()),
        what: describe::one_line(&what, 400),
        since: None,
        until: None,
        next: format!("its result serves both; it is made at {} of run {}", row.step, row.run),
        commands: vec![format!("aura why {}", row.run)],
    }))
}

fn timers(run: &Run, now: Millis, found: &mut Vec<Reason>) {
    for (due, step, purpose) in run.timers.iter() {
        if purpose != Purpose::Sleep {
            continue;
        }
        let next = if due > now {
            format!("it wakes at {}, in {}", local_time(due), Span(due.since(now)))
        } else {
            format!("it was due at {}", local_time(due))
        };
        found.push(Reason {
            kind: "timer",
            step: Some(step.clone()),
            what: format!("it sleeps at {step}"),
            since: since(run, step),
            until: Some(due),
            next,
            commands: Vec::new(),
        });
    }
}

fn since(run: &Run, step: &StepPath) -> Option<Millis> {
    run.node(step).map(|node| node.opened)
}

fn saga_of(run: &Run) -> String {
    saga::end(run).map(|end| format!("; {}", saga::told(end))).unwrap_or_default()
}

fn ended(run: &Run) -> Reason {
    let id = run.id;
    let took = Span(run.at.since(run.began_at()));
    let (what, next, commands) = match &run.phase {
        Phase::Failed(error, step) => {
            let step = step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
            let again = if error.certain {
                "nothing; a failed run does not go on by itself"
            } else {
                "nothing; it is not certain that the failed step left no mark outside"
            };
            let commands = vec![format!("aura explain {}", error.code), format!("aura show {id}")];
            (format!("it failed{step} after {took}: {error}{}", saga_of(run)), again, commands)
        }
        Phase::Cancelled => {
            let what = format!("it was cancelled after {took}{}", saga_of(run));
            (what, "nothing", vec![format!("aura show {id}")])
        }
        _ => match &run.continued {
            None => (format!("it completed in {took}"), "nothing", vec![format!("aura show {id}")]),
            Some(continued) => {
                let next = continued.next;
                let what = format!("it ended after {took}, and run {next} goes on in its place");
                (what, "that run goes on", vec![format!("aura why {next}")])
            }
        },
    };
    let (what, next) = (describe::one_line(&what, 600), next.to_owned());
    Reason { kind: "ended", step: None, what, since: Some(run.at), until: None, next, commands }
}
