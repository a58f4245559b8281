//! What forebay prints as JSON, judged by the schema that it prints for it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::forebay;
use crate::process::{command, run};
use crate::scratch::{Scratch, cached, package_folder};

/// Documents that wait for the judge, each with its command line and its schema.
#[derive(Debug, Default)]
pub struct Documents(Mutex<Vec<Value>>);

impl Documents {
    /// Takes what `forebay kafka ARGUMENTS -o json` printed: a value, or a line for each record.
    pub fn add(&self, scratch: &Scratch, arguments: &[&str], printed: &str) {
        let mut forebay = forebay(scratch);
        forebay.arg("kafka").args(arguments).args(["-o", "schema"]);
        let schema = run(forebay, b"", Duration::from_secs(60)).expect_success();
        let schema: Value = serde_json::from_slice(&schema.stdout).expect("a schema");
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in printed.lines() {
            let document: Value = serde_json::from_str(line).expect("a document a line");
            documents.push(json!([arguments.join(" "), schema, document]));
        }
    }

    /// Lets the judge see them all. Gives the names of the definitions that they were held against.
    ///
    /// # Panics
    /// When a document is not what its schema says.
    pub fn judge(&self) -> BTreeSet<String> {
        let documents = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let name = |row: &Value| row[1]["$ref"].as_str().map(|name| name.replace("#/$defs/", "")).unwrap_or_default();
        let names = documents.iter().map(name).collect();
        let mut python = command(cached("venv").join("bin/python"));
        python.arg(package_folder().join("python/validate_json.py"));
        let _output = run(python, json!(documents).to_string().as_bytes(), Duration::from_secs(60)).expect_success();
        names
    }
}
