//! What a running agent shows over HTTP.
//!
//! A plain run asks an agent whose two ends do not exist: paths, schema, metrics, and callers that are slow or hostile. With
//! `FOREBAY_PAGE` set (`./proto-tests/run page`) an agent works on a real Kafka, and the page is looked at in Chromium.

mod agent;
mod browser;
mod control;
mod ganglia;
mod hostile;
mod metrics;
mod paths;
