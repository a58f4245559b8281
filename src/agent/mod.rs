//! Process concerns of a long-running forebay.
