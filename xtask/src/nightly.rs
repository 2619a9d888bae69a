//! `cargo xtask nightly`: what takes too long, or needs too much network, for every change.

use crate::aura::Aura;
use crate::workspace::Workspace;
use crate::{fuzz, powercut, process, tool};

const FUZZ_SECONDS: u64 = 3_600;
const POWER_CUTS: u32 = 1_000;

/// Looks for advisories against the dependencies, cuts the power a thousand times, then fuzzes for an hour.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(tool::DENY.command(workspace)?.args(["check", "advisories"]))?;
    powercut::run(workspace, &Aura::build(workspace)?, (POWER_CUTS, None), None)?;
    fuzz::run(workspace, fuzz::LOAD_FLOW, FUZZ_SECONDS)
}
