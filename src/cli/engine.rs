//! Runs a job under the user's signals, and says what its failure means for the exit code.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::Failure;
use super::failure::code;
use crate::job::JobSpec;
use crate::sync::run::{self, RunOptions};
use crate::sync::{RunError, RunErrorKind, StopCause, Summary};

/// How a run ended without success.
#[derive(Debug)]
pub(super) enum Ended {
    /// It failed, or was stopped in order.
    Failed(RunError),
    /// A second signal, or SIGQUIT: it was dropped where it stood. Table and group are as they were unless the commit had begun.
    Dropped(u8),
}

/// Runs the job. The first SIGINT or SIGTERM stops it in order, a second one at once.
pub(super) async fn run(spec: &JobSpec, options: &RunOptions) -> Result<Result<Summary, Ended>, Failure> {
    until_ended(|stopped| run::run(spec, options, stopped)).await
}

/// Does `work` under the signals: the first SIGINT or SIGTERM is told to it, a second one drops it.
pub(super) async fn until_ended<T, F: Future<Output = Result<T, RunError>>>(
    work: impl FnOnce(watch::Receiver<Option<StopCause>>) -> F,
) -> Result<Result<T, Ended>, Failure> {
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(None);
    let work = work(stopped);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result.map_err(Ended::Failed)),
            signal = signals.next() => {
                let already = *stop.borrow();
                match (signal, already) {
                    (Some(cause), None) => {
                        log::warn!("stopping; a second signal stops at once");
                        stop.send_replace(Some(cause));
                    }
                    (_, first) => return Ok(Err(Ended::Dropped(stop_code(first.unwrap_or(StopCause::Terminate))))),
                }
            }
        }
    }
}

/// The exit code of a failure.
pub(super) const fn exit_code(kind: RunErrorKind) -> u8 {
    match kind {
        RunErrorKind::Config => code::CONFIG,
        RunErrorKind::Unavailable => code::UNAVAILABLE,
        RunErrorKind::DirtyLimit => code::DIRTY_LIMIT,
        RunErrorKind::SafetyStop => code::SAFETY_STOP,
        RunErrorKind::Auth => code::NO_PERMISSION,
        RunErrorKind::Stopped(cause) => stop_code(cause),
        RunErrorKind::Bug => code::BUG,
        RunErrorKind::Deadline | RunErrorKind::Failed => code::FAILED,
    }
}

const fn stop_code(cause: StopCause) -> u8 {
    match cause {
        StopCause::Interrupt => code::INTERRUPTED,
        StopCause::Terminate => code::TERMINATED,
    }
}

/// The signals that end a run.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(code::FAILED, format!("cannot listen to signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// The next signal; `None` = SIGQUIT, which never waits.
    async fn next(&mut self) -> Option<StopCause> {
        tokio::select! {
            _ = self.interrupt.recv() => Some(StopCause::Interrupt),
            _ = self.terminate.recv() => Some(StopCause::Terminate),
            _ = self.quit.recv() => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_code() {
        for (kind, wanted) in [
            (RunErrorKind::Failed, 1),
            (RunErrorKind::Deadline, 1),
            (RunErrorKind::DirtyLimit, 65),
            (RunErrorKind::Unavailable, 69),
            (RunErrorKind::Bug, 70),
            (RunErrorKind::SafetyStop, 76),
            (RunErrorKind::Auth, 77),
            (RunErrorKind::Config, 78),
            (RunErrorKind::Stopped(StopCause::Interrupt), 130),
            (RunErrorKind::Stopped(StopCause::Terminate), 143),
        ] {
            assert_eq!(exit_code(kind), wanted, "{kind:?}");
        }
    }
}
