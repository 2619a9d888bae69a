//! `cargo xtask demo`: the main job on this project's own README, killed, resumed, replayed and verified.
//!
//! Everything is done by commands that are shown and that a person can type. It needs no network: a link that can't
//! be reached is data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::aura::{Answer, Aura, WAITING};
use crate::paint::{Tone, paint};
use crate::workspace::Workspace;

const FLOW: &str = "examples/document-brief/flow.yaml";
const DOCUMENT: &str = "README.md";

/// Links that are checked. Where nothing answers each takes its whole time, and nobody wants to watch many of them.
const LINKS: &str = "max_links=12";

/// How long the flow may take with every link unreachable.
const PATIENCE: Duration = Duration::from_secs(100);

/// Lines of the brief that are shown.
const HEAD: usize = 16;

/// Lines of a command's output that are shown: so many of the first and of the last.
const SHOWN: (usize, usize) = (6, 12);

/// Shares of the first run's events after which the second is killed, until one of them finds it at work.
const PARTS: [usize; 6] = [2, 3, 4, 6, 10, 100];

struct Demo {
    aura: Aura,
    /// What stands in the commands that are shown for the options that are not.
    root: PathBuf,
    dir: PathBuf,
}

/// Runs it.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    chapter("Building the release binary");
    let program = Aura::build(workspace)?;
    let start = Instant::now();
    let dir = workspace.target.join("demo");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("can't empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    let aura = Aura::new(&program, &dir.join("data"), &workspace.root);
    let demo = Demo { aura, root: workspace.root.clone(), dir };
    say(&format!("DEMO below is {}, and AURA_DATA_DIR is DEMO/data.", demo.dir.display()));

    chapter("1. A document becomes a brief");
    let events = demo.brief()?;
    chapter("2. The same again, killed half-way");
    let (run, before) = demo.kill(events)?;
    chapter("3. Resumed");
    let effects = demo.resume(&run, &before)?;
    chapter("4. Replayed and verified");
    let answer = demo.show(&["replay", &run, "--verify"])?.done()?;
    if !answer.out.contains("verified") {
        bail!("it does not say 'verified': {}", answer.told());
    }
    let seconds = start.elapsed().as_secs_f64();
    let summary =
        format!("demo: 2 runs, 1 kill, {effects} effects, none twice, verified ({seconds:.1} s)");
    println!("\n{}", paint(Tone::Good, summary));
    Ok(())
}

impl Demo {
    /// Runs the flow, says yes when it asks, and shows what it wrote; gives the number of its events.
    fn brief(&self) -> anyhow::Result<usize> {
        say(
            "It splits the README, reads the sections side by side, checks the links, and asks before it writes.",
        );
        let args = self.run_args("brief.md", &[]);
        let answer = self.show(&args)?;
        if answer.code != Some(WAITING) {
            bail!("it should wait for a person: {}", answer.told());
        }
        let (run, events) = self.newest()?;
        say(
            "No process is left, and nothing is lost: the run waits in the store. A person says yes:",
        );
        self.show(&["approve", &run, "--reason", "looks right"])?.done()?;
        let answer = self.show(&["resume", &run])?.done()?;
        let path = self.dir.join("brief.md");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("no brief at {}: {}", path.display(), answer.told()))?;
        say(&format!("The brief, {}:", path.display()));
        for line in text.lines().take(HEAD) {
            println!("    {line}");
        }
        if text.lines().count() > HEAD {
            println!("    …");
        }
        Ok(events)
    }

    /// Starts the flow and kills it at work, when it has recorded its share of `events`; gives the run and what it had
    /// recorded.
    fn kill(&self, events: usize) -> anyhow::Result<(String, Vec<Value>)> {
        for part in PARTS {
            let wanted = (events / part).max(1);
            let args = self.run_args("again.md", &["--yes"]);
            self.typed(&args);
            let (others, begin) = (self.newest()?.0, Instant::now());
            let mut running = self.aura.start(&args)?;
            loop {
                if running.until(Instant::now())?.is_some() {
                    break;
                }
                let (run, seen) = self.newest()?;
                if run != others && seen >= wanted {
                    running.kill()?;
                    break;
                }
                if begin.elapsed() > PATIENCE {
                    bail!("the run recorded no {wanted} events within {PATIENCE:?}");
                }
            }
            let answer = running.end(PATIENCE)?;
            let run = self.newest()?.0;
            let found = self.events(&run)?;
            if answer.code.is_none() && !found.iter().any(|event| event["type"] == "run.completed")
            {
                let ms = begin.elapsed().as_millis();
                let text = format!("kill -9 after {ms} ms: {} events are durable", found.len());
                println!("  {}", paint(Tone::Bad, text));
                return Ok((run, found));
            }
            say("It was done before it could be killed; once more.");
        }
        bail!("the run could not be caught at work")
    }

    /// Resumes the run and looks for anything that was done twice; gives the number of effects.
    fn resume(&self, run: &str, before: &[Value]) -> anyhow::Result<usize> {
        self.show(&["resume", run, "--yes"])?.done()?;
        let after = self.events(run)?;
        if after.get(..before.len()) != Some(before) {
            bail!("the events of before the kill are not there as they were");
        }
        let count = (before.len(), after.len());
        say(&format!(
            "All {} events of before the kill stand; {} came after.",
            count.0,
            count.1 - count.0
        ));
        let effects = Effects::of(&after);
        let twice = effects.successes.values().filter(|times| **times > 1).count();
        let again = effects.asked_again;
        let done = effects.successes.values().filter(|times| **times > 0).count();
        say(&format!(
            "Effects: {}, of which {done} succeeded. The kill left {again} open. Artifacts: {}.",
            effects.successes.len(),
            effects.artifacts,
        ));
        if twice > 0 || effects.artifacts != 1 {
            bail!("{twice} effects succeeded twice, and there are {} artifacts", effects.artifacts);
        }
        println!("  {}", paint(Tone::Good, "No effect ran twice."));
        Ok(effects.successes.len())
    }

    fn run_args(&self, output: &str, more: &[&str]) -> Vec<String> {
        let output = self.dir.join(output);
        let mut args = vec!["run".to_owned(), FLOW.to_owned()];
        args.extend(["--set".to_owned(), format!("path={DOCUMENT}")]);
        args.extend(["--set".to_owned(), format!("output={}", output.display())]);
        args.extend(["--set".to_owned(), LINKS.to_owned()]);
        for root in [&self.root, &self.dir] {
            args.extend(["--root".to_owned(), root.display().to_string()]);
        }
        args.extend(more.iter().map(|&word| word.to_owned()));
        args
    }

    /// The newest run and the number of its events; an empty id where there is none.
    fn newest(&self) -> anyhow::Result<(String, usize)> {
        let runs = self.aura.call(&["runs", "--json", "--limit", "1"])?.json()?;
        let newest = &runs["runs"][0];
        let events = newest["events"].as_u64().and_then(|events| usize::try_from(events).ok());
        Ok((newest["run_id"].as_str().unwrap_or_default().to_owned(), events.unwrap_or_default()))
    }

    fn events(&self, run: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.aura.call(&["events", run, "--json"])?.done()?;
        let lines = answer.out.lines();
        lines.map(|line| serde_json::from_str(line).context("an event that is no JSON")).collect()
    }

    /// Runs a command where the person sees it and what it prints.
    fn show<A: AsRef<str>>(&self, args: &[A]) -> anyhow::Result<Answer> {
        self.typed(args);
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let answer = self.aura.start(&args)?.end(PATIENCE)?;
        let lines: Vec<_> = answer.out.lines().chain(answer.err.lines()).collect();
        let (first, last) = SHOWN;
        for (number, line) in lines.iter().enumerate() {
            if number < first || number + last >= lines.len() {
                println!("    {}", paint(Tone::Faint, line));
            } else if number == first {
                println!(
                    "    {}",
                    paint(Tone::Faint, format!("… {} more", lines.len() - first - last))
                );
            }
        }
        Ok(answer)
    }

    /// The command as it could be typed here.
    fn typed<A: AsRef<str>>(&self, args: &[A]) {
        let words: Vec<_> = args.iter().map(|word| self.short(word.as_ref())).collect();
        println!("  {} aura {}", paint(Tone::Strong, "$"), words.join(" "));
    }

    fn short(&self, word: &str) -> String {
        let cut =
            |word: &str, dir: &Path, name: &str| word.replace(&dir.display().to_string(), name);
        let word = cut(&cut(word, &self.dir, "DEMO"), &self.root, ".");
        if word.contains(' ') { format!("'{word}'") } else { word }
    }
}

/// What a history tells of effects.
#[derive(Debug, Default, PartialEq)]
struct Effects {
    /// How often each succeeded, by step.
    successes: BTreeMap<String, usize>,
    /// Those whose first attempt nobody saw the end of.
    asked_again: usize,
    artifacts: usize,
}

impl Effects {
    fn of(events: &[Value]) -> Self {
        let mut effects = Self::default();
        let called: Vec<_> = events.iter().filter(|event| event["type"] == "tool.called").collect();
        for event in called {
            effects.successes.entry(step(event)).or_default();
        }
        for event in events {
            match event["type"].as_str().unwrap_or_default() {
                // Steps that call nothing outside are in doubt too, harmlessly.
                "effect.unknown" if effects.successes.contains_key(&step(event)) => {
                    effects.asked_again += 1;
                }
                "artifact.created" => effects.artifacts += 1,
                "tool.completed" | "effect.reconciled" | "effect.settled" => {
                    // Steps that call nothing outside succeed too, and have no intent.
                    if let Some(times) = effects.successes.get_mut(&step(event)) {
                        *times += 1;
                    }
                }
                _ => {}
            }
        }
        effects
    }
}

fn step(event: &Value) -> String {
    event["step"].as_str().unwrap_or_default().to_owned()
}

fn chapter(title: &str) {
    println!("\n{}", paint(Tone::Strong, title));
}

fn say(text: &str) {
    println!("  {text}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn effects_are_counted_by_step() {
        let event = |kind: &str, step: &str| json!({ "type": kind, "step": step });
        let events = [
            event("tool.completed", "pure"),
            event("tool.called", "read"),
            event("effect.unknown", "read"),
            event("tool.called", "read"),
            event("tool.completed", "read"),
            event("tool.called", "write"),
            event("tool.completed", "write"),
            event("artifact.created", "write"),
            event("effect.settled", "write"),
        ];
        let successes = BTreeMap::from([("read".to_owned(), 1), ("write".to_owned(), 2)]);
        assert_eq!(Effects::of(&events), Effects { successes, asked_again: 1, artifacts: 1 });
    }
}
