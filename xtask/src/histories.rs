//! `cargo xtask histories`: runs that were recorded once, which every build must read, decide again, and end.
//!
//! A folder of `fixtures/histories/` is one: `flow.yaml`; `about.txt`, which says what the history shows, how it was
//! recorded and how it ends; and `history.ndjson`, as `aura store export` wrote it: the run, and others that belong to
//! it. A recorded history is never written anew: a build that can't read it is wrong, or needs another format.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::aura::{Aura, DONE, FAILED, WAITING};
use crate::workspace::Workspace;

const FOLDER: &str = "fixtures/histories";
const HISTORY: &str = "history.ndjson";

/// What stands for the id of the run in commands.
const RUN: &str = "RUN";
/// What stands for the key of its effect in doubt.
const KEY: &str = "KEY";
/// What stands for a server that hears everybody and answers nobody.
const SERVER: &str = "SERVER";
/// What stands for the folder.
const HERE: &str = "FOLDER";
/// By which the run is known among others.
const LABEL: &str = "golden";

/// What `about.txt` says below its line of dashes.
#[derive(Debug, Default, PartialEq, Eq)]
struct About {
    input: Option<String>,
    /// More words of the command that starts the run.
    with: Vec<String>,
    /// Exit code of the command that starts the run.
    exit: i32,
    /// Commands before the run is recorded.
    before: Vec<Vec<String>>,
    /// Commands that let a recorded run that is open go on.
    after: Vec<Vec<String>>,
    /// The status with which it ends.
    ends: String,
}

impl About {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (_, rules) = text.split_once("\n---\n").context("about.txt has no line of dashes")?;
        let mut about = Self::default();
        for line in rules.lines().filter(|line| !line.trim().is_empty()) {
            let (word, rest) = line.split_once(' ').context("a word without what belongs to it")?;
            let command = || rest.split(' ').map(str::to_owned).collect();
            match word {
                "input" => about.input = Some(rest.to_owned()),
                "with" => about.with = command(),
                "exit" => about.exit = rest.parse()?,
                "before" => about.before.push(command()),
                "after" => about.after.push(command()),
                "ends" => rest.clone_into(&mut about.ends),
                other => bail!("about.txt says '{other}', which means nothing"),
            }
        }
        if about.ends.is_empty() {
            bail!("about.txt does not say how the run ends");
        }
        Ok(about)
    }
}

/// Checks every history; with `write`, first records those of folders that have none.
pub(crate) fn run(workspace: &Workspace, program: &Path, write: bool) -> anyhow::Result<()> {
    let root = workspace.root.join(FOLDER);
    // What is recorded holds this path: it says nothing about who recorded it.
    let place = std::env::temp_dir().join("aura-histories");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root)
        .with_context(|| format!("can't read {}", root.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    folders.sort();
    let (mut checked, mut recorded, mut missing) = (0, 0, Vec::new());
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let about = fs::read_to_string(folder.join("about.txt"));
        let about = About::parse(&about.with_context(|| format!("{name} has no about.txt"))?)
            .with_context(|| format!("in {name}"))?;
        if !folder.join(HISTORY).exists() {
            if !write {
                missing.push(name.into_owned());
                continue;
            }
            record(program, &place, folder, &about).with_context(|| format!("recording {name}"))?;
            recorded += 1;
        }
        check(program, &place, folder, &about).with_context(|| format!("checking {name}"))?;
        checked += 1;
    }
    println!("{checked} histories are read, decided again and ended; {recorded} of them are new");
    if !missing.is_empty() {
        bail!("not recorded: {}; see cargo xtask histories --write", missing.join(", "));
    }
    Ok(())
}

fn fresh(program: &Path, place: &Path) -> anyhow::Result<Aura> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place)?;
    Ok(Aura::new(program, &place.join("data"), place))
}

fn record(program: &Path, place: &Path, folder: &Path, about: &About) -> anyhow::Result<()> {
    let aura = fresh(program, place)?;
    let server = silent_server()?;
    let flow = folder.join("flow.yaml").to_string_lossy().into_owned();
    let label = format!("{LABEL}=yes");
    let mut args = ["run", flow.as_str(), "--key", LABEL, "--label", &label, "--json"]
        .map(str::to_owned)
        .to_vec();
    if let Some(input) = &about.input {
        args.extend(["--input".to_owned(), input.replace(SERVER, &server)]);
    }
    args.extend(about.with.iter().map(|word| word.replace(SERVER, &server)));
    let answer = aura.call(&args)?;
    if answer.code != Some(about.exit) {
        bail!("exit code {} is expected: {}", about.exit, answer.told());
    }
    let (run, _) = golden(&aura)?;
    act(&aura, &about.before, (&run, folder))?;
    let history = folder.join(HISTORY).to_string_lossy().into_owned();
    aura.call(&["store", "export", "-o", &history])?.done()?;
    Ok(())
}

/// Where somebody listens who ends every connection without an answer; it goes on until the process ends.
fn silent_server() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4_096]);
        }
    });
    Ok(address)
}

fn check(program: &Path, place: &Path, folder: &Path, about: &About) -> anyhow::Result<()> {
    let aura = fresh(program, place)?;
    let history = folder.join(HISTORY).to_string_lossy().into_owned();
    aura.call(&["store", "import", &history])?.done()?;
    let (run, _) = golden(&aura)?;
    aura.call(&["store", "check"])?.done()?;
    verify(&aura)?;
    if !about.after.is_empty() {
        // What came from a copy is performed by nobody before it is resumed; that it still waits is no error.
        aura.call(&["resume", &run, "--restored"])?;
        act(&aura, &about.after, (&run, folder))?;
        aura.call(&["resume", &run])?;
    }
    verify(&aura)?;
    let (_, status) = golden(&aura)?;
    if status != about.ends {
        bail!("it is {status}, and should have ended as {}", about.ends);
    }
    Ok(())
}

fn act(aura: &Aura, commands: &[Vec<String>], (run, folder): (&str, &Path)) -> anyhow::Result<()> {
    let folder = folder.to_string_lossy();
    for command in commands {
        let mut args: Vec<_> =
            command.iter().map(|word| word.replace(RUN, run).replace(HERE, &folder)).collect();
        if args.iter().any(|word| word == KEY) {
            let effects = aura.call(&["effects", "--in-doubt", "--json"])?.done()?.json()?;
            let key = effects["effects"][0]["key"].as_str().context("nothing is in doubt")?;
            args.iter_mut().filter(|word| *word == KEY).for_each(|word| key.clone_into(word));
        }
        // How the run stands then is told by the end.
        let answer = aura.call(&args)?;
        if !matches!(answer.code, Some(DONE | FAILED | WAITING)) {
            answer.done()?;
        }
    }
    Ok(())
}

fn runs(aura: &Aura) -> anyhow::Result<Value> {
    aura.call(&["runs", "--json"])?.done()?.json()
}

fn verify(aura: &Aura) -> anyhow::Result<()> {
    for run in runs(aura)?["runs"].as_array().into_iter().flatten() {
        let run = run["run_id"].as_str().context("a run without an id")?;
        aura.call(&["replay", run, "--verify"])?.done()?;
    }
    Ok(())
}

/// The run that was started by the record, and its status. A fork of it has its label, and came later; where a program
/// recorded its only run, that has none.
fn golden(aura: &Aura) -> anyhow::Result<(String, String)> {
    let runs = runs(aura)?;
    let all = runs["runs"].as_array().into_iter().flatten();
    let first = |run: &&Value| (!run["labels"][LABEL].is_string(), run["started"].as_i64());
    let run = all.min_by_key(first).context("there is no run")?;
    let text = |name: &str| run[name].as_str().map(str::to_owned).context("a run without it");
    Ok((text("run_id")?, text("status")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_a_history_is_read() {
        let text =
            "It waits.\n---\ninput {\"a\": 1}\nexit 3\nafter signal RUN go\nends completed\n";
        let about = About::parse(text).unwrap();
        assert_eq!((about.exit, about.input.as_deref()), (3, Some("{\"a\": 1}")));
        assert_eq!(about.after, [["signal", "RUN", "go"]]);
        assert_eq!(about.ends, "completed");
        for wrong in ["no dashes", "a\n---\nexit 0\n", "a\n---\nelse x\nends failed\n"] {
            assert!(About::parse(wrong).is_err(), "{wrong}");
        }
    }
}
