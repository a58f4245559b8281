//! The tables of the local MaxCompute: what exists, and how it changes all at once or not at all.
//!
//! With a data folder, `tables/{id}/table.json` is a table's manifest and `tables/{id}/*.rows` are its blocks; a change
//! writes a new manifest beside the old one and renames it over. What survives a killed process is therefore always one
//! whole state; files that no manifest and no open upload session names are removed at the next start. Without a folder
//! everything lives in memory. A power cut is beyond its promises: nothing is synced to the disk on purpose.
//!
//! It knows nothing of HTTP or SQL, and never waits for anything but the disk.

pub(super) mod rows;
pub(super) mod segment;
pub(super) mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use segment::{Segment, SegmentWriter, Space};
use table::{Partition, Table};

use crate::sandbox::clock::SandboxClock;
use crate::tunnel::{PartitionSpec, TableSchema};

/// Schema and name of a table, both lower case.
pub(super) type TableKey = (String, String);

/// Why a change was not made. Nothing has changed.
#[derive(Debug)]
pub(super) enum StoreError {
    NoSuchTable,
    TableExists,
    NoSuchPartition(String),
    PartitionExists(String),
    /// The data folder: no space, no permission, gone.
    Io(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a new table is to be.
#[derive(Clone, Debug)]
pub(super) struct NewTable {
    pub(super) schema_name: String,
    pub(super) name: String,
    pub(super) comment: String,
    pub(super) lifecycle: Option<u32>,
    pub(super) schema: TableSchema,
}

/// Rows for one partition, as a commit brings them.
#[derive(Clone, Debug)]
pub(super) struct Addition {
    /// The key in [`Table::partitions`].
    pub(super) partition: Vec<String>,
    pub(super) segments: Vec<Arc<Segment>>,
}

/// All tables.
#[derive(Debug)]
pub(super) struct Tables {
    folder: Option<PathBuf>,
    clock: SandboxClock,
    space: Arc<Space>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: BTreeMap<TableKey, Arc<Table>>,
    schemas: BTreeSet<String>,
    next: u64,
}

impl Tables {
    /// Tables in memory, or those of a data folder, which is created when it does not exist.
    ///
    /// # Errors
    /// When the folder cannot be created or read, or a manifest in it cannot be understood; the message names the file.
    pub(super) fn open(folder: Option<&Path>, clock: SandboxClock) -> io::Result<Self> {
        let mut inner = Inner::default();
        inner.schemas.insert(super::request::DEFAULT_SCHEMA.to_owned());
        if let Some(folder) = folder {
            fs::create_dir_all(folder.join(TABLES))?;
            for entry in fs::read_dir(folder.join(TABLES))? {
                let entry = entry?;
                if let Some(table) = read_table(&entry.path())? {
                    inner.schemas.insert(table.schema_name.clone());
                    inner.tables.insert((table.schema_name.clone(), table.name.clone()), Arc::new(table));
                }
            }
        }
        Ok(Self { folder: folder.map(Path::to_owned), clock, space: Arc::default(), inner: Mutex::new(inner) })
    }

    /// The table's present state.
    pub(super) fn table(&self, key: &TableKey) -> Option<Arc<Table>> {
        self.lock().tables.get(key).map(Arc::clone)
    }

    /// The table with this id, wherever it is now.
    pub(super) fn by_id(&self, id: &str) -> Option<Arc<Table>> {
        self.lock().tables.values().find(|table| table.id == id).map(Arc::clone)
    }

    /// All tables of a schema by name.
    pub(super) fn list(&self, schema: &str) -> Vec<Arc<Table>> {
        self.lock().tables.values().filter(|table| table.schema_name == schema).map(Arc::clone).collect()
    }

    /// The names of all schemas.
    pub(super) fn schemas(&self) -> Vec<String> {
        self.lock().schemas.iter().cloned().collect()
    }

    /// Adds a schema; an existing one is fine.
    pub(super) fn create_schema(&self, name: &str) {
        self.lock().schemas.insert(name.to_owned());
    }

    /// Creates a table.
    ///
    /// # Errors
    /// [`StoreError::TableExists`], [`StoreError::Io`].
    pub(super) fn create(&self, new: NewTable) -> Result<Arc<Table>, StoreError> {
        let mut inner = self.lock();
        let key = (new.schema_name.clone(), new.name.clone());
        if inner.tables.contains_key(&key) {
            return Err(StoreError::TableExists);
        }
        let now_ms = self.clock.now_ms();
        let mut partitions = BTreeMap::new();
        if !new.schema.is_partitioned() {
            partitions.insert(Vec::new(), Partition::new(now_ms));
        }
        let table = Table {
            id: uuid::Uuid::new_v4().simple().to_string(),
            schema_name: new.schema_name,
            name: new.name,
            comment: new.comment,
            lifecycle: new.lifecycle,
            column_counts: vec![new.schema.columns.len()],
            schema: Arc::new(new.schema),
            created_ms: now_ms,
            defined_ms: now_ms,
            modified_ms: now_ms,
            partitions,
            committed: BTreeMap::new(),
        };
        if let Some(folder) = self.folder_of(&table.id) {
            fs::create_dir(&folder)?;
            if let Err(error) = self.write_manifest(&table) {
                // The folder has no manifest, so a start would remove it as well.
                let _ = fs::remove_dir_all(&folder);
                return Err(error.into());
            }
        }
        inner.schemas.insert(table.schema_name.clone());
        let table = Arc::new(table);
        inner.tables.insert(key, Arc::clone(&table));
        Ok(table)
    }

    /// Drops a table. Readers that began before go on to their end.
    ///
    /// # Errors
    /// [`StoreError::NoSuchTable`], [`StoreError::Io`].
    pub(super) fn drop_table(&self, key: &TableKey) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let table = inner.tables.get(key).ok_or(StoreError::NoSuchTable)?;
        if let Some(folder) = self.folder_of(&table.id) {
            fs::remove_file(folder.join(MANIFEST))?;
        }
        table.segments().for_each(|segment| segment.discard());
        let id = table.id.clone();
        inner.tables.remove(key);
        if let Some(folder) = self.folder_of(&id) {
            // Fails while readers or upload sessions still have files there; the next start removes the folder then.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Changes a table: `change` edits a copy, which becomes the table's state when it has been written.
    ///
    /// # Errors
    /// What `change` returns; [`StoreError::NoSuchTable`]; [`StoreError::Io`] when the state could not be written.
    pub(super) fn change(
        &self,
        key: &TableKey,
        change: impl FnOnce(&mut Table, i64) -> Result<(), StoreError>,
    ) -> Result<Arc<Table>, StoreError> {
        let mut inner = self.lock();
        let old = inner.tables.get(key).map(Arc::clone).ok_or(StoreError::NoSuchTable)?;
        let mut new = Table::clone(&old);
        change(&mut new, self.clock.now_ms())?;
        self.write_manifest(&new)?;
        let kept: BTreeSet<&str> = new.segments().map(|segment| segment.name.as_str()).collect();
        for segment in old.segments().filter(|segment| !kept.contains(segment.name.as_str())) {
            segment.discard();
        }
        let new = Arc::new(new);
        inner.tables.insert(key.clone(), Arc::clone(&new));
        Ok(new)
    }

    /// Adds a partition without rows.
    ///
    /// # Errors
    /// [`StoreError::PartitionExists`] unless `if_not_exists`; as [`Tables::change`].
    pub(super) fn add_partition(
        &self,
        key: &TableKey,
        spec: &PartitionSpec,
        if_not_exists: bool,
    ) -> Result<(), StoreError> {
        let partition = Table::key_of(Some(spec));
        if if_not_exists && self.table(key).is_some_and(|table| table.partitions.contains_key(&partition)) {
            return Ok(());
        }
        self.change(key, |table, now_ms| {
            if table.partitions.contains_key(&partition) {
                return if if_not_exists { Ok(()) } else { Err(StoreError::PartitionExists(spec.to_string())) };
            }
            table.partitions.insert(partition, Partition::new(now_ms));
            table.defined_ms = now_ms;
            Ok(())
        })
        .map(|_| ())
    }

    /// Puts rows into partitions, all at once. Partitions that do not exist are created when `create` says so. With
    /// `overwrite` the rows replace what the named partitions held. `session` is the upload session that is thereby closed.
    ///
    /// # Errors
    /// [`StoreError::NoSuchPartition`]; as [`Tables::change`].
    pub(super) fn commit(
        &self,
        key: &TableKey,
        additions: Vec<Addition>,
        overwrite: bool,
        create: bool,
        session: Option<&str>,
    ) -> Result<Arc<Table>, StoreError> {
        self.change(key, |table, now_ms| {
            for addition in additions {
                if !table.partitions.contains_key(&addition.partition) {
                    if !create {
                        return Err(StoreError::NoSuchPartition(table.text_of(&addition.partition)));
                    }
                    table.partitions.insert(addition.partition.clone(), Partition::new(now_ms));
                    table.defined_ms = now_ms;
                }
                if let Some(partition) = table.partitions.get_mut(&addition.partition) {
                    if overwrite {
                        partition.segments.clear();
                    }
                    partition.segments.extend(addition.segments.into_iter().filter(|segment| segment.rows > 0));
                    partition.modified_ms = now_ms;
                }
            }
            table.modified_ms = now_ms;
            table.committed.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < COMMITTED_KEPT_MS);
            if let Some(session) = session {
                table.committed.insert(session.to_owned(), now_ms);
            }
            Ok(())
        })
    }

    /// Begins a block of a table. `unique` must not be in use for the same table.
    ///
    /// # Errors
    /// When the data folder refuses a new file.
    pub(super) fn writer(&self, table_id: &str, unique: &str) -> io::Result<SegmentWriter> {
        match self.folder_of(table_id) {
            Some(folder) => SegmentWriter::in_folder(Arc::clone(&self.space), &folder, unique),
            None => Ok(SegmentWriter::in_memory(Arc::clone(&self.space))),
        }
    }

    /// A number that no other block of this process has.
    pub(super) fn next_number(&self) -> u64 {
        let mut inner = self.lock();
        inner.next = inner.next.wrapping_add(1);
        inner.next
    }

    /// The data folder.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The folder of a table's blocks.
    pub(super) fn folder_of(&self, table_id: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(TABLES).join(table_id))
    }

    /// Removes files and folders that belong to no table and are not in `in_use` (blocks of open upload sessions). For the
    /// start, before anything is served.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub(super) fn remove_strays(&self, in_use: &BTreeSet<PathBuf>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let inner = self.lock();
        let tables: BTreeMap<&str, &Arc<Table>> =
            inner.tables.values().map(|table| (table.id.as_str(), table)).collect();
        for entry in fs::read_dir(folder.join(TABLES))? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(table) = tables.get(id) else {
                fs::remove_dir_all(&path)?;
                continue;
            };
            let named: BTreeSet<&str> = table.segments().map(|segment| segment.name.as_str()).collect();
            for file in fs::read_dir(&path)? {
                let file = file?.path();
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if name != MANIFEST && !named.contains(name) && !in_use.contains(&file) {
                    fs::remove_file(&file)?;
                }
            }
        }
        Ok(())
    }

    fn write_manifest(&self, table: &Table) -> io::Result<()> {
        match self.folder_of(&table.id) {
            Some(folder) => self.replace_file(&folder.join(MANIFEST), &table.to_manifest()),
            None => Ok(()),
        }
    }

    /// Writes a file whole beside the old one and renames it over, so that a reader or a crash meets either.
    ///
    /// # Errors
    /// When the folder refuses it, for want of space for example; the old file is untouched.
    pub(super) fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.space.take(content.len())?;
        let mut part = path.as_os_str().to_owned();
        part.push(segment::UNFINISHED);
        let part = PathBuf::from(part);
        let written = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
        if written.is_err() {
            // The error of the write is the one to tell.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// How many bytes may still be written.
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_table(folder: &Path) -> io::Result<Option<Table>> {
    let manifest = folder.join(MANIFEST);
    let text = match fs::read(&manifest) {
        Ok(text) => text,
        // A table that was being created or dropped.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", manifest.display()))),
    };
    let table = Table::from_manifest(&text, |name, rows| Segment::of_file(folder, name, rows).map(Arc::new));
    table.map(Some).map_err(|error| io::Error::other(format!("{}: {error}", manifest.display())))
}

const TABLES: &str = "tables";
const MANIFEST: &str = "table.json";

/// How long a table remembers which sessions it has taken in: longer than a session lives.
const COMMITTED_KEPT_MS: i64 = 48 * 3_600_000;
