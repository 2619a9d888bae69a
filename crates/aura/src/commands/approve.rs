//! `aura approve`: saying yes; and what it has in common with `aura deny`.

use std::fmt::Write;
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::input::ApprovalVerdict;
use aura_core::path::StepPath;
use aura_core::ports::Store;
use aura_graph::Run;

use crate::context::Context;
use crate::exit::Exit;
use crate::follow::read_once;
use crate::handing::hand_in;
use crate::output::plain;
use crate::resolve;
use crate::socket::protocol::Ask;

/// Arguments of `aura approve` and `aura deny`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura approve 0198c2d1
  aura approve 0198c2d1 sections[3]/publish --reason 'read it'
  aura deny 0198c2d1 --reason 'wrong amount'")]
pub(crate) struct Args {
    /// The run, or the start of its id.
    #[arg(value_name = "RUN")]
    run: String,
    /// The approval, where several are asked for.
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
    let (step, action) = choose(&run, args.step.as_deref())?;
    let said = match verdict {
        ApprovalVerdict::Granted => format!("{step} is approved"),
        ApprovalVerdict::Denied => format!("{step} is denied"),
    };
    // With the hash of what is asked now, so that the answer can't be taken for another question's.
    let actor = context.actor.clone();
    let ask = Ask::Approval { step, verdict, action: Some(action), actor, reason: args.reason };
    hand_in(context, row.run, &ask, &said)
}

fn choose(run: &Run, step: Option<&str>) -> Result<(StepPath, Hash), Problem> {
    let id = run.id;
    if run.closed() {
        let what = format!("the run has ended: {}", run.status().as_str());
        return Err(Problem::new(Code::RunClosed, what).next(format!("aura show {id}")));
    }
    let mut asked = run.approvals.iter().map(|(step, asked)| (step.clone(), asked.action));
    if let Some(step) = step {
        return asked.find(|(path, _)| path.as_str() == step).ok_or_else(|| {
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
        let _ = write!(what, "\n  {step}  {}", plain(&asked.message));
    }
    Problem::new(Code::Usage, what).next(format!("aura approve {} STEP", run.id))
}
