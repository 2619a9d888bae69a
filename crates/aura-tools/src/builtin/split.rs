//! `text.split`: a text in pieces that fit into a prompt or an index.

use std::ops::Range;
use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{self, Document, Format};
use crate::typed::{About, Pure};

const HELP: &str = r#"
Splits a text into sections.

- `by: headings` (default): one section per heading, and one for what stands before the first. Longer sections are cut
  at paragraphs, lines or words so that none exceeds `max_chars`.
- `by: paragraphs`: paragraphs, joined as long as `max_chars` allows; without `max_chars` each stands alone.
- `by: characters`: windows of exactly `max_chars` (default 2,000).

`overlap` repeats that many characters of the section before, in the last two ways.

```json
{"text": "Intro\n\n# One\n\nFirst.\n\n# Two\n\nSecond.", "by": "headings", "max_chars": 1000}
```
"#;

/// Characters of a window where nothing is asked.
const WINDOW: usize = 2_000;

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum By {
    /// One section per heading.
    #[default]
    Headings,
    /// Paragraphs, joined while they fit.
    Paragraphs,
    /// Windows of equal length.
    Characters,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text, at most 4 MiB.
    text: String,
    /// How it is written; found out from the text if absent.
    #[serde(default)]
    format: Format,
    /// Where to split.
    #[serde(default)]
    by: By,
    /// Characters of the longest section.
    #[serde(default)]
    #[schemars(range(min = 1))]
    max_chars: Option<u64>,
    /// Characters repeated from the section before; less than `max_chars`.
    #[serde(default)]
    overlap: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// The sections in order, at most 10,000.
    sections: Vec<Section>,
    /// Their number.
    count: usize,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Section {
    /// Its place in the list, from 0.
    index: usize,
    /// The heading above it; empty before the first.
    title: String,
    /// Level of that heading, from 1 to 6; 0 before the first.
    level: u8,
    /// The text, without the heading.
    text: String,
    /// Characters before it: in the source, or for HTML in the text without tags.
    start: u64,
}

pub(super) fn def() -> ToolDef {
    About::new("text.split", EffectClass::Pure, "Split a text into sections", HELP)
        .define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), run))
}

fn run(input: Input) -> Result<Output, Failure> {
    let wrong = |what: &str| Err(Failure::certain(Code::InvalidInput, what));
    let chars = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let max = input.max_chars.map(chars);
    let overlap = input.overlap.map_or(0, chars);
    if max == Some(0) {
        return wrong("max_chars must be at least 1");
    }
    if overlap > 0 && (input.by == By::Headings || overlap >= max.unwrap_or(WINDOW)) {
        return wrong("overlap must be less than max_chars, and does not go with headings");
    }
    let document = text::read(input.text, input.format)?;
    if document.cut {
        return Err(too_many());
    }
    let mut cutter =
        Cutter { text: &document.text, overlap, under: None, pieces: Vec::new(), bytes: 0 };
    match input.by {
        By::Headings => by_headings(&document, max, &mut cutter)?,
        By::Paragraphs => by_paragraphs(max, &mut cutter)?,
        By::Characters => cutter.windows(max.unwrap_or(WINDOW))?,
    }
    let sections = sections(&document, cutter.pieces);
    Ok(Output { count: sections.len(), sections })
}

fn too_many() -> Failure {
    let what = format!(
        "more than {} sections or {} bytes of them; use a larger max_chars or a smaller overlap",
        limits::TEXT_PIECES,
        limits::OUTCOME_BYTES
    );
    Failure::certain(Code::LimitExceeded, what)
}

fn by_headings(
    document: &Document,
    max: Option<usize>,
    cutter: &mut Cutter<'_>,
) -> Result<(), Failure> {
    let starts = document.headings.iter().map(|heading| heading.to);
    let ends = document.headings.iter().map(|heading| heading.from).skip(1);
    let first = document.headings.first().map_or(document.text.len(), |heading| heading.from);
    let preamble = cutter.trim(0..first);
    if !preamble.is_empty() {
        cutter.chop(preamble, max)?;
    }
    for (at, (from, to)) in starts.zip(ends.chain([document.text.len()])).enumerate() {
        cutter.under = Some(at);
        let body = cutter.trim(from..to);
        if body.is_empty() {
            cutter.push(body)?;
        } else {
            cutter.chop(body, max)?;
        }
    }
    Ok(())
}

fn by_paragraphs(max: Option<usize>, cutter: &mut Cutter<'_>) -> Result<(), Failure> {
    let text = cutter.text;
    if let Some(max) = max {
        return cutter.chop(cutter.trim(0..text.len()), Some(max));
    }
    let (mut from, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.trim().is_empty() || at == text.len() {
            let paragraph = cutter.trim(from..at);
            if !paragraph.is_empty() {
                cutter.push(paragraph)?;
            }
            from = at;
        }
    }
    Ok(())
}

/// Collects pieces of a text, as ranges of bytes, as long as there are not too many.
struct Cutter<'a> {
    text: &'a str,
    /// Characters that a piece shares with the one before.
    overlap: usize,
    /// The heading that pieces stand under, where sections follow the headings.
    under: Option<usize>,
    pieces: Vec<(Range<usize>, Option<usize>)>,
    /// Bytes of all pieces.
    bytes: usize,
}

impl Cutter<'_> {
    fn push(&mut self, piece: Range<usize>) -> Result<(), Failure> {
        self.bytes += piece.len();
        if self.pieces.len() >= limits::TEXT_PIECES || self.bytes > limits::OUTCOME_BYTES {
            return Err(too_many());
        }
        self.pieces.push((piece, self.under));
        Ok(())
    }

    /// The range without white space at its ends.
    fn trim(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.text[range.clone()];
        let bare = text.trim();
        if bare.is_empty() {
            return range.start..range.start;
        }
        let from = range.start + (text.len() - text.trim_start().len());
        from..from + bare.len()
    }

    /// Cuts a range at paragraphs, lines, words or, if need be, anywhere, into pieces of at most `max` characters.
    fn chop(&mut self, range: Range<usize>, max: Option<usize>) -> Result<(), Failure> {
        let Some(max) = max else { return self.push(range) };
        let mut from = range.start;
        while from < range.end {
            let hard = self.after(from, max, range.end);
            let to = if hard == range.end { hard } else { self.breaks(from, hard) };
            self.push(self.trim(from..to))?;
            if to == range.end {
                break;
            }
            let next = self.before(to, self.overlap).max(self.after(from, 1, range.end));
            let rest = &self.text[next..range.end];
            from = range.end - rest.trim_start().len();
        }
        Ok(())
    }

    /// Windows of exactly `max` characters; the last one may be shorter.
    fn windows(&mut self, max: usize) -> Result<(), Failure> {
        let mut from = 0;
        while from < self.text.len() {
            let to = self.after(from, max, self.text.len());
            self.push(from..to)?;
            if to == self.text.len() {
                break;
            }
            from = self.before(to, self.overlap);
        }
        Ok(())
    }

    /// The best place to end a piece that must not go beyond `hard`; never in its first half, so that the work stays
    /// in proportion to the pieces.
    fn breaks(&self, from: usize, hard: usize) -> usize {
        let half = self.text.floor_char_boundary(from + (hard - from) / 2);
        let tail = &self.text[half..hard];
        let found = tail.rfind("\n\n").or_else(|| tail.rfind('\n'));
        let found = found.or_else(|| tail.rfind(char::is_whitespace)).map(|at| half + at);
        found.filter(|&at| at > from).unwrap_or(hard)
    }

    /// The byte `chars` characters after `from`, or `end` if that comes first.
    fn after(&self, from: usize, chars: usize, end: usize) -> usize {
        let rest = &self.text[from..end];
        rest.char_indices().nth(chars).map_or(end, |(at, _)| from + at)
    }

    /// The byte `chars` characters before `to`, or the beginning.
    fn before(&self, to: usize, chars: usize) -> usize {
        match chars.checked_sub(1) {
            None => to,
            Some(nth) => self.text[..to].char_indices().rev().nth(nth).map_or(0, |(at, _)| at),
        }
    }
}

fn sections(document: &Document, pieces: Vec<(Range<usize>, Option<usize>)>) -> Vec<Section> {
    let headings = &document.headings;
    let (mut chars, mut counted, mut above) = (0_u64, 0, 0);
    let mut sections = Vec::with_capacity(pieces.len());
    for (index, (piece, under)) in pieces.into_iter().enumerate() {
        // A piece that begins with a heading, as paragraphs do, counts as standing under it.
        above += headings[above..].iter().take_while(|h| h.from <= piece.start).count();
        let heading = under.or(above.checked_sub(1)).and_then(|at| headings.get(at));
        // Pieces never begin before the one in front of them.
        chars += document.text[counted..piece.start].chars().count() as u64;
        counted = piece.start;
        sections.push(Section {
            index,
            title: heading.map_or_else(String::new, |heading| heading.text.clone()),
            level: heading.map_or(0, |heading| heading.level),
            text: document.text[piece].to_owned(),
            start: chars,
        });
    }
    sections
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(args: Value) -> Result<Vec<Section>, Failure> {
        run(serde_json::from_value(args).unwrap()).map(|output| output.sections)
    }

    fn short(sections: &[Section]) -> Vec<(&str, u8, &str, u64)> {
        sections.iter().map(|s| (s.title.as_str(), s.level, s.text.as_str(), s.start)).collect()
    }

    #[test]
    fn one_section_per_heading() {
        let text = "Intró\n\n# One\n\nFirst.\n\n## Empty\n# Two\nSecond\nline.\n";
        let found = split(json!({"text": text})).unwrap();
        let expected = [
            ("", 0, "Intró", 0),
            ("One", 1, "First.", 14),
            ("Empty", 2, "", 31),
            ("Two", 1, "Second\nline.", 37),
        ];
        assert_eq!(short(&found), expected);
    }

    #[test]
    fn html_counts_in_the_text_without_tags() {
        let found = split(json!({"text": "<html><p>a</p><h2>B</h2><p>c</p><p>d</p>"})).unwrap();
        assert_eq!(short(&found), [("", 0, "a", 0), ("B", 2, "c\n\nd", 6)]);
    }

    #[test]
    fn long_sections_are_cut_at_the_best_place() {
        let text = "# T\n\naaaa bbbb\n\ncccc dddd eeee";
        let found = split(json!({"text": text, "max_chars": 12})).unwrap();
        let expected = [("T", 1, "aaaa bbbb", 5), ("T", 1, "cccc dddd", 16), ("T", 1, "eeee", 26)];
        assert_eq!(short(&found), expected);
        let found = split(json!({"text": "abcdefgh", "max_chars": 3})).unwrap();
        assert_eq!(found.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["abc", "def", "gh"]);
    }

    #[test]
    fn paragraphs_and_windows_overlap() {
        let args = json!({"text": "a b\n\nc\nd\n \ne", "by": "paragraphs"});
        assert_eq!(
            short(&split(args).unwrap()),
            [("", 0, "a b", 0), ("", 0, "c\nd", 5), ("", 0, "e", 11)]
        );
        let args = json!({"text": "äbcdefg", "by": "characters", "max_chars": 4, "overlap": 2, "format": "plain"});
        let expected = [("", 0, "äbcd", 0), ("", 0, "cdef", 2), ("", 0, "efg", 4)];
        assert_eq!(short(&split(args).unwrap()), expected);
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let large = "x ".repeat(limits::TEXT_BYTES / 2);
        let cases = [
            (json!({"text": "", "max_chars": 0}), Code::InvalidInput),
            (json!({"text": "", "overlap": 1}), Code::InvalidInput),
            (
                json!({"text": "", "by": "characters", "max_chars": 5, "overlap": 5}),
                Code::InvalidInput,
            ),
            (json!({"text": large, "by": "characters", "max_chars": 10}), Code::LimitExceeded),
            (
                json!({"text": large, "by": "characters", "max_chars": 1_000_000, "overlap": 999_999}),
                Code::LimitExceeded,
            ),
            (
                json!({"text": large, "by": "paragraphs", "max_chars": 1_000_000, "overlap": 999_999}),
                Code::LimitExceeded,
            ),
        ];
        for (args, code) in cases {
            assert_eq!(split(args).err().map(|f| f.code), Some(code));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_white_space_is_lost(text in "[a-z#äß \n<>/-]{0,200}", max in 1_u64..40, by in 0_usize..3) {
            let by = ["headings", "paragraphs", "characters"][by];
            let found = split(json!({"text": text, "by": by, "max_chars": max, "format": "plain"})).unwrap();
            let joined: String = found.iter().map(|s| s.text.as_str()).collect();
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(bare(&joined), bare(&text));
            for section in &found {
                let length = section.text.chars().count();
                prop_assert!(length as u64 <= max);
                let start = usize::try_from(section.start).unwrap();
                let there: String = text.chars().skip(start).take(length).collect();
                prop_assert_eq!(&there, &section.text);
            }
        }
    }
}
