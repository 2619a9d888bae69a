//! `cargo xtask bench`: what durability costs here, beside the disk, and beside peers if there are any.

mod baseline;
mod cold;
mod flame;
mod peers;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;
use baseline::Baseline;
use report::Figures;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The folder to measure in; it must be on a disk.
    pub(crate) dir: PathBuf,
    /// Seconds for each level of W1.
    pub(crate) seconds: u64,
    /// The workloads (`W1`, `W1:256`, `W2`, …); all if empty.
    pub(crate) only: Vec<String>,
    /// A folder with a script `run-peers`.
    pub(crate) peers: Option<PathBuf>,
    /// The variants that it is asked for; all if empty.
    pub(crate) variants: Vec<String>,
    /// Where a flame graph of W1 at 256 runs is written.
    pub(crate) flame: Option<PathBuf>,
}

/// Measures the disk, then the workloads in the same folder in the same minutes, and prints them with their ratios.
pub(crate) fn run(workspace: &Workspace, plan: &Plan) -> anyhow::Result<()> {
    let dir = std::path::absolute(&plan.dir).context("the folder to measure in")?;
    // Built before the disk is measured, so that both are measured in the same minutes.
    let program = built(workspace)?;
    if let Some(flame) = &plan.flame {
        return flame::draw(workspace, &program, &dir, flame);
    }
    let aura = crate::aura::Aura::build(workspace)?;
    let baseline = Baseline::measure(&dir)?;
    println!("{baseline}");
    let mut bench = workspace.program(program.as_os_str());
    bench.arg(&dir).arg(plan.seconds.to_string()).args(&plan.only);
    let printed = process::output(&mut bench)?;
    let mut figures = Figures::read(&String::from_utf8_lossy(&printed))?;
    if plan.only.is_empty() {
        figures.cold_ms = Some(cold::measure(&aura, &dir)?);
    }
    print!("{}", figures.tables(&baseline));
    if let Some(folder) = &plan.peers {
        let rows = peers::measure(workspace, folder, &plan.variants)?;
        print!("\n{}", figures.beside(&rows));
    }
    Ok(())
}

/// The workloads as a program.
fn built(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let mut build = process::cargo(&workspace.root);
    build.args(["bench", "--locked", "-p", "aura-engine", "--bench", "workloads", "--no-run"]);
    build.args(["--message-format", "json-render-diagnostics"]);
    let said = process::output(&mut build)?;
    executable(&String::from_utf8_lossy(&said)).context("cargo did not say where the workloads are")
}

fn executable(said: &str) -> Option<PathBuf> {
    let built = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    built
        .filter(|message| message["target"]["name"] == "workloads")
        .find_map(|message| message["executable"].as_str().map(|path| Path::new(path).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_program_is() {
        let said = "{\"target\":{\"name\":\"x\"},\"executable\":\"/x\"}\nnoise\n\
                    {\"target\":{\"name\":\"workloads\"},\"executable\":\"/w\"}\n";
        assert_eq!(executable(said), Some(PathBuf::from("/w")));
        assert_eq!(executable("{}"), None);
    }
}
