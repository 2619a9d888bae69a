//! Help: error codes, versions, the machine, the store, completions, and the pages of `--help`.

use aura_core::Code;

use crate::shown::assert_shown;
use crate::support::Place;

#[test]
fn every_code_is_explained() {
    let place = Place::new();
    let list = place.aura(&["explain"]).exits(0);
    assert_eq!(list.out.lines().count(), Code::ALL.len());
    for code in Code::ALL {
        let ended = place.aura(&["explain", &code.as_str().to_lowercase()]).exits(0);
        assert!(ended.out.starts_with(&format!("{code} — ")), "{}", ended.out);
        assert!(list.out.contains(code.as_str()), "{code}");
    }
    assert_shown("explain", &place, &place.aura(&["explain", "store-owned"]).exits(0));
    let ended = place.aura(&["explain", "stor_owned"]).exits(2);
    assert!(ended.err.contains("did you mean STORE_OWNED?"), "{}", ended.err);
    let told = place.aura(&["explain", "BUSY", "--json"]).exits(0).json();
    assert_eq!(told["code"], "BUSY");
}

#[test]
fn the_pages_name_commands_that_exist() {
    let place = Place::new();
    let help = place.aura(&["--help"]).exits(0).out;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
    for code in Code::ALL {
        let page = std::fs::read_to_string(format!("{folder}/{code}.md")).unwrap();
        for command in page.split('`').skip(1).step_by(2) {
            let Some(rest) = command.strip_prefix("aura ") else { continue };
            let name = rest.split_whitespace().next().unwrap_or_default();
            let known = name.starts_with(['-', '…', 'C']) || help.contains(&format!("\n  {name} "));
            assert!(known, "{code}: '{command}'");
        }
    }
}

#[test]
fn each_command_has_help_with_an_example() {
    let place = Place::new();
    let help = place.aura(&["--help"]).exits(0).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<_> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(commands.len() > 20, "{commands:?}");
    for name in commands {
        let page = place.aura(&[name, "--help"]).exits(0).out;
        assert!(
            page.contains(&format!("  aura {name}")),
            "no example in aura {name} --help\n{page}"
        );
    }
}

#[test]
fn the_machine_and_the_store_tell_about_themselves() {
    let place = Place::new();
    let told = place.aura(&["doctor", "--json"]).exits(0).json();
    assert_eq!((&told["writable"], &told["store"]), (&true.into(), &serde_json::Value::Null));
    assert_eq!(told["limits"]["MAP_ITEMS"], 100_000);
    assert!(!place.data().exists(), "looking makes nothing");
    place.aura(&["store", "info"]).exits(2);
    place.file("flow.yaml", "flow: f\nnodes: [{ id: a, tool: echo }]\n");
    place.aura(&["run", "flow.yaml"]).exits(0);
    let ended = place.aura(&["doctor"]).exits(0);
    assert!(ended.out.contains("HAVE_FDATASYNC=true"), "{}", ended.out);
    let told = place.aura(&["store", "info", "--json"]).exits(0).json();
    assert_eq!((&told["runs"], &told["owner"]), (&1.into(), &serde_json::Value::Null));
    place.aura(&["store", "info"]).exits(0);
    let told = place.aura(&["store", "check", "--json"]).exits(0).json();
    assert_eq!(told["ok"], true);
}

#[test]
fn a_data_directory_that_can_not_be_made_is_told() {
    let place = Place::new();
    std::fs::write(place.data(), "in the way").unwrap();
    let ended = place.aura(&["doctor"]).exits(4);
    assert!(ended.out.contains("can't be"), "{}{}", ended.out, ended.err);
}

#[test]
fn a_data_directory_that_is_none_is_not_an_empty_one() {
    let place = Place::new();
    std::fs::write(place.data(), "in the way").unwrap();
    for command in [&["runs"][..], &["approvals"], &["show", "0"], &["flows"]] {
        let ended = place.aura(command).exits(4);
        assert!(ended.err.contains("STORE_UNAVAILABLE"), "{}", ended.err);
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_as_they_are_asked_for() {
    let place = Place::new();
    let told = place.aura(&["runs", "--json", "--nothing"]).exits(2).json();
    assert_eq!(told["error"]["code"], "USAGE");
    assert!(told["error"]["what"].as_str().unwrap().contains("--nothing"), "{told}");
    assert_eq!(told["error"]["next"], "aura runs --json");
    let told = place.aura(&["run"]).exits(2).err;
    assert!(told.contains("Usage: aura run <FLOW>"), "{told}");
    let told = place.aura(&[]).exits(2);
    let told = format!("{}{}", told.out, told.err);
    assert!(told.contains("\n  run ") && !told.contains("owner"), "{told}");
    let told = place.aura(&["backtest", "flow.yaml", "--limit", "0"]).exits(2).err;
    assert!(told.contains("from 1"), "{told}");
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let place = Place::new();
    let told = place.aura(&["run", "refund"]).exits(2).err;
    assert!(told.contains("no flow of that name") && told.contains("aura flows"), "{told}");
    let told = place.aura(&["run", "refund.yaml"]).exits(2).err;
    assert!(told.contains("there is no file refund.yaml"), "{told}");
    place.file("flow.yaml", "flow: f\nnodes: [{ id: a, tool: echo }]\n");
    for wrong in ["not a host!!", "localhost:x", "*", "http://shop.test/"] {
        let told = place.aura(&["run", "flow.yaml", "--allow-net", wrong]).exits(2).err;
        assert!(told.contains("is not a host"), "{told}");
    }
    for right in ["localhost", "shop.test:8080", "10.0.0.7", "[::1]:80", "::1"] {
        place.aura(&["run", "flow.yaml", "--allow-net", right]).exits(0);
    }
}

#[test]
fn versions_and_completions_are_printed() {
    let place = Place::new();
    let told = place.aura(&["version", "--json"]).exits(0).json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = place.aura(&["completions", shell]).exits(0);
        assert!(ended.out.contains("validate"), "{shell}");
    }
}
