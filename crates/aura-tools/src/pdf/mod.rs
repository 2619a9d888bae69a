//! Text out of PDF files that strangers made.
//!
//! A PDF is a small program with compressed parts, so a few kilobytes can ask for gigabytes or hours. Everything here is
//! bounded: what a stream unpacks to, what all objects together weigh, pages, fonts, text and time; and one file is read
//! at a time, so that many at once don't add up.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aura_core::{Code, Failure, limits};
use lopdf::{Document, LoadOptions, Object, ObjectId};

mod font;
mod page;

/// A page that was read.
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: u64,
    /// Its text, lines as they stand; `None` if its content can't be read within the limits.
    pub(crate) text: Option<String>,
}

/// The stack of the thread that reads: the parser goes down a hundred levels.
const STACK_BYTES: usize = 16 << 20;

/// Bytes that one value weighs in memory, whatever it holds.
const OBJECT_BYTES: usize = size_of::<Object>();

/// Held while a file is read.
static ONE: Mutex<()> = Mutex::new(());

/// What stopped the reading of a file: a limit.
struct Crossed(&'static str);

thread_local! {
    /// What is left for the file that this thread reads.
    static LEFT: Cell<Left> = const { Cell::new(Left { bytes: 0, until: None }) };
}

#[derive(Clone, Copy)]
struct Left {
    bytes: usize,
    until: Option<Instant>,
}

/// Whether these bytes are a PDF file; readers accept some bytes before the mark.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    bytes.get(..bytes.len().min(1_024)).is_some_and(|head| head.windows(5).any(|w| w == b"%PDF-"))
}

/// The text of each page, read on this thread.
///
/// # Errors
/// `INVALID_INPUT`: it is no PDF, broken, encrypted, or has no text. `LIMIT_EXCEEDED`: it is too large in one of the ways
/// that [`limits`] names. `TIMEOUT`. All are certain.
pub(crate) fn read(bytes: Vec<u8>, timeout: Duration) -> Result<Vec<Page>, Failure> {
    if bytes.len() > limits::PDF_BYTES {
        return Err(too_large(&format!("it is longer than {} bytes", limits::PDF_BYTES)));
    }
    if !looks_like(&bytes) {
        return Err(invalid("it is no PDF file"));
    }
    if declares_encryption(&bytes) {
        return Err(invalid("it is encrypted; save it without encryption first"));
    }
    let most = Duration::from_millis(limits::PDF_MS);
    let until = Instant::now() + timeout.min(most);
    let worker = std::thread::Builder::new()
        .name("aura-pdf".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || guarded(&bytes, until))
        .map_err(|e| Failure::certain(Code::Unavailable, format!("no thread to read it: {e}")))?;
    worker.join().unwrap_or_else(|_| Err(invalid("it is broken")))
}

fn guarded(bytes: &[u8], until: Instant) -> Result<Vec<Page>, Failure> {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    LEFT.set(Left { bytes: limits::PDF_MEMORY_BYTES, until: Some(until) });
    match catch_unwind(AssertUnwindSafe(|| pages(bytes))) {
        Ok(read) => read,
        Err(panic) => Err(match panic.downcast_ref::<Crossed>() {
            Some(Crossed(TIME)) => Failure::certain(Code::Timeout, "reading the PDF took too long"),
            Some(Crossed(what)) => too_large(what),
            None => invalid("it is broken"),
        }),
    }
}

const TIME: &str = "time";

/// Gives up on the file if its time is over.
///
/// It unwinds, because the parser calls it from within and has no other way out; [`guarded`] catches it.
fn check_time() {
    if LEFT.get().until.is_some_and(|until| Instant::now() >= until) {
        give_up(TIME);
    }
}

/// Gives up on the file because it crossed a limit.
fn give_up(what: &'static str) -> ! {
    resume_unwind(Box::new(Crossed(what)))
}

/// Takes bytes from what the file may use, or gives up on it.
fn spend(bytes: usize) {
    let left = LEFT.get();
    match left.bytes.checked_sub(bytes) {
        Some(bytes) => LEFT.set(Left { bytes, ..left }),
        None => give_up("its objects take too much memory"),
    }
}

/// Called by the parser for each object that it has read.
#[expect(clippy::unnecessary_wraps, reason = "the type that the parser asks for")]
fn weigh(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    check_time();
    spend(weight(object));
    Some((id, object.clone()))
}

fn weight(object: &Object) -> usize {
    let inside = match object {
        Object::Name(bytes) | Object::String(bytes, _) => bytes.len(),
        Object::Array(items) => items.iter().map(weight).sum(),
        Object::Dictionary(dict) => dict.iter().map(|(k, v)| k.len() + weight(v)).sum(),
        Object::Stream(stream) => {
            let dict: usize = stream.dict.iter().map(|(k, v)| k.len() + weight(v)).sum();
            stream.content.len() + dict
        }
        _ => 0,
    };
    OBJECT_BYTES + inside
}

fn pages(bytes: &[u8]) -> Result<Vec<Page>, Failure> {
    let options = LoadOptions {
        filter: Some(weigh),
        max_decompressed_size: Some(limits::PDF_STREAM_BYTES),
        ..LoadOptions::default()
    };
    let document = Document::load_mem_with_options(bytes, options).map_err(|e| match e {
        lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => {
            too_large("one of its streams unpacks to too much")
        }
        _ => invalid("it is broken"),
    })?;
    if document.is_encrypted() || document.was_encrypted() {
        return Err(invalid("it is encrypted; save it without encryption first"));
    }
    let mut reader = page::Reader::new(&document);
    let mut pages = Vec::new();
    for (number, id) in document.page_iter().enumerate() {
        if number == limits::PDF_PAGES {
            return Err(too_large(&format!("it has more than {} pages", limits::PDF_PAGES)));
        }
        check_time();
        pages.push(Page { number: number as u64 + 1, text: reader.page(id) });
    }
    if pages.iter().all(|page| page.text.as_ref().is_none_or(String::is_empty)) {
        return Err(invalid(&nothing(&pages)));
    }
    Ok(pages)
}

/// Why no text was found.
fn nothing(pages: &[Page]) -> String {
    let unread = pages.iter().filter(|page| page.text.is_none()).count();
    match (pages.len(), unread) {
        (0, _) => "it has no pages, or is broken".to_owned(),
        (all, 0) => format!(
            "none of its {all} pages has text in it; if they are scanned images, they need text \
             recognition (OCR) first"
        ),
        (all, _) => {
            format!("{unread} of its {all} pages can't be read, and the others have no text")
        }
    }
}

/// Whether a name that means encryption stands in the file, also where it is written with escapes.
///
/// The dictionary that says so is never compressed. A text that has the name too is refused with it.
fn declares_encryption(bytes: &[u8]) -> bool {
    let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.into_iter().any(|(at, _)| is_name(&bytes[at + 1..], b"Encrypt"))
}

fn is_name(mut rest: &[u8], name: &[u8]) -> bool {
    for wanted in name {
        let (byte, length) = match rest {
            [b'#', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => return false,
            },
            [byte, ..] => (*byte, 1),
            [] => return false,
        };
        if byte != *wanted {
            return false;
        }
        rest = &rest[length..];
    }
    !rest.first().is_some_and(u8::is_ascii_alphanumeric)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn invalid(what: &str) -> Failure {
    Failure::certain(Code::InvalidInput, format!("the PDF can't be read: {what}"))
}

fn too_large(what: &str) -> Failure {
    Failure::certain(Code::LimitExceeded, format!("the PDF is too large: {what}"))
}
