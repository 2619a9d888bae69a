//! Blobs as files beside the store: the address in hexadecimal digits, in a folder named by its first two.
//!
//! A file is written beside its place, synced, renamed into it, and its folder is synced, before a put returns.
//! Nothing is deleted here: what nothing names is swept by the store.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use aura_core::data::{BlobRef, blob_address};
use aura_core::error::{Code, Problem};
use aura_core::hash::Hash;
use aura_core::limits;
use aura_core::ports::{BlobError, Blobs, Store, StoreError};
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;

use crate::fault;
use crate::open::Access;
use crate::pack;
use crate::sqlite::SqliteStore;

const FOLDER: &str = "blobs";

/// The blobs of a data directory, those of the store's own table included.
#[derive(Debug)]
pub struct LocalBlobs {
    store: Arc<SqliteStore>,
    dir: PathBuf,
    /// `None` where a reader found no folder.
    files: Option<LocalFileSystem>,
    access: Access,
    salt: Hash,
}

impl LocalBlobs {
    /// Where the blobs of a data directory lie.
    pub(crate) fn dir(data: &Path) -> PathBuf {
        data.join(FOLDER)
    }

    pub(crate) fn open(
        data: &Path,
        store: Arc<SqliteStore>,
        access: Access,
    ) -> Result<Self, Problem> {
        let dir = Self::dir(data);
        let files = if dir.is_dir() {
            if access == Access::Owner {
                // A folder that an owner made without living on to sync its name counts as there from now on.
                let synced = std::fs::File::open(&dir).and_then(|dir| dir.sync_all());
                synced.map_err(|e| fault::of_io(&dir, &e))?;
            }
            let files = LocalFileSystem::new_with_prefix(&dir)
                .map_err(|e| fault::told(Code::StoreUnavailable, &dir, &e.to_string()))?;
            Some(files.with_fsync(true))
        } else {
            None
        };
        let salt = store.salt();
        Ok(Self { store, dir, files, access, salt })
    }

    /// The bytes of a blob's file.
    async fn file(&self, blob: BlobRef) -> Result<Bytes, BlobError> {
        let files = self.files.as_ref().ok_or(BlobError::Missing(blob.blob))?;
        let most = usize::try_from(blob.bytes).unwrap_or(usize::MAX);
        if most > limits::BLOB_BYTES {
            return Err(BlobError::Corrupt(blob.blob));
        }
        let found = files.get(&place(blob.blob)).await.map_err(|e| failure(blob.blob, &e))?;
        if found.meta.size > pack::packed_bound(most) as u64 {
            return Err(BlobError::Corrupt(blob.blob));
        }
        let packed = found.bytes().await.map_err(|e| failure(blob.blob, &e))?;
        let salt = self.salt;
        aside(move || match pack::unpack(&packed, most) {
            Ok(plain) if blob_address(salt, &plain) == blob => Ok(Bytes::from(plain)),
            _ => Err(BlobError::Corrupt(blob.blob)),
        })
        .await
    }

    /// Renews the age of a file that is there, so that it is not swept before it is named, and makes its name
    /// durable, as whoever renamed it into place may not have lived on to sync it. `false` if it is gone.
    async fn settle(&self, blob: BlobRef) -> Result<bool, BlobError> {
        let (folder, path) = (folder_of(&self.dir, blob.blob), path_of(&self.dir, blob.blob));
        let store = Arc::clone(&self.store);
        aside(move || {
            let _turn = store.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
            let renewed = std::fs::File::open(path)
                .and_then(|file| file.set_modified(std::time::SystemTime::now()))
                .and_then(|()| std::fs::File::open(folder)?.sync_all());
            match renewed {
                Ok(()) => Ok(true),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(e) => Err(BlobError::Unavailable(e.to_string())),
            }
        })
        .await
    }
}

#[async_trait]
impl Blobs for LocalBlobs {
    async fn put(&self, bytes: Bytes) -> Result<BlobRef, BlobError> {
        let (Access::Owner, Some(files)) = (self.access, &self.files) else {
            return Err(BlobError::Unavailable("the store is open for reading only".to_owned()));
        };
        if bytes.len() > limits::BLOB_BYTES {
            let text = format!("{} bytes are more than {}", bytes.len(), limits::BLOB_BYTES);
            return Err(BlobError::Full(text));
        }
        let salt = self.salt;
        let plain = bytes.clone();
        let blob = aside(move || Ok(blob_address(salt, &plain))).await?;
        // A file that is there but damaged is written again.
        if self.file(blob).await.is_ok() && self.settle(blob).await? {
            return Ok(blob);
        }
        let packed = aside(move || {
            pack::pack(&bytes).map_err(|e| BlobError::Unavailable(format!("zstd: {e}")))
        })
        .await?;
        let put = files.put(&place(blob.blob), packed.into()).await;
        put.map_err(|e| failure(blob.blob, &e))?;
        Ok(blob)
    }

    async fn get(&self, blob: BlobRef) -> Result<Bytes, BlobError> {
        let store = Arc::clone(&self.store);
        let found = aside(move || {
            store.blob(blob.blob).map_err(|error| match error {
                StoreError::Broken { code: Code::BlobCorrupt, .. } => BlobError::Corrupt(blob.blob),
                other => BlobError::Unavailable(other.to_string()),
            })
        })
        .await?;
        match found {
            Some(bytes) if bytes.len() as u64 == blob.bytes => Ok(bytes),
            Some(_) => Err(BlobError::Corrupt(blob.blob)),
            None => self.file(blob).await,
        }
    }
}

fn name_of(address: Hash) -> String {
    format!("{address}.zst")
}

fn place(address: Hash) -> object_store::path::Path {
    let name = name_of(address);
    object_store::path::Path::from(format!("{}/{name}", &name[..2]))
}

fn folder_of(dir: &Path, address: Hash) -> PathBuf {
    dir.join(&name_of(address)[..2])
}

/// Where the file of a blob lies, whether it is there or not.
pub(crate) fn path_of(dir: &Path, address: Hash) -> PathBuf {
    folder_of(dir, address).join(name_of(address))
}

/// The address that a file's name says; `None` for files that are still being written.
pub(crate) fn address_of(name: &str) -> Option<Hash> {
    name.strip_suffix(".zst")?.parse().ok()
}

fn failure(address: Hash, error: &object_store::Error) -> BlobError {
    if let object_store::Error::NotFound { .. } = error {
        return BlobError::Missing(address);
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| fault::io_code(io) == Code::StoreFull) {
            return BlobError::Full(error.to_string());
        }
        cause = error.source();
    }
    BlobError::Unavailable(error.to_string())
}

/// Runs what blocks beside the runtime's threads, or here where there is no runtime.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => match runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(e) => Err(BlobError::Unavailable(e.to_string())),
        },
        Err(_) => work(),
    }
}
