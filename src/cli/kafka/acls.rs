//! `forebay kafka acls`: what kafka-acls.sh does, through the brokers.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::compat::Release;
use super::{ClusterArgs, failure, print_json};
use crate::cli::failure::code;
use crate::cli::{Failure, out};
use crate::kafka::{Acl, AclFilter, AclOperation, AclPattern, AclPermission, AclResource};

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true).args(["list", "add", "remove"]))]
#[command(after_help = "\
Examples:
  forebay kafka acls --bootstrap-server h:9092 --list
  forebay kafka acls --bootstrap-server h:9092 --add --allow-principal User:alice --operation read --topic t --group g
  forebay kafka acls --bootstrap-server h:9092 --remove --topic t")]
pub(super) struct AclsArgs {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    /// Show entries
    #[arg(long)]
    list: bool,
    /// Add entries
    #[arg(long)]
    add: bool,
    /// Remove entries
    #[arg(long)]
    remove: bool,
    /// A topic; may be repeated
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
    /// A group; may be repeated
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// A transactional id; may be repeated
    #[arg(long, value_name = "ID")]
    transactional_id: Vec<String>,
    /// The cluster itself
    #[arg(long = "cluster")]
    whole_cluster: bool,
    /// literal, prefixed, match or any
    #[arg(long, value_name = "PATTERN", default_value = "literal", value_parser = parse_pattern)]
    resource_pattern_type: AclPattern,
    /// Who may; may be repeated
    #[arg(long, value_name = "User:NAME")]
    allow_principal: Vec<String>,
    /// Who may not; may be repeated
    #[arg(long, value_name = "User:NAME")]
    deny_principal: Vec<String>,
    /// From which address they may
    #[arg(long, value_name = "ADDRESS")]
    allow_host: Vec<String>,
    /// From which address they may not
    #[arg(long, value_name = "ADDRESS")]
    deny_host: Vec<String>,
    /// With --list: entries of this principal only
    #[arg(long, value_name = "User:NAME")]
    principal: Option<String>,
    /// Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, All; may be
    /// repeated
    #[arg(long, value_name = "OPERATION", value_parser = parse_operation)]
    operation: Vec<AclOperation>,
    /// What a producer needs: Write, Describe and Create on the topics
    #[arg(long)]
    producer: bool,
    /// With --producer: what an idempotent producer needs on brokers before 2.8, IdempotentWrite on the cluster
    #[arg(long, requires = "producer")]
    idempotent: bool,
    /// What a consumer needs: Read and Describe on the topics, Read on the groups
    #[arg(long)]
    consumer: bool,
    /// No effect: nothing is asked on the terminal
    #[arg(long, hide = true)]
    force: bool,
}

fn parse_pattern(text: &str) -> Result<AclPattern, String> {
    AclPattern::parse(text).ok_or_else(|| "literal, prefixed, match or any".to_owned())
}

fn parse_operation(text: &str) -> Result<AclOperation, String> {
    AclOperation::parse(text).ok_or_else(|| "not an operation".to_owned())
}

impl AclsArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let resources = self.resources();
        if !self.list && resources.is_empty() {
            return Err(
                Failure::new(code::USAGE, "on what?").advise("--topic, --group, --transactional-id or --cluster")
            );
        }
        let acls = if self.add { self.entries(&resources)? } else { Vec::new() };
        let cluster = self.cluster.connect().await?;
        let found = if self.add {
            cluster.client.create_acls(&acls).await.map_err(|error| failure(&error))?;
            acls
        } else {
            let filters = self.filters(&resources);
            if self.remove {
                cluster.client.delete_acls(&filters).await.map_err(|error| failure(&error))?
            } else {
                let mut found = Vec::new();
                for filter in &filters {
                    found.extend(cluster.client.describe_acls(filter).await.map_err(|error| failure(&error))?);
                }
                found
            }
        };
        if cluster.json {
            print_json(&json!(found.iter().map(as_json).collect::<Vec<_>>()));
        } else {
            let heading = if self.add {
                "Adding ACLs for resource"
            } else if self.remove {
                "Removed ACLs for resource"
            } else {
                "Current ACLs for resource"
            };
            // Patterns of names came with 2.0.
            let lay_out = if cluster.release < Release::V2_0 { old_text } else { text };
            out::data(&lay_out(heading, &found));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn resources(&self) -> Vec<(AclResource, String)> {
        let of =
            |kind: AclResource, names: &[String]| names.iter().map(|name| (kind, name.clone())).collect::<Vec<_>>();
        let mut resources = of(AclResource::Topic, &self.topic);
        resources.extend(of(AclResource::Group, &self.group));
        resources.extend(of(AclResource::TransactionalId, &self.transactional_id));
        if self.whole_cluster || self.idempotent {
            resources.push((AclResource::Cluster, "kafka-cluster".to_owned()));
        }
        resources
    }

    fn entries(&self, resources: &[(AclResource, String)]) -> Result<Vec<Acl>, Failure> {
        let any_host = vec!["*".to_owned()];
        let hosts = |given: &Vec<String>| if given.is_empty() { any_host.clone() } else { given.clone() };
        let mut people = Vec::new();
        for (principals, hosts, permission) in [
            (&self.allow_principal, hosts(&self.allow_host), AclPermission::Allow),
            (&self.deny_principal, hosts(&self.deny_host), AclPermission::Deny),
        ] {
            for principal in principals {
                people.extend(hosts.iter().map(|host| (principal.clone(), host.clone(), permission)));
            }
        }
        if people.is_empty() {
            return Err(Failure::new(code::USAGE, "--add: for whom?").advise("--allow-principal User:NAME"));
        }
        let mut acls = Vec::new();
        for (resource, name) in resources {
            for (principal, host, permission) in &people {
                acls.extend(self.operations(*resource).into_iter().map(|operation| Acl {
                    resource: *resource,
                    name: name.clone(),
                    pattern: self.resource_pattern_type,
                    principal: principal.clone(),
                    host: host.clone(),
                    operation,
                    permission: *permission,
                }));
            }
        }
        Ok(acls)
    }

    fn operations(&self, resource: AclResource) -> Vec<AclOperation> {
        let mut operations = self.operation.clone();
        if self.producer && resource == AclResource::Topic {
            operations.extend([AclOperation::Write, AclOperation::Describe, AclOperation::Create]);
        }
        if self.producer && resource == AclResource::TransactionalId {
            operations.extend([AclOperation::Write, AclOperation::Describe]);
        }
        if self.idempotent && resource == AclResource::Cluster {
            operations.push(AclOperation::IdempotentWrite);
        }
        if self.consumer && resource == AclResource::Topic {
            operations.extend([AclOperation::Read, AclOperation::Describe]);
        }
        if self.consumer && resource == AclResource::Group {
            operations.push(AclOperation::Read);
        }
        if operations.is_empty() {
            operations.push(AclOperation::All);
        }
        crate::sorting::sort(&mut operations);
        operations.dedup();
        operations
    }

    fn filters(&self, resources: &[(AclResource, String)]) -> Vec<AclFilter> {
        let any = AclFilter { principal: self.principal.clone(), ..AclFilter::default() };
        if resources.is_empty() {
            return vec![any];
        }
        let mut filters = Vec::new();
        for (resource, name) in resources {
            let filter = AclFilter {
                resource: *resource,
                name: Some(name.clone()),
                pattern: self.resource_pattern_type,
                ..any.clone()
            };
            let people = self.allow_principal.iter().map(|principal| (principal, AclPermission::Allow));
            let people = people.chain(self.deny_principal.iter().map(|principal| (principal, AclPermission::Deny)));
            let mut narrowed: Vec<AclFilter> = people
                .map(|(principal, permission)| AclFilter {
                    principal: Some(principal.clone()),
                    permission,
                    ..filter.clone()
                })
                .collect();
            if narrowed.is_empty() {
                narrowed.push(filter);
            }
            for filter in narrowed {
                match self.operation.is_empty() {
                    true => filters.push(filter),
                    false => filters.extend(
                        self.operation.iter().map(|operation| AclFilter { operation: *operation, ..filter.clone() }),
                    ),
                }
            }
        }
        filters
    }
}

/// As AclCommand prints them, one heading for each thing.
fn text(heading: &str, acls: &[Acl]) -> String {
    let mut text = String::new();
    let mut last = None;
    for acl in acls {
        let thing = (acl.resource, &acl.name, acl.pattern);
        if last != Some(thing) {
            if last.is_some() {
                text.push('\n');
            }
            text += &format!(
                "{heading} `ResourcePattern(resourceType={}, name={}, patternType={})`: \n",
                acl.resource.name(),
                acl.name,
                acl.pattern.name()
            );
            last = Some(thing);
        }
        text += &format!(
            " \t(principal={}, host={}, operation={}, permissionType={})\n",
            acl.principal,
            acl.host,
            acl.operation.name(),
            acl.permission.name()
        );
    }
    if !acls.is_empty() {
        text.push('\n');
    }
    text
}

/// The same before 2.0.
fn old_text(heading: &str, acls: &[Acl]) -> String {
    // As Scala names them: `DescribeConfigs` for `DESCRIBE_CONFIGS`.
    let camel = |name: &str| {
        let word = |word: &str| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_owned() + &rest.to_ascii_lowercase()
        };
        name.split('_').map(word).collect::<String>()
    };
    let mut text = String::new();
    let mut rest = acls;
    while let Some(first) = rest.first() {
        let is_same = |acl: &&Acl| (acl.resource, &acl.name) == (first.resource, &first.name);
        let (these, others) = rest.split_at(rest.iter().take_while(is_same).count().max(1));
        rest = others;
        let lines: Vec<String> = (these.iter())
            .map(|acl| {
                let (permission, operation) = (camel(acl.permission.name()), camel(acl.operation.name()));
                let Acl { principal, host, .. } = acl;
                format!("{principal} has {permission} permission for operations: {operation} from hosts: {host}")
            })
            .collect();
        let resource = camel(first.resource.name());
        text += &format!("{heading} `{resource}:{}`: \n \t{} \n\n", first.name, lines.join("\n\t"));
    }
    text
}

fn as_json(acl: &Acl) -> Value {
    json!({
        "resourceType": acl.resource.name(), "resourceName": acl.name, "patternType": acl.pattern.name(),
        "principal": acl.principal, "host": acl.host, "operation": acl.operation.name(),
        "permission": acl.permission.name(),
    })
}
