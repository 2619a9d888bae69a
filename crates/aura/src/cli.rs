//! The command line: global flags and the list of commands.

use std::path::PathBuf;

use aura_core::error::{Code, Problem};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::commands as c;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::ColorChoice;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the run failed, 2 wrong usage or an invalid flow, 3 the run waits \
for a person or a signal, 4 the store can't be used";

/// Durable runs of flows: every decision and effect is recorded before anything depends on it.
#[derive(Debug, Parser)]
#[command(name = "aura", version, max_term_width = 100, after_help = EXIT_CODES)]
#[command(arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where runs are kept; otherwise AURA_DATA_DIR, or the platform's data folder.
    // Read from the environment elsewhere: clap would show it in the usage as if it had been typed.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Print one JSON document (one per line where things stream).
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour; NO_COLOR is obeyed.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// Print only what was asked for.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Tell on standard error what goes on inside (-vv, -vvv for more).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A mistake on the command line, for programs: what is wrong, and how it is written.
pub(crate) fn mistake(error: &clap::Error) -> Problem {
    let text = error.render().to_string();
    let (what, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
    let what = what.strip_prefix("error: ").unwrap_or(what).trim();
    let usage = rest.lines().find_map(|line| line.strip_prefix("Usage: "));
    Problem::new(Code::Usage, what).next(usage.unwrap_or("aura --help"))
}

macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident => $module:ident;)*) => {
        /// Every command; its arguments and what it does are in the file of its name.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($(#[$meta])* $variant(c::$module::Args),)*
        }

        impl Command {
            /// Does what was asked.
            pub(crate) fn run(self, context: &Context) -> Result<Exit, Problem> {
                match self { $(Self::$variant(args) => c::$module::run(context, args),)* }
            }
        }
    };
}

commands! {
    /// Write a first flow to start from.
    New => new;
    /// Run a flow.
    Run => run;
    /// Go on with runs that were interrupted or paused.
    Resume => resume;
    /// List runs.
    Runs => runs;
    /// Show a run with its steps.
    Show => show;
    /// Print what a run knows, at any event.
    State => state;
    /// Say what a run waits for, and what to type.
    Why => why;
    /// Show what a flow would do, without doing it.
    Plan => plan;
    /// Print the events of a run.
    Events => events;
    /// Fold a run's history again, and check it.
    Replay => replay;
    /// Go on from a step of a run, in a run of its own.
    Fork => fork;
    /// Compare two runs, from the first thing in which they differ.
    Diff => diff;
    /// Try recorded runs against a changed flow.
    Backtest => backtest;
    /// Test flows by recorded runs, or record one.
    Test => test;
    /// Write a run to a file that others can look at.
    Export => export;
    /// Verify a file with a run, and look at it.
    Open => open;
    /// Let a run start nothing new for now.
    Pause => pause;
    /// Cancel a run.
    Cancel => cancel;
    /// Send a signal to a run.
    Signal => signal;
    /// List what people are asked to approve.
    Approvals => approvals;
    /// Say yes to an approval.
    Approve => approve;
    /// Say no to an approval.
    Deny => deny;
    /// List effects, and settle those in doubt.
    Effects => effects;
    /// List deployed flows, and deploy one.
    Flows => flows;
    /// Check flow files.
    Validate => validate;
    /// Print the JSON Schema of flow files.
    Schema => schema;
    /// List what steps can call.
    Tools => tools;
    /// Check, copy, move and compact the store.
    Store => store;
    /// Check this machine, and show limits.
    Doctor => doctor;
    /// Explain an error code.
    Explain => explain;
    /// Print version and build.
    Version => version;
    /// Print completions for a shell.
    Completions => completions;
    /// Perform runs in the background.
    #[command(hide = true)]
    Owner => owner;
}
