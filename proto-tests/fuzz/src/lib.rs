//! What the fuzz targets do with their input. `proto-tests/tests/golden_frames` compiles this file too and feeds it the
//! seeds, so it names nothing of the fuzzer.
//!
//! Beside "no panic, no overflow, bounded memory" each target asserts what must hold for any input.

mod configuration;
mod kafka;
mod records;
mod tunnel;

pub use configuration::{job_files, json_members, properties, types};
pub use kafka::{answers, frames, group_blobs, sasl};
pub use records::{batches, codecs, message_sets};
pub use tunnel::{tunnel_answers, tunnel_rows};

/// Most memory that a target may hold, the fuzzer's input included.
pub const MEMORY_BYTES_MAX: usize = 96 * 1024 * 1024;

/// What a target does with its input.
pub type Target = fn(&[u8]);

/// The targets by name, as the seeds' folders are called.
pub const TARGETS: &[(&str, Target)] = &[
    ("answers", answers),
    ("frames", frames),
    ("batches", batches),
    ("message_sets", message_sets),
    ("codecs", codecs),
    ("group_blobs", group_blobs),
    ("tunnel_rows", tunnel_rows),
    ("tunnel_answers", tunnel_answers),
    ("job_files", job_files),
    ("types", types),
    ("properties", properties),
    ("sasl", sasl),
    ("json_members", json_members),
];

/// The first byte, which chooses among `choices`, and the rest.
fn choose<'a, T>(data: &'a [u8], choices: &'a [T]) -> Option<(&'a T, &'a [u8])> {
    let (first, rest) = data.split_first()?;
    choices.get(usize::from(*first) % choices.len().max(1)).map(|choice| (choice, rest))
}
