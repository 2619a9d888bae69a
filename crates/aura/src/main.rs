//! The `aura` command.
//!
//! This file says how a command comes to its exit code. What each command does is in `commands/`, one file each;
//! where concrete types meet is in `wire.rs`; everything that is printed goes through `output.rs`.

mod answering;
mod archive;
mod background;
mod backtesting;
mod blobs;
mod budget;
mod changes;
mod cli;
mod commands;
mod context;
mod deployed;
mod describe;
mod diagnostics;
mod door;
mod exit;
mod family;
mod flowfiles;
mod follow;
mod handing;
mod input;
mod ledger;
mod live;
mod needs;
mod order;
mod output;
mod owner;
mod pages;
mod parameters;
mod performing;
mod planning;
mod queries;
mod report;
mod resolve;
mod saga;
mod secrets;
mod signals;
mod socket;
mod steps;
mod suggest;
mod whole;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{ColorChoice, Output};

// A turn makes and drops many small values; a seventh of a step's time went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Whoever asked for JSON reads JSON; what else was asked for is not known.
        Err(error) if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") => {
            Output::new(true, ColorChoice::Never).problem(&cli::mistake(&error));
            return Exit::Usage.into();
        }
        Err(error) => error.exit(),
    };
    let context = match Context::new(&cli.global) {
        Ok(context) => context,
        Err((output, problem)) => {
            output.problem(&problem);
            return exit::of(problem.code).into();
        }
    };
    match cli.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(problem) => {
            context.out.problem(&problem);
            exit::of(problem.code).into()
        }
    }
}
