//! The process is killed at each call of a function, and another goes on.

use std::path::Path;
use std::process::{Child, Command};

use aura_embed::{Aura, Ctx, Done, End, Failure, Replayed, RunId, Start, function};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::quote;
use crate::shop::Shop;

/// This test again, as a process of its own that does `what` in `folder`.
fn child(what: &str, folder: &Path, more: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::a_process_of_its_own", "--nocapture"])
        .env("EMBEDDED_WHAT", what)
        .env("EMBEDDED_FOLDER", folder)
        .env("EMBEDDED_MORE", more)
        .spawn()
        .unwrap()
}

/// Does nothing unless it is told what: then it is the program that is killed.
#[test]
fn a_process_of_its_own() {
    let Ok(what) = std::env::var("EMBEDDED_WHAT") else { return };
    let folder = std::env::var("EMBEDDED_FOLDER").unwrap();
    let more = std::env::var("EMBEDDED_MORE").unwrap();
    let (aura, start) = match what.as_str() {
        "quote" => quoting(&folder, &more),
        _ => stepping(&folder, more.parse().unwrap()),
    };
    let run = aura.start(start).unwrap();
    aura.wait(run).unwrap();
    aura.close();
}

fn quoting(folder: &str, host: &str) -> (Aura, Start) {
    let aura = quote::open(&format!("{folder}/data"), folder, host).unwrap();
    let input = json!({ "order": 17, "shop": format!("http://{host}") });
    (aura, Start::new(quote::FLOW, input).key("one"))
}

const STEPS: &str = r"
flow: steps
nodes:
  - id: walk
    code: walk
    with: { dies_at: $input.dies_at }
    tools: [echo, file.write, file.read]
";

/// Makes seven calls of all kinds, and the first time takes the process with it before call `dies_at`.
async fn walk(state: Value, input: Value, mut ctx: Ctx) -> Result<Done<Value, Value>, Failure> {
    let folder = std::env::var("EMBEDDED_FOLDER").unwrap_or_default();
    let mut seen = Vec::new();
    for call in 0..7 {
        let marker = Path::new(&folder).join("died");
        if input["dies_at"] == call && !folder.is_empty() && !marker.exists() {
            std::fs::write(&marker, "").unwrap();
            std::process::abort();
        }
        seen.push(match call {
            0 => json!(ctx.now().await?.0),
            1 => json!(ctx.random().await?),
            2 => json!(ctx.uuid().await?),
            3 => ctx.sleep(std::time::Duration::from_millis(5)).await.map(|()| Value::Null)?,
            4 => json!(ctx.write_artifact("walk.txt", "here").await?.bytes),
            5 => json!(ctx.read_artifact("walk.txt").await?),
            _ => ctx.tool("echo", json!({ "value": "x".repeat(70_000) })).await?,
        });
    }
    Ok(Done::new(state, Value::from(seen)))
}

fn stepping(folder: &str, dies_at: u64) -> (Aura, Start) {
    let builder = Aura::builder(format!("{folder}/data")).function(function("walk", walk));
    let aura = builder.root(folder).start().unwrap();
    (aura, Start::new(STEPS, json!({ "dies_at": dies_at })).key("one"))
}

fn completed(aura: &Aura, run: RunId) -> Value {
    match aura.wait(run).unwrap() {
        End::Completed(output) => output,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_killed_between_any_two_calls_goes_on_from_its_journal() {
    for dies_at in 0..7_u64 {
        let folder = TempDir::new().unwrap();
        let ended = child("steps", folder.path(), &dies_at.to_string()).wait().unwrap();
        assert!(!ended.success(), "it took its process with it");
        let (aura, start) = stepping(folder.path().to_str().unwrap(), dies_at);
        let run = aura.start(start).unwrap();
        let output = completed(&aura, run);
        assert_eq!(output.as_array().unwrap().len(), 7, "{dies_at}");
        assert_eq!(aura.replay(run, "walk").unwrap(), Replayed::Matches(7), "{dies_at}");
        assert_eq!(aura.runs().unwrap().len(), 1);
        assert!(aura.close());
    }
}

#[test]
fn killed_in_the_middle_of_a_call_it_books_once() {
    for killed_at in 1..=2 {
        let (shop, folder) = (Shop::open(), TempDir::new().unwrap());
        let host = shop.address.to_string();
        shop.hold(killed_at);
        let mut first = child("quote", folder.path(), &host);
        shop.held.recv().unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        let (aura, start) = quoting(folder.path().to_str().unwrap(), &host);
        let run = aura.start(start).unwrap();
        let output = completed(&aura, run);
        assert_eq!((&output["size"], &output["quotes"]), (&json!("large"), &json!(1)));
        assert_eq!((shop.requests(), shop.booked()), (3, 1), "killed at request {killed_at}");
        // A replay asks nobody.
        assert_eq!(aura.replay(run, "quote").unwrap(), Replayed::Matches(9));
        assert_eq!(shop.requests(), 3);
        assert!(aura.close());
    }
}
