//! `aura open`: a file with a run, verified and looked at without a store.

use std::path::PathBuf;

use aura_core::error::{Code, Problem};
use aura_engine::Verifier;
use clap::Parser;

use crate::archive::aside::Aside;
use crate::blobs::StoreBlobs;
use crate::cli::{Cli, mistake};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Tone;

/// Commands that look at a run.
const LOOKS: [&str; 6] = ["show", "events", "replay", "effects", "why", "export"];

/// Arguments of `aura open`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every hash in the file is checked, and every commit is decided again, before anything is shown. Your
own store is not touched. COMMAND is one of show (the default), events, replay, effects, why and
export, with its flags and without the run.

Examples:
  aura open refund-17.aura
  aura open refund-17.aura events --type step --json
  aura open refund-17.aura replay --step")]
pub(crate) struct Args {
    /// The file, as 'aura export' wrote it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to look at, with its flags.
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<String>,
}

/// Does it.
pub(crate) fn run(context: &Context, args: Args) -> Result<Exit, Problem> {
    let (name, flags) = match args.command.split_first() {
        None => ("show", &[][..]),
        Some((name, flags)) => (name.as_str(), flags),
    };
    if !LOOKS.contains(&name) {
        let what = format!("'aura open' has no command '{name}'");
        return Err(Problem::new(Code::Usage, what).next(format!("one of: {}", LOOKS.join(", "))));
    }
    let aside = Aside::open(&args.file)?;
    let blobs = std::sync::Arc::new(StoreBlobs::new(&aside.opened)?);
    let verified = Verifier::new(&*aside.opened.store, std::sync::Arc::clone(&blobs) as _)
        .verify(aside.run)
        .map_err(|problem| blobs.explain(problem));
    match verified {
        Ok(checked) if !context.out.json && !context.quiet => {
            let said = context.out.paint(Tone::Good, "verified");
            let file = args.file.display();
            context.out.note(format_args!("{said}: {file}, chain {}", checked.head.short()));
        }
        Ok(_) => {}
        // Another build may decide otherwise; what happened is there all the same.
        Err(problem) if problem.code == Code::ReplayDiffers => context.out.problem(&problem),
        Err(problem) => return Err(problem),
    }
    let run = aside.run.to_string();
    let dir = aside.dir.path().display().to_string();
    let mut line = vec!["aura", "--data-dir", &dir];
    line.extend(context.flags());
    line.extend([name, &run]);
    line.extend(flags.iter().map(String::as_str));
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(wrong) if context.out.json && wrong.use_stderr() => return Err(mistake(&wrong)),
        Err(wrong) => {
            context.out.note(wrong.render().ansi());
            return Ok(Exit::Usage);
        }
    };
    let inner = Context::new(&cli.global).map_err(|(_, problem)| problem)?;
    cli.command.run(&inner)
}
