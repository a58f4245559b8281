//! The data folder: what the broker finds again after a restart.
//!
//! ```text
//! lock                            held by the process that uses the folder
//! cluster.json                    cluster id, next producer id
//! offsets.json                    committed offsets
//! topics/NAME/topic.json          id, replication factor, settings, first offsets
//! topics/NAME/N.log               record batches of partition N, one after the other
//! ```
//!
//! JSON files are written beside the old one and renamed over it: a crash of the process leaves the old or the new
//! one. Nothing is forced to the disk itself: a sandbox need not outlive a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::log::Log;
use super::offsets::Offsets;
use super::topic::{Topic, check_name};

/// A data folder.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: fs::File,
}

/// What is kept of the cluster itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AboutCluster {
    pub(super) cluster_id: String,
    pub(super) next_producer_id: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct AboutTopic {
    /// A UUID in its usual text form.
    id: String,
    replication_factor: i16,
    configs: BTreeMap<String, String>,
    /// First offset that is kept of each partition; as many as there are partitions.
    start_offsets: Vec<i64>,
}

/// A topic as it was found.
#[derive(Debug)]
pub(super) struct StoredTopic {
    pub(super) name: String,
    pub(super) id: Uuid,
    pub(super) replication_factor: i16,
    pub(super) configs: BTreeMap<String, String>,
    pub(super) logs: Vec<Log>,
}

impl Disk {
    /// Opens `folder`, made when it does not exist.
    ///
    /// # Errors
    /// Those of making it; [`io::ErrorKind::WouldBlock`] when another process uses it.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("topics")).map_err(|error| about(folder, &error))?;
        let lock = fs::File::create(folder.join("lock")).map_err(|error| about(folder, &error))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                let why = format!("{}: in use by another sandbox", folder.display());
                io::Error::new(io::ErrorKind::WouldBlock, why)
            }
            fs::TryLockError::Error(error) => about(folder, &error),
        })?;
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// What was kept of the cluster; a folder without it gets `new_id`.
    ///
    /// # Errors
    /// Those of reading, or of writing the new id.
    pub(super) fn load_cluster(&self, new_id: impl Fn() -> String) -> io::Result<AboutCluster> {
        if let Some(found) = load(&self.folder.join("cluster.json"))? {
            return Ok(found);
        }
        let fresh = AboutCluster { cluster_id: new_id(), next_producer_id: 0 };
        self.save_cluster(&fresh.cluster_id, 0)?;
        Ok(fresh)
    }

    /// Keeps the cluster's id and the next producer id.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn save_cluster(&self, cluster_id: &str, next_producer_id: i64) -> io::Result<()> {
        let value = AboutCluster { cluster_id: cluster_id.to_owned(), next_producer_id };
        save(&self.folder.join("cluster.json"), &value)
    }

    /// The committed offsets; none when nothing was kept.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn load_offsets(&self) -> io::Result<Offsets> {
        Ok(load(&self.folder.join("offsets.json"))?.unwrap_or_default())
    }

    /// Keeps the committed offsets.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn save_offsets(&self, offsets: &Offsets) -> io::Result<()> {
        save(&self.folder.join("offsets.json"), offsets)
    }

    /// All topics of the folder, with their logs opened.
    ///
    /// # Errors
    /// Those of reading; [`io::ErrorKind::InvalidData`] for a folder that is no topic of ours.
    pub(super) fn load_topics(&self) -> io::Result<Vec<StoredTopic>> {
        let mut topics = Vec::new();
        for entry in fs::read_dir(self.folder.join("topics"))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            // A topic whose making was cut short has no description yet: it was never acknowledged.
            let Some(about_topic) = load::<AboutTopic>(&path.join("topic.json"))? else { continue };
            check_name(&name).map_err(|refusal| invalid(&path, refusal.why))?;
            let mut logs = Vec::new();
            for (index, start_offset) in about_topic.start_offsets.iter().enumerate() {
                logs.push(Log::open(&path.join(format!("{index}.log")), *start_offset)?);
            }
            let AboutTopic { id, replication_factor, configs, .. } = about_topic;
            let id = Uuid::parse_str(&id).map_err(|error| invalid(&path, error.to_string()))?;
            topics.push(StoredTopic { name, id, replication_factor, configs, logs });
        }
        Ok(topics)
    }

    /// Makes the files of a new topic; its description comes last.
    ///
    /// # Errors
    /// Those of writing; the folder is removed again then.
    pub(super) fn create_topic(
        &self,
        name: &str,
        id: Uuid,
        partitions: i32,
        replication_factor: i16,
        configs: &BTreeMap<String, String>,
    ) -> io::Result<Vec<Log>> {
        let folder = self.topic_folder(name);
        let make = || {
            drop(fs::remove_dir_all(&folder));
            fs::create_dir_all(&folder)?;
            let logs = (0..partitions).map(|index| Log::open(&folder.join(format!("{index}.log")), 0));
            let logs = logs.collect::<io::Result<Vec<_>>>()?;
            let start_offsets = vec![0; logs.len()];
            let value = AboutTopic { id: id.to_string(), replication_factor, configs: configs.clone(), start_offsets };
            save(&folder.join("topic.json"), &value)?;
            Ok(logs)
        };
        make().map_err(|error: io::Error| {
            drop(fs::remove_dir_all(&folder));
            about(&folder, &error)
        })
    }

    /// Keeps the first offsets of a topic's partitions.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn save_starts(&self, name: &str, topic: &Topic) -> io::Result<()> {
        let factor = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let value = AboutTopic {
            id: topic.id.to_string(),
            replication_factor: i16::try_from(factor).unwrap_or(1),
            configs: topic.configs.clone(),
            start_offsets: topic.partitions.iter().map(|partition| partition.log.start_offset()).collect(),
        };
        save(&self.topic_folder(name).join("topic.json"), &value)
    }

    /// Removes a topic's folder.
    ///
    /// # Errors
    /// Those of removing.
    pub(super) fn delete_topic(&self, name: &str) -> io::Result<()> {
        let folder = self.topic_folder(name);
        fs::remove_dir_all(&folder).map_err(|error| about(&folder, &error))
    }

    /// `name` has passed [`check_name`] before it gets here.
    fn topic_folder(&self, name: &str) -> PathBuf {
        self.folder.join("topics").join(name)
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| invalid(path, error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(path, &error)),
    }
}

fn save<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec_pretty(value)?;
    let beside = path.with_extension("new");
    let write = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    write.map_err(|error| about(path, &error))
}

/// The same error, with the path in front.
fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn invalid(path: &Path, why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()))
}
