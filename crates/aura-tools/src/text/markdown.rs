//! Markdown, read as events with their places in the source.

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use super::{Document, Heading, squeeze, urls};

pub(super) fn read(text: String) -> Document {
    let mut reader = Reader::default();
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for (event, range) in Parser::new_ext(&text, options).into_offset_iter() {
        reader.take(event, range.start, range.end);
    }
    let mut document = reader.document;
    document.text = text;
    document
}

#[derive(Default)]
struct Reader {
    document: Document,
    /// Blocks around the current place; headings within a list or a quotation are not sections.
    depth: usize,
    heading: Option<String>,
    /// Address and text of the link that is open.
    link: Option<(String, String)>,
    in_code: bool,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, from: usize, to: usize) {
        match event {
            Event::Start(tag) => self.open(tag),
            Event::End(tag) => self.close(tag, from, to),
            Event::Text(text) => {
                self.text(&text);
                if self.link.is_none() && !self.in_code {
                    urls::find(&text, |url| self.document.link(url, url));
                }
            }
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.text(&text);
            }
            Event::SoftBreak | Event::HardBreak | Event::Rule => self.text("\n"),
            // Tags are not words.
            Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }

    fn open(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } if self.depth == 0 => self.heading = Some(String::new()),
            Tag::Link { link_type, dest_url, .. } => {
                let url = match link_type {
                    LinkType::Email => format!("mailto:{dest_url}"),
                    _ => dest_url.into_string(),
                };
                self.link = Some((url, String::new()));
            }
            Tag::CodeBlock(_) => self.in_code = true,
            Tag::BlockQuote(_) | Tag::List(_) | Tag::Item => self.depth += 1,
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd, from: usize, to: usize) {
        match tag {
            TagEnd::Heading(level) => {
                if let Some(text) = self.heading.take() {
                    let text = squeeze(&text);
                    self.document.heading(Heading { level: level as u8, text, from, to });
                }
            }
            TagEnd::Link => {
                if let Some((url, text)) = self.link.take() {
                    self.document.link(&text, &url);
                }
            }
            TagEnd::CodeBlock => self.in_code = false,
            TagEnd::BlockQuote(_) | TagEnd::List(_) | TagEnd::Item => {
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
        let inline = matches!(
            tag,
            TagEnd::Link
                | TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough
                | TagEnd::Image
        );
        if !inline {
            self.document.words.push('\n');
        }
    }

    fn text(&mut self, text: &str) {
        self.document.words.push_str(text);
        if let Some(heading) = &mut self.heading {
            heading.push_str(text);
        }
        if let Some((_, words)) = &mut self.link {
            words.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_links_and_words() {
        let source = "# One *two*\n\nA [link](/x \"t\") and `code`, https://a.test/y.\n\n- # not a section\n\nTwo\n---\n<me@a.test>\n";
        let found = read(source.to_owned());
        let headings: Vec<_> = found
            .headings
            .iter()
            .map(|h| (h.level, h.text.as_str(), &source[h.from..h.to]))
            .collect();
        assert_eq!(headings, [(1, "One two", "# One *two*\n"), (2, "Two", "Two\n---\n")]);
        let links: Vec<_> = found.links.iter().map(|l| (l.text.as_str(), l.url.as_str())).collect();
        assert_eq!(
            links,
            [
                ("link", "/x"),
                ("https://a.test/y", "https://a.test/y"),
                ("me@a.test", "mailto:me@a.test")
            ]
        );
        assert_eq!(
            found.words.split_whitespace().collect::<Vec<_>>().join(" "),
            "One two A link and code, https://a.test/y. not a section Two me@a.test"
        );
    }

    #[test]
    fn addresses_in_code_are_code() {
        assert_eq!(read("```\nhttp://a.test\n```\n`http://b.test`".to_owned()).links, []);
    }
}
