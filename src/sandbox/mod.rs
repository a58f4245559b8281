//! An embedded Kafka broker and a local MaxCompute, for demos and tests.

pub mod broker;
pub mod clock;
pub mod maxcompute;
