//! The harness of the tests that need more than one module: real Kafka clusters, Kafka's own tools, the official
//! MaxCompute SDKs, the `forebay` program as a user calls it, and scratch folders for all of them.
//!
//! Nothing here may help forebay along: the harness starts foreign programs and reads what they print. What is judged is
//! judged by them. Every process it starts ends with the test, whether that passes, panics or is killed.
//!
//! A helper that cannot do its work panics with what it did and the tail of the logs, since a test has nothing better to
//! do with such an error than to fail.

pub mod cli;
pub mod gate;
pub mod java;
pub mod kafka;
pub mod lane;
pub mod maxcompute;
pub mod port;
pub mod process;
pub mod schema;
pub mod scratch;
pub mod table;
pub mod zookeeper;
