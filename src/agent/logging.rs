//! The log on standard error: one line an event, in DataX's form or as JSON.
//!
//! ```text
//! 2024-01-02 03:04:05.678 [main] INFO  sync::run - source: topic testkafka at emr-header-1:9092
//! ```
//!
//! Times are those of the machine's zone. Crates other than forebay speak only from WARN on, unless everything is asked for
//! (TRACE). A log that cannot be written is not an error: the run matters more than its log.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use jiff::Zoned;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::events::Events;

/// What was logged of late.
static EVENTS: Events = Events::new();

/// What was logged of late, from INFO on.
pub fn events() -> &'static Events {
    &EVENTS
}

/// How a line is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `yyyy-MM-dd HH:mm:ss.SSS [thread] LEVEL logger - message`, as DataX prints it.
    #[default]
    Text,
    /// One JSON object a line: `ts`, `level`, `target`, `thread`, `msg`.
    Json,
}

/// Starts logging to standard error. A second call in a process has no effect: the first logger stays.
pub fn start(level: LevelFilter, format: LogFormat) {
    if log::set_boxed_logger(Box::new(StderrLog { format })).is_ok() {
        log::set_max_level(level);
        IS_TEXT.store(format == LogFormat::Text, Relaxed);
    }
}

/// Whether lines of this level are logged, as text.
pub fn is_text(level: Level) -> bool {
    IS_TEXT.load(Relaxed) && log::max_level() >= level
}

/// Whether the log that was started is text.
static IS_TEXT: AtomicBool = AtomicBool::new(false);

/// A level some steps more (or, negative, less) talkative than `base`, within OFF and TRACE.
pub fn shifted(base: LevelFilter, steps: i32) -> LevelFilter {
    let levels = [
        LevelFilter::Off,
        LevelFilter::Error,
        LevelFilter::Warn,
        LevelFilter::Info,
        LevelFilter::Debug,
        LevelFilter::Trace,
    ];
    let at = levels.iter().position(|level| *level == base).and_then(|at| i32::try_from(at).ok()).unwrap_or(0);
    let wanted = usize::try_from(at.saturating_add(steps).max(0)).unwrap_or(0);
    levels.get(wanted).copied().unwrap_or(LevelFilter::Trace)
}

#[derive(Debug)]
struct StderrLog {
    format: LogFormat,
}

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_logged(log::max_level(), metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = Zoned::now();
        let thread = thread::current();
        let line = Line {
            level: record.level(),
            target: record.target(),
            thread: thread.name().unwrap_or("-"),
            message: &record.args().to_string(),
        };
        if line.level <= Level::Info {
            EVENTS.add(line.level.as_str(), line.logger(), line.message, now.timestamp().as_millisecond());
        }
        // One write a line, so that lines of two threads do not mix.
        let text = line.render(self.format, &now);
        super::terminal::write(&text);
    }

    fn flush(&self) {
        drop(std::io::stderr().lock().flush());
    }
}

fn is_logged(level: LevelFilter, metadata: &Metadata<'_>) -> bool {
    let all = is_ours(metadata.target()) || level == LevelFilter::Trace;
    metadata.level() <= if all { level } else { level.min(LevelFilter::Warn) }
}

fn is_ours(target: &str) -> bool {
    target == "forebay" || target.starts_with("forebay::")
}

struct Line<'a> {
    level: Level,
    target: &'a str,
    thread: &'a str,
    message: &'a str,
}

impl Line<'_> {
    fn logger(&self) -> &str {
        self.target.strip_prefix("forebay::").unwrap_or(self.target)
    }

    fn render(&self, format: LogFormat, now: &Zoned) -> String {
        let logger = self.logger();
        match format {
            LogFormat::Text => format!(
                "{} [{}] {:<5} {logger} - {}\n",
                now.strftime("%Y-%m-%d %H:%M:%S.%3f"),
                self.thread,
                self.level,
                self.message
            ),
            LogFormat::Json => {
                let object = serde_json::json!({
                    "ts": now.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string(),
                    "level": self.level.as_str(),
                    "target": logger,
                    "thread": self.thread,
                    "msg": self.message,
                });
                format!("{object}\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rendered(format: LogFormat, target: &str) -> String {
        let now = "2024-01-02T03:04:05.0067+08:00[Asia/Shanghai]".parse().unwrap();
        Line { level: Level::Info, target, thread: "job-0", message: "two \"words\"\nand a line" }.render(format, &now)
    }

    #[test]
    fn text_lines_have_datax_form() {
        assert_eq!(
            rendered(LogFormat::Text, "forebay::sync::run"),
            "2024-01-02 03:04:05.006 [job-0] INFO  sync::run - two \"words\"\nand a line\n"
        );
        assert!(rendered(LogFormat::Text, "hyper").contains(" hyper - "));
    }

    #[test]
    fn json_lines_are_one_object_each() {
        let line = rendered(LogFormat::Json, "forebay::sync::run");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.get("ts").unwrap(), "2024-01-02T03:04:05.006+08:00");
        assert_eq!(value.get("msg").unwrap(), "two \"words\"\nand a line");
        assert_eq!(value.get("level").unwrap(), "INFO");
    }

    #[test]
    fn other_crates_speak_from_warn_on() {
        let enabled = |level: LevelFilter, target: &str, of: Level| {
            is_logged(level, &Metadata::builder().target(target).level(of).build())
        };
        assert!(enabled(LevelFilter::Info, "forebay::sync", Level::Info));
        assert!(!enabled(LevelFilter::Info, "forebay::sync", Level::Debug));
        assert!(!enabled(LevelFilter::Debug, "hyper::client", Level::Info));
        assert!(enabled(LevelFilter::Debug, "hyper::client", Level::Warn));
        assert!(!enabled(LevelFilter::Error, "hyper::client", Level::Warn));
        assert!(enabled(LevelFilter::Trace, "hyper::client", Level::Trace));
        assert!(!enabled(LevelFilter::Info, "forebaywater", Level::Info));
    }

    #[test]
    fn levels_shift_within_their_ends() {
        assert_eq!(shifted(LevelFilter::Info, 1), LevelFilter::Debug);
        assert_eq!(shifted(LevelFilter::Info, 9), LevelFilter::Trace);
        assert_eq!(shifted(LevelFilter::Info, -1), LevelFilter::Warn);
        assert_eq!(shifted(LevelFilter::Info, -9), LevelFilter::Off);
    }
}
