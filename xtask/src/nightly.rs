//! `cargo xtask nightly`: what takes too long, or needs too much network, for every change.

use crate::workspace::Workspace;
use crate::{fuzz, process, tool};

const FUZZ_SECONDS: u64 = 3_600;

/// Looks for advisories against the dependencies, then fuzzes for an hour.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(tool::DENY.command(workspace)?.args(["check", "advisories"]))?;
    fuzz::run(workspace, fuzz::LOAD_FLOW, FUZZ_SECONDS)
}
