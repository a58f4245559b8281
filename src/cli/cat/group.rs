//! kcat's `-G`: a member of a consumer group.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::time::Instant;

use super::consume::{Key, Reading, begin, described};
use super::{Setting, Stop};
use crate::kafka::{
    AssignedPartition, Assignor, Client, Generation, GroupCommitter, GroupConfig, GroupConsumer, GroupEvent,
    OffsetToCommit, TopicPartition,
};

pub(super) async fn run(client: &Client, setting: &Setting) -> Result<ExitCode, String> {
    let mut config = GroupConfig { group: setting.options.group.clone(), ..setting.group.clone() };
    // What is committed is what was printed, which only we know.
    let commit_every = config.auto_commit.take();
    let mut member = GroupConsumer::new(client, config).map_err(|error| error.to_string())?;
    subscribe(client, setting, &mut member).await?;
    setting.info(1, "Waiting for group rebalance");
    let mut sharing = Sharing {
        client,
        setting,
        reading: Reading::new(setting)?,
        committer: member.committer(),
        generation: None,
        committed: BTreeMap::new(),
    };
    let mut stop = Stop::watch()?;
    let commits = commit_every.is_some();
    let mut commit_at = commit_every.map(|every| Instant::now() + every);
    let mut outcome = Ok(ExitCode::SUCCESS);
    while sharing.reading.left > 0 && !sharing.reading.is_over(setting) {
        let due = async {
            match commit_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = member.next() => event.map_err(|error| described(&error)),
            () = due => {
                sharing.commit(|_| true).await;
                commit_at = commit_every.map(|every| Instant::now() + every);
                continue;
            }
            () = stop.asked() => break,
        };
        let handled = match event {
            Ok(event) => sharing.handle(&mut member, event, commits).await,
            Err(why) => Err(why),
        };
        match handled {
            Ok(true) => {}
            Ok(false) => break,
            Err(why) => {
                outcome = Err(why);
                break;
            }
        }
    }
    if commits {
        sharing.commit(|_| true).await;
    }
    let owned: Vec<Key> = member.owned().into_iter().map(|one| (one.topic, one.partition)).collect();
    if sharing.generation.is_some() {
        sharing.tell(member.assignor(), false, &owned);
    }
    member.close().await.map_err(|error| format!("Failed to close consumer: {error}"))?;
    outcome
}

/// Wants the topics of the command line; a word that begins with `^` is a pattern of names.
async fn subscribe(client: &Client, setting: &Setting, member: &mut GroupConsumer) -> Result<(), String> {
    let words = &setting.options.operands;
    let is_pattern = |word: &&String| word.starts_with('^');
    for name in words.iter().filter(|word| !is_pattern(word)) {
        if let Err(error) = client.topic(name).await {
            return Err(format!("Consumer error: Subscribed topic not available: {name}: {error}"));
        }
    }
    if words.iter().any(|word| is_pattern(&word)) {
        // librdkafka's patterns meet a part of the name, ours the whole of it.
        let part = |word: &String| match is_pattern(&word) {
            true => format!("(?:{word}).*"),
            false => word.replace('.', "\\."),
        };
        let pattern = words.iter().map(part).collect::<Vec<_>>().join("|");
        return member.subscribe_pattern(&pattern).map_err(|error| format!("Failed to subscribe: {error}"));
    }
    member.subscribe(words);
    Ok(())
}

/// A member at work.
struct Sharing<'a> {
    client: &'a Client,
    setting: &'a Setting,
    reading: Reading,
    committer: GroupCommitter,
    /// The last one that was heard of.
    generation: Option<Generation>,
    /// What is committed, so that it is not committed again.
    committed: BTreeMap<Key, i64>,
}

impl Sharing<'_> {
    /// Says whether to go on.
    async fn handle(&mut self, member: &mut GroupConsumer, event: GroupEvent, commits: bool) -> Result<bool, String> {
        match event {
            GroupEvent::Records { fetched, generation } => {
                self.generation = Some(generation);
                let key = (fetched.topic.clone(), fetched.partition);
                let is_read = self.reading.print(self.setting, fetched)?;
                if self.reading.stopped.contains(&key) {
                    member.pause(&key.0, &[key.1]);
                }
                return Ok(is_read);
            }
            GroupEvent::Assigned { generation, partitions } => {
                self.generation = Some(generation);
                let keys: Vec<Key> = partitions.iter().map(|one| (one.topic.clone(), one.partition)).collect();
                self.tell(member.assignor(), true, &keys);
                self.reading.wanted.extend(keys);
                self.begin(member, &partitions).await?;
            }
            GroupEvent::Revoked { generation, partitions } => {
                self.generation = Some(generation);
                let keys = keys(partitions);
                if commits {
                    self.commit(|key| keys.contains(key)).await;
                }
                self.tell(member.assignor(), false, &keys);
                self.forget(&keys);
            }
            GroupEvent::Lost { partitions } => {
                let keys = keys(partitions);
                self.tell(member.assignor(), false, &keys);
                self.forget(&keys);
            }
        }
        Ok(true)
    }

    /// Goes to where `-o` says.
    async fn begin(&mut self, member: &mut GroupConsumer, partitions: &[AssignedPartition]) -> Result<(), String> {
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for one in partitions {
            topics.entry(one.topic.clone()).or_default().push(one.partition);
        }
        for (topic, partitions) in topics {
            if let Ok(found) = self.client.topic(&topic).await {
                let leaders = found.partitions.iter().map(|one| ((topic.clone(), one.partition), one.leader));
                self.reading.leaders.extend(leaders.filter_map(|(key, leader)| Some((key, leader?))));
            }
            let Some(chosen) = self.setting.options.start else { continue };
            let start = begin(self.client, self.setting, &topic, &partitions, chosen).await?;
            for (partition, offset) in start {
                // A partition that has been taken away meanwhile is read by another one.
                if let Err(error) = member.seek(&topic, partition, offset) {
                    self.setting.info(2, &error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Commits what was printed. What cannot be committed is read again by the next owner.
    async fn commit(&mut self, of: impl Fn(&Key) -> bool) {
        let is_news = |(key, offset): &(&Key, &i64)| of(key) && self.committed.get(*key) != Some(*offset);
        let news = self.reading.positions.iter().filter(is_news).map(|(key, offset)| (key.clone(), *offset));
        let news: BTreeMap<Key, i64> = news.collect();
        let offset = |((topic, partition), offset): (&Key, &i64)| OffsetToCommit {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *offset,
            leader_epoch: None,
            metadata: String::new(),
        };
        let due: Vec<OffsetToCommit> = news.iter().map(offset).collect();
        // In the new protocol epochs move on without an event, so the event's may be over.
        let Some(generation) = self.committer.generation() else { return };
        match self.committer.commit(&generation, &due).await {
            Ok(()) => self.committed.extend(news),
            // What is kept is committed after the rebalance.
            Err(error) if error.is_rebalancing() => self.setting.info(2, &format!("Commit failed: {error}")),
            Err(error) => self.setting.info(1, &format!("Commit failed: {error}")),
        }
    }

    fn forget(&mut self, keys: &[Key]) {
        for key in keys {
            self.reading.wanted.remove(key);
            self.reading.positions.remove(key);
            self.committed.remove(key);
            self.reading.at_end.remove(key);
            self.reading.stopped.remove(key);
        }
    }

    /// Says what the group gave or took, in kcat's words.
    fn tell(&self, assignor: Option<Assignor>, is_given: bool, keys: &[Key]) {
        let group = &self.setting.options.group;
        let member = self.generation.as_ref().map_or("", |generation| &generation.member_id);
        let list: Vec<String> = keys.iter().map(|(topic, partition)| format!("{topic} [{partition}]")).collect();
        let list = list.join(", ");
        self.setting.info(
            1,
            &match (assignor, is_given) {
                (Some(Assignor::CooperativeSticky) | None, _) => format!(
                    "Group {group} rebalanced: incremental {} of {} partition(s) (memberid {member}, COOPERATIVE \
                     rebalance protocol): {list}",
                    if is_given { "assignment" } else { "revoke" },
                    keys.len()
                ),
                (_, true) => format!("Group {group} rebalanced (memberid {member}): assigned: {list}"),
                (_, false) => format!("Group {group} rebalanced (memberid {member}): revoked: {list}"),
            },
        );
    }
}

fn keys(partitions: Vec<TopicPartition>) -> Vec<Key> {
    partitions.into_iter().map(|one| (one.topic, one.partition)).collect()
}
