//! The hidden command that a process in the background is: it owns the store, performs what it is asked for, and
//! leaves when nothing of that is in work.

use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;

use crate::context::Context;
use crate::door::Door;
use crate::exit::Exit;
use crate::owner::Owner;
use crate::signals::{Hangup, Stop};

/// Arguments of the hidden command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Runs to perform from the start.
    #[arg(long = "perform", value_name = "RUN")]
    runs: Vec<String>,
}

/// How long the first request is awaited.
const FIRST: Duration = Duration::from_secs(10);
/// How long it stays when nothing is in work, so that one start after the other finds it.
const LINGER: Duration = Duration::from_secs(1);
/// How often it looks whether something is in work.
const LOOK: Duration = Duration::from_millis(250);
/// How long effects in flight are awaited when it is told to leave.
const GRACE: Duration = Duration::from_secs(10);

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let stop = Stop::listen(Hangup::Ignored)?;
    let mut runs = Vec::new();
    for run in &args.runs {
        let id: RunId = run
            .parse()
            .map_err(|_| Problem::new(Code::Usage, format!("'{run}' is not the id of a run")))?;
        runs.push(id);
    }
    let mut door = Door::open(context, true)?;
    for run in &runs {
        while door.perform(*run, true)?.is_none() {
            door = Door::open(context, true)?;
        }
    }
    // Somebody else came first and performs them now.
    let Door::Own(owner) = door else { return Ok(Exit::Done) };
    let result = serve(&owner, &stop, !runs.is_empty());
    owner.leave(GRACE);
    result.map(|()| Exit::Done)
}

fn serve(owner: &Owner, stop: &Stop, has_work: bool) -> Result<(), Problem> {
    let mut idle = Instant::now();
    let mut patience = if has_work { LINGER } else { FIRST };
    let mut bell = 0;
    loop {
        if let Some(problem) = owner.handle().broken() {
            return Err(problem);
        }
        if stop.asked() {
            return Ok(());
        }
        let working = || owner.desk().in_work(&*owner.opened().store).map(|runs| !runs.is_empty());
        if working()? {
            idle = Instant::now();
            patience = LINGER;
        }
        // A request that came in at the last moment is a reason to stay.
        if idle.elapsed() > patience && owner.close(|| working().unwrap_or(true)) {
            return Ok(());
        }
        bell = owner.handle().bell().wait(bell, LOOK);
        std::thread::sleep(LOOK / 10);
    }
}
