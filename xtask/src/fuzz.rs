//! `cargo xtask fuzz`: libFuzzer on the code that reads what strangers send.
//!
//! Stable Rust is enough: the coverage that guides the fuzzer is a stable compiler flag, and only the sanitizers, which
//! find memory errors, would need nightly. Code without `unsafe` is fuzzed for panics, hangs and memory instead.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::workspace::Workspace;
use crate::{process, tool};

/// Flow files.
pub(crate) const LOAD_FLOW: &str = "load_flow";

/// An input that makes the process this large is reported as a failure.
const MEMORY_MIB: u32 = 1_024;
/// An input that takes this long is reported as a hang.
const TIMEOUT_SECONDS: u32 = 10;
/// Deep nesting and alias bombs are small; longer inputs only make each try slower.
const INPUT_BYTES: u32 = 65_536;

/// Fuzzes one target for a while.
pub(crate) fn run(workspace: &Workspace, target: &str, seconds: u64) -> anyhow::Result<()> {
    let folder = workspace.root.join("fuzz");
    let targets = targets(&folder)?;
    if !targets.iter().any(|known| known == target) {
        bail!("no fuzz target is named '{target}'; there are: {}", targets.join(", "));
    }
    // What was found before stays beside the build, so that each run starts where the last one ended.
    let found = workspace.target.join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("can't create {}", found.display()))?;

    let mut command = tool::FUZZ.command(workspace)?;
    command.args(["run", "--sanitizer", "none", "--fuzz-dir"]).arg(&folder);
    // The instrumented build must not push the ordinary one out of its place.
    command.arg("--target-dir").arg(workspace.target.join("fuzz"));
    command.arg(target).arg(found).args(seeds(workspace, target)).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command.arg(format!("-timeout={TIMEOUT_SECONDS}"));
    command.arg(format!("-max_len={INPUT_BYTES}"));
    let dictionary = folder.join("dictionaries").join(format!("{target}.dict"));
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    process::run(&mut command)
}

/// The names of the targets.
fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let place = folder.join("fuzz_targets");
    let entries = std::fs::read_dir(&place).with_context(|| format!("no {}", place.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Folders with good examples to start from; the fuzzer reads them with their subfolders and writes nothing there.
fn seeds(workspace: &Workspace, target: &str) -> Vec<PathBuf> {
    let folders: &[&str] = match target {
        LOAD_FLOW => &["fixtures/flows", "examples"],
        _ => &[],
    };
    folders.iter().map(|folder| workspace.root.join(folder)).filter(|path| path.exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_rust_files() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("fuzz_targets");
        std::fs::create_dir(&place).unwrap();
        for name in ["b.rs", "a.rs", "notes.txt"] {
            std::fs::write(place.join(name), "").unwrap();
        }
        assert_eq!(targets(folder.path()).unwrap(), ["a", "b"]);
    }
}
