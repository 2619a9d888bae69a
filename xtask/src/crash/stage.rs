//! What the rounds of one variant share: the counter, the flows, and how they end when nobody disturbs them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::aura::{Answer, Aura};
use crate::counter::{Counter, Keys, Ledger};
use crate::workspace::Workspace;

/// A flow of a round.
#[derive(Debug)]
pub(super) struct Subject {
    /// How it is called in the lines of a round.
    pub(super) name: &'static str,
    /// Its file.
    flow: PathBuf,
    input: Value,
    /// Files that it finds, by name.
    given: BTreeMap<String, String>,
    /// How it ends when nobody disturbs it.
    pub(super) calm: Calm,
}

/// A run that nobody disturbed.
#[derive(Debug, Default)]
pub(super) struct Calm {
    pub(super) end: End,
    pub(super) ledger: Ledger,
    pub(super) took: Duration,
}

/// What a run leaves behind.
#[derive(Debug, Default, PartialEq)]
pub(super) struct End {
    pub(super) output: Value,
    /// The files below its root, by path.
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
}

/// The place of one variant.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) keys: Keys,
    pub(super) counter: Counter,
    pub(super) subjects: Vec<Subject>,
    program: PathBuf,
    dir: PathBuf,
}

impl Stage {
    /// Prepares the flows and runs each once in peace.
    pub(super) fn new(
        workspace: &Workspace,
        program: &Path,
        keys: Keys,
        dir: &Path,
    ) -> anyhow::Result<Self> {
        clear(dir)?;
        let dir = dir.to_owned();
        // Its delays are drawn anew in each round.
        let counter = Counter::start(keys, 0)?;
        let subjects = vec![steps(workspace, &dir, &counter, keys)?, brief(workspace, &counter)?];
        let program = program.to_owned();
        let mut stage = Self { keys, counter, subjects, program, dir };
        for index in 0..stage.subjects.len() {
            let (first, second) =
                (stage.calm(&stage.subjects[index])?, stage.calm(&stage.subjects[index])?);
            if first.end != second.end || first.ledger.acts != second.ledger.acts {
                bail!("'{}' does not end the same twice", stage.subjects[index].name);
            }
            // The quicker one: moments beyond the end would kill nothing.
            let calm = if second.took < first.took { second } else { first };
            stage.subjects[index].calm = calm;
        }
        Ok(stage)
    }

    /// What the variant is, for a person.
    pub(super) fn title(&self) -> String {
        let (world, effects) = match self.keys {
            Keys::Honoured => ("honours Idempotency-Key", "idempotent"),
            Keys::Ignored => ("ignores Idempotency-Key", "irreversible"),
        };
        let times: Vec<_> = self
            .subjects
            .iter()
            .map(|subject| format!("{} {:.2} s", subject.name, subject.calm.took.as_secs_f64()))
            .collect();
        format!("a world that {world}, {effects} effects (undisturbed: {})", times.join(", "))
    }

    fn calm(&self, subject: &Subject) -> anyhow::Result<Calm> {
        let aura = self.fresh(subject)?;
        let start = Instant::now();
        let answer = aura.call(&self.run_args(subject))?.done()?;
        let took = start.elapsed();
        let calm = Calm { end: self.end(&answer)?, ledger: self.counter.ledger()?, took };
        if calm.ledger.duplicates() > 0 {
            bail!("an effect of '{}' happened twice in a run that nobody disturbed", subject.name);
        }
        Ok(calm)
    }

    /// An empty store, the files that the flow finds, and a world that has seen nothing.
    pub(super) fn fresh(&self, subject: &Subject) -> anyhow::Result<Aura> {
        let (data, files) = (self.dir.join("data"), self.files());
        clear(&data)?;
        clear(&files)?;
        for (name, text) in &subject.given {
            fs::write(files.join(name), text)?;
        }
        self.counter.clear();
        Ok(Aura::new(&self.program, &data, &self.dir))
    }

    fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// The arguments that start the flow.
    pub(super) fn run_args(&self, subject: &Subject) -> Vec<String> {
        let flow = subject.flow.to_string_lossy().into_owned();
        let (root, input) = (self.files(), subject.input.to_string());
        let root = root.to_string_lossy().into_owned();
        let (input, net) = (["--input".to_owned(), input], self.counter.address());
        let mut args = vec!["run".to_owned(), flow, "--json".to_owned(), "--yes".to_owned()];
        args.extend(input);
        args.extend(["--root".to_owned(), root, "--allow-net".to_owned(), net]);
        args
    }

    /// What a completed run left behind.
    pub(super) fn end(&self, answer: &Answer) -> anyhow::Result<End> {
        let document = answer.json()?;
        if document["status"] != "completed" {
            bail!("the run did not complete: {}", answer.told());
        }
        let mut files = BTreeMap::new();
        collect(&self.files(), &mut files)?;
        Ok(End { output: document["output"].clone(), files })
    }

    /// Keeps what a round left, for somebody to look at.
    pub(super) fn keep(&self, name: &str) -> anyhow::Result<PathBuf> {
        let kept = self.dir.join(format!("failed-{name}"));
        if kept.exists() {
            fs::remove_dir_all(&kept)?;
        }
        fs::create_dir(&kept)?;
        for part in ["data", "files"] {
            fs::rename(self.dir.join(part), kept.join(part))?;
        }
        Ok(kept)
    }
}

/// The 200 steps, with effects of the class that fits the world.
fn steps(
    workspace: &Workspace,
    dir: &Path,
    counter: &Counter,
    keys: Keys,
) -> anyhow::Result<Subject> {
    let source = text(&workspace.root.join("fixtures/flows/crash/steps.yaml"))?;
    let source = match keys {
        Keys::Honoured => source,
        Keys::Ignored => source.replace("effect: idempotent", "effect: irreversible"),
    };
    let flow = dir.join("steps.yaml");
    fs::write(&flow, source)?;
    Ok(Subject {
        name: "steps",
        flow,
        input: json!({ "counter": format!("http://{}", counter.address()) }),
        given: BTreeMap::new(),
        calm: Calm::default(),
    })
}

/// The example, on a document whose links lead to the counter.
fn brief(workspace: &Workspace, counter: &Counter) -> anyhow::Result<Subject> {
    let document = text(&workspace.root.join("fixtures/documents/handbook.md"))?
        .replace("links.test", &counter.address());
    Ok(Subject {
        name: "brief",
        flow: workspace.root.join("examples/document-brief/flow.yaml"),
        input: json!({ "path": "handbook.md", "output": "briefs/handbook.md" }),
        given: BTreeMap::from([("handbook.md".to_owned(), document)]),
        calm: Calm::default(),
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))
}

/// An empty folder.
fn clear(dir: &Path) -> anyhow::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("can't empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))
}

fn collect(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else {
            let bytes = fs::read(&path)?;
            into.insert(path, bytes);
        }
    }
    Ok(())
}
