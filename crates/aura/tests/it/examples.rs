//! The examples and the flows of the pages, as a reader would run them, against what they gave before.

mod links;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Place;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs the example where links are served; gives its output and what it wrote.
fn brief(place: &Place, input: &Value, address: &str) -> String {
    let flow = root().join("examples/document-brief/flow.yaml");
    let (flow, input) = (flow.to_string_lossy(), input.to_string());
    let args = ["run", &*flow, "--input", &input, "--allow-net", address, "--yes", "--json"];
    let told = place.aura(&args).exits(0).json();
    let path = told["output"]["path"].as_str().expect("where the brief is");
    let written = fs::read_to_string(path).expect("the brief");
    format!("{}\n\n{written}", serde_json::to_string_pretty(&told["output"]).expect("JSON"))
}

/// Compares after taking out what differs from run to run: the port, the place, and the hash of a text with the port.
macro_rules! golden {
    ($place:expr, $name:expr, $text:expr) => {
        let folder = regex_text(&$place.work().canonicalize().expect("a folder"));
        insta::with_settings!({
            snapshot_path => "../goldens",
            prepend_module_to_snapshot => false,
            filters => vec![
                (folder.as_str(), "[work]"),
                (r"127\.0\.0\.1:\d+", "[links]"),
                (r"\b[0-9a-f]{64}\b", "[sha256]"),
            ],
        }, { insta::assert_snapshot!($name, $text); });
    };
}

/// A path that a filter takes as it is.
fn regex_text(path: &std::path::Path) -> String {
    path.to_string_lossy().replace('.', r"\.")
}

#[test]
fn a_handbook_with_links_of_every_kind() {
    let place = Place::new();
    let address = links::serve("").to_string();
    let document = text("fixtures/documents/handbook.md").replace("links.test", &address);
    place.file("handbook.md", &document);
    let input = json!({ "path": "handbook.md", "output": "briefs/handbook.md" });
    let told = brief(&place, &input, &address);
    golden!(place, "document-brief-markdown", told);
}

#[test]
fn a_page_of_the_web() {
    let place = Place::new();
    let address = links::serve(&text("fixtures/documents/page.html")).to_string();
    let input = json!({ "url": format!("http://{address}/page"), "max_links": 2 });
    let told = brief(&place, &input, &address);
    golden!(place, "document-brief-html", told);
}

#[test]
fn a_note_without_anything_to_follow() {
    let place = Place::new();
    place.file("note.txt", &text("fixtures/documents/note.txt"));
    golden!(
        place,
        "document-brief-plain",
        brief(&place, &json!({ "path": "note.txt" }), "localhost")
    );
}

#[test]
fn nothing_is_written_before_somebody_agrees() {
    let place = Place::new();
    place.file("note.txt", &text("fixtures/documents/note.txt"));
    let flow = root().join("examples/document-brief/flow.yaml");
    let args = ["run", &*flow.to_string_lossy(), "--set", "path=note.txt", "--json"];
    let told = place.aura(&args).exits(3).json();
    assert_eq!(told["needs"][0]["kind"], "approval");
    assert!(!place.work().join("brief.md").exists());
    let run = told["run_id"].as_str().expect("an id");
    place.aura(&["deny", run, "--reason", "not now"]).exits(0);
    let told = place.aura(&["resume", run, "--json"]).exits(1).json();
    assert_eq!(told["error"]["code"], "APPROVAL_DENIED");
    assert!(!place.work().join("brief.md").exists());
}

#[test]
fn an_empty_document_is_not_worth_a_brief() {
    let place = Place::new();
    place.file("empty.md", "\n");
    let flow = root().join("examples/document-brief/flow.yaml");
    let args = ["run", &*flow.to_string_lossy(), "--set", "path=empty.md", "--yes", "--json"];
    let told = place.aura(&args).exits(1).json();
    assert_eq!(told["error"]["code"], "VERIFICATION_FAILED");
    assert!(!place.work().join("brief.md").exists());
}

/// Inputs of the flows that need one.
fn input(flow: &str) -> Value {
    match flow {
        "choose" => json!({ "amount": 1_500 }),
        "routes" => json!({ "code": 404 }),
        "area" => json!({ "width": 2, "height": 3 }),
        _ => json!({}),
    }
}

/// The flows of a page, each with its name.
fn flows(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    // A first line may tell an editor where the schema is.
    let named = blocks.filter_map(|block| {
        let line = block.lines().find(|line| !line.starts_with('#'))?;
        Some((line.strip_prefix("flow:")?.trim().to_owned(), block.to_owned()))
    });
    named.collect()
}

/// Whether a flow needs a person, a signal or somebody on the network.
fn needs_others(source: &str) -> bool {
    ["approval:", "wait:", "http.request"].iter().any(|need| source.contains(need))
}

/// Runs every flow of a page that stands on its own feet and loads the others; gives name and output of each.
fn run_page(place: &Place, page: &str) -> String {
    let mut told = String::new();
    // Some start others as child runs.
    for (name, source) in flows(page) {
        place.file(&format!("{name}.yaml"), &source);
    }
    for (name, source) in flows(page) {
        place.file("flow.yaml", &source);
        place.aura(&["validate", "flow.yaml"]).exits(0);
        if needs_others(&source) {
            told.push_str(&name);
            told.push_str(": loads\n");
            continue;
        }
        let input = input(&name).to_string();
        let ended = place.aura(&["run", "flow.yaml", "--input", &input, "--json"]).exits(0);
        let _ = writeln!(told, "{name}: {}", ended.json()["output"]);
    }
    told
}

#[test]
fn flows_of_the_reference_do_what_they_say() {
    let place = Place::new();
    let told = run_page(&place, &text("docs/flows.md"));
    golden!(place, "docs-flows", told);
}

#[test]
fn flows_of_the_readme_run() {
    let page = fs::read_to_string(root().join("README.md")).unwrap_or_default();
    run_page(&Place::new(), &page);
}
