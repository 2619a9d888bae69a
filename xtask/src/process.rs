//! Starting programs, with errors that say which command it was.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// What `cargo run` sets for the program it runs. Handed on, they would make build scripts that watch them run again
/// on every change between `cargo` and `cargo xtask`.
const NOT_FOR_CHILDREN: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];

/// A command in a folder.
pub(crate) fn command(program: &OsStr, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let own = name
            .to_str()
            .is_some_and(|name| NOT_FOR_CHILDREN.iter().any(|prefix| name.starts_with(prefix)));
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// A cargo command in a folder.
pub(crate) fn cargo(dir: &Path) -> Command {
    command(OsStr::new("cargo"), dir)
}

/// Runs it where the person sees what it says.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("can't start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs it for what it prints.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let line = line(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` ended with {}", output.status);
    }
    Ok(output.stdout)
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let mut command = command(OsStr::new("false"), Path::new("."));
        let error = output(command.arg("x")).unwrap_err().to_string();
        assert!(error.starts_with("`false x` ended with"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let mut command = command(OsStr::new("no-such-program"), Path::new("."));
        let error = run(&mut command).unwrap_err().to_string();
        assert_eq!(error, "can't start `no-such-program`");
    }
}
