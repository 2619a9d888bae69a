//! Folders that a run may use, and paths within them.
//!
//! A path is opened relative to the handle of its root, component by component, so that neither `..` nor a symbolic
//! link leads out, also if links change while it is being opened. Links that stay within the root are followed, except
//! absolute ones. What a hard link or a mount below a root reaches is the operator's business.

use std::io;
use std::path::{Path, PathBuf};

use aura_core::task::Permissions;
use aura_core::{Code, Failure};
use cap_std::ambient_authority;
use cap_std::fs::Dir;

/// A path within a root.
pub(crate) struct Place {
    /// The root.
    pub(crate) dir: Dir,
    /// The path within it; `.` for the root itself.
    pub(crate) path: PathBuf,
    /// The whole path, for people and artifacts.
    pub(crate) shown: String,
}

/// Finds the root of a path; whether the path stays within it shows when it is opened.
///
/// # Errors
/// `FORBIDDEN` for an absolute path outside all roots, or where there is no root; all errors are certain.
pub(crate) fn place(permissions: &Permissions, path: &str) -> Result<Place, Failure> {
    let path = Path::new(path);
    let Some(first) = permissions.roots.first() else {
        let what = "this run may not use files: it was started without a folder for them";
        return Err(Failure::certain(Code::Forbidden, what));
    };
    let (root, rest) = if path.is_absolute() {
        within(&permissions.roots, path).ok_or_else(|| {
            let what = format!("'{}' is outside the folders that this run may use", path.display());
            Failure::certain(Code::Forbidden, what)
        })?
    } else {
        (PathBuf::from(first), path.to_owned())
    };
    if !root.is_absolute() {
        let what = format!("the folder '{}' is not an absolute path", root.display());
        return Err(Failure::certain(Code::Forbidden, what));
    }
    let dir = Dir::open_ambient_dir(&root, ambient_authority())
        .map_err(|e| failure(&e, &root.to_string_lossy()))?;
    let shown = root.join(&rest);
    // Collecting the components drops a `/` at the end.
    let shown = shown.components().collect::<PathBuf>().to_string_lossy().into_owned();
    let path = if rest.as_os_str().is_empty() { PathBuf::from(".") } else { rest };
    Ok(Place { dir, path, shown })
}

/// The first root that an absolute path begins with, as written or with the root's own links resolved.
fn within(roots: &[String], path: &Path) -> Option<(PathBuf, PathBuf)> {
    for root in roots.iter().map(PathBuf::from) {
        if let Ok(rest) = path.strip_prefix(&root) {
            return Some((root.clone(), rest.to_owned()));
        }
        let real = root.canonicalize().ok();
        if let Some(rest) = real.and_then(|real| path.strip_prefix(real).ok().map(Path::to_owned)) {
            return Some((root, rest));
        }
    }
    None
}

/// What went wrong with a file, before anything was changed.
pub(crate) fn failure(error: &io::Error, path: &str) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        // Also what a path that leads out of its root gives.
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Code::Forbidden,
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Code::Conflict,
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => Code::InvalidInput,
        _ if error.raw_os_error() == Some(TOO_MANY_LINKS) => Code::Forbidden,
        _ => Code::Unavailable,
    };
    Failure::certain(code, format!("{path}: {error}"))
}

/// `ELOOP` on Linux; its `ErrorKind` is not stable yet.
const TOO_MANY_LINKS: i32 = 40;

/// The media type that the name of a file suggests.
pub(crate) fn media_type(path: &Path, text: bool) -> &'static str {
    let unknown = if text { "text/plain" } else { "application/octet-stream" };
    mime_guess::from_path(path).first_raw().unwrap_or(unknown)
}

/// Makes the entries of a folder durable.
pub(crate) fn sync(dir: &Dir, path: &Path) -> io::Result<()> {
    // A handle of a folder that serves only for looking up paths can't be synced; one opened for reading can.
    dir.open(path)?.sync_all()
}
