//! MaxCompute over HTTP.
