//! `text.extract`: what can be counted and listed in a text without understanding it, and the text of PDF files.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aura_core::ports::{Activity, Call, Failed};
use aura_core::task::{Permissions, Success};
use aura_core::tool::{ClassRule, ToolDef};
use aura_core::{Code, EffectClass, Failure, limits};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::read;
use crate::text::{self, Format};
use crate::typed::{self, About};
use crate::{files, pdf};

const HELP: &str = r#"
Lists the links, headings and most frequent words of a Markdown, HTML or plain text, and counts its words and
characters. The same text always gives the same answer. Short words, numbers and common English words are no keywords.

```json
{"text": "Shipping\n========\n\nSee [rates](https://shop.test/rates).", "format": "markdown", "keywords": 3}
```

It takes the text out of PDF files too, page by page, in `pages`. Exactly one of `text`, `pdf` and `path` is given. A
`path` lies below one of the run's folders and may be a PDF or a text; the call is then of class `read`, else `pure`.

```json
{"path": "contracts/lease.pdf", "keywords": 5}
```

A PDF that is encrypted, broken, or has only images gives `INVALID_INPUT` and says which. Text comes in the order in
which the file draws it. At most 16 MiB, 2,000 pages, 4 MiB of text and 30 seconds; a page whose content unpacks to more
than 4 MiB is listed in `unread_pages`. PDFs are read one at a time.
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
    #[serde(default)]
    text: Option<String>,
    /// A PDF file in base64.
    #[serde(default)]
    pdf: Option<String>,
    /// A file to read: a PDF, or a text in UTF-8.
    #[serde(default)]
    path: Option<String>,
    /// How a text is written; found out from the text if absent.
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
    /// The pages of a PDF that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<Vec<Page>>,
    /// Numbers of the pages of a PDF that are too large or broken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread_pages: Vec<u64>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Page {
    /// Its number, from 1.
    page: u64,
    /// Its text, line by line.
    text: String,
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

/// Where the text comes from.
enum Source {
    Text(String),
    Pdf(Vec<pdf::Page>),
}

struct Extract {
    def: ToolDef,
}

#[async_trait]
impl Activity for Extract {
    fn def(&self) -> &ToolDef {
        &self.def
    }

    async fn perform(&self, call: Call) -> Result<Success, Failed> {
        let Call { args, permissions, timeout, .. } = call;
        typed::blocking(timeout, true, move || {
            let run = || {
                let input: Input = typed::parse(args)?;
                typed::output(&run(input, &permissions, timeout)?)
            };
            // A panic of a library on odd input is a failure of this call alone.
            let odd = || Failure::certain(Code::Internal, "the tool gave up on these arguments");
            let made = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(odd()));
            Ok(Success::of(made?))
        })
        .await
    }
}

pub(super) fn def() -> ToolDef {
    let summary = "List links, headings and keywords of a text or PDF, and its text by page";
    let class = ClassRule::ByParam {
        param: "path".to_owned(),
        absent: String::new(),
        cases: [(String::new(), EffectClass::Pure)].into(),
        otherwise: EffectClass::Read,
    };
    let about = About::new("text.extract", EffectClass::Pure, summary, HELP);
    About { class, ..about }.define::<Input, Output>()
}

pub(super) fn make() -> Arc<dyn Activity> {
    Arc::new(Extract { def: def() })
}

fn run(input: Input, permissions: &Permissions, timeout: Duration) -> Result<Output, Failure> {
    let wanted = input.keywords.unwrap_or(KEYWORDS.1);
    let Some(wanted) = usize::try_from(wanted).ok().filter(|_| wanted <= KEYWORDS.0) else {
        let what = format!("at most {} keywords may be asked for", KEYWORDS.0);
        return Err(Failure::certain(Code::InvalidInput, what));
    };
    let format = input.format;
    match source(input, permissions, timeout)? {
        Source::Text(text) => Ok(describe(text::read(text, format)?, wanted)),
        Source::Pdf(read) => {
            let (mut pages, mut unread_pages, mut all) = (Vec::new(), Vec::new(), String::new());
            for pdf::Page { number, text } in read {
                let Some(text) = text else {
                    unread_pages.push(number);
                    continue;
                };
                all.push_str(&text);
                all.push('\n');
                pages.push(Page { page: number, text });
            }
            let described = describe(text::read(all, Format::Plain)?, wanted);
            Ok(Output { pages: Some(pages), unread_pages, ..described })
        }
    }
}

fn source(input: Input, permissions: &Permissions, timeout: Duration) -> Result<Source, Failure> {
    let bytes = match (input.text, input.pdf, input.path) {
        (Some(text), None, None) => return Ok(Source::Text(text)),
        (None, Some(pdf), None) => STANDARD
            .decode(pdf)
            .map_err(|_| Failure::certain(Code::InvalidInput, "'pdf' is not a file in base64"))?,
        (None, None, Some(path)) => {
            let place = files::place(permissions, &path)?;
            let (bytes, longer) = read::content(&place, limits::PDF_BYTES)?;
            if longer {
                let what = format!("{} is longer than {} bytes", place.shown, limits::PDF_BYTES);
                return Err(Failure::certain(Code::LimitExceeded, what));
            }
            if !pdf::looks_like(&bytes) {
                let text = String::from_utf8(bytes).map_err(|_| {
                    let what = format!("{} is neither a PDF nor a text in UTF-8", place.shown);
                    Failure::certain(Code::InvalidInput, what)
                })?;
                return Ok(Source::Text(text));
            }
            bytes
        }
        _ => {
            let what = "exactly one of 'text', 'pdf' and 'path' is needed";
            return Err(Failure::certain(Code::InvalidInput, what));
        }
    };
    pdf::read(bytes, timeout).map(Source::Pdf)
}

fn describe(document: text::Document, wanted: usize) -> Output {
    let (mut words, mut characters) = (0, 0_u64);
    for word in document.words.split_whitespace() {
        characters += word.chars().count() as u64 + 1;
        words += u64::from(word.contains(char::is_alphanumeric));
    }
    Output {
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
        pages: None,
        unread_pages: Vec::new(),
    }
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

    fn run(input: Input) -> Result<Output, Failure> {
        super::run(input, &Permissions::default(), Duration::from_secs(10))
    }

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
