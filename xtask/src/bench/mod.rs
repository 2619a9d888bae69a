//! `cargo xtask bench`: what durability costs here.

mod baseline;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::process;
use crate::workspace::Workspace;
use baseline::Baseline;

/// One line that the workload prints.
#[derive(Debug, Deserialize)]
struct Level {
    runs: u64,
    steps_per_s: f64,
    step_p50_us: f64,
    run_p99_us: f64,
    cpu_us_per_step: f64,
    bytes_per_step: f64,
}

/// Measures the disk, then W1 in the same folder, and prints both with their ratio.
pub(crate) fn run(workspace: &Workspace, dir: &Path, seconds: u64) -> anyhow::Result<()> {
    let dir = std::path::absolute(dir).context("the folder to measure in")?;
    let mut bench = process::cargo(&workspace.root);
    bench.args(["bench", "--locked", "-p", "aura-engine", "--bench", "workloads", "--"]);
    bench.arg(&dir).arg(seconds.to_string());
    // Built before the disk is measured, so that both are measured in the same minute.
    let mut build = process::cargo(&workspace.root);
    build.args(["bench", "--locked", "-p", "aura-engine", "--bench", "workloads", "--no-run"]);
    process::run(&mut build)?;
    let baseline = Baseline::measure(&dir)?;
    println!("{baseline}");
    println!("W1: 10 sequential durable no-op steps a run, {seconds} s a level");
    let printed = process::output(&mut bench)?;
    let levels = levels(&String::from_utf8_lossy(&printed))?;
    print!("{}", table(&levels, &baseline));
    Ok(())
}

fn levels(printed: &str) -> anyhow::Result<Vec<Level>> {
    printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a level: {line}")))
        .collect()
}

fn table(levels: &[Level], baseline: &Baseline) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:>6} {:>10} {:>12} {:>11} {:>11} {:>12} {:>11}",
        "runs", "steps/s", "step p50 µs", "× fdatasync", "run p99 ms", "CPU µs/step", "bytes/step"
    );
    for level in levels {
        let _ = writeln!(
            out,
            "{:>6} {:>10.0} {:>12.0} {:>11.2} {:>11.1} {:>12.1} {:>11.0}",
            level.runs,
            level.steps_per_s,
            level.step_p50_us,
            level.step_p50_us / baseline.p50,
            level.run_p99_us / 1_000.0,
            level.cpu_us_per_step,
            level.bytes_per_step
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_set_beside_the_disk() {
        let line = r#"{"workload":"W1","runs":1,"steps":10.0,"steps_per_s":2500.4,"step_p50_us":400.0,"run_p50_us":4000.0,"run_p99_us":5000.0,"cpu_us_per_step":90.0,"bytes_per_step":700.0}"#;
        let levels = levels(&format!("noise\n{line}\n")).unwrap();
        let table = table(&levels, &Baseline { p50: 200.0, p95: 0.0, p99: 0.0 });
        let row = table.lines().nth(1).unwrap();
        assert_eq!(
            row.split_whitespace().collect::<Vec<_>>(),
            ["1", "2500", "400", "2.00", "5.0", "90.0", "700"]
        );
    }

    #[test]
    fn a_broken_line_is_an_error() {
        assert!(levels("{\"runs\":1}").is_err());
    }
}
