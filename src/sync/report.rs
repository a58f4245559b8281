//! The lines people and schedulers know from DataX: progress every ten seconds, the summary of a finished run.
//!
//! Layouts of `core/.../communication/CommunicationTool.java` and `core/.../job/JobContainer.java` in alibaba/DataX; "Job
//! semantics", section 8. Pure text.

use std::fmt::Write as _;
use std::time::Duration;

use super::stats::Snapshot;

/// Bytes as DataX prints them: B without decimals, then KB, MB, GB and TB to base 1024 with two.
pub fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    for (unit, shift) in UNITS {
        if bytes >> shift > 0 {
            let hundredths = (u128::from(bytes) * 100) >> shift;
            return format!("{}.{:02}{unit}", hundredths / 100, hundredths % 100);
        }
    }
    format!("{bytes}B")
}

/// One progress line. `since` is the snapshot of the line before, `interval` the time between them; `in_range` is the
/// number of offsets the job has to read, where that is known.
pub fn progress_line(now: &Snapshot, since: &Snapshot, interval: Duration, in_range: Option<u64>) -> String {
    let seconds = interval.as_secs().max(1);
    let speed_bytes = now.bytes_read.saturating_sub(since.bytes_read) / seconds;
    let speed_records = now.records_read.saturating_sub(since.records_read) / seconds;
    format!(
        "Total {} records, {} bytes | Speed {}/s, {} records/s | Error {} records, {} bytes |  All Task WaitWriterTime {} |  \
         All Task WaitReaderTime {} | Percentage {}",
        now.records_read,
        now.bytes_read,
        bytes_text(speed_bytes),
        speed_records,
        now.dirty_records,
        now.dirty_bytes,
        seconds_text(now.writer_wait),
        seconds_text(now.reader_wait),
        percentage(now.records_read, in_range),
    )
}

fn seconds_text(duration: Duration) -> String {
    format!("{}.{:03}s", duration.as_secs(), duration.subsec_millis())
}

fn percentage(done: u64, of: Option<u64>) -> String {
    let hundredths = match of {
        Some(0) => 10_000,
        Some(of) => (u128::from(done) * 10_000 / u128::from(of)).min(10_000),
        None => 0,
    };
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

/// The summary of a successful run: an empty line, then seven lines. `start` and `end` are `yyyy-MM-dd HH:mm:ss`;
/// `total` is the whole run, `transfer` the part in which records moved.
pub fn summary(start: &str, end: &str, total: Duration, transfer: Duration, stats: &Snapshot) -> String {
    let seconds = transfer.as_secs().max(1);
    let rows: [(&str, String, usize); 7] = [
        ("任务启动时刻", start.to_owned(), 18),
        ("任务结束时刻", end.to_owned(), 18),
        ("任务总计耗时", format!("{}s", total.as_secs()), 19),
        ("任务平均流量", format!("{}/s", bytes_text(stats.bytes_read / seconds)), 19),
        ("记录写入速度", format!("{}rec/s", stats.records_read / seconds), 19),
        ("读出记录总数", stats.records_read.to_string(), 19),
        ("读写失败总数", stats.dirty_records.to_string(), 19),
    ];
    let mut text = String::from("\n");
    for (name, value, width) in rows {
        // Java's %-26s and %19s count characters, as Rust does.
        let line = if width == 18 { format!("{name:<26}: {value:<18}") } else { format!("{name:<26}: {value:>19}") };
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_datax_prints_them() {
        assert_eq!(bytes_text(921), "921B");
        assert_eq!(bytes_text(1024), "1.00KB");
        assert_eq!(bytes_text(1_310_720), "1.25MB");
        assert_eq!(bytes_text(u64::MAX), "16777215.99TB");
    }

    #[test]
    fn the_progress_line_word_for_word() {
        let now = Snapshot {
            records_read: 512,
            bytes_read: 9216,
            writer_wait: Duration::from_millis(1),
            ..Snapshot::default()
        };
        let line = progress_line(&now, &Snapshot::default(), Duration::from_secs(10), None);
        assert_eq!(
            line,
            "Total 512 records, 9216 bytes | Speed 921B/s, 51 records/s | Error 0 records, 0 bytes |  \
             All Task WaitWriterTime 0.001s |  All Task WaitReaderTime 0.000s | Percentage 0.00%"
        );
        let line = progress_line(&now, &Snapshot::default(), Duration::from_secs(10), Some(2048));
        assert!(line.ends_with("Percentage 25.00%"), "{line}");
    }

    #[test]
    fn the_summary_word_for_word() {
        let stats = Snapshot { records_read: 122_880, bytes_read: 15_728_640, ..Snapshot::default() };
        let text = summary(
            "2024-01-02 03:04:05",
            "2024-01-02 03:04:17",
            Duration::from_secs(12),
            Duration::from_secs(12),
            &stats,
        );
        let expected = "
任务启动时刻                    : 2024-01-02 03:04:05
任务结束时刻                    : 2024-01-02 03:04:17
任务总计耗时                    :                 12s
任务平均流量                    :            1.25MB/s
记录写入速度                    :          10240rec/s
读出记录总数                    :              122880
读写失败总数                    :                   0
";
        assert_eq!(text, expected);
    }
}
