//! A disk that keeps no promise but one: what was synced stays.
//!
//! Of what was done to a file since its last sync each part may have reached the disk or not, in any order, down to
//! a sector; and of what was done to the names in a folder since the last sync of that folder likewise. Stricter than
//! most file systems, and what POSIX allows.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::log::{Inode, Note, Opened};
use crate::dice::Dice;

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Files that mean nothing after a cut: SQLite's index of its log is made anew by the first process that comes.
const FLEETING: &str = "-shm";

type Id = usize;

/// Syncs that are to count as if nobody had called them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sabotage {
    /// Those of the database and its log: what `synchronous=OFF` does.
    SynchronousOff,
    /// Those of the files and folders of blobs.
    NoBlobSync,
}

impl Sabotage {
    fn hits(self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self {
            Self::SynchronousOff => name.starts_with("aura.db"),
            Self::NoBlobSync => path.components().any(|part| part.as_os_str() == "blobs"),
        }
    }
}

/// A disk with what was done to it.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: PathBuf,
    sabotage: Option<Sabotage>,
    things: Vec<Thing>,
    inodes: BTreeMap<Inode, Id>,
    /// The names as processes see them.
    names: BTreeMap<PathBuf, Id>,
    /// The names that are sure to be there.
    synced: BTreeMap<PathBuf, Id>,
    /// What was done to names and is not sure.
    unsure: Vec<(usize, Naming)>,
    /// Syncs that have begun, by thread, with the moment.
    syncing: BTreeMap<u64, (Id, usize)>,
    /// Notes taken so far.
    moment: usize,
}

/// A file or a folder, and where it was last seen.
#[derive(Debug, Clone)]
struct Thing {
    path: PathBuf,
    /// `None` for a folder.
    file: Option<Content>,
}

#[derive(Debug, Clone, Default)]
struct Content {
    synced: Vec<u8>,
    unsure: Vec<(usize, Change)>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Debug, Clone)]
enum Naming {
    Add(PathBuf, Id),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// Which of what is not sure a cut leaves behind.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nothing.
    Least,
    /// Everything.
    Most,
    /// What was done before a moment.
    Before(usize),
    /// Some of it.
    Some(Dice),
    /// Some of it, and parts of single writes.
    Torn(Dice),
}

impl Fate {
    /// Any of them.
    pub(super) fn any(dice: &mut Dice, moments: usize) -> Self {
        match dice.below(5) {
            0 => Self::Least,
            1 => Self::Most,
            2 => Self::Before(usize::try_from(dice.below(moments as u64 + 1)).unwrap_or(0)),
            3 => Self::Some(Dice::new(dice.next())),
            _ => Self::Torn(Dice::new(dice.next())),
        }
    }

    fn keeps(&mut self, moment: usize) -> bool {
        match self {
            Self::Least => false,
            Self::Most => true,
            Self::Before(end) => moment < *end,
            Self::Some(dice) | Self::Torn(dice) => dice.below(2) == 0,
        }
    }
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Least => "nothing unsynced left",
            Self::Most => "everything left",
            Self::Before(_) => "the last of it lost",
            Self::Some(_) => "some of it lost",
            Self::Torn(_) => "some of it lost and torn",
        })
    }
}

impl Disk {
    /// What lies below a folder now, all of it synced.
    pub(super) fn load(root: &Path, sabotage: Option<Sabotage>) -> anyhow::Result<Self> {
        let mut disk = Self {
            root: root.to_owned(),
            sabotage,
            things: Vec::new(),
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            synced: BTreeMap::new(),
            unsure: Vec::new(),
            syncing: BTreeMap::new(),
            moment: 0,
        };
        disk.collect(root)?;
        disk.synced = disk.names.clone();
        Ok(disk)
    }

    fn collect(&mut self, path: &Path) -> anyhow::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let file = if found.is_dir() {
            None
        } else if found.is_file() {
            Some(Content { synced: fs::read(path)?, unsure: Vec::new() })
        } else {
            // Sockets: nobody listens after a cut.
            return Ok(());
        };
        let id = self.thing(path, file);
        self.inodes.insert(Inode { device: found.dev(), number: found.ino() }, id);
        self.names.insert(path.to_owned(), id);
        if found.is_dir() {
            for entry in fs::read_dir(path)? {
                self.collect(&entry?.path())?;
            }
        }
        Ok(())
    }

    fn thing(&mut self, path: &Path, file: Option<Content>) -> Id {
        self.things.push(Thing { path: path.to_owned(), file });
        self.things.len() - 1
    }

    /// Plays what was done.
    pub(super) fn play(&mut self, notes: &[Note]) -> anyhow::Result<()> {
        notes.iter().try_for_each(|note| self.take(note))
    }

    /// Takes over what a killed process did without a note: a kill may fall between a call and the note of it.
    ///
    /// None of it is sure. Only right while the power stays on, as the folder is the one that the next process finds.
    pub(super) fn catch_up(&mut self) -> anyhow::Result<()> {
        self.moment += 1;
        let now = Self::load(&self.root, None)?;
        let number = |disk: &Self, id: Id| {
            disk.inodes.iter().find_map(|(inode, known)| (*known == id).then_some(*inode))
        };
        for (path, found) in &now.names {
            let Some(inode) = number(&now, *found) else { continue };
            let id = match self.names.get(path) {
                Some(id) => *id,
                None => self.named_unseen(path, inode, &now),
            };
            self.inodes.insert(inode, id);
            let Some(content) = &now.things[*found].file else { continue };
            if self.things[id].file.as_ref().is_some_and(|was| was.whole() != content.synced) {
                let length = content.synced.len() as u64;
                self.change(inode, Change::Cut(length));
                self.change(inode, Change::Write(0, content.synced.clone()));
            }
        }
        let gone = |path: &&PathBuf| !now.names.contains_key(*path);
        for path in self.names.keys().filter(gone).cloned().collect::<Vec<_>>() {
            self.names.remove(&path);
            self.unsure.push((self.moment, Naming::Remove(path)));
        }
        Ok(())
    }

    /// A name that nobody noted: that of a thing that was moved, or of a new one.
    fn named_unseen(&mut self, path: &Path, inode: Inode, now: &Self) -> Id {
        let known = self.inodes.get(&inode).copied();
        let before = self
            .names
            .iter()
            .find(|(old, id)| Some(**id) == known && !now.names.contains_key(*old));
        if let Some((old, id)) = before.map(|(old, id)| (old.clone(), *id)) {
            self.names.remove(&old);
            self.names.insert(path.to_owned(), id);
            path.clone_into(&mut self.things[id].path);
            self.unsure.push((self.moment, Naming::Move(old, path.to_owned())));
            return id;
        }
        let file = now.names.get(path).and_then(|id| now.things[*id].file.as_ref());
        let id = self.thing(path, file.map(|_| Content::default()));
        self.add(path, id);
        id
    }

    fn take(&mut self, note: &Note) -> anyhow::Result<()> {
        self.moment += 1;
        match note {
            Note::Opened(inode, path, how) => self.opened(*inode, path, *how)?,
            Note::Written(inode, at, bytes) => {
                self.change(*inode, Change::Write(*at, bytes.clone()));
            }
            Note::Cut(inode, length) => self.change(*inode, Change::Cut(*length)),
            Note::Syncing(inode, thread) => {
                if let Some(id) = self.inodes.get(inode) {
                    self.syncing.insert(*thread, (*id, self.moment));
                }
            }
            Note::Synced(inode, thread) => {
                let begun = self.syncing.remove(thread);
                if let Some((id, began)) =
                    begun.filter(|(id, _)| self.inodes.get(inode) == Some(id))
                {
                    self.sync(id, began);
                }
            }
            Note::Renamed(from, to) => {
                let id = self.names.remove(from).with_context(|| unknown(from))?;
                self.names.insert(to.clone(), id);
                self.things[id].path.clone_from(to);
                self.unsure.push((self.moment, Naming::Move(from.clone(), to.clone())));
            }
            Note::Removed(path) => {
                // What a process did not make through a file, such as a socket, has no name here.
                if self.names.remove(path).is_some() {
                    self.unsure.push((self.moment, Naming::Remove(path.clone())));
                }
            }
            Note::Folder(path) => {
                let id = self.thing(path, None);
                self.add(path, id);
            }
            Note::Said(_) => {}
            Note::Strange(inode, what) => {
                let path = self.inodes.get(inode).map(|id| &self.things[*id].path);
                if path.is_none_or(|path| !is_fleeting(path)) {
                    bail!("{what} of {path:?}, which the shim does not understand");
                }
            }
        }
        Ok(())
    }

    fn opened(&mut self, inode: Inode, path: &Path, how: Opened) -> anyhow::Result<()> {
        let id = match (how, self.names.get(path)) {
            (Opened::Existing | Opened::Folder, Some(id)) => *id,
            (Opened::New, _) => {
                let id = self.thing(path, Some(Content::default()));
                self.add(path, id);
                id
            }
            // Made by a process that only looked, without the shim.
            (Opened::Existing, None) if is_fleeting(path) => {
                let id = self.thing(path, Some(Content::default()));
                self.add(path, id);
                id
            }
            // A special file, such as the socket.
            (Opened::Existing, None) => return Ok(()),
            (Opened::Folder, None) => bail!(unknown(path)),
        };
        self.inodes.insert(inode, id);
        Ok(())
    }

    fn add(&mut self, path: &Path, id: Id) {
        self.names.insert(path.to_owned(), id);
        self.unsure.push((self.moment, Naming::Add(path.to_owned(), id)));
    }

    fn change(&mut self, inode: Inode, change: Change) {
        let Some(id) = self.inodes.get(&inode) else { return };
        if let Some(content) = &mut self.things[*id].file {
            content.unsure.push((self.moment, change));
        }
    }

    /// What was done to it before a moment is sure from now on.
    fn sync(&mut self, id: Id, began: usize) {
        let path = self.things[id].path.clone();
        if self.sabotage.is_some_and(|sabotage| sabotage.hits(&path)) {
            return;
        }
        if let Some(content) = &mut self.things[id].file {
            let later = content.unsure.partition_point(|(moment, _)| *moment < began);
            for (_, change) in content.unsure.drain(..later) {
                change.apply(&mut content.synced);
            }
            return;
        }
        let mut unsure = Vec::new();
        for (moment, naming) in std::mem::take(&mut self.unsure) {
            if moment < began && naming.folder() == Some(&path) {
                naming.apply(&mut self.synced);
            } else {
                unsure.push((moment, naming));
            }
        }
        self.unsure = unsure;
    }

    /// Writes what a cut leaves behind into a folder, which is emptied first.
    pub(super) fn write(&self, fate: &mut Fate, into: &Path) -> anyhow::Result<()> {
        let mut names = self.synced.clone();
        for (moment, naming) in &self.unsure {
            if fate.keeps(*moment) {
                naming.apply(&mut names);
            }
        }
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        // A folder comes before what lies in it; what lies in one that is lost is lost with it.
        for (path, id) in names {
            let place = into.join(path.strip_prefix(&self.root)?);
            let here = place.parent().is_some_and(Path::is_dir) || path == self.root;
            match &self.things[id].file {
                _ if !here || is_fleeting(&path) => {}
                None => fs::create_dir_all(&place)?,
                Some(content) => fs::write(&place, content.after(fate))?,
            }
        }
        Ok(())
    }

    /// How many notes it has taken.
    pub(super) fn moments(&self) -> usize {
        self.moment
    }
}

fn is_fleeting(path: &Path) -> bool {
    path.to_string_lossy().ends_with(FLEETING)
}

fn unknown(path: &Path) -> String {
    format!("the shim noted {}, of which nothing is known", path.display())
}

impl Naming {
    /// The folder whose sync makes it sure.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Add(path, _) | Self::Move(_, path) | Self::Remove(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Id>) {
        match self {
            Self::Add(path, id) => {
                names.insert(path.clone(), *id);
            }
            Self::Move(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Content {
    /// Its bytes as processes see them.
    fn whole(&self) -> Vec<u8> {
        self.after(&mut Fate::Most)
    }

    /// Its bytes after a cut.
    fn after(&self, fate: &mut Fate) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (moment, change) in &self.unsure {
            if !fate.keeps(*moment) {
                continue;
            }
            match (change, &mut *fate) {
                (Change::Write(at, written), Fate::Torn(dice)) => {
                    for (at, part) in sectors(*at, written) {
                        if dice.below(2) == 0 {
                            put(&mut bytes, at, part);
                        }
                    }
                }
                (change, _) => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => put(bytes, *at, written),
            Self::Cut(length) => bytes.resize(index(*length), 0),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, written: &[u8]) {
    let (start, end) = (index(at), index(at) + written.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(written);
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The parts of a write that lie in one sector each.
fn sectors(mut at: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let room = index(SECTOR - at % SECTOR).min(bytes.len());
        let (part, rest) = bytes.split_at(room);
        parts.push((at, part));
        at += room as u64;
        bytes = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Inode = Inode { device: 1, number: 10 };
    const ROOT: Inode = Inode { device: 1, number: 11 };

    struct Bench {
        dir: tempfile::TempDir,
        disk: Disk,
    }

    impl Bench {
        fn new(sabotage: Option<Sabotage>) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            fs::create_dir(&root).unwrap();
            let mut disk = Disk::load(&root, sabotage).unwrap();
            disk.take(&Note::Opened(ROOT, root, Opened::Folder)).unwrap();
            Self { dir, disk }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join("root").join(name)
        }

        fn sync(&mut self, inode: Inode) {
            self.disk.play(&[Note::Syncing(inode, 1), Note::Synced(inode, 1)]).unwrap();
        }

        fn after(&self, mut fate: Fate, name: &str) -> Option<Vec<u8>> {
            let into = self.dir.path().join("image");
            self.disk.write(&mut fate, &into).unwrap();
            fs::read(into.join(name)).ok()
        }
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_may_go() {
        let mut bench = Bench::new(None);
        let path = bench.path("a");
        bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
        bench.disk.take(&Note::Written(A, 0, b"one".to_vec())).unwrap();
        assert_eq!(bench.after(Fate::Least, "a"), None);
        assert_eq!(bench.after(Fate::Most, "a").unwrap(), b"one");
        bench.sync(A);
        assert_eq!(bench.after(Fate::Least, "a"), None, "its name is not synced");
        bench.sync(ROOT);
        bench.disk.take(&Note::Written(A, 3, b"two".to_vec())).unwrap();
        assert_eq!(bench.after(Fate::Least, "a").unwrap(), b"one");
        assert_eq!(bench.after(Fate::Most, "a").unwrap(), b"onetwo");
        bench.disk.take(&Note::Cut(A, 1)).unwrap();
        assert_eq!(bench.after(Fate::Least, "a").unwrap(), b"one");
        bench.sync(A);
        assert_eq!(bench.after(Fate::Least, "a").unwrap(), b"o");
    }

    #[test]
    fn what_is_written_during_a_sync_is_not_sure() {
        let mut bench = Bench::new(None);
        let path = bench.path("a");
        bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
        bench.sync(ROOT);
        let notes = [Note::Syncing(A, 1), Note::Written(A, 0, b"x".to_vec()), Note::Synced(A, 1)];
        bench.disk.play(&notes).unwrap();
        assert_eq!(bench.after(Fate::Least, "a").unwrap(), b"");
    }

    #[test]
    fn a_name_is_as_sure_as_its_folder() {
        let mut bench = Bench::new(None);
        let (from, to) = (bench.path("a"), bench.path("b"));
        bench.disk.take(&Note::Opened(A, from.clone(), Opened::New)).unwrap();
        bench.sync(ROOT);
        bench.disk.take(&Note::Renamed(from, to.clone())).unwrap();
        assert!(bench.after(Fate::Least, "a").is_some() && bench.after(Fate::Least, "b").is_none());
        assert!(bench.after(Fate::Most, "a").is_none() && bench.after(Fate::Most, "b").is_some());
        bench.sync(ROOT);
        bench.disk.take(&Note::Removed(to)).unwrap();
        assert!(bench.after(Fate::Least, "b").is_some() && bench.after(Fate::Most, "b").is_none());
    }

    #[test]
    fn what_a_kill_left_without_a_note_is_found() {
        let mut bench = Bench::new(None);
        let (folder, moved, gone) = (bench.path("blobs"), bench.path("moved"), bench.path("gone"));
        fs::write(&moved, b"one").unwrap();
        fs::write(&gone, b"one").unwrap();
        bench.disk.catch_up().unwrap();
        assert_eq!(bench.after(Fate::Least, "moved"), None, "nobody synced it");
        bench.sync(ROOT);
        assert_eq!(bench.after(Fate::Least, "moved").unwrap(), b"");
        fs::create_dir(&folder).unwrap();
        fs::rename(&moved, bench.path("here")).unwrap();
        fs::write(bench.path("here"), b"another").unwrap();
        fs::remove_file(&gone).unwrap();
        bench.disk.catch_up().unwrap();
        bench.disk.take(&Note::Opened(A, folder, Opened::Folder)).unwrap();
        assert_eq!(bench.after(Fate::Most, "here").unwrap(), b"another");
        assert_eq!(bench.after(Fate::Most, "gone"), None);
        assert_eq!(bench.after(Fate::Least, "gone").unwrap(), b"");
        let before = bench.disk.unsure.len();
        bench.disk.catch_up().unwrap();
        assert_eq!(bench.disk.unsure.len(), before, "what is known is not found again");
    }

    #[test]
    fn a_write_is_torn_between_sectors() {
        let mut bench = Bench::new(None);
        let path = bench.path("a");
        bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
        bench.sync(ROOT);
        bench.disk.take(&Note::Written(A, 500, vec![1; 4_096])).unwrap();
        let torn = (0..64).filter_map(|seed| bench.after(Fate::Torn(Dice::new(seed)), "a"));
        let mixed =
            torn.filter(|bytes| bytes.contains(&1) && bytes.iter().skip(500).any(|b| *b == 0));
        assert!(mixed.count() > 10);
        let lengths: Vec<_> = sectors(500, &[1; 600]).iter().map(|(_, part)| part.len()).collect();
        assert_eq!(lengths, [12, 512, 76]);
    }

    #[test]
    fn a_sabotaged_sync_counts_for_nothing() {
        for (sabotage, kept) in [
            (None, true),
            (Some(Sabotage::SynchronousOff), false),
            (Some(Sabotage::NoBlobSync), true),
        ] {
            let mut bench = Bench::new(sabotage);
            let path = bench.path("aura.db-wal");
            bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
            bench.disk.take(&Note::Written(A, 0, b"x".to_vec())).unwrap();
            bench.sync(A);
            bench.sync(ROOT);
            assert_eq!(bench.after(Fate::Least, "aura.db-wal").unwrap() == b"x", kept);
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let mut bench = Bench::new(None);
        let path = bench.path("a");
        bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
        assert!(bench.disk.take(&Note::Strange(A, "mmap".to_owned())).is_err());
        let path = bench.path("aura.db-shm");
        bench.disk.take(&Note::Opened(A, path, Opened::New)).unwrap();
        bench.disk.take(&Note::Strange(A, "mmap".to_owned())).unwrap();
    }

    #[test]
    fn an_index_that_somebody_else_made_means_nothing() {
        let mut bench = Bench::new(None);
        let path = bench.path("aura.db-shm");
        bench.disk.take(&Note::Opened(A, path, Opened::Existing)).unwrap();
        bench.disk.take(&Note::Strange(A, "mmap".to_owned())).unwrap();
        assert_eq!(bench.after(Fate::Most, "aura.db-shm"), None);
    }
}
