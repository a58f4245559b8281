//! The demo's own folder.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::cli::failure::code;

/// A fresh folder with a few files, removed at the end.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it in the system's folder for temporary files, with `files` (name and content) in it. Nobody but the user can
    /// read it.
    ///
    /// # Errors
    /// When it or a file cannot be made; what was made is removed again.
    pub(super) fn new(files: &[(&str, &str)]) -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("forebay-demo-{}", uuid::Uuid::new_v4().simple()));
        let failed = |error: std::io::Error| Failure::new(code::CANNOT_CREATE, format!("{}: {error}", path.display()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let folder = Self(path.clone());
        for (name, content) in files {
            fs::write(path.join(name), content).map_err(failed)?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it.
    ///
    /// # Errors
    /// When that does not go.
    pub(super) fn remove(self) -> Result<(), Failure> {
        fs::remove_dir_all(&self.0)
            .map_err(|error| Failure::new(code::FAILED, format!("cannot remove {}: {error}", self.0.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // After `remove` there is nothing left; in the other cases another error is on its way to the user.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_stays_behind() {
        let folder = Folder::new(&[("a", "1")]).unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "1");
        folder.remove().unwrap();
        assert!(!path.exists());
        let path = Folder::new(&[]).unwrap().path().to_owned();
        assert!(!path.exists());
    }
}
