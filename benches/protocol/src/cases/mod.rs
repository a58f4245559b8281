//! The cases.

mod data;
mod record;
mod row;
#[cfg(not(test))]
#[path = "../../../../src/sync/convert/specs.rs"]
mod specs;
mod wire;

#[cfg(test)]
use crate::sync::convert::specs;

/// The records of a batch with values of `size` bytes before they are compressed, from which the files in `data` are made.
#[must_use]
pub fn plain_records(size: usize) -> Vec<u8> {
    data::plain_records(size)
}

/// One run of a case, its input made before.
pub type Run = Box<dyn FnMut()>;

/// One piece of the path.
pub struct Case {
    /// `group/what`, the same in every version: the baselines go by it.
    pub name: &'static str,
    /// What one run goes through: records, or whatever the case has many of.
    pub items: u64,
    /// Bytes of them, not compressed.
    pub bytes: u64,
    /// Makes the input and gives the run. A run checks what it got: a case that does nothing fails.
    pub prepare: fn() -> Run,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every case, in the order of the path.
#[must_use]
pub fn cases() -> Vec<Case> {
    [wire::cases(), record::cases(), row::cases()].into_iter().flatten().collect()
}
