//! The one entry for automation: `cargo xtask <command>`. One module per command.
//!
//! It only starts other programs, reads files and reports; nothing of the product lives here.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to a person"
)]

mod aura;
mod bench;
mod counter;
mod crash;
mod demo;
mod dice;
mod fuzz;
mod generate;
mod histories;
mod nightly;
mod paint;
mod powercut;
mod process;
mod sim;
mod test;
mod tidy;
mod tool;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Automation of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the rules of the repository that no compiler knows.
    Tidy,
    /// Runs everything that a change must pass, stopping at the first stage that fails.
    Test,
    /// Writes the generated files anew.
    Gen {
        /// Changes nothing; fails if a file is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Feeds a fuzz target with what strangers could send.
    Fuzz {
        /// How long.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
        /// Which target (a file in fuzz/fuzz_targets).
        #[arg(default_value = fuzz::LOAD_FLOW)]
        target: String,
    },
    /// Shows the main job on this project's own README: run, killed, resumed, replayed, verified.
    Demo,
    /// Kills the release binary at random moments and looks at what it did to the world.
    Crash {
        /// Rounds, half of them in each of the two variants.
        #[arg(long, value_name = "N", default_value_t = crash::ROUNDS)]
        rounds: u32,
        /// Picks the moments; any if absent.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// A binary that is built already; otherwise the release binary is built.
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Cuts the power of the release binary at random moments and looks at what its disk may have kept.
    Powercut {
        /// How many runs.
        #[arg(long, value_name = "N", default_value_t = powercut::ROUNDS)]
        rounds: u32,
        /// Throws the dice; any if absent.
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Lets syncs count for nothing, to see the test fail.
        #[arg(long, value_enum)]
        sabotage: Option<powercut::Sabotage>,
        /// A binary that is built already; otherwise the release binary is built.
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Checks the recorded histories: each is read, decided again and driven to its end.
    Histories {
        /// First records those that are described and not recorded; what is recorded is never written anew.
        #[arg(long)]
        write: bool,
        /// A binary that is built already; otherwise the release binary is built.
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// Plays seeded worlds: the real engine, with crashes and faults between any two operations.
    Sim(sim::Worlds),
    /// Runs what takes too long, or needs too much network, for every change.
    Nightly,
    /// Measures the disk, and the workloads W1 to W4 beside it (bench/README.md says what they are).
    Bench {
        /// The folder to measure in; the target folder if absent. It must be on a disk.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Seconds for each level of W1.
        #[arg(long, value_name = "N", default_value_t = 3)]
        seconds: u64,
        /// Measures only these: W1, W1:256 (a level of it), W2, W3, W4.
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        only: Vec<String>,
        /// A folder of peers' scripts (`run-peers`), run afterwards and shown in one table.
        #[arg(long, value_name = "DIR")]
        peers: Option<PathBuf>,
        /// Which of the peers; all that the script knows if absent.
        #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "peers")]
        variants: Vec<String>,
        /// Draws a flame graph of W1 at 256 runs into this file, and measures nothing else.
        #[arg(long, value_name = "FILE")]
        flame: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match command {
        Command::Tidy => tidy::run(&workspace),
        Command::Test => test::run(&workspace),
        Command::Gen { check } => generate::run(&workspace, check),
        Command::Fuzz { seconds, target } => fuzz::run(&workspace, &target, seconds),
        Command::Demo => demo::run(&workspace),
        Command::Crash { rounds, seed, program } => {
            let program = aura::Aura::program(&workspace, program)?;
            crash::run(&workspace, &program, rounds, seed)
        }
        Command::Powercut { rounds, seed, sabotage, program } => {
            let program = aura::Aura::program(&workspace, program)?;
            powercut::run(&workspace, &program, (rounds, seed), sabotage)
        }
        Command::Histories { write, program } => {
            let program = aura::Aura::program(&workspace, program)?;
            histories::run(&workspace, &program, write)
        }
        Command::Sim(worlds) => sim::run(&workspace, worlds),
        Command::Nightly => nightly::run(&workspace),
        Command::Bench { dir, seconds, only, peers, variants, flame } => {
            let dir = dir.unwrap_or_else(|| workspace.target.clone());
            let plan = bench::Plan { dir, seconds, only, peers, variants, flame };
            bench::run(&workspace, &plan)
        }
    }
}
