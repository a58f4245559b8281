//! Exactly once with real processes: agents that are killed, stopped and cut off at named points, on real brokers behind a gate that
//! loses answers, and a local MaxCompute that does. The judge is a ledger of every record, which ConsoleConsumer confirms on
//! one side and PyODPS on the other.
//!
//! `./proto-tests/run exactly-once` plays all of it; a plain run takes a few points.

mod batches;
mod crowd;
mod points;
mod special;
