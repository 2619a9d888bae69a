//! `cargo xtask nightly`: what takes too long, or needs too much network, for every change.

use crate::aura::Aura;
use crate::crash::any_seed;
use crate::sim::Worlds;
use crate::workspace::Workspace;
use crate::{fuzz, powercut, process, sim, tool};

const FUZZ_SECONDS: u64 = 3_600;
const SIM_MINUTES: u64 = 60;
const POWER_CUTS: u32 = 1_000;

/// Looks for advisories against the dependencies, cuts the power a thousand times, plays worlds for an hour from a seed
/// that differs from night to night, then fuzzes for an hour.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(tool::DENY.command(workspace)?.args(["check", "advisories"]))?;
    powercut::run(workspace, &Aura::build(workspace)?, (POWER_CUTS, None), None)?;
    let from = any_seed() << 20;
    let worlds = Worlds { seeds: None, from, minutes: Some(SIM_MINUTES), release: true };
    sim::run(workspace, worlds)?;
    fuzz::run(workspace, fuzz::LOAD_FLOW, FUZZ_SECONDS)
}
