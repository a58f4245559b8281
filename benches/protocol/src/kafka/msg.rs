//! The messages of the fetch path, without those that another crate writes and reads.

#[path = "../../../../src/kafka/msg/api_key.rs"]
mod api_key;
#[path = "../../../../src/kafka/msg/call.rs"]
mod call;
#[path = "../../../../src/kafka/msg/code.rs"]
mod code;
#[path = "../../../../src/kafka/msg/fetch.rs"]
mod fetch;
#[path = "../../../../src/kafka/msg/header.rs"]
mod header;
#[path = "../../../../src/kafka/msg/layout.rs"]
mod layout;
#[path = "../../../../src/kafka/msg/negotiate.rs"]
mod negotiate;

pub use api_key::ApiKey;
pub use call::{Call, EncodeError, Isolation, TopicId};
pub use code::ErrorCode;
pub use fetch::{FetchAnswer, FetchCall, FetchPartition, FetchSessionRef, FetchTopic};
pub use header::{RequestHeader, encode_request};
pub use negotiate::{VersionRange, VersionTable};
