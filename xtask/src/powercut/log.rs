//! What the shim noted: a record for each thing that a process did to its files, in order.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Bytes of the head of a record, as `xtask/powercut/shim.c` lays it out.
const HEAD: usize = 40;

/// A file, as the system knows it while it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
}

/// What a file was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Existing,
    New,
    Folder,
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Opened(Inode, PathBuf, Opened),
    Written(Inode, u64, Vec<u8>),
    /// The file has this length from now on.
    Cut(Inode, u64),
    /// A thread begins to sync the file.
    Syncing(Inode, u64),
    /// The sync that this thread began has come to its end.
    Synced(Inode, u64),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    Folder(PathBuf),
    /// The first bytes of what goes out through a socket.
    Said(Vec<u8>),
    /// Something whose effect on the file is not known.
    Strange(Inode, String),
}

/// Reads the notes of a process. What a killed process wrote of its last record does not count.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Note>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        // Killed before its first instruction.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("can't read {}", path.display())),
    };
    parse(&bytes)
}

fn parse(mut rest: &[u8]) -> anyhow::Result<Vec<Note>> {
    let mut notes = Vec::new();
    while let Some((note, after)) = one(rest)? {
        notes.push(note);
        rest = after;
    }
    Ok(notes)
}

/// The first record and what follows; `None` if it is not whole.
fn one(bytes: &[u8]) -> anyhow::Result<Option<(Note, &[u8])>> {
    let Some((head, body)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
    let small =
        |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap_or_default()) as usize;
    let wide = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let (first, second, length) = (small(4), small(8), small(12));
    let inode = Inode { device: wide(16), number: wide(24) };
    let offset = wide(32);
    let Some((path, body)) = body.split_at_checked(first) else { return Ok(None) };
    let Some((to, body)) = body.split_at_checked(second) else { return Ok(None) };
    let Some((data, rest)) = body.split_at_checked(length) else { return Ok(None) };
    let note = match (small(0), offset) {
        (1, 0) => Note::Opened(inode, path_of(path)?, Opened::Existing),
        (1, 1) => Note::Opened(inode, path_of(path)?, Opened::New),
        (1, 2) => Note::Opened(inode, path_of(path)?, Opened::Folder),
        (2, offset) => Note::Written(inode, offset, data.to_vec()),
        (3, length) => Note::Cut(inode, length),
        (4, thread) => Note::Syncing(inode, thread),
        (5, thread) => Note::Synced(inode, thread),
        (6, _) => Note::Renamed(path_of(path)?, path_of(to)?),
        (7, _) => Note::Removed(path_of(path)?),
        (8, _) => Note::Folder(path_of(path)?),
        (9, _) => Note::Said(data.to_vec()),
        (10, _) => Note::Strange(inode, String::from_utf8_lossy(path).into_owned()),
        (kind, _) => bail!("the shim wrote a record of kind {kind}, which is not known here"),
    };
    Ok(Some((note, rest)))
}

fn path_of(bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let text = std::str::from_utf8(bytes).context("a path that is no text")?;
    Ok(PathBuf::from(text))
}

/// The idempotency keys of the requests that went out.
pub(super) fn keys_said(notes: &[Note]) -> impl Iterator<Item = String> {
    notes.iter().filter_map(|note| {
        let Note::Said(bytes) = note else { return None };
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().find(|line| {
            line.get(..16).is_some_and(|name| name.eq_ignore_ascii_case("idempotency-key:"))
        })?;
        Some(line[16..].trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u32, offset: u64, path: &str, to: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [kind as usize, path.len(), to.len(), data.len()] {
            bytes.extend(u32::try_from(number).unwrap().to_ne_bytes());
        }
        for number in [1, 2, offset] {
            bytes.extend(u64::to_ne_bytes(number));
        }
        bytes.extend([path.as_bytes(), to.as_bytes(), data].concat());
        bytes
    }

    #[test]
    fn records_are_read_up_to_the_one_that_is_cut_off() {
        let inode = Inode { device: 1, number: 2 };
        let mut bytes = record(1, 1, "/d/a", "", b"");
        bytes.extend(record(2, 7, "", "", b"xyz"));
        bytes.extend(record(6, 0, "/d/a", "/d/b", b""));
        bytes.extend(&record(2, 7, "", "", b"lost")[..42]);
        let expected = [
            Note::Opened(inode, "/d/a".into(), Opened::New),
            Note::Written(inode, 7, b"xyz".to_vec()),
            Note::Renamed("/d/a".into(), "/d/b".into()),
        ];
        assert_eq!(parse(&bytes).unwrap(), expected);
        assert!(parse(&record(99, 0, "", "", b"")).is_err());
    }

    #[test]
    fn keys_are_found_in_requests() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: abc\r\n\r\n{}".to_vec();
        let notes = [Note::Said(request), Note::Said(b"\xff{}".to_vec())];
        assert_eq!(keys_said(&notes).collect::<Vec<_>>(), ["abc"]);
    }
}
