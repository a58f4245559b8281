//! The local MaxCompute.
