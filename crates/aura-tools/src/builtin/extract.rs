//! `text.extract`: what can be counted and listed in a text without understanding it.

use std::collections::HashMap;
use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_core::{Code, EffectClass, Failure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::{self, Format};
use crate::typed::{About, Pure};

const HELP: &str = r#"
Lists the links, headings and most frequent words of a Markdown, HTML or plain text, and counts its words and
characters. The same text always gives the same answer. Short words, numbers and common English words are no keywords.

```json
{"text": "Shipping\n========\n\nSee [rates](https://shop.test/rates).", "format": "markdown", "keywords": 3}
```
"#;

/// The most keywords that may be asked for, and how many are given where nothing is asked.
const KEYWORDS: (u64, u64) = (100, 10);

/// Letters of the shortest keyword.
const KEYWORD_LETTERS: usize = 3;

const STOP_WORDS: &str = include_str!("../text/stop_words.txt");

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The text, at most 4 MiB.
    text: String,
    /// How it is written; found out from the text if absent.
    #[serde(default)]
    format: Format,
    /// How many keywords to list, at most 100; 10 if absent.
    #[serde(default)]
    #[schemars(range(max = 100))]
    keywords: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Output {
    /// Links in the order of the text, bare addresses too.
    links: Vec<Link>,
    /// Headings in the order of the text.
    headings: Vec<Heading>,
    /// Number of words.
    words: u64,
    /// Number of characters without markup, each run of white space counted as one.
    characters: u64,
    /// The most frequent words, the most frequent first, equals by alphabet.
    keywords: Vec<Keyword>,
    /// Whether there are more links or headings than are listed (10,000 of each).
    truncated: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Link {
    /// What it says.
    text: String,
    /// Where it leads, as written.
    url: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Heading {
    /// From 1 to 6.
    level: u8,
    /// What it says.
    text: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Keyword {
    /// The word in lower case.
    word: String,
    /// How often it stands in the text.
    count: u64,
}

pub(super) fn def() -> ToolDef {
    let summary = "List links, headings and keywords of a text";
    About::new("text.extract", EffectClass::Pure, summary, HELP).define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Pure::new(def(), run))
}

fn run(input: Input) -> Result<Output, Failure> {
    let wanted = input.keywords.unwrap_or(KEYWORDS.1);
    let Some(wanted) = usize::try_from(wanted).ok().filter(|_| wanted <= KEYWORDS.0) else {
        let what = format!("at most {} keywords may be asked for", KEYWORDS.0);
        return Err(Failure::certain(Code::InvalidInput, what));
    };
    let document = text::read(input.text, input.format)?;
    let (mut words, mut characters) = (0, 0_u64);
    for word in document.words.split_whitespace() {
        characters += word.chars().count() as u64 + 1;
        words += u64::from(word.contains(char::is_alphanumeric));
    }
    Ok(Output {
        links: document.links.into_iter().map(|l| Link { text: l.text, url: l.url }).collect(),
        headings: document
            .headings
            .into_iter()
            .map(|h| Heading { level: h.level, text: h.text })
            .collect(),
        words,
        characters: characters.saturating_sub(1),
        keywords: keywords(&document.words, wanted),
        truncated: document.cut,
    })
}

fn keywords(text: &str, wanted: usize) -> Vec<Keyword> {
    let stop: std::collections::HashSet<&str> = STOP_WORDS.split_whitespace().collect();
    let mut counts: HashMap<String, u64> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '\'' | '’' | '-')) {
        let word = word.trim_matches(['\'', '’', '-']).to_lowercase();
        let letters = word.chars().filter(|c| c.is_alphabetic()).count();
        if letters >= KEYWORD_LETTERS && !stop.contains(word.as_str()) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut ranked: Vec<Keyword> =
        counts.into_iter().map(|(word, count)| Keyword { word, count }).collect();
    ranked.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(&b.word)));
    ranked.truncate(wanted);
    ranked
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_counts() {
        let text =
            "# Rates\n\nOur rates: see [the rates](https://a.test) -- 42 parcels, parcels' weight.";
        let found =
            run(serde_json::from_value(json!({"text": text, "keywords": 2})).unwrap()).unwrap();
        let expected = json!({
            "links": [{"text": "the rates", "url": "https://a.test"}],
            "headings": [{"level": 1, "text": "Rates"}],
            "words": 10,
            "characters": 62,
            "keywords": [{"word": "rates", "count": 3}, {"word": "parcels", "count": 2}],
            "truncated": false,
        });
        assert_eq!(serde_json::to_value(found).unwrap(), expected);
    }

    #[test]
    fn an_empty_text_has_nothing() {
        let found = run(serde_json::from_value(json!({"text": " \n"})).unwrap()).unwrap();
        assert_eq!((found.words, found.characters, found.keywords.len()), (0, 0, 0));
    }

    #[test]
    fn the_format_decides_what_counts_as_markup() {
        let links = |text: &str, format: &str| {
            let args = json!({"text": text, "format": format});
            run(serde_json::from_value(args).unwrap()).unwrap().links.len()
        };
        let text = "[a](/b) <a href='/c'>d</a> <a href='/e'>f</a>";
        assert_eq!((links(text, "markdown"), links(text, "html"), links(text, "plain")), (1, 2, 0));
    }

    #[test]
    fn lists_are_bounded() {
        let text = "https://a.test ".repeat(aura_core::limits::TEXT_PIECES + 1);
        let found = run(serde_json::from_value(json!({"text": text})).unwrap()).unwrap();
        assert_eq!((found.links.len(), found.truncated), (aura_core::limits::TEXT_PIECES, true));
        let large = "x".repeat(aura_core::limits::TEXT_BYTES + 1);
        let failure = run(serde_json::from_value(json!({"text": large})).unwrap()).err();
        assert_eq!(failure.map(|f| f.code), Some(Code::LimitExceeded));
        let args = json!({"text": "", "keywords": 101});
        let failure = run(serde_json::from_value(args).unwrap()).err();
        assert_eq!(failure.map(|f| f.code), Some(Code::InvalidInput));
    }
}
