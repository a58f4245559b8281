//! Who may do what, and who exists: given and taken by `forebay kafka acls` and `configs`, judged by Kafka's own tools and by
//! what the broker lets people do.

use std::time::{Duration, Instant};

use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::java;
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::{Output, run};
use forebay_proto_tests::schema::Documents;
use forebay_proto_tests::scratch::Scratch;

use crate::secured::{OTHER_PASSWORD, OTHER_USER, PASSWORD, Secured, USER};
use crate::{at, login, read};

const LIMIT: Duration = Duration::from_secs(120);

/// People at the command line.
struct Desk<'a> {
    secured: &'a Secured,
    scratch: Scratch,
}

impl Desk<'_> {
    /// As the administrator, who comes without a login.
    fn admin(&self, words: &[&str]) -> Output {
        let (tool, rest) = words.split_first().unwrap();
        let mut command = forebay(&self.scratch);
        command.args(["kafka", tool, "--bootstrap-server", &self.secured.cluster.server()]).args(rest);
        run(command, b"", LIMIT)
    }

    /// As a user with a password.
    fn user(&self, name: &str, password: &str, words: &[&str]) -> Output {
        let file = format!("{name}.properties");
        let text = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username={name}\nsasl.password={password}\n\
             ssl.ca.location={}\n",
            self.secured.file("ca.pem")
        );
        self.scratch.write(&file, text);
        let server = at(self.secured.sasl_ssl);
        let (tool, rest) = words.split_first().unwrap();
        let mut command = forebay(&self.scratch);
        match *tool {
            "cat" => command.args(["cat", "-b", &server, "-F", &file]),
            _ => command.args(["kafka", tool, "--bootstrap-server", &server, "--command-config", &file]),
        };
        command.args(rest);
        run(command, b"x\n", LIMIT)
    }

    /// The entries as Kafka's own tool lists them.
    fn listed_by_kafka(&self) -> Vec<String> {
        let cluster = &self.secured.cluster;
        let mut tool = match self.secured.version {
            Version::V1_0_1 => {
                let mut tool = java::tool(java::KAFKA_1_0_1, "kafka.admin.AclCommand");
                let zookeeper = cluster.zookeeper_address().unwrap();
                tool.args(["--authorizer-properties", &format!("zookeeper.connect={zookeeper}")]);
                tool
            }
            _ => {
                let mut tool = java::tool(java::KAFKA_TOOLS, "org.apache.kafka.tools.AclCommand");
                tool.args(["--bootstrap-server", &cluster.server()]);
                tool
            }
        };
        tool.arg("--list");
        lines(&run(tool, b"", LIMIT).expect_success())
    }

    /// The same as forebay lists them for that release, once both agree; a broker hears of a change after it was made.
    fn listed(&self) -> Vec<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (theirs, ours) =
                (self.listed_by_kafka(), lines(&self.admin(&["acls", "--list", "--compat", "auto"]).expect_success()));
            if theirs == ours {
                return ours;
            }
            assert!(Instant::now() < deadline, "--- ours\n{ours:#?}\n--- theirs\n{theirs:#?}");
        }
    }
}

/// Both print entries in the order of a hash table.
fn lines(output: &Output) -> Vec<String> {
    let text = output.stdout_text();
    let mut lines: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

pub(crate) fn rights_are_given_listed_and_taken(secured: &Secured) {
    let desk = Desk { secured, scratch: Scratch::new("access") };
    let topic = "guarded";
    secured.cluster.create_topic(topic, 1, 1);
    secured.cluster.produce(topic, "secret\n", &[]);
    assert_eq!(desk.listed(), [""; 0]);
    let alice = format!("User:{USER}");
    for words in [
        &["--consumer", "--topic", topic, "--group", topic][..],
        &["--operation", "describe-configs", "--topic", topic, "--allow-host", "127.0.0.1"],
        &["--operation", "write", "--transactional-id", topic],
    ] {
        let _output =
            desk.admin(&[&["acls", "--add", "--allow-principal", &alice][..], words].concat()).expect_success();
    }
    let bob = format!("User:{OTHER_USER}");
    let _output = desk.admin(&["acls", "--add", "--deny-principal", &bob, "--cluster"]).expect_success();
    let listed = desk.listed();
    // Four things; five entries of alice's and one of bob's.
    assert_eq!(listed.len(), 4 + 6, "{listed:#?}");
    let (documents, as_json) = (Documents::default(), ["acls", "--list", "-o", "json"]);
    documents.add(&desk.scratch, &as_json[..2], &desk.admin(&as_json).expect_success().stdout_text());
    assert_eq!(documents.judge().into_iter().collect::<Vec<_>>(), ["acls"]);

    // Who has the right, reads; who has none, is told what it lacks and where.
    let consume = ["consume", "--topic", topic, "--group", topic, "--from-beginning", "--max-messages", "1"];
    let deadline = Instant::now() + LIMIT;
    while desk.user(USER, PASSWORD, &consume).stdout_text() != "secret\n" {
        assert!(Instant::now() < deadline, "{}", desk.user(USER, PASSWORD, &consume).describe());
    }
    let refused = |name: &str, password: &str, words: &[&str], code: i32, lacks: &str, what: &str| {
        let output = desk.user(name, password, words);
        assert_eq!((output.code, output.stdout_text().as_str()), (code, ""), "{words:?} {}", output.describe());
        let said = output.stderr_text();
        assert!(said.contains(lacks) && said.contains(what), "{words:?} {}", output.describe());
        assert!(!said.contains(password), "{}", output.describe());
    };
    // Without it brokers before 2.8 want another right, and say so (below).
    let produce = ["produce", "--topic", topic, "--producer-property", "enable.idempotence=false"];
    refused(USER, PASSWORD, &produce, 77, "TOPIC_AUTHORIZATION_FAILED", topic);
    let lacks =
        if secured.version < Version::V2_8_2 { "enable.idempotence=false" } else { "TOPIC_AUTHORIZATION_FAILED" };
    refused(USER, PASSWORD, &["produce", "--topic", topic], 77, lacks, topic);
    let (of_topic, of_group) = ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED");
    for (words, lacks, what) in [
        (&consume[..], of_topic, topic),
        (&produce, of_topic, topic),
        (&["topics", "--describe", "--topic", topic], of_topic, topic),
        (&["topics", "--delete", "--topic", topic], of_topic, topic),
        (&["offsets", "--topic", topic], of_topic, topic),
        (&["configs", "--describe", "--topic", topic], of_topic, topic),
        (&["configs", "--alter", "--topic", topic, "--add-config", "retention.ms=1"], of_topic, topic),
        (&["groups", "--describe", "--group", topic], of_group, topic),
        (&["groups", "--delete", "--group", topic], of_group, topic),
        (&["acls", "--list"], "CLUSTER_AUTHORIZATION_FAILED", "acls"),
    ] {
        refused(OTHER_USER, OTHER_PASSWORD, words, 77, lacks, what);
    }
    check_says_who_may(&desk, topic);
    for words in [
        &["--topic", topic][..],
        &["--group", topic, "--operation", "read"],
        &["--transactional-id", topic, "--allow-principal", &alice],
        &["--cluster"],
    ] {
        let _output = desk.admin(&[&["acls", "--remove"][..], words].concat()).expect_success();
    }
    assert_eq!(desk.listed(), [""; 0]);
}

/// `forebay check` of a job, as the one who may read and as the one who may not.
fn check_says_who_may(desk: &Desk<'_>, topic: &str) {
    let service = LocalMaxCompute::start();
    desk.scratch.write("sources.toml", service.account().datasources());
    let ddl = format!("create table {topic} (value string)");
    let _ddl =
        run_forebay(&desk.scratch, &["sql", "--datasources", "sources.toml", "-e", ddl.as_str()]).expect_success();
    let check = |name: &str, password: &str| {
        let job = format!(
            "[source]\nbrokers = [\"{}\"]\ntopic = \"{topic}\"\ngroup = \"{topic}\"\nstart = \"earliest\"\n\
             config = {{ \"security.protocol\" = \"SASL_SSL\", \"sasl.mechanism\" = \"PLAIN\", \"sasl.username\" = \"{name}\", \
             \"sasl.password\" = \"{password}\", \"ssl.ca.location\" = \"{}\" }}\n[target]\ndatasource = \"odps_first\"\n\
             table = \"{topic}\"\n[[columns]]\nto = \"value\"\nfrom = \"value\"\n",
            at(desk.secured.sasl_ssl),
            desk.secured.file("ca.pem")
        );
        desk.scratch.write("guarded.toml", job);
        run_forebay(&desk.scratch, &["check", "guarded.toml", "--datasources", "sources.toml"])
    };
    let may = check(USER, PASSWORD);
    let said = may.stdout_text();
    assert!(
        may.code == 0 && said.contains("this user may read it") && said.contains("an agent can run this job"),
        "{}",
        may.describe()
    );
    let may_not = check(OTHER_USER, OTHER_PASSWORD);
    let said = may_not.stderr_text();
    assert!(may_not.code == 77 && said.contains("error: kafka: ") && said.contains(topic), "{}", may_not.describe());
    assert!(!said.contains("error: maxcompute: ") && !said.contains(OTHER_PASSWORD), "{}", may_not.describe());
}

pub(crate) fn users_of_scram_are_made_and_deleted(secured: &Secured) {
    let desk = Desk { secured, scratch: Scratch::new("users") };
    let (carol, password) = ("carol", "canary-c4rol");
    let add = format!("SCRAM-SHA-256=[iterations=4096,password={password}],SCRAM-SHA-512=[password={password}]");
    let add = ["configs", "--alter", "--user", carol, "--add-config", &add];
    if secured.version < Version::V2_8_2 {
        // Its brokers have no request for it, and only they are asked.
        let output = desk.admin(&add);
        assert_eq!(output.code, 1, "{}", output.describe());
        assert!(output.stderr_text().contains("AlterUserScramCredentials"), "{}", output.describe());
        return;
    }
    let _output = desk.admin(&add).expect_success();
    let enters = |mechanism: &str| {
        let mut properties = login(secured, "SASL_SSL", mechanism, password);
        for (name, value) in &mut properties {
            if *name == "sasl.username" {
                carol.clone_into(value);
            }
        }
        read(&at(secured.sasl_ssl), &properties).is_ok()
    };
    // The newest tool of this kind that is published; it talks to later brokers.
    let kafka = || {
        let mut tool = java::tool(java::KAFKA_2_8_2, "kafka.admin.ConfigCommand");
        tool.args(["--bootstrap-server", &secured.cluster.server(), "--describe", "--entity-type", "users"]);
        run(tool, b"", LIMIT).expect_success().stdout_text()
    };
    let wait = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + LIMIT;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}: {}", kafka());
        }
    };
    let said = "SCRAM credential configs for user-principal 'carol' are SCRAM-SHA-256=iterations=4096, \
                SCRAM-SHA-512=iterations=4096\n";
    // The broker names a user's mechanisms in any order.
    let has = |mechanism: &str| {
        let all = kafka();
        let mut lines = all.lines().filter(|line| line.contains(carol));
        lines.any(|line| line.contains(&format!("{mechanism}=iterations=4096")))
    };
    wait("carol is there", &|| has("SCRAM-SHA-256") && has("SCRAM-SHA-512"));
    assert_eq!(desk.admin(&["configs", "--describe", "--user", carol]).expect_success().stdout_text(), said);
    assert!(enters("SCRAM-SHA-256") && enters("SCRAM-SHA-512"));
    let delete = |mechanism: &str| {
        desk.admin(&["configs", "--alter", "--user", carol, "--delete-config", mechanism]).expect_success()
    };
    let _output = delete("SCRAM-SHA-256");
    wait("one is gone", &|| !has("SCRAM-SHA-256") && has("SCRAM-SHA-512"));
    assert!(!enters("SCRAM-SHA-256") && enters("SCRAM-SHA-512"));
    let _output = delete("SCRAM-SHA-512");
    wait("carol is gone", &|| !kafka().contains(carol));
}
