//! TLS and logins against real brokers of 1.0.1 and 4.4.0: every mechanism works, and every mistake is told clearly before
//! any byte of a secret has left.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod access;
mod endpoint;
mod provider;
mod relay;
mod secured;
mod tokens;

use std::time::{Duration, Instant};

use forebay::kafka::record::Decompressor;
use forebay::kafka::{Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorKind};
use forebay_proto_tests::cli::{forebay, run_forebay};
use forebay_proto_tests::kafka::Version;
use forebay_proto_tests::maxcompute::LocalMaxCompute;
use forebay_proto_tests::process::run;
use forebay_proto_tests::scratch::{Scratch, repository_folder};
use serde_json::{Value, json};

use access::{rights_are_given_listed_and_taken, users_of_scram_are_made_and_deleted};
use relay::{Relay, requests, tls_data_bytes};
use secured::{LIFETIME_MS, LINES, PASSWORD, Secured, TOPIC, USER};

macro_rules! on_both_versions {
    ($($case:ident),* $(,)?) => {
        mod kafka_1_0_1 { $(#[test] fn $case() { super::$case(&super::Secured::shared(super::Version::V1_0_1)); })* }
        mod kafka_4_4_0 { $(#[test] fn $case() { super::$case(&super::Secured::shared(super::Version::V4_4_0)); })* }
    };
}

on_both_versions!(
    every_mechanism_logs_in_and_reads,
    a_wrong_password_is_an_authentication_error,
    a_listener_of_another_kind_is_told_before_any_credential_leaves,
    a_broker_that_is_not_trusted_gets_no_credential,
    a_certificate_for_another_name_than_the_advertised_one_is_refused,
    a_client_certificate_is_shown_where_it_is_wanted,
    the_command_line_takes_a_file_of_properties,
    a_job_logs_in_by_its_data_source_or_its_properties,
    rights_are_given_listed_and_taken,
    users_of_scram_are_made_and_deleted,
);

type Properties<'a> = Vec<(&'a str, String)>;

fn config(server: &str, properties: &[(&str, String)]) -> Result<ClientConfig, Error> {
    provider::install();
    let mut config = ClientConfig::new([server]);
    config.bootstrap_deadline = Duration::from_secs(5);
    config.retries_deadline = Duration::from_secs(20);
    for (name, value) in properties {
        assert!(config.set_property(name, value)?, "{name} is the client's");
    }
    Ok(config)
}

/// Connects and reads the whole topic.
fn read(server: &str, properties: &[(&str, String)]) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let client = Client::connect(config(server, properties)?).await?;
        client.topic(TOPIC).await?;
        let mut consumer = Consumer::of_topic(&client, ConsumerConfig::default(), TOPIC, &[(0, 0)]);
        let mut decompressor = Decompressor::new(1 << 20);
        let (mut text, mut position) = (String::new(), 0);
        while position < 3 {
            let mut fetched = consumer.next().await?;
            while let Some(records) = fetched.next_records(&mut decompressor)? {
                for record in records.iter() {
                    text.push_str(std::str::from_utf8(record.unwrap().value.unwrap()).unwrap());
                    text.push('\n');
                }
            }
            position = fetched.position();
        }
        Ok(text)
    });
    if let Err(error) = &outcome {
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "a secret in {error}");
    }
    outcome
}

fn at(port: u16) -> String {
    format!("localhost:{port}")
}

fn login(secured: &Secured, protocol: &str, mechanism: &str, password: &str) -> Properties<'static> {
    vec![
        ("security.protocol", protocol.to_owned()),
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", USER.to_owned()),
        ("sasl.password", password.to_owned()),
        ("ssl.ca.location", secured.file("ca.pem")),
    ]
}

const CLEARTEXT: &str = "forebay.sasl.allow.cleartext.secrets";
const PASSWORD_MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

fn every_mechanism_logs_in_and_reads(secured: &Secured) {
    for mechanism in PASSWORD_MECHANISMS {
        let properties = login(secured, "SASL_SSL", mechanism, PASSWORD);
        assert_eq!(read(&at(secured.sasl_ssl), &properties).unwrap(), LINES, "{mechanism} over TLS");
        let mut properties = login(secured, "SASL_PLAINTEXT", mechanism, PASSWORD);
        if mechanism == "PLAIN" {
            let error = read(&at(secured.sasl_plain), &properties).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(CLEARTEXT), "{error}");
            properties.push((CLEARTEXT, "true".to_owned()));
        }
        assert_eq!(read(&at(secured.sasl_plain), &properties).unwrap(), LINES, "{mechanism} without TLS");
    }
    // In the words of Java's client, with a PEM trust store.
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    let java = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
        ("sasl.jaas.config", format!("{module} required username=\"{USER}\" password=\"{PASSWORD}\";")),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", secured.file("ca.pem")),
    ];
    assert_eq!(read(&at(secured.sasl_ssl), &java).unwrap(), LINES);
    let tls = [("security.protocol", "SSL".to_owned()), ("ssl.ca.location", secured.file("ca.pem"))];
    assert_eq!(read(&at(secured.ssl), &tls).unwrap(), LINES);
    // 1.0.1 is older than TLS 1.3 in Java, and has 1.2 switched on by itself.
    let tls12 = [&tls[..], &[("ssl.enabled.protocols", "TLSv1.2".to_owned())]].concat();
    assert_eq!(read(&at(secured.ssl), &tls12).unwrap(), LINES);
    provider::assert_used();
}

fn a_wrong_password_is_an_authentication_error(secured: &Secured) {
    for mechanism in PASSWORD_MECHANISMS {
        let started = Instant::now();
        let error = read(&at(secured.sasl_ssl), &login(secured, "SASL_SSL", mechanism, "wrong")).unwrap_err();
        assert!(error.is_auth() && !error.is_retriable(), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(mechanism) && said.contains("SASL_AUTHENTICATION_FAILED"), "{said}");
        assert!(started.elapsed() < Duration::from_secs(5), "a wrong password is not tried again and again");
    }
    let mut nobody = login(secured, "SASL_SSL", "SCRAM-SHA-256", PASSWORD);
    nobody.push(("sasl.username", "nobody".to_owned()));
    assert!(read(&at(secured.sasl_ssl), &nobody).unwrap_err().is_auth());
}

/// What a client sent over a connection that was to fail early: no user name and no password in plain sight, and nothing
/// encrypted beyond one alert (two bytes, their type and a tag of sixteen).
fn assert_no_credentials(relay: &Relay) {
    const ALERT_BYTES: usize = 2 + 1 + 16;
    let sent = relay.sent();
    assert!(!sent.is_empty(), "nothing came this way");
    for stream in sent {
        for secret in [USER, PASSWORD] {
            assert!(!stream.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} was sent");
        }
        if stream.first() == Some(&0x16) {
            let bytes = tls_data_bytes(&stream);
            assert!(bytes <= ALERT_BYTES, "{bytes} bytes were sent inside TLS");
        }
    }
}

fn a_listener_of_another_kind_is_told_before_any_credential_leaves(secured: &Secured) {
    let plain = |protocol: &str| {
        let mut properties = login(secured, protocol, "PLAIN", PASSWORD);
        properties.push((CLEARTEXT, "true".to_owned()));
        properties
    };
    let plaintext: u16 = secured.cluster.server().rsplit(':').next().unwrap().parse().unwrap();
    for (port, properties, wanted) in [
        (secured.sasl_ssl, plain("SASL_PLAINTEXT"), "TLS"),
        (secured.ssl, plain("PLAINTEXT"), "TLS"),
        (secured.sasl_plain, plain("SASL_SSL"), "plaintext port"),
        (plaintext, plain("SASL_SSL"), "plaintext port"),
        (plaintext, plain("SASL_PLAINTEXT"), "this port takes no SASL login"),
        (secured.sasl_plain, plain("PLAINTEXT"), "does this port expect a login"),
    ] {
        let relay = Relay::to(port);
        let said = read(&at(relay.port()), &properties).unwrap_err().to_string();
        assert!(said.contains(wanted), "{:?}: {said}", properties[0]);
        assert_no_credentials(&relay);
    }
    let relay = Relay::to(secured.sasl_plain);
    let mut properties = plain("SASL_PLAINTEXT");
    properties.push(("sasl.mechanism", "OAUTHBEARER".to_owned()));
    let token = secured.files.write("token", "canary.token.");
    properties.push(("sasl.oauthbearer.token.endpoint.url", format!("file://{}", token.display())));
    if secured.version == Version::V1_0_1 {
        let error = read(&at(relay.port()), &properties).unwrap_err();
        let said = error.to_string();
        assert!(error.is_auth() && said.contains("does not offer SASL OAUTHBEARER here, only"), "{said}");
        assert!(said.contains("SCRAM-SHA-256"), "{said}");
        assert_no_credentials(&relay);
    }
}

fn a_broker_that_is_not_trusted_gets_no_credential(secured: &Secured) {
    let relay = Relay::to(secured.sasl_ssl);
    let mut properties = login(secured, "SASL_SSL", "PLAIN", PASSWORD);
    properties.push(("ssl.ca.location", secured.file("other-ca.pem")));
    let error = read(&at(relay.port()), &properties).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("signed by no CA that is trusted here"), "{error}");
    assert_no_credentials(&relay);

    // The certificate is for `localhost`, and this is the same port by another name.
    let relay = Relay::to(secured.sasl_ssl);
    let properties = login(secured, "SASL_SSL", "PLAIN", PASSWORD);
    let error = read(&format!("127.0.0.1:{}", relay.port()), &properties).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let said = error.to_string();
    assert!(said.contains("not for 127.0.0.1") && said.contains("localhost"), "{said}");
    assert_no_credentials(&relay);

    // The system's CAs do not know the tests' one.
    let system = [("security.protocol", "SSL".to_owned())];
    let error = read(&at(secured.ssl), &system).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");

    for (port, wanted) in [(secured.expired, "expired"), (secured.self_signed, "signed by no CA that is trusted here")]
    {
        let relay = Relay::to(port);
        let properties = login(secured, "SASL_SSL", "PLAIN", PASSWORD);
        let error = read(&at(relay.port()), &properties).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
        assert_no_credentials(&relay);
    }

    let mut store = login(secured, "SASL_SSL", "PLAIN", PASSWORD);
    store.push(("ssl.truststore.location", secured.file("trust.jks")));
    let said = read(&at(secured.sasl_ssl), &store).unwrap_err().to_string();
    assert!(said.contains("trust.jks") && said.contains("PEM is needed"), "{said}");
}

fn a_certificate_for_another_name_than_the_advertised_one_is_refused(secured: &Secured) {
    let tls = [("security.protocol", "SSL".to_owned()), ("ssl.ca.location", secured.file("ca.pem"))];
    // The name it is called by fits, so that metadata comes; the name that metadata gives does not.
    let error = read(&at(secured.astray), &tls).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    let said = error.to_string();
    assert!(said.contains("not for 127.0.0.1") && said.contains("at broker 1 (127.0.0.1"), "{said}");
}

fn a_client_certificate_is_shown_where_it_is_wanted(secured: &Secured) {
    let with = |more: &[(&'static str, String)]| {
        let tls = [("security.protocol", "SSL".to_owned()), ("ssl.ca.location", secured.file("ca.pem"))];
        read(&at(secured.mutual), &[&tls[..], more].concat())
    };
    let (certificate, key) = ("ssl.certificate.location", "ssl.key.location");
    let good = [(certificate, secured.file("client.pem")), (key, secured.file("client.key"))];
    assert_eq!(with(&good).unwrap(), LINES);
    let store = [("ssl.keystore.type", "PEM".into()), ("ssl.keystore.location", secured.file("client-store.pem"))];
    assert_eq!(with(&store).unwrap(), LINES);
    let text = |name: &str| std::fs::read_to_string(secured.file(name)).unwrap().replace('\n', " ");
    let texts = [("ssl.keystore.certificate.chain", text("client.pem")), ("ssl.keystore.key", text("client.key"))];
    assert_eq!(with(&texts).unwrap(), LINES);

    let error = with(&[]).unwrap_err();
    assert!(error.is_auth(), "{error:?}");
    assert!(error.to_string().contains("refuses the client certificate, or the lack of one"), "{error}");
    let other = [(certificate, secured.file("other-client.pem")), (key, secured.file("other-client.key"))];
    let error = with(&other).unwrap_err();
    assert!(error.is_auth(), "{error:?}");
    let mismatch = [(certificate, secured.file("client.pem")), (key, secured.file("other-client.key"))];
    assert_eq!(with(&mismatch).unwrap_err().kind(), ErrorKind::Config);
}

fn the_command_line_takes_a_file_of_properties(secured: &Secured) {
    let scratch = Scratch::new("command-config");
    let consume = |password: &str, ca: &str| {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let text = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config={module} required \\\n  \
             username=\"{USER}\" \\\n  password=\"{password}\";\nssl.ca.location={}\n",
            secured.file(ca)
        );
        scratch.write("client.properties", text);
        let server = at(secured.sasl_ssl);
        let words = ["kafka", "consume", "--bootstrap-server", &server, "--topic", TOPIC, "--from-beginning"];
        let more = ["--max-messages", "3", "--timeout", "10", "--command-config", "client.properties"];
        run_forebay(&scratch, &[&words[..], &more].concat())
    };
    let output = consume(PASSWORD, "ca.pem").expect_success();
    assert_eq!(output.stdout_text(), LINES);
    for (password, ca, code) in [("wrong", "ca.pem", 77), (PASSWORD, "other-ca.pem", 78), (PASSWORD, "nowhere.pem", 78)]
    {
        let output = consume(password, ca);
        assert_eq!(output.code, code, "{}", output.describe());
        assert!(!format!("{}{}", output.stdout_text(), output.stderr_text()).contains(PASSWORD));
    }
}

fn a_job_logs_in_by_its_data_source_or_its_properties(secured: &Secured) {
    let (service, scratch) = (LocalMaxCompute::start(), Scratch::new("secured-job"));
    let (server, ca) = (at(secured.sasl_ssl), secured.file("ca.pem"));
    let source = format!(
        "\n[vault]\ntype = \"kafka\"\naddress = [\"{server}\"]\nsecurityProtocol = \"authTypeSaslSsl\"\n\
         saslMechanism = \"scram-sha-512\"\nusername = \"{USER}\"\npassword = \"${{KAFKA_PASSWORD}}\"\n\
         kafkaConfig = {{ \"ssl.ca.location\" = \"{ca}\" }}\n"
    );
    scratch.write("sources.toml", service.account().datasources() + &source);
    let example = repository_folder().join("deploy/examples/testkafka");
    let ddl = std::fs::read_to_string(example.join("table.sql")).unwrap();
    let _created = run_forebay(&scratch, &["sql", "--datasources", "sources.toml", "-e", &ddl]).expect_success();
    let run_job = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let text = std::fs::read_to_string(example.join("job.json")).unwrap();
        let mut job: Value = serde_json::from_str(&text).unwrap();
        let reader = job["steps"][0]["parameter"].as_object_mut().unwrap();
        reader.remove("server");
        reader.insert("topic".to_owned(), json!(TOPIC));
        reader.insert("waitTime".to_owned(), json!("3"));
        change(reader);
        scratch.write("job.json", job.to_string());
        let mut command = forebay(&scratch);
        command.args(["run", "job.json", "--datasources", "sources.toml"]).env("KAFKA_PASSWORD", PASSWORD);
        let output = run(command, b"", Duration::from_secs(120));
        assert!(
            !format!("{}{}", output.stdout_text(), output.stderr_text()).contains(PASSWORD),
            "{}",
            output.describe()
        );
        output
    };
    let by_source = |reader: &mut serde_json::Map<String, Value>| {
        reader.insert("datasource".to_owned(), json!("vault"));
    };
    let _log = run_job(&by_source).expect_success();
    let count = ["sql", "--datasources", "sources.toml", "-e", "select count(*) from testkafka"];
    let counted = run_forebay(&scratch, &count).expect_success().stdout_text();
    assert!(counted.contains('3'), "{counted}");

    let by_properties = |password: &str, ca: &str| {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let jaas = format!("{module} required username=\"{USER}\" password=\"{password}\";");
        let config = json!({
            "group.id": "secured", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": jaas,
            "ssl.truststore.type": "PEM", "ssl.truststore.location": secured.file(ca),
        });
        run_job(&|reader| {
            reader.insert("server".to_owned(), json!(server));
            reader.insert("kafkaConfig".to_owned(), config.clone());
        })
    };
    let _log = by_properties(PASSWORD, "ca.pem").expect_success();
    for (password, ca, code) in [("wrong", "ca.pem", 77), (PASSWORD, "other-ca.pem", 78)] {
        let output = by_properties(password, ca);
        assert_eq!(output.code, code, "{}", output.describe());
    }
}

#[test]
fn kafka_4_4_0_is_logged_in_to_again_before_the_login_ends() {
    const SASL_HANDSHAKE: i16 = 17;
    let secured = Secured::shared(Version::V4_4_0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let lifetimes = 4;
    runtime.block_on(async {
        let properties = login(&secured, "SASL_PLAINTEXT", "SCRAM-SHA-256", PASSWORD);
        let client = Client::connect(config(&at(secured.relay.port()), &properties).unwrap()).await.unwrap();
        client.topic(TOPIC).await.unwrap();
        let mut consumer = Consumer::of_topic(&client, ConsumerConfig::default(), TOPIC, &[(0, 0)]);
        let started = Instant::now();
        let mut connections = None;
        while started.elapsed() < Duration::from_millis(LIFETIME_MS * lifetimes) {
            // A connection that the broker ends because its login is over would end one of these. Of a partition where nothing
            // happens there is no news, so there is nothing to wait for; the fetches go on all the same.
            if let Ok(fetched) = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await {
                fetched.unwrap();
            }
            client.topic(TOPIC).await.unwrap();
            if started.elapsed() > Duration::from_millis(LIFETIME_MS / 2) {
                let now = secured.relay.sent().len();
                assert_eq!(*connections.get_or_insert(now), now, "a connection was made anew");
            }
        }
    });
    let mut logins: Vec<usize> = (secured.relay.sent().iter())
        .map(|stream| requests(stream).into_iter().filter(|api| *api == SASL_HANDSHAKE).count())
        .collect();
    logins.sort_unstable();
    // The bootstrap connection may have been used once; the broker's own and the fetch connection are in use all the time.
    let busy = logins.iter().filter(|count| **count > usize::try_from(lifetimes).unwrap() - 1).count();
    assert!(busy >= 2, "logins by connection: {logins:?}");
    let all = secured.relay.sent().concat();
    assert!(!all.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "SCRAM sent the password");
}
