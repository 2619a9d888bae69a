//! Texts from strangers: bounded in size, depth, values and findings, and always answered.

use std::fmt::Write;
use std::time::Instant;

use aura_core::limits;

use super::{messages, read};

#[test]
fn files_that_are_too_long() {
    let long = format!("flow: f\n#{}", "x".repeat(limits::FLOW_FILE_BYTES));
    assert_eq!(
        messages(&long),
        [format!("the file is longer than {} bytes", limits::FLOW_FILE_BYTES)]
    );
}

#[test]
fn alias_bombs() {
    let mut bomb = "flow: f\nvars:\n  a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let list = [below.as_str(); 10].join(", ");
        writeln!(bomb, "  a{level}: &a{level} [{list}]").unwrap();
    }
    assert_eq!(messages(&bomb), ["the file has more than 100000 values, aliases expanded"]);
    let mut deep = String::new();
    for n in 1..100 {
        writeln!(deep, "  a{n}: &a{n} [*a{}]", n - 1).unwrap();
    }
    let found = messages(&format!("flow: f\nvars:\n  a0: &a0 [1]\n{deep}nodes: []\n"));
    assert!(found[0].contains("nested"), "{found:?}");
    assert_eq!(messages("flow: &f [*f]\n"), ["an alias can't stand within what it stands for"]);
}

#[test]
fn deep_collections() {
    let texts = [
        "[".repeat(200_000),
        "{a: ".repeat(200_000),
        format!("flow: {}{}", "[".repeat(150), "]".repeat(150)),
        "- ".repeat(200_000),
        "? ".repeat(200_000),
        (0..500).fold(String::new(), |text, n| text + &" ".repeat(n) + "a:\n"),
        "&a ".repeat(100_000),
        "!!str ".repeat(100_000),
        "{{".repeat(400_000),
        format!("flow: \"{}\"", "{{ (".repeat(100_000)),
        format!(
            "flow: f\noutput: \"{{{{ {}1{} }}}}\"\nnodes: []",
            "(".repeat(5_000),
            ")".repeat(5_000)
        ),
        format!("flow: f\noutput: \"{{{{ {} }}}}\"\nnodes: []", "not ".repeat(50_000)),
        format!("flow: f\noutput: \"{}\"\nnodes: []", "{% if a %}".repeat(20_000)),
        format!("flow: f\noutput: \"{{% if a %}}{}\"\nnodes: []", "{% elif a %}".repeat(20_000)),
        format!("flow: f\noutput: \"{{{{ a{} }}}}\"\nnodes: []", ".a".repeat(200_000)),
        format!("flow: f\noutput: $a{}\nnodes: []", "[0]".repeat(200_000)),
        format!("flow: f\noutput: \"{{{{ a{} }}}}\"\nnodes: []", "|upper".repeat(100_000)),
        format!("flow: f\noutput: \"{{{{ a{} }}}}\"\nnodes: []", "+a".repeat(480)),
        format!("flow: f\noutput: \"{{{{ a({}) }}}}\"\nnodes: []", "1,".repeat(70_000)),
        format!("flow: f\noutput: \"{{{{ {} 1e }}}}\"\nnodes: []", " ".repeat(70_000)),
        format!("flow: f\noutput: \"{}{{% if ' %}}\"\nnodes: []", "x".repeat(65_535)),
        format!("flow: f\noutput: \"{{{{ {}a }}}}\"\nnodes: []", "-".repeat(490)),
        format!("flow: f\noutput: \"{{{{ {}a }}}}\"\nnodes: []", "not ".repeat(490)),
        format!("flow: f\noutput: \"{{{{ {}a }}}}\"\nnodes: []", "a if a else ".repeat(240)),
        format!(
            "flow: f\noutput: \"{}{}\"\nnodes: []",
            "{% if a %}".repeat(32),
            "{% endif %}".repeat(32)
        ),
    ];
    for text in texts {
        let started = Instant::now();
        assert!(!messages(&text).is_empty());
        let head: String = text.chars().take(20).collect();
        assert!(started.elapsed().as_secs() < 20, "{head}");
    }
}

#[test]
fn a_value_has_bounded_depth_whatever_it_stands_in() {
    let value = |depth: usize| {
        format!(
            "flow: f\nnodes:\n  - id: a\n    tool: echo\n    with: {{ value: {}1{} }}\n",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(read(&value(limits::VALUE_NESTING - 1)).is_ok());
    assert_eq!(
        messages(&value(limits::VALUE_NESTING)),
        ["a value has at most 64 nested collections"]
    );
}

/// Switches within switches, the deepest of shapes.
fn bodies(depth: usize) -> String {
    let mut nodes = "[{ id: a, tool: bench.noop }]".to_owned();
    for _ in 0..depth {
        nodes = format!("[{{ id: a, switch: {{ cases: [{{ when: true, do: {nodes} }}] }} }}]");
    }
    format!("{{ flow: f, nodes: {nodes} }}")
}

#[test]
fn nodes_within_nodes() {
    assert!(read(&bodies(limits::FLOW_NESTING)).is_ok());
    assert_eq!(
        messages(&bodies(limits::FLOW_NESTING + 1)),
        ["nodes stand within nodes at most 16 deep"]
    );
}

#[test]
fn too_many_nodes_and_problems() {
    let nodes = |count: usize| {
        let mut source = "flow: f\nnodes:\n".to_owned();
        for n in 0..count {
            writeln!(source, "  - {{ id: n{n}, tool: bench.noop }}").unwrap();
        }
        source
    };
    assert!(read(&nodes(limits::FLOW_NODES)).is_ok());
    assert_eq!(messages(&nodes(limits::FLOW_NODES + 1)), ["a flow has at most 2000 nodes"]);

    let mut source = nodes(1);
    for n in 0..5_000 {
        writeln!(source, "key{n}: 1").unwrap();
    }
    let problems = read(&source).unwrap_err();
    assert_eq!(problems.problems.len(), limits::FLOW_PROBLEMS);
    assert_eq!(problems.omitted, 5_000 - limits::FLOW_PROBLEMS);
}

/// Shapes whose cost could grow faster than their length.
#[test]
fn hostile_files_are_answered_soon() {
    let names: String = (0..60_000).fold(String::new(), |mut out, n| {
        write!(out, "{{{{ nam{n} }}}}").unwrap();
        out
    });
    let mut many = "flow: f\nnodes:\n".to_owned();
    for n in 0..1_900 {
        writeln!(many, "  - {{ id: node_number_{n}, tool: bench.noop }}").unwrap();
    }
    let afters: Vec<String> = (0..40_000).map(|n| format!("nod_number{n}")).collect();
    let keys: String = (0..30_000).fold(String::new(), |mut out, n| {
        write!(out, "k{n}: $steps.x{n}.output, ").unwrap();
        out
    });
    let backs: String = (0..20_000).map(|_| "{ when: $run.key, to: node_number_0 }, ").collect();
    let texts = [
        format!("flow: f\noutput: \"{names}\"\nnodes: [{{ id: a, tool: bench.noop }}]"),
        format!("{many}  - {{ id: z, tool: bench.noop, after: [{}] }}", afters.join(", ")),
        format!("{many}  - {{ id: z, tool: bench.noop, with: {{ {keys} }} }}"),
        format!("{many}  - {{ id: z, tool: bench.noop, next: [ {backs} ] }}"),
    ];
    for text in texts {
        assert!(text.len() <= limits::FLOW_FILE_BYTES);
        let started = Instant::now();
        assert!(!messages(&text).is_empty());
        let tail = &text[text.len() - 40..];
        assert!(started.elapsed().as_secs() < 90, "{tail}");
    }
}
