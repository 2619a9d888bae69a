//! What the text tools share: telling formats apart, and finding headings, links and text in each of them.
//!
//! Everything here runs in time linear in the text: HTML is read as a stream of tokens, because building a tree out of
//! hostile tags can take quadratic time and memory.

use aura_core::{Code, Failure, limits};
use schemars::JsonSchema;
use serde::Deserialize;

mod html;
mod markdown;
mod urls;

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// HTML if it looks like it, else Markdown.
    #[default]
    Auto,
    /// Markdown (CommonMark, with tables and strikethrough).
    Markdown,
    /// HTML.
    Html,
    /// Plain text.
    Plain,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) text: String,
    pub(crate) url: String,
}

/// A heading, and where the text under it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heading {
    /// From 1 to 6.
    pub(crate) level: u8,
    pub(crate) text: String,
    /// Byte in [`Document::text`] where the heading begins.
    pub(crate) from: usize,
    /// Byte in [`Document::text`] after the heading.
    pub(crate) to: usize,
}

/// What was read out of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// The text that offsets count in: the source, except for HTML, where it is the text without tags.
    pub(crate) text: String,
    /// What a person reads: without markup.
    pub(crate) words: String,
    pub(crate) headings: Vec<Heading>,
    pub(crate) links: Vec<Link>,
    /// Whether there were more headings or links than [`limits::TEXT_PIECES`].
    pub(crate) cut: bool,
}

impl Document {
    fn heading(&mut self, heading: Heading) {
        if self.headings.len() < limits::TEXT_PIECES {
            self.headings.push(heading);
        } else {
            self.cut = true;
        }
    }

    fn link(&mut self, text: &str, url: &str) {
        if self.links.len() < limits::TEXT_PIECES {
            self.links.push(Link { text: squeeze(text), url: url.to_owned() });
        } else {
            self.cut = true;
        }
    }
}

/// Reads a text.
///
/// # Errors
/// `LIMIT_EXCEEDED`, certain: it is longer than [`limits::TEXT_BYTES`], or HTML that would take too long to read.
pub(crate) fn read(text: String, format: Format) -> Result<Document, Failure> {
    if text.len() > limits::TEXT_BYTES {
        let what = format!("the text is longer than {} bytes", limits::TEXT_BYTES);
        return Err(Failure::certain(Code::LimitExceeded, what));
    }
    match format {
        Format::Html => html::read(&text),
        Format::Auto if html::looks_like(&text) => html::read(&text),
        Format::Auto | Format::Markdown => Ok(markdown::read(text)),
        Format::Plain => Ok(plain(text)),
    }
}

fn plain(text: String) -> Document {
    let mut document = Document::default();
    urls::find(&text, |url| document.link(url, url));
    document.words.clone_from(&text);
    document.text = text;
    document
}

/// The text with each run of white space as one blank, and none at its ends.
fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(64));
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}
