/// Values that never enter the log.
pub trait Secrets: Send + Sync {
    /// The value of a secret; `None` if it is not set.
    ///
    /// # Errors
    /// The place where it should be is not safe to use (a file that others can read, say); the text says why.
    fn get(&self, name: &str) -> Result<Option<String>, String>;
}
