//! Files that are there as a whole or not at all: written beside their place, and renamed.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file in the making; it goes away unless it is finished.
pub(crate) struct WholeFile {
    out: BufWriter<Sink>,
    place: PathBuf,
}

enum Sink {
    Beside(NamedTempFile),
    /// A pipe or a device, which can't be replaced.
    Through(File),
}

impl WholeFile {
    /// Begins a file that takes the place of what is at `path`. A link stays, and what it leads to is replaced.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let place = match fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
            }
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(path)?;
                let out = BufWriter::new(Sink::Through(file));
                return Ok(Self { out, place: path.to_owned() });
            }
            Ok(_) => fs::canonicalize(path)?,
            Err(e) if e.kind() == ErrorKind::NotFound => path.to_owned(),
            Err(e) => return Err(e),
        };
        // As of any other new file: the umask says who may read it.
        let file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder(&place))?;
        Ok(Self { out: BufWriter::new(Sink::Beside(file)), place })
    }

    /// Puts it in its place, durably.
    pub(crate) fn finish(self) -> io::Result<()> {
        let (file, place) = self.synced()?;
        let Some(file) = file else { return Ok(()) };
        file.persist(&place).map_err(|e| e.error)?;
        sync_folder(folder(&place))
    }

    /// As [`Self::finish`], unless something is there: then that stays, and this says `false`.
    pub(crate) fn finish_new(self) -> io::Result<bool> {
        let (file, place) = self.synced()?;
        let Some(file) = file else { return Ok(true) };
        match file.persist_noclobber(&place) {
            Ok(_) => sync_folder(folder(&place)).map(|()| true),
            Err(e) if e.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(e.error),
        }
    }

    fn synced(self) -> io::Result<(Option<NamedTempFile>, PathBuf)> {
        match self.out.into_inner().map_err(io::IntoInnerError::into_error)? {
            Sink::Beside(file) => {
                file.as_file().sync_all()?;
                Ok((Some(file), self.place))
            }
            Sink::Through(_) => Ok((None, self.place)),
        }
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Beside(file) => file.write(bytes),
            Self::Through(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Beside(file) => file.flush(),
            Self::Through(file) => file.flush(),
        }
    }
}

/// Writes a file of these bytes.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let why = format!("it has more than {most} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_until_the_new_file_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        write(&path, b"old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut half = WholeFile::create(&link).unwrap();
        half.write_all(&vec![b'x'; 100_000]).unwrap();
        drop(half);
        assert_eq!(read(&path, 3).unwrap(), b"old");
        write(&link, b"new").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mut second = WholeFile::create(&path).unwrap();
        second.write_all(b"other").unwrap();
        assert!(!second.finish_new().unwrap());
        assert_eq!(read(&path, 2).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
        write(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(WholeFile::create(dir.path()).is_err());
    }
}
