//! An owner in the background: the same binary, in a process group of its own, writing to `aura.log`.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aura_core::error::{Code, Problem};
use aura_core::id::RunId;

use crate::context::Context;
use crate::door::Door;
use crate::owner::Owner;

/// How long an owner may take until it listens.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(10);

/// The way to an owner that goes on when this process has ended; starts one if there is none.
pub(crate) fn door(context: &Context) -> Result<Door, Problem> {
    let begun = Instant::now();
    let mut child: Option<Child> = None;
    loop {
        if let Some(door) = Door::connect(context)? {
            return Ok(door);
        }
        let ended = match &mut child {
            Some(child) => child.try_wait().ok().flatten().is_some(),
            None => false,
        };
        let owned = aura_store::owner(&context.dir).is_some();
        if child.is_none() && !owned {
            child = Some(spawn(context, &[])?);
        }
        if (ended && !owned) || begun.elapsed() > PATIENCE {
            return Err(why_not(context));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Starts an owner that performs these runs and whatever it is asked for.
pub(crate) fn spawn(context: &Context, runs: &[RunId]) -> Result<Child, Problem> {
    let failed = |e: std::io::Error| {
        let what = format!("no process in the background: {e}");
        Problem::new(Code::StoreUnavailable, what).next("run it in the foreground")
    };
    std::fs::create_dir_all(&context.dir).map_err(failed)?;
    let path = context.dir.join("aura.log");
    let log =
        OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(&context.dir).args(["--color", "never", "-v", "owner"]);
    for run in runs {
        command.args(["--perform", &run.to_string()]);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
    // Ctrl-C at the terminal reaches the group in the foreground only.
    command.process_group(0).spawn().map_err(failed)
}

/// Why an owner could not start: the store tells best itself.
fn why_not(context: &Context) -> Problem {
    match Owner::start(context, false) {
        Err(problem) => problem,
        Ok(owner) => {
            owner.leave(Duration::ZERO);
            let log = context.dir.join("aura.log");
            Problem::new(Code::StoreUnavailable, "the process in the background does not answer")
                .kept("nothing was started")
                .next(format!("look at {}", log.display()))
        }
    }
}
