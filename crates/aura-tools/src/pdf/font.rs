//! What the codes of a font mean, and how wide they are.

use aura_core::limits;
use lopdf::{Dictionary, Document, Encoding, Object};

/// Thousandths of the font's size that a character takes where the file does not say.
const WIDTH: f64 = 500.0;

/// A font, as far as text needs it.
pub(super) enum Font<'a> {
    /// One byte for each character: its text and its width.
    Simple(Box<[(String, f64)]>),
    /// Several bytes for each character, with a table.
    Composite(Encoding<'a>),
    /// Its codes can't be turned into text.
    Unknown,
}

impl<'a> Font<'a> {
    pub(super) fn new(document: &'a Document, font: &'a Dictionary) -> Self {
        let subtype = font.get_deref(b"Subtype", document).and_then(Object::as_name);
        if subtype.is_ok_and(|name| name == b"Type0") {
            return match font.get_font_encoding_with_limit(document, limits::PDF_STREAM_BYTES) {
                Ok(encoding) => Self::Composite(encoding),
                Err(_) => Self::Unknown,
            };
        }
        // A table made for copying text says more than the names of glyphs, but the library prefers those.
        let mut copy = font.clone();
        let bare = copy.has(b"ToUnicode") && copy.remove(b"Encoding").is_some();
        let mut table = table(document, &copy);
        if bare && table.as_deref().is_none_or(|table| table.iter().all(|(t, _)| t.is_empty())) {
            table = self::table(document, font);
        }
        table.map_or(Self::Unknown, Self::Simple)
    }

    /// Appends what a string of codes says.
    ///
    /// Returns how far it moves the pen, in thousandths of the font's size, and of how many characters it is.
    pub(super) fn show(&self, codes: &[u8], out: &mut String) -> (f64, usize) {
        match self {
            Self::Simple(table) => {
                let mut width = 0.0;
                for code in codes {
                    let (text, advance) = &table[usize::from(*code)];
                    out.push_str(text);
                    width += advance;
                }
                (width, codes.len())
            }
            Self::Composite(encoding) => {
                let before = out.chars().count();
                if encoding.write_to_string(codes, out).is_err() {
                    return (0.0, 0);
                }
                let count = out.chars().count() - before;
                #[expect(clippy::cast_precision_loss, reason = "texts have at most 4 MiB")]
                let width = count as f64 * WIDTH;
                (width, count)
            }
            Self::Unknown => (0.0, 0),
        }
    }
}

fn table(document: &Document, font: &Dictionary) -> Option<Box<[(String, f64)]>> {
    let encoding = font.get_font_encoding_with_limit(document, limits::PDF_STREAM_BYTES).ok()?;
    let first = font.get_deref(b"FirstChar", document).and_then(Object::as_i64).unwrap_or(0);
    let widths = font.get_deref(b"Widths", document).and_then(Object::as_array).ok();
    let table = (0..=255_u8).map(|code| {
        let text = encoding.bytes_to_string(&[code]).unwrap_or_default();
        let text = text.replace([char::REPLACEMENT_CHARACTER, '\0'], "");
        let place = usize::try_from(i64::from(code) - first).ok();
        let given = place.and_then(|place| widths?.get(place)?.as_float().ok()).map(f64::from);
        (text, given.filter(|width| *width > 0.0).unwrap_or(WIDTH))
    });
    Some(table.collect())
}
