//! Scratch folders: one a test, removed when the test passed and kept when it failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// A folder of its own for one test or one cluster, under `proto-tests/scratch`.
///
/// Dropped in a panicking test, or with `FOREBAY_KEEP_SCRATCH` in the environment, it stays and says where it is.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty folder whose name begins with `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = package_folder().join("scratch").join(format!("{name}-{}-{number}", process::id()));
        // A process id comes back some day: what an older run left under it is not ours to build on.
        if path.exists() {
            fs::remove_dir_all(&path).unwrap_or_else(|error| panic!("cannot empty {}: {error}", path.display()));
        }
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        Self { path }
    }

    /// Writes a file into the folder and returns where it is.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }

    /// Makes a folder inside and returns where it is.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        path
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "the reader of a failed test needs the place of its files")]
    fn drop(&mut self) {
        if thread::panicking() || std::env::var_os("FOREBAY_KEEP_SCRATCH").is_some() {
            eprintln!("scratch folder kept: {}", self.path.display());
        } else {
            // A file that cannot be removed now must not fail a test that passed.
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

/// The folder `proto-tests` of this work tree.
#[must_use]
pub fn package_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The root of this work tree.
#[must_use]
pub fn repository_folder() -> &'static Path {
    package_folder().parent().expect("proto-tests lies in the repository")
}

/// What `./proto-tests/run setup` fetched under this name.
///
/// Panics with that command when it is not there: a test that needs it must not pass without it.
#[must_use]
pub fn cached(name: &str) -> PathBuf {
    let path = package_folder().join(".cache").join(name);
    assert!(path.exists(), "{} is missing: run `./proto-tests/run setup` first", path.display());
    path
}
