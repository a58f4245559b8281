//! Every answer of MaxCompute by its kind alone: for tests, tools and fuzzing that go over all of them.

use bytes::Bytes;

use super::{download, sql, table, upload};
use crate::tunnel::http::Answer;
use crate::tunnel::{csv, xml::Element};

/// What an answer's body is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// The JSON of an upload session: create, status, commit.
    UploadSession,
    /// The JSON of a download session.
    DownloadSession,
    /// The XML of a table, with its schema as JSON.
    Table,
    /// The XML of an SQL instance's result.
    SqlResult,
    /// The CSV of a query's rows.
    SqlRows,
    /// What a host sends with a status of failure: JSON, XML or a gateway's page.
    Failure,
}

impl AnswerKind {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::UploadSession, Self::DownloadSession, Self::Table, Self::SqlResult, Self::SqlRows, Self::Failure];
}

/// Reads the body of an answer and drops it: whether this client would take it.
pub fn read_answer(kind: AnswerKind, body: Bytes) -> bool {
    let answer = Answer { status: 400, headers: Vec::new(), body };
    match kind {
        AnswerKind::UploadSession => upload::is_session(&answer),
        AnswerKind::DownloadSession => download::is_session(&answer),
        AnswerKind::Table => table::parse_table("t", &answer.text()).is_ok(),
        AnswerKind::SqlResult => Element::parse(&answer.text()).is_ok_and(|root| sql::is_result(&root)),
        AnswerKind::SqlRows => csv::parse(&answer.text()).is_ok(),
        AnswerKind::Failure => {
            drop(answer.into_error(jiff::Timestamp::UNIX_EPOCH));
            true
        }
    }
}
