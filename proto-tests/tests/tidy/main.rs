//! Rules over the source tree that would silently rot: who may import whom, which crate has which door, files that nothing
//! compiles, words that must not stay, documents that name what is gone.
//!
//! Every complaint names file and line. Tastes (the length of files and functions) are left to readers.

mod documents;
mod doors;
mod edges;
mod modules;
mod source;
mod words;

/// Fails with all complaints at once.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaint(s):\n{}", complaints.len(), complaints.join("\n"));
}
