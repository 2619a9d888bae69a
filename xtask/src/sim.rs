//! `cargo xtask sim`: more seeded worlds than every change must pass (`crates/aura-engine/tests/it/simulation.rs`).

use crate::process;
use crate::workspace::Workspace;

/// The variable by which the test is told how many worlds to play.
pub(crate) const SEEDS: &str = "AURA_SIM_SEEDS";

/// Which worlds.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Worlds {
    /// How many seeds; a few if nothing is said, no end if there are minutes.
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) from: u64,
    /// Begin no further world after so many minutes.
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<u64>,
    /// Optimised: slower to build, many times quicker to play.
    #[arg(long)]
    pub(crate) release: bool,
}

/// Plays them.
pub(crate) fn run(workspace: &Workspace, worlds: Worlds) -> anyhow::Result<()> {
    let mut command = workspace.cargo();
    command.args(["test", "--quiet", "--locked", "--package", "aura-engine", "--test", "it"]);
    if worlds.release {
        command.arg("--release");
    }
    command.args([
        "--",
        "--exact",
        "--nocapture",
        "--test-threads=1",
        "simulation::rough_worlds_end_as_the_smooth_one",
        "simulation::forest::rough_worlds_of_trees_end_as_the_smooth_one",
    ]);
    command.env("AURA_SIM_FROM", worlds.from.to_string());
    for (name, value) in [(SEEDS, worlds.seeds), ("AURA_SIM_MINUTES", worlds.minutes)] {
        match value {
            Some(value) => command.env(name, value.to_string()),
            None => command.env_remove(name),
        };
    }
    process::run(&mut command)
}
