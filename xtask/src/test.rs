//! `cargo xtask test`: everything that a change must pass, in the order in which it is cheapest to fail.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::aura::Aura;
use crate::workspace::Workspace;
use crate::{crash, generate, histories, powercut, process, sim, tidy, tool};

/// Seeded worlds that every change must pass.
const WORLDS: &str = "200";

/// A part of the test run.
struct Stage {
    name: &'static str,
    run: fn(&Workspace) -> anyhow::Result<()>,
}

const STAGES: &[Stage] = &[
    Stage { name: "toolchain", run: toolchain },
    Stage { name: "format", run: format },
    Stage { name: "clippy", run: clippy },
    Stage { name: "tidy", run: tidy::run },
    Stage { name: "generated files", run: |workspace| generate::run(workspace, true) },
    Stage { name: "dependencies", run: dependencies },
    Stage { name: "tests", run: tests },
    Stage { name: "doc tests", run: doc_tests },
    Stage { name: "histories", run: histories },
    Stage { name: "crash", run: crash },
    Stage { name: "power cut", run: power_cut },
];

/// Runs the stages one after the other, up to the first that fails.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let start = Instant::now();
    let passed = run_all(STAGES, workspace);
    println!("\nafter {}", seconds(start.elapsed()));
    match passed {
        Ok(passed) => {
            println!("{passed} passed, 0 failed");
            Ok(())
        }
        Err(failed) => {
            let left = STAGES.len() - failed.passed - 1;
            println!("{} passed, 1 failed ({}), {left} not run", failed.passed, failed.stage);
            Err(failed.error.context(format!("stage '{}' failed", failed.stage)))
        }
    }
}

/// Where it stopped.
#[derive(Debug)]
struct Failed {
    stage: &'static str,
    passed: usize,
    error: anyhow::Error,
}

fn run_all(stages: &[Stage], workspace: &Workspace) -> Result<usize, Failed> {
    for (passed, stage) in stages.iter().enumerate() {
        let name = stage.name;
        println!("\n══ {}/{} {name} ══", passed + 1, stages.len());
        let start = Instant::now();
        let outcome = (stage.run)(workspace);
        let took = seconds(start.elapsed());
        match outcome {
            Ok(()) => println!("══ {name}: passed in {took} ══"),
            Err(error) => {
                println!("══ {name}: FAILED after {took}: {error:#} ══");
                return Err(Failed { stage: name, passed, error });
            }
        }
    }
    Ok(stages.len())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Warnings are errors below, and another compiler has other warnings. rust-toolchain.toml says why it does not do this.
fn toolchain(workspace: &Workspace) -> anyhow::Result<()> {
    let answer = process::output(workspace.program("rustc").arg("--version"))?;
    let found = String::from_utf8(answer).context("rustc prints no text")?;
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    if !is_release_of(&found, wanted) {
        bail!(
            "this is {}, and the project is checked with {wanted}; \
             install it and say so: `RUSTUP_TOOLCHAIN={wanted} cargo xtask test`",
            found.trim()
        );
    }
    println!("{}", found.trim());
    Ok(())
}

/// Whether `rustc --version` printed any patch release of a version.
fn is_release_of(printed: &str, version: &str) -> bool {
    let number = printed.split_whitespace().nth(1).unwrap_or_default();
    number.strip_prefix(version).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn format(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(workspace.cargo().args(["fmt", "--all", "--check"]))?;
    // A workspace of its own, so the line above does not reach it.
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    process::run(workspace.cargo().args(fuzz))
}

fn clippy(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = workspace.cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    process::run(&mut command)
}

fn dependencies(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = tool::DENY.command(workspace)?;
    process::run(command.args(["--locked", "check", "bans", "licenses", "sources"]))
}

fn tests(workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = tool::NEXTEST.command(workspace)?;
    command.args(["nextest", "run", "--workspace", "--locked", "--profile", "ci"]);
    command.env(sim::SEEDS, WORLDS);
    process::run(&mut command)
}

fn crash(workspace: &Workspace) -> anyhow::Result<()> {
    crash::run(workspace, &Aura::build(workspace)?, crash::ROUNDS, None)
}

fn histories(workspace: &Workspace) -> anyhow::Result<()> {
    histories::run(workspace, &Aura::build(workspace)?, false)
}

fn power_cut(workspace: &Workspace) -> anyhow::Result<()> {
    powercut::short(workspace, &Aura::build(workspace)?)
}

fn doc_tests(workspace: &Workspace) -> anyhow::Result<()> {
    process::run(workspace.cargo().args(["test", "--doc", "--workspace", "--locked"]))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn nowhere() -> Workspace {
        Workspace { root: PathBuf::new(), target: PathBuf::new(), packages: Vec::new() }
    }

    #[test]
    fn the_first_failure_stops_and_is_named() {
        const STAGES: &[Stage] = &[
            Stage { name: "one", run: |_| Ok(()) },
            Stage { name: "two", run: |_| bail!("no") },
            Stage { name: "three", run: |_| panic!("must not run") },
        ];
        let failed = run_all(STAGES, &nowhere()).unwrap_err();
        assert_eq!((failed.stage, failed.passed), ("two", 1));
        assert_eq!(failed.error.to_string(), "no");
        assert_eq!(run_all(&STAGES[..1], &nowhere()).unwrap(), 1);
    }

    #[test]
    fn any_patch_of_the_pinned_version_will_do() {
        assert!(is_release_of("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(is_release_of("rustc 1.95.1 (something)", "1.95"));
        assert!(!is_release_of("rustc 1.950.0 (something)", "1.95"));
        assert!(!is_release_of("rustc 1.97.0-nightly (something)", "1.95"));
        assert!(!is_release_of("", "1.95"));
    }
}
