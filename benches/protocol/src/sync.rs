//! Of the engine what happens to each record.

#[path = "../../../src/sync/convert/mod.rs"]
pub mod convert;
#[path = "../../../src/sync/json/mod.rs"]
pub mod json;
#[path = "../../../src/sync/stats.rs"]
pub mod stats;
