//! A flame graph of W1: which functions the time of a step goes to.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};

use crate::process;
use crate::tool;
use crate::workspace::Workspace;

/// The level of W1 that is drawn: busy, and far below where runs queue.
const LEVEL: &str = "W1:256";

/// Records with `perf` and draws with inferno.
pub(crate) fn draw(
    workspace: &Workspace,
    program: &Path,
    dir: &Path,
    to: &Path,
) -> anyhow::Result<()> {
    let data = dir.join(format!(".aura-perf-{}", std::process::id()));
    let mut record = workspace.program("perf");
    record.args(["record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf", "-o"]);
    record.arg(&data).arg("--").arg(program).arg(dir).args(["2", LEVEL]);
    let recorded = process::run(&mut record)
        .context("perf records the stacks; on Debian it is in the package linux-perf");
    let drawn = recorded.and_then(|()| graph(workspace, &data, to));
    // Large, and of no use to anybody else.
    let _ = fs::remove_file(&data);
    drawn?;
    println!("the flame graph of {LEVEL} is in {}", to.display());
    Ok(())
}

fn graph(workspace: &Workspace, data: &Path, to: &Path) -> anyhow::Result<()> {
    let collapse = tool::INFERNO.command(workspace)?;
    let draw = tool::FLAMEGRAPH.command(workspace)?;
    let script = workspace.program("perf").arg("script").arg("-i").arg(data).output()?;
    if !script.status.success() {
        bail!("perf script ended with {}", script.status);
    }
    let stacks = data.with_extension("txt");
    fs::write(&stacks, script.stdout)?;
    let folded = through(collapse, &stacks);
    let _ = fs::remove_file(&stacks);
    let lines = data.with_extension("folded");
    fs::write(&lines, folded?)?;
    let picture = through(draw, &lines);
    let _ = fs::remove_file(&lines);
    fs::write(to, picture?).with_context(|| format!("can't write {}", to.display()))
}

fn through(mut program: std::process::Command, from: &Path) -> anyhow::Result<Vec<u8>> {
    program.stdin(Stdio::from(File::open(from)?));
    process::output(&mut program)
}
