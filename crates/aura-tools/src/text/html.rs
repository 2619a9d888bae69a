//! HTML, read as a stream of tokens. No tree is built and no script runs; broken markup gives what a person would
//! most likely see.

use std::cell::RefCell;

use aura_core::{Code, Failure, limits};
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use super::{Document, Heading, squeeze, urls};

/// Bytes at the start of a text that are looked at to tell its format.
const LOOK_BYTES: usize = 4_096;

/// Whether a text is HTML rather than Markdown: it says so, or begins with a tag that is closed later.
pub(super) fn looks_like(text: &str) -> bool {
    let head = text[..text.floor_char_boundary(LOOK_BYTES)].trim_start().to_ascii_lowercase();
    if head.starts_with("<!doctype html") || head.starts_with("<html") {
        return true;
    }
    let Some(tag) = head.strip_prefix('<') else { return false };
    let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
    let rest = &tag[name.len()..];
    // `<https://…>` is how Markdown writes a link.
    !name.is_empty() && rest.starts_with([' ', '>', '\n', '\t']) && rest.contains("</")
}

pub(super) fn read(text: &str) -> Result<Document, Failure> {
    // The tokenizer compares each attribute of a tag with all before it.
    if longest_tag(text) > limits::HTML_TAG_SEPARATORS {
        return Err(Failure::certain(
            Code::LimitExceeded,
            "a tag of the HTML has too many attributes",
        ));
    }
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(text));
    let tokenizer = Tokenizer::new(Sink::default(), TokenizerOpts::default());
    // The sink never asks to pause, so one feed reads it all.
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    let mut reader = tokenizer.sink.reader.into_inner();
    reader.find_urls();
    reader.close_heading();
    reader.close_link();
    let mut document = reader.document;
    document.text.truncate(document.text.trim_end().len());
    let end = document.text.len();
    for heading in &mut document.headings {
        heading.from = heading.from.min(end);
        heading.to = heading.to.min(end);
    }
    document.words.clone_from(&document.text);
    Ok(document)
}

/// The most separators between one `>` and the next, counted from a `<`: no tag has more attributes.
fn longest_tag(text: &str) -> usize {
    let (mut most, mut now, mut within) = (0, 0, false);
    for byte in text.bytes() {
        match byte {
            b'>' => (now, within) = (0, false),
            b'<' => within = true,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c | b'/' | b'"' | b'\'' if within => {
                now += 1;
                most = most.max(now);
            }
            _ => {}
        }
    }
    most
}

#[derive(Default)]
struct Sink {
    reader: RefCell<Reader>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reader = self.reader.borrow_mut();
        match token {
            Token::TagToken(tag) => reader.tag(&tag),
            Token::CharacterTokens(text) => {
                reader.text(&text);
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

#[derive(Default)]
struct Reader {
    document: Document,
    /// The element whose content nobody reads (`script`, `style`, …), while it is open.
    hidden: Option<String>,
    /// Level and first byte of the heading that is open.
    heading: Option<(u8, usize)>,
    /// Address and first byte of the link that is open.
    link: Option<(String, usize)>,
    /// Within `pre`, white space counts.
    pre: usize,
    /// Text since the last tag: the tokenizer hands it out in pieces.
    run: String,
}

impl Reader {
    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let opens = tag.kind == TagKind::StartTag;
        self.find_urls();
        if let Some(hidden) = &self.hidden {
            if !opens && name == hidden.as_str() {
                self.hidden = None;
            }
            return TokenSinkResult::Continue;
        }
        match name {
            "script" | "style" | "noscript" | "template" | "iframe" | "noembed" | "noframes"
                if opens && !tag.self_closing =>
            {
                self.hidden = Some(name.to_owned());
                return match name {
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "template" => TokenSinkResult::Continue,
                    _ => TokenSinkResult::RawData(RawKind::Rawtext),
                };
            }
            "title" if opens => {
                self.hidden = Some(name.to_owned());
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "textarea" if opens => return TokenSinkResult::RawData(RawKind::Rcdata),
            "a" => self.anchor(tag, opens),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.close_heading();
                self.block(2);
                if opens {
                    self.heading = Some((name.as_bytes()[1] - b'0', self.document.text.len()));
                }
            }
            "pre" if opens => self.pre += 1,
            "pre" => self.pre = self.pre.saturating_sub(1),
            _ => {}
        }
        match name {
            "br" | "tr" | "li" | "dt" | "dd" | "option" => self.block(1),
            "td" | "th" => self.text(" "),
            "p" | "div" | "section" | "article" | "main" | "header" | "footer" | "nav"
            | "aside" | "ul" | "ol" | "dl" | "table" | "blockquote" | "pre" | "figure"
            | "figcaption" | "form" | "fieldset" | "hr" | "body" | "address" | "details"
            | "summary" => self.block(2),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn anchor(&mut self, tag: &Tag, opens: bool) {
        self.close_link();
        let href = tag.attrs.iter().find(|attribute| &*attribute.name.local == "href");
        if let (true, Some(href)) = (opens, href) {
            self.link = Some((href.value.trim().to_owned(), self.document.text.len()));
        }
    }

    fn close_link(&mut self) {
        if let Some((url, from)) = self.link.take() {
            let text = self.document.text.get(from..).unwrap_or_default().to_owned();
            self.document.link(&text, &url);
        }
    }

    fn close_heading(&mut self) {
        if let Some((level, from)) = self.heading.take() {
            let to = self.document.text.len();
            let text = squeeze(self.document.text.get(from..).unwrap_or_default());
            self.document.heading(Heading { level, text, from, to });
        }
    }

    fn find_urls(&mut self) {
        urls::find(&self.run, |url| self.document.link(url, url));
        self.run.clear();
    }

    /// Ends a line, or (2) a paragraph.
    fn block(&mut self, breaks: usize) {
        let text = &mut self.document.text;
        // Never cut into an open heading or link: their places are counted in bytes.
        let floor = self.heading.map_or(0, |(_, from)| from);
        let floor = self.link.as_ref().map_or(floor, |(_, from)| floor.max(*from));
        if self.pre == 0 {
            let kept = floor + text[floor..].trim_end_matches(' ').len();
            text.truncate(kept);
        }
        if text.is_empty() {
            return;
        }
        let have = text.bytes().rev().take(breaks).take_while(|&byte| byte == b'\n').count();
        for _ in have..breaks {
            text.push('\n');
        }
    }

    fn text(&mut self, words: &str) {
        if self.hidden.is_some() {
            return;
        }
        if self.link.is_none() {
            self.run.push_str(words);
        }
        let text = &mut self.document.text;
        if self.pre > 0 {
            text.push_str(words);
            return;
        }
        for c in words.chars() {
            if !c.is_whitespace() || c == '\u{a0}' {
                text.push(c);
            } else if !text.is_empty() && !text.ends_with([' ', '\n']) {
                text.push(' ');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_person_sees() {
        let source = "<!DOCTYPE html><html><head><title>T</title><style>p{}</style></head><body>\
            <h1>One <em>two</em></h1><p>Fish &amp; <a href=' /x '>chips\n now</a></p>\
            <script>var a = '<h2>no</h2>';</script><h2>Three</h2>https://a.test/y?a=1&amp;b=2<ul><li>a<li>b</ul>\
            <pre>  x\n  y</pre></body>";
        let found = read(source).unwrap();
        assert_eq!(
            found.text,
            "One two\n\nFish & chips now\n\nThree\n\nhttps://a.test/y?a=1&b=2\n\na\nb\n\n  x\n  y"
        );
        let headings: Vec<_> = found
            .headings
            .iter()
            .map(|h| (h.level, h.text.as_str(), &found.text[h.from..h.to]))
            .collect();
        assert_eq!(headings, [(1, "One two", "One two"), (2, "Three", "Three")]);
        let links: Vec<_> = found.links.iter().map(|l| (l.text.as_str(), l.url.as_str())).collect();
        assert_eq!(
            links,
            [("chips now", "/x"), ("https://a.test/y?a=1&b=2", "https://a.test/y?a=1&b=2")]
        );
    }

    #[test]
    fn odd_markup_does_no_harm() {
        let deep = "<div><b>".repeat(50_000);
        let cases = [
            "<",
            "<a",
            "<h1>x",
            "</h1>",
            "<a href=x>",
            "<script>",
            "<pre>",
            "<!--",
            "&#x110000;",
            "<br><h1><br>",
            &deep,
        ];
        for source in cases {
            let found = read(source).unwrap();
            for heading in &found.headings {
                assert!(found.text.get(heading.from..heading.to).is_some(), "{source}");
            }
        }
        let attributes: String =
            (0..100_000).flat_map(|n| [" a".to_owned(), n.to_string()]).collect();
        let failure = read(&format!("<p{attributes}>")).unwrap_err();
        assert_eq!(failure.code, Code::LimitExceeded);
    }

    #[test]
    fn tells_html_from_markdown() {
        for text in ["<!doctype html>", " <html>", "<p>x</p>", "<div class=a>\n<b>x</b></div>"] {
            assert!(looks_like(text), "{text}");
        }
        for text in
            ["", "# x", "<https://a.test>", "a <b>c</b>", "<- x", "1 < 2", "<p> never closed"]
        {
            assert!(!looks_like(text), "{text}");
        }
    }
}
