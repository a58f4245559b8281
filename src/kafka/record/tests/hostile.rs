//! Damaged and lying bytes: a value or an error, never a panic, never more memory than the bound.
