//! The jobs that one agent runs: started, stopped and exchanged while the others go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::job::JobSpec;
use crate::sync::deliver::{DeliverOptions, deliver};
use crate::sync::status::JobStatus;
use crate::sync::{RunError, RunErrorKind, StopCause};

/// The jobs of an agent, by name.
#[derive(Debug)]
pub struct Jobs {
    options: DeliverOptions,
    running: BTreeMap<String, Running>,
    /// What is to be started as soon as the job of the same name has ended.
    waiting: BTreeMap<String, JobSpec>,
    /// What a person has paused; it does not come back by itself.
    paused: BTreeMap<String, JobSpec>,
    tasks: JoinSet<(String, Result<(), RunError>)>,
    /// What each job tells about itself; those that have ended stay until the next set of jobs.
    statuses: Statuses,
}

/// What each job of an agent tells about itself, by name. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<String, Arc<JobStatus>>>>);

impl Statuses {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<JobStatus>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one job of a run.
    pub fn of(status: &Arc<JobStatus>) -> Self {
        let one = BTreeMap::from([(status.facts().name.clone(), Arc::clone(status))]);
        Self(Arc::new(Mutex::new(one)))
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<JobStatus>> {
        self.jobs().values().cloned().collect()
    }

    /// The one of this job.
    pub fn get(&self, name: &str) -> Option<Arc<JobStatus>> {
        self.jobs().get(name).cloned()
    }
}

#[derive(Debug)]
struct Running {
    spec: JobSpec,
    stop: watch::Sender<Option<StopCause>>,
}

/// What a new set of jobs means to the running ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Jobs that did not run before.
    pub started: Vec<String>,
    /// Jobs that are drained and started anew, since something in them has changed.
    pub changed: Vec<String>,
    /// Jobs that are drained and do not come back.
    pub stopped: Vec<String>,
}

impl Changes {
    /// Whether everything goes on as it was.
    pub fn is_empty(&self) -> bool {
        self.started.is_empty() && self.changed.is_empty() && self.stopped.is_empty()
    }
}

impl Jobs {
    /// No jobs yet.
    pub fn new(options: DeliverOptions) -> Self {
        Self {
            options,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            paused: BTreeMap::new(),
            tasks: JoinSet::new(),
            statuses: Statuses::default(),
        }
    }

    /// What the jobs tell about themselves.
    pub const fn statuses(&self) -> &Statuses {
        &self.statuses
    }

    /// Makes these the jobs that run. What has not changed is not touched; a job that had ended is started again.
    pub fn apply(&mut self, wanted: Vec<JobSpec>) -> Changes {
        let mut changes = Changes::default();
        self.waiting.clear();
        let names: Vec<String> = wanted.iter().map(|spec| spec.name.clone()).collect();
        self.statuses.jobs().retain(|name, _| names.contains(name) || self.running.contains_key(name));
        for (name, running) in &self.running {
            if !names.contains(name) {
                running.stop.send_replace(Some(StopCause::Terminate));
                changes.stopped.push(name.clone());
            }
        }
        self.paused.retain(|name, _| names.contains(name));
        for spec in wanted {
            if let Some(paused) = self.paused.get_mut(&spec.name) {
                *paused = spec;
                continue;
            }
            match self.running.get(&spec.name) {
                Some(running) if running.spec == spec && running.stop.borrow().is_none() => {}
                Some(running) => {
                    running.stop.send_replace(Some(StopCause::Terminate));
                    changes.changed.push(spec.name.clone());
                    self.waiting.insert(spec.name.clone(), spec);
                }
                None => {
                    changes.started.push(spec.name.clone());
                    self.start(spec);
                }
            }
        }
        changes
    }

    fn start(&mut self, spec: JobSpec) {
        let (stop, stopped) = watch::channel(None);
        let (name, options) = (spec.name.clone(), self.options);
        self.running.insert(name.clone(), Running { spec: spec.clone(), stop });
        let status = Arc::new(JobStatus::new(&spec, jiff::Timestamp::now().as_millisecond()));
        self.statuses.jobs().insert(name.clone(), Arc::clone(&status));
        self.tasks.spawn(async move { (name, deliver(&spec, options, &status, stopped).await) });
    }

    /// Drains a job, which then rests until [`Jobs::resume`]; other members of its group take its partitions over. Gives what has
    /// come of it in words.
    ///
    /// # Errors
    /// In words, where no such job runs.
    pub fn pause(&mut self, name: &str) -> Result<String, String> {
        if self.paused.contains_key(name) {
            return Ok(format!("job {name} is paused already"));
        }
        let Some(running) = self.running.get(name) else { return Err(format!("no job \"{name}\" runs here")) };
        running.stop.send_replace(Some(StopCause::Terminate));
        let spec = self.waiting.remove(name).unwrap_or_else(|| running.spec.clone());
        self.paused.insert(name.to_owned(), spec);
        if let Some(status) = self.statuses.get(name) {
            status.pause();
        }
        Ok(format!("job {name} brings what is under way to its end and pauses"))
    }

    /// Lets a paused job go on. Gives what has come of it in words.
    ///
    /// # Errors
    /// In words, where no such job is paused.
    pub fn resume(&mut self, name: &str) -> Result<String, String> {
        let Some(spec) = self.paused.remove(name) else { return Err(format!("no job \"{name}\" is paused here")) };
        if self.running.contains_key(name) {
            // It has not come to its end yet.
            self.waiting.insert(name.to_owned(), spec);
        } else {
            self.start(spec);
        }
        Ok(format!("job {name} goes on"))
    }

    /// What a job is made of, or each of them, without secrets.
    ///
    /// # Errors
    /// In words, where there is no such job.
    pub fn config(&self, name: Option<&str>) -> Result<String, String> {
        let running = self.running.iter().map(|(name, running)| (name, &running.spec));
        // What waits is what will run.
        let specs: BTreeMap<&String, &JobSpec> = running.chain(&self.paused).chain(&self.waiting).collect();
        let wanted = specs.iter().filter(|(known, _)| name.is_none_or(|name| name == known.as_str()));
        let all: Vec<String> = wanted.map(|(name, spec)| format!("job {name}\n{}", spec.redacted_json)).collect();
        match name {
            Some(name) if all.is_empty() => Err(format!("no job \"{name}\" runs here")),
            _ => Ok(all.join("\n")),
        }
    }

    /// Drains all of them, for good.
    pub fn stop(&mut self, cause: StopCause) {
        self.waiting.clear();
        self.paused.clear();
        for running in self.running.values() {
            running.stop.send_replace(Some(cause));
        }
    }

    /// How many run.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next job that has ended, with its name; none when no job runs and none is paused. Safe to drop half-way.
    pub async fn next_ended(&mut self) -> Option<(String, Result<(), RunError>)> {
        if self.tasks.is_empty() && !self.paused.is_empty() {
            return std::future::pending().await;
        }
        let (name, outcome) = match self.tasks.join_next().await? {
            Ok(ended) => ended,
            // A task that broke has no name; its job is the one that no task is left for.
            Err(lost) => {
                let error = RunError::new(RunErrorKind::Bug, format!("a job was lost: {lost}"));
                return Some((String::new(), Err(error)));
            }
        };
        self.running.remove(&name);
        if let Some(spec) = self.waiting.remove(&name) {
            self.start(spec);
        }
        Some((name, outcome))
    }
}
