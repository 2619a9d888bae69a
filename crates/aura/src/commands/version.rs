//! `aura version`: version and build.

use aura_core::commit::FORMAT;
use aura_core::error::Problem;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;

/// Arguments of `aura version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aura version
  aura version --json | jq -r .version")]
pub(crate) struct Args {}

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The machine that this build is for.
pub(crate) fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Does it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every command")]
pub(crate) fn run(context: &Context, _args: Args) -> Result<Exit, Problem> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    if context.out.json {
        context.out.document(&json!({
            "version": VERSION, "target": target(), "profile": profile,
            "log_format": FORMAT, "behaviour_flags": aura_graph::flags::CURRENT,
        }));
    } else {
        let format = format_args!("log format {FORMAT}, {profile} build");
        context.out.line(format_args!("aura {VERSION} ({}, {format})", target()));
    }
    Ok(Exit::Done)
}
