//! Cargo tools of pinned versions, installed beside the build when they are missing.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use crate::process;
use crate::workspace::Workspace;

/// A program of the crates registry, in one version.
#[derive(Debug)]
pub(crate) struct Tool {
    package: &'static str,
    /// The program of the package that is run and asked for its version.
    name: &'static str,
    version: &'static str,
}

/// Licences, banned crates, sources, advisories.
pub(crate) const DENY: Tool = Tool { package: "cargo-deny", name: "cargo-deny", version: "0.20.2" };
/// The test runner.
pub(crate) const NEXTEST: Tool =
    Tool { package: "cargo-nextest", name: "cargo-nextest", version: "0.9.143" };
/// Turns what perf recorded into a flame graph.
pub(crate) const INFERNO: Tool =
    Tool { package: "inferno", name: "inferno-collapse-perf", version: "0.12.8" };
/// Draws it.
pub(crate) const FLAMEGRAPH: Tool =
    Tool { package: "inferno", name: "inferno-flamegraph", version: "0.12.8" };
/// Builds and runs fuzz targets.
pub(crate) const FUZZ: Tool = Tool { package: "cargo-fuzz", name: "cargo-fuzz", version: "0.13.2" };

impl Tool {
    /// A command that runs it at the root of the workspace; installs it first if it is not there.
    pub(crate) fn command(&self, workspace: &Workspace) -> anyhow::Result<Command> {
        let own = workspace.target.join("tools");
        let place: PathBuf = own.join("bin").join(self.name);
        let known = [place.clone().into_os_string(), OsString::from(self.name)];
        if let Some(found) = known.into_iter().find(|program| self.is(program)) {
            return Ok(workspace.program(found));
        }
        println!("{} {} is not here yet and is installed once", self.package, self.version);
        let mut install = workspace.cargo();
        install.args(["install", "--locked", "--force", self.package, "--version", self.version]);
        process::run(install.arg("--root").arg(&own))?;
        Ok(workspace.program(place))
    }

    /// Whether a program is this tool in this version.
    fn is(&self, program: &OsStr) -> bool {
        let said = Command::new(program).arg("--version").output();
        said.is_ok_and(|said| self.says(&String::from_utf8_lossy(&said.stdout)))
    }

    /// Whether this is what it prints when asked for its version: name, version, and perhaps more.
    fn says(&self, answer: &str) -> bool {
        let mut words = answer.split_whitespace();
        words.next() == Some(self.name) && words.next() == Some(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_counts() {
        assert!(NEXTEST.says("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143"));
        assert!(!NEXTEST.says("cargo-nextest 0.9.1431"));
        assert!(!NEXTEST.says("cargo-deny 0.9.143"));
        assert!(!NEXTEST.says(""));
    }

    #[test]
    fn a_missing_program_is_not_the_tool() {
        assert!(!FUZZ.is(OsStr::new("no-such-program")));
    }
}
