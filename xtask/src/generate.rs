//! `cargo xtask gen`: files that are printed by our own binary, and the check that they are what it prints.

use std::path::Path;

use anyhow::bail;

use crate::process;
use crate::workspace::Workspace;

/// A file and the `aura` command that prints it.
#[derive(Debug)]
struct Generated {
    path: &'static str,
    command: &'static [&'static str],
}

/// Every generated file of the repository.
const FILES: &[Generated] = &[Generated { path: "schemas/flow.schema.json", command: &["schema"] }];

/// Writes the files anew, or only checks them.
pub(crate) fn run(workspace: &Workspace, check: bool) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for file in FILES {
        let mut command = workspace.cargo();
        command.args(["run", "--quiet", "--locked", "--package", "aura", "--"]);
        let wanted = process::output(command.args(file.command))?;
        if !update(&workspace.root.join(file.path), &wanted, check)? {
            stale.push(file.path);
        }
    }
    if check && !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask gen` and commit", stale.join(", "));
    }
    println!("{} generated files: {} changed", FILES.len(), stale.len());
    Ok(())
}

/// Whether the file was already as wanted; if not, and this is no check, it is after this.
fn update(path: &Path, wanted: &[u8], check: bool) -> anyhow::Result<bool> {
    if std::fs::read(path).is_ok_and(|found| found == wanted) {
        return Ok(true);
    }
    if !check {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, wanted)?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_changes_nothing_and_a_run_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.json");
        assert!(!update(&path, b"{}", true).unwrap());
        assert!(!path.exists());
        assert!(!update(&path, b"{}", false).unwrap());
        assert!(update(&path, b"{}", true).unwrap());
        assert!(!update(&path, b"[]", true).unwrap());
    }
}
