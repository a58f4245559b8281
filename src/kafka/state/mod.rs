//! The client's state machines: bytes, answers and times go in, requests, records and decisions come out.
//!
//! No sockets, no clock, no runtime: time is an argument, iteration order is fixed, and the same inputs give the same
//! outputs. [`crate::kafka`]'s shell feeds them.

pub mod aborted;
pub mod address;
pub mod assign;
pub mod backoff;
pub mod cluster;
pub mod fetch;
pub mod frame;
pub mod group;
pub mod link;
pub mod login;
pub mod produce;
pub mod sasl;
