use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use aura_core::task::Success;
use aura_core::{Code, Hash, limits};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Tools;

/// A root within a folder that has a secret beside it.
struct World {
    folder: TempDir,
    tools: Tools,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        let mut tools = Tools::local();
        tools.permissions.roots = vec![folder.path().join("root").to_str().unwrap().to_owned()];
        Self { folder, tools }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn outside(&self) -> std::path::PathBuf {
        self.folder.path().join("secret.txt")
    }

    async fn call(&self, name: &str, args: Value) -> Success {
        self.tools.call(name, args).await.expect("succeeds")
    }

    async fn refused(&self, name: &str, args: Value) -> Code {
        let failure = self.tools.call(name, args).await.expect_err("fails").failure;
        assert!(failure.certain, "{failure}");
        failure.code
    }

    /// Names in the root, hidden ones too.
    fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn what_is_written_can_be_read() {
    let world = World::new();
    let done = world.call("file.write", json!({"path": "a.json", "text": "{\"ä\": 1}"})).await;
    let whole = world.path("a.json");
    let hash = Hash::of("{\"ä\": 1}".as_bytes());
    let expected = json!({
        "path": whole, "bytes": 9, "sha256": hash.to_string(), "media_type": "application/json"
    });
    assert_eq!(done.output, expected);
    let artifact = &done.artifacts[0];
    assert_eq!(
        (Path::new(&artifact.location), artifact.sha256, artifact.bytes),
        (whole.as_path(), hash, 9)
    );
    assert_eq!(artifact.media_type, "application/json");

    for path in ["a.json", "./a.json", "x/../a.json", whole.to_str().unwrap()] {
        fs::create_dir_all(world.path("x")).unwrap();
        let read = world.call("file.read", json!({"path": path})).await.output;
        assert_eq!(
            (&read["text"], &read["sha256"]),
            (&json!("{\"ä\": 1}"), &json!(hash.to_string())),
            "{path}"
        );
        assert_eq!((&read["bytes"], &read["truncated"]), (&json!(9), &json!(false)));
    }
    world.call("file.write", json!({"path": "b", "base64": "AP8="})).await;
    assert_eq!(fs::read(world.path("b")).unwrap(), [0, 255]);
    let read = world.call("file.read", json!({"path": "b", "encoding": "base64"})).await.output;
    assert_eq!(
        (&read["base64"], &read["media_type"]),
        (&json!("AP8="), &json!("application/octet-stream"))
    );
    assert_eq!(world.refused("file.read", json!({"path": "b"})).await, Code::InvalidInput);
    assert_eq!(world.names(""), ["a.json", "b", "x"], "no temporary file stays");
}

#[tokio::test]
async fn nothing_leads_out_of_the_roots() {
    let world = World::new();
    let root = world.path("");
    symlink(world.outside(), world.path("absolute")).unwrap();
    symlink("../secret.txt", world.path("relative")).unwrap();
    symlink("..", world.path("parent")).unwrap();
    symlink(world.folder.path(), world.path("parent_absolute")).unwrap();
    symlink(world.folder.path().join("new.txt"), world.path("dangling")).unwrap();
    symlink("../new.txt", world.path("dangling_relative")).unwrap();
    symlink("parent/secret.txt", world.path("chain")).unwrap();
    let paths = [
        "../secret.txt".to_owned(),
        "x/../../secret.txt".to_owned(),
        "/etc/passwd".to_owned(),
        world.outside().display().to_string(),
        format!("{}/../secret.txt", root.display()),
        format!("{}-other/x", root.display().to_string().trim_end_matches('/')),
        "absolute".to_owned(),
        "relative".to_owned(),
        "parent/secret.txt".to_owned(),
        "parent_absolute/secret.txt".to_owned(),
        "chain".to_owned(),
    ];
    fs::create_dir(world.path("x")).unwrap();
    for path in paths {
        assert_eq!(
            world.refused("file.read", json!({"path": path})).await,
            Code::Forbidden,
            "{path}"
        );
        let args = json!({"path": path, "text": "x", "create_dirs": true});
        assert_eq!(world.refused("file.write", args).await, Code::Forbidden, "{path}");
    }
    for path in ["dangling", "dangling_relative"] {
        let args = json!({"path": path, "text": "x"});
        assert_eq!(world.refused("file.write", args).await, Code::Forbidden, "{path}");
    }
    for path in ["..", "parent", "parent_absolute", "/"] {
        assert_eq!(
            world.refused("file.list", json!({"path": path})).await,
            Code::Forbidden,
            "{path}"
        );
    }
    assert_eq!(fs::read_to_string(world.outside()).unwrap(), "secret");
    let mut outside: Vec<_> =
        fs::read_dir(world.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    outside.sort();
    assert_eq!(outside, ["root", "secret.txt"]);
}

#[tokio::test]
async fn links_within_a_root_are_followed_for_reading() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("d/a"), "x").unwrap();
    symlink("d", world.path("link")).unwrap();
    let read = world.call("file.read", json!({"path": "link/a"})).await.output;
    assert_eq!(read["text"], "x");
    world.call("file.write", json!({"path": "link/b", "text": "y"})).await;
    assert_eq!(fs::read_to_string(world.path("d/b")).unwrap(), "y");
    symlink("d/a", world.path("alias")).unwrap();
    let code = world.refused("file.write", json!({"path": "alias", "text": "y"})).await;
    assert_eq!(code, Code::Forbidden);
    assert_eq!(fs::read_to_string(world.path("d/a")).unwrap(), "x");
}

#[tokio::test]
async fn roots_come_from_the_permissions_alone() {
    let mut world = World::new();
    let second = tempfile::tempdir().unwrap();
    fs::write(second.path().join("b"), "in the second").unwrap();
    let absolute = json!({"path": second.path().join("b")});
    assert_eq!(world.refused("file.read", absolute.clone()).await, Code::Forbidden);
    world.tools.permissions.roots.push(second.path().to_str().unwrap().to_owned());
    assert_eq!(world.call("file.read", absolute).await.output["text"], "in the second");
    // Relative paths belong to the first root.
    assert_eq!(world.refused("file.read", json!({"path": "b"})).await, Code::NotFound);
    // A root may itself be reached through a link, by either name.
    let alias = world.folder.path().join("alias");
    symlink(second.path(), &alias).unwrap();
    world.tools.permissions.roots = vec![alias.to_str().unwrap().to_owned()];
    for path in [alias.join("b"), second.path().canonicalize().unwrap().join("b")] {
        assert_eq!(
            world.call("file.read", json!({"path": path})).await.output["text"],
            "in the second"
        );
    }
    for roots in [vec![], vec!["relative".to_owned()]] {
        world.tools.permissions.roots = roots;
        assert_eq!(world.refused("file.read", json!({"path": "b"})).await, Code::Forbidden);
    }
}

#[tokio::test]
async fn writing_again_is_the_same_effect() {
    let world = World::new();
    let args = json!({"path": "a", "text": "one", "if_exists": "fail"});
    let first = world.call("file.write", args.clone()).await;
    assert_eq!(world.call("file.write", args).await, first);
    for text in ["two", "longer", ""] {
        let args = json!({"path": "a", "text": text, "if_exists": "fail"});
        assert_eq!(world.refused("file.write", args).await, Code::Conflict, "{text}");
    }
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "one");
    fs::set_permissions(world.path("a"), fs::Permissions::from_mode(0o750)).unwrap();
    world.call("file.write", json!({"path": "a", "text": "two"})).await;
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "two");
    let mode = fs::metadata(world.path("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750, "the mode is kept");
    assert_eq!(world.names(""), ["a"], "no temporary file stays");
}

#[tokio::test]
async fn what_a_crash_left_behind_does_no_harm() {
    let world = World::new();
    let key = crate::support::key().short();
    let temporary = world.path(&format!(".aura-{key}-1.tmp"));
    symlink(world.outside(), &temporary).unwrap();
    world.call("file.write", json!({"path": "a", "text": "one"})).await;
    assert_eq!(fs::read_to_string(world.outside()).unwrap(), "secret");
    assert_eq!(world.names(""), ["a"]);
}

#[tokio::test]
async fn folders_are_made_only_on_request() {
    let world = World::new();
    let mut args = json!({"path": "x/y/z.txt", "text": "1"});
    assert_eq!(world.refused("file.write", args.clone()).await, Code::NotFound);
    args["create_dirs"] = json!(true);
    world.call("file.write", args.clone()).await;
    world.call("file.write", args).await;
    assert_eq!(fs::read_to_string(world.path("x/y/z.txt")).unwrap(), "1");
    for path in ["x", "x/y/", ".", "..", "x/y/z.txt/w"] {
        let code = world
            .refused("file.write", json!({"path": path, "text": "", "create_dirs": true}))
            .await;
        assert_eq!(code, Code::InvalidInput, "{path}");
    }
}

#[tokio::test]
async fn large_files_are_cut_or_refused() {
    let world = World::new();
    // A character of two bytes lies across the limit.
    let text = format!("x{}", "ä".repeat(limits::FILE_BYTES / 2));
    fs::write(world.path("large.txt"), &text).unwrap();
    let done = world.call("file.read", json!({"path": "large.txt"})).await;
    assert!(done.truncated);
    assert_eq!(
        (&done.output["bytes"], &done.output["truncated"]),
        (&json!(limits::FILE_BYTES - 1), &json!(true))
    );
    let done = world.call("file.read", json!({"path": "large.txt", "encoding": "base64"})).await;
    assert_eq!(done.output["base64"].as_str().map(str::len), Some(limits::FILE_BYTES));
    let code = world.refused("file.write", json!({"path": "a", "text": text})).await;
    assert_eq!(code, Code::LimitExceeded);
}

#[tokio::test]
async fn only_files_are_read() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(world.path("pipe")).status().unwrap();
    assert!(pipe.success());
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).unwrap();
    for path in ["d", "pipe", "socket"] {
        assert_eq!(
            world.refused("file.read", json!({"path": path})).await,
            Code::InvalidInput,
            "{path}"
        );
        assert_eq!(
            world.refused("file.write", json!({"path": path, "text": ""})).await,
            Code::InvalidInput,
            "{path}"
        );
    }
    assert_eq!(world.refused("file.read", json!({"path": "none"})).await, Code::NotFound);
    for args in [
        json!({"path": "a"}),
        json!({"path": "a", "text": "", "base64": ""}),
        json!({"path": "a", "base64": "?"}),
    ] {
        assert_eq!(world.refused("file.write", args.clone()).await, Code::InvalidInput, "{args}");
    }
}

#[tokio::test]
async fn a_list_is_sorted_and_follows_no_link() {
    let world = World::new();
    for folder in ["b", "b/c"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    for file in ["z.md", "a.txt", "b/y.md", "b/c/x.md"] {
        fs::write(world.path(file), "123").unwrap();
    }
    symlink("..", world.path("b/up")).unwrap();
    symlink("b", world.path("link.md")).unwrap();
    let list = async |args: Value| -> Vec<String> {
        let output = world.call("file.list", args).await.output;
        let entries = output["entries"].as_array().unwrap().iter();
        assert_eq!(output["truncated"], false);
        entries
            .map(|e| format!("{} {} {}", e["path"], e["kind"], e["bytes"]).replace('"', ""))
            .collect()
    };
    assert_eq!(
        list(json!({})).await,
        ["a.txt file 3", "b folder 0", "link.md link 0", "z.md file 3"]
    );
    assert_eq!(list(json!({"path": "b"})).await, ["c folder 0", "up link 0", "y.md file 3"]);
    assert_eq!(
        list(json!({"suffix": ".md", "recursive": true})).await,
        ["b/c/x.md file 3", "b/y.md file 3", "link.md link 0", "z.md file 3"]
    );
    assert_eq!(world.refused("file.list", json!({"path": "z.md"})).await, Code::InvalidInput);
    assert_eq!(world.refused("file.list", json!({"path": "none"})).await, Code::NotFound);
}

#[tokio::test]
async fn a_list_is_bounded() {
    let world = World::new();
    for n in 0..=limits::FILE_ENTRIES {
        fs::write(world.path(&n.to_string()), "").unwrap();
    }
    let done = world.call("file.list", json!({})).await;
    assert!(done.truncated);
    assert_eq!(done.output["count"], limits::FILE_ENTRIES);
    let deep = world.path("d/").join("d/".repeat(limits::FILE_NESTING + 1));
    fs::create_dir_all(deep).unwrap();
    let output = world.call("file.list", json!({"path": "d", "recursive": true})).await.output;
    assert_eq!(
        (&output["count"], &output["truncated"]),
        (&json!(limits::FILE_NESTING + 1), &json!(true))
    );
}
