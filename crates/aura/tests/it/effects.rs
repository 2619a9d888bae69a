//! Effects in doubt, and secrets.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Place, Server, files, id, until};

const POST: &str = "
flow: post
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: $input.url, json: { amount: 3 } }
    timeout: 60s
output: $steps.charge.output.status
";

/// Kills a run while its only effect is under way, and resumes it: the effect is in doubt.
pub(crate) fn in_doubt(place: &Place, server: &Server, key: &str) -> String {
    place.file("post.yaml", POST);
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}/charge");
    let before = server.requests().len();
    server.hold(true);
    let args = ["run", "post.yaml", "--key", key, "--set", &url, "--allow-net", &allow];
    let mut first = place.start(&args);
    until("the request", || server.requests().len() == before + 1);
    let effects = ["effects", "--in-doubt", "--json"];
    let told = place.aura(&effects).exits(0).json();
    assert_eq!(told["lost"], json!([]), "somebody makes the call");
    first.kill();
    server.hold(false);
    let told = place.aura(&effects).exits(0).json();
    let next = format!("aura resume {}", id("post", key));
    assert_eq!(told["lost"][0]["calls"], 1);
    assert_eq!(told["lost"][0]["next"], next);
    let told = place.aura(&effects[..2]).exits(0).err;
    assert!(told.contains("1 call was under way") && told.contains(&next), "{told}");
    let told = place.aura(&["resume", &id("post", key), "--json"]).exits(3).json();
    assert_eq!(told["status"], "in_doubt");
    assert_eq!(told["needs"][0]["kind"], "effect");
    assert_eq!(server.requests().len(), before + 1, "nothing is blindly done twice");
    let command = told["needs"][0]["command"].as_str().expect("a command");
    command.split(' ').nth(3).expect("a key").to_owned()
}

#[test]
fn an_effect_in_doubt_waits_for_a_person() {
    let (place, server) = (Place::new(), Server::new());
    let key = in_doubt(&place, &server, "succeeded");
    let ended = place.aura(&["effects", "settle", &key, "--succeeded", "--output", "7"]).exits(2);
    assert!(ended.err.contains("not one of http.request"), "{}", ended.err);
    place.aura(&["effects", "settle", &key]).exits(2);
    let output = json!({
        "status": 201, "headers": {}, "url": "http://shop.test/", "bytes": 0, "truncated": false,
    });
    let output = output.to_string();
    let args = ["effects", "settle", &key, "--succeeded", "--output", &output, "--reason", "seen"];
    place.aura(&args).exits(0);
    let told = place.aura(&["resume", &id("post", "succeeded"), "--json"]).exits(0).json();
    assert_eq!(told["output"], 201);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_effect_that_did_not_happen_fails_or_is_tried_again() {
    let (place, server) = (Place::new(), Server::new());
    let key = in_doubt(&place, &server, "failed");
    let args = ["effects", "settle", &key[..8], "--failed", "--reason", "no such order"];
    place.aura(&args).exits(0);
    let told = place.aura(&["resume", &id("post", "failed"), "--json"]).exits(1).json();
    let error = &told["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("SETTLED_FAILED"), &json!("no such order"))
    );

    let key = in_doubt(&place, &server, "retry");
    let ended = place.aura(&["effects", "settle", &key, "--retry"]).exits(0);
    assert!(ended.out.contains("aura resume"), "{}", ended.out);
    let told = place.aura(&["resume", &id("post", "retry"), "--json"]).exits(0).json();
    assert_eq!(told["output"], 200);
    assert_eq!(server.requests().len(), 3);
    let ended = place.aura(&["effects", "settle", &key, "--retry"]).exits(0);
    assert!(ended.out.contains("it was so before"), "{}", ended.out);
    let ended = place.aura(&["effects", "settle", &key, "--failed"]).exits(2);
    assert!(ended.err.contains("RUN_CLOSED"), "{}", ended.err);
    let ended = place.aura(&["effects", "settle", "0f0f0f0f0f", "--retry"]).exits(2);
    assert!(ended.err.contains("NOT_FOUND"), "{}", ended.err);
}

const LOOKED_FOR: &str = r#"
flow: looked_for
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: charge
    tool: http.request
    with: { method: POST, url: "{{ input.url }}/charge", json: { amount: 3 } }
    effect: reconcilable
    probe:
      tool: http.request
      with: { url: "{{ input.url }}/charges?key={{ effect.key }}" }
      done: "{{ effect.key in probe.output.json.head }}"
      output: $probe.output
output: $steps.charge.output.json.head
"#;

#[test]
fn a_probe_finds_out_what_a_killed_process_did() {
    let (place, server) = (Place::new(), Server::new());
    place.file("looked_for.yaml", LOOKED_FOR);
    let planned = place.aura(&["plan", "looked_for.yaml"]).exits(0);
    assert!(planned.out.contains("http.request looks"), "{}", planned.out);
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}");
    let args = ["run", "looked_for.yaml", "--key", "k", "--set", &url, "--allow-net", &allow];
    server.hold(true);
    let mut first = place.start(&args);
    until("the request", || server.requests().len() == 1);
    first.kill();
    // Killed again while the probe is under way: it is simply asked again.
    let run = id("looked_for", "k");
    let mut second = place.start(&["resume", &run]);
    until("the probe", || server.requests().len() == 2);
    second.kill();
    server.hold(false);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    let head = told["output"].as_str().expect("what the probe saw");
    assert!(head.starts_with("GET /charges?key="), "{head}");
    let posts = server.requests().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!((posts, server.requests().len()), (1, 3));
    let effects = place.aura(&["effects", &run, "--json"]).exits(0).json();
    let entry = &effects["effects"][0];
    assert_eq!((&entry["status"], &entry["probes"]), (&json!("succeeded"), &json!(1)));
    place.aura(&["replay", &run, "--verify"]).exits(0);
}

const SECRET: &str = "
flow: secret
input: { type: object, required: [url], properties: { url: { type: string } } }
nodes:
  - id: call
    tool: http.request
    with:
      url: $input.url
      headers: { authorization: \"Bearer {{ secret('TOKEN') }}\" }
output: $steps.call.output.json
";

const CANARY: &str = "canary-5f1d8a90-secret-value";

#[test]
fn a_secret_reaches_the_call_and_nothing_else() {
    let (place, server) = (Place::new(), Server::new());
    place.file("secret.yaml", SECRET);
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}/");
    let mut command = place.command(&["run", "secret.yaml", "--set", &url, "--allow-net", &allow]);
    let printed = place.start_with({
        command.env("AURA_SECRET_TOKEN", CANARY);
        command
    });
    let printed = { printed }.exits(0);
    assert!(server.requests()[0].contains(CANARY), "the call has it");
    assert!(printed.contains("[secret]") && !printed.contains(CANARY), "{printed}");
    for (path, bytes) in files(&place.data()) {
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{} has the secret", path.display());
    }
}

#[test]
fn a_secret_file_must_be_its_users_own() {
    let (place, server) = (Place::new(), Server::new());
    place.file("secret.yaml", SECRET);
    let folder = place.data().join("secrets");
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("TOKEN");
    std::fs::write(&file, format!("{CANARY}\n")).expect("a file");
    let allow = server.address.to_string();
    let url = format!("url=http://{allow}/");
    let args = ["run", "secret.yaml", "--set", &url, "--allow-net", &allow, "--json"];
    for (mode, code) in [(0o644, 1), (0o600, 0)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let told = place.aura(&args).exits(code).json();
        if code == 1 {
            assert_eq!(told["error"]["code"], "SECRET_MISSING");
            let message = told["error"]["message"].as_str().expect("a text");
            assert!(message.contains("chmod 600"), "{message}");
        }
    }
    assert!(server.requests()[0].contains(&format!("Bearer {CANARY}\r\n")));
    assert_eq!(server.requests().len(), 1, "nothing was sent without it");
}
