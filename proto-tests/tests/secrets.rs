//! Where credentials may come from, and that none of them can be found anywhere afterwards.
//!
//! Every secret is random for each run. The programs run at trace level, with what works and what fails; then their standard
//! output and error and their command lines as the kernel shows them are searched.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::job::{self, Datasources, LoadOptions, OdpsConfig};
use forebay::kafka::ClientConfig;
use forebay::sandbox::broker::{self, BrokerConfig};
use forebay::sandbox::maxcompute::{self, Action, Fault, LocalMaxCompute, MaxComputeSandboxConfig};
use forebay::tunnel::{Credentials, MaxCompute, MaxComputeConfig};
use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::process::{Output, Running};
use forebay_proto_tests::scratch::Scratch;
use tokio::runtime::Runtime;

const LIMIT: Duration = Duration::from_secs(120);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn random() -> String {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    format!("canary{}", bytes.map(|byte| format!("{byte:02x}")).concat())
}

fn service(runtime: &Runtime, key: &str, token: Option<&str>, bearer: Option<&str>) -> LocalMaxCompute {
    let mut config = MaxComputeSandboxConfig::default();
    config.access_id = "the-id".into();
    config.access_key = Some(key.to_owned());
    config.security_token = token.map(str::to_owned);
    config.bearer_token = bearer.map(str::to_owned);
    runtime.block_on(maxcompute::start(config)).unwrap()
}

/// Something that answers as the ECS metadata service does.
struct Metadata {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    /// `token`: what hardened mode hands out; without one a PUT is a 404.
    fn start(key: String, sts: String, token: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap_or_default().to_owned();
                let lower = head.to_ascii_lowercase();
                let allowed = token.as_ref().is_none_or(|token| {
                    lower.contains(&format!("x-aliyun-ecs-metadata-token: {}", token.to_ascii_lowercase()))
                });
                let roles = "/latest/meta-data/ram/security-credentials/";
                let keys = format!(
                    r#"{{"Code":"Success","AccessKeyId":"the-id","AccessKeySecret":"{key}","SecurityToken":"{sts}","Expiration":"2099-01-01T00:00:00Z"}}"#
                );
                let (status, body) = if line.starts_with("PUT /latest/api/token ") {
                    assert!(lower.contains("x-aliyun-ecs-metadata-token-ttl-seconds: 21600"), "{head}");
                    token.clone().map_or((404, String::new()), |token| (200, token))
                } else if !allowed {
                    (403, format!("no token, but I would say {key}"))
                } else if line.starts_with(&format!("GET {roles} ")) {
                    (200, "the-role\n".to_owned())
                } else if line.starts_with(&format!("GET {roles}the-role ")) || line.starts_with("GET /uri") {
                    (200, keys)
                } else {
                    (404, String::new())
                };
                log.lock().unwrap().push(line);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                // A client that went away shows in the test's own result.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, asked }
    }
}

/// A name, the service to reach, the variables that say who asks, and the home folder.
type Case<'a> = (&'a str, &'a LocalMaxCompute, Vec<(&'a str, &'a str)>, &'a Scratch);

/// A command line at trace level with only these variables of its own.
fn call(scratch: &Scratch, arguments: &[&str], env: &[(&str, &str)], input: &str) -> (Output, Vec<u8>) {
    let mut command = forebay(scratch);
    command.env("HOME", scratch.path()).arg("--log-level").arg("trace").args(arguments);
    for (name, value) in env {
        command.env(name, value);
    }
    let running = Running::start(command, input.as_bytes());
    // A process that ended before this has no command line any more; the arguments are known anyway.
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", running.id())).unwrap_or_default();
    (running.finish(LIMIT), cmdline)
}

#[test]
fn keys_come_from_everywhere_that_alibaba_clouds_tools_know() {
    let runtime = runtime();
    let (key, sts, bearer, token) = (random(), random(), random(), random());
    let long_lived = service(&runtime, &key, None, Some(&bearer));
    let temporary = service(&runtime, &key, Some(&sts), None);
    let hardened = Metadata::start(key.clone(), sts.clone(), Some(token));
    let open = Metadata::start(key.clone(), sts.clone(), None);
    let scratch = Scratch::new("credentials");
    let at = |metadata: &Metadata| format!("http://{}", metadata.address);
    let (hardened_at, open_at) = (at(&hardened), at(&open));
    let uri = format!("{open_at}/uri?x=1");
    let sections = format!(
        "[default]\ntype = access_key\naccess_key_id = the-id\naccess_key_secret = {key}\n[short]\ntype = sts\n\
         access_key_id = the-id\naccess_key_secret = {key}\nsecurity_token = {sts}\n"
    );
    let shared = scratch.write("shared.ini", sections);
    let shared = shared.to_str().unwrap();
    let aliyun = Scratch::new("credentials-aliyun");
    std::fs::create_dir(aliyun.path().join(".aliyun")).unwrap();
    aliyun.write(
        ".aliyun/config.json",
        format!(r#"{{"current":"p","profiles":[{{"name":"p","mode":"AK","access_key_id":"the-id","access_key_secret":"{key}"}}]}}"#),
    );
    // odpscmd's ini is named by an option, for which there is a variable.
    let endpoint = long_lived.endpoint();
    let ini = format!("# odpscmd\nproject_name = sandbox\naccess_id=the-id\naccess_key={key}\nend_point={endpoint}\n");
    let ini = scratch.write("odps_config.ini", ini);
    let ini = ini.to_str().unwrap();
    let wanted: [Case<'_>; 9] = [
        ("odpscmd's ini", &long_lived, vec![("FOREBAY_ODPS_CONFIG", ini)], &scratch),
        (
            "STS in the environment",
            &temporary,
            vec![
                ("ALIBABA_CLOUD_ACCESS_KEY_ID", "the-id"),
                ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &key),
                ("ALIBABA_CLOUD_SECURITY_TOKEN", &sts),
            ],
            &scratch,
        ),
        ("bearer token", &long_lived, vec![("ODPS_BEARER_TOKEN", &bearer)], &scratch),
        ("shared file", &long_lived, vec![("ALIBABA_CLOUD_CREDENTIALS_FILE", shared)], &scratch),
        (
            "shared file, profile",
            &temporary,
            vec![("ALIBABA_CLOUD_CREDENTIALS_FILE", shared), ("ALIBABA_CLOUD_PROFILE", "short")],
            &scratch,
        ),
        ("profile of aliyun", &long_lived, vec![], &aliyun),
        (
            "role, hardened",
            &temporary,
            vec![
                ("ALIBABA_CLOUD_ECS_METADATA", "the-role"),
                ("ALIBABA_CLOUD_IMDSV1_DISABLED", "true"),
                ("FOREBAY_ECS_METADATA_ENDPOINT", &hardened_at),
            ],
            &scratch,
        ),
        (
            "role, open",
            &temporary,
            vec![("ALIBABA_CLOUD_ECS_METADATA", "the-role"), ("FOREBAY_ECS_METADATA_ENDPOINT", &open_at)],
            &scratch,
        ),
        ("credentials URI", &temporary, vec![("ALIBABA_CLOUD_CREDENTIALS_URI", &uri)], &scratch),
    ];
    for (what, service, mut env, scratch) in wanted {
        let endpoint = service.endpoint();
        env.extend([("ODPS_PROJECT_NAME", "sandbox"), ("ODPS_ENDPOINT", &endpoint)]);
        let (output, _) = call(scratch, &["sql", "-e", "select 42 as answer"], &env, "");
        assert!(output.code == 0 && output.stdout_text().contains("42"), "{what}: {}", output.describe());
        search(&output, &[&key, &sts, &bearer], what);
    }
    // A role that is not named is asked for, and a data source may name one, too.
    let endpoint = temporary.endpoint();
    let sources = format!(
        "[odps_first]\ntype = \"odps\"\nproject = \"sandbox\"\nendpoint = \"{endpoint}\"\necs_ram_role = \"*\"\n"
    );
    scratch.write("sources.toml", sources);
    let arguments = ["sql", "--datasources", "sources.toml", "-e", "select 42 as answer"];
    let (output, _) = call(&scratch, &arguments, &[("FOREBAY_ECS_METADATA_ENDPOINT", &hardened_at)], "");
    assert!(output.code == 0 && output.stdout_text().contains("42"), "{}", output.describe());
    let asked = hardened.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|line| line.starts_with("GET /latest/meta-data/ram/security-credentials/ ")), "{asked:?}");
    // One key for all requests of a process.
    assert_eq!(asked.iter().filter(|line| line.contains("/the-role ")).count(), 2, "{asked:?}");
}

fn search(output: &Output, secrets: &[&str], what: &str) {
    for secret in secrets {
        for (where_, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(*secret), "{what}: a secret is in {where_}");
        }
    }
}

/// Also proof that the search finds what is there.
#[test]
fn no_secret_is_printed_whatever_happens() {
    let runtime = runtime();
    let (key, sts, bearer, password, key_password) = (random(), random(), random(), random(), random());
    let secrets = [&*key, &sts, &bearer, &password, &key_password];
    let service = service(&runtime, &key, Some(&sts), Some(&bearer));
    let broker = runtime
        .block_on(broker::start(BrokerConfig { topics: vec![("t".to_owned(), 2)], ..BrokerConfig::default() }))
        .unwrap();
    let server = broker.address().to_string();
    let scratch = Scratch::new("canary");
    let endpoint = service.endpoint();
    let sources = |key: &str, token: &str| {
        format!(
            "[odps_first]\ntype = \"odps\"\nproject = \"sandbox\"\nendpoint = \"{endpoint}\"\naccess_id = \"the-id\"\n\
             access_key = \"{key}\"\nsecurity_token = \"{token}\"\n"
        )
    };
    scratch.write("good.toml", sources(&key, &sts));
    // The right secrets in the wrong places, and places that cannot be read.
    scratch.write("swapped.toml", sources(&sts, &key));
    scratch.write("broken.toml", format!("[odps_first]\naccess_key = \"{key}\nsecurity_token = {sts}\n"));
    scratch.write("odd.toml", sources(&key, &sts).replace("http://", &format!("http://u:{password}@")));
    scratch.write(
        "login.properties",
        format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
             required username=\"u\" password=\"{password}\";\nssl.key.password={key_password}\n"
        ),
    );
    let ini = |key: &str| {
        format!("project_name=sandbox\naccess_id=the-id\naccess_key={key}\nend_point={endpoint}\nsts_token={sts}\n")
    };
    scratch.write("good.ini", ini(&key));
    scratch.write("broken.ini", ini(&key).replace('\n', " "));
    scratch.write("rows.csv", "n,s\n1,a\n2,b\n");
    scratch.write("bad.csv", "n,s\nx,a\n");
    let job = |more: &str| {
        format!(
            r#"{{"type": "job", "version": "2.0", "steps": [
              {{"stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {{
                "server": "{server}", "topic": "t", "kafkaConfig": {{"group.id": "g"{more}}}, "valueType": "ByteArray", "keyType": "ByteArray",
                "column": ["__offset__", "__value__"], "beginOffset": "0", "endOffset": "10"}}}},
              {{"stepType": "odps", "category": "writer", "name": "Writer", "parameter": {{
                "datasource": "odps_first", "table": "t", "column": ["n", "s"], "partition": "", "truncate": true}}}}],
              "setting": {{"errorLimit": {{"record": "0"}}}}}}"#
        )
    };
    scratch.write("job.json", job(""));
    let login =
        format!(r#", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.password": "{password}""#);
    scratch.write("login.json", job(&login));
    scratch.write("half.json", job(&login).replace("\"setting\"", &format!("\"{password}")));
    let refuse = |status: u16, code: &str| Action::Status {
        status,
        code: code.into(),
        message: "no".into(),
        retry_after_s: None,
    };
    service.faults().push(Fault::before("upload_commit", refuse(403, "NoPermission")));
    let cases: &[(&[&str], &str, bool)] = &[
        (&["sql", "--datasources", "good.toml", "-e", "create table t (n bigint, s string)"], "", true),
        (&["sql", "--datasources", "good.toml", "-e", "select * from nope"], "", false),
        (&["sql", "--datasources", "swapped.toml", "-e", "select 1"], "", false),
        (&["sql", "--datasources", "broken.toml", "-e", "select 1"], "", false),
        (&["sql", "--datasources", "odd.toml", "-e", "select 1"], "", false),
        (&["sql", "--odps-config", "good.ini", "-e", "select 1"], "", true),
        (&["sql", "--odps-config", "broken.ini", "-e", "select 1"], "", false),
        (&["tunnel", "upload", "rows.csv", "t", "--datasources", "good.toml"], "", false),
        (&["tunnel", "upload", "rows.csv", "t", "--datasources", "good.toml"], "", true),
        (&["tunnel", "upload", "bad.csv", "t", "--datasources", "good.toml"], "", false),
        (&["tunnel", "download", "t", "--datasources", "good.toml"], "", true),
        (&["tunnel", "download", "t", "--datasources", "swapped.toml"], "", false),
        (&["tunnel", "show", "t", "nope", "--datasources", "good.toml"], "", false),
        (&["check", "job.json", "--datasources", "good.toml"], "", true),
        (&["check", "login.json", "--datasources", "good.toml"], "", false),
        (&["check", "job.json", "--datasources", "good.toml", "--session", "-o", "json"], "", true),
        (&["plan", "job.json", "--datasources", "good.toml", "-o", "json"], "", true),
        (&["preview", "job.json", "--datasources", "good.toml"], "", true),
        (&["convert", "job.json", "--datasources", "good.toml"], "", true),
        (&["convert", "login.json", "--datasources", "good.toml"], "", true),
        (&["check", "half.json", "--datasources", "good.toml"], "", false),
        (&["run", "job.json", "--datasources", "good.toml"], "", true),
        (&["run", "job.json", "--datasources", "swapped.toml"], "", false),
        (&["run", "login.json", "--datasources", "good.toml"], "", false),
        (&["kafka", "topics", "--bootstrap-server", &server, "--list"], "", true),
        (&["kafka", "produce", "--bootstrap-server", &server, "--topic", "t"], "v\n", true),
        (
            &["kafka", "topics", "--bootstrap-server", &server, "--command-config", "login.properties", "--list"],
            "",
            false,
        ),
    ];
    let mut logged = 0;
    for (arguments, input, succeeds) in cases {
        let (output, cmdline) = call(&scratch, arguments, &[("ODPS_BEARER_TOKEN", &bearer)], input);
        let what = arguments.join(" ");
        assert_eq!(output.code == 0, *succeeds, "{what}: {}", output.describe());
        search(&output, &secrets, &what);
        let cmdline = String::from_utf8_lossy(&cmdline);
        assert!(secrets.iter().all(|secret| !cmdline.contains(*secret)), "{what}");
        logged += output.stderr.len();
    }
    // The log was on, and a secret in it would have been found.
    assert!(logged > 2_000, "{logged} bytes of log");
    let output = call(&scratch, &["sql", "--datasources", "good.toml", "-e", &format!("select '{key}'")], &[], "").0;
    assert!(output.stdout_text().contains(&*key), "{}", output.describe());
}

/// Names the secrets that the panicking process below is to hold.
const HELD: &str = "FOREBAY_TEST_HELD_SECRETS";

/// A panic may show whatever a programmer put into its message: everything that holds a secret is shown here, with a backtrace
/// and the log at trace level, by a process of its own.
#[test]
fn a_panic_that_shows_all_it_holds_shows_no_secret() {
    if let Ok(held) = std::env::var(HELD) {
        panic!("all that is held: {}", everything(&held.split(',').collect::<Vec<_>>()));
    }
    let secrets: Vec<String> = (0..4).map(|_| random()).collect();
    let mut child = forebay_proto_tests::process::command(std::env::current_exe().unwrap());
    child.args(["--exact", "a_panic_that_shows_all_it_holds_shows_no_secret", "--nocapture"]);
    child.env(HELD, secrets.join(",")).env("RUST_BACKTRACE", "full");
    let output = forebay_proto_tests::process::run(child, b"", LIMIT);
    let text = output.stderr_text();
    assert!(output.code != 0 && text.contains("all that is held: "), "{}", output.describe());
    // What is no secret is shown, so the rest would have been.
    for shown in
        ["the-id", "JobSpec", "Credentials", "Datasources", "odps_first", "the-user", "a-variable", "stack backtrace"]
    {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    search(&output, &secrets, "a panic");
}

/// Every value of the library that takes a secret, as a message would show it.
fn everything(secrets: &[&str]) -> String {
    let &[key, token, bearer, password] = secrets else { panic!("four secrets") };
    let text = format!(
        r#"{{"type": "job", "version": "2.0", "steps": [
          {{"stepType": "kafka", "category": "reader", "name": "Reader", "parameter": {{
            "server": "localhost:1", "topic": "t", "kafkaConfig": {{"group.id": "g", "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "the-user", "sasl.password": "{password}"}},
            "column": ["n"], "beginOffset": "0", "endOffset": "10"}}}},
          {{"stepType": "odps", "category": "writer", "name": "Writer", "parameter": {{
            "accessId": "the-id", "accessKey": "{key}", "securityToken": "{token}", "project": "p", "odpsServer": "http://localhost:1/api",
            "table": "t", "column": ["n"], "partition": "", "truncate": true}}}}]}}"#
    );
    let sources = format!(
        "[odps_first]\ntype = \"odps\"\nproject = \"p\"\nendpoint = \"http://localhost:1/api\"\naccess_id = \"the-id\"\n\
         access_key = \"{key}\"\nsecurity_token = \"{token}\"\n"
    );
    let mut options = LoadOptions::new(jiff::Timestamp::now());
    options.params = vec![("a-variable".to_owned(), password.to_owned())];
    options.sets = vec![("Writer.accessKey".to_owned(), key.to_owned())];
    options.sources.env = [("ALIBABA_CLOUD_SECURITY_TOKEN".to_owned(), token.to_owned())].into();
    options.sources.odps_config =
        Some(OdpsConfig::parse("odps_config.ini", &format!("access_key={key}\nsts_token={token}\n")));
    options.sources.datasources = Datasources::parse("sources.toml", &sources).unwrap();
    let spec = job::load("job.json", &text, &options).unwrap();
    let credentials = [
        Credentials::new("the-id", key).with_security_token(token),
        Credentials::bearer(bearer),
        Credentials::from_uri(format!("http://localhost:1/{token}")),
        Credentials::ecs_role_at("http://localhost:1", Some("a-role"), true),
    ];
    let mut config = MaxComputeConfig::new("http://localhost:1/api", "p", Credentials::new("the-id", key));
    config.region = Some("cn-hangzhou".to_owned());
    let client = MaxCompute::new(config.clone()).unwrap();
    let mut kafka = ClientConfig::new(["localhost:1"]);
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "the-user"),
        ("sasl.password", password),
    ] {
        kafka.set_property(name, value).unwrap();
    }
    let mut sandbox = MaxComputeSandboxConfig::default();
    (sandbox.access_key, sandbox.security_token, sandbox.bearer_token) =
        (Some(key.to_owned()), Some(token.to_owned()), Some(bearer.to_owned()));
    let values: [&dyn std::fmt::Debug; 8] =
        [&spec, &options, &options.sources.datasources, &credentials, &config, &client, &kafka, &sandbox];
    values.map(|value| format!("{value:?}\n{value:#?}\n")).concat()
}
