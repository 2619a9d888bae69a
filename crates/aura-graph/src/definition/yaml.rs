//! From YAML 1.2 or JSON text to a [`Tree`].
//!
//! The text may come from a stranger: size, depth and the number of values after aliases are bounded, and nothing
//! recurses while it is read. A syntax error ends the reading; every other mistake is noted and the reading goes on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;
use std::rc::Rc;

use aura_core::limits;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::Value;

use super::diagnostic::Findings;
use super::json;
use super::scalar;
use super::tree::{Content, Key, Tree};

/// Collections within collections of a whole file: those of a value, and at most five for each body that it may
/// stand in (a case's node stands in a list, in a case, in a list, in `switch`, in a node).
const FILE_NESTING: usize = limits::VALUE_NESTING + 5 * limits::FLOW_NESTING;

/// The tree of a text; `None` after a mistake that leaves nothing to read.
pub(super) fn parse(source: &str, findings: &mut Findings) -> Option<Rc<Tree>> {
    if source.len() > limits::FLOW_FILE_BYTES {
        findings
            .add(&(0..0), "", format!("the file is longer than {} bytes", limits::FLOW_FILE_BYTES))
            .suggest("move long texts and data into files of their own");
        return None;
    }
    if let Some(at) = source.find('\0') {
        findings.add(&(at..at + 1), "", "the file contains a zero byte: it is not text");
        return None;
    }
    if let Some(tree) = json::parse(source, findings) {
        return Some(tree);
    }
    let mut builder = Builder { bytes: Bytes::of(source), source, ..Builder::new(findings) };
    for event in Parser::new_from_str(source) {
        match event {
            Ok((event, span)) => {
                let span = builder.bytes.range(source, span);
                if builder.take(event, span).is_break() {
                    return None;
                }
            }
            Err(error) => {
                let at = builder.bytes.offset(source, *error.marker());
                builder.syntax(at, error.info());
                return None;
            }
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        builder.findings.add(&(0..0), "", "the file is empty").suggest("start with 'flow: NAME'");
    }
    root
}

/// From the parser's positions, counted in characters, to bytes.
#[derive(Default)]
struct Bytes {
    /// Offset of every 256th character; empty where every character is one byte.
    marks: Vec<usize>,
}

const STRIDE: usize = 256;

impl Bytes {
    fn of(source: &str) -> Self {
        if source.is_ascii() {
            return Self::default();
        }
        let marks = source.char_indices().step_by(STRIDE).map(|(at, _)| at).collect();
        Self { marks }
    }

    fn offset(&self, source: &str, marker: Marker) -> usize {
        if self.marks.is_empty() {
            return marker.index().min(source.len());
        }
        let Some(start) = self.marks.get(marker.index() / STRIDE) else { return source.len() };
        let within = source[*start..].char_indices().nth(marker.index() % STRIDE);
        within.map_or(source.len(), |(at, _)| start + at)
    }

    fn range(&self, source: &str, span: Span) -> Range<usize> {
        let start = self.offset(source, span.start);
        start..self.offset(source, span.end).max(start)
    }
}

/// A collection that is not complete yet.
struct Open {
    start: Range<usize>,
    anchor: usize,
    /// Whether it stands in brackets or braces, so that its end is where they close.
    flow: bool,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Rc<Tree>>),
    Map { entries: Vec<(Key, Rc<Tree>)>, seen: BTreeSet<String>, key: Option<Pending> },
}

/// A key that waits for its value.
enum Pending {
    Key(Key),
    /// It can't be a key, and that is noted; its value is dropped.
    Refused,
}

struct Builder<'s, 'f> {
    source: &'s str,
    bytes: Bytes,
    findings: &'f mut Findings,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Tree>>,
    values: usize,
    documents: usize,
    root: Option<Rc<Tree>>,
}

impl<'f> Builder<'_, 'f> {
    fn new(findings: &'f mut Findings) -> Self {
        Self {
            source: "",
            bytes: Bytes::default(),
            findings,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            values: 0,
            documents: 0,
            root: None,
        }
    }

    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> ControlFlow<()> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.findings
                        .add(&span, "", "a second document starts here; a flow file has one")
                        .suggest("put each flow into a file of its own");
                    return Break(());
                }
                Continue(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tree = Rc::new(self.scalar(&text, style, tag, span));
                self.finish(tree, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, &span),
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag, "seq", &span);
                self.start(OpenContent::List(Vec::new()), anchor, span)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag, "map", &span);
                let content =
                    OpenContent::Map { entries: Vec::new(), seen: BTreeSet::new(), key: None };
                self.start(content, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {
                Continue(())
            }
        }
    }

    fn start(
        &mut self,
        content: OpenContent,
        anchor: usize,
        span: Range<usize>,
    ) -> ControlFlow<()> {
        if self.open.len() >= FILE_NESTING {
            self.findings.add(
                &span,
                "",
                format!("collections are nested deeper than {FILE_NESTING} levels here"),
            );
            return Break(());
        }
        let flow = self.source[span.clone()].ends_with(['[', '{']);
        self.open.push(Open { start: span, anchor, flow, content });
        Continue(())
    }

    fn end(&mut self, span: &Range<usize>) -> ControlFlow<()> {
        let Some(open) = self.open.pop() else { return Continue(()) };
        let last = |tree: Option<&Rc<Tree>>| match tree {
            _ if open.flow => span.end,
            Some(tree) => tree.span.end,
            None => open.start.end,
        };
        let tree = match open.content {
            OpenContent::List(items) => {
                let end = last(items.last());
                Tree::list(open.start.start..end.max(open.start.end), items)
            }
            OpenContent::Map { entries, .. } => {
                let end = last(entries.last().map(|(_, value)| value));
                Tree::map(open.start.start..end.max(open.start.end), entries)
            }
        };
        self.finish(Rc::new(tree), open.anchor)
    }

    /// A value is complete: it goes where it belongs.
    fn finish(&mut self, tree: Rc<Tree>, anchor: usize) -> ControlFlow<()> {
        self.count(1, &tree.span)?;
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&tree));
        }
        self.place(tree, None);
        Continue(())
    }

    fn alias(&mut self, anchor: usize, span: &Range<usize>) -> ControlFlow<()> {
        let Some(tree) = self.anchors.get(&anchor).map(Rc::clone) else {
            self.findings.add(span, "", "an alias can't stand within what it stands for");
            return Break(());
        };
        self.count(tree.size, span)?;
        if self.open.len() + tree.depth > FILE_NESTING {
            self.findings.add(
                span,
                "",
                format!(
                    "with this alias, collections are nested deeper than {FILE_NESTING} levels"
                ),
            );
            return Break(());
        }
        self.place(tree, Some(span));
        Continue(())
    }

    fn count(&mut self, values: usize, span: &Range<usize>) -> ControlFlow<()> {
        self.values = self.values.saturating_add(values);
        if self.values <= limits::FLOW_VALUES {
            return Continue(());
        }
        let message =
            format!("the file has more than {} values, aliases expanded", limits::FLOW_VALUES);
        self.findings.add(span, "", message);
        Break(())
    }

    fn place(&mut self, tree: Rc<Tree>, alias: Option<&Range<usize>>) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(tree);
            return;
        };
        match &mut open.content {
            OpenContent::List(items) => items.push(tree),
            OpenContent::Map { entries, seen, key } => match key.take() {
                None => *key = Some(to_key(&tree, alias, self.source, self.findings)),
                Some(Pending::Refused) => {}
                Some(Pending::Key(key)) if key.text == "<<" && seen.insert(key.text.clone()) => {
                    self.findings
                        .add(&key.span, "", "merge keys ('<<') are not part of YAML 1.2")
                        .suggest("write the keys out, or use an alias for a whole value");
                    // It stays, so that nothing that it may have brought is called missing.
                    entries.push((key, tree));
                }
                Some(Pending::Key(key)) if !seen.insert(key.text.clone()) => {
                    let message = format!("the key '{}' is given twice", short(&key.text));
                    self.findings.add(&key.span, "", message).suggest("keep one of them");
                }
                Some(Pending::Key(key)) => entries.push((key, tree)),
            },
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<Cow<'_, Tag>>,
        span: Range<usize>,
    ) -> Tree {
        let plain = matches!(style, ScalarStyle::Plain);
        let value = match tag {
            None if plain => scalar::plain(text),
            None => Ok(Value::String(text.to_owned())),
            Some(tag) => match self.tagged(&tag, text, &span) {
                Some(value) => Ok(value),
                None => Ok(Value::String(text.to_owned())),
            },
        };
        let value = value.unwrap_or_else(|scalar::NotJson| {
            let message = format!("{} is not a number that JSON can hold", short(text));
            self.findings.add(&span, "", message).suggest("put it in quotes if a text is meant");
            Value::Null
        });
        Tree::scalar(span, value)
    }

    /// The value of a scalar with a tag of the core schema.
    fn tagged(&mut self, tag: &Tag, text: &str, span: &Range<usize>) -> Option<Value> {
        if tag.handle.is_empty() && tag.suffix == "!" {
            return Some(Value::String(text.to_owned()));
        }
        if !tag.is_yaml_core_schema() {
            self.unknown_tag(tag, span);
            return None;
        }
        let value = scalar::plain(text).unwrap_or(Value::Null);
        let fits = match tag.suffix.as_str() {
            "str" => return Some(Value::String(text.to_owned())),
            "null" => value.is_null(),
            "bool" => value.is_boolean(),
            "int" => value.is_i64() || value.is_u64(),
            "float" => value.is_number(),
            _ => {
                self.unknown_tag(tag, span);
                return None;
            }
        };
        if !fits {
            let message = format!("'{}' is not what its tag !!{} says", short(text), tag.suffix);
            self.findings.add(span, "", message);
            return None;
        }
        Some(value)
    }

    fn collection_tag(&mut self, tag: Option<Cow<'_, Tag>>, fitting: &str, span: &Range<usize>) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == fitting)
        {
            self.unknown_tag(&tag, span);
        }
    }

    fn unknown_tag(&mut self, tag: &Tag, span: &Range<usize>) {
        let name =
            if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        self.findings
            .add(span, "", format!("the tag {} means nothing here", short(&name)))
            .suggest("leave it out");
    }

    fn syntax(&mut self, at: usize, info: &str) {
        let end = self.source.len().min(at + 1);
        let (message, suggestion) = explain(info);
        self.findings.add(&(at..end), "", message).suggest_maybe(suggestion.map(str::to_owned));
    }
}

fn to_key(
    tree: &Tree,
    alias: Option<&Range<usize>>,
    source: &str,
    findings: &mut Findings,
) -> Pending {
    let span = alias.unwrap_or(&tree.span).clone();
    let text = match &tree.content {
        Content::Scalar(Value::String(text)) => text.clone(),
        // Keys of JSON are texts, so a key such as `200` or `true` is the text that stands there.
        Content::Scalar(Value::Number(_) | Value::Bool(_)) => source[tree.span.clone()].to_owned(),
        _ => {
            findings.add(&span, "", format!("a key is a text, not {}", tree.word()));
            return Pending::Refused;
        }
    };
    Pending::Key(Key { text, span })
}

/// A text short enough for a message.
pub(super) fn short(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// The library's words for a syntax error, in words for a person who does not know how YAML is parsed.
fn explain(info: &str) -> (String, Option<&'static str>) {
    let known: &[(&str, &str, Option<&str>)] = &[
        (
            "unknown anchor",
            "the alias has no anchor above it",
            Some("put a text that starts with '*' in quotes"),
        ),
        (
            "mapping values are not allowed",
            "a ':' can't stand here",
            Some("check the indentation, or put a text that contains ': ' in quotes"),
        ),
        ("did not find expected key", "a key is expected here", Some("check the indentation")),
        (
            "did not find expected '-' indicator",
            "a '-' is expected here",
            Some("check the indentation"),
        ),
        ("did not find expected ',' or '}'", "a ',' or '}' is expected here", None),
        ("expected ',' or ']'", "a ',' or ']' is expected here", None),
        ("tab", "a tab can't be used to indent", Some("indent with spaces")),
        ("simple key expect", "a ':' is expected after the key", Some("check the line above")),
    ];
    for (phrase, message, suggestion) in known {
        if info.contains(phrase) {
            return ((*message).to_owned(), *suggestion);
        }
    }
    (format!("the YAML can't be read: {}", short(info)), None)
}
