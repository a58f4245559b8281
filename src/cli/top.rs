//! `forebay top`: what a running agent says about itself, again and again, with the keys that people of top and htop expect.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::run::duration;
use super::status::{AgentOptions, shown};
use super::{Failure, out};
use crate::agent::keys::{Key, Keys};
use crate::agent::terminal;

/// Which agent, and how often it is asked.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct TopArgs {
    #[command(flatten)]
    agent: AgentOptions,

    /// Time between two looks
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    every: Duration,

    /// End after so many looks, instead of going on until q or Ctrl-C
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:
  forebay top
  forebay top --every 10s
  forebay top -n 1";

/// What the jobs are sorted by.
const SORTS: [&str; 5] = ["name", "state", "records/s", "lag", "dirty"];

/// What a person has chosen by keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    sort: usize,
    is_reversed: bool,
    filter: String,
    is_typing: bool,
    is_paused: bool,
    from: usize,
}

/// What comes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Quit,
    Look,
    Draw,
}

impl View {
    fn handle(&mut self, key: Key) -> Effect {
        if self.is_typing {
            match key {
                Key::Char('\r' | '\n') => self.is_typing = false,
                Key::Escape => (self.is_typing, self.filter) = (false, String::new()),
                Key::Char('\u{7f}' | '\u{8}') => {
                    self.filter.pop();
                }
                Key::Char(c) if !c.is_control() => self.filter.push(c),
                _ => {}
            }
            return Effect::Draw;
        }
        let sorts = SORTS.len();
        match key {
            Key::Char('q' | 'Q') => return Effect::Quit,
            Key::Char('s' | '>') | Key::Right => self.sort = self.sort.saturating_add(1) % sorts,
            Key::Char('<') | Key::Left => {
                self.sort = self.sort.checked_sub(1).unwrap_or_else(|| sorts.saturating_sub(1))
            }
            Key::Char('r' | 'R') => self.is_reversed = !self.is_reversed,
            Key::Char('p') => self.is_paused = !self.is_paused,
            Key::Char('/') => self.is_typing = true,
            Key::Escape => self.filter.clear(),
            Key::Char(' ') => return Effect::Look,
            Key::Char('k') | Key::Up => self.from = self.from.saturating_sub(1),
            Key::Char('j') | Key::Down => self.from = self.from.saturating_add(1),
            Key::Char(_) => {}
        }
        Effect::Draw
    }

    /// The jobs that are wanted, in the order that is wanted.
    fn arrange(&self, status: &mut Value) {
        let Some(jobs) = status.get_mut("jobs").and_then(Value::as_array_mut) else { return };
        jobs.retain(|job| job["name"].as_str().unwrap_or_default().contains(&self.filter));
        let number = |value: &Value| value.as_f64().unwrap_or(-1.0);
        crate::sorting::by(jobs, |a, b| {
            let text = |job: &Value, key: &str| job[key].as_str().unwrap_or_default().to_owned();
            let order = match self.sort {
                0 => text(a, "name").cmp(&text(b, "name")),
                1 => text(&a["health"], "word").cmp(&text(&b["health"], "word")),
                2 => number(&b["rates"]["now"]["records"]).total_cmp(&number(&a["rates"]["now"]["records"])),
                3 => number(&b["lag"]["records"]).total_cmp(&number(&a["lag"]["records"])),
                _ => number(&b["dirty"]["records"]).total_cmp(&number(&a["dirty"]["records"])),
            };
            if self.is_reversed { order.reverse() } else { order }
        });
    }

    /// A screen of so many columns and rows: the two lines of the head, what fits of the rest, and the keys.
    fn screen(&mut self, text: &str, columns: usize, rows: usize) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let room = rows.saturating_sub(3).max(1);
        self.from = self.from.min(lines.len().saturating_sub(2).saturating_sub(room));
        let shown = lines.iter().take(2).chain(lines.iter().skip(2).skip(self.from).take(room));
        let keys = match self.is_typing {
            true => format!("filter: {}_", self.filter),
            false => format!(
                "{}q quit  s sort: {}{}  / filter{}  p pause  space look",
                if self.is_paused { "PAUSED  " } else { "" },
                SORTS.get(self.sort).unwrap_or(&""),
                if self.is_reversed { " (reversed)" } else { "" },
                if self.filter.is_empty() { String::new() } else { format!(": {}", self.filter) },
            ),
        };
        // Each line takes the rest of the one before it away; below the last one everything goes.
        let mut screen = "\x1b[H".to_owned();
        for line in shown.copied().chain([keys.as_str()]) {
            screen.extend(line.chars().take(columns));
            screen.push_str("\x1b[K\r\n");
        }
        screen.truncate(screen.len().saturating_sub(2));
        screen.push_str("\x1b[J");
        screen
    }
}

impl TopArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let term = std::env::var("TERM").ok();
        let redraws = std::io::stdout().is_terminal() && terminal::can_draw(term.as_deref());
        let (_, mut status) = self.agent.ask().await?;
        // Given back to the shell as it was when this is dropped.
        let mut keys = redraws.then(Keys::start).flatten();
        let (mut view, mut looks) = (View::default(), 1_u32);
        let mut failed = None;
        loop {
            self.draw(&mut view, &status, failed.as_deref(), redraws);
            if self.count.is_some_and(|count| looks >= count) {
                return Ok(ExitCode::SUCCESS);
            }
            let due = Instant::now() + self.every;
            loop {
                let key = async {
                    match &mut keys {
                        Some(keys) => keys.next().await,
                        None => std::future::pending().await,
                    }
                };
                let effect = tokio::select! {
                    () = tokio::time::sleep_until(due.into()), if !view.is_paused => Effect::Look,
                    key = key => view.handle(key),
                    _ = tokio::signal::ctrl_c() => Effect::Quit,
                };
                match effect {
                    Effect::Quit => return Ok(ExitCode::SUCCESS),
                    Effect::Look => break,
                    Effect::Draw => self.draw(&mut view, &status, failed.as_deref(), redraws),
                }
            }
            match self.agent.ask().await {
                Ok((_, value)) => (status, failed) = (value, None),
                // An agent that is started again is waited for.
                Err(failure) => failed = Some(failure.message),
            }
            looks = looks.saturating_add(1);
        }
    }

    fn draw(&self, view: &mut View, status: &Value, failed: Option<&str>, redraws: bool) {
        let mut status = status.clone();
        view.arrange(&mut status);
        let text = match failed {
            Some(failed) => format!("{failed}\n"),
            None => shown(&status, jiff::Timestamp::now().as_millisecond()),
        };
        if redraws {
            let (columns, rows) = out::terminal_size(&std::io::stdout());
            out::data(&view.screen(&text, columns, rows));
        } else {
            out::data(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(status: &Value) -> Vec<&str> {
        status["jobs"].as_array().into_iter().flatten().filter_map(|job| job["name"].as_str()).collect()
    }

    #[test]
    fn keys_sort_filter_scroll_and_end() {
        let status = serde_json::json!({"jobs": [
            {"name": "b", "lag": {"records": 5}}, {"name": "a", "lag": {"records": 9}}, {"name": "ab", "lag": {}}
        ]});
        let mut view = View::default();
        let arranged = |view: &View| {
            let mut status = status.clone();
            view.arrange(&mut status);
            status
        };
        assert_eq!(names(&arranged(&view)), ["a", "ab", "b"]);
        assert_eq!([view.handle(Key::Left), view.handle(Key::Left)], [Effect::Draw; 2]);
        assert_eq!((SORTS[view.sort], names(&arranged(&view))), ("lag", vec!["a", "b", "ab"]));
        view.handle(Key::Char('r'));
        assert_eq!(names(&arranged(&view)), ["ab", "b", "a"]);
        for c in "/abq\u{7f}\r".chars() {
            assert_eq!(view.handle(Key::Char(c)), Effect::Draw);
        }
        assert_eq!((view.filter.as_str(), names(&arranged(&view))), ("ab", vec!["ab"]));
        view.handle(Key::Escape);
        assert_eq!(names(&arranged(&view)).len(), 3);
        assert_eq!(view.handle(Key::Char(' ')), Effect::Look);
        assert_eq!(view.handle(Key::Char('q')), Effect::Quit);
    }

    #[test]
    fn a_screen_never_overflows() {
        let mut view = View { from: 99, ..View::default() };
        let screen = view.screen("head\ncolumns\none\ntwo\nthree\n", 7, 5);
        assert_eq!(screen, "\x1b[Hhead\x1b[K\r\ncolumns\x1b[K\r\ntwo\x1b[K\r\nthree\x1b[K\r\nq quit \x1b[K\x1b[J");
        assert_eq!(view.from, 1);
        assert_eq!(view.screen("", 0, 0).matches("\r\n").count(), 0);
    }
}
