//! `aura approve`: saying yes; and what it has in common with `aura deny`.

use std::fmt::Write;
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::input::ApprovalVerdict;
use aura_core::path::StepPath;
use aura_core::ports::Store;
use aura_graph::Run;
use aura_graph::state::Asked;

use crate::budget;
use crate::context::Context;
use crate::exit::Exit;
use crate::follow::read_once;
use crate::handing::{Said, hand_in};
use crate::output::plain;
use crate::resolve;
use crate::socket::protocol::Ask;

/// Arguments of `aura approve` and `aura deny`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
'aura approvals' lists what is asked. With --action the answer counts only for exactly what was read.
Nobody is authenticated here: whoever may write to the store may answer in any role and under any
name, and the log says so.

Examples:
  aura approve 0198c2d1
  aura approve 0198c2d1 sections[3]/publish --reason 'read it'
  aura approve 0198c2d1 pay --action 9f0c41d2 --actor bob
  aura deny 0198c2d1 --reason 'wrong amount'")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The approval, where several are asked for; . for the budget of the run.
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// The start of the hash of what is answered, as `aura approvals` shows it.
    #[arg(long, value_name = "HASH", value_parser = parse_action)]
    action: Option<String>,
    /// Who answers, where it is not the user at this terminal. Recorded as `local:NAME`, and not checked.
    #[arg(long, value_name = "NAME", value_parser = parse_actor)]
    actor: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Digits of an action that are enough to tell it.
const ACTION_DIGITS: usize = 8;

fn parse_action(text: &str) -> Result<String, String> {
    let digits = text.to_ascii_lowercase();
    if digits.len() < ACTION_DIGITS || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!("{ACTION_DIGITS} to 64 hexadecimal digits, as 'aura approvals' shows"));
    }
    Ok(digits)
}

fn parse_actor(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("local:").unwrap_or(text).trim();
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err("a name of 1 to 64 bytes".to_owned());
    }
    Ok(format!("local:{name}"))
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    answer(context, args, ApprovalVerdict::Granted)
}

/// Answers an approval.
pub(crate) fn answer(
    context: &Context,
    args: Args,
    verdict: ApprovalVerdict,
) -> Result<Exit, Problem> {
    let store = context.reader()?.store;
    let row = resolve::run(&*store, &args.run)?;
    let run = read_once(&(store as Arc<dyn Store>), row.run)?;
    let (step, asked) = choose(&run, args.step.as_deref())?;
    let action = asked.request.action;
    if let Some(seen) = &args.action
        && !action.to_string().starts_with(seen)
    {
        let now = action.short();
        let what = format!(
            "what is asked at {} now is not {seen}: it has the action {now}",
            budget::told(&step)
        );
        return Err(Problem::new(Code::ApprovalMismatch, what)
            .kept("the run as it is; nothing was answered")
            .next(format!("aura approvals {}", run.id)));
    }
    let actor = args.actor.unwrap_or_else(|| context.actor.clone());
    let place = match asked.request.raise {
        Some(_) => format!("more budget for {}", budget::told(&step)),
        None => step.to_string(),
    };
    let before = u32::from(!asked.has(&actor));
    let missing = asked.missing().saturating_sub(before);
    let others = verdict == ApprovalVerdict::Granted && missing > 0;
    let first = others.then(|| format!("aura approve {} {}", run.id, budget::typed(&step)));
    let what = match verdict {
        ApprovalVerdict::Denied => format!("{place} is denied"),
        ApprovalVerdict::Granted if asked.has(&actor) => {
            format!("{place}: {actor} said yes already and counts once; {}", more(missing))
        }
        ApprovalVerdict::Granted if asked.missing() > 1 => {
            format!("{place} has the yes of {actor}; {}", more(missing))
        }
        ApprovalVerdict::Granted => format!("{place} is approved"),
    };
    // With the hash of what is asked now, so that the answer can't be taken for another question's.
    let ask = Ask::Approval { step, verdict, action: Some(action), actor, reason: args.reason };
    hand_in(context, row.run, &ask, Said { what, first })
}

fn more(missing: u32) -> String {
    match missing {
        1 => "it needs 1 more person".to_owned(),
        missing => format!("it needs {missing} more people"),
    }
}

fn choose(run: &Run, step: Option<&str>) -> Result<(StepPath, Asked), Problem> {
    let id = run.id;
    if run.closed() {
        let what = format!("the run has ended: {}", run.status().as_str());
        return Err(Problem::new(Code::RunClosed, what).next(format!("aura show {id}")));
    }
    let mut asked = run.approvals.iter().map(|(step, asked)| (step.clone(), Asked::clone(asked)));
    if let Some(step) = step {
        return asked.find(|(path, _)| budget::typed(path) == step).ok_or_else(|| {
            let what = format!("no approval is asked for at '{step}'");
            Problem::new(Code::NotWaiting, what).next(format!("aura why {id}"))
        });
    }
    match (asked.next(), asked.next()) {
        (None, _) => Err(Problem::new(Code::NotWaiting, "the run asks for no approval")
            .next(format!("aura why {id}"))),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(several(run)),
    }
}

fn several(run: &Run) -> Problem {
    let mut what = "the run asks for several approvals:".to_owned();
    for (step, asked) in &run.approvals {
        let step = budget::typed(step);
        let _ = write!(what, "\n  {step}  {}", plain(&asked.request.message));
    }
    Problem::new(Code::Usage, what).next(format!("aura approve {} STEP", run.id))
}
