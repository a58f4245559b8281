//! The broker's side of the protocol, for the sandbox: requests are decoded and answers encoded by the crate alone, so that
//! the embedded broker does not share this client's own codecs.
//!
//! Compiled only with the feature `sandbox`.

pub use kafka_protocol::messages;
pub use kafka_protocol::protocol;
